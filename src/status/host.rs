//! By which names the page may be asked for on loopback.
//!
//! What listens there is for this machine alone. But a web site that somebody opens here can let a name of its own lead to
//! 127.0.0.1 (DNS rebinding), and the browser then takes what is served here for a part of that site, and lets it be read.
//! It says the site's name, though. So on loopback nothing is answered under a name that a web site can have.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// Whether a request asks for an address, for `localhost`, or for the name `own` of this machine. One without a name is
/// from no browser.
pub fn is_ours<B>(request: &Request<B>, own: &str) -> bool {
    let is_ours = |asked: &Authority| is_name(asked.host(), own);
    let mut said = request.headers().get_all(HOST).iter();
    said.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|asked| is_ours(&asked)))
        && request.uri().authority().is_none_or(is_ours)
}

fn is_name(host: &str, own: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // The domain localhost cannot be registered (RFC 6761).
    let is_local = name == "localhost" || name.ends_with(".localhost");
    address.parse::<IpAddr>().is_ok() || is_local || name.eq_ignore_ascii_case(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_web_site_is_answered_under_its_name() {
        let asked = |uri: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::get(uri), |request, host| request.header(HOST, *host));
            is_ours(&request.body(()).unwrap(), "Box")
        };
        for host in [
            "127.0.0.1",
            "127.0.0.1:9337",
            "[::1]:9337",
            "192.0.2.7",
            "localhost:9337",
            "LocalHost",
            "localhost.",
            "a.localhost",
            "box:9337",
        ] {
            assert!(asked("/", &[host]), "{host}");
        }
        for host in [
            "example.com",
            "rebound.example.com:9337",
            "box.example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "notlocalhost",
            "127.0.0.1@example.com",
            "",
            "::1",
            "a b",
        ] {
            assert!(!asked("/", &[host]), "{host}");
        }
        assert!(asked("/", &[]), "HTTP/1.0");
        assert!(!asked("/", &["localhost", "example.com"]));
        assert!(!asked("http://example.com/", &["localhost"]) && asked("http://localhost:9337/", &["localhost:9337"]));
    }
}

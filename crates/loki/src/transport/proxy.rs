//! An HTTP proxy, and the hosts for which it is not used.

use std::net::IpAddr;

use hyper::Uri;

use super::Secret;

/// An HTTP proxy. It gets CONNECT for an https target, and the absolute URL for an http one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// `http://host:port` or `https://host:port`, without user info.
    pub uri: Uri,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<Secret>,
    /// The hosts for which it is not used.
    pub bypass: NoProxy,
}

/// Hosts for which no proxy is used. The grammar is that of Go's `httpproxy`, which most programs share: `*`,
/// addresses, networks, and domains with their subdomains, each optionally with a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Hosts {
    All,
    /// An address, and its number of significant bits.
    Network(IpAddr, u8),
    /// The subdomains of `example.com`, and with `itself` also `example.com`.
    Domain {
        suffix: String,
        itself: bool,
    },
}

// === impl Proxy ===

impl Proxy {
    /// Whether requests to this target use it.
    pub fn is_for(&self, target: &Uri) -> bool {
        !self.bypass.has(target)
    }
}

// === impl NoProxy ===

impl NoProxy {
    /// Parses a comma-separated list.
    ///
    /// # Errors The first invalid part.
    pub fn parse(text: &str) -> Result<NoProxy, &str> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Rule::parse(part).ok_or(part)).collect::<Result<_, _>>().map(NoProxy)
    }

    fn has(&self, target: &Uri) -> bool {
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let default = if target.scheme_str() == Some("https") { 443 } else { 80 };
        let port = target.port_u16().unwrap_or(default);
        self.0.iter().any(|rule| rule.port.is_none_or(|only| only == port) && rule.hosts.have(&host))
    }
}

// === impl Rule ===

impl Rule {
    fn parse(part: &str) -> Option<Rule> {
        let part = part.to_ascii_lowercase();
        if part == "*" {
            return Some(Rule { hosts: Hosts::All, port: None });
        }
        if let Some((address, bits)) = part.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Rule { hosts: Hosts::Network(address, bits), port: None });
        }
        // An IPv6 address contains colons.
        if let Ok(address) = part.trim_matches(['[', ']']).parse() {
            return Some(Rule { hosts: Hosts::Network(address, width(address)), port: None });
        }
        let (host, port) = match part.rsplit_once(':') {
            None => (part.as_str(), None),
            Some((host, port)) => (host, Some(port.parse().ok()?)),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Rule { hosts: Hosts::Network(address, width(address)), port });
        }
        let name = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let (itself, name) = name.strip_prefix('.').map_or((true, name), |below| (false, below));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || !name.chars().all(is_plain) {
            return None;
        }
        Some(Rule { hosts: Hosts::Domain { suffix: format!(".{}", name.trim_end_matches('.')), itself }, port })
    }
}

// === impl Hosts ===

impl Hosts {
    fn have(&self, host: &str) -> bool {
        match self {
            Hosts::All => true,
            Hosts::Network(network, bits) => {
                host.parse().is_ok_and(|address| prefix(address, *bits) == prefix(*network, *bits))
            }
            Hosts::Domain { suffix, itself } => host.ends_with(suffix) || (*itself && *host == suffix[1..]),
        }
    }
}

/// The significant bits of an address, and its family.
fn prefix(address: IpAddr, bits: u8) -> (u8, u128) {
    let (width, value) = match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    (width, value.checked_shr(u32::from(width.saturating_sub(bits))).unwrap_or(0))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_that_no_proxy_is_used_for() {
        for (list, target, expected) in [
            ("", "http://loki", false),
            ("*", "http://loki", true),
            ("loki", "http://loki:3100/x", true),
            ("LOKI", "http://loki", true),
            ("loki", "http://LOKI.", true),
            ("loki", "http://loki2", false),
            ("a, loki ,b", "http://loki", true),
            ("example.com", "http://example.com", true),
            ("example.com", "http://loki.example.com", true),
            ("example.com", "http://badexample.com", false),
            (".example.com", "http://example.com", false),
            (".example.com", "http://a.b.example.com", true),
            ("*.example.com", "http://a.example.com", true),
            ("*.example.com", "http://example.com", false),
            ("loki:3100", "http://loki:3100", true),
            ("loki:3100", "http://loki:3101", false),
            ("loki:80", "http://loki", true),
            ("loki:443", "https://loki", true),
            ("127.0.0.1", "http://127.0.0.1:3100", true),
            ("127.0.0.1:3100", "http://127.0.0.1:3100", true),
            ("127.0.0.1:3100", "http://127.0.0.1", false),
            ("127.0.0.1", "http://127.0.0.11", false),
            ("10.0.0.0/8", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("10.0.0.0/8", "http://loki", false),
            ("0.0.0.0/0", "http://1.2.3.4", true),
            ("0.0.0.0/0", "http://[::1]", false),
            ("::1", "http://[::1]:3100", true),
            ("[::1]:3100", "http://[::1]:3100", true),
            ("[::1]:3100", "http://[::1]:1", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("fd00::/8", "http://[fe80::1]", false),
        ] {
            let no_proxy = NoProxy::parse(list).unwrap();
            assert_eq!(no_proxy.has(&target.parse().unwrap()), expected, "{list} {target}");
        }
    }

    #[test]
    fn parts_that_are_refused() {
        for (list, part) in [
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("a,loki:http", "loki:http"),
            ("http://loki", "http://loki"),
            ("lo ki", "lo ki"),
            (".", "."),
            ("loki:", "loki:"),
            ("**", "**"),
        ] {
            assert_eq!(NoProxy::parse(list), Err(part), "{list}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[-0-9a-f.:*/,\\[\\]]{0,30}") {
            let _ = NoProxy::parse(&text);
        }
    }
}

//! For each failure its likely cause and the next step, in a sentence or two.

use std::io;

use loki::error::Status;
use loki::{Kind, PushError};

/// The name could not be resolved.
pub const NO_SUCH_NAME: &str = "No name server knows it. A plugin has the network of the host and not that of a compose file: give the host's \
     name or address, or publish Loki's port and use localhost. Inside a container localhost is another machine.";

/// No name server has answered.
pub const SILENT_NAME_SERVERS: &str =
    "The name servers in /etc/resolv.conf do not answer. Look at them, or give an address in place of the name.";

/// There was no answer at all.
const SILENCE: &str = "Something swallows the packets: a firewall, a wrong address, or a host that is down. Try it with curl from this host.";

/// The port is closed.
const REFUSED: &str = "Nothing listens there: is Loki running, is its port published (ports: 3100:3100), and is the port in the URL right?";

const UNREACHABLE: &str = "This host has no way there. Look at its routes, and whether a VPN is up.";

const UNTRUSTED: &str =
    "The server's certificate is not signed by a trusted authority. Name the authority with loki-tls-ca-file.";

const WRONG_NAME: &str =
    "The certificate is for another name than that in the URL. Use one that it names, or loki-tls-server-name.";

const EXPIRED: &str = "The certificate is not valid today. Renew it, or set this host's clock.";

const WANTS_CERTIFICATE: &str =
    "The server wants a client certificate: give one that it knows with loki-tls-cert-file and loki-tls-key-file.";

const NOT_TLS: &str =
    "What listens there speaks no TLS: begin the URL with http://, or use the port that is for https.";

const NOT_HTTP: &str = "What answers there is no HTTP server, or one that wants TLS: is the port right, and should the URL begin with https://?";

const FILES: &str = "A managed plugin sees of the host's files those below the directory that docker plugin set <plugin> \
     files.source=DIRECTORY names, as /etc/loki-rs.";

const NOT_LOKI: &str = "A proxy, a sign-in page or another program answers in place of Loki. Look at loki-url and at what stands in front of Loki; lines are \
     kept until Loki answers.";

const OTHER: &str = "Try the same URL with curl -v from this host, and look at Loki's own log.";

/// For a connection that did not come about.
pub fn of_connect(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => REFUSED,
        io::ErrorKind::TimedOut => SILENCE,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => UNREACHABLE,
        _ => OTHER,
    }
}

/// For a request that was not answered well.
pub fn of_request(error: &PushError) -> &'static str {
    match error {
        PushError::Unready(_) => FILES,
        PushError::Timeout => SILENCE,
        PushError::Transport(why) => of_transport(why),
        PushError::Status(status) => of_status(status),
    }
}

/// Libraries tell these apart in words alone.
fn of_transport(why: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| why.to_ascii_lowercase().contains(word));
    if has(&["unknownissuer", "unknown issuer", "self-signed", "cacertusedasendentity"]) {
        UNTRUSTED
    } else if has(&["not valid for name", "notvalidforname"]) {
        WRONG_NAME
    } else if has(&["expired", "notvalidyet", "not valid yet"]) {
        EXPIRED
    } else if has(&["certificaterequired", "certificate required", "handshakefailure", "badcertificate", "unknownca"]) {
        WANTS_CERTIFICATE
    } else if has(&["corrupt message", "invalidcontenttype"]) {
        NOT_TLS
    } else if has(&["invalid http", "connection closed before message", "parse", "connection reset"]) {
        NOT_HTTP
    } else if has(&["refused"]) {
        REFUSED
    } else {
        OTHER
    }
}

fn of_status(status: &Status) -> &'static str {
    match status.code {
        200..300 if status.kind == Kind::Unconfirmed => {
            "Loki answers a push with 204. If this endpoint is compatible with Loki, set loki-accept-any-2xx=true; if not, look at loki-url."
        }
        200..300 if status.kind == Kind::NotLoki => NOT_LOKI,
        260 => "Loki blocks ingestion for this tenant (block_ingestion_until). Lines are kept until it ends.",
        401 if status.excerpt() == "no org id" => {
            "Loki keeps tenants apart (auth_enabled): say with loki-tenant-id which one this is."
        }
        401 => "It does not know who this is: give loki-username and loki-password-file, or loki-bearer-token-file.",
        403 => "It knows who this is, and does not let them push: look at the rights of the user or token.",
        404 | 405 => {
            "There is no push API under this URL. Loki's ends in /loki/api/v1/push; a gateway may have something before it."
        }
        400 | 422 if matches!(status.kind, Kind::NotLoki | Kind::Unknown) => NOT_LOKI,
        400 => "Loki refuses the line itself; what it says above is the reason.",
        429 => {
            "Loki limits the rate. Lines are kept and sent later; raise ingestion_rate_mb and per_stream_rate_limit if it lasts."
        }
        300..400 => "It redirects to another URL. Set that one as loki-url: a push does not follow redirects.",
        413 => {
            "Something before Loki takes no request so large: raise its limit (nginx: client_max_body_size), or lower loki-batch-size."
        }
        500..600 => "Loki, or what stands before it, is not well: look at its log. Lines are kept until it is.",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of_connect(&refused), REFUSED);
        let transport = |why: &str| of_request(&PushError::Transport(why.into()));
        assert_eq!(transport("invalid peer certificate: UnknownIssuer"), UNTRUSTED);
        assert_eq!(transport("invalid peer certificate: certificate not valid for name \"a\""), WRONG_NAME);
        assert_eq!(transport("invalid peer certificate: Expired"), EXPIRED);
        assert_eq!(transport("received fatal alert: CertificateRequired"), WANTS_CERTIFICATE);
        assert_eq!(transport("received corrupt message of type InvalidContentType"), NOT_TLS);
        assert_eq!(transport("client error (SendRequest): invalid HTTP version parsed"), NOT_HTTP);
        let status = |code, body: &str| of_request(&PushError::status(code, body.as_bytes()));
        assert!(status(401, "no org id").contains("loki-tenant-id"));
        assert!(status(401, "").contains("loki-username"));
        assert!(status(404, "").contains("/loki/api/v1/push"));
        assert!(status(202, "").contains("loki-accept-any-2xx"));
        assert_eq!(status(200, "<html>"), NOT_LOKI);
        assert_eq!(status(400, "Bad Request"), NOT_LOKI);
        assert!(status(260, "").contains("block_ingestion_until"));
        assert!(status(503, "").contains("not well"));
    }
}

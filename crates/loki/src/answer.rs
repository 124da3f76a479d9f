//! Classifies the answer to a push, purely: who answered, and what it says about the lines.
//!
//! A push may be answered by Loki, by a proxy in front of it, or by another server. Only an answer that is recognisably
//! Loki's may count lines as accepted or drop one; after all others the lines are kept and retried.
//!
//! | status | content type, body | kind |
//! |---|---|---|
//! | 204 | any | [`Accepted`](Kind::Accepted) (`pkg/distributor/http.go`, `pushHandler`) |
//! | 260 | any | [`Blocked`](Kind::Blocked): nothing was stored (`pkg/validation/limits.go`, `block_ingestion_status_code`) |
//! | other 2xx | none, seen to its end | [`Unconfirmed`](Kind::Unconfirmed): Loki never says so; an endpoint that is compatible may |
//! | 400 | text, known to be Loki's | what the text says, see [`refusal`] |
//! | 400, 422 | another text | [`Unknown`](Kind::Unknown): a proxy, or a Loki that is newer than this list |
//! | 413 | any | [`TooLarge`](Kind::TooLarge): proxies limit sizes too, and a smaller request passes both |
//! | 429 | any | [`RateLimit`](Kind::RateLimit) |
//! | 500 | text that says that a message is too large | [`TooLarge`](Kind::TooLarge) (gRPC between Loki's parts) |
//! | 401, 403, 404, 405, 407, 408, 5xx | text or none | [`Unavailable`](Kind::Unavailable) |
//! | anything else | | [`NotLoki`](Kind::NotLoki): pages, JSON, redirects, other statuses |
//!
//! "Text" is `text/plain`, as Go's `http.Error` sends it, or no content type at all, and does not begin like a page. Loki's gateway and most proxies
//! pass it on as it is.

use super::refusal::{self, Refused};

/// What an answer says about the lines of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Loki has the lines.
    Accepted,
    /// A success that Loki does not use, without a body.
    Unconfirmed,
    /// Loki blocks ingestion; nothing is stored.
    Blocked,
    /// Loki rejected some entries and stored the others.
    Entries(Refused),
    /// Loki accepts no structured metadata; entries with it were rejected.
    Metadata,
    /// Loki rejects the stream for its labels; nothing is stored.
    Stream,
    /// The request is too large; nothing is stored.
    TooLarge {
        /// Whether Loki says so, not a proxy in front of it.
        by_loki: bool,
    },
    /// A rate limit; nothing of the stream is stored.
    RateLimit,
    /// A text that Loki may have written, of an unknown kind; nothing may be concluded.
    Unknown,
    /// A plain error that is not about the lines; whether they are stored is unknown.
    Unavailable,
    /// An answer that Loki never gives.
    NotLoki,
}

/// The parts of an answer that are classified.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The status.
    pub code: u16,
    /// `Content-Type`, if there is one.
    pub content_type: Option<&'a str>,
    /// The part of the body that was read.
    pub body: &'a [u8],
    /// Whether that is the whole body.
    pub is_whole: bool,
}

// === impl Kind ===

impl Kind {
    /// Classifies an answer.
    #[must_use]
    pub fn of(seen: &Seen<'_>) -> Self {
        let text = String::from_utf8_lossy(seen.body);
        let text = text.trim_end();
        let is_plain = is_plain(seen.content_type, text);
        match seen.code {
            204 => Self::Accepted,
            260 => Self::Blocked,
            200..300 if seen.is_whole && seen.body.is_empty() => Self::Unconfirmed,
            413 => Self::TooLarge { by_loki: is_plain && refusal::is_too_large(text) },
            429 => Self::RateLimit,
            500 if is_plain && refusal::is_too_large(text) => Self::TooLarge { by_loki: true },
            400 | 422 if is_plain && !text.is_empty() => {
                let known = if seen.code == 400 { refusal::read(text, seen.is_whole) } else { None };
                known.unwrap_or(Self::Unknown)
            }
            401 | 403 | 404 | 405 | 407 | 408 | 500..600 if is_plain => Self::Unavailable,
            _ => Self::NotLoki,
        }
    }

    /// Whether Loki itself has judged the lines, so it is up and serves requests.
    #[must_use]
    pub const fn is_judgement(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Entries(_) | Self::Metadata | Self::Stream | Self::TooLarge { by_loki: true }
        )
    }
}

fn is_plain(content_type: Option<&str>, text: &str) -> bool {
    let is_text = content_type.is_none_or(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.is_empty() || media_type.eq_ignore_ascii_case("text/plain")
    });
    is_text && !text.trim_start().starts_with(['<', '{', '[', '\u{feff}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
    const HTML: Option<&str> = Some("text/html");
    const JSON: Option<&str> = Some("application/json");

    const TOO_NEW: &str = "entry for stream '{a=\"b\"}' has timestamp too new: 2030-01-01T00:00:00Z\n";

    fn of(code: u16, content_type: Option<&str>, body: &str) -> Kind {
        Kind::of(&Seen { code, content_type, body: body.as_bytes(), is_whole: true })
    }

    #[test]
    fn answers_of_loki_are_told_from_those_of_others() {
        use Kind::{Accepted, Blocked, NotLoki, RateLimit, Stream, TooLarge, Unavailable, Unconfirmed, Unknown};
        let nginx =
            |what: &str| format!("<html>\r\n<head><title>{what}</title></head>\r\n<body></body>\r\n</html>\r\n");
        let (theirs, lokis) = (TooLarge { by_loki: false }, TooLarge { by_loki: true });
        let one = Kind::Entries(Refused { entries: 1, too_new: Some(1_893_456_000_000_000_000), ..Refused::default() });
        for (code, content_type, body, expected) in [
            (204, None, "", Accepted),
            (204, HTML, "", Accepted),
            (
                260,
                TEXT,
                "ingestion blocked for user 'fake' until '2030-01-01T00:00:00Z' with status code '260'\n",
                Blocked,
            ),
            (260, None, "", Blocked),
            (200, None, "", Unconfirmed),
            (202, JSON, "", Unconfirmed),
            (206, None, "", Unconfirmed),
            // A captive portal, a single-page application, Grafana behind a wrong URL, a health endpoint.
            (200, HTML, "<!doctype html><html>Please sign in</html>", NotLoki),
            (200, JSON, "{\"status\":\"success\"}", NotLoki),
            (200, TEXT, "ok", NotLoki),
            (201, TEXT, " ", NotLoki),
            // Loki.
            (400, TEXT, TOO_NEW, one),
            (400, Some("Text/Plain"), TOO_NEW, one),
            (400, None, TOO_NEW, one),
            (400, TEXT, "couldn't parse labels: 1:2: parse error: unexpected character", Stream),
            (413, TEXT, "request body too large: message size too large than max (9 vs 8)\n", lokis),
            (
                500,
                TEXT,
                "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5 vs. 4)\n",
                lokis,
            ),
            (429, TEXT, "ingestion rate limit exceeded for user fake (limit: 1 bytes/sec)\n", RateLimit),
            (500, TEXT, "ingester is shutting down\n", Unavailable),
            (503, None, "", Unavailable),
            (401, TEXT, "no org id\n", Unavailable),
            (403, None, "", Unavailable),
            (404, TEXT, "404 page not found\n", Unavailable),
            // Loki's words with another content type, or in a page.
            (400, HTML, TOO_NEW, NotLoki),
            (400, JSON, TOO_NEW, NotLoki),
            (400, None, "<p>entry for stream '{a=\"b\"}' has timestamp too new: 2030-01-01T00:00:00Z</p>", NotLoki),
            // nginx, Envoy, Traefik, an AWS load balancer, Cloudflare, oauth2-proxy, Grafana.
            (400, HTML, &nginx("400 The plain HTTP request was sent to HTTPS port"), NotLoki),
            (413, HTML, &nginx("413 Request Entity Too Large"), theirs),
            (413, None, "", theirs),
            (413, TEXT, "Payload Too Large", theirs),
            (400, None, "", NotLoki),
            (400, TEXT, "Bad Request", Unknown),
            (400, TEXT, "snappy: corrupt input\n", Unknown),
            (422, TEXT, "error at least one valid stream is required for ingestion\n", Unknown),
            (422, None, "", NotLoki),
            (503, TEXT, "upstream connect error or disconnect/reset before headers", Unavailable),
            (502, HTML, &nginx("502 Bad Gateway"), NotLoki),
            (403, HTML, "<html><title>Attention Required! | Cloudflare</title>", NotLoki),
            (401, JSON, "{\"message\":\"Unauthorized\"}", NotLoki),
            (405, JSON, "{}", NotLoki),
            (429, HTML, &nginx("429 Too Many Requests"), RateLimit),
            (301, HTML, &nginx("301 Moved Permanently"), NotLoki),
            (302, None, "", NotLoki),
            (402, TEXT, "pay", NotLoki),
            (410, TEXT, "gone", NotLoki),
            (421, TEXT, "misdirected", NotLoki),
            (431, TEXT, "", NotLoki),
            (451, TEXT, "", NotLoki),
            (101, None, "", NotLoki),
            (999, TEXT, TOO_NEW, NotLoki),
        ] {
            assert_eq!(of(code, content_type, body), expected, "{code} {content_type:?} {body:?}");
        }
    }

    #[test]
    fn a_success_whose_body_did_not_come_to_its_end_confirms_nothing() {
        let seen = Seen { code: 200, content_type: None, body: b"", is_whole: false };
        assert_eq!(Kind::of(&seen), Kind::NotLoki);
    }
}

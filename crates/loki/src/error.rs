//! The error of a push: its text, and the facts for the retry policy.

use std::fmt;

use super::answer::{Kind, Seen};

/// The largest part of an answer's body that is read, in bytes. Loki names each rejected second of a stream, and
/// repeats its labels each time.
pub const MOST: usize = 1 << 20;

/// The largest part of it that is kept and shown to the operator.
const EXCERPT: usize = 1024;

/// The largest part that is shown of a header that identifies the server.
const WHO: usize = 64;

/// A push whose lines may not all be stored. Whether Loki stored any differs by case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No connection, or it failed. Loki may have stored the lines.
    Transport(String),
    /// Nothing was sent: a file that the request needs cannot be used.
    Unready(String),
    /// No answer in time. Loki may have stored the lines.
    Timeout,
    /// An answer.
    Status(Status),
}

/// An answer that does not confirm the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The status code.
    pub code: u16,
    /// What the answer says about the lines.
    pub kind: Kind,
    /// The beginning of the body in one line, for the operator.
    excerpt: String,
    /// Headers that identify the server, for the operator: `Server`, and `Content-Type` where it is not Loki's.
    who: String,
}

// === impl PushError ===

impl PushError {
    /// A status with a text, as Loki sends it.
    #[must_use]
    pub fn status(code: u16, body: &[u8]) -> Self {
        Self::Status(Status::new(&Seen { code, content_type: None, body, is_whole: true }, None))
    }

    /// The label `code` of metrics: a status code, a class of them, `transport`, `unready` or `timeout`. The set is
    /// fixed, whatever a server answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Unready(_) => "unready",
            Self::Timeout => "timeout",
            Self::Status(status) => match status.code {
                200 => "200",
                202 => "202",
                204 => "204",
                260 => "260",
                400 => "400",
                401 => "401",
                403 => "403",
                404 => "404",
                405 => "405",
                407 => "407",
                408 => "408",
                413 => "413",
                422 => "422",
                429 => "429",
                500 => "500",
                502 => "502",
                503 => "503",
                504 => "504",
                code => Self::class(code),
            },
        }
    }

    const fn class(code: u16) -> &'static str {
        match code / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        }
    }

    /// What the answer says about the lines; `None` without an answer.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Status(status) => Some(status.kind),
            _ => None,
        }
    }

    /// The status code, when there was an answer.
    #[must_use]
    pub const fn status_code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            _ => None,
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(why) => write!(f, "Loki cannot be reached: {why}"),
            Self::Unready(why) => f.write_str(why),
            Self::Timeout => write!(f, "Loki did not answer in time"),
            Self::Status(status) => status.fmt(f),
        }
    }
}

impl std::error::Error for PushError {}

// === impl Status ===

impl Status {
    /// The beginning of its body, in one line.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }

    /// Classifies an answer. `server` is the value of its `Server` header.
    #[must_use]
    pub fn new(seen: &Seen<'_>, server: Option<&str>) -> Self {
        let kind = Kind::of(seen);
        let end = seen.body.len().min(EXCERPT + 1);
        let text = String::from_utf8_lossy(&seen.body[..end]);
        let is_page = matches!(kind, Kind::NotLoki | Kind::TooLarge { by_loki: false });
        let content_type = seen.content_type.filter(|_| is_page);
        let who: Vec<String> = server.into_iter().chain(content_type).map(|text| one_line(text, WHO)).collect();
        Self { code: seen.code, kind, excerpt: one_line(&text, EXCERPT), who: who.join(", ") }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, kind, excerpt, who } = self;
        match kind {
            Kind::NotLoki => write!(f, "answered {code}, but not by Loki")?,
            Kind::TooLarge { by_loki: false } => write!(f, "answered {code} (too large), but not by Loki")?,
            Kind::Unknown => write!(f, "answered {code} with a text that is not known to be Loki's")?,
            Kind::Unconfirmed => {
                write!(
                    f,
                    "answered {code} without a body, where Loki answers 204; if this endpoint is compatible with Loki, set \
                     loki-accept-any-2xx=true"
                )?;
            }
            _ => write!(f, "Loki answered {code}")?,
        }
        if !who.is_empty() {
            write!(f, " ({who})")?;
        }
        if excerpt.is_empty() { Ok(()) } else { write!(f, ": {excerpt}") }
    }
}

/// A text in one line, shortened to `most` bytes.
fn one_line(text: &str, most: usize) -> String {
    let text = text.trim();
    let end = text.floor_char_boundary(most);
    let mut line: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, content_type: Option<&str>, body: &str, server: Option<&str>) -> String {
        Status::new(&Seen { code, content_type, body: body.as_bytes(), is_whole: true }, server).to_string()
    }

    #[test]
    fn a_body_is_one_line_that_is_shown_in_part() {
        let body = format!("one\n\ttwo\0{}\n", "é".repeat(1000));
        let shown = PushError::status(503, body.as_bytes()).to_string();
        assert!(shown.starts_with("Loki answered 503: one  two é") && shown.ends_with("é…") && shown.len() < 1060);
        assert_eq!(PushError::status(502, b"\n").to_string(), "Loki answered 502");
        assert!(PushError::status(500, &[b'x'; 100_000]).to_string().len() < 1060);
    }

    #[test]
    fn it_is_said_who_answered() {
        assert_eq!(
            answered(400, Some("text/html"), "<html>\n<p>Bad", Some("nginx/1.27")),
            "answered 400, but not by Loki (nginx/1.27, text/html): <html> <p>Bad"
        );
        assert_eq!(
            answered(413, None, "", Some("cloudflare")),
            "answered 413 (too large), but not by Loki (cloudflare)"
        );
        assert_eq!(
            answered(400, None, "Bad Request", Some("Caddy")),
            "answered 400 with a text that is not known to be Loki's (Caddy): Bad Request"
        );
        assert_eq!(
            answered(202, None, "", None),
            "answered 202 without a body, where Loki answers 204; if this endpoint is compatible with Loki, set \
             loki-accept-any-2xx=true"
        );
        let long = answered(503, None, "", Some(&"x".repeat(1000)));
        assert!(long.len() < 100, "{long}");
    }

    #[test]
    fn words_for_counters_are_few_whatever_is_answered() {
        let words: std::collections::HashSet<_> = (100..1000).map(|code| PushError::status(code, b"").code()).collect();
        assert!(words.len() <= 23, "{words:?}");
        for code in [400, 413, 429, 503] {
            assert_eq!(PushError::status(code, b"").code(), code.to_string());
        }
        assert_eq!(PushError::status(418, b"").code(), "4xx");
        assert_eq!(PushError::status(999, b"").code(), "other");
    }
}

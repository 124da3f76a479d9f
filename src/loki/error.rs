//! What went wrong with a push, and the facts a verdict is made of.

use std::fmt;

/// The most that is kept of an answer's body. Loki can echo megabytes; how many entries it refused stands behind the
/// reasons of the first ten.
pub const MOST: usize = 8 * 1024;

/// The most that is shown of it: enough for the operator.
const EXCERPT: usize = 1024;

/// A push that was not answered with 204 or 200. Whether Loki stored anything differs by case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No connection, or it broke. Loki may have stored the lines.
    Transport(String),
    /// Nothing was sent: a file that is needed for it cannot be used.
    Unready(String),
    /// No answer in time. Loki may have stored the lines.
    Timeout,
    /// Any other status.
    Status {
        /// The status code.
        code: u16,
        /// The body in one line, at most [`MOST`] bytes.
        body: String,
    },
}

// === impl PushError ===

impl PushError {
    /// A status with what its body said.
    pub fn status(code: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self::Status { code, body: line.trim().to_owned() }
    }

    /// A word for counters: the status code, `transport`, `unready` or `timeout`.
    pub fn code(&self) -> String {
        match self {
            Self::Transport(_) => "transport".into(),
            Self::Unready(_) => "unready".into(),
            Self::Timeout => "timeout".into(),
            Self::Status { code, .. } => code.to_string(),
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(why) => write!(f, "Loki cannot be reached: {why}"),
            Self::Unready(why) => f.write_str(why),
            Self::Timeout => write!(f, "Loki did not answer in time"),
            Self::Status { code, body } if body.is_empty() => write!(f, "Loki answered {code}"),
            Self::Status { code, body } => {
                let end = body.floor_char_boundary(EXCERPT);
                let more = if end < body.len() { "…" } else { "" };
                write!(f, "Loki answered {code}: {}{more}", &body[..end])
            }
        }
    }
}

impl std::error::Error for PushError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_line_that_is_shown_in_part() {
        let body = format!("one\n\ttwo\0{}\n", "é".repeat(1000));
        let PushError::Status { body, .. } = PushError::status(400, body.as_bytes()) else { panic!("a status") };
        assert!(body.starts_with("one  two é") && body.ends_with('é'));
        let shown = PushError::status(400, body.as_bytes()).to_string();
        assert!(shown.starts_with("Loki answered 400: one  two é") && shown.ends_with("é…") && shown.len() < 1060);
        assert_eq!(PushError::status(502, b"\n").to_string(), "Loki answered 502");
        let PushError::Status { body, .. } = PushError::status(500, &[b'x'; 100_000]) else { panic!("a status") };
        assert_eq!(body.len(), MOST);
    }
}

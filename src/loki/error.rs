//! What went wrong with a push, and the facts a verdict is made of.

use std::fmt;

/// The most that is kept of an answer's body: enough for the operator, and Loki can echo megabytes.
pub const EXCERPT: usize = 1024;

/// A push that was not answered with 204 or 200. Whether Loki stored anything differs by case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No connection, or it broke. Loki may have stored the lines.
    Transport(String),
    /// No answer in time. Loki may have stored the lines.
    Timeout,
    /// Any other status.
    Status {
        /// The status code.
        code: u16,
        /// The first line of the body, at most [`EXCERPT`] bytes.
        body: String,
    },
}

// === impl PushError ===

impl PushError {
    /// A status with what its body said.
    pub fn status(code: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
        let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
        Self::Status { code, body: line }
    }

    /// A word for counters: the status code, `transport` or `timeout`.
    pub fn code(&self) -> String {
        match self {
            Self::Transport(_) => "transport".into(),
            Self::Timeout => "timeout".into(),
            Self::Status { code, .. } => code.to_string(),
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(why) => write!(f, "Loki cannot be reached: {why}"),
            Self::Timeout => write!(f, "Loki did not answer in time"),
            Self::Status { code, body } if body.is_empty() => write!(f, "Loki answered {code}"),
            Self::Status { code, body } => write!(f, "Loki answered {code}: {body}"),
        }
    }
}

impl std::error::Error for PushError {}

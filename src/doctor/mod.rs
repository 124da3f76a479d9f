//! What `loki-rs doctor` looks at, in the order in which a line would meet it: the [options](crate::config::effective), the labels, the name, the
//! connection, TLS, Loki itself, and whether a line that was pushed can be read again.
//!
//! * [`reach`]: the way to one destination, step by step;
//! * [`advice`]: for each failure its likely cause and the next step.
//!
//! Everything is done by the code that does it for containers, so that what holds here holds there.

pub mod advice;
pub mod reach;

use std::fmt;

/// What one step found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub outcome: Outcome,
    /// In words.
    pub what: String,
    /// What may be behind it, and what to do; empty if there is nothing to do.
    pub advice: Option<&'static str>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// Not as it could, but lines will get there.
    Odd,
    /// Lines will not get there.
    Bad,
}

// === impl Finding ===

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Good, what: what.into(), advice: None }
    }

    fn odd(what: impl Into<String>, advice: &'static str) -> Self {
        Self { outcome: Outcome::Odd, what: what.into(), advice: Some(advice) }
    }

    fn bad(what: impl Into<String>, advice: &'static str) -> Self {
        Self { outcome: Outcome::Bad, what: what.into(), advice: Some(advice) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Good => "ok  ",
            Outcome::Odd => "odd ",
            Outcome::Bad => "FAIL",
        };
        write!(f, "{word}  {}", self.what)?;
        match self.advice {
            Some(advice) => write!(f, "\n        {advice}"),
            None => Ok(()),
        }
    }
}

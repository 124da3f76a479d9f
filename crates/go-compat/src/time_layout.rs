//! Go's way to say how a time is written: a layout is the reference time, `Mon Jan 2 15:04:05 MST 2006`, written as times
//! are to be read or written. What is not a part of it stands for itself.
//!
//! The stage `timestamp` has names for common layouts, and four for counts of seconds. Everything else is a layout.

mod civil;
mod parse;
mod token;
mod write;

use thiserror::Error;

use self::token::Token;
use super::zone::Zone;

pub use self::civil::{Civil, Place};
pub use self::write::write;

/// The layout of Go's `Time.String`, which is how a time prints.
pub const STRING: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

/// The names of layouts that `timestamp` knows.
const NAMES: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

/// The names of counts since 1970, with the nanoseconds of one.
const COUNTS: [(&str, i64); 4] = [("Unix", 1_000_000_000), ("UnixMs", 1_000_000), ("UnixUs", 1_000), ("UnixNs", 1)];

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Seconds, with a fraction or without.
    Seconds,
    /// A whole number of units, each of this many nanoseconds.
    Count(i64),
    Tokens {
        tokens: Vec<Token>,
        /// Whether the layout is known by name: a zone of one's own means nothing to it then.
        named: bool,
        /// Whether it has a year. Without one, times are of this year, or of the last or next one around New Year.
        dated: bool,
    },
}

/// Why a text is no time of a layout. The text itself is not repeated: it is part of somebody's log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimeError {
    /// What a part of the layout stands for is not there.
    #[error("it is not written by the layout: {0:?} has nothing that fits")]
    Mismatch(String),
    /// The layout ends before the text does.
    #[error("there is text behind the time")]
    ExtraText,
    /// A number that no calendar or clock shows.
    #[error("{0} out of range")]
    OutOfRange(&'static str),
    /// Not a number of seconds, milliseconds, microseconds or nanoseconds.
    #[error("it is not a count of seconds or parts of them")]
    NotACount,
    /// Before 1677 or after 2262.
    #[error("it is before 1677 or after 2262, which no log line can be")]
    Unrepresentable,
}

// === impl Layout ===

impl Layout {
    /// A named layout, or the text as a layout. Names are spelled exactly: `unixms` is a layout that fits only itself.
    pub fn parse(name_or_layout: &str) -> Self {
        if name_or_layout == "Unix" {
            return Self(Kind::Seconds);
        }
        if let Some((_, nanoseconds)) = COUNTS.iter().find(|(name, _)| *name == name_or_layout) {
            return Self(Kind::Count(*nanoseconds));
        }
        match NAMES.iter().find(|(name, _)| *name == name_or_layout) {
            Some((_, layout)) => Self(Kind::Tokens { tokens: token::tokens(layout), named: true, dated: true }),
            None => Self::of_text(name_or_layout),
        }
    }

    /// The text as a layout, also if it is a name.
    pub fn of_text(layout: &str) -> Self {
        // That a 06 may be part of something else does not matter to Promtail.
        let dated = layout.contains("06");
        Self(Kind::Tokens { tokens: token::tokens(layout), named: false, dated })
    }

    /// The instant that `text` says, in nanoseconds since 1970.
    ///
    /// `zone` is the zone of a time without an offset; UTC when absent. `now_ns` gives the year to a layout that has
    /// none.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse_time(&self, text: &str, zone: Option<&Zone>, now_ns: i64) -> Result<i64, TimeError> {
        match &self.0 {
            Kind::Seconds => seconds(text),
            Kind::Count(unit) => {
                let count: i64 = text.parse().map_err(|_| TimeError::NotACount)?;
                count.checked_mul(*unit).ok_or(TimeError::Unrepresentable)
            }
            Kind::Tokens { tokens, named, dated } => {
                let zone = if *named { None } else { zone };
                let mut parsed = parse::parse(tokens, text)?;
                if !dated {
                    parsed.civil.take_year_from(Civil::of(now_ns.div_euclid(1_000_000_000), 0));
                }
                parsed.nanoseconds(zone).ok_or(TimeError::Unrepresentable)
            }
        }
    }

    /// An instant, written; a count is written as a count.
    pub fn format(&self, ns: i64, zone: Option<&Zone>) -> String {
        match &self.0 {
            Kind::Seconds => ns.div_euclid(1_000_000_000).to_string(),
            Kind::Count(unit) => ns.div_euclid(*unit).to_string(),
            Kind::Tokens { tokens, .. } => write::write_tokens(tokens, &Place::at(ns, zone)),
        }
    }
}

/// `sec` or `sec.frac`. The sign is that of the seconds alone: `-1.5` is half a second before 1970.
fn seconds(text: &str) -> Result<i64, TimeError> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| TimeError::NotACount);
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => {
            let digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
            let scaled = number(fraction)? as f64 * 10_f64.powi(9_i32.saturating_sub(digits));
            (whole, scaled as i64)
        }
        None => (text, 0),
    };
    let whole = number(whole)?.checked_mul(1_000_000_000);
    whole.and_then(|whole| whole.checked_add(fraction)).ok_or(TimeError::Unrepresentable)
}

#[cfg(test)]
mod tests;

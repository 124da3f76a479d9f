//! The error for a value that is refused. It shows no secret and has a bounded length.

use thiserror::Error;

/// The most characters shown of a refused value, so that a mistake cannot flood dockerd's log.
const SHOWN: usize = 200;

/// The error for an unusable value: the value in quotes, and what is expected instead.
///
/// It never contains the user info of a URL, see [`redact`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{value} {reason}")]
pub struct Refusal {
    value: String,
    reason: String,
}

// === impl Refusal ===

impl Refusal {
    /// Creates the error; `reason` continues the sentence after `value`: `is not a duration (try 10s)`.
    pub fn new(value: &str, reason: impl Into<String>) -> Refusal {
        let value = quote(&redact(value));
        let reason = reason.into();
        Refusal { value, reason }
    }
}

/// Puts text in double quotes, on one line and of bounded length.
///
/// Backslashes stay single, because the reader compares the text with what was typed.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (shown, c) in text.chars().enumerate() {
        if shown == SHOWN {
            quoted.push('…');
            break;
        }
        if c.is_control() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

/// Shortens a text to at most `most` bytes, and marks where it was cut.
pub fn clipped(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// Replaces the user info of anything that looks like a URL by `***`.
///
/// The URL need not parse. A password may contain `/`, `:` and `@` without escapes, so everything between the first
/// `//` and the last `@` is replaced.
pub fn redact(text: &str) -> String {
    let Some(at) = text.rfind('@') else {
        return text.to_owned();
    };
    match text[..at].find("//") {
        Some(slashes) => format!("{}***{}", &text[..slashes + 2], &text[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use proptest::prelude::*;

    #[test]
    fn refusals_show_no_user_info() {
        for (text, shown) in [
            ("http://u:p@loki:3100/x", "\"http://***@loki:3100/x\""),
            ("http://u:p@ss/w:rd@loki", "\"http://***@loki\""),
            ("http://u:p@bad host", "\"http://***@bad host\""),
            ("http://loki", "\"http://loki\""),
            ("me@corp", "\"me@corp\""),
            ("a\nb\u{1b}", "\"a\\nb\\u{1b}\""),
        ] {
            let refusal = Refusal::new(text, "is refused");
            assert_eq!(refusal.to_string(), format!("{shown} is refused"));
            assert!(!format!("{refusal:?}").contains("p@"));
        }
        let long = Refusal::new(&"é".repeat(5_000), "is long").to_string();
        assert_eq!(long, format!("\"{}…\" is long", "é".repeat(200)));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_refusal_panic(text in "\\PC{0,300}|[/@:a-z]{0,40}") {
            let _ = Refusal::new(&text, "");
        }
    }
}

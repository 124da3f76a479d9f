//! Parsers of single values: text to a checked value.
//!
//! Each parser takes the whole text and returns the value or a [`Refusal`], with the text, what is expected, and a few
//! examples. The caller adds the key in front: `loki-timeout: "10" is not a duration (try 10s, 500ms, 1m)`.
//!
//! The grammars are those of Go and Docker, which compose files use already:
//!
//! | parser | grammar of | accepts |
//! | --- | --- | --- |
//! | [`boolean`] | Go `strconv.ParseBool` | `1 t T TRUE true True`, `0 f F FALSE false False` |
//! | [`integer`] | Go `strconv.Atoi` | `10`, `+10`, `-3` |
//! | [`size`] | Docker `units.FromHumanSize` | `20m`, `1.5GB`, `512 k`, `64KiB`; all of them decimal |
//! | [`list`] | Docker `labels`, `env` | `a,b` |
//! | [`pairs`] | Grafana `loki-external-labels` | `a=1,b={{join .ContainerArgs ","}}` |
//!
//! Durations are in [their own module](go_compat::duration).

use base::refusal::{Refusal, quote, redact};

/// Examples at the end of every error about a size.
const SIZES: &str = "try 20m, 512k, 1g";

// === numbers and words ===

/// A boolean, in the twelve spellings of Go.
pub fn boolean(text: &str) -> Result<bool, Refusal> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Refusal::new(text, "is not a boolean (try true, false)")),
    }
}

/// A whole number of at least `least`; `what` and `examples` are parts of the error.
pub fn integer(text: &str, what: &str, least: i64, examples: &str) -> Result<i64, Refusal> {
    // Rust and Go agree on signs and digits, and neither accepts spaces or underscores here.
    match text.parse::<i64>() {
        Ok(number) if number >= least => Ok(number),
        _ => {
            let reason = format!("is not a {what} from {least} up (try {examples})");
            Err(Refusal::new(text, reason))
        }
    }
}

/// A size in bytes above zero.
///
/// Every suffix is decimal, `KiB` too, because Docker's own drivers read `max-size` by `units.FromHumanSize`. Fractions
/// are truncated to whole bytes.
pub fn size(text: &str) -> Result<u64, Refusal> {
    human_size(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| Refusal::new(text, format!("is not a size above zero ({SIZES})")))
}

fn human_size(text: &str) -> Option<u64> {
    // As in Docker, the number ends at the last digit, dot or space, and one space may stand between it and the suffix.
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number.parse().ok()?;
    let unit = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1e3,
        "m" | "mb" | "mib" => 1e6,
        "g" | "gb" | "gib" => 1e9,
        "t" | "tb" | "tib" => 1e12,
        "p" | "pb" | "pib" => 1e15,
        _ => return None,
    };
    let bytes = number * unit;
    // Docker uses an int64. The comparison also rejects NaN.
    (0.0..i64::MAX as f64).contains(&bytes).then_some(bytes as u64)
}

// === lists ===

/// Comma-separated names, unchanged: Docker trims nothing. Empty ones are dropped.
pub fn list(text: &str) -> Vec<String> {
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Comma-separated `name=value` pairs, in order.
///
/// A name ends at the first `=` and is trimmed; a value is unchanged. A comma inside `{{…}}` is part of the template:
/// Grafana's driver splits there, which never gave anything but an error.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let refuse = |pair: &str| {
        let reason = format!(
            "is not name=value,name=value (the part {} has no name and =, try app=web,env=prod)",
            quote(&redact(pair))
        );
        Refusal::new(text, reason)
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for pair in split_outside_actions(text) {
        let (name, value) = pair.split_once('=').ok_or_else(|| refuse(pair))?;
        let name = name.trim();
        if name.is_empty() {
            return Err(refuse(pair));
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}

/// Splits at commas outside of `{{…}}`, and so outside of strings in templates.
fn split_outside_actions(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with("{{") {
            at += action_length(&text[at..]);
            continue;
        }
        if c == ',' {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        at += c.len_utf8();
    }
    parts.push(&text[start..]);
    parts
}

/// Bytes from `{{` through the closing `}}`, or to the end of the text.
fn action_length(text: &str) -> usize {
    let mut string: Option<u8> = None;
    let mut at = 2;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match string {
            Some(b'"') if byte == b'\\' => at += 1,
            Some(quote) if byte == quote => string = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'`' => string = Some(byte),
            None if bytes[at..].starts_with(b"}}") => return at + 2,
            None => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_gos() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "no", "tRUE", "on", "2", " true"] {
            let error = boolean(text).unwrap_err().to_string();
            assert_eq!(error, format!("\"{text}\" is not a boolean (try true, false)"));
        }
    }

    #[test]
    fn integers_are_gos() {
        for (text, expected) in [("0", 0), ("+7", 7), ("007", 7), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text, "whole number", 0, "10"), Ok(expected), "{text}");
        }
        for text in ["", "-1", "ten", "1.0", "1_000", " 1", "0x10", "9223372036854775808"] {
            let error = integer(text, "whole number", 0, "10").unwrap_err().to_string();
            assert_eq!(error, format!("\"{text}\" is not a whole number from 0 up (try 10)"));
        }
    }

    #[test]
    fn sizes_are_dockers() {
        for (text, expected) in [
            ("1", 1),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("20m", 20_000_000),
            ("20M", 20_000_000),
            ("20mb", 20_000_000),
            ("20MiB", 20_000_000),
            ("64KiB", 64_000),
            ("1.5k", 1_500),
            (".5m", 500_000),
            ("5.m", 5_000_000),
            ("1 g", 1_000_000_000),
            ("5 ", 5),
            ("+2t", 2_000_000_000_000),
            ("2p", 2_000_000_000_000_000),
            ("1e3", 1_000),
            ("1.9", 1),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "0",
            "0k",
            "0.1",
            "-1",
            "-1k",
            "1x",
            "1kk",
            "1kbb",
            "1bb",
            "1ki",
            "1  k",
            " ",
            ".",
            "1 k ",
            "9223372036854775808",
            "1e400",
            "0x10",
            "inf",
            "nan",
            "1,5m",
            "1é",
        ] {
            let error = size(text).unwrap_err().to_string();
            let expected = format!("\"{text}\" is not a size above zero (try 20m, 512k, 1g)");
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn lists_are_taken_to_the_letter() {
        for (text, expected) in
            [("", vec![]), (",", vec![]), ("a", vec!["a"]), ("a,b,", vec!["a", "b"]), ("a, b", vec!["a", " b"])]
        {
            assert_eq!(list(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        for (text, expected) in [
            ("", vec![]),
            ("a=1", vec![("a", "1")]),
            ("a=1,b=2", vec![("a", "1"), ("b", "2")]),
            (" a =1, b= 2 ", vec![("a", "1"), ("b", " 2 ")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a=", vec![("a", "")]),
            ("a={{.Name}},b=2", vec![("a", "{{.Name}}"), ("b", "2")]),
            (
                "a={{join .ContainerArgs \",\"}},b={{\"}},\"}}",
                vec![("a", "{{join .ContainerArgs \",\"}}"), ("b", "{{\"}},\"}}")],
            ),
            ("a={{\"\\\",\"}},b={{`\\`}},c=é", vec![("a", "{{\"\\\",\"}}"), ("b", "{{`\\`}}"), ("c", "é")]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(pairs(text), Ok(expected), "{text}");
        }
        for (text, part) in [("a", "a"), ("a=1,", ""), (",a=1", ""), ("a=1,b", "b"), ("=1", "=1"), (" =1", " =1")] {
            let error = pairs(text).unwrap_err().to_string();
            let expected = format!(
                "\"{text}\" is not name=value,name=value (the part \"{part}\" has no name and =, \
                 try app=web,env=prod)"
            );
            assert_eq!(error, expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,40}|[-+0-9.a-z µ,={}\"`\\\\]{0,40}") {
            let _ = size(&text);
            let _ = pairs(&text);
        }
    }
}

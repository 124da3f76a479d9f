//! Durations as Go's `time.ParseDuration` reads them: `1h30m`, `-1.5s`, `500us`, `0`.

use std::time::Duration;

use base::refusal::Refusal;

/// Examples that end every complaint about a duration.
const DURATIONS: &str = "try 10s, 500ms, 1m";

// === durations ===

/// A Go duration in nanoseconds, negative ones included.
pub fn go_duration(text: &str) -> Result<i64, Refusal> {
    nanoseconds(text).ok_or_else(|| Refusal::new(text, format!("is not a duration ({DURATIONS})")))
}

/// A duration of zero or more.
pub fn duration(text: &str) -> Result<Duration, Refusal> {
    match u64::try_from(go_duration(text)?) {
        Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        Err(_) => {
            let reason = format!("is not a duration of 0s or more ({DURATIONS})");
            Err(Refusal::new(text, reason))
        }
    }
}

/// A duration above zero.
pub fn positive_duration(text: &str) -> Result<Duration, Refusal> {
    match u64::try_from(go_duration(text)?) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        _ => {
            let reason = format!("is not a duration above zero ({DURATIONS})");
            Err(Refusal::new(text, reason))
        }
    }
}

/// `[-+]?([0-9]*(\.[0-9]*)?[a-zµ]+)+`, or a bare zero, as Go's `time.ParseDuration` reads it.
fn nanoseconds(text: &str) -> Option<i64> {
    /// The largest magnitude: `i64::MIN` has it, `i64::MAX` has one less.
    const LIMIT: u64 = 1 << 63;

    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }

    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u64 = match unit {
            "ns" => 1,
            // U+00B5 micro sign and U+03BC Greek mu, as in Go.
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            _ => return None,
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut part = whole.checked_mul(unit)?;
        part = part.checked_add(fraction_of(unit, fraction))?;
        total = total.checked_add(part).filter(|total| *total <= LIMIT)?;
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(total)) => Some(-total),
        (true, Err(_)) => Some(i64::MIN),
        (false, total) => total.ok(),
    }
}

/// The nanoseconds of a fraction's digits, rounded as Go does it, so that `0.29s` is `290ms` sharp.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    let (mut numerator, mut scale) = (0_u64, 1_f64);
    for digit in digits.bytes().map(|digit| u64::from(digit - b'0')) {
        let longer = numerator.checked_mul(10).and_then(|n| n.checked_add(digit));
        // Digits beyond the nineteenth weigh less than a nanosecond.
        let Some(longer) = longer else { break };
        numerator = longer;
        scale *= 10.0;
    }
    (numerator as f64 * (unit as f64 / scale)) as u64
}

/// Splits the leading decimal digits off.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_gos() {
        const S: i64 = 1_000_000_000;
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("10s", 10 * S),
            ("+5s", 5 * S),
            ("-5s", -5 * S),
            ("500ms", S / 2),
            ("1m", 60 * S),
            ("1h30m", 5_400 * S),
            ("1h30m5.5s", 5_405 * S + S / 2),
            ("1.5h", 5_400 * S),
            ("0.29s", 290_000_000),
            ("1.000000001s", S + 1),
            (".5s", S / 2),
            ("5.s", 5 * S),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("2μs", 2_000),
            ("7ns", 7),
            ("0.3333333333333333333h", 1_200 * S),
            ("0.100000000000000000000h", 360 * S),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(go_duration(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "10",
            "-",
            "+",
            ".",
            "s",
            ".s",
            "-.s",
            "1 s",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "1x",
            "1.2",
            "3000000h",
            "9223372036854775808ns",
            "-9223372036854775809ns",
            "1s1",
            "1--s",
            "٣s",
            "1é",
        ] {
            let error = go_duration(text).unwrap_err().to_string();
            let expected = format!("\"{text}\" is not a duration (try 10s, 500ms, 1m)");
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn durations_have_a_sign_to_mind() {
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(positive_duration("1ns"), Ok(Duration::from_nanos(1)));
        for (error, expected) in [
            (duration("-1s").unwrap_err(), "\"-1s\" is not a duration of 0s or more (try 10s, 500ms, 1m)"),
            (positive_duration("0s").unwrap_err(), "\"0s\" is not a duration above zero (try 10s, 500ms, 1m)"),
            (positive_duration("-1s").unwrap_err(), "\"-1s\" is not a duration above zero (try 10s, 500ms, 1m)"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|[-+0-9.a-z µ]{0,40}") {
            let _ = go_duration(&text);
        }

        #[test]
        fn a_printed_duration_reads_back(nanoseconds in any::<i32>()) {
            let text = format!("{nanoseconds}ns");
            prop_assert_eq!(go_duration(&text), Ok(i64::from(nanoseconds)));
        }
    }
}

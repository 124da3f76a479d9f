//! Numbers as Go prints and reads them.

/// `strconv.FormatFloat(number, 'f', -1, 64)`: the shortest decimal that reads back, without an exponent. This is how a
/// number from JSON becomes text in a pipeline.
pub fn plain(number: f64) -> String {
    special(number).unwrap_or_else(|| format!("{number}"))
}

/// `'g'` of `strconv` and `%v` of `fmt`, which a template prints with: as [`plain`] from 1e-4 to below 1e6, and otherwise with an
/// exponent.
pub fn general(number: f64) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Go decides as if it were to print six digits, however many it prints.
    if number == 0.0 || (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `strconv.ParseInt(text, 0, 64)`: decimal, or `0x`, `0o`, `0b`, or octal behind a zero; `_` between digits.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let prefixed = |letters: [char; 2]| digits.strip_prefix('0').and_then(|rest| rest.strip_prefix(letters));
    let (radix, rest) = if let Some(rest) = prefixed(['x', 'X']) {
        (16, rest)
    } else if let Some(rest) = prefixed(['o', 'O']) {
        (8, rest)
    } else if let Some(rest) = prefixed(['b', 'B']) {
        (2, rest)
    } else if let Some(rest) = digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, rest)
    } else {
        (10, digits)
    };
    let separated = rest.contains('_');
    if separated && (radix == 10 && rest.starts_with('_') || rest.ends_with('_') || rest.contains("__")) {
        return None;
    }
    let plain: String = rest.chars().filter(|c| *c != '_').collect();
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{plain}"), radix).ok()
}

/// `strconv.ParseFloat(text, 64)`, hexadecimal apart: `1.5`, `1e3`, `.5`, `inf`, `nan`; `1_000` is not a number.
pub fn parse_float(text: &str) -> Option<f64> {
    // Both languages take the same words for what is no number. Go calls what is too large an error.
    let number: f64 = text.parse().ok()?;
    let named = text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_alphabetic());
    (number.is_finite() || named).then_some(number)
}

fn special(number: f64) -> Option<String> {
    match number {
        number if number.is_nan() => Some("NaN".to_owned()),
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_print_as_in_go() {
        for (number, plainly, generally) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (1.5, "1.5", "1.5"),
            (999_999.5, "999999.5", "999999.5"),
            (1e6, "1000000", "1e+06"),
            (12_345_678.0, "12345678", "1.2345678e+07"),
            (123_456_789_012_345_680.0, "123456789012345680", "1.2345678901234568e+17"),
            (1e21, "1000000000000000000000", "1e+21"),
            (1e-4, "0.0001", "0.0001"),
            (1e-7, "0.0000001", "1e-07"),
            (-2.5e-105, &format!("-0.{}25", "0".repeat(104)), "-2.5e-105"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(plain(number), plainly);
            assert_eq!(general(number), generally);
        }
    }

    #[test]
    fn numbers_read_as_in_go() {
        for (text, expected) in [
            ("12", Some(12)),
            ("-12", Some(-12)),
            ("+1", Some(1)),
            ("012", Some(10)),
            ("0x1F", Some(31)),
            ("0b101", Some(5)),
            ("0o17", Some(15)),
            ("1_000", Some(1000)),
            ("0x_1", Some(1)),
            ("0", Some(0)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("09", None),
            ("", None),
            ("-", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1.5", None),
            ("0x", None),
            (" 1", None),
            ("+-1", None),
        ] {
            assert_eq!(parse_int(text), expected, "{text}");
        }
        for (text, expected) in
            [("1.5", Some(1.5)), ("1e3", Some(1000.0)), (".5", Some(0.5)), ("x", None), ("1e999", None), (" 1", None)]
        {
            assert_eq!(parse_float(text), expected, "{text}");
        }
        assert_eq!(parse_float("-inf"), Some(f64::NEG_INFINITY));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(number in any::<f64>()) {
            prop_assert!(plain(number) == "NaN" || plain(number).parse() == Ok(number));
            prop_assert!(general(number) == "NaN" || general(number).parse() == Ok(number));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}|[-+0-9a-fxob_.]{0,20}") {
            let _ = (parse_int(&text), parse_float(&text));
        }
    }
}

//! Sizes in bytes, as the stage `drop` reads `longer_than`: `10b`, `8 kb`, `8m`, powers of 1024, in any case.

/// A size in bytes.
///
/// # Errors
/// As in Promtail: `strconv.UnmarshalText: parsing "23QB": invalid syntax`, with what is expected behind it.
pub fn parse(text: &str) -> Result<u64, String> {
    // Promtail reads the text in capitals, and tells it so.
    let refuse = |cause: &str| {
        let shown: String = text.to_uppercase().chars().take(100).collect();
        format!("strconv.UnmarshalText: parsing \"{shown}\": {cause} (try 512b, 8kb, 1mb)")
    };
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(length);
    if digits.is_empty() && !unit.is_empty() {
        return Err(refuse("invalid syntax"));
    }
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| refuse("value out of range"))? };
    let power = match unit.trim().to_lowercase().as_str() {
        "" | "b" | "byte" => 0,
        "k" | "kb" | "kilo" | "kilobyte" | "kilobytes" => 1,
        "m" | "mb" | "mega" | "megabyte" | "megabytes" => 2,
        "g" | "gb" | "giga" | "gigabyte" | "gigabytes" => 3,
        "t" | "tb" | "tera" | "terabyte" | "terabytes" => 4,
        "p" | "pb" | "peta" | "petabyte" | "petabytes" => 5,
        "e" | "eb" | "exa" | "exabyte" | "exabytes" => 6,
        _ => return Err(refuse("invalid syntax")),
    };
    number.checked_mul(1 << (10 * power)).ok_or_else(|| refuse("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_in_promtail() {
        for (text, expected) in [
            ("10b", 10),
            ("10", 10),
            ("10 kb", 10_240),
            ("8m", 8 << 20),
            ("8mb", 8 << 20),
            ("8Kb", 8192),
            ("1GIGABYTE", 1 << 30),
            ("15e", 15 << 60),
            ("", 0),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for (text, shown, cause) in [
            ("23QB", "23QB", "invalid syntax"),
            ("1KiB", "1KIB", "invalid syntax"),
            ("1.5kb", "1.5KB", "invalid syntax"),
            ("-1", "-1", "invalid syntax"),
            ("kb", "KB", "invalid syntax"),
            ("16e", "16E", "value out of range"),
            ("18446744073709551616", "18446744073709551616", "value out of range"),
        ] {
            let expected = format!("strconv.UnmarshalText: parsing \"{shown}\": {cause} (try 512b, 8kb, 1mb)");
            assert_eq!(parse(text), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[0-9]{0,22} ?[a-zA-Z]{0,3}") {
            let _ = parse(&text);
        }
    }
}

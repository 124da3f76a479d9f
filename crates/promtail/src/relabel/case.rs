//! Upper and lower case as Go has them: one character for one.

/// Go's `strings.ToLower`.
pub fn lower(text: &str) -> String {
    // The only character that becomes two is İ, which Go makes an i.
    text.chars().filter_map(|c| c.to_lowercase().next()).collect()
}

/// Go's `strings.ToUpper`.
pub fn upper(text: &str) -> String {
    let upper = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(upper), None) => upper,
            _ => with_iota(c),
        }
    };
    text.chars().map(upper).collect()
}

/// Characters that become several stay as they are, but for the Greek ones with an iota below, which have a capital.
fn with_iota(c: char) -> char {
    let step = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => 0,
    };
    char::from_u32(u32::from(c) + step).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_becomes_one() {
        assert_eq!(upper("bAr123ßéŉᾳ"), "BAR123ßÉŉᾼ");
        assert_eq!(lower("BAR123ÉİΣ"), "bar123éiσ");
    }
}

//! Capital and small letters as Go maps them: one character to one character, so that `ß` has no capital.

/// `strings.ToLower`
pub fn lower(text: &str) -> String {
    text.chars().map(lower_one).collect()
}

/// `strings.ToUpper`
pub fn upper(text: &str) -> String {
    text.chars().map(upper_one).collect()
}

/// `strings.Title`: a capital after everything that is no letter, digit or underscore.
pub fn title(text: &str) -> String {
    let mut before = None;
    let mut map = |c: char| {
        let starts = match before {
            None => true,
            Some(before) if char::is_ascii(&before) => !(before.is_ascii_alphanumeric() || before == '_'),
            Some(before) => before.is_whitespace(),
        };
        before = Some(c);
        if starts { upper_one(c) } else { c }
    };
    text.chars().map(&mut map).collect()
}

/// The small letter of one.
pub fn lower_one(c: char) -> char {
    one(c.to_lowercase(), c)
}

/// The capital of one.
pub fn upper_one(c: char) -> char {
    one(c.to_uppercase(), c)
}

fn one(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(c), None) => c,
        _ => original,
    }
}

//! What a scalar means by itself: go-yaml's rules.

use saphyr_parser::{ScalarStyle, Tag};

use super::Kind;

/// `None` for a tag that is not known.
pub fn kind(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Kind> {
    let Some(tag) = tag else {
        return Some(if style == ScalarStyle::Plain { plain(text) } else { Kind::Text });
    };
    if !tag.is_yaml_core_schema() {
        // A lone ! says text, and nothing else.
        return (tag.handle.is_empty() && tag.suffix == "!").then_some(Kind::Text);
    }
    match tag.suffix.as_str() {
        "str" => Some(Kind::Text),
        "int" => Some(Kind::Int),
        "float" => Some(Kind::Float),
        "bool" => Some(Kind::Bool),
        "null" => Some(Kind::Null),
        _ => None,
    }
}

/// go-yaml's `resolve`, without its times, which everybody means as text.
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Kind::Bool,
        ".nan" | ".NaN" | ".NAN" => return Kind::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Kind::Float;
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Kind::Text;
    }
    let digits = unsigned.replace('_', "");
    if integer(&digits).is_some() {
        return Kind::Int;
    }
    let is_decimal = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if is_decimal && digits.parse::<f64>().is_ok() { Kind::Float } else { Kind::Text }
}

/// Digits without sign and `_`: decimal, `0x`, `0o`, `0b`, or octal behind a `0`.
pub fn integer(digits: &str) -> Option<u64> {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)] {
        if let Some(rest) = digits.strip_prefix(prefix)
            && rest.bytes().all(|b| b.is_ascii_alphanumeric())
            && let Ok(number) = u64::from_str_radix(rest, radix)
        {
            return Some(number);
        }
    }
    let is_decimal = digits.bytes().all(|b| b.is_ascii_digit());
    is_decimal.then(|| digits.parse().ok()).flatten()
}

//! JSON as Promtail reads it, and values of it as Go writes them.

use std::borrow::Cow;

use serde_json::Value;

use go_compat::json::quoted;

/// Bytes that are not UTF-8 pass a parser as characters from here on, which Unicode leaves unassigned.
const BAD_BYTES: u32 = 0x10_FF00;

/// An object, or `null`; and whether [`bad_bytes`] are to be brought back in its texts.
///
/// Half a surrogate pair becomes U+FFFD, and bytes that are no UTF-8 stay what they are, as with Promtail's parser.
pub fn parse_object(text: &[u8]) -> Option<(Value, bool)> {
    let (text, mended) = match std::str::from_utf8(text) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (Cow::Owned(as_characters(text)), true),
    };
    let document = serde_json::from_str(&text).or_else(|error| {
        let whole = without_lone_surrogates(&text);
        whole.map_or(Err(error), |text| serde_json::from_str(&text))
    });
    let document = document.ok()?;
    matches!(document, Value::Object(_) | Value::Null).then_some((document, mended))
}

/// A text with its bytes that are no UTF-8 as characters, for [`bad_bytes`] to undo.
pub fn as_characters(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(BAD_BYTES + u32::from(*byte))));
    }
    out
}

/// Undoes what was done to bytes that are no UTF-8.
pub fn bad_bytes(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(BAD_BYTES).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) if byte >= 0x80 => out.push(byte),
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// The text with `\ufffd` for each half of a surrogate pair that stands alone; `None` when each half has its pair.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let mut out = text.to_owned();
    let mut at = 0;
    let mut changed = false;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        let unit = |at: usize| {
            let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(digits, 16).ok()
        };
        match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                // As long as what it replaces: places stay what they are.
                out.replace_range(at..at + 6, "\\ufffd");
                changed = true;
                at += 6;
            }
            // The escaped character may be a backslash itself.
            _ => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    changed.then_some(out)
}

/// A value without blanks, all numbers as the floating point numbers that they are in Go.
pub fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) => push_number(out, number.as_f64().unwrap_or_default()),
        Value::String(text) => out.extend_from_slice(quoted(text.as_bytes()).as_bytes()),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(pairs) => {
            out.push(b'{');
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(quoted(key.as_bytes()).as_bytes());
                out.push(b':');
                push_value(out, value);
            }
            out.push(b'}');
        }
    }
}

/// With an exponent below 1e-6 and from 1e21 on, as in JavaScript.
fn push_number(out: &mut Vec<u8>, number: f64) {
    let size = number.abs();
    let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_as_promtail_reads_them() {
        let read = |text: &[u8]| parse_object(text).map(|(document, _)| document["a"].clone());
        for text in ["{\"a\": \"\\ud800\"}", "{\"a\": \"\\udc00\"}"] {
            assert_eq!(read(text.as_bytes()), Some(Value::from("\u{fffd}")), "{text}");
        }
        assert_eq!(read(br#"{"a": "\ud83d\ude00\\ud800"}"#), Some(Value::from("😀\\ud800")));
        assert_eq!(read(br#"{"a": 1, "a": 2}"#), Some(Value::from(2)));
        assert_eq!(parse_object(b"null"), Some((Value::Null, false)));
        let (document, mended) = parse_object(b"{\"a\": \"x\xff\xc3y\"}").unwrap();
        assert!(mended);
        assert_eq!(bad_bytes(document["a"].as_str().unwrap().as_bytes()), b"x\xff\xc3y");
        for text in [
            "[1]",
            "1",
            "\"x\"",
            "{} {}",
            "\u{feff}{}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":NaN}",
            "{\"a\":\"\n\"}",
            "{\"a\":1E400}",
            "{/**/}",
            "",
            "{\"a\"",
        ] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn values_are_gos() {
        for (text, expected) in [
            ("[1.50, 1E3, 123456789012345678, 1e-7, 1e21, -0.0]", "[1.5,1000,123456789012345680,1e-7,1e+21,-0]"),
            (r#"{"a": [null, true, "<"]}"#, r#"{"a":[null,true,"\u003c"]}"#),
        ] {
            let mut out = Vec::new();
            push_value(&mut out, &serde_json::from_str(text).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

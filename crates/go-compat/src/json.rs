//! JSON as Go's `encoding/json` writes it.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// JSON as `serde_json` writes it. Only for values that cannot fail: with texts for keys and no code of their own.
pub fn written(value: &impl Serialize, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    match value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter)) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// JSON in which `<`, `>` and `&` are escaped, as Go does unless told otherwise, and so are the two separators.
///
/// Outside of texts JSON has none of these, so it does not matter where they stand.
pub fn html_escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// JSON in which only the two separators are escaped: they end a line in JavaScript.
pub fn separators_escaped(json: &str) -> String {
    json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A text as JSON, as Go writes it. Bytes that are no UTF-8 become U+FFFD, written as an escape.
pub fn quoted(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        let json = written(&chunk.valid(), serde_json::ser::CompactFormatter);
        let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
        out.push_str(&html_escaped(inner));
        // Each byte counts, not each run of them.
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_quoted_as_in_go() {
        for (text, expected) in [
            (&b"a\"b\\"[..], "\"a\\\"b\\\\\""),
            (b"<&>", "\"\\u003c\\u0026\\u003e\""),
            (b"\n\r\t\x01\x7f", "\"\\n\\r\\t\\u0001\x7f\""),
            ("é\u{2028}\u{2029}".as_bytes(), "\"é\\u2028\\u2029\""),
            (b"a\xFF\xFEb", "\"a\\ufffd\\ufffdb\""),
            (b"", "\"\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(text in "\\PC{0,30}|[\\x00-\\x20<>&\"\\\\]{0,20}") {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(text.as_bytes())).unwrap(), text);
        }

        #[test]
        fn any_bytes_give_json(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(serde_json::from_str::<String>(&quoted(&bytes)).is_ok());
        }
    }
}

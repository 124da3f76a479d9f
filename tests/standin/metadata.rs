//! What Loki makes of structured metadata before it stores it.
//!
//! Rule: a name is forced into `[a-zA-Z0-9_]`: each run of other characters, and each run of `_`,
//! becomes one `_`; a leading digit gets `key_` in front; `__reserved__` stays. A name that is
//! empty, or of which nothing but `_` is left, answers 500 and the *whole request* is refused.
//! Bytes of a value that are not UTF-8 become spaces.

/// The name Loki stores, or the text of its 500.
pub fn name(raw: &[u8]) -> Result<String, String> {
    if raw.is_empty() {
        return Err("label name is empty".into());
    }
    let text = String::from_utf8_lossy(raw);
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => name.push(c),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    if name.bytes().all(|byte| byte == b'_') {
        return Err(format!("normalization for label name \"{text}\" resulted in invalid name \"_\""));
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "key_");
    }
    if text.starts_with("__") && text.ends_with("__") {
        name = format!("_{name}_");
    }
    Ok(name)
}

/// The value Loki stores.
pub fn value(raw: &[u8]) -> String {
    let mut value = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        value.push_str(chunk.valid());
        value.extend(chunk.invalid().iter().map(|_| ' '));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table: &[(&str, Option<&str>)] = &[
            ("trace_id", Some("trace_id")),
            ("trace.id", Some("trace_id")),
            ("a-b c", Some("a_b_c")),
            ("a..b", Some("a_b")),
            ("a__b", Some("a_b")),
            ("aé", Some("a_")),
            ("éa", Some("_a")),
            ("a_", Some("a_")),
            ("__a", Some("_a")),
            ("__foo__", Some("__foo__")),
            ("9x", Some("key_9x")),
            ("", None),
            (".", None),
            ("_", None),
            ("__", None),
            ("é", None),
        ];
        for (raw, stored) in table {
            assert_eq!(name(raw.as_bytes()).ok().as_deref(), *stored, "{raw:?}");
        }
        assert_eq!(name(b"a\xffb").as_deref(), Ok("a_b"));
    }

    #[test]
    fn values() {
        assert_eq!(value(b"a\xff\xfeb"), "a  b");
        assert_eq!(value("é".as_bytes()), "é");
    }
}

//! The logfmt grammar, byte for byte as the Go library of that name has it.

use std::borrow::Cow;

/// Bytes of a record, which is what is between newlines: a longer one is not read, and none behind it.
const MAX_RECORD: usize = 65_535;

/// Where reading has ended for good.
struct Mistake;

/// Tells `found` each key with its value, up to the end or the first mistake.
pub fn pairs(text: &[u8], found: &mut dyn FnMut(&[u8], &[u8])) {
    for record in text.split(|b| *b == b'\n') {
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if record.len() > MAX_RECORD || self::record(record, found).is_err() {
            return;
        }
    }
}

fn record(mut rest: &[u8], found: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Mistake> {
    loop {
        rest = &rest[rest.iter().position(|b| *b > b' ').unwrap_or(rest.len())..];
        if rest.is_empty() {
            return Ok(());
        }
        let end = rest.iter().position(|b| matches!(b, b'=' | b'"' | 0..=b' ')).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        // Go looks for U+FFFD, which is also what it reads for bytes that are no UTF-8.
        let is_text = std::str::from_utf8(key).is_ok_and(|key| !key.contains('\u{fffd}'));
        match after.first() {
            Some(b'"') => return Err(Mistake),
            Some(b'=') if key.is_empty() => return Err(Mistake),
            _ if !is_text => return Err(Mistake),
            Some(b'=') => {
                let (value, after) = value(&after[1..])?;
                found(key, &value);
                rest = after;
            }
            _ => {
                found(key, b"");
                rest = after;
            }
        }
    }
}

/// What is behind a `=`, and what is behind that.
fn value(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Mistake> {
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        return self::quoted(quoted);
    }
    let end = rest.iter().position(|b| matches!(b, b'=' | b'"' | 0..=b' ')).unwrap_or(rest.len());
    match rest.get(end) {
        Some(b'=' | b'"') => Err(Mistake),
        _ => Ok((Cow::Borrowed(&rest[..end]), &rest[end..])),
    }
}

/// A value behind its opening quote.
fn quoted(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Mistake> {
    let mut escaped = false;
    let mut has_escapes = false;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, has_escapes) = (true, true),
            b'"' => {
                let inside = &rest[..at];
                let value = if has_escapes { Cow::Owned(unescape(inside)?) } else { Cow::Borrowed(inside) };
                return Ok((value, &rest[at + 1..]));
            }
            _ => {}
        }
    }
    Err(Mistake)
}

/// Escapes as in JSON, and `\'`.
fn unescape(inside: &[u8]) -> Result<Vec<u8>, Mistake> {
    // Only here does Go mend what is no UTF-8.
    let text = replace_bad_bytes(inside);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\0'..='\x1f' => return Err(Mistake),
            '\\' => {
                let escape = rest.chars().next().ok_or(Mistake)?;
                rest = &rest[escape.len_utf8()..];
                match escape {
                    '"' | '\\' | '/' | '\'' => out.push(escape),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    'u' => {
                        let unit = four_digits(rest).ok_or(Mistake)?;
                        rest = &rest[4..];
                        let pair = rest.strip_prefix("\\u").and_then(four_digits);
                        let joined = pair.map(|low| char::decode_utf16([unit, low]).next());
                        match joined {
                            Some(Some(Ok(c))) if is_surrogate(unit) => {
                                out.push(c);
                                rest = &rest[6..];
                            }
                            _ => out.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
                        }
                    }
                    _ => return Err(Mistake),
                }
            }
            c => out.push(c),
        }
    }
    Ok(out.into_bytes())
}

fn is_surrogate(unit: u16) -> bool {
    matches!(unit, 0xD800..=0xDFFF)
}

fn four_digits(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// One U+FFFD for each bad byte, as Go decodes.
fn replace_bad_bytes(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &[u8]) -> String {
        let mut out = Vec::new();
        pairs(text, &mut |key, value| {
            out.push(format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
        });
        out.join("|")
    }

    #[test]
    fn the_grammar_is_gos() {
        for (text, expected) in [
            (&b"a=1 b=2"[..], "a=1|b=2"),
            (b"a b= c=\"\" d", "a=|b=|c=|d="),
            (b"a=1\tb=2\x01c=3", "a=1|b=2|c=3"),
            (b"a=1\nb=2\r\nc=3", "a=1|b=2|c=3"),
            (b"a=\"x y\" b=\"q\\\"\\n\\u00e9\\'\"", "a=x y|b=q\"\n\u{e9}'"),
            (b"a=\"x\"b=2", "a=x|b=2"),
            (b"a=\"x\"\"y\" b=2", "a=x"),
            (b"a=1 b=x=y c=3", "a=1"),
            (b"a=1 b=x\"y c=3", "a=1"),
            (b"a=1 =b c=3", "a=1"),
            (b"a=1 \"b\" c=3", "a=1"),
            (b"a=1 b=\"\\x\" c=3", "a=1"),
            (b"a=1 b=\"x", "a=1"),
            (b"a=1 b\xff=2 c=3", "a=1"),
            ("a=1 b\u{fffd}=2".as_bytes(), "a=1"),
            (b"a=\"\\ud83d\\ude00\" b=\"\\ud83d\" c=\"\\ud83dx\"", "a=\u{1f600}|b=\u{fffd}|c=\u{fffd}x"),
            (b"a=1 b=\"\\u12\"\nc=3", "a=1"),
            (b"", ""),
        ] {
            assert_eq!(shown(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_record_has_an_end() {
        let long = |length: usize| format!("a=1\nb={}\nc=3", "x".repeat(length - 2));
        assert!(shown(long(65_535).as_bytes()).ends_with("|c=3"));
        assert_eq!(shown(long(65_536).as_bytes()), "a=1");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            shown(&text);
        }

        #[test]
        fn no_logfmt_makes_it_panic(text in "[ab=\"\\\\u d8e\n]{0,40}") {
            shown(text.as_bytes());
        }
    }
}

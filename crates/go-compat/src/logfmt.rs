//! logfmt as Promtail reads it: `level=info msg="a text" debug`.
//!
//! A text may hold several records, one a line. Bytes up to 0x20 stand between pairs. A key without a value has an empty one.
//! What is no logfmt ends the reading; what was read until then counts.

/// Bytes of a record above which it is not read, nor what follows it: Go's scanner gives up there.
const MAX_RECORD: usize = 65_535;

/// A key and its value. Only a value with escapes is not a part of the text.
pub type Pair<'a> = (&'a str, Vec<u8>);

/// All pairs up to the first mistake.
pub fn pairs(text: &[u8]) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    for record in text.split(|byte| *byte == b'\n') {
        if record.len() > MAX_RECORD || record_pairs(record, &mut pairs).is_none() {
            break;
        }
    }
    pairs
}

/// The pairs of a record; `None` at a mistake.
fn record_pairs<'a>(record: &'a [u8], pairs: &mut Vec<Pair<'a>>) -> Option<()> {
    let mut rest = record;
    loop {
        rest = &rest[count(rest, |byte| byte <= b' ')..];
        if rest.is_empty() {
            return Some(());
        }
        let length = count(rest, |byte| byte > b' ' && byte != b'=' && byte != b'"');
        let (key, after) = rest.split_at(length);
        if key.is_empty() || after.first() == Some(&b'"') {
            return None;
        }
        let key = str::from_utf8(key).ok()?;
        match after {
            [b'=', b'"', quoted @ ..] => {
                let (value, after) = unquoted(quoted)?;
                pairs.push((key, value));
                // What follows a quote without a blank is the next key.
                rest = after;
                if rest.first() == Some(&b'"') {
                    return None;
                }
            }
            [b'=', plain @ ..] => {
                let length = count(plain, |byte| byte > b' ' && byte != b'=' && byte != b'"');
                let (value, after) = plain.split_at(length);
                if matches!(after.first(), Some(b'=' | b'"')) {
                    return None;
                }
                pairs.push((key, value.to_vec()));
                rest = after;
            }
            after => {
                pairs.push((key, Vec::new()));
                rest = after;
            }
        }
    }
}

fn count(bytes: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_part(**byte)).count()
}

/// A quoted value, after its first quote, with the escapes of JSON; and what follows its last quote.
///
/// A value without escapes is taken as it is. One with escapes is read as JSON is: no control characters, and U+FFFD for bytes
/// that are no UTF-8.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let length = count(text, |byte| byte != b'"' && byte != b'\\');
    if text.get(length) == Some(&b'"') {
        return Some((text[..length].to_vec(), &text[length + 1..]));
    }
    let (value, after) = unescaped(text)?;
    Some((String::from_utf8_lossy(&value).into_owned().into_bytes(), after))
}

fn unescaped(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', b'u', after @ ..] => {
                let (c, after) = unicode(after)?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                value.push(match escaped {
                    b'"' | b'\\' | b'/' | b'\'' => *escaped,
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return None,
                });
                rest = after;
            }
            [byte, ..] if *byte < b' ' => return None,
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// A character after `\u`, or a pair of them that is one. Half a pair is U+FFFD.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let code = |text: &[u8]| {
        let digits = str::from_utf8(text.get(..4)?).ok()?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if all { u32::from_str_radix(digits, 16).ok() } else { None }
    };
    let first = code(text)?;
    let rest = text.get(4..)?;
    if let (0xD800..=0xDBFF, Some(low)) = (first, rest.strip_prefix(b"\\u"))
        && let Some(second @ 0xDC00..=0xDFFF) = code(low)
    {
        let whole = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return Some((char::from_u32(whole)?, low.get(4..)?));
    }
    Some((char::from_u32(first).unwrap_or('\u{FFFD}'), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_in_promtail() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("a=1 b=x", &[("a", "1"), ("b", "x")]),
            (
                "time=2012 msg=\"a \\\"b\\\" \\u00e9\\n\"\tdebug k= e=\"\"",
                &[("time", "2012"), ("msg", "a \"b\" é\n"), ("debug", ""), ("k", ""), ("e", "")],
            ),
            ("a=1\nb=2", &[("a", "1"), ("b", "2")]),
            ("a=\"1\"b=2", &[("a", "1"), ("b", "2")]),
            ("a=1 a=2", &[("a", "1"), ("a", "2")]),
            ("é=ü", &[("é", "ü")]),
            ("a=\"\\ud83d\\ude00\\ud83d\"", &[("a", "😀\u{FFFD}")]),
            // Mistakes end the reading.
            ("a=1 b=x=y c=3", &[("a", "1")]),
            ("a=1 b=x\" c=3", &[("a", "1")]),
            ("a=1 =2 c=3", &[("a", "1")]),
            ("a=1 \"b\" c=3", &[("a", "1")]),
            ("a=1 b=\"x", &[("a", "1")]),
            ("a=1 b=\"\\x\" c=3\nd=4", &[("a", "1")]),
            ("a=\"1\"\" c=3", &[("a", "1")]),
            ("a=\"\\u12\"", &[]),
            ("a=\"x\ty\"", &[("a", "x\ty")]),
            ("a=\"x\ty\\n\"", &[]),
        ] {
            let found = pairs(text.as_bytes());
            let expected: Vec<Pair<'_>> =
                expected.iter().map(|(key, value)| (*key, value.as_bytes().to_vec())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(pairs(b"a=1 \xFF=2 c=3"), [("a", b"1".to_vec())]);
        assert_eq!(pairs(b"a=\xFF"), [("a", b"\xFF".to_vec())]);
        let long = format!("a=1\nb={}\nc=3", "x".repeat(MAX_RECORD));
        assert_eq!(pairs(long.as_bytes()), [("a", b"1".to_vec())]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..60), typed in "[a=\"\\\\ud80\n ]{0,30}") {
            let _ = (pairs(&text), pairs(typed.as_bytes()));
        }

        #[test]
        fn what_is_quoted_reads_back(value in "\\PC{0,30}") {
            let text = format!("k={}", crate::json::quoted(value.as_bytes()));
            prop_assert_eq!(pairs(text.as_bytes()), [("k", value.into_bytes())]);
        }
    }
}

//! Quoted strings, as label strings and queries write them.
//!
//! Rule: `"…"` and `'…'` take the escapes of Go (`\n \t \\ \x41 \101 \u00e9 \U0001F600`, and the
//! quote that opened them, not the other one); a raw line feed ends them in error. `` `…` `` takes
//! everything as it stands. Bytes that are not UTF-8 are refused when they come raw, and accepted
//! when they come as `\xff`.

/// A string that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Quoted {
    /// What it stands for. Bytes, because `\xff` is allowed.
    pub value: Vec<u8>,
    /// How much of the input it took, quotes included.
    pub length: usize,
}

/// Reads the string that begins `text`. The error is the sentence Loki would say.
pub fn read(text: &[u8]) -> Result<Quoted, String> {
    match text.first() {
        Some(b'`') => read_raw(text),
        Some(quote @ (b'"' | b'\'')) => read_escaped(text, *quote),
        _ => Err("expected a quoted string".into()),
    }
}

/// Writes a value so that [`read`] gives it back, in double quotes.
pub fn write(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn read_raw(text: &[u8]) -> Result<Quoted, String> {
    let end = text[1..].iter().position(|byte| *byte == b'`');
    let value = &text[1..end.map_or(text.len(), |end| end + 1)];
    if std::str::from_utf8(value).is_err() {
        return Err("invalid UTF-8 rune".into());
    }
    match end {
        Some(end) => Ok(Quoted { value: value.to_vec(), length: end + 2 }),
        None => Err("unterminated raw string".into()),
    }
}

fn read_escaped(text: &[u8], quote: u8) -> Result<Quoted, String> {
    let mut value = Vec::new();
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\n' => break,
            b'\\' => at += 1 + escape(&text[at + 1..], quote, &mut value)?,
            _ if byte == quote => {
                return Ok(Quoted { value, length: at + 1 });
            }
            _ => {
                let Some(c) = first_char(&text[at..]) else {
                    return Err("invalid UTF-8 rune".into());
                };
                value.extend_from_slice(&text[at..at + c.len_utf8()]);
                at += c.len_utf8();
            }
        }
    }
    Err("unterminated quoted string".into())
}

/// Reads what follows a backslash; returns how many bytes that took.
fn escape(text: &[u8], quote: u8, value: &mut Vec<u8>) -> Result<usize, String> {
    let Some(&kind) = text.first() else {
        return Err("escape sequence not terminated".into());
    };
    let (skip, digits, base, largest) = match kind {
        b'0'..=b'7' => (0, 3, 8, 255),
        b'x' => (1, 2, 16, 255),
        b'u' => (1, 4, 16, char::MAX as u32),
        b'U' => (1, 8, 16, char::MAX as u32),
        _ => {
            value.push(match kind {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'\\' => b'\\',
                _ if kind == quote => quote,
                _ => return Err(format!("unknown escape sequence {}", name_char(text))),
            });
            return Ok(1);
        }
    };
    let mut number: u32 = 0;
    for at in skip..skip + digits {
        let Some(&byte) = text.get(at) else {
            return Err("escape sequence not terminated".into());
        };
        let Some(digit) = (byte as char).to_digit(base) else {
            let culprit = name_char(&text[at..]);
            return Err(format!("illegal character {culprit} in escape sequence"));
        };
        number = number.wrapping_mul(base).wrapping_add(digit);
    }
    match char::from_u32(number) {
        Some(_) if number > largest => Err(BAD_CODE_POINT.into()),
        Some(_) if largest == 255 => {
            value.push(number as u8);
            Ok(skip + digits)
        }
        Some(c) => {
            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            Ok(skip + digits)
        }
        None => Err(BAD_CODE_POINT.into()),
    }
}

const BAD_CODE_POINT: &str = "escape sequence is an invalid Unicode code point";

/// The character that begins `text`, if it is UTF-8.
pub fn first_char(text: &[u8]) -> Option<char> {
    let chunk = text[..text.len().min(4)].utf8_chunks().next()?;
    chunk.valid().chars().next()
}

/// `U+0071 'q'`
fn name_char(text: &[u8]) -> String {
    let c = first_char(text).unwrap_or(char::REPLACEMENT_CHARACTER);
    let code = format!("U+{:04X}", c as u32);
    if c.is_control() { code } else { format!("{code} '{c}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_strings() {
        let table: &[(&[u8], &[u8])] = &[
            (br#""b""#, b"b"),
            (b"'b'", b"b"),
            (b"`b`", b"b"),
            (b"`b\nc\\`", b"b\nc\\"),
            (b"\"b\tc\"", b"b\tc"),
            (b"\"b\0c\"", b"b\0c"),
            (r#""é""#.as_bytes(), "é".as_bytes()),
            (br#""\x41\101\u00e9\U0001F600""#, "AAé😀".as_bytes()),
            (br#""\xff""#, b"\xff"),
            (br"'it\'s'", b"it's"),
            (br#""\a\b\f\n\r\t\v\\\"""#, b"\x07\x08\x0c\n\r\t\x0b\\\""),
        ];
        for (text, value) in table {
            let expected = Quoted { value: value.to_vec(), length: text.len() };
            assert_eq!(read(text), Ok(expected), "{}", text.escape_ascii());
            let longer = [text, b",x=\"y\"".as_slice()].concat();
            assert_eq!(read(&longer).map(|it| it.length), Ok(text.len()));
        }
    }

    #[test]
    fn bad_strings() {
        let table: &[(&[u8], &str)] = &[
            (b"\"b\nc\"", "unterminated quoted string"),
            (b"\"b", "unterminated quoted string"),
            (b"`b", "unterminated raw string"),
            (b"\"b\\", "escape sequence not terminated"),
            (br#""\q""#, "unknown escape sequence U+0071 'q'"),
            (br#""\'""#, "unknown escape sequence U+0027 '''"),
            (br#"'\"'"#, "unknown escape sequence U+0022 '\"'"),
            (b"\"\\\n\"", "unknown escape sequence U+000A"),
            (br#""\8""#, "unknown escape sequence U+0038 '8'"),
            (br#""\400""#, BAD_CODE_POINT),
            (br#""\ud800""#, BAD_CODE_POINT),
            (br#""\U00110000""#, BAD_CODE_POINT),
            (br#""\x4""#, "illegal character U+0022 '\"' in escape sequence"),
            (b"\"\xff\"", "invalid UTF-8 rune"),
            (b"`\xff`", "invalid UTF-8 rune"),
        ];
        for (text, error) in table {
            assert_eq!(read(text), Err(error.to_string()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in ["", "plain", "q\"b\\", "a\nb\tc\r", "\0\u{7f}\u{85}", "é😀 '`"] {
            let quoted = write(value);
            let read = read(quoted.as_bytes()).map(|it| it.value);
            assert_eq!(read, Ok(value.as_bytes().to_vec()), "{quoted}");
        }
        assert_eq!(write("a\nb\"\u{1}"), r#""a\nb\"\x01""#);
    }
}

//! The tokens of a selector, as Go's `text/scanner` finds them.

use super::Mistake;

/// Signs of the language. Two characters are one sign only without a blank between them.
const SIGNS: [&str; 9] = ["=~", "!=", "!~", "|=", "|~", "=", "{", "}", ","];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// The end of the text.
    End,
    /// A name of a label.
    Name(String),
    /// What stands in double quotes, its escapes resolved; these can make any bytes.
    String(Vec<u8>),
    /// One of [`SIGNS`].
    Sign(String),
    /// Something that has no place in a selector: a number, another sign, another quote.
    Other,
}

/// Cuts a selector into tokens.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the last token began.
    start: usize,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, start: 0 }
    }

    /// A mistake at the last token. Lines and columns count from one, columns in characters.
    pub(super) fn mistake(&self, cause: impl Into<String>) -> Mistake {
        let before = &self.text[..self.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Mistake::Syntax { line, column: before[line_start..].chars().count() + 1, cause: cause.into() }
    }

    pub(super) fn next(&mut self) -> Result<Token, Mistake> {
        self.skip()?;
        self.start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == '"' {
            self.at += 1;
            return self.string();
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Ok(Token::Sign((*sign).to_owned()));
        }
        let is_word = |c: char| c == '_' || c.is_alphanumeric();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += end.max(first.len_utf8());
        if first == '_' || first.is_alphabetic() {
            return Ok(Token::Name(rest[..end].to_owned()));
        }
        Ok(Token::Other)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Result<(), Mistake> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blanks;
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                self.start = self.at;
                let end = comment.find("*/").ok_or_else(|| self.mistake("comment not terminated"))?;
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    /// A string, after its first quote.
    fn string(&mut self) -> Result<Token, Mistake> {
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            match rest.chars().next() {
                None | Some('\n') => return Err(self.mistake("literal not terminated")),
                Some('"') => {
                    self.at += 1;
                    return Ok(Token::String(bytes));
                }
                Some('\\') => {
                    let (unescaped, taken) = escape(&rest[1..]).ok_or_else(|| self.mistake("invalid char escape"))?;
                    bytes.extend(unescaped);
                    self.at += 1 + taken;
                }
                Some(c) => {
                    bytes.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                    self.at += c.len_utf8();
                }
            }
        }
    }
}

/// What an escape stands for, after its `\`, and the bytes it takes.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let number = |from: usize, length: usize, radix: u32| {
        let digits = text.get(from..from + length)?;
        let all = digits.chars().all(|c| c.is_digit(radix));
        if all { u32::from_str_radix(digits, radix).ok() } else { None }
    };
    let character = |length: usize| {
        let c = char::from_u32(number(1, length, 16)?)?;
        Some((c.to_string().into_bytes(), 1 + length))
    };
    let byte = match text.bytes().next()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0B,
        quoted @ (b'\\' | b'"') => quoted,
        b'x' => return Some((vec![u8::try_from(number(1, 2, 16)?).ok()?], 3)),
        b'u' => return character(4),
        b'U' => return character(8),
        b'0'..=b'7' => return Some((vec![u8::try_from(number(0, 3, 8)?).ok()?], 3)),
        _ => return None,
    };
    Some((vec![byte], 1))
}

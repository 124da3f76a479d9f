//! The tokens of LogQL.

use go_compat::duration::go_duration;

use crate::standin::quoted;

/// Words that are no names. Those of functions are names wherever no function can be.
const KEYWORDS: [&str; 22] = [
    "and",
    "bool",
    "by",
    "decolorize",
    "drop",
    "group_left",
    "group_right",
    "ignoring",
    "json",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "offset",
    "on",
    "or",
    "pattern",
    "regexp",
    "unless",
    "unpack",
    "unwrap",
    "without",
];

/// Those of two characters first.
const SIGNS: [&str; 26] = [
    "=~", "!~", "!=", "!>", "|=", "|~", "|>", "==", ">=", "<=", "=", ">", "<", "{", "}", "(", ")", ",", "|", "+", "-",
    "*", "/", "%", "^", ".",
];

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    End,
    Name(String),
    Keyword(&'static str),
    /// What a string stands for, without its quotes.
    Text(String),
    Number(f64),
    Duration,
    Bytes,
    /// `[5m]`
    Range,
    /// `--strict`
    Flag,
    Sign(&'static str),
}

/// Cuts an expression into tokens.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    start: usize,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, start: 0 }
    }

    /// What is wrong at the last token, with its place in characters from one.
    pub(super) fn mistake(&self, cause: &str) -> String {
        let column = self.text[..self.start].chars().count() + 1;
        format!("column {column}: {cause}")
    }

    /// Whether names in parentheses come after a `(` that was read already, and not an expression.
    pub(super) fn names_follow(&self) -> bool {
        let inside = self.rest().split(')').next().unwrap_or_default();
        inside.chars().all(|c| c == '_' || c == ',' || c.is_alphanumeric() || c.is_whitespace())
    }

    /// Whether `unwrap` comes after a `|` that was read already.
    pub(super) fn unwrap_follows(&self) -> bool {
        let word = self.rest().trim_start().split(|c: char| c != '_' && !c.is_alphanumeric()).next();
        word.is_some_and(|word| word.eq_ignore_ascii_case("unwrap"))
    }

    pub(super) fn next(&mut self) -> Result<Token, String> {
        self.skip();
        self.start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        match first {
            '"' | '`' => self.quoted(),
            '[' => {
                let end = rest.find(']').ok_or_else(|| self.mistake("a range has no end"))?;
                self.at += end + 1;
                let range = &rest[1..end];
                if is_range(range) { Ok(Token::Range) } else { Err(self.mistake(&format!("{range:?} is no range"))) }
            }
            '0'..='9' => self.amount(),
            '_' | 'a'..='z' | 'A'..='Z' => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                self.at += end;
                let lower = rest[..end].to_ascii_lowercase();
                let keyword = KEYWORDS.iter().find(|word| **word == lower);
                Ok(keyword.map_or_else(|| Token::Name(rest[..end].to_owned()), |word| Token::Keyword(word)))
            }
            _ => {
                if let Some(flag) = ["--strict", "--keep-empty"].iter().find(|flag| rest.starts_with(**flag)) {
                    self.at += flag.len();
                    return Ok(Token::Flag);
                }
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| self.mistake(&format!("{first:?} has no meaning here")))?;
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if !self.rest().starts_with('#') && !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    /// A number, a duration or a size.
    fn amount(&mut self) -> Result<Token, String> {
        let rest = self.rest();
        let mut end = rest.find(|c: char| c != '.' && !c.is_alphanumeric()).unwrap_or(rest.len());
        if rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['-', '+']) {
            let digits = rest[end + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - end - 1);
            end += 1 + digits;
        }
        self.at += end;
        let text = &rest[..end];
        if let Ok(number) = text.parse() {
            return Ok(Token::Number(number));
        }
        match (is_range(text) || go_duration(text).is_ok(), is_size(text)) {
            (true, _) => Ok(Token::Duration),
            (_, true) => Ok(Token::Bytes),
            _ => Err(self.mistake(&format!("{text:?} is no number, no duration and no size"))),
        }
    }

    /// A string, as Go has them.
    fn quoted(&mut self) -> Result<Token, String> {
        let read = quoted::read(self.rest().as_bytes()).map_err(|why| self.mistake(&why))?;
        self.at += read.length;
        Ok(Token::Text(String::from_utf8_lossy(&read.value).into_owned()))
    }
}

/// Whether it is a duration as Prometheus has them: whole numbers, the largest unit first, `1d12h`.
fn is_range(text: &str) -> bool {
    let mut rest = text;
    for unit in ["y", "w", "d", "h", "m", "s", "ms"] {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
        if digits > 0 && &rest[digits..digits + letters] == unit {
            rest = &rest[digits + letters..];
        }
    }
    rest.is_empty() && !text.is_empty()
}

/// Whether it is a size: `5KB`, `1.5MiB`, `5k`.
fn is_size(text: &str) -> bool {
    let (number, unit) = text.split_at(text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    number.parse::<f64>().is_ok()
        && (unit.is_empty() && text.ends_with('B') || matches!(unit, "k" | "K" | "M" | "G" | "T" | "P"))
}

//! Label strings: `{container_name="web", host="a"}`.
//!
//! Rule: Loki reads them with the grammar of Prometheus metrics. A name is
//! `[a-zA-Z_][a-zA-Z0-9_]*`, or any text in quotes; a value is a quoted string ([`quoted`]).
//! Spaces, order, one trailing comma, `# comments` and a metric name (in front of the braces, or
//! alone in quotes within them, stored as `__name__`) are accepted. A pair without a value is
//! forgotten. What is left is sorted; the same name twice is not an error *here* but for the stream
//! it belongs to. No text at all is the empty set.
//!
//! Errors are `line:column: parse error: …`, counted in bytes from 1.

use super::quoted;

/// A label: name and value.
pub type Pair = (String, String);

/// The name under which a metric name is kept.
const METRIC: &str = "__name__";

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

/// A word of the grammar and where it begins.
struct Token {
    kind: Kind,
    start: usize,
}

enum Kind {
    Identifier(String),
    /// What the quotes hold, and how they hold it.
    Text(Vec<u8>, String),
    /// `= != =~ !~ , {  }` and, outside the braces, anything that has no place there.
    Sign(String),
    End,
}

/// Reads a label string: sorted pairs, possibly with duplicates.
pub fn parse(text: &[u8]) -> Result<Vec<Pair>, String> {
    let mut pairs = Parser { text, at: 0 }.labels()?;
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.sort();
    Ok(pairs)
}

/// Writes pairs the way Loki shows them: `{a="b", c="d"}`.
pub fn render<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut text = String::from("{");
    for (name, value) in pairs {
        if text.len() > 1 {
            text.push_str(", ");
        }
        match is_plain(name) {
            true => text.push_str(name),
            false => text.push_str(&quoted::write(name)),
        }
        text.push('=');
        text.push_str(&quoted::write(value));
    }
    text.push('}');
    text
}

/// Whether a name needs no quotes.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && word(name.as_bytes(), false) == name.len()
}

/// How many bytes of `text` are one identifier; metric names may also have colons.
pub fn word(text: &[u8], colons: bool) -> usize {
    let rest = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || colons && *byte == b':'));
    match text.first() {
        Some(byte) if byte.is_ascii_digit() => 0,
        _ => rest.unwrap_or(text.len()),
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn labels(mut self) -> Result<Vec<Pair>, String> {
        let mut token = self.outside()?;
        let mut metric = None;
        if let Kind::Identifier(name) = &token.kind {
            metric = Some(name.clone());
            token = self.outside()?;
        }
        let mut pairs = Vec::new();
        if matches!(&token.kind, Kind::Sign(sign) if sign == "{") {
            self.braces(&mut pairs)?;
            token = self.outside()?;
        }
        if !matches!(token.kind, Kind::End) {
            return Err(self.unexpected(&token, ""));
        }
        if let Some(name) = metric {
            pairs.retain(|(name, _)| name != METRIC);
            pairs.push((METRIC.into(), name));
        }
        Ok(pairs)
    }

    /// From behind the opening brace to behind the closing one.
    fn braces(&mut self, pairs: &mut Vec<Pair>) -> Result<(), String> {
        loop {
            let token = self.inside()?;
            let (name, in_quotes) = match &token.kind {
                Kind::Sign(sign) if sign == "}" => return Ok(()),
                Kind::Identifier(name) => (name.clone(), false),
                Kind::Text(name, _) => (lossy(name), true),
                _ => return Err(self.unexpected(&token, "expected identifier or \"}\"")),
            };
            let mut next = self.inside()?;
            match &next.kind {
                Kind::Sign(sign) if sign == "=" => {
                    let token = self.inside()?;
                    let Kind::Text(value, _) = &token.kind else {
                        return Err(self.unexpected(&token, "expected string"));
                    };
                    pairs.push((name, lossy(value)));
                    next = self.inside()?;
                }
                Kind::Sign(sign) if in_quotes && (sign == "," || sign == "}") => {
                    pairs.push((METRIC.into(), name));
                }
                _ if in_quotes => {}
                _ => return Err(self.unexpected(&next, "expected \"=\"")),
            }
            match &next.kind {
                Kind::Sign(sign) if sign == "," => {}
                Kind::Sign(sign) if sign == "}" => return Ok(()),
                _ => return Err(self.unexpected(&next, "expected \",\" or \"}\"")),
            }
        }
    }

    /// The next word between braces.
    fn inside(&mut self) -> Result<Token, String> {
        let start = self.skip_blanks();
        let rest = &self.text[start..];
        let Some(&byte) = rest.first() else {
            return Err(self.error(start, "unexpected end of input inside braces".into()));
        };
        let (kind, length) = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => identifier(rest, false),
            b'"' | b'\'' | b'`' => self.quotes(start)?,
            b',' | b'}' => sign(rest, 1),
            b'=' if rest.get(1) == Some(&b'~') => sign(rest, 2),
            b'=' => sign(rest, 1),
            b'!' if matches!(rest.get(1), Some(b'=' | b'~')) => sign(rest, 2),
            b'!' => {
                let after = printable(&rest[1..]);
                let error = format!("unexpected character after '!' inside braces: '{after}'");
                return Err(self.error(start, error));
            }
            b'{' => return Err(self.error(start, "unexpected left brace '{'".into())),
            _ => {
                let c = printable(rest);
                let error = format!("unexpected character inside braces: '{c}'");
                return Err(self.error(start, error));
            }
        };
        self.at = start + length;
        Ok(Token { kind, start })
    }

    /// The next word in front of or behind the braces.
    fn outside(&mut self) -> Result<Token, String> {
        let start = self.skip_blanks();
        let rest = &self.text[start..];
        let Some(&byte) = rest.first() else {
            return Ok(Token { kind: Kind::End, start });
        };
        let (kind, length) = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => identifier(rest, true),
            b'"' | b'\'' | b'`' => self.quotes(start)?,
            b'{' | b'=' | b'[' | b',' | b'(' => sign(rest, 1),
            b'+' | b'-' | b'*' | b'/' | b'^' | b'%' | b'@' => {
                let error = format!("unexpected <op:{}>", byte as char);
                return Err(self.error(start, error));
            }
            b'0'..=b'9' => {
                let digits = String::from_utf8_lossy(&rest[..1]);
                return Err(self.error(start, format!("unexpected number \"{digits}\"")));
            }
            _ => {
                let error = format!("unexpected character: '{}'", printable(rest));
                return Err(self.error(start, error));
            }
        };
        // These two are numbers to Prometheus, and a metric cannot be called that.
        if let Kind::Identifier(name) = &kind
            && ["inf", "nan"].contains(&name.to_ascii_lowercase().as_str())
        {
            return Err(self.error(start, format!("unexpected number \"{name}\"")));
        }
        self.at = start + length;
        Ok(Token { kind, start })
    }

    fn quotes(&self, start: usize) -> Result<(Kind, usize), String> {
        let rest = &self.text[start..];
        let read = quoted::read(rest).map_err(|error| self.error(start, error))?;
        let raw = String::from_utf8_lossy(&rest[..read.length]).into_owned();
        Ok((Kind::Text(read.value, raw), read.length))
    }

    /// Moves over blanks and comments; returns where the next word begins.
    fn skip_blanks(&mut self) -> usize {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    let line = rest.iter().position(|byte| *byte == b'\n');
                    self.at += line.unwrap_or(rest.len());
                }
                _ => break,
            }
        }
        self.at
    }

    fn unexpected(&self, token: &Token, expected: &str) -> String {
        let what = match &token.kind {
            Kind::Identifier(name) if name.contains(':') => format!("metric identifier \"{name}\""),
            Kind::Identifier(name) => format!("identifier \"{name}\""),
            Kind::Text(_, raw) if raw.len() > 10 => {
                let start: String = raw.chars().take(10).collect();
                format!("string {}...", quoted::write(&start))
            }
            Kind::Text(_, raw) => format!("string {}", quoted::write(raw)),
            Kind::Sign(sign) if sign.len() > 1 => format!("<op:{sign}>"),
            Kind::Sign(sign) => format!("\"{sign}\""),
            Kind::End => "end of input".into(),
        };
        let place = match expected {
            "" => String::new(),
            _ => format!(" in label set, {expected}"),
        };
        self.error(token.start, format!("unexpected {what}{place}"))
    }

    fn error(&self, at: usize, what: String) -> String {
        let before = &self.text[..at];
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        format!("{}:{}: parse error: {what}", lines + 1, at - line_start + 1)
    }
}

fn identifier(text: &[u8], colons: bool) -> (Kind, usize) {
    let length = word(text, colons);
    (Kind::Identifier(lossy(&text[..length])), length)
}

fn sign(text: &[u8], length: usize) -> (Kind, usize) {
    (Kind::Sign(lossy(&text[..length])), length)
}

/// Loki keeps the bad bytes of `"\xff"`, and its answers to queries are then not JSON any more.
/// The stand-in keeps U+FFFD.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The character that begins `text`, as an error shows it.
fn printable(text: &[u8]) -> String {
    match quoted::first_char(text) {
        None => char::REPLACEMENT_CHARACTER.to_string(),
        Some('\\') => "\\\\".into(),
        Some(c) if c.is_ascii_control() => format!("\\x{:02x}", c as u32),
        Some('\u{feff}') => "\\ufeff".into(),
        Some(c) => c.to_string(),
    }
}

#[cfg(test)]
mod tests;

//! From Go's grammar to the crate's, character by character.

use super::Translated;
use base::refusal::quote;

/// What is wrong with `[a`.
pub const UNCLOSED_CLASS: &str = "a [ has no ]";

/// What is wrong with `(?P<a`.
pub const UNCLOSED_NAME: &str = "the name of a group has no >";

/// Ends `(?:.`: or else a byte that is no character.
const NO_CHARACTER: &str = "|(?-u:[\\x80-\\xFF]))";

/// Repetitions that Go allows.
const MAX_REPETITIONS: u64 = 1000;

/// What a step of the translation answers; the text of an error goes on from `is not a regular
/// expression: `.
type Step<T = ()> = Result<T, String>;

/// Walks over a Go pattern and writes the same for the crate.
struct Translator<'a> {
    rest: &'a str,
    out: String,
    groups: Vec<Option<String>>,
    /// Whether bytes that are no UTF-8 count as characters, see [`super::translate_for_bytes`].
    bytes: bool,
    /// Where an operator that repeats has just been, so that a second one is refused.
    repeated: Option<usize>,
}

/// Translates a whole pattern; with `bytes`, see [`super::translate_for_bytes`].
pub(super) fn translated(pattern: &str, bytes: bool) -> Result<Translated, String> {
    let out = String::with_capacity(pattern.len() + 8);
    let mut translator = Translator { rest: pattern, out, groups: Vec::new(), bytes, repeated: None };
    while let Some(c) = translator.next() {
        match c {
            '\\' => translator.escape()?,
            '[' => translator.class()?,
            '(' => translator.group()?,
            '.' => translator.push_class(".", true),
            '*' | '+' | '?' => translator.repetition(c)?,
            '{' if translator.starts_repetition() => translator.counted_repetition()?,
            '{' => translator.out.push_str("\\{"),
            c => translator.out.push(c),
        }
    }
    Ok(Translated { pattern: translator.out, groups: translator.groups })
}

// === impl Translator ===

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A class outside of brackets. `any` tells whether it takes bytes that are no characters.
    fn push_class(&mut self, class: &str, any: bool) {
        if any && self.bytes {
            self.out.push_str("(?:");
            self.out.push_str(class);
            self.out.push_str(NO_CHARACTER);
        } else {
            self.out.push_str(class);
        }
    }

    /// `*`, `+` or `?`, and the `?` behind it that makes it take little.
    fn repetition(&mut self, operator: char) -> Step {
        let start = self.rest.len() + operator.len_utf8();
        self.out.push(operator);
        self.end_repetition(start)
    }

    /// `{2}`, `{2,}` or `{2,5}`, after its `{`.
    fn counted_repetition(&mut self) -> Step {
        let start = self.rest.len() + 1;
        let Some((bounds, rest)) = self.rest.split_once('}') else {
            return Ok(());
        };
        let too_many = |bound: &str| !bound.is_empty() && bound.parse().is_ok_and(|bound: u64| bound > MAX_REPETITIONS);
        if bounds.len() > 12 || bounds.split(',').any(too_many) {
            return Err(format!("{{{bounds}}} repeats more than {MAX_REPETITIONS} times"));
        }
        self.out.push('{');
        self.out.push_str(bounds);
        self.out.push('}');
        self.rest = rest;
        self.end_repetition(start)
    }

    /// Takes the `?` behind an operator; `start` is what was left of the text where the operator began.
    fn end_repetition(&mut self, start: usize) -> Step {
        if self.repeated == Some(start) {
            return Err("a repetition follows a repetition".to_owned());
        }
        if self.eat("?") {
            self.out.push('?');
        }
        self.repeated = Some(self.rest.len());
        Ok(())
    }

    /// After a `\` outside a class.
    fn escape(&mut self) -> Step {
        match self.rest.chars().next() {
            Some(c @ ('b' | 'B')) => {
                self.rest = &self.rest[1..];
                self.out.push_str("(?-u:\\");
                self.out.push(c);
                self.out.push(')');
            }
            Some(c @ ('A' | 'z')) => {
                self.rest = &self.rest[1..];
                self.out.push('\\');
                self.out.push(c);
            }
            Some('Q') => {
                let quoted = &self.rest[1..];
                let (text, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                self.out.push_str(&regex::escape(text));
                self.rest = rest;
            }
            _ => {
                if let Some((class, any)) = self.shorthand()? {
                    self.push_class(&class, any);
                } else {
                    let c = self.escaped_char()?;
                    push_literal(&mut self.out, c);
                }
            }
        }
        Ok(())
    }

    /// `d w s p` and their opposites, after a `\`, inside a class or out: the same for the crate, and whether it takes nearly
    /// everything.
    fn shorthand(&mut self) -> Step<Option<(String, bool)>> {
        let Some(letter) = self.rest.chars().next() else {
            return Err("it ends with a single \\".to_owned());
        };
        let class = match letter {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[\\t\\n\\x0C\\r ]",
            'S' => "[^\\t\\n\\x0C\\r ]",
            'p' | 'P' => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        self.rest = &self.rest[1..];
        Ok(Some((class.to_owned(), letter.is_ascii_uppercase())))
    }

    /// `pL`, `p{Greek}`, `p{^Greek}`, after a `\`.
    fn unicode_class(&mut self) -> Step<(String, bool)> {
        let mut negated = self.next() == Some('P');
        let name = if self.eat("{") {
            negated ^= self.eat("^");
            let (name, rest) = self.rest.split_once('}').ok_or("a \\p{ has no }")?;
            self.rest = rest;
            name.to_owned()
        } else {
            String::from(self.next().ok_or("it ends with \\p")?)
        };
        let letter = if negated { 'P' } else { 'p' };
        Ok((format!("\\{letter}{{{name}}}"), negated))
    }

    /// One character written as an escape, after the `\`.
    fn escaped_char(&mut self) -> Step<char> {
        let c = self.next().ok_or("it ends with a single \\")?;
        match c {
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            'x' => self.hexadecimal(),
            '0' => Ok(self.octal(0)),
            // A lone digit would be a back reference, which neither engine has.
            '1'..='7' if self.rest.starts_with(|c| matches!(c, '0'..='7')) => Ok(self.octal(c as u32 - '0' as u32)),
            c if c.is_ascii_punctuation() || c.is_ascii_whitespace() || c.is_ascii_control() => Ok(c),
            c => Err(format!("\\{c} means nothing")),
        }
    }

    /// Up to two more octal digits.
    fn octal(&mut self, mut code: u32) -> char {
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.rest = &self.rest[1..];
            code = code * 8 + digit;
        }
        // At most 0o777, which is a character.
        char::from_u32(code).unwrap_or_default()
    }

    /// `41` or `{41}`, after `\x`.
    fn hexadecimal(&mut self) -> Step<char> {
        let wrong = || "\\x wants two hexadecimal digits, or any number of them in braces".to_owned();
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or_else(wrong)?;
            self.rest = rest;
            digits
        } else {
            let digits = self.rest.get(..2).ok_or_else(wrong)?;
            self.rest = &self.rest[2..];
            digits
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let code = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        char::from_u32(code).ok_or_else(|| format!("there is no character {}", quote(digits)))
    }

    /// A class, after its `[`. Read as Go reads it and written out plainly, one item at a time.
    fn class(&mut self) -> Step {
        let start = self.out.len();
        self.out.push('[');
        let negated = self.eat("^");
        if negated {
            self.out.push('^');
        }
        let mut any = negated;
        let mut first = true;
        // A ] that comes first is one of the characters.
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let (named, rest) = self.rest.split_at(end + 2);
                self.out.push_str(named);
                self.rest = rest;
                continue;
            }
            let mut c = self.next().ok_or(UNCLOSED_CLASS)?;
            if c == '\\' {
                if let Some((class, takes_any)) = self.shorthand()? {
                    self.out.push_str(&class);
                    // [^\S] is [\s], whatever else is in it.
                    any = if takes_any { !negated } else { any };
                    continue;
                }
                c = self.escaped_char()?;
            }
            push_literal(&mut self.out, c);
            // A - is a range only between two characters.
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.rest = &self.rest[1..];
                let mut end = self.next().ok_or(UNCLOSED_CLASS)?;
                if end == '\\' {
                    end = self.escaped_char()?;
                }
                self.out.push('-');
                push_literal(&mut self.out, end);
            }
        }
        self.rest = &self.rest[1..];
        self.out.push(']');
        if any && self.bytes {
            self.out.insert_str(start, "(?:");
            self.out.push_str(NO_CHARACTER);
        }
        Ok(())
    }

    /// After a `(`: passes on what Go knows and stops the flags it does not.
    fn group(&mut self) -> Step {
        self.out.push('(');
        if !self.eat("?") {
            self.groups.push(None);
            return Ok(());
        }
        if self.eat("P<") || self.eat("<") {
            let (name, rest) = self.rest.split_once('>').ok_or(UNCLOSED_NAME)?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(format!("{} is not the name of a group", quote(name)));
            }
            self.rest = rest;
            self.groups.push(Some(name.to_owned()));
            return Ok(());
        }
        self.out.push('?');
        let end = self.rest.find([':', ')']).unwrap_or(self.rest.len());
        let flags = &self.rest[..end];
        if !flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-')) {
            let group = quote(&format!("(?{flags}"));
            return Err(format!("{group} is not a group or flag that Go knows"));
        }
        Ok(())
    }

    /// Whether `{`, already taken, starts `{2}`, `{2,}` or `{2,5}`.
    fn starts_repetition(&self) -> bool {
        let Some((bounds, _)) = self.rest.split_once('}') else {
            return false;
        };
        let (least, most) = bounds.split_once(',').unwrap_or((bounds, ""));
        let is_number = |text: &str| {
            text.bytes().all(|digit| digit.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
        };
        !least.is_empty() && is_number(least) && is_number(most)
    }
}

/// A character that stands for itself, inside a class or out.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{:02X}", c as u32));
    }
}

//! Lines: the selector, and what they go through.

use go_compat::work::Work;

use super::lexer::Token;
use super::{Parser, texts};

/// Conditions on labels that compare amounts.
const COMPARISONS: [&str; 7] = ["=", "==", "!=", ">", ">=", "<", "<="];

impl Parser<'_> {
    /// `{a="b", c=~"d"}`
    pub(super) fn selector(&mut self) -> Result<(), String> {
        self.expect("{")?;
        let mut selects = false;
        loop {
            self.name()?;
            selects |= !self.matcher()?;
            if !self.take(",")? {
                break;
            }
        }
        self.expect("}")?;
        if selects { Ok(()) } else { Err(self.mistake("the selector has no label that must not be empty")) }
    }

    /// `="b"` after a name; gives whether an empty value would do.
    fn matcher(&mut self) -> Result<bool, String> {
        let Some(operator) = ["=", "!=", "=~", "!~"].into_iter().find(|operator| self.sees(operator)) else {
            return Err(self.unexpected("=, !=, =~ or !~"));
        };
        self.advance()?;
        let value = self.string()?;
        let equal = match operator {
            "=" | "!=" => value.is_empty(),
            _ => self
                .checked(texts::regexp(&format!("^(?:{value})$")))?
                .is_match(b"", &mut Work::of_line())
                .unwrap_or_default(),
        };
        Ok(equal != operator.starts_with('!'))
    }

    /// All stages that follow, but for `unwrap`; whether there were any.
    pub(super) fn pipeline(&mut self) -> Result<bool, String> {
        let mut any = false;
        loop {
            match self.token {
                Token::Sign(operator @ ("|=" | "!=" | "|~" | "!~" | "|>" | "!>")) => {
                    self.advance()?;
                    self.line_filter(operator)?;
                }
                Token::Sign("|") if !self.lexer.unwrap_follows() => {
                    self.advance()?;
                    self.stage()?;
                }
                _ => return Ok(any),
            }
            any = true;
        }
    }

    /// `"x" or "y"`, or `ip("10.0.0.0/8")`, after its operator.
    fn line_filter(&mut self, operator: &str) -> Result<(), String> {
        loop {
            if self.is_ip() {
                self.ip()?;
                if !matches!(operator, "|=" | "!=") {
                    return Err(self.mistake("ip goes with |= and != only"));
                }
            } else {
                let text = self.string()?;
                let result = match operator {
                    "|~" | "!~" => texts::regexp(&text).map(drop),
                    "|>" | "!>" => texts::pattern(&text, false),
                    _ => Ok(()),
                };
                self.checked(result)?;
            }
            if !self.take("or")? {
                return Ok(());
            }
        }
    }

    /// A stage after its `|`.
    fn stage(&mut self) -> Result<(), String> {
        let Token::Keyword(keyword) = self.token else {
            return self.label_filter();
        };
        self.advance()?;
        match keyword {
            "decolorize" | "unpack" => Ok(()),
            "json" => self.extractions(texts::json_path),
            "logfmt" => {
                while self.token == Token::Flag {
                    self.advance()?;
                }
                self.extractions(texts::logfmt_key)
            }
            "regexp" => {
                let text = self.string()?;
                self.checked(texts::capturing_regexp(&text))
            }
            "pattern" => {
                let text = self.string()?;
                self.checked(texts::pattern(&text, true))
            }
            "line_format" => {
                let text = self.string()?;
                self.checked(texts::template(&text))
            }
            "label_format" => self.label_format(),
            "drop" | "keep" => self.listed(|parser| {
                parser.name()?;
                let condition = ["=", "!=", "=~", "!~"].iter().any(|operator| parser.sees(operator));
                if condition { parser.matcher().map(drop) } else { Ok(()) }
            }),
            _ => Err(self.mistake(&format!("{keyword} is no stage"))),
        }
    }

    /// `a, b="c.d"`, or nothing.
    fn extractions(&mut self, check: fn(&str) -> Result<(), String>) -> Result<(), String> {
        if !matches!(self.token, Token::Name(_)) {
            return Ok(());
        }
        self.listed(|parser| {
            parser.name()?;
            if parser.take("=")? {
                let text = parser.string()?;
                parser.checked(check(&text))?;
            }
            Ok(())
        })
    }

    /// `a=b, c="{{.d}}"`
    fn label_format(&mut self) -> Result<(), String> {
        let mut formatted = Vec::new();
        self.listed(|parser| {
            let name = parser.name()?;
            parser.expect("=")?;
            if let Token::Text(text) = &parser.token {
                let checked = texts::template(text);
                parser.checked(checked)?;
                parser.advance()?;
            } else {
                parser.name()?;
            }
            if formatted.contains(&name) {
                return Err(parser.mistake(&format!("{name} is formatted twice")));
            }
            formatted.push(name);
            Ok(())
        })
    }

    /// `a="b" and (c > 5s or d <= 1KB)`; a comma and nothing at all are `and`, too.
    pub(super) fn label_filter(&mut self) -> Result<(), String> {
        loop {
            if self.take("(")? {
                self.label_filter()?;
                self.expect(")")?;
            } else {
                self.name()?;
                self.condition()?;
            }
            let joined = self.take(",")? || self.take("and")? || self.take("or")?;
            if !joined && !self.sees("(") && !matches!(self.token, Token::Name(_)) {
                return Ok(());
            }
        }
    }

    fn condition(&mut self) -> Result<(), String> {
        let operator = self.token.clone();
        if matches!(operator, Token::Sign("=~" | "!~")) {
            return self.matcher().map(drop);
        }
        let Token::Sign(operator) = operator else {
            return Err(self.unexpected("a comparison"));
        };
        if !COMPARISONS.contains(&operator) {
            return Err(self.unexpected("a comparison"));
        }
        self.advance()?;
        let equality = matches!(operator, "=" | "!=");
        match &self.token {
            Token::Text(_) if equality => self.string().map(drop),
            _ if equality && self.is_ip() => self.ip(),
            _ => {
                if self.sees("-") || self.sees("+") {
                    self.advance()?;
                }
                match self.token {
                    Token::Number(_) | Token::Duration | Token::Bytes => self.advance().map(drop),
                    _ => Err(self.unexpected("what it is compared with")),
                }
            }
        }
    }

    // --- small pieces ---

    fn is_ip(&self) -> bool {
        matches!(&self.token, Token::Name(name) if name.eq_ignore_ascii_case("ip"))
    }

    fn ip(&mut self) -> Result<(), String> {
        self.name()?;
        self.expect("(")?;
        let text = self.string()?;
        self.checked(texts::ip(&text))?;
        self.expect(")")
    }

    fn listed(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        item(self)?;
        while self.take(",")? {
            item(self)?;
        }
        Ok(())
    }

    pub(super) fn checked<T>(&self, result: Result<T, String>) -> Result<T, String> {
        result.map_err(|cause| self.mistake(&cause))
    }
}

//! The selector of the stage `match`: `{app="web", env!~"dev|test"} |= "error" !~ "retry"`.
//!
//! This is Promtail's own small language, not Loki's query language: at least one matcher, then any number of line
//! filters, and nothing else. Strings stand in double quotes and have Go's escapes; `//` and `/* */` are comments. A label
//! that there is not is an empty one. Expressions over labels match whole values, newlines included; those over lines
//! match anywhere.

mod lexer;

use memchr::memmem::Finder;

use self::lexer::{Lexer, Token};
use go_compat::pattern::Pattern;
use go_compat::regexp::Regexp;
use go_compat::work::{Excess, Work};

/// Which entries a `match` stage is for.
#[derive(Debug, Clone)]
pub struct Selector {
    matchers: Vec<Matcher>,
    filters: Vec<Filter>,
}

/// One condition on a label.
#[derive(Debug, Clone)]
struct Matcher {
    name: String,
    negated: bool,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Text(Vec<u8>),
    Pattern(Pattern),
}

/// One condition on the line.
#[derive(Debug, Clone)]
struct Filter {
    negated: bool,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Text(Box<Finder<'static>>),
    Pattern(Regexp),
}

/// Why a selector is refused, before it is put into words.
enum Mistake {
    /// The text is no selector.
    Syntax { line: usize, column: usize, cause: String },
    /// An expression in it does not compile.
    Pattern(String),
}

/// Reads tokens, and remembers the next one.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
}

// === impl Selector ===

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// In Promtail's words, whole: `invalid selector syntax for match stage: parse error at line 1, col 11: syntax error:
    /// unexpected $end, expecting } or ,`, or `error parsing pipeline: error parsing regexp: …`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|mistake| match mistake {
            Mistake::Syntax { line, column, cause } => format!(
                "invalid selector syntax for match stage: parse error at line {line}, col {column}: {cause} (try \
                 {{app=\"web\"}} |= \"error\")"
            ),
            Mistake::Pattern(cause) => format!("error parsing pipeline: {cause}"),
        })
    }

    /// Whether an entry is meant. `label` answers with the value of a label.
    ///
    /// # Errors
    /// When `work` does not reach.
    pub fn matches<'v>(
        &self,
        label: &dyn Fn(&str) -> Option<&'v str>,
        line: &[u8],
        work: &mut Work,
    ) -> Result<bool, Excess> {
        for matcher in &self.matchers {
            let value = label(&matcher.name).unwrap_or_default();
            let matches = match &matcher.value {
                Value::Text(text) => text == value.as_bytes(),
                Value::Pattern(pattern) => {
                    work.charge(pattern.price(value.len()))?;
                    pattern.is_match(value)
                }
            };
            if matches == matcher.negated {
                return Ok(false);
            }
        }
        for filter in &self.filters {
            if !filter.passes(line, work)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(text: &str) -> Result<Self, Mistake> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        let mut parser = Parser { lexer, token };
        parser.expect("{")?;
        let mut matchers = vec![parser.matcher()?];
        while parser.take(",")? {
            matchers.push(parser.matcher()?);
        }
        if !parser.take("}")? {
            return Err(parser.unexpected("} or ,"));
        }
        let mut filters = Vec::new();
        while parser.token != Token::End {
            filters.push(parser.filter()?);
        }
        Ok(Self { matchers, filters })
    }
}

// === impl Filter ===

impl Filter {
    fn passes(&self, line: &[u8], work: &mut Work) -> Result<bool, Excess> {
        let found = match &self.content {
            Content::Text(text) => {
                work.bytes(line.len())?;
                text.find(line).is_some()
            }
            Content::Pattern(regexp) => regexp.is_match(line, work)?,
        };
        Ok(found != self.negated)
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, Mistake> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn take(&mut self, sign: &str) -> Result<bool, Mistake> {
        let there = self.token == Token::Sign(sign.to_owned());
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn expect(&mut self, sign: &str) -> Result<(), Mistake> {
        if self.take(sign)? { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    /// `name op "value"`
    fn matcher(&mut self) -> Result<Matcher, Mistake> {
        let Token::Name(name) = &self.token else {
            return Err(self.unexpected("IDENTIFIER"));
        };
        let name = name.clone();
        self.advance()?;
        let (negated, is_pattern) = match &self.token {
            Token::Sign(sign) => match sign.as_str() {
                "=" => (false, false),
                "!=" => (true, false),
                "=~" => (false, true),
                "!~" => (true, true),
                _ => return Err(self.unexpected("= or != or =~ or !~")),
            },
            _ => return Err(self.unexpected("= or != or =~ or !~")),
        };
        self.advance()?;
        let bytes = self.string()?;
        let value = if is_pattern {
            let compiled = utf8(&bytes).and_then(|text| {
                let mistake = |cause| format!("error parsing regexp: {text:?} is not a regular expression: {cause}");
                Pattern::parse(text).map_err(mistake)
            });
            Value::Pattern(compiled.map_err(Mistake::Pattern)?)
        } else {
            Value::Text(bytes)
        };
        Ok(Matcher { name, negated, value })
    }

    /// `op "text"`, behind the labels.
    fn filter(&mut self) -> Result<Filter, Mistake> {
        const EXPECTED: &str = "!= or !~ or |~ or |=";
        let (negated, is_pattern) = match &self.token {
            Token::Sign(sign) => match sign.as_str() {
                "|=" => (false, false),
                "!=" => (true, false),
                "|~" => (false, true),
                "!~" => (true, true),
                _ => return Err(self.unexpected(EXPECTED)),
            },
            _ => return Err(self.unexpected(EXPECTED)),
        };
        self.advance()?;
        let bytes = self.string()?;
        let content = if is_pattern {
            let compiled = utf8(&bytes).and_then(Regexp::keep);
            Content::Pattern(compiled.map_err(Mistake::Pattern)?)
        } else {
            Content::Text(Box::new(Finder::new(&bytes).into_owned()))
        };
        Ok(Filter { negated, content })
    }

    fn string(&mut self) -> Result<Vec<u8>, Mistake> {
        match &self.token {
            Token::String(_) => match self.advance()? {
                Token::String(bytes) => Ok(bytes),
                _ => Ok(Vec::new()),
            },
            _ => Err(self.unexpected("STRING")),
        }
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let found = match &self.token {
            Token::End => "$end",
            Token::String(_) => "STRING",
            Token::Name(_) | Token::Other => "IDENTIFIER",
            Token::Sign(sign) => sign,
        };
        self.lexer.mistake(format!("syntax error: unexpected {found}, expecting {expected}"))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|_| "error parsing regexp: invalid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str, line: &[u8]) -> bool {
        let labels = [("app", "foo"), ("env", "a\nb"), ("é", "x"), ("q", "b\"r"), ("n", "")];
        let label = |name: &str| labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value);
        Selector::parse(selector)
            .unwrap_or_else(|error| panic!("{error}"))
            .matches(&label, line, &mut Work::of_line())
            .unwrap()
    }

    #[test]
    fn labels_and_lines_are_matched_as_in_promtail() {
        for (selector, line, expected) in [
            ("{app=\"foo\"}", "x", true),
            ("{ app = \"foo\" }", "x", true),
            ("{app=\"fo\"}", "x", false),
            ("{app!=\"fo\"}", "x", true),
            ("{app=~\"fo\"}", "x", false),
            ("{app=~\"fo.|x\"}", "x", true),
            ("{app!~\"fo\"}", "x", true),
            ("{app!~\"f.*\"}", "x", false),
            ("{env=~\"a.b\"}", "x", true),
            ("{none=\"\"}", "x", true),
            ("{none!=\"a\"}", "x", true),
            ("{none=~\".+\"}", "x", false),
            ("{none!~\".+\",app=\"foo\"}", "x", true),
            ("{app=\"foo\",env=\"\"}", "x", false),
            ("{é=\"x\"}", "x", true),
            ("{q=\"b\\\"r\"}", "x", true),
            ("{q=\"\\x62\\u0022\\162\"}", "x", true),
            ("{app=\"foo\"} |= \"err\"", "an error", true),
            ("{app=\"foo\"}|=\"err\"", "fine", false),
            ("{app=\"foo\"} |= \"\"", "", true),
            ("{app=\"foo\"} != \"\"", "", false),
            ("{app=\"foo\"} != \"err\"", "fine", true),
            ("{app=\"foo\"} |~ \"e.r\"", "an error", true),
            ("{app=\"foo\"} |~ \"^e.r\"", "an error", false),
            ("{app=\"foo\"} !~ \"^e.r\"", "an error", true),
            ("{app=\"foo\"} |= \"baz\" |~ \"blip\" != \"flip\" !~ \"flap\"", "baz blip", true),
            ("{app=\"foo\"} |= \"baz\" |~ \"blip\" != \"flip\" !~ \"flap\"", "baz blip flap", false),
            ("{app=\"foo\"} // a comment\n |= /* one\nmore */ \"e\"", "e", true),
            ("\n{\tapp\r\n=\"foo\"}", "x", true),
        ] {
            assert_eq!(selects(selector, line.as_bytes()), expected, "{selector} on {line:?}");
        }
        assert!(selects("{app=\"foo\"} |= \"\\xff\"", b"a\xFFb"));
        assert!(selects("{app=\"foo\"} |~ \"a.b\"", b"a\xFFb"));
    }

    #[test]
    fn what_is_no_selector_is_refused_with_its_place() {
        for (selector, place, cause) in [
            ("", "line 1, col 1", "syntax error: unexpected $end, expecting {"),
            ("foo", "line 1, col 1", "syntax error: unexpected IDENTIFIER, expecting {"),
            ("{}", "line 1, col 2", "syntax error: unexpected }, expecting IDENTIFIER"),
            ("{", "line 1, col 2", "syntax error: unexpected $end, expecting IDENTIFIER"),
            ("{foo=\"bar}", "line 1, col 6", "literal not terminated"),
            ("{foo=\"bar\n\"}", "line 1, col 6", "literal not terminated"),
            ("{foo=\"bar\"", "line 1, col 11", "syntax error: unexpected $end, expecting } or ,"),
            ("{foo=\"bar\",}", "line 1, col 12", "syntax error: unexpected }, expecting IDENTIFIER"),
            ("{foo=\"bar\" \"a\"}", "line 1, col 12", "syntax error: unexpected STRING, expecting } or ,"),
            ("{foo=\"bar\"} |~", "line 1, col 15", "syntax error: unexpected $end, expecting STRING"),
            (
                "{foo=\"bar\"} \"foo\"",
                "line 1, col 13",
                "syntax error: unexpected STRING, expecting != or !~ or |~ or |=",
            ),
            (
                "{foo=\"bar\"} foo",
                "line 1, col 13",
                "syntax error: unexpected IDENTIFIER, expecting != or !~ or |~ or |=",
            ),
            (
                "{foo=\"bar\"}\n|= \"foo\"\n| json",
                "line 3, col 1",
                "syntax error: unexpected IDENTIFIER, expecting != or !~ or |~ or |=",
            ),
            ("{foo=bar}", "line 1, col 6", "syntax error: unexpected IDENTIFIER, expecting STRING"),
            ("{foo=5}", "line 1, col 6", "syntax error: unexpected IDENTIFIER, expecting STRING"),
            ("{foo=`bar`}", "line 1, col 6", "syntax error: unexpected IDENTIFIER, expecting STRING"),
            ("{foo='bar'}", "line 1, col 6", "syntax error: unexpected IDENTIFIER, expecting STRING"),
            ("{foo= ~\"bar\"}", "line 1, col 7", "syntax error: unexpected IDENTIFIER, expecting STRING"),
            ("{foo}", "line 1, col 5", "syntax error: unexpected }, expecting = or != or =~ or !~"),
            ("{\"foo\"=\"bar\"}", "line 1, col 2", "syntax error: unexpected STRING, expecting IDENTIFIER"),
            ("{a.b=\"bar\"}", "line 1, col 3", "syntax error: unexpected IDENTIFIER, expecting = or != or =~ or !~"),
            ("{1a=\"bar\"}", "line 1, col 2", "syntax error: unexpected IDENTIFIER, expecting IDENTIFIER"),
            (
                "{a=\"b\"} |> \"x\"",
                "line 1, col 9",
                "syntax error: unexpected IDENTIFIER, expecting != or !~ or |~ or |=",
            ),
            (
                "{a=\"b\"} or {c=\"d\"}",
                "line 1, col 9",
                "syntax error: unexpected IDENTIFIER, expecting != or !~ or |~ or |=",
            ),
            ("{a=\"\\d\"}", "line 1, col 4", "invalid char escape"),
            ("{a=\"\\'\"}", "line 1, col 4", "invalid char escape"),
            ("{a=\"\\400\"}", "line 1, col 4", "invalid char escape"),
            ("{a=\"\\ud800\"}", "line 1, col 4", "invalid char escape"),
            ("{a=\"b\"} /* ", "line 1, col 9", "comment not terminated"),
            ("{é=\"b\" ", "line 1, col 8", "syntax error: unexpected $end, expecting } or ,"),
        ] {
            let error = Selector::parse(selector).unwrap_err();
            let expected = format!(
                "invalid selector syntax for match stage: parse error at {place}: {cause} (try {{app=\"web\"}} |= \"error\")"
            );
            assert_eq!(error, expected, "{selector:?}");
        }
        for (selector, expected) in [
            ("{a=\"b\"} !~ \"[]\"", "error parsing pipeline: error parsing regexp: missing closing ]: `[]`"),
            ("{a=\"b\"} |~ \"\\xff\"", "error parsing pipeline: error parsing regexp: invalid UTF-8"),
            (
                "{a=~\"(\"}",
                "error parsing pipeline: error parsing regexp: \"(\" is not a regular expression: unclosed group",
            ),
        ] {
            assert_eq!(Selector::parse(selector).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|\\{[a=~!|\"\\\\x0-9, */}\n'`.]{0,30}") {
            let _ = Selector::parse(&text);
        }

        #[test]
        fn any_value_can_be_quoted(value in "\\PC{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let selector = Selector::parse(&format!("{{a=\"{quoted}\"}} |= \"{quoted}\"")).unwrap();
            let matches = |label: &str| selector.matches(&|_| Some(label), value.as_bytes(), &mut Work::of_line());
            prop_assert_eq!(matches(&value), Ok(true));
            prop_assert_eq!(matches("something else altogether, and longer"), Ok(false));
        }
    }
}

//! Whether a text is a valid expression of LogQL, for tests without a Loki.
//!
//! The parser accepts and rejects what Loki does with its defaults, including the content of strings and rules that are
//! not in the grammar (an aggregation that needs `unwrap`, a selector that selects nothing). `tests/data/logql.txt` is
//! Loki's own answer to some hundred expressions, and `tests/logql.rs` compares both. What an expression finds is not
//! checked.

mod aggregation;
mod lexer;
mod stages;
mod texts;

use lexer::{Lexer, Token};

/// Rejects an expression that Loki would not run, with the position and the reason.
pub fn parse(expr: &str) -> Result<(), String> {
    let mut lexer = Lexer::new(expr);
    let token = lexer.next()?;
    let mut parser = Parser { lexer, token };
    parser.expression(0)?;
    match parser.token {
        Token::End => Ok(()),
        _ => Err(parser.unexpected("the end")),
    }
}

/// What an expression gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Logs,
    /// A number that needs no logs.
    Literal,
    Vector,
}

/// Reads tokens, and has the next one at hand.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
}

/// Binary operators, those that bind least first.
const OPERATORS: [&[&str]; 6] =
    [&["or"], &["and", "unless"], &["==", "!=", ">", ">=", "<", "<="], &["+", "-"], &["*", "/", "%"], &["^"]];

// === impl Parser ===

impl Parser<'_> {
    /// Operands, and the operators between them that bind at least at `level`.
    fn expression(&mut self, level: usize) -> Result<Kind, String> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.operand();
        };
        let mut left = self.expression(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.sees(operator)) {
            self.advance()?;
            self.modifiers()?;
            // The power binds to the right.
            let right = self.expression(if *operator == "^" { level } else { level + 1 })?;
            left = self.combined(left, operator, right)?;
        }
        Ok(left)
    }

    fn combined(&self, left: Kind, operator: &str, right: Kind) -> Result<Kind, String> {
        let both = [left, right];
        if both.contains(&Kind::Logs) {
            return Err(self.mistake(&format!("{operator} stands between numbers, not between lines")));
        }
        if matches!(operator, "or" | "and" | "unless") && both.contains(&Kind::Literal) {
            return Err(self.mistake(&format!("{operator} takes no bare number: vector(0) is one that it takes")));
        }
        Ok(if both == [Kind::Literal; 2] { Kind::Literal } else { Kind::Vector })
    }

    /// `bool`, `on (…)` or `ignoring (…)`, and then `group_left (…)` or `group_right (…)`.
    fn modifiers(&mut self) -> Result<(), String> {
        self.take("bool")?;
        if self.take("on")? || self.take("ignoring")? {
            self.names()?;
            if (self.take("group_left")? || self.take("group_right")?) && self.sees("(") && self.lexer.names_follow() {
                self.names()?;
            }
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<Kind, String> {
        match &self.token {
            Token::Sign("{") => {
                self.selector()?;
                self.pipeline()?;
                Ok(Kind::Logs)
            }
            Token::Sign("(") => {
                self.advance()?;
                let kind = self.expression(0)?;
                self.expect(")")?;
                Ok(kind)
            }
            Token::Sign("+" | "-") | Token::Number(_) => {
                self.number()?;
                Ok(Kind::Literal)
            }
            Token::Name(name) => {
                let name = name.to_ascii_lowercase();
                self.advance()?;
                self.function(&name)
            }
            _ => Err(self.unexpected("a selector, a function or a number")),
        }
    }

    // --- small pieces ---

    /// `(a, b)`, or `()`.
    fn names(&mut self) -> Result<(), String> {
        self.expect("(")?;
        if self.take(")")? {
            return Ok(());
        }
        self.name()?;
        while self.take(",")? {
            self.name()?;
        }
        self.expect(")")
    }

    fn name(&mut self) -> Result<String, String> {
        match &self.token {
            Token::Name(_) => match self.advance()? {
                Token::Name(name) => Ok(name),
                _ => Ok(String::new()),
            },
            _ => Err(self.unexpected("a name")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        match &self.token {
            Token::Text(_) => match self.advance()? {
                Token::Text(text) => Ok(text),
                _ => Ok(String::new()),
            },
            _ => Err(self.unexpected("a string")),
        }
    }

    /// A number, with its sign.
    fn number(&mut self) -> Result<f64, String> {
        let negative = self.sees("-");
        if negative || self.sees("+") {
            self.advance()?;
        }
        let Token::Number(number) = self.token else {
            return Err(self.unexpected("a number"));
        };
        self.advance()?;
        Ok(if negative { -number } else { number })
    }

    fn advance(&mut self) -> Result<Token, String> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Whether a sign or keyword comes next.
    fn sees(&self, word: &str) -> bool {
        matches!(self.token, Token::Sign(next) | Token::Keyword(next) if next == word)
    }

    fn take(&mut self, word: &str) -> Result<bool, String> {
        let there = self.sees(word);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.take(word)? { Ok(()) } else { Err(self.unexpected(word)) }
    }

    fn unexpected(&self, expected: &str) -> String {
        self.mistake(&format!("there is {:?} where {expected} is to be", self.token))
    }

    fn mistake(&self, cause: &str) -> String {
        self.lexer.mistake(cause)
    }
}

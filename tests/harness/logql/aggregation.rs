//! Numbers from lines, and from other numbers.

use super::lexer::Token;
use super::texts;
use super::{Kind, Parser};

/// Aggregations over time: whether they need `unwrap` (`None` if they go with and without), and whether they take `by`.
const OVER_TIME: [(&str, Option<bool>, bool); 15] = [
    ("absent_over_time", None, false),
    ("avg_over_time", Some(true), true),
    ("bytes_over_time", Some(false), false),
    ("bytes_rate", Some(false), false),
    ("count_over_time", Some(false), false),
    ("first_over_time", Some(true), true),
    ("last_over_time", Some(true), true),
    ("max_over_time", Some(true), true),
    ("min_over_time", Some(true), true),
    ("quantile_over_time", Some(true), true),
    ("rate", None, false),
    ("rate_counter", Some(true), false),
    ("stddev_over_time", Some(true), true),
    ("stdvar_over_time", Some(true), true),
    ("sum_over_time", Some(true), false),
];

/// Aggregations over labels, and whether they take a number first.
const OVER_LABELS: [(&str, bool); 11] = [
    ("avg", false),
    ("bottomk", true),
    ("count", false),
    ("max", false),
    ("min", false),
    ("sort", false),
    ("sort_desc", false),
    ("stddev", false),
    ("stdvar", false),
    ("sum", false),
    ("topk", true),
];

/// What was in the parentheses of an aggregation over time.
#[derive(Default)]
struct Lines {
    stages: bool,
    unwraps: bool,
    range: bool,
}

impl Parser<'_> {
    /// Whatever has a name, after it.
    pub(super) fn function(&mut self, name: &str) -> Result<Kind, String> {
        if let Some((_, unwrap, grouped)) = OVER_TIME.iter().find(|(known, ..)| *known == name) {
            self.over_time(name, *unwrap, *grouped)?;
        } else if let Some((_, number)) = OVER_LABELS.iter().find(|(known, _)| *known == name) {
            self.over_labels(name, *number)?;
        } else if name == "label_replace" {
            self.label_replace()?;
        } else if name == "vector" {
            self.expect("(")?;
            if !matches!(self.token, Token::Number(_)) {
                return Err(self.unexpected("a number"));
            }
            self.advance()?;
            self.expect(")")?;
        } else {
            return Err(self.mistake(&format!("there is no function {name}")));
        }
        Ok(Kind::Vector)
    }

    fn over_time(&mut self, name: &str, unwrap: Option<bool>, grouped: bool) -> Result<(), String> {
        self.expect("(")?;
        if name == "quantile_over_time" {
            self.number()?;
            self.expect(",")?;
        }
        let lines = self.lines()?;
        if !lines.range {
            return Err(self.unexpected("a range, such as [5m]"));
        }
        self.expect(")")?;
        match unwrap {
            Some(true) if !lines.unwraps => return Err(self.mistake(&format!("{name} needs an unwrap"))),
            Some(false) if lines.unwraps => return Err(self.mistake(&format!("{name} takes no unwrap"))),
            _ => {}
        }
        if grouped {
            self.grouping()?;
        }
        Ok(())
    }

    /// Lines with a range, before or behind their stages.
    fn lines(&mut self) -> Result<Lines, String> {
        let mut lines = Lines::default();
        if self.take("(")? {
            lines = self.lines()?;
            self.expect(")")?;
        } else {
            self.selector()?;
            self.stages_of(&mut lines)?;
        }
        if !lines.range && self.token == Token::Range {
            self.advance()?;
            lines.range = true;
            if self.take("offset")? {
                self.take("-")?;
                match self.token {
                    Token::Duration => self.advance()?,
                    _ => return Err(self.unexpected("a duration")),
                };
            }
            if !lines.stages {
                self.stages_of(&mut lines)?;
            }
        }
        Ok(lines)
    }

    /// Stages, and an `unwrap` behind which there are conditions only.
    fn stages_of(&mut self, lines: &mut Lines) -> Result<(), String> {
        lines.stages |= self.pipeline()?;
        if !self.sees("|") {
            return Ok(());
        }
        self.expect("|")?;
        self.expect("unwrap")?;
        let name = self.name()?;
        if matches!(name.as_str(), "bytes" | "duration" | "duration_seconds") && self.take("(")? {
            self.name()?;
            self.expect(")")?;
        }
        (lines.stages, lines.unwraps) = (true, true);
        while self.take("|")? {
            self.label_filter()?;
        }
        Ok(())
    }

    fn over_labels(&mut self, name: &str, takes_number: bool) -> Result<(), String> {
        let sorts = name.starts_with("sort");
        let grouped = self.grouping()?;
        self.expect("(")?;
        if takes_number {
            let Token::Number(number) = self.token else {
                return Err(self.unexpected("a number of series"));
            };
            if number < 1.0 || number.fract() != 0.0 {
                return Err(self.mistake(&format!("{name} takes a whole number above zero")));
            }
            self.advance()?;
            self.expect(",")?;
        }
        if self.expression(0)? == Kind::Logs {
            return Err(self.mistake(&format!("{name} is for numbers, not for lines")));
        }
        self.expect(")")?;
        let grouped = grouped || self.grouping()?;
        if sorts && grouped { Err(self.mistake(&format!("{name} takes no grouping"))) } else { Ok(()) }
    }

    /// `by (a)` or `without (a)`; whether there was one.
    fn grouping(&mut self) -> Result<bool, String> {
        let there = self.take("by")? || self.take("without")?;
        if there {
            self.names()?;
        }
        Ok(there)
    }

    fn label_replace(&mut self) -> Result<(), String> {
        self.expect("(")?;
        if self.expression(0)? == Kind::Logs {
            return Err(self.mistake("label_replace is for numbers, not for lines"));
        }
        for _ in ["to", "replacement", "from"] {
            self.expect(",")?;
            self.string()?;
        }
        self.expect(",")?;
        let text = self.string()?;
        self.checked(texts::regexp(&text))?;
        self.expect(")")
    }
}

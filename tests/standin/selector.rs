//! The part of the query language that a demo needs.
//!
//! Rule: `{name="value", …}` with `= != =~ !~`, then any number of line filters `|= != |~ !~`, and
//! `count_over_time(… [1h])`, alone or in `sum(…)`. Values are quoted with `"` or `` ` ``. A label
//! that a stream lacks counts as empty. A regular expression must match the whole value of a label,
//! and any part of a line. At least one matcher must refuse the empty value. Anything else of the
//! language answers 400 with a sentence that says so.

use super::clock;
use super::labels::word;
use super::quoted;
use regex::bytes::Regex;
use std::collections::BTreeMap;

/// A selector and its filters.
pub struct LogQuery {
    matchers: Vec<(String, Test)>,
    filters: Vec<Test>,
}

/// A number of lines.
pub struct CountQuery {
    pub logs: LogQuery,
    /// How far back, in nanoseconds.
    pub range: i64,
    /// One number for all, or one for each set of labels.
    pub sum: bool,
}

enum Test {
    Equal(Vec<u8>, bool),
    Regex(Regex, bool),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// Reads a selector with its filters.
pub fn logs(text: &str) -> Result<LogQuery, String> {
    let mut reader = Reader { text, at: 0 };
    let query = reader.logs()?;
    reader.end()?;
    Ok(query)
}

/// Reads a count.
pub fn count(text: &str) -> Result<CountQuery, String> {
    let mut reader = Reader { text, at: 0 };
    if reader.sees("{") {
        let sentence = "log queries are not supported as an instant query type, please change \
                        your query to a range query type";
        return Err(sentence.into());
    }
    let sum = reader.skip("sum");
    if sum {
        reader.expect("(")?;
    }
    reader.expect("count_over_time")?;
    reader.expect("(")?;
    let logs = reader.logs()?;
    reader.expect("[")?;
    let length = reader.rest().find(']').unwrap_or_default();
    let text = reader.rest()[..length].trim();
    let range = clock::parse_duration(text).ok_or_else(|| reader.error(&format!("{text:?} is not a duration")))?;
    reader.at += length;
    reader.expect("]")?;
    reader.expect(")")?;
    if sum {
        reader.expect(")")?;
    }
    reader.end()?;
    Ok(CountQuery { logs, range, sum })
}

// === impl LogQuery ===

impl LogQuery {
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matchers.iter().all(|(name, test)| {
            let value = labels.get(name).map(String::as_bytes);
            test.passes(value.unwrap_or_default())
        })
    }

    pub fn keeps(&self, line: &[u8]) -> bool {
        self.filters.iter().all(|filter| match filter {
            Test::Equal(part, wanted) => contains(line, part) == *wanted,
            Test::Regex(..) => filter.passes(line),
        })
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || line.windows(part.len()).any(|window| window == part)
}

// === impl Test ===

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Equal(text, wanted) => (text == value) == *wanted,
            Self::Regex(regex, wanted) => regex.is_match(value) == *wanted,
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn logs(&mut self) -> Result<LogQuery, String> {
        let matchers = self.matchers()?;
        let selective = |(_, test): &(String, Test)| !test.passes(b"");
        if !matchers.iter().any(selective) {
            let sentence = "parse error : queries require at least one regexp or equality matcher \
                            that does not have an empty-compatible value. For instance, \
                            app=~\".*\" does not meet this requirement, but app=~\".+\" will";
            return Err(sentence.into());
        }
        let mut filters = Vec::new();
        while let Some(sign) = ["|=", "!=", "|~", "!~"].into_iter().find(|it| self.skip(it)) {
            let wanted = sign.starts_with('|');
            let text = self.string()?;
            filters.push(match sign.ends_with('=') {
                true => Test::Equal(text, wanted),
                false => Test::Regex(regex(&text, "(?s)", "")?, wanted),
            });
        }
        Ok(LogQuery { matchers, filters })
    }

    fn matchers(&mut self) -> Result<Vec<(String, Test)>, String> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        if self.skip("}") {
            return Ok(matchers);
        }
        loop {
            self.skip_blanks();
            let length = word(self.rest().as_bytes(), false);
            if length == 0 {
                return Err(self.error("a label's name is expected"));
            }
            let name = self.rest()[..length].to_owned();
            self.at += length;
            let signs = ["=~", "!~", "!=", "="];
            let Some(sign) = signs.into_iter().find(|it| self.skip(it)) else {
                return Err(self.error("one of = != =~ !~ is expected"));
            };
            let value = self.string()?;
            let wanted = sign.starts_with('=');
            let test = match sign.ends_with('~') {
                true => Test::Regex(regex(&value, "^(?s:", ")$")?, wanted),
                false => Test::Equal(value, wanted),
            };
            matchers.push((name, test));
            if self.skip("}") {
                return Ok(matchers);
            }
            self.expect(",")?;
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.skip_blanks();
        if !self.rest().starts_with(['"', '`']) {
            return Err(self.error("a value in \"\" or `` is expected"));
        }
        let read = quoted::read(self.rest().as_bytes()).map_err(|error| self.error(&error))?;
        self.at += read.length;
        Ok(read.value)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn sees(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        self.rest().starts_with(sign)
    }

    fn skip(&mut self, sign: &str) -> bool {
        let sees = self.sees(sign);
        self.at += if sees { sign.len() } else { 0 };
        sees
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        match self.skip(sign) {
            true => Ok(()),
            false => Err(self.error(&format!("{sign:?} is expected"))),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.rest() {
            "" => Ok(()),
            _ => Err(self.error("this is more than the stand-in understands")),
        }
    }

    fn error(&self, what: &str) -> String {
        format!("parse error at line 1, col {}: {what}", self.at + 1)
    }
}

fn regex(text: &[u8], before: &str, behind: &str) -> Result<Regex, String> {
    let text = String::from_utf8_lossy(text);
    Regex::new(&format!("{before}{text}{behind}"))
        .map_err(|error| format!("parse error : error parsing regexp: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected() {
        let labels =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let web = labels(&[("app", "web"), ("k", "q")]);
        let table = [
            (r#"{app="web"}"#, true),
            (r#"{app="web", k=~"q"}"#, true),
            (r#"{ app = `web` ,k!="x" }"#, true),
            (r#"{app="web",k!~"q.+"}"#, true),
            (r#"{app=~"we"}"#, false),
            (r#"{app=~"w.*"}"#, true),
            (r#"{app="web",zone=""}"#, true),
            (r#"{app="web",zone!=""}"#, false),
            (r#"{app="db"}"#, false),
        ];
        for (text, expected) in table {
            let query = logs(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(query.selects(&web), expected, "{text}");
        }
    }

    #[test]
    fn what_is_filtered() {
        let table = [
            (r#"{a="b"}"#, true),
            (r#"{a="b"} |= "3""#, true),
            (r#"{a="b"}|="3"|=`line`"#, true),
            (r#"{a="b"} != "3""#, false),
            (r#"{a="b"} |~ "[34]""#, true),
            (r#"{a="b"} !~ "[34]""#, false),
            (r#"{a="b"} |= "3" |= "other""#, false),
        ];
        for (text, expected) in table {
            let query = logs(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(query.keeps(b"line 3"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "{}",
            "foo",
            "{a=~\".*\"}",
            "{a=\"b\"",
            "{a=\"b\",}",
            "{a='b'}",
            "{a=~\"[\"}",
            "{a=\"b\"} | json",
            "{a=\"b\"} |= x",
            "{a-b=\"c\"}",
        ] {
            assert!(logs(text).is_err(), "{text}");
        }
        for text in ["{a=\"b\"}", "sum(rate({a=\"b\"}[1h]))", "count_over_time({a=\"b\"}[1x])"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        let query = count("sum(count_over_time({a=\"b\"} |= \"x\" [5m]))").ok();
        assert_eq!(query.map(|it| (it.sum, it.range)), Some((true, 300_000_000_000)));
        let query = count("count_over_time({a=\"b\"}[1h])").ok();
        assert_eq!(query.map(|it| it.sum), Some(false));
    }
}

//! An event on its way to a line: what is said, and what goes with it.
//!
//! A line that would be too long has its longest texts cut, at a character, with `…(+123 bytes)` at their ends, before it
//! takes its form. So it is well formed, and what is short in it is whole.

use std::fmt::{self, Write};

use tracing::Level;
use tracing::field::{Field, Visit};

use super::LONGEST;

/// Fields beside the message. The program has no event with a quarter as many.
const MOST_FIELDS: usize = 64;

/// Bytes of a field's name.
const LONGEST_NAME: usize = 64;

/// The most that a mark at the end of a text takes.
const MARK: usize = "…(+18446744073709551615 bytes)".len();

/// What a line has beside its texts at most: its level, the names of level and message, braces and quotes, the newline.
const FRAME: usize = 48;

/// What a field has beside its name and its value at most: two pairs of quotes and what is between and behind them.
const FIELD_FRAME: usize = 6;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    level: Level,
    message: Text,
    fields: Vec<(String, Value)>,
    left_out: u64,
}

/// An event that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    pub level: &'static str,
    pub message: String,
    pub fields: Vec<(String, Plain)>,
}

/// The value of a field that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    Text(String),
    /// A number or a boolean, as it is written in any format.
    Literal(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(Text),
    Literal(String),
}

/// A text, of which no more is kept than a line can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    kept: String,
    /// Bytes behind it.
    more: usize,
}

/// A text in the escapes of JSON, which are also those of logfmt, without its quotes. Whatever could end a line, for whom
/// ever, or move a terminal's cursor is escaped.
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_escaped_by_number(c) => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Control characters, and the two separators that end a line in JavaScript.
fn is_escaped_by_number(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Bytes of a character in [`escape`].
fn width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if is_escaped_by_number(c) => 6,
        c => c.len_utf8(),
    }
}

/// A name that both formats take and that no other field has.
fn name(raw: &str, taken: &[(String, Value)]) -> String {
    let raw = raw.strip_prefix("r#").unwrap_or(raw);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let mut name: String = raw.chars().map(plain).take(LONGEST_NAME).collect();
    while name.is_empty() || ["level", "msg"].contains(&name.as_str()) || taken.iter().any(|(other, _)| *other == name)
    {
        name.push('_');
    }
    name
}

// === impl Line ===

impl Line {
    /// Nothing so far.
    pub fn new(level: Level) -> Self {
        Self { level, message: Text::default(), fields: Vec::new(), left_out: 0 }
    }

    /// How severe it is.
    /// The container that it is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        self.fields.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == "container" => Some(text.kept.as_str()),
            _ => None,
        })
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// What happened, in words.
    pub fn say(&mut self, message: fmt::Arguments<'_>) {
        self.message = Text::of(message);
    }

    /// Adds a count.
    pub fn add_number(&mut self, name: &str, number: u64) {
        self.add(name, Value::Literal(number.to_string()));
    }

    /// Adds a text.
    pub fn add_text(&mut self, name: &str, text: impl fmt::Display) {
        self.add(name, Value::Text(Text::of(text)));
    }

    fn add(&mut self, raw: &str, value: Value) {
        if self.fields.len() < MOST_FIELDS {
            self.fields.push((name(raw, &self.fields), value));
        } else {
            self.left_out += 1;
        }
    }

    /// The part of it that fits a line of this many bytes in any format, newline included.
    pub fn fit(mut self, longest: usize) -> Fitted {
        if self.left_out > 0 {
            let left_out = Value::Literal(self.left_out.to_string());
            self.fields.push((name("fields_left_out", &self.fields), left_out));
        }
        let fixed = |(name, value): &(String, Value)| {
            let literal = if let Value::Literal(literal) = value { literal.len() } else { 0 };
            name.len() + literal + FIELD_FRAME
        };
        let room = longest.saturating_sub(FRAME + self.fields.iter().map(fixed).sum::<usize>());
        let texts = self.fields.iter().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text.width()),
            Value::Literal(_) => None,
        });
        let share = share(texts.chain([self.message.width()]).collect(), room);
        let fields = self.fields.into_iter().map(|(name, value)| match value {
            Value::Text(text) => (name, Plain::Text(text.fit(share))),
            Value::Literal(literal) => (name, Plain::Literal(literal)),
        });
        let level = match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        Fitted { level, fields: fields.collect(), message: self.message.fit(share) }
    }
}

/// The most that each text may take so that all take no more than there is room; those that need less leave the rest to
/// the others.
fn share(mut widths: Vec<usize>, mut room: usize) -> usize {
    widths.sort_unstable();
    let count = widths.len();
    for (at, width) in widths.into_iter().enumerate() {
        let share = room / (count - at);
        if width > share {
            return share;
        }
        room -= width;
    }
    usize::MAX
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.say(format_args!("{value:?}")),
            name => self.add_text(name, format_args!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), Value::Literal(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), Value::Literal(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.add(field.name(), Value::Literal(number.to_string())),
            // JSON has no such numbers.
            None => self.add_text(field.name(), value),
        }
    }
}

// === impl Text ===

impl Text {
    fn of(text: impl fmt::Display) -> Self {
        let mut kept = Self::default();
        // It fails only if the value does, and then what it has written so far is there.
        let _ = write!(kept, "{text}");
        kept
    }

    fn width(&self) -> usize {
        self.kept.chars().map(width).sum::<usize>() + if self.more > 0 { MARK } else { 0 }
    }

    /// The part of it that fits this many bytes, escapes included.
    fn fit(mut self, share: usize) -> String {
        if self.more == 0 && self.width() <= share {
            return self.kept;
        }
        let mut room = share.saturating_sub(MARK);
        let cut = self.kept.char_indices().find_map(|(at, c)| match room.checked_sub(width(c)) {
            Some(less) => {
                room = less;
                None
            }
            None => Some(at),
        });
        let cut = cut.unwrap_or(self.kept.len());
        let more = self.more + self.kept.len() - cut;
        self.kept.truncate(cut);
        let _ = write!(self.kept, "…(+{more} bytes)");
        self.kept
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.more > 0 { 0 } else { LONGEST - self.kept.len() };
        let fits = if text.len() <= room { text.len() } else { text.floor_char_boundary(room) };
        self.kept.push_str(&text[..fits]);
        self.more += text.len() - fits;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Fields by name, as a test gives them.
    pub type Given = Vec<(String, Result<String, i64>)>;

    pub fn line(message: &str, fields: &Given) -> Line {
        let mut line = Line::new(Level::INFO);
        line.say(format_args!("{message}"));
        for (name, value) in fields {
            match value {
                Ok(text) => line.add_text(name, text),
                Err(number) => line.add(name, Value::Literal(number.to_string())),
            }
        }
        line
    }

    fn text() -> impl Strategy<Value = String> {
        let any = prop_oneof![
            "\\PC{0,40}",
            "[\\x00-\\x7f\u{80}-\u{a0}\u{2028}\u{2029}\u{fffd}é😀]{0,40}",
            "[ =\"\\\\\n]{0,20}",
            Just(String::new()),
        ];
        // Some are far longer than a line.
        (any, prop_oneof![8 => Just(1_usize), 1 => 1..2000_usize]).prop_map(|(text, times)| text.repeat(times))
    }

    /// Any message with any fields.
    pub fn anything() -> impl Strategy<Value = (String, Given)> {
        let name = prop_oneof!["[a-z_.]{0,20}", "\\PC{0,100}", Just("msg".to_owned()), Just("level".to_owned())];
        let value = prop_oneof![3 => text().prop_map(Ok), 1 => any::<i64>().prop_map(Err)];
        (text(), prop_oneof![4 => vec((name.clone(), value.clone()), 0..6), 1 => vec((name, value), 0..100)])
    }

    /// What a form makes of an event: one line that dockerd can take.
    pub fn one_line(message: &str, fields: &Given, write: fn(&Fitted) -> String) -> (Fitted, String) {
        let line = line(message, fields).fit(LONGEST);
        let text = write(&line);
        assert!(text.len() < LONGEST && text.chars().all(|c| !c.is_control()), "{} bytes", text.len());
        (line, text)
    }

    /// What is read back of a text is it, or its beginning and how much there is more of it.
    pub fn is_of(read: &str, whole: &str) -> bool {
        let cut = read.rsplit_once("…(+").and_then(|(begin, mark)| {
            let more: usize = mark.strip_suffix(" bytes)")?.parse().ok()?;
            Some(whole.starts_with(begin) && begin.len() + more == whole.len())
        });
        read == whole || cut == Some(true)
    }

    #[test]
    fn the_longest_texts_are_cut_and_the_others_are_whole() {
        let given: Given = vec![
            ("short".into(), Ok("whole".into())),
            ("first".into(), Ok("é".repeat(40_000))),
            ("second".into(), Ok("\n".repeat(9_000))),
            ("number".into(), Err(7)),
        ];
        let fitted = line("what happened", &given).fit(LONGEST);
        assert_eq!(fitted.message, "what happened");
        let texts: Vec<_> = fitted.fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        assert_eq!(texts[0], ("short", Plain::Text("whole".into())));
        assert_eq!(texts[3], ("number", Plain::Literal("7".into())));
        for (at, whole) in [(1, "é".repeat(40_000)), (2, "\n".repeat(9_000))] {
            let Plain::Text(text) = &texts[at].1 else { panic!("a text") };
            assert!(is_of(text, &whole) && text.len() > 3000, "{} bytes: {text}", text.len());
        }
    }

    #[test]
    fn more_fields_than_any_event_has_are_counted() {
        let given: Given = (0..70).map(|at| (format!("field{at}"), Ok("x".repeat(1000)))).collect();
        let fitted = line("many", &given).fit(LONGEST);
        assert_eq!(fitted.fields.len(), MOST_FIELDS + 1);
        assert_eq!(fitted.fields[MOST_FIELDS], ("fields_left_out".into(), Plain::Literal("6".into())));
    }

    #[test]
    fn names_are_such_that_both_formats_take_them_and_none_stands_twice() {
        let given: Given =
            ["a b=\"", "msg", "level", "", "x", "x", "r#type"].map(|name| (name.to_owned(), Err(1))).to_vec();
        let fitted = line("", &given).fit(LONGEST);
        let names: Vec<_> = fitted.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a_b__", "msg_", "level_", "_", "x", "x_", "type"]);
    }
}

//! Labels that Loki accepts: valid names, bounded values, and their canonical form.
//!
//! Loki parses the label string of a stream with the grammar of Prometheus, and rejects the whole request if that
//! fails. So a [`LabelSet`] holds nothing that Loki would reject: names are made valid, values are escaped like Go's
//! `strconv.Quote`, and both are truncated to Loki's limits (`max_label_name_length`, `max_label_value_length`; Loki
//! rejects a stream with longer ones).

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use thiserror::Error;

/// Bytes of a label name that Loki accepts by default.
pub const MAX_NAME: usize = 1024;

/// Bytes of a label value that Loki accepts by default.
pub const MAX_VALUE: usize = 2048;

/// Labels of a stream that Loki accepts by default; `service_name`, which Loki adds, is not counted.
pub const MAX_LABELS: usize = 15;

/// A label name: `[a-zA-Z_][a-zA-Z0-9_]*`, at most [`MAX_NAME`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelName(String);

/// Labels of one stream, sorted by name, every name once.
///
/// Two sets are equal exactly when Loki takes them for the same stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet(BTreeMap<LabelName, String>);

/// An empty name cannot be made valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a label needs a name")]
pub struct EmptyName;

// === impl LabelName ===

impl LabelName {
    /// The nearest valid name: every other character becomes `_`, a leading digit gets a `_` in front, and a name that
    /// is too long is truncated.
    pub fn sanitise(typed: &str) -> Result<LabelName, EmptyName> {
        let first = typed.chars().next().ok_or(EmptyName)?;
        let mut name = String::with_capacity(typed.len() + 1);
        if first.is_ascii_digit() {
            name.push('_');
        }
        name.extend(typed.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        name.truncate(MAX_NAME);
        Ok(LabelName(name))
    }

    /// A name from this source code, which is valid already.
    pub fn known(name: &'static str) -> LabelName {
        debug_assert_eq!(LabelName::sanitise(name).as_ref().map(LabelName::as_str), Ok(name));
        LabelName(name.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

// === impl LabelSet ===

impl LabelSet {
    pub fn new() -> LabelSet {
        LabelSet::default()
    }

    /// Sets one label, in place of an earlier one of that name.
    ///
    /// Returns a note for the log if the value was too long and was truncated at a character boundary.
    pub fn insert(&mut self, name: LabelName, value: impl Into<String>) -> Option<String> {
        let mut value = value.into();
        let length = value.len();
        if length > MAX_VALUE {
            let whole = (0..=MAX_VALUE).rev().find(|at| value.is_char_boundary(*at));
            value.truncate(whole.unwrap_or_default());
        }
        let note = (value.len() < length).then(|| {
            let kept = value.len();
            format!("the value of label {name} is cut from {length} to {kept} bytes, Loki's limit")
        });
        self.0.insert(name, value);
        note
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let mut labels = self.iter();
        labels.find(|(other, _)| other.as_str() == name).map(|(_, value)| value)
    }

    /// The labels in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&LabelName, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `{a="v", b="v"}`, as Loki itself writes it.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}=\"")?;
            escape(value, f)?;
            f.write_char('"')?;
        }
        f.write_char('}')
    }
}

/// Go's `strconv.Quote`, without the quotes.
fn escape(value: &str, out: &mut impl Write) -> fmt::Result {
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\u{7}' => out.write_str("\\a")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{b}' => out.write_str("\\v")?,
            c if is_print(c) => out.write_char(c)?,
            c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c))?,
            c if u32::from(c) < 0x10000 => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "\\U{:08x}", u32::from(c))?,
        }
    }
    Ok(())
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
///
/// The standard library has the same table behind `escape_debug`, which also escapes a combining mark without a base
/// character; hence the letter in front.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut buffer = *b"x\0\0\0\0";
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    text.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(typed: &str) -> LabelName {
        LabelName::sanitise(typed).unwrap()
    }

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        let mut labels = LabelSet::new();
        for (typed, value) in pairs {
            assert_eq!(labels.insert(name(typed), *value), None);
        }
        labels
    }

    #[test]
    fn names_are_mended() {
        for (typed, expected) in [
            ("app", "app"),
            ("App_1", "App_1"),
            ("__x", "__x"),
            ("com.example/app-name", "com_example_app_name"),
            ("1st", "_1st"),
            (" a", "_a"),
            ("größe", "gr__e"),
            (".", "_"),
            ("a\"}", "a__"),
        ] {
            assert_eq!(name(typed).as_str(), expected, "{typed}");
        }
        assert_eq!(LabelName::sanitise(""), Err(EmptyName));
        assert_eq!(name(&"1".repeat(2_000)).as_str().len(), MAX_NAME);
    }

    #[test]
    fn sets_are_written_as_loki_writes_them() {
        for (pairs, expected) in [
            (&[][..], "{}"),
            (&[("a", "1")], "{a=\"1\"}"),
            (&[("b", "2"), ("a", "1"), ("b", "3")], "{a=\"1\", b=\"3\"}"),
            (&[("a", "say \"hi\" \\ {x=1}, y")], "{a=\"say \\\"hi\\\" \\\\ {x=1}, y\"}"),
            (&[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}")], "{a=\"\\a\\b\\f\\n\\r\\t\\v\"}"),
            (&[("a", "\0\u{1b}\u{7f}")], "{a=\"\\x00\\x1b\\x7f\"}"),
            // The expected forms are those of Go's `strconv.Quote` for the same text.
            (&[("a", "é ü 日本 🦀 e\u{301}")], "{a=\"é ü 日本 🦀 e\u{301}\"}"),
            (&[("a", "\u{301}")], "{a=\"\u{301}\"}"),
            (
                &[("a", "\u{80}\u{a0}\u{ad}\u{200b}\u{2028}\u{feff}\u{e000}\u{ffff}")],
                "{a=\"\\u0080\\u00a0\\u00ad\\u200b\\u2028\\ufeff\\ue000\\uffff\"}",
            ),
            (&[("a", "\u{fffd}\u{10ffff}")], "{a=\"\u{fffd}\\U0010ffff\"}"),
        ] {
            assert_eq!(set(pairs).to_string(), expected);
        }
    }

    #[test]
    fn long_values_are_cut_at_a_character_and_told() {
        let mut labels = LabelSet::new();
        assert_eq!(labels.insert(name("a"), "x".repeat(2_048)), None);
        let note = labels.insert(name("b"), "é".repeat(1_025));
        assert_eq!(labels.get("b").map(str::len), Some(2_048));
        assert_eq!(note.as_deref(), Some("the value of label b is cut from 2050 to 2048 bytes, Loki's limit"));
        let note = labels.insert(name("c"), format!("x{}", "é".repeat(1_024)));
        assert_eq!(labels.get("c").map(str::len), Some(2_047));
        assert!(note.is_some_and(|note| note.contains("from 2049 to 2047")));
        assert_eq!((labels.len(), labels.is_empty(), labels.get("d")), (3, false, None));
    }

    /// Parses a label string by the grammar of Prometheus, independently of the writer.
    fn read_back(text: &str) -> Option<Vec<(String, String)>> {
        let mut rest = text.strip_prefix('{')?;
        let mut labels = Vec::new();
        while !rest.starts_with('}') {
            if !labels.is_empty() {
                rest = rest.strip_prefix(", ")?;
            }
            let (name, after) = rest.split_once('=')?;
            let mut bytes = Vec::new();
            let mut chars = after.strip_prefix('"')?.char_indices();
            let end = loop {
                let (at, c) = chars.next()?;
                if c == '"' {
                    break at;
                }
                if c != '\\' {
                    (c != '\n').then_some(())?;
                    bytes.extend(c.to_string().bytes());
                    continue;
                }
                let (_, kind) = chars.next()?;
                let mut code = |digits: usize| {
                    let text: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32)
                };
                let c = match kind {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    'x' => code(2).filter(char::is_ascii)?,
                    'u' => code(4)?,
                    'U' => code(8)?,
                    '"' | '\\' => kind,
                    _ => return None,
                };
                bytes.extend(c.to_string().bytes());
            };
            rest = &after[1 + end + 1..];
            labels.push((name.to_owned(), String::from_utf8(bytes).ok()?));
        }
        (rest == "}").then_some(labels)
    }

    proptest! {
        #[test]
        fn any_text_makes_a_valid_name(typed in any::<String>()) {
            let Ok(name) = LabelName::sanitise(&typed) else {
                prop_assert!(typed.is_empty());
                return Ok(());
            };
            let bytes = name.as_str().as_bytes();
            prop_assert!(bytes[0] == b'_' || bytes[0].is_ascii_alphabetic());
            prop_assert!(bytes.iter().all(|b| *b == b'_' || b.is_ascii_alphanumeric()));
            prop_assert_eq!(LabelName::sanitise(name.as_str()), Ok(name));
        }

        #[test]
        fn what_is_written_reads_back(
            pairs in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,9}", any::<String>(), 0..6)
        ) {
            let mut labels = LabelSet::new();
            for (typed, value) in &pairs {
                labels.insert(LabelName::sanitise(typed).unwrap(), value.as_str());
            }
            let text = labels.to_string();
            prop_assert_eq!(read_back(&text), Some(pairs.into_iter().collect()), "{}", text);
        }
    }
}

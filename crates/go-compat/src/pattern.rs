//! The regular expression of a rule, and what it puts into a text.

use std::fmt;

use regex::{Captures, Regex};

use crate::go_regex::{compiled, translate};

/// The longest name or value that a rule makes, in bytes; what is longer is cut. Rules may double a value again and again,
/// and of a value Loki takes 2048 bytes.
pub const LONGEST: usize = 8 * 1024;

/// A Go pattern that has to match a whole value; its `.` matches newlines, too.
///
/// Two patterns are equal when their texts are.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
    groups: Vec<Option<String>>,
    places: usize,
}

// === impl Pattern ===

impl Pattern {
    /// Compiles `^(?s:text)$`.
    ///
    /// # Errors
    /// What is wrong with it, to go on from `is not a regular expression: `.
    pub fn parse(text: &str) -> Result<Self, String> {
        let translated = translate(&format!("^(?s:{text})$"))?;
        let (regex, cost) = compiled(&translated.pattern)?;
        cost.keep()?;
        Ok(Self { text: text.to_owned(), regex, groups: translated.groups, places: cost.places })
    }

    /// Whether it matches the whole of `value`.
    pub fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// Units of work for matching a value of this many bytes.
    pub fn price(&self, bytes: usize) -> u64 {
        bytes.saturating_mul(self.places) as u64
    }

    /// What it found in `value`, for [`Pattern::expand`].
    pub fn captures<'v>(&self, value: &'v str) -> Option<Captures<'v>> {
        self.regex.captures(value)
    }

    /// What a template becomes with what was found, see [`expand`].
    pub fn expand(&self, template: &str, found: &Captures<'_>) -> String {
        expand(template, &self.groups, &|at| found.get(at).map(|found| found.as_str()), LONGEST)
    }
}

/// Go's `Regexp.Expand`: `$name`, `${name}`, `$1` and `${1}` become what their group matched, `$$` a dollar. A name
/// without braces is as long as it can be, so `$1x` is the group `1x`, which there is not; that gives nothing.
///
/// `groups` are the names of the groups from 1 on, and `text` is what a group matched, 0 being the whole. What would be
/// longer than `longest` bytes is cut there: a short template can ask for any length.
pub fn expand<'v>(
    template: &str,
    groups: &[Option<String>],
    text: &dyn Fn(usize) -> Option<&'v str>,
    longest: usize,
) -> String {
    let mut out = String::with_capacity(template.len().min(longest));
    let mut rest = template;
    while out.len() <= longest
        && let Some((before, after)) = rest.split_once('$')
    {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(after) {
            out.push_str(group(name, groups, text));
            rest = after;
        } else {
            // It refers to nothing, and stands for itself.
            out.push('$');
            rest = after;
        }
    }
    if out.len() <= longest {
        out.push_str(rest);
    }
    out.truncate(out.floor_char_boundary(longest));
    out
}

fn group<'v>(name: &str, groups: &[Option<String>], text: &dyn Fn(usize) -> Option<&'v str>) -> &'v str {
    let found = match number(name) {
        Some(at) => text(at),
        // Of several groups with one name, the first that took part.
        None => (1..).zip(groups).filter(|(_, group)| group.as_deref() == Some(name)).find_map(|(at, _)| text(at)),
    };
    found.unwrap_or_default()
}

/// The name behind a `$`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (name, rest) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return None;
    }
    if braced { rest.strip_prefix('}').map(|rest| (name, rest)) } else { Some((name, rest)) }
}

/// Digits without a leading zero, below a hundred million.
fn number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    if is_number && name.len() <= 8 { name.parse().ok() } else { None }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_values_match_newlines_included() {
        for (pattern, yes, no) in [
            ("f|o", &["f", "o"][..], &["foo", "fo"][..]),
            ("a.b", &["a\nb", "axb"], &["ab", "axb\n"]),
            ("", &[""], &["a"]),
            ("^a$", &["a"], &["a\n"]),
            // As Go reads it: the text is put between the parentheses as it is.
            ("a)(?:b", &["ab"], &["a"]),
            ("(?i)é", &["É"], &["e"]),
        ] {
            let compiled = Pattern::parse(pattern).unwrap();
            assert!(yes.iter().all(|value| compiled.is_match(value)), "{pattern} {yes:?}");
            assert!(!no.iter().any(|value| compiled.is_match(value)), "{pattern} {no:?}");
        }
        for pattern in ["(", "a)", "\\Qa", "(?x)a", "[b"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn templates_are_gos() {
        let pattern = Pattern::parse("(a)(?P<second>b)(?P<second>c)?(?P<3d>d)").unwrap();
        let found = pattern.captures("abd").unwrap();
        for (template, expected) in [
            ("$1", "a"),
            ("$0", "abd"),
            ("${1}x", "ax"),
            ("$1x", ""),
            ("$1-$2", "a-b"),
            ("$second|${second}", "b|b"),
            ("$3d", "d"),
            ("$3|$9|$none", "||"),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$", "a$"),
            ("${}", "${}"),
            ("${1", "${1"),
            ("${1-2}", "${1-2}"),
            ("$-", "$-"),
            ("$é", ""),
            ("$01|$00", "|"),
            ("$999999999", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(pattern.expand(template, &found), expected, "{template}");
        }
    }
}

//! Go's regular expressions over the bytes of a line.
//!
//! A line may hold bytes that are no UTF-8. Go takes each of them for a character, which `.` and `[^a]` match. The crate
//! `regex` knows either characters or bytes, so there are two expressions: one for lines that are UTF-8, which is nearly
//! all, and one that is compiled when the first other line comes.

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;
use regex::bytes;

use crate::config::go_regex::{Translated, UNCLOSED_CLASS, UNCLOSED_NAME, brief, translate, translate_for_bytes};

/// Groups of an expression. What is found has a place for each of them, at every match.
const MOST_GROUPS: usize = 100;

/// A Go regular expression, unanchored.
#[derive(Clone)]
pub struct Regexp {
    text: String,
    regex: Regex,
    /// For lines that are not UTF-8; `None` if it does not compile, which then matches nothing.
    lenient: OnceLock<Option<bytes::Regex>>,
    groups: Vec<Option<String>>,
}

/// What a match found, as places in the line: the whole, then each group. `None` is a group that took no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found(Vec<Option<Range<usize>>>);

// === impl Regexp ===

impl Regexp {
    /// Compiles a Go pattern.
    ///
    /// # Errors
    /// What is wrong, beginning as in Go: ``error parsing regexp: missing closing ]: `[a` ``.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Translated { pattern, groups } = translate(text).map_err(|cause| gos_words(text, &cause))?;
        if groups.len() > MOST_GROUPS {
            return Err(gos_words(text, &format!("it has more than {MOST_GROUPS} groups")));
        }
        let regex = Regex::new(&pattern).map_err(|error| gos_words(text, &brief(&error)))?;
        Ok(Self { text: text.to_owned(), regex, lenient: OnceLock::new(), groups })
    }

    /// The pattern as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the groups from 1 on. Several may have one name.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.groups
    }

    /// Whether it matches anywhere.
    pub fn is_match(&self, line: &[u8]) -> bool {
        match str::from_utf8(line) {
            Ok(text) => self.regex.is_match(text),
            Err(_) => self.lenient().is_some_and(|regex| regex.is_match(line)),
        }
    }

    /// The first match.
    pub fn find(&self, line: &[u8]) -> Option<Found> {
        match str::from_utf8(line) {
            Ok(text) => self.regex.captures(text).map(|found| of_text(&found)),
            Err(_) => self.lenient()?.captures(line).map(|found| of_bytes(&found)),
        }
    }

    /// All matches, from left to right; they do not overlap. Each is made when it is asked for: a line can have as many
    /// as it has letters.
    pub fn find_all<'a>(&'a self, line: &'a [u8]) -> Box<dyn Iterator<Item = Found> + 'a> {
        match str::from_utf8(line) {
            Ok(text) => Box::new(self.regex.captures_iter(text).map(|found| of_text(&found))),
            Err(_) => match self.lenient() {
                Some(regex) => Box::new(regex.captures_iter(line).map(|found| of_bytes(&found))),
                None => Box::new(std::iter::empty()),
            },
        }
    }

    fn lenient(&self) -> Option<&bytes::Regex> {
        let compile = || bytes::Regex::new(&translate_for_bytes(&self.text).ok()?.pattern).ok();
        self.lenient.get_or_init(compile).as_ref()
    }
}

fn of_text(found: &regex::Captures<'_>) -> Found {
    Found(found.iter().map(|group| group.map(|group| group.range())).collect())
}

fn of_bytes(found: &bytes::Captures<'_>) -> Found {
    Found(found.iter().map(|group| group.map(|group| group.range())).collect())
}

/// A cause as Go words it, if it has words for it.
fn gos_words(pattern: &str, cause: &str) -> String {
    let from = |mark: &str| pattern.find(mark).map_or(pattern, |at| &pattern[at..]);
    let (words, part) = match cause {
        UNCLOSED_CLASS => ("missing closing ]", from("[")),
        UNCLOSED_NAME => ("invalid named capture", from("(?")),
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        "repetition operator missing expression" => ("missing argument to repetition operator", pattern),
        cause if cause.ends_with("is not the name of a group") => ("invalid named capture", from("(?")),
        cause => (cause, pattern),
    };
    // A pattern can be of any length, and the message is for a person.
    let part: String = part.chars().take(200).collect();
    format!("error parsing regexp: {words}: `{part}`")
}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regexp({:?})", self.text)
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Regexp {}

// === impl Found ===

impl Found {
    /// Where the whole match is.
    pub fn whole(&self) -> Range<usize> {
        self.get(0).unwrap_or_default()
    }

    /// Where a group is; 0 is the whole.
    pub fn get(&self, group: usize) -> Option<Range<usize>> {
        self.0.get(group).cloned().flatten()
    }

    /// The groups from 1 on.
    pub fn groups(&self) -> impl Iterator<Item = Option<Range<usize>>> + '_ {
        self.0.iter().skip(1).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_no_characters_are_characters() {
        for (pattern, yes, no) in [
            ("^a.b$", &[&b"a\xFFb"[..], "aéb".as_bytes()][..], &[&b"a\xFF\xFFb"[..], b"a\nb"][..]),
            ("^[^x]$", &[b"\xFF", b"y"], &[b"x", b"\xFF\xFF"]),
            ("^\\S\\W\\D$", &[b"\xFF\xFE\xFD"], &[b"\xFF\xFE"]),
            ("^[\\s\\S]$", &[b"\x80", b"\n"], &[b"\x80\x80"]),
            ("^[^\\S]$", &[b" "], &[b"\x80"]),
            ("^[^\\Sx]x?$", &[b" "], &[b"\x80"]),
            ("^\\PL$", &[b"\x80", b"1"], &[b"a"]),
            ("(?s)^.*$", &[b"a\xFF\nb", b""], &[]),
            ("^(?P<a>\\w+)", &[b"a\xFF"], &[b"\xFF"]),
        ] {
            let regexp = Regexp::parse(pattern).unwrap();
            assert!(yes.iter().all(|line| regexp.is_match(line)), "{pattern} {yes:?}");
            assert!(!no.iter().any(|line| regexp.is_match(line)), "{pattern} {no:?}");
        }
    }

    #[test]
    fn groups_are_found_with_their_places() {
        let regexp = Regexp::parse("(?P<a>b)(?P<1>c)?").unwrap();
        assert_eq!(regexp.group_names(), [Some("a".to_owned()), Some("1".to_owned())]);
        assert_eq!(regexp.find(b"xbc").unwrap(), Found(vec![Some(1..3), Some(1..2), Some(2..3)]));
        let all: Vec<_> = regexp.find_all(b"\xFFb bc").collect();
        assert_eq!(all, [Found(vec![Some(1..2), Some(1..2), None]), Found(vec![Some(3..5), Some(3..4), Some(4..5)])]);
        assert_eq!(all[0].whole(), 1..2);
        assert_eq!(all[1].groups().collect::<Vec<_>>(), [Some(3..4), Some(4..5)]);
        assert_eq!(regexp.find(b"x"), None);
        let empty = Regexp::parse("").unwrap();
        let places: Vec<_> = empty.find_all("aé".as_bytes()).map(|found| found.whole()).collect();
        assert_eq!(places, [0..0, 1..1, 3..3]);
    }

    #[test]
    fn mistakes_are_told_as_in_go() {
        for (pattern, error) in [
            ("[]", "error parsing regexp: missing closing ]: `[]`"),
            ("(?P<ts[0-9]+).*", "error parsing regexp: invalid named capture: `(?P<ts[0-9]+).*`"),
            ("(a", "error parsing regexp: missing closing ): `(a`"),
            ("a)", "error parsing regexp: unexpected ): `a)`"),
            ("*", "error parsing regexp: missing argument to repetition operator: `*`"),
            ("(?x)a", "error parsing regexp: \"(?x\" is not a group or flag that Go knows: `(?x)a`"),
        ] {
            assert_eq!(Regexp::parse(pattern).unwrap_err(), error);
        }
    }

    #[test]
    fn groups_have_an_end() {
        assert!(Regexp::parse(&"(a)".repeat(MOST_GROUPS)).is_ok());
        let error = Regexp::parse(&"(a)".repeat(MOST_GROUPS + 1)).unwrap_err();
        assert!(error.starts_with("error parsing regexp: it has more than 100 groups: `(a)"), "{error}");
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_line_makes_it_panic(
            pattern in "\\PC{0,12}|[\\\\QEbdwxpP0-9\\[\\]^{}(),:?<*a-]{0,12}",
            line in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(regexp) = Regexp::parse(&pattern) {
                let all: Vec<_> = regexp.find_all(&line).collect();
                prop_assert_eq!(!all.is_empty(), regexp.is_match(&line));
                prop_assert_eq!(all.first().cloned(), regexp.find(&line));
                prop_assert!(regexp.lenient().is_some());
            }
        }
    }
}

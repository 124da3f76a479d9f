//! Go's regular expressions over the bytes of a line.
//!
//! A line may hold bytes that are no UTF-8. Go takes each of them for a character, which `.` and `[^a]` match. The crate
//! `regex` knows either characters or bytes, so there are two expressions: one for lines that are UTF-8, which is nearly
//! all, and one that is compiled when the first other line comes.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use regex::bytes;

use crate::go_regex::{
    Cost, MOST_PROGRAM, MOST_REMEMBERED, Translated, UNCLOSED_CLASS, UNCLOSED_NAME, compiled, translate,
    translate_for_bytes,
};
use crate::work::{Excess, Work};

/// Groups of an expression. What is found has a place for each of them, at every match.
const MOST_GROUPS: usize = 100;

/// Units for each byte and each place of an expression that it may be at.
const BYTE_AND_PLACE: usize = 1;

/// A Go regular expression, unanchored.
#[derive(Clone)]
pub struct Regexp {
    cost: Arc<Cost>,
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
        let (regex, cost) = compiled(&pattern).map_err(|cause| gos_words(text, &cause))?;
        Ok(Self { text: text.to_owned(), regex, lenient: OnceLock::new(), groups, cost: Arc::new(cost) })
    }

    /// [`Regexp::parse`] of an expression that is kept for as long as a container: it takes its part of what these may take together.
    ///
    /// # Errors
    /// As [`Regexp::parse`], and when that is used up.
    pub fn keep(text: &str) -> Result<Self, String> {
        let regexp = Self::parse(text)?;
        regexp.cost.keep().map_err(|cause| gos_words(text, &cause))?;
        Ok(regexp)
    }

    /// States of the compiled program.
    pub fn states(&self) -> usize {
        self.cost.states
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
    ///
    /// # Errors
    /// When `work` does not reach; so in what follows.
    pub fn is_match(&self, line: &[u8], work: &mut Work) -> Result<bool, Excess> {
        work.charge(self.price(line.len()))?;
        Ok(match str::from_utf8(line) {
            Ok(text) => self.regex.is_match(text),
            Err(_) => self.lenient().is_some_and(|regex| regex.is_match(line)),
        })
    }

    /// The first match.
    ///
    /// # Errors
    /// When `work` does not reach.
    pub fn find(&self, line: &[u8], work: &mut Work) -> Result<Option<Found>, Excess> {
        // Once for the match, once for its groups.
        work.charge(self.price(line.len()).saturating_mul(2))?;
        Ok(match str::from_utf8(line) {
            Ok(text) => self.regex.captures(text).map(|found| of_text(&found)),
            Err(_) => self.lenient().and_then(|regex| regex.captures(line)).map(|found| of_bytes(&found)),
        })
    }

    /// All matches, from left to right; they do not overlap. Each is made when it is asked for, and paid for with
    /// [`Regexp::pay`]: a line can have as many as it has letters.
    ///
    /// # Errors
    /// When `work` does not reach for one look at the line.
    pub fn find_all<'a>(
        &'a self,
        line: &'a [u8],
        work: &mut Work,
    ) -> Result<Box<dyn Iterator<Item = Found> + 'a>, Excess> {
        work.charge(self.price(line.len()).saturating_mul(2))?;
        Ok(match str::from_utf8(line) {
            Ok(text) => Box::new(self.regex.captures_iter(text).map(|found| of_text(&found))),
            Err(_) => match self.lenient() {
                Some(regex) => Box::new(regex.captures_iter(line).map(|found| of_bytes(&found))),
                None => Box::new(std::iter::empty()),
            },
        })
    }

    /// Pays for one of the matches of [`Regexp::find_all`]: what was looked at behind it is looked at again for the next one.
    ///
    /// # Errors
    /// When `work` does not reach.
    pub fn pay(&self, line: &[u8], found: &Found, work: &mut Work) -> Result<(), Excess> {
        work.steps(1 + found.0.len() / 8)?;
        work.charge(self.price(self.cost.looked_at(line, found.whole().end)))
    }

    /// Units of work for this many bytes.
    fn price(&self, bytes: usize) -> u64 {
        bytes.saturating_mul(self.cost.places).saturating_mul(BYTE_AND_PLACE) as u64
    }

    fn lenient(&self) -> Option<&bytes::Regex> {
        let compile = || {
            let pattern = translate_for_bytes(&self.text).ok()?.pattern;
            let mut builder = bytes::RegexBuilder::new(&pattern);
            builder.size_limit(MOST_PROGRAM).dfa_size_limit(MOST_REMEMBERED).build().ok()
        };
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

    fn is_match(regexp: &Regexp, line: &[u8]) -> bool {
        regexp.is_match(line, &mut Work::of_line()).unwrap()
    }

    fn find(regexp: &Regexp, line: &[u8]) -> Option<Found> {
        regexp.find(line, &mut Work::of_line()).unwrap()
    }

    fn find_all(regexp: &Regexp, line: &[u8]) -> Vec<Found> {
        regexp.find_all(line, &mut Work::of_line()).unwrap().collect()
    }

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
            assert!(yes.iter().all(|line| is_match(&regexp, line)), "{pattern} {yes:?}");
            assert!(!no.iter().any(|line| is_match(&regexp, line)), "{pattern} {no:?}");
        }
    }

    #[test]
    fn groups_are_found_with_their_places() {
        let regexp = Regexp::parse("(?P<a>b)(?P<1>c)?").unwrap();
        assert_eq!(regexp.group_names(), [Some("a".to_owned()), Some("1".to_owned())]);
        assert_eq!(find(&regexp, b"xbc").unwrap(), Found(vec![Some(1..3), Some(1..2), Some(2..3)]));
        let all = find_all(&regexp, b"\xFFb bc");
        assert_eq!(all, [Found(vec![Some(1..2), Some(1..2), None]), Found(vec![Some(3..5), Some(3..4), Some(4..5)])]);
        assert_eq!(all[0].whole(), 1..2);
        assert_eq!(all[1].groups().collect::<Vec<_>>(), [Some(3..4), Some(4..5)]);
        assert_eq!(find(&regexp, b"x"), None);
        let empty = Regexp::parse("").unwrap();
        let places: Vec<_> = find_all(&empty, "aé".as_bytes()).iter().map(Found::whole).collect();
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

    #[test]
    fn expressions_are_bounded_in_memory_and_in_work() {
        let error = Regexp::parse("\\pL{100}").unwrap_err();
        assert!(error.contains("states when it is compiled, and may have 30000"), "{error}");
        // Each match looks at all that follows.
        let regexp = Regexp::parse("(?s:.)*X|a").unwrap();
        let line = vec![b'a'; 200_000];
        let mut work = Work::of_line();
        let mut matches = 0;
        let done = regexp.find_all(&line, &mut work).unwrap().try_for_each(|found| {
            matches += 1;
            regexp.pay(&line, &found, &mut work)
        });
        assert_eq!(done, Err(Excess::Work));
        assert!(matches < 2_000, "{matches}");
        // And what remembers hundreds of places pays for each of them.
        let regexp = Regexp::parse("(a|b)*a(a|b){900}").unwrap();
        assert_eq!(regexp.is_match(&vec![b'a'; 1 << 20], &mut Work::of_line()), Err(Excess::Work));
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_line_makes_it_panic(
            pattern in "\\PC{0,12}|[\\\\QEbdwxpP0-9\\[\\]^{}(),:?<*a-]{0,12}",
            line in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(regexp) = Regexp::parse(&pattern) {
                let all = find_all(&regexp, &line);
                prop_assert_eq!(!all.is_empty(), is_match(&regexp, &line));
                prop_assert_eq!(all.first().cloned(), find(&regexp, &line));
                prop_assert!(regexp.lenient().is_some());
            }
        }
    }
}

//! Go's regular expressions on the `regex` crate.
//!
//! Docker's `labels-regex` and `env-regex` are Go RE2 patterns, and so are those of relabelling. The crate descends from RE2 and
//! agrees with it on nearly everything; this file translates the rest before compiling, so that a
//! pattern selects here what it selects with Docker's own drivers:
//!
//! | text | in Go | in the crate |
//! | --- | --- | --- |
//! | `\d \w \s \b` and their opposites | ASCII | Unicode |
//! | `\s` | without `\v` | with it |
//! | `[` in a class | itself | opens a nested class |
//! | `&&` `--` `~~` in a class | themselves | set operations |
//! | `{` that starts no repetition, as in `{,3}` | itself | an error |
//! | `\Q…\E` | quotes | an error |
//! | `\012` | octal | an error |
//! | `\<` `\>` | the signs themselves | word boundaries |
//! | `\b{start}` | `\b` and text | a word boundary |
//! | `\p{^Greek}` | `\P{Greek}` | an error |
//! | `(?x) (?u) (?R)` | an error | flags |
//! | `(?P<1>…)(?P<1>…)` | names of groups | an error |
//! | `a**`, `a{1001}` | an error | repetitions |
//!
//! What stays different are the few characters on which their versions of Unicode disagree.

mod cost;
mod translator;

use std::fmt;

use regex::{Regex, RegexBuilder};

use base::refusal::Refusal;
pub use cost::Cost;
use translator::translated;
pub use translator::{UNCLOSED_CLASS, UNCLOSED_NAME};

/// States of one compiled expression. `\pL{10}` has 27,000 of them, what is written for logs a few hundred.
pub const MOST_STATES: usize = 30_000;

/// Bytes of the compiled program of one expression.
pub const MOST_PROGRAM: usize = 4 << 20;

/// Bytes of what one expression remembers of texts, forwards and backwards each, in each thread that uses it.
pub const MOST_REMEMBERED: usize = 256 << 10;

/// A pattern that picks names (of labels, of environment variables): unanchored, as Go's
/// `MatchString`.
///
/// Two patterns are equal when their texts are.
#[derive(Clone)]
pub struct KeyPattern {
    text: String,
    regex: Regex,
}

/// A Go pattern for the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// Matches what the Go pattern matches. Its groups have the same numbers, and no names.
    pub pattern: String,
    /// The names of the groups from 1 on. Go allows one name for several, and a digit at its beginning.
    pub groups: Vec<Option<String>>,
}

// === impl KeyPattern ===

impl KeyPattern {
    /// Compiles a Go pattern.
    pub fn parse(text: &str) -> Result<KeyPattern, Refusal> {
        let refuse = |why: String| {
            let reason = format!("is not a regular expression: {why} (try ^com\\.example\\.)");
            Refusal::new(text, reason)
        };
        let translated = translate(text).map_err(refuse)?;
        let (regex, cost) = compiled(&translated.pattern).map_err(refuse)?;
        cost.keep().map_err(refuse)?;
        let text = text.to_owned();
        Ok(KeyPattern { text, regex })
    }

    /// Whether the pattern matches anywhere in `key`.
    pub fn is_match(&self, key: &str) -> bool {
        self.regex.is_match(key)
    }

    /// The pattern as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPattern({:?})", self.text)
    }
}

impl PartialEq for KeyPattern {
    fn eq(&self, other: &KeyPattern) -> bool {
        self.text == other.text
    }
}

impl Eq for KeyPattern {}

/// Compiles an expression of the crate, within the bounds above.
///
/// # Errors
/// What is wrong with it, or that it is too large.
pub fn compiled(pattern: &str) -> Result<(Regex, Cost), String> {
    let cost = Cost::of(pattern, true);
    if cost.states > MOST_STATES {
        return Err(format!("it has {} states when it is compiled, and may have {MOST_STATES}", cost.states));
    }
    let mut builder = RegexBuilder::new(pattern);
    let regex = builder.size_limit(MOST_PROGRAM).dfa_size_limit(MOST_REMEMBERED).build();
    Ok((regex.map_err(|error| brief(&error))?, cost))
}

/// The crate draws the pattern over several lines and marks a place in the translation; only its
/// last line, the cause, means something to the person who typed the pattern.
pub fn brief(error: &regex::Error) -> String {
    let text = error.to_string();
    let cause = text.lines().last().unwrap_or_default();
    cause.trim_start_matches("error: ").to_owned()
}

/// The pattern for the crate that matches what `pattern` matches in Go.
///
/// # Errors
/// What Go refuses and the crate would take for something else; the text goes on from `is not a regular expression: `.
pub fn translate(pattern: &str) -> Result<Translated, String> {
    translated(pattern, false)
}

/// The same for texts that are not UTF-8, in which a byte that belongs to no character is a character to Go: `.`, `[^a]`,
/// `\W` match it. For `regex::bytes`, and for such texts only: in others it would find halves of characters.
///
/// # Errors
/// As [`translate`].
pub fn translate_for_bytes(pattern: &str) -> Result<Translated, String> {
    translated(pattern, true)
}

#[cfg(test)]
mod tests;

//! The regular expressions of stages, with the names of their groups ready for use.

use std::ops::Range;
use std::sync::Arc;

use super::entry::Name;
use go_compat::regexp::{Found, Regexp};
use go_compat::work::{Excess, Work};

/// A Go pattern that looks for its match anywhere in a line. Clones share what was compiled.
#[derive(Debug, Clone)]
pub struct Pattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    regexp: Regexp,
    /// Numbers and names of the groups that have one.
    names: Vec<(usize, Name)>,
}

// === impl Pattern ===

impl Pattern {
    /// Compiles a Go pattern.
    ///
    /// # Errors
    /// What is wrong, beginning as in Go with `error parsing regexp: `.
    pub fn parse(text: &str) -> Result<Self, String> {
        let regexp = Regexp::keep(text)?;
        let groups = (1..).zip(regexp.group_names());
        let names = groups.filter_map(|(at, name)| Some((at, Name::from(name.as_deref()?)))).collect();
        Ok(Self(Arc::new(Compiled { regexp, names })))
    }

    /// A pattern that matches exactly this text.
    ///
    /// # Errors
    /// When it is too long to be compiled.
    pub fn literal(text: &str) -> Result<Self, String> {
        Self::parse(&format!("^{}$", regex::escape(text)))
    }

    /// Whether it matches anywhere in a line.
    ///
    /// # Errors
    /// When `work` does not reach; so in what follows.
    pub fn is_match(&self, line: &[u8], work: &mut Work) -> Result<bool, Excess> {
        self.0.regexp.is_match(line, work)
    }

    /// The first match.
    ///
    /// # Errors
    /// When `work` does not reach.
    pub fn find(&self, line: &[u8], work: &mut Work) -> Result<Option<Found>, Excess> {
        self.0.regexp.find(line, work)
    }

    /// The expression itself, for all its matches.
    pub fn regexp(&self) -> &Regexp {
        &self.0.regexp
    }

    /// Numbers and names of the groups that have one, in order.
    pub fn names(&self) -> &[(usize, Name)] {
        &self.0.names
    }
}

/// The bytes of a group; one that took no part has none.
pub fn bytes(line: &[u8], place: Option<Range<usize>>) -> &[u8] {
    place.and_then(|place| line.get(place)).unwrap_or_default()
}

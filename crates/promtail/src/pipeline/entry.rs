//! What a pipeline works on: one line, and what stages have learnt about it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use go_compat::number::plain;

/// Bytes of two shared texts with nothing in them.
const PAIR: usize = 96;

/// A name of a label or of an extracted value. Shared, because each line has the same ones.
pub type Name = Arc<str>;

/// The label that holds the tenant. It is an ordinary label until the line is sent.
pub const TENANT: &str = "__tenant_id__";

/// A line on its way through a pipeline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// The line, as bytes: it may not be UTF-8.
    pub line: Vec<u8>,
    pub labels: Labels,
    /// Names and values in the order in which they were added; a name may be there twice.
    pub structured_metadata: Vec<(Name, Arc<str>)>,
    /// What stages have extracted; it ends with the pipeline.
    pub extracted: Extracted,
    /// The time of the line, in nanoseconds since 1970.
    pub timestamp: i64,
    /// When the line was logged, whatever stages make of `timestamp`: the clock of `limit` and `multiline`, so that a
    /// line that is read again is treated as it was the first time.
    pub arrived: i64,
    /// The lines of which this is made.
    pub seq: SeqRange,
}

/// Sequence numbers of the lines that an entry stands for, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeqRange {
    pub first: u64,
    pub last: u64,
}

/// Puts entries in the order of the lines of which they are made.
pub fn in_order(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| entry.seq.first);
}

/// Labels, sorted by name. Lines share them for as long as no stage changes them.
#[derive(Debug, Clone, Default)]
pub struct Labels(Option<Arc<Vec<Pair>>>);

type Pair = (Name, Arc<str>);

/// Values that stages have extracted from a line, by name.
pub type Extracted = BTreeMap<Name, Value>;

/// An extracted value. Only `json` makes others than texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// It is there and has no text: `null`, or what is no scalar.
    Null,
    Bool(bool),
    Number(f64),
    Text(Arc<[u8]>),
}

// === impl Entry ===

impl Entry {
    /// The tenant whose line it is, if stages or labels say so.
    pub fn tenant(&self) -> Option<&str> {
        self.labels.tenant()
    }

    /// Copies the labels to the extracted values, as each pipeline does at its start, the inner ones included.
    pub fn seed(&mut self) {
        for (name, value) in self.labels.pairs() {
            self.extracted.insert(name.clone(), Value::from(value.clone()));
        }
    }

    /// About how many bytes of memory it has.
    pub fn size(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len() + PAIR).sum::<usize>();
        let beside =
            self.structured_metadata.iter().map(|(name, value)| name.len() + value.len() + PAIR).sum::<usize>();
        let extracted = self.extracted.iter().map(|(name, value)| name.len() + value.len() + PAIR).sum::<usize>();
        size_of::<Self>() + self.line.len() + labels + beside + extracted
    }

    /// The text of an extracted value, if it is there and has one.
    pub fn text_of(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.extracted.get(name)?.text()
    }

    /// The same for values that must be UTF-8.
    pub fn label_of(&self, name: &str) -> Option<Arc<str>> {
        let text = self.text_of(name)?;
        std::str::from_utf8(&text).ok().map(Arc::from)
    }

    pub fn extract(&mut self, name: &Name, text: &[u8]) {
        self.extracted.insert(name.clone(), Value::from(text));
    }
}

// === impl SeqRange ===

impl SeqRange {
    pub fn one(seq: u64) -> Self {
        Self { first: seq, last: seq }
    }

    /// Both, and what is between them.
    pub fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

// === impl Labels ===

impl Labels {
    /// The tenant that they name; an empty name counts as unset.
    pub fn tenant(&self) -> Option<&str> {
        self.get(TENANT).filter(|tenant| !tenant.is_empty())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.shared(name).map(AsRef::as_ref)
    }

    /// The value without a copy.
    pub fn shared(&self, name: &str) -> Option<&Arc<str>> {
        self.find(name).ok().map(|at| &self.pairs()[at].1)
    }

    pub fn set(&mut self, name: Name, value: Arc<str>) {
        match self.find(&name) {
            Ok(at) => self.own()[at].1 = value,
            Err(at) => self.own().insert(at, (name, value)),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<str>> {
        self.find(name).ok().map(|at| self.own().remove(at).1)
    }

    /// Keeps those whose name is to be kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if !self.pairs().iter().all(|(name, _)| keep(name)) {
            self.own().retain(|(name, _)| keep(name));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Arc<str>)> {
        self.pairs().iter().map(|(name, value)| (name, value))
    }

    pub fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.pairs().binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }

    fn pairs(&self) -> &[Pair] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// To be changed, and so no longer shared.
    fn own(&mut self) -> &mut Vec<Pair> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        let is_same = matches!((&self.0, &other.0), (Some(own), Some(other)) if Arc::ptr_eq(own, other));
        is_same || self.pairs() == other.pairs()
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs().cmp(other.pairs())
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().hash(state);
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut labels = Self::default();
        for (name, value) in pairs {
            labels.set(Arc::from(name.as_ref()), Arc::from(value.as_ref()));
        }
        labels
    }
}

// === impl Value ===

impl Value {
    /// Bytes of its text.
    fn len(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    /// As every stage reads it: numbers without exponent, no text for [`Value::Null`].
    pub fn text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Value::Null => None,
            Value::Bool(flag) => Some(Cow::Borrowed(if *flag { b"true" } else { b"false" })),
            Value::Number(number) => Some(Cow::Owned(plain(*number).into_bytes())),
            Value::Text(text) => Some(Cow::Borrowed(text)),
        }
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Self {
        Value::Text(Arc::from(text))
    }
}

impl From<Vec<u8>> for Value {
    fn from(text: Vec<u8>) -> Self {
        Value::Text(Arc::from(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::from(text.as_bytes())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Value::Text(Arc::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_gos_texts() {
        let text = |value: Value| value.text().map(|text| String::from_utf8_lossy(&text).into_owned());
        for (number, expected) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (-0.0, "-0"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (123_456_789_012_345_678.0, "123456789012345680"),
        ] {
            assert_eq!(text(Value::Number(number)).as_deref(), Some(expected));
        }
        assert_eq!(text(Value::Bool(true)).as_deref(), Some("true"));
        assert_eq!(text(Value::Null), None);
    }

    #[test]
    fn labels_are_sorted_and_seed_what_is_extracted() {
        let labels: Labels = [("b", "2"), ("a", "1"), ("b", "3")].into_iter().collect();
        let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["a", "b"]);
        let mut changed = labels.clone();
        changed.retain(|name| name != "a");
        assert_eq!((changed.remove("b").as_deref(), changed.remove("b")), (Some("3"), None));
        assert_eq!(changed, Labels::default());
        assert_eq!(labels.get("b"), Some("3"), "what others share does not change");
        let mut entry = Entry { labels, ..Entry::default() };
        entry.extract(&Arc::from("b"), b"old");
        entry.seed();
        assert_eq!(entry.label_of("b").as_deref(), Some("3"));
    }
}

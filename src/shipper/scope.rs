//! Which of a container's streams a lane carries.
//!
//! In the normal case one lane carries all. A stream that is rejected or limited gets its own lane, and the first lane
//! continues without it, see `super::lane`.

use dockerd::Source;
use promtail::pipeline::Labels;

/// The streams that are held back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The lines of one output, where there is no pipeline.
    Source(Source),
    /// One stream that a pipeline has made.
    Stream(Labels),
    /// All streams of one tenant; `None` is the destination's own.
    Tenant(Option<String>),
}

/// A choice among the streams that a pipeline makes.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these; `None`: all.
    pub only: Option<Key>,
    /// Except these.
    pub without: Vec<Key>,
}

// === impl Key ===

impl Key {
    /// Whether a stream belongs to it.
    pub fn has(&self, labels: &Labels, tenant: Option<&str>) -> bool {
        match self {
            Self::Source(_) => false,
            Self::Stream(stream) => stream == labels,
            Self::Tenant(of) => of.as_deref() == tenant,
        }
    }
}

// === impl Scope ===

impl Scope {
    /// Whether a stream is in it.
    pub fn has(&self, labels: &Labels, tenant: Option<&str>) -> bool {
        self.only.as_ref().is_none_or(|key| key.has(labels, tenant))
            && !self.without.iter().any(|key| key.has(labels, tenant))
    }
}

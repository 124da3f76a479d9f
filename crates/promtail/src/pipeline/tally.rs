//! What a pipeline counts, each event once, however often its lines are run.
//!
//! Lines that could not be sent go through their stages again, from a copy of the pipeline as it was before them, and make
//! the same events in the same order. So it is enough to know how many of them were counted.

use std::sync::Arc;

use super::entry::Labels;
use super::registry::{Change, Definition, Registry};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// `None`: somebody else counts the same lines.
    registry: Option<Arc<Registry>>,
    /// Events so far.
    seen: u64,
    /// How many of them are in the registry.
    counted: u64,
}

// === impl Tally ===

impl Tally {
    /// Counts in `registry`, or nothing at all.
    pub fn new(registry: Option<Arc<Registry>>) -> Self {
        Self { registry, seen: 0, counted: 0 }
    }

    /// Where it counts.
    pub fn registry(&self) -> Option<&Registry> {
        self.registry.as_deref()
    }

    /// Changes one series.
    pub fn change(&mut self, definition: &Definition, labels: &Labels, change: Change, now: i64) {
        self.count(|registry| registry.change(definition, labels, change, now));
    }

    /// Counts a line that a stage dropped.
    pub fn dropped(&mut self, reason: &str) {
        self.count(|registry| registry.count_dropped(reason));
    }

    /// Counts a line that `limit` dropped for the value of a label.
    pub fn dropped_by_label(&mut self, name: &str, value: &str) {
        self.count(|registry| registry.count_dropped_by_label(name, value));
    }

    /// What `other` has counted is not counted again: the same lines are run once more.
    pub fn repeat(&mut self, other: &Self) {
        self.counted = other.counted;
    }

    /// No line that was run so far will be run again.
    pub fn settle(&mut self) {
        self.counted = self.seen;
    }

    fn count(&mut self, event: impl FnOnce(&Registry)) {
        self.seen += 1;
        if self.seen > self.counted {
            self.counted = self.seen;
            if let Some(registry) = &self.registry {
                event(registry);
            }
        }
    }
}

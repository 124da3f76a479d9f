//! The entry at which a shipper ends, because another one sends what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the first entry that another shipper sends. It may be lowered later; that lowers all clones.
#[derive(Clone, Debug)]
pub struct Until(Arc<AtomicU64>);

// === impl Until ===

impl Until {
    /// Ends before the entry number `seq`; the largest number means no end.
    #[must_use]
    pub fn new(seq: u64) -> Self {
        Self(Arc::new(seq.into()))
    }

    /// The first entry that is not sent.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Moves the end before the entry number `seq`, unless it is earlier already.
    pub fn lower(&self, seq: u64) {
        self.0.fetch_min(seq, Ordering::AcqRel);
    }

    /// Whether there is an end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.get() < u64::MAX
    }
}

impl Default for Until {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

//! Where a shipper ends, because what follows is another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the first entry that is not a shipper's own. It may be lowered later; clones are lowered with it.
#[derive(Clone, Debug)]
pub struct Until(Arc<AtomicU64>);

// === impl Until ===

impl Until {
    /// Before the entry of a number; the greatest stands for no end.
    #[must_use]
    pub fn new(seq: u64) -> Self {
        Self(Arc::new(seq.into()))
    }

    /// The first entry that is not its own.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Ends before the entry of a number, unless it ends before already.
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

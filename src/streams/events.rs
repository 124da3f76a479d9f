//! What can happen between a FIFO and the ring: one method an event, with its counter and its log line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, info, warn};

use crate::ring::{Healed, Landed, RingError};
use crate::telemetry::throttle::Throttle;

/// Counts of one container since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from FIFOs.
    pub bytes: AtomicU64,
    /// Entries that went into the ring.
    pub entries: AtomicU64,
    /// Bytes that were no entry.
    pub garbage: AtomicU64,
    /// Bytes that were read and had no place to go.
    pub homeless: AtomicU64,
}

/// The events of one container.
#[derive(Debug)]
pub struct Events {
    counters: Counters,
    garbage: Throttle,
    memory: Throttle,
    left: Throttle,
    returned: Throttle,
    homeless: Throttle,
    sync: Throttle,
    blocked: Throttle,
}

// === impl Events ===

impl Events {
    /// Events under the container's name.
    pub fn new(container: &Arc<str>) -> Self {
        Self {
            counters: Counters::default(),
            garbage: Throttle::new(container, |container, bytes, _| {
                warn!(%container, bytes, "bytes in the container's FIFO were no log entry and were dropped");
            }),
            memory: Throttle::new(container, |container, _, reason| {
                error!(%container, %reason, "the disk takes no lines; they are kept in memory, 4 MiB at most, until it does");
            }),
            left: Throttle::new(container, |container, times, reason| {
                error!(%container, times, %reason, "a file of the log on disk was left before it was full, and another one begun");
            }),
            returned: Throttle::new(container, |container, times, _| {
                info!(%container, times, "the disk takes lines again; those that were kept in memory are on it now");
            }),
            homeless: Throttle::new(container, |container, bytes, reason| {
                error!(%container, bytes, %reason, "bytes were lost: neither disk nor memory has room for them");
            }),
            blocked: Throttle::new(container, |container, times, _| {
                warn!(%container, times, "the container waits: the ring is full of lines that Loki has not taken (loki-backpressure)");
            }),
            sync: Throttle::new(container, |container, times, reason| {
                error!(%container, times, %reason, "a power loss now would cost lines");
            }),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes came and are in the ring.
    pub fn landed(&self, landed: &Landed) {
        self.counters.bytes.fetch_add(landed.bytes as u64, Ordering::Relaxed);
        self.counters.entries.fetch_add(landed.records, Ordering::Relaxed);
        if landed.garbage > 0 {
            self.counters.garbage.fetch_add(landed.garbage, Ordering::Relaxed);
            self.garbage.add(landed.garbage, String::new);
        }
        self.disk(landed.in_memory.as_ref(), landed.left.as_ref());
    }

    /// It was looked whether the disk has all it should.
    pub fn healed(&self, healed: &Healed) {
        self.disk(healed.in_memory.as_ref(), healed.left.as_ref());
        if healed.segments > 0 && healed.in_memory.is_none() {
            self.returned.add(1, String::new);
        }
    }

    fn disk(&self, in_memory: Option<&RingError>, left: Option<&RingError>) {
        if let Some(error) = in_memory {
            self.memory.lasts(|| error.to_string());
        }
        if let Some(error) = left {
            self.left.add(1, || error.to_string());
        }
    }

    /// Bytes were read so that the container can go on, and could not be kept.
    pub fn homeless(&self, bytes: u64, error: &io::Error) {
        self.counters.homeless.fetch_add(bytes, Ordering::Relaxed);
        self.homeless.add(bytes, || error.to_string());
    }

    /// The container is being held up.
    pub fn blocked(&self) {
        self.blocked.add(1, String::new);
    }

    /// The ring could not be synced.
    pub fn not_synced(&self, error: &RingError) {
        self.sync.add(1, || error.to_string());
    }
}

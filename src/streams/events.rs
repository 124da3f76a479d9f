//! Events between a FIFO and the ring: one method for each, with its counter and its log line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, error, info, warn};

use super::counters::Counters;
use super::discard::Dropped;
use ring::{Healed, Landed, Notice, RingError};
use telemetry::throttle::Throttle;

/// The totals of a container since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Bytes that went into the ring.
    pub bytes: u64,
    /// Entries that went into the ring.
    pub entries: u64,
    /// Bytes that were read and dropped: they belonged to no entry, or neither disk nor memory had room.
    pub discarded: u64,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    entries: AtomicU64,
    discarded: AtomicU64,
}

/// The events of one container.
#[derive(Debug)]
pub struct Events {
    container: Arc<str>,
    counts: Counts,
    all: Counters,
    garbage: Throttle,
    memory: Throttle,
    left: Throttle,
    returned: Throttle,
    homeless: Throttle,
    exhausted: Throttle,
    sync: Throttle,
    blocked: Throttle,
}

// === impl Events ===

impl Events {
    /// Creates the events of one container, which also count for the whole plugin.
    pub fn new(container: &Arc<str>, all: Counters) -> Self {
        Self {
            container: container.clone(),
            counts: Counts::default(),
            all,
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
            homeless: Throttle::new(container, |container, lines, reason| {
                error!(%container, lines, %reason, "lines were lost: neither disk nor memory has room for them");
            }),
            exhausted: Throttle::new(container, |container, _, reason| {
                error!(%container, %reason, "container waits: the plugin has no file descriptor left for its lines");
            }),
            blocked: Throttle::new(container, |container, times, _| {
                warn!(%container, times, "the container waits: the ring is full of lines that Loki has not taken (loki-backpressure)");
            }),
            sync: Throttle::new(container, |container, times, reason| {
                error!(%container, times, %reason, "a power loss now would cost lines");
            }),
        }
    }

    /// The totals so far.
    pub fn happened(&self) -> Happened {
        let [bytes, entries, discarded] = [&self.counts.bytes, &self.counts.entries, &self.counts.discarded]
            .map(|count| count.load(Ordering::Relaxed));
        Happened { bytes, entries, discarded }
    }

    /// Bytes landed in the ring.
    pub fn landed(&self, landed: &Landed) {
        let kept = (landed.bytes as u64).saturating_sub(landed.garbage);
        self.counts.bytes.fetch_add(kept, Ordering::Relaxed);
        self.counts.entries.fetch_add(landed.records, Ordering::Relaxed);
        self.all.read_bytes.inc_by(landed.bytes as u64);
        self.all.read_lines.inc_by(landed.records);
        self.all.appended_bytes.inc_by(kept);
        if landed.garbage > 0 {
            self.counts.discarded.fetch_add(landed.garbage, Ordering::Relaxed);
            self.all.no_entry_bytes.inc_by(landed.garbage);
            self.garbage.add(landed.garbage, String::new);
        }
        self.disk(landed.in_memory.as_ref(), landed.left.as_ref());
    }

    /// A heal of the ring has finished.
    pub fn healed(&self, healed: &Healed) {
        if healed.is_revoked {
            debug!(container = %self.container, "ring left alone: its container was started again");
        }
        self.disk(healed.in_memory.as_ref(), healed.left.as_ref());
        if healed.segments > 0 && healed.in_memory.is_none() {
            self.returned.add(1, String::new);
        }
    }

    /// Something happened to the files of the ring. Such events are rare, so each is logged.
    pub fn noticed(&self, notices: Vec<Notice>) {
        let container = &self.container;
        for notice in notices {
            match notice {
                Notice::SetAside { path, reason, bytes, records } => {
                    self.all.set_aside.inc();
                    error!(%container, path = %path.display(), bytes, lines = known(records), reason, "segment set aside: it cannot be read");
                }
                Notice::Expired { path, bytes, records } => {
                    warn!(%container, path = %path.display(), bytes, lines = known(records), "unreadable segment removed: the ring needed the room");
                }
            }
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

    /// Lines were dropped, because neither disk nor memory accepted them.
    pub fn homeless(&self, dropped: &Dropped, error: &io::Error) {
        self.counts.discarded.fetch_add(dropped.bytes, Ordering::Relaxed);
        self.all.read_bytes.inc_by(dropped.bytes);
        self.all.no_room_bytes.inc_by(dropped.bytes);
        self.all.no_room_lines.inc_by(dropped.lines);
        if dropped.bytes > 0 {
            self.all.last_lost.set_now();
        }
        self.homeless.add(dropped.lines, || error.to_string());
    }

    /// Lines wait in the pipe until the process has a file descriptor for them.
    pub fn exhausted(&self, error: &io::Error) {
        self.exhausted.lasts(|| error.to_string());
    }

    /// The container is blocked.
    pub fn blocked(&self) {
        self.blocked.add(1, String::new);
    }

    /// A sync of the ring failed.
    pub fn not_synced(&self, error: &RingError) {
        self.sync.add(1, || error.to_string());
    }
}

/// A number of lines for the log.
fn known(lines: Option<u64>) -> String {
    lines.map_or_else(|| "unknown".into(), |lines| lines.to_string())
}

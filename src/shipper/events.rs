//! What can happen on the way to Loki: one method an event, with its counter and its log line.
//!
//! What happens to many lines is said once a minute with their number, see [`crate::telemetry::throttle`]. An outage is
//! spoken of by the [destination](super::destination), once for all containers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, warn};

use super::collect::Toll;
use crate::loki::PushError;
use crate::ring::RingError;
use crate::telemetry::throttle::Throttle;

/// Counts of one container since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines that Loki took.
    pub sent: AtomicU64,
    /// Lines that Loki refused, or that were given up.
    pub dropped: AtomicU64,
    /// Entries that the ring lost before they were sent.
    pub overwritten: AtomicU64,
    /// Entries that were damaged on disk.
    pub damaged: AtomicU64,
}

/// The events of one container.
#[derive(Debug)]
pub struct Events {
    counters: Counters,
    dropped: Throttle,
    overwritten: Throttle,
    damaged: Throttle,
    cut: Throttle,
    lifted: Throttle,
    misaddressed: Throttle,
    limited: Throttle,
    cursor: Throttle,
}

// === impl Events ===

impl Events {
    /// Events under the container's name.
    pub fn new(container: &Arc<str>) -> Self {
        Self {
            counters: Counters::default(),
            dropped: Throttle::new(container, |container, lines, reason| {
                error!(%container, lines, %reason, "lines were dropped on the way to Loki");
            }),
            overwritten: Throttle::new(container, |container, lines, _| {
                warn!(%container, lines, "lines were lost: the ring was full before Loki took them (max-size, max-file)");
            }),
            damaged: Throttle::new(container, |container, lines, _| {
                error!(%container, lines, "lines were lost: they are damaged on disk");
            }),
            cut: Throttle::new(container, |container, lines, _| {
                warn!(%container, lines, "lines were cut at 256 KiB, the most that Loki takes; docker logs has them whole");
            }),
            lifted: Throttle::new(container, |container, lines, _| {
                warn!(%container, lines, "lines were older than Loki takes; they went with the oldest time that it takes, and theirs as original_time");
            }),
            misaddressed: Throttle::new(container, |container, lines, _| {
                error!(%container, lines, "lines were dropped: the pipeline gives them a tenant id that Loki cannot take");
            }),
            limited: Throttle::new(container, |container, pushes, reason| {
                warn!(%container, pushes, %reason, "Loki limits the rate; lines are kept and sent more slowly");
            }),
            cursor: Throttle::new(container, |container, times, error| {
                error!(%container, times, %error, "a crash now would send lines twice");
            }),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lines did not get to Loki, or not whole.
    pub fn lost(&self, toll: &Toll) {
        self.counters.overwritten.fetch_add(toll.lost.overwritten, Ordering::Relaxed);
        self.counters.damaged.fetch_add(toll.lost.damaged, Ordering::Relaxed);
        for (throttle, count) in [
            (&self.overwritten, toll.lost.overwritten),
            (&self.damaged, toll.lost.damaged),
            (&self.cut, toll.cut_lines),
            (&self.lifted, toll.lifted),
            (&self.misaddressed, toll.misaddressed),
        ] {
            if count > 0 {
                throttle.add(count, String::new);
            }
        }
    }

    /// Loki took lines.
    pub fn sent(&self, lines: usize) {
        self.counters.sent.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Lines that Loki refused, or that were given up after the number of tries that was asked for.
    pub fn dropped(&self, lines: u64, error: &PushError) {
        self.counters.dropped.fetch_add(lines, Ordering::Relaxed);
        self.dropped.add(lines, || error.to_string());
    }

    /// Loki answered 429; the lines will be tried again.
    pub fn rate_limited(&self, error: &PushError) {
        self.limited.add(1, || error.to_string());
    }

    /// The cursor could not be written.
    pub fn cursor_not_saved(&self, error: &RingError) {
        self.cursor.add(1, || error.to_string());
    }
}

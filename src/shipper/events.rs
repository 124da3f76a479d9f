//! What can happen to lines on the way to Loki: one method for each event, with its counter and its log line.
//!
//! An event that concerns many lines is logged once a minute with their number, see [`telemetry::throttle`]. The
//! [destination](super::destination) logs an outage, once for all containers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, warn};

use super::collect::Toll;
use super::counters::{Changed, Dropped, ToOne};
use super::nanoseconds;
use loki::PushError;
use ring::RingError;
use telemetry::last::Last;
use telemetry::throttle::Throttle;

/// What happened to one container's lines for one destination, since the container was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Lines that Loki accepted.
    pub sent: u64,
    /// Lines that were dropped, by [`Dropped`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Lines that were sent in another form, by [`Changed`].
    pub changed: [u64; Changed::ALL.len()],
    /// When Loki last accepted lines, in nanoseconds since 1970.
    pub last_sent: Option<i64>,
    /// When lines were last dropped, in nanoseconds since 1970.
    pub last_dropped: Option<i64>,
    /// The last error.
    pub last_error: Option<LastError>,
}

/// An error and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// In nanoseconds since 1970.
    pub at: i64,
    /// The text of the error.
    pub text: String,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    changed: [AtomicU64; Changed::ALL.len()],
    last_sent: Last,
    last_dropped: Last,
    last_error: Mutex<Option<LastError>>,
}

/// The events of one container and destination.
#[derive(Debug)]
pub struct Events {
    counts: Counts,
    to: ToOne,
    dropped: Throttle,
    overwritten: Throttle,
    damaged: Throttle,
    cut: Throttle,
    too_old: Throttle,
    too_new: Throttle,
    misaddressed: Throttle,
    too_costly: Throttle,
    limited: Throttle,
    paused: Throttle,
    cursor: Throttle,
    container: Arc<str>,
    failed_closed: AtomicBool,
}

/// Why nothing is sent of a container that failed closed.
pub const FAILED_CLOSED: &str = "its pipeline needs too many steps or too much memory for line after line: no line is evaluated or sent until the \
                                 container starts with other stages, or the plugin is restarted";

// === impl Events ===

impl Events {
    /// Events that are logged with the container's name, and that count for their destination as well.
    pub fn new(container: &Arc<str>, to: ToOne) -> Self {
        Self {
            container: container.clone(),
            failed_closed: AtomicBool::new(false),
            counts: Counts::default(),
            to,
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
            too_old: Throttle::new(container, |container, lines, _| {
                warn!(%container, lines, "timestamps clamped: lines are older than Loki accepts; original_time has their own");
            }),
            too_new: Throttle::new(container, |container, lines, _| {
                warn!(%container, lines, "timestamps clamped: lines are newer than Loki accepts; original_time has their own");
            }),
            misaddressed: Throttle::new(container, |container, lines, _| {
                error!(%container, lines, "lines were dropped: the pipeline gives them a tenant id that Loki cannot take");
            }),
            too_costly: Throttle::new(container, |container, lines, _| {
                error!(%container, lines, "lines dropped: their pipeline needs too many steps or too much memory");
            }),
            limited: Throttle::new(container, |container, pushes, reason| {
                warn!(%container, pushes, %reason, "Loki limits the rate; lines are kept and sent more slowly");
            }),
            paused: Throttle::new(container, |container, pushes, reason| {
                warn!(%container, pushes, %reason, "lines are refused one after the other; they are kept, and tried again");
            }),
            cursor: Throttle::new(container, |container, times, error| {
                error!(%container, times, %error, "a crash now would send lines twice");
            }),
        }
    }

    /// What has happened so far.
    pub fn happened(&self) -> Happened {
        let Counts { sent, dropped, changed, last_sent, last_dropped, last_error } = &self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Happened {
            sent: read(sent),
            dropped: dropped.each_ref().map(read),
            changed: changed.each_ref().map(read),
            last_sent: last_sent.get(),
            last_dropped: last_dropped.get(),
            last_error: last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Counts and logs lines that were dropped or changed.
    pub fn lost(&self, toll: &Toll) {
        self.to.joined_lines.inc_by(toll.joined);
        for (throttle, why, lines) in [
            (&self.overwritten, Dropped::Overwritten, toll.lost.overwritten),
            (&self.damaged, Dropped::Damaged, toll.lost.damaged),
            (&self.misaddressed, Dropped::Misaddressed, toll.misaddressed),
            (&self.too_costly, Dropped::TooCostly, toll.too_costly),
        ] {
            if lines > 0 {
                self.count_dropped(why, lines);
                throttle.add(lines, String::new);
            }
        }
        for (throttle, how, lines) in [
            (&self.cut, Changed::Cut, toll.cut_lines),
            (&self.too_old, Changed::Retimed, toll.too_old),
            (&self.too_new, Changed::Retimed, toll.too_new),
        ] {
            if lines > 0 {
                self.counts.changed[how as usize].fetch_add(lines, Ordering::Relaxed);
                self.to.changed.add(how, lines);
                throttle.add(lines, String::new);
            }
        }
    }

    /// Counts lines that Loki accepted at `now`, in nanoseconds since 1970, and their bytes.
    pub fn sent(&self, lines: u64, bytes: u64, now: i64) {
        self.counts.sent.fetch_add(lines, Ordering::Relaxed);
        self.counts.last_sent.set(now);
        self.to.sent_lines.inc_by(lines);
        self.to.sent_bytes.inc_by(bytes);
    }

    /// Counts and logs lines that Loki rejected, or that were given up after `loki-retries` tries.
    pub fn dropped(&self, why: Dropped, lines: u64, error: &PushError) {
        self.count_dropped(why, lines);
        self.dropped.add(lines, || error.to_string());
    }

    /// Stages cost too much again and again: from now on no line is evaluated or sent.
    pub fn fail_closed(&self) {
        if !self.failed_closed.swap(true, Ordering::Relaxed) {
            error!(container = %self.container, reason = FAILED_CLOSED, "container failed closed");
        }
    }

    /// Whether the container has failed closed.
    pub fn has_failed_closed(&self) -> bool {
        self.failed_closed.load(Ordering::Relaxed)
    }

    /// Counts lines of a container that failed closed as dropped, because a later plan sends the lines behind them.
    pub fn passed_over(&self, lines: u64) {
        if lines > 0 {
            self.count_dropped(Dropped::TooCostly, lines);
            self.too_costly.add(lines, String::new);
        }
    }

    /// Records that a push failed at `now`, in nanoseconds since 1970.
    pub fn failed(&self, error: &PushError, now: i64) {
        let last = LastError { at: now, text: error.to_string() };
        *self.counts.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// Counts lines that will be sent again.
    pub fn retried(&self, lines: u64) {
        self.to.retried_lines.inc_by(lines);
    }

    /// Loki answered 429; the lines will be retried.
    pub fn rate_limited(&self, error: &PushError) {
        self.limited.add(1, || error.to_string());
    }

    /// Loki rejected a line that must not be dropped; it will be retried.
    pub fn paused(&self, error: &PushError) {
        self.paused.add(1, || error.to_string());
    }

    fn count_dropped(&self, why: Dropped, lines: u64) {
        let now = nanoseconds();
        self.counts.dropped[why as usize].fetch_add(lines, Ordering::Relaxed);
        self.counts.last_dropped.set(now);
        self.to.dropped(why, lines, now);
    }

    /// The cursor could not be written.
    pub fn cursor_not_saved(&self, error: &RingError) {
        self.cursor.add(1, || error.to_string());
    }
}

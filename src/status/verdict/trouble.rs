//! How one container is doing.

use serde::Serialize;

use super::seconds_since;
use crate::shipper::counters::Dropped;
use crate::streams::view::{ContainerView, LaneView};

/// A line may be late by so much before that is worth a word, beyond what `loki-batch-wait` allows; in seconds.
const LATE: f64 = 60.0;

/// Losses are news for an hour, and spoken of for a day; in seconds.
const NEWS: f64 = 3_600.0;
const SPOKEN_OF: f64 = 86_400.0;

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is not.
    #[default]
    Ok,
    /// Lines are late, or were lost some time ago.
    Warning,
    /// Lines are lost, or soon will be.
    Critical,
}

/// What to say of a container, or of its way to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// How bad it is.
    pub level: Level,
    /// In two words.
    pub word: &'static str,
}

// === impl Level ===

impl Level {
    /// As it is written in `/status.json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Of a loss at `last`, in nanoseconds since 1970; nothing that was long ago.
    pub fn of_loss(last: Option<i64>, now: i64) -> Self {
        match last.map(|last| seconds_since(last, now)) {
            Some(ago) if ago < NEWS => Self::Critical,
            Some(ago) if ago < SPOKEN_OF => Self::Warning,
            _ => Self::Ok,
        }
    }
}

// === impl Trouble ===

impl Trouble {
    const fn new(level: Level, word: &'static str) -> Self {
        Self { level, word }
    }

    /// Of a container on its way to one destination.
    pub fn of_lane(container: &ContainerView, lane: &LaneView, now: i64) -> Self {
        let waits = !lane.up && lane.lag_lines > 0;
        let loss = Level::of_loss(lane.last_dropped, now);
        match () {
            () if loss == Level::Critical => Self::new(loss, "lost lines"),
            () if waits && is_nearly_full(container, lane) => Self::new(Level::Critical, "ring full"),
            () if waits => Self::new(Level::Warning, "waits"),
            () if container.unusable.is_none() && is_late(lane) => Self::new(Level::Warning, "behind"),
            () if loss == Level::Warning => Self::new(loss, "lost lines"),
            () => Self::new(Level::Ok, "well"),
        }
    }

    /// The worst of a container.
    pub fn of_container(container: &ContainerView, now: i64) -> Self {
        let lanes = container.destinations.iter().map(|lane| Self::of_lane(container, lane, now));
        let own = match () {
            () if container.ring.in_memory => Self::new(Level::Critical, "in memory"),
            () if container.unusable.is_some() => Self::new(Level::Warning, "not sent"),
            () => Self::new(Level::Ok, "well"),
        };
        lanes.chain([own]).max_by_key(|trouble| trouble.level).unwrap_or(own)
    }
}

/// Whether lines wait for longer than they should although the destination answers.
pub fn is_late(lane: &LaneView) -> bool {
    lane.up && lane.lag_lines > 0 && lane.lag_seconds > LATE + 2.0 * lane.batch_wait_seconds
}

/// Whether the oldest line that waits is about to go. A ring forgets a sixteenth at a time, a small one more, so that one
/// that overflows again and again has some room in between.
pub fn is_nearly_full(container: &ContainerView, lane: &LaneView) -> bool {
    let overflows = lane.dropped_lines.contains_key(Dropped::Overwritten.as_str());
    let least = container.ring.limit_bytes / if overflows { 2 } else { 8 };
    lane.lag_lines > 0 && lane.room_bytes <= least
}

//! The way of one container to one destination: what its lanes share, and the one cursor that they save.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Plan;
use super::backoff::Backoff;
use super::collect::Collector;
use super::destination::{self, Destination};
use super::evaluating::Evaluating;
use super::events::Events;
use super::note::{FLOORS, Note};
use promtail::pipeline::Pipeline;
use ring::cursor::NOTE;
use ring::{Cursors, Position, Published, Ring};

/// See the [module](self).
#[derive(Debug)]
pub struct Way {
    /// Unique for the life of the process.
    pub id: u64,
    /// How lines are sent.
    pub plan: Plan,
    /// Where lines are sent.
    pub destination: Arc<Destination>,
    /// The container's lines.
    pub ring: Arc<Ring>,
    cursors: Arc<Mutex<Cursors>>,
    /// The number of the cursor of this way.
    cursor: usize,
    /// How far the ring goes.
    pub follow: watch::Receiver<Published>,
    /// How many streams of the container are being logged.
    pub live: watch::Receiver<usize>,
    /// Whether the plugin shuts down.
    pub shutdown: watch::Receiver<bool>,
    /// The events of these lines.
    pub events: Arc<Events>,
    /// How far each lane has got.
    marks: Mutex<BTreeMap<u64, Mark>>,
    /// The number of the lane that was created last.
    lanes: AtomicU64,
}

/// How far one lane has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: Position,
    note: Note,
    /// The outputs that this lane sends.
    sends: [bool; 2],
}

/// The number of the lane that exists from the beginning.
pub const FIRST: u64 = 0;

// === impl Way ===

impl Way {
    /// A way that saves the cursor number `cursor`.
    pub fn new(
        ring: &Arc<Ring>,
        (cursors, cursor): (Arc<Mutex<Cursors>>, usize),
        plan: Plan,
        destination: Arc<Destination>,
        live: watch::Receiver<usize>,
        shutdown: watch::Receiver<bool>,
        events: Arc<Events>,
    ) -> Self {
        static WAYS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: WAYS.fetch_add(1, Ordering::Relaxed),
            plan,
            destination,
            ring: ring.clone(),
            cursors,
            cursor,
            follow: ring.follow(),
            live,
            shutdown,
            events,
            marks: Mutex::default(),
            lanes: AtomicU64::new(FIRST),
        }
    }

    /// The same way with lines that pass these stages. Nothing may have been sent on this one.
    pub fn through(&self, pipeline: Option<Pipeline>) -> Self {
        let plan = Plan { pipeline, ..self.plan.clone() };
        let cursor = (self.cursors.clone(), self.cursor);
        let (live, shutdown) = (self.live.clone(), self.shutdown.clone());
        Self::new(&self.ring, cursor, plan, self.destination.clone(), live, shutdown, self.events.clone())
    }

    /// The same way without lines: all of them are skipped.
    pub fn without_lines(&self) -> Self {
        let plan = Plan { streams: [None, None], pipeline: None, ..self.plan.clone() };
        Self { plan, ..self.through(None) }
    }

    /// Releases all lines that the ring keeps for this way.
    pub fn protect_nothing(&self) {
        self.ring.protect_from(self.cursor, u64::MAX);
    }

    /// The mark of an earlier process that died while it evaluated lines from entry `seq` on.
    pub fn evaluating(&self, seq: u64) -> Evaluating {
        Evaluating::load(&self.ring, self.cursor, seq)
    }

    /// Makes the ring keep lines from entry `seq` on.
    pub fn protect_from(&self, seq: u64) {
        self.ring.protect_from(self.cursor, seq);
    }

    /// Whether no more lines come: no stream is live, or a later plan sends what comes.
    pub fn has_ended(&self) -> bool {
        *self.live.borrow() == 0 || self.plan.until.is_set()
    }

    /// A number for a new lane.
    pub fn number(&self) -> u64 {
        self.lanes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The position at which it continues, see [`Cursors::start`].
    pub fn start(&self) -> (Position, [u8; NOTE]) {
        lock(&self.cursors).start(self.cursor)
    }

    /// Whether a batch is retried as long as the ring holds it, because `loki-retries` sets no limit.
    pub fn is_patient(&self) -> bool {
        self.plan.attempts.is_none()
    }

    /// Whether the plugin shuts down.
    pub fn is_shut(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// The tenant of all lines, if they have the same one; `None` in it is the destination's own.
    pub fn only_tenant(&self) -> Option<Option<&str>> {
        if self.plan.pipeline.is_some() {
            return None;
        }
        let mut tenants = self.plan.streams.iter().flatten().map(|stream| stream.tenant.as_deref());
        let first = tenants.next()?;
        tenants.all(|tenant| tenant == first).then_some(first)
    }

    /// The delay between tries of a batch. Without a limit of tries it is capped, so that the end of a rate limit or an
    /// outage is noticed within seconds.
    pub fn backoff(&self) -> Backoff {
        let typed = self.plan.backoff;
        if self.is_patient() { typed.capped(destination::LONGEST_PROBE) } else { typed }
    }

    /// Records how far a lane has got, and saves the cursor. No lane has unsent lines before the cursor's position, and
    /// behind it each output has its own mark.
    pub fn save(&self, lane: u64, collector: &Collector) {
        self.mark(lane, collector);
        self.save_marks();
    }

    /// Records how far a lane has got, without saving.
    pub fn mark(&self, lane: u64, collector: &Collector) {
        let (position, note) = collector.checkpoint();
        lock(&self.marks).insert(lane, Mark { position, note, sends: collector.sends() });
    }

    /// Removes a lane that has joined the first one, which has got this far, and saves the cursor.
    pub fn unmark(&self, lane: u64, first: &Collector) {
        lock(&self.marks).remove(&lane);
        self.save(FIRST, first);
    }

    fn save_marks(&self) {
        let marks = lock(&self.marks);
        let Some((position, note)) = combine(&marks) else { return };
        if self.plan.protects {
            self.ring.protect_from(self.cursor, position.seq);
        }
        let note = note.bytes();
        let mut cursors = lock(&self.cursors);
        if cursors.saved(self.cursor) == Some((position, note)) {
            return;
        }
        let saved = cursors.save(self.cursor, position, note);
        let sent = cursors.furthest_behind().filter(|_| self.plan.forgets && saved.is_ok());
        drop((cursors, marks));
        if let Some(sent) = sent {
            self.ring.retire_before(sent);
        }
        if let Err(error) = saved {
            self.events.cursor_not_saved(&error);
        }
    }
}

/// The cursor of all lanes: the position of the slowest lane, and the note of each output from the lane that sends it.
/// With a pipeline all lanes send both outputs, so the slowest lane's notes count.
fn combine(marks: &BTreeMap<u64, Mark>) -> Option<(Position, Note)> {
    let furthest_behind = marks.values().min_by_key(|mark| mark.position.seq)?;
    let mut note = marks.get(&FIRST).map_or(furthest_behind.note, |first| first.note);
    for source in [0, 1] {
        let senders = marks.values().filter(|mark| mark.sends[source]);
        if let Some(mark) = senders.min_by_key(|mark| mark.note.progress.next_seq[source]) {
            note.progress.next_seq[source] = mark.note.progress.next_seq[source];
            note.progress.last_time[source] = mark.note.progress.last_time[source];
            note.progress.left_out[source] = mark.note.progress.left_out[source];
            note.pinned[source] = mark.note.pinned[source];
        }
    }
    let mut floors = marks.values().flat_map(|mark| mark.note.floors).flatten();
    note.floors = [(); FLOORS].map(|()| floors.next());
    Some((furthest_behind.position, note))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipper::progress::Progress;

    fn mark(seq: u64, next_seq: [u64; 2], sends: [bool; 2]) -> Mark {
        let position = Position { seq, ..Position::default() };
        let progress = Progress { next_seq, last_time: next_seq.map(|seq| seq as i64), left_out: next_seq };
        Mark { position, note: Note { progress, ..Note::default() }, sends }
    }

    #[test]
    fn the_cursor_stays_with_the_slowest_lane_and_each_output_has_the_mark_of_its_own() {
        let (first, behind) = (mark(90, [10, 90], [false, true]), mark(20, [20, 10], [true, false]));
        let (position, note) = combine(&BTreeMap::from([(FIRST, first), (1, behind)])).unwrap();
        let Progress { next_seq, last_time, left_out } = note.progress;
        assert_eq!((position.seq, next_seq, last_time, left_out), (20, [20, 90], [20, 90], [20, 90]));
    }

    #[test]
    fn with_a_pipeline_the_marks_are_those_of_the_slowest_lane() {
        let (first, behind) = (mark(90, [80, 90], [true; 2]), mark(20, [15, 20], [true; 2]));
        let (position, note) = combine(&BTreeMap::from([(FIRST, first), (1, behind)])).unwrap();
        assert_eq!((position.seq, note.progress.next_seq), (20, [15, 20]));
    }
}

//! Lines through a pipeline into batches: one batch for each stream that the stages make.
//!
//! A stage may hold lines, and remember lines that it saw. So that a retried batch has the same entries, the pipeline
//! is kept twice: as it is, and as it was when everything that came out was accepted. A retry goes back to the second
//! one. Lines of the round that Loki has accepted already are known by their numbers, and skipped.
//!
//! After a kill the next process has a pipeline that has seen nothing. It begins with the first line that was held, and
//! sends lines that came out behind it again. That is bounded: a stage holds a line at most until a part of the ring
//! was read behind it, see [`held`].

mod held;
mod steady;
mod streams;
mod times;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Plan;
use super::batch::{Batch, ORIGINAL_TIME, Settled};
use super::lines::Place;
use super::note::{FLOORS, Floor, Note};
use super::scope::{Key, Scope};
use super::strikes::Strikes;
use super::window::{Tried, Window};
use dockerd::Source;
use dockerd::partial::{Line, MARKER, MAX_LINE};
use held::Held;
use loki::encode::Metadata;
use promtail::pipeline::entry::{Labels, TENANT};
use promtail::pipeline::{Entry, Pipeline, SeqRange};
use steady::Steady;
use streams::{MOST_STREAMS, Streams};

/// Where a stage limits the rate, lines that may go within this time, in nanoseconds, go together: one request a second
/// instead of one for each line.
const AHEAD: i64 = 1_000_000_000;

/// The longest turn of one container while others wait; a line that is begun is finished. Tests use no clock.
const LONGEST_TURN: Duration = Duration::from_millis(if cfg!(test) { 1 << 40 } else { 50 });

/// Units of work between two looks at the clock.
const LOOKS_AT_CLOCK: u64 = 1_000_000;

/// See the [module](self).
#[derive(Debug)]
pub struct Piped {
    /// The labels of a line by its source; `None`: lines of that source are skipped.
    labels: [Option<Labels>; 2],
    /// The structured metadata of all lines.
    metadata: Arc<Metadata>,
    batch_size: usize,
    /// Bytes of all batches together after which a round ends; `encoded` is how many they have.
    room: usize,
    encoded: usize,
    now: State,
    settled: State,
    /// Whether a line went in since `settled`.
    is_changed: bool,
    streams: Streams,
    batches: Vec<Out>,
    /// Lines of this round that Loki has accepted: the number of the stream, the first and the last entry.
    done: HashSet<(usize, u64, u64)>,
    /// The time of [`Steady`] before which the next line must not be read.
    not_before: Option<i64>,
    steady: Steady,
    /// The stages' deadline when it was seen first, and the same by the monotonic clock, which is never set.
    due: Option<(i64, Instant)>,
    /// When the last line arrived.
    arrived: i64,
    out: Vec<Entry>,
    /// Lines for an invalid tenant.
    misaddressed: u64,
    /// Lines whose stages cost too much.
    too_costly: u64,
    /// When the turn of this container ends, and units of work since the clock was read.
    turn: Turn,
    /// Whether this is a fork. Only the original counts lines that cost too much, because both have the same ones.
    is_fork: bool,
}

/// The turn of one container, after which others get the processor.
#[derive(Debug, Default)]
struct Turn {
    until: Option<Instant>,
    unseen: u64,
}

/// What is the same for all lines that are read in one go.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// When they are read, in nanoseconds since 1970.
    pub now: i64,
    /// The timestamps that Loki accepts, except for the floors of single streams.
    pub window: Window,
    /// Whether they carry structured metadata.
    pub with_metadata: bool,
}

/// The state that changes with each line.
#[derive(Clone, Debug)]
struct State {
    pipeline: Pipeline,
    /// Where the lines begin that a stage may hold.
    held: Held,
    strikes: Strikes,
}

/// The lines of one stream that go into one request.
#[derive(Debug)]
struct Out {
    stream: usize,
    batch: Batch,
    seqs: Vec<SeqRange>,
}

// === impl Piped ===

impl Piped {
    /// Sets the number of bytes of all batches together after which a round ends.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Sets the number of bytes of lines at which a batch ends.
    pub fn set_batch_size(&mut self, bytes: usize) {
        self.batch_size = bytes;
    }

    /// Batches of the lines that `pipeline` makes of a container's lines.
    ///
    /// Stages hold a line at most until `most_held` bytes of the ring were read behind it.
    pub fn new(pipeline: Pipeline, plan: &Plan, note: &Note, most_held: u64) -> Self {
        let labels = plan.streams.each_ref().map(|stream| {
            let stream = stream.as_ref()?;
            let tenant = stream.tenant.iter().map(|tenant| (TENANT, tenant.as_str()));
            Some(pairs(&stream.pairs).chain(tenant).collect())
        });
        let state = State { pipeline, held: Held::with_most(most_held), strikes: Strikes::default() };
        Self {
            labels,
            metadata: Arc::new(Metadata::new(pairs(&plan.metadata))),
            batch_size: plan.batch_size,
            room: usize::MAX,
            encoded: 0,
            now: state.clone(),
            settled: state,
            is_changed: false,
            streams: Streams::with_floors(note.floors),
            batches: Vec::new(),
            done: HashSet::new(),
            not_before: None,
            steady: Steady::default(),
            due: None,
            arrived: i64::MIN,
            out: Vec::new(),
            misaddressed: 0,
            too_costly: 0,
            turn: Turn::default(),
            is_fork: false,
        }
    }

    /// Passes a line that begins at `place` through the stages; true when that is enough for now.
    pub fn take(&mut self, line: &Line<'_>, place: Place, round: &Round) -> bool {
        let Some(labels) = &self.labels[line.source.index()] else { return false };
        let entry = Entry {
            line: line.bytes.to_vec(),
            labels: labels.clone(),
            timestamp: line.time,
            arrived: line.time,
            seq: SeqRange { first: line.first_seq, last: line.last_seq },
            ..Entry::default()
        };
        let steady = self.steady.at(round.now);
        // With a rate limit, each line has its own earliest time.
        let now = steady.max(self.not_before.unwrap_or(i64::MIN));
        self.arrived = line.time;
        let state = &mut self.now;
        self.is_changed = true;
        state.held.push(place);
        let not_before = state.pipeline.process(entry, now, &mut self.out);
        state.held.forget(state.pipeline.held_since());
        let cost = state.pipeline.take_cost();
        match cost.overruns {
            0 => state.strikes.passed(),
            overruns => (0..overruns).for_each(|_| state.strikes.add()),
        }
        self.too_costly += cost.overruns;
        self.not_before = self.not_before.max(not_before);
        self.let_go(now);
        let is_ahead = self.not_before.is_some_and(|time| time > steady.saturating_add(AHEAD));
        // After a line that cost too much, other containers get their turn before the next one.
        self.sort(round) | is_ahead | self.turn.is_over(cost.spent) | (cost.overruns > 0)
    }

    /// Whether stages cost too much again and again.
    pub fn is_out(&self) -> bool {
        self.now.strikes.is_out()
    }

    /// Whether a line cost too much recently.
    pub fn is_suspect(&self) -> bool {
        self.now.strikes.is_any()
    }

    /// Begins the turn of this container.
    pub fn begin_turn(&mut self) {
        self.turn = Turn { until: Some(Instant::now() + LONGEST_TURN), unseen: 0 };
    }

    /// Notes that `bytes` of the ring were read, counted as [`Place::bytes`], with or without lines in them.
    pub fn pass(&mut self, bytes: u64, round: &Round) {
        if self.now.held.pass(bytes) {
            self.is_changed = true;
            let now = self.steady.at(round.now);
            self.let_go(now);
            self.sort(round);
        }
    }

    /// Releases lines that were held for too long.
    fn let_go(&mut self, now: i64) {
        let State { pipeline, held, .. } = &mut self.now;
        if let Some(overdue) = held.overdue() {
            self.not_before = self.not_before.max(pipeline.let_go(overdue, now, &mut self.out));
            held.forget(pipeline.held_since());
        }
    }

    /// Nothing is left to read: releases lines that have waited for long enough, and with `ended` all held lines.
    pub fn wait_no_longer(&mut self, ended: bool, round: &Round) {
        let steady = self.steady.at(round.now);
        let is_due = self.deadline(round.now).is_some_and(|at| at <= Instant::now());
        let State { pipeline, held, .. } = &mut self.now;
        let now = steady.max(pipeline.next_deadline().filter(|_| is_due).unwrap_or(i64::MIN));
        let is_held = pipeline.held_since().is_some();
        let not_before = match ended {
            true if is_held => pipeline.flush(now, &mut self.out),
            false if is_due => pipeline.tick(now, &mut self.out),
            _ => return,
        };
        self.is_changed = true;
        self.not_before = self.not_before.max(not_before);
        held.forget(pipeline.held_since());
        self.sort(round);
    }

    /// When [`Piped::wait_no_longer`] is due, if the host's clock says `now`. A clock that is set back makes no wait
    /// longer.
    pub fn deadline(&self, now: i64) -> Option<Instant> {
        let deadline = self.now.pipeline.next_deadline()?;
        let by_host = later(deadline, now);
        Some(self.due.filter(|(seen, _)| *seen == deadline).map_or(by_host, |(_, at)| at.min(by_host)))
    }

    /// Ends a round: from now on a set clock of the host changes no deadline.
    pub fn notice(&mut self, now: i64) {
        let deadline = self.now.pipeline.next_deadline();
        if self.due.map(|(seen, _)| seen) != deadline {
            // A line that arrived later than now was stamped by another clock. It waits no longer than one that arrives
            // now.
            self.due = deadline.map(|deadline| (deadline, later(deadline, now.max(self.arrived))));
        }
    }

    /// The moment before which no line may be read.
    pub fn not_before(&self) -> Option<Instant> {
        Some(self.steady.when(self.not_before?))
    }

    /// Whether a stage holds lines.
    pub fn holds_lines(&self) -> bool {
        self.now.pipeline.held_since().is_some()
    }

    /// The number of batches of this round.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(|out| out.batch.entries() == 0)
    }

    /// The batch number `at`.
    pub fn batch(&mut self, at: usize) -> Option<&mut Batch> {
        Some(&mut self.batches.get_mut(at)?.batch)
    }

    /// The tenant of a batch, unless it is the destination's.
    pub fn tenant(&self, at: usize) -> Option<&str> {
        let stream = self.batches.get(at)?.stream;
        self.streams.get(stream).tenant.as_deref()
    }

    /// The latest timestamp with which a line was accepted.
    pub fn last_time(&self) -> i64 {
        self.streams.last_time()
    }

    /// Whether the timestamp of a line in the batches was clamped.
    pub fn is_clamped(&self) -> bool {
        self.batches.iter().any(|out| out.batch.is_clamped())
    }

    /// The floors to which timestamps of lines in the batches were raised.
    pub fn floors(&self) -> [Option<Floor>; FLOORS] {
        let clamped = self.batches.iter().filter(|out| out.batch.is_clamped());
        let mut floors = clamped.filter_map(|out| self.streams.get(out.stream).floor());
        [(); FLOORS].map(|()| floors.next())
    }

    /// Marks a batch as accepted, except for `dropped` of its lines, which are dropped.
    pub fn acknowledge(&mut self, at: usize, dropped: u64) -> Option<Settled> {
        let out = self.batches.get_mut(at)?;
        let stream = out.stream;
        if dropped >= out.batch.entries() as u64 {
            // A line that Loki rejected is not the newest of its stream.
            self.streams.get_mut(stream).forget_times();
        }
        self.done.extend(out.seqs.drain(..).map(|seq| (stream, seq.first, seq.last)));
        let settled = out.batch.settle();
        self.streams.get_mut(stream).limit = out.batch.limit();
        Some(settled)
    }

    /// Forks off one that continues from the last settled state with only the streams of `key`. The fork skips lines that
    /// Loki has accepted since, and this one continues without those streams.
    pub fn fork(&mut self, key: Key) -> Self {
        let mut state = self.settled.clone();
        // The pipeline's events are counted here.
        state.pipeline = state.pipeline.counting_in(None);
        let child = Self {
            labels: self.labels.clone(),
            metadata: self.metadata.clone(),
            batch_size: self.batch_size,
            room: usize::MAX,
            encoded: 0,
            now: state.clone(),
            settled: state,
            is_changed: false,
            streams: self.streams.fork(key),
            batches: Vec::new(),
            done: self.done.clone(),
            not_before: None,
            steady: self.steady,
            due: self.due,
            arrived: self.arrived,
            out: Vec::new(),
            misaddressed: 0,
            too_costly: 0,
            turn: Turn::default(),
            is_fork: true,
        };
        for out in &mut self.batches {
            if !self.streams.get(out.stream).is_ours {
                out.batch.clear();
                out.seqs.clear();
            }
        }
        child
    }

    /// Takes back what [`Piped::fork`] gave away. Both are at the same line.
    pub fn absorb(&mut self, child: Self, key: &Key) {
        self.streams.absorb(child.streams, key);
    }

    /// Whether stages hold the same lines as those of another one at the same line.
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let held = |piped: &Self| (piped.now.pipeline.held_since(), piped.now.pipeline.next_deadline());
        held(self) == held(other)
    }

    /// The streams that are sent here.
    pub fn scope(&self) -> &Scope {
        self.streams.scope()
    }

    /// The key of the stream of a batch.
    pub fn labels(&self, at: usize) -> Option<&Labels> {
        let stream = self.batches.get(at)?.stream;
        Some(&self.streams.get(stream).key)
    }

    /// The number of the stream of a batch.
    pub fn stream(&self, at: usize) -> usize {
        self.batches.get(at).map_or(0, |out| out.stream)
    }

    /// Everything that came out is accepted; `next` is the entry that is read next.
    pub fn settle(&mut self, next: u64) {
        if std::mem::take(&mut self.is_changed) {
            self.now.pipeline.settle();
            self.settled = self.now.clone();
        }
        self.batches.clear();
        self.encoded = 0;
        // A round that ends sooner than the one before leaves lines of that to the next round.
        let to_come = self.settled.pipeline.held_since().map_or(next, |held| held.min(next));
        self.done.retain(|(_, _, last)| *last >= to_come);
        self.streams.settle(self.done.is_empty());
    }

    /// Goes back to the last settled state.
    pub fn rewind(&mut self) {
        if std::mem::take(&mut self.is_changed) {
            let before = std::mem::replace(&mut self.now, self.settled.clone());
            self.now.pipeline.repeat(&before.pipeline);
        }
        self.not_before = None;
        // These lines will be counted again.
        self.misaddressed = 0;
        self.too_costly = 0;
        self.streams.rewind();
        self.batches.clear();
        self.encoded = 0;
    }

    /// Frees the memory of batches.
    pub fn rest(&mut self) {
        for out in &mut self.batches {
            out.batch.clear();
            out.seqs.clear();
        }
    }

    /// The first held line: where the next process has to begin, if that is before `restart`.
    pub fn held(&self) -> Option<Place> {
        self.settled.held.first(self.settled.pipeline.held_since()?)
    }

    /// Halves the next batch of the stream.
    pub fn split(&mut self, at: usize) {
        if let Some(out) = self.batches.get_mut(at) {
            out.batch.split();
            self.streams.get_mut(out.stream).limit = out.batch.limit();
        }
    }

    /// Raises timestamps of a batch's stream that are older than what Loki accepts; false when they were raised
    /// already.
    pub fn lift(&mut self, at: usize, oldest: i64, tried: &Tried) -> bool {
        let Some(out) = self.batches.get(at) else { return false };
        let stream = self.streams.get_mut(out.stream);
        let lifted = tried.lifted(oldest, stream.floor);
        stream.floor = lifted.unwrap_or(stream.floor);
        lifted.is_some()
    }

    /// Lines for an invalid tenant, since the last call.
    pub fn take_misaddressed(&mut self) -> u64 {
        std::mem::take(&mut self.misaddressed)
    }

    /// Lines whose stages cost too much, since the last call.
    pub fn take_too_costly(&mut self) -> u64 {
        let lines = std::mem::take(&mut self.too_costly);
        if self.is_fork { 0 } else { lines }
    }

    /// Sorts released lines into batches; true when one of them is full.
    fn sort(&mut self, round: &Round) -> bool {
        let mut full = false;
        let mut out = std::mem::take(&mut self.out);
        for entry in out.drain(..) {
            full |= self.put(entry, round);
        }
        self.out = out;
        full
    }

    fn put(&mut self, entry: Entry, round: &Round) -> bool {
        let number = self.streams.number_of(&entry.labels);
        let stream = self.streams.get_mut(number);
        if !stream.is_ours {
            return self.streams.are_many();
        }
        if stream.is_misaddressed {
            self.misaddressed += 1;
            return self.streams.are_many();
        }
        let window = Window { oldest: stream.floor, ..round.window };
        let is_clamped = window.clamp(entry.timestamp) != entry.timestamp;
        let time = stream.time_of(entry.timestamp, entry.timestamp != entry.arrived, &window);
        // Loki may have accepted them with half of their stream.
        if !self.done.is_empty() && self.done.contains(&(number, entry.seq.first, entry.seq.last)) {
            return false;
        }
        let own = is_clamped
            .then(|| jiff::Timestamp::from_nanosecond(entry.timestamp.into()).unwrap_or_default().to_string());
        let (none, metadata) =
            (Metadata::default(), round.with_metadata.then(|| self.metadata_of(&entry, own.as_deref())));
        let metadata = metadata.as_deref().unwrap_or(&none);
        let (bytes, cut) = shortened(entry.line);
        let line = Line {
            // The source has no meaning behind the pipeline.
            source: Source::Stdout,
            time: entry.timestamp,
            first_seq: entry.seq.first,
            last_seq: entry.seq.last,
            bytes: &bytes,
            cut,
            left_out: 0,
        };
        let size = self.batch_size;
        // Timestamps that a stage has parsed come in any order.
        let is_apart = |at: usize| entry.timestamp == entry.arrived && self.batches[at].batch.is_apart(time);
        if self.streams.get(number).open.is_some_and(is_apart) {
            self.streams.get_mut(number).open = None;
        }
        let out = self.out_of(number);
        let before = out.batch.encoded();
        if is_clamped {
            out.batch.take_clamped(&line, time, metadata);
        } else {
            out.batch.take(&line, time, metadata);
        }
        out.seqs.push(entry.seq);
        let is_full = out.batch.is_full(size);
        let added = out.batch.encoded() - before;
        self.encoded += added;
        if is_full {
            // A stage may release many lines at once, and the rest of them needs a batch too.
            self.streams.get_mut(number).open = None;
        }
        let is_enough = self.encoded >= self.room || self.batches.len() >= MOST_STREAMS;
        is_full || is_enough || self.streams.are_many()
    }

    /// The open batch of a stream.
    fn out_of(&mut self, number: usize) -> &mut Out {
        let stream = self.streams.get_mut(number);
        let at = *stream.open.get_or_insert_with(|| {
            let batch = Batch::small(&stream.labels, stream.limit);
            self.batches.push(Out { stream: number, batch, seqs: Vec::new() });
            self.batches.len() - 1
        });
        &mut self.batches[at]
    }

    fn metadata_of(&self, entry: &Entry, own_time: Option<&str>) -> Arc<Metadata> {
        if entry.structured_metadata.is_empty() && own_time.is_none() {
            return self.metadata.clone();
        }
        let made = entry.structured_metadata.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        Arc::new(self.metadata.with(made.chain(own_time.map(|time| (ORIGINAL_TIME, time)))))
    }
}

// === impl Turn ===

impl Turn {
    /// Whether the turn is over, after `spent` more units of work. The clock is read rarely.
    fn is_over(&mut self, spent: u64) -> bool {
        self.unseen += spent;
        if self.unseen < LOOKS_AT_CLOCK {
            return false;
        }
        self.unseen = 0;
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

fn pairs(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The moment at which it will be `time`, if it is `now`.
fn later(time: i64, now: i64) -> Instant {
    Instant::now() + Duration::from_nanos(u64::try_from(time.saturating_sub(now)).unwrap_or(0))
}

/// Truncates a line that stages made longer than Loki accepts, and returns how many bytes were cut.
fn shortened(mut line: Vec<u8>) -> (Vec<u8>, u64) {
    if line.len() <= MAX_LINE {
        return (line, 0);
    }
    let mut keep = MAX_LINE - MARKER.len();
    // Truncate at a character boundary of UTF-8.
    for _ in 0..3 {
        if line[keep] & 0xc0 != 0x80 {
            break;
        }
        keep -= 1;
    }
    let cut = (line.len() - keep) as u64;
    line.truncate(keep);
    line.extend_from_slice(MARKER);
    (line, cut)
}

//! The collector reads a ring and fills batches.
//!
//! Reading from the cursor on always makes the same lines with the same timestamps. So a batch that is sent twice is
//! byte-identical, and Loki drops the second one as far as it can.

use std::sync::Arc;

use tokio::time::Instant;

use super::Plan;
use super::batch::{Batch, ORIGINAL_TIME};
use super::lines::{Limit, Lines, Place};
use super::note::Note;
use super::piped::{Piped, Round};
use super::progress::Progress;
use super::scope::{Key, Scope};
use super::until::Until;
use super::window::{Clamp, Now, Refusal, Tried};
use base::clock;
use dockerd::Source;
use dockerd::partial::Line;
use loki::encode::Metadata;
use ring::cursor::NOTE;
use ring::{Lost, Position, Published, Ring};

/// A round takes at most one part in this many of the ring's bound: the container needs room to write meanwhile.
pub const LARGEST_ROUND: u64 = 2;

/// Lines no longer wait for others when one part in this many of the ring's bound is unread, whatever `loki-batch-size`
/// and `loki-batch-wait` say.
pub const FULL_ENOUGH: u64 = 4;

/// Stages hold a line at most until one part in this many of the ring's bound was read behind it.
pub const LONGEST_HELD: u64 = 4;

/// Bytes of the ring that are read in one go: other containers need the processor too. It is more than any batch has.
const READ_AT_ONCE: u64 = 8 << 20;

/// The position of another collector of the same ring, behind which this one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The entry that the other collector reads next.
    pub seq: u64,
    /// Entries that it has read, by [`Source::index`].
    entries: [u64; 2],
}

/// Reads a ring and fills batches.
#[derive(Debug)]
pub struct Collector {
    ring: Arc<Ring>,
    lines: Lines,
    metadata: Metadata,
    batch_size: usize,
    /// Bytes of all batches together after which a round ends.
    room: usize,
    labels: Arc<[String; 2]>,
    batches: [Batch; 2],
    /// Replaces `batches` when there is a pipeline.
    piped: Option<Box<Piped>>,
    /// The sources whose lines are sent; lines of others are skipped.
    sent: [bool; 2],
    /// The progress that is acknowledged.
    acknowledged: Progress,
    /// The timestamps of lines that were read into batches.
    times: Progress,
    /// The windows of the sources; with a pipeline the first one is used for all its streams.
    clamps: [Clamp; 2],
    /// Where reading must begin again to see all lines that are not acknowledged.
    restart: Place,
    /// [`Published::bytes`] when the reader was last at the end of the ring.
    seen: u64,
    /// Whether the reader stopped before the end of the ring.
    more: bool,
    /// The entry at which this collector ends for good.
    until: Until,
    /// The position of the collector that it was forked off, behind which it stays.
    end: Option<End>,
    /// Entries that were counted as dropped since the fork.
    missed: u64,
    /// Entries that the ring lost since `restart`. A rewind finds them again, so they count only when `restart` moves
    /// past them.
    gap: Lost,
    toll: Toll,
}

/// Lines that did not get to Loki, or not unchanged. Each line counts once, however often its batch was retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Entries that the ring has lost or damaged.
    pub lost: Lost,
    /// Lines that were truncated because they were longer than Loki accepts.
    pub cut_lines: u64,
    /// Lines that were older than Loki accepts.
    pub too_old: u64,
    /// Lines that were newer than Loki accepts.
    pub too_new: u64,
    /// Lines to which a pipeline has given an invalid tenant.
    pub misaddressed: u64,
    /// Lines that cost a pipeline too much.
    pub too_costly: u64,
    /// Lines that were joined from several entries.
    pub joined: u64,
}

// === impl Collector ===

impl Collector {
    /// A collector that begins at `saved`, or at the first entry ever, whether the ring still has it or not.
    pub fn new(ring: &Arc<Ring>, saved: Option<(Position, [u8; NOTE])>, plan: &Plan) -> Self {
        let (position, note) = saved.map_or_else(Default::default, |(position, note)| (position, Note::read(&note)));
        let acknowledged = note.progress;
        let restart = Place { position, left_out: acknowledged.left_out, ..Place::default() };
        let labels =
            plan.streams.each_ref().map(|stream| stream.as_ref().map_or("", |stream| &stream.labels).to_owned());
        let most_held = ring.budget_bytes() / LONGEST_HELD;
        let piped = |pipeline| Box::new(Piped::new(pipeline, plan, &note, most_held));
        Self {
            ring: ring.clone(),
            lines: Lines::new(ring, &restart),
            metadata: Metadata::new(plan.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            batch_size: plan.batch_size,
            room: usize::MAX,
            batches: labels.each_ref().map(|labels| Batch::new(labels)),
            labels: Arc::new(labels),
            piped: plan.pipeline.clone().map(piped),
            sent: plan.streams.each_ref().map(Option::is_some),
            acknowledged,
            times: acknowledged,
            clamps: note.clamps(),
            restart,
            seen: 0,
            more: false,
            until: plan.until.clone(),
            end: None,
            missed: 0,
            gap: Lost::default(),
            toll: Toll::default(),
        }
    }

    /// Sets the number of bytes of all batches together after which a round ends.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
        if let Some(piped) = &mut self.piped {
            piped.set_room(bytes);
        }
    }

    /// Compresses the batches, frees the memory that they are made from, and returns the bytes of all bodies.
    pub fn seal(&mut self) -> usize {
        self.lines.shrink();
        (0..self.batches()).filter_map(|at| self.batch(at).map(Batch::seal)).sum()
    }

    /// Sets the number of bytes of lines at which a batch ends.
    pub fn set_batch_size(&mut self, bytes: usize) {
        self.batch_size = bytes;
        if let Some(piped) = &mut self.piped {
            piped.set_batch_size(bytes);
        }
    }

    /// Forks off a collector that continues from the acknowledged progress with only the streams of `key`. This one
    /// continues without them, and its batches of them are emptied.
    pub fn fork(&mut self, key: &Key) -> Self {
        let mut sent = self.sent;
        let mut batches = [0, 1].map(|at| Batch::with_limit(&self.labels[at], self.batches[at].limit()));
        let clamps = self.clamps;
        if let Key::Source(source) = *key {
            let at = source.index();
            sent = [false; 2];
            (sent[at], self.sent[at]) = (true, false);
            self.batches[at] = Batch::new(&self.labels[at]);
            self.clamps[at] = Clamp::default();
            batches[1 - at] = Batch::new(&self.labels[1 - at]);
        }
        let child = Self {
            ring: self.ring.clone(),
            lines: Lines::new(&self.ring, &Place { left_out: self.acknowledged.left_out, ..self.restart }),
            metadata: self.metadata.clone(),
            batch_size: self.batch_size,
            room: usize::MAX,
            labels: self.labels.clone(),
            batches,
            piped: self.piped.as_mut().map(|piped| Box::new(piped.fork(key.clone()))),
            sent,
            acknowledged: self.acknowledged,
            times: self.acknowledged,
            clamps,
            restart: self.restart,
            seen: 0,
            more: false,
            until: self.until.clone(),
            end: Some(self.end()),
            missed: 0,
            gap: Lost::default(),
            toll: Toll::default(),
        };
        if let Key::Source(source) = *key {
            // It begins a line whose remainder is skipped here.
            self.lines.take_over(source, 0);
        }
        self.settle();
        child
    }

    /// Whether [`Collector::absorb`] may take back `child`: both are at the same line, and hold the same lines before
    /// it.
    pub fn may_absorb(&self, child: &Self) -> bool {
        // Nothing is read behind the final end, and a collector that the ring has overtaken may stand there.
        let until = self.until.get();
        let is_level = self.next_seq().min(until) == child.next_seq().min(until);
        let is_level = is_level && self.is_empty() && child.is_empty();
        // This collector skips entries below its mark, as after it went back to an incomplete line; the child has not
        // sent those.
        let is_behind = self.acknowledged.next_seq.iter().any(|mark| *mark > child.next_seq());
        is_level
            && match (&self.piped, &child.piped) {
                (Some(piped), Some(other)) => !is_behind && piped.holds_the_same(other),
                _ => !child.lines.holds_lines(),
            }
    }

    /// Takes back what [`Collector::fork`] gave away under this key.
    pub fn absorb(&mut self, child: Self, key: &Key) {
        if let Key::Source(source) = *key {
            let at = source.index();
            self.sent[at] = true;
            let Progress { next_seq, last_time, left_out } = child.acknowledged;
            for progress in [&mut self.acknowledged, &mut self.times] {
                progress.next_seq[at] = next_seq[at];
                progress.last_time[at] = last_time[at];
                progress.left_out[at] = left_out[at];
            }
            self.lines.take_over(source, left_out[at]);
            self.clamps[at] = child.clamps[at];
            self.batches[at] = Batch::with_limit(&self.labels[at], child.batches[at].limit());
        }
        if let (Some(piped), Some(child)) = (&mut self.piped, child.piped) {
            piped.absorb(*child, key);
        }
    }

    /// Reads no further than another collector has read.
    pub fn end_at(&mut self, end: End) {
        self.end = Some(end);
    }

    /// How far it has read, for collectors that were forked off.
    pub fn end(&self) -> End {
        End { seq: self.next_seq(), entries: self.lines.entries() }
    }

    /// Whether it has read as far as it may.
    pub fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next_seq() >= end.seq)
    }

    /// The entry that is read next.
    pub fn next_seq(&self) -> u64 {
        self.lines.position().seq
    }

    /// The outputs whose lines are sent here.
    pub fn sends(&self) -> [bool; 2] {
        self.sent
    }

    /// The streams of a pipeline that are sent here.
    pub fn scope(&self) -> Option<&Scope> {
        Some(self.piped.as_ref()?.scope())
    }

    /// The key of the stream of the batch number `at`.
    pub fn key(&self, at: usize) -> Key {
        match &self.piped {
            Some(piped) => Key::Stream(piped.labels(at).cloned().unwrap_or_default()),
            None => Key::Source(Source::ALL[at]),
        }
    }

    /// The number of the stream of the batch number `at`, unique in this collector.
    pub fn stream(&self, at: usize) -> u64 {
        self.piped.as_ref().map_or(at, |piped| piped.stream(at)) as u64
    }

    /// Whether the ring has entries that were not read.
    pub fn is_behind(&self, published: &Published) -> bool {
        self.lines.position().seq < published.next_seq.min(self.until.get())
    }

    /// Whether the ring has overwritten entries that are not acknowledged.
    pub fn is_overtaken(&self) -> bool {
        self.restart.position.seq < self.ring.oldest().seq
    }

    /// Whether lines are held that wait for their last chunk, or in a stage.
    pub fn holds_lines(&self) -> bool {
        self.lines.holds_lines() || self.piped.as_ref().is_some_and(|piped| piped.holds_lines())
    }

    /// When a stage must release the lines that it holds.
    pub fn deadline(&self) -> Option<Instant> {
        self.piped.as_ref()?.deadline(clock::unix_nanos())
    }

    /// The moment before which a stage wants no more lines.
    pub fn not_before(&self) -> Option<Instant> {
        self.piped.as_ref()?.not_before()
    }

    /// Whether stages cost too much again and again.
    pub fn is_out(&self) -> bool {
        self.piped.as_ref().is_some_and(|piped| piped.is_out())
    }

    /// Whether a line cost too much recently.
    pub fn is_suspect(&self) -> bool {
        self.piped.as_ref().is_some_and(|piped| piped.is_suspect())
    }

    /// Whether the last batch was full, so that more lines wait.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// About how many bytes of the ring were not read.
    pub fn pending(&self, published: &Published) -> u64 {
        published.bytes.saturating_sub(self.seen)
    }

    /// Whether waiting for more gains nothing: a whole batch is unread, or as much as the ring should hold at most.
    pub fn is_enough(&self, published: &Published) -> bool {
        let enough = (self.batch_size as u64).min(self.ring.budget_bytes() / FULL_ENOUGH);
        published.bytes.saturating_sub(self.seen) >= enough
    }

    /// Reads until a batch is full, a part of the ring is read, or the ring ends. With `ended`, lines that will never
    /// be complete are taken as they are.
    pub fn collect(&mut self, published: &Published, ended: bool, with_metadata: bool, now: &Now) {
        if let Some(piped) = &mut self.piped {
            piped.begin_turn();
        }
        while !self.read(published, ended, with_metadata, now) {
            // Reads again up to the line that begins the next batch.
            self.rewind();
        }
        self.pin();
        self.settle();
    }

    /// Reads once. Returns false when a line was taken that belongs in a later batch, see [`Batch::is_apart`]: from now
    /// on the batch ends before that line.
    fn read(&mut self, published: &Published, ended: bool, with_metadata: bool, now: &Now) -> bool {
        let none = Metadata::default();
        let metadata = if with_metadata { &self.metadata } else { &none };
        // Entries below the mark were acknowledged while an earlier one was not. An output that is not sent has its
        // mark behind all entries.
        let pass_below = [0, 1].map(|at| if self.sent[at] { self.acknowledged.next_seq[at] } else { u64::MAX });
        let from = self.restart.position.seq;
        let Progress { next_seq, last_time, .. } = self.acknowledged;
        for at in Source::ALL.map(Source::index) {
            let (from, last) = match &self.piped {
                Some(piped) => (from, piped.last_time()),
                None => (from.max(next_seq[at]), last_time[at]),
            };
            self.clamps[at].begin(now, from, last);
        }
        let until = self.until.get();
        let end = self.end.map_or(until, |end| end.seq.min(until));
        // Otherwise the collector ahead continues with the lines behind it.
        let is_end = end >= published.next_seq.min(until);
        let limit = Limit {
            before: self.clamps.iter().filter_map(Clamp::until).min(),
            end,
            bytes: (self.ring.budget_bytes() / LARGEST_ROUND).min(READ_AT_ONCE),
        };
        let mut is_apart = false;
        let Self { lines, piped, batches, times, clamps, batch_size, room, .. } = self;
        self.more = match piped {
            Some(piped) => {
                let round = Round { now: now.host, window: *clamps[0].window(), with_metadata };
                let mut take = |line: &Line<'_>, begin: &dyn Fn() -> Place| piped.take(line, begin(), &round);
                let more = lines.read(pass_below, limit, &mut take);
                if !more && ended && is_end {
                    lines.flush(|line, begin| _ = take(line, begin));
                }
                piped.pass(lines.bytes(), &round);
                if !more && is_end {
                    piped.wait_no_longer(ended, &round);
                }
                piped.notice(round.now);
                more
            }
            None => {
                let mut take = |line: &Line<'_>| {
                    let at = line.source.index();
                    let (batch, window) = (&mut batches[at], clamps[at].window());
                    let time = times.time_of(line.source, line.time, window);
                    // Two lines may come at once, the second behind a full batch.
                    if batch.is_apart(time) && batch.entries() < batch.limit() {
                        batch.split_at(batch.entries());
                        is_apart = true;
                    }
                    if window.clamp(line.time) == line.time {
                        batch.take(line, time, metadata);
                    } else {
                        let own = jiff::Timestamp::from_nanosecond(line.time.into()).unwrap_or_default().to_string();
                        let metadata = if with_metadata { &metadata.with([(ORIGINAL_TIME, &*own)]) } else { metadata };
                        batch.take_clamped(line, time, metadata);
                    }
                    batch.is_full(*batch_size) || batches[0].encoded() + batches[1].encoded() >= *room
                };
                let more = lines.read(pass_below, limit, |line, _| take(line));
                if !more && ended && is_end {
                    lines.flush(|line, _| _ = take(line));
                }
                more
            }
        };
        if !self.more {
            self.seen = published.bytes;
        }
        let lost = self.lines.take_lost();
        self.gap.overwritten += lost.overwritten;
        self.gap.damaged += lost.damaged;
        !is_apart
    }

    /// Pins the windows of the batches, which are about to be sent.
    fn pin(&mut self) {
        match &self.piped {
            Some(piped) if piped.is_empty() => {}
            Some(piped) => self.clamps[0].sending(piped.is_clamped(), self.lines.position().seq),
            None => {
                for (clamp, batch) in self.clamps.iter_mut().zip(&self.batches).filter(|(_, batch)| batch.entries() > 0)
                {
                    clamp.sending(batch.is_clamped(), batch.next_seq());
                }
            }
        }
    }

    /// Whether timestamps of lines that are about to be sent were clamped. The [checkpoint](Collector::checkpoint) must
    /// be saved first, so that the next process sends the same lines.
    pub fn is_clamped(&self) -> bool {
        match &self.piped {
            Some(piped) => piped.is_clamped(),
            None => self.batches.iter().any(Batch::is_clamped),
        }
    }

    /// The lines that were dropped or changed since the last call.
    pub fn take_toll(&mut self) -> Toll {
        std::mem::take(&mut self.toll)
    }

    /// The number of batches of this round, each of one stream: by [`Source::index`], or those of the pipeline.
    pub fn batches(&self) -> usize {
        self.piped.as_ref().map_or(self.batches.len(), |piped| piped.len())
    }

    /// The batch number `at`, unless it is empty.
    pub fn batch(&mut self, at: usize) -> Option<&mut Batch> {
        let batch = match &mut self.piped {
            Some(piped) => piped.batch(at),
            None => self.batches.get_mut(at),
        };
        batch.filter(|batch| batch.entries() > 0)
    }

    /// The tenant that a pipeline has given to the batch number `at`.
    pub fn tenant(&self, at: usize) -> Option<&str> {
        self.piped.as_ref()?.tenant(at)
    }

    /// Marks the batch number `at` as accepted, except for `dropped` of its lines, which are dropped.
    pub fn acknowledge(&mut self, at: usize, dropped: u64) {
        let settled = match &mut self.piped {
            Some(piped) => piped.acknowledge(at, dropped),
            None => {
                let is_dropped = dropped >= self.batches[at].entries() as u64;
                let settled = self.batches[at].settle();
                self.acknowledged.next_seq[at] = settled.next_seq;
                self.acknowledged.left_out[at] = settled.left_out;
                // A line that Loki rejected is not the newest of its stream.
                if !is_dropped {
                    let before = self.acknowledged.last_time[at];
                    let newest = if dropped > 0 { self.clamps[at].window().newest } else { i64::MAX };
                    self.acknowledged.last_time[at] = settled.last_time.min(newest.max(before));
                }
                self.clamps[at].settled(settled.next_seq);
                self.times.last_time[at] = self.acknowledged.last_time[at];
                Some(settled)
            }
        };
        if let Some(settled) = settled {
            self.toll.cut_lines += settled.cut_lines;
            self.toll.too_old += settled.too_old;
            self.toll.too_new += settled.too_new;
            self.toll.joined += settled.joined;
        }
        self.settle();
    }

    /// Moves `restart` up to the first held line, or to the reader, when the batches are empty.
    fn settle(&mut self) {
        if !self.is_empty() {
            return;
        }
        self.restart = self.lines.restart();
        for source in Source::ALL {
            let (mark, left_out) = self.lines.mark(source);
            let Progress { next_seq, left_out: known, .. } = &mut self.acknowledged;
            // The acknowledged mark of one source may be further than both sources were read.
            if mark >= next_seq[source.index()] {
                (next_seq[source.index()], known[source.index()]) = (mark, left_out);
            }
        }
        if let Some(piped) = &mut self.piped {
            piped.settle(self.lines.position().seq);
            self.toll.misaddressed += piped.take_misaddressed();
            self.toll.too_costly += piped.take_too_costly();
            self.clamps[0].settled(u64::MAX);
        }
        let gap = std::mem::take(&mut self.gap);
        if self.end.is_none() {
            self.toll.lost.overwritten += gap.overwritten;
            self.toll.lost.damaged += gap.damaged;
        }
        self.miss();
    }

    /// Counts entries of these streams that the other collector has read and this one has not, once it has caught up.
    /// The stream of an overwritten entry is unknown, so with a pipeline all of them count.
    fn miss(&mut self) {
        let Some(end) = self.end.filter(|end| self.next_seq() >= end.seq) else { return };
        let missed = self.of_these(end.entries).saturating_sub(self.of_these(self.lines.entries()));
        self.toll.lost.overwritten += missed.saturating_sub(self.missed);
        self.missed = self.missed.max(missed);
    }

    /// The number of these entries that may be of streams that are sent here.
    fn of_these(&self, entries: [u64; 2]) -> u64 {
        entries.into_iter().zip(self.sent).filter(|(_, sent)| *sent).map(|(entries, _)| entries).sum()
    }

    /// Whether the batches are empty. Entries may have been read all the same: filler, acknowledged or held ones.
    pub fn is_empty(&self) -> bool {
        match &self.piped {
            Some(piped) => piped.is_empty(),
            None => self.batches.iter().all(|batch| batch.entries() == 0),
        }
    }

    /// Halves the next batch in the place of number `at`.
    pub fn split(&mut self, at: usize) {
        match &mut self.piped {
            Some(piped) => piped.split(at),
            None => self.batches[at].split(),
        }
    }

    /// Clamps timestamps of the batch number `at`, of which Loki rejected `refused` lines, from the next collect on.
    /// Returns false when only waiting helps.
    ///
    /// Lines are too old after a long outage, when a container is recreated meanwhile under its old name and labels:
    /// the lines of its successor get to Loki first. They are too new when the clock of the host was ahead, or a stage
    /// has parsed a timestamp without its zone.
    pub fn clamp(&mut self, at: usize, refusal: &Refusal, refused: u64, now: &Now) -> bool {
        let last = match &self.piped {
            Some(piped) => piped.last_time(),
            None => self.acknowledged.last_time[at],
        };
        let Some(batch) = self.batch(at) else { return false };
        if refusal.oldest.is_some() && refusal.too_new.is_some() && batch.is_divisible() {
            // Loki does not say how many of each kind. Halving ends with batches of one kind.
            self.split(at);
            return true;
        }
        let (accepted, earliest) = (batch.latest_accepted(refused), batch.earliest_accepted(refused));
        let earliest = earliest.filter(|_| refusal.too_new.is_none());
        let tried = Tried { least: batch.least(), last, accepted, earliest };
        let Some(piped) = &mut self.piped else { return self.clamps[at].refused(refusal, &tried, now) };
        let is_raised = refusal.oldest.is_some_and(|oldest| piped.lift(at, oldest, &tried));
        // With a pipeline, each stream has its own floor.
        let too_new = Refusal { oldest: None, ..*refusal };
        self.clamps[0].refused(&too_new, &tried, now) || is_raised
    }

    /// Goes back to the acknowledged progress, and holds no memory until the next [`Collector::collect`].
    pub fn rewind(&mut self) {
        self.gap = Lost::default();
        if self.is_overtaken() {
            let oldest = self.ring.oldest();
            // The batches held the last copy of what the ring has overwritten.
            let lost = match self.end {
                None => oldest.seq - self.restart.position.seq,
                Some(end) => {
                    // A lower bound: the remainder is known at the end.
                    let all = |entries: [u64; 2]| entries[0] + entries[1] - self.of_these(entries);
                    let of_others = all(end.entries).saturating_sub(all(self.restart.entries));
                    let lost = oldest.seq.min(end.seq).saturating_sub(self.restart.position.seq);
                    lost.saturating_sub(of_others)
                }
            };
            self.toll.lost.overwritten += lost;
            self.missed += lost;
            match self.end {
                // Entries lost behind the end are not counted yet: the next process finds them from there on.
                Some(end) if end.seq < oldest.seq => {
                    self.restart.position.seq = self.restart.position.seq.max(end.seq);
                }
                _ => self.restart.position = oldest,
            }
        }
        self.restart.left_out = self.acknowledged.left_out;
        self.lines.seek(&self.restart);
        self.times = self.acknowledged;
        if let Some(piped) = &mut self.piped {
            piped.rewind();
        }
        self.rest();
        self.miss();
    }

    /// Frees the memory of batches that were sent.
    pub fn rest(&mut self) {
        self.lines.shrink();
        self.batches.iter_mut().for_each(Batch::clear);
        if let Some(piped) = &mut self.piped {
            piped.rest();
        }
    }

    /// The state to save: where to begin again, the marks of the sources behind it, and the windows of lines that may
    /// have been sent.
    pub fn checkpoint(&self) -> (Position, Note) {
        let pinned = self.clamps.each_ref().map(|clamp| clamp.until().map(|until| (*clamp.window(), until)));
        let floors = self.piped.as_ref().map_or_else(Default::default, |piped| piped.floors());
        let mut note = Note { progress: self.acknowledged, pinned, floors };
        let restart = self.restart.position;
        let Some(held) = self.piped.as_ref().and_then(|piped| piped.held()) else {
            return (restart, note);
        };
        // A stage loses the lines that it holds with the process, even those behind an incomplete line.
        let first = held.position.seq;
        let Progress { next_seq, left_out, .. } = &mut note.progress;
        for at in Source::ALL.map(Source::index) {
            if first < next_seq[at] {
                (next_seq[at], left_out[at]) = (first, held.left_out[at]);
            }
        }
        (if first < restart.seq { held.position } else { restart }, note)
    }
}

#[cfg(test)]
mod tests;

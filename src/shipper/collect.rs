//! Ring to batches.
//!
//! Reading from the cursor on always makes the same lines with the same times, however often it is done: a batch that
//! was sent twice is byte-identical, and Loki drops the second one as far as it can.

use std::sync::Arc;

use super::Plan;
use super::batch::{Batch, LIFT, LIFTED_FROM};
use super::lines::Lines;
use super::piped::Piped;
use super::progress::Progress;
use crate::codec::Source;
use crate::codec::partial::Line;
use crate::loki::encode::Metadata;
use crate::ring::cursor::NOTE;
use crate::ring::{Lost, Position, Published, Ring};

/// Reads a ring and fills batches.
#[derive(Debug)]
pub struct Collector {
    ring: Arc<Ring>,
    lines: Lines,
    metadata: Metadata,
    batch_size: usize,
    batches: [Batch; 2],
    /// In place of these, when there is a pipeline.
    piped: Option<Box<Piped>>,
    /// The sources whose lines are sent. Those of others are passed over.
    sent: [bool; 2],
    /// What is acknowledged.
    acknowledged: Progress,
    /// The times of what was read into batches.
    times: Progress,
    /// The earliest time that lines of a source are sent with, see [`Collector::lift`].
    floors: [i64; 2],
    /// Where reading must begin again to see all that is not acknowledged.
    restart: Position,
    /// [`Published::bytes`] when the reader was last at the end of the ring.
    seen: u64,
    /// The reader stopped because a batch was full.
    more: bool,
    /// What was passed over since `restart`. It is found again after a rewind, so it counts when `restart` moves past
    /// it.
    gap: Lost,
    toll: Toll,
}

/// What did not get to Loki, or not as it was, each line once, however often it was tried to send what is around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Entries that the ring no longer has, or not whole.
    pub lost: Lost,
    /// Lines that were longer than Loki takes.
    pub cut_lines: u64,
    /// Lines that were older than Loki takes.
    pub lifted: u64,
    /// Lines that a pipeline has given a tenant that there cannot be.
    pub misaddressed: u64,
    /// Lines that were put together from several entries.
    pub joined: u64,
}

// === impl Collector ===

impl Collector {
    /// A collector that begins where `saved` says, or at the oldest entry.
    pub fn new(ring: &Arc<Ring>, saved: Option<(Position, [u8; NOTE])>, plan: &Plan) -> Self {
        let (restart, acknowledged) = match saved {
            Some((position, note)) => (position, Progress::from_note(&note)),
            None => (ring.oldest(), Progress::default()),
        };
        let labels = |source: Source| plan.streams[source.index()].as_ref().map_or("", |stream| &stream.labels);
        let batch = |source: Source| Batch::new(labels(source));
        let piped = plan.pipeline.clone().map(|pipeline| Box::new(Piped::new(pipeline, plan, acknowledged.next_seq)));
        Self {
            ring: ring.clone(),
            lines: Lines::new(ring, restart),
            metadata: Metadata::new(plan.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            batch_size: plan.batch_size,
            batches: Source::ALL.map(batch),
            piped,
            sent: plan.streams.each_ref().map(Option::is_some),
            acknowledged,
            times: acknowledged,
            floors: [i64::MIN; 2],
            restart,
            seen: 0,
            more: false,
            gap: Lost::default(),
            toll: Toll::default(),
        }
    }

    /// From now on a batch ends at so many bytes of lines.
    pub fn set_batch_size(&mut self, bytes: usize) {
        self.batch_size = bytes;
        if let Some(piped) = &mut self.piped {
            piped.set_batch_size(bytes);
        }
    }

    /// Whether the ring has entries that were not read.
    pub fn is_behind(&self, published: &Published) -> bool {
        self.lines.position().seq < published.next_seq
    }

    /// Whether the ring no longer has entries that are not acknowledged.
    pub fn is_overtaken(&self) -> bool {
        self.restart.seq < self.ring.oldest().seq
    }

    /// Whether lines are held that wait for their last chunk, or in a stage.
    pub fn holds_lines(&self) -> bool {
        self.lines.holds_lines() || self.piped.as_ref().is_some_and(|piped| piped.holds_lines())
    }

    /// When a stage lets go of lines that it holds, in nanoseconds since 1970.
    pub fn deadline(&self) -> Option<i64> {
        self.piped.as_ref()?.deadline()
    }

    /// The time before which a stage wants no more lines, in nanoseconds since 1970.
    pub fn not_before(&self) -> Option<i64> {
        self.piped.as_ref()?.not_before()
    }

    /// Whether the last batch was full, so that more was there than it took.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// About how many bytes of the ring were not read.
    pub fn pending(&self, published: &Published) -> u64 {
        published.bytes.saturating_sub(self.seen)
    }

    /// Reads until a batch is full or the ring ends. With `ended`, lines that will never be whole are taken as they
    /// are.
    pub fn collect(&mut self, published: &Published, ended: bool, with_metadata: bool, now: i64) {
        let none = Metadata::default();
        let metadata = if with_metadata { &self.metadata } else { &none };
        // Entries below the mark were acknowledged while something before them was not; those that are not sent are below
        // any.
        let pass_below = [0, 1].map(|at| if self.sent[at] { self.acknowledged.next_seq[at] } else { u64::MAX });
        let Self { lines, piped, batches, times, floors, batch_size, .. } = self;
        self.more = match piped {
            Some(piped) => {
                let mut take =
                    |line: &Line<'_>, begin: &dyn Fn() -> Position| piped.take(line, begin(), now, with_metadata);
                let more = lines.read(pass_below, &mut take);
                if !more {
                    if ended {
                        lines.flush(|line, begin| _ = take(line, begin));
                    }
                    piped.wait_no_longer(now, ended, with_metadata);
                }
                more
            }
            None => {
                let mut take = |line: &Line<'_>| {
                    let (batch, floor) = (&mut batches[line.source.index()], floors[line.source.index()]);
                    let time = times.time_of(line.source, line.time.max(floor));
                    if line.time < floor {
                        let own = jiff::Timestamp::from_nanosecond(line.time.into()).unwrap_or_default().to_string();
                        let metadata = if with_metadata { &metadata.with(LIFTED_FROM, &own) } else { metadata };
                        batch.take_lifted(line, time, metadata);
                    } else {
                        batch.take(line, time, metadata);
                    }
                    batch.is_full(*batch_size)
                };
                let more = lines.read(pass_below, |line, _| take(line));
                if !more && ended {
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
        self.settle();
    }

    /// What was lost since the last call.
    pub fn take_toll(&mut self) -> Toll {
        std::mem::take(&mut self.toll)
    }

    /// Batches of this round, each of one stream: by [`Source::index`], or what a pipeline makes.
    pub fn batches(&self) -> usize {
        self.piped.as_ref().map_or(self.batches.len(), |piped| piped.len())
    }

    /// The batch number `at`, if there is anything in it.
    pub fn batch(&mut self, at: usize) -> Option<&mut Batch> {
        let batch = match &mut self.piped {
            Some(piped) => piped.batch(at),
            None => self.batches.get_mut(at),
        };
        batch.filter(|batch| batch.entries() > 0)
    }

    /// The tenant that a pipeline has given the batch number `at`.
    pub fn tenant(&self, at: usize) -> Option<&str> {
        self.piped.as_ref()?.tenant(at)
    }

    /// The batch number `at` is with Loki, or given up.
    pub fn acknowledge(&mut self, at: usize) {
        let settled = match &mut self.piped {
            Some(piped) => piped.acknowledge(at),
            None => {
                let settled = self.batches[at].settle();
                self.acknowledged.next_seq[at] = settled.next_seq;
                self.acknowledged.last_time[at] = settled.last_time;
                Some(settled)
            }
        };
        if let Some(settled) = settled {
            self.toll.cut_lines += settled.cut_lines;
            self.toll.lifted += settled.lifted;
            self.toll.joined += settled.joined;
        }
        self.settle();
    }

    /// Moves `restart` up to what is held, or to the reader, when the batches hold nothing.
    fn settle(&mut self) {
        if self.is_empty() {
            self.restart = self.lines.restart();
            if let Some(piped) = &mut self.piped {
                self.acknowledged.next_seq = piped.settle();
                self.toll.misaddressed += piped.take_misaddressed();
            }
            let gap = std::mem::take(&mut self.gap);
            self.toll.lost.overwritten += gap.overwritten;
            self.toll.lost.damaged += gap.damaged;
        }
    }

    /// Nothing was collected, though entries may have been read: they were filler, acknowledged before, or are held.
    pub fn is_empty(&self) -> bool {
        match &self.piped {
            Some(piped) => piped.is_empty(),
            None => self.batches.iter().all(|batch| batch.entries() == 0),
        }
    }

    /// Makes the next batch in the place of number `at` half as large.
    pub fn split(&mut self, at: usize) {
        match &mut self.piped {
            Some(piped) => piped.split(at),
            None => self.batches[at].split(),
        }
    }

    /// Lines of the batch number `at` that are older than what Loki takes get a time that it takes, from the next collect on; false
    /// when they have it already.
    ///
    /// Loki takes no line that is more than an hour older than the newest of its stream, nor one that is older than a
    /// week (`reject_old_samples_max_age`). Both come about in a long outage: a container is made anew meanwhile, under
    /// its old name and labels, and what its successor writes gets to Loki first.
    pub fn lift(&mut self, at: usize, oldest: i64) -> bool {
        if let Some(piped) = &mut self.piped {
            return piped.lift(at, oldest);
        }
        let floor = &mut self.floors[at];
        let is_higher = *floor < oldest;
        if is_higher {
            *floor = oldest.saturating_add(LIFT);
        }
        is_higher
    }

    /// Goes back to what is acknowledged, and holds no memory until the next [`Collector::collect`].
    pub fn rewind(&mut self) {
        self.gap = Lost::default();
        if self.is_overtaken() {
            let oldest = self.ring.oldest();
            // What the batches held of it was the last there was.
            self.toll.lost.overwritten += oldest.seq - self.restart.seq;
            self.restart = oldest;
        }
        self.lines.seek(self.restart);
        self.times = self.acknowledged;
        if let Some(piped) = &mut self.piped {
            piped.rewind();
        }
        self.rest();
    }

    /// Gives back the memory of batches that were sent.
    pub fn rest(&mut self) {
        self.lines.shrink();
        self.batches.iter_mut().for_each(Batch::clear);
        if let Some(piped) = &mut self.piped {
            piped.rest();
        }
    }

    /// What to save: where to begin again, and the marks of the sources behind it.
    pub fn checkpoint(&self) -> (Position, [u8; NOTE]) {
        let Some(held) = self.piped.as_ref().and_then(|piped| piped.held()) else {
            return (self.restart, self.acknowledged.to_note());
        };
        // The stage forgets with the process what it holds, wherever that is: behind a line whose end has not come, too.
        let position = if held.seq < self.restart.seq { held } else { self.restart };
        let next_seq = self.acknowledged.next_seq.map(|next| next.min(held.seq));
        (position, Progress { next_seq, ..self.acknowledged }.to_note())
    }
}

#[cfg(test)]
mod tests;

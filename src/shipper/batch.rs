//! The lines of one source that go into one request.

use bytes::Bytes;
use prost::Message;

use dockerd::partial::{LeftOut, Line};
use loki::StreamEncoder;
use loki::encode::Metadata;
use loki::encode::proto::PushRequest;

/// The most a request may have uncompressed: Loki refuses 4 MiB for good (gRPC between its parts), and nothing is
/// gained by coming near.
const LARGEST_REQUEST: usize = 3 * 1024 * 1024;

/// From the first to the last line of a batch, in nanoseconds: Loki refuses a line that is more than an hour behind the newest of its stream,
/// and one that came with that, and is sent again because no answer came, must not be refused for it.
const LONGEST_SPAN: i64 = 1800 * 1_000_000_000;

/// The structured metadata of a line whose timestamp was clamped: the time that it had.
pub(super) const ORIGINAL_TIME: &str = "original_time";

/// See the [module](self).
#[derive(Debug)]
pub struct Batch {
    encoder: StreamEncoder,
    sealed: Option<Bytes>,
    /// The first entry behind the batch.
    next_seq: u64,
    last_time: i64,
    /// The latest time that a line in it may have.
    latest: i64,
    /// Entries at most, while halves are being sent.
    limit: usize,
    /// Lines in it that were longer than Loki takes.
    cut_lines: u64,
    /// Lines in it with a later time than their own, because Loki accepts none so old.
    too_old: u64,
    /// Lines in it with an earlier time than their own, because Loki accepts none so new.
    too_new: u64,
    /// Lines in it that were put together from several entries.
    joined: u64,
    /// The earliest time that one of its lines says.
    least: i64,
    /// What of its last line is left out behind it.
    left_out: LeftOut,
}

/// What is known when a batch is with Loki, or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The first entry behind the batch.
    pub next_seq: u64,
    /// The time of its last line.
    pub last_time: i64,
    /// Lines in it that were longer than Loki takes.
    pub cut_lines: u64,
    /// Lines in it that were older than Loki accepts.
    pub too_old: u64,
    /// Lines in it that were newer than Loki accepts.
    pub too_new: u64,
    /// Lines in it that were put together from several entries.
    pub joined: u64,
    /// What of its last line is left out behind it.
    pub left_out: LeftOut,
}

// === impl Batch ===

impl Batch {
    /// An empty batch of the stream with these labels.
    pub fn new(labels: &str) -> Self {
        Self::with_limit(labels, usize::MAX)
    }

    /// The same with so many entries at most, as another batch of the stream had after a [`Batch::split`].
    pub fn with_limit(labels: &str, limit: usize) -> Self {
        Self {
            encoder: StreamEncoder::new(labels),
            sealed: None,
            next_seq: 0,
            last_time: 0,
            latest: 0,
            limit,
            cut_lines: 0,
            too_old: 0,
            too_new: 0,
            joined: 0,
            least: i64::MAX,
            left_out: 0,
        }
    }

    /// The same for one of many that are filled at once: with memory of its own, as much as it needs.
    pub fn small(labels: &str, limit: usize) -> Self {
        Self { encoder: StreamEncoder::small(labels), ..Self::with_limit(labels, limit) }
    }

    /// The request's body.
    pub fn body(&mut self) -> Bytes {
        match &self.sealed {
            Some(body) => body.clone(),
            None => self.encoder.body(),
        }
    }

    /// Makes the body, and gives back the memory of what it is made of: no line can be added until the batch is emptied. Gives its bytes.
    pub fn seal(&mut self) -> usize {
        if self.entries() == 0 {
            return 0;
        }
        self.sealed.get_or_insert_with(|| self.encoder.finish()).len()
    }

    /// Bytes of the request so far, uncompressed.
    pub fn encoded(&self) -> usize {
        self.encoder.encoded()
    }

    /// Lines in it.
    pub fn entries(&self) -> usize {
        self.encoder.entries()
    }

    /// Bytes of lines and structured metadata in it.
    pub fn bytes(&self) -> usize {
        self.encoder.counted()
    }

    /// Whether a line of this time belongs in a batch of its own, behind this one. Within a batch times rise, so that what Loki refuses of it as
    /// too new is its end, as too old its beginning, and lines that it has stored are not between lines that get another time.
    pub fn is_apart(&self, time: i64) -> bool {
        self.entries() > 0 && (time <= self.last_time || time > self.latest)
    }

    /// Adds a line, to be sent with this time.
    pub fn take(&mut self, line: &Line<'_>, time: i64, metadata: &Metadata) {
        if self.entries() == 0 {
            self.latest = time.saturating_add(LONGEST_SPAN);
        }
        self.encoder.push(time, line.bytes, metadata);
        self.cut_lines += u64::from(line.cut > 0);
        self.joined += u64::from(line.last_seq > line.first_seq);
        self.next_seq = line.last_seq + 1;
        self.last_time = time;
        self.least = self.least.min(line.time);
        self.left_out = line.left_out;
    }

    /// Adds a line whose own time is outside of what Loki accepts, see [`window`](super::window).
    pub fn take_clamped(&mut self, line: &Line<'_>, time: i64, metadata: &Metadata) {
        self.take(line, time, metadata);
        let counted = if line.time < time { &mut self.too_old } else { &mut self.too_new };
        *counted += 1;
    }

    /// Whether a line in it has another time than its own.
    pub fn is_clamped(&self) -> bool {
        self.too_old + self.too_new > 0
    }

    /// The earliest time that one of its lines says.
    pub fn least(&self) -> i64 {
        self.least
    }

    /// The latest time with which one of its lines was accepted, when Loki has refused so many of them as too new.
    pub fn latest_accepted(&mut self, refused: u64) -> Option<i64> {
        let accepted = (self.entries() as u64).checked_sub(refused)?.checked_sub(1)?;
        self.time_at(accepted)
    }

    /// The earliest time with which one of its lines was accepted, when Loki has refused so many of them as too old.
    pub fn earliest_accepted(&mut self, refused: u64) -> Option<i64> {
        self.time_at(refused)
    }

    /// The times of its lines, the earliest first: that of number `at`.
    fn time_at(&mut self, at: u64) -> Option<i64> {
        let message = snap::raw::Decoder::new().decompress_vec(&self.body()).ok()?;
        let streams = PushRequest::decode(&message[..]).ok()?.streams;
        let entries = streams.iter().flat_map(|stream| &stream.entries);
        let mut times: Vec<_> =
            entries.filter_map(|entry| entry.timestamp).map(|time| (time.seconds, time.nanos)).collect();
        times.sort_unstable();
        let (seconds, nanos) = *times.get(usize::try_from(at).ok()?)?;
        Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into()))
    }

    /// The first entry behind it.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether it has `size` bytes, or as much as a request may have.
    pub fn is_full(&self, size: usize) -> bool {
        self.encoder.counted() >= size || self.encoder.encoded() >= LARGEST_REQUEST || self.entries() >= self.limit
    }

    /// Whether [`Batch::split`] makes it smaller. One entry of the ring can end a line and be another, and those two always come together.
    pub fn is_divisible(&self) -> bool {
        self.entries() > 1 && self.limit > 1
    }

    /// Makes the next one half as large.
    pub fn split(&mut self) {
        self.split_at((self.entries() / 2).min(self.limit.saturating_sub(1)));
    }

    /// The next one ends behind so many entries.
    pub fn split_at(&mut self, entries: usize) {
        self.limit = entries.max(1);
    }

    /// Entries that it takes at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Empties it, as it is with Loki or given up. The next may be twice as large.
    pub fn settle(&mut self) -> Settled {
        let Self { next_seq, last_time, cut_lines, too_old, too_new, joined, left_out, .. } = *self;
        self.limit = self.limit.saturating_mul(2);
        self.clear();
        Settled { next_seq, last_time, cut_lines, too_old, too_new, joined, left_out }
    }

    /// Empties it, and gives back its memory.
    pub fn clear(&mut self) {
        self.encoder.clear();
        self.sealed = None;
        (self.cut_lines, self.too_old, self.too_new, self.joined) = (0, 0, 0, 0);
        (self.least, self.left_out) = (i64::MAX, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerd::Source;

    fn of(limit: usize, entries: i64) -> Batch {
        let mut batch = Batch::with_limit("{a=\"b\"}", limit);
        for time in 1..=entries {
            let (source, seq) = (Source::Stdout, time as u64);
            let line = Line { source, time, first_seq: seq, last_seq: seq, bytes: b"line", cut: 0, left_out: 0 };
            batch.take(&line, time, &Metadata::default());
        }
        batch
    }

    #[test]
    fn each_split_makes_it_smaller_until_it_is_not_divisible() {
        for (limit, entries) in [(usize::MAX, 9), (usize::MAX, 2), (3, 4), (2, 4), (1, 1)] {
            let mut batch = of(limit, entries);
            while batch.is_divisible() {
                let before = batch.limit();
                batch.split();
                assert!(batch.limit() < before, "limit {limit}, {entries} entries");
            }
        }
        assert!(!of(1, 2).is_divisible(), "two lines that come with one entry of the ring");
    }
}

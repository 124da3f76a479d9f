//! The lines of one source that go into one request.

use bytes::Bytes;
use prost::Message;

use dockerd::partial::{LeftOut, Line};
use loki::StreamEncoder;
use loki::encode::Metadata;
use loki::encode::proto::PushRequest;

/// The largest request, uncompressed. Loki always rejects 4 MiB (gRPC between its components), and a size close to that
/// gains nothing.
const LARGEST_REQUEST: usize = 3 * 1024 * 1024;

/// The longest time from the first to the last line of a batch, in nanoseconds. Loki rejects a line that is more than
/// an hour behind the newest of its stream. A batch that is sent again because no answer came must not be rejected for
/// that.
const LONGEST_SPAN: i64 = 1800 * 1_000_000_000;

/// The structured metadata with a line's own timestamp, when that was clamped.
pub(super) const ORIGINAL_TIME: &str = "original_time";

/// See the [module](self).
#[derive(Debug)]
pub struct Batch {
    encoder: StreamEncoder,
    sealed: Option<Bytes>,
    /// The first entry behind the batch.
    next_seq: u64,
    last_time: i64,
    /// The latest timestamp that a line in it may have.
    latest: i64,
    /// The largest number of entries, while halves are being sent.
    limit: usize,
    /// Lines that were truncated because they were longer than Loki accepts.
    cut_lines: u64,
    /// Lines whose timestamp was raised, because Loki accepts none so old.
    too_old: u64,
    /// Lines whose timestamp was lowered, because Loki accepts none so new.
    too_new: u64,
    /// Lines that were joined from several entries.
    joined: u64,
    /// The earliest timestamp that one of its lines had before clamping.
    least: i64,
    /// What of its last line is left out of the entries behind it.
    left_out: LeftOut,
}

/// What is known of a batch that Loki accepted or that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The first entry behind the batch.
    pub next_seq: u64,
    /// The time of its last line.
    pub last_time: i64,
    /// Lines that were truncated because they were longer than Loki accepts.
    pub cut_lines: u64,
    /// Lines that were older than Loki accepts.
    pub too_old: u64,
    /// Lines that were newer than Loki accepts.
    pub too_new: u64,
    /// Lines that were joined from several entries.
    pub joined: u64,
    /// What of its last line is left out of the entries behind it.
    pub left_out: LeftOut,
}

// === impl Batch ===

impl Batch {
    /// An empty batch of the stream with these labels.
    pub fn new(labels: &str) -> Self {
        Self::with_limit(labels, usize::MAX)
    }

    /// An empty batch of at most `limit` entries, as left by a [`Batch::split`] of another batch of the stream.
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

    /// An empty batch with its own memory, as small as it can be: one of many that are filled at once.
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

    /// Encodes the body, frees the memory that it is made from, and returns its bytes. No line can be added until the
    /// batch is emptied.
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

    /// Whether a line with this timestamp must go into a later batch. Within a batch timestamps rise, so Loki rejects
    /// only the end of it as too new or only the beginning as too old. Lines that it has stored are then not between
    /// lines that get another timestamp.
    pub fn is_apart(&self, time: i64) -> bool {
        self.entries() > 0 && (time <= self.last_time || time > self.latest)
    }

    /// Adds a line, to be sent with the timestamp `time`.
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

    /// Adds a line whose timestamp was clamped, see [`window`](super::window).
    pub fn take_clamped(&mut self, line: &Line<'_>, time: i64, metadata: &Metadata) {
        self.take(line, time, metadata);
        let counted = if line.time < time { &mut self.too_old } else { &mut self.too_new };
        *counted += 1;
    }

    /// Whether the timestamp of a line in it was clamped.
    pub fn is_clamped(&self) -> bool {
        self.too_old + self.too_new > 0
    }

    /// The earliest timestamp that one of its lines had before clamping.
    pub fn least(&self) -> i64 {
        self.least
    }

    /// The latest timestamp that Loki accepted, when it has rejected `refused` lines as too new.
    pub fn latest_accepted(&mut self, refused: u64) -> Option<i64> {
        let accepted = (self.entries() as u64).checked_sub(refused)?.checked_sub(1)?;
        self.time_at(accepted)
    }

    /// The earliest timestamp that Loki accepted, when it has rejected `refused` lines as too old.
    pub fn earliest_accepted(&mut self, refused: u64) -> Option<i64> {
        self.time_at(refused)
    }

    /// The timestamp number `at` of its lines, the earliest first.
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

    /// Whether it has `size` bytes, or as many as a request may have.
    pub fn is_full(&self, size: usize) -> bool {
        self.encoder.counted() >= size || self.encoder.encoded() >= LARGEST_REQUEST || self.entries() >= self.limit
    }

    /// Whether [`Batch::split`] makes it smaller. One entry of the ring can end a line and be another, and those two
    /// always come together.
    pub fn is_divisible(&self) -> bool {
        self.entries() > 1 && self.limit > 1
    }

    /// Limits the next batch to half as many entries.
    pub fn split(&mut self) {
        self.split_at((self.entries() / 2).min(self.limit.saturating_sub(1)));
    }

    /// Limits the next batch to this number of entries.
    pub fn split_at(&mut self, entries: usize) {
        self.limit = entries.max(1);
    }

    /// The largest number of entries.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Empties it after Loki accepted it or it was given up. The next batch may be twice as large.
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

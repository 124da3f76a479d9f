//! What is kept, and the second of Loki's two parts, the ingester: verdicts that need a memory.
//!
//! Rule, for each entry of a stream in the order sent:
//! - equal to the line before it in the stream (time, text and metadata): passed over in silence;
//! - more than an hour behind the newest line of the stream: ignored, 400;
//! - over the stream's rate: 429. With sharding on (the default) all lines of the stream in this
//!   request are then lost, without it those that do not fit;
//! - equal to any line of the stream since the last 256 KiB were full: accepted, not kept twice;
//! - else kept. A line's size for that count is its text and eight bytes for each pair of metadata.
//!
//! A new stream over the tenant's number of streams is a 429. The answer to a stream is that of its
//! last ignored line, so a 400 may hide a 429.

use super::answer::Answer;
use super::bucket::Bucket;
use super::clock;
use super::labels::Pair;
use super::level;
use super::limits::Limits;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

/// Ignored lines that an answer names one by one.
const NAMED: usize = 10;

/// Everything that was stored, in the order of arrival, and what decides about what comes next.
#[derive(Default)]
pub struct Store {
    kept: Vec<Kept>,
    tenants: HashMap<String, Tenant>,
}

/// A stored line and the stream it belongs to.
pub struct Kept {
    pub labels: Arc<Labels>,
    pub line: Line,
}

/// Whose stream it is, by the labels that were sent and by those that queries show.
pub struct Labels {
    pub tenant: String,
    pub sent: BTreeMap<String, String>,
    pub shown: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    pub text: Bytes,
    /// As sent, cleaned.
    pub metadata: Arc<[Pair]>,
    /// What Loki adds to the metadata.
    pub level: Option<String>,
}

/// A stream that passed the distributor.
pub struct Tidy {
    /// The labels as Loki shows them, which is what tells streams apart.
    pub shown: String,
    pub labels: Arc<Labels>,
    pub lines: Vec<Line>,
}

#[derive(Default)]
struct Tenant {
    bucket: Bucket,
    streams: HashMap<String, Stream>,
}

/// What the ingester remembers of a stream.
#[derive(Default)]
struct Stream {
    /// Those of its first line.
    labels: Option<Arc<Labels>>,
    /// How many of its lines are kept.
    kept: usize,
    newest: Option<i64>,
    last: Option<Line>,
    bucket: Bucket,
    /// The lines of the head block, among which a repetition is noticed.
    head: HashSet<Line>,
    head_bytes: usize,
}

/// Lines of one stream that were not stored, and the status the last of them asks for.
struct Ignored {
    status: u16,
    reasons: Vec<(i64, String)>,
}

// === impl Store ===

impl Store {
    /// All that is kept, in the order of arrival.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// How many lines are kept of the streams that show all these labels.
    pub fn count(&self, labels: &[(&str, &str)]) -> usize {
        let streams = self.tenants.values().flat_map(|tenant| tenant.streams.values());
        let have = |stream: &&Stream| stream.labels.as_ref().is_some_and(|it| it.have(labels));
        streams.filter(have).map(|stream| stream.kept).sum()
    }

    /// Forgets the lines and the streams; the rates already used stay used.
    pub fn clear(&mut self) {
        self.kept.clear();
        for tenant in self.tenants.values_mut() {
            tenant.streams.clear();
        }
    }

    /// Takes `bytes` from the tenant's rate.
    pub fn allow(&mut self, tenant: &str, bytes: u64, limits: &Limits, now: Instant) -> bool {
        let bucket = &mut self.tenants.entry(tenant.to_owned()).or_default().bucket;
        bucket.take(bytes, limits.ingestion_rate, limits.ingestion_burst_size, now)
    }

    /// Stores what may be stored of a stream. The error is what Loki answers *if this is the last
    /// stream of the request*.
    pub fn push(&mut self, stream: Tidy, limits: &Limits, now: Instant) -> Result<(), Answer> {
        let user = stream.labels.tenant.clone();
        let streams = &mut self.tenants.entry(user.clone()).or_default().streams;
        let room = streams.len() < limits.max_global_streams_per_user;
        if !room && !streams.contains_key(&stream.shown) {
            let sentence = format!(
                "maximum active stream limit exceeded when trying to create stream {}, reduce the \
                 number of active streams (reduce labels or reduce label values), or contact your \
                 Loki administrator to see if the limit can be increased, user: '{user}'",
                stream.shown
            );
            return Err(Answer::error(429, sentence));
        }
        let memory = streams.entry(stream.shown.clone()).or_default();
        memory.labels.get_or_insert_with(|| Arc::clone(&stream.labels));
        let total = stream.lines.len();
        let (accepted, ignored) = memory.judge(stream.lines, &stream.shown, limits, now);
        for mut line in accepted {
            memory.share(&mut line);
            if memory.keep(&line, limits.head_block_size) {
                let labels = Arc::clone(&stream.labels);
                self.kept.push(Kept { labels, line });
            }
        }
        if ignored.reasons.is_empty() {
            return Ok(());
        }
        Err(ignored.answer(&user, &stream.shown, total))
    }
}

// === impl Stream ===

impl Stream {
    /// Millions of lines fit into memory without the requests they came in, and with one copy of what all have.
    fn share(&self, line: &mut Line) {
        line.text = Bytes::copy_from_slice(&line.text);
        if let Some(last) = self.last.as_ref().filter(|last| last.metadata == line.metadata) {
            line.metadata = Arc::clone(&last.metadata);
        }
    }

    /// Parts the lines of a request into those to store and those to ignore.
    fn judge(&mut self, lines: Vec<Line>, shown: &str, limits: &Limits, now: Instant) -> (Vec<Line>, Ignored) {
        let (rate, burst) = (limits.per_stream_rate_limit, limits.per_stream_rate_limit_burst);
        let window = limits.out_of_order_window.as_nanos() as i128;
        let too_fast = |line: &Line| {
            let reason = format!(
                "Per stream rate limit exceeded (limit: {}/sec) while attempting to ingest for \
                 stream '{shown}' totaling {}, consider splitting a stream via additional labels \
                 or contact your Loki administrator to see if the limit can be increased",
                in_units(rate),
                in_units(line.size() as u64)
            );
            (line.timestamp, reason)
        };
        let mut accepted: Vec<Line> = Vec::with_capacity(lines.len());
        let mut ignored = Ignored { status: 204, reasons: Vec::new() };
        let mut newest = self.newest;
        let mut bytes = 0;
        for line in lines {
            if Some(&line) == accepted.last().or(self.last.as_ref()) {
                continue;
            }
            bytes += line.size() as u64;
            let whole = limits.shard_streams;
            if !whole && !self.bucket.take(line.size() as u64, rate as f64, burst, now) {
                ignored.add(429, too_fast(&line));
                continue;
            }
            let oldest = newest.map_or(i128::MIN, |newest| newest as i128 - window);
            if (line.timestamp as i128) < oldest {
                let reason = format!(
                    "entry too far behind, entry timestamp is: {}, oldest acceptable timestamp \
                     is: {}",
                    clock::rfc3339(line.timestamp as i128),
                    clock::rfc3339(oldest)
                );
                ignored.add(400, (line.timestamp, reason));
                continue;
            }
            newest = newest.max(Some(line.timestamp));
            accepted.push(line);
        }
        if limits.shard_streams && !accepted.is_empty() && !self.bucket.take(bytes, rate as f64, burst, now) {
            ignored.reasons.clear();
            for line in std::mem::take(&mut accepted) {
                ignored.add(429, too_fast(&line));
            }
        }
        (accepted, ignored)
    }

    /// Remembers a line; says whether it is a new one.
    fn keep(&mut self, line: &Line, head_block_size: usize) -> bool {
        self.newest = self.newest.max(Some(line.timestamp));
        self.last = Some(line.clone());
        if !self.head.insert(line.clone()) {
            return false;
        }
        self.kept += 1;
        self.head_bytes += line.text.len() + 8 * line.all_metadata().count();
        if self.head_bytes >= head_block_size {
            self.head.clear();
            self.head_bytes = 0;
        }
        true
    }
}

// === impl Labels ===

impl Labels {
    /// Whether queries show all these.
    pub fn have(&self, labels: &[(&str, &str)]) -> bool {
        let has = |(name, value): &(&str, &str)| self.shown.get(*name).is_some_and(|found| found == value);
        labels.iter().all(has)
    }
}

// === impl Line ===

impl Hash for Line {
    /// Lines of one time are few.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.timestamp.hash(state);
    }
}

impl Line {
    /// What a line counts for rates: what Loki itself added is free.
    pub fn size(&self) -> usize {
        let pairs = self.metadata.iter().map(|(name, value)| name.len() + value.len());
        self.text.len() + pairs.sum::<usize>()
    }

    /// The metadata with what Loki added.
    pub fn all_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let sent = self.metadata.iter();
        let sent = sent.map(|(name, value)| (name.as_str(), value.as_str()));
        sent.chain(self.level.iter().map(|level| (level::LEVEL, level.as_str())))
    }
}

// === impl Ignored ===

impl Ignored {
    fn add(&mut self, status: u16, reason: (i64, String)) {
        self.status = status;
        self.reasons.push(reason);
    }

    fn answer(&self, user: &str, stream: &str, total: usize) -> Answer {
        let mut text = String::new();
        for (timestamp, reason) in self.reasons.iter().take(NAMED) {
            let at = clock::long(*timestamp as i128);
            text += &format!("entry with timestamp {at} ignored, reason: '{reason}',\n");
        }
        let ignored = self.reasons.len();
        text += &format!("user '{user}', total ignored: {ignored} out of {total} for stream: {stream}");
        Answer::error(self.status, text)
    }
}

/// `3MB` for 3 × 1024 × 1024: the largest unit that divides it.
fn in_units(bytes: u64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let unit = units.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    let (size, name) = unit.copied().unwrap_or((1, "B"));
    format!("{}{name}", bytes / size)
}

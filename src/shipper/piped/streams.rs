//! The streams that stages make of a container's lines, and the state of each.

use std::collections::HashMap;

use super::times::Times;
use crate::config::tenant::tenant_id;
use crate::shipper::note::{FLOORS, Floor};
use crate::shipper::scope::{Key, Scope};
use crate::shipper::window::Window;
use loki::labels::{LabelName, LabelSet};
use promtail::pipeline::entry::{Labels, TENANT};

/// New streams between two moments at which everything is accepted. Beyond it the round ends, even if stages make a
/// stream of every line.
pub const MOST_STREAMS: usize = 256;

/// Streams that are remembered between rounds.
const REMEMBERED: usize = 4 * MOST_STREAMS;

/// Bytes of the labels and tenants of the remembered streams.
const REMEMBERED_BYTES: usize = 1 << 20;

/// All streams that were seen recently.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// The streams that are sent here.
    scope: Scope,
    numbers: HashMap<Labels, usize>,
    all: Vec<Stream>,
    /// The last stream that was looked up: lines of a stream often come together.
    last: Option<(Labels, usize)>,
    /// Bytes of the labels of all streams.
    bytes: usize,
    /// The number of streams when everything was accepted for the last time.
    settled: usize,
    /// Floors from the process before, for streams that come again.
    floors: [Option<Floor>; FLOORS],
    /// The latest timestamp of an accepted line; 0 before the first.
    last_time: i64,
}

/// One stream and its state.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The labels that identify it, the tenant included.
    pub key: Labels,
    /// Whether it is sent here, not by another lane.
    pub is_ours: bool,
    /// The label string.
    pub labels: String,
    /// The tenant, in place of the destination's.
    pub tenant: Option<String>,
    /// Whether its tenant is invalid, so that its lines cannot be sent.
    pub is_misaddressed: bool,
    /// The earliest timestamp with which lines are sent.
    pub floor: i64,
    /// The largest number of entries of a batch, while halves are being sent.
    pub limit: usize,
    /// The number of the batch that takes its next line.
    pub open: Option<usize>,
    /// Timestamps of its last lines, and of its last accepted ones.
    times: Times,
    settled: Times,
}

// === impl Streams ===

impl Streams {
    /// No streams yet, but floors for some that may come.
    pub fn with_floors(floors: [Option<Floor>; FLOORS]) -> Self {
        Self { floors, ..Self::default() }
    }

    /// The number of the stream with these labels; it is valid until [`Streams::settle`].
    pub fn number_of(&mut self, labels: &Labels) -> usize {
        if let Some((last, number)) = &self.last
            && last == labels
        {
            return *number;
        }
        let number = self.find_or_add(labels);
        self.last = Some((labels.clone(), number));
        number
    }

    fn find_or_add(&mut self, labels: &Labels) -> usize {
        if let Some(number) = self.numbers.get(labels) {
            return *number;
        }
        let mut stream = Stream::new(labels);
        if let Some((_, floor)) = self.floors.iter().flatten().find(|(hash, _)| *hash == stream.hash()) {
            stream.floor = *floor;
        }
        stream.is_ours = self.scope.has(labels, stream.tenant.as_deref());
        self.bytes += stream.size();
        self.all.push(stream);
        let number = self.all.len() - 1;
        self.numbers.insert(labels.clone(), number);
        number
    }

    /// The stream with a number from [`Streams::number_of`].
    pub fn get_mut(&mut self, number: usize) -> &mut Stream {
        &mut self.all[number]
    }

    /// The stream with a number from [`Streams::number_of`], read-only.
    pub fn get(&self, number: usize) -> &Stream {
        &self.all[number]
    }

    /// Whether there are enough new streams that batches should be sent first.
    pub fn are_many(&self) -> bool {
        self.all.len() - self.settled >= MOST_STREAMS || self.bytes >= 4 * REMEMBERED_BYTES
    }

    /// Everything is accepted. Streams beyond a bound are forgotten if they `may_go`; that costs only the distance of
    /// equal timestamps.
    pub fn settle(&mut self, may_go: bool) {
        self.last_time = self.all.iter().map(|stream| stream.times.last()).fold(self.last_time, i64::max);
        let are_many = self.all.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES;
        if are_many && may_go {
            let scope = std::mem::take(&mut self.scope);
            *self = Self { scope, last_time: self.last_time, ..Self::default() };
        }
        for stream in &mut self.all {
            stream.settled.clone_from(&stream.times);
            stream.open = None;
        }
        self.settled = self.all.len();
    }

    /// Forks off the streams of `key` that are in scope; the others stay here. The state of each stays.
    pub fn fork(&mut self, key: Key) -> Self {
        let mut scope = self.scope.clone();
        scope.only = Some(key.clone());
        let mut child = Self { scope, ..self.clone() };
        child.mark();
        child.rewind();
        self.scope.without.push(key);
        self.mark();
        child
    }

    /// Takes back what [`Streams::fork`] gave away.
    pub fn absorb(&mut self, child: Self, key: &Key) {
        self.scope.without.retain(|other| other != key);
        self.last_time = self.last_time.max(child.last_time);
        for stream in child.all.into_iter().filter(|stream| stream.is_ours) {
            let number = self.find_or_add(&stream.key.clone());
            self.bytes = (self.bytes + stream.size()).saturating_sub(self.all[number].size());
            self.all[number] = Stream { open: None, ..stream };
        }
        self.mark();
    }

    /// The scope: all streams, without those that were forked off.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    fn mark(&mut self) {
        let Self { scope, all, .. } = self;
        for stream in all {
            stream.is_ours = scope.has(&stream.key, stream.tenant.as_deref());
        }
    }

    /// The latest timestamp with which a line was accepted.
    pub fn last_time(&self) -> i64 {
        self.last_time
    }

    /// Goes back to the last settled state.
    pub fn rewind(&mut self) {
        for stream in &mut self.all {
            stream.times.clone_from(&stream.settled);
            stream.open = None;
        }
    }
}

// === impl Stream ===

impl Stream {
    fn new(labels: &Labels) -> Self {
        let mut set = LabelSet::new();
        for (name, value) in labels.iter().filter(|(name, _)| name.as_ref() != TENANT) {
            if let Ok(name) = LabelName::sanitise(name) {
                set.insert(name, value.as_ref());
            }
        }
        let wanted = labels.tenant();
        let tenant = wanted.and_then(|tenant| tenant_id(tenant).ok().flatten());
        Self {
            key: labels.clone(),
            is_ours: true,
            labels: set.to_string(),
            is_misaddressed: wanted.is_some() && tenant.is_none(),
            tenant,
            floor: i64::MIN,
            limit: usize::MAX,
            open: None,
            times: Times::default(),
            settled: Times::default(),
        }
    }

    /// The timestamp with which a line is sent, see [`Times`].
    pub fn time_of(&mut self, time: i64, is_own: bool, window: &Window) -> i64 {
        self.times.of(time, is_own, window)
    }

    /// Goes back to the timestamps of accepted lines.
    pub fn forget_times(&mut self) {
        self.times.clone_from(&self.settled);
    }

    /// The floor, if there is one, under a hash by which the next process finds the stream.
    pub fn floor(&self) -> Option<Floor> {
        (self.floor > i64::MIN).then(|| (self.hash(), self.floor))
    }

    /// Bytes of its labels and tenant, valid or not.
    fn size(&self) -> usize {
        self.labels.len() + self.key.tenant().map_or(0, str::len)
    }

    fn hash(&self) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.labels.as_bytes());
        hasher.update(self.tenant.as_deref().unwrap_or_default().as_bytes());
        1 << 32 | u64::from(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: usize) -> Labels {
        [("a", value.to_string())].into_iter().collect()
    }

    #[test]
    fn what_is_remembered_has_an_end_and_a_rewind_knows_the_times_of_before() {
        let mut streams = Streams::default();
        let number = streams.number_of(&labels(0));
        streams.get_mut(number).time_of(7, false, &Window::OPEN);
        streams.get_mut(number).floor = 2;
        streams.settle(true);
        assert_eq!(streams.get_mut(number).time_of(7, false, &Window::OPEN), 8);
        streams.rewind();
        assert_eq!(streams.get_mut(number).time_of(7, false, &Window::OPEN), 8);
        for value in 1..MOST_STREAMS {
            streams.number_of(&labels(value));
        }
        assert!(!streams.are_many());
        streams.number_of(&labels(MOST_STREAMS));
        assert!(streams.are_many());
        for round in 0..10 {
            for value in 0..MOST_STREAMS {
                streams.number_of(&labels(round * MOST_STREAMS + value));
            }
            streams.settle(true);
            assert!(streams.all.len() < REMEMBERED && streams.all.len() == streams.numbers.len());
        }
        assert_eq!(streams.bytes, streams.all.iter().map(|stream| stream.labels.len()).sum::<usize>());
    }

    #[test]
    fn tenants_count_as_labels_do() {
        let tenant = |value: usize| [(TENANT, format!("{value:060000}"))].into_iter().collect();
        let mut streams = Streams::default();
        (0..=4 * REMEMBERED_BYTES / 60_000).for_each(|value| _ = streams.number_of(&tenant(value)));
        assert!(streams.are_many());
    }

    #[test]
    fn a_stream_has_the_floor_that_the_process_before_gave_it() {
        let mut first = Streams::default();
        let number = first.number_of(&labels(1));
        assert_eq!(first.get(number).floor(), None);
        first.get_mut(number).floor = 6;
        let mut next = Streams::with_floors([None, first.get(number).floor()]);
        let number = next.number_of(&labels(1));
        assert_eq!(next.get(number).floor(), first.get(0).floor());
        let number = next.number_of(&labels(2));
        assert_eq!(next.get(number).floor(), None);
    }

    #[test]
    fn a_tenant_that_cannot_be_is_not_replaced_by_another() {
        let of = |tenant: &str| Stream::new(&[("a", "1"), (TENANT, tenant)].into_iter().collect());
        assert_eq!((of("t1").tenant.as_deref(), of("t1").is_misaddressed), (Some("t1"), false));
        assert!(of("no/t").is_misaddressed);
        assert!(!of("").is_misaddressed);
        assert_eq!(of("t1").labels, "{a=\"1\"}");
    }
}

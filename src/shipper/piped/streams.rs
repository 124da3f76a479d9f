//! The streams that stages make of a container's lines, and what is kept of each from line to line.

use std::collections::HashMap;

use super::times::Times;
use crate::config::tenant::tenant_id;
use crate::shipper::note::{FLOORS, Floor};
use crate::shipper::scope::{Key, Scope};
use crate::shipper::window::Window;
use loki::labels::{LabelName, LabelSet};
use promtail::pipeline::entry::{Labels, TENANT};

/// New streams between two moments at which everything is with Loki. Stages that make a stream of every line make no
/// larger rounds.
pub const MOST_STREAMS: usize = 256;

/// Streams that are remembered from round to round.
const REMEMBERED: usize = 4 * MOST_STREAMS;

/// Bytes of the labels and tenants of those.
const REMEMBERED_BYTES: usize = 1 << 20;

/// All streams that were seen lately.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Which of them are sent here.
    scope: Scope,
    numbers: HashMap<Labels, usize>,
    all: Vec<Stream>,
    /// The one that was asked for last: lines of a stream often come together.
    last: Option<(Labels, usize)>,
    /// Of the labels of all of them.
    bytes: usize,
    /// How many there were when everything was with Loki for the last time.
    settled: usize,
    /// Those of the process before, for streams that come again.
    floors: [Option<Floor>; FLOORS],
    /// The latest time of a line that is with Loki; 0 before the first.
    last_time: i64,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What tells it from others, the tenant included.
    pub key: Labels,
    /// Whether it is sent here, and not by another lane.
    pub is_ours: bool,
    /// The label string.
    pub labels: String,
    /// In place of the destination's.
    pub tenant: Option<String>,
    /// Lines of this stream cannot be sent: they are for a tenant that there cannot be.
    pub is_misaddressed: bool,
    /// The earliest time that lines are sent with.
    pub floor: i64,
    /// Entries of a batch at most, while halves are being sent.
    pub limit: usize,
    /// The batch that takes its next line.
    pub open: Option<usize>,
    /// Times of its last lines, and of its last ones with Loki.
    times: Times,
    settled: Times,
}

// === impl Streams ===

impl Streams {
    /// None yet, but with floors for some that may come.
    pub fn with_floors(floors: [Option<Floor>; FLOORS]) -> Self {
        Self { floors, ..Self::default() }
    }

    /// The number of the stream with these labels; it stays until [`Streams::settle`].
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

    /// The stream of a number that [`Streams::number_of`] gave.
    pub fn get_mut(&mut self, number: usize) -> &mut Stream {
        &mut self.all[number]
    }

    /// The same to look at.
    pub fn get(&self, number: usize) -> &Stream {
        &self.all[number]
    }

    /// Whether so many are new that what there is should be sent first.
    pub fn are_many(&self) -> bool {
        self.all.len() - self.settled >= MOST_STREAMS || self.bytes >= 4 * REMEMBERED_BYTES
    }

    /// Everything is with Loki. Those that come and go by the thousand are forgotten, if they `may_go`: they have few equal lines.
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

    /// Of these streams only those of `key` that are in the scope so far, and the others without them. What is known of each stays.
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

    /// What was forked off and is not back.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    fn mark(&mut self) {
        let Self { scope, all, .. } = self;
        for stream in all {
            stream.is_ours = scope.has(&stream.key, stream.tenant.as_deref());
        }
    }

    /// The latest time that a line was accepted with.
    pub fn last_time(&self) -> i64 {
        self.last_time
    }

    /// Back to where everything was with Loki.
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

    /// The time under which a line goes to Loki, see [`Times`].
    pub fn time_of(&mut self, time: i64, is_own: bool, window: &Window) -> i64 {
        self.times.of(time, is_own, window)
    }

    /// Back to the times of lines that are with Loki.
    pub fn forget_times(&mut self) {
        self.times.clone_from(&self.settled);
    }

    /// The floor, if there is one, for a process that knows nothing but the labels.
    pub fn floor(&self) -> Option<Floor> {
        (self.floor > i64::MIN).then(|| (self.hash(), self.floor))
    }

    /// Bytes of its labels, the tenant included, whether there can be such a one or not.
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

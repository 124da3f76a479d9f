//! How containers and destinations are doing, at one instant, for the metrics and the status page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::Info;
use super::container::{Container, Lane};
use super::info::short_id;
use super::registry::{Registry, lock};
use crate::codec::frame;
use crate::ring::Position;
use crate::shipper::counters::{Changed, Dropped};
use crate::shipper::destination::Destination;
use crate::shipper::events::LastError;

/// Containers that are shown one by one; there are others only on a host with more.
pub const MOST_CONTAINERS: usize = 1000;

/// Everything that is being logged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// What the process before this one left has been taken up, so that calls of dockerd are answered.
    pub adopted: bool,
    /// Containers with a stream, or with lines that were not sent; [`MOST_CONTAINERS`] at most, those that are the
    /// furthest behind first.
    pub containers: Vec<ContainerView>,
    /// How many there are beside these.
    pub unlisted: usize,
    /// Streams that are read for nothing, as there is no record of them or no ring: what comes of them is lost.
    pub unlogged_streams: usize,
    /// Stopped containers with lines that are kept and cannot be sent.
    pub stranded: usize,
    /// Where their lines go.
    pub destinations: Vec<DestinationView>,
    /// Bytes that all rings took when they were looked over last, which is done once a minute.
    pub rings_bytes: u64,
    /// What they may take (`RING_BUDGET`).
    pub rings_budget_bytes: u64,
    /// What was lost since the process began, that of containers included which have left since.
    pub lost: LostView,
}

/// What will never be with Loki.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LostView {
    /// Lines by reason, once for each destination that does not get them; those without a line are left out.
    pub lines: BTreeMap<&'static str, u64>,
    /// Bytes that neither disk nor memory had room for; `docker logs` does not have them either.
    pub no_room_bytes: u64,
    /// When that was last counted.
    #[serde(serialize_with = "time")]
    pub last: Option<i64>,
}

/// A container.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContainerView {
    /// Twelve hexadecimal digits, as `docker ps` shows it.
    pub id: String,
    /// As people know it.
    pub name: String,
    /// As it was typed.
    pub image: String,
    /// dockerd has not stopped its log.
    pub running: bool,
    /// Lines that it wrote since the plugin opened its ring.
    pub lines: u64,
    /// Their bytes in the ring.
    pub bytes: u64,
    /// Over the last minute; absent in the first seconds.
    pub lines_per_second: Option<f64>,
    /// The same of the bytes.
    pub bytes_per_second: Option<f64>,
    /// Bytes that were read and could not be kept.
    pub discarded_bytes: u64,
    /// What `docker logs` has.
    pub ring: RingView,
    /// Its way to each destination; none while its options cannot be used with the settings of the plugin.
    pub destinations: Vec<LaneView>,
}

/// A container's ring.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RingView {
    /// What it takes.
    pub bytes: u64,
    /// What it may take (`max-size` times `max-file`).
    pub limit_bytes: u64,
    /// When its oldest line was written.
    #[serde(serialize_with = "time")]
    pub oldest_line: Option<i64>,
    /// Lines that it no longer has, sent or not.
    pub overwritten_lines: u64,
    /// A part of it is in memory: the disk takes nothing.
    pub in_memory: bool,
}

/// A container's way to one destination.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LaneView {
    /// The destination's URL.
    pub destination: String,
    /// Lines that Loki took since the plugin opened the ring.
    pub sent_lines: u64,
    /// Lines in the ring that it has not taken yet.
    pub lag_lines: u64,
    /// Their bytes in the ring.
    pub lag_bytes: u64,
    /// The age of the oldest of them.
    pub lag_seconds: f64,
    /// For how long lines may wait for others (`loki-batch-wait`).
    pub batch_wait_seconds: f64,
    /// The destination takes lines, as far as is known.
    pub up: bool,
    /// About how many bytes the container can still write before the first of these lines has to go.
    pub room_bytes: u64,
    /// How long that lasts at the present rate; absent while lines are taken, or while the rate is not known or 0.
    pub full_in_seconds: Option<f64>,
    /// Lines that will never get there, by reason; those without a line are left out.
    pub dropped_lines: BTreeMap<&'static str, u64>,
    /// When that was last counted.
    #[serde(serialize_with = "time")]
    pub last_dropped: Option<i64>,
    /// Lines that got there in another form.
    pub changed_lines: BTreeMap<&'static str, u64>,
    /// When Loki took lines of this container last.
    #[serde(serialize_with = "time")]
    pub last_sent: Option<i64>,
    /// What went wrong last with lines of this container.
    pub last_error: Option<ErrorView>,
}

/// A destination: one URL, tenant and set of credentials.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DestinationView {
    /// Without anything secret.
    pub url: String,
    /// The tenant that it is for, if one is named.
    pub tenant: Option<String>,
    /// No push has failed since the last that succeeded.
    pub up: bool,
    /// For how long it has been down; 0 when it is up.
    pub down_seconds: f64,
    /// Lines that wait for it, those of unlisted containers too.
    pub waiting_lines: u64,
    /// Of so many containers.
    pub waiting_containers: u64,
    /// When it took lines last.
    #[serde(serialize_with = "time")]
    pub last_success: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<ErrorView>,
}

/// Something that went wrong.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorView {
    /// When.
    #[serde(serialize_with = "time_of")]
    pub at: i64,
    /// In words.
    pub text: String,
}

// === impl Registry ===

impl Registry {
    /// How everything is doing. Reads a piece of each ring that has lines to send, so it is for a thread that may wait.
    pub fn view(&self) -> View {
        let (mut containers, unlogged_streams) = self.open();
        let waiting = waiting(&containers);
        containers.sort_by_cached_key(|container| (std::cmp::Reverse(container.unsent()), container.name.clone()));
        let unlisted = containers.len().saturating_sub(MOST_CONTAINERS);
        containers.truncate(MOST_CONTAINERS);
        let mut destinations: Vec<_> = lock(&self.inner.destinations)
            .iter()
            .filter_map(|(target, destination)| {
                let destination = destination.upgrade()?;
                let waiting = waiting.get(&Arc::as_ptr(&destination)).copied().unwrap_or_default();
                Some(DestinationView::of(target.tenant_id.clone(), &destination, waiting))
            })
            .collect();
        destinations.sort_by(|one, other| (&one.url, &one.tenant).cmp(&(&other.url, &other.tenant)));
        let (rings_bytes, rings_budget_bytes) = *lock(&self.inner.rings);
        let now = nanoseconds();
        View {
            adopted: *self.inner.adopted.borrow(),
            containers: containers.iter().map(|container| ContainerView::of(container, now)).collect(),
            unlisted,
            unlogged_streams,
            stranded: self.stranded(),
            destinations,
            rings_bytes,
            rings_budget_bytes,
            lost: self.lost(),
        }
    }

    /// Everything that is being logged, and how many streams are not.
    pub(super) fn open(&self) -> (Vec<Arc<Container>>, usize) {
        let table = self.table();
        (table.containers.values().cloned().collect(), table.strays.len())
    }

    /// Stopped containers with lines that could not be sent when the plugin began or they stopped, and are still there.
    pub(super) fn stranded(&self) -> usize {
        let mut stranded = lock(&self.inner.stranded);
        // One that was started again is shipped, or known as one whose options cannot be used.
        stranded.retain(|id| self.ring_dir(id).exists() && !self.table().containers.contains_key(id));
        stranded.len()
    }

    fn lost(&self) -> LostView {
        let (intake, shipping) = (&self.inner.setup.counters, &self.inner.setup.sent);
        let last = shipping.last_dropped().max(intake.last_lost.get());
        let mut lines = shipping.dropped();
        lines.retain(|_, lines| *lines > 0);
        LostView { lines, no_room_bytes: intake.no_room_bytes.get(), last }
    }
}

/// Lines that wait for each destination, and of how many containers.
fn waiting(containers: &[Arc<Container>]) -> HashMap<*const Destination, (u64, u64)> {
    let mut waiting = HashMap::new();
    for container in containers {
        for (at, lane) in container.lanes.iter().enumerate() {
            let (_, lines) = waiting_in(container, at);
            let (all, of): &mut (u64, u64) = waiting.entry(Arc::as_ptr(&lane.destination)).or_default();
            *all += lines;
            *of += u64::from(lines > 0);
        }
    }
    waiting
}

/// The oldest line that a lane has still to send, and how many there are from there on.
fn waiting_in(container: &Container, at: usize) -> (Position, u64) {
    let ring = &container.ring;
    let saved = lock(&container.cursors).saved(at).map(|(position, _)| position);
    let oldest = ring.oldest();
    let position = saved.filter(|saved| saved.seq >= oldest.seq).unwrap_or(oldest);
    (position, ring.published().next_seq.saturating_sub(position.seq))
}

// === impl ContainerView ===

impl ContainerView {
    fn of(container: &Container, now: i64) -> Self {
        let Container { id, name, ring, lanes, events, line_rate, byte_rate, .. } = container;
        let info: Option<Info> = ring.description().and_then(|text| serde_json::from_slice(&text).ok());
        let happened = events.happened();
        Self {
            id: short_id(id).to_owned(),
            name: name.to_string(),
            image: info.map(|info| info.container_image_name).unwrap_or_default(),
            running: container.streams() > 0,
            lines: happened.entries,
            bytes: happened.bytes,
            lines_per_second: line_rate.per_second(),
            bytes_per_second: byte_rate.per_second(),
            discarded_bytes: happened.discarded,
            ring: RingView {
                bytes: ring.allocated(),
                limit_bytes: ring.budget_bytes(),
                oldest_line: ring.oldest_time(),
                overwritten_lines: ring.oldest().seq,
                in_memory: ring.is_in_memory(),
            },
            destinations: lanes.iter().enumerate().map(|(at, lane)| LaneView::of(container, at, lane, now)).collect(),
        }
    }
}

// === impl LaneView ===

impl LaneView {
    pub(super) fn of(container: &Container, at: usize, lane: &Lane, now: i64) -> Self {
        let ring = &container.ring;
        let (position, lag_lines) = waiting_in(container, at);
        let is_behind = lag_lines > 0;
        let since = is_behind.then(|| time_at(container, position)).flatten();
        let happened = lane.events.happened();
        let (up, room_bytes) = (!lane.destination.is_down(), ring.room_behind(position));
        let rate = container.byte_rate.per_second().filter(|rate| !up && *rate > 0.0);
        Self {
            destination: lane.destination.name().to_owned(),
            sent_lines: happened.sent,
            lag_lines,
            lag_bytes: if is_behind { ring.bytes_from(position) } else { 0 },
            lag_seconds: since.map_or(0.0, |since| now.saturating_sub(since).max(0) as f64 / 1e9),
            batch_wait_seconds: lane.batch_wait.as_secs_f64(),
            up,
            room_bytes,
            full_in_seconds: rate.map(|rate| room_bytes as f64 / rate),
            last_dropped: happened.last_dropped,
            dropped_lines: counted(Dropped::ALL.map(Dropped::as_str), happened.dropped),
            changed_lines: counted(Changed::ALL.map(Changed::as_str), happened.changed),
            last_sent: happened.last_sent,
            last_error: happened.last_error.map(ErrorView::from),
        }
    }

    /// Lines that will never get there.
    pub fn dropped(&self) -> u64 {
        self.dropped_lines.values().sum()
    }
}

/// The time of the first line from a position on.
fn time_at(container: &Container, position: Position) -> Option<i64> {
    let mut reader = container.ring.reader_at(position);
    let time = reader.fill().and_then(|chunk| Some(frame::entries(chunk.bytes).next()?.time));
    reader.shrink();
    time
}

fn counted<const N: usize>(names: [&'static str; N], counts: [u64; N]) -> BTreeMap<&'static str, u64> {
    names.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

// === impl DestinationView ===

impl DestinationView {
    fn of(tenant: Option<String>, destination: &Destination, waiting: (u64, u64)) -> Self {
        let health = destination.health();
        Self {
            url: destination.name().to_owned(),
            tenant,
            up: health.down_for.is_none(),
            down_seconds: health.down_for.map_or(0.0, |down| down.as_secs_f64()),
            waiting_lines: waiting.0,
            waiting_containers: waiting.1,
            last_success: health.last_success,
            last_error: health.last_error.map(ErrorView::from),
        }
    }
}

impl From<LastError> for ErrorView {
    fn from(LastError { at, text }: LastError) -> Self {
        Self { at, text }
    }
}

/// Now, in nanoseconds since 1970.
pub fn nanoseconds() -> i64 {
    let since: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn time<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time_of(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339 in UTC.
pub fn time_of<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    let at = jiff::Timestamp::from_nanosecond(i128::from(*at)).unwrap_or_default();
    serializer.collect_str(&at)
}

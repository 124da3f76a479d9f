//! Builds a view from the table of containers, their rings and cursors, and their counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{
    ContainerView, DestinationView, ErrorView, LaneView, LostView, MOST_CONTAINERS, RingView, View, nanoseconds,
};
use crate::shipper::counters::{Changed, Dropped};
use crate::shipper::destination::Destination;
use crate::shipper::events::LastError;
use crate::streams::container::{Container, Lane};
use crate::streams::registry::Registry;
use base::maps::map_of;
use dockerd::frame;
use dockerd::info::Info;
use dockerd::info::short_id;
use ring::Position;

// === impl Registry ===

impl Registry {
    /// Takes a snapshot of everything. Reads a piece of each ring with unsent lines, so call it on a thread that may
    /// block.
    pub fn view(&self) -> View {
        let (mut containers, unlogged_streams) = self.open();
        let waiting = waiting(&containers);
        let unusable = containers.iter().filter(|container| container.unusable().is_some()).count();
        containers.sort_by_cached_key(|container| (std::cmp::Reverse(container.unsent()), container.name.clone()));
        let unlisted = containers.len().saturating_sub(MOST_CONTAINERS);
        containers.truncate(MOST_CONTAINERS);
        let mut destinations: Vec<_> = self
            .inner
            .destinations
            .lock()
            .iter()
            .filter_map(|(target, destination)| {
                let destination = destination.upgrade()?;
                let waiting = waiting.get(&Arc::as_ptr(&destination)).copied().unwrap_or_default();
                Some(DestinationView::of(target.tenant_id.clone(), &destination, waiting))
            })
            .collect();
        destinations.sort_by(|one, other| (&one.url, &one.tenant).cmp(&(&other.url, &other.tenant)));
        let (rings_bytes, rings_budget_bytes) = *self.inner.rings.lock();
        let now = nanoseconds();
        View {
            adopted: *self.inner.adopted.borrow(),
            containers: containers.iter().map(|container| ContainerView::of(container, now)).collect(),
            unlisted,
            unlogged_streams,
            unusable,
            stranded: self.stranded(),
            bad_settings: self.inner.setup.mistakes.iter().map(ToString::to_string).collect(),
            destinations,
            rings_bytes,
            rings_budget_bytes,
            lost: self.lost(),
        }
    }

    /// The open containers, and the number of streams that are not logged.
    pub(in crate::streams) fn open(&self) -> (Vec<Arc<Container>>, usize) {
        let table = self.table();
        (table.containers.values().cloned().collect(), table.strays.len())
    }

    /// The number of stopped containers that still have lines which could not be sent.
    pub(in crate::streams) fn stranded(&self) -> usize {
        let known: Vec<_> = self.inner.stranded.lock().iter().cloned().collect();
        // A container that was started again is shipped, or counted as one with unusable options.
        let is_over = |id: &String| {
            let is_open = self.table().containers.contains_key(id);
            is_open || !self.ring_dir(id).exists()
        };
        let over: Vec<_> = known.into_iter().filter(is_over).collect();
        let mut stranded = self.inner.stranded.lock();
        over.iter().for_each(|id| _ = stranded.remove(id));
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

/// The number of unsent lines for each destination, and of their containers.
fn waiting(containers: &[Arc<Container>]) -> HashMap<*const Destination, (u64, u64)> {
    let mut waiting = HashMap::new();
    for container in containers {
        for (at, lane) in container.lanes().iter().enumerate() {
            let (_, lines) = waiting_in(container, at);
            let (all, of): &mut (u64, u64) = waiting.entry(Arc::as_ptr(&lane.destination)).or_default();
            *all += lines;
            *of += u64::from(lines > 0);
        }
    }
    waiting
}

/// The position of the oldest unsent line of a lane, and the number of lines from there on.
fn waiting_in(container: &Container, at: usize) -> (Position, u64) {
    let ring = &container.ring;
    let saved = container.sent.position(at);
    let oldest = ring.oldest();
    let position = saved.filter(|saved| saved.seq >= oldest.seq).unwrap_or(oldest);
    (position, ring.published().next_seq.saturating_sub(position.seq))
}

// === impl ContainerView ===

impl ContainerView {
    fn of(container: &Container, now: i64) -> Self {
        let Container { id, name, ring, activity, .. } = container;
        let info: Option<Info> = ring.description().and_then(|text| serde_json::from_slice(&text).ok());
        let happened = activity.events.happened();
        Self {
            id: short_id(id).to_owned(),
            name: info.as_ref().map_or(&**name, Info::name).to_owned(),
            image: info.map(|info| info.container_image_name).unwrap_or_default(),
            running: container.streams() > 0,
            lines: happened.entries,
            bytes: happened.bytes,
            lines_per_second: activity.line_rate.per_second(),
            bytes_per_second: activity.byte_rate.per_second(),
            discarded_bytes: happened.discarded,
            unusable: container.unusable(),
            ring: RingView {
                bytes: ring.allocated(),
                limit_bytes: ring.budget_bytes(),
                oldest_line: ring.oldest_time(),
                overwritten_lines: ring.oldest().seq,
                in_memory: ring.is_in_memory(),
            },
            destinations: container
                .lanes()
                .iter()
                .enumerate()
                .map(|(at, lane)| LaneView::of(container, at, lane, now))
                .collect(),
        }
    }
}

// === impl LaneView ===

impl LaneView {
    pub(in crate::streams) fn of(container: &Container, at: usize, lane: &Lane, now: i64) -> Self {
        let ring = &container.ring;
        let (position, lag_lines) = waiting_in(container, at);
        let is_behind = lag_lines > 0;
        let since = is_behind.then(|| time_at(container, position)).flatten();
        let happened = lane.events.happened();
        let (up, room_bytes) = (!lane.destination.is_down(), ring.room_behind(position));
        let rate = container.activity.byte_rate.per_second().filter(|rate| !up && *rate > 0.0);
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

    /// The number of lines dropped for this destination.
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
    map_of(names.into_iter().zip(counts).filter(|(_, count)| *count > 0))
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

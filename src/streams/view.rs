//! How containers and destinations are doing, at one instant, for the metrics and the status page.

mod look;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Containers that are shown one by one; there are others only on a host with more.
pub const MOST_CONTAINERS: usize = 1000;

/// Everything that is being logged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// What the process before this one left has been taken up, so that calls of dockerd are answered.
    pub adopted: bool,
    /// Settings of the plugin that cannot be used, in a sentence each: new containers are refused meanwhile.
    pub bad_settings: Vec<String>,
    /// Containers with a stream, or with lines that were not sent; [`MOST_CONTAINERS`] at most, those that are the
    /// furthest behind first.
    pub containers: Vec<ContainerView>,
    /// How many there are beside these.
    pub unlisted: usize,
    /// Streams that are read for nothing, as there is no record of them or no ring: what comes of them is lost.
    pub unlogged_streams: usize,
    /// Containers whose lines are buffered and not sent, because options cannot be used, or a file that they name; those
    /// of unlisted containers too.
    pub unusable: usize,
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
    /// Why its lines are buffered and not sent: what is wrong with its options, or with a file that they name.
    pub unusable: Option<String>,
    /// Its way to each destination; none while its options cannot be used.
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

pub use base::clock::unix_nanos as nanoseconds;

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

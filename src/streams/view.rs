//! A snapshot of containers and destinations, for the metrics and the status page.

mod look;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The most containers that are listed; the others are only counted.
pub const MOST_CONTAINERS: usize = 1000;

/// A snapshot of all containers and destinations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// Whether recovery is done, so that calls of dockerd are answered.
    pub adopted: bool,
    /// Errors in the plugin's settings, one sentence each: new containers are refused meanwhile.
    pub bad_settings: Vec<String>,
    /// Containers with a stream or with unsent lines; [`MOST_CONTAINERS`] at most, those that are the furthest behind
    /// first.
    pub containers: Vec<ContainerView>,
    /// The number of containers that are not listed.
    pub unlisted: usize,
    /// Streams without a record or a ring: their lines are read and dropped.
    pub unlogged_streams: usize,
    /// Containers whose lines are buffered and not sent, because options or a file that they name cannot be used;
    /// unlisted containers included.
    pub unusable: usize,
    /// Stopped containers with unsent lines that cannot be sent.
    pub stranded: usize,
    /// The destinations of all lines.
    pub destinations: Vec<DestinationView>,
    /// Bytes that all rings took at the last survey, which runs once a minute.
    pub rings_bytes: u64,
    /// The budget of all rings (`RING_BUDGET`), in bytes.
    pub rings_budget_bytes: u64,
    /// Losses since the process began, those of containers that have left included.
    pub lost: LostView,
}

/// Lines and bytes that Loki will never receive.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LostView {
    /// Dropped lines by reason, once for each destination that misses them; reasons without a line are omitted.
    pub lines: BTreeMap<&'static str, u64>,
    /// Bytes dropped because neither disk nor memory had room; `docker logs` does not have them either.
    pub no_room_bytes: u64,
    /// The time of the last loss.
    #[serde(serialize_with = "time")]
    pub last: Option<i64>,
}

/// A container.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContainerView {
    /// Twelve hexadecimal digits, as `docker ps` shows it.
    pub id: String,
    /// The name without the slash.
    pub name: String,
    /// The image as the user typed it.
    pub image: String,
    /// Whether dockerd has not stopped its log.
    pub running: bool,
    /// Lines that it wrote since the plugin opened its ring.
    pub lines: u64,
    /// Their bytes in the ring.
    pub bytes: u64,
    /// The rate over the last minute; absent in the first seconds.
    pub lines_per_second: Option<f64>,
    /// The rate of the bytes over the last minute.
    pub bytes_per_second: Option<f64>,
    /// Bytes that were read and dropped.
    pub discarded_bytes: u64,
    /// The ring, which `docker logs` reads.
    pub ring: RingView,
    /// The reason why its lines are buffered and not sent: an error in its options, or in a file that they name.
    pub unusable: Option<String>,
    /// Its destinations; empty while its options cannot be used.
    pub destinations: Vec<LaneView>,
}

/// A container's ring.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RingView {
    /// Bytes that it takes.
    pub bytes: u64,
    /// The most bytes that it may take (`max-size` times `max-file`).
    pub limit_bytes: u64,
    /// The time of its oldest line.
    #[serde(serialize_with = "time")]
    pub oldest_line: Option<i64>,
    /// Lines that it no longer has, sent or not.
    pub overwritten_lines: u64,
    /// Whether a part of it is in memory, because the disk refuses writes.
    pub in_memory: bool,
}

/// The state of a container's lines for one destination.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LaneView {
    /// The destination's URL.
    pub destination: String,
    /// Lines that Loki accepted since the plugin opened the ring.
    pub sent_lines: u64,
    /// Unsent lines in the ring.
    pub lag_lines: u64,
    /// Their bytes in the ring.
    pub lag_bytes: u64,
    /// The age of the oldest of them.
    pub lag_seconds: f64,
    /// For how long lines may wait for others (`loki-batch-wait`).
    pub batch_wait_seconds: f64,
    /// Whether the destination accepts lines, as of the last push.
    pub up: bool,
    /// About how many bytes the container can still write before the first unsent line is evicted.
    pub room_bytes: u64,
    /// The time until then at the present rate; absent while lines are accepted, or while the rate is not known or 0.
    pub full_in_seconds: Option<f64>,
    /// Lines dropped for this destination, by reason; reasons without a line are omitted.
    pub dropped_lines: BTreeMap<&'static str, u64>,
    /// The time of the last drop.
    #[serde(serialize_with = "time")]
    pub last_dropped: Option<i64>,
    /// Lines that were sent in a changed form, by reason.
    pub changed_lines: BTreeMap<&'static str, u64>,
    /// The last time at which Loki accepted lines of this container.
    #[serde(serialize_with = "time")]
    pub last_sent: Option<i64>,
    /// The last error with lines of this container.
    pub last_error: Option<ErrorView>,
}

/// A destination: one URL, tenant and set of credentials.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DestinationView {
    /// The URL without secrets.
    pub url: String,
    /// The tenant, if one is set.
    pub tenant: Option<String>,
    /// Whether no push has failed since the last success.
    pub up: bool,
    /// The duration of the outage; 0 when the destination is up.
    pub down_seconds: f64,
    /// Unsent lines for it, those of unlisted containers included.
    pub waiting_lines: u64,
    /// The number of containers with unsent lines for it.
    pub waiting_containers: u64,
    /// The last time at which it accepted lines.
    #[serde(serialize_with = "time")]
    pub last_success: Option<i64>,
    /// The last error.
    pub last_error: Option<ErrorView>,
}

/// An error with its time.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorView {
    /// The time of the error.
    #[serde(serialize_with = "time_of")]
    pub at: i64,
    /// The error as text.
    pub text: String,
}

pub use base::clock::unix_nanos as nanoseconds;

fn time<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time_of(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// Writes a time as RFC 3339 in UTC.
pub fn time_of<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    let at = jiff::Timestamp::from_nanosecond(i128::from(*at)).unwrap_or_default();
    serializer.collect_str(&at)
}

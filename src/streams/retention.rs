//! Rings of containers that are gone, and all rings together, on disk: found, looked into, removed.
//!
//! No call ever says that a container was removed: a ring has no owner once its container has stopped. So a ring goes
//! when its container has been stopped for `RING_RETENTION` ([`ages`](super::ages)) and everything in it was sent; and when all rings together
//! are above `RING_BUDGET`, lines go in the order that [`evict`](super::evict) chooses.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use tracing::{error, info, warn};

use super::Info;
use super::ages::{Ages, Moment, Seen};
use super::evict::{Found, Policy, Reason};
use crate::config::destination::PushUrl;
use crate::config::{PluginDefaults, StreamOptions};
use crate::disk::small::Content;
use crate::frames::DockerFrames;
use crate::lock;
use crate::ring::{BootId, Ring, cursors, described};

/// How often rings are looked over.
pub const EVERY: Duration = Duration::from_secs(60);

/// What a ring holds that was not sent, and what goes for the budget before that.
pub type Held = (u64, Vec<u64>);

/// The rings below `rings`, each with the age of its stop. `stops` are those since the last time, `is_live` tells
/// rings with a stream.
pub fn survey(
    stops: &HashMap<String, Duration>,

    rings: &Path,
    is_live: impl Fn(&str) -> bool,
    ages: &mut Ages,
    now: Moment,
    retention: Duration,
) -> Vec<Found> {
    lock::may_wait();
    let mut all = Vec::new();
    for entry in fs::read_dir(rings).into_iter().flatten().flatten() {
        let (dir, container) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let (mut bytes, mut written) = (0, SystemTime::UNIX_EPOCH);
        for file in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Ok(metadata) = file.metadata() {
                bytes += metadata.blocks() * 512;
                // The cursor moves after the last line; only lines count, also those that cannot be read.
                if file.path().extension().is_some_and(|extension| extension == "seg") {
                    written = written.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
                }
            }
        }
        let live = is_live(&container);
        all.push(Found {
            dir,
            container,
            bytes,
            written,
            live,
            age: Duration::ZERO,
            unsent: 0,
            keep: false,
            sent: Vec::new(),
        });
    }
    let wall = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(now.wall).unwrap_or_default());
    let seen = all.iter().map(|ring| Seen {
        container: &ring.container,
        is_live: ring.live,
        stopped: stops.get(&ring.container).copied(),
        idle: wall.duration_since(ring.written).unwrap_or_default(),
    });
    ages.look(now, retention, seen);
    all.iter_mut().for_each(|ring| ring.age = ages.of(&ring.container));
    all
}

/// Fills in what was sent and what was not, of rings that may have to go: that means to open them, or to ask `known` for those that
/// are open.
pub fn look_into(
    all: &mut [Found],
    policy: Policy,
    budget: u64,
    boot: BootId,
    known: impl Fn(&str) -> Option<Held>,
    is_kept: impl Fn(&Info) -> bool,
) {
    let is_above = all.iter().map(|ring| ring.bytes).sum::<u64>() > budget;
    for ring in all.iter_mut().filter(|ring| is_above || (!ring.live && ring.age >= policy.retention)) {
        (ring.unsent, ring.sent) = known(&ring.container).unwrap_or_else(|| held_on_disk(&ring.dir, boot));
        ring.keep = info_of(&ring.dir).is_some_and(|info| is_kept(&info));
    }
}

/// The budget in bytes, on the file system that `rings` is on.
pub fn budget(policy: Policy, rings: &Path) -> u64 {
    let total = statvfs(rings).map_or(0, |fs| fs.blocks() * fs.fragment_size());
    policy.budget.of(total)
}

/// How many lines of a ring each of its destinations has not got, if its options can be used. To be asked before it goes.
pub fn unsent_to(ring: &Found, defaults: &PluginDefaults) -> Vec<(PushUrl, u64)> {
    let options = info_of(&ring.dir).and_then(|info| StreamOptions::parse(&info.config, defaults).ok());
    let first = cursors::furthest_behind(&ring.dir).map(|position| position.seq);
    let all = options.into_iter().flat_map(|options| options.destinations).map(|destination| {
        let ahead =
            cursors::saved_in(&ring.dir, &destination.id()).zip(first).map(|(has, first)| has.saturating_sub(first));
        (destination.url, ring.unsent.saturating_sub(ahead.unwrap_or_default()))
    });
    all.collect()
}

/// Lets a ring be removed by `remove` and says so; false when it cannot be removed.
pub fn retire(ring: &Found, reason: Reason, remove: impl FnOnce() -> io::Result<()>) -> bool {
    let info = info_of(&ring.dir);
    let name = info.as_ref().map(|info| info.name().to_owned()).unwrap_or_default();
    let Found { container, bytes, unsent, .. } = ring;
    if let Err(error) = remove() {
        error!(container = name, id = container, %error, "a ring cannot be removed");
        return false;
    }
    match (reason, unsent) {
        (Reason::Age, _) => {
            info!(container = name, id = container, bytes, "removed the log of a container that stopped long ago")
        }
        (Reason::Budget, 0) => info!(
            container = name,
            id = container,
            bytes,
            "removed the log of a stopped container: all logs together were above RING_BUDGET"
        ),
        (Reason::Budget, lines) => warn!(
            container = name,
            id = container,
            bytes,
            lines,
            "lines were lost: all logs together were above RING_BUDGET, and these were not sent"
        ),
    }
    true
}

/// What dockerd said of the container when its ring was made, if that can be read.
pub fn info_of(dir: &Path) -> Option<Info> {
    match described(dir) {
        Content::Whole(bytes) => serde_json::from_slice(&bytes).ok(),
        Content::Absent | Content::Unreadable => None,
    }
}

/// Lines of `ring` from number `sent` on; `None` when none was sent.
pub fn unsent(ring: &Ring, sent: Option<u64>) -> u64 {
    let (oldest, next) = (ring.oldest().seq, ring.published().next_seq);
    next - sent.unwrap_or(0).clamp(oldest, next)
}

/// Lines of the ring in `dir`, which nobody has open; none when it cannot be opened, for then they cannot be sent either.
pub fn unsent_on_disk(dir: &Path, boot: BootId) -> u64 {
    held_on_disk(dir, boot).0
}

fn held_on_disk(dir: &Path, boot: BootId) -> Held {
    lock::may_wait();
    // Its container may be started at this moment, and what it writes then must not be cut off.
    let Ok(ring) = Ring::look(dir, boot, &DockerFrames) else { return Held::default() };
    let sent = cursors::furthest_behind(dir).map(|position| position.seq);
    (unsent(&ring, sent), ring.sizes_before(sent.unwrap_or_default()))
}

/// Removes the oldest segments of the ring in `dir`, which nobody has open, if everything in them was sent; gives their
/// bytes.
pub fn trim_on_disk(dir: &Path, boot: BootId, segments: usize) -> u64 {
    lock::may_wait();
    let Ok(ring) = Ring::look(dir, boot, &DockerFrames) else { return 0 };
    let sent = cursors::furthest_behind(dir).map(|position| position.seq);
    ring.retire_oldest_before(sent.unwrap_or_default(), segments)
}

/// Says that a ring was trimmed.
pub fn say_trimmed(ring: &Found, bytes: u64) {
    let name = info_of(&ring.dir).map(|info| info.name().to_owned()).unwrap_or_default();
    info!(
        container = name,
        id = ring.container,
        bytes,
        "removed the oldest sent lines of a container's log: all logs together were above RING_BUDGET"
    );
}

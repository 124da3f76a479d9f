//! Survey, inspection and eviction of rings on disk.
//!
//! No call reports that a container was removed: a ring has no owner once its container has stopped. So a ring is
//! evicted when its container has been stopped for `RING_RETENTION` (`ages`) and everything in it was sent. When all
//! rings together exceed `RING_BUDGET`, lines are evicted in the order that [`evict`](super::evict) chooses.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use tracing::{error, info, warn};

use super::ages::{Ages, Moment, Seen};
use super::evict::{Found, Policy, Reason};
use super::resolve::cursor_of;
use crate::config::destination::PushUrl;
use crate::config::{PluginDefaults, RingBudget, StreamOptions};
use crate::frames::DockerFrames;
use base::disk::small::Content;
use base::lock;
use dockerd::info::Info;
use ring::{BootId, Ring, cursors, described};

/// The interval between two surveys.
pub const EVERY: Duration = Duration::from_secs(60);

/// The number of unsent lines in a ring, and the sizes of segments that the budget may evict first.
pub type Held = (u64, Vec<u64>);

/// Lists the rings below `rings`, with the age of each container's stop. `stops` are the stops since the last survey,
/// and `is_live` selects rings with a stream.
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
                // Cursors are written after the last line. Only lines count, unreadable ones included.
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
            unreadable: false,
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

/// Inspects rings that may be evicted: fills in what was sent and what is unsent. This opens the rings, or asks `known`
/// for those that are open.
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
        match known(&ring.container).or_else(|| held_on_disk(&ring.dir, boot)) {
            Some((unsent, sent)) => (ring.unsent, ring.sent) = (unsent, sent),
            None => ring.unreadable = true,
        }
        ring.keep = match described(&ring.dir) {
            Content::Absent => false,
            // The options are unknown, so age is no reason to evict it.
            Content::Unreadable | Content::OutOfFiles => true,
            Content::Whole(bytes) => serde_json::from_slice(&bytes).map_or(true, |info| is_kept(&info)),
        };
    }
}

/// The budget in bytes on the file system of `rings`. A share of an unknown size counts as unlimited: a failed query
/// must not evict anything.
pub fn budget(policy: Policy, rings: &Path) -> u64 {
    // The folder does not exist before the first line.
    let found = match (statvfs(rings), rings.parent()) {
        (Err(Errno::ENOENT), Some(parent)) => statvfs(parent),
        (found, _) => found,
    };
    let total = found.map_or(0, |fs| fs.blocks() * fs.fragment_size());
    match policy.budget {
        RingBudget::Share(_) if total == 0 => u64::MAX,
        budget => budget.of(total),
    }
}

/// The number of unsent lines of a ring for each destination, if its options can be used. Ask before the ring is
/// evicted.
pub fn unsent_to(ring: &Found, defaults: &PluginDefaults) -> Vec<(PushUrl, u64)> {
    let options = info_of(&ring.dir).and_then(|info| StreamOptions::parse(&info.config, defaults).ok());
    let first = cursors::furthest_behind(&ring.dir).map(|position| position.seq);
    let all = options.into_iter().flat_map(|options| options.destinations).map(|destination| {
        let ahead = cursors::saved_in(&ring.dir, &cursor_of(&destination, &ring.container))
            .zip(first)
            .map(|(has, first)| has.saturating_sub(first));
        (destination.url, ring.unsent.saturating_sub(ahead.unwrap_or_default()))
    });
    all.collect()
}

/// Evicts a ring by `remove` and logs it; false when it cannot be removed.
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

/// The description of a ring's container, if it can be read.
pub fn info_of(dir: &Path) -> Option<Info> {
    match described(dir) {
        Content::Whole(bytes) => serde_json::from_slice(&bytes).ok(),
        Content::Absent | Content::Unreadable | Content::OutOfFiles => None,
    }
}

/// The number of lines of `ring` from number `sent` on, or of all when nothing was sent.
pub fn unsent(ring: &Ring, sent: Option<u64>) -> u64 {
    let (oldest, next) = (ring.oldest().seq, ring.published().next_seq);
    next - sent.unwrap_or(0).clamp(oldest, next)
}

/// The number of unsent lines of the closed ring in `dir`; `None` when it cannot be read.
pub fn unsent_on_disk(dir: &Path, boot: BootId) -> Option<u64> {
    held_on_disk(dir, boot).map(|(unsent, _)| unsent)
}

/// Whether the closed ring in `dir` is known to have unsent lines.
pub fn has_unsent(dir: &Path, boot: BootId) -> bool {
    unsent_on_disk(dir, boot).is_some_and(|lines| lines > 0)
}

fn held_on_disk(dir: &Path, boot: BootId) -> Option<Held> {
    lock::may_wait();
    // Read-only, because the container may start at this moment, and its new lines must not be lost.
    let ring = Ring::look(dir, boot, &DockerFrames).ok()?;
    let sent = cursors::furthest_behind(dir).map(|position| position.seq);
    Some((unsent(&ring, sent), ring.sizes_before(sent.unwrap_or_default())))
}

/// Evicts the oldest segments of the closed ring in `dir`, if everything in them was sent; returns their bytes.
pub fn trim_on_disk(dir: &Path, boot: BootId, segments: usize) -> u64 {
    lock::may_wait();
    let Ok(ring) = Ring::look(dir, boot, &DockerFrames) else { return 0 };
    let sent = cursors::furthest_behind(dir).map(|position| position.seq);
    ring.retire_oldest_before(sent.unwrap_or_default(), segments)
}

/// Logs that a ring was trimmed.
pub fn say_trimmed(ring: &Found, bytes: u64) {
    let name = info_of(&ring.dir).map(|info| info.name().to_owned()).unwrap_or_default();
    info!(
        container = name,
        id = ring.container,
        bytes,
        "removed the oldest sent lines of a container's log: all logs together were above RING_BUDGET"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retention: Duration::ZERO, budget: RingBudget::Share(10) };

    #[test]
    fn a_share_of_a_disk_of_unknown_size_removes_nothing() {
        let nowhere = Path::new("/nowhere/state/rings");
        assert_eq!(budget(POLICY, nowhere), u64::MAX);
        assert_eq!(budget(Policy { budget: RingBudget::Bytes(7), ..POLICY }, nowhere), 7);
        let dir = tempfile::tempdir().unwrap();
        let of_missing = budget(POLICY, &dir.path().join("rings"));
        assert!(of_missing <= RingBudget::LARGEST_SHARE, "that of the folder above: {of_missing}");
    }

    #[test]
    fn a_ring_that_cannot_be_read_does_not_count_as_sent() {
        let rings = tempfile::tempdir().unwrap();
        fs::write(rings.path().join("file"), b"no folder").unwrap();
        for name in ["damaged", "bare"] {
            fs::create_dir(rings.path().join(name)).unwrap();
        }
        fs::write(rings.path().join("damaged/info.json"), b"{\"Conf").unwrap();
        let boot = BootId::current();
        let (stops, now) = (HashMap::new(), Moment::now(boot));
        let mut all = survey(&stops, rings.path(), |_| false, &mut Ages::default(), now, POLICY.retention);
        look_into(&mut all, POLICY, u64::MAX, boot, |_| None, |_| false);
        all.sort_by(|a, b| a.container.cmp(&b.container));
        let looked: Vec<_> = all.iter().map(|ring| (ring.container.as_str(), ring.keep, ring.unreadable)).collect();
        assert_eq!(looked[..2], [("bare", false, false), ("damaged", true, false)]);
        assert!(looked[2].2, "{looked:?}");
    }
}

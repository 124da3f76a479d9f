//! Rings of containers that are gone, and all rings together, on disk: found, looked into, removed.
//!
//! No call ever says that a container was removed: a ring has no owner once its container has stopped. So a ring goes
//! when its container has been stopped for `RING_RETENTION` (`ages`) and everything in it was sent; and when all rings together
//! are above `RING_BUDGET`, lines go in the order that [`evict`](super::evict) chooses.

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
        match known(&ring.container).or_else(|| held_on_disk(&ring.dir, boot)) {
            Some((unsent, sent)) => (ring.unsent, ring.sent) = (unsent, sent),
            None => ring.unreadable = true,
        }
        ring.keep = match described(&ring.dir) {
            Content::Absent => false,
            // Nobody knows what its options say: that it is old is no reason yet.
            Content::Unreadable | Content::OutOfFiles => true,
            Content::Whole(bytes) => serde_json::from_slice(&bytes).map_or(true, |info| is_kept(&info)),
        };
    }
}

/// The budget in bytes, on the file system that `rings` is on. A share of one whose size is not known is unlimited: nothing
/// is removed because of a question that failed.
pub fn budget(policy: Policy, rings: &Path) -> u64 {
    // Before the first line there is no such folder.
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

/// How many lines of a ring each of its destinations has not got, if its options can be used. To be asked before it goes.
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
        Content::Absent | Content::Unreadable | Content::OutOfFiles => None,
    }
}

/// Lines of `ring` from number `sent` on; `None` when none was sent.
pub fn unsent(ring: &Ring, sent: Option<u64>) -> u64 {
    let (oldest, next) = (ring.oldest().seq, ring.published().next_seq);
    next - sent.unwrap_or(0).clamp(oldest, next)
}

/// Lines of the ring in `dir`, which nobody has open, that were not sent; `None` when it cannot be looked into.
pub fn unsent_on_disk(dir: &Path, boot: BootId) -> Option<u64> {
    held_on_disk(dir, boot).map(|(unsent, _)| unsent)
}

/// Whether the ring in `dir`, which nobody has open, is known to have lines that were not sent.
pub fn has_unsent(dir: &Path, boot: BootId) -> bool {
    unsent_on_disk(dir, boot).is_some_and(|lines| lines > 0)
}

fn held_on_disk(dir: &Path, boot: BootId) -> Option<Held> {
    lock::may_wait();
    // Its container may be started at this moment, and what it writes then must not be cut off.
    let ring = Ring::look(dir, boot, &DockerFrames).ok()?;
    let sent = cursors::furthest_behind(dir).map(|position| position.seq);
    Some((unsent(&ring, sent), ring.sizes_before(sent.unwrap_or_default())))
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
    fn what_cannot_be_looked_into_is_no_ring_of_which_everything_was_sent() {
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

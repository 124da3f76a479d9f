//! When the ring of a container that is gone may go.
//!
//! No call ever says that a container was removed: a ring has no owner once its container has stopped. So a ring goes
//! when it has not been written to for `RING_RETENTION` and everything in it was sent; and when all rings together
//! are above `RING_BUDGET`, rings of stopped containers go until they are not: those that were sent first, the oldest
//! of them first, then those with `keep-file`, and only then those with lines that were not sent. A ring that is being written to never goes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use tracing::{error, info, warn};

use super::Info;
use crate::config::destination::PushUrl;
use crate::config::{PluginDefaults, RingBudget, StreamOptions};
use crate::frames::DockerFrames;
use crate::lock;
use crate::ring::{BootId, INFO, Ring, cursors};

/// How often rings are looked over.
pub const EVERY: Duration = Duration::from_secs(60);

/// The operator's wishes.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Since the ring was last written to.
    pub retention: Duration,
    /// All rings together.
    pub budget: RingBudget,
}

/// A ring as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its folder.
    pub dir: PathBuf,
    /// The folder's name.
    pub container: String,
    /// On disk.
    pub bytes: u64,
    /// When it was last written to.
    pub written: SystemTime,
    /// Whether a stream is attached to it.
    pub live: bool,
    /// Lines that were not sent; 0 until [`look_into`].
    pub unsent: u64,
    /// It stays past the retention (`keep-file`); false until [`look_into`].
    pub keep: bool,
}

/// Why a ring goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not written to for long enough.
    Age,
    /// All rings together are too large.
    Budget,
}

/// The rings below `rings`. `is_live` tells those with a stream.
pub fn survey(rings: &Path, is_live: impl Fn(&str) -> bool) -> Vec<Found> {
    lock::may_wait();
    let mut all = Vec::new();
    for entry in fs::read_dir(rings).into_iter().flatten().flatten() {
        let (dir, container) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let (mut bytes, mut written) = (0, SystemTime::UNIX_EPOCH);
        for file in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Ok(metadata) = file.metadata() {
                bytes += metadata.blocks() * 512;
                // The cursor moves after the last line; only lines count.
                if file.path().extension().is_some_and(|extension| extension == "seg") {
                    written = written.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
                }
            }
        }
        let live = is_live(&container);
        all.push(Found { dir, container, bytes, written, live, unsent: 0, keep: false });
    }
    all
}

/// Fills in what was not sent, if any ring may have to go: that means to open them, or to ask `known` for those that
/// are open.
pub fn look_into(
    all: &mut [Found],
    policy: Policy,
    budget: u64,
    now: SystemTime,
    boot: BootId,
    known: impl Fn(&str) -> Option<u64>,
    is_kept: impl Fn(&Info) -> bool,
) {
    let used: u64 = all.iter().map(|ring| ring.bytes).sum();
    for ring in all.iter_mut().filter(|ring| !ring.live) {
        if used > budget || ring.age(now) >= policy.retention {
            ring.unsent = known(&ring.container).unwrap_or_else(|| unsent_on_disk(&ring.dir, boot));
            ring.keep = info_of(&ring.dir).is_some_and(|info| is_kept(&info));
        }
    }
}

/// Which of the rings go, in the order in which they do.
pub fn choose(all: &[Found], policy: Policy, budget: u64, now: SystemTime) -> Vec<(Found, Reason)> {
    let mut gone = Vec::new();
    let mut stopped: Vec<&Found> = all.iter().filter(|ring| !ring.live).collect();
    stopped.sort_by_key(|ring| (ring.unsent > 0, ring.keep, ring.written));
    let mut used: u64 = all.iter().map(|ring| ring.bytes).sum();
    for ring in stopped {
        let reason = if ring.unsent == 0 && !ring.keep && ring.age(now) >= policy.retention {
            Reason::Age
        } else if used > budget {
            Reason::Budget
        } else {
            continue;
        };
        used = used.saturating_sub(ring.bytes);
        gone.push((ring.clone(), reason));
    }
    gone
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

/// What dockerd said of the container when its ring was made.
fn info_of(dir: &Path) -> Option<Info> {
    serde_json::from_slice(&fs::read(dir.join(INFO)).ok()?).ok()
}

/// Lines of `ring` from number `sent` on; `None` when none was sent.
pub fn unsent(ring: &Ring, sent: Option<u64>) -> u64 {
    let (oldest, next) = (ring.oldest().seq, ring.published().next_seq);
    next - sent.unwrap_or(0).clamp(oldest, next)
}

/// Lines of the ring in `dir`, which nobody has open; none when it cannot be opened, for then they cannot be sent either.
pub fn unsent_on_disk(dir: &Path, boot: BootId) -> u64 {
    lock::may_wait();
    // Its container may be started at this moment, and what it writes then must not be cut off.
    let Ok(ring) = Ring::look(dir, boot, &DockerFrames) else { return 0 };
    unsent(&ring, cursors::furthest_behind(dir).map(|position| position.seq))
}

// === impl Found ===

impl Found {
    /// Since it was last written to.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.written).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn ring(container: &str, bytes: u64, days: u32, live: bool, unsent: u64) -> Found {
        let written = SystemTime::UNIX_EPOCH + 100 * DAY - days * DAY;
        Found { dir: container.into(), container: container.into(), bytes, written, live, unsent, keep: false }
    }

    fn chosen(all: &[Found], budget: u64) -> Vec<(String, Reason)> {
        let policy = Policy { retention: 7 * DAY, budget: RingBudget::Bytes(budget) };
        let gone = choose(all, policy, budget, SystemTime::UNIX_EPOCH + 100 * DAY);
        gone.into_iter().map(|(ring, reason)| (ring.container, reason)).collect()
    }

    #[test]
    fn what_stopped_long_ago_and_was_sent_goes() {
        let all = [
            ring("new", 1, 1, false, 0),
            ring("old", 1, 8, false, 0),
            ring("unsent", 1, 90, false, 5),
            ring("live", 1, 50, true, 0),
        ];
        assert_eq!(chosen(&all, 1000), [("old".to_string(), Reason::Age)]);
    }

    #[test]
    fn what_is_to_be_kept_stays_past_the_retention_and_goes_for_the_budget_after_what_is_not() {
        let kept = |container, days| Found { keep: true, ..ring(container, 10, days, false, 0) };
        let all = [kept("kept-old", 90), ring("new", 10, 1, false, 0), ring("unsent", 10, 90, false, 5)];
        let names = |budget| chosen(&all, budget).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(30), Vec::<String>::new());
        assert_eq!(names(20), ["new"]);
        assert_eq!(names(10), ["new", "kept-old"]);
    }

    #[test]
    fn above_the_budget_the_oldest_go_and_unsent_lines_last() {
        let all = [
            ring("unsent-old", 10, 6, false, 5),
            ring("sent-new", 10, 1, false, 0),
            ring("sent-old", 10, 5, false, 0),
            ring("live", 10, 9, true, 0),
        ];
        let names = |budget| chosen(&all, budget).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(40), Vec::<String>::new());
        assert_eq!(names(39), ["sent-old"]);
        assert_eq!(names(25), ["sent-old", "sent-new"]);
        assert_eq!(names(0), ["sent-old", "sent-new", "unsent-old"], "what is written to never goes");
    }
}

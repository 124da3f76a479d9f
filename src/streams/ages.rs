//! The age of stopped containers, measured by clocks that cannot be set.
//!
//! `RING_RETENTION` counts from a container's stop. The time of day is no basis for that: it can be a year off in
//! either direction, and be corrected at any moment. So ages are summed from survey to survey by the time since boot,
//! and kept in one small file for the next process:
//!
//! * within one boot, the time between two surveys is exact, whether or not the plugin ran between them;
//! * between two boots there is only the time of day. It counts [`LONGEST_GAP`] at most, and at most half of the
//!   retention, so one wrong clock alone makes no ring old;
//! * the end of a stream that has printed is a stop, but a `docker logs` is not;
//! * a ring that is seen stopped for the first time has just stopped. Before the first survey of a process it may have
//!   stopped unseen: then its age is that of its files, but not more than the time since the last survey.
//!
//! An error keeps a ring longer. At worst a ring is evicted after half the retention.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use base::clock;
use base::disk::small::{self, Content};
use ring::BootId;

/// The most that a time between two boots counts: containers are seldom removed while a machine is off.
const LONGEST_GAP: Duration = Duration::from_secs(86_400);

/// One instant, by the clocks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot in which it is.
    pub boot: BootId,
    /// The time since boot; it cannot be set, and includes sleep.
    pub since_boot: Duration,
    /// The time of day in nanoseconds since 1970, which may be wrong.
    pub wall: i64,
}

/// A ring at one survey.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The container's id.
    pub container: &'a str,
    /// Whether a stream is attached to it, so that it has no age.
    pub is_live: bool,
    /// The time since boot at which a stream ended that had printed; only stops since the last survey are known.
    pub stopped: Option<Duration>,
    /// The time since its files were written, by the time of day.
    pub idle: Duration,
}

/// The ages of stopped containers, see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Ages {
    stopped: HashMap<String, Duration>,
    last: Option<Moment>,
    /// Whether this process has made a survey before.
    has_looked: bool,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    boot: String,
    since_boot_ms: u64,
    wall_ns: i64,
    /// The milliseconds since the stop, by container.
    stopped_ms: HashMap<String, u64>,
}

// === impl Moment ===

impl Moment {
    /// The present instant in this boot.
    pub fn now(boot: BootId) -> Self {
        Self { boot, since_boot: clock::since_boot(), wall: clock::unix_nanos() }
    }

    /// The time since `earlier` by a clock that cannot be set; `None` when only the time of day is known.
    fn since(&self, earlier: &Self) -> Option<Duration> {
        let is_same = self.boot.survived_until(earlier.boot);
        is_same.then(|| self.since_boot.checked_sub(earlier.since_boot)).flatten()
    }
}

// === impl Ages ===

impl Ages {
    /// Reads what the last process saved. An unreadable file counts as a gap of unknown length.
    pub fn load(path: &Path) -> Self {
        let Content::Whole(saved) = small::read(path) else { return Self::default() };
        let Ok(saved) = serde_json::from_slice::<Saved>(&saved) else { return Self::default() };
        let boot = u128::from_str_radix(&saved.boot, 16).unwrap_or_default();
        let stopped = saved.stopped_ms.into_iter().map(|(id, age)| (id, Duration::from_millis(age)));
        Self {
            stopped: stopped.collect(),
            last: Some(Moment {
                boot: BootId(boot.to_be_bytes()),
                since_boot: Duration::from_millis(saved.since_boot_ms),
                wall: saved.wall_ns,
            }),
            has_looked: false,
        }
    }

    /// Saves the ages for the next process, also across a power loss. Waits for the disk.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let ms = |age: &Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let saved = Saved {
            boot: format!("{:032x}", u128::from_be_bytes(last.boot.0)),
            since_boot_ms: ms(&last.since_boot),
            wall_ns: last.wall,
            stopped_ms: self.stopped.iter().map(|(id, age)| (id.clone(), ms(age))).collect(),
        };
        small::stage(path, &serde_json::to_vec(&saved)?)?;
        small::settle(path).map(drop)
    }

    /// Updates the ages from the rings that exist now, and whether they are stopped. Forgets rings that no longer
    /// exist.
    pub fn look<'a>(&mut self, now: Moment, retention: Duration, rings: impl Iterator<Item = Seen<'a>>) {
        let longest = LONGEST_GAP.min(retention / 2);
        let passed = match self.last {
            Some(last) => now.since(&last).unwrap_or_else(|| {
                let gap = u64::try_from(now.wall.saturating_sub(last.wall)).unwrap_or_default();
                Duration::from_nanos(gap).min(longest)
            }),
            None => longest,
        };
        let mut stopped = HashMap::new();
        for ring in rings.filter(|ring| !ring.is_live) {
            let age = match (ring.stopped, self.stopped.get(ring.container)) {
                (Some(stopped), _) => now.since_boot.saturating_sub(stopped),
                (None, Some(age)) => age.saturating_add(passed),
                (None, None) if self.has_looked => Duration::ZERO,
                (None, None) => ring.idle.min(passed),
            };
            stopped.insert(ring.container.to_owned(), age);
        }
        *self = Self { stopped, last: Some(now), has_looked: true };
    }

    /// The time since a container stopped, as of the last survey.
    pub fn of(&self, container: &str) -> Duration {
        self.stopped.get(container).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn at(boot: u8, since_boot: Duration, wall: Duration) -> Moment {
        Moment { boot: BootId([boot; 16]), since_boot, wall: wall.as_nanos() as i64 }
    }

    fn seen(container: &str, is_live: bool, idle: Duration) -> Seen<'_> {
        Seen { container, is_live, stopped: None, idle }
    }

    fn look(ages: &mut Ages, now: Moment, ring: Seen<'_>) -> Duration {
        let container = ring.container.to_owned();
        ages.look(now, WEEK, [ring].into_iter());
        ages.of(&container)
    }

    /// The ages as the next process reads them.
    fn reloaded(ages: &Ages) -> Ages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ages.json");
        ages.save(&path).unwrap();
        Ages::load(&path)
    }

    #[test]
    fn a_container_that_was_quiet_for_long_is_young_when_it_stops() {
        let mut ages = Ages::default();
        let quiet = 30 * DAY;
        assert_eq!(look(&mut ages, at(1, DAY, quiet), seen("c", true, quiet)), Duration::ZERO);
        assert_eq!(look(&mut ages, at(1, DAY + MINUTE, quiet), seen("c", false, quiet)), Duration::ZERO);
        assert_eq!(look(&mut ages, at(1, DAY + 3 * MINUTE, quiet), seen("c", false, quiet)), 2 * MINUTE);
        assert_eq!(look(&mut ages, at(1, DAY + 4 * MINUTE, quiet), seen("c", true, quiet)), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_steps_by_a_year_ages_nothing_within_a_boot_whether_or_not_the_plugin_restarts() {
        let mut ages = Ages::default();
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", true, DAY));
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", false, MINUTE));
        let year = 365 * DAY;
        assert_eq!(look(&mut ages, at(1, DAY + MINUTE, 100 * DAY + year), seen("c", false, year)), MINUTE);
        let mut ages = reloaded(&ages);
        assert_eq!(look(&mut ages, at(1, DAY + 2 * MINUTE, 10 * DAY), seen("c", false, Duration::ZERO)), 2 * MINUTE);
        let mut ages = reloaded(&ages);
        assert_eq!(look(&mut ages, at(1, DAY + 3 * MINUTE, 2 * year), seen("c", false, 2 * year)), 3 * MINUTE);
    }

    #[test]
    fn a_clock_that_is_a_year_ahead_after_a_reboot_ages_a_ring_by_a_day_at_most() {
        let mut ages = Ages::default();
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", true, DAY));
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", false, MINUTE));
        let mut ages = reloaded(&ages);
        assert_eq!(look(&mut ages, at(2, MINUTE, 465 * DAY), seen("c", false, 365 * DAY)), DAY);
        let mut ages = reloaded(&ages);
        assert_eq!(
            look(&mut ages, at(3, MINUTE, 10 * DAY), seen("c", false, Duration::ZERO)),
            DAY,
            "set back, it ages nothing"
        );
        let mut ages = reloaded(&ages);
        assert_eq!(look(&mut ages, at(4, MINUTE, 10 * DAY + MINUTE), seen("c", false, DAY)), DAY + MINUTE);
    }

    #[test]
    fn a_container_that_ran_between_two_looks_is_as_old_as_its_last_stop() {
        let mut ages = Ages::default();
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", true, DAY));
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", false, DAY));
        let again = Seen { stopped: Some(2 * DAY + MINUTE), ..seen("c", false, DAY) };
        assert_eq!(look(&mut ages, at(1, 2 * DAY + 3 * MINUTE, 101 * DAY), again), 2 * MINUTE);
        assert_eq!(look(&mut ages, at(1, 2 * DAY + 4 * MINUTE, 101 * DAY), seen("c", false, DAY)), 3 * MINUTE);
    }

    #[test]
    fn a_container_that_stopped_between_two_surveys_is_no_older_than_the_last_one() {
        let mut ages = Ages::default();
        look(&mut ages, at(1, DAY, 100 * DAY), seen("c", true, Duration::ZERO));
        let mut ages = reloaded(&ages);
        assert_eq!(look(&mut ages, at(1, DAY + 5 * MINUTE, 300 * DAY), seen("c", false, 200 * DAY)), 5 * MINUTE);
        let mut ages = reloaded(&Ages { stopped: HashMap::new(), ..ages });
        assert_eq!(look(&mut ages, at(1, DAY + 9 * MINUTE, 100 * DAY), seen("c", false, MINUTE)), MINUTE);
    }

    #[test]
    fn without_a_file_of_the_process_before_a_ring_is_a_day_old_at_most_and_half_the_retention() {
        let path = Path::new("/nonexistent/ages.json");
        assert_eq!(look(&mut Ages::load(path), at(1, DAY, 100 * DAY), seen("c", false, 90 * DAY)), DAY);
        assert_eq!(look(&mut Ages::load(path), at(1, DAY, 100 * DAY), seen("c", false, MINUTE)), MINUTE);
        let mut ages = Ages::default();
        ages.look(at(1, DAY, 100 * DAY), 2 * MINUTE, [seen("c", false, DAY)].into_iter());
        assert_eq!(ages.of("c"), MINUTE);
    }
}

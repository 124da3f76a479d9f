//! What is wrong, once a minute, and that all is right again.
//!
//! Events tell what happens; who looks an hour later wants to know how it stands. So as long as something is wrong, or was
//! lost since the last look, one line says what, and when nothing is any more, one line says what it came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use base::maps::map_of;

/// Between two looks. Lines that wait for longer than this, beyond what they were told to, are behind.
pub const EVERY: Duration = Duration::from_secs(60);

/// The target of its lines, which are always said.
pub const TARGET: &str = module_path!();

/// Destinations and reasons that are named in a line; others are counted.
const MOST_NAMED: usize = 5;

/// How everything is at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Destinations that take nothing.
    pub down: Vec<Down>,
    /// Containers with lines that are behind.
    pub waiting_containers: u64,
    /// Their lines that were not sent, for each destination that has not got them.
    pub waiting_lines: u64,
    /// The age of the oldest of them.
    pub oldest: Duration,
    /// Containers whose lines are in memory, because the disk takes nothing.
    pub in_memory: u64,
    /// Containers that are not shipped, because their options cannot be used, or a file that these name.
    pub unusable: u64,
    /// Settings that cannot be used; new containers are refused.
    pub bad_settings: u64,
    /// Streams that are drained without being stored: their lines are lost.
    pub unlogged: u64,
    /// What was lost since the process began.
    pub lost: Lost,
}

/// A destination that takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// In which there is no secret.
    pub name: String,
    /// Since when it takes nothing.
    pub lasts: Duration,
    /// What it answered last.
    pub reason: Option<String>,
}

/// What will never get to Loki.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Lines, by reason.
    pub lines: BTreeMap<&'static str, u64>,
    /// Bytes that were read and could not be kept.
    pub bytes: u64,
}

/// A look at the plugin, again and again.
#[derive(Debug, Default)]
pub struct Summary {
    /// What was lost at the last look.
    last: Lost,
    trouble: Option<Trouble>,
}

/// Something is wrong.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    most_waiting_lines: u64,
    /// What was lost before it began.
    before: Lost,
}

/// What a look comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it is, but for what was lost: that is since the last look.
    Wrong(Reading),
    /// It was wrong at the last look.
    Right {
        /// How long it was.
        lasted: Duration,
        /// At a look.
        most_waiting_lines: u64,
        /// From its beginning to its end.
        lost: Lost,
    },
}

// === impl Summary ===

impl Summary {
    /// What there is to say at `now`.
    pub fn look(&mut self, now: Instant, mut reading: Reading) -> Option<Outcome> {
        let last = std::mem::replace(&mut self.last, reading.lost.clone());
        let total = std::mem::take(&mut reading.lost);
        reading.lost = total.since(&last);
        if reading.is_wrong() {
            let trouble = self.trouble.get_or_insert_with(|| {
                // It was there before anybody looked.
                let lasts = reading.down.iter().map(|down| down.lasts).max().unwrap_or_default();
                Trouble { since: now.checked_sub(lasts).unwrap_or(now), most_waiting_lines: 0, before: last }
            });
            trouble.most_waiting_lines = trouble.most_waiting_lines.max(reading.waiting_lines);
            return Some(Outcome::Wrong(reading));
        }
        let Trouble { since, most_waiting_lines, before } = self.trouble.take()?;
        Some(Outcome::Right { lasted: now.duration_since(since), most_waiting_lines, lost: total.since(&before) })
    }
}

// === impl Reading ===

impl Reading {
    fn is_wrong(&self) -> bool {
        let Self { down, waiting_containers, in_memory, unusable, bad_settings, unlogged, lost, .. } = self;
        !down.is_empty()
            || [*waiting_containers, *in_memory, *unusable, *bad_settings, *unlogged, lost.lines(), lost.bytes]
                .iter()
                .any(|it| *it > 0)
    }
}

// === impl Lost ===

impl Lost {
    /// Lines for any reason.
    pub fn lines(&self) -> u64 {
        self.lines.values().sum()
    }

    fn since(&self, before: &Self) -> Self {
        let lines = self.lines.iter().map(|(reason, count)| {
            let before = before.lines.get(reason).copied().unwrap_or_default();
            (*reason, count.saturating_sub(before))
        });
        Self { lines: map_of(lines.filter(|(_, count)| *count > 0)), bytes: self.bytes.saturating_sub(before.bytes) }
    }

    /// `3 overwritten, 1 refused`; `None` when nothing was dropped.
    fn reasons(&self) -> Option<String> {
        list(self.lines.iter().map(|(reason, count)| format!("{count} {reason}")))
    }
}

/// In the order in which they come, with commas.
fn list(all: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let others = all.len().saturating_sub(MOST_NAMED);
    let mut named: Vec<_> = all.take(MOST_NAMED).collect();
    if others > 0 {
        named.push(format!("{others} more"));
    }
    (!named.is_empty()).then(|| named.join(", "))
}

// === impl Outcome ===

impl Outcome {
    /// Says it in the plugin's log.
    pub fn say(&self) {
        match self {
            Self::Wrong(reading) => {
                let longest = reading.down.iter().max_by_key(|down| down.lasts);
                warn!(
                    down = reading.down.len(),
                    waiting_lines = reading.waiting_lines,
                    waiting_containers = reading.waiting_containers,
                    oldest_seconds = reading.oldest.as_secs(),
                    dropped_lines = reading.lost.lines(),
                    discarded_bytes = reading.lost.bytes,
                    in_memory_containers = reading.in_memory,
                    unusable_containers = reading.unusable,
                    bad_settings = reading.bad_settings,
                    unlogged_streams = reading.unlogged,
                    dropped = reading.lost.reasons(),
                    destinations = list(reading.down.iter().map(Down::to_string)),
                    reason = longest.and_then(|down| down.reason.as_deref()),
                    "something is wrong"
                );
            }
            Self::Right { lasted, most_waiting_lines, lost } => info!(
                seconds = lasted.as_secs(),
                most_waiting_lines,
                dropped_lines = lost.lines(),
                discarded_bytes = lost.bytes,
                dropped = lost.reasons(),
                "all is right again"
            ),
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} s", self.name, self.lasts.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(name: &str, seconds: u64) -> Down {
        Down { name: name.into(), lasts: Duration::from_secs(seconds), reason: Some("Loki answered 503".into()) }
    }

    fn lost(lines: &[(&'static str, u64)], bytes: u64) -> Lost {
        Lost { lines: lines.iter().copied().collect(), bytes }
    }

    #[test]
    fn each_thing_that_can_be_wrong_is_said_while_it_lasts_and_once_more_when_it_is_over() {
        for wrong in [
            Reading { down: vec![down("loki", 5)], ..Reading::default() },
            Reading { waiting_containers: 1, waiting_lines: 7, ..Reading::default() },
            Reading { in_memory: 1, ..Reading::default() },
            Reading { unusable: 1, ..Reading::default() },
            Reading { bad_settings: 1, ..Reading::default() },
            Reading { unlogged: 1, ..Reading::default() },
        ] {
            let (mut summary, start) = (Summary::default(), Instant::now() + EVERY);
            assert_eq!(summary.look(start, Reading::default()), None, "nothing is wrong");
            for minute in 1..4 {
                let said = summary.look(start + minute * EVERY, wrong.clone());
                assert_eq!(said, Some(Outcome::Wrong(wrong.clone())), "in minute {minute}");
            }
            let before = wrong.down.first().map_or(Duration::ZERO, |down| down.lasts);
            let right = Outcome::Right {
                lasted: 3 * EVERY + before,
                most_waiting_lines: wrong.waiting_lines,
                lost: Lost::default(),
            };
            assert_eq!(summary.look(start + 4 * EVERY, Reading::default()), Some(right), "of {wrong:?}");
            assert_eq!(summary.look(start + 5 * EVERY, Reading::default()), None, "it is said once");
        }
    }

    #[test]
    fn what_is_lost_is_said_once_and_added_up_at_the_end() {
        let (mut summary, start) = (Summary::default(), Instant::now());
        let mut look = |minute: u32, waiting_lines, total: Lost| {
            let waiting_containers = u64::from(waiting_lines > 0);
            let reading = Reading { waiting_lines, waiting_containers, lost: total, ..Reading::default() };
            summary.look(start + minute * EVERY, reading)
        };
        let wrong = |waiting_lines, lost| {
            let waiting_containers = u64::from(waiting_lines > 0);
            Some(Outcome::Wrong(Reading { waiting_lines, waiting_containers, lost, ..Reading::default() }))
        };
        // Lost in the first minute, before anybody looked.
        assert_eq!(look(1, 0, lost(&[("refused", 2)], 0)), wrong(0, lost(&[("refused", 2)], 0)));
        assert_eq!(
            look(2, 9, lost(&[("overwritten", 5), ("refused", 2)], 10)),
            wrong(9, lost(&[("overwritten", 5)], 10))
        );
        assert_eq!(look(3, 4, lost(&[("overwritten", 5), ("refused", 3)], 10)), wrong(4, lost(&[("refused", 1)], 0)));
        let total = lost(&[("overwritten", 5), ("refused", 3)], 10);
        let right = Outcome::Right { lasted: 3 * EVERY, most_waiting_lines: 9, lost: total.clone() };
        assert_eq!(look(4, 0, total.clone()), Some(right));
        assert_eq!(look(5, 0, total.clone()), None, "what was lost before is not wrong any more");
        // The next time counts for itself.
        let more = lost(&[("overwritten", 6), ("refused", 3)], 10);
        assert_eq!(look(6, 0, more.clone()), wrong(0, lost(&[("overwritten", 1)], 0)));
        let right = Outcome::Right { lasted: EVERY, most_waiting_lines: 0, lost: lost(&[("overwritten", 1)], 0) };
        assert_eq!(look(7, 0, more), Some(right));
    }

    #[test]
    fn a_line_names_no_more_than_a_few() {
        let all: Vec<_> = (0..8).map(|at| format!("d{at}")).collect();
        assert_eq!(list(all.into_iter()).unwrap(), "d0, d1, d2, d3, d4, 3 more");
        assert_eq!(lost(&[("refused", 1), ("overwritten", 3)], 0).reasons().unwrap(), "3 overwritten, 1 refused");
        assert_eq!(Lost::default().reasons(), None);
    }
}

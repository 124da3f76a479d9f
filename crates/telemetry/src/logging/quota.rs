//! How many lines there may be in a minute.
//!
//! Each container says the same thing [once a minute](crate::throttle), so a thousand containers with the same
//! trouble would say it a thousand times. What tells an operator more after the fortieth time is the number. Warnings and
//! errors have a quota of their own, so that no news push them out, and neither one of them nor one container can use it up
//! alone.
//!
//! Lines of level debug and trace are asked for explicitly, and are not counted.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};

/// What the quotas are for. It begins with the first line after the one before is over.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Warnings and errors.
pub const TROUBLE: u32 = 60;

/// Warnings or errors from one place of the program.
pub const OF_A_KIND: u32 = 40;

/// Warnings and errors about one container.
pub const OF_A_CONTAINER: u32 = 12;

/// Other lines: a host that starts has one for each container.
pub const NEWS: u32 = 600;

/// The place in the program that a line is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(&'static str, u32);

/// Counts lines.
#[derive(Debug, Default)]
pub struct Quota(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    begun: Option<Instant>,
    kinds: HashMap<Kind, u32>,
    /// By name. There are no more than lines that were written.
    containers: HashMap<Box<str>, u32>,
    trouble: u32,
    news: u32,
    unsaid: Option<Unsaid>,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What has to be said before it: of the minute that is over.
    pub before: Option<Unsaid>,
    /// It may be written.
    pub is_said: bool,
}

/// Lines that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid {
    /// The most severe level among them.
    pub level: Level,
    /// How many there were.
    pub lines: u64,
}

// === impl Kind ===

impl Kind {
    /// That of a line.
    pub fn of(metadata: &Metadata<'static>) -> Self {
        Self(metadata.file().unwrap_or_else(|| metadata.target()), metadata.line().unwrap_or_default())
    }
}

// === impl Quota ===

impl Quota {
    /// Whether a line may be written at `now`; it is counted as one that is, or is not.
    pub fn admit(&self, now: Instant, level: Level, kind: Kind, container: Option<&str>) -> Admitted {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = minute.over(now);
        minute.begun.get_or_insert(now);
        let is_said = minute.has_room(level, kind, container);
        if !is_said {
            let unsaid = minute.unsaid.get_or_insert(Unsaid { level, lines: 0 });
            // What is more severe is less.
            *unsaid = Unsaid { level: unsaid.level.min(level), lines: unsaid.lines + 1 };
        }
        Admitted { before, is_said }
    }

    /// What was not written in the minute before `now`, if that minute is over and not reported yet.
    pub fn over(&self, now: Instant) -> Option<Unsaid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).over(now)
    }
}

// === impl Minute ===

impl Minute {
    fn over(&mut self, now: Instant) -> Option<Unsaid> {
        let is_over = self.begun.is_some_and(|begun| now.duration_since(begun) >= MINUTE);
        if is_over { take(self).unsaid } else { None }
    }

    fn has_room(&mut self, level: Level, kind: Kind, container: Option<&str>) -> bool {
        let (of_all, most) = match level {
            Level::ERROR | Level::WARN => (&mut self.trouble, TROUBLE),
            Level::INFO => (&mut self.news, NEWS),
            _ => return true,
        };
        let of_kind = self.kinds.entry(kind).or_default();
        let is_trouble = level <= Level::WARN;
        if *of_all >= most || (is_trouble && *of_kind >= OF_A_KIND) {
            return false;
        }
        if let Some(container) = container.filter(|_| is_trouble) {
            let of_container = self.containers.entry(container.into()).or_default();
            if *of_container >= OF_A_CONTAINER {
                return false;
            }
            *of_container += 1;
        }
        *of_all += 1;
        *of_kind += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Admitted = Admitted { before: None, is_said: true };
    const NOT: Admitted = Admitted { before: None, is_said: false };

    #[test]
    fn a_thousand_containers_with_the_same_trouble_leave_room_for_others_and_are_counted() {
        let (quota, start) = (Quota::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (same, other, third) = (Kind("events.rs", 1), Kind("events.rs", 2), Kind("ring.rs", 1));
        let said = |now, level, kind, times| (0..times).filter(|_| quota.admit(now, level, kind, None).is_said).count();
        assert_eq!(said(at(0), Level::WARN, same, 1000), 40);
        assert_eq!(quota.over(at(59)), None, "the minute is not over");
        assert_eq!(said(at(59), Level::ERROR, other, 15), 15);
        assert_eq!(said(at(59), Level::ERROR, third, 15), 5, "no more than 60 of all");
        assert_eq!(said(at(59), Level::INFO, third, 1000), 600, "news have their own");
        assert_eq!(said(at(59), Level::DEBUG, third, 5000), 5000);
        // The next minute begins with the next line, wherever that comes.
        let unsaid = Unsaid { level: Level::ERROR, lines: 960 + 10 + 400 };
        assert_eq!(quota.admit(at(60), Level::WARN, same, None), Admitted { before: Some(unsaid), is_said: true });
        assert_eq!(quota.admit(at(60), Level::WARN, same, None), SAID);
        assert_eq!(said(at(61), Level::WARN, same, 38), 38);
        assert_eq!(quota.admit(at(119), Level::WARN, same, None), NOT);
        assert_eq!(quota.over(at(120)), Some(Unsaid { level: Level::WARN, lines: 1 }), "no other line is needed");
        assert_eq!(quota.over(at(300)), None);
        assert_eq!(quota.admit(at(300), Level::WARN, same, None), SAID);
    }

    #[test]
    fn one_container_with_every_kind_of_trouble_leaves_room_for_others() {
        let (quota, now) = (Quota::default(), Instant::now());
        let said = |container, level| {
            let kinds = (0..100).map(|line| Kind("events.rs", line));
            kinds.filter(|kind| quota.admit(now, level, *kind, container).is_said).count()
        };
        assert_eq!(said(Some("loud"), Level::WARN), 12);
        assert_eq!(said(Some("loud"), Level::INFO), 100, "news are another matter");
        assert_eq!(said(Some("other"), Level::ERROR), 12);
        assert_eq!(said(None, Level::WARN), 36);
    }

    #[test]
    fn in_an_hour_of_trouble_there_are_as_many_lines_as_there_may_be() {
        let (quota, start) = (Quota::default(), Instant::now());
        let (mut said, mut unsaid) = (0, 0);
        for tick in 0..36_000_u64 {
            let now = start + Duration::from_millis(tick * 100);
            // A hundred kinds of trouble, ten times a second.
            let admitted = quota.admit(now, Level::WARN, Kind("events.rs", u32::try_from(tick % 100).unwrap()), None);
            said += u64::from(admitted.is_said);
            unsaid += admitted.before.map_or(0, |unsaid| unsaid.lines);
        }
        unsaid += quota.over(start + 2 * 60 * MINUTE).map_or(0, |unsaid| unsaid.lines);
        assert_eq!((said, said + unsaid), (60 * 60, 36_000));
    }
}

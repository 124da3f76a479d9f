//! The times that lines have in Loki, held against those that dockerd has noted.

use super::super::oracle::Habit;
use super::super::stage::Container;
use crate::standin::Standin;

/// The structured metadata that a line has its own time in, where that was outside of what Loki accepts.
const ORIGINAL_TIME: &str = "original_time";

/// What was found of the times of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Lines with another time than their own, which they have beside it.
    pub shifted: usize,
    /// Lines with another time than their own, which they do not have beside it, or with a wrong one.
    pub wrong: usize,
    /// Lines with no later time than the line before.
    pub falls: usize,
    last: Option<i64>,
}

// === impl Times ===

impl Times {
    /// Looks at all lines of a container, the n-th of which says its number and has the n-th of its `own` times.
    pub fn of(container: &str, own: &[i64], loki: &Standin) -> Self {
        let mut times = Self::default();
        loki.each(&[("container_name", container)], |line, time, metadata| {
            let own = Habit::number(line).and_then(|number| own.get(number.checked_sub(1)?));
            times.look(own.copied(), time, metadata);
        });
        times
    }

    fn look(&mut self, own: Option<i64>, time: i64, metadata: &[(String, String)]) {
        let original = metadata.iter().find(|(name, _)| name == ORIGINAL_TIME);
        let last = self.last.replace(time);
        match (own, original) {
            (Some(own), Some((_, original))) if nanoseconds(original.as_bytes()) == Some(own) => self.shifted += 1,
            // Times rise behind a clock of the host that was set back, too.
            (Some(own), None) if time == own || last.is_some_and(|last| time == last + 1) => {}
            _ => self.wrong += 1,
        }
        self.falls += usize::from(last.is_some_and(|last| time <= last));
    }
}

/// The time of each line of a container, by `docker logs`.
pub fn own(container: &Container) -> Vec<i64> {
    let logs = container.logs(&["--timestamps"]);
    logs.stdout.split(|byte| *byte == b'\n').filter_map(stamp).collect()
}

/// The time at the beginning of a line of `docker logs --timestamps`.
fn stamp(line: &[u8]) -> Option<i64> {
    nanoseconds(line.split(|byte| *byte == b' ').next()?)
}

fn nanoseconds(text: &[u8]) -> Option<i64> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[test]
fn times_that_are_planted_are_found() {
    let beside = |text: &str| vec![(ORIGINAL_TIME.to_owned(), text.to_owned())];
    let second = || beside("1970-01-01T00:00:01Z");
    type Planted = (Option<i64>, i64, Vec<(String, String)>);
    let found = |planted: &[Planted]| {
        let mut times = Times::default();
        planted.iter().for_each(|(own, time, metadata)| times.look(*own, *time, metadata));
        (times.shifted, times.wrong, times.falls)
    };
    assert_eq!(stamp(b"1970-01-01T00:00:01.000000005Z line 1"), Some(1_000_000_005));
    assert_eq!(found(&[(Some(5), 5, vec![]), (Some(4), 6, vec![]), (Some(9), 9, vec![])]), (0, 0, 0));
    assert_eq!(found(&[(Some(1_000_000_000), 7, second()), (Some(1_000_000_000), 8, second())]), (2, 0, 0));
    assert_eq!(found(&[(Some(5), 5, vec![]), (Some(4), 4, vec![]), (Some(6), 4, beside("?"))]), (0, 1, 2));
    for wrong in [(Some(5), 7, vec![]), (Some(5), 7, second()), (None, 7, vec![])] {
        assert_eq!(found(&[(Some(2), 2, vec![]), wrong.clone()]), (0, 1, 0), "{wrong:?}");
    }
}

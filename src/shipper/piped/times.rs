//! The timestamps with which the lines of one stream are sent.
//!
//! Lines of a stream with the same timestamp that are near each other get different ones, because Loki keeps only one
//! of equal lines. Unless a stage has set them, timestamps rise, see
//! [`Progress::time_of`](crate::shipper::progress::Progress::time_of). Timestamps that Loki does not accept rise as
//! well, even if a stage has set them.

use std::collections::VecDeque;

use crate::shipper::progress::follow;
use crate::shipper::window::Window;

/// The number of timestamps that are remembered: threads of a program log out of order, but not by much.
const REMEMBERED: usize = 8;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Times(VecDeque<Given>);

/// Lines with the same timestamp that were moved apart: the one that they had, and the one that the last of them got.
#[derive(Clone, Copy, Debug)]
struct Given {
    first: i64,
    last: i64,
}

// === impl Times ===

impl Times {
    /// The timestamp of the last line; 0 before the first.
    pub fn last(&self) -> i64 {
        self.0.back().map_or(0, |given| given.last)
    }

    /// The timestamp of the next line, whose own is `time`; with `is_own` a stage has parsed that.
    pub fn of(&mut self, time: i64, is_own: bool, window: &Window) -> i64 {
        let given = &mut self.0;
        let (said, time) = (time, window.clamp(time));
        let rises = !is_own || said != time;
        let creeps = rises
            && given.back().is_some_and(|newest| follow(newest.last, said, window) == newest.last.saturating_add(1));
        let newest = given.len().saturating_sub(1);
        let taken = given.iter().rposition(|given| (given.first..=given.last).contains(&time));
        if let Some(given) = creeps.then_some(newest).or(taken).and_then(|at| given.get_mut(at)) {
            given.last = given.last.saturating_add(1);
            return given.last;
        }
        if given.len() >= REMEMBERED {
            given.pop_front();
        }
        given.push_back(Given { first: time, last: time });
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(said: &[i64], is_own: bool) -> Vec<i64> {
        let mut times = Times::default();
        said.iter().map(|time| times.of(*time, is_own, &Window::OPEN)).collect()
    }

    #[test]
    fn times_that_stages_have_read_are_given_once() {
        assert_eq!(times(&[50, 50, 50, 60, 50, 60, 40, 70], true), [50, 51, 52, 60, 53, 61, 40, 70]);
    }

    #[test]
    fn times_of_docker_rise() {
        assert_eq!(times(&[50, 50, 60, 50, 50, 70], false), [50, 51, 60, 61, 62, 70]);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut times = Times::default();
        for time in 0..1000 {
            assert_eq!(times.of(time * 10, true, &Window::OPEN), time * 10);
            assert!(times.0.len() <= REMEMBERED);
        }
    }
}

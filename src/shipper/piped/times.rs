//! The times under which lines of one stream go to Loki.
//!
//! No two lines of a stream that say the same time and are near each other get the same one, for Loki would keep one of
//! those that are equal. Unless a stage has set them, times rise, see
//! [`Progress::time_of`](crate::shipper::progress::Progress::time_of). Times outside of what Loki accepts are no better than none, and
//! rise as well.

use std::collections::VecDeque;

use crate::shipper::progress::follow;
use crate::shipper::window::Window;

/// How many times are remembered: threads of a program log out of order, and not by much.
const REMEMBERED: usize = 8;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Times(VecDeque<Given>);

/// Lines that said the same time and were moved apart: what they said, and what the last of them was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    first: i64,
    last: i64,
}

// === impl Times ===

impl Times {
    /// The time of the last line; 0 before the first.
    pub fn last(&self) -> i64 {
        self.0.back().map_or(0, |given| given.last)
    }

    /// The time of the next line, which says `time`; with `is_own` a stage has read that.
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

//! Chooses which rings and segments to evict, because they are old or too large together; pure.
//!
//! Above `RING_BUDGET`, the least costly are evicted first:
//!
//! 1. rings of stopped containers of which everything was sent, the one that stopped first before the others;
//! 2. sent segments of stopped containers with unsent lines;
//! 3. sent segments of running containers, from the largest ring first, down to [`FLOOR`], so that `docker logs` stays
//!    useful;
//! 4. rings of stopped containers with `keep-file`, of which everything was sent;
//! 5. rings of stopped containers with unsent lines, the one that stopped first before the others: these lines are
//!    dropped, counted and logged.
//!
//! Unsent lines of a running container are never evicted for the budget; its own ring bounds them. A ring that cannot
//! be read is not evicted either.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::RingBudget;

/// Bytes of a running container's ring that stay for `docker logs`, sent or not: some 8,000 lines of the usual length.
pub const FLOOR: u64 = 1024 * 1024;

/// The operator's limits.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The longest time since the container stopped.
    pub retention: Duration,
    /// The budget of all rings together.
    pub budget: RingBudget,
}

/// A ring on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its folder.
    pub dir: PathBuf,
    /// The folder's name.
    pub container: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// The time since its container stopped.
    pub age: Duration,
    /// The time of its last write, by the time of day: orders rings that stopped at the same time.
    pub written: SystemTime,
    /// Whether a stream is attached to it.
    pub live: bool,
    /// The number of unsent lines; 0 until the ring is inspected.
    pub unsent: u64,
    /// Whether it stays past the retention (`keep-file`); false until the ring is inspected.
    pub keep: bool,
    /// Whether it could not be read, so that its unsent lines are unknown and it stays. False until the ring is
    /// inspected.
    pub unreadable: bool,
    /// Bytes of its oldest segments that were sent completely, without the active one. Empty until the ring is
    /// inspected.
    pub sent: Vec<u64>,
}

/// The reason for an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its container stopped long enough ago.
    Age,
    /// All rings together are too large.
    Budget,
}

/// The step for one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Remove the ring.
    Remove(Reason),
    /// Evict this many of its oldest segments, which were sent completely.
    Trim(usize),
}

/// Chooses the steps by index of `all`, in this order; at most one step for each ring.
pub fn choose(all: &[Found], policy: Policy, budget: u64) -> Vec<(usize, Step)> {
    let mut plan = Plan {
        all,
        budget,
        used: all.iter().map(|ring| ring.bytes).sum(),
        steps: vec![None; all.len()],
        order: Vec::new(),
    };
    let mut stopped: Vec<usize> = (0..all.len()).filter(|&at| !all[at].live && !all[at].unreadable).collect();
    stopped.sort_by_key(|&at| (std::cmp::Reverse(all[at].age), all[at].written));
    let is_sent = |at: &&usize| all[**at].unsent == 0;
    for &at in stopped.iter().filter(is_sent).filter(|at| !all[**at].keep && all[**at].age >= policy.retention) {
        plan.remove(at, Reason::Age);
    }
    plan.remove_for_budget(stopped.iter().filter(is_sent).filter(|at| !all[**at].keep));
    for &at in stopped.iter().filter(|at| !is_sent(at)) {
        while plan.is_above() && plan.trim(at, 0) {}
    }
    let mut running: Vec<usize> = (0..all.len()).filter(|&at| all[at].live).collect();
    while plan.is_above() {
        running.sort_by_key(|&at| std::cmp::Reverse(plan.bytes_of(at)));
        if !running.iter().any(|&at| plan.trim(at, FLOOR)) {
            break;
        }
    }
    plan.remove_for_budget(stopped.iter().filter(is_sent));
    plan.remove_for_budget(stopped.iter().filter(|at| !all[**at].keep));
    plan.remove_for_budget(stopped.iter());
    plan.order.into_iter().filter_map(|at| Some((at, plan.steps[at]?))).collect()
}

/// The steps chosen so far.
struct Plan<'a> {
    all: &'a [Found],
    budget: u64,
    /// Bytes of all rings after these steps.
    used: u64,
    steps: Vec<Option<Step>>,
    order: Vec<usize>,
}

impl Plan<'_> {
    fn is_above(&self) -> bool {
        self.used > self.budget
    }

    /// Bytes of a ring after these steps.
    fn bytes_of(&self, at: usize) -> u64 {
        let ring = &self.all[at];
        match self.steps[at] {
            None => ring.bytes,
            Some(Step::Trim(segments)) => ring.bytes.saturating_sub(ring.sent.iter().take(segments).sum()),
            Some(Step::Remove(_)) => 0,
        }
    }

    fn set(&mut self, at: usize, step: Step) {
        self.used = self.used.saturating_sub(self.bytes_of(at));
        if self.steps[at].replace(step).is_none() {
            self.order.push(at);
        }
        self.used += self.bytes_of(at);
    }

    fn remove(&mut self, at: usize, reason: Reason) {
        if !matches!(self.steps[at], Some(Step::Remove(_))) {
            self.set(at, Step::Remove(reason));
        }
    }

    fn remove_for_budget<'i>(&mut self, rings: impl Iterator<Item = &'i usize>) {
        for &at in rings {
            if !self.is_above() {
                return;
            }
            self.remove(at, Reason::Budget);
        }
    }

    /// Adds one more segment, if `floor` bytes stay; false when no segment is left to evict.
    fn trim(&mut self, at: usize, floor: u64) -> bool {
        let segments = match self.steps[at] {
            None => 0,
            Some(Step::Trim(segments)) => segments,
            Some(Step::Remove(_)) => return false,
        };
        let Some(&next) = self.all[at].sent.get(segments) else { return false };
        let is_enough = self.bytes_of(at).saturating_sub(next) >= floor;
        if is_enough {
            self.set(at, Step::Trim(segments + 1));
        }
        is_enough
    }
}

#[cfg(test)]
mod tests;

//! What goes when rings are old, or are too large together; pure.
//!
//! Above `RING_BUDGET`, what costs least goes first:
//!
//! 1. rings of stopped containers of which everything was sent, the one that stopped first before the others;
//! 2. what was sent of stopped containers that have other lines to send;
//! 3. what was sent of running containers, from the largest ring first, down to [`FLOOR`], so that `docker logs` stays
//!    useful;
//! 4. rings of stopped containers with `keep-file`, of which everything was sent;
//! 5. rings of stopped containers with lines that were not sent, the one that stopped first before the others: these are
//!    lost, counted and said.
//!
//! Unsent lines of a running container never go for the budget; its own ring bounds them. A ring that cannot be looked into
//! does not go either.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::RingBudget;

/// Bytes of a running container's ring that stay for `docker logs`, sent or not: some 8,000 lines of the usual length.
pub const FLOOR: u64 = 1024 * 1024;

/// The operator's wishes.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Since the container stopped.
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
    /// For how long its container has been stopped.
    pub age: Duration,
    /// When it was last written to, by the time of day: tells apart those that stopped at one time.
    pub written: SystemTime,
    /// Whether a stream is attached to it.
    pub live: bool,
    /// Lines that were not sent; 0 until it was looked into.
    pub unsent: u64,
    /// It stays past the retention (`keep-file`); false until it was looked into.
    pub keep: bool,
    /// It could not be looked into, so nobody knows what was sent: it does not go. False until that was tried.
    pub unreadable: bool,
    /// Bytes of its oldest segments, of which everything was sent; the one that is written to is not among them. None until it was
    /// looked into.
    pub sent: Vec<u64>,
}

/// Why a ring goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its container stopped long enough ago.
    Age,
    /// All rings together are too large.
    Budget,
}

/// What is to be done to one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes.
    Remove(Reason),
    /// So many of its oldest segments go, of which everything was sent.
    Trim(usize),
}

/// What is to be done, by index of `all`, in this order; at most one step for each ring.
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

/// What was chosen so far.
struct Plan<'a> {
    all: &'a [Found],
    budget: u64,
    /// Bytes of all rings when it is done.
    used: u64,
    steps: Vec<Option<Step>>,
    order: Vec<usize>,
}

impl Plan<'_> {
    fn is_above(&self) -> bool {
        self.used > self.budget
    }

    /// Bytes of a ring when it is done.
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

    /// Takes one more segment, if `floor` bytes stay; false when there is none to take.
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

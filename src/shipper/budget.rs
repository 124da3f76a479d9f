//! One memory budget bounds the batches of all containers, from reading them to Loki's answer.
//!
//! A share of it is taken before anything is read from a ring. What is read is compressed at once, the share shrinks to
//! that size, and it is given back as requests are answered. A shipper that waits for a share holds a slot of its
//! destination and no lines. Shippers that have a share need no further slot, so there is no deadlock.
//!
//! The budget is divided by destination and tenant: a route whose requests hang has no more than its part, and a
//! reserve is for routes that have nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::route::Route;

/// Bytes of all request bodies that are in flight or wait for a retry.
pub const TOTAL: u64 = 32 * 1024 * 1024;

/// The part that only routes without any share get.
const RESERVE: u64 = TOTAL / 4;

/// The smallest share. It is enough for any line: the largest with its metadata, and some more.
pub const SMALLEST: u64 = 512 << 10;

/// Bytes by which a round may exceed its room: one line of 256 KiB, 64 KiB of metadata, and what snappy adds to
/// incompressible data.
const ONE_LINE: u64 = 384 << 10;

/// A share is at most one part in this many of what is free: large enough for a busy container, and small enough that
/// the next one gets some.
const LARGEST_PART: u64 = 4;

/// The budget of the plugin.
#[derive(Debug, Default)]
pub struct Budget(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    waiting: HashMap<u64, oneshot::Sender<u64>>,
}

/// A part of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    route: Route,
    bytes: u64,
}

/// Shares and waiting requests, pure.
#[derive(Debug)]
struct Ledger {
    free: u64,
    held: HashMap<Route, Held>,
    queue: VecDeque<Ticket>,
    /// The number of the next ticket.
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: u64,
    shares: usize,
}

#[derive(Clone, Debug)]
struct Ticket {
    number: u64,
    route: Route,
    want: u64,
}

/// A place in the queue, left when it is dropped.
struct Waiting<'a> {
    budget: &'a Arc<Budget>,
    number: u64,
    route: Route,
    granted: oneshot::Receiver<u64>,
}

// === impl Budget ===

impl Budget {
    /// Waits for a share to read up to `want` bytes for a route. It may be smaller, but never below [`SMALLEST`].
    pub async fn share(self: &Arc<Self>, route: Route, want: u64) -> Share {
        let (sender, granted) = oneshot::channel();
        let number = {
            let mut state = self.state();
            let number = state.ledger.ask(route.clone(), want.saturating_add(want / 5).saturating_add(ONE_LINE));
            state.waiting.insert(number, sender);
            state.serve();
            number
        };
        let mut waiting = Waiting { budget: self, number, route, granted };
        // The sender stays in the state until it is used.
        let bytes = (&mut waiting.granted).await.unwrap_or(0);
        Share { budget: self.clone(), route: waiting.route.clone(), bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn serve(&mut self) {
        for (number, route, bytes) in self.ledger.serve() {
            let taken = self.waiting.remove(&number).is_some_and(|sender| sender.send(bytes).is_ok());
            if !taken {
                self.ledger.give_back(&route, bytes, true);
            }
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if state.waiting.remove(&self.number).is_some() {
            state.ledger.withdraw(self.number);
        } else if let Ok(bytes) = self.granted.try_recv() {
            // The share was granted, but its waiter is gone.
            state.ledger.give_back(&self.route, bytes, true);
            state.serve();
        }
    }
}

// === impl Share ===

impl Share {
    /// Bytes of lines that may be read with it; the last line may exceed them.
    pub fn room(&self) -> u64 {
        self.bytes.saturating_sub(ONE_LINE) / 6 * 5
    }

    /// Keeps `bytes`, and gives the rest back.
    pub fn shrink_to(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        if rest > 0 {
            self.bytes -= rest;
            let mut state = self.budget.state();
            state.ledger.give_back(&self.route, rest, false);
            state.serve();
        }
    }

    /// Gives `bytes` back.
    pub fn release(&mut self, bytes: u64) {
        self.shrink_to(self.bytes.saturating_sub(bytes));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.ledger.give_back(&self.route, self.bytes, true);
        state.serve();
    }
}

// === impl Ledger ===

impl Default for Ledger {
    fn default() -> Self {
        Self { free: TOTAL, held: HashMap::new(), queue: VecDeque::new(), next: 0 }
    }
}

impl Ledger {
    fn ask(&mut self, route: Route, want: u64) -> u64 {
        self.next += 1;
        self.queue.push_back(Ticket { number: self.next, route, want });
        self.next
    }

    fn withdraw(&mut self, number: u64) {
        self.queue.retain(|ticket| ticket.number != number);
    }

    /// Grants shares in the order of requests. A request that must wait does not delay the next one.
    fn serve(&mut self) -> Vec<(u64, Route, u64)> {
        let mut served = Vec::new();
        let mut at = 0;
        while self.free >= SMALLEST && at < self.queue.len() {
            let Some(bytes) = self.may_have(&self.queue[at]) else {
                at += 1;
                continue;
            };
            if let Some(Ticket { number, route, .. }) = self.queue.remove(at) {
                let held = self.held.entry(route.clone()).or_default();
                held.bytes += bytes;
                held.shares += 1;
                self.free -= bytes;
                served.push((number, route, bytes));
            }
        }
        served
    }

    fn may_have(&self, ticket: &Ticket) -> Option<u64> {
        let held = self.held.get(&ticket.route).map_or(0, |held| held.bytes);
        let others = self.held.len() as u64 + u64::from(held == 0);
        let part = (TOTAL / (others + 1)).max(SMALLEST);
        let general = self.free.saturating_sub(RESERVE);
        if general >= SMALLEST && held + SMALLEST <= part {
            let most = (part - held).min(general / LARGEST_PART).max(SMALLEST);
            return Some(ticket.want.clamp(SMALLEST, most));
        }
        (held == 0 && self.free >= SMALLEST).then_some(SMALLEST)
    }

    fn give_back(&mut self, route: &Route, bytes: u64, is_last: bool) {
        self.free += bytes;
        if let Some(held) = self.held.get_mut(route) {
            held.bytes = held.bytes.saturating_sub(bytes);
            held.shares -= usize::from(is_last);
            if held.shares == 0 {
                self.held.remove(route);
            }
        }
    }
}

#[cfg(test)]
mod tests;

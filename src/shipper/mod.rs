//! From the ring to Loki: read, join, batch, push, move the cursor.
//!
//! One [`Shipper`] a container and destination, so that one that is away holds up no other. It holds no lines while it waits: what is to be sent is in the ring, and is read when
//! there is both something to send and a [`destination::Permit`] to send it. An outage therefore costs no memory,
//! whatever the number of containers.
//!
//! ```text
//! wait for data ─▶ wait up to loki-batch-wait ─▶ permit ─▶ collect ─▶ push stdout, push stderr ─▶ save cursor ─▶ …
//!                                                  ▲                       │
//!                                                  └── back to the cursor ◀┘ on an error that time or a smaller batch can mend
//! ```
//!
//! * [`collect`]: ring to batches, pure but for the reading; a replay from the cursor makes byte-identical entries;
//! * `lines`: ring to lines; `piped`: lines to batches through a pipeline, where there is one;
//! * [`batch`]: the lines of one request;
//! * [`window`]: the times that Loki accepts, by its own clock, and what lines outside get;
//! * [`verdict`](mod@verdict): what to do after an error, pure: the retry table;
//! * [`guard`]: when lines that are refused one by one are kept instead of dropped, pure;
//! * [`backoff`]: how long to wait;
//! * [`destination`]: the connection pool, permits, and the outage that all containers of a destination share;
//! * [`events`]: what can happen, each with its log line and counter; [`counters`]: those of the whole plugin.

pub mod backoff;
pub mod batch;
pub mod collect;
pub mod counters;
pub mod destination;
pub mod events;
pub mod guard;
mod lines;
mod loki_clock;
mod note;
mod piped;
pub mod progress;
pub mod verdict;
pub mod window;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::unix_nanos as nanoseconds;
use crate::loki::Kind;
use crate::pipeline::Pipeline;
use crate::ring::{Cursors, Ring};
use backoff::Backoff;
use collect::Collector;
use counters::Dropped;
use destination::{Destination, Permit};
use events::Events;
use guard::RejectionGuard;
use verdict::{Verdict, halve, verdict};
use window::Refusal;

/// How often a shipper that may not send looks whether the ring has overwritten what it has still to send.
const LOOK: Duration = Duration::from_secs(5);

/// How a container's lines are to be sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where lines of stdout and stderr go, by [`Source::index`](crate::codec::Source::index); `None`: they are passed over.
    pub streams: [Option<Stream>; 2],
    /// What lines go through on their way.
    pub pipeline: Option<Pipeline>,
    /// Structured metadata of every line.
    pub metadata: Vec<(String, String)>,
    /// Bytes of lines and metadata in a request.
    pub batch_size: usize,
    /// The longest that a line waits for others.
    pub batch_wait: Duration,
    /// Lines that were not sent must not be overwritten, see [`Ring::protect_from`].
    pub protects: bool,
    /// Lines that were sent are not kept, see [`Ring::retire_before`].
    pub forgets: bool,
    /// Tries before a batch is given up; `None`: for as long as the ring holds it.
    pub attempts: Option<NonZeroU32>,
    /// Between tries.
    pub backoff: Backoff,
}

/// Where lines of one output go.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The label string.
    pub labels: String,
    /// The labels, for a pipeline.
    pub pairs: Vec<(String, String)>,
    /// The tenant, in place of the destination's.
    pub tenant: Option<String>,
}

/// Ships one container.
#[derive(Debug)]
pub struct Shipper {
    plan: Plan,
    destination: Arc<Destination>,
    ring: Arc<Ring>,
    collector: Collector,
    cursors: Arc<Mutex<Cursors>>,
    /// Which of the cursors is this one's.
    cursor: usize,
    follow: watch::Receiver<crate::ring::Published>,
    /// How many streams of the container are being logged.
    live: watch::Receiver<usize>,
    /// The plugin is going down.
    shutdown: watch::Receiver<bool>,
    events: Arc<Events>,
    guard: RejectionGuard,
}

/// Why [`Shipper::run`] came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing is left to send and nothing more is to come, for now.
    CaughtUp,
    /// The plugin is going down; the rest is sent by the next one.
    Shutdown,
}

/// What became of one round of pushes.
enum Round {
    /// Everything collected is with Loki, or was given up and counted. `reached`: Loki itself said so.
    Settled { reached: bool },
    /// Back to the cursor; later, or at once in another form.
    Again { later: bool },
}

// === impl Shipper ===

impl Shipper {
    /// A shipper that goes on where the cursor number `cursor` stands. The cursors are shared with the shippers to
    /// other destinations, and with whoever syncs them.
    #[must_use]
    pub fn new(
        ring: &Arc<Ring>,
        (cursors, cursor): (Arc<Mutex<Cursors>>, usize),
        plan: Plan,
        destination: Arc<Destination>,
        live: watch::Receiver<usize>,
        shutdown: watch::Receiver<bool>,
        events: Arc<Events>,
    ) -> Self {
        let collector = Collector::new(ring, lock(&cursors).saved(cursor), &plan);
        let (ring, follow) = (ring.clone(), ring.follow());
        let guard = RejectionGuard::default();
        let shipper =
            Self { plan, destination, ring, collector, cursors, cursor, follow, live, shutdown, events, guard };
        shipper.protect();
        shipper
    }

    /// Whether everything that was published is sent, and no line is held whose end has not come.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        !self.collector.is_behind(&self.follow.borrow()) && !self.collector.holds_lines()
    }

    /// Ships until everything is sent and no stream is live, or the plugin goes down.
    pub async fn run(&mut self) -> Done {
        let mut failures = 0;
        loop {
            if *self.shutdown.borrow() {
                return Done::Shutdown;
            }
            let ended = *self.live.borrow_and_update() == 0;
            let published = *self.follow.borrow_and_update();
            let deadline = self.collector.deadline().map(|time| time.saturating_sub(nanoseconds()));
            let is_due = deadline.is_some_and(|left| left <= 0);
            let is_owed = self.collector.is_behind(&published) || is_due || (ended && self.collector.holds_lines());
            if !is_owed {
                if ended {
                    return Done::CaughtUp;
                }
                tokio::select! {
                    _ = self.follow.changed() => {}
                    _ = self.live.changed() => {}
                    _ = self.shutdown.changed() => {}
                    () = sleep_for(deadline) => {}
                }
                continue;
            }
            if let Some(left) = self.collector.not_before().map(|time| time.saturating_sub(nanoseconds()))
                && left > 0
            {
                // A stage limits the rate: shipping waits, and not the container.
                tokio::select! {
                    _ = self.shutdown.changed() => {}
                    () = sleep_for(Some(left)) => {}
                }
                continue;
            }
            // What is tried again, and what did not fit into the batch before, has waited.
            if !ended && failures == 0 && !self.collector.has_more() {
                self.gather().await;
            }
            if self.plan.streams.iter().all(Option::is_none) {
                self.pass_over();
                continue;
            }
            let Some(permit) = self.permit().await else { continue };
            let ended = *self.live.borrow() == 0;
            let published = *self.follow.borrow();
            self.collector.set_batch_size(self.destination.batch_size(self.plan.batch_size));
            self.collector.collect(&published, ended, self.destination.takes_metadata(), &self.destination.now());
            if self.collector.is_clamped() {
                self.save();
            }
            match self.push_all(failures).await {
                Round::Settled { reached } => {
                    failures = 0;
                    if reached {
                        permit.succeeded();
                    }
                    self.save();
                    self.events.lost(&self.collector.take_toll());
                    // The next batch may have to wait for a permit, and so may those of a thousand containers.
                    self.collector.rest();
                }
                Round::Again { later } => {
                    self.collector.rewind();
                    self.events.lost(&self.collector.take_toll());
                    if !later {
                        continue;
                    }
                    failures += 1;
                    if self.destination.is_down() && self.plan.attempts.is_none() {
                        // The next try is everybody's.
                        permit.failed(&self.backoff());
                    } else {
                        drop(permit);
                        self.wait(self.backoff().delay(failures)).await;
                    }
                }
            }
        }
    }

    /// Moves the cursor behind lines of which none is to be sent, whatever state Loki is in.
    fn pass_over(&mut self) {
        let (ended, published) = (*self.live.borrow() == 0, *self.follow.borrow());
        self.collector.collect(&published, ended, false, &self.destination.now());
        // Nobody misses in Loki what was not to get there.
        self.collector.take_toll();
        self.collector.rest();
        self.save();
    }

    /// Waits for the right to send; `None` when the plugin goes down. In a long outage that takes hours, and what the
    /// ring loses meanwhile is said when it happens and not when it is over.
    async fn permit(&mut self) -> Option<Permit> {
        let destination = self.destination.clone();
        let mut admitted = pin!(destination.admit(self.plan.attempts.is_none()));
        loop {
            tokio::select! {
                permit = &mut admitted => return Some(permit),
                _ = self.shutdown.changed() => return None,
                () = sleep(LOOK) => {}
            }
            if self.collector.is_overtaken() {
                self.collector.rewind();
                self.events.lost(&self.collector.take_toll());
                self.save();
            }
        }
    }

    /// Lets a batch grow for as long as a line may wait, unless the ring fills faster than that.
    async fn gather(&mut self) {
        let deadline = Instant::now() + self.plan.batch_wait;
        while !self.collector.is_enough(&self.follow.borrow()) {
            tokio::select! {
                () = sleep_until(deadline) => return,
                _ = self.follow.changed() => {}
                _ = self.live.changed() => if *self.live.borrow() == 0 { return },
                _ = self.shutdown.changed() => return,
            }
        }
    }

    /// Between tries of a batch. Where their number is not bounded, neither a rate limit nor an outage that is over may
    /// go unnoticed for minutes.
    fn backoff(&self) -> Backoff {
        let typed = self.plan.backoff;
        if self.plan.attempts.is_none() { typed.capped(destination::LONGEST_PROBE) } else { typed }
    }

    async fn wait(&mut self, delay: Duration) {
        tokio::select! {
            () = sleep(delay) => {}
            _ = self.shutdown.changed() => {}
        }
    }

    /// Sends what was collected, a request for each source, and saves how far that is.
    async fn push_all(&mut self, failures: u32) -> Round {
        let mut reached = false;
        for at in 0..self.collector.batches() {
            let Some(batch) = self.collector.batch(at) else { continue };
            if *self.shutdown.borrow() {
                // What was not sent yet is the next process's; what is on its way has little time to come back.
                return Round::Again { later: false };
            }
            let (body, entries, bytes) = (batch.body(), batch.entries(), batch.bytes() as u64);
            let mut refused = 0;
            let tenant = match self.plan.pipeline {
                Some(_) => self.collector.tenant(at),
                None => self.plan.streams[at].as_ref().and_then(|stream| stream.tenant.as_deref()),
            };
            match self.destination.push(body, tenant).await.outcome {
                Ok(()) => {
                    reached = true;
                    self.guard.accepted();
                    self.events.sent(entries as u64, bytes, nanoseconds());
                }
                Err(error) => {
                    self.events.failed(&error, nanoseconds());
                    let mut what = verdict(&error, entries, failures + 1, self.plan.attempts);
                    if what == Verdict::WithoutMetadata && !self.destination.takes_metadata() {
                        what = halve(entries);
                    }
                    let what = self.guard.rule(what, failures + 1, self.plan.attempts);
                    // What is given up was not judged: it was not answered, or by whoever keeps the door.
                    let is_judged = !matches!(what, Verdict::GiveUp { .. });
                    reached |= is_judged && error.kind().is_some_and(Kind::is_judgement);
                    match what {
                        Verdict::Retry => {
                            // An answer about one stream says nothing of the destination; silence and refusals do.
                            if error.kind() == Some(Kind::RateLimit) {
                                self.events.rate_limited(&error);
                            } else {
                                self.destination.went_down(&error);
                            }
                            self.events.retried(entries as u64);
                            return Round::Again { later: true };
                        }
                        Verdict::Pause | Verdict::Reject => {
                            self.events.paused(&error);
                            self.events.retried(entries as u64);
                            return Round::Again { later: true };
                        }
                        Verdict::Split => {
                            self.events.retried(entries as u64);
                            self.collector.split(at);
                            return Round::Again { later: false };
                        }
                        Verdict::WithoutMetadata => {
                            self.destination.refuse_metadata();
                            self.events.retried(entries as u64);
                            return Round::Again { later: false };
                        }
                        Verdict::Clamp { refusal, .. }
                            if self.collector.clamp(at, &refusal, &self.destination.now()) =>
                        {
                            self.events.retried(entries as u64);
                            return Round::Again { later: false };
                        }
                        // No time that is accepted is in sight, as when Loki's own clock was set back by hours; it comes.
                        Verdict::Clamp { refusal: Refusal { too_new: Some(_), .. }, .. } => {
                            self.events.retried(entries as u64);
                            return Round::Again { later: true };
                        }
                        Verdict::Clamp { dropped, .. } | Verdict::Settled { dropped } => {
                            let taken = (entries as u64).saturating_sub(dropped);
                            if taken > 0 {
                                self.guard.accepted();
                                self.events.sent(taken, bytes * taken / entries as u64, nanoseconds());
                            }
                            self.events.dropped(Dropped::Refused, dropped, &error);
                            refused = dropped;
                        }
                        Verdict::GiveUp { dropped } => self.events.dropped(Dropped::GivenUp, dropped, &error),
                    }
                }
            }
            self.collector.acknowledge(at, refused);
            self.save();
        }
        Round::Settled { reached }
    }

    fn protect(&self) {
        if self.plan.protects {
            self.ring.protect_from(self.cursor, self.collector.checkpoint().0.seq);
        }
    }

    fn save(&self) {
        self.protect();
        let (position, note) = self.collector.checkpoint();
        let mut cursors = lock(&self.cursors);
        if cursors.saved(self.cursor) == Some((position, note)) {
            return;
        }
        let saved = cursors.save(self.cursor, position, note);
        let sent = cursors.furthest_behind().filter(|_| self.plan.forgets && saved.is_ok());
        drop(cursors);
        if let Some(sent) = sent {
            self.ring.retire_before(sent);
        }
        if let Err(error) = saved {
            self.events.cursor_not_saved(&error);
        }
    }
}

/// Waits for so many nanoseconds, or for ever.
async fn sleep_for(nanoseconds: Option<i64>) {
    match nanoseconds {
        Some(left) => sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0))).await,
        None => std::future::pending().await,
    }
}

fn lock(cursors: &Mutex<Cursors>) -> MutexGuard<'_, Cursors> {
    cursors.lock().unwrap_or_else(PoisonError::into_inner)
}

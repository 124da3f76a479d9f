//! The shipper sends one container's lines from the ring to Loki: read, join, batch, push, move the cursor.
//!
//! There is one [`Shipper`] for each container and destination, so an outage of one destination delays no other. A
//! shipper holds no lines while it waits: unsent lines are in the ring. It reads them when there is something to send
//! and a [`destination::Permit`] to send it. So an outage costs no memory, whatever the number of containers.
//!
//! ```text
//! wait for data ─▶ wait up to loki-batch-wait ─▶ permit ─▶ collect ─▶ push stdout, push stderr ─▶ save cursor ─▶ …
//!                                                  ▲                       │
//!                                                  ▲                       │
//!                                                  └── back to the cursor ◀┘ on an error that time or a smaller batch can fix
//!
//! * [`collect`]: ring to batches, pure except for the reading; a replay from the cursor makes byte-identical entries;
//! * `lines`: ring to lines; `piped`: lines to batches through a pipeline;
//! * [`batch`]: the lines of one request;
//! * [`window`]: the timestamps that Loki accepts, by Loki's clock, and how others are clamped;
//! * `lane`: pushes what was collected; a stream that is rejected or limited gets its own lane; `scope`: what a lane
//!   carries; `way`: what the lanes of a container share, and their one cursor;
//! * [`verdict`](mod@verdict): the retry policy, pure: error to action;
//! * [`strikes`]: when a pipeline costs too much again and again, pure; `evaluating`: the mark that a process leaves
//!   when it dies of that;
//! * [`guard`]: when single lines that are rejected are kept instead of dropped, pure;
//! * [`backoff`]: how long to wait; [`breaker`]: the circuit breaker, pure; [`gate`]: a breaker at which many shippers
//!   wait;
//! * [`destination`]: the connection pool and what all containers of a destination share; [`slots`]: how many requests
//!   are in flight, and of which streams;
//! * [`budget`]: how much memory all containers share; [`route`]: the key of pushes that wait and fail together;
//! * [`events`]: each event with its log line and counter; [`counters`]: the counters of the whole plugin.

pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod budget;
pub mod collect;
pub mod counters;
pub mod destination;
mod evaluating;
pub mod events;
pub mod gate;
pub mod guard;
mod lane;
mod lines;
mod loki_clock;
mod metadata;
mod note;
mod piped;
pub mod progress;
pub mod route;
pub mod scope;
pub mod slots;
pub mod strikes;
pub mod until;
pub mod verdict;
mod way;
pub mod window;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use backoff::Backoff;
use base::clock::unix_nanos as nanoseconds;
use collect::End;
use destination::{Destination, Permit};
use evaluating::Evaluating;
pub use evaluating::MOST_DEATHS;
use events::Events;
use lane::{LOOK, Lane};
use promtail::pipeline::{self, Pipeline};
use ring::{Cursors, Ring};
use scope::Key;
use until::Until;
use way::Way;

/// How a container's lines are to be sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The streams of stdout and stderr, by [`Source::index`](dockerd::Source::index); lines of an output with `None`
    /// are skipped.
    pub streams: [Option<Stream>; 2],
    /// The stages that lines pass before they are sent.
    pub pipeline: Option<Pipeline>,
    /// Structured metadata of every line.
    pub metadata: Vec<(String, String)>,
    /// Bytes of lines and metadata in a request.
    pub batch_size: usize,
    /// The longest time that a line waits for others.
    pub batch_wait: Duration,
    /// Whether unsent lines must not be overwritten, see [`Ring::protect_from`].
    pub protects: bool,
    /// Whether sent lines are removed, see [`Ring::retire_before`].
    pub forgets: bool,
    /// Tries before a batch is given up; `None`: as long as the ring holds it.
    pub attempts: Option<NonZeroU32>,
    /// The entry at which this plan ends, because another plan sends what follows.
    pub until: Until,
    /// The delay between tries.
    pub backoff: Backoff,
}

/// The stages that lines pass; they may have to be read from files first.
#[derive(Clone, Debug)]
pub enum Stages {
    /// Lines wait in the ring: the stages may be there to redact them.
    Opening,
    /// Lines can be sent, through these.
    Ready(Option<Pipeline>),
}

/// Stages that are not ready yet, and the registry in which they count.
#[derive(Debug)]
struct Awaited {
    stages: watch::Receiver<Stages>,
    counts: Option<Arc<pipeline::Registry>>,
}

/// The stream of one output in Loki.
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
    way: Arc<Way>,
    /// The lane that carries every stream that no other lane carries.
    first: Lane,
    /// Lanes that are behind the first one and at work.
    behind: JoinSet<Lane>,
    /// Lanes that have nothing to do until the first lane has read further.
    parked: Vec<Lane>,
    /// The keys of the lanes that are behind.
    keys: Vec<Key>,
    /// How far those lanes may read: as far as the first lane has.
    end: watch::Sender<End>,
    follow: watch::Receiver<ring::Published>,
    live: watch::Receiver<usize>,
    shutdown: watch::Receiver<bool>,
    /// The plan's pipeline until it is ready; nothing is sent before.
    awaited: Option<Awaited>,
    /// Records where a line of a pipeline cost too much, for the next process.
    evaluating: Evaluating,
}

/// Why [`Shipper::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing is left to send, and no more lines come for now.
    CaughtUp,
    /// The plugin shuts down; the next process sends the rest.
    Shutdown,
}

// === impl Shipper ===

impl Shipper {
    /// A shipper that continues at the cursor number `cursor`. It shares the cursors with the shippers to other
    /// destinations, and with the task that syncs them.
    #[must_use]
    pub fn new(
        ring: &Arc<Ring>,
        cursors: (Arc<Mutex<Cursors>>, usize),
        plan: Plan,
        destination: Arc<Destination>,
        live: watch::Receiver<usize>,
        shutdown: watch::Receiver<bool>,
        events: Arc<Events>,
    ) -> Self {
        Self::on(Way::new(ring, cursors, plan, destination, live, shutdown, events))
    }

    fn on(way: Way) -> Self {
        let first = Lane::first(&way);
        if way.plan.protects {
            way.protect_from(first.collector().checkpoint().0.seq);
        }
        let end = watch::Sender::new(first.collector().end());
        let (behind, parked, keys) = (JoinSet::new(), Vec::new(), Vec::new());
        let (follow, live, shutdown) = (way.follow.clone(), way.live.clone(), way.shutdown.clone());
        let evaluating = way.evaluating(first.collector().checkpoint().0.seq);
        if evaluating.is_deadly() {
            way.events.fail_closed();
        }
        Self { way: Arc::new(way), first, behind, parked, keys, end, follow, live, shutdown, awaited: None, evaluating }
    }

    /// Sends nothing until these stages are ready; they count in `counts`.
    #[must_use]
    pub fn awaiting(mut self, stages: watch::Receiver<Stages>, counts: Option<Arc<pipeline::Registry>>) -> Self {
        self.awaited = Some(Awaited { stages, counts });
        self
    }

    /// Whether all published entries are sent and no incomplete line is held.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let collector = self.first.collector();
        self.keys.is_empty() && !collector.is_behind(&self.follow.borrow()) && !collector.holds_lines()
    }

    /// Ships until everything is sent and no stream is live, or the plugin shuts down.
    pub async fn run(&mut self) -> Done {
        loop {
            if *self.shutdown.borrow() {
                // Requests in flight get only a short time to be answered.
                while self.behind.join_next().await.is_some() {}
                self.evaluating.end();
                return Done::Shutdown;
            }
            if self.way.events.has_failed_closed() && self.way.plan.pipeline.is_some() {
                self.stay_closed().await;
                continue;
            }
            self.look_behind();
            self.live.mark_unchanged();
            let ended = self.way.has_ended();
            let published = *self.follow.borrow_and_update();
            let collector = self.first.collector();
            let deadline = collector.deadline();
            let is_due = deadline.is_some_and(|deadline| deadline <= Instant::now());
            let is_owed = collector.is_behind(&published) || is_due || (ended && collector.holds_lines());
            if !is_owed {
                if ended && self.keys.is_empty() {
                    return Done::CaughtUp;
                }
                let of_parked = self.parked.iter().filter_map(|lane| lane.collector().deadline()).min();
                let deadline = deadline.into_iter().chain(of_parked).min();
                tokio::select! {
                    _ = self.follow.changed() => {}
                    _ = self.live.changed() => {}
                    _ = self.shutdown.changed() => {}
                    Some(lane) = self.behind.join_next() => self.parked.extend(lane),
                    () = sleep_to(deadline) => {}
                }
                continue;
            }
            if self.awaited.is_some() && self.way.plan.streams.iter().any(Option::is_some) {
                self.open().await;
                continue;
            }
            if self.first.is_throttled(&self.way).await {
                continue;
            }
            // A retry, and what did not fit into the batch before, has waited already.
            if !ended && !self.first.has_failed() && !collector.has_more() {
                self.gather().await;
            }
            let plan = &self.way.plan;
            let passes_over = plan.streams.iter().all(Option::is_none)
                || (plan.pipeline.is_none() && self.first.collector().sends() == [false; 2]);
            if passes_over {
                self.first.pass_over(&self.way);
                if self.first.collector().has_more() {
                    yield_now().await;
                }
                continue;
            }
            let Some(permit) = self.permit().await else { continue };
            if self.way.plan.pipeline.is_some() {
                let collector = self.first.collector();
                self.evaluating.begin(collector.checkpoint().0.seq, collector.is_suspect());
            }
            let mut children = Vec::new();
            self.first.send(&self.way, permit, &mut children, self.keys.len()).await;
            self.keys.extend(children.iter().filter_map(Lane::key).cloned());
            self.parked.extend(children);
            if self.first.collector().has_more() {
                // Other containers get their turn, also when a round has sent nothing.
                yield_now().await;
            }
        }
    }

    /// Evaluates and sends nothing, and blocks no container, until the plugin shuts down or a later plan takes over;
    /// then the lines are skipped. Lines that the ring loses meanwhile are logged.
    async fn stay_closed(&mut self) {
        self.behind.shutdown().await;
        self.parked.clear();
        self.keys.clear();
        self.way.protect_nothing();
        if self.way.plan.until.is_set() {
            let end = self.way.plan.until.get().min(self.follow.borrow().next_seq);
            self.first.look(&self.way);
            self.way.events.passed_over(end.saturating_sub(self.first.collector().checkpoint().0.seq));
            self.evaluating.end();
            *self = Self::on(self.way.without_lines());
            return;
        }
        tokio::select! {
            _ = self.live.changed() => {}
            _ = self.shutdown.changed() => {}
            () = sleep(LOOK) => {}
        }
        self.first.look(&self.way);
    }

    /// Waits until the stages are ready, or the plugin shuts down. Lines that the ring loses meanwhile are logged when
    /// that happens.
    async fn open(&mut self) {
        let Some(awaited) = &mut self.awaited else { return };
        let ready = match &*awaited.stages.borrow_and_update() {
            Stages::Opening => None,
            Stages::Ready(pipeline) => Some(pipeline.clone()),
        };
        if let Some(pipeline) = ready {
            let counts = awaited.counts.take();
            // Nothing was read before this point.
            *self = Self::on(self.way.through(pipeline.map(|pipeline| pipeline.counting_in(counts))));
            return;
        }
        tokio::select! {
            Ok(()) = awaited.stages.changed() => {}
            _ = self.shutdown.changed() => {}
            () = sleep(LOOK) => {}
        }
        self.first.look(&self.way);
    }

    /// Lets lanes that are behind continue, and joins those that have caught up with the first lane.
    fn look_behind(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let now = self.first.collector().end();
        self.end.send_if_modified(|end| {
            let is_further = end.seq < now.seq;
            if is_further {
                *end = now;
            }
            is_further
        });
        while let Some(lane) = self.behind.try_join_next() {
            self.parked.extend(lane);
        }
        let end = *self.end.borrow();
        // Another lane may have waited for one that joins.
        let mut may_go_on = true;
        while std::mem::take(&mut may_go_on) {
            for mut lane in std::mem::take(&mut self.parked) {
                lane.go_on_to(&self.way, end);
                if lane.has_work(&self.way) {
                    self.behind.spawn(lane.catch_up(self.way.clone(), self.end.subscribe()));
                } else if lane.may_join(&self.first) && !self.is_left_to(&lane) {
                    self.keys.retain(|key| Some(key) != lane.key());
                    self.first.join(lane, &self.way);
                    may_go_on = true;
                } else {
                    self.parked.push(lane);
                }
            }
        }
    }

    /// Whether another lane carries the rest of this lane's tenant. The first lane excludes that tenant and the
    /// tenant's lane excludes this stream, so joining the first lane now would leave the stream without a lane.
    fn is_left_to(&self, lane: &Lane) -> bool {
        let Some(Key::Stream(labels)) = lane.key() else { return false };
        self.keys.iter().any(|key| matches!(key, Key::Tenant(_)) && key.has(labels, lane.tenant()))
    }

    /// Waits for a permit to send, or until a lane that was behind stops.
    async fn permit(&mut self) -> Option<Permit> {
        tokio::select! {
            permit = self.first.admit(&self.way) => permit,
            Some(lane) = self.behind.join_next() => {
                self.parked.extend(lane);
                None
            }
        }
    }

    /// Waits up to `loki-batch-wait` so that the batch grows, unless the ring fills faster.
    async fn gather(&mut self) {
        let deadline = Instant::now() + self.way.plan.batch_wait;
        while !self.first.collector().is_enough(&self.follow.borrow()) {
            tokio::select! {
                () = sleep_until(deadline) => return,
                _ = self.follow.changed() => {}
                _ = self.live.changed() => if self.way.has_ended() { return },
                _ = self.shutdown.changed() => return,
            }
        }
    }
}

/// Waits until `deadline`, or for ever.
async fn sleep_to(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

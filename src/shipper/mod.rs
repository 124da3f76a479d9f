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
//! * `lane`: pushes what was collected; a stream that is refused or limited gets a lane of its own; `scope`: what a lane carries; `way`: what
//!   the lanes of a container share, and their one cursor;
//! * [`verdict`](mod@verdict): what to do after an error, pure: the retry table;
//! * [`strikes`]: when a pipeline costs too much again and again, pure; `evaluating`: what is left of a process that died of it;
//! * [`guard`]: when lines that are refused one by one are kept instead of dropped, pure;
//! * [`backoff`]: how long to wait; [`breaker`]: when all wait together, pure; [`gate`]: a breaker that many wait at;
//! * [`destination`]: the connection pool, and what all containers of a destination share; [`slots`]: how many requests at once, and of whom;
//! * [`budget`]: how much all containers have in memory; [`route`]: what pushes have in common that wait and fail together;
//! * [`events`]: what can happen, each with its log line and counter; [`counters`]: those of the whole plugin.

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
    /// Where lines of stdout and stderr go, by [`Source::index`](dockerd::Source::index); `None`: they are passed over.
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
    /// Where it ends, because what follows is another's.
    pub until: Until,
    /// Between tries.
    pub backoff: Backoff,
}

/// The stages that lines go through, which may have to come from files first.
#[derive(Clone, Debug)]
pub enum Stages {
    /// Lines wait in the ring: the stages may be there to hide what must not be sent.
    Opening,
    /// Lines can be sent, through these.
    Ready(Option<Pipeline>),
}

/// Stages that are not there yet, and where they are to count.
#[derive(Debug)]
struct Awaited {
    stages: watch::Receiver<Stages>,
    counts: Option<Arc<pipeline::Registry>>,
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
    way: Arc<Way>,
    /// The lane that carries all but what the others do.
    first: Lane,
    /// Lanes that are behind and at work.
    behind: JoinSet<Lane>,
    /// Lanes that are behind and have nothing to do before the first has got further.
    parked: Vec<Lane>,
    /// What lanes carry that are behind.
    keys: Vec<Key>,
    /// How far they may read: as far as the first lane.
    end: watch::Sender<End>,
    follow: watch::Receiver<ring::Published>,
    live: watch::Receiver<usize>,
    shutdown: watch::Receiver<bool>,
    /// The plan's pipeline, as long as it is not there; nothing is sent meanwhile.
    awaited: Option<Awaited>,
    /// Where a line of a pipeline cost too much, for a process that comes after this one.
    evaluating: Evaluating,
}

/// Why [`Shipper::run`] came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing is left to send and nothing more is to come, for now.
    CaughtUp,
    /// The plugin is going down; the rest is sent by the next one.
    Shutdown,
}

// === impl Shipper ===

impl Shipper {
    /// A shipper that goes on where the cursor number `cursor` stands. The cursors are shared with the shippers to
    /// other destinations, and with whoever syncs them.
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

    /// Whether everything that was published is sent, and no line is held whose end has not come.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let collector = self.first.collector();
        self.keys.is_empty() && !collector.is_behind(&self.follow.borrow()) && !collector.holds_lines()
    }

    /// Ships until everything is sent and no stream is live, or the plugin goes down.
    pub async fn run(&mut self) -> Done {
        loop {
            if *self.shutdown.borrow() {
                // What is on its way has little time to come back.
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
            // What is tried again, and what did not fit into the batch before, has waited.
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
                // Others have their turn, also when a round has sent nothing.
                yield_now().await;
            }
        }
    }

    /// Evaluates and sends nothing, and keeps no container waiting, until the plugin goes down or another takes the container's place: then
    /// its lines are passed over. What the ring loses meanwhile is said.
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

    /// Waits until the stages are ready, or the plugin goes down. What the ring loses meanwhile is said when it happens.
    async fn open(&mut self) {
        let Some(awaited) = &mut self.awaited else { return };
        let ready = match &*awaited.stages.borrow_and_update() {
            Stages::Opening => None,
            Stages::Ready(pipeline) => Some(pipeline.clone()),
        };
        if let Some(pipeline) = ready {
            let counts = awaited.counts.take();
            // Nothing was read so far.
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

    /// Lets lanes that are behind go on, and those that have caught up go back into the first.
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
        // One that goes back may be what another has waited for.
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

    /// Whether another lane carries all of a tenant but this lane's stream: it would carry that too, or nobody would.
    fn is_left_to(&self, lane: &Lane) -> bool {
        let Some(Key::Stream(labels)) = lane.key() else { return false };
        self.keys.iter().any(|key| matches!(key, Key::Tenant(_)) && key.has(labels, lane.tenant()))
    }

    /// Waits for the right to send, or for something else to do.
    async fn permit(&mut self) -> Option<Permit> {
        tokio::select! {
            permit = self.first.admit(&self.way) => permit,
            Some(lane) = self.behind.join_next() => {
                self.parked.extend(lane);
                None
            }
        }
    }

    /// Lets a batch grow for as long as a line may wait, unless the ring fills faster than that.
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

/// Waits until then, or for ever.
async fn sleep_to(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

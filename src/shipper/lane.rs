//! A lane is one pass over a container's ring, for one destination.
//!
//! In the normal case one lane carries all streams. When a stream is rejected or limited while others may proceed, it
//! is [held back](Lane::hold_back): a second lane begins where the first one stood, carries that stream alone, and
//! waits by itself, for hours if necessary. The first lane continues without that stream. The lane behind reads no
//! further than the first one has. When it has caught up and its pushes succeed, it joins the first lane.
//!
//! Unsent lines of a lane are on disk only. The cursor stays with the slowest lane (see [`super::way`]), so the ring
//! keeps its unsent lines; the first lane may run ahead as far as the ring goes. Beyond that the ring overwrites lines
//! that the slow lane has not sent, and they are counted as dropped. With `loki-backpressure=block` the container waits
//! instead.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::breaker::Standing;
use super::collect::{Collector, End};
use super::counters::Dropped;
use super::destination::Permit;
use super::guard::RejectionGuard;
use super::metadata::Trial;
use super::nanoseconds;
use super::scope::Key;
use super::verdict::{Verdict, halve, indivisible, verdict};
use super::way::{FIRST, Way};
use super::window::Refusal;
use loki::{Kind, PushError};

/// How often a lane that waits checks whether the ring has overwritten its unsent lines.
pub const LOOK: Duration = Duration::from_secs(5);

/// Bytes that a round of a pipeline asks for, for all of its streams.
const LARGEST_ROUND: u64 = 4 << 20;

/// The largest number of lanes of one container and destination. Each lane reads the ring again, and has a copy of the
/// state of the pipeline's stages. Beyond it the lane that should be split waits as a whole.
pub const MOST_LANES: usize = 16;

/// The number of streams whose rejections are remembered. Beyond it all are forgotten, and each stream may lose a few
/// lines more.
const MOST_GUARDS: usize = 1024;

/// Lanes of single streams of one tenant; the next lane takes all other streams of the tenant.
const MOST_OF_TENANT: usize = 2;

/// See the [module](self).
#[derive(Debug)]
pub struct Lane {
    number: u64,
    /// The streams that only this lane carries; `None`: all that no other lane carries.
    key: Option<Key>,
    collector: Collector,
    /// Failed tries of the next batch.
    failures: u32,
    /// When this lane may retry.
    resume: Option<Instant>,
    /// The tenant whose breaker is asked before anything is read; `None` in it is the destination's own.
    waits_for: Option<Option<String>>,
    /// Streams whose lines were rejected one by one since one was accepted.
    guards: HashMap<u64, RejectionGuard>,
    metadata: Trial,
}

/// The result of one round of pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// All collected lines were accepted, given up and counted, or are carried by another lane.
    Settled { is_pushed: bool },
    /// Reads from the cursor again at once, to push the lines in another form.
    Again,
    /// Reads from the cursor again when the lane may proceed.
    Wait,
}

// === impl Lane ===

impl Lane {
    /// The lane that carries all streams.
    pub fn first(way: &Way) -> Self {
        let collector = Collector::new(&way.ring, Some(way.start()), &way.plan);
        let waits_for = way.only_tenant().map(|tenant| tenant.map(str::to_owned));
        way.mark(FIRST, &collector);
        Self {
            number: FIRST,
            key: None,
            collector,
            failures: 0,
            resume: None,
            waits_for,
            guards: HashMap::new(),
            metadata: Trial::default(),
        }
    }

    /// The streams that only this lane carries.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The tenant of those streams, when it is not the destination's.
    pub fn tenant(&self) -> Option<&str> {
        match self.key.as_ref()? {
            Key::Source(_) => None,
            Key::Stream(labels) => labels.tenant(),
            Key::Tenant(tenant) => tenant.as_deref(),
        }
    }

    /// The collector with which it reads.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Whether the last push failed.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Lets the lane read up to `end`, once it has reached its former end.
    pub fn go_on_to(&mut self, way: &Way, end: End) {
        if self.collector.is_at_end() {
            self.collector.end_at(end);
            way.events.lost(&self.collector.take_toll());
        }
    }

    /// Whether a lane that is behind has anything to do.
    pub fn has_work(&self, way: &Way) -> bool {
        let published = way.follow.borrow().next_seq.min(way.plan.until.get());
        let is_due = self.collector.deadline().is_some_and(|deadline| deadline <= Instant::now());
        let is_ended = way.has_ended() && self.collector.holds_lines();
        let next = self.collector.next_seq();
        !self.collector.is_at_end() || (next >= published && (is_due || is_ended))
    }

    /// Whether it has caught up with the first lane and can join it.
    pub fn may_join(&self, first: &Self) -> bool {
        self.failures == 0 && first.collector.may_absorb(&self.collector)
    }

    /// Takes back a lane that was forked off.
    pub fn join(&mut self, lane: Self, way: &Way) {
        let Self { number, key, collector, guards, .. } = lane;
        if let Some(key) = key {
            // With a pipeline, its stream numbers may be those of other streams here, so its guards are dropped:
            // streams may lose a few lines more.
            if matches!(key, Key::Source(_)) {
                self.guards.extend(guards);
            }
            self.collector.absorb(collector, &key);
            way.unmark(number, &self.collector);
        }
    }

    /// Catches up with the first lane, whose next entry is `end`. Returns when nothing is left to do before it, or the
    /// plugin shuts down.
    pub async fn catch_up(mut self, way: Arc<Way>, mut end: watch::Receiver<End>) -> Self {
        loop {
            let until = *end.borrow_and_update();
            self.go_on_to(&way, until);
            if way.is_shut() || way.events.has_failed_closed() {
                return self;
            }
            if !self.has_work(&way) {
                // The batch that failed may have been overwritten.
                self.failures = 0;
                return self;
            }
            if self.is_throttled(&way).await {
                continue;
            }
            let Some(permit) = self.admit(&way).await else { return self };
            // The lane carries one stream, or those of one tenant, so it waits as a whole.
            self.send(&way, permit, &mut Vec::new(), MOST_LANES).await;
            if self.collector.has_more() {
                // A round that sends nothing has no point at which it waits.
                yield_now().await;
            }
        }
    }

    /// Waits if a stage limits the rate. Only shipping waits; the container does not.
    pub async fn is_throttled(&self, way: &Way) -> bool {
        let Some(not_before) = self.collector.not_before() else { return false };
        let is_early = Instant::now() < not_before;
        if is_early {
            let mut shutdown = way.shutdown.clone();
            tokio::select! {
                _ = shutdown.changed() => {}
                () = sleep_until(not_before) => {}
            }
        }
        is_early
    }

    /// Waits for a permit to send; `None` when the plugin shuts down. In an outage that takes hours, and lines that the
    /// ring loses meanwhile are logged when that happens.
    pub async fn admit(&mut self, way: &Way) -> Option<Permit> {
        let mut shutdown = way.shutdown.clone();
        let who = Standing { stream: way.id << 20, has_failed: self.failures > 0 };
        let (resume, tenant) = (self.resume, self.waits_for.clone());
        // A retry asks for the smallest share.
        let want = if self.failures > 0 { 0 } else { self.want(way) };
        let mut admitted = pin!(async {
            if let Some(resume) = resume {
                sleep_until(resume).await;
            }
            way.destination.admit(who, tenant.as_ref().map(Option::as_deref), way.is_patient(), want).await
        });
        loop {
            tokio::select! {
                permit = &mut admitted => {
                    self.resume = None;
                    return Some(permit);
                }
                _ = shutdown.wait_for(|down| *down) => return None,
                () = sleep(LOOK) => {}
            }
            self.look(way);
        }
    }

    /// Counts and logs unsent lines that the ring has overwritten.
    pub fn look(&mut self, way: &Way) {
        if self.collector.is_overtaken() {
            self.collector.rewind();
            way.events.lost(&self.collector.take_toll());
            way.save(self.number, &self.collector);
        }
    }

    /// About how many bytes the next round would like to read.
    fn want(&self, way: &Way) -> u64 {
        let most = match way.plan.pipeline {
            // Of many streams, each with its own request.
            Some(_) => LARGEST_ROUND,
            None => way.plan.streams.len() as u64 * way.plan.batch_size as u64,
        };
        self.collector.pending(&way.follow.borrow()).min(most)
    }

    /// Skips lines that are not to be sent, whatever state Loki is in.
    pub fn pass_over(&mut self, way: &Way) {
        let (ended, published) = (way.has_ended(), *way.follow.borrow());
        self.collector.collect(&published, ended, false, &way.destination.now());
        let toll = self.collector.take_toll();
        // Without any stream, lines that the ring lost were not meant for Loki.
        if way.plan.streams.iter().any(Option::is_some) {
            way.events.lost(&toll);
        }
        self.collector.rest();
        way.save(self.number, &self.collector);
    }

    /// Collects a round and pushes it. Streams that are held back get lanes in `children`, as long as there are fewer
    /// than [`MOST_LANES`] with the `others`.
    pub async fn send(&mut self, way: &Way, mut permit: Permit, children: &mut Vec<Self>, others: usize) {
        let (ended, published) = (way.has_ended(), *way.follow.borrow());
        self.collector.set_batch_size(way.destination.batch_size(way.plan.batch_size));
        self.collector.set_room(permit.room());
        let tenants = way.plan.streams.iter().flatten().map(|stream| stream.tenant.as_deref());
        let with_metadata = self.metadata.allows(way.destination.refusing(), tenants);
        self.collector.collect(&published, ended, with_metadata, &way.destination.now());
        if self.collector.is_out() {
            // The lines that were evaluated in this round are not sent either: a container that fails closed sends
            // nothing.
            self.collector.rewind();
            way.events.lost(&self.collector.take_toll());
            way.events.fail_closed();
            return;
        }
        if self.collector.is_clamped() {
            way.save(self.number, &self.collector);
        }
        permit.keep(self.collector.seal());
        match self.push_all(way, &mut permit, with_metadata, children, others).await {
            Round::Settled { is_pushed } => {
                self.metadata.end();
                // The batch that failed may be gone: a lane with a key settles only when none of its streams waits.
                if is_pushed || self.key.is_some() {
                    self.failures = 0;
                    self.waits_for = way.only_tenant().map(|tenant| tenant.map(str::to_owned));
                }
                way.save(self.number, &self.collector);
                way.events.lost(&self.collector.take_toll());
                // The next batch may have to wait for a permit, and so may the batches of a thousand containers.
                self.collector.rest();
            }
            Round::Again | Round::Wait => {
                self.collector.rewind();
                way.events.lost(&self.collector.take_toll());
            }
        }
    }

    /// Pushes each batch as one request, and saves the cursor after each.
    async fn push_all(
        &mut self,
        way: &Way,
        permit: &mut Permit,
        with_metadata: bool,
        children: &mut Vec<Self>,
        others: usize,
    ) -> Round {
        let mut is_pushed = false;
        for at in 0..self.collector.batches() {
            let tenant = match way.plan.pipeline {
                Some(_) => self.collector.tenant(at).map(str::to_owned),
                None => way.plan.streams[at].as_ref().and_then(|stream| stream.tenant.clone()),
            };
            let stream = way.id << 20 | self.collector.stream(at);
            let Some(batch) = self.collector.batch(at) else { continue };
            if way.is_shut() {
                // The next process sends the rest; requests in flight get only a short time to be answered.
                return Round::Again;
            }
            let Some(mut attempt) = permit.attempt(stream, tenant.as_deref()) else {
                if self.hold_back(way, at, tenant, None, children, others) {
                    continue;
                }
                return Round::Wait;
            };
            let (body, entries, bytes) = (batch.body(), batch.entries(), batch.bytes() as u64);
            let is_divisible = batch.is_divisible();
            let taken = body.len();
            let answer = attempt.push(body).await;
            let error = match answer.outcome {
                Ok(()) => {
                    attempt.succeeded();
                    self.guards.remove(&stream);
                    if self.metadata.accepted(way.destination.refusing(), tenant.as_deref()) {
                        way.destination.say_refusing(tenant.as_deref());
                    }
                    way.events.sent(entries as u64, bytes, nanoseconds());
                    is_pushed = true;
                    self.settle(way, at, 0);
                    permit.release(taken);
                    continue;
                }
                Err(error) => error,
            };
            way.events.failed(&error, nanoseconds());
            let mut what = verdict(&error, entries, self.failures + 1, way.plan.attempts);
            if what == Verdict::WithoutMetadata && !with_metadata {
                what = halve(entries);
            }
            if what == Verdict::Split && !is_divisible {
                what = indivisible(&error, entries, self.failures + 1, way.plan.attempts);
            }
            let what = self.rule(stream, what, entries, way);
            let is_limited = error.kind() == Some(Kind::RateLimit);
            match what {
                _ if is_limited => attempt.failed(&error, &way.backoff(), answer.hints.retry_after),
                Verdict::Retry | Verdict::GiveUp { .. } => {
                    attempt.failed(&error, &way.backoff(), answer.hints.retry_after);
                }
                Verdict::Pause | Verdict::Reject => attempt.waits(&error, &way.backoff(), answer.hints.retry_after),
                _ if error.kind().is_some_and(Kind::is_judgement) => attempt.succeeded(),
                _ => drop(attempt),
            }
            let mut refused = 0;
            match what {
                Verdict::Clamp { refusal, dropped }
                    if self.collector.clamp(at, &refusal, dropped, &way.destination.now()) =>
                {
                    way.events.retried(entries as u64);
                    return Round::Again;
                }
                // After a clamp: no accepted timestamp is known, as when Loki's own clock was set back by hours.
                // Waiting helps.
                Verdict::Retry
                | Verdict::Pause
                | Verdict::Reject
                | Verdict::Clamp { refusal: Refusal { too_new: Some(_), .. }, .. } => {
                    if is_limited {
                        way.events.rate_limited(&error);
                    } else if what == Verdict::Pause {
                        way.events.paused(&error);
                    }
                    way.events.retried(entries as u64);
                    let failure = Some((&error, answer.hints.retry_after));
                    if self.hold_back(way, at, tenant, failure, children, others) {
                        continue;
                    }
                    return Round::Wait;
                }
                Verdict::Split => {
                    way.events.retried(entries as u64);
                    self.collector.split(at);
                    if is_limited {
                        // Smaller batches, but not sooner.
                        self.resume = resume(way, tenant.as_deref(), self.failures, answer.hints.retry_after);
                    }
                    return Round::Again;
                }
                Verdict::WithoutMetadata => {
                    self.metadata.begin(tenant);
                    way.events.retried(entries as u64);
                    return Round::Again;
                }
                Verdict::Clamp { dropped, .. } | Verdict::Settled { dropped } => {
                    let taken = (entries as u64).saturating_sub(dropped);
                    if taken > 0 {
                        self.guards.remove(&stream);
                        way.events.sent(taken, bytes * taken / entries as u64, nanoseconds());
                    }
                    way.events.dropped(Dropped::Refused, dropped, &error);
                    refused = dropped;
                }
                Verdict::GiveUp { dropped } => way.events.dropped(Dropped::GivenUp, dropped, &error),
            }
            is_pushed = true;
            self.settle(way, at, refused);
            permit.release(taken);
        }
        Round::Settled { is_pushed }
    }

    /// Applies the stream's guard to the verdict about a batch: earlier lines may have been rejected one by one.
    fn rule(&mut self, stream: u64, what: Verdict, entries: usize, way: &Way) -> Verdict {
        if what != Verdict::Reject {
            return what;
        }
        if self.guards.len() >= MOST_GUARDS {
            self.guards.clear();
        }
        let dropped = entries as u64;
        match self.guards.entry(stream).or_default().rule(what, self.failures + 1, way.plan.attempts) {
            Verdict::Settled { .. } => Verdict::Settled { dropped },
            Verdict::GiveUp { .. } => Verdict::GiveUp { dropped },
            other => other,
        }
    }

    fn settle(&mut self, way: &Way, at: usize, refused: u64) {
        self.collector.acknowledge(at, refused);
        way.save(self.number, &self.collector);
    }

    /// Holds back the stream of a batch that must wait: after an error that may concern it alone, with the delay that
    /// the answer asks for, or because a breaker is open. Returns true when the stream has its own lane from now on, so
    /// that the others may proceed; false when this lane has to wait as a whole.
    pub fn hold_back(
        &mut self,
        way: &Way,
        at: usize,
        tenant: Option<String>,
        failure: Option<(&PushError, Option<Duration>)>,
        children: &mut Vec<Self>,
        others: usize,
    ) -> bool {
        let destination = &way.destination;
        let is_host = way.is_patient() && destination.is_host_waiting();
        let is_everybodys = is_host || (way.is_patient() && destination.is_waiting(tenant.as_deref()));
        let is_whole = self.key.is_some()
            || is_host
            || (is_everybodys && way.only_tenant().is_some())
            || 1 + others + children.len() >= MOST_LANES;
        let failures = if is_whole { self.failures } else { 0 } + u32::from(failure.is_some());
        let resume = failure.and_then(|(_, asked)| resume(way, tenant.as_deref(), failures, asked));
        if is_whole {
            (self.failures, self.resume, self.waits_for) = (failures, resume, Some(tenant));
            return false;
        }
        let key = self.key_for(at, tenant.as_deref(), failure.map(|(error, _)| error));
        let collector = self.collector.fork(&key);
        let number = way.number();
        way.mark(number, &collector);
        // The new lane learns what is accepted or rejected of the stream from now on, so its guard moves there.
        let stream = way.id << 20 | self.collector.stream(at);
        let guards = self.guards.remove(&stream).map(|guard| (stream, guard)).into_iter().collect();
        children.push(Self {
            number,
            key: Some(key),
            collector,
            failures,
            resume,
            waits_for: Some(tenant),
            guards,
            metadata: Trial::default(),
        });
        true
    }

    /// The streams to hold back with a batch that failed or that a breaker holds back.
    fn key_for(&self, at: usize, tenant: Option<&str>, error: Option<&PushError>) -> Key {
        let key = self.collector.key(at);
        let Some(scope) = self.collector.scope() else { return key };
        let is_of_tenant = |key: &&Key| matches!(key, Key::Stream(labels) if labels.tenant() == tenant);
        let is_tenants = match error {
            // The breaker of the tenant is open.
            None => true,
            Some(error) => matches!(error.status_code(), Some(401 | 403 | 404 | 405 | 407)),
        };
        if is_tenants || scope.without.iter().filter(is_of_tenant).count() >= MOST_OF_TENANT {
            Key::Tenant(tenant.map(str::to_owned))
        } else {
            key
        }
    }
}

/// When a lane may retry after this number of failures, and after the delay that an answer `asked` for. `None` while a
/// breaker is open: it decides on the next probe for all its streams.
fn resume(way: &Way, tenant: Option<&str>, failures: u32, asked: Option<Duration>) -> Option<Instant> {
    let is_everybodys = way.is_patient() && way.destination.is_waiting(tenant);
    (!is_everybodys).then(|| Instant::now() + way.backoff().delay(failures.max(1)).max(asked.unwrap_or_default()))
}

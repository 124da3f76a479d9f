//! What all containers that ship to one place share: connections, permits, and its outage.
//!
//! A [`Permit`] bounds how many batches are in memory at once. While the destination is down only one shipper tries,
//! with the backoff of the outage and not of its batch, and the first success lets all others go: a thousand
//! containers do not knock a thousand times, and none of them sleeps on when Loki is back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::counters::ToOne;
use super::events::LastError;
use super::loki_clock::LokiClock;
use super::nanoseconds;
use super::window::Now;
use crate::loki::{Answer, Client, PushError};

/// Requests on their way to one destination at once, and so the bodies in memory.
const IN_FLIGHT: usize = 8;

/// An outage is probed, and a batch that a rate limit refused is tried, at least this often, whatever
/// `loki-max-backoff` says: one small request in five seconds from a host harms nobody, and lines arrive within seconds
/// of Loki's return.
pub(super) const LONGEST_PROBE: Duration = Duration::from_secs(5);

/// Outages of a destination that comes and goes are spoken of this often. One that lasts is in the
/// [summary](crate::telemetry::summary).
const SPEAK_EVERY: Duration = Duration::from_secs(60);

/// One Loki, one tenant, one set of credentials.
#[derive(Debug)]
pub struct Destination {
    name: String,
    client: Client,
    in_flight: Arc<Semaphore>,
    probe: Arc<Semaphore>,
    outage: watch::Sender<Option<Outage>>,
    no_metadata: AtomicBool,
    clock: LokiClock,
    counters: ToOne,
    /// When it took lines last, in nanoseconds since 1970; 0 before the first time.
    last_success: AtomicI64,
    last_error: Mutex<Option<LastError>>,
    /// When its last outage was spoken of.
    spoken: Mutex<Option<Instant>>,
}

/// How a destination is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// For how long it has been down; `None`: no push has failed since the last that succeeded.
    pub down_for: Option<Duration>,
    /// When it took lines last, in nanoseconds since 1970.
    pub last_success: Option<i64>,
    /// What went wrong last, if anything ever did.
    pub last_error: Option<LastError>,
}

/// A destination that is down.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    /// When to try next.
    next: Instant,
    tries: u32,
    /// It was spoken of, and its end will be.
    is_said: bool,
}

/// The right to have one batch in memory and on its way.
#[derive(Debug)]
pub struct Permit {
    destination: Arc<Destination>,
    _in_flight: Option<OwnedSemaphorePermit>,
    probe: Option<OwnedSemaphorePermit>,
}

// === impl Destination ===

impl Destination {
    /// A destination under a name for the log, in which there is no secret.
    pub fn new(name: String, client: Client, counters: ToOne) -> Arc<Self> {
        Arc::new(Self {
            name,
            client,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            probe: Arc::new(Semaphore::new(1)),
            outage: watch::Sender::new(None),
            no_metadata: AtomicBool::new(false),
            clock: LokiClock::default(),
            counters,
            last_success: AtomicI64::new(0),
            last_error: Mutex::default(),
            spoken: Mutex::default(),
        })
    }

    /// What it is called in the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the right to send. A shipper that is `patient` waits out an outage with the others; one that counts
    /// its tries does not.
    pub async fn admit(self: &Arc<Self>, patient: bool) -> Permit {
        let mut outage = self.outage.subscribe();
        let mut probe = None;
        loop {
            let next = outage.borrow_and_update().as_ref().map(|outage| outage.next);
            match next.filter(|_| patient) {
                Some(_) if probe.is_none() => tokio::select! {
                    // Never closed.
                    permit = self.probe.clone().acquire_owned() => probe = permit.ok(),
                    _ = outage.changed() => {}
                },
                Some(next) if Instant::now() < next => tokio::select! {
                    () = sleep_until(next) => {}
                    _ = outage.changed() => {}
                },
                _ => {
                    let in_flight = self.in_flight.clone().acquire_owned().await.ok();
                    // Of a thousand that waited for it, eight have found out by now that Loki is away.
                    if !patient || probe.is_some() || !self.is_down() {
                        return Permit { destination: self.clone(), _in_flight: in_flight, probe };
                    }
                }
            }
        }
    }

    /// Sends one body, see [`Client::push`].
    pub async fn push(&self, body: Bytes, tenant: Option<&str>) -> Answer {
        let begun = Instant::now();
        let answer = self.client.push(body, tenant).await;
        self.counters.pushed(&answer.outcome, begun.elapsed());
        if let Some(date) = answer.hints.date {
            self.clock.saw(date, nanoseconds());
        }
        match &answer.outcome {
            Ok(()) => {
                self.last_success.store(nanoseconds(), Ordering::Relaxed);
                // Whatever becomes of the other batches of this round.
                self.came_back();
            }
            Err(error) => {
                let last = LastError { at: nanoseconds(), text: error.to_string() };
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
            }
        }
        answer
    }

    /// The bytes of lines that a batch should have now, see [`Client::batch_size`].
    pub fn batch_size(&self, typed: usize) -> usize {
        self.client.batch_size(typed)
    }

    /// The time of day here and there.
    pub fn now(&self) -> Now {
        let host = nanoseconds();
        Now { host, loki: self.clock.at(host) }
    }

    /// Where what happens to its lines is counted.
    pub fn counters(&self) -> &ToOne {
        &self.counters
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        Health {
            down_for: self.outage.borrow().as_ref().map(|outage| outage.since.elapsed()),
            last_success: Some(self.last_success.load(Ordering::Relaxed)).filter(|at| *at > 0),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether a push failed and none has succeeded since.
    pub fn is_down(&self) -> bool {
        self.outage.borrow().is_some()
    }

    /// A push failed for a reason that is the destination's.
    pub fn went_down(&self, error: &PushError) {
        let now = Instant::now();
        self.outage.send_if_modified(|outage| {
            let is_new = outage.is_none();
            let outage = outage.get_or_insert(Outage { since: now, next: now, tries: 0, is_said: false });
            if !outage.is_said && self.may_speak(now) {
                warn!(destination = %self.name, %error, "Loki takes no lines; they are kept and sent when it does");
                outage.is_said = true;
            }
            is_new
        });
    }

    fn came_back(&self) {
        self.outage.send_if_modified(|outage| {
            let Some(over) = outage.take() else { return false };
            if over.is_said {
                let seconds = over.since.elapsed().as_secs();
                info!(destination = %self.name, seconds, "Loki takes lines again");
            }
            true
        });
    }

    fn may_speak(&self, now: Instant) -> bool {
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        let may = spoken.is_none_or(|spoken| now.duration_since(spoken) >= SPEAK_EVERY);
        if may {
            *spoken = Some(now);
        }
        may
    }

    /// Whether lines may carry structured metadata.
    pub fn takes_metadata(&self) -> bool {
        !self.no_metadata.load(Ordering::Relaxed)
    }

    /// Loki refused structured metadata; no line carries any from now on.
    pub fn refuse_metadata(&self) {
        if !self.no_metadata.swap(true, Ordering::Relaxed) {
            warn!(destination = %self.name, "Loki refuses structured metadata (allow_structured_metadata); lines go without it");
        }
    }
}

// === impl Permit ===

impl Permit {
    /// The destination answered.
    pub fn succeeded(self) {
        self.destination.came_back();
    }

    /// The destination did not. Sets the time of the next try, if this was the one that everybody waited for.
    pub fn failed(self, backoff: &Backoff) {
        self.destination.outage.send_if_modified(|outage| {
            let Some(outage) = outage else { return false };
            if self.probe.is_some() || outage.tries == 0 {
                outage.tries = outage.tries.saturating_add(1);
                outage.next = Instant::now() + backoff.delay(outage.tries);
            }
            true
        });
    }
}

//! The state that all containers share that ship to one destination: connections, slots, circuit breakers and outage.
//!
//! A [`Permit`] bounds how many batches are in flight. Before it is granted, two circuit breakers are asked: that of
//! the host, for failed connections, and that of the tenant, for rate limits, rejected credentials and refused
//! requests. While a breaker is open, single probes go. The first success lets a few pushes go, and soon all. So a
//! thousand containers do not retry a thousand times, and all resume soon after the outage. Other hosts and tenants are
//! not affected.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::breaker::{Admission, OVERDUE, Standing};
use super::budget::{Budget, Share};
use super::counters::ToOne;
use super::events::LastError;
use super::gate::{Gate, Pass};
use super::loki_clock::LokiClock;
use super::metadata::Refusing;
use super::nanoseconds;
use super::route::Route;
use super::slots::{Slot, Slots};
use super::window::Now;
use loki::{Answer, Client, Kind, PushError};

/// The longest delay between probes of an outage and between retries after a rate limit, whatever `loki-max-backoff`
/// says. One small request in five seconds from a host is harmless, and lines arrive within seconds after the outage.
pub(super) const LONGEST_PROBE: Duration = Duration::from_secs(5);

/// How often outages of an unstable destination are logged. One that lasts is in the [summary](telemetry::summary).
const SPEAK_EVERY: Duration = Duration::from_secs(60);

/// Tenants of one destination whose breakers are remembered. Stages can make any number of tenants. Beyond it each push
/// has its own breaker, and its stream waits by its own backoff.
const MOST_TENANTS: usize = 1024;

/// One Loki with one set of credentials, and one tenant unless a pipeline or a rule names others.
#[derive(Debug)]
pub struct Destination {
    /// Unique for the life of the process.
    number: u64,
    name: String,
    client: Client,
    slots: Arc<Slots>,
    budget: Arc<Budget>,
    /// The breaker of all destinations on this host.
    host: Arc<Gate>,
    /// The breakers of tenants; `None` is the destination's own.
    tenants: Mutex<HashMap<Option<Box<str>>, Arc<Gate>>>,
    outage: Mutex<Option<Outage>>,
    refusing: Refusing,
    clock: LokiClock,
    counters: ToOne,
    /// When it last accepted lines, in nanoseconds since 1970; 0 before the first time.
    last_success: AtomicI64,
    last_error: Mutex<Option<LastError>>,
    /// When its last outage was logged.
    spoken: Mutex<Option<Instant>>,
}

/// The health of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How long it has been down; `None`: no push has failed since the last success.
    pub down_for: Option<Duration>,
    /// When it last accepted lines, in nanoseconds since 1970.
    pub last_success: Option<i64>,
    /// The last error, if there was one.
    pub last_error: Option<LastError>,
}

/// An outage of a destination.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    /// Whether it was logged; then its end is logged too.
    is_said: bool,
}

/// The right to have a request in flight.
#[derive(Debug)]
pub struct Permit {
    destination: Arc<Destination>,
    slot: Slot,
    share: Share,
    who: Standing,
    is_patient: bool,
    /// The passes that were taken before the stream was known.
    passes: Option<Passes>,
}

/// The right to one push, from the breakers of host and tenant.
#[derive(Debug)]
struct Passes {
    tenant: Option<Box<str>>,
    of_host: Pass,
    of_tenant: Option<Pass>,
}

/// One push, from its admission to its result.
#[derive(Debug)]
pub struct Attempt<'a> {
    permit: &'a mut Permit,
    tenant: Option<&'a str>,
    of_host: Pass,
    of_tenant: Pass,
}

// === impl Destination ===

impl Destination {
    /// A destination with a name for the log, which contains no secret. All destinations on a host share `host`; all
    /// share `budget`.
    pub fn new(name: String, client: Client, host: Arc<Gate>, budget: Arc<Budget>, counters: ToOne) -> Arc<Self> {
        static DESTINATIONS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            number: DESTINATIONS.fetch_add(1, Ordering::Relaxed),
            name,
            client,
            slots: Slots::new(),
            budget,
            host,
            tenants: Mutex::default(),
            outage: Mutex::default(),
            refusing: Refusing::default(),
            clock: LokiClock::default(),
            counters,
            last_success: AtomicI64::new(0),
            last_error: Mutex::default(),
            spoken: Mutex::default(),
        })
    }

    /// Its name in the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a permit to send, to `tenant` if that is known already; `None` in it is the destination's own. A
    /// shipper that `is_patient` waits for the breakers; one with a limit of tries does not. `want` is the number of
    /// unread bytes.
    pub async fn admit(
        self: &Arc<Self>,
        who: Standing,
        tenant: Option<Option<&str>>,
        is_patient: bool,
        want: u64,
    ) -> Permit {
        let gate = tenant.map(|tenant| self.gate(tenant));
        let may_go = |gate: &Option<Arc<Gate>>| gate.as_ref().is_none_or(|gate| gate.look(who) == Admission::Go);
        loop {
            if is_patient {
                self.host.wait(who).await;
                if let Some(gate) = &gate {
                    gate.wait(who).await;
                }
                if self.host.look(who) != Admission::Go {
                    continue;
                }
            }
            let slot = self.slots.take(who.has_failed).await;
            let share = self.budget.share(Route::new(self.number, tenant.flatten()), want).await;
            let permit = |passes| Permit { destination: self.clone(), slot, share, who, is_patient, passes };
            if !is_patient {
                return permit(None);
            }
            // Of a thousand that waited for a slot, eight may have found an outage by now.
            if may_go(&gate)
                && let Some(of_host) = self.host.enter(who)
            {
                let of_tenant = gate.as_ref().map(|gate| gate.enter(who));
                if !matches!(of_tenant, Some(None)) {
                    let tenant = tenant.flatten().map(Box::from);
                    return permit(Some(Passes { tenant, of_host, of_tenant: of_tenant.flatten() }));
                }
            }
        }
    }

    /// The breaker of a tenant; `None` is the destination's own.
    fn gate(&self, tenant: Option<&str>) -> Arc<Gate> {
        let tenant: Option<Box<str>> = tenant.map(Box::from);
        let mut tenants = lock(&self.tenants);
        if let Some(gate) = tenants.get(&tenant) {
            return gate.clone();
        }
        if tenants.len() >= MOST_TENANTS {
            tenants.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_at_rest());
        }
        let gate: Arc<Gate> = Arc::default();
        if tenants.len() < MOST_TENANTS {
            tenants.insert(tenant, gate.clone());
        }
        gate
    }

    /// Whether pushes for a tenant wait for a probe of the tenant or of the host.
    pub fn is_waiting(&self, tenant: Option<&str>) -> bool {
        self.host.is_open() || self.gate(tenant).is_open()
    }

    /// Whether all pushes to this host wait for a probe.
    pub fn is_host_waiting(&self) -> bool {
        self.host.is_open()
    }

    fn answered(&self, answer: &Answer, took: Duration) {
        self.counters.pushed(&answer.outcome, took);
        if let Some(date) = answer.hints.date.filter(|_| is_lokis(&answer.outcome)) {
            self.clock.saw(date, nanoseconds());
        }
        match &answer.outcome {
            Ok(()) => self.last_success.store(nanoseconds(), Ordering::Relaxed),
            Err(error) => {
                *lock(&self.last_error) = Some(LastError { at: nanoseconds(), text: error.to_string() });
            }
        }
    }

    /// The bytes of lines that a batch should have now, see [`Client::batch_size`].
    pub fn batch_size(&self, typed: usize) -> usize {
        self.client.batch_size(typed)
    }

    /// The time of day on this host and at Loki.
    pub fn now(&self) -> Now {
        let host = nanoseconds();
        Now { host, loki: self.clock.at(host) }
    }

    /// The counters of this destination.
    pub fn counters(&self) -> &ToOne {
        &self.counters
    }

    /// The health of this destination.
    pub fn health(&self) -> Health {
        Health {
            down_for: lock(&self.outage).as_ref().map(|outage| outage.since.elapsed()),
            last_success: Some(self.last_success.load(Ordering::Relaxed)).filter(|at| *at > 0),
            last_error: lock(&self.last_error).clone(),
        }
    }

    /// Whether a push failed and none has succeeded since.
    pub fn is_down(&self) -> bool {
        lock(&self.outage).is_some()
    }

    /// Records a failed push whose cause is the destination.
    fn went_down(&self, error: &PushError) {
        let now = Instant::now();
        let mut outage = lock(&self.outage);
        let outage = outage.get_or_insert(Outage { since: now, is_said: false });
        if !outage.is_said && self.may_speak(now) {
            warn!(destination = %self.name, %error, "Loki takes no lines; they are kept and sent when it does");
            outage.is_said = true;
        }
    }

    fn came_back(&self) {
        if let Some(over) = lock(&self.outage).take().filter(|over| over.is_said) {
            let seconds = over.since.elapsed().as_secs();
            info!(destination = %self.name, seconds, "Loki takes lines again");
        }
    }

    fn may_speak(&self, now: Instant) -> bool {
        let mut spoken = lock(&self.spoken);
        let may = spoken.is_none_or(|spoken| now.duration_since(spoken) >= SPEAK_EVERY);
        if may {
            *spoken = Some(now);
        }
        may
    }

    /// Tenants that accept no structured metadata.
    pub fn refusing(&self) -> &Refusing {
        &self.refusing
    }

    /// Logs that a tenant accepts no structured metadata.
    pub fn say_refusing(&self, tenant: Option<&str>) {
        warn!(
            destination = %self.name,
            tenant,
            "Loki refuses structured metadata (allow_structured_metadata); lines go without it"
        );
    }
}

// === impl Permit ===

impl Permit {
    /// The bytes of lines that may be read; the last line may exceed them.
    pub fn room(&self) -> usize {
        usize::try_from(self.share.room()).unwrap_or(usize::MAX)
    }

    /// Keeps `bytes` of the budget for what was read, until it is answered.
    pub fn keep(&mut self, bytes: usize) {
        self.share.shrink_to(bytes as u64);
    }

    /// Gives back `bytes` of the budget that were answered.
    pub fn release(&mut self, bytes: usize) {
        self.share.release(bytes as u64);
    }

    /// A push of the stream with this number, to its tenant or else to the destination's; `None` when a breaker is
    /// open.
    pub fn attempt<'a>(&'a mut self, stream: u64, tenant: Option<&'a str>) -> Option<Attempt<'a>> {
        let who = Standing { stream, ..self.who };
        let gate = self.destination.gate(tenant);
        let (of_host, of_tenant) = if self.is_patient {
            let mut passes = self.passes.take();
            let of_tenant = match passes.as_mut().filter(|passes| passes.tenant.as_deref() == tenant) {
                Some(passes) if passes.of_tenant.is_some() => passes.of_tenant.take(),
                _ => gate.enter(who),
            }?;
            (passes.map(|passes| passes.of_host).or_else(|| self.destination.host.enter(who))?, of_tenant)
        } else {
            (self.destination.host.pass(who), gate.pass(who))
        };
        let (of_host, of_tenant) = (of_host.of(stream), of_tenant.of(stream));
        Some(Attempt { permit: self, tenant, of_host, of_tenant })
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    /// Sends one body. The caller must report the result with [`Attempt::succeeded`] or [`Attempt::failed`].
    pub async fn push(&mut self, body: Bytes) -> Answer {
        let begun = Instant::now();
        let Permit { destination, slot, .. } = &mut *self.permit;
        let mut pushed = std::pin::pin!(destination.client.push(body, self.tenant));
        let answer = tokio::select! {
            answer = &mut pushed => answer,
            () = sleep(OVERDUE) => {
                slot.is_overdue();
                pushed.await
            }
        };
        destination.answered(&answer, begun.elapsed());
        answer
    }

    /// Reports that Loki answered and judged the lines.
    pub fn succeeded(self) {
        self.of_host.succeeded();
        self.of_tenant.succeeded();
        self.permit.destination.came_back();
    }

    /// Reports that the lines must be retried, or were given up. The answer asks to wait for `asked`.
    pub fn failed(self, error: &PushError, backoff: &Backoff, asked: Option<Duration>) {
        // A rate limit is no outage; silence and refused requests are.
        if error.kind() != Some(Kind::RateLimit) {
            self.permit.destination.went_down(error);
        }
        self.waits(error, backoff, asked);
    }

    /// Reports a failure that makes only the stream wait, because the destination may be healthy. The breakers count
    /// it.
    pub fn waits(self, error: &PushError, backoff: &Backoff, asked: Option<Duration>) {
        if matches!(error, PushError::Transport(_) | PushError::Timeout) {
            self.of_host.failed(backoff, asked);
        } else {
            if matches!(error, PushError::Status(_)) {
                self.of_host.succeeded();
            }
            self.of_tenant.failed(backoff, asked);
        }
    }
}

/// Whether Loki itself has answered. The clock of a proxy or a captive portal says nothing about what Loki accepts.
fn is_lokis(outcome: &Result<(), PushError>) -> bool {
    outcome.as_ref().err().is_none_or(|error| error.kind().is_some_and(Kind::is_judgement))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_answers_that_loki_itself_has_given() {
        assert!(is_lokis(&Ok(())));
        let too_new = "entry for stream '{a=\"b\"}' has timestamp too new: 2030-01-01T00:00:00Z";
        assert!(is_lokis(&Err(PushError::status(400, too_new.as_bytes()))));
        for (code, body) in [(200, "welcome"), (404, "not here"), (429, "slow down"), (502, "<html>"), (413, "")] {
            assert!(!is_lokis(&Err(PushError::status(code, body.as_bytes()))), "{code}");
        }
        assert!(!is_lokis(&Err(PushError::Timeout)));
    }
}

//! What may be wrong with a Loki, or with what stands in front of it, for as long as the soak lasts.

use crate::standin::{Failure, Limits, Standin, Times};
use std::time::{Duration, Instant};

/// The kind of which the URL has a name, and the name.
pub const SILENT: &str = "no DNS";
pub const NAME: &str = "loki.example";

const MINUTE: i64 = 60 * 1_000_000_000;
/// How far a clock is set, in nanoseconds.
pub const HALF_HOUR: i64 = 30 * MINUTE;

/// Seconds between two steps of a clock: a random number of these.
pub const STEPS: std::ops::Range<u64> = 10..60;

/// A thing that is wrong, by its name.
pub struct Kind {
    pub name: &'static str,
    fault: Fault,
}

enum Fault {
    /// Nothing is accepted.
    Outage(fn(&Standin)),
    /// Loki's clock is set: how far it is ahead, by turns, from now on. Lines of more than this age are refused.
    Clock { ahead: &'static [i64], max_age: Option<Duration> },
}

pub const KINDS: [Kind; 15] = [
    outage("unreachable", Standin::vanish),
    outage("refusing", Standin::go_away),
    outage("hanging", Standin::go_deaf),
    outage("500", |loki| answer(loki, 500, "Ingester is shutting down")),
    outage("429", |loki| answer(loki, 429, "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)")),
    outage("260", |loki| answer(loki, 260, "ingestion is blocked until 2030-01-01")),
    outage("401", |loki| answer(loki, 401, "no org id")),
    outage("page, 200", |loki| proxy(loki, 200, None)),
    outage("page, 400", |loki| proxy(loki, 400, None)),
    outage("page, 502", |loki| proxy(loki, 502, None)),
    outage("page, stalls", |loki| loki.fail(Failure::Stall { code: 502, body: page(502) }, Times::UntilHealed)),
    outage("429, after", |loki| proxy(loki, 429, Some("2"))),
    // Connections that are there would be used on.
    outage(SILENT, Standin::go_away),
    clock("clock", &[-HALF_HOUR, HALF_HOUR, 0], None),
    // Half an hour ahead, every line is too old.
    clock("clock, 20m", &[HALF_HOUR, 0], Some(Duration::from_secs(20 * 60))),
];

/// The clock of a Loki, which jumps at random instants.
pub struct Clock<'a> {
    loki: &'a Standin,
    ahead: std::iter::Cycle<std::slice::Iter<'static, i64>>,
    next: Instant,
    random: fastrand::Rng,
    /// How often it was set.
    pub steps: usize,
}

const fn outage(name: &'static str, begin: fn(&Standin)) -> Kind {
    Kind { name, fault: Fault::Outage(begin) }
}

const fn clock(name: &'static str, ahead: &'static [i64], max_age: Option<Duration>) -> Kind {
    Kind { name, fault: Fault::Clock { ahead, max_age } }
}

fn answer(loki: &Standin, code: u16, body: &str) {
    loki.fail(Failure::Status { code, body: body.into() }, Times::UntilHealed);
}

/// What stands in front of Loki answers in its place.
fn proxy(loki: &Standin, code: u16, retry_after: Option<&str>) {
    let (content_type, retry_after) = ("text/html".into(), retry_after.map(str::to_owned));
    loki.fail(Failure::Proxy { code, content_type, body: page(code), retry_after }, Times::UntilHealed);
}

fn page(code: u16) -> String {
    format!("<html><head><title>{code}</title></head><body>nginx</body></html>")
}

// === impl Kind ===

impl Kind {
    /// A Loki that it can happen to, and that is well.
    pub fn loki(&self) -> Standin {
        let mut limits = Limits { discover_log_levels: false, ..Limits::generous() };
        if let Fault::Clock { max_age: Some(max_age), .. } = self.fault {
            limits.reject_old_samples_max_age = max_age;
        }
        Standin::builder().limits(limits).start()
    }

    /// Whether Loki accepts nothing.
    pub fn is_outage(&self) -> bool {
        matches!(self.fault, Fault::Outage(_))
    }

    /// Lets it begin. What jumps from then on is given back.
    pub fn begin<'a>(&self, loki: &'a Standin) -> Option<Clock<'a>> {
        match self.fault {
            Fault::Outage(begin) => {
                begin(loki);
                None
            }
            Fault::Clock { ahead, .. } => {
                let (random, next) = (fastrand::Rng::with_seed(ahead.len() as u64), Instant::now());
                Some(Clock { loki, ahead: ahead.iter().cycle(), next, random, steps: 0 })
            }
        }
    }
}

// === impl Clock ===

impl Clock<'_> {
    /// Sets it, if it is time.
    pub fn look(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        let ahead = self.ahead.next().copied().unwrap_or_default();
        self.set(ahead);
        self.next += Duration::from_secs(self.random.u64(STEPS));
    }

    /// Sets it right.
    pub fn end(&mut self) {
        self.set(0);
    }

    fn set(&mut self, ahead: i64) {
        self.loki.change_limits(|limits| limits.clock_ahead = ahead);
        self.steps += 1;
    }
}

//! The counters of lines and pushes: for the whole plugin, by destination, for the life of the process.
//!
//! The counts of one container are in [`super::events`] and go with the container.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use loki::PushError;
use telemetry::last::Last;

/// The first upper bound of the histogram of pushes, in seconds; the bounds double from here.
const FIRST_BUCKET: f64 = 0.005;

/// The number of bounds, up to 20 s: `loki-timeout` is 10 s by default.
const BUCKETS: u16 = 13;

/// Destinations with their own series. A URL is an option of a container, so a host may have any number of them.
const MOST_DESTINATIONS: usize = 100;

/// The name under which all further destinations count.
const OTHERS: &str = "others";

type Labels = Vec<(&'static str, String)>;

/// The counters of all destinations. Clones share them.
#[derive(Clone)]
pub struct Counters {
    sent_lines: Family<Labels, Counter>,
    sent_bytes: Family<Labels, Counter>,
    retried_lines: Family<Labels, Counter>,
    dropped_lines: Family<Labels, Counter>,
    changed_lines: Family<Labels, Counter>,
    joined_lines: Counter,
    pushes: Family<Labels, Histogram, fn() -> Histogram>,
    known: Arc<Mutex<HashSet<String>>>,
    last_dropped: Arc<Last>,
}

/// The counters of one destination.
#[derive(Clone)]
pub struct ToOne {
    destination: String,
    pushes: Family<Labels, Histogram, fn() -> Histogram>,
    /// Lines that Loki accepted.
    pub sent_lines: Counter,
    /// Bytes of these lines and of their structured metadata.
    pub sent_bytes: Counter,
    /// Lines in batches that have to be sent again.
    pub retried_lines: Counter,
    /// Lines that were joined from several entries.
    pub joined_lines: Counter,
    dropped: Reasons<{ Dropped::ALL.len() }>,
    last_dropped: Arc<Last>,
    /// Lines that were sent in another form.
    pub changed: Reasons<2>,
}

/// A counter for each of `N` reasons.
#[derive(Clone)]
pub struct Reasons<const N: usize>([Counter; N]);

/// Why a line was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The ring was full before the line was sent.
    Overwritten,
    /// The line is damaged on disk.
    Damaged,
    /// Loki rejected the line.
    Refused,
    /// The line was tried as often as `loki-retries` allows.
    GivenUp,
    /// A pipeline gives the line an invalid tenant.
    Misaddressed,
    /// The pipeline needs too many steps or too much memory for the line. It is not sent, because a redaction may be
    /// incomplete.
    TooCostly,
    /// The container was gone, and all rings together were above `RING_BUDGET`.
    OverBudget,
}

/// How a line was changed before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The line was longer than Loki accepts, and was truncated.
    Cut,
    /// The line was older or newer than Loki accepts, and its timestamp was clamped.
    Retimed,
}

// === impl Counters ===

impl Counters {
    /// Counters that `registry` serves.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        let to = &counters;
        for (name, help, family) in [
            ("loki_rs_sent_lines", "Lines that Loki took", &to.sent_lines),
            (
                "loki_rs_sent_bytes",
                "Bytes of lines and structured metadata that Loki took, uncompressed",
                &to.sent_bytes,
            ),
            ("loki_rs_retried_lines", "Lines in batches that had to be sent again", &to.retried_lines),
            ("loki_rs_dropped_lines", "Lines that will never get to Loki", &to.dropped_lines),
            (
                "loki_rs_changed_lines",
                "Lines that Loki has in another form: cut at 256 KiB, or with a later time",
                &to.changed_lines,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "loki_rs_joined_lines",
            "Sent lines that were put together: from the chunks of a long line, or by a pipeline from several lines",
            to.joined_lines.clone(),
        );
        registry.register(
            "loki_rs_push_duration_seconds",
            "Requests to Loki, by status code, or timeout, transport (no connection) or unready (a file that cannot be used)",
            to.pushes.clone(),
        );
        counters
    }

    /// Dropped lines of all destinations, by reason.
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |why: Dropped| {
            let counters = known.iter().map(|destination| {
                let labels = vec![("destination", destination.clone()), ("reason", why.as_str().to_owned())];
                self.dropped_lines.get_or_create_owned(&labels).get()
            });
            (why.as_str(), counters.sum())
        };
        Dropped::ALL.map(of).into()
    }

    /// The counters of a destination under its name, which contains no secret. All series exist from the beginning, so
    /// that the first drop is an increase.
    pub fn to(&self, destination: &str) -> ToOne {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told_apart = known.contains(destination) || known.len() < MOST_DESTINATIONS;
        let destination = if is_told_apart { destination } else { OTHERS }.to_owned();
        known.insert(destination.clone());
        let labels = vec![("destination", destination.clone())];
        let reasons = |family: &Family<Labels, Counter>, reason: &str| {
            family.get_or_create_owned(&[labels.clone(), vec![("reason", reason.to_owned())]].concat())
        };
        ToOne {
            pushes: self.pushes.clone(),
            sent_lines: self.sent_lines.get_or_create_owned(&labels),
            sent_bytes: self.sent_bytes.get_or_create_owned(&labels),
            retried_lines: self.retried_lines.get_or_create_owned(&labels),
            joined_lines: self.joined_lines.clone(),
            dropped: Reasons(Dropped::ALL.map(|why| reasons(&self.dropped_lines, why.as_str()))),
            changed: Reasons(Changed::ALL.map(|how| reasons(&self.changed_lines, how.as_str()))),
            last_dropped: self.last_dropped.clone(),
            destination,
        }
    }

    /// When lines were last dropped, in nanoseconds since 1970.
    pub fn last_dropped(&self) -> Option<i64> {
        self.last_dropped.get()
    }
}

impl Default for Counters {
    /// Counters that are not served.
    fn default() -> Self {
        let pushes: fn() -> Histogram = || Histogram::new(exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS));
        Self {
            sent_lines: Family::default(),
            sent_bytes: Family::default(),
            retried_lines: Family::default(),
            dropped_lines: Family::default(),
            changed_lines: Family::default(),
            joined_lines: Counter::default(),
            pushes: Family::new_with_constructor(pushes),
            known: Arc::default(),
            last_dropped: Arc::default(),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

// === impl ToOne ===

impl ToOne {
    /// Counts a request by its answer, or by how it failed.
    pub fn pushed(&self, answer: &Result<(), PushError>, took: Duration) {
        let code = answer.as_ref().map_or_else(PushError::code, |()| "204").to_owned();
        let labels = vec![("destination", self.destination.clone()), ("code", code)];
        self.pushes.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts lines that were dropped at `now`, in nanoseconds since 1970.
    pub fn dropped(&self, why: Dropped, lines: u64, now: i64) {
        self.dropped.0[why as usize].inc_by(lines);
        self.last_dropped.set(now);
    }
}

impl fmt::Debug for ToOne {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToOne").field(&self.destination).finish()
    }
}

// === impl Reasons ===

impl Reasons<2> {
    /// Counts lines that were sent in another form.
    pub fn add(&self, how: Changed, lines: u64) {
        self.0[how as usize].inc_by(lines);
    }
}

// === impl Dropped ===

impl Dropped {
    /// All reasons, in their order.
    pub const ALL: [Self; 7] = [
        Self::Overwritten,
        Self::Damaged,
        Self::Refused,
        Self::GivenUp,
        Self::Misaddressed,
        Self::TooCostly,
        Self::OverBudget,
    ];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overwritten => "overwritten",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Misaddressed => "misaddressed",
            Self::TooCostly => "too_costly",
            Self::OverBudget => "over_budget",
        }
    }
}

// === impl Changed ===

impl Changed {
    /// All ways, in their order.
    pub const ALL: [Self; 2] = [Self::Cut, Self::Retimed];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Retimed => "retimed",
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode_registry;

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        encode_registry(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn every_reason_is_there_before_the_first_line_is_dropped() {
        let mut registry = Registry::default();
        let counters = Counters::register(&mut registry);
        let to = counters.to("http://loki:3100");
        for why in Dropped::ALL {
            let series = format!("destination=\"http://loki:3100\",reason=\"{}\"}} 0\n", why.as_str());
            assert!(text(&registry).contains(&series), "{series}");
        }
        assert_eq!(counters.last_dropped(), None);
        to.dropped(Dropped::GivenUp, 3, 7);
        counters.to("http://other:3100").dropped(Dropped::GivenUp, 1, 9);
        assert_eq!(counters.last_dropped(), Some(9), "of all destinations");
        assert!(text(&registry).contains("reason=\"given_up\"} 3\n"));
    }

    #[test]
    fn what_is_dropped_is_added_up_over_all_destinations() {
        let counters = Counters::default();
        for (destination, lines) in [("a", 3), ("b", 4)] {
            counters.to(destination).dropped(Dropped::Refused, lines, 1);
        }
        let dropped = counters.dropped();
        assert_eq!((dropped.len(), dropped["refused"], dropped["overwritten"]), (Dropped::ALL.len(), 7, 0));
    }

    #[test]
    fn a_host_that_sees_ever_new_urls_has_no_ever_new_series() {
        let mut registry = Registry::default();
        let counters = Counters::register(&mut registry);
        for at in 0..2 * MOST_DESTINATIONS {
            counters.to(&format!("http://loki-{at}")).sent_lines.inc();
        }
        counters.to("http://loki-0").sent_lines.inc();
        let text = text(&registry);
        assert!(text.contains("loki_rs_sent_lines_total{destination=\"http://loki-0\"} 2\n"));
        assert!(text.contains(&format!("loki_rs_sent_lines_total{{destination=\"others\"}} {MOST_DESTINATIONS}\n")));
        assert_eq!(text.matches("loki_rs_sent_lines_total{").count(), MOST_DESTINATIONS + 1);
    }
}

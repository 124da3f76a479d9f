//! What the stage `metrics` counts, and the lines that stages drop: counters, gauges and histograms by name and labels.
//!
//! Bounded together with those of other containers, see [`Registries`](super::registries::Registries): beyond
//! [`MAX_SERIES`], and beyond [`MAX_PAGE`] bytes of the page of metrics, nothing new is counted until something goes. What idles for longer than its `max_idle_duration` goes when
//! somebody looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Labels;

/// Series in all.
pub const MAX_SERIES: usize = 10_000;

/// Bytes of the page of metrics that all series may have together, a sample for each bucket of a histogram.
pub const MAX_PAGE: usize = 16 << 20;

/// The same for one container.
pub const MAX_PAGE_OF_ONE: usize = 4 << 20;

/// Bytes of a sample besides its name and labels, quotes and an escape for each second byte left aside.
const SAMPLE: usize = 64;

/// Bytes of the labels of a series.
const MAX_LABELS: usize = 4096;

/// The name of the counter of dropped lines.
const DROPPED: &str = "logentry_dropped_lines_total";

/// The same by the value of the label that `limit` goes by.
const DROPPED_BY_LABEL: &str = "logentry_dropped_lines_by_label_total";

/// All metrics of one container.
#[derive(Debug, Default)]
pub struct Registry {
    families: Mutex<Families>,
    /// What there is of all who share the bounds.
    shared: Arc<Taken>,
    /// Bytes of the page that are its own.
    page: AtomicUsize,
}

/// What series take together.
#[derive(Debug, Default)]
pub struct Taken {
    series: AtomicUsize,
    page: AtomicUsize,
}

/// Families by name.
pub type Families = BTreeMap<String, Family>;

/// One metric with its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub help: String,
    pub kind: Kind,
    pub series: BTreeMap<Labels, Series>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// The upper bounds of its buckets, rising.
    Histogram(Vec<f64>),
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The value of a counter or gauge, the sum of a histogram.
    pub value: f64,
    /// How many values a histogram has seen.
    pub count: u64,
    /// How many of them went into each of its buckets, not counting those in lower ones.
    pub buckets: Vec<u64>,
    /// When it was changed for the last time.
    changed: i64,
    /// Bytes that it takes on the page, at most.
    page: usize,
    /// For how long it is kept without a change, in nanoseconds.
    max_idle: i64,
}

/// What happens to a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    Set(f64),
    Add(f64),
    Observe(f64),
}

/// A metric as a stage defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub name: String,
    pub help: String,
    pub kind: Kind,
    /// In nanoseconds.
    pub max_idle: i64,
}

// === impl Registry ===

impl Registry {
    /// An empty one whose series are counted in `series` with those of others.
    pub fn sharing(shared: &Arc<Taken>) -> Self {
        Self { families: Mutex::default(), shared: shared.clone(), page: AtomicUsize::new(0) }
    }

    /// Changes one series. Whatever does not fit the family of that name is passed over.
    pub fn change(&self, definition: &Definition, labels: &Labels, change: Change, now: i64) {
        let mut families = self.lock();
        if let Some(family) = families.get_mut(&definition.name) {
            if family.kind != definition.kind {
                return;
            }
            if let Some(series) = family.series.get_mut(labels) {
                series.change(&definition.kind, change, now);
                return;
            }
        }
        // Loki takes no such labels either.
        let size: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_LABELS {
            return;
        }
        let page = page_of(definition, labels, size);
        if !self.is_room(page) {
            return;
        }
        let family = families.entry(definition.name.clone()).or_insert_with(|| Family {
            help: definition.help.clone(),
            kind: definition.kind.clone(),
            series: BTreeMap::new(),
        });
        let mut series = Series::new(definition, page);
        series.change(&definition.kind, change, now);
        family.series.insert(labels.clone(), series);
    }

    /// Takes room for a series of this many bytes, when there is room.
    fn is_room(&self, page: usize) -> bool {
        let Taken { series, page: of_all } = self.shared.as_ref();
        let bounds = [(series, 1, MAX_SERIES), (&self.page, page, MAX_PAGE_OF_ONE), (of_all, page, MAX_PAGE)];
        for (at, (taken, more, most)) in bounds.iter().enumerate() {
            if !take(taken, *more, *most) {
                bounds[..at].iter().for_each(|(taken, more, _)| _ = taken.fetch_sub(*more, Ordering::Relaxed));
                return false;
            }
        }
        true
    }

    fn give_back(&self, series: usize, page: usize) {
        self.shared.series.fetch_sub(series, Ordering::Relaxed);
        self.shared.page.fetch_sub(page, Ordering::Relaxed);
        self.page.fetch_sub(page, Ordering::Relaxed);
    }

    /// Counts a line that a stage dropped.
    pub fn count_dropped(&self, reason: &str) {
        let help = "A count of all log lines dropped as a result of a pipeline stage";
        self.count(DROPPED, help, [("reason", reason)].into_iter().collect());
    }

    /// Counts a line that `limit` dropped for the value of a label.
    pub fn count_dropped_by_label(&self, name: &str, value: &str) {
        let help = "A count of all log lines dropped as a result of a pipeline stage by label";
        self.count(DROPPED_BY_LABEL, help, [("label_name", name), ("label_value", value)].into_iter().collect());
    }

    /// All families as they are at `now`, without series that idled for too long.
    pub fn collect(&self, now: i64) -> Families {
        let mut families = self.lock();
        for family in families.values_mut() {
            let (mut gone, mut page) = (0, 0);
            family.series.retain(|_, series| {
                let stays = now.saturating_sub(series.changed) < series.max_idle;
                if !stays {
                    gone += 1;
                    page += series.page;
                }
                stays
            });
            self.give_back(gone, page);
        }
        families.retain(|_, family| !family.series.is_empty());
        families.clone()
    }

    fn count(&self, name: &str, help: &str, labels: Labels) {
        let definition =
            Definition { name: name.to_owned(), help: help.to_owned(), kind: Kind::Counter, max_idle: i64::MAX };
        self.change(&definition, &labels, Change::Add(1.0), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Families> {
        // A panic in between left complete numbers.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let gone: usize = self.lock().values().map(|family| family.series.len()).sum();
        self.give_back(gone, self.page.load(Ordering::Relaxed));
    }
}

/// Takes this many more, when the limit allows it.
fn take(taken: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |now: usize| now.checked_add(more).filter(|sum| *sum <= most);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// Bytes that a series takes on the page, at most. Its family's help counts with each of its series.
fn page_of(definition: &Definition, labels: &Labels, size: usize) -> usize {
    let samples = match &definition.kind {
        Kind::Histogram(bounds) => bounds.len() + 3,
        Kind::Counter | Kind::Gauge => 1,
    };
    // An escape makes two bytes of one.
    let sample = SAMPLE + 2 * (definition.name.len() + size) + 8 * labels.iter().count();
    samples.saturating_mul(sample).saturating_add(2 * definition.help.len())
}

// === impl Series ===

impl Series {
    fn new(definition: &Definition, page: usize) -> Self {
        let buckets = match &definition.kind {
            Kind::Histogram(bounds) => bounds.len(),
            _ => 0,
        };
        let max_idle = definition.max_idle;
        Self { value: 0.0, count: 0, buckets: vec![0; buckets], changed: i64::MIN, page, max_idle }
    }

    /// When it was changed for the last time, in nanoseconds since 1970.
    pub fn changed(&self) -> i64 {
        self.changed
    }

    /// Adds what another series of the same kind has counted.
    pub fn add(&mut self, other: &Self) {
        self.value += other.value;
        self.count += other.count;
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, count)| *sum += count);
    }

    fn change(&mut self, kind: &Kind, change: Change, now: i64) {
        self.changed = now;
        match change {
            Change::Set(value) => self.value = value,
            Change::Add(value) => self.value += value,
            Change::Observe(value) => {
                self.value += value;
                self.count += 1;
                if let Kind::Histogram(bounds) = kind
                    && let Some(at) = bounds.iter().position(|bound| value <= *bound)
                {
                    self.buckets[at] += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str) -> Definition {
        Definition { name: name.to_owned(), help: String::new(), kind: Kind::Counter, max_idle: 10 }
    }

    fn label(value: &str) -> Labels {
        [("a", value)].into_iter().collect()
    }

    #[test]
    fn idle_series_go_when_somebody_looks() {
        let registry = Registry::default();
        registry.change(&counter("c"), &label("1"), Change::Add(1.0), 0);
        registry.change(&counter("c"), &label("2"), Change::Add(1.0), 5);
        assert_eq!(registry.collect(9)["c"].series.len(), 2);
        assert_eq!(registry.collect(10)["c"].series.len(), 1);
        assert!(registry.collect(15).is_empty());
    }

    #[test]
    fn series_have_an_end() {
        let registry = Registry::default();
        for value in 0..MAX_SERIES + 10 {
            registry.change(&counter("c"), &label(&value.to_string()), Change::Add(1.0), 0);
        }
        registry.change(&counter("d"), &label("x"), Change::Add(1.0), 0);
        registry.change(&counter("c"), &label("1"), Change::Add(1.0), 0);
        let families = registry.collect(1);
        assert_eq!(families["c"].series.len(), MAX_SERIES);
        assert_eq!(families["c"].series[&label("1")].value, 2.0);
        assert!(!families.contains_key("d"));
    }

    #[test]
    fn the_page_is_bounded_for_one_container_and_for_all() {
        let buckets = (1..=5_000).map(f64::from).collect();
        let histogram = Definition { kind: Kind::Histogram(buckets), max_idle: i64::MAX, ..counter("h") };
        let shared: Arc<Taken> = Arc::default();
        let registries: Vec<_> = (0..8).map(|_| Registry::sharing(&shared)).collect();
        let mut pages = Vec::new();
        for registry in &registries {
            for value in 0..200 {
                registry.change(&histogram, &label(&value.to_string()), Change::Observe(1.0), 0);
            }
            pages.push(super::super::exposition::text(&registry.collect(0)).len());
        }
        assert!(pages[0] > 0 && pages.iter().all(|page| *page <= MAX_PAGE_OF_ONE), "{pages:?}");
        assert!(pages.iter().sum::<usize>() <= MAX_PAGE, "{pages:?}");
        assert_eq!(pages.last(), Some(&0), "all have no room for the last one");
        drop(registries);
        assert_eq!((shared.series.load(Ordering::Relaxed), shared.page.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_name_has_one_type() {
        let registry = Registry::default();
        registry.change(&counter("c"), &label("1"), Change::Add(1.0), 0);
        let gauge = Definition { kind: Kind::Gauge, ..counter("c") };
        registry.change(&gauge, &label("1"), Change::Set(7.0), 0);
        assert_eq!(registry.collect(0)["c"].series[&label("1")].value, 1.0);
    }
}

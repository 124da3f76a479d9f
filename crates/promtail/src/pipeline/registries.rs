//! What the pipelines of all containers count, for one page of metrics.
//!
//! Each container has a registry of its own, which its pipeline keeps alive: when the container has left the plugin its
//! series go. The number of series is bounded for all together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::entry::{Labels, Name};
use super::registry::{Families, Family, Kind, Registry, Taken};

/// Names that begin so are the plugin's own, or those under which Prometheus writes how a scrape went.
const RESERVED: [&str; 3] = ["loki_rs_", "process_", "scrape_"];

/// The other name under which it does.
const UP: &str = "up";

/// What stands as help of a metric whose stage gives none.
const NO_HELP: &str = "Counted by the stage metrics of a pipeline";

/// The registries of all containers.
#[derive(Debug, Default)]
pub struct Registries {
    all: Mutex<Vec<Weak<Registry>>>,
    taken: Arc<Taken>,
}

// === impl Registries ===

impl Registries {
    /// A registry for one container. Its series are there for as long as somebody has it.
    pub fn for_container(&self) -> Arc<Registry> {
        let registry = Arc::new(Registry::sharing(&self.taken));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|registry| registry.strong_count() > 0);
        all.push(Arc::downgrade(&registry));
        registry
    }

    /// All families of all containers as they are at `now`, in nanoseconds since 1970.
    ///
    /// Of series with the same name and labels, counters and histograms are added, and of gauges the one that was changed
    /// last is shown. What no scrape could take is left out: a name of another type than it has in a container that came
    /// before, a name that the classic format does not allow, or that belongs to the plugin or to Prometheus. Labels are named as Loki's are.
    pub fn collect(&self, now: i64) -> Families {
        // Not under the lock: containers come and go meanwhile.
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut merged = Families::new();
        for registry in all.iter().filter_map(Weak::upgrade) {
            for (name, family) in registry.collect(now) {
                if is_shown(&name) {
                    merge(&mut merged, name, family);
                }
            }
        }
        let spread = |family: &Family| matches!(family.kind, Kind::Histogram(_));
        let spreads: Vec<_> =
            merged.iter().filter(|(_, family)| spread(family)).map(|(name, _)| name.clone()).collect();
        // A histogram's own lines have these names.
        for part in spreads.iter().flat_map(|name| ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))) {
            merged.remove(&part);
        }
        merged
    }
}

fn is_shown(name: &str) -> bool {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
    let begins = name.starts_with(|c: char| !c.is_ascii_digit());
    is_plain && begins && name != UP && !RESERVED.iter().any(|own| name.starts_with(own))
}

fn merge(merged: &mut Families, name: String, family: Family) {
    let Family { help, kind, series } = family;
    let help = if help.is_empty() { NO_HELP.to_owned() } else { help };
    let known = merged.entry(name).or_insert_with(|| Family { help, kind: kind.clone(), series: BTreeMap::new() });
    if known.kind != kind {
        return;
    }
    for (labels, one) in series {
        let labels = shown(&labels, &kind);
        match known.series.get_mut(&labels) {
            None => _ = known.series.insert(labels, one),
            Some(sum) if kind == Kind::Gauge => {
                if one.changed() >= sum.changed() {
                    *sum = one;
                }
            }
            Some(sum) => sum.add(&one),
        }
    }
}

/// Labels as a scrape takes them.
fn shown(labels: &Labels, kind: &Kind) -> Labels {
    let mut shown = Labels::default();
    for (name, value) in labels.iter() {
        let mut plain = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        if plain.starts_with(|c: char| c.is_ascii_digit()) {
            plain.insert(0, '_');
        }
        // A histogram's buckets have this label; those that begin so are Prometheus' own, and a second `__name__` would
        // cost the whole scrape.
        let is_taken = plain.starts_with("__") || (plain == "le" && matches!(kind, Kind::Histogram(_)));
        if !plain.is_empty() && !is_taken {
            shown.set(Name::from(plain), value.clone());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::registry::{Change, Definition, MAX_SERIES};

    fn define(name: &str, kind: Kind) -> Definition {
        Definition { name: name.to_owned(), help: String::new(), kind, max_idle: i64::MAX }
    }

    fn labels(name: &str, value: &str) -> Labels {
        [(name, value)].into_iter().collect()
    }

    #[test]
    fn containers_add_up_and_what_is_gone_is_gone() {
        let registries = Registries::default();
        let (one, two) = (registries.for_container(), registries.for_container());
        let (counter, gauge) = (define("c", Kind::Counter), define("g", Kind::Gauge));
        let histogram = define("h", Kind::Histogram(vec![1.0, 2.0]));
        for (registry, at, value) in [(&one, 5, 1.0), (&two, 3, 2.0)] {
            registry.change(&counter, &labels("a", "x"), Change::Add(value), at);
            registry.change(&gauge, &labels("a", "x"), Change::Set(value), at);
            registry.change(&histogram, &labels("a", "x"), Change::Observe(value), at);
        }
        let families = registries.collect(6);
        let value = |name: &str| families[name].series[&labels("a", "x")].value;
        assert_eq!((value("c"), value("g"), value("h")), (3.0, 1.0, 3.0));
        let spread = &families["h"].series[&labels("a", "x")];
        assert_eq!((spread.count, &spread.buckets[..]), (2, &[1, 1][..]));
        drop(one);
        assert_eq!(registries.collect(6)["c"].series[&labels("a", "x")].value, 2.0);
        drop(two);
        assert!(registries.collect(6).is_empty());
    }

    #[test]
    fn all_containers_share_one_bound_and_make_room_when_they_go() {
        let registries = Registries::default();
        let (one, two) = (registries.for_container(), registries.for_container());
        let counter = define("c", Kind::Counter);
        for value in 0..MAX_SERIES {
            one.change(&counter, &labels("a", &value.to_string()), Change::Add(1.0), 0);
        }
        two.change(&counter, &labels("b", "x"), Change::Add(1.0), 0);
        assert_eq!(registries.collect(0)["c"].series.len(), MAX_SERIES);
        drop(one);
        two.change(&counter, &labels("b", "x"), Change::Add(1.0), 0);
        assert_eq!(registries.collect(0)["c"].series.len(), 1);
    }

    #[test]
    fn what_would_break_a_scrape_is_left_out() {
        let registries = Registries::default();
        let (one, two) = (registries.for_container(), registries.for_container());
        for name in ["c", "loki_rs_sent_lines_total", "process_threads", "up", "scrape_x", "not.plain", "9c", "h_count"]
        {
            one.change(&define(name, Kind::Counter), &labels("a.b", "x"), Change::Add(1.0), 0);
        }
        one.change(&define("d", Kind::Counter), &labels("-_name_-", "c"), Change::Add(1.0), 0);
        two.change(&define("c", Kind::Gauge), &labels("a.b", "y"), Change::Set(7.0), 0);
        two.change(&define("h", Kind::Histogram(vec![1.0])), &labels("le", "x"), Change::Observe(1.0), 0);
        assert_eq!(
            crate::pipeline::exposition::text(&registries.collect(0)),
            "# HELP c Counted by the stage metrics of a pipeline\n# TYPE c counter\nc{a_b=\"x\"} 1\n\
             # HELP d Counted by the stage metrics of a pipeline\n# TYPE d counter\nd 1\n\
             # HELP h Counted by the stage metrics of a pipeline\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n\
             h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"
        );
    }
}

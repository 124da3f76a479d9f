//! Metrics as Prometheus' text format 0.0.4.
//!
//! The library writes OpenMetrics, which differs in three lines: there a counter's metadata goes without `_total`, a unit
//! is said, and the end is marked. What the stage `metrics` of a pipeline counts has the names that users gave it, which
//! OpenMetrics would not take, so the older format it is, for all scrapers read it.

use std::fmt::{self, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Report;
use crate::streams::view::{ContainerView, LaneView};

/// The type of what [`text`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The counters of the process, and what is known of containers and destinations now.
///
/// # Errors
/// When something cannot be written as a metric, which is a mistake of the program.
pub fn text(counters: &Registry, report: Report) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, counters)?;
    let mut now = Registry::default();
    now.register_collector(Box::new(Now(report)));
    encode_registry(&mut text, &now)?;
    classic(&text)
}

/// OpenMetrics as the older format.
fn classic(text: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT"), ..) | (Some("#"), Some("EOF"), ..) => {}
            (Some("#"), Some("HELP"), Some(name), help) => {
                // The type comes next.
                let is_counter = lines.peek().is_some_and(|line| line.ends_with(" counter"));
                let total = if is_counter { "_total" } else { "" };
                writeln!(out, "# HELP {name}{total} {}", help.unwrap_or_default())?;
            }
            (Some("#"), Some("TYPE"), Some(name), Some("counter")) => writeln!(out, "# TYPE {name}_total counter")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(out)
}

/// What is not counted but looked at.
#[derive(Debug)]
struct Now(Report);

type Labels<'a> = Vec<(&'static str, &'a str)>;

// === impl Now ===

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.plugin(&mut encoder)?;
        self.destinations(&mut encoder)?;
        self.containers(&mut encoder)?;
        self.lanes(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Now {
    fn plugin(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Report { version, view, .. } = &self.0;
        gauge(encoder, "loki_rs_build_info", "The plugin's version", [(vec![("version", *version)], 1.0)])?;
        let open = view.containers.len() + view.unlisted;
        for (name, help, value) in [
            ("loki_rs_open_containers", "Containers that are logged, or have lines that were not sent", open as f64),
            (
                "loki_rs_unlisted_containers",
                "Open containers without series of their own, beyond the limit",
                view.unlisted as f64,
            ),
            (
                "loki_rs_bad_settings",
                "Settings of the plugin that cannot be used; new containers are refused meanwhile",
                view.bad_settings.len() as f64,
            ),
            (
                "loki_rs_unusable_containers",
                "Containers whose lines are buffered and not sent, because options or a file that they name cannot be used",
                view.unusable as f64,
            ),
            (
                "loki_rs_stranded_containers",
                "Stopped containers with lines that cannot be sent, because of the plugin's settings or a damaged description, and are kept",
                view.stranded as f64,
            ),
            (
                "loki_rs_unlogged_streams",
                "Streams drained without being stored, because the plugin has no record of them or cannot open their ring",
                view.unlogged_streams as f64,
            ),
            (
                "loki_rs_rings_bytes",
                "What all rings took on disk when they were looked over last, those of stopped containers too",
                view.rings_bytes as f64,
            ),
            ("loki_rs_rings_budget_bytes", "What all rings may take (RING_BUDGET)", view.rings_budget_bytes as f64),
        ] {
            gauge(encoder, name, help, [(Vec::new(), value)])?;
        }
        Ok(())
    }

    /// Those that differ in tenant or credentials have one name, and are up when all of them are.
    fn destinations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut found: Vec<(&str, bool, Option<i64>)> = Vec::new();
        for destination in &self.0.view.destinations {
            match found.iter_mut().find(|(url, ..)| *url == destination.url) {
                Some((_, up, last)) => {
                    *up &= destination.up;
                    *last = (*last).max(destination.last_success);
                }
                None => found.push((&destination.url, destination.up, destination.last_success)),
            }
        }
        gauge(
            encoder,
            "loki_rs_destination_up",
            "1, or 0 from a push that failed until one succeeds",
            found.iter().map(|(url, up, _)| (vec![("destination", *url)], f64::from(u8::from(*up)))),
        )?;
        let successes =
            found.iter().filter_map(|(url, _, last)| Some((vec![("destination", *url)], seconds((*last)?))));
        gauge(encoder, "loki_rs_destination_last_success_timestamp_seconds", "When Loki took lines last", successes)
    }

    fn containers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.0.view.containers;
        let of =
            |value: fn(&ContainerView) -> u64| all.iter().map(move |container| (named(container), value(container)));
        let name = "loki_rs_container_appended_lines";
        counter(encoder, name, "Lines that the container wrote", of(|container| container.lines))?;
        let name = "loki_rs_container_appended_bytes";
        counter(encoder, name, "Their bytes in the ring", of(|container| container.bytes))?;
        let name = "loki_rs_container_ring_overwritten_lines";
        counter(
            encoder,
            name,
            "Lines that docker logs no longer has",
            of(|container| container.ring.overwritten_lines),
        )?;
        let of = |value: fn(&ContainerView) -> u64| {
            all.iter().map(move |container| (named(container), value(container) as f64))
        };
        let name = "loki_rs_container_ring_bytes";
        gauge(encoder, name, "What the ring takes", of(|container| container.ring.bytes))?;
        let name = "loki_rs_container_ring_limit_bytes";
        gauge(
            encoder,
            name,
            "The most it may take (max-size times max-file)",
            of(|container| container.ring.limit_bytes),
        )?;
        let oldest = all.iter().filter_map(|container| Some((named(container), seconds(container.ring.oldest_line?))));
        let name = "loki_rs_container_ring_oldest_line_timestamp_seconds";
        gauge(encoder, name, "When the oldest line was written that docker logs has", oldest)
    }

    fn lanes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all: Vec<(Labels<'_>, &LaneView)> = self
            .0
            .view
            .containers
            .iter()
            .flat_map(|container| container.destinations.iter().map(move |lane| (container, lane)))
            .map(|(container, lane)| {
                let destination = vec![("destination", lane.destination.as_str())];
                ([named(container), destination].concat(), lane)
            })
            .collect();
        let of = |value: fn(&LaneView) -> u64| all.iter().map(move |(labels, lane)| (labels.clone(), value(lane)));
        counter(encoder, "loki_rs_container_sent_lines", "Lines that Loki took", of(|lane| lane.sent_lines))?;
        let name = "loki_rs_container_dropped_lines";
        counter(encoder, name, "Lines that will never get to Loki", of(LaneView::dropped))?;
        let of = |value: fn(&LaneView) -> f64| all.iter().map(move |(labels, lane)| (labels.clone(), value(lane)));
        let name = "loki_rs_container_lag_lines";
        gauge(encoder, name, "Lines that Loki has not taken yet", of(|lane| lane.lag_lines as f64))?;
        gauge(encoder, "loki_rs_container_lag_bytes", "Their bytes in the ring", of(|lane| lane.lag_bytes as f64))?;
        gauge(encoder, "loki_rs_container_lag_seconds", "The age of the oldest of them", of(|lane| lane.lag_seconds))
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(process) = self.0.process else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time, user and system",
            None,
            MetricType::Counter,
        )?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory that the process has", process.resident_bytes as f64),
            ("process_virtual_memory_bytes", "Memory that it could address", process.virtual_bytes as f64),
            ("process_threads", "Threads", process.threads as f64),
            ("process_open_fds", "Open file descriptors", process.open_fds as f64),
            ("process_max_fds", "The most it may have open", process.max_fds as f64),
            ("process_start_time_seconds", "When the process began", process.start_seconds),
        ] {
            gauge(encoder, name, help, [(Vec::new(), value)])?;
        }
        Ok(())
    }
}

fn named(container: &ContainerView) -> Labels<'_> {
    vec![("container_id", &container.id), ("container_name", &container.name)]
}

fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn counter<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    series.into_iter().try_for_each(|(labels, value)| ConstCounter::new(value).encode(family.encode_family(&labels)?))
}

fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    series.into_iter().try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_says_total_also_in_the_metadata_and_neither_unit_nor_end() {
        let open = "# HELP a_seconds It counts.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{x=\"y z\"} 1\n# HELP g is\n# TYPE g gauge\ng 2\n# EOF\n";
        let expected = "# HELP a_seconds_total It counts.\n# TYPE a_seconds_total counter\na_seconds_total{x=\"y z\"} 1\n\
                        # HELP g is\n# TYPE g gauge\ng 2\n";
        assert_eq!(classic(open).unwrap(), expected);
    }
}

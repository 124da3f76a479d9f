//! Expressions of alerts during a real outage, a real loss, and without the plugin.
//!
//! promtool tests how long each waits before it fires ([`super::alerts`]); here the expressions must be true when they
//! should be.

use super::alerts::alerts;
use super::promql::config;
use crate::harness::plugin::Start;
use crate::harness::prometheus::Prometheus;
use crate::harness::status::free_address;
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Failure, Standin, Times};

/// A plugin that is scraped, and a container that logs by it.
struct Watched {
    scene: Scene,
    prometheus: Prometheus,
}

impl Watched {
    fn new() -> Self {
        let address = free_address();
        let scene = Scene::with(Start::default().set("METRICS_ADDR", &address), Standin::builder());
        Self { scene, prometheus: Prometheus::start(&config(&address)) }
    }

    /// Whether the expression of an alert holds for any series.
    #[track_caller]
    fn alarms(&self, name: &str) -> bool {
        let alerts = alerts();
        let alert =
            alerts.iter().find(|alert| alert.name == name).unwrap_or_else(|| panic!("there is no alert {name}"));
        let answer = self.prometheus.query(&alert.expr).unwrap_or_else(|error| panic!("{name}: {error}"));
        !answer.is_empty()
    }

    /// Waits until Prometheus has seen this.
    fn sees(&self, expression: &str) {
        let holds =
            || !self.prometheus.query(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).is_empty();
        assert_eventually!(holds(), "Prometheus sees {expression}");
    }
}

#[test]
fn loki_is_away_the_log_fills_and_is_overwritten() {
    let watched = Watched::new();
    let web = watched.scene.container("web").option("max-size", "256k").option("max-file", "2").start();
    web.out("before");
    watched.scene.wait_for_lines("web", 1);
    watched.sees("loki_rs_container_ring_limit_bytes and on () loki_rs_destination_up == 1");
    let all = ["LokiRsDestinationDown", "LokiRsRingFilling", "LokiRsLinesDropped", "LokiRsGone"];
    assert_eq!(all.map(|name| watched.alarms(name)), [false; 4], "all is well");

    watched.scene.loki.fail(Failure::Status { code: 503, body: String::new() }, Times::UntilHealed);
    web.out("during");
    assert_eventually!(watched.alarms("LokiRsDestinationDown"));
    assert!(!watched.alarms("LokiRsRingFilling"), "one line does not fill it");
    web.out_all(numbered("more", 2_800, 100));
    assert_eventually!(watched.alarms("LokiRsRingFilling"), "half of 512 kB is unsent");
    assert!(!watched.alarms("LokiRsLinesDropped"), "nothing is lost yet: the alert came before");
    web.out_all(numbered("much", 4_000, 100));
    assert_eventually!(watched.alarms("LokiRsLinesDropped"));

    watched.scene.loki.heal();
    assert_eventually!(!watched.alarms("LokiRsDestinationDown") && !watched.alarms("LokiRsRingFilling"));
    watched.sees("count_over_time(process_start_time_seconds[15m]) > 4");
    assert!(!watched.alarms("LokiRsRestarts"), "it is the same process all the time");
}

#[test]
fn loki_takes_some_and_refuses_much() {
    let watched = Watched::new();
    let web = watched.scene.container("web").start();
    web.out("before");
    watched.scene.wait_for_lines("web", 1);
    watched.sees("loki_rs_push_duration_seconds_count{code=\"204\"}");
    assert!(!watched.alarms("LokiRsPushesRefused"));
    let mut said = 1;
    let mut refused_again = || {
        watched.scene.loki.fail(Failure::Status { code: 429, body: String::new() }, Times::Next(3));
        web.out("again");
        said += 1;
        watched.scene.wait_for_lines("web", said);
        watched.alarms("LokiRsPushesRefused")
    };
    assert_eventually!(refused_again(), "pushes that are refused and repeated are told");
    assert!(!watched.alarms("LokiRsLinesDropped"), "and nothing is lost by it");
}

#[test]
fn the_plugin_is_gone() {
    let mut watched = Watched::new();
    watched.sees("up{job=\"loki-rs\"} == 1");
    assert!(!watched.alarms("LokiRsGone"));
    watched.scene.plugin.kill();
    assert_eventually!(watched.alarms("LokiRsGone"));
    watched.scene.plugin.restart();
    assert_eventually!(!watched.alarms("LokiRsGone"));

    for starts in 1..=3 {
        watched.sees(&format!("changes(process_start_time_seconds[15m]) == {starts}"));
        assert_eq!(watched.alarms("LokiRsRestarts"), starts > 2);
        if starts < 3 {
            watched.scene.plugin.kill();
            watched.scene.plugin.restart();
        }
    }
}

//! What a managed plugin does can be seen from outside of it.

use std::path::PathBuf;

use super::stage::{Engine, Scene, eventually, numbered};
use crate::harness::status::{Scrape, promtool};
use crate::standin::{Failure, Times};

#[test]
fn metrics_of_a_managed_plugin_tell_of_an_outage_while_it_lasts() {
    let engine = Engine::shared();
    let path = "/run/docker/logging/loki-rs/metrics.sock";
    let plugin = engine.install("loki-rs-seen", &[&format!("METRICS_ADDR=unix:{path}")]);
    // Where dockerd keeps the plugin's files, the name would be longer than the kernel takes for a socket.
    let socket = PathBuf::from(format!("/proc/{}/root{path}", plugin.pid().expect("it runs")));
    let scene = Scene::with("seen", &plugin);
    eventually("the socket is there", || socket.exists());

    scene.loki.fail(Failure::Status { code: 503, body: "later".into() }, Times::UntilHealed);
    let container = scene.container("web").run_well(&["lines:1000"]);
    let of = [("container_name", container.name.as_str())];
    let during = || Scrape::at(&socket);
    eventually("the destination is down", || during().sum("loki_rs_destination_up", &[]) == Some(0.0));
    let seen = during();
    assert_eq!(promtool(&seen.text), "", "of:\n{}", seen.text);
    assert_eq!(seen.value("loki_rs_container_lag_lines", &of), 1000.0);
    assert!(seen.value("loki_rs_container_lag_seconds", &of) > 0.0);
    assert!(seen.value("process_open_fds", &[]) > 0.0, "there is a /proc in the plugin");

    scene.loki.heal();
    scene.expect_lines(&container, numbered(1000));
    eventually("its series go", || during().sum("loki_rs_container_lag_lines", &of).is_none());
    let after = during();
    assert_eq!(after.value("loki_rs_sent_lines_total", &[]), 1000.0);
    assert_eq!(after.value("loki_rs_dropped_lines_total", &[]), 0.0);
}

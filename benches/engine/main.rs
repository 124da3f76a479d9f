//! The times of a container and a reader: 300,000 lines through a real Docker Engine, beside Docker's own log drivers.
//!
//! A private engine, as in the tests; `make bench-docker` builds what it needs. The drivers take turns, and of several
//! turns the median counts.

#[path = "../../tests/harness/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../driver/sink.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod sink;
#[path = "../../tests/engine/stage/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod stage;
#[path = "../../tests/standin/mod.rs"]
mod standin;

use std::process::Stdio;
use std::time::{Duration, Instant};

use stage::{Container, Plugin, Scene};

const DRIVERS: [&str; 3] = ["json-file", "local", "loki-rs"];
const LINES: usize = 300_000;
const TURNS: usize = 7;

fn main() {
    let plugin: &'static Plugin<'static> = Plugin::shared();
    let scene = Scene::with("bench", plugin);
    let sink = sink::Sink::start();
    let (mut writing, mut reading) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for turn in 0..TURNS {
        for (at, driver) in DRIVERS.iter().enumerate() {
            let name = format!("{driver}-{turn}");
            let mut draft = scene.bare_container(&name, driver);
            if *driver == "loki-rs" {
                draft = draft.option("loki-url", &sink.url());
            }
            // The others keep 100 MB, too.
            let draft = draft.option("max-size", "20m").option("max-file", "5");
            let container = draft.run_well(&[&format!("lines:{LINES}")]);
            writing[at].push(ran_for(&container));
            reading[at].push(read(&scene, &container));
        }
    }
    println!("| {LINES} lines | {} |", DRIVERS.join(" | "));
    println!("| --- | --- | --- | --- |");
    for (what, times) in [("the container runs for", writing), ("docker logs takes", reading)] {
        let medians = times.map(median);
        let cells =
            medians.map(|time| format!("{:.2} s ({:.2})", time.as_secs_f64(), time.div_duration_f64(medians[0])));
        println!("| {what} | {} |", cells.join(" | "));
    }
}

/// From the start of the container's process to its end, as dockerd noted them.
fn ran_for(container: &Container) -> Duration {
    let at = |field: &str| -> jiff::Timestamp {
        container.inspect(&format!("{{{{.State.{field}}}}}")).parse().expect("a time as dockerd writes it")
    };
    at("FinishedAt").duration_since(at("StartedAt")).unsigned_abs()
}

fn read(scene: &Scene, container: &Container) -> Duration {
    assert_eq!(container.lines(&["--tail", "1"]), [format!("line {LINES}")]);
    // As in a terminal that keeps up: the reader of the output is not part of the measurement.
    let mut docker = scene.engine.command(["logs", &container.name]);
    let start = Instant::now();
    let status = docker.stdout(Stdio::null()).status().expect("docker can be run");
    assert!(status.success(), "docker logs ended with {status}");
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

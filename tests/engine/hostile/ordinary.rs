//! Ordinary containers, and how long Docker's commands take for them.

use crate::engine::stage::{Container, Scene, difference, eventually, numbered};
use std::fmt;
use std::time::{Duration, Instant};

/// Lines that each container writes a second, and how many of them at once.
const PACE: &str = "lines:1000000@100/5";

/// Lines of each container that must reach Loki for [`all_write_on`].
const MORE: usize = 100;

/// A container without options of its own.
pub struct Ordinary<'a> {
    pub container: Container<'a>,
}

/// How long `docker run`, `docker logs` and `docker stop` took, each time.
#[derive(Default)]
pub struct Durations {
    run: Vec<Duration>,
    logs: Vec<Duration>,
    stop: Vec<Duration>,
}

/// Starts containers that write until they are stopped.
pub fn start<'a>(scene: &'a Scene<'a>, name: &str, count: usize, times: &mut Durations) -> Vec<Ordinary<'a>> {
    let start = |number| {
        let begin = Instant::now();
        let draft = scene.bare_container(&format!("{name}-{number}"), &scene.plugin.name);
        let container = draft.start(&[PACE, "wait"]);
        times.run.push(begin.elapsed());
        Ordinary { container }
    };
    (1..=count).map(start).collect()
}

/// Waits until Loki has more lines of each container than it has now.
pub fn all_write_on(scene: &Scene, containers: &[Ordinary]) {
    let count = |container: &Container| scene.loki.count(&[("container_name", &container.name)]);
    let before: Vec<usize> = containers.iter().map(|ordinary| count(&ordinary.container)).collect();
    for (ordinary, before) in containers.iter().zip(before) {
        let name = &ordinary.container.name;
        eventually(&format!("Loki has more lines of {name} than {before}"), || {
            count(&ordinary.container) >= before + MORE
        });
    }
}

/// Stops the containers, and compares what they wrote with Loki.
pub fn end(scene: &Scene, containers: Vec<Ordinary>, times: &mut Durations) {
    for Ordinary { container } in &containers {
        times.logs.push(container.timed(&["logs", "--tail", "10"]));
    }
    for Ordinary { container } in &containers {
        times.stop.push(container.timed(&["stop"]));
    }
    for Ordinary { container } in &containers {
        let lines = container.lines(&[]);
        assert!(lines.len() >= MORE, "{} wrote {} lines", container.name, lines.len());
        assert_eq!(difference(&lines, &numbered(lines.len())), None, "docker logs of {}", container.name);
        scene.expect_lines(container, &lines);
        let labels = [("container_name", container.name.as_str())];
        scene.loki.each(&labels, |line, _, metadata| {
            let has_id = metadata.iter().any(|(name, _)| name == "container_id");
            assert!(has_id, "{}: \"{}\" came with {metadata:?}", container.name, line.escape_ascii());
        });
    }
}

// === impl Durations ===

impl Durations {
    /// The slowest command of all.
    pub fn slowest(&self) -> Duration {
        let all = self.commands().into_iter().flat_map(|(_, durations)| durations);
        all.copied().max().expect("commands were run")
    }

    /// Expects that every command answered in time.
    pub fn expect_within(&self, allowed: Duration) {
        for (command, durations) in self.commands() {
            let slowest = durations.iter().copied().max().expect("it was run");
            assert!(slowest <= allowed, "docker {command} took {slowest:?} beside hostile containers, not {allowed:?}");
        }
    }

    fn commands(&self) -> [(&'static str, &[Duration]); 3] {
        [("run", &self.run), ("logs", &self.logs), ("stop", &self.stop)]
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (command, durations) in self.commands() {
            let mut sorted = durations.to_vec();
            sorted.sort();
            let (middle, last) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
            write!(f, "docker {command} median {middle:.0?}, slowest {last:.0?}; ")?;
        }
        Ok(())
    }
}

//! A plugin with containers that log to a sink.

use std::thread;

use crate::harness::assert_eventually;
use crate::harness::dockerd::{Container, Dockerd, Run};
use crate::harness::plugin::{Plugin, Start};
use crate::sink::Sink;

/// Declared in the order in which they go down.
pub struct Stage {
    pub dockerd: Dockerd,
    pub plugin: Plugin,
    pub sink: Sink,
}

// === impl Stage ===

impl Stage {
    pub fn new() -> Self {
        Self::with(Start::default())
    }

    /// With a plugin that is started like this.
    pub fn with(start: Start) -> Self {
        let (sink, plugin) = (Sink::start(), start.start());
        Self { dockerd: Dockerd::new(&plugin), plugin, sink }
    }

    /// A container that logs to the sink, with defaults.
    pub fn container(&self, name: &str) -> Container {
        self.dockerd.container(name).option("loki-url", &self.sink.url())
    }

    /// Containers whose rings lose nothing however far the sink is behind.
    pub fn start(&self, count: usize) -> Vec<Run> {
        let container = |at| self.container(&format!("bench-{at}")).option("max-size", "1g");
        (0..count).map(|at| container(at).start()).collect()
    }
}

/// How frames get into a FIFO.
pub type Writing = fn(&Run, &[u8]);

/// Each container writes the same frames, as fast as it may, until the plugin has taken them all.
pub fn write_all(runs: &[Run], frames: &[u8], write: Writing) {
    thread::scope(|threads| {
        for run in runs {
            threads.spawn(|| write(run, frames));
        }
    });
    assert_eventually!(runs.iter().all(|run| !run.has_unread()), "all is taken");
}

/// Writes frames each by itself, as dockerd does.
pub fn write_each(run: &Run, mut frames: &[u8]) {
    while let Some((length, _)) = frames.split_first_chunk() {
        let (frame, rest) = frames.split_at(size_of_val(length) + u32::from_be_bytes(*length) as usize);
        run.write(frame);
        frames = rest;
    }
}

/// The middle of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! The cost as work grows, drawn as plots; straight lines are expected.

use crate::plot::Plot;
use crate::stage::{Stage, median};
use crate::{cost, load, read};

const TURNS: usize = 3;

pub fn play() {
    let lines = [250_000, 500_000, 1_000_000, 2_000_000, 4_000_000];
    let points = lines.map(|lines| {
        let frames = load::frames(lines, 100);
        let seconds =
            median((0..TURNS).map(|_| cost::measure(&frames, lines, 1).cpu_us * lines as f64 / 1e6).collect());
        (lines as f64 / 1e6, seconds)
    });
    Plot::new("Processor time by lines", "million lines of 100 bytes, one container", "seconds")
        .write("lines", &points);

    let points = [1, 2, 5, 10, 25, 50, 100].map(|containers| {
        let lines = 1_000_000 / containers;
        let frames = load::frames(lines, 100);
        let us = median((0..TURNS).map(|_| cost::measure(&frames, lines, containers).cpu_us).collect());
        (containers as f64, us)
    });
    Plot::new("Processor time by containers", "containers that share a million lines", "µs a line")
        .write("containers", &points);

    let points = [10, 25, 50, 100, 200, 400].map(|megabytes| {
        let stage = Stage::new();
        let run = read::full(&stage, megabytes);
        let [(_, tail), _] = read::questions();
        let (_, time) = read::ask(&run, tail);
        run.stop();
        (megabytes as f64, time.as_secs_f64() * 1e3)
    });
    Plot::new("docker logs --tail 10 by size of the ring", "megabytes", "ms").write("rings", &points);
}

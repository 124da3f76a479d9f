//! From a line's write(2) to its place in Loki, on a host that is idle otherwise.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::dockerd::now;
use crate::harness::frame::Entry;
use crate::stage::Stage;

/// Lines, and how far they are apart. That is no divisor of a wait, so that all phases of a batch occur.
const LINES: u32 = 1500;
const APART: Duration = Duration::from_millis(7);

pub fn play() {
    println!("| loki-batch-wait | median | 99 % | longest |");
    println!("| --- | --- | --- | --- |");
    for wait in ["1s", "100ms", "10ms"] {
        let ages = ages(wait);
        let at = |share: f64| ages[((ages.len() - 1) as f64 * share) as usize] as f64 / 1e6;
        println!("| {wait} | {:.1} ms | {:.1} ms | {:.1} ms |", at(0.5), at(0.99), at(1.0));
    }
}

fn ages(wait: &str) -> Vec<u64> {
    let stage = Stage::new();
    let run = stage.container("bench").option("loki-batch-wait", wait).start();
    let start = Instant::now();
    for at in 0..LINES {
        thread::sleep((APART * at).saturating_sub(start.elapsed()));
        let time = now();
        run.log(&Entry::new("stdout", time, format!("{time} a line that knows when it was written")));
    }
    stage.sink.wait_for(u64::from(LINES));
    run.stop();
    stage.sink.ages()
}

//! The cost of `/metrics` and the status page, with many containers that all wait for Loki.

use std::time::Instant;

use crate::harness::plugin::Start;
use crate::harness::status::get;
use crate::process;
use crate::stage::{Stage, median};

/// A URL without a Loki.
const NOBODY: &str = "http://127.0.0.1:1/loki/api/v1/push";

/// How often each is asked for.
const TIMES: usize = 20;

pub fn play() {
    println!("| containers behind | asked for | bytes | CPU | takes |");
    println!("| --- | --- | --- | --- | --- |");
    for count in [10, 100, 1000] {
        let stage = Stage::with(Start::default().serve_status());
        // The oldest line of each container has to be looked up in its ring.
        let start = |at| stage.container(&format!("bench-{at}")).option("loki-url", NOBODY).start();
        let runs: Vec<_> = (0..count).map(start).collect();
        runs.iter().for_each(|run| run.out_all((0..50).map(|at| format!("line {at} that waits"))));
        for path in ["/metrics", "/status.json", "/"] {
            let mut taken = Vec::new();
            let (before, mut bytes) = (process::processor_time(stage.plugin.pid()), 0);
            for _ in 0..TIMES {
                let begun = Instant::now();
                bytes = get(&stage.plugin, path).len();
                taken.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            let cpu = (process::processor_time(stage.plugin.pid()) - before).as_secs_f64() * 1e3 / TIMES as f64;
            println!("| {count} | `{path}` | {bytes} | {cpu:.1} ms | {:.1} ms |", median(taken));
        }
        runs.into_iter().for_each(|run| _ = run.stop());
    }
}

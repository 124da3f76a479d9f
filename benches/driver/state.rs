//! Memory of the plugin, idle and busy.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::dockerd::Run;
use crate::stage::Stage;
use crate::{load, process};

/// How long containers write. The resident set settles within the first second.
const BUSY: Duration = Duration::from_secs(4);

pub fn play() {
    println!("| containers | resident, at most | of its own, at most | open files |");
    println!("| --- | --- | --- | --- |");
    for (what, count, rate) in
        [("1 busy, 100,000 lines/s", 1, 100_000), ("100 busy, 1,000 lines/s each", 100, 1000), ("1,000 idle", 1000, 0)]
    {
        let (all, own, files) = measure(count, rate);
        println!("| {what} | {:.1} MB | {:.1} MB | {files} |", all as f64 / 1024.0, own as f64 / 1024.0);
    }
}

/// Resident memory in KiB, with and without files, and open files, of a plugin with `count` containers that write
/// `rate` lines a second each. Idle containers have written one line.
fn measure(count: usize, rate: usize) -> (u64, u64, usize) {
    let stage = Stage::new();
    let runs = stage.start(count);
    runs.iter().for_each(|run| run.out("a line of one who is idle from now on"));
    stage.sink.wait_for(count as u64);
    // Twenty bursts a second.
    let burst = load::frames(rate / 20, 100);
    let start = Instant::now();
    let (mut all, mut own) = (0, 0);
    while start.elapsed() < BUSY {
        let begun = Instant::now();
        write_slices(&runs, &burst);
        own = own.max(process::kib(stage.plugin.pid(), "RssAnon"));
        all = all.max(process::kib(stage.plugin.pid(), "VmRSS"));
        thread::sleep(Duration::from_millis(50).saturating_sub(begun.elapsed()));
    }
    let files = stage.plugin.files().len();
    for run in runs {
        run.stop();
    }
    (all, own, files)
}

fn write_slices(runs: &[Run], burst: &[u8]) {
    if !burst.is_empty() {
        runs.iter().for_each(|run| run.write(burst));
    }
}

//! `docker logs` on a full ring of 100 MB: from the request to the end of the answer.

use std::time::{Duration, Instant};

use crate::harness::assert_eventually;
use crate::harness::dockerd::{Query, Run, now};
use crate::load;
use crate::stage::{Stage, median};

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;

/// Questions, of which the median counts.
const TURNS: usize = 21;

pub fn play() {
    let stage = Stage::new();
    let run = full(&stage, 100);
    println!("| question | entries | time |");
    println!("| --- | --- | --- |");
    for (name, query) in questions() {
        let (entries, time) = ask(&run, query);
        println!("| {name} | {entries} | {:.2} ms |", time.as_secs_f64() * 1e3);
    }
    run.stop();
}

/// A container whose ring of this many megabytes was filled hours ago, except for ten lines.
pub fn full(stage: &Stage, megabytes: usize) -> Run {
    let size = format!("{megabytes}m");
    let run = stage.container("full").option("max-size", &size).option("max-file", "1").start();
    let (mut written, mut time) = (0, now() - 10 * HOUR);
    while written < megabytes * 1_100_000 {
        let frames = load::frames_from(time, 100_000, 100);
        run.write(&frames);
        (written, time) = (written + frames.len(), time + MINUTE);
    }
    run.write(&load::frames(10, 100));
    assert_eventually!(!run.has_unread());
    run
}

/// Both find the last ten lines.
pub fn questions() -> [(&'static str, Query); 2] {
    [("--tail 10", Query::all().tail(10)), ("--since 1m", Query::all().since(now() - MINUTE))]
}

/// The number of entries, and the time until the last of them was there.
pub fn ask(run: &Run, query: Query) -> (usize, Duration) {
    let turns = (0..TURNS).map(|_| {
        let start = Instant::now();
        let entries = run.logs(query).len();
        (entries, start.elapsed().as_secs_f64())
    });
    let (entries, times): (Vec<_>, Vec<_>) = turns.unzip();
    (entries[0], Duration::from_secs_f64(median(times)))
}

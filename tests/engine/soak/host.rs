//! The clock of the host is set, again and again, by half an hour. The clock of this machine cannot be, and a dockerd has
//! none of its own; so this is the binary by itself, between a fake dockerd and a Loki, with a clock that both read.

use super::kinds::{HALF_HOUR, STEPS};
use super::length;
use super::times::Times;
use crate::harness::frame::Entry;
use crate::harness::host_clock::HostClock;
use crate::harness::plugin::{Start, memory_of};
use crate::harness::{Scene, patience};
use crate::standin::{Limits, Standin};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that are printed at once, and the time between.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// What the plugin's memory may grow by, in KiB.
const GROWTH: u64 = 4 * 1024;

#[test]
fn a_clock_of_the_host_that_is_set_again_and_again_costs_no_line() {
    let clock = HostClock::new();
    let limits = Limits { discover_log_levels: false, ..Limits::generous() };
    let scene = Scene::with(Start::default().clock(&clock), Standin::builder().limits(limits));
    let run = scene.container("web").start();
    let (mut own, mut steps, mut memory) = (Vec::new(), 0, None);
    let (mut random, begin) = (fastrand::Rng::with_seed(30), Instant::now());
    let mut next = begin + Duration::from_secs(2);
    while begin.elapsed() < length() {
        if Instant::now() >= next {
            let _ = memory.get_or_insert_with(|| memory_of(scene.plugin.pid()));
            clock.set([-HALF_HOUR, 0, HALF_HOUR][(steps + random.usize(1..3)) % 3]);
            steps += 1;
            next += Duration::from_secs(random.u64(STEPS));
        }
        for _ in 0..BURST {
            own.push(clock.now());
            run.log(&Entry::new("stdout", own[own.len() - 1], format!("line {}", own.len())));
        }
        thread::sleep(PAUSE);
    }
    let (before, after) = (memory.expect("it lasts for two seconds"), memory_of(scene.plugin.pid()));
    let came = scene.loki.wait_for(|state| state.count(&[]) >= own.len(), patience());
    assert!(came, "{} of {} lines are in Loki", scene.loki.count(&[]), own.len());
    run.stop();

    let lines = scene.lines_in_loki("web");
    let displaced = (0..lines.len()).find(|at| lines[*at] != format!("line {}", at + 1));
    let times = Times::of("web", &own, &scene.loki);
    let (printed, arrived, Times { shifted, wrong, falls, .. }) = (own.len(), lines.len(), times);
    println!("\nthe clock of the host was set {steps} times: {printed} lines, {arrived} in Loki");
    println!("{shifted} lines with original_time, {wrong} with a wrong time, {falls} falls");
    println!("memory {before} KiB before, {after} KiB after");
    assert_eq!((arrived, displaced), (printed, None), "once and in order");
    assert_eq!((wrong, falls), (0, 0), "each line has its own time or has it beside it, and times rise");
    assert!(after <= before + GROWTH, "a clock that is set takes memory");
}

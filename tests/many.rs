//! Many containers, one after another and at once: their resources are released.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, patience};
use crate::standin::{Limits, Standin};

/// A fake Loki that allows the streams of this many containers.
fn roomy() -> Scene {
    let limits = Limits { max_global_streams_per_user: 10_000, ..Limits::default() };
    Scene::with(Start::default(), Standin::builder().limits(limits))
}

#[test]
fn two_thousand_containers_one_after_another_leave_no_memory_and_no_descriptors() {
    let scene = roomy();
    let round = |from: usize, to: usize| {
        for at in from..to {
            let run = scene.container(&format!("c{at}")).start();
            run.out_all(["one", "two", "three"]);
            run.stop();
        }
        let count = 3 * to;
        let came = scene.loki.wait_for(|state| state.count(&[]) >= count, patience());
        assert!(came, "Loki has {} of {count}", scene.loki.count(&[]));
        assert_eventually!(scene.plugin.files_of_containers() == 0, "all descriptors are given back");
        assert_eventually!(scene.plugin.names_in("streams").is_empty(), "no record is left");
        scene.plugin.memory()
    };
    // The first few hundred let the allocator and the pools reach their final size.
    let before = round(0, 500);
    let after = round(500, 2000);
    let grown = after.saturating_sub(before);
    assert!(grown < 8 * 1024, "fifteen hundred more containers left {grown} KiB, {before} KiB before");
}

/// dockerd writes each line by itself, and the kernel wakes every process that polls the pipe at each write.
#[test]
fn a_container_that_prints_a_line_at_a_time_wakes_the_plugin_for_many_at_once() {
    const LINES: usize = 50_000;
    let scene = roomy();
    let run = scene.container("talker").start();
    run.out("hello");
    scene.wait_for_lines("talker", 1);
    let before = scene.plugin.wake_ups();
    run.out_all((0..LINES).map(|at| format!("line {at}")));
    scene.wait_for_lines("talker", LINES + 1);
    let woken = scene.plugin.wake_ups() - before;
    assert!(woken < LINES as u64 / 50, "{LINES} lines woke it {woken} times");
    run.stop();
}

#[test]
fn five_hundred_containers_at_a_line_a_second_each_are_all_served() {
    const CONTAINERS: usize = 500;
    const SECONDS: usize = 10;
    let scene = roomy();
    let runs: Vec<_> = (0..CONTAINERS).map(|at| scene.patient_container(&format!("c{at}")).start()).collect();
    let (start, used) = (Instant::now(), scene.plugin.processor_time());
    let mut memory = Vec::new();
    for second in 0..SECONDS {
        for (at, run) in runs.iter().enumerate() {
            let due = Duration::from_secs(second as u64) + Duration::from_secs(1) * at as u32 / CONTAINERS as u32;
            thread::sleep(due.saturating_sub(start.elapsed()));
            run.out(format!("line {second}"));
        }
        memory.push(scene.plugin.memory());
    }
    let (taken, used) = (start.elapsed(), scene.plugin.processor_time() - used);
    let came = scene.loki.wait_for(|state| state.count(&[]) >= CONTAINERS * SECONDS, patience());
    assert!(came, "Loki has {} of {}", scene.loki.count(&[]), CONTAINERS * SECONDS);
    println!(
        "{CONTAINERS} containers, a line a second each, {SECONDS} s: {} KiB resident of its own, {:.1} % of a core, \
         {} open files, {} pushes",
        memory.last().expect("a second has passed"),
        100.0 * used.as_secs_f64() / taken.as_secs_f64(),
        scene.plugin.files().len(),
        scene.loki.pushes().len(),
    );
    let (early, late) = (memory[SECONDS / 2], memory[SECONDS - 1]);
    assert!(late < early + 8 * 1024, "memory grows: {memory:?} KiB");
    assert!(late < 64 * 1024, "five hundred containers take {late} KiB");
    for run in runs {
        assert_eq!(run.lines().len(), SECONDS);
        run.stop();
    }
    assert_eventually!(scene.plugin.files_of_containers() == 0, "all descriptors are given back");
}

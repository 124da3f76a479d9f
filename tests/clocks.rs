//! Wrong clocks, on the host, at Loki, or in what a stage parses: every line arrives, in order, and none is rejected
//! for ever.

use crate::harness::dockerd::{Run, now};
use crate::harness::frame::Entry;
use crate::harness::host_clock::HostClock;
use crate::harness::plugin::Start;
use crate::harness::{Scene, numbered};
use crate::standin::{Limits, Standin};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A Loki whose clock is this far ahead.
fn scene(loki_ahead: i64) -> Scene {
    let limits = Limits { clock_ahead: loki_ahead, ..Limits::generous() };
    Scene::with(Start::default(), Standin::builder().limits(limits))
}

/// Prints lines while the host's clock is this far ahead.
fn print(run: &Run, ahead: i64, lines: &[String]) {
    for line in lines {
        run.log(&Entry::new("stdout", now() + ahead, line.as_str()));
    }
}

/// Waits for these lines, in the order of their timestamps. Returns the timestamps, and whether they were clamped.
fn assert_arrived(scene: &Scene, expected: &[String]) -> Vec<(i64, bool)> {
    scene.wait_for_lines("web", expected.len());
    let mut entries = scene.loki.entries();
    entries.sort_by_key(|entry| entry.timestamp_ns);
    entries.dedup_by_key(|entry| entry.timestamp_ns);
    let lines: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect();
    assert_eq!(lines, expected);
    assert!(!scene.plugin.log().contains("lines were dropped"), "{}", scene.plugin.log());
    let is_clamped = |(name, _): &(String, String)| name == "original_time";
    entries.iter().map(|entry| (entry.timestamp_ns, entry.metadata.iter().any(is_clamped))).collect()
}

#[test]
fn lines_of_a_clock_that_was_ahead_and_those_after_it_was_set_right_all_arrive() {
    for ahead in [30 * MINUTE, 90 * MINUTE, 150 * MINUTE, 8 * HOUR] {
        let scene = scene(0);
        let run = scene.container("web").start();
        let (before, wrong, right) = (numbered("before", 5, 30), numbered("wrong", 10, 30), numbered("right", 50, 30));
        let all = [before.clone(), wrong.clone(), right.clone()].concat();
        print(&run, 0, &before);
        scene.wait_for_lines("web", 5);
        print(&run, ahead, &wrong);
        scene.wait_for_lines("web", 15);
        print(&run, 0, &right);
        let arrived = assert_arrived(&scene, &all);
        for (at, (time, is_clamped)) in arrived.into_iter().enumerate() {
            assert!(time <= now(), "line {at} is ahead of the clock");
            assert_eq!(is_clamped, (5..15).contains(&at), "line {at}");
        }
        assert_eq!(scene.plugin.sum_in_log("lines are newer than Loki accepts", "lines"), 10);
        run.stop();
    }
}

#[test]
fn a_clock_of_loki_that_is_behind_costs_no_line() {
    let scene = scene(-HOUR);
    let run = scene.container("web").start();
    let lines = numbered("line", 40, 30);
    for part in lines.chunks(10) {
        print(&run, 0, part);
        scene.wait_for_lines("web", part.len());
    }
    for (time, is_clamped) in assert_arrived(&scene, &lines) {
        assert!(is_clamped && time <= now() - HOUR + MINUTE);
    }
    run.stop();
}

#[test]
fn a_process_that_dies_after_clamping_goes_on_in_order() {
    let mut scene = scene(0);
    let run = scene.container("web").start();
    let (first, second) = (numbered("first", 20, 30), numbered("second", 20, 30));
    print(&run, HOUR, &first);
    scene.wait_for_lines("web", 20);
    scene.plugin.kill();
    print(&run, HOUR, &second[..10]);
    print(&run, 0, &second[10..]);
    scene.plugin.restart();
    assert_arrived(&scene, &[first, second].concat());
    run.stop();
}

#[test]
fn a_clock_of_the_host_that_is_set_to_and_fro_costs_no_line_and_no_order() {
    let clock = HostClock::new();
    let scene = Scene::with(Start::default().clock(&clock), Standin::builder().limits(Limits::generous()));
    let run = scene.container("web").start();
    let lines = numbered("line", 70, 30);
    for (at, ahead) in [0, 30, 0, -30, 30, -30, 0].into_iter().enumerate() {
        clock.set(ahead * MINUTE);
        for line in &lines[10 * at..][..10] {
            run.log(&Entry::new("stdout", clock.now(), line.as_str()));
        }
        scene.wait_for_lines("web", 10 * (at + 1));
    }
    let arrived = assert_arrived(&scene, &lines);
    assert!(arrived.iter().all(|(time, _)| *time <= now()), "a line is ahead of the clock");
    let clamped: Vec<_> = (0..lines.len()).filter(|at| arrived[*at].1).collect();
    assert_eq!(clamped, (10..20).chain(40..50).collect::<Vec<_>>(), "the others are not ahead of Loki");
    run.stop();
}

#[test]
fn times_that_a_stage_reads_without_their_zone_are_clamped() {
    let scene = scene(0);
    let stages = "[{regex: {expression: '^(?P<t>\\S+) '}}, {timestamp: {source: t, format: RFC3339}}]";
    let run = scene.container("web").option("loki-pipeline-stages", stages).start();
    let said = jiff::Timestamp::from_nanosecond((now() + 8 * HOUR).into()).unwrap();
    let lines: Vec<_> = numbered("line", 20, 30).into_iter().map(|line| format!("{said} {line}")).collect();
    for line in &lines {
        run.out(line);
    }
    for (time, is_clamped) in assert_arrived(&scene, &lines) {
        assert!(is_clamped && time <= now());
    }
    run.stop();
}

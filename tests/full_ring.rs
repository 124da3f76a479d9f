//! Loki is down for longer than the ring lasts: the oldest lines are dropped, counted and logged. With
//! `loki-backpressure=block` the container waits instead, up to its timeout.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::dockerd::{Container, Query, Run, lines};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};

/// A container whose ring is full after a megabyte.
fn small(scene: &Scene, name: &str) -> Container {
    scene.container(name).option("max-size", "1m").option("max-file", "1")
}

/// Five times what the ring and the largest pipe hold.
fn too_much() -> Vec<String> {
    numbered("line", 10_000, 1000)
}

/// A container that prints as fast as it may, and how far it has come.
struct Printing<'a> {
    printed: &'a AtomicUsize,
    done: &'a AtomicBool,
}

/// Prints `written` beside what `watch` does.
fn while_printing(run: &Run, written: &[String], watch: impl FnOnce(Printing)) {
    let (printed, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            for line in written {
                run.out(line);
                printed.fetch_add(1, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
        watch(Printing { printed: &printed, done: &done });
    });
}

#[test]
fn when_the_ring_is_full_the_oldest_lines_go_and_each_is_counted() {
    let scene = Scene::new();
    scene.loki.go_away();
    let web = scene.container("web").option("max-size", "1m").option("max-file", "1");
    let run = web.start();
    let written = numbered("line", 6000, 1000);
    // The shipper retries all the time.
    for part in written.chunks(1000) {
        run.out_all(part);
        let tries = scene.plugin.log().len();
        assert_eventually!(!run.has_unread() && scene.plugin.log().len() >= tries);
    }
    assert_eventually!(scene.plugin.log().contains("the ring was full"), "a loss is said while it happens");
    scene.loki.come_back();
    assert_eventually!(scene.lines_in_loki("web").last() == written.last());
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "all is sent");
    let (arrived, kept) = (scene.lines_in_loki("web"), web.lines());
    assert!(kept.len() > 500, "a ring of a megabyte holds more than {} lines of a thousand bytes", kept.len());
    assert_same(&kept, &written[written.len() - kept.len()..]);
    // A few more may have arrived: lines in flight when they were overwritten.
    assert_same(&arrived[arrived.len() - kept.len()..], &kept);
    assert!(arrived.is_sorted_by(|a, b| a < b), "out of order, or twice");
    assert!(arrived.iter().all(|line| written.binary_search(line).is_ok()), "a line that was never written");
    let (lost, counted) = (written.len() - arrived.len(), scene.plugin.sum_in_log("the ring was full", "lines"));
    assert_eq!(counted, lost as u64, "what is said to be lost is what is missing");
}

#[test]
fn what_each_container_loses_is_said_while_loki_is_still_away() {
    let scene = Scene::generous();
    scene.loki.go_away();
    let slow = |container: Container| container.option("loki-min-backoff", "1m").option("loki-max-backoff", "1m");
    let first = slow(scene.container("first")).start();
    first.out("hello");
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
    // One stream probes for all, every five seconds, so the last one would be tried only after minutes.
    let names: Vec<_> = (0..15).map(|at| format!("c{at}")).collect();
    let runs: Vec<_> = names.iter().map(|name| slow(small(&scene, name)).start()).collect();
    let written = numbered("line", 1300, 1000);
    runs.iter().for_each(|run| run.out_all(&written));
    let is_said = |name: &str| {
        let log = scene.plugin.log();
        log.lines().any(|line| line.contains("the ring was full") && line.contains(&format!("container={name} ")))
    };
    assert_eventually!(names.iter().all(|name| is_said(name)), "all of them tell what they lose");
    scene.loki.come_back();
    for (run, name) in runs.into_iter().zip(&names) {
        assert_eventually!(scene.lines_in_loki(name).last() == written.last());
        run.stop();
    }
    first.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "all is sent");
    let arrived: usize = names.iter().map(|name| scene.lines_in_loki(name).len()).sum();
    let lost = names.len() * written.len() - arrived;
    assert_eq!(scene.plugin.sum_in_log("the ring was full", "lines"), lost as u64);
}

// === loki-backpressure=block ===

#[test]
fn a_container_that_asked_for_it_waits_and_loses_nothing() {
    let scene = Scene::new();
    scene.loki.go_away();
    let web = small(&scene, "web").option("loki-backpressure", "block").option("loki-block-timeout", "1h");
    let (run, written) = (web.start(), too_much());
    while_printing(&run, &written, |printing| {
        assert_eventually!(scene.plugin.log().contains("the container waits"), "the container is held up, and told");
        // Buffered lines are readable meanwhile, and another container is not affected.
        let shown = lines(&run.logs(Query::all()));
        assert!(shown.len() > 500, "{} lines", shown.len());
        assert_same(&shown, &written[..shown.len()]);
        let other = scene.container("other").start();
        other.out("hello");
        assert_eventually!(other.lines() == ["hello"]);
        other.stop();
        let before = printing.printed.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        let after = printing.printed.load(Ordering::Relaxed);
        assert!(after < written.len() && after - before < 1500, "it goes on printing: {before}, {after}");
        scene.loki.come_back();
    });
    scene.assert_lines_in_loki("web", &written);
    run.stop();
    assert!(!scene.plugin.log().contains("lines were lost"));
}

#[test]
fn a_container_waits_no_longer_than_the_timeout_and_then_the_oldest_lines_go() {
    let scene = Scene::new();
    scene.loki.go_away();
    let web = small(&scene, "web").option("loki-backpressure", "block").option("loki-block-timeout", "200ms");
    let (run, written) = (web.start(), too_much());
    while_printing(&run, &written, |printing| {
        assert_eventually!(printing.done.load(Ordering::Relaxed), "it goes on though Loki is away");
    });
    assert!(scene.plugin.log().contains("the container waits"));
    scene.loki.come_back();
    assert_eventually!(scene.lines_in_loki("web").last() == written.last());
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "all is sent");
    let (arrived, kept) = (scene.lines_in_loki("web"), web.lines());
    assert_same(&kept, &written[written.len() - kept.len()..]);
    let (lost, counted) = (written.len() - arrived.len(), scene.plugin.sum_in_log("the ring was full", "lines"));
    assert!(lost > 0);
    assert_eq!(counted, lost as u64, "what is said to be lost is what is missing");
}

#[test]
fn a_stop_does_not_wait_for_room_in_a_ring_that_blocks() {
    let scene = Scene::new();
    scene.loki.go_away();
    let web = small(&scene, "web").option("loki-backpressure", "block").option("loki-block-timeout", "1h");
    let (run, written) = (web.start(), numbered("line", 1500, 1000));
    // The ring and the pipe are full: the container ends, and its last lines are in the pipe.
    run.out_all(&written);
    assert!(run.has_unread());
    let taken = run.stop();
    assert!(taken < Duration::from_secs(3), "a stop took {taken:?}");
    assert_eq!(web.lines().last(), written.last(), "docker logs has the last words");
    scene.loki.come_back();
    assert_eventually!(scene.lines_in_loki("web").last() == written.last());
    let lost = written.len() - scene.lines_in_loki("web").len();
    assert_eventually!(scene.plugin.sum_in_log("the ring was full", "lines") == lost as u64, "what went is counted");
}

#[test]
fn a_killed_plugin_goes_on_holding_up_a_container_that_asked_for_it() {
    let mut scene = Scene::new();
    scene.loki.go_away();
    let web = small(&scene, "web").option("loki-backpressure", "block").option("loki-block-timeout", "1h");
    let (run, written) = (web.start(), too_much());
    let held_up = |scene: &Scene| scene.plugin.log().matches("the container waits").count();
    while_printing(&run, &written, |_| {
        for kill in 0..3 {
            assert_eventually!(held_up(&scene) == kill + 1, "the container is held up by process {kill}");
            scene.plugin.kill();
            scene.plugin.restart();
        }
        scene.loki.come_back();
    });
    scene.wait_for_lines("web", written.len());
    assert_same(&scene.lines_in_loki("web"), &written);
    run.stop();
}

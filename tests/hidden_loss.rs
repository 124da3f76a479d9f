//! The driver loses no line that Loki loses behind a 204 or rejects for its age.
//!
//! Loki's answer to a request is about its last stream. An earlier stream that exceeds its rate, or whose lines are too
//! old, is lost without an error. So each request carries one stream, and its answer is reliable.
//!
//! Scenarios with a [`Target`] run against the fake Loki, and against a real Loki when `LOKI_URL`, or for a rate
//! `LOKI_URL_STREAM_RATE`, names one; see [`crate::loki_contract`] for their configuration.

use std::env;

use crate::harness::dockerd::{Container, Run, now};
use crate::harness::frame::Entry;
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::loki_contract::special;
use crate::loki_contract::target::{DAY, HOUR, Target};
use crate::standin::{Builder, Standin};

/// Runs a scenario against the fake Loki, and against the real Loki that a variable names.
fn play(prepare: fn(Builder) -> Builder, variable: &str, scene: fn(&Scene, &Target)) {
    let standin = prepare(Standin::builder()).start();
    let mut urls = vec![standin.url()];
    match env::var(variable) {
        Ok(url) => urls.push(url),
        Err(_) => println!("skipped: a real Loki, because {variable} names none"),
    }
    for url in urls {
        scene(&Scene::new(), &Target::new(&url, "driver"));
    }
}

/// A container whose lines are found by [`Target::labels`] of its name.
fn container(scene: &Scene, loki: &Target, name: &str, stream: &str) -> Container {
    let labels = format!("run={},name={stream}", loki.run());
    scene
        .dockerd
        .container(name)
        .option("loki-url", &loki.push_url())
        .option("loki-external-labels", &labels)
        .option("loki-batch-wait", "20ms")
        .option("loki-min-backoff", "50ms")
        .option("loki-max-backoff", "500ms")
}

fn expect(loki: &Target, stream: &str, written: &[String]) {
    assert_eventually!(loki.lines(stream).len() >= written.len(), "{} lines of {stream}", loki.lines(stream).len());
    assert_same(&loki.lines(stream), written);
}

/// Lines with a given time.
fn log_at(run: &Run, time: i64, lines: &[String]) {
    for (at, line) in lines.iter().enumerate() {
        run.log(&Entry::new("stdout", time + at as i64, line.as_str()));
    }
}

#[test]
fn each_request_carries_one_stream() {
    let scene = Scene::new();
    let runs: Vec<_> = (0..5).map(|at| scene.container(&format!("c{at}")).start()).collect();
    for run in &runs {
        run.out("to stdout");
        run.err("to stderr");
    }
    for run in &runs {
        scene.wait_for_lines(run.container().name(), 2);
    }
    for push in scene.loki.pushes() {
        assert_eq!(push.streams.len(), 1, "a 204 tells the fate of the last stream alone");
    }
    for run in runs {
        run.stop();
    }
}

#[test]
fn a_stream_over_its_rate_is_slowed_down_and_loses_nothing_and_others_do_not_notice() {
    play(special::slow_streams, "LOKI_URL_STREAM_RATE", |scene, loki| {
        let (noisy, quiet) = (container(scene, loki, "noisy", "noisy"), container(scene, loki, "quiet", "quiet"));
        let (noisy, quiet) = (noisy.start(), quiet.start());
        // Three times the burst at once: one request with all of them would never pass.
        let written = numbered("line", 120, 500);
        noisy.out_all(&written);
        assert_eventually!(scene.plugin.log().contains("Loki limits the rate"));
        let few = numbered("quiet", 10, 50);
        quiet.out_all(&few);
        expect(loki, "quiet", &few);
        expect(loki, "noisy", &written);
        let log = scene.plugin.log();
        assert!(!log.contains("lines were"), "{log}");
        noisy.stop();
        quiet.stop();
    });
}

#[test]
fn a_stream_hours_behind_loses_nothing_and_others_do_not_notice() {
    play(
        |builder| builder,
        "LOKI_URL",
        |scene, loki| {
            // A container was recreated in an outage of hours, and lines of its successor arrived first.
            let (new, good) =
                (container(scene, loki, "new", "web").start(), container(scene, loki, "good", "good").start());
            let newest = numbered("new", 20, 50);
            new.out_all(&newest);
            expect(loki, "web", &newest);
            let old = container(scene, loki, "old", "web").start();
            // As many as two requests; some lines of the second are not too old.
            let behind = numbered("behind", 30, 50);
            let time = now() - 3 * HOUR;
            log_at(&old, time, &behind[..20]);
            log_at(&old, time + 20, &behind[20..]);
            let recent = numbered("recent", 10, 50);
            log_at(&old, now() - HOUR / 2, &recent);
            let other = numbered("good", 20, 50);
            good.out_all(&other);
            // In the order of their times: an hour ago, half an hour ago, now.
            expect(loki, "web", &[behind.clone(), recent, newest].concat());
            expect(loki, "good", &other);
            for run in [old, new, good] {
                run.stop();
            }
            assert_eventually!(scene.plugin.sum_in_log("lines are older than Loki accepts", "lines") == 30);
            let shown = loki.streams(&loki.labels("web"), &[]).into_iter().flat_map(|(_, lines)| lines);
            let moved: Vec<_> = shown.filter(|shown| shown.metadata["original_time"].is_string()).collect();
            assert_eq!(moved.len(), behind.len(), "those that were moved have their own time beside them");
            let own: jiff::Timestamp = moved[0].metadata["original_time"].as_str().unwrap().parse().unwrap();
            assert_eq!(own.as_nanosecond(), i128::from(time));
            assert!(!scene.plugin.log().contains("lines were dropped"));
        },
    );
}

#[test]
fn lines_of_an_outage_of_more_than_a_week_are_taken() {
    play(
        |builder| builder,
        "LOKI_URL",
        |scene, loki| {
            let run = container(scene, loki, "web", "web").start();
            let old = numbered("old", 20, 50);
            log_at(&run, now() - 8 * DAY, &old);
            let new = numbered("new", 20, 50);
            run.out_all(&new);
            run.stop();
            let all = || loki.lines_since("web", 9 * DAY);
            assert_eventually!(all().len() >= 40);
            assert_same(&all(), &[old, new].concat());
            assert_eq!(scene.plugin.sum_in_log("lines are older than Loki accepts", "lines"), 20);
        },
    );
}

//! Loki is down, rejects, hangs or lies, and containers are not affected. No container waits, `docker logs` is current,
//! a stop is answered at once, and memory stays where it was. When Loki is back every line is there, once.
//!
//! Each row of the retry policy (`src/shipper/verdict.rs`) is tested here. A container writes three times more than the
//! largest pipe holds while Loki accepts nothing, which shows that it does not wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::dockerd::{Query, lines};
use crate::harness::{Scene, assert_eventually, assert_same, numbered, patience};
use crate::standin::{Failure, Standin, Times};

/// The longest time of a stop; under a second is promised. A busy machine may take longer. A stop that waits for Loki
/// never ends, and one that gives up reading the pipe takes five seconds.
const STOP: Duration = Duration::from_secs(3);

fn status(code: u16, body: &str) -> Failure {
    Failure::Status { code, body: body.into() }
}

/// Lines that snappy cannot compress.
fn incompressible(count: usize, length: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count).map(|at| format!("{at:06} {}", (7..length).map(|_| random.alphanumeric()).collect::<String>())).collect()
}

/// The scenario that all outages share.
fn nobody_notices(fail: impl FnOnce(&Standin), heal: impl FnOnce(&Standin)) {
    let scene = Scene::new();
    // Long enough that a busy machine answers in time, and short enough for a test without an answer.
    let web = scene.container("web").option("loki-timeout", "4s");
    let (run, brief) = (web.start(), scene.container("brief").option("loki-timeout", "4s").start());
    let mut written = numbered("before", 100, 100);
    run.out_all(&written);
    scene.wait_for_lines("web", written.len());

    fail(&scene.loki);
    let during = numbered("during", 3000, 1000);
    run.out_all(&during);
    assert_eventually!(lines(&run.logs(Query::all().tail(3))) == during[during.len() - 3..], "docker logs is current");
    assert_eventually!(
        scene.plugin.log().contains("Loki takes no lines") || scene.plugin.log().contains("Loki limits the rate")
    );
    let last = numbered("brief", 200, 100);
    brief.out_all(&last);
    let taken = brief.stop();
    assert!(taken < STOP, "a stop took {taken:?} while Loki was away");
    assert_eq!(scene.loki.count(&[("container_name", "web")]), written.len(), "Loki was to take nothing");

    heal(&scene.loki);
    written.extend(during);
    scene.assert_lines_in_loki("web", &written);
    scene.assert_lines_in_loki("brief", &last);
    let taken = run.stop();
    assert!(taken < STOP, "a stop took {taken:?}");
    assert_same(&web.lines(), &written);
    assert!(!scene.plugin.log().contains("lines were"), "lines were lost, dropped or cut");
}

fn nobody_notices_that(failure: Failure) {
    nobody_notices(|loki| loki.fail(failure, Times::UntilHealed), Standin::heal);
}

#[test]
fn nobody_listens() {
    nobody_notices(Standin::go_away, Standin::come_back);
}

#[test]
fn it_hangs_after_it_has_taken_the_request() {
    nobody_notices_that(Failure::Hang);
}

#[test]
fn it_resets_the_connection_in_the_middle_of_the_body() {
    nobody_notices_that(Failure::Reset { after_bytes: 100 });
}

#[test]
fn it_answers_429_because_of_the_rate() {
    nobody_notices_that(status(429, "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)"));
}

#[test]
fn it_answers_500() {
    nobody_notices_that(status(500, "Ingester is shutting down"));
}

#[test]
fn it_answers_502_with_a_page() {
    nobody_notices_that(status(502, &format!("<html>\n{}</html>", "<p>bad gateway</p>\n".repeat(2000))));
}

#[test]
fn it_answers_503() {
    nobody_notices_that(status(503, "at least 1 live replicas required, could only find 0"));
}

#[test]
fn it_answers_260_which_is_a_success_that_stored_nothing() {
    nobody_notices_that(status(260, "ingestion is blocked until 2030-01-01"));
}

#[test]
fn it_answers_401() {
    nobody_notices_that(status(401, "no org id"));
}

#[test]
fn it_answers_403() {
    nobody_notices_that(status(403, "forbidden"));
}

#[test]
fn it_answers_404() {
    nobody_notices_that(status(404, "404 page not found"));
}

#[test]
fn it_redirects() {
    nobody_notices_that(Failure::Redirect { to: "http://127.0.0.1:1/login".into() });
}

/// Loki has stored the lines, but the driver cannot know.
fn stored_all_the_same(failure: Failure) {
    let scene = Scene::new();
    // Loki detects a repeated line within 256 KiB, which is more than these are.
    let run = scene.container("web").option("loki-timeout", "2s").start();
    let written = numbered("line", 500, 300);
    let mut at = 0;
    for _ in 0..5 {
        scene.loki.fail(failure.clone(), Times::Next(1));
        run.out_all(&written[at..at + 100]);
        at += 100;
        scene.wait_for_lines("web", at);
    }
    run.stop();
    scene.assert_lines_in_loki("web", &written);
    let tries = scene.loki.pushes();
    let answered: usize =
        tries.iter().filter(|push| push.status_answered == Some(204)).map(|push| push.streams[0].1).sum();
    assert!(answered <= written.len(), "what was acknowledged is not sent again");
    assert!(tries.iter().any(|push| push.status_answered != Some(204)), "nothing went wrong");
}

#[test]
fn it_stores_and_answers_500() {
    stored_all_the_same(Failure::StoreThenStatus { code: 500, body: "context deadline exceeded".into() });
}

#[test]
fn it_stores_and_resets_the_connection() {
    stored_all_the_same(Failure::StoreThenReset);
}

#[test]
fn it_stores_and_never_answers() {
    stored_all_the_same(Failure::StoreThenHang);
}

#[test]
fn it_is_slow_and_answers_late() {
    let scene = Scene::new();
    scene.loki.fail(Failure::Delay(Duration::from_millis(300)), Times::UntilHealed);
    let run = scene.container("web").start();
    let written = numbered("line", 3000, 1000);
    run.out_all(&written);
    assert_eventually!(run.lines() == written, "docker logs is current");
    assert!(run.stop() < STOP);
    scene.assert_lines_in_loki("web", &written);
}

#[test]
fn it_reads_slowly() {
    let scene = Scene::new();
    let written = incompressible(600, 1000);
    scene.loki.fail(Failure::SlowRead { bytes_per_second: 300_000 }, Times::UntilHealed);
    let run = scene.container("web").start();
    run.out_all(&written);
    assert_eventually!(run.lines() == written, "docker logs is current");
    assert!(run.stop() < STOP);
    scene.assert_lines_in_loki("web", &written);
    // Slower than any push may be, until it recovers.
    scene.loki.fail(Failure::SlowRead { bytes_per_second: 1000 }, Times::UntilHealed);
    let stuck = scene.container("stuck").option("loki-timeout", "1s").start();
    stuck.out_all(&written);
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
    assert!(stuck.stop() < STOP);
    scene.loki.heal();
    scene.assert_lines_in_loki("stuck", &written);
}

// === Requests that can never pass as they are ===

#[test]
fn requests_that_are_too_large_for_a_proxy_are_halved_and_a_line_that_is_too_large_is_counted() {
    let scene = Scene::new();
    scene.loki.change_limits(|limits| limits.max_recv_msg_size = 30_000);
    let run = scene.container("web").start();
    let mut written = incompressible(300, 1000);
    run.out_all(&written[..150]);
    run.out(&incompressible(1, 60_000)[0]);
    run.out_all(&written[150..]);
    scene.assert_lines_in_loki("web", &written);
    run.out("after");
    written.push("after".into());
    scene.assert_lines_in_loki("web", &written);
    run.stop();
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 1);
}

#[test]
fn a_500_that_says_larger_than_max_is_halved_and_not_repeated_for_ever() {
    let scene = Scene::new();
    scene.loki.change_limits(|limits| limits.grpc_max_recv_msg_size = 40_000);
    let run = scene.container("web").start();
    let written = numbered("line", 300, 1000);
    run.out_all(&written[..150]);
    run.out("x".repeat(60_000));
    run.out_all(&written[150..]);
    scene.assert_lines_in_loki("web", &written);
    run.stop();
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 1);
}

#[test]
fn a_429_for_a_request_above_the_burst_is_halved_until_it_passes() {
    let scene = Scene::new();
    scene.loki.change_limits(|limits| {
        limits.ingestion_burst_size = 50_000;
        limits.ingestion_rate = 1e9;
    });
    let run = scene.container("web").start();
    let written = numbered("line", 1000, 500);
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    run.stop();
}

#[test]
fn of_a_batch_with_a_poisonous_line_only_that_line_is_dropped_and_it_is_counted() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("before");
    scene.wait_for_lines("web", 1);
    // Batches of eight lines, four, two, one: the first line is rejected alone.
    scene.loki.fail(status(503, "later"), Times::UntilHealed);
    let written = numbered("line", 8, 50);
    run.out_all(&written);
    assert_eventually!(run.lines().len() == 9);
    scene.loki.heal();
    for _ in 0..4 {
        scene.loki.fail(status(400, "error parsing labels '{' with error: no"), Times::Next(1));
    }
    run.stop();
    scene.wait_for_lines("web", 8);
    let arrived = scene.lines_in_loki("web");
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 1);
    assert_same(&arrived[1..], &written[1..]);
    assert!(scene.plugin.log().contains("error parsing labels"), "the reason is told");
}

#[test]
fn a_number_of_tries_that_was_given_is_kept_to_and_what_is_given_up_is_counted() {
    let scene = Scene::new();
    scene.loki.fail(status(500, "out of order"), Times::UntilHealed);
    let run = scene.container("web").option("loki-retries", "2").option("loki-batch-wait", "500ms").start();
    run.out_all(numbered("lost", 5, 50));
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") > 0);
    assert_eventually!(scene.loki.pushes().len() >= 2);
    let tries = scene.loki.pushes();
    let of = |push: &crate::standin::Request| push.streams[0].1;
    assert_eq!((tries.len(), of(&tries[0]), of(&tries[1])), (2, 5, 5));
    scene.loki.heal();
    run.out("kept");
    scene.assert_lines_in_loki("web", &["kept"]);
    assert_eq!(run.lines().len(), 6, "docker logs has them all");
    run.stop();
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 5);
}

#[test]
fn a_number_of_tries_counts_refused_connections_too() {
    let scene = Scene::new();
    scene.loki.go_away();
    let run = scene.container("web").option("loki-retries", "3").start();
    run.out("lost");
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 1);
    scene.loki.come_back();
    run.out("kept");
    scene.assert_lines_in_loki("web", &["kept"]);
    run.stop();
}

// === What an outage costs ===

#[test]
fn lines_of_a_container_that_is_gone_arrive_when_loki_is_back() {
    let scene = Scene::new();
    scene.loki.go_away();
    let written = numbered("line", 100, 100);
    for at in 0..10 {
        let run = scene.container(&format!("c{at}")).start();
        run.out_all(&written);
        assert!(run.stop() < STOP);
    }
    scene.loki.come_back();
    for at in 0..10 {
        scene.assert_lines_in_loki(&format!("c{at}"), &written);
    }
    assert_eventually!(scene.plugin.files_of_containers() == 0, "and then they are let go");
}

#[test]
fn loki_is_found_again_within_seconds_whatever_the_longest_backoff() {
    for failure in [status(503, "later"), status(429, "too fast")] {
        let scene = Scene::new();
        let run = scene.container("web").option("loki-min-backoff", "1m").option("loki-max-backoff", "10m").start();
        scene.loki.fail(failure.clone(), Times::Next(1));
        run.out("hello");
        assert_eventually!(!scene.loki.pushes().is_empty());
        let begin = Instant::now();
        scene.assert_lines_in_loki("web", &["hello"]);
        let waited = begin.elapsed();
        assert!(waited < Duration::from_secs(30), "the end of {failure:?} was noticed only after {waited:?}");
        run.stop();
    }
}

#[test]
fn memory_does_not_grow_with_an_outage() {
    let scene = Scene::new();
    let container = |at| scene.container(&format!("c{at}")).option("loki-timeout", "4s");
    let runs: Vec<_> = (0..10).map(|at| container(at).start()).collect();
    let burst = numbered("line", 1000, 500);
    let write = || runs.iter().for_each(|run| run.out_all(&burst));
    let wait_for_all = |count| {
        let came = scene.loki.wait_for(|state| state.count(&[]) >= count, patience());
        assert!(came, "Loki has {} of {count}", scene.loki.count(&[]));
    };
    write();
    wait_for_all(10_000);
    scene.loki.fail(Failure::Hang, Times::UntilHealed);
    let before = scene.plugin.memory();
    let mut most = 0;
    for _ in 0..5 {
        write();
        most = most.max(scene.plugin.memory());
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 16 * 1024, "twenty-five megabytes that cannot be sent take {grown} KiB, {before} KiB before");
    scene.loki.heal();
    for run in runs {
        assert!(run.stop() < STOP);
    }
    wait_for_all(60_000);
}

#[test]
fn one_loki_that_is_away_does_not_hold_up_the_way_to_another() {
    let scene = Scene::new();
    let other = Standin::start();
    scene.loki.fail(Failure::Hang, Times::UntilHealed);
    let container = |at| scene.container(&format!("c{at}")).option("loki-timeout", "2s");
    let away: Vec<_> = (0..20).map(|at| container(at).start()).collect();
    let there = scene.container("there").option("loki-url", &other.push_url()).start();
    away.iter().for_each(|run| run.out("hello"));
    there.out("hello");
    assert!(other.wait_for(|state| state.count(&[("container_name", "there")]) == 1, patience()));
    scene.loki.heal();
    assert_eventually!(scene.loki.entries().len() == 20);
}

#[test]
fn while_loki_is_away_one_knocks_for_all() {
    one_knocks_for_all(status(503, "later"), "Loki takes no lines");
}

#[test]
fn while_a_tenant_is_limited_one_knocks_for_all() {
    one_knocks_for_all(status(429, "Ingestion rate limit exceeded for user fake"), "Loki limits the rate");
}

#[test]
fn while_credentials_are_refused_one_knocks_for_all() {
    one_knocks_for_all(status(403, "forbidden"), "Loki takes no lines");
}

fn one_knocks_for_all(failure: Failure, said: &str) {
    let scene = Scene::new();
    scene.loki.fail(failure, Times::UntilHealed);
    let wait = Duration::from_millis(200);
    let backoff = |name: String| scene.container(&name).option("loki-min-backoff", "200ms");
    let runs: Vec<_> = (0..20).map(|at| backoff(format!("c{at}")).start()).collect();
    runs.iter().for_each(|run| run.out("hello"));
    // Pushes in flight when the outage was noticed are additional.
    assert_eventually!(scene.loki.pushes().len() >= 8);
    let (begin, known) = (Instant::now(), scene.loki.pushes().len());
    assert_eventually!(scene.loki.pushes().len() >= known + 12);
    let taken = begin.elapsed();
    assert!(taken > wait * 3, "twelve tries in {taken:?}: everybody knocks");
    scene.loki.heal();
    assert_eventually!(scene.loki.entries().len() == 20);
    let names: BTreeSet<_> =
        scene.loki.entries().into_iter().map(|entry| entry.labels["container_name"].clone()).collect();
    assert_eq!(names.len(), 20);
    let count = scene.plugin.log().matches(said).count();
    assert!(count == 1 || said.contains("rate") && count > 0, "one outage is said once, not {count} times");
}

#[test]
fn lines_keep_the_name_and_labels_that_their_container_had_also_when_it_is_renamed_before_they_are_sent() {
    let mut scene = Scene::new();
    let container = |scene: &Scene, name: &str| {
        let named = scene.container("web").with("ContainerName", format!("/{name}").into());
        named.option("labels", "team").label("team", name).option("loki-batch-wait", "10ms")
    };
    scene.loki.go_away();
    for name in ["first", "second", "third"] {
        let run = container(&scene, name).start();
        run.out(format!("one of {name}"));
        run.stop();
        if name == "second" {
            scene.plugin.kill();
            scene.plugin.restart();
        }
    }
    let run = container(&scene, "fourth").start();
    run.out("one of fourth");
    scene.loki.come_back();
    for name in ["first", "second", "third", "fourth"] {
        scene.assert_lines_in_loki(name, &[&format!("one of {name}")]);
        assert_eq!(scene.loki.count(&[("team", name)]), 1, "{name}");
    }
    run.out("another of fourth");
    scene.assert_lines_in_loki("fourth", &["one of fourth", "another of fourth"]);
    assert_eq!(run.lines().len(), 5, "docker logs has them all");
    let ring = scene.plugin.ring(run.container().id());
    run.stop();
    scene.plugin.terminate();
    scene.plugin.restart();
    let former =
        || crate::harness::plugin::names_in(&ring).into_iter().filter(|name| name.starts_with("info-")).count();
    assert_eventually!(former() == 0, "descriptions without unsent lines are removed");
}

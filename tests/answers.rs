//! Another server answers in Loki's place, or half an answer comes, or none: no line is lost, and accepted lines move
//! the cursor.

use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Failure, Limits, Standin, Times};

const PAGE: &str = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n</html>";

fn proxy(code: u16, content_type: &str, body: &str) -> Failure {
    Failure::Proxy { code, content_type: content_type.into(), body: body.into(), retry_after: None }
}

/// Lines that snappy cannot compress.
fn incompressible(count: usize, length: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count).map(|at| format!("{at:06} {}", (7..length).map(|_| random.alphanumeric()).collect::<String>())).collect()
}

#[test]
fn pages_in_place_of_loki_lose_nothing_and_count_as_nothing_delivered() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let mut written = Vec::new();
    for (at, failure) in [
        proxy(200, "text/html", "<!doctype html><html>Please sign in</html>"),
        proxy(200, "application/json", "{}"),
        proxy(202, "", ""),
        proxy(400, "text/html", PAGE),
        proxy(400, "", ""),
        proxy(400, "text/plain", "Bad Request"),
        proxy(401, "application/json", "{\"message\":\"Unauthorized\"}"),
        proxy(404, "text/html", PAGE),
        proxy(405, "text/html", PAGE),
        proxy(410, "text/plain", "gone"),
        proxy(422, "application/json", "{}"),
        proxy(431, "text/html", PAGE),
        proxy(502, "text/html", PAGE),
        // Loki's own words, in a page that repeats the request.
        proxy(400, "text/html", "entry for stream '{}' has timestamp too new: 2030-01-01T00:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let seen = scene.loki.pushes().len();
        scene.loki.fail(failure.clone(), Times::UntilHealed);
        let more = numbered(&format!("round {at}"), 20, 50);
        run.out_all(&more);
        written.extend(more);
        // Enough pushes that halving would have reached single lines, and dropped some.
        assert_eventually!(scene.loki.pushes().len() >= seen + 8, "{failure:?} is tried again");
        scene.loki.heal();
        scene.assert_lines_in_loki("web", &written);
    }
    run.stop();
    let log = scene.plugin.log();
    assert!(!log.contains("lines were dropped"), "{log}");
    assert!(log.contains("not by Loki (nginx/1.27.0, text/html)"), "it is said who answered: {log}");
}

#[test]
fn a_success_without_a_body_counts_only_when_that_is_asked_for() {
    let scene = Scene::new();
    scene.loki.fail(Failure::StoreThenStatus { code: 202, body: String::new() }, Times::UntilHealed);
    let compatible = scene.container("compatible").option("loki-accept-any-2xx", "true").start();
    compatible.out("once");
    scene.wait_for_lines("compatible", 1);
    compatible.stop();
    let strict = scene.container("strict").start();
    strict.out("again");
    let of_strict = |push: &crate::standin::Request| push.streams.iter().any(|(labels, _)| labels.contains("strict"));
    assert_eventually!(scene.loki.pushes().iter().filter(|push| of_strict(push)).count() >= 3, "it is tried again");
    assert_eq!(scene.loki.count(&[("container_name", "compatible")]), 1);
    assert_eventually!(scene.plugin.log().contains("set loki-accept-any-2xx=true"));
    strict.stop();
}

#[test]
fn single_lines_that_are_refused_in_a_row_pause_the_stream_instead_of_losing_all() {
    let scene = Scene::new();
    let body = "error parsing labels '{' with error: 1:1: parse error".to_owned();
    scene.loki.fail_only(&[("container_name", "web")], Failure::Status { code: 400, body }, Times::UntilHealed);
    let (web, other) = (scene.container("web").start(), scene.container("other").start());
    let written = numbered("line", 20, 50);
    web.out_all(&written);
    assert_eventually!(scene.plugin.log().contains("lines are refused one after the other"));
    other.out("not concerned");
    scene.assert_lines_in_loki("other", &["not concerned"]);
    scene.loki.heal();
    scene.wait_for_lines("web", 17);
    assert_eq!(scene.lines_in_loki("web"), written[3..], "three were dropped, and no more");
    other.stop();
    web.stop();
    assert_eventually!(scene.plugin.sum_in_log("lines were dropped", "lines") == 3);
}

#[test]
fn the_status_counts_when_the_body_of_an_answer_does_not_come() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-timeout", "30s").start();
    scene.loki.fail(Failure::Stall { code: 503, body: "out of order".into() }, Times::Next(1));
    run.out("kept");
    scene.assert_lines_in_loki("web", &["kept"]);
    assert!(scene.plugin.log().contains("Loki answered 503"), "{}", scene.plugin.log());
    run.stop();
}

#[test]
fn an_answer_before_the_body_was_read_is_heard() {
    // Too large, and too slow.
    for code in [413, 408] {
        smaller_requests_get_through_past(code);
    }
}

fn smaller_requests_get_through_past(code: u16) {
    let scene = Scene::with(crate::harness::plugin::Start::default(), Standin::builder().limits(Limits::generous()));
    scene.loki.fail(Failure::Early { code, above_bytes: 20_000 }, Times::UntilHealed);
    let run = scene.container("web").start();
    let written = incompressible(3000, 600);
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    run.stop();
    assert!(!scene.plugin.log().contains("lines were dropped"));
}

#[test]
fn a_link_that_is_too_slow_for_a_full_batch_gets_smaller_ones() {
    let scene = Scene::generous();
    scene.loki.fail(Failure::SlowRead { bytes_per_second: 100_000 }, Times::UntilHealed);
    let run = scene.container("web").option("loki-timeout", "2s").start();
    let written = incompressible(1000, 1000);
    run.out_all(&written);
    assert_eventually!(scene.loki.count(&[("container_name", "web")]) > 100, "smaller batches get through");
    scene.loki.heal();
    assert_eventually!(scene.lines_in_loki("web").last() == written.last());
    run.stop();
}

#[test]
fn connections_that_fell_silent_cost_one_timeout_and_not_one_each() {
    let scene = Scene::new();
    let runs: Vec<_> =
        (0..8).map(|at| scene.container(&format!("c{at}")).option("loki-timeout", "5s").start()).collect();
    // All are in flight at once, so that each has a connection.
    scene.loki.fail(Failure::Delay(std::time::Duration::from_millis(500)), Times::Next(8));
    for run in &runs {
        run.out("before");
    }
    for at in 0..8 {
        scene.wait_for_lines(&format!("c{at}"), 1);
    }
    scene.loki.heal();
    scene.loki.silence();
    let begun = std::time::Instant::now();
    runs[0].out("after");
    scene.wait_for_lines("c0", 2);
    let taken = begun.elapsed();
    assert!(taken < std::time::Duration::from_secs(10), "one timeout is 5 s, and it took {taken:?}");
    for (at, run) in runs.iter().enumerate().skip(1) {
        run.out("after");
        scene.wait_for_lines(&format!("c{at}"), 2);
    }
    for run in runs {
        run.stop();
    }
}

#[test]
fn an_answer_without_an_end_holds_up_nobody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/loki/api/v1/push", listener.local_addr().expect("it has an address"));
    // Ends with the process: it waits for connections that never come.
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || flood(connection));
        }
    });
    let scene = Scene::new();
    let others: Vec<_> = (0..2)
        .map(|at| {
            scene
                .dockerd
                .container(&format!("flooded{at}"))
                .option("loki-url", &url)
                .option("loki-timeout", "50s")
                .start()
        })
        .collect();
    for run in &others {
        run.out("kept");
    }
    assert_eventually!(scene.plugin.log().contains("the answer has no end"));
    let web = scene.container("web").start();
    web.out("not concerned");
    scene.assert_lines_in_loki("web", &["not concerned"]);
    for run in others {
        assert!(run.stop() < std::time::Duration::from_secs(3), "a stop is answered at once");
    }
    web.stop();
}

/// Sends interim answers without an end.
fn flood(mut connection: std::net::TcpStream) {
    use std::io::{Read, Write};
    let _ = connection.read(&mut [0; 4096]);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    while connection.write_all(&interim).is_ok() {}
}

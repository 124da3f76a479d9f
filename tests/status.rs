//! An operator sees at a glance what the plugin does: which lines are late, rejected or dropped, and of which
//! container.

mod page;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::harness::plugin::Start;
use crate::harness::status::{ask, free_address, get, promtool, scrape, status};
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Failure, Standin, Times};

fn scene() -> Scene {
    Scene::with(Start::default().serve_status(), Standin::builder())
}

/// A container in `/status.json`.
fn container(scene: &Scene, name: &str) -> Option<Value> {
    let status = status(&scene.plugin);
    let all = status["containers"].as_array().expect("a list");
    all.iter().find(|container| container["name"] == name).cloned()
}

#[test]
fn what_was_read_appended_and_sent_is_counted_in_words_that_promtool_takes() {
    let scene = scene();
    let (web, loki) = (scene.container("web").start(), scene.loki.push_url());
    let lines = numbered("web", 500, 100);
    web.out_all(&lines);
    web.print(0, &[b"long ".repeat(8000), b"\n".to_vec()].concat());
    scene.wait_for_lines("web", 501);
    let to = [("destination", loki.as_str())];
    let id = web.container().id()[..12].to_owned();
    let of = [("container_name", "web"), ("container_id", id.as_str())];
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_container_lag_lines", &of) == 0.0);

    let now = scrape(&scene.plugin);
    assert_eq!(promtool(&now.text), "", "of:\n{}", now.text);
    // A long line is three entries for dockerd, and one for Loki.
    for (name, labels, expected) in [
        ("loki_rs_read_lines_total", &[][..], 503.0),
        ("loki_rs_appended_lines_total", &[], 503.0),
        ("loki_rs_joined_lines_total", &[], 1.0),
        ("loki_rs_sent_lines_total", &to, 501.0),
        ("loki_rs_dropped_lines_total", &to, 0.0),
        ("loki_rs_destination_up", &to, 1.0),
        ("loki_rs_open_containers", &[], 1.0),
        ("loki_rs_container_appended_lines_total", &of, 503.0),
        ("loki_rs_container_sent_lines_total", &of, 501.0),
        ("loki_rs_container_dropped_lines_total", &of, 0.0),
        ("loki_rs_container_lag_bytes", &of, 0.0),
        ("loki_rs_container_lag_seconds", &of, 0.0),
        ("loki_rs_container_ring_overwritten_lines_total", &of, 0.0),
        ("loki_rs_discarded_bytes_total", &[("reason", "no_room")], 0.0),
        ("loki_rs_discarded_lines_total", &[("reason", "no_room")], 0.0),
        ("loki_rs_discarded_lines_total", &[("reason", "unknown_stream")], 0.0),
        ("loki_rs_set_aside_segments_total", &[], 0.0),
        ("loki_rs_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ] {
        assert_eq!(now.value(name, labels), expected, "{name} of:\n{}", now.text);
    }
    assert!(now.value("loki_rs_push_duration_seconds_count", &[("code", "204")]) >= 1.0);
    // The bytes of dockerd's frames are read and kept too.
    let written = 500.0 * 100.0 + 40_000.0;
    for name in ["loki_rs_read_bytes_total", "loki_rs_appended_bytes_total", "loki_rs_container_appended_bytes_total"] {
        assert!(now.value(name, &[]) > written, "{name}");
    }
    assert!(now.value("loki_rs_sent_bytes_total", &to) >= written);
    assert!(now.value("loki_rs_container_ring_bytes", &of) <= now.value("loki_rs_container_ring_limit_bytes", &of));
    assert!(
        now.value("process_resident_memory_bytes", &[]) > 1e6 && now.value("process_cpu_seconds_total", &[]) >= 0.0
    );

    web.stop();
    assert_eventually!(
        scrape(&scene.plugin).sum("loki_rs_container_lag_lines", &of).is_none(),
        "its series go with it"
    );
    assert_eq!(scrape(&scene.plugin).value("loki_rs_sent_lines_total", &to), 501.0, "what was counted for all stays");
}

#[test]
fn an_outage_is_told_with_its_reason_and_with_what_waits() {
    let scene = scene();
    let web = scene.container("web").option("loki-url", &scene.loki.push_url()).start();
    web.out("before");
    scene.wait_for_lines("web", 1);
    scene.loki.fail(Failure::Status { code: 503, body: "the ring is unhealthy".into() }, Times::UntilHealed);
    web.out_all(numbered("during", 40, 100));
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_destination_up", &[]) == 0.0);
    let during = scrape(&scene.plugin);
    assert_eq!(during.value("loki_rs_container_lag_lines", &[("container_name", "web")]), 40.0);
    assert!(during.value("loki_rs_container_lag_bytes", &[]) > 4000.0);
    assert!(during.value("loki_rs_retried_lines_total", &[]) >= 1.0);
    assert!(during.value("loki_rs_push_duration_seconds_count", &[("code", "503")]) >= 1.0);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_container_lag_seconds", &[]) > 0.05);

    let told = status(&scene.plugin);
    let destination = &told["destinations"][0];
    assert_eq!((&destination["up"], &destination["url"]), (&json!(false), &json!(scene.loki.push_url())));
    assert_eq!(destination["last_error"]["text"], "Loki answered 503: the ring is unhealthy");
    assert!(destination["last_success"].as_str().is_some_and(|time| time.ends_with('Z')), "{destination}");
    let lane = &container(&scene, "web").expect("it runs")["destinations"][0];
    assert_eq!((&lane["lag_lines"], &lane["sent_lines"]), (&json!(40), &json!(1)));
    assert_eq!(lane["last_error"]["text"], "Loki answered 503: the ring is unhealthy");

    scene.loki.heal();
    scene.wait_for_lines("web", 41);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_destination_up", &[]) == 1.0);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_container_lag_lines", &[]) == 0.0);
    assert_eq!(scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &[]), 0.0);
}

#[test]
fn a_destination_that_shuts_its_door_is_not_up_because_lines_were_given_up() {
    let scene = scene();
    let web = scene.container("web").option("loki-retries", "2").start();
    scene.loki.fail(Failure::Status { code: 401, body: "no org id".into() }, Times::UntilHealed);
    for lines in [1.0, 2.0] {
        web.out("never");
        let given_up = [("reason", "given_up")];
        assert_eventually!(scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &given_up) == lines);
    }
    assert!(!scene.plugin.log().contains("Loki takes lines again"), "{}", scene.plugin.log());
    scene.loki.heal();
    web.out("at last");
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_destination_up", &[]) == 1.0);
}

#[test]
fn a_destination_that_takes_lines_is_up_though_it_limits_others() {
    let scene = scene();
    let web = scene.container("web").start();
    scene.loki.fail(Failure::Status { code: 503, body: String::new() }, Times::UntilHealed);
    web.out("fast");
    web.err("slow");
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_destination_up", &[]) == 0.0);
    let limited = Failure::Status { code: 429, body: "Ingestion rate limit exceeded".into() };
    scene.loki.fail_only(&[("source", "stderr")], limited, Times::UntilHealed);
    scene.wait_for_lines("web", 1);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_destination_up", &[]) == 1.0);
    assert!(scrape(&scene.plugin).value("loki_rs_container_lag_lines", &[]) >= 1.0);
    scene.loki.heal();
    scene.wait_for_lines("web", 2);
}

#[test]
fn lines_of_stopped_containers_that_cannot_be_sent_are_not_well() {
    let loki = Standin::start();
    let start = Start::default().serve_status().set("LOKI_URL", &loki.push_url());
    let mut scene = Scene::with(start, Standin::builder());
    loki.fail(Failure::Status { code: 503, body: String::new() }, Times::UntilHealed);
    let web = scene.dockerd.container("web").start();
    web.out("not sent yet");
    web.stop();
    scene.plugin.terminate();
    scene.plugin.set("LOKI_URL", "");
    scene.plugin.restart();
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_stranded_containers", &[]) == 1.0);
    let verdict = status(&scene.plugin)["verdict"].clone();
    let text = "Lines of 1 stopped container cannot be sent; they are kept.";
    assert_eq!((&verdict["level"], &verdict["text"]), (&json!("warning"), &json!(text)));

    loki.heal();
    scene.plugin.terminate();
    scene.plugin.set("LOKI_URL", &loki.push_url());
    scene.plugin.restart();
    assert_eventually!(loki.count(&[("container_name", "web")]) == 1);
    assert_eq!(scrape(&scene.plugin).value("loki_rs_stranded_containers", &[]), 0.0);
    assert_eq!(status(&scene.plugin)["verdict"]["level"], "ok");
}

#[test]
fn for_how_long_there_is_room_is_told_as_soon_as_the_rate_is_known() {
    let scene = scene();
    let web = scene.container("web").start();
    scene.loki.fail(Failure::Status { code: 503, body: String::new() }, Times::UntilHealed);
    web.out("first");
    assert_eventually!(status(&scene.plugin)["verdict"]["level"] == "warning");
    let is_told = || {
        let told = status(&scene.plugin);
        let text = told["verdict"]["text"].as_str().expect("text");
        let is_said = text.contains("; the first ring, that of web, is full in about ");
        assert_eq!(is_said, text.ends_with(" at the present rate."), "{text}");
        let container = &told["containers"][0];
        let (lane, rate) = (&container["destinations"][0], container["bytes_per_second"].as_f64());
        let seconds = lane["full_in_seconds"].as_f64();
        assert_eq!(is_said, seconds.is_some(), "{told}");
        // The ring may hold 100 MB, and most of it is free.
        let room = lane["room_bytes"].as_f64().expect("a number");
        assert!((50e6..100e6).contains(&room), "{room}");
        seconds.is_some_and(|seconds| (seconds * rate.expect("it is known") / room - 1.0).abs() < 0.01)
    };
    assert_eventually!({
        web.out_all(numbered("more", 10, 100));
        is_told()
    });
}

#[test]
fn lines_that_will_never_get_there_are_counted_by_reason() {
    let scene = scene();
    let run = scene.container("full").option("max-size", "256k").option("max-file", "2").start();
    let given = scene.container("given-up").option("loki-retries", "1").start();
    scene.loki.fail(Failure::Status { code: 500, body: String::new() }, Times::UntilHealed);
    given.out("never");
    let dropped = |reason: &str| scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &[("reason", reason)]);
    assert_eventually!(dropped("given_up") == 1.0);
    run.out_all(numbered("much", 12_000, 100));
    assert_eventually!(dropped("overwritten") > 0.0, "the ring holds a part of it");
    let full = container(&scene, "full").expect("it runs");
    let lost = full["destinations"][0]["dropped_lines"]["overwritten"].as_f64().expect("a number");
    assert!(full["ring"]["overwritten_lines"].as_f64().expect("a number") >= lost && lost > 0.0, "{full}");

    scene.loki.heal();
    assert_eventually!(scene.lines_in_loki("full").last().is_some_and(|line| line.starts_with("much 011999")));
    let arrived = scene.loki.count(&[("container_name", "full")]) as f64;
    assert_eventually!(dropped("overwritten") + arrived == 12_000.0, "every line is either there or counted");
    let web = scene.container("web").start();
    scene.loki.fail(
        Failure::Status { code: 400, body: "error parsing labels '{' with error: no".into() },
        Times::UntilHealed,
    );
    web.out("refused");
    assert_eventually!(dropped("refused") == 1.0);
}

#[test]
fn what_a_pipeline_counts_is_served_once_however_often_lines_are_sent() {
    let stages = "[{json: {expressions: {status: }}}, {labels: {status: }},
        {metrics: {requests_total: {type: Counter, description: requests, source: status, config: {action: inc}}}},
        {drop: {source: status, value: '404'}}]";
    let scene = scene();
    scene.loki.fail(Failure::Status { code: 503, body: String::new() }, Times::Next(3));
    let web = scene.container("web").option("loki-pipeline-stages", stages).start();
    for status in [200, 404, 200] {
        web.out(format!("{{\"status\":{status}}}"));
    }
    scene.wait_for_lines("web", 2);
    let now = scrape(&scene.plugin);
    assert_eq!(promtool(&now.text), "", "of:\n{}", now.text);
    let requests =
        |status: &str| now.value("promtail_custom_requests_total", &[("status", status), ("container_name", "web")]);
    assert_eq!((requests("200"), requests("404")), (2.0, 1.0));
    assert_eq!(now.value("logentry_dropped_lines_total", &[("reason", "drop_stage")]), 1.0);
    web.stop();
    let requests = || scrape(&scene.plugin).sum("promtail_custom_requests_total", &[]);
    assert_eventually!(requests().is_none(), "what is counted of a container goes with it");
}

#[test]
fn it_lives_at_once_and_is_ready_when_dockerd_is_answered() {
    let scene = scene();
    assert_eq!(get(&scene.plugin, "/live"), "live\n");
    assert_eventually!(ask(&scene.plugin, "GET", "/ready").status == 200);
    for (method, path, code, words) in [
        ("GET", "/nothing", 404, "there are /, /status.json, /metrics, /live and /ready"),
        ("POST", "/metrics", 405, "this only shows"),
        ("DELETE", "/", 405, "this only shows"),
    ] {
        let reply = ask(&scene.plugin, method, path);
        assert!(reply.status == code && reply.body.starts_with(words), "{method} {path}: {reply:?}");
    }
}

#[test]
fn an_address_that_is_taken_stops_no_container() {
    let address = free_address();
    let taken = TcpListener::bind(&address).expect("it was free a moment ago");
    let scene = Scene::with(Start::default().set("METRICS_ADDR", &address), Standin::builder());
    let web = scene.container("web").start();
    web.out("all the same");
    scene.wait_for_lines("web", 1);
    assert_eventually!(scene.plugin.log().contains(&format!("METRICS_ADDR {address}: Address already in use")));
    drop(taken);
    assert_eventually!(TcpStream::connect(&address).is_ok(), "it is tried again");
}

#[test]
fn on_loopback_no_web_site_is_answered_under_its_name() {
    let address = free_address();
    let scene = Scene::with(Start::default().set("METRICS_ADDR", &address), Standin::builder());
    assert_eventually!(scene.plugin.log().contains("status page are served"));
    let status = |host: &str| {
        let mut stream = TcpStream::connect(&address).expect("somebody listens");
        write!(stream, "GET /status.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("it can be asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(status(&address).as_deref(), Some("200"));
    assert_eq!(status("localhost:9337").as_deref(), Some("200"));
    assert_eq!(status("rebound.example.com:9337").as_deref(), Some("421"));
}

#[test]
fn without_an_address_nobody_listens() {
    let scene = Scene::new();
    let web = scene.container("web").start();
    web.out("line");
    scene.wait_for_lines("web", 1);
    assert!(!scene.plugin.log().contains("status page"));
    assert!(!scene.plugin.status_socket().exists());
}

#[test]
fn nobody_who_looks_sees_a_secret() {
    let start = Start::default()
        .serve_status()
        .set("LOKI_PASSWORD", "hunter2")
        .set("LOKI_USERNAME", "me")
        .set("LOKI_PROXY_URL", "http://me:hunter2@127.0.0.1:9");
    let scene = Scene::with(start, Standin::builder());
    let url = scene.loki.push_url().replace("http://", "http://other:hunter3@");
    let web = scene.dockerd.container("web").option("loki-url", &url).option("loki-proxy-url", "").start();
    web.out("line");
    assert_eventually!(container(&scene, "web").is_some());
    for path in ["/status.json", "/metrics"] {
        let shown = get(&scene.plugin, path);
        assert!(!shown.contains("hunter"), "{path}: {shown}");
    }
    let options = status(&scene.plugin)["options"].clone();
    let password = options.as_array().expect("a list").iter().find(|option| option["key"] == "loki-password").cloned();
    assert_eq!(password.expect("it is set")["value"], "***");
}

//! Lines arrive in Loki as they should: under their labels, whole, in order, once, and few requests for many lines.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use crate::harness::dockerd::now;
use crate::harness::frame::Entry;
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, assert_same, numbered, patience};
use crate::standin::{Failure, Limits, Request, Standin, Stored, Times};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

/// Loki's default for the longest line, and the end of one that was truncated to it.
const LONGEST_LINE: usize = 256 * 1024;
const MARKER: &str = " [cut by loki-rs at 256 KiB]";

/// The entry of a container that has written one line.
fn only_entry(scene: &Scene, name: &str) -> Stored {
    let of = |entry: &Stored| entry.labels.get("container_name").is_some_and(|value| value == name);
    scene.wait_for_lines(name, 1);
    scene.loki.entries().into_iter().find(of).expect("it was counted")
}

/// The first request that Loki has answered.
fn first_push(scene: &Scene) -> Request {
    assert_eventually!(!scene.loki.pushes().is_empty());
    scene.loki.pushes().swap_remove(0)
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel has one").trim().to_owned()
}

#[test]
fn labels_come_from_the_container_and_from_its_options() {
    let scene = Scene::new();
    let cart = scene.container("cart");
    let run = cart
        .clone()
        .label("com.docker.compose.project", "shop")
        .label("com.docker.compose.service", "cart")
        .label("app", "web")
        .label("tier.name", "front")
        .label("not-asked-for", "x")
        .env("REGION=eu")
        .env("STAGE_1=a=b")
        .env("PASSWORD=hunter2")
        .option("labels", "app,absent")
        .option("labels-regex", "^tier")
        .option("env", "REGION")
        .option("env-regex", "^STAGE_")
        .start();
    run.out("hello");
    let entry = only_entry(&scene, "cart");
    let expected = map(&[
        ("REGION", "eu"),
        ("STAGE_1", "a=b"),
        ("app", "web"),
        ("compose_project", "shop"),
        ("compose_service", "cart"),
        ("container_name", "cart"),
        ("host", &hostname()),
        ("source", "stdout"),
        ("tier_name", "front"),
    ]);
    assert_eq!(entry.labels, expected);
    let metadata: BTreeMap<_, _> = entry.metadata.into_iter().collect();
    assert_eq!(metadata, map(&[("container_id", cart.id()), ("image_name", "busybox:1")]));
    run.stop();
}

#[test]
fn swarm_and_a_users_own_labels_are_there_too() {
    let scene = Scene::new();
    let run = scene
        .container("task")
        .label("com.docker.swarm.service.name", "shop_cart")
        .label("com.docker.stack.namespace", "shop")
        .option("loki-external-labels", "job=docker,container_name={{.Name}}.{{.ID}},image={{.ImageName}}")
        .start();
    run.err("hello");
    let name = "task.7461736b0000";
    let expected = map(&[
        ("container_name", name),
        ("host", &hostname()),
        ("image", "busybox:1"),
        ("job", "docker"),
        ("source", "stderr"),
        ("swarm_service", "shop_cart"),
        ("swarm_stack", "shop"),
    ]);
    assert_eq!(only_entry(&scene, name).labels, expected);
    run.stop();
}

#[test]
fn label_values_arrive_as_they_are_whatever_is_in_them() {
    let scene = Scene::new();
    let odd = "say \"hi\" \\ and\nnew line\ttab ä 😀 {a=\"b\"}, \u{1}";
    let run = scene.container("odd").label("app", odd).option("labels", "app").start();
    run.out("hello");
    assert_eq!(only_entry(&scene, "odd").labels["app"], odd);
    run.stop();
}

#[test]
fn a_tenant_gets_its_own_lines() {
    let scene = Scene::with(Start::default(), Standin::builder().auth(true));
    let a = scene.container("a").option("loki-tenant-id", "team-a").start();
    let b = scene.container("b").option("loki-tenant-id", "team-b").start();
    a.out("hello");
    b.out("hello");
    assert_eq!((only_entry(&scene, "a").tenant, only_entry(&scene, "b").tenant), ("team-a".into(), "team-b".into()));
    a.stop();
    b.stop();
}

#[test]
fn a_password_goes_to_loki_and_nowhere_else() {
    let scene = Scene::with(Start::default().set("LOG_LEVEL", "trace"), Standin::builder());
    let url = scene.loki.push_url().replace("http://", "http://user:hunter%402@");
    let run = scene.container("web").option("loki-url", &url).start();
    run.out("hello");
    // "user:hunter@2"
    assert_eq!(first_push(&scene).header("authorization"), Some("Basic dXNlcjpodW50ZXJAMg=="));
    // The log line about an outage names the destination.
    scene.loki.go_away();
    run.out("again");
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
    let refusal = scene.container("bad").option("loki-url", &format!("{url}#x")).try_start().expect_err("a fragment");
    let unknown = scene.container("worse").option("loki-url", "user:hunter%402@loki:3100").try_start();
    scene.loki.come_back();
    scene.wait_for_lines("web", 2);
    run.stop();
    let said = [scene.plugin.log(), refusal, unknown.expect_err("no scheme")].join("\n");
    for secret in ["hunter", "dXNlcj"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn what_containers_print_is_kept_from_other_users() {
    fn walk(path: &Path) {
        let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", path.display());
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path());
        }
    }
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("hello");
    scene.wait_for_lines("web", 1);
    assert_eventually!(scene.plugin.cursors(run.container().id()).len() == 1);
    for folder in ["rings", "streams"] {
        walk(&scene.plugin.state().join(folder));
    }
    run.stop();
}

#[test]
fn a_push_is_what_loki_expects() {
    let scene = Scene::new();
    // Loki's path is added when the URL has none.
    let run = scene.container("web").option("loki-url", &scene.loki.url()).start();
    run.out("hello");
    let push = first_push(&scene);
    assert_eq!((push.method.as_str(), push.path.as_str()), ("POST", "/loki/api/v1/push"));
    assert_eq!(push.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(push.header("content-encoding"), Some("snappy"));
    assert!(push.header("user-agent").is_some_and(|agent| agent.starts_with("loki-rs/")));
    assert_eq!((push.header("x-scope-orgid"), push.header("authorization")), (None, None));
    run.stop();
}

#[test]
fn the_operators_defaults_count_where_a_container_says_nothing() {
    let loki = Standin::start();
    let start =
        Start::default().set("LOKI_URL", &loki.push_url()).set("LOKI_EXTERNAL_LABELS", "job=all").set("LABELS", "");
    let scene = Scene::with(start, Standin::builder());
    let silent = scene.dockerd.container("silent").start();
    let own = scene.container("own").option("loki-external-labels", "container_name=own").start();
    silent.out("hello");
    own.out("hello");
    scene.wait_for_lines("own", 1);
    assert!(loki.wait_for(|state| state.count(&[("job", "all")]) == 1, patience()));
    silent.stop();
    own.stop();
}

#[test]
fn a_full_batch_does_not_wait() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-batch-wait", "1h").option("loki-batch-size", "10000").start();
    let written = numbered("line", 1000, 100);
    run.out_all(&written);
    // Full batches go at once; the rest waits for more.
    scene.wait_for_lines("web", 800);
    run.stop();
    scene.assert_lines_in_loki("web", &written);
    for push in scene.loki.pushes() {
        assert!(push.uncompressed_bytes < 20_000, "{} bytes in a request", push.uncompressed_bytes);
    }
}

#[test]
fn a_batch_that_is_not_full_goes_when_its_time_has_come() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-batch-wait", "700ms").start();
    let written = numbered("line", 50, 100);
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    // One request, unless the machine was so busy that the lines came in parts.
    let pushes = scene.loki.pushes().len();
    assert!(pushes <= 3, "{pushes} requests for fifty lines");
    run.stop();
}

#[test]
fn a_stop_does_not_wait_for_the_batch_to_be_full() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-batch-wait", "1h").start();
    run.out("hello");
    run.stop();
    scene.assert_lines_in_loki("web", &["hello"]);
}

#[test]
fn chunks_of_long_lines_become_one_line_though_both_outputs_interleave() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let (out, err) = (numbered("out", 3, 70_000), numbered("err", 3, 50_000));
    for at in 0..3 {
        // Both outputs print pieces in turn, with short lines around them.
        for piece in 0..5 {
            run.print(0, &out[at].as_bytes()[piece * 14_000..(piece + 1) * 14_000]);
            run.print(1, &err[at].as_bytes()[piece * 10_000..(piece + 1) * 10_000]);
        }
        run.print(1, b"\n");
        run.err("short");
        run.print(0, b"\n");
    }
    scene.wait_for_lines("web", 9);
    let of = |source| scene.loki.lines(&[("container_name", "web"), ("source", source)]);
    let text = |lines: Vec<Vec<u8>>| -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8(line).expect("text")).collect()
    };
    assert_same(&text(of("stdout")), &out);
    let with_short: Vec<_> = err.iter().flat_map(|line| [line.as_str(), "short"]).collect();
    assert_same(&text(of("stderr")), &with_short);
    run.stop();
}

#[test]
fn a_line_of_exactly_one_chunk_is_one_line() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let written: Vec<_> = [16_383, 16_384, 16_385, 32_768].map(|length| "x".repeat(length)).into();
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    run.stop();
}

#[test]
fn last_words_without_a_newline_are_sent_when_the_container_stops() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("first");
    let long = "x".repeat(20_000);
    run.print(0, long.as_bytes());
    run.print(1, b"last words");
    run.stop();
    scene.wait_for_lines("web", 3);
    let of = |source| scene.loki.lines(&[("container_name", "web"), ("source", source)]);
    assert!(of("stdout") == [b"first".as_slice(), long.as_bytes()]);
    assert_eq!(of("stderr"), [b"last words"]);
}

#[test]
fn a_line_that_loki_would_refuse_is_cut_and_marked_and_whole_in_docker_logs() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let fits = "f".repeat(LONGEST_LINE);
    let long = "é".repeat(LONGEST_LINE);
    run.out_all([fits.as_str(), &long, "after it"]);
    scene.wait_for_lines("web", 3);
    let lines = scene.lines_in_loki("web");
    assert_same(&[&lines[0], &lines[2]], &[fits.as_str(), "after it"]);
    let cut = &lines[1];
    assert!(cut.len() <= LONGEST_LINE && cut.len() > LONGEST_LINE - 4, "{} bytes", cut.len());
    assert!(cut.ends_with(MARKER) && long.starts_with(cut.trim_end_matches(MARKER)));
    assert_eventually!(scene.plugin.sum_in_log("lines were cut at 256 KiB", "lines") == 1);
    assert_same(&run.lines(), &[fits.as_str(), &long, "after it"]);
    run.stop();
}

#[test]
fn a_hundred_megabytes_without_a_newline_cost_no_memory() {
    let scene = Scene::new();
    let run = scene.container("web").option("max-size", "4m").option("max-file", "1").start();
    run.out("before");
    scene.wait_for_lines("web", 1);
    let memory = scene.plugin.memory();
    // Twenty-five times what the ring holds: the beginning of the line is overwritten before its end comes.
    for _ in 0..1600 {
        run.print(0, &[b'x'; 64 * 1024]);
    }
    let grown = scene.plugin.memory().saturating_sub(memory);
    assert!(grown < 8 * 1024, "{grown} KiB for a line that does not end");
    run.out("");
    run.out("after");
    scene.wait_for_lines("web", 3);
    let lines = scene.lines_in_loki("web");
    assert_eq!((lines.len(), lines[0].as_str(), lines[2].as_str()), (3, "before", "after"));
    assert!(lines[1].len() <= LONGEST_LINE && lines[1].ends_with(MARKER));
    run.stop();
}

#[test]
fn blank_lines_and_odd_bytes_arrive_as_they_are() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let written: [&[u8]; 8] =
        [b"", b" ", b"\t \t", b"", b"\r", b"\x00\x01\xff\xfe", b"trailing blanks  ", b"\xe9 is latin1"];
    run.out_all(written);
    scene.wait_for_lines("web", written.len());
    assert_eq!(scene.loki.lines(&[("container_name", "web")]), written);
    run.stop();
}

#[test]
fn lines_keep_their_order_and_times_rise() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-batch-size", "50000").start();
    let (out, err) = (numbered("out", 5000, 80), numbered("err", 5000, 80));
    thread::scope(|threads| {
        threads.spawn(|| run.out_all(&out));
        threads.spawn(|| err.iter().for_each(|line| run.err(line)));
    });
    scene.wait_for_lines("web", 10_000);
    for (source, written) in [("stdout", &out), ("stderr", &err)] {
        let entries = scene.loki.entries();
        let of: Vec<_> = entries.iter().filter(|entry| entry.labels["source"] == source).collect();
        let lines: Vec<_> = of.iter().map(|entry| String::from_utf8_lossy(&entry.line)).collect();
        assert_same(&lines, written);
        assert!(of.windows(2).all(|pair| pair[0].timestamp_ns < pair[1].timestamp_ns), "{source}");
    }
    run.stop();
}

#[test]
fn equal_lines_of_one_nanosecond_are_all_kept() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let time = now();
    for _ in 0..100 {
        run.log(&Entry::new("stdout", time, "the same"));
        run.log(&Entry::new("stderr", time, "the same"));
    }
    scene.assert_lines_in_loki("web", &["the same"; 200]);
    let entries = scene.loki.entries();
    let first = entries.iter().map(|entry| entry.timestamp_ns).min();
    assert_eq!(first, Some(time), "the first has its own time");
    run.stop();
}

#[test]
fn a_clock_that_goes_back_an_hour_costs_neither_lines_nor_their_order() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let time = now();
    let mut written = Vec::new();
    for (round, back) in [0, HOUR, HOUR / 2, 0, HOUR].into_iter().enumerate() {
        for at in 0..100 {
            let line = format!("round {round} line {at}");
            run.log(&Entry::new("stdout", time - back + at * 1000, line.as_str()));
            written.push(line);
        }
        // In separate requests, so that Loki has seen the later lines when the earlier ones come.
        scene.wait_for_lines("web", written.len());
    }
    scene.assert_lines_in_loki("web", &written);
    let times: Vec<_> = scene.loki.entries().iter().map(|entry| entry.timestamp_ns).collect();
    assert!(times.is_sorted_by(|a, b| a < b));
    // `docker logs` shows the times of dockerd.
    assert_same(&run.lines(), &written);
    run.stop();
}

#[test]
fn a_loki_that_refuses_structured_metadata_gets_lines_without_it() {
    let limits = Limits { allow_structured_metadata: false, ..Limits::default() };
    let scene = Scene::with(Start::default(), Standin::builder().limits(limits));
    let (a, b) = (scene.container("a").start(), scene.container("b").start());
    let written = numbered("line", 100, 50);
    a.out_all(&written);
    scene.assert_lines_in_loki("a", &written);
    b.out_all(&written);
    scene.assert_lines_in_loki("b", &written);
    assert!(scene.loki.entries().iter().all(|entry| entry.metadata.is_empty()));
    let refused = scene.loki.pushes().iter().filter(|push| push.status_answered == Some(400)).count();
    assert_eq!(refused, 1, "it was asked once, for all containers of the destination");
    let log = scene.plugin.log();
    assert_eq!(log.matches("Loki refuses structured metadata").count(), 1, "{log}");
    assert!(!log.contains("lines were dropped"), "{log}");
    a.stop();
    b.stop();
}

#[test]
fn of_lines_that_loki_refuses_each_is_counted_and_the_rest_is_kept() {
    let limits = Limits { max_line_size: 100, ..Limits::default() };
    let scene = Scene::with(Start::default(), Standin::builder().limits(limits));
    let run = scene.container("web").start();
    run.out("first");
    scene.wait_for_lines("web", 1);
    for line in numbered("long", 25, 200) {
        run.out(line);
    }
    run.out("last");
    scene.assert_lines_in_loki("web", &["first", "last"]);
    run.stop();
    assert_eventually!(
        scene.plugin.sum_in_log("lines were dropped", "lines") == 25,
        "{} of 25 refused lines are counted",
        scene.plugin.sum_in_log("lines were dropped", "lines")
    );
    assert!(scene.plugin.log().contains("max entry size"), "the reason is told");
}

#[test]
fn containers_of_one_destination_share_connections() {
    let scene = Scene::new();
    let port = scene.loki.port();
    let first = scene.container("first").start();
    first.out("hello");
    scene.wait_for_lines("first", 1);
    let before = scene.plugin.connections_to(port);
    assert_eq!(before.len(), 1);
    for at in 0..20 {
        let name = format!("c{at}");
        let run = scene.container(&name).start();
        run.out("hello");
        scene.wait_for_lines(&name, 1);
        run.stop();
    }
    let after = scene.plugin.connections_to(port);
    assert!(after.contains(&before[0]), "the first connection is still in use: {before:?} {after:?}");
    assert!(after.len() <= 2, "one after the other, twenty containers need no more: {after:?}");
    first.stop();
}

#[test]
fn forty_containers_at_once_share_few_connections() {
    let scene = Scene::new();
    // Without answers, connections pile up if they can.
    scene.loki.fail(Failure::Delay(std::time::Duration::from_millis(50)), Times::UntilHealed);
    let runs: Vec<_> = (0..40).map(|at| scene.container(&format!("c{at}")).start()).collect();
    runs.iter().for_each(|run| run.out("hello"));
    let mut most = 0;
    assert_eventually!({
        most = most.max(scene.plugin.connections_to(scene.loki.port()).len());
        scene.loki.entries().len() == 40
    });
    // Eight requests at once; each may leave an additional connection that was opening when another became free.
    assert!(most <= 16, "{most} connections");
    for run in runs {
        run.stop();
    }
}

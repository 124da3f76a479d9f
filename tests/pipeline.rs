//! Lines through a container's stages: Loki gets what Promtail would make of them, no line is lost that no stage drops,
//! and `docker logs` shows what was printed.

use std::time::Instant;

use crate::harness::{Scene, assert_eventually, assert_same, numbered, patience};
use crate::standin::{Failure, Standin, State, Stored, Times};

/// Waits for `count` lines in Loki, whatever their labels, and returns all.
fn entries(scene: &Scene, count: usize) -> Vec<Stored> {
    let came = scene.loki.wait_for(|state: &State| state.entries().len() >= count, patience());
    assert!(came, "{count} lines are expected, and Loki has {}: {}", scene.loki.entries().len(), scene.plugin.log());
    scene.loki.entries()
}

fn text(entry: &Stored) -> String {
    String::from_utf8_lossy(&entry.line).into_owned()
}

fn unavailable() -> Failure {
    Failure::Status { code: 503, body: "no".into() }
}

/// A line of an application that logs JSON.
fn json(level: &str, message: &str) -> String {
    format!(r#"{{"level":"{level}","msg":"{message}","trace_id":"t-{message}","at":"2026-11-20T10:00:00.5Z"}}"#)
}

const JSON: &str = "
- json: {expressions: {level: level, msg: msg, trace: trace_id}}
- drop: {source: level, value: debug}
- labels: {level: }
- structured_metadata: {trace: }
- output: {source: msg}
";

/// A block begins with a line that is not indented.
const BLOCKS: &str = "- multiline: {firstline: '^\\S', max_wait_time: 1h}";

#[test]
fn stages_make_streams_lines_and_metadata_and_docker_logs_shows_what_was_printed() {
    let scene = Scene::new();
    let web = scene.container("web").option("loki-pipeline-stages", JSON);
    let run = web.start();
    let printed = [json("info", "one"), json("debug", "two"), json("error", "three"), "no json".to_owned()];
    run.out_all(&printed);
    let mut found = entries(&scene, 3);
    found.sort_by_key(text);
    let told: Vec<_> = found.iter().map(|entry| (text(entry), entry.labels.get("level").map(String::as_str))).collect();
    assert_eq!(
        told,
        [("no json".into(), None), ("one".into(), Some("info")), ("three".into(), Some("error"))],
        "debug is dropped"
    );
    let trace =
        |at: usize| found[at].metadata.iter().find(|(name, _)| name == "trace").map(|(_, value)| value.as_str());
    assert_eq!((trace(0), trace(1)), (None, Some("t-one")));
    assert!(found.iter().all(|entry| entry.labels.contains_key("container_name")));
    assert_same(&run.lines(), &printed);
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
}

#[test]
fn a_line_has_the_time_that_its_stage_reads() {
    let scene = Scene::new();
    // Loki accepts nothing older than a week, and neither does the fake.
    let now = jiff::Timestamp::now();
    let then = now - jiff::SignedDuration::from_mins(10);
    let stages = "[{regex: {expression: '^(?P<at>\\S+)'}}, {timestamp: {source: at, format: RFC3339Nano}}]";
    let run = scene.container("web").option("loki-pipeline-stages", stages).start();
    run.out(format!("{then} late"));
    let found = entries(&scene, 1);
    assert_eq!(i128::from(found[0].timestamp_ns), then.as_nanosecond());
    run.stop();
}

#[test]
fn the_lines_of_a_stack_trace_are_one_entry_and_the_last_one_comes_at_the_stop() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-pipeline-stages", BLOCKS).start();
    run.out_all(["panic", "  at one", "  at two", "next", "  at three"]);
    let found = entries(&scene, 1);
    assert_eq!(found.iter().map(text).collect::<Vec<_>>(), ["panic\n  at one\n  at two"]);
    run.stop();
    assert_eq!(entries(&scene, 2).iter().map(text).next_back().unwrap(), "next\n  at three");
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
}

#[test]
fn a_block_that_nothing_follows_comes_when_it_has_waited_for_long_enough() {
    let scene = Scene::new();
    let stages = "- multiline: {firstline: '^\\S', max_wait_time: 200ms}";
    let run = scene.container("web").option("loki-pipeline-stages", stages).start();
    run.out_all(["panic", "  at one"]);
    assert_eq!(text(&entries(&scene, 1)[0]), "panic\n  at one");
    run.stop();
}

#[test]
fn a_kill_in_the_middle_of_a_block_costs_no_line_of_it() {
    let mut scene = Scene::new();
    let run = scene.container("web").option("loki-pipeline-stages", BLOCKS).start();
    run.out_all(["first", "  a", "panic", "  at one"]);
    entries(&scene, 1);
    assert_eventually!(scene.plugin.cursors(run.container().id()).len() == 1);
    scene.plugin.kill();
    scene.plugin.restart();
    run.out_all(["  at two", "next"]);
    assert_eventually!(
        scene.loki.entries().iter().any(|entry| text(entry) == "panic\n  at one\n  at two"),
        "the block is whole: {:?}",
        scene.loki.entries().iter().map(text).collect::<Vec<_>>()
    );
    run.stop();
}

#[test]
fn after_an_outage_every_line_is_there_once_in_all_streams_that_stages_made() {
    let scene = Scene::generous();
    let run = scene.container("web").option("loki-pipeline-stages", JSON).start();
    run.out(json("info", "before"));
    entries(&scene, 1);
    // Some streams get through and others do not, again and again.
    scene.loki.fail_only(&[("level", "error")], unavailable(), Times::UntilHealed);
    let levels = ["info", "error", "warn", "debug"];
    let printed: Vec<_> = (0..4000).map(|at| (levels[at % 4], format!("{at:05}"))).collect();
    for (level, message) in &printed {
        run.out(json(level, message));
    }
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
    scene.loki.heal();
    run.stop();
    for level in ["info", "error", "warn"] {
        let expected: Vec<_> =
            printed.iter().filter(|(of, _)| *of == level).map(|(_, message)| message.clone()).collect();
        let labels = [("container_name", "web"), ("level", level)];
        let extra = usize::from(level == "info");
        let came = scene.loki.wait_for(|state| state.count(&labels) >= expected.len() + extra, patience());
        let lines = scene.loki.lines(&labels);
        assert!(came, "{level}: {} of {}", lines.len(), expected.len());
        let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).skip(extra).collect();
        assert_same(&lines, &expected);
    }
    assert_eq!(scene.loki.count(&[("level", "debug")]), 0);
}

#[test]
fn a_stage_that_limits_the_rate_holds_up_shipping_and_not_the_container() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-pipeline-stages", "- limit: {rate: 50, burst: 50}").start();
    let written = numbered("line", 150, 1000);
    let start = Instant::now();
    run.out_all(&written);
    run.out_all(numbered("more", 3000, 1000));
    let writing = start.elapsed();
    scene.wait_for_lines("web", written.len());
    assert_same(&scene.lines_in_loki("web")[..written.len()], &written);
    assert!(start.elapsed() > writing, "shipping takes longer than writing");
    assert!(scene.loki.count(&[]) < 3000, "it is held up");
    run.stop();
}

#[test]
fn a_stage_names_the_tenant_of_each_line() {
    let scene = Scene::with(crate::harness::plugin::Start::default(), Standin::builder().auth(true));
    let stages = "[{regex: {expression: '^(?P<team>\\S+)'}}, {tenant: {source: team}}]";
    let run = scene.container("web").option("loki-tenant-id", "all").option("loki-pipeline-stages", stages).start();
    run.out_all(["red one", "blue two", "bad/tenant three"]);
    let mut found: Vec<_> = entries(&scene, 2).iter().map(|entry| (entry.tenant.clone(), text(entry))).collect();
    found.sort();
    assert_eq!(found, [("blue".into(), "blue two".into()), ("red".into(), "red one".into())]);
    assert_eventually!(scene.plugin.log().contains("gives them a tenant id that Loki cannot take"));
    run.stop();
}

#[test]
fn a_preset_makes_labels_and_metadata_and_takes_what_must_not_leave() {
    let scene = Scene::new();
    let stages = r#"[{drop: {source: level, value: debug}}, {json: {expressions: {msg: }}}, {output: {source: msg}}]"#;
    let run =
        scene.container("web").option("loki-pipeline", "json, redact-email").option("loki-pipeline-stages", stages);
    let run = run.start();
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    let line = |level: &str, message: &str| {
        format!(
            r#"{{"time":"{at}","level":"{level}","msg":"{message}","trace_id":"4bf92f3577b34da6","span_id":"00f067aa"}}"#
        )
    };
    let printed = [line("WARNING", "no mail to a@example.com"), line("DEBUG", "hidden"), line("user-4711", "odd")];
    run.out_all(&printed);
    let mut found = entries(&scene, 2);
    found.sort_by_key(text);
    let told: Vec<_> = found.iter().map(|entry| (text(entry), entry.labels.get("level").map(String::as_str))).collect();
    assert_eq!(told, [("no mail to <email>".into(), Some("warn")), ("odd".into(), None)]);
    for (name, expected) in [("trace_id", "4bf92f3577b34da6"), ("span_id", "00f067aa")] {
        let value = found[0].metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(value, Some(expected), "{:?}", found[0].metadata);
    }
    assert_eq!(i128::from(found[0].timestamp_ns), at.as_nanosecond());
    assert_same(&run.lines(), &printed);
    run.stop();
}

#[test]
fn a_traceback_is_one_entry_with_the_line_that_was_logged_with_it() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-pipeline", "python,redact-ipv4").start();
    let trace = [
        "2026-11-20 11:59:59,123 - app - ERROR - 10.0.0.7 failed",
        "Traceback (most recent call last):",
        "  File \"/app/a.py\", line 1, in <module>",
        "ZeroDivisionError: division by zero",
    ];
    run.out_all(trace);
    run.out("2026-11-20 11:59:59,124 - app - INFO - on we go");
    let mut found = entries(&scene, 2);
    found.sort_by_key(|entry| entry.timestamp_ns);
    let told: Vec<_> = found.iter().map(|entry| (text(entry), entry.labels.get("level").map(String::as_str))).collect();
    let whole = trace.join("\n").replace("10.0.0.7", "<ipv4>");
    let next = "2026-11-20 11:59:59,124 - app - INFO - on we go".to_owned();
    assert_eq!(told, [(whole, Some("error")), (next, Some("info"))]);
    run.stop();
}

#[test]
fn a_container_takes_the_presets_of_the_plugin_or_has_its_own_or_none() {
    let start = crate::harness::plugin::Start::default().set("LOKI_PIPELINE", "redact-email");
    let scene = Scene::with(start, Standin::builder());
    for (name, own, expected) in [
        ("all", None, "<email> 10.0.0.1"),
        ("own", Some("redact-ipv4"), "a@example.com <ipv4>"),
        ("none", Some(""), "a@example.com 10.0.0.1"),
    ] {
        let container = scene.container(name);
        let container = own.into_iter().fold(container, |container, own| container.option("loki-pipeline", own));
        let run = container.start();
        run.out("a@example.com 10.0.0.1");
        scene.wait_for_lines(name, 1);
        assert_same(&scene.lines_in_loki(name), &[expected]);
        run.stop();
    }
}

#[test]
fn stages_in_a_file_and_the_same_stages_typed_are_one() {
    let scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stages.yaml");
    let stages = "- replace: {expression: '(secret)', replace: '***'}\n";
    for (at, text) in [format!("pipeline_stages:\n{stages}"), stages.to_owned()].iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        let run = scene.container("web").option("loki-pipeline-stage-file", file.to_str().unwrap()).start();
        run.out("my secret");
        let all = entries(&scene, at + 1);
        assert_eq!(self::text(&all[at]), "my ***");
        run.stop();
    }
    let both = scene.container("both").option("loki-pipeline-stages", "[]");
    let Err(refusal) = both.option("loki-pipeline-stage-file", file.to_str().unwrap()).try_start() else {
        panic!("it starts")
    };
    assert!(refusal.contains("loki-pipeline-stage-file: contradicts loki-pipeline-stages"), "{refusal}");
    let Err(refusal) = scene.container("odd").option("loki-pipeline-stages", "- jsn: {}").try_start() else {
        panic!("it starts")
    };
    assert!(refusal.contains("loki-pipeline-stages: ") && refusal.contains("jsn"), "{refusal}");
}

//! With an invalid setting the plugin starts, reads what containers print, and refuses new containers with an error.

use std::process::Command;

use crate::harness::plugin::Start;
use crate::harness::status::{get, scrape, status};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::Standin;

/// Settings with an invalid value, the error, and whether lines of earlier containers are sent meanwhile.
const BAD: [(&str, &str, &str, bool); 11] = [
    ("RING_BUDGET", "ten", r#"RING_BUDGET: "ten" is not a size above zero (try 20m, 512k, 1g)"#, true),
    ("RING_BUDGET", "0%", r#"RING_BUDGET: "0%""#, true),
    ("RING_RETENTION", "soon", r#"RING_RETENTION: "soon" is not a duration"#, true),
    ("LOG_LEVEL", "loud", r#"LOG_LEVEL: "loud" is not a log level"#, true),
    ("LOG_FORMAT", "xml", r#"LOG_FORMAT: "xml" is not a log format"#, true),
    ("NO_PROXY", "loki:http", r#"NO_PROXY: "loki:http" is not a list of hosts"#, true),
    ("METRICS_ADDR", "here", r#"METRICS_ADDR: "here" is not an address to listen on"#, true),
    ("LOKI_TIMEOUT", "ten", r#"LOKI_TIMEOUT: "ten" is not a duration"#, false),
    ("LOKI_PIPELINE_STAGES", "- jsn: {}", r#"LOKI_PIPELINE_STAGES: "- jsn: {}" is not a YAML list of stages"#, false),
    ("LOKI_URL", "http://me:hunter2@bad host", r#"LOKI_URL: "http://***@bad host" is not an http or https URL"#, true),
    ("LOKI_PASSWORD", "hunter2", "LOKI_PASSWORD: is of no use without loki-username", false),
];

#[test]
fn it_stops_nobody_who_was_there_and_lets_in_nobody_new() {
    let mut start = Start::default();
    for (name, ..) in BAD {
        start = start.set(name, "");
    }
    let mut scene = Scene::with(start, Standin::builder());
    let stopped = scene.container("stopped");
    let run = stopped.start();
    run.out("of old");
    run.stop();
    let web = scene.container("web");
    let mut run = web.start();
    run.out("at first");
    let mut written = vec!["at first".to_owned()];
    scene.assert_lines_in_loki("web", &written);
    for (at, (name, value, sentence, is_sent)) in BAD.into_iter().enumerate() {
        scene.plugin.terminate();
        scene.plugin.set(name, value);
        scene.plugin.restart();

        let refusal = scene.container(&format!("new-{at}")).try_start().expect_err("it is refused");
        assert!(refusal.contains(sentence) && !refusal.contains('\n'), "{name}: {refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");

        // Running containers are read, and their lines can be shown.
        let more = numbered(name, 2_000, 100);
        run.out_all(&more);
        written.extend(more);
        assert_eventually!(!run.has_unread(), "no container is blocked by {name}");
        assert_eventually!(run.lines().len() == written.len(), "docker logs has them with {name}");
        assert_eq!(stopped.lines(), ["of old"], "{name}");
        if is_sent {
            scene.assert_lines_in_loki("web", &written);
        }
        // The container is stopped and started again.
        run.stop();
        run = web.start();
        assert_same(&run.lines(), &written);

        scene.plugin.terminate();
        scene.plugin.set(name, "");
        scene.plugin.restart();
        scene.assert_lines_in_loki("web", &written);
    }
    let log = scene.plugin.log();
    assert!(!log.contains("hunter2"), "{log}");
    for (name, value, ..) in BAD.into_iter().filter(|(_, value, ..)| !value.contains("hunter2")) {
        let is_said = log.lines().any(|line| line.contains(&format!("setting={name}")) && line.contains(value));
        assert!(is_said, "{name}: {log}");
    }
    run.stop();
}

#[test]
fn it_is_said_wherever_somebody_may_look() {
    let start = Start::default().serve_status().set("RING_BUDGET", "ten").set("LOKI_TIMEOUT", "soon");
    let scene = Scene::with(start, Standin::builder());
    assert_eq!(scrape(&scene.plugin).value("loki_rs_bad_settings", &[]), 2.0);
    let status = status(&scene.plugin);
    let budget = r#"RING_BUDGET: "ten" is not a size above zero (try 20m, 512k, 1g)"#;
    assert_eq!(status["bad_settings"][0], budget);
    assert_eq!(status["verdict"]["level"], "critical");
    let text = status["verdict"]["text"].as_str().expect("a text");
    assert!(
        text.starts_with("New containers are refused, because 2 settings of the plugin cannot be used: "),
        "{text}"
    );
    assert!(get(&scene.plugin, "/").contains("New containers are refused"));

    let mut doctor = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    let url = format!("loki-url={}", scene.loki.push_url());
    doctor.args(["doctor", "--log-opt", &url]).env_clear().env("RING_BUDGET", "ten");
    let output = doctor.output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("FAIL  {budget}")) && said.contains("would refuse every new container"), "{said}");
}

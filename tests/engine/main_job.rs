//! The main job: lines arrive in Loki and stay readable on the machine.

use super::stage::{Scene, numbered, text};
use std::collections::BTreeMap;
use std::fs;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

#[test]
fn what_a_container_prints_is_in_loki_and_in_docker_logs() {
    let scene = Scene::new("main");
    let container = scene.container("job").run_well(&["lines:3"]);

    scene.expect_lines(&container, numbered(3));
    assert_eq!(container.lines(&[]), numbered(3));

    let entry = &scene.loki.entries()[0];
    let host = hostname();
    assert_eq!(
        entry.labels,
        map(&[("container_name", "main-job"), ("host", &host), ("source", "stdout")]),
        "these labels and no others"
    );
    let metadata: BTreeMap<String, String> = entry.metadata.iter().cloned().collect();
    assert_eq!(metadata, map(&[("container_id", &container.inspect("{{.Id}}")), ("image_name", "chatter")]));
}

#[test]
fn the_plugin_is_one_file_of_little_more_than_ten_megabytes() {
    let scene = Scene::new("small");
    let rootfs = scene.plugin.folder().join("rootfs");
    let binary = fs::metadata(rootfs.join("loki-rs")).unwrap();
    assert!(binary.len() < 10_200_000, "it has {} bytes", binary.len());
}

#[test]
fn labels_come_from_compose_from_the_container_and_from_its_options() {
    let scene = Scene::new("labelled");
    let container = scene
        .container("web")
        .argument("--label=com.docker.compose.project=shop")
        .argument("--label=com.docker.compose.service=web")
        .argument("--label=tier=front")
        .argument("--env=REGION=eu")
        .option("labels", "tier")
        .option("env-regex", "^REG")
        .option("loki-external-labels", "container_name={{.Name}},job=docker/{{.ImageName}}")
        .run_well(&["lines:1"]);

    scene.expect_lines(&container, numbered(1));
    let host = hostname();
    assert_eq!(
        scene.loki.entries()[0].labels,
        map(&[
            ("REGION", "eu"),
            ("compose_project", "shop"),
            ("compose_service", "web"),
            ("container_name", "labelled-web"),
            ("host", &host),
            ("job", "docker/chatter"),
            ("source", "stdout"),
            ("tier", "front"),
        ])
    );
}

#[test]
fn names_resolve_inside_the_plugin() {
    // From the host's /etc/hosts, which dockerd puts into a rootfs that has nothing else.
    let scene = Scene::new("named");
    let url = format!("http://localhost:{}", scene.loki.port());
    let container = scene.bare_container("host", &scene.plugin.name).option("loki-url", &url).run_well(&["lines:2"]);
    scene.expect_lines(&container, numbered(2));
}

#[test]
fn stderr_is_a_stream_beside_stdout() {
    let scene = Scene::new("streams");
    let container = scene.container("both").run_well(&["to:both", "lines:6"]);

    let odd = ["line 1", "line 3", "line 5"];
    let even = ["line 2", "line 4", "line 6"];
    let logs = container.logs(&[]);
    assert_eq!(text(&logs.stdout), odd.map(|line| format!("{line}\n")).concat());
    assert_eq!(text(&logs.stderr), even.map(|line| format!("{line}\n")).concat());

    let arrived = scene.loki.wait_for(|state| state.entries().len() == 6, super::stage::patience());
    assert!(arrived, "Loki has {} lines", scene.loki.entries().len());
    for (source, expected) in [("stdout", odd), ("stderr", even)] {
        let lines = scene.loki.lines(&[("container_name", &container.name), ("source", source)]);
        assert_eq!(lines, expected.map(|line| line.as_bytes().to_vec()), "{source}");
    }
}

#[test]
fn a_terminal_makes_one_stream_with_its_own_line_ends() {
    let scene = Scene::new("terminal");
    let container = scene.container("tty").argument("--tty").start(&["to:both", "lines:2"]);
    container.wait();

    // A terminal has one output, and turns a newline into two characters.
    assert_eq!(text(&container.logs(&[]).stdout), "line 1\r\nline 2\r\n");
    scene.expect_lines(&container, ["line 1\r", "line 2\r"]);
}

#[test]
fn a_status_is_the_containers_own() {
    let scene = Scene::new("status");
    for status in [0, 3, 255] {
        let name = status.to_string();
        let (container, output) = scene.container(&name).run(&["lines:1", &format!("exit:{status}")]);
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(container.inspect("{{.State.ExitCode}}"), name);
        assert_eq!(container.lines(&[]), numbered(1));
    }
    let (_container, output) = scene.container("absent").argument("--entrypoint=/absent").run(&[]);
    assert_eq!(output.status.code(), Some(127), "a program that is not there: {}", text(&output.stderr));
}

#[test]
fn after_a_restart_both_runs_can_be_read() {
    let scene = Scene::new("restarted");
    let container = scene.container("twice").start(&["lines:5", "wait", "text:bye\n"]);
    let run = || numbered(5).into_iter().chain(["bye".to_owned()]);
    scene.expect_lines(&container, numbered(5));
    container.docker(&["restart"]);
    container.docker(&["stop"]);

    let both: Vec<String> = run().chain(run()).collect();
    assert_eq!(container.lines(&[]), both);
    scene.expect_lines(&container, both);
}

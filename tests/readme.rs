//! The documentation is true: its labels, its addresses, its example commands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::pages::{self, section, spans};
use crate::harness::plugin::Start;
use crate::harness::status::ask;
use crate::harness::{Scene, assert_eventually};
use crate::standin::Standin;

/// The first cells of a section's table.
fn first_cells(section: &str) -> Vec<String> {
    pages::rows(section).into_iter().map(|row| row[0].clone()).collect()
}

/// The labels of the only line of a container.
fn labels(scene: &Scene, name: &str) -> BTreeSet<String> {
    let has = |line: &[u8]| line == name.as_bytes();
    assert_eventually!(scene.loki.entries().iter().any(|entry| has(&entry.line)), "the line of {name}");
    let all = scene.loki.entries();
    let entry = all.iter().find(|entry| has(&entry.line)).expect("it is there");
    entry.labels.keys().cloned().collect()
}

#[test]
fn a_container_that_has_everything_has_the_labels_of_the_table() {
    let scene = Scene::new();
    let documented: BTreeSet<String> = first_cells(&section("docs/labels.md", "## Labels of a line"))
        .iter()
        .flat_map(|cell| match cell.as_str() {
            "the container's own" => vec!["team", "tier", "REGION", "STAGE_1"],
            cell => spans(cell),
        })
        .map(str::to_owned)
        .collect();
    assert!(documented.len() > 10, "{documented:?}");
    let run = scene
        .container("web")
        .label("com.docker.compose.project", "shop")
        .label("com.docker.compose.service", "cart")
        .label("com.docker.swarm.service.name", "shop_cart")
        .label("com.docker.stack.namespace", "shop")
        .label("com.docker.swarm.task.id", "x1")
        .label("team", "red")
        .label("tier", "front")
        .env("REGION=eu")
        .env("STAGE_1=a")
        .option("labels", "team")
        .option("labels-regex", "^tier$")
        .option("env", "REGION")
        .option("env-regex", "^STAGE_")
        .option("tag", "{{.ID}}")
        .option("loki-filename-label", "true")
        .start();
    run.out("web");
    assert_eq!(labels(&scene, "web"), documented);
    run.stop();
}

#[test]
fn an_empty_list_of_external_labels_means_none() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-external-labels", "").start();
    run.out("web");
    assert_eq!(labels(&scene, "web"), ["host", "source"].map(str::to_owned).into());
    assert!(pages::page("docs/labels.md").contains("An empty `loki-external-labels` means no external labels."));
    run.stop();
}

#[test]
fn everything_that_the_table_of_addresses_has_is_served() {
    let scene = Scene::with(Start::default().serve_status(), Standin::builder());
    let cells = first_cells(&section("docs/monitoring.md", "## Status page and endpoints"));
    let paths: Vec<&str> = cells.iter().flat_map(|cell| spans(cell)).collect();
    assert_eq!(paths, ["/", "/status.json", "/metrics", "/live", "/ready"]);
    for path in paths {
        assert_eventually!(ask(&scene.plugin, "GET", path).status == 200, "{path}");
    }
}

/// Runs `loki-rs` in a folder, with a standard input.
fn loki_rs(folder: &tempfile::TempDir, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_session_with_a_pipeline_goes_like_that() {
    let page = pages::page("docs/pipelines.md");
    let (_, session) = page.split_once("```console\n$ cat stages.yaml\n").expect("there is a session");
    let (session, _) = session.split_once("```").expect("a block ends");
    let (stages, rest) = session.split_once("$ docker logs web | loki-rs ").expect("then it is run");
    let (command, shown) = rest.split_once('\n').expect("and says something");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("stages.yaml"), stages).expect("it can be written");
    // The first line shown is the input, behind the time of the run.
    let first = shown.lines().next().expect("a line");
    let (time, line) = first.split_once(" {app=\"web\"} ").expect("the line as it came in");
    let time = time.rsplit_once(' ').expect("the time is last").1;
    let arguments: Vec<&str> = command.split_whitespace().chain(["--now", time]).collect();
    assert_eq!(loki_rs(&folder, &arguments, &format!("{line}\n")), shown);
}

#[test]
fn the_rules_that_are_shown_can_be_tried_out_as_it_is_said() {
    let section = section("docs/labels.md", "## Relabelling");
    let (_, rules) = section.split_once("loki-relabel-config: |\n").expect("there are rules");
    let (rules, _) = rules.split_once("```").expect("a block ends");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("FILE"), rules).expect("it can be written");
    assert_eq!(loki_rs(&folder, &["relabel", "check", "FILE"], ""), "");
    let said: BTreeMap<&str, &str> = spans(&section)
        .into_iter()
        .filter_map(|span| span.strip_prefix("echo '"))
        .filter_map(|it| it.split_once("' | loki-rs "))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    for (labels, command) in said {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let shown = loki_rs(&folder, &arguments, &format!("{labels}\n"));
        assert_eq!(shown, "{__tenant_id__=\"alerts\", app=\"web\", job=\"/\", source=\"stderr\"}\n");
    }
    let dropped = "source=stdout,compose_service=healthcheck,compose_project=shop\n";
    assert_eq!(loki_rs(&folder, &["relabel", "run", "FILE"], dropped), "dropped\n");
}

//! The plugin comes from a registry, and a newer one replaces it, with docker's own commands.

use super::crash::{RATE, wait_for_more, writer};
use super::registry::Registry;
use super::stage::{Engine, Scene, difference, eventually, numbered, text};
use crate::standin::{Failure, Times};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;

/// Pushes the plugin to the registry, with a file that contains its version.
pub fn push(engine: &Engine, reference: &str, version: &str) {
    let layout = engine.lay_out(&format!("pushed-{version}"));
    fs::write(layout.join("rootfs/version"), version).unwrap();
    // dockerd collects the blobs of plugins that other tests remove, and can take one that is being pushed with them.
    for attempt in 1.. {
        engine.docker([OsStr::new("plugin"), "create".as_ref(), reference.as_ref(), layout.as_ref()]);
        let (said, output) = engine.try_docker(["plugin", "push", reference]);
        engine.docker(["plugin", "rm", reference]);
        if output.status.success() {
            return;
        }
        assert!(attempt < 5, "{said}: {}", text(&output.stderr));
    }
}

/// The version of the running plugin.
fn version_of(pid: Option<u32>) -> String {
    let pid = pid.expect("the plugin is running");
    fs::read_to_string(format!("/proc/{pid}/root/version")).unwrap()
}

#[test]
fn a_plugin_from_a_registry_asks_for_the_hosts_network_and_the_folder_of_files_and_nothing_else() {
    let engine = Engine::shared();
    let registry = Registry::start();
    let reference = registry.reference("loki-rs");
    push(engine, &reference, "asking");
    // The question about privileges gets no answer.
    let (_, output) = engine.try_docker(["plugin", "install", "--alias", "loki-rs-asking", &reference]);
    let question = text(&output.stdout);
    assert!(!output.status.success(), "{question}");
    let asked: Vec<&str> = question.lines().filter(|line| line.starts_with(" - ")).collect();
    assert_eq!(asked, [" - network: [host]", " - mount: [/sys/fs]"], "{question}");
}

#[test]
fn an_upgrade_below_running_containers_loses_no_line() {
    let engine = Engine::shared();
    let registry = Registry::start();
    let (name, reference) = ("loki-rs-upgraded", registry.reference("loki-rs"));
    push(engine, &reference, "first");
    engine.docker(["plugin", "install", "--grant-all-permissions", "--alias", name, &reference, "LABELS=tier"]);
    let plugin = engine.installed(name);
    assert_eq!(version_of(plugin.pid()), "first");
    push(engine, &reference, "second");

    let scene = Scene::with("upgraded", &plugin);
    let exited = scene.container("exited").run_well(&["lines:10"]);
    let busy = writer(&scene, "writer", RATE);
    let (quiet, mut quiet_input) = scene.container("quiet").start_echo();
    let mut say = |line: &str| writeln!(quiet_input.stdin.as_mut().unwrap(), "{line}").unwrap();
    say("before");
    eventually("the first line is there", || quiet.lines(&[]) == ["before"]);
    let processes = [&busy, &quiet].map(|container| container.inspect("{{.State.Pid}}"));
    // Lines that were not sent are taken along.
    scene.loki.fail(Failure::Status { code: 503, body: "later".into() }, Times::UntilHealed);
    wait_for_more(&busy, RATE);

    engine.docker(["plugin", "disable", "--force", name]);
    assert_eq!(plugin.pid(), None);
    say("while it is away");
    engine.docker(["plugin", "upgrade", "--grant-all-permissions", name]);
    engine.docker(["plugin", "enable", "--timeout", "0", name]);
    assert_eq!(version_of(plugin.pid()), "second");
    assert_eq!(engine.docker(["plugin", "inspect", "--format", "{{.ID}}", name]), plugin.id, "where its state is");
    say("after");

    assert_eq!(exited.lines(&[]), numbered(10));
    wait_for_more(&busy, RATE);
    scene.loki.heal();
    assert_eq!([&busy, &quiet].map(|container| container.inspect("{{.State.Pid}}")), processes, "they went on");
    drop(quiet_input.stdin.take());
    quiet_input.wait().unwrap();
    busy.docker(&["stop"]);
    let lines = busy.lines(&[]);
    println!("{} lines before, during and after the upgrade", lines.len());
    assert_eq!(difference(&lines, &numbered(lines.len())), None, "docker logs");
    scene.expect_lines(&busy, lines);
    let said = ["before", "while it is away", "after"];
    assert_eq!(quiet.lines(&[]), said);
    scene.expect_lines(&quiet, said);
    scene.expect_lines(&exited, numbered(10));

    let labelled = scene.container("labelled").argument("--label=tier=front").run_well(&["lines:1"]);
    scene.expect_lines(&labelled, numbered(1));
    assert_eq!(scene.loki.count(&[("tier", "front")]), 1, "what was set is still set");
    eventually("nothing is left of the streams", || plugin.leftovers().is_empty());
    for container in [&exited, &busy, &quiet, &labelled] {
        container.docker(&["rm"]);
    }
    plugin.disable();
}

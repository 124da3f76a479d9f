//! The plugin or dockerd is killed or disabled, and no line is missing. Each scenario has its own plugin, so that it
//! affects no other.

use super::stage::{Container, Engine, Scene, difference, eventually, numbered, patience, text};
use crate::standin::{Failure, Times};
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// Lines a second of a writer.
pub(super) const RATE: usize = 2000;

/// A writer that is busy while everything happens, until it is stopped.
pub(super) fn writer<'a>(scene: &'a Scene, name: &str, rate: usize) -> Container<'a> {
    let container = scene.container(name).start(&[&format!("lines:1000000@{rate}")]);
    wait_for_more(&container, 1);
    container
}

/// Waits until `docker logs` shows this many more lines of the container.
pub(super) fn wait_for_more(container: &Container, lines: usize) {
    // Nothing comes while the plugin is down: dockerd then repeats the call without its body, and reports that on
    // stderr.
    let last = || {
        let line = container.lines(&["--tail", "1"]).pop()?;
        line.strip_prefix("line ")?.parse::<usize>().ok()
    };
    let mut goal = None;
    eventually("the container writes more", || {
        let last = last();
        goal = goal.or(last.map(|last| last + lines));
        last.zip(goal).is_some_and(|(last, goal)| last >= goal)
    });
}

/// Checks that `docker logs` shows numbers without a gap, and that Loki has each of them. Lines that were pushed twice,
/// because the plugin died before the answer, have the same time both times: Loki drops repetitions that it detects.
fn expect_no_gap(scene: &Scene, container: &Container) {
    let lines = container.lines(&[]);
    assert!(!lines.is_empty());
    assert_eq!(difference(&lines, &numbered(lines.len())), None, "docker logs");
    let has_all = || {
        let there: HashSet<String> = scene.lines(container).into_iter().collect();
        lines.iter().all(|line| there.contains(line))
    };
    eventually("Loki has every line", has_all);
    let mut times = HashMap::new();
    for entry in scene.loki.entries() {
        let time = *times.entry(entry.line.clone()).or_insert(entry.timestamp_ns);
        assert_eq!(time, entry.timestamp_ns, "{} came again as another line", text(&entry.line));
    }
    println!("{} lines in docker logs, {} in Loki", lines.len(), scene.lines(container).len());
}

#[test]
fn no_line_is_missing_when_the_plugin_is_killed() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-killed", &[]);
    let scene = Scene::with("killed", &plugin);
    let container = writer(&scene, "writer", RATE);
    for _ in 0..3 {
        // A push is in flight, and the plugin dies before its answer.
        let stored = scene.loki.entries().len();
        scene.loki.fail(Failure::StoreThenHang, Times::Next(1));
        assert!(scene.loki.wait_for(|state| state.entries().len() > stored, patience()), "a push comes");
        plugin.kill();
        wait_for_more(&container, 1);
    }
    assert_eq!(container.inspect("{{.State.Running}}"), "true", "the container went on");
    container.docker(&["stop"]);
    expect_no_gap(&scene, &container);

    // The last plugin knows the container that logged all the time like the first.
    container.docker(&["rm"]);
    eventually("nothing is left of the stream", || plugin.leftovers().is_empty());
    plugin.disable();
}

#[test]
fn no_line_is_missing_when_the_plugin_is_disabled_by_force() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-forced", &[]);
    let scene = Scene::with("forced", &plugin);
    let container = writer(&scene, "writer", RATE);
    engine.docker(["plugin", "disable", "--force", &plugin.name]);
    assert_eq!(plugin.pid(), None);
    engine.docker(["plugin", "enable", "--timeout", "0", &plugin.name]);
    wait_for_more(&container, 1);
    container.docker(&["stop"]);
    expect_no_gap(&scene, &container);
}

#[test]
fn no_line_is_missing_when_dockerd_restarts_below_running_containers() {
    let engine = Engine::start();
    engine.configure(&json!({"live-restore": true}));
    engine.restart();
    let plugin = engine.install("loki-rs", &[]);
    let scene = Scene::with("live", &plugin);
    // Slowly, because lines that dockerd itself holds when it ends are lost with any log driver.
    let container = writer(&scene, "writer", 10);
    let before = plugin.pid();
    engine.restart();
    assert_eq!(plugin.pid(), before, "the plugin went on, too");
    wait_for_more(&container, 5);
    container.docker(&["stop"]);
    expect_no_gap(&scene, &container);
    eventually("nothing is left of either stream", || plugin.leftovers().is_empty());
}

/// Lines that dockerd had read and not passed on die with it. All others are there, once and in order, and no container
/// is blocked.
#[test]
fn a_dockerd_that_is_killed_leaves_nobody_stuck() {
    let engine = Engine::start();
    engine.configure(&json!({"live-restore": true}));
    engine.restart();
    let plugin = engine.install("loki-rs", &[]);
    let scene = Scene::with("killed-dockerd", &plugin);
    let container = writer(&scene, "writer", RATE);
    engine.kill();
    wait_for_more(&container, 1);
    container.docker(&["stop"]);
    let lines = container.lines(&[]);
    let numbers: Vec<usize> = lines.iter().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order, and each once");
    let has_all = || {
        let there: HashSet<String> = scene.lines(&container).into_iter().collect();
        lines.iter().all(|line| there.contains(line))
    };
    eventually("Loki has what docker logs has", has_all);
    eventually("nothing is left of either stream", || plugin.leftovers().is_empty());
}

#[test]
fn after_everything_the_plugin_is_not_in_use_and_nothing_is_left_of_streams() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-everything", &[]);
    {
        let scene = Scene::with("everything", &plugin);
        let exited = scene.container("exited").run_well(&["lines:10"]);
        let removed = scene.container("removed").run_well(&["lines:10"]);
        removed.docker(&["rm"]);
        let created = scene.container("created").create(&["lines:10"]);
        let killed = scene.container("killed").start(&["lines:10", "wait"]);
        let follower = killed.follow(&[]);
        let abandoned = killed.follow(&[]);
        assert_eq!((follower.next(), abandoned.next()), ("line 1".into(), "line 1".into()));
        drop(abandoned);
        let (_absent, _) = scene.container("absent").argument("--entrypoint=/absent").run(&[]);
        let (_refused, _) = scene.container("refused").option("max-size", "much").run(&[]);
        let restarted = scene.container("restarted").start(&["lines:10", "wait"]);
        restarted.docker(&["restart"]);
        for container in [&exited, &created, &killed, &restarted] {
            container.logs(&[]);
        }
        killed.docker(&["kill"]);
        assert_eq!(follower.rest(), numbered(10)[1..]);
        restarted.docker(&["stop"]);
        exited.docker(&["start"]);
        exited.wait();
    }
    plugin.disable();
    // dockerd leaves the FIFO of a container whose start was refused, and the plugin has no record of it.
    let left = plugin.leftovers();
    assert!(
        left.len() <= 1 && left.iter().all(|path| path.parent().unwrap().ends_with("propagated-mount")),
        "{left:?}"
    );
}

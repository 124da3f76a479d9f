//! Retention: dockerd never says that a container was removed, so rings of stopped containers are kept for a while.
//! They are removed when they are old, or when all rings together exceed the budget. Unsent lines go last, and rings in
//! use never.
//!
//! The plugin checks its rings when it starts, and every minute.

use serde_json::json;

use crate::harness::dockerd::Container;
use crate::harness::plugin::Start;
use crate::harness::status::{scrape, status};
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Failure, Standin, Times};

/// Writes a megabyte that Loki accepts, and stops the container.
fn sent(scene: &Scene, name: &str) -> Container {
    let container = scene.container(name);
    let run = container.start();
    let written = numbered(name, 1000, 1000);
    run.out_all(&written);
    scene.wait_for_lines(name, written.len());
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the ring of {name} is closed");
    container
}

/// The names of the containers whose rings exist.
fn kept<'a>(scene: &Scene, all: &[&'a Container]) -> Vec<&'a str> {
    all.iter()
        .filter(|container| scene.plugin.ring(container.id()).exists())
        .map(|container| container.name())
        .collect()
}

/// Restarts the plugin with a setting.
fn restart_with(scene: &mut Scene, name: &str, value: &str) {
    scene.plugin.terminate();
    scene.plugin.set(name, value);
    scene.plugin.restart();
}

/// Whether the plugin has logged these words about a container in one line.
fn has_said(scene: &Scene, words: &str, container: &Container) -> bool {
    let name = format!("container={} ", container.name());
    scene.plugin.log().lines().any(|line| line.contains(words) && line.contains(&name))
}

#[test]
fn a_log_is_kept_for_a_week_after_its_container_has_stopped_and_for_as_long_as_the_operator_says() {
    let mut scene = Scene::new();
    let web = sent(&scene, "web");
    scene.plugin.terminate();
    scene.plugin.restart();
    // Its start checks all rings, and this container comes after that.
    let other = sent(&scene, "other");
    assert_eq!(kept(&scene, &[&web, &other]), ["web", "other"]);
    assert_eq!(web.lines().len(), 1000);
    let running = scene.container("running");
    let run = running.start();
    run.out("hello");
    scene.wait_for_lines("running", 1);

    restart_with(&mut scene, "RING_RETENTION", "1ns");
    assert_eventually!(kept(&scene, &[&web, &other, &running]) == ["running"], "what is older than the retention goes");
    assert_eventually!(
        has_said(&scene, "removed the log of a container that stopped long ago", &web),
        "{}",
        scene.plugin.log()
    );
    assert!(web.lines().is_empty(), "docker logs of it shows nothing, and is no error");
    assert_eq!(run.lines(), ["hello"], "what is written to is kept");
    run.out("again");
    scene.assert_lines_in_loki("running", &["hello", "again"]);
    run.stop();
}

#[test]
fn a_log_that_is_to_be_kept_outlives_the_retention() {
    let mut scene = Scene::new();
    let (web, other) = (scene.container("web").option("keep-file", "true"), scene.container("other"));
    for container in [&web, &other] {
        let run = container.start();
        run.out("hello");
        scene.wait_for_lines(container.name(), 1);
        run.stop();
    }
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the rings are closed");
    restart_with(&mut scene, "RING_RETENTION", "1ns");
    assert_eventually!(kept(&scene, &[&web, &other]) == ["web"], "what is not to be kept goes");
    assert_eq!(web.lines(), ["hello"]);
    restart_with(&mut scene, "RING_BUDGET", "1");
    assert_eventually!(kept(&scene, &[&web]).is_empty(), "above the budget it goes all the same");
}

#[test]
fn lines_that_were_not_sent_outlive_the_retention() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let written = numbered("line", 100, 100);
    scene.loki.go_away();
    let run = web.start();
    run.out_all(&written);
    run.stop();
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
    restart_with(&mut scene, "RING_RETENTION", "1ns");
    assert_eventually!(scene.plugin.log().matches("Loki takes no lines").count() == 2, "it tries to send them");
    assert_eq!(web.lines().len(), written.len());
    scene.loki.come_back();
    scene.assert_lines_in_loki("web", &written);
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    scene.plugin.terminate();
    scene.plugin.restart();
    assert_eventually!(kept(&scene, &[&web]).is_empty(), "sent, it goes");
}

#[test]
fn above_the_budget_the_oldest_go_first_and_those_with_unsent_lines_last() {
    let mut scene = Scene::with(Start::default().serve_status(), Standin::builder());
    // Another Loki, so that the other containers can send their lines.
    let there = Standin::start();
    let both = format!("{},{}", scene.loki.push_url(), there.push_url());
    let unsent = scene.container("unsent").option("loki-url", &both);
    scene.loki.fail(Failure::Status { code: 503, body: "later".into() }, Times::UntilHealed);
    let run = unsent.start();
    let written = numbered("unsent", 1000, 1000);
    run.out_all(&written);
    run.stop();
    assert_eventually!(there.count(&[("container_name", "unsent")]) == 1000);
    let to_another = |name: &str| scene.container(name).option("loki-url", &there.push_url());
    let mut stopped = Vec::new();
    for name in ["old", "middle", "new"] {
        let container = to_another(name);
        let run = container.start();
        run.out_all(numbered(name, 1000, 1000));
        run.stop();
        // The last sync of each ring decides which is the oldest.
        let lag = || scrape(&scene.plugin).sum("loki_rs_container_lag_lines", &[("container_name", name)]);
        assert_eventually!(there.count(&[("container_name", name)]) == 1000 && lag().is_none(), "{name} has left");
        stopped.push(container);
    }
    let running = to_another("running");
    let run = running.start();
    run.out_all(numbered("running", 1000, 1000));
    assert_eventually!(there.count(&[("container_name", "running")]) == 1000);

    let [old, middle, new] = &stopped[..] else { unreachable!("three were started") };
    let all = [&unsent, old, middle, new, &running];
    // There are a little more than five megabytes.
    restart_with(&mut scene, "RING_BUDGET", "4m");
    assert_eventually!(kept(&scene, &all) == ["unsent", "new", "running"], "{:?}", kept(&scene, &all));
    assert_eventually!(has_said(
        &scene,
        "removed the log of a stopped container: all logs together were above RING_BUDGET",
        old
    ));
    assert!(!scene.plugin.log().contains("lines were lost"), "nothing is lost yet");

    restart_with(&mut scene, "RING_BUDGET", "2m");
    assert_eventually!(kept(&scene, &all) == ["running"], "{:?}", kept(&scene, &all));
    assert_eventually!(has_said(&scene, "lines were lost: all logs together were above RING_BUDGET", &unsent));
    assert_eq!(scene.plugin.sum_in_log("lines were lost: all logs together", "lines"), written.len() as u64);
    let counted = || scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &[("reason", "over_budget")]);
    assert_eventually!(counted() == written.len() as f64, "it is counted for who alarms on it, once: one has them");
    let verdict = status(&scene.plugin)["verdict"].clone();
    assert_eq!((&verdict["level"], &verdict["lost"]["what"]), (&json!("critical"), &json!("1,000 lines")), "{verdict}");

    restart_with(&mut scene, "RING_BUDGET", "1");
    run.out("still logged");
    assert_eventually!(there.count(&[("container_name", "running")]) == 1001);
    assert_eq!(run.lines().len(), 1001, "what is written to is never removed");
    run.stop();
}

#[test]
fn above_the_budget_sent_lines_of_a_running_container_go_before_unsent_ones_of_a_stopped_one() {
    let mut scene = Scene::new();
    let busy = scene.container("busy").option("max-size", "2m").option("max-file", "2");
    let run = busy.start();
    let written = numbered("busy", 3000, 1000);
    run.out_all(&written);
    scene.wait_for_lines("busy", written.len());
    scene.loki.go_away();
    let job = scene.container("job");
    let short = job.start();
    short.out("not sent yet");
    short.stop();
    restart_with(&mut scene, "RING_BUDGET", "2m");
    assert_eventually!(
        has_said(&scene, "removed the oldest sent lines of a container's log", &busy),
        "{}",
        scene.plugin.log()
    );
    assert_eq!(kept(&scene, &[&busy, &job]), ["busy", "job"]);
    let left = run.lines();
    assert!((1000..3000).contains(&left.len()), "{} lines of the running container are left", left.len());
    assert!(written.ends_with(&left), "the newest are");
    scene.loki.come_back();
    scene.assert_lines_in_loki("job", &["not sent yet"]);
    run.out("the end");
    assert_eventually!(scene.lines_in_loki("busy").last().is_some_and(|line| line == "the end"));
    assert!(!scene.plugin.log().contains("lines were lost"), "nothing is lost");
    run.stop();
}

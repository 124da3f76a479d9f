//! `no-file=true`: only unsent lines stay on disk, and `docker logs` says why it shows nothing.

use crate::harness::dockerd::{Query, Run};
use crate::harness::{Scene, assert_eventually, numbered};

/// The number of segments in a container's ring.
fn segments(scene: &Scene, run: &Run) -> usize {
    let ring = scene.plugin.ring(run.container().id());
    let files = std::fs::read_dir(ring).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "seg")).count()
}

#[test]
fn what_was_sent_goes_while_the_container_runs_and_nothing_is_left_when_it_has_ended() {
    let scene = Scene::generous();
    let run = scene.container("web").option("no-file", "true").start();
    let mut written = Vec::new();
    for round in 0..2 {
        let lines = numbered(&format!("round {round}"), 5000, 1000);
        run.out_all(&lines);
        written.extend(lines);
        scene.assert_lines_in_loki("web", &written);
        assert_eventually!(segments(&scene, &run) == 0, "what was sent is gone");
    }
    run.out("the last words");
    written.push("the last words".into());
    let ring = scene.plugin.ring(run.container().id());
    run.stop();
    scene.assert_lines_in_loki("web", &written);
    assert_eventually!(!ring.exists(), "nothing is left");
}

#[test]
fn what_was_not_sent_survives_an_outage_and_a_kill() {
    let mut scene = Scene::generous();
    let run = scene.container("web").option("no-file", "true").start();
    let written = numbered("line", 3000, 500);
    run.out_all(&written[..500]);
    scene.wait_for_lines("web", 500);
    scene.loki.go_away();
    run.out_all(&written[500..2000]);
    assert_eventually!(!run.has_unread(), "the plugin has read it");
    scene.plugin.kill();
    scene.plugin.restart();
    run.out_all(&written[2000..]);
    let ring = scene.plugin.ring(run.container().id());
    run.stop();
    scene.loki.come_back();
    scene.assert_lines_in_loki("web", &written);
    assert_eventually!(!ring.exists(), "nothing is left");
}

#[test]
fn docker_logs_says_why_there_is_nothing_to_show() {
    let scene = Scene::new();
    let container = scene.container("web").option("no-file", "true");
    let run = container.start();
    run.out("hello");
    scene.wait_for_lines("web", 1);
    let Err(refusal) = run.try_read(Query::all()) else { panic!("docker logs shows something") };
    assert!(refusal.contains("no-file=true"), "{refusal}");
    run.stop();
}

#[test]
fn to_keep_nothing_and_to_keep_it_for_long_is_a_contradiction() {
    let scene = Scene::new();
    let container = scene.container("web").option("no-file", "true").option("keep-file", "true");
    let Err(refusal) = container.try_start() else { panic!("it starts") };
    assert!(refusal.contains("keep-file: \"true\" contradicts no-file"), "{refusal}");
}

//! In an outage of Loki no container, no `docker stop` and no `docker logs` waits.

use super::stage::{Container, Scene, difference, numbered};
use crate::standin::{Failure, Times};
use std::time::Duration;

/// What an end of a container may take longer than with `json-file`. Less than any timeout of pushes or calls.
const ALLOWED: Duration = Duration::from_secs(1);

/// A busy machine makes single measurements long: the best of this many counts, for both sides.
const ROUNDS: usize = 3;

/// Ways to end a container, and the command for each.
const ENDS: [(&str, &[&str]); 3] = [("stop", &["stop"]), ("kill", &["kill"]), ("rm", &["rm", "--force"])];

/// How long each end takes for a container that has written much and goes on writing.
fn ends(scene: &Scene, kind: &str, is_ours: bool) -> [Duration; 3] {
    ENDS.map(|(verb, command)| {
        let mut measured: Vec<Duration> = Vec::new();
        for round in 0..ROUNDS {
            let name = format!("{kind}-{verb}-{round}");
            let draft = if is_ours { scene.container(&name) } else { scene.bare_container(&name, "json-file") };
            let container = draft.start(&["lines:20000", "lines:1000000@200"]);
            wait_for_lines(&container);
            measured.push(container.timed(command));
        }
        measured.into_iter().min().unwrap()
    })
}

fn wait_for_lines(container: &Container) {
    super::stage::eventually("docker logs has a line", || !container.lines(&["--tail", "1"]).is_empty());
}

#[test]
fn stop_kill_and_rm_are_as_quick_as_with_json_file() {
    let scene = Scene::new("quick");
    let theirs = ends(&scene, "json-file", false);
    scene.loki.fail(Failure::Hang, Times::UntilHealed);
    let hanging = ends(&scene, "hanging", true);
    scene.loki.go_away();
    let away = ends(&scene, "away", true);
    println!("stop, kill, rm: json-file {theirs:?}, Loki hangs {hanging:?}, Loki is away {away:?}");
    for (kind, ours) in [("hangs", hanging), ("is away", away)] {
        for (((verb, _), ours), theirs) in ENDS.iter().zip(ours).zip(theirs) {
            assert!(
                ours <= theirs + ALLOWED,
                "docker {verb} took {ours:?} while Loki {kind}, and {theirs:?} with json-file"
            );
        }
    }
}

#[test]
fn lines_of_an_outage_are_readable_at_once_and_arrive_when_it_is_over() {
    let scene = Scene::new("outage");
    scene.loki.go_away();
    // More than the pipes between a container and the plugin hold: the container could not have written them if any
    // part of the way had waited for Loki.
    let container = scene.container("long").run_well(&["lines:200000"]);
    let expected = numbered(200_000);
    assert_eq!(difference(&container.lines(&[]), &expected), None, "docker logs");
    scene.loki.come_back();
    scene.expect_lines(&container, expected);
}

#[test]
fn a_container_that_is_removed_during_an_outage_is_still_delivered() {
    let scene = Scene::new("outage-gone");
    scene.loki.fail(Failure::Status { code: 503, body: "later".into() }, Times::UntilHealed);
    let container = scene.container("removed").run_well(&["lines:10"]);
    container.docker(&["rm"]);
    scene.loki.heal();
    scene.expect_lines(&container, numbered(10));
}

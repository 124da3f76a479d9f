//! Many lines at once, many containers at once.

use super::stage::{Scene, difference, numbered};
use std::thread;

#[test]
fn a_container_that_ends_at_once_has_all_its_lines() {
    // Its lines are still in dockerd's pipes when it has gone.
    let scene = Scene::new("hasty");
    for round in 1..=5 {
        let container = scene.container(&round.to_string()).run_well(&["lines:400"]);
        assert_eq!(container.lines(&[]), numbered(400), "round {round}");
        scene.expect_lines(&container, numbered(400));
    }
}

#[test]
fn twenty_containers_at_once() {
    let scene = Scene::new("twenty");
    thread::scope(|scope| {
        for number in 1..=20 {
            let scene = &scene;
            scope.spawn(move || {
                let container = scene.container(&number.to_string()).run_well(&["lines:500"]);
                assert_eq!(container.lines(&[]), numbered(500), "container {number}");
                scene.expect_lines(&container, numbered(500));
            });
        }
    });
    assert_eq!(scene.loki.entries().len(), 20 * 500);
}

#[test]
fn a_hundred_thousand_lines_in_order() {
    let scene = Scene::new("many");
    let container = scene.container("lines").run_well(&["lines:100000"]);
    let expected = numbered(100_000);
    assert_eq!(difference(&container.lines(&[]), &expected), None, "docker logs");
    scene.expect_lines(&container, expected);
}

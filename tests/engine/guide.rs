//! What `docs/install.md` says about Docker's commands while the plugin is disabled, and about two plugins side by
//! side.

use super::crash::{RATE, wait_for_more, writer};
use super::stage::{Engine, Scene, difference, eventually, numbered, text};
use crate::harness::pages::page;
use std::time::Duration;

/// The documentation has these words.
fn assert_said(words: &str) {
    assert!(page("docs/install.md").contains(words), "docs/install.md says: {words}");
}

#[test]
fn while_it_is_disabled_nothing_starts_and_nothing_is_shown_and_afterwards_nothing_is_missing() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-guide", &[]);
    let scene = Scene::with("guide", &plugin);
    let busy = writer(&scene, "writer", RATE);
    engine.docker(["plugin", "disable", "--force", &plugin.name]);

    let (_refused, output) = scene.container("refused").run(&["lines:1"]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert_said("| `docker run`, `docker start` | fails | works |");
    let (_, output) = busy.try_logs(&[]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    assert_said("| `docker logs` | fails | shows all |");

    engine.docker(["plugin", "enable", "--timeout", "0", &plugin.name]);
    wait_for_more(&busy, 1);
    busy.docker(&["stop"]);
    let lines = busy.lines(&[]);
    assert_eq!(difference(&lines, &numbered(lines.len())), None);
    scene.expect_lines(&busy, lines);
}

#[test]
fn a_container_that_is_stopped_while_it_is_disabled_keeps_it_in_use() {
    // One of its own: what is in use stays so until dockerd is restarted.
    let engine = Engine::start();
    let plugin = engine.install("loki-rs", &[]);
    let scene = Scene::with("stopped", &plugin);
    let usual = writer(&scene, "usual", 10).timed(&["stop", "--time", "1"]);
    let busy = writer(&scene, "writer", 10);
    engine.docker(["plugin", "disable", "--force", &plugin.name]);
    let taken = busy.timed(&["stop", "--time", "1"]);
    println!("docker stop took {taken:?}, and {usual:?} with the plugin there");
    let longer = taken.saturating_sub(usual);
    assert!(longer >= Duration::from_secs(10), "{longer:?}");
    engine.docker(["plugin", "enable", "--timeout", "0", &plugin.name]);
    let lines = busy.lines(&[]);
    assert_eq!(difference(&lines, &numbered(lines.len())), None, "what it printed is there all the same");
    let (_, output) = engine.try_docker(["plugin", "disable", &plugin.name]);
    assert!(text(&output.stderr).contains("in use"), "{}", text(&output.stderr));
    engine.restart();
    engine.docker(["plugin", "disable", &plugin.name]);
    assert_said("takes 15 seconds longer, and the plugin counts as in use until dockerd is restarted: do not");
}

#[test]
fn two_plugins_side_by_side_have_nothing_in_common() {
    let engine = Engine::shared();
    let [first, second] = ["loki-rs-one", "loki-rs-two"].map(|name| engine.install(name, &[]));
    let scenes = [Scene::with("one", &first), Scene::with("two", &second)];
    let containers = scenes.each_ref().map(|scene| scene.container("web").run_well(&["lines:10"]));
    for (scene, container) in scenes.iter().zip(&containers) {
        scene.expect_lines(container, numbered(10));
        assert_eq!(container.lines(&[]), numbered(10));
        container.docker(&["rm"]);
    }
    for plugin in [&first, &second] {
        eventually("nothing is left of the streams", || plugin.leftovers().is_empty());
        plugin.disable();
    }
    assert_said("Each has its own buffers, settings and budget.");
}

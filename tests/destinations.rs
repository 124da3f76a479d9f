//! A container that logs to several Lokis: each gets every line once, and an outage of one delays no other.

use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, assert_lines_in, assert_same, lines_in, numbered, wait_for_lines_in};
use crate::standin::{Failure, Limits, Standin, Times};

/// A scene with a second Loki, and the URLs of both as one option.
fn two() -> (Scene, Standin, String) {
    let scene = Scene::generous();
    let second = Standin::builder().limits(Limits::generous()).start();
    let both = format!("{},{}", scene.loki.push_url(), second.push_url());
    (scene, second, both)
}

fn unavailable() -> Failure {
    Failure::Status { code: 503, body: "no".into() }
}

#[test]
fn each_gets_every_line() {
    let (scene, second, both) = two();
    let container = scene.container("web").option("loki-url", &both);
    let run = container.start();
    let written = numbered("line", 3000, 300);
    run.out_all(&written);
    run.stop();
    assert_lines_in(&scene.loki, "web", &written);
    assert_lines_in(&second, "web", &written);
    assert_same(&container.lines(), &written);
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
    assert_eq!(scene.plugin.cursors(container.id()).len(), 2);
}

#[test]
fn one_that_is_away_holds_up_no_other_and_gets_its_lines_when_it_is_back() {
    let (scene, second, both) = two();
    second.fail(unavailable(), Times::UntilHealed);
    let container = scene.container("web").option("loki-url", &both);
    let run = container.start();
    let written = numbered("line", 3000, 1000);
    run.out_all(&written[..2000]);
    assert_lines_in(&scene.loki, "web", &written[..2000]);
    run.out_all(&written[2000..]);
    run.stop();
    assert_lines_in(&scene.loki, "web", &written);
    assert!(lines_in(&second, "web").is_empty());
    second.heal();
    assert_lines_in(&second, "web", &written);
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
    assert_same(&lines_in(&scene.loki, "web"), &written);
}

#[test]
fn lines_from_after_a_rename_go_to_each_as_soon_as_it_has_those_from_before() {
    let (mut scene, second, both) = two();
    second.fail(unavailable(), Times::UntilHealed);
    let container = scene.container("old").option("loki-url", &both);
    let run = container.start();
    run.out("before");
    assert_lines_in(&scene.loki, "old", &["before"]);
    run.stop();
    let run = container.clone().with("ContainerName", "/new".into()).start();
    run.out("after");
    assert_lines_in(&scene.loki, "new", &["after"]);
    // The next process finds one destination behind the switch and the other before it.
    scene.plugin.terminate();
    scene.plugin.restart();
    run.out("later");
    assert_lines_in(&scene.loki, "new", &["after", "later"]);
    assert!(second.entries().is_empty());
    second.heal();
    assert_lines_in(&second, "new", &["after", "later"]);
    assert_lines_in(&second, "old", &["before"]);
    assert_same(&lines_in(&scene.loki, "old"), &["before"]);
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
}

/// A destination that has got nothing has no cursor to load. The next process must not treat it as one that was just
/// added.
#[test]
fn one_that_has_got_nothing_when_the_plugin_is_killed_gets_everything_from_the_next() {
    let (mut scene, second, both) = two();
    second.fail(unavailable(), Times::UntilHealed);
    let run = scene.container("web").option("loki-url", &both).start();
    let written = numbered("line", 1000, 1000);
    run.out_all(&written[..500]);
    assert_lines_in(&scene.loki, "web", &written[..500]);
    assert_eventually!(scene.plugin.cursors(run.container().id()).len() == 2);
    scene.plugin.kill();
    scene.plugin.restart();
    run.out_all(&written[500..]);
    wait_for_lines_in(&scene.loki, "web", written.len());
    second.heal();
    assert_lines_in(&second, "web", &written);
    run.stop();
}

#[test]
fn one_that_is_added_to_a_running_container_gets_what_comes_from_then_on_and_one_that_is_taken_away_nothing() {
    let first = Standin::start();
    let mut scene = Scene::with(Start::default().set("LOKI_URL", &first.push_url()), Standin::builder());
    let run = scene.dockerd.container("web").option("loki-batch-wait", "20ms").start();
    run.out("one");
    assert_lines_in(&first, "web", &["one"]);
    scene.plugin.terminate();
    scene.plugin.set("LOKI_URL", &format!("{},{}", scene.loki.push_url(), first.push_url()));
    scene.plugin.restart();
    run.out("two");
    assert_lines_in(&first, "web", &["one", "two"]);
    assert_lines_in(&scene.loki, "web", &["two"]);
    scene.plugin.terminate();
    scene.plugin.set("LOKI_URL", &scene.loki.push_url());
    scene.plugin.restart();
    run.out("three");
    assert_lines_in(&scene.loki, "web", &["two", "three"]);
    assert_eq!(lines_in(&first, "web"), ["one", "two"]);
    assert_eq!(scene.plugin.cursors(run.container().id()).len(), 1);
    run.stop();
}

/// With loki-backpressure=block the container waits for the destination that is down. After loki-block-timeout only
/// that destination loses lines.
#[test]
fn when_a_ring_that_blocks_gives_up_one_of_two_the_other_loses_nothing() {
    let (scene, second, both) = two();
    second.fail(unavailable(), Times::UntilHealed);
    let web = scene.container("web").option("loki-url", &both).option("max-size", "512k").option("max-file", "1");
    let run = web.option("loki-backpressure", "block").option("loki-block-timeout", "200ms").start();
    let written = numbered("line", 10_000, 300);
    run.out_all(&written);
    assert_lines_in(&scene.loki, "web", &written);
    second.heal();
    assert_eventually!(lines_in(&second, "web").last() == written.last(), "the one that was away has the last line");
    let log = scene.plugin.log();
    let lost = |loki: &Standin| log.contains(&format!("container=\"web to {}\" lines", loki.push_url()));
    assert!(lost(&second) && !lost(&scene.loki), "it is said whose lines were lost: {log}");
    run.stop();
}

/// Both URLs have the same CRC-32.
#[test]
fn each_of_two_urls_with_one_checksum_has_its_own_cursor() {
    let scene = Scene::generous();
    let container = scene.container("web").option("loki-url", "http://a/8755d764,http://a/4170cb18");
    let run = container.start();
    run.out("line");
    run.stop();
    assert_eventually!(scene.plugin.cursors(container.id()).len() == 2);
}

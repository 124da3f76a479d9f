//! A stream that Loki rejects, limits or does not answer waits by itself. The other streams of its container, of any
//! tenant, continue, and its lines come later, each once.

use crate::harness::{Scene, assert_eventually, assert_same, numbered, patience};
use crate::standin::{Failure, Standin, Times};

const OUT: (&str, &str) = ("source", "stdout");
const ERR: (&str, &str) = ("source", "stderr");

fn status(code: u16) -> Failure {
    Failure::Status { code, body: "Ingestion rate limit exceeded for stream".into() }
}

fn lines(loki: &Standin, label: (&str, &str)) -> Vec<String> {
    loki.lines(&[label]).iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// While pushes of stdout fail, lines of stderr arrive; afterwards stdout does.
fn errors_arrive_while_chatter_fails(failure: Failure) {
    let scene = Scene::new();
    scene.loki.fail_only(&[OUT], failure.clone(), Times::UntilHealed);
    let run = scene.container("web").option("loki-timeout", "2s").option("loki-batch-size", "20000").start();
    // More than one batch of it stands before the first line of the other.
    let chatter = numbered("chatter", 300, 200);
    run.out_all(&chatter);
    assert_eventually!(!scene.loki.pushes().is_empty());
    let errors = numbered("error", 100, 100);
    for error in &errors[..50] {
        run.err(error);
    }
    let has = |count| move |state: &crate::standin::State| state.count(&[ERR]) >= count;
    assert!(scene.loki.wait_for(has(50), patience()), "{failure:?}: stderr waits for stdout");
    for error in &errors[50..] {
        run.err(error);
    }
    assert!(scene.loki.wait_for(has(100), patience()), "{failure:?}: later lines of stderr wait for stdout");
    assert_eq!(scene.loki.count(&[OUT]), 0);
    scene.loki.heal();
    assert!(scene.loki.wait_for(|state| state.count(&[OUT]) >= 300, patience()));
    run.out("last");
    run.stop();
    assert!(scene.loki.wait_for(|state| state.count(&[OUT]) >= 301, patience()));
    assert_same(&lines(&scene.loki, OUT)[..300], &chatter);
    assert_same(&lines(&scene.loki, ERR), &errors);
    assert_eventually!(scene.plugin.files_of_containers() == 0, "and then it is let go");
    assert!(!scene.plugin.log().contains("lines were"), "lines were lost, dropped or cut");
}

#[test]
fn of_a_rate_limit() {
    errors_arrive_while_chatter_fails(status(429));
}

#[test]
fn of_refused_credentials() {
    errors_arrive_while_chatter_fails(status(403));
}

#[test]
fn of_server_errors() {
    errors_arrive_while_chatter_fails(status(500));
}

#[test]
fn of_silence() {
    errors_arrive_while_chatter_fails(Failure::Hang);
}

#[test]
fn what_was_held_back_comes_once_after_the_plugin_was_killed_meanwhile() {
    let mut scene = Scene::new();
    scene.loki.fail_only(&[OUT], status(403), Times::UntilHealed);
    let run = scene.container("web").start();
    run.out_all(numbered("chatter", 50, 50));
    numbered("error", 50, 50).iter().for_each(|error| run.err(error));
    assert!(scene.loki.wait_for(|state| state.count(&[ERR]) == 50, patience()));
    scene.plugin.kill();
    scene.plugin.restart();
    run.err("after");
    assert!(scene.loki.wait_for(|state| state.count(&[ERR]) >= 51, patience()));
    scene.loki.heal();
    assert!(scene.loki.wait_for(|state| state.count(&[OUT]) >= 50, patience()));
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    assert_same(&lines(&scene.loki, OUT), &numbered("chatter", 50, 50));
    assert_eq!(lines(&scene.loki, ERR).len(), 51, "what was ahead is not sent again");
}

#[test]
fn of_tenants_that_a_pipeline_makes_only_the_refused_one_waits() {
    let scene = Scene::new();
    let stages = "[{regex: {expression: '^(?P<team>\\S+)'}}, {tenant: {source: team}}, {labels: {team: }}]";
    scene.loki.fail_only(&[("team", "red")], status(403), Times::UntilHealed);
    let run = scene.container("web").option("loki-pipeline-stages", stages).start();
    run.out_all(["blue 0", "red 0", "green 0"]);
    let has =
        |team: &'static str, count: usize| move |state: &crate::standin::State| state.count(&[("team", team)]) >= count;
    for at in 1..30 {
        run.out_all([format!("red {at}"), format!("blue {at}"), format!("green {at}")]);
    }
    assert!(scene.loki.wait_for(has("blue", 30), patience()) && scene.loki.wait_for(has("green", 30), patience()));
    assert_eq!(scene.loki.count(&[("team", "red")]), 0);
    scene.loki.heal();
    assert!(scene.loki.wait_for(has("red", 30), patience()));
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    for team in ["red", "green", "blue"] {
        let expected: Vec<_> = (0..30).map(|at| format!("{team} {at}")).collect();
        assert_same(&lines(&scene.loki, ("team", team)), &expected);
    }
}

#[test]
fn a_tenant_that_is_refused_says_nothing_about_another() {
    let scene = Scene::new();
    scene.loki.fail_only(&[("team", "red")], status(403), Times::UntilHealed);
    let container = |name: &str, team: &str| {
        let labels = format!("team={team}");
        scene.container(name).option("loki-tenant-id", team).option("loki-external-labels", &labels)
    };
    let red: Vec<_> = (0..5).map(|at| container(&format!("red-{at}"), "red").start()).collect();
    red.iter().for_each(|run| run.out("hello"));
    assert_eventually!(scene.loki.pushes().len() >= 5);
    let blue = container("blue", "blue").start();
    blue.out("hello");
    assert!(scene.loki.wait_for(|state| state.count(&[("team", "blue")]) == 1, patience()));
    assert_eq!(scene.loki.count(&[("team", "red")]), 0);
    scene.loki.heal();
    assert!(scene.loki.wait_for(|state| state.count(&[("team", "red")]) == 5, patience()));
}

/// Pushes of more containers than may push at once get no answer until the test ends; the others do not wait for them.
fn pushes_that_hang_hold_up_nobody(retries: Option<&str>) {
    let scene = Scene::new();
    scene.loki.fail_only(&[("team", "slow")], Failure::Hang, Times::UntilHealed);
    let container = |name: &str, team: &str| {
        let labels = format!("team={team}");
        let container = scene.container(name).option("loki-timeout", "10m").option("loki-external-labels", &labels);
        match retries {
            Some(retries) => container.option("loki-retries", retries),
            None => container,
        }
    };
    let slow: Vec<_> = (0..12).map(|at| container(&format!("slow-{at}"), "slow").start()).collect();
    slow.iter().for_each(|run| run.out("hello"));
    assert_eventually!(scene.loki.pushes().len() >= 8);
    let quick = container("quick", "quick").start();
    for at in 0..3 {
        quick.out(format!("{at}"));
        assert!(scene.loki.wait_for(|state| state.count(&[("team", "quick")]) > at, patience()));
    }
    assert_eq!(scene.loki.count(&[("team", "slow")]), 0);
}

#[test]
fn of_pushes_that_hang_the_others_learn_nothing() {
    pushes_that_hang_hold_up_nobody(None);
}

#[test]
fn of_pushes_that_hang_the_others_learn_nothing_when_tries_are_counted() {
    pushes_that_hang_hold_up_nobody(Some("3"));
}

/// The ring overwrites lines that are held back. Only those are missing and counted.
#[test]
fn of_what_the_ring_overwrites_meanwhile_only_the_lines_that_were_held_back_count() {
    let scene = Scene::new();
    scene.loki.fail_only(&[OUT], status(403), Times::UntilHealed);
    let run = scene.container("web").option("max-size", "256k").option("max-file", "2").start();
    run.out("first");
    assert_eventually!(!scene.loki.pushes().is_empty());
    let (chatter, errors) = (numbered("chatter", 2000, 1000), numbered("error", 100, 100));
    for (at, error) in errors.iter().enumerate() {
        run.out_all(&chatter[at * 20..at * 20 + 20]);
        run.err(error);
        assert!(scene.loki.wait_for(|state| state.count(&[ERR]) > at, patience()), "error {at}");
    }
    scene.loki.heal();
    run.out("last");
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    assert_same(&lines(&scene.loki, ERR), &errors);
    let arrived = lines(&scene.loki, OUT);
    assert_eq!(arrived.last().map(String::as_str), Some("last"));
    let missing = chatter.len() + 2 - arrived.len();
    assert!(missing > 0, "the ring was to be too small");
    assert_eventually!(
        scene.plugin.sum_in_log("the ring was full", "lines") == missing as u64,
        "{missing} are missing, and {} are counted",
        scene.plugin.sum_in_log("the ring was full", "lines")
    );
}

#[test]
fn a_proxy_that_asks_for_time_gets_it() {
    let scene = Scene::new();
    let retry_after = Some("2".to_owned());
    let content_type = "text/html".to_owned();
    let failure = Failure::Proxy { code: 429, content_type, body: "<p>later</p>".into(), retry_after };
    scene.loki.fail(failure, Times::Next(1));
    let run = scene.container("web").start();
    run.out("hello");
    assert!(scene.loki.wait_for(|state| state.count(&[]) == 1, patience()));
    assert_eventually!(scene.loki.pushes().len() == 2);
    let pushes = scene.loki.pushes();
    let waited = pushes[1].at - pushes[0].at;
    assert!(waited >= std::time::Duration::from_secs(2), "{waited:?}");
    run.stop();
}

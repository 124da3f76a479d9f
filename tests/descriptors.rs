//! With too few file descriptors containers wait, no line is lost, and everything resumes when there are some again.

use std::fs::File;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::plugin::Start;
use crate::harness::status::scrape;
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::{Failure, Limits, Standin, Times};

/// Far more than fit under the limit, of which the plugin itself needs some forty.
const CONTAINERS: usize = 40;
const TOO_FEW: u64 = 64;

/// What the log says meanwhile.
const WAITS: &str = "container waits: the plugin has no file descriptor left";

/// A plugin with metrics, and a Loki that is down.
fn scene() -> Scene {
    let limits = Limits { max_global_streams_per_user: 10_000, ..Limits::generous() };
    let scene = Scene::with(Start::default().serve_status(), Standin::builder().limits(limits));
    scene.loki.fail(Failure::Status { code: 503, body: "away".into() }, Times::UntilHealed);
    scene
}

fn assert_nothing_is_lost(scene: &Scene) {
    let metrics = scrape(&scene.plugin);
    for name in ["loki_rs_discarded_lines_total", "loki_rs_discarded_bytes_total", "loki_rs_dropped_lines_total"] {
        assert_eq!(metrics.sum(name, &[]).unwrap_or_default(), 0.0, "{name}");
    }
}

#[test]
fn containers_that_a_new_process_has_no_descriptors_for_wait_and_lose_nothing() {
    let mut scene = scene();
    let mut printed = vec![Vec::new(); CONTAINERS];
    let mut runs = Vec::new();
    for (at, printed) in printed.iter_mut().enumerate() {
        let run = scene.container(&format!("c{at}")).start();
        *printed = numbered("before", 20, 100);
        run.out_all(&*printed);
        assert_eventually!(run.lines().len() == printed.len(), "the ring has them");
        // Every fourth container leaves nothing but its ring.
        if at % 4 == 3 {
            run.stop();
        } else {
            runs.push((at, run));
        }
    }
    scene.plugin.kill();
    // The next process reads this record before it opens anything for a container.
    let hang = scene.plugin.state().join("streams/hang.json");
    mkfifo(&hang, Mode::S_IRWXU).expect("the name is free");
    scene.plugin.restart();
    scene.plugin.limit_files(Some(TOO_FEW));
    drop(File::options().write(true).open(&hang).expect("it is being read"));
    for (at, run) in &runs {
        let more = numbered("meanwhile", 20, 100);
        run.out_all(&more);
        printed[*at].extend(more);
    }
    assert_eventually!(scene.plugin.log().contains(WAITS), "descriptors run out");

    scene.plugin.limit_files(None);
    scene.loki.heal();
    for (at, printed) in printed.iter().enumerate() {
        scene.assert_lines_in_loki(&format!("c{at}"), printed);
    }
    for (at, run) in &runs {
        run.out("after");
        printed[*at].push("after".into());
        scene.assert_lines_in_loki(&format!("c{at}"), &printed[*at]);
        assert_same(&run.lines(), &printed[*at]);
    }
    assert_nothing_is_lost(&scene);
    for (_, run) in runs {
        run.stop();
    }
    let is_left = |names: Vec<String>| names.iter().any(|name| !name.starts_with("hang"));
    assert_eventually!(!is_left(scene.plugin.names_in("streams")), "no record is left");
}

#[test]
fn lines_that_a_running_process_has_no_descriptor_for_wait_in_their_pipe() {
    let scene = scene();
    // They have nothing on disk yet.
    let runs: Vec<_> = (0..4).map(|at| scene.container(&format!("c{at}")).start()).collect();
    scene.plugin.limit_files(Some(8));
    let printed = numbered("line", 20, 100);
    runs.iter().for_each(|run| run.out_all(&printed));
    assert_eventually!(scene.plugin.log().matches(WAITS).count() == runs.len(), "each of them waits");

    scene.plugin.limit_files(None);
    scene.loki.heal();
    for (at, run) in runs.into_iter().enumerate() {
        scene.assert_lines_in_loki(&format!("c{at}"), &printed);
        assert_same(&run.lines(), &printed);
        run.stop();
    }
    assert_nothing_is_lost(&scene);
}

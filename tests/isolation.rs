//! One container never harms another: its options are bounded, and when it exceeds the bounds again and again, its
//! lines are no longer sent.

use std::fs;

use crate::harness::plugin::Start;
use crate::harness::status::{scrape, status};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::{Failure, Standin, Times};

/// A template that calls itself twice, for ever. Other lines pass.
const BOMB: &str = "- match:\n    selector: '{container_name=~\".+\"} |= \"boom\"'\n    stages:\n    - template: {source: x, template: \
                    '{{define \"a\"}}{{template \"a\" .}}{{template \"a\" .}}{{end}}{{template \"a\" .}}'}";

fn scene() -> Scene {
    Scene::with(Start::default().serve_status(), Standin::builder())
}

fn too_costly(scene: &Scene) -> f64 {
    scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &[("reason", "too_costly")])
}

#[test]
fn labels_that_compute_without_end_are_refused_at_docker_run() {
    let scene = scene();
    let bomb = "x={{define \"a\"}}{{template \"a\" .}}{{template \"a\" .}}{{end}}{{template \"a\" .}}";
    let error = scene.container("web").option("loki-external-labels", bomb).try_start().unwrap_err();
    assert!(error.contains("loki-external-labels"), "{error}");
    let bomb = "{{range 9999}}{{$x := pad \"x\" 65536 65536}}{{end}}";
    let error = scene.container("web").option("tag", bomb).try_start().unwrap_err();
    assert!(error.contains("tag") && error.contains("too many steps or too much memory"), "{error}");
}

#[test]
fn a_line_that_costs_too_much_is_not_sent_and_counted_and_docker_logs_has_it() {
    let scene = scene();
    let web = scene.container("web").option("loki-pipeline-stages", BOMB);
    let run = web.start();
    let written = ["one", "boom", "two"].map(str::to_owned);
    run.out_all(&written);
    assert_eventually!(scene.lines_in_loki("web") == ["one", "two"], "{}", scene.plugin.log());
    assert_eventually!(too_costly(&scene) == 1.0);
    assert!(scene.plugin.log().contains("lines dropped: their pipeline needs too many steps or too much memory"));
    assert_same(&run.lines(), &written);
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
}

#[test]
fn a_container_whose_lines_always_cost_too_much_fails_closed_and_holds_up_nobody() {
    let scene = scene();
    let bomb =
        scene.container("bomb").option("loki-pipeline-stages", BOMB).option("max-size", "1m").option("max-file", "1");
    let bomb = bomb.option("loki-backpressure", "block");
    let run = bomb.start();
    let victim = scene.container("victim").start();
    run.out_all(vec!["boom".to_owned(); 30]);
    victim.out("before");
    assert_eventually!(scene.plugin.log().contains("container failed closed"), "{}", scene.plugin.log());
    // Lines within the budget are not evaluated either.
    let written = numbered("line", 3000, 1000);
    run.out_all(&written);
    victim.out("after");
    assert_eventually!(scene.lines_in_loki("victim") == ["before", "after"]);
    assert_eventually!(!run.has_unread(), "loki-backpressure=block holds it up");
    assert_eq!(scene.lines_in_loki("bomb"), [""; 0]);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]) == 1.0);
    let told = status(&scene.plugin)["containers"].to_string();
    assert!(told.contains("its pipeline needs too many steps or too much memory"), "{told}");
    assert_eq!(bomb.lines().last(), written.last(), "docker logs has its lines");
    run.stop();

    // It stays closed when it starts again, and sends when it starts with other stages.
    let again = bomb.start();
    again.out("boom again");
    again.stop();
    assert_eq!(scene.plugin.log().matches("container failed closed").count(), 1);
    let mended = bomb.option("loki-pipeline-stages", "- drop: {expression: '^nothing'}");
    let run = mended.start();
    run.out("mended");
    assert_eventually!(scene.lines_in_loki("bomb") == ["mended"], "{}", scene.plugin.log());
    run.stop();
    victim.stop();
}

#[test]
fn a_restart_of_the_plugin_gives_a_container_another_try() {
    let mut scene = Scene::new();
    let run = scene.container("bomb").option("loki-pipeline-stages", BOMB).start();
    run.out_all(vec!["boom".to_owned(); 30]);
    assert_eventually!(scene.plugin.log().contains("container failed closed"));
    scene.plugin.terminate();
    scene.plugin.restart();
    assert_eventually!(scene.plugin.log().matches("container failed closed").count() == 2, "{}", scene.plugin.log());
    run.stop();
}

/// Templates that call the next one twice each: no depth ends this, only the work of the line.
fn slow_bomb() -> String {
    let calls = (0..24).map(|at| {
        let next = at + 1;
        format!("{{{{define \"t{at}\"}}}}{{{{template \"t{next}\" .}}}}{{{{template \"t{next}\" .}}}}{{{{end}}}}")
    });
    let calls = calls.collect::<String>();
    format!(
        "- match:\n    selector: '{{container_name=~\".+\"}} |= \"boom\"'\n    stages:\n    - template: {{source: x, template: \
         '{calls}{{{{define \"t24\"}}}}{{{{end}}}}{{{{template \"t0\" .}}}}'}}"
    )
}

/// The mark of a container of which a line cost too much: an entry, and how many processes have begun there.
fn mark(scene: &Scene, container: &str) -> String {
    let path = scene.plugin.ring(container).join("evaluating-0");
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_container_that_three_processes_died_of_fails_closed_and_others_go_on() {
    let mut scene = scene();
    let bomb = scene.container("bomb").option("loki-pipeline-stages", &slow_bomb());
    let other = scene.container("other").start();
    let run = bomb.start();
    // The second is evaluated by a process that knows what the first has cost.
    run.out_all(["boom", "boom", "after"]);
    for processes in 1..=3 {
        // It is written before the evaluation, which takes many times as long as this look.
        assert_eventually!(mark(&scene, bomb.id()) == format!("1 {processes}\n"), "{}", scene.plugin.log());
        assert!(!scene.plugin.log().contains("container failed closed"), "{}", scene.plugin.log());
        scene.plugin.kill();
        assert_eq!(mark(&scene, bomb.id()), format!("1 {processes}\n"), "it died inside the evaluation");
        scene.plugin.restart();
        // The first calls of dockerd are answered while the line is evaluated again.
        let new = scene.container(&format!("new-{processes}")).start();
        new.out("new");
        assert_eventually!(new.lines() == ["new"]);
        new.stop();
    }
    assert_eventually!(scene.plugin.log().contains("container failed closed"), "{}", scene.plugin.log());
    run.out("more");
    other.out("other");
    assert_eventually!(scene.lines_in_loki("other") == ["other"]);
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]) == 1.0);
    assert_eq!(scene.lines_in_loki("bomb"), [""; 0]);
    assert_eq!(run.lines(), ["boom", "boom", "after", "more"], "docker logs has its lines");
    run.stop();
    other.stop();
}

#[test]
fn a_container_of_which_no_line_cost_too_much_goes_on_after_three_kills() {
    let mut scene = scene();
    scene.loki.fail(Failure::Status { code: 503, body: "no".into() }, Times::UntilHealed);
    let web = scene.container("web").option("loki-pipeline-stages", BOMB);
    let run = web.start();
    run.out("one");
    for _ in 0..3 {
        // Its line was evaluated, and the process dies before Loki has it.
        let seen = scene.loki.requests().len();
        assert_eventually!(!scene.loki.requests_since(seen).is_empty(), "{}", scene.plugin.log());
        assert_eq!(mark(&scene, web.id()), "");
        scene.plugin.kill();
        scene.plugin.restart();
    }
    scene.loki.heal();
    run.out("two");
    assert_eventually!(scene.lines_in_loki("web") == ["one", "two"], "{}", scene.plugin.log());
    assert!(!scene.plugin.log().contains("container failed closed"), "{}", scene.plugin.log());
    run.stop();
}

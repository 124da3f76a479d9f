//! One container never harms another: its options are bounded, and when it exceeds the bounds again and again, its
//! lines are no longer sent.

use crate::harness::plugin::Start;
use crate::harness::status::{scrape, status};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::Standin;

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

//! Labels and metadata of a line are what its options ask for: relabelling, tenants, tag, filename, metadata.

use std::collections::BTreeMap;

use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, patience};
use crate::standin::{Failure, Standin, State, Stored, Times};

/// Waits for `count` lines in Loki, whatever their labels, and returns all.
fn entries(scene: &Scene, count: usize) -> Vec<Stored> {
    let came = scene.loki.wait_for(|state: &State| state.entries().len() >= count, patience());
    assert!(came, "{count} lines are expected, and Loki has {}", scene.loki.entries().len());
    scene.loki.entries()
}

/// Each entry as `label=value … | line`, without the host, in order.
fn told(entries: &[Stored]) -> Vec<String> {
    let told = entries.iter().map(|entry| {
        let labels = entry.labels.iter().filter(|(name, _)| *name != "host");
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} | {}", labels.join(" "), String::from_utf8_lossy(&entry.line))
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

fn metadata(entry: &Stored) -> BTreeMap<&str, &str> {
    entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn the_source_can_be_relabelled_and_so_can_the_rest() {
    let scene = Scene::new();
    let rules = r#"
- source_labels: [source]
  target_label: stream
- source_labels: [compose_project, compose_service]
  separator: /
  target_label: job
- regex: source|container_name|compose_.*
  action: labeldrop
"#;
    let run = scene
        .container("web")
        .label("com.docker.compose.project", "shop")
        .label("com.docker.compose.service", "cart")
        .option("loki-relabel-config", rules)
        .start();
    run.out("one");
    run.err("two");
    assert_eq!(told(&entries(&scene, 2)), ["job=shop/cart stream=stderr | two", "job=shop/cart stream=stdout | one"]);
    run.stop();
}

#[test]
fn what_rules_drop_is_not_sent_and_is_in_docker_logs() {
    let mut scene = Scene::new();
    let rules = "[{source_labels: [source], regex: stderr, action: drop}]";
    let web = scene.container("web").option("loki-relabel-config", rules);
    let run = web.start();
    assert_eventually!(scene.plugin.log().contains("lines of stderr are dropped, and not sent"));
    for at in 0..20 {
        run.err(format!("err {at}"));
        run.out(format!("out {at}"));
    }
    // An end that never comes must not keep the rest of the ring.
    run.print(1, &[b'x'; 20_000]);
    run.out("last");
    scene.wait_for_lines("web", 21);
    assert_eq!(run.lines().iter().filter(|line| line.starts_with("err ")).count(), 20);
    run.stop();
    // The container is released, and the next process has nothing to send.
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    assert_eq!(web.lines().len(), 42);
    // A request is recorded a moment after its lines are stored.
    let sent = || scene.loki.pushes().iter().flat_map(|push| &push.streams).map(|(_, lines)| lines).sum::<usize>();
    assert_eventually!(sent() == 21);
    scene.plugin.kill();
    scene.plugin.restart();
    let other = scene.container("other").start();
    other.out("hello");
    scene.wait_for_lines("other", 1);
    other.stop();
    let lines = scene.lines_in_loki("web");
    assert_eq!(lines.len(), 21);
    assert_eventually!(sent() == 22);
    assert!(lines.iter().all(|line| !line.starts_with("err") && !line.starts_with('x')), "{lines:?}");
}

#[test]
fn a_container_of_which_nothing_is_sent_waits_for_no_loki() {
    let scene = Scene::new();
    scene.loki.fail(Failure::Hang, Times::UntilHealed);
    // As many as may be in flight at once, and none is answered; a container with lines to send waits for them.
    let container = |name: &str| scene.container(name).option("loki-timeout", "1h");
    let others: Vec<_> = (0..8).map(|at| container(&format!("other{at}")).start()).collect();
    others.iter().for_each(|other| other.out("hello"));
    assert_eventually!(scene.plugin.connections_to(scene.loki.port()).len() == 8);
    let files = scene.plugin.files_of_containers();
    let web = container("web")
        .option("loki-relabel-config", "[{action: keep, source_labels: [container_name], regex: other.*}]");
    let run = web.start();
    run.out("one");
    run.err("two");
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == files, "the container is let go of");
    assert_eq!(web.lines(), ["one", "two"]);
    scene.loki.heal();
    // Requests that hang continue to hang until their connection is closed.
    scene.loki.go_away();
    scene.loki.come_back();
    assert_eq!(entries(&scene, 8).len(), 8);
    for other in others {
        other.stop();
    }
    assert!(!scene.plugin.log().contains("lines were lost"), "{}", scene.plugin.log());
}

#[test]
fn each_source_can_have_a_tenant_of_its_own() {
    let scene = Scene::with(Start::default(), Standin::builder().auth(true));
    let rules = r#"
- source_labels: [source]
  regex: stderr
  target_label: __tenant_id__
  replacement: alerts
- source_labels: [__tenant_id__, team]
  regex: ;(.+)
  target_label: __tenant_id__
"#;
    let container = |name: &str| {
        let container = scene.container(name).label("team", name).option("labels", "team");
        container.option("loki-relabel-config", rules).option("loki-tenant-id", "nobody").start()
    };
    let (a, b) = (container("a"), container("b"));
    let quiet = scene.container("c").option("loki-relabel-config", rules).option("loki-tenant-id", "nobody").start();
    for run in [&a, &b, &quiet] {
        run.out("out");
        run.err("err");
    }
    let entries = entries(&scene, 6);
    let mut tenants: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert!(entry.labels.keys().all(|name| !name.starts_with("__")), "{:?}", entry.labels);
            format!("{} {} {}", entry.labels["container_name"], entry.labels["source"], entry.tenant)
        })
        .collect();
    tenants.sort();
    assert_eq!(
        tenants,
        ["a stderr alerts", "a stdout a", "b stderr alerts", "b stdout b", "c stderr alerts", "c stdout nobody"]
    );
    for run in [a, b, quiet] {
        run.stop();
    }
}

#[test]
fn rules_that_cannot_be_used_keep_the_container_from_starting() {
    let scene = Scene::new();
    for (rules, why) in [
        ("foo", "loki-relabel-config: \"foo\" is not a YAML list of relabel rules: line 1, column 1: a list of rules"),
        ("[{action: replace}]", "relabel configuration for replace action requires 'target_label' value"),
        ("[{action: labeldrop, regex: .*}]", "loki-relabel-config: no label is left for lines of stdout"),
        ("[{target_label: __tenant_id__, replacement: a/b}]", "label __tenant_id__: \"a/b\" is not a tenant id"),
    ] {
        let refusal = scene.container("web").option("loki-relabel-config", rules).try_start().expect_err(rules);
        assert!(refusal.contains(why), "{refusal}");
    }
    let many: Vec<String> = (0..14).map(|n| format!("l{n}=x")).collect();
    let refusal = scene.container("web").option("loki-external-labels", &many.join(",")).try_start();
    assert!(
        refusal.expect_err("sixteen").contains("16 labels are more than the 15 that Loki takes: host, l0, l1, l10")
    );
    assert_eq!(scene.plugin.names_in("rings"), [""; 0]);
}

#[test]
fn the_operators_rules_count_where_a_container_has_none() {
    let start = Start::default()
        .set("LOKI_RELABEL_CONFIG", "[{target_label: job, replacement: docker}]")
        .set("TAG", "{{.ImageName}}")
        .set("LOKI_STRUCTURED_METADATA", "command");
    let scene = Scene::with(start, Standin::builder());
    let silent = scene.container("silent").start();
    let own = scene.container("own").option("loki-relabel-config", "").option("tag", "").start();
    silent.out("hello");
    own.out("hello");
    let entries = entries(&scene, 2);
    assert_eq!(
        told(&entries),
        [
            "container_name=own source=stdout | hello",
            "container_name=silent job=docker source=stdout tag=busybox:1 | hello"
        ]
    );
    assert!(entries.iter().all(|entry| metadata(entry) == BTreeMap::from([("command", "sh -c echo hello")])));
    silent.stop();
    own.stop();
}

#[test]
fn tag_and_filename_are_there_when_they_are_asked_for() {
    let scene = Scene::new();
    let web = scene.container("web").option("tag", "{{.Name}}/{{.ID}}").option("loki-filename-label", "true");
    let run = web.start();
    run.out("hello");
    let filename = format!("/var/log/docker/{}/json.log", web.id());
    let expected = format!(
        "container_name=web filename={filename} source=stdout tag=web/{} | hello",
        web.id().get(..12).expect("ids are long")
    );
    assert_eq!(told(&entries(&scene, 1)), [expected]);
    run.stop();
}

#[test]
fn a_swarm_task_is_told_beside_its_lines() {
    let scene = Scene::new();
    let task = scene
        .container("cart")
        .label("com.docker.swarm.service.name", "shop_cart")
        .label("com.docker.swarm.task.id", "x1y2z3")
        .label("com.docker.swarm.task.name", "shop_cart.3.x1y2z3")
        .label("com.docker.swarm.node.id", "n0de");
    let run = task.start();
    run.out("hello");
    let entries = entries(&scene, 1);
    let expected = BTreeMap::from([
        ("container_id", task.id()),
        ("image_name", "busybox:1"),
        ("swarm_node_id", "n0de"),
        ("swarm_slot", "3"),
        ("swarm_task_id", "x1y2z3"),
    ]);
    assert_eq!(metadata(&entries[0]), expected);
    run.stop();
}

#[test]
fn structured_metadata_is_what_was_asked_for() {
    let scene = Scene::new();
    let run = scene
        .container("web")
        .label("com.example/team", "cart")
        .env("TIER=front")
        .option("loki-structured-metadata", "label:com.example/team, tier=env:TIER,command,daemon_name,label:absent")
        .start();
    run.out("hello");
    let entries = entries(&scene, 1);
    let expected = BTreeMap::from([
        ("com_example_team", "cart"),
        ("command", "sh -c echo hello"),
        ("daemon_name", "docker"),
        ("tier", "front"),
    ]);
    assert_eq!(metadata(&entries[0]), expected);
    run.stop();
    let refusal = scene.container("new").option("loki-structured-metadata", "pod").try_start().expect_err("no fact");
    assert!(
        refusal.contains("loki-structured-metadata: \"pod\" is not a list of metadata: \"pod\" is none of"),
        "{refusal}"
    );
}

#[test]
fn options_of_others_are_taken_and_told_to_have_no_effect() {
    let scene = Scene::new();
    let run = scene
        .container("web")
        .option("cache-disabled", "true")
        .option("cache-max-size", "10m")
        .option("cache-max-file", "3")
        .option("cache-compress", "false")
        .option("compress", "true")
        .start();
    run.out("hello");
    scene.assert_lines_in_loki("web", &["hello"]);
    let log = scene.plugin.log();
    for key in ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress", "compress"] {
        assert_eq!(log.matches(&format!("\"{key}: it has no effect: ")).count(), 1, "{key} in {log}");
    }
    assert_eq!(run.lines(), ["hello"]);
    run.stop();
}

#[test]
fn names_that_become_equal_are_told_and_a_host_of_ones_own_stays() {
    let scene = Scene::new();
    let run = scene
        .container("web")
        .label("app.name", "dotted")
        .label("app-name", "dashed")
        .option("labels-regex", "^app")
        .option("loki-external-labels", "container_name={{.Name}},host=mine")
        .start();
    run.out("hello");
    let entries = entries(&scene, 1);
    assert_eq!(entries[0].labels["host"], "mine");
    assert_eq!(entries[0].labels["app_name"], "dotted");
    let note = r#"label app_name: container label "app.name" replaces container label "app-name""#;
    assert!(scene.plugin.log().contains(note), "{}", scene.plugin.log());
    run.stop();
}

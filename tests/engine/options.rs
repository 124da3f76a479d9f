//! Where options come from, and how a wrong one is refused.

use super::stage::{Engine, IMAGE_NAME, Plugin, Scene, eventually, numbered, text};
use crate::harness::compose;
use serde_json::Value;
use std::fs;

#[test]
fn a_wrong_option_is_refused_at_docker_run_in_one_sentence() {
    let scene = Scene::new("refused");
    for (name, option, value, sentence) in [
        ("value", "loki-batch-size", "many", "loki-batch-size: \"many\" is not a number of bytes"),
        ("key", "loki-batchsize", "1", "loki-batchsize"),
        (
            "secret",
            "loki-url",
            "http://me:hunter2@bad host",
            "loki-url: \"http://***@bad host\" is not an http or https URL",
        ),
    ] {
        let (container, output) = scene.container(name).option(option, value).run(&["lines:1"]);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{complaint}");
        assert!(complaint.contains(sentence), "{complaint}");
        assert!(!complaint.contains("hunter2") && !scene.engine.log().contains("hunter2"));
        assert_eq!(container.inspect("{{.State.Status}}"), "created");
    }
    assert_eq!(scene.loki.entries(), []);
}

#[test]
fn what_dockerd_reads_itself_it_refuses_itself() {
    let scene = Scene::new("dockerds");
    for (options, sentence) in [
        (&["mode=sometimes"][..], "logging mode not supported: sometimes"),
        (&["mode=non-blocking", "max-buffer-size=much"], "max-buffer-size"),
        (&["max-buffer-size=4m"], "max-buffer-size option is only supported with 'mode=non-blocking'"),
    ] {
        let driver = ["create", "--network=none", "--log-driver", &scene.plugin.name];
        let options = options.iter().flat_map(|option| ["--log-opt", option]);
        let (said, output) = scene.engine.try_docker(driver.into_iter().chain(options).chain([IMAGE_NAME, "lines:1"]));
        let complaint = text(&output.stderr);
        assert!(!output.status.success() && complaint.contains(sentence), "{said}: {complaint}");
    }
}

#[test]
fn no_url_anywhere_is_an_error_that_says_how_to_give_one() {
    let scene = Scene::new("homeless");
    let (_container, output) = scene.bare_container("no-url", &scene.plugin.name).run(&["lines:1"]);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{complaint}");
    assert!(complaint.contains("loki-url") && complaint.contains("LOKI_URL"), "{complaint}");
}

#[test]
fn settings_of_the_plugin_are_defaults_and_a_containers_own_option_wins() {
    let engine = Engine::shared();
    let elsewhere = crate::standin::Standin::start();
    let url = format!("LOKI_URL={}", elsewhere.push_url());
    let plugin = engine.install("loki-rs-set", &[&url, "LABELS=tier", "LOG_LEVEL=debug"]);
    let scene = Scene::with("set", &plugin);

    let by_default =
        scene.bare_container("default", &plugin.name).argument("--label=tier=front").run_well(&["lines:2"]);
    let own = scene.container("own").argument("--label=tier=back").run_well(&["lines:3"]);
    scene.expect_lines(&own, numbered(3));
    assert_eq!(scene.loki.count(&[("tier", "back")]), 3, "what a container does not say, the plugin does");
    eventually("the default URL has the other container's lines", || {
        elsewhere.count(&[("container_name", &by_default.name), ("tier", "front")]) == 2
    });
    assert_eq!((scene.loki.entries().len(), elsewhere.entries().len()), (3, 2));
}

#[test]
fn a_plugin_is_enabled_with_a_wrong_setting_and_refuses_new_containers_with_the_sentence() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-mistaken", &[]);
    plugin.disable();
    engine.docker(["plugin", "set", &plugin.name, "LOKI_TIMEOUT=soon"]);
    engine.docker(["plugin", "enable", "--timeout", "0", &plugin.name]);
    let sentence = r#"LOKI_TIMEOUT: "soon" is not a duration (try 10s, 500ms, 1m)"#;
    let (_, output) =
        engine.try_docker(["run", "--rm", "--network", "none", "--log-driver", &plugin.name, IMAGE_NAME, "lines:1"]);
    assert!(!output.status.success() && text(&output.stderr).contains(sentence), "{}", text(&output.stderr));
    let said = "is not a duration (try 10s, 500ms, 1m)";
    eventually("dockerd's log says it", || {
        engine.log().lines().any(|line| line.contains(&plugin.id) && line.contains(said))
    });
    plugin.disable();

    // And what a managed plugin has to leave alone cannot be set.
    let (_, output) = engine.try_docker(["plugin", "set", &plugin.name, "SOCKET=/tmp/elsewhere.sock"]);
    assert!(text(&output.stderr).contains("not settable"), "{}", text(&output.stderr));
}

#[test]
fn the_default_driver_of_daemon_json() {
    let engine = Engine::start();
    let plugin: Plugin = engine.install("loki-rs", &[]);
    let scene = Scene::with("default", &plugin);
    // The example, but for where Loki is.
    let example = fs::read_to_string(compose::file("examples/daemon.json")).unwrap();
    let mut daemon: Value = serde_json::from_str(&example).unwrap();
    daemon["log-opts"]["loki-url"] = scene.loki.push_url().into();
    // dockerd looks for the driver at its start already when it is given options.
    engine.configure(&daemon);
    engine.restart();

    let name = "default-driver";
    engine.docker(["run", "--name", name, "--network", "none", IMAGE_NAME, "lines:3"]);
    assert_eq!(engine.docker(["inspect", "--format", "{{.HostConfig.LogConfig.Type}}", name]), "loki-rs");
    assert_eq!(engine.docker(["logs", name]), numbered(3).join("\n"));
    eventually("Loki has the lines", || scene.loki.count(&[("container_name", name), ("env", "prod")]) == 3);

    // After another start of dockerd the plugin has what it had.
    engine.restart();
    assert_eq!(engine.docker(["logs", name]), numbered(3).join("\n"));
    engine.docker(["start", "--attach", name]);
    eventually("Loki has the second run", || scene.loki.count(&[("container_name", name)]) == 6);
    engine.docker(["rm", name]);
}

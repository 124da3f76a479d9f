//! The files in `examples/` work as they are: Compose accepts them, and the driver accepts their options.

use std::collections::BTreeMap;
use std::fs;

use loki_rs::config::{PluginDefaults, StreamOptions};
use promtail::yaml::{self, Node, Value};

use crate::harness::compose::{self, Service, entry, text, texts};

/// The services of a project file that have logging options.
pub fn services(name: &str, variables: &[(&str, &str)]) -> BTreeMap<String, Service> {
    compose::services(&compose::file(name), variables)
}

/// Checks that the driver accepts these options, with no setting of the plugin.
pub fn accept(whose: &str, options: &BTreeMap<String, String>) -> StreamOptions {
    let nothing = PluginDefaults::new([]);
    StreamOptions::parse(options, &nothing).unwrap_or_else(|errors| panic!("{whose}: {errors}"))
}

#[test]
fn compose_takes_each_file_and_the_driver_takes_each_services_options() {
    for (name, variables, through_the_driver) in [
        ("examples/compose.yaml", vec![], vec!["web", "worker"]),
        ("examples/compose.yaml", vec![("LOKI_URL", "https://loki.example.com")], vec!["web", "worker"]),
        ("examples/swarm.yaml", vec![], vec!["web", "worker"]),
    ] {
        let services = services(name, &variables);
        let ours: Vec<&str> =
            services.iter().filter(|(_, service)| service.driver == "loki-rs").map(|(n, _)| &**n).collect();
        assert_eq!(ours, through_the_driver, "{name}");
        for service in &ours {
            let read = accept(&format!("{name}, {service}"), &services[*service].options);
            let host = if variables.is_empty() && name.contains("compose") { "127.0.0.1" } else { "loki.example.com" };
            assert_eq!(read.destinations[0].url.as_url().host_str(), Some(host), "{name}, {service}");
            let notes = &read.notes;
            assert!(
                notes.iter().all(|note| note.contains("it has no path")),
                "an example is as it should be: {notes:?}"
            );
        }
    }
    // A Loki that logged to itself would never be idle.
    assert_eq!(services("examples/compose.yaml", &[])["loki"].driver, "local");
}

#[test]
fn what_people_have_for_grafanas_driver_is_taken_as_it_is() {
    let services =
        services("tests/data/grafana-compose.yaml", &[("LOKI_URL", "http://127.0.0.1:3100/loki/api/v1/push")]);
    for (service, Service { driver, options, .. }) in &services {
        assert!(matches!(driver.as_str(), "loki" | "loki:latest"), "{service} is for Grafana's driver: {driver}");
        let read = accept(service, options);
        assert_eq!(read.batch.size_bytes, 400, "what was asked for is what counts");
        assert!(read.ring.keep_file);
    }
    assert_eq!(services.len(), 2);
}

/// The options of all services that log through the driver, anywhere in a tree.
fn logging_in(node: &Node, found: &mut Vec<BTreeMap<String, String>>) {
    let Value::Map(entries) = &node.value else { return };
    if let (Some(driver), options @ Some(_)) = (entry(node, "driver"), entry(node, "options"))
        && text(driver) == "loki-rs"
    {
        found.push(texts(options));
    }
    entries.iter().for_each(|(_, value)| logging_in(value, found));
}

#[test]
fn what_is_shown_of_compose_files_in_the_documentation_is_taken() {
    for (name, expected) in [
        ("README.md", 1),
        ("docs/labels.md", 1),
        ("docs/migrating.md", 2),
        ("docs/pipelines.md", 1),
        ("docs/sizing.md", 1),
    ] {
        let page = fs::read_to_string(compose::file(name)).expect("the page is there");
        let mut found = Vec::new();
        for block in page.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            let tree = yaml::parse(block).unwrap_or_else(|error| panic!("{name}: {error}:\n{block}"));
            logging_in(&tree.expect("there is something in it"), &mut found);
        }
        assert_eq!(found.len(), expected, "{name}: {found:?}");
        for mut options in found {
            options.entry("loki-url".to_owned()).or_insert("http://127.0.0.1:3100/loki/api/v1/push".to_owned());
            assert_eq!(accept(name, &options).notes, [""; 0], "{name}");
        }
    }
}

#[test]
fn daemon_json_is_as_dockerd_wants_it_and_the_driver_takes_its_options() {
    let daemon = fs::read_to_string(compose::file("examples/daemon.json")).expect("the example is there");
    let daemon: serde_json::Value = serde_json::from_str(&daemon).expect("it is JSON");
    assert_eq!(daemon["log-driver"], "loki-rs");
    // dockerd does not start with a value that is not text.
    let options = daemon["log-opts"].as_object().expect("options by name").iter();
    let options: BTreeMap<String, String> =
        options.map(|(key, value)| (key.clone(), value.as_str().expect(key).to_owned())).collect();
    let read = accept("examples/daemon.json", &options);
    assert_eq!(read.notes, [""; 0]);
    assert_eq!((read.ring.max_size, read.ring.max_file), (20_000_000, 5));
}

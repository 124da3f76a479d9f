//! The manifest and the documentation match the program's tables of options and settings.

use loki_rs::config::options::{self, OPTIONS};
use loki_rs::config::settings::{self, DEFAULT_FILES_DIR, FILES_DIR, SETTINGS, SOCKET};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

use crate::harness::pages;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest() -> Value {
    serde_json::from_str(&read("config.json")).unwrap_or_else(|error| panic!("config.json: {error}"))
}

#[test]
fn the_manifest_has_every_setting_with_its_default_and_its_text() {
    let settings = SETTINGS.iter().map(|spec| (spec.name, spec.default, spec.doc));
    let defaults = OPTIONS.iter().filter_map(|spec| Some((spec.env?, spec.default.unwrap_or_default(), spec.doc)));
    let expected: Vec<Value> = settings
        .chain(defaults)
        .map(|(name, value, description)| {
            // The socket and the folder of files of a managed plugin are fixed by the manifest.
            let settable: &[&str] = if [SOCKET, FILES_DIR].contains(&name) { &[] } else { &["value"] };
            json!({"name": name, "description": description, "value": value, "settable": settable})
        })
        .collect();
    let found = manifest();
    let found = found["env"].as_array().expect("config.json: env is a list");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "config.json says what the tables do not");
    }
    assert_eq!(found.len(), expected.len(), "config.json and the tables have as many settings");
}

#[test]
fn the_manifest_is_that_of_a_log_driver_that_outlives_its_upgrades() {
    let manifest = manifest();
    assert_eq!(manifest["entrypoint"], json!(["/loki-rs"]));
    assert_eq!(manifest["interface"]["types"], json!(["docker.logdriver/1.0"]));
    // The host's network, its resolver and its hosts file.
    assert_eq!(manifest["network"]["type"], "host");
    // Files below it survive an upgrade of the plugin: state, and the FIFOs of running containers. The socket's folder
    // must not be there: see DEFAULT_STATE_DIR.
    let kept = manifest["propagatedMount"].as_str().unwrap();
    assert_eq!(kept, "/run/docker/logging");
    assert!(settings::DEFAULT_STATE_DIR.starts_with(&format!("{kept}/")));
    let socket = format!("/run/docker/plugins/{}", manifest["interface"]["socket"].as_str().unwrap());
    assert_eq!(socket, settings::DEFAULT_SOCKET);
    // A mount whose source is missing on a machine keeps the plugin from starting there, so the default source always
    // exists. The plugin sees the content of it in its own /sys anyway; without rbind the control groups mounted below
    // it are left out.
    let [files] = manifest["mounts"].as_array().unwrap().as_slice() else { panic!("there is one mount") };
    assert_eq!((&files["name"], &files["source"]), (&json!("files"), &json!("/sys/fs")));
    assert_eq!(files["settable"], json!(["source"]));
    assert_eq!(files["destination"], DEFAULT_FILES_DIR);
    let options = files["options"].as_array().unwrap();
    assert!(options.contains(&json!("ro")) && options.contains(&json!("bind")), "{options:?}");
}

#[test]
fn the_manifests_defaults_are_accepted() {
    let manifest = manifest();
    let pairs = manifest["env"].as_array().unwrap().iter();
    let pairs = pairs.map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap().to_owned();
        (text("name"), text("value"))
    });
    let environment: std::collections::BTreeMap<String, String> = pairs.collect();
    let settings = loki_rs::config::Settings::read(&environment).checked().unwrap_or_else(|errors| panic!("{errors}"));
    let nothing = loki_rs::config::Settings::read(&std::collections::BTreeMap::new());
    assert_eq!(
        (settings.log_level, settings.log_format, settings.state_dir, settings.socket),
        (nothing.log_level, nothing.log_format, nothing.state_dir, nothing.socket)
    );
}

#[test]
fn the_documentation_has_the_tables() {
    for (name, table) in [("options", options::markdown_table()), ("settings", settings::markdown_table())] {
        let found = pages::marked(name);
        assert!(found == table, "docs/configuration.md needs this table of {name} between its marks:\n{table}");
    }
}

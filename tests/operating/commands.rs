//! Commands, options and settings in the documentation exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use loki_rs::config::options::OPTIONS;
use loki_rs::config::settings::SETTINGS;
use loki_rs::config::{PluginDefaults, Settings, StreamOptions};

use super::{guide, source};
use crate::harness::Scene;
use crate::harness::compose::file;
use crate::harness::pages::{page, spans};
use crate::harness::plugin::Start;
use crate::harness::status::ask;
use crate::standin::Standin;

/// Names that look like settings and belong to the kernel, to other programs or to the Makefile.
const OF_OTHERS: [&str; 4] = ["CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE", "HTTP_PROXY", "PLUGIN_NAME"];

/// Lines of the guide's blocks of commands.
fn commands() -> Vec<String> {
    let guide = guide("");
    let blocks = guide.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// What a command says of itself.
fn help(command: &mut Command) -> String {
    let output = command.arg("--help").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Each flag of a command is one that it has.
fn assert_flags(line: &str, words: &[&str], help: &str) {
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        let name = flag.split('=').next().unwrap_or_default();
        let has = help.split_whitespace().any(|word| word.trim_end_matches(',') == name);
        assert!(has, "{line}: there is no {name}:\n{help}");
    }
}

/// `NAME=value` for the plugin: a setting that it takes with this value, or the folder of files.
fn assert_setting(line: &str, name: &str, value: &str) {
    let manifest = fs::read_to_string(file("config.json")).expect("it is there");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("it is JSON");
    if let Some(mount) = name.strip_suffix(".source") {
        assert_eq!(manifest["mounts"][0]["name"], mount, "{line}");
        return;
    }
    let settable = |entry: &serde_json::Value| entry["name"] == name && entry["settable"][0] == "value";
    assert!(manifest["env"].as_array().expect("a list").iter().any(settable), "{line}: {name} is no setting");
    let environment: BTreeMap<String, String> = [(name.to_owned(), value.to_owned())].into();
    if let Err(errors) = Settings::read(&environment).checked() {
        panic!("{line}: {errors}");
    }
}

#[test]
fn every_command_is_one() {
    let makefile = fs::read_to_string(file("Makefile")).expect("it is there");
    let commands = commands();
    assert!(commands.len() > 20, "{commands:#?}");
    let scene = Scene::with(Start::default().serve_status(), Standin::builder());
    for line in &commands {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["docker", "plugin", verb, rest @ ..] => {
                assert_flags(line, rest, &help(Command::new("docker").args(["plugin", verb])));
                for (name, value) in
                    rest.iter().filter(|word| !word.starts_with("--")).filter_map(|it| it.split_once('='))
                {
                    assert!(matches!(*verb, "set" | "install"), "{line}");
                    assert_setting(line, name, value);
                }
                if *verb == "enable" {
                    assert!(line.contains("--timeout 0"), "{line}: docker logs -f would end after 30 seconds");
                }
            }
            ["docker", "node", verb, rest @ ..] => {
                assert_flags(line, rest, &help(Command::new("docker").args(["node", verb])));
            }
            ["docker", "run", rest @ ..] => assert_flags(line, rest, &help(Command::new("docker").arg("run"))),
            ["make", target, ..] => assert!(makefile.contains(&format!("\n{target}: ")), "{line}"),
            [program, command, rest @ ..] if program.ends_with("/rootfs/loki-rs") => {
                let verbs: Vec<&str> =
                    rest.iter().take_while(|word| word.chars().all(char::is_alphabetic)).copied().collect();
                let mut own = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
                assert_flags(line, rest, &help(own.arg(command).args(verbs)));
            }
            ["curl", .., url] | ["cd", _, "&&", "curl", .., url] => {
                let (_, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
                let served = ask(&scene.plugin, "GET", &format!("/{path}"));
                assert_eq!(served.status, 200, "{line}: {}", served.body);
            }
            // The folder of the plugin, as install.sh finds it.
            [first, ..] if first.starts_with("DIR=$(docker") => {
                let install = fs::read_to_string(file("plugin/install.sh")).expect("it is there");
                for part in ["docker info --format '{{.DockerRootDir}}')", "docker plugin inspect --format '{{.ID}}'"] {
                    assert!(line.contains(part) && install.contains(part), "{part}");
                }
                assert!(install.contains("/plugins/$1/propagated-mount"));
            }
            other => panic!("no check for the command {other:?}"),
        }
    }
}

#[test]
fn every_option_and_every_setting_exists() {
    let settings: BTreeSet<&str> =
        SETTINGS.iter().map(|setting| setting.name).chain(OPTIONS.iter().filter_map(|option| option.env)).collect();
    // That page quotes what other programs take.
    let guide = guide("").replace(&page("docs/migrating.md"), "");
    let source = source();
    let (mut options, mut variables) = (0, 0);
    for span in spans(&guide) {
        for word in span.split([' ', ',', '(', ')']) {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if name.starts_with("loki-") && !name.starts_with("loki-rs") {
                assert!(OPTIONS.iter().any(|option| option.key == name), "{span}: {name} is no option");
                options += 1;
            }
            if name.trim_matches('_').contains('_')
                && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
            {
                let is_constant = source.contains(&format!("const {name}: "));
                let known = settings.contains(name) || is_constant || OF_OTHERS.contains(&name);
                assert!(known, "{span}: {name} is no setting");
                variables += usize::from(settings.contains(name));
            }
            let (Some(value), Some(option)) = (value, OPTIONS.iter().find(|option| option.key == name)) else {
                continue;
            };
            let typed = [("loki-url", "http://127.0.0.1:3100"), (option.key, value)];
            let typed = typed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            StreamOptions::parse(&typed, &PluginDefaults::new([])).unwrap_or_else(|errors| panic!("{span}: {errors}"));
        }
    }
    assert!(options > 10 && variables > 15, "{options} {variables}");
}

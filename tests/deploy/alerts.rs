//! promtool accepts the rules, and alerts fire when they should and not before.

use std::fs;

use promtail::yaml::{self, Node, Value};

use crate::harness::compose::file;
use crate::harness::compose::{entry, text};
use crate::harness::prometheus::promtool;

const RULES: &str = "deploy/prometheus/alerts.yaml";
const TESTS: &str = "deploy/prometheus/alerts.test.yaml";

/// One alert, as its rule has it.
pub struct Alert {
    pub name: String,
    pub expr: String,
    severity: String,
    description: String,
}

/// A file of the project as a tree.
pub fn read(name: &str) -> Node {
    let source = fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    yaml::parse(&source).unwrap_or_else(|error| panic!("{name}: {error}")).expect("there is something in it")
}

/// The nodes of a list; empty without a list.
pub fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// The text under a key that must exist.
pub fn at<'a>(node: &'a Node, key: &str) -> &'a str {
    text(entry(node, key).unwrap_or_else(|| panic!("there is no {key} in {node:?}")))
}

pub fn alerts() -> Vec<Alert> {
    let tree = read(RULES);
    let rules = items(entry(&tree, "groups")).iter().flat_map(|group| items(entry(group, "rules")));
    let alert = |rule: &Node| {
        let [labels, annotations] = ["labels", "annotations"].map(|key| entry(rule, key).expect("a rule has it"));
        Alert {
            name: at(rule, "alert").to_owned(),
            expr: at(rule, "expr").to_owned(),
            severity: at(labels, "severity").to_owned(),
            description: format!("{} {}", at(annotations, "summary"), at(annotations, "description")),
        }
    };
    rules.map(alert).collect()
}

#[track_caller]
fn succeeds(arguments: &[&str], name: &str) {
    let output = promtool(arguments, &file(name));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "promtool {} {name}: {}", arguments.join(" "), said.concat());
}

#[test]
fn promtool_takes_the_rules_and_the_configuration() {
    succeeds(&["check", "rules"], RULES);
    succeeds(&["check", "config"], "deploy/prometheus/prometheus.yaml");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    succeeds(&["test", "rules"], TESTS);
    // Each alert fires in one of the tests.
    let tests = fs::read_to_string(file(TESTS)).expect("the tests are there");
    for alert in alerts() {
        let fires = format!("alertname=\"{}\", alertstate=\"firing\"", alert.name);
        assert!(tests.contains(&fires), "no test sees {} fire", alert.name);
    }
}

#[test]
fn each_alert_says_what_is_kept_what_is_lost_and_what_to_do() {
    let alerts = alerts();
    assert!(alerts.len() >= 5, "lines dropped, lag, Loki refusing, ring nearly full, plugin gone");
    for Alert { name, severity, description, .. } in alerts {
        for words in ["Kept: ", "Lost", "To do: "] {
            assert!(description.contains(words), "{name} does not say {words:?}: {description}");
        }
        assert!(matches!(severity.as_str(), "critical" | "warning"), "{name} is {severity}");
    }
}

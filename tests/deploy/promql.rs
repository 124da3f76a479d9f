//! Expressions of dashboards and alerts, run in a real Prometheus that scrapes a real plugin.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::alerts::alerts;
use super::boards::{Board, DRIVER, labels_of, put_in, several, text};
use crate::harness::compose::file;
use crate::harness::plugin::Start;
use crate::harness::prometheus::Prometheus;
use crate::harness::status::free_address;
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Standin, client};

/// Words of the language that are no metrics.
const WORDS: [&str; 13] = [
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "unless",
    "without",
];

/// The metrics in an expression: whatever has a name and is no function, no label and no word.
fn metrics(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c == '_' || c == ':' || c.is_ascii_alphanumeric();
    let (mut found, mut rest) = (BTreeSet::new(), expression);
    let mut lists_labels = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => 2 + rest[1..].find('"').expect("a string ends"),
            '{' => 1 + rest.find('}').expect("a matcher ends"),
            '[' => 1 + rest.find(']').expect("a range ends"),
            // What stands behind `by` and its like are labels.
            '(' if lists_labels => 1 + rest.find(')').expect("a list ends"),
            _ if is_name(first) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if is_name(first) {
            let is_word = WORDS.contains(&token.to_ascii_lowercase().as_str());
            let is_call = ["(", "by ", "without "].iter().any(|next| after.trim_start().starts_with(next));
            if !is_word && !is_call && !first.is_ascii_digit() {
                found.insert(token.to_owned());
            }
            lists_labels = matches!(token, "by" | "without" | "on" | "ignoring" | "group_left" | "group_right");
        } else if !first.is_whitespace() {
            lists_labels = false;
        }
        rest = after;
    }
    found
}

#[test]
fn metrics_are_told_from_labels_functions_and_words() {
    for (expression, expected) in [
        ("up", &["up"][..]),
        ("sum by (a) (rate(x_total{b=\"c\"}[5m])) / on (d) group_left () y offset 5m", &["x_total", "y"]),
        ("(a unless a offset 5m) and on (instance) b > 0.5 or vector(0)", &["a", "b"]),
        ("histogram_quantile(0.95, sum without (x) (rate(h_bucket[1m])))", &["h_bucket"]),
        ("count(a{x=\"(b)\"} == 0) * 1000", &["a"]),
    ] {
        assert_eq!(metrics(expression), expected.iter().map(|name| (*name).to_owned()).collect(), "{expression}");
    }
}

/// What a variable of the dashboard asks: the expression, and the label whose values it takes.
fn variables(board: &Board) -> Vec<(String, String)> {
    let queries = board.variables().iter().filter(|variable| variable["type"] == "query");
    let asked = queries.map(|variable| {
        let query = text(&variable["query"]["query"]);
        let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
        let (expression, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect("label_values(…, label)");
        (expression.to_owned(), label.to_owned())
    });
    asked.collect()
}

/// What the plugin serves: the names in the metadata, and what a histogram makes of its own.
fn served(address: &str) -> BTreeSet<String> {
    let url = format!("http://{address}");
    let scrape = client::send(&url, "GET", "/metrics", &[], b"").expect("the plugin serves metrics").text();
    let mut names = BTreeSet::from(["up".to_owned()]);
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        match kind {
            "histogram" => names.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}"))),
            _ => drop(names.insert(name.to_owned())),
        }
    }
    names
}

/// The delivered configuration, with the address of this plugin and short intervals.
pub fn config(address: &str) -> String {
    let config = fs::read_to_string(file("deploy/prometheus/prometheus.yaml")).expect("the configuration is there");
    let rules = file("deploy/prometheus/alerts.yaml");
    let changed = config
        .replace("127.0.0.1:9337\"]", &format!("{address}\"]"))
        .replace("interval: 15s", "interval: 250ms")
        .replace("- alerts.yaml", &format!("- {}", rules.display()));
    assert!(changed.contains(address) && changed.contains("250ms"), "the configuration has changed: {config}");
    changed
}

#[test]
fn everything_that_is_asked_of_prometheus_has_an_answer_on_a_host_with_containers() {
    let address = free_address();
    let scene = Scene::with(Start::default().set("METRICS_ADDR", &address), Standin::builder());
    let containers = ["web", "worker"].map(|name| scene.container(name).start());
    for container in &containers {
        container.out_all(numbered(container.container().name(), 50, 100));
    }
    for container in &containers {
        scene.wait_for_lines(container.container().name(), 50);
    }
    let prometheus = Prometheus::start(&config(&address));
    let driver = Board::read(DRIVER);
    let served = served(&address);
    let alerts = alerts();

    for (whose, expression) in driver
        .queries()
        .iter()
        .map(|query| (query.panel, driver.all(query.expr)))
        .chain(alerts.iter().map(|alert| (alert.name.as_str(), alert.expr.clone())))
        .chain(variables(&driver).iter().map(|(expression, _)| ("a variable", driver.all(expression))))
    {
        let unknown: Vec<_> = metrics(&expression).into_iter().filter(|name| !served.contains(name)).collect();
        assert_eq!(unknown, [""; 0], "{whose} asks for what the plugin does not have: {expression}");
    }
    for query in driver.queries() {
        let expression = driver.all(query.expr);
        let ask = || prometheus.query(&expression).unwrap_or_else(|error| panic!("{}: {error}", query.panel));
        let answers = || {
            // Of a host on which nothing happens there are no latencies.
            containers[0].out("still here");
            ask().iter().any(|sample| sample.value.is_finite())
        };
        assert_eventually!(answers(), "{} shows something: {expression}", query.panel);
        for sample in ask() {
            for label in labels_of(query.legend) {
                let there = sample.labels[label].is_string();
                assert!(there, "{}: the legend names {label}, and a series has {}", query.panel, sample.labels);
            }
        }
    }
    for (expression, label) in variables(&driver) {
        let values = prometheus.query(&driver.all(&expression)).expect("the question is one");
        assert!(values.iter().any(|sample| sample.labels[&label].is_string()), "{label} has no values: {expression}");
    }
    // No alert fires, and each rule was evaluated.
    let tried = |rules: &Value| {
        let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules").clone();
        assert_eq!(rules.len(), alerts.len());
        for rule in &rules {
            assert!(matches!(rule["health"].as_str(), Some("ok" | "unknown")), "{rule}");
            assert_eq!(rule["alerts"].as_array().map(Vec::len), Some(0), "{rule}");
        }
        rules.iter().all(|rule| rule["health"] == "ok")
    };
    assert_eventually!(tried(&prometheus.get("/api/v1/rules")), "all rules were tried");
}

#[test]
fn a_choice_of_hosts_and_containers_is_put_in_as_grafana_does() {
    let address = free_address();
    let scene = Scene::with(Start::default().set("METRICS_ADDR", &address), Standin::builder());
    let containers = ["web.1", "web-1", "other"].map(|name| scene.container(name).start());
    for container in &containers {
        container.out("a line");
        scene.wait_for_lines(container.container().name(), 1);
    }
    let prometheus = Prometheus::start(&config(&address));
    let chosen = [
        ("instance", several(&[&address])),
        ("destination", several(&[&scene.loki.push_url()])),
        ("container", several(&["web.1", "web-1"])),
    ];
    let chosen: Vec<_> = chosen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let driver = Board::read(DRIVER);
    let most = driver.queries().into_iter().find(|query| query.panel == "Unsent lines").expect("there is such a panel");
    let by_container = put_in(most.expr, &chosen).replace("(instance, destination)", "(container_name)");
    let shown = || {
        let samples = prometheus.query(&by_container).unwrap_or_else(|error| panic!("{by_container}: {error}"));
        samples.iter().map(|sample| text(&sample.labels["container_name"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eventually!(shown() == ["web-1", "web.1"], "the two that were chosen are shown: {by_container}");
    for query in driver.queries() {
        let expression = put_in(query.expr, &chosen);
        prometheus.query(&expression).unwrap_or_else(|error| panic!("{}: {error}: {expression}", query.panel));
    }
}

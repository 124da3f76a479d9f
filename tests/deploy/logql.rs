//! Queries of dashboards for Loki: always parsed, and run in a real Loki with lines of the real driver when `LOKI_URL`
//! names it.

use serde_json::Value;

use super::boards::{Board, LOGS, labels_of, put_in, several};
use super::stack;
use crate::harness::assert_eventually;
use crate::harness::dockerd::{Dockerd, now};
use crate::harness::logql;
use crate::harness::plugin::Start;
use crate::loki_contract::target::{Target, parse};

/// Choices of a user: none, and more or less odd values.
fn choices() -> Vec<Vec<(&'static str, String)>> {
    let of = |search: &str, values: &[&str]| {
        let names = ["source", "host", "project", "service", "container", "level"];
        let mut chosen: Vec<_> = names.iter().map(|name| (*name, several(values))).collect();
        chosen.push(("search", search.to_owned()));
        chosen
    };
    vec![of("", &["web"]), of("time.?out|refused", &["web.1", "a+b", "(x)"])]
}

#[test]
fn every_expression_is_one_whatever_is_chosen() {
    let board = Board::read(LOGS);
    assert!(board.queries().len() > 10);
    for query in board.queries() {
        let mut expressions = vec![board.all(query.expr)];
        for choice in choices() {
            let choice: Vec<_> = choice.iter().map(|(name, value)| (*name, value.as_str())).collect();
            expressions.push(put_in(query.expr, &choice));
        }
        for expression in expressions {
            logql::parse(&expression).unwrap_or_else(|error| panic!("{}: {error}: {expression}", query.panel));
        }
    }
}

#[test]
fn every_expression_finds_lines_in_a_real_loki() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        println!("skipped: LOKI_URL names no real Loki");
        return;
    };
    let loki = Target::new(&url, "dashboards");
    let plugin = Start::default().start();
    let dockerd = Dockerd::new(&plugin);
    // One whose pipeline says how bad a line is, and one of which only Loki can tell.
    let [json, plain] = ["json", "plain"].map(|kind| format!("{}-{kind}", loki.run()));
    let container = |name: &str| {
        let container = dockerd.container(name).option("loki-url", &loki.push_url()).option("loki-batch-wait", "20ms");
        let container = container.option("labels", "com.example.run").label("com.example.run", loki.run());
        container.label("com.docker.compose.project", "shop").label("com.docker.compose.service", name)
    };
    let app = container(&json).option("loki-pipeline", "json").start();
    app.out_all(stack::app(100));
    app.out(r#"{"level":"error","msg":"the payment service did not answer"}"#);
    let other = container(&plain).start();
    other.out("level=error msg=\"no answer\"");
    other.err("it is as it is");
    let count = format!("sum(count_over_time({{com_example_run=\"{}\"}}[1h]))", loki.run());
    let has_all = || {
        let answer = parse(&loki.ask("query", &[("query", &count)]));
        answer["data"]["result"][0]["value"][1] == "103"
    };
    assert_eventually!(has_all(), "Loki has all lines");

    let (start, end) = ((loki.now - 60_000_000_000).to_string(), (now() + 1_000_000_000).to_string());
    let board = Board::read(LOGS);
    for chosen in ["error|info", ".*"] {
        let containers = format!("{json}|{plain}");
        let mut values: Vec<(&str, &str)> = ["host", "project", "service"].iter().map(|name| (*name, ".*")).collect();
        values.extend([("source", ".+"), ("search", ""), ("container", containers.as_str()), ("level", chosen)]);
        for query in board.queries() {
            let expression = put_in(query.expr, &values);
            let (path, times) = if query.instant {
                ("query", vec![("time", end.as_str())])
            } else {
                ("query_range", vec![("start", start.as_str()), ("end", end.as_str()), ("step", "15")])
            };
            let reply = loki.ask(path, &[vec![("query", expression.as_str())], times].concat());
            assert_eq!(reply.status, 200, "{}: {expression}: {}", query.panel, reply.text());
            let answer = parse(&reply);
            let series: &Vec<Value> = answer["data"]["result"].as_array().expect("series");
            assert!(!series.is_empty(), "{} shows something: {expression}", query.panel);
            for one in series {
                for label in labels_of(query.legend) {
                    let there = one["metric"][label].as_str().is_some_and(|value| !value.is_empty());
                    assert!(there, "{}: the legend names {label}, and a series has {}", query.panel, one["metric"]);
                }
            }
        }
    }
    // The level of the pipeline counts, or Loki's where the pipeline sets none.
    let by_level =
        board.queries().into_iter().find(|query| query.panel == "Lines by level").expect("there is such a panel");
    for (container, expected) in [(&json, &["debug", "error", "info"][..]), (&plain, &["error", "unknown"])] {
        let values = [
            ("source", ".+"),
            ("host", ".*"),
            ("project", ".*"),
            ("service", ".*"),
            ("search", ""),
            ("level", ".*"),
            ("container", container.as_str()),
        ];
        let expression = put_in(by_level.expr, &values);
        let answer = parse(&loki.ask("query_range", &[("query", &expression), ("start", &start), ("end", &end)]));
        let series = answer["data"]["result"].as_array().expect("series").iter();
        let levels: Vec<_> = series.filter_map(|one| one["metric"]["level"].as_str()).collect();
        for level in expected {
            assert!(levels.contains(level), "{container} has lines of {levels:?}, and no {level}");
        }
    }
}

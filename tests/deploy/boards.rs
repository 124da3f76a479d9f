//! Dashboards as Grafana reads them: panels, their queries, and variables with values.

use std::fs;

use serde_json::Value;

use crate::harness::compose::file;

pub const DRIVER: &str = "deploy/grafana/dashboards/driver.json";
pub const LOGS: &str = "deploy/grafana/dashboards/logs.json";

/// A dashboard.
pub struct Board {
    pub name: &'static str,
    pub json: Value,
}

/// A query of a panel, as it stands in the file.
#[derive(Debug)]
pub struct Query<'a> {
    pub panel: &'a str,
    pub expr: &'a str,
    /// One value for each series, and no course of time.
    pub instant: bool,
    /// What series are called, with the labels that are put in.
    pub legend: &'a str,
}

/// What is put in for variables: by name, then the values.
pub type Values<'a> = &'a [(&'a str, &'a str)];

impl Board {
    pub fn read(name: &'static str) -> Self {
        let text = fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, json }
    }

    pub fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().expect("panels are a list")
    }

    pub fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().expect("variables are a list")
    }

    pub fn queries(&self) -> Vec<Query<'_>> {
        let panels = self.panels().iter().filter(|panel| panel["type"] != "row");
        let queries = panels.flat_map(|panel| {
            let targets = panel["targets"].as_array().expect("each panel asks something").iter();
            targets.map(|target| Query {
                panel: panel["title"].as_str().unwrap_or_default(),
                expr: target["expr"].as_str().expect("a query is an expression"),
                instant: target["instant"] == true || target["queryType"] == "instant",
                legend: target["legendFormat"].as_str().unwrap_or_default(),
            })
        });
        queries.collect()
    }

    /// An expression with all variables at `All`.
    pub fn all(&self, expression: &str) -> String {
        let all: Vec<(&str, &str)> = self
            .variables()
            .iter()
            .map(|variable| (text(&variable["name"]), variable["allValue"].as_str().unwrap_or_default()))
            .collect();
        put_in(expression, &all)
    }
}

/// An expression with its variables put in, and Grafana's own as it puts them in on an hour.
pub fn put_in(expression: &str, values: Values<'_>) -> String {
    let mut expression = expression.to_owned();
    for (name, value) in [("__rate_interval", "1m"), ("__range", "1h"), ("__auto", "15s")].iter().chain(values) {
        expression = expression.replace(&format!("${name}"), value);
    }
    assert!(!expression.contains('$'), "a variable was left over: {expression}");
    expression
}

/// Several values of a variable, none with a backslash, as they are put into a regular expression in double quotes.
pub fn several(values: &[&str]) -> String {
    let escaped = values.iter().map(|value| {
        let special = |c: char| "^$*+?.()|[]{}".contains(c);
        value.chars().map(|c| if special(c) { format!(r"\\{c}") } else { c.to_string() }).collect::<String>()
    });
    format!("({})", escaped.collect::<Vec<_>>().join("|"))
}

/// The names in `{{…}}` of a legend.
pub fn labels_of(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(name, _)| name.trim()).collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

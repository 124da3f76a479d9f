//! Queries of a page: each is parsed, and put to a real Loki where there is one.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::page::Query;
use crate::harness::dockerd::{Container, now};
use crate::harness::{assert_eventually, assert_same, logql};
use crate::standin::client::{self, percent_encode};

/// The label that tells the lines of one run from those of all others in a real Loki.
pub const RUN: &str = "recipe_run";

const SECOND: i64 = 1_000_000_000;

static SELECTOR: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{(\w+\s*(?:=|!))").expect("it is one"));

/// Whom queries are put to.
pub struct Asked {
    loki: Option<String>,
    run: String,
}

// === impl Asked ===

impl Asked {
    pub fn new(page: &str, with_tenants: bool) -> Self {
        let variable = if with_tenants { "LOKI_URL_TENANTS" } else { "LOKI_URL" };
        let loki = std::env::var(variable).ok().map(|url| url.trim_end_matches('/').to_owned());
        if loki.is_none() {
            println!("{page}: its queries are parsed and not run, as {variable} names no real Loki");
        }
        Self { loki, run: format!("{page}-{}", now()) }
    }

    /// A container that logs to the real Loki too, if there is one.
    pub fn direct(&self, container: Container, standin: &str) -> Container {
        let Some(loki) = &self.loki else { return container };
        let labels = format!("container_name={{{{.Name}}}},{RUN}={}", self.run);
        container.option("loki-url", &format!("{standin},{loki}")).option("loki-external-labels", &labels)
    }

    /// Puts queries, a moment after the last line was printed.
    pub fn ask(&self, queries: &[Query], last: i64) {
        for Query { tenant, expression, result } in queries {
            logql::parse(expression).unwrap_or_else(|error| panic!("{expression}\n{error}"));
            assert!(!result.is_empty(), "{expression}\nwhat it gives stands behind it");
            let Some(loki) = &self.loki else { continue };
            let of_this_run = format!("{{{RUN}=\"{}\", $1", self.run);
            let query = SELECTOR.replace_all(expression, of_this_run.as_str()).into_owned();
            let answer = || ask(loki, tenant.as_deref(), &query, last + SECOND);
            let mut found = answer();
            let expected = expected(result);
            if found != expected {
                // A real Loki may take a moment to show what it has taken.
                assert_eventually!(
                    {
                        found = answer();
                        found == expected || found.len() >= expected.len()
                    },
                    "{query} gives {expected:?}"
                );
            }
            println!("{query}\n{found:#?}");
            assert_same(&found, &expected);
        }
    }
}

/// What is to be found, in the words of [`ask`].
fn expected(result: &[String]) -> Vec<String> {
    let series = |line: &String| match line.parse::<f64>() {
        Ok(number) => format!("{{}} {number}"),
        Err(_) => line.clone(),
    };
    let lines = |line: &str| line.strip_suffix(" lines").or(line.strip_suffix(" line"))?.parse::<usize>().ok();
    match result {
        [one] if lines(one).is_some() => vec!["a line".to_owned(); lines(one).unwrap_or_default()],
        result => result.iter().map(series).collect(),
    }
}

/// Series with their values, in order; or lines, as they are where the query has formatted them.
fn ask(loki: &str, tenant: Option<&str>, query: &str, at: i64) -> Vec<String> {
    let of_lines = query.starts_with('{');
    let (path, times) = match of_lines {
        true => ("query_range", format!("start={}&end={}&limit=5000&direction=forward", at - 3600 * SECOND, at)),
        false => ("query", format!("time={at}")),
    };
    let path = format!("/loki/api/v1/{path}?query={}&{times}", percent_encode(query));
    let headers: Vec<(&str, &str)> = tenant.map(|tenant| ("X-Scope-OrgID", tenant)).into_iter().collect();
    let reply = client::send(loki, "GET", &path, &headers, b"").unwrap_or_else(|error| panic!("{loki}: {error}"));
    assert_eq!(reply.status, 200, "{query}\n{}", reply.text());
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}\n{answer}"));
    if of_lines {
        let entries = result.iter().flat_map(|stream| stream["values"].as_array().into_iter().flatten());
        let mut entries: Vec<(&str, &str)> =
            entries.filter_map(|it| Some((it[0].as_str()?, it[1].as_str()?))).collect();
        entries.sort_unstable();
        let formatted = query.contains("line_format");
        let line = |(_, line): (&str, &str)| if formatted { line.to_owned() } else { "a line".to_owned() };
        return entries.into_iter().map(line).collect();
    }
    let series = |series: &Value| {
        let labels = series["metric"].as_object().into_iter().flatten();
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let value: f64 = series["value"][1].as_str().and_then(|it| it.parse().ok()).expect("a number");
        format!("{{{}}} {value}", labels.join(", "))
    };
    let mut found: Vec<String> = result.iter().map(series).collect();
    found.sort();
    found
}

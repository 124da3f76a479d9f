//! What can be asked.

use super::target::{SECOND, Target, answers, answers_with, parse};
use crate::standin::client::{entry, percent_encode, stream};
use serde_json::json;

/// Ten lines in two streams, at whole seconds and the nanoseconds behind them.
fn prepare(loki: &Target) -> i64 {
    let start = loki.now / SECOND * SECOND;
    let lines = |text: &str| (0..5).map(|n| entry(start + n, format!("{text} {n}"))).collect();
    let labels = |name, app| loki.labels_and(name, &format!("app=\"{app}\""));
    let streams = vec![stream(labels("a", "web"), lines("line")), stream(labels("b", "db"), lines("other"))];
    answers(&loki.push(streams), 204, "");
    start
}

fn found(loki: &Target, query: &str, more: &[(&str, &str)]) -> Vec<String> {
    let streams = loki.streams(query, more).into_iter();
    streams.flat_map(|(_, lines)| lines).map(|shown| shown.line).collect()
}

pub fn direction_and_limit(loki: &Target) {
    prepare(loki);
    let query = loki.labels("a");
    let lines = |more: &[(&str, &str)]| found(loki, &query, more);
    assert_eq!(lines(&[("limit", "2")]), ["line 0", "line 1"]);
    assert_eq!(lines(&[("limit", "2"), ("direction", "backward")]), ["line 4", "line 3"]);
    assert_eq!(lines(&[("limit", "2"), ("direction", "BACKWARD")]), ["line 4", "line 3"]);
    // The limit is for all streams together.
    assert_eq!(found(loki, &loki.everything(), &[("limit", "7")]).len(), 7);
    // Backward, and a hundred lines, by default.
    let answer = parse(&loki.ask("query_range", &[("query", &query)]));
    assert_eq!(answer["data"]["result"][0]["values"][0][1], "line 4");
}

/// The start is in, the end is out; seconds, nanoseconds and RFC 3339 are understood.
pub fn start_and_end(loki: &Target) {
    let second = prepare(loki);
    let query = loki.labels("a");
    let lines = |start: &str, end: &str| found(loki, &query, &[("start", start), ("end", end)]);
    let ns = |offset: i64| (second + offset).to_string();
    assert_eq!(lines(&ns(1), &ns(4)), ["line 1", "line 2", "line 3"]);
    assert_eq!(lines(&ns(5), &ns(9)).len(), 0);
    assert_eq!(lines(&ns(0), &ns(0)).len(), 0);
    let (start, end) = (second / SECOND, second / SECOND + 1);
    assert_eq!(lines(&start.to_string(), &end.to_string()).len(), 5);
    assert_eq!(lines(&format!("{start}.0"), &end.to_string()).len(), 5);
    assert_eq!(lines("2026-01-02T03:04:05Z", "2026-01-02T04:04:05Z").len(), 0);
}

pub fn filters(loki: &Target) {
    prepare(loki);
    let run = loki.run();
    let table = [
        ("", 10),
        (",app=~\"web|db\"", 10),
        (",app=~\"w\"", 0),
        (",app=~\"w.*\"", 5),
        (",app!=\"web\"", 5),
        (",app!~\"w.+\"", 5),
        (",zone=\"\"", 10),
        (",zone!=\"\"", 0),
    ];
    for (more, count) in table {
        let query = format!("{{run=\"{run}\"{more}}}");
        assert_eq!(found(loki, &query, &[]).len(), count, "{query}");
    }
    let table = [("|= \"3\"", 2), ("|= `3` |= \"other\"", 1), ("!= \"3\"", 8), ("|~ \"[34]\"", 4), ("!~ \"^line\"", 5)];
    for (filter, count) in table {
        let query = format!("{} {filter}", loki.everything());
        assert_eq!(found(loki, &query, &[]).len(), count, "{query}");
    }
}

pub fn labels_values_series_and_counts(loki: &Target) {
    prepare(loki);
    let all = loki.everything();
    let data = |path: &str, parameters: &[(&str, &str)]| {
        let answer = parse(&loki.ask(path, parameters));
        assert_eq!(answer["status"], "success");
        answer["data"].clone()
    };
    let names = data("labels", &[("query", &all)]);
    assert_eq!(names, json!(["app", "name", "run", "service_name"]));
    assert_eq!(data("label/app/values", &[("query", &all)]), json!(["db", "web"]));
    assert_eq!(data("label/nonesuch/values", &[]), json!(null));
    let all_names = data("labels", &[]);
    assert!(all_names.as_array().is_some_and(|names| names.contains(&json!("app"))));
    let mut series = data("series", &[("match[]", &all)]);
    if let Some(series) = series.as_array_mut() {
        series.sort_by_key(|labels| labels["app"].to_string());
    }
    let one = |name, app| json!({"run": loki.run(), "name": name, "app": app, "service_name": app});
    assert_eq!(series, json!([one("b", "db"), one("a", "web")]));
    assert_eq!(data("series", &[("match[]", "{run=\"nonesuch\"}")]), json!([]));
    assert_eq!(loki.count(), 10);
    let count = format!("count_over_time({all} |= \"3\" [5m])");
    let counts = data("query", &[("query", &count)]);
    assert_eq!(counts["resultType"], "vector");
    assert_eq!(counts["result"].as_array().map(Vec::len), Some(2));
    assert_eq!(counts["result"][0]["value"][1], "1");
    assert_eq!(counts["result"][0]["metric"]["detected_level"], "unknown");
    // A form in the body does as well.
    let form = format!("query={}", percent_encode(&all));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = loki.send("POST", "/loki/api/v1/query_range", &headers, form.as_bytes());
    assert_eq!(parse(&reply)["data"]["result"].as_array().map(Vec::len), Some(2));
}

pub fn bad_questions(loki: &Target) {
    let all = loki.everything();
    let range = |parameters: &[(&str, &str)]| loki.ask("query_range", parameters);
    for query in ["", "foo", "{a=\"b\"", "{a=\"b\",}", "{a='b'}", "{a=~\"[\"}"] {
        answers_with(&range(&[("query", query)]), 400, "parse error");
    }
    for query in ["{}", "{a=~\".*\"}"] {
        answers_with(&range(&[("query", query)]), 400, "at least one regexp or equality matcher");
    }
    let with = |name, value| range(&[("query", &all), (name, value)]);
    answers(&with("direction", "sideways"), 400, "invalid direction 'sideways'");
    answers(&with("limit", "0"), 400, "limit must be a positive value");
    assert_eq!(with("limit", "x").status, 400);
    answers(
        &with("limit", "5001"),
        400,
        "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)",
    );
    answers_with(&with("start", "x"), 400, "could not parse 'start' parameter");
    let reply = range(&[("query", &all), ("start", "20"), ("end", "10")]);
    answers(&reply, 400, "end timestamp must not be before or equal to start time");
    answers_with(&loki.ask("query", &[("query", &all)]), 400, "log queries are not supported");
    answers_with(&loki.ask("query", &[("query", "sum(x)")]), 400, "parse error");
}

pub fn other_methods_and_paths(loki: &Target) {
    answers(&loki.send("GET", "/ready", &[], b""), 200, "ready");
    answers(&loki.send("POST", "/ready", &[], b""), 405, "");
    // A real Loki decides between the two when it starts, and not always in the same way.
    let status = loki.send("GET", "/loki/api/v1/push", &[], b"").status;
    assert!([404, 405].contains(&status), "{status}");
    answers(&loki.send("PUT", "/loki/api/v1/push", &[], b""), 405, "");
    for path in ["/", "/nonesuch", "/loki/api/v1/push/"] {
        answers(&loki.send("POST", path, &[], b""), 404, "404 page not found");
    }
}

//! Scenes under limits that are not the default: each with the way to start its stand-in.
//!
//! A real Loki for one of them needs this in its configuration; the number of a limit in the scene
//! is the same.
//!
//! ```text
//! stream_rate          limits_config: per_stream_rate_limit: 10KB
//!                                     per_stream_rate_limit_burst: 20KB
//! stream_rate_by_line  the same with 1KB, and shard_streams: {enabled: false}
//! stream_limit         limits_config: max_global_streams_per_user: 2
//! tenant_rate          limits_config: ingestion_rate_mb: 0.01, ingestion_burst_size_mb: 0.1
//! no_metadata          limits_config: allow_structured_metadata: false
//! no_discovery         limits_config: discover_service_name: [], discover_log_levels: false
//! blocked              limits_config: block_ingestion_until: "2100-01-01T00:00:00Z"
//! tenants              auth_enabled: true
//! ```

use super::target::{MINUTE, Target, answers, answers_with};
use crate::standin::client::{entry, stream, with_metadata};
use crate::standin::{Builder, Limits};
use std::time::{Duration, SystemTime};

const TOO_FAST: &str = "Per stream rate limit exceeded (limit: 10KB/sec) while attempting to ingest";

fn with(builder: Builder, change: impl FnOnce(&mut Limits)) -> Builder {
    let mut limits = Limits::default();
    change(&mut limits);
    builder.limits(limits)
}

pub fn slow_streams(builder: Builder) -> Builder {
    with(builder, |limits| {
        limits.per_stream_rate_limit = 10 << 10;
        limits.per_stream_rate_limit_burst = 20 << 10;
    })
}

/// A stream over its rate loses its whole share, reported only if it is the last of the request.
pub fn stream_rate(loki: &Target) {
    let fine = |line: &'static str| loki.stream("b", vec![entry(loki.now, line)]);
    let flood = || {
        let lines = (0..3).map(|number| entry(loki.now + number, "x".repeat(10_000)));
        loki.stream("a", lines.collect())
    };
    answers(&loki.push(vec![flood(), fine("b1")]), 204, "");
    assert!(loki.lines("a").is_empty(), "lost behind a 204");
    let reply = loki.push(vec![fine("b2"), flood()]);
    answers_with(&reply, 429, TOO_FAST);
    answers_with(&reply, 429, "' totaling 10000B, consider splitting a stream via additional labels");
    answers_with(&reply, 429, "\nuser 'fake', total ignored: 3 out of 3 for stream: {name=\"a\"");
    assert!(loki.lines("a").is_empty());
    assert_eq!(loki.lines("b"), ["b1", "b2"]);
    // What was refused took nothing of the rate.
    let fits = loki.stream("a", vec![entry(loki.now, "x".repeat(20_000))]);
    answers(&loki.push(vec![fits]), 204, "");
}

pub fn slow_unsharded_streams(builder: Builder) -> Builder {
    with(builder, |limits| {
        limits.per_stream_rate_limit = 1 << 10;
        limits.per_stream_rate_limit_burst = 20 << 10;
        limits.shard_streams = false;
    })
}

/// Without sharding those lines are lost that do not fit, and a late line's 400 hides their 429.
pub fn stream_rate_by_line(loki: &Target) {
    let flood = || -> Vec<_> { (0..3).map(|number| entry(loki.now + number, "x".repeat(9_000))).collect() };
    let reply = loki.push(vec![loki.stream("a", flood())]);
    answers_with(&reply, 429, "(limit: 1KB/sec) while attempting");
    answers_with(&reply, 429, "total ignored: 1 out of 3");
    assert_eq!(loki.lines("a").len(), 2);
    let mut lines: Vec<_> = flood();
    for line in &mut lines {
        line.line = "y".repeat(9_000).into();
    }
    lines.push(entry(loki.now - 61 * MINUTE, "late"));
    lines.push(entry(loki.now + 9, "fits"));
    let reply = loki.push(vec![loki.stream("a", lines)]);
    answers_with(&reply, 400, "(limit: 1KB/sec) while attempting");
    answers_with(&reply, 400, "total ignored: 4 out of 5");
    assert_eq!(loki.lines("a").len(), 3);
}

pub fn few_streams(builder: Builder) -> Builder {
    with(builder, |limits| limits.max_global_streams_per_user = 2)
}

/// A stream beyond the limit is rejected, reported only if it is the last of the request.
pub fn stream_limit(loki: &Target) {
    let line = |name: &str, line: &str| loki.lines_now(name, &[line]);
    answers(&loki.push(vec![line("a", "a1"), line("b", "b1")]), 204, "");
    answers(&loki.push(vec![line("c", "c1"), line("a", "a2")]), 204, "");
    assert!(loki.lines("c").is_empty(), "lost behind a 204");
    let reply = loki.push(vec![line("a", "a3"), line("c", "c2")]);
    answers_with(&reply, 429, "maximum active stream limit exceeded when trying to create stream {name=\"c\"");
    answers_with(&reply, 429, "can be increased, user: 'fake'");
    assert_eq!(loki.lines("a"), ["a1", "a2", "a3"]);
    assert!(loki.lines("c").is_empty());
}

pub fn slow_tenants(builder: Builder) -> Builder {
    with(builder, |limits| {
        limits.ingestion_rate = 0.01 * 1_048_576.0;
        limits.ingestion_burst_size = 104_857;
    })
}

/// The request passes or fails as a whole, which is reported before faults of single lines; it passes later.
pub fn tenant_rate(loki: &Target) {
    let line = |name: &str, size: usize| loki.stream(name, vec![entry(loki.now, "x".repeat(size))]);
    answers(&loki.push_once(vec![line("a", 90_000)]), 204, "");
    let old = loki.stream("old", vec![entry(0, "x")]);
    let reply = loki.push_once(vec![old, line("b", 30_000), line("c", 30_000)]);
    answers_with(&reply, 429, "ingestion rate limit exceeded for user fake (limit: 10485 bytes/sec)");
    answers_with(&reply, 429, "to ingest '2' lines totaling '60000' bytes");
    assert!(loki.lines("b").is_empty() && loki.lines("c").is_empty());
    answers(&loki.push(vec![line("b", 30_000), line("c", 30_000)]), 204, "");
}

pub fn without_metadata(builder: Builder) -> Builder {
    with(builder, |limits| limits.allow_structured_metadata = false)
}

pub fn no_metadata(loki: &Target) {
    let with = with_metadata(entry(loki.now, "with"), &[("", "x")]);
    let reply = loki.push(vec![loki.stream("a", vec![with, entry(loki.now, "without")])]);
    answers_with(&reply, 400, "' includes structured metadata, but this feature is disallowed.");
    assert_eq!(loki.lines("a"), ["without"]);
}

pub fn without_discovery(builder: Builder) -> Builder {
    with(builder, |limits| {
        limits.discover_service_name = false;
        limits.discover_log_levels = false;
    })
}

/// Without a service's name a stream without labels is refused.
pub fn no_discovery(loki: &Target) {
    for labels in ["{}", "", "{a=\"\"}"] {
        let reply = loki.push(vec![stream(labels, vec![entry(loki.now, "x")])]);
        answers(&reply, 400, "error at least one label pair is required per stream");
    }
    answers(&loki.push(vec![loki.lines_now("a", &["error"])]), 204, "");
    let streams = loki.streams(&loki.everything(), &[]);
    assert_eq!(streams[0].0, serde_json::json!({"run": loki.run(), "name": "a"}));
    assert!(streams[0].1[0].metadata.is_null());
}

pub fn with_ingestion_blocked(builder: Builder) -> Builder {
    let day = Duration::from_secs(24 * 3600);
    with(builder, |limits| limits.block_ingestion_until = Some(SystemTime::now() + day))
}

/// 260 is a success by its number, and stores nothing.
pub fn blocked(loki: &Target) {
    let reply = loki.push(vec![loki.lines_now("a", &["x"])]);
    answers_with(&reply, 260, "ingestion blocked for user 'fake' until '2");
    answers_with(&reply, 260, "Z' with status code '260'");
    let labels: Vec<String> = (0..16).map(|number| format!("l{number}=\"x\"")).collect();
    let crowd = stream(format!("{{{}}}", labels.join(",")), vec![entry(loki.now, "x")]);
    answers_with(&loki.push(vec![crowd]), 400, "' has 16 label names");
    answers_with(&loki.push(vec![stream("{a-b=\"c\"}", vec![])]), 400, "couldn't parse labels");
    assert_eq!(loki.push(vec![]).status, 422);
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
}

pub fn with_tenants(builder: Builder) -> Builder {
    builder.auth(true)
}

/// A tenant must be named, and sees only what is its own.
pub fn tenants(loki: &Target) {
    let push = |tenant: &str| {
        let header = [("X-Scope-OrgID", tenant)];
        let headers = if tenant.is_empty() { &[][..] } else { &header[..] };
        loki.push_with(headers, vec![loki.lines_now("a", &["x"])])
    };
    answers(&push(""), 401, "no org id");
    answers(&push("a|b"), 400, "multiple org IDs present");
    answers(&push("a b"), 400, "tenant ID 'a b' contains unsupported character ' '");
    answers(&push(".."), 400, "tenant ID is '.' or '..'");
    answers(&push(&"x".repeat(151)), 400, "tenant ID is too long: max 150 characters");
    for good in ["one", "a|a", "!-_.*'()", "..."] {
        answers(&push(good), 204, "");
    }
    let all = loki.everything();
    let streams = |tenant| {
        let headers = [("X-Scope-OrgID", tenant)];
        let reply = loki.ask_with(&headers, "query_range", &[("query", &all)]);
        super::target::parse(&reply)["data"]["result"].as_array().map(Vec::len)
    };
    assert_eq!(streams("one"), Some(1));
    assert_eq!(streams("two"), Some(0));
    answers(&loki.ask("query_range", &[("query", &all)]), 401, "no org id");
    assert_eq!(loki.send("GET", "/ready", &[], b"").status, 200);
    assert_eq!(loki.send("POST", "/loki/api/v1/push", &[], b"").status, 401);
}

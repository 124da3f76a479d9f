//! What is lost, doubled or hidden behind a 204.

use super::target::{HOUR, MINUTE, Target, answers, answers_with};
use crate::standin::client::entry;

/// The answer tells of the last stream only: the same loss is a 204 or a 400.
pub fn a_late_line_is_hidden_by_a_later_stream(loki: &Target) {
    answers(&loki.push(vec![loki.lines_now("a", &["a0"]), loki.lines_now("b", &["b0"])]), 204, "");
    let late = loki.stream("a", vec![entry(loki.now - 61 * MINUTE, "late")]);
    let fine = |line: &'static str| loki.stream("b", vec![entry(loki.now + 10, line)]);
    answers(&loki.push(vec![late.clone(), fine("b1")]), 204, "");
    assert_eq!(loki.lines("a"), ["a0"], "lost behind a 204");
    let reply = loki.push(vec![fine("b2"), late]);
    let text = reply.text();
    assert_eq!(reply.status, 400, "{text}");
    assert!(text.starts_with("entry with timestamp 2"), "{text}");
    assert!(text.contains(" ignored, reason: 'entry too far behind, entry timestamp is: 2"), "{text}");
    assert!(text.contains("\nuser 'fake', total ignored: 1 out of 1 for stream: {name=\"a\", run="), "{text}");
    assert_eq!(loki.lines("a"), ["a0"]);
    assert_eq!(loki.lines("b"), ["b0", "b1", "b2"]);
    // Lines beside a late one stay.
    let lines = vec![
        entry(loki.now - 61 * MINUTE, "late"),
        entry(loki.now + 1, "a1"),
        entry(loki.now - 62 * MINUTE, "later"),
        entry(loki.now - 59 * MINUTE, "in time"),
    ];
    let reply = loki.push(vec![loki.stream("a", lines)]);
    answers_with(&reply, 400, "user 'fake', total ignored: 2 out of 4 for stream:");
    assert_eq!(loki.lines("a"), ["in time", "a0", "a1"]);
    // Ten of them are named at most.
    let lines = (0..12).map(|minute| entry(loki.now - (61 + minute) * MINUTE, "late"));
    let reply = loki.push(vec![loki.stream("a", lines.collect())]);
    answers_with(&reply, 400, "total ignored: 12 out of 12 for stream:");
    assert_eq!(reply.text().matches("ignored, reason:").count(), 10);
}

/// An hour behind the newest line passes, a nanosecond more does not.
pub fn an_hour_exactly(loki: &Target) {
    let push = |ns, line| loki.push(vec![loki.stream("a", vec![entry(ns, line)])]);
    answers(&push(loki.now, "new"), 204, "");
    answers(&push(loki.now - HOUR, "edge"), 204, "");
    answers_with(&push(loki.now - HOUR - 1, "over"), 400, "entry too far behind");
    // A stream that was never written to has no newest line, so old lines pass in order.
    let lines = vec![entry(loki.now - 100 * MINUTE, "1"), entry(loki.now - 90 * MINUTE, "2"), entry(loki.now, "3")];
    answers(&loki.push(vec![loki.stream("b", lines)]), 204, "");
    assert_eq!(loki.lines("b"), ["1", "2", "3"]);
}

/// Even a line that is stored is refused if it is sent again too late.
pub fn a_retry_of_what_has_become_late(loki: &Target) {
    let old = || vec![loki.stream("a", vec![entry(loki.now - 90 * MINUTE, "old")])];
    answers(&loki.push(old()), 204, "");
    answers(&loki.push(vec![loki.lines_now("a", &["new"])]), 204, "");
    answers_with(&loki.push(old()), 400, "entry too far behind");
    assert_eq!(loki.lines("a"), ["old", "new"]);
}

/// A small retry leaves no trace.
pub fn an_identical_retry(loki: &Target) {
    let names: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    let lines: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..3 {
        answers(&loki.push(vec![loki.lines_now("a", &lines)]), 204, "");
    }
    assert_eq!(loki.lines("a"), lines);
    assert_eq!(loki.count(), 100);
}

/// Once 256 KiB are full, what is in them is stored again: a count sees it twice, although a query
/// for the lines shows each once.
pub fn an_identical_retry_beyond_the_head_block(loki: &Target) {
    // 8 bytes a line are the level that Loki adds: 512 lines fill the block, 511 do not.
    let line = |number: i64| entry(loki.now + number, format!("{number:03}{}", "x".repeat(501)));
    let push = |name: &str, count: i64| loki.push(vec![loki.stream(name, (0..count).map(line).collect())]);
    for _ in 0..2 {
        answers(&push("a", 511), 204, "");
    }
    assert_eq!(loki.count(), 511);
    for _ in 0..2 {
        answers(&push("b", 512), 204, "");
    }
    assert_eq!(loki.count(), 511 + 2 * 512);
    assert_eq!(loki.lines("b").len(), 512);
}

/// Equal lines at one time are one line; different ones keep their order, or reverse it.
pub fn equal_lines_in_one_nanosecond(loki: &Target) {
    let lines = ["x", "x", "y", "x", "z"].map(|line| entry(loki.now, line));
    answers(&loki.push(vec![loki.stream("a", lines.to_vec())]), 204, "");
    assert_eq!(loki.lines("a"), ["x", "y", "z"]);
    let backward = loki.streams(&loki.labels("a"), &[("direction", "backward")]);
    let lines: Vec<&str> = backward[0].1.iter().map(|shown| shown.line.as_str()).collect();
    assert_eq!(lines, ["z", "y", "x"]);
    assert_eq!(loki.count(), 3);
}

//! What is refused for going over a limit, and what happens to the rest of the request.

use super::target::{DAY, MINUTE, Target, answers, answers_with};
use crate::standin::client::{entry, stream, with_metadata};

/// Fifteen, and `service_name` is not one of them.
pub fn too_many_labels(loki: &Target) {
    let crowd = |name: &str, count: usize| {
        let more: Vec<String> = (2..count).map(|number| format!("l{number}=\"x\"")).collect();
        loki.labels_and(name, &more.join(","))
    };
    let line = || vec![entry(loki.now, "x")];
    answers(&loki.push(vec![stream(crowd("15", 15), line())]), 204, "");
    let with_service = crowd("own", 15).replace('}', ",service_name=\"s\"}");
    answers(&loki.push(vec![stream(with_service, line())]), 204, "");
    let bad = stream(crowd("16", 16), line());
    let reply = loki.push(vec![bad, loki.lines_now("good", &["good"])]);
    answers_with(&reply, 400, "' has 16 label names; limit 15");
    assert!(reply.text().starts_with("entry for stream '{l10=\"x\", "), "{}", reply.text());
    assert_eq!(loki.lines("15").len() + loki.lines("own").len(), 2);
    assert_eq!(loki.lines("good"), ["good"]);
    assert!(loki.lines("16").is_empty());
}

/// 1024 bytes of a name and 2048 of a value pass.
pub fn too_long_labels(loki: &Target) {
    let labels = |name: &str, key: usize, value: usize| {
        loki.labels_and(name, &format!("{}=\"{}\"", "k".repeat(key), "v".repeat(value)))
    };
    let push = |labels: String| {
        let bad = stream(labels, vec![entry(loki.now, "x")]);
        loki.push(vec![bad, loki.lines_now("good", &["good"])])
    };
    answers(&push(labels("a", 1024, 1)), 204, "");
    answers(&push(labels("b", 1, 2048)), 204, "");
    let (key, value) = ("k".repeat(1025), "v".repeat(2049));
    answers_with(&push(labels("c", 1025, 1)), 400, &format!("' has label name too long: '{key}'"));
    answers_with(&push(labels("d", 1, 2049)), 400, &format!("' has label value too long: '{value}'"));
    // Bytes count, not characters.
    let wide = loki.labels_and("e", &format!("k=\"{}\"", "é".repeat(1025)));
    answers_with(&push(wide), 400, "' has label value too long: '");
    assert_eq!(loki.lines("a").len() + loki.lines("b").len() + loki.lines("good").len(), 3);
    assert!(["c", "d", "e"].iter().all(|name| loki.lines(name).is_empty()));
}

/// 256 KiB pass, a byte more does not; the other lines of the stream stay.
pub fn too_long_lines(loki: &Target) {
    let lines = vec![
        entry(loki.now, "a".repeat(262_144)),
        entry(loki.now + 1, "b".repeat(262_145)),
        entry(loki.now + 2, "short"),
    ];
    let reply = loki.push(vec![loki.stream("a", lines)]);
    answers_with(&reply, 400, "max entry size '262144' bytes exceeded for stream '{name=\"a\", run=");
    answers_with(&reply, 400, "' while adding an entry with length '262145' bytes");
    let lengths: Vec<usize> = loki.lines("a").iter().map(String::len).collect();
    assert_eq!(lengths, [262_144, 5]);
}

/// A week ago and ten minutes ahead.
pub fn too_old_and_too_new(loki: &Target) {
    let old = |age: i64| vec![loki.stream("old", vec![entry(loki.now - age, "x")])];
    answers(&loki.push(old(7 * DAY - MINUTE)), 204, "");
    let reply = loki.push(old(7 * DAY + MINUTE));
    answers_with(&reply, 400, "entry for stream '{name=\"old\", run=");
    answers_with(&reply, 400, "has timestamp too old: ");
    answers_with(&reply, 400, "Z, oldest acceptable timestamp is: 2");
    answers(&loki.push(vec![loki.stream("new", vec![entry(loki.now + 9 * MINUTE, "x")])]), 204, "");
    let lines = vec![entry(loki.now + 11 * MINUTE, "x"), entry(loki.now + MINUTE, "kept")];
    let reply = loki.push(vec![loki.stream("newer", lines), loki.lines_now("good", &["good"])]);
    answers_with(&reply, 400, "has timestamp too new: 2");
    assert_eq!(loki.lines("newer"), ["kept"]);
    assert_eq!(loki.lines("good"), ["good"]);
    // No time at all is the year 1, and not now.
    let mut line = entry(0, "x");
    line.timestamp = None;
    let reply = loki.push(vec![loki.stream("none", vec![line])]);
    answers_with(&reply, 400, "has timestamp too old: 0001-01-01T00:00:00Z, ");
    let reply = loki.push(vec![loki.stream("zero", vec![entry(0, "x")])]);
    answers_with(&reply, 400, "has timestamp too old: 1970-01-01T00:00:00Z, ");
}

/// 64 KiB of names and values, and 128 pairs; the line's other faults are reported first.
pub fn metadata_over_its_limits(loki: &Target) {
    let push = |line: &str, pairs: &[(&str, &str)]| {
        let bad = with_metadata(entry(loki.now, line.to_owned()), pairs);
        loki.push(vec![loki.stream("a", vec![bad, entry(loki.now + 1, "kept")])])
    };
    let (fits, large) = ("v".repeat(65_535), "v".repeat(65_536));
    let names: Vec<String> = (0..129).map(|number| format!("m{number}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    answers(&push("fits", &[("m", &fits)]), 204, "");
    answers(&push("many", &pairs[..128]), 204, "");
    let reply = push("large", &[("m", &large)]);
    answers_with(&reply, 400, "' has structured metadata too large: '65537' bytes, limit: '65536' bytes.");
    let reply = push("crowd", &pairs);
    answers_with(&reply, 400, "' has too many structured metadata labels: '129', limit: '128'.");
    let reply = push(&"x".repeat(262_145), &pairs);
    answers_with(&reply, 400, "max entry size '262144' bytes exceeded");
    let mut lines = loki.lines("a");
    lines.sort();
    assert_eq!(lines, ["fits", "kept", "many"]);
}

/// Equal faults are reported once with their number, different ones after each other.
pub fn faults_are_counted_together(loki: &Target) {
    let long = |extra: usize| entry(loki.now, "x".repeat(262_144 + extra));
    let reply = loki.push(vec![loki.stream("a", vec![long(1), long(1)])]);
    assert!(reply.text().starts_with("2 errors like: max entry size"), "{}", reply.text());
    let reply = loki.push(vec![loki.stream("a", vec![long(1), long(2), long(1)])]);
    answers_with(&reply, 400, "2 errors like: max entry size");
    answers_with(&reply, 400, "1 errors like: max entry size");
    answers_with(&reply, 400, "; ");
}

/// More bytes than the burst never pass, and nothing of them is stored.
pub fn more_than_the_burst(loki: &Target) {
    let lines = (0..30).map(|number| entry(loki.now + number, "x".repeat(220_000)));
    let streams = vec![loki.lines_now("good", &["good"]), loki.stream("a", lines.collect())];
    for _ in 0..2 {
        answers(
            &loki.push_once(streams.clone()),
            429,
            "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while \
             attempting to ingest '31' lines totaling '6600004' bytes, reduce log volume or \
             contact your Loki administrator to see if the limit can be increased",
        );
    }
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
    // It took nothing of the rate.
    answers(&loki.push(vec![loki.lines_now("good", &["good"])]), 204, "");
}

/// 4 MiB is the largest message between Loki's own parts, and a 500 that never passes.
pub fn more_than_a_message(loki: &Target) {
    let lines = |count: i64| (0..count).map(|number| entry(loki.now + number, "x".repeat(150_000)));
    let large = loki.stream("a", lines(30).collect());
    let reply = loki.push(vec![loki.lines_now("good", &["good"]), large]);
    let start = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (450";
    answers_with(&reply, 500, start);
    answers_with(&reply, 500, " vs. 4194304)");
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
    answers(&loki.push(vec![loki.stream("b", lines(20).collect())]), 204, "");
    assert_eq!(loki.lines("b").len(), 20);
}

//! What becomes of labels, lines and times.

use super::*;

#[test]
fn labels_come_from_texts_only() {
    let stages = "- json: {expressions: {a: , b: , c: , d: }}\n- labels: {a: , x: b, c: , d: }";
    let entry = one(stages, r#"{"a": 5, "b": "t", "c": null, "d": ""}"#).unwrap();
    let labels: Labels = [("a", "5"), ("d", ""), ("source", "stdout"), ("x", "t")].into_iter().collect();
    assert_eq!(entry.labels, labels);
    let entry = one("- regex: {expression: '(?P<a>.+)'}\n- labels: {a: }", "\u{fffd}").unwrap();
    assert_eq!(entry.labels.get("a"), Some("\u{fffd}"));
}

#[test]
fn labels_are_set_dropped_and_kept() {
    for (stages, expected) in [
        ("- static_labels: {a.b: v, none: , empty: ''}", vec![("a.b", "v"), ("source", "stdout")]),
        ("- static_labels: {a: x, b: y}\n- labeldrop: [a, source]", vec![("b", "y")]),
        ("- static_labels: {a: x, b: y}\n- tenant: {value: t}\n- labelallow: [a]", vec![("a", "x")]),
    ] {
        assert_eq!(one(stages, "x").unwrap().labels, expected.into_iter().collect(), "{stages}");
    }
}

#[test]
fn structured_metadata_takes_labels_along() {
    let metadata = |entry: &Entry| {
        let pair = |(name, value): &(entry::Name, Arc<str>)| format!("{name}={value}");
        entry.structured_metadata.iter().map(pair).collect::<Vec<_>>()
    };
    let entry = one("- structured_metadata: {a: source, b: source}", "x").unwrap();
    assert_eq!(metadata(&entry), ["a=stdout", "b=stdout"]);
    assert!(entry.labels.is_empty());
    // What is extracted is another value by now: the label stays.
    let entry = one("- regex: {expression: '(?P<source>.+)'}\n- non_indexed_labels: {source: }", "x").unwrap();
    assert_eq!((metadata(&entry), entry.labels.get("source")), (vec!["source=x".to_owned()], Some("stdout")));
    // A null is no text, and the label is asked.
    let entry = one("- json: {expressions: {source: }}\n- structured_metadata: {a: source, b: source}", "{}").unwrap();
    assert_eq!((metadata(&entry), entry.labels.get("source")), (vec!["a=stdout".to_owned()], None));
}

#[test]
fn tenants_come_from_where_they_are_told_to() {
    for (stages, expected) in [
        ("- tenant: {value: t}", Some("t")),
        ("- tenant: {label: source}", Some("stdout")),
        ("- tenant: {label: none}", None),
        ("- json: {expressions: {a: }}\n- tenant: {source: a}", Some("42")),
        ("- json: {expressions: {b: }}\n- tenant: {source: b}", None),
    ] {
        let entry = one(stages, "{\"a\": 42}").unwrap();
        assert_eq!(entry.tenant(), expected, "{stages}");
    }
}

#[test]
fn drop_wants_all_of_its_conditions() {
    for (drop, line, dropped) in [
        ("{expression: 'a.c'}", "xabcx", true),
        ("{expression: 'a.c'}", "abx", false),
        ("{longer_than: 3}", "abcd", true),
        ("{longer_than: 3b}", "abc", false),
        ("{longer_than: 3, expression: z}", "abcd", false),
        ("{source: k}", "{\"k\": null}", true),
        ("{source: [k, other]}", "{\"k\": 1}", true),
        ("{source: [k, gone]}", "{\"k\": 1}", false),
        ("{source: []}", "x", true),
        ("{source: k, value: 5}", "{\"k\": 5}", true),
        ("{source: k, value: '5'}", "{\"k\": 55}", false),
        ("{source: [k, other], value: '5;6'}", "{\"k\": 5, \"other\": 6}", true),
        ("{source: [k, gone], separator: '-', expression: '^5$'}", "{\"k\": 5}", true),
        ("{source: k, expression: .*}", "{\"k\": null}", false),
        ("{older_than: 1h}", "x", false),
    ] {
        let stages = format!("- json: {{expressions: {{k: , other: }}}}\n- drop: {drop}");
        assert_eq!(one(&stages, line).is_none(), dropped, "{drop} {line}");
    }
}

#[test]
fn old_lines_are_those_before_a_time() {
    let mut scene = Scene::new("- drop: {older_than: 10s}");
    for timestamp in [89, 90, 91, 200] {
        let entry = Entry { timestamp: timestamp * SECOND, arrived: 100 * SECOND, ..Entry::default() };
        scene.pipeline.process(entry, 300 * SECOND, &mut scene.out);
    }
    let kept: Vec<i64> = scene.out.iter().map(|entry| entry.timestamp / SECOND).collect();
    assert_eq!(kept, [90, 91, 200]);
}

#[test]
fn a_time_that_cannot_be_read_follows_the_last_one() {
    let stages = "- regex: {expression: 't=(?P<t>.*)'}\n- timestamp: {source: t, format: Unix}";
    let mut scene = Scene::new(stages);
    for (line, source) in [("t=100.5", "a"), ("t=x", "a"), ("no time", "a"), ("t=x", "b")] {
        scene.labelled(line, 7, source);
    }
    let times: Vec<i64> = scene.out.iter().map(|entry| entry.timestamp).collect();
    assert_eq!(times, [100_500_000_000, 100_500_000_001, 100_500_000_002, 7]);
    let mut scene = Scene::new(&stages.replace("Unix}", "Unix, action_on_failure: skip}"));
    scene.line("t=100", 7);
    scene.line("t=x", 8);
    assert_eq!(scene.out[1].timestamp, 8);
}

#[test]
fn pack_makes_one_object_with_the_line_last() {
    let mut scene = Scene::new("- json: {expressions: {n: , none: }}\n- pack: {labels: [source, n, none, _entry]}");
    scene.line("{\"n\": 1.0}", 5);
    let packed = &scene.out[0];
    assert_eq!(String::from_utf8_lossy(&packed.line), r#"{"n":"1","source":"stdout","_entry":"{\"n\": 1.0}"}"#);
    assert!(packed.labels.is_empty());
    let entry = Entry { timestamp: 1, arrived: 98, ..Entry::default() };
    scene.pipeline.process(entry, 99, &mut scene.out);
    assert_eq!(scene.out[1].timestamp, 98);
}

#[test]
fn colours_go() {
    for (line, expected) in [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\u{9b}1;31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("plain", "plain"),
        ("\x1b", "\x1b"),
    ] {
        assert_eq!(String::from_utf8_lossy(&one("- decolorize:", line).unwrap().line), expected, "{line:?}");
    }
}

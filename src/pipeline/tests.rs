//! Scenes with whole pipelines: what comes out, what is held, and when.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A pipeline, what came out of it, and the number of the next line.
struct Scene {
    pipeline: Pipeline,
    out: Vec<Entry>,
    seq: u64,
}

impl Scene {
    fn new(stages: &str) -> Self {
        let pipeline = Pipeline::parse(stages, Form::List).unwrap_or_else(|error| panic!("{error}"));
        Self { pipeline, out: Vec::new(), seq: 0 }
    }

    /// A line of stdout that is logged and read at `time`.
    fn line(&mut self, line: &str, time: i64) -> Option<i64> {
        self.labelled(line, time, "stdout")
    }

    fn labelled(&mut self, line: &str, time: i64, source: &str) -> Option<i64> {
        let labels = [("source", source)].into_iter().collect();
        let seq = SeqRange::one(self.seq);
        self.seq += 1;
        let line = line.as_bytes().to_vec();
        let entry = Entry { line, labels, timestamp: time, arrived: time, seq, ..Entry::default() };
        self.pipeline.process(entry, time, &mut self.out)
    }

    /// What has come out since the last look.
    fn came(&mut self) -> Vec<String> {
        self.out.drain(..).map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
    }

    fn came_with_seqs(&mut self) -> Vec<(String, u64, u64)> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        self.out.drain(..).map(|entry| (text(&entry.line), entry.seq.first, entry.seq.last)).collect()
    }
}

/// The one entry that becomes of a line.
fn one(stages: &str, line: &str) -> Option<Entry> {
    let mut scene = Scene::new(stages);
    scene.line(line, SECOND);
    scene.out.pop()
}

/// An extracted value as text, `null` when it has none.
fn extracted(stages: &str, line: &str, name: &str) -> Option<String> {
    let entry = one(stages, line)?;
    let value = entry.extracted.get(name)?;
    Some(value.text().map_or_else(|| "null".to_owned(), |text| String::from_utf8_lossy(&text).into_owned()))
}

// === what is held ===

#[test]
fn a_cursor_does_not_pass_a_block_that_goes_on() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 3s}");
    scene.line("before", 0);
    assert_eq!(scene.pipeline.held_since(), None);
    scene.line("A 1", 0);
    scene.line("more", SECOND);
    assert_eq!(scene.pipeline.held_since(), Some(1));
    assert_eq!(scene.pipeline.next_deadline(), Some(4 * SECOND));
    scene.line("A 2", 2 * SECOND);
    assert_eq!(scene.pipeline.held_since(), Some(3));
    assert_eq!(scene.came_with_seqs(), [("before".to_owned(), 0, 0), ("A 1\nmore".to_owned(), 1, 2)]);
    scene.pipeline.flush(2 * SECOND, &mut scene.out);
    assert_eq!(scene.came_with_seqs(), [("A 2".to_owned(), 3, 3)]);
    assert_eq!(scene.pipeline.held_since(), None);
}

#[test]
fn outputs_have_blocks_of_their_own() {
    let mut scene = Scene::new("- multiline: {firstline: ^A}");
    scene.labelled("A out", 0, "stdout");
    scene.labelled("A err", 0, "stderr");
    scene.labelled("more out", 0, "stdout");
    scene.labelled("A again", 0, "stderr");
    assert_eq!(scene.came(), ["A err"]);
    assert_eq!(scene.pipeline.held_since(), Some(0));
    scene.pipeline.flush(0, &mut scene.out);
    assert_eq!(scene.came(), ["A out\nmore out", "A again"]);
}

#[test]
fn a_block_ends_when_nothing_more_comes() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 2s}");
    scene.line("A 1", 0);
    scene.pipeline.tick(2 * SECOND - 1, &mut scene.out);
    assert!(scene.came().is_empty());
    scene.pipeline.tick(2 * SECOND, &mut scene.out);
    assert_eq!(scene.came(), ["A 1"]);
    assert_eq!(scene.pipeline.next_deadline(), None);
    // What follows has the labels and the time of the line that began the block.
    scene.line("more", 5 * SECOND);
    scene.line("A 2", 8 * SECOND);
    let ended = scene.out.remove(0);
    assert_eq!((ended.line.as_slice(), ended.timestamp), (&b"more"[..], 0));
}

#[test]
fn lines_that_are_read_late_make_the_same_blocks() {
    let lines = [("A 1", 0), ("more", 1), ("late", 9), ("A 2", 10), ("more", 11)];
    let run = |late: i64| {
        let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 3s}");
        for (line, second) in lines {
            let entry = Entry {
                line: line.into(),
                arrived: second * SECOND,
                timestamp: second * SECOND,
                seq: SeqRange::one(scene.seq),
                ..Entry::default()
            };
            scene.pipeline.process(entry, (second + late) * SECOND, &mut scene.out);
        }
        scene.pipeline.flush((20 + late) * SECOND, &mut scene.out);
        scene.came()
    };
    assert_eq!(run(0), ["A 1\nmore", "late", "A 2\nmore"]);
    assert_eq!(run(3600), run(0));
}

#[test]
fn empty_lines_of_a_block_come_to_nothing() {
    let mut scene = Scene::new("- multiline: {firstline: '^(A|$)', max_lines: 3}");
    for line in ["A", "", "x", "x", "A"] {
        scene.line(line, 0);
    }
    // The empty line begins a block, counts, and is not there.
    assert_eq!(scene.came(), ["A", "x\nx"]);
    let mut scene = Scene::new("- multiline: {firstline: '^$'}");
    scene.line("", 0);
    assert_eq!(scene.pipeline.held_since(), None);
    scene.pipeline.flush(0, &mut scene.out);
    assert!(scene.came().is_empty());
}

#[test]
fn a_block_and_the_number_of_blocks_are_bounded() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_lines: 0}");
    scene.line("A", 0);
    let long = "x".repeat(600_000);
    scene.line(&long, 0);
    assert!(scene.came().is_empty());
    scene.line(&long, 0);
    assert_eq!(scene.came().len(), 1);
    for stream in 0..1000 {
        scene.labelled("A", stream, &stream.to_string());
    }
    assert!(scene.came().len() >= 740);
}

#[test]
fn cri_joins_parts_and_loses_none_at_the_end() {
    let mut scene = Scene::new("- cri:");
    scene.line("2024-01-01T00:00:01Z stdout P one ", 0);
    assert_eq!((scene.came().len(), scene.pipeline.held_since()), (0, Some(0)));
    scene.line("2024-01-01T00:00:02Z stderr F other", 0);
    scene.line("2024-01-01T00:00:03Z stdout F two", 0);
    assert_eq!(scene.came_with_seqs(), [("other".to_owned(), 1, 1), ("one two".to_owned(), 0, 2)]);
    scene.line("2024-01-01T00:00:04Z stdout P rest", 0);
    scene.pipeline.flush(0, &mut scene.out);
    assert_eq!(scene.came(), ["rest"]);
}

#[test]
fn what_is_inside_of_match_is_held_as_well() {
    let mut scene =
        Scene::new("- match: {selector: '{source=\"stdout\"}', stages: [{multiline: {firstline: ^A}}]}\n- pack: {}");
    scene.line("A", 0);
    scene.labelled("passes", 0, "stderr");
    scene.line("more", 0);
    assert_eq!((scene.pipeline.held_since(), scene.pipeline.next_deadline()), (Some(0), Some(3 * SECOND)));
    scene.pipeline.tick(3 * SECOND, &mut scene.out);
    assert_eq!(scene.came(), ["{\"_entry\":\"passes\"}", "{\"_entry\":\"A\\nmore\"}"]);
}

// === limits ===

#[test]
fn a_limit_without_drop_tells_how_long_to_wait() {
    let mut scene = Scene::new("- limit: {rate: 2, burst: 2}");
    assert_eq!(scene.line("1", 0), None);
    assert_eq!(scene.line("2", 0), None);
    assert_eq!(scene.line("3", 0), Some(SECOND / 2));
    assert_eq!(scene.line("4", SECOND / 2), Some(SECOND));
    assert_eq!(scene.line("5", 10 * SECOND), None);
    assert_eq!(scene.came().len(), 5);
}

#[test]
fn a_limit_with_drop_goes_by_when_lines_were_logged() {
    let stages = "- limit: {rate: '1', burst: 1, drop: 'true'}";
    let mut scene = Scene::new(stages);
    for (line, time) in [("1", 0), ("2", SECOND / 2), ("3", SECOND), ("4", SECOND)] {
        scene.line(line, time);
    }
    assert_eq!(scene.came(), ["1", "3"]);
    let dropped = exposition::text(&scene.pipeline.registry().collect(0));
    assert!(dropped.ends_with("logentry_dropped_lines_total{reason=\"ratelimit_drop_stage\"} 2\n"), "{dropped}");
    // All at once, after an hour without Loki: none was too much when it was logged.
    let mut scene = Scene::new(stages);
    for second in 0..10 {
        let entry = Entry { arrived: second * SECOND, ..Entry::default() };
        scene.pipeline.process(entry, 3600 * SECOND, &mut scene.out);
    }
    assert_eq!(scene.out.len(), 10);
}

#[test]
fn a_limit_by_label_has_a_bucket_for_each_value() {
    let mut scene = Scene::new("- limit: {rate: 1, burst: 1, drop: true, by_label_name: source}");
    for (line, source) in [("a1", "a"), ("b1", "b"), ("a2", "a")] {
        scene.labelled(line, 0, source);
    }
    assert_eq!(scene.came(), ["a1", "b1"]);
}

#[test]
fn sampling_judges_a_line_once_and_for_all() {
    let run = || {
        let mut scene = Scene::new("- sampling: {rate: 0.25}");
        (0..10_000).for_each(|_| drop(scene.line("x", 0)));
        scene.out.iter().map(|entry| entry.seq.first).collect::<Vec<_>>()
    };
    let passed = run();
    assert!((2300..2700).contains(&passed.len()), "{}", passed.len());
    assert_eq!(passed, run());
    for (rate, expected) in [("0", 0), ("1", 100)] {
        let mut scene = Scene::new(&format!("- sampling: {{rate: '{rate}'}}"));
        (0..100).for_each(|_| drop(scene.line("x", 0)));
        assert_eq!(scene.out.len(), expected);
    }
    assert!(one("- sampling:", "x").is_none());
}

// === extracting ===

#[test]
fn json_extracts_values_with_their_types() {
    let stages = "- json: {expressions: {a: , deep: b.c, list: 'b.l[1]', count: length(b.l), object: b, none: x.y, bad: nofunc(a)}}";
    let line = r#"{"a": 1.50, "b": {"c": "<t>", "l": [1, true]}}"#;
    for (name, expected) in [
        ("a", Some("1.5")),
        ("deep", Some("<t>")),
        ("list", Some("true")),
        ("count", Some("2")),
        ("object", Some(r#"{"c":"\u003ct\u003e","l":[1,true]}"#)),
        ("none", Some("null")),
        ("bad", None),
    ] {
        assert_eq!(extracted(stages, line, name).as_deref(), expected, "{name}");
    }
    assert_eq!(extracted(stages, "null", "a").as_deref(), Some("null"));
    assert_eq!(extracted(stages, "[1]", "a"), None);
    let entry = one("- json: {expressions: {a: }}", "{\"a\": 123456789012345678}").unwrap();
    assert_eq!(entry.extracted["a"], Value::Number(123_456_789_012_345_680.0));
}

#[test]
fn json_drops_what_is_malformed_only_when_told_to() {
    assert!(one("- json: {expressions: {a: }}", "no").is_some());
    assert!(one("- json: {expressions: {a: }, drop_malformed: true}", "no").is_none());
    assert!(one("- json: {expressions: {a: }, drop_malformed: true, source: missing}", "no").is_some());
}

#[test]
fn a_group_that_took_no_part_is_an_empty_text() {
    let stages = "- regex: {expression: '(?P<a>x)?(?P<b>y)(?P<c>.)(?P<c>.)'}";
    for (name, expected) in [("a", ""), ("b", "y"), ("c", "2")] {
        assert_eq!(extracted(stages, "y12", name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(extracted(stages, "z", "b"), None);
}

#[test]
fn labels_seed_what_is_extracted_at_every_start() {
    let stages = "- json: {expressions: {source: x}}\n- match: {selector: '{source=\"stdout\"}', stages: [{output: {source: source}}]}";
    assert_eq!(one(stages, "{\"x\": \"changed\"}").unwrap().line, b"stdout");
    assert_eq!(one("- output: {source: source}", "x").unwrap().line, b"stdout");
}

// === labels and what goes along ===

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

// === drop ===

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
        let entry = Entry { timestamp: timestamp * SECOND, ..Entry::default() };
        scene.pipeline.process(entry, 100 * SECOND, &mut scene.out);
    }
    let kept: Vec<i64> = scene.out.iter().map(|entry| entry.timestamp / SECOND).collect();
    assert_eq!(kept, [90, 91, 200]);
}

// === times ===

#[test]
fn a_time_that_cannot_be_read_follows_the_last_one() {
    let stages = "- regex: {expression: 't=(?P<t>.*)'}\n- timestamp: {source: t, format: Unix}";
    let mut scene = Scene::new(stages);
    for (line, source) in [("t=100.5", "a"), ("t=x", "a"), ("no time", "a"), ("t=x", "b")] {
        scene.labelled(line, 7, source);
    }
    let times: Vec<i64> = scene.out.iter().map(|entry| entry.timestamp).collect();
    assert_eq!(times, [100_500_000_000, 100_500_000_001, 100_500_000_002, 7]);
    let mut scene = Scene::new(
        &format!("{stages}\n    action_on_failure: skip")
            .replace("Unix}", "Unix, action_on_failure: skip}")
            .replace("\n    action_on_failure: skip", ""),
    );
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
    let entry = Entry { timestamp: 1, ..Entry::default() };
    scene.pipeline.process(entry, 99, &mut scene.out);
    assert_eq!(scene.out[1].timestamp, 99);
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

// === metrics ===

fn counted(stages: &str, lines: &[&str]) -> String {
    let mut scene = Scene::new(stages);
    for line in lines {
        scene.line(line, SECOND);
    }
    let families = scene.pipeline.registry().collect(SECOND);
    let text = exposition::text(&families);
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn counters_gauges_and_histograms_count() {
    let json = "- json: {expressions: {n: , t: }}\n- metrics:\n    m: ";
    for (metric, expected) in [
        ("{type: Counter, config: {match_all: true, action: inc}}", "promtail_custom_m{source=\"stdout\"} 3\n"),
        ("{type: counter, prefix: my_, source: n, config: {action: add}}", "my_m{source=\"stdout\"} 7.5\n"),
        ("{type: counter, source: t, config: {value: x, action: inc}}", "promtail_custom_m{source=\"stdout\"} 2\n"),
        (
            "{type: counter, config: {match_all: true, count_entry_bytes: true, action: add}}",
            "promtail_custom_m{source=\"stdout\"} 57\n",
        ),
        ("{type: gauge, source: n, config: {action: set}}", "promtail_custom_m{source=\"stdout\"} 5\n"),
        ("{type: gauge, source: n, config: {action: sub}}", "promtail_custom_m{source=\"stdout\"} -6.5\n"),
        ("{type: gauge, source: t, config: {action: dec}}", "promtail_custom_m{source=\"stdout\"} -3\n"),
        (
            "{type: histogram, source: n, config: {buckets: [2, 5]}}",
            "promtail_custom_m_bucket{source=\"stdout\",le=\"2\"} 2\npromtail_custom_m_bucket{source=\"stdout\",le=\"5\"} 3\n\
             promtail_custom_m_bucket{source=\"stdout\",le=\"+Inf\"} 3\npromtail_custom_m_sum{source=\"stdout\"} 6.5\n\
             promtail_custom_m_count{source=\"stdout\"} 3\n",
        ),
    ] {
        let lines = [r#"{"n": 2.5, "t": "x"}"#, r#"{"n": -1, "t": "yy"}"#, r#"{"n": "5", "t": "x"}"#];
        assert_eq!(counted(&format!("{json}{metric}"), &lines), expected, "{metric}");
    }
}

#[test]
fn dropped_lines_are_not_counted_by_what_comes_behind() {
    let stages = "- match: {selector: '{source=\"stdout\"} |= \"debug\"', action: drop}\n\
                  - metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}";
    let expected =
        "logentry_dropped_lines_total{reason=\"match_stage\"} 1\npromtail_custom_lines{source=\"stdout\"} 1\n";
    assert_eq!(counted(stages, &["debug", "info"]), expected);
}

#[test]
fn series_have_the_labels_of_the_line_but_for_inner_ones() {
    let stages = "- tenant: {value: t}\n- static_labels: {good: '1'}\n- metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}";
    assert_eq!(counted(stages, &["x"]), "promtail_custom_lines{good=\"1\",source=\"stdout\"} 1\n");
}

#[test]
fn a_clone_shares_what_was_compiled_and_not_what_is_held() {
    let mut scene = Scene::new("- multiline: {firstline: ^A}");
    let fresh = scene.pipeline.clone();
    scene.line("A", 0);
    assert_eq!((scene.pipeline.held_since(), fresh.held_since()), (Some(0), None));
}

// === configuration ===

#[test]
fn what_promtail_takes_is_taken_and_what_it_refuses_refused() {
    for (stage, taken) in [
        ("json: {EXPRESSIONS: {a: b}, unknown: 1}", true),
        ("json: {expressions: {a: '}'}}", false),
        ("json: {expressions: {a-b: }}", false),
        ("json: {expressions: {1: a}}", false),
        ("json: {expressions: {a: }, drop_malformed: 'true'}", false),
        ("labels:", true),
        ("labels: {a: 1}", false),
        ("labels: {é: }", false),
        ("static_labels: {é: x}", true),
        ("static_labels: {a: true}", false),
        ("static_labels: {a: yes}", true),
        ("labeldrop: a", false),
        ("labeldrop: []", false),
        ("labelallow:", false),
        ("pack: {labels: a}", true),
        ("output: {source: 1}", false),
        ("sampling: {rate: '0.5'}", true),
        ("sampling: {rate: 1.1}", false),
        ("limit: {rate: 1}", false),
        ("limit: {rate: 1, burst: 1, by_label_name: a}", false),
        ("multiline: {}", false),
        ("multiline: {firstline: ''}", true),
        ("multiline: {firstline: '^{', max_lines: -1}", true),
        ("multiline: {firstline: a, max_wait_time: 3}", false),
        ("cri: {max_partial_line_size: 100kb}", false),
        ("docker:", true),
        ("drop: {older_than: 24}", false),
        ("drop: {value: x, source: }", false),
        ("drop: {longer_than: 8 kb}", true),
        ("drop: {longer_than: 8KiB}", false),
        ("timestamp: {source: t, format: 2006-01-02}", true),
        ("timestamp: {source: t, format: RFC3339, fallback_formats: RFC822}", false),
        ("timestamp: {source: t, format: RFC3339, location: europe/paris}", false),
        ("tenant: {source: }", false),
        ("metrics: {m: {type: counter, max_idle_duration: 1ms, config: {action: inc}}}", false),
        ("metrics: {m: {type: histogram, config: {buckets: [2, 1]}}}", false),
        ("metrics: {m: {type: gauge, config: {action: up}}}", false),
        ("geoip: {db: /none, db_type: city, source: ip}", false),
    ] {
        assert_eq!(Pipeline::parse(&format!("- {stage}"), Form::List).is_ok(), taken, "{stage}");
    }
}

/// Stages that fit each other often enough to be worth a random walk.
const STAGES: [&str; 20] = [
    "json: {expressions: {a: , b: 'b.c', t: 'length(@)'}}",
    "logfmt: {mapping: {a: , b: x}}",
    "regex: {expression: '(?P<a>\\w+)[ =](?P<b>.*)'}",
    "timestamp: {source: a, format: Unix}",
    "timestamp: {source: b, format: '2006-01-02 15:04:05'}",
    "output: {source: b}",
    "labels: {a: , b: }",
    "labeldrop: [a]",
    "labelallow: [source, b]",
    "static_labels: {b: x}",
    "structured_metadata: {a: , s: source}",
    "tenant: {source: a}",
    "drop: {source: [a, b], expression: 'x+'}",
    "match: {selector: '{source=~\".+\"} |~ \"a\"', stages: [{multiline: {firstline: '^a', max_lines: 2}}]}",
    "sampling: {rate: 0.9}",
    "limit: {rate: 1, burst: 100, drop: true}",
    "multiline: {firstline: '^[a{]', max_lines: 3}",
    "pack: {labels: [a, source]}",
    "cri: {max_partial_lines: 2, max_partial_line_size: 5, max_partial_line_size_truncate: true}",
    "metrics: {m: {type: histogram, source: a}}",
];

proptest! {
    #[test]
    fn no_pipeline_panics_and_none_forgets_what_it_holds(
        stages in proptest::collection::vec(0..STAGES.len(), 1..7),
        lines in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..30),
                "[abx{}=\": 0-9\\\\u,\\[\\]]{0,30}".prop_map(String::into_bytes),
                "2024-01-01T00:00:0[0-9]Z (stdout|stderr) [PF] [a-c]{0,9}".prop_map(String::into_bytes),
                "\\{\"a\": ?(1|\"x\"|null), \"b\": \\{\"c\": [0-9]+\\}\\}".prop_map(String::into_bytes),
            ],
            1..20,
        ),
    ) {
        let yaml: String = stages.iter().map(|at| format!("- {}\n", STAGES[*at])).collect();
        let mut scene = Scene::new(&yaml);
        for (seq, line) in (0..).zip(lines) {
            let labels = [("source", if seq % 3 == 0 { "stderr" } else { "stdout" })].into_iter().collect();
            let arrived = seq as i64 * SECOND / 2;
            let entry = Entry { line, labels, timestamp: arrived, arrived, seq: SeqRange::one(seq), ..Entry::default() };
            scene.pipeline.process(entry, arrived, &mut scene.out);
            prop_assert!(scene.pipeline.held_since().is_none_or(|first| first <= seq));
        }
        scene.pipeline.flush(100 * SECOND, &mut scene.out);
        prop_assert_eq!(scene.pipeline.held_since(), None);
        prop_assert_eq!(scene.pipeline.next_deadline(), None);
        for entry in &scene.out {
            prop_assert!(entry.seq.first <= entry.seq.last);
        }
    }
}

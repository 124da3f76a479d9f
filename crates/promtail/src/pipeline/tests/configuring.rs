//! What is taken for a pipeline, and that none of them panics.

use proptest::prelude::*;

use super::*;

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
        ("metrics: {a: {type: Counter, prefix: my_, config: {action: inc}}}", true),
        ("metrics: {a: {type: Counter, prefix: loki_rs_, config: {action: inc}}}", false),
        ("metrics: {rs_a: {type: Counter, prefix: loki_, config: {action: inc}}}", false),
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
        ("geoip: {db: /dev/zero, db_type: city}", false),
        ("geoip: {db: /none, db_type: city, source: ip}", false),
    ] {
        assert_eq!(Pipeline::parse(&format!("- {stage}"), Form::List).is_ok(), taken, "{stage}");
    }
}

#[test]
fn no_expression_is_too_much_for_the_stack() {
    // As much as the threads of the plugin have.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        for part in ["(", "[", "!", "{a:", "a|", "a||", "[0]", "a.*.", "[?", "&", "*.", "[]", "not_null("] {
            for length in [100, 200, 1000, 100_000] {
                let expression = format!("{}a", part.repeat(length / part.len()));
                let stages = format!("- json: {{expressions: {{a: '{expression}'}}}}");
                if let Ok(mut pipeline) = Pipeline::parse(&stages, Form::List) {
                    let entry = Entry { line: b"{\"a\": {\"a\": [1]}}".to_vec(), ..Entry::default() };
                    pipeline.process(entry, 0, &mut Vec::new());
                }
            }
        }
    });
    thread.unwrap().join().unwrap();
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

//! What a line may cost, and what is held.

use super::*;
use crate::pipeline::MOST_HELD;
use go_compat::work::LINE;

/// Runs one line and gives how many came out, and the cost.
fn run(stages: &str, line: &str) -> (usize, crate::pipeline::Cost) {
    let mut pipeline = Pipeline::parse(stages, Form::List).unwrap_or_else(|error| panic!("{stages}: {error}"));
    let mut out = Vec::new();
    pipeline.process(Entry { line: line.into(), ..Entry::default() }, 0, &mut out);
    (out.len(), pipeline.take_cost())
}

#[test]
fn a_line_that_costs_too_much_is_dropped_and_counted() {
    let query = vec!["[@,@]"; 24].join("|");
    let packs = "- pack: {labels: []}\n".repeat(30);
    let long = "a".repeat(600_000);
    let quotes = "\"\\\"".repeat(2_000);
    for (stages, line) in [
        (format!("- json: {{expressions: {{x: '{query}'}}}}"), "{\"a\":1}"),
        (format!("- json: {{expressions: {{x: '{query}'}}, drop_malformed: true}}"), "{\"a\":1}"),
        (r#"- template: {source: x, template: '{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}'}"#.to_owned(), "x"),
        (r#"- replace: {expression: '(a)', replace: '{{repeat 100000 .Value}}'}"#.to_owned(), &long),
        ("- replace: {expression: '((?s:.)*X|a)', replace: b}".to_owned(), &long),
        ("- regex: {expression: '(?P<x>(a|b)*a(a|b){900}c)'}".to_owned(), &long),
        ("- drop: {expression: '(a|b)*a(a|b){900}c'}".to_owned(), &long),
        ("- match: {selector: '{none=\"\"} |~ \"(a|b)*a(a|b){900}c\"', action: drop}".to_owned(), &long),
        ("- match: {selector: '{none=\"\"}', stages: [{drop: {expression: '(a|b)*a(a|b){900}c'}}]}".to_owned(), &long),
        ("- multiline: {firstline: '(a|b)*a(a|b){900}c'}".to_owned(), &long),
        (packs, &quotes),
    ] {
        let (out, cost) = run(&stages, line);
        let shown: String = stages.chars().take(80).collect();
        assert_eq!((out, cost.overruns), (0, 1), "{shown}: {cost:?}");
        assert!(cost.excess.is_some() && cost.spent <= LINE, "{shown}: {cost:?}");
    }
}

#[test]
fn a_line_behind_one_that_cost_too_much_has_its_own_budget() {
    let stages = "- multiline: {firstline: '^x'}\n- regex: {expression: '(?P<y>(a|b)*a(a|b){900}c)'}";
    let mut pipeline = Pipeline::parse(stages, Form::List).unwrap();
    let mut out = Vec::new();
    for (seq, line) in
        ["x".to_owned() + &"a".repeat(600_000), "x 2".to_owned(), "x 3".to_owned()].into_iter().enumerate()
    {
        let entry = Entry { line: line.into(), seq: SeqRange::one(seq as u64), ..Entry::default() };
        pipeline.process(entry, 0, &mut out);
    }
    pipeline.flush(0, &mut out);
    let lines: Vec<_> = out.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect();
    assert_eq!((lines, pipeline.take_cost().overruns), (vec!["x 2".to_owned(), "x 3".to_owned()], 1));
}

#[test]
fn what_all_stages_hold_is_bounded_together() {
    let stages = "- regex: {expression: '^(?P<s>\\d+)'}\n- labels: {s: }\n- template: {source: big, template: '{{repeat 1000000 \"x\"}}'}\n\
                  - output: {source: big}\n- labeldrop: [none]\n- multiline: {firstline: '^x', max_wait_time: 1h}";
    let mut pipeline = Pipeline::parse(stages, Form::List).unwrap();
    let mut out = Vec::new();
    for seq in 0..40_u64 {
        let entry = Entry { line: seq.to_string().into(), seq: SeqRange::one(seq), ..Entry::default() };
        pipeline.process(entry, 0, &mut out);
        let held = pipeline.chain.held_bytes();
        assert!(held <= MOST_HELD, "{held} bytes are held");
    }
    assert!(!out.is_empty(), "nothing was let go");
    pipeline.flush(0, &mut out);
    assert_eq!((out.len(), pipeline.held_since()), (40, None), "every line comes out");
}

#[test]
fn expressions_of_one_text_are_bounded_together() {
    let stage = |at: usize| format!("- drop: {{expression: '[a-z]{{500}}{at}'}}\n");
    assert!(Pipeline::parse(&(0..50).map(stage).collect::<String>(), Form::List).is_ok());
    let error = Pipeline::parse(&(0..200).map(stage).collect::<String>(), Form::List).unwrap_err().to_string();
    assert!(error.contains("all expressions together could take more than 128 MiB of memory"), "{error}");
    let error = Pipeline::parse("- drop: {expression: '\\pL{100}'}", Form::List).unwrap_err().to_string();
    assert!(error.contains("states when it is compiled, and may have 30000"), "{error}");
}

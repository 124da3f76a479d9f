//! Random stages, put together from what stages look like, texts of any kind, expressions and templates, on random lines:
//! refused, or run without a panic, within the bounds of `work.rs`. Each line comes out or is counted as dropped, and nothing
//! is held back at the end.

#![no_main]

#[path = "support/cost.rs"]
mod cost;
#[path = "support/grammar.rs"]
mod grammar;

use std::time::Duration;

use cost::measured;
use go_compat::work::{EXPRESSIONS, LINE, ROOM};
use grammar::Choices;
use libfuzzer_sys::fuzz_target;
use promtail::pipeline::{Entry, Form, Pipeline, SeqRange};

/// Stages in which `TEXT` is any text, `QUERY` an expression of JMESPath, `TEMPLATE` a template and `NAME` one of a few.
const STAGES: &[&str] = &[
    "json: {expressions: {NAME: TEXT}}",
    "json: {expressions: {NAME: QUERY, extra: QUERY}}",
    "json: {expressions: {NAME: QUERY}, source: NAME, drop_malformed: true}",
    "json: {expressions: {NAME: }, source: NAME}",
    "logfmt: {mapping: {NAME: TEXT}}",
    "regex: {expression: TEXT}",
    "regex: {expression: '(?P<NAME>\\S+)'}",
    "replace: {expression: TEXT, replace: TEXT}",
    "replace: {expression: '(\\w+)', replace: TEMPLATE}",
    "template: {source: NAME, template: TEXT}",
    "template: {source: NAME, template: TEMPLATE}",
    "timestamp: {source: NAME, format: TEXT}",
    "timestamp: {source: NAME, format: RFC3339}",
    "output: {source: NAME}",
    "labels: {NAME: }",
    "labeldrop: [NAME]",
    "labelallow: [NAME]",
    "static_labels: {NAME: TEXT}",
    "structured_metadata: {NAME: NAME}",
    "tenant: {source: NAME}",
    "drop: {expression: TEXT}",
    "drop: {source: NAME, longer_than: TEXT}",
    "match: {selector: TEXT, stages: [{output: {source: NAME}}]}",
    "match: {selector: '{source=\"stderr\"}', stages: [{template: {source: NAME, template: TEMPLATE}}]}",
    "match: {selector: '{a=\"b\"} |= \"c\"', action: drop}",
    "sampling: {rate: 0.5}",
    "limit: {rate: 1, burst: 1, drop: true}",
    "multiline: {firstline: TEXT, max_lines: 3}",
    "multiline: {firstline: '^\\S'}",
    "pack: {labels: [NAME]}",
    "decolorize:",
    "docker:",
    "cri:",
    "eventlogmessage: {source: NAME}",
    "metrics: {NAME: {type: Counter, source: NAME, config: {action: inc}}}",
];

const NAMES: [&str; 4] = ["a", "level", "source", "message"];

/// Stages that make one entry of several lines, and none of empty ones.
const MERGING: [&str; 2] = ["multiline", "cri"];

/// Bytes beside the values that are counted: those of the engines, of the line itself and of what is held.
const BESIDE: usize = 192 << 20;

/// Time that a unit of work may take at most, in nanoseconds. It is one without the fuzzer's instructions.
const UNIT: u64 = 20;

/// Time that is not counted in units.
const SPARE: Duration = Duration::from_millis(500);

fuzz_target!(|input: (Vec<(u8, u8, String)>, Vec<(Vec<u8>, u16)>)| {
    let (picks, lines) = input;
    let text: String = picks.iter().take(12).map(|(stage, name, any)| stage_of(*stage, *name, any)).collect();
    let (parsed, cost) = measured(|| Pipeline::parse(&text, Form::List));
    assert!(cost.bytes < EXPRESSIONS as usize + BESIDE, "{} bytes for\n{text}", cost.bytes);
    let mut pipeline = match parsed {
        Ok(pipeline) => pipeline,
        Err(error) => return assert!(!error.reasons().is_empty()),
    };
    let merges = MERGING.iter().any(|stage| text.contains(stage));
    let texts: Vec<_> =
        (0..).zip(&lines).filter(|(_, (line, _))| !merges || !line.is_empty()).map(|(seq, _)| seq).collect();
    let (mut out, mut now) = (Vec::new(), 1_790_000_000_000_000_000_i64);
    for (seq, (line, wait)) in lines.into_iter().enumerate() {
        now += i64::from(wait) * 1_000_000;
        let labels = [("source", if wait % 3 == 0 { "stderr" } else { "stdout" })].into_iter().collect();
        let seq = SeqRange::one(seq as u64);
        let line = if wait % 2 == 0 { line } else { document(&line, wait) };
        let entry = Entry { line, labels, timestamp: now, arrived: now, seq, ..Entry::default() };
        let before = out.len();
        let ((), cost) = measured(|| {
            pipeline.process(entry, now, &mut out);
            if pipeline.next_deadline().is_some_and(|deadline| deadline <= now) {
                pipeline.tick(now, &mut out);
            }
        });
        let work = pipeline.take_cost();
        let entries = (out.len() - before) as u64 + work.overruns + 1;
        assert!(work.spent <= LINE * entries, "{} units for\n{text}", work.spent);
        assert!(cost.bytes < ROOM as usize * 2 + BESIDE, "{} bytes for\n{text}", cost.bytes);
        let most = SPARE + Duration::from_nanos(work.spent * UNIT);
        assert!(cost.time < most, "{:?} for {} units, of\n{text}", cost.time, work.spent);
    }
    pipeline.flush(now, &mut out);
    assert_eq!(pipeline.held_since(), None, "something is held at the end:\n{text}");
    let sent = |seq: u64| out.iter().any(|entry| (entry.seq.first..=entry.seq.last).contains(&seq));
    let missing = texts.into_iter().filter(|seq| !sent(*seq)).count();
    let dropped = dropped(&pipeline, now);
    assert!(if merges { missing == 0 || dropped > 0 } else { missing == dropped }, "{missing} {dropped} of\n{text}");
});

fn stage_of(stage: u8, name: u8, any: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''").replace(['\n', '\r'], " "));
    let mut choices = Choices(any.as_bytes().iter());
    let mut stage = STAGES[usize::from(stage) % STAGES.len()].replace("NAME", NAMES[usize::from(name) % NAMES.len()]);
    while stage.contains("QUERY") {
        stage = stage.replacen("QUERY", &quoted(&grammar::expression(&mut choices)), 1);
    }
    if stage.contains("TEMPLATE") {
        stage = stage.replace("TEMPLATE", &quoted(&grammar::template(&mut choices)));
    }
    format!("- {}\n", stage.replace("TEXT", &quoted(any)))
}

/// A JSON object with a text in it, small or large.
fn document(line: &[u8], size: u16) -> Vec<u8> {
    let text = serde_json::Value::from(String::from_utf8_lossy(line));
    let item = format!("{{\"a\": {size}, \"level\": {text}, \"b\": [[{text}, 1], null, true]}}");
    let items = vec![item; usize::from(size / 2) % 500];
    format!("{{\"a\": [{}], \"level\": {text}, \"message\": {{\"a\": 1e9, \"level\": {text}}}}}", items.join(", "))
        .into_bytes()
}

/// Lines that the pipeline has counted as dropped, whatever the reason.
fn dropped(pipeline: &Pipeline, now: i64) -> usize {
    let families = pipeline.registry().map(|registry| registry.collect(now)).unwrap_or_default();
    let counted = families.get("logentry_dropped_lines_total").into_iter().flat_map(|family| family.series.values());
    counted.map(|series| series.value as usize).sum()
}

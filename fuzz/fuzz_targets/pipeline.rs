//! Random stages, put together from what stages look like and texts of any kind, on random lines: refused, or run without a
//! panic, and nothing is held back at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loki_rs::pipeline::{Entry, Form, Pipeline, SeqRange};

/// Stages in which `TEXT` is any text and `NAME` one of a few.
const STAGES: &[&str] = &[
    "json: {expressions: {NAME: TEXT}}",
    "json: {expressions: {NAME: }, source: NAME}",
    "logfmt: {mapping: {NAME: TEXT}}",
    "regex: {expression: TEXT}",
    "regex: {expression: '(?P<NAME>\\S+)'}",
    "replace: {expression: TEXT, replace: TEXT}",
    "template: {source: NAME, template: TEXT}",
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

fuzz_target!(|input: (Vec<(u8, u8, String)>, Vec<(Vec<u8>, u16)>)| {
    let (picks, lines) = input;
    let mut text = String::new();
    for (stage, name, any) in picks.iter().take(12) {
        let stage = STAGES[usize::from(*stage) % STAGES.len()];
        let any = format!("'{}'", any.replace('\'', "''").replace(['\n', '\r'], " "));
        let stage = stage.replace("TEXT", &any).replace("NAME", NAMES[usize::from(*name) % NAMES.len()]);
        text.push_str(&format!("- {stage}\n"));
    }
    let mut pipeline = match Pipeline::parse(&text, Form::List) {
        Ok(pipeline) => pipeline,
        Err(error) => return assert!(!error.reasons().is_empty()),
    };
    let (mut out, mut now) = (Vec::new(), 1_790_000_000_000_000_000_i64);
    for (seq, (line, wait)) in lines.into_iter().enumerate() {
        now += i64::from(wait) * 1_000_000;
        let labels = [("source", if wait % 3 == 0 { "stderr" } else { "stdout" })].into_iter().collect();
        let seq = SeqRange::one(seq as u64);
        let entry = Entry { line, labels, timestamp: now, arrived: now, seq, ..Entry::default() };
        pipeline.process(entry, now, &mut out);
        if pipeline.next_deadline().is_some_and(|deadline| deadline <= now) {
            pipeline.tick(now, &mut out);
        }
    }
    pipeline.flush(now, &mut out);
    assert_eq!(pipeline.held_since(), None, "something is held at the end:\n{text}");
});

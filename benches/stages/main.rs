//! Each stage of a pipeline alone, timed on one line: `cargo bench --bench stages`. `cargo bench --bench parts`
//! measures lines through whole pipelines, from the ring to a batch.

mod database;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use promtail::pipeline::entry::Value;
use promtail::pipeline::{Entry, Form, Pipeline, SeqRange};

const NOW: i64 = 1_790_000_000_000_000_000;

const JSON: &str = r#"{"ts":"2026-09-21T10:00:00Z","level":"info","http":{"id":17,"path":"/orders"},"msg":"accepted"}"#;

const LOGFMT: &str = "ts=2026-09-21T10:00:00Z level=info id=17 path=/orders msg=\"request accepted\" took=1.5";

const PLAIN: &str = "2026-09-21T10:00:00Z info 17 request accepted from 10.0.0.1 in 1.5 ms, user a@example.com";

/// Stages, and the line that they get. Values that a stage reads are extracted already, see [`entry`].
const STAGES: &[(&str, &str)] = &[
    ("json: {expressions: {ts: , level: , id: http.id}}", JSON),
    ("json: {expressions: {path: 'http.path || msg'}}", JSON),
    ("logfmt: {mapping: {ts: , level: , id: }}", LOGFMT),
    ("regex: {expression: '^(?P<time>\\S+) (?P<level>\\w+) (?P<id>\\d+) (?P<text>.*)$'}", PLAIN),
    ("replace: {expression: '(\\S+@\\S+)', replace: '***'}", PLAIN),
    ("template: {source: level, template: '{{ .Value | ToUpper }}'}", PLAIN),
    ("timestamp: {source: ts, format: RFC3339}", PLAIN),
    ("timestamp: {source: ts, format: '2006-01-02T15:04:05Z'}", PLAIN),
    ("output: {source: msg}", PLAIN),
    ("labels: {level: }", PLAIN),
    ("labeldrop: [host]", PLAIN),
    ("labelallow: [source]", PLAIN),
    ("static_labels: {env: live}", PLAIN),
    ("structured_metadata: {id: }", PLAIN),
    ("non_indexed_labels: {id: }", PLAIN),
    ("tenant: {source: level}", PLAIN),
    ("drop: {expression: 'healthz|favicon'}", PLAIN),
    ("match: {selector: '{source=\"stdout\"} |= \"accepted\"', stages: [{labels: {level: }}]}", PLAIN),
    ("sampling: {rate: 0.5}", PLAIN),
    ("limit: {rate: 1, burst: 1000000000000, drop: true}", PLAIN),
    ("multiline: {firstline: '^\\d{4}-'}", PLAIN),
    ("pack: {labels: [source]}", PLAIN),
    ("decolorize:", "\u{1b}[32mINFO\u{1b}[0m request accepted from \u{1b}[1m10.0.0.1\u{1b}[0m"),
    ("docker:", r#"{"log":"request accepted\n","stream":"stdout","time":"2026-09-21T10:00:00Z"}"#),
    ("cri:", "2026-09-21T10:00:00Z stdout F request accepted from 10.0.0.1"),
    ("metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}", PLAIN),
    ("geoip: {db: DATABASE, db_type: asn, source: address}", PLAIN),
    ("eventlogmessage: {source: event}", PLAIN),
];

fn stages(criterion: &mut Criterion) {
    let database = database::of_networks();
    let path = database.path().to_str().expect("a path in UTF-8");
    let mut group = criterion.benchmark_group("stages");
    for (stage, line) in [("static_labels: {}", PLAIN)].iter().chain(STAGES) {
        let stages = format!("[{{{}}}]", stage.replace("DATABASE", path));
        let mut pipeline = Pipeline::parse(&stages, Form::List).unwrap_or_else(|error| panic!("{stages}: {error}"));
        let (mut out, mut seq, entry) = (Vec::new(), 0, entry(line));
        group.bench_function(*stage, |bencher| {
            let next = || {
                seq += 1;
                Entry { seq: SeqRange::one(seq), ..entry.clone() }
            };
            let run = |entry| {
                pipeline.process(entry, NOW, &mut out);
                out.drain(..).for_each(|entry| drop(black_box(entry)));
            };
            bencher.iter_batched(next, run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// A line with labels as the driver gives them, and what earlier stages may have found.
fn entry(line: &str) -> Entry {
    let mut entry = Entry { line: line.into(), timestamp: NOW, arrived: NOW, ..Entry::default() };
    entry.labels = [("container_name", "bench"), ("host", "localhost"), ("source", "stdout")].into_iter().collect();
    for (name, value) in [
        ("ts", "2026-09-21T10:00:00Z"),
        ("level", "info"),
        ("id", "17"),
        ("msg", "accepted"),
        ("address", "203.0.113.7"),
        ("event", "Subject:\r\n\tSecurity ID:\tS-1\r\n\tAccount Name:\tweb"),
    ] {
        entry.extracted.insert(name.into(), Value::from(value));
    }
    entry
}

criterion_group!(benches, stages);
criterion_main!(benches);

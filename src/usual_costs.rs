//! What the presets and the pipelines of `docs/` and `examples/` cost, as docs/security.md says it.

use std::fs;
use std::path::Path;

use go_compat::work::LINE;
use promtail::pipeline::presets::{PRESETS, expand};
use promtail::pipeline::{Entry, Form, Pipeline, SeqRange};

/// Bytes of a line.
const LENGTH: usize = 1024;

/// Lines in which the presets for redaction find much; the others are on the pages.
const SECRETS: [&str; 3] = [
    "paid with 4111 1111 1111 1111 ",
    "10.0.0.1 192.168.12.34 ",
    "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc ",
];

/// Pages with pipelines, and with what programs print.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = fs::read_dir(root.join("examples/recipes")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = recipes.chain([root.join("docs/pipelines.md")]).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The fenced blocks whose first line begins so.
fn blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let parts = page.split("```").skip(1).step_by(2);
    parts.filter(|part| part.starts_with(kind)).filter_map(|part| Some(part.split_once('\n')?.1)).collect()
}

/// Stages of each set of options on a page: those of presets, and behind them those that are written out.
fn written(page: &str) -> Vec<String> {
    let mut all = Vec::new();
    for block in blocks(page, "yaml") {
        let mut presets = String::new();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            match line.trim().split_once(':') {
                Some(("loki-pipeline", names)) => {
                    presets = expand(names.trim()).unwrap();
                    all.push(presets.clone());
                }
                Some(("loki-pipeline-stages", " |")) => {
                    let mut stages = std::mem::take(&mut presets);
                    let is_inside =
                        |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
                    let inner: Vec<_> = std::iter::from_fn(|| lines.next_if(is_inside)).collect();
                    let cut = inner.first().map_or(0, |line| line.len() - line.trim_start().len());
                    inner.iter().for_each(|line| stages += &format!("{}\n", line.get(cut..).unwrap_or_default()));
                    all.push(stages);
                }
                _ => {}
            }
        }
    }
    all
}

/// A line of [`LENGTH`] bytes that says `text` again and again, by itself, in JSON and in logfmt.
fn long(text: &str) -> [String; 3] {
    let filled = |bytes: usize| text.chars().cycle().take(bytes).filter(char::is_ascii).collect::<String>();
    let quoted = |start: &str, end: &str| {
        let said = filled(LENGTH - start.len() - end.len()).replace(['"', '\\'], "'");
        format!("{start}{said}{end}")
    };
    [filled(LENGTH), quoted("{\"level\":\"error\",\"msg\":\"", "\"}"), quoted("level=error msg=\"", "\"")]
}

/// Units that a line costs in all stages, which have seen none.
fn units(stages: &Pipeline, line: &str) -> u64 {
    let mut pipeline = stages.clone();
    let labels = [("source", "stderr"), ("container_name", "web")].into_iter().collect();
    let entry = Entry { line: line.into(), labels, seq: SeqRange::one(0), ..Entry::default() };
    let mut out = Vec::new();
    pipeline.process(entry, 0, &mut out);
    pipeline.flush(0, &mut out);
    let cost = pipeline.take_cost();
    assert_eq!(cost.overruns, 0, "{line}");
    cost.spent
}

/// The number in front of ` units` behind these words of docs/security.md.
fn documented(words: &str) -> u64 {
    let page = include_str!("../docs/security.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, rest) = page.split_once(words).unwrap_or_else(|| panic!("docs/security.md does not say {words:?}"));
    let (number, _) = rest.split_once(" units").unwrap();
    number.trim().replace(',', "").parse().unwrap()
}

#[test]
fn a_line_costs_as_many_units_in_usual_pipelines_as_is_documented() {
    let pages = pages();
    let written: Vec<_> = pages.iter().flat_map(|page| written(page)).collect();
    assert!(written.len() > 8, "there are pages with stages");
    let printed = pages.iter().flat_map(|page| blocks(page, "text std")).flat_map(str::lines);
    let lines: Vec<_> = printed.chain(SECRETS).filter(|line| !line.is_empty()).flat_map(long).collect();
    let dearest = |stages: &str| {
        let pipeline = Pipeline::parse(stages, Form::List).unwrap_or_else(|error| panic!("{stages}: {error}"));
        lines.iter().map(|line| units(&pipeline, line)).max().unwrap()
    };
    let presets = PRESETS.iter().map(|preset| preset.text);
    let one = presets.chain(written.iter().map(String::as_str)).map(dearest).max().unwrap();
    let all = dearest(&PRESETS.map(|preset| preset.text).concat());
    for (measured, words) in [(one, "takes at most"), (all, "all presets together take at most")] {
        let said = documented(words);
        // A tenth more than was measured at most.
        assert!(measured <= said && said - said / 10 <= measured, "{words} {said}, and {measured} were measured");
    }
    assert!(LINE / all >= 100);
}

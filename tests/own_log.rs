//! The plugin's own log: each event is one machine-readable line on the output of its level, and an event of many
//! containers does not make many lines.

mod summary;

use go_compat::logfmt;
use serde_json::{Map, Value, json};
use telemetry::logging::LONGEST;
use telemetry::logging::quota::{NEWS, OF_A_KIND, TROUBLE};

use crate::harness::pages;
use crate::harness::plugin::{Output, Said, Start};
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Failure, Standin, Times};

/// The fields of a log line; in logfmt all values are texts.
type Fields = Map<String, Value>;

/// Parses a line, which must be in this format.
fn read(format: &str, line: &str) -> Fields {
    if format == "json" {
        return serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    // Parsing stops at an error, and then this field is missing.
    let ended = format!("{line} end=read");
    let pairs = logfmt::pairs(ended.as_bytes());
    let pair = |(name, value): (&str, Vec<u8>)| (name.to_owned(), String::from_utf8(value).expect("text").into());
    let mut fields: Fields = pairs.into_iter().map(pair).collect();
    assert!(fields.remove("end") == Some("read".into()), "only the beginning of {line} can be read: {fields:?}");
    fields
}

/// All lines of the log, each parsed and checked against the output of its level.
fn all(format: &str, scene: &Scene) -> Vec<Fields> {
    let said = scene.plugin.said().into_iter().filter(|said| said.output != Output::Nobody);
    said.map(|Said { output, line }| {
        let fields = read(format, &line);
        let expected = match fields["level"].as_str() {
            Some("error" | "warn") => Output::Stderr,
            Some("info") => Output::Stdout,
            level => panic!("{level:?} in {line}"),
        };
        assert_eq!(output, expected, "{line}");
        fields
    })
    .collect()
}

fn with_message<'a>(lines: &'a [Fields], message: &str) -> Vec<&'a Fields> {
    lines.iter().filter(|line| line["msg"].as_str().is_some_and(|said| said.starts_with(message))).collect()
}

fn unavailable() -> Failure {
    Failure::Status { code: 503, body: "<html>\n\"the ring\" is=unhealthy \u{1b}[31m\n</html>".into() }
}

#[test]
fn each_event_is_one_line_of_the_format_on_the_output_of_its_level() {
    for format in ["logfmt", "json"] {
        let mut scene = Scene::with(Start::default().set("LOG_FORMAT", format), Standin::builder());
        let web = scene.container("web").option("cache-disabled", "true").start();
        let _ = scene.container("refused").option("loki-timeout", "soon").try_start().expect_err("that is no duration");
        web.out("before");
        scene.wait_for_lines("web", 1);
        scene.loki.fail(unavailable(), Times::UntilHealed);
        web.out_all(numbered("during", 40, 100));
        assert_eventually!(scene.plugin.log().contains("Loki takes no lines"));
        scene.loki.heal();
        scene.wait_for_lines("web", 41);
        assert_eventually!(scene.plugin.log().contains("Loki takes lines again"));
        scene.loki.fail(
            Failure::Status { code: 400, body: "error parsing labels '{' with error: no".into() },
            Times::UntilHealed,
        );
        web.out("refused");
        assert_eventually!(scene.plugin.log().contains("lines were dropped"));
        scene.plugin.terminate();

        let lines = all(format, &scene);
        let one = |message: &str| match with_message(&lines, message).as_slice() {
            [line] => (*line).clone(),
            found => panic!("{message} is there {} times in {lines:#?}", found.len()),
        };
        let start = &lines[0];
        assert_eq!((&start["msg"], &start["version"]), (&json!("loki-rs serves"), &json!(env!("CARGO_PKG_VERSION"))));
        assert!(start.keys().all(|name| !name.contains("time")), "dockerd adds the time: {start:?}");
        let outage = one("Loki takes no lines");
        assert_eq!(outage["destination"], json!(scene.loki.push_url()));
        let error = outage["error"].as_str().expect("a text");
        assert!(error.contains("503") && error.contains("\"the ring\" is=unhealthy"), "{error}");
        assert_eq!(one("not logging")["container"], "refused");
        // In JSON, counts are numbers.
        let dropped = one("lines were dropped");
        assert_eq!(dropped["lines"], if format == "json" { json!(1) } else { json!("1") });
        assert_eq!(
            lines.last().map(|line| &line["msg"]),
            Some(&json!("loki-rs ends; what was not sent stays on disk"))
        );
    }
}

#[test]
fn what_is_too_long_is_cut_so_that_the_line_is_whole() {
    for format in ["logfmt", "json"] {
        let scene = Scene::with(Start::default().set("LOG_FORMAT", format), Standin::builder());
        let name = "é\"\n".repeat(20_000);
        let container = scene.container("long").with("ContainerName", json!(name)).option("loki-timeout", "soon");
        let _ = container.try_start().expect_err("that is no duration");
        assert_eventually!(scene.plugin.log().contains("not logging"));
        let lines = all(format, &scene);
        let refused = with_message(&lines, "not logging");
        let shown = refused[0]["container"].as_str().expect("a text");
        let (begin, mark) = shown.rsplit_once("…(+").expect("the mark of what is cut");
        let more: usize = mark.strip_suffix(" bytes)").and_then(|more| more.parse().ok()).expect("a number of bytes");
        assert!(name.starts_with(begin) && begin.len() > 4000 && begin.len() + more == name.len(), "{mark}");
        assert!(refused[0]["error"].as_str().is_some_and(|error| error.contains("loki-timeout: \"soon\"")));
        let longest = scene.plugin.said().iter().map(|said| said.line.len() + 1).max();
        assert!(longest.is_some_and(|longest| longest <= LONGEST), "{longest:?}");
    }
}

#[test]
fn the_same_trouble_of_many_containers_is_said_so_often_and_the_rest_is_counted() {
    let mut scene = Scene::new();
    let refused = 150;
    for at in 0..refused {
        let container = scene.container(&format!("c{at}")).option("loki-timeout", "soon");
        let _ = container.try_start().expect_err("that is no duration");
    }
    scene.plugin.terminate();
    let lines = all("logfmt", &scene);
    let said = with_message(&lines, "not logging").len() as u64;
    let unsaid: u64 = scene.plugin.sum_in_log("more lines were not said", "lines");
    assert_eq!(said + unsaid, refused, "{lines:#?}");
    assert!(said >= u64::from(OF_A_KIND) && unsaid > 0, "{said} were said, {unsaid} were not");
    let page = pages::page("docs/monitoring.md").replace('\n', " ");
    let bounds =
        format!("{TROUBLE} warnings and errors a minute, {OF_A_KIND} of them of one kind, and {NEWS} other lines");
    assert!(page.contains(&bounds), "docs/monitoring.md does not say: {bounds}");
}

#[test]
fn an_outage_that_comes_and_goes_is_not_said_each_time() {
    let scene = Scene::new();
    let web = scene.container("web").start();
    let outages = 5;
    for at in 0..outages {
        scene.loki.fail(unavailable(), Times::Next(1));
        web.out(format!("line {at}"));
        scene.wait_for_lines("web", at + 1);
    }
    let lines = all("logfmt", &scene);
    let said = |message: &str| with_message(&lines, message).len();
    let (begun, ended) = (said("Loki takes no lines"), said("Loki takes lines again"));
    assert!(begun >= 1 && begun < outages && ended <= begun, "{begun} and {ended} of {outages} outages");
}

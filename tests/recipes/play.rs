//! A page is played: its containers print, and what is in Loki then is held against it.

use std::collections::BTreeMap;
use std::fs;

use super::ask::Asked;
use super::moment;
use super::page::{Kept, Page, Printed};
use crate::harness::compose::{self, Service};
use crate::harness::dockerd::{Run, now};
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, assert_same};
use crate::standin::{Standin, Stored};

/// What all lines have, and pages do not show.
const LABELS: [&str; 3] = ["container_name", "compose_project", "host"];
const METADATA: [&str; 2] = ["container_id", "image_name"];

/// How much later than it was printed Docker notes a line.
const LATER: i64 = 5_000_000;

/// Lines of one time are moved apart by less than this.
const APART: i64 = 1_000_000;

/// Plays the page of this name.
pub fn page(name: &str) {
    let text = fs::read_to_string(compose::file(&format!("examples/recipes/{name}.md"))).expect("the page is there");
    let begun = now();
    let page = Page::read(&moment::moved(&text, begun));
    assert!(!page.printed.is_empty() && !page.kept.is_empty() && !page.queries.is_empty(), "{name} is a recipe");
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
    fs::write(file.path(), &page.compose).expect("it can be written to");
    let services = compose::services(file.path(), &[]);
    let with_tenants = page.kept.iter().any(|kept| kept.tenant.is_some());
    let asked = Asked::new(name, with_tenants);
    let scene = Scene::with(Start::default(), Standin::builder().auth(with_tenants));
    let mut last = 0;
    for (service, what) in &services {
        let run = start(&scene, (name, service, what), &asked);
        let its = |line: &&Printed| line.service.as_deref().is_none_or(|of| of == service);
        let lines: Vec<&Printed> = page.printed.iter().filter(its).collect();
        assert!(!lines.is_empty(), "{name}: {service} prints something");
        last = last.max(print(&run, &lines, begun));
        let printed: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
        assert_eventually!(run.lines().len() >= printed.len(), "docker logs shows what was printed");
        assert_same(&run.lines(), &printed);
        run.stop();
    }
    assert_eventually!(scene.plugin.files_of_containers() == 0, "all that is to be sent was sent");
    let expected = sorted(page.kept.iter().map(|kept| (kept.clone(), kept.time)).collect());
    let found = sorted(scene.loki.entries().iter().map(shown).collect());
    let table = |entries: &[(Kept, Option<i64>)]| -> Vec<String> {
        entries.iter().map(|(kept, _)| format!("{:?}", Kept { time: None, ..kept.clone() })).collect()
    };
    assert_same(&table(&found), &table(&expected));
    for ((found, time), (_, expected)) in found.iter().zip(&expected) {
        let time = time.expect("an entry has a time");
        match expected {
            Some(expected) => assert!((*expected..expected + APART).contains(&time), "{name}: {found:?} is of {time}"),
            // Docker's time is later than any that a line of these has.
            None => assert!(!moment::all(&text).contains(&time) && time > begun - 60 * 1_000_000_000, "{found:?}"),
        }
    }
    let log = scene.plugin.log();
    for complaint in [" WARN ", "ERROR ", "level=warn", "level=error"] {
        assert!(!log.contains(complaint), "{name}: nothing is wrong with a recipe:\n{log}");
    }
    asked.ask(&page.queries, last);
}

/// A container of a service, with the labels that Compose adds and the fields that the driver gets.
fn start(scene: &Scene, (project, name, service): (&str, &str, &Service), asked: &Asked) -> Run {
    assert_eq!(service.driver, "loki-rs", "{name}");
    let container = scene.dockerd.container(&format!("{project}-{name}-1"));
    let container = service.labels.iter().fold(container, |container, (name, value)| container.label(name, value));
    let container = container.label("com.docker.compose.project", project).label("com.docker.compose.service", name);
    let container = service.options.iter().fold(container, |container, (name, value)| container.option(name, value));
    asked.direct(container.option("loki-url", &scene.loki.push_url()), &scene.loki.push_url()).start()
}

/// Prints lines, each at the time that it names, or at that of the one before. Gives the last of these times.
fn print(run: &Run, lines: &[&Printed], begun: i64) -> i64 {
    let known = lines.iter().find_map(|line| moment::all(&line.line).first().copied());
    let mut at = known.unwrap_or(begun);
    for Printed { output, line, .. } in lines {
        at = moment::all(line).first().copied().unwrap_or(at);
        run.print_at(at + LATER, *output, format!("{line}\n").as_bytes());
    }
    at + LATER
}

/// An entry as pages show it, and its time.
fn shown(stored: &Stored) -> (Kept, Option<i64>) {
    let mut labels = stored.labels.clone();
    let mut metadata: BTreeMap<String, String> = stored.metadata.iter().cloned().collect();
    for name in LABELS {
        assert!(labels.remove(name).is_some(), "every line has the label {name}: {stored:?}");
    }
    for name in METADATA {
        assert!(metadata.remove(name).is_some(), "every line has the metadata {name}: {stored:?}");
    }
    labels.remove(super::ask::RUN);
    let text = String::from_utf8_lossy(&stored.line).into_owned();
    let tenant = (stored.tenant != "fake").then(|| stored.tenant.clone());
    (Kept { labels, text, time: None, tenant, metadata }, Some(stored.timestamp_ns))
}

fn sorted(mut entries: Vec<(Kept, Option<i64>)>) -> Vec<(Kept, Option<i64>)> {
    let key = |(kept, time): &(Kept, Option<i64>)| (Kept { time: None, ..kept.clone() }, *time);
    entries.sort_by_key(key);
    entries
}

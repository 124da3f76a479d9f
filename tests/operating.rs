//! The documentation is true: its commands and settings exist, quoted log lines are logged, formulas and figures are
//! right, and promises hold.
//!
//! - [`commands`] commands and settings; [`figures`] formulas and figures; [`links`] links of pages
//! - here: everything that can be observed

mod commands;
mod figures;
mod links;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::compose::file;
use crate::harness::pages::{self, rows, spans};
use crate::harness::plugin::Start;
use crate::harness::status::get;
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::{Failure, Standin, Stored, Times};

/// The documentation, or the part of it between the marks of this name.
fn guide(part: &str) -> String {
    if part.is_empty() { pages::all() } else { pages::marked(part) }
}

/// All sources of the program.
fn source() -> String {
    fn read(dir: &Path, all: &mut String) {
        for entry in fs::read_dir(dir).expect("a folder of sources").flatten() {
            match entry.path() {
                path if path.is_dir() => read(&path, all),
                path if path.extension().is_some_and(|extension| extension == "rs") => {
                    *all += &fs::read_to_string(&path).expect("it is text");
                }
                _ => {}
            }
        }
    }
    let mut all = String::new();
    ["src", "crates"].iter().for_each(|folder| read(&file(folder), &mut all));
    all
}

#[test]
fn what_it_quotes_of_the_log_is_said_there() {
    let source = source();
    let mut quoted = 0;
    for row in rows(&guide("symptoms")) {
        assert_eq!(row.len(), 4, "{row:?}");
        let is_said = |words: &&str| ["lines", "disk ", " wrong"].iter().any(|word| words.contains(word));
        let beside = spans(&row[3]).into_iter().filter(is_said);
        for words in spans(&row[1]).into_iter().chain(beside) {
            assert!(source.contains(&format!("{words}\"")), "the plugin never says: {words}");
            quoted += 1;
        }
    }
    assert!(quoted > 15, "{quoted}");
}

#[test]
fn metrics_that_it_names_are_there_with_the_reasons_that_it_names() {
    let source = source();
    let guide = guide("");
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let names = guide.match_indices("loki_rs_").map(|(at, _)| guide[at..].split(|letter| !is_name(letter)).next());
    let names: BTreeSet<&str> = names.flatten().collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        // Counters are registered without the suffix that the format adds.
        let registered = format!("\"{}\"", name.strip_suffix("_total").unwrap_or(name));
        assert!(source.contains(&registered), "there is no metric {name}");
    }
    let mut reasons = 0;
    for row in rows(&self::guide("symptoms")) {
        let Some((_, words)) = row[2].split_once("reason ") else { continue };
        for reason in spans(words) {
            assert!(source.contains(&format!("\"{reason}\"")), "nothing is counted under {reason}");
            reasons += 1;
        }
    }
    assert!(reasons > 5, "{reasons}");
}

#[test]
fn it_asks_for_what_the_manifest_asks_for_and_nothing_else() {
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file("config.json")).expect("it is there")).expect("it is JSON");
    let fields: BTreeSet<&str> = manifest.as_object().expect("a map").keys().map(String::as_str).collect();
    // No linux (capabilities, devices), no ipchost, no pidhost, no user.
    let known = ["description", "entrypoint", "env", "interface", "mounts", "network", "propagatedMount"];
    assert_eq!(fields, known.into_iter().collect());
    let mount = &manifest["mounts"][0];
    let asked = [
        format!("`network: {}`", manifest["network"]["type"].as_str().unwrap_or_default()),
        format!("`mount: {}`", mount["source"].as_str().unwrap_or_default()),
    ];
    let table = rows(&guide("privileges"));
    assert_eq!(table.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), asked);
    for option in mount["options"].as_array().expect("a list").iter().filter_map(|option| option.as_str()) {
        let told = if option == "ro" { "read-only" } else { option };
        assert!(option == "bind" || table[1][1].contains(told), "{option} is not told");
    }
}

#[test]
fn what_is_on_disk_is_for_root_alone() {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            found.push(entry.path());
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let scene = Scene::new();
    let run = scene.container("web").env("TOKEN=hunter2").start();
    run.out("a line");
    scene.wait_for_lines("web", 1);
    let mut found = Vec::new();
    walk(&scene.plugin.state(), &mut found);
    for path in &found {
        let mode = path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    let read = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let has = |words: &str| found.iter().any(|path| path.is_file() && read(path).contains(words));
    assert!(has("a line") && has("TOKEN=hunter2"), "as the guide warns: {found:?}");
    assert!(!scene.plugin.log().contains("hunter2"));
    run.stop();
}

#[test]
fn who_reads_metrics_reads_names_and_failures_and_no_line() {
    let scene = Scene::with(Start::default().serve_status(), Standin::builder());
    scene.loki.fail(Failure::Status { code: 503, body: "out of order".into() }, Times::UntilHealed);
    let run = scene.container("web").start();
    run.out("nobody's business");
    assert_eventually!(get(&scene.plugin, "/status.json").contains("out of order"), "the last error in words");
    for path in ["/metrics", "/status.json"] {
        let shown = get(&scene.plugin, path);
        assert!(shown.contains("web") && shown.contains(&scene.loki.url()), "{path}: {shown}");
        assert!(!shown.contains("business"), "{path}: {shown}");
    }
    scene.loki.heal();
    run.stop();
}

#[test]
fn a_container_prints_on_while_the_plugin_is_away_and_no_line_is_missing() {
    // With what dockerd adds, a line has a thousand bytes.
    for (name, before, meanwhile) in [("quiet", 1, 60), ("busy", 5000, 60)] {
        let mut scene = Scene::generous();
        let run = scene.container(name).start();
        let mut printed = numbered("before", before, 975);
        run.out_all(&printed);
        scene.wait_for_lines(name, before);
        // As docker plugin disable does.
        scene.plugin.terminate();
        let more = numbered("meanwhile", meanwhile, 975);
        // It panics when it has to wait for long.
        run.out_all(&more);
        scene.plugin.restart();
        printed.extend(more);
        scene.assert_lines_in_loki(name, &printed);
        assert_same(&run.lines(), &printed);
        run.stop();
    }
    assert!(guide("").contains("which takes 64 KB, and up to 1 MB of one that prints much"));
}

#[test]
fn streams_are_as_many_as_the_formula_says() {
    let scene = Scene::new();
    let containers = ["one", "two", "three"];
    let levels = ["debug", "info", "error", "no level at all"];
    for name in containers {
        let run = scene.container(name).option("loki-pipeline", "json").start();
        for level in levels {
            let line = format!(r#"{{"level":"{level}","msg":"x"}}"#);
            run.out(&line);
            run.err(&line);
        }
        scene.wait_for_lines(name, 2 * levels.len());
        run.stop();
    }
    let labels: BTreeSet<String> =
        scene.loki.entries().iter().map(|Stored { labels, .. }| format!("{labels:?}")).collect();
    assert_eq!(labels.len(), containers.len() * 2 * levels.len(), "{labels:#?}");
    let guide = guide("").replace('\n', " ");
    assert!(guide.contains("50 hosts with 40 containers each, both outputs and three levels make 12,000 streams"));
    assert_eq!(50 * 40 * 2 * 3, 12_000);
}

//! Every option is accepted or refused as documented, as `docker run` shows it. The one [`table`] must have a row for
//! each row of the program's own.

mod table;

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use loki_rs::config::OPTIONS;

use crate::harness::dockerd::Run;
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, patience};
use crate::standin::{Standin, State};
use crate::transport::stage::{Authority, Files};
use table::{NOTED, NOTHING_IS_BAD, ROWS, Row, Typed};

/// The program, a Loki, and files for options that name some.
struct Stage {
    scene: Scene,
    files: Files,
}

// === impl Stage ===

impl Stage {
    fn new() -> Self {
        let (files, authority) = (Files::new(), Authority::new());
        let client = authority.vouch_for("client");
        for (name, content) in [
            ("ca.pem", authority.pem()),
            ("cert.pem", client.certificate),
            ("key.pem", client.key),
            ("password", "hunter2\n".to_owned()),
            ("stages.yaml", "pipeline_stages:\n- labels: {level: }\n".to_owned()),
            ("empty", String::new()),
        ] {
            files.put(name, &content);
        }
        Self { scene: Scene::with(Start::default().set("NO_PROXY", "*"), Standin::builder()), files }
    }

    /// A text of the tables, with its placeholders replaced.
    fn fill(&self, text: &str) -> String {
        let files = self.files.path("");
        let files = files.to_str().expect("temporary directories have plain names").trim_end_matches('/');
        let loki = &self.scene.loki;
        text.replace("$LOKI", &loki.push_url()).replace("$HOST", &loki.url()).replace("$FILES", files)
    }

    /// Starts a container with these options, and stops it when Loki has its line.
    fn delivers(&self, options: &[(&str, &str)]) {
        // A container is known by its id, so each gets another one; its line names the options.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let line = format!("{number}: {options:?}");
        let run = self.start(&format!("c{number}"), options);
        let run = run.unwrap_or_else(|refusal| panic!("{options:?} is refused: {refusal}"));
        run.out(&line);
        let arrived = |state: &State| state.entries().iter().any(|entry| entry.line == line.as_bytes());
        assert!(self.scene.loki.wait_for(arrived, patience()), "no line arrives with {options:?}");
        run.stop();
    }

    fn refuses(&self, options: &[(&str, &str)]) -> String {
        self.start("refused", options).expect_err(&format!("{options:?} is taken"))
    }

    fn start(&self, name: &str, options: &[(&str, &str)]) -> Result<Run, String> {
        let container = self.scene.container(name).label("team", "a").env("TIER=front");
        let typed = options.iter().map(|(key, value)| (*key, self.fill(value)));
        typed.fold(container, |container, (key, value)| container.option(key, &value)).try_start()
    }
}

/// Checks that an error names the option first and ends with advice.
fn assert_helps(key: &str, refusal: &str, options: impl Debug) {
    let about = refusal.split_once(": ").map(|(about, _)| about);
    assert_eq!(about, Some(key), "{options:?}: {refusal}");
    assert!(refusal.contains('(') && refusal.ends_with(')'), "it says no way out: {refusal}");
    assert!(!refusal.contains('\n') && !refusal.contains("; "), "it is one sentence: {refusal}");
    assert!(!refusal.contains("hunter2"), "it tells a secret: {refusal}");
}

/// A key for the row: a row may stand for several.
fn typed_key(key: &str) -> String {
    key.replace('*', "disabled")
}

#[test]
fn every_option_has_a_row() {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
    let options: Vec<&str> = OPTIONS.iter().map(|spec| spec.key).collect();
    assert_eq!(rows, options, "the tables part: give a new option a row, in the same place");
    for Row { key, good, bad, .. } in ROWS {
        let of_it = |typed: Typed| typed.iter().any(|(typed, _)| *typed == *key || typed_key(key) == *typed);
        assert!(good.iter().any(|typed| of_it(typed)), "{key} has no good value");
        assert_eq!(bad.is_empty(), NOTHING_IS_BAD.contains(key), "{key} has a bad value, or a reason to have none");
        assert!(bad.iter().all(|(typed, _)| of_it(typed)), "{key}");
    }
}

#[test]
fn a_good_value_starts_a_container_and_its_line_arrives() {
    let stage = Stage::new();
    for options in ROWS.iter().flat_map(|row| row.good) {
        stage.delivers(options);
    }
}

#[test]
fn a_bad_value_is_refused_in_a_sentence_that_names_the_option_and_says_what_to_do() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for row in ROWS {
        for (options, expected) in row.bad {
            let refusal = stage.refuses(options);
            if refusal != stage.fill(expected) {
                wrong.push(format!("{options:?}\n     is: {refusal}\n not: {expected}"));
            }
            assert_helps(row.key, &refusal, options);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.scene.loki.entries(), []);
    assert_eq!(stage.scene.plugin.names_in("rings"), [""; 0], "nothing is left of what did not start");
}

#[test]
fn an_empty_value_is_none_or_refused() {
    let stage = Stage::new();
    for Row { key, empty, .. } in ROWS {
        let typed = typed_key(key);
        let options = [(typed.as_str(), "")];
        match empty {
            None => stage.delivers(&options),
            Some(expected) => {
                let refusal = stage.refuses(&options);
                assert_eq!(refusal, *expected);
                assert_helps(key, &refusal, options);
            }
        }
    }
}

#[test]
fn what_can_be_understood_is_taken_and_said() {
    let stage = Stage::new();
    for (options, note) in NOTED {
        let before = stage.scene.plugin.log().len();
        stage.delivers(options);
        let said = || stage.scene.plugin.log().split_off(before);
        let note = stage.fill(note);
        assert_eventually!(said().contains(&note), "{options:?}: {note}, but it says: {}", said());
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let stage = Stage::new();
    let refusal = stage.refuses(&[
        ("loki-url", "localhost:3100"),
        ("loki-batch-size", "-1"),
        ("loki-timeout", "0s"),
        ("labels-regex", "("),
        ("loki-relabel-config", "foo"),
        ("max-size", ""),
        ("no-file", "yes"),
        ("loki-pasword", "hunter2"),
    ]);
    let keys = [
        "loki-url",
        "loki-batch-size",
        "loki-timeout",
        "labels-regex",
        "loki-relabel-config",
        "max-size",
        "no-file",
        "loki-pasword",
    ];
    for key in keys {
        assert_eq!(refusal.matches(&format!("{key}: ")).count(), 1, "{key}: {refusal}");
    }
    assert!(refusal.contains("did you mean loki-password?") && !refusal.contains("hunter2"), "{refusal}");

    // The same for mistakes that show only with the container's own data.
    let refusal = stage.refuses(&[
        ("loki-tls-ca-file", "nowhere.pem"),
        ("loki-username", "me"),
        ("loki-password-file", "nowhere"),
        ("tag", "{{.Nmae}}"),
        ("loki-external-labels", "a={{.Nope}}"),
    ]);
    for key in ["loki-tls-ca-file", "loki-password-file", "tag", "loki-external-labels"] {
        assert_eq!(refusal.matches(&format!("{key}: ")).count(), 1, "{key}: {refusal}");
    }
}

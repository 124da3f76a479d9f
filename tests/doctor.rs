//! `loki-rs doctor` predicts, before a container exists, whether its lines will arrive.

use std::net::TcpListener;
use std::process::Command;

use crate::standin::{Failure, Standin, Times};

/// Runs it; returns whether it succeeded, and its output.
fn doctor(options: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    command.arg("doctor").args(["--name", "web", "--label", "tier=front"]).env_clear();
    for option in options {
        command.args(["--log-opt", option]);
    }
    let output = command.envs(environment.iter().copied()).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("it is text");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}: {said}", output.status);
    (output.status.success(), said)
}

/// An option with the URL of a Loki.
fn url(loki: &Standin) -> String {
    format!("loki-url={}", loki.push_url())
}

fn assert_says(said: &str, words: &[&str]) {
    for words in words {
        assert!(said.contains(words), "it should say {words:?}:\n{said}");
    }
}

#[test]
fn it_pushes_a_line_and_reads_it_again_and_says_what_is_in_force() {
    let loki = Standin::start();
    let (well, said) = doctor(&[&url(&loki), "labels=tier", "loki-timeout=5s"], &[("LOKI_BATCH_WAIT", "3s")]);
    assert!(well, "{said}");
    assert_says(
        &said,
        &[
            "\"5s\"",
            "--log-opt",
            "LOKI_BATCH_WAIT of the plugin",
            "built in",
            "{container_name=\"web\"",
            "tier=\"front\"",
            "source=\"stderr\"",
            "beside each line: container_id, image_name",
            "ok    it takes a line",
            "ok    and gives it back",
            "would be logged to Loki",
        ],
    );
    assert_eq!(loki.count(&[("app", "loki-rs-doctor")]), 1);
}

#[test]
fn each_failure_has_its_likely_cause_and_the_next_step() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there is a port");
    let (well, said) = doctor(&[&format!("loki-url=http://{free}")], &[]);
    assert!(!well);
    assert_says(&said, &["FAIL  Loki takes no connections: Connection refused", "is Loki running"]);

    let (well, said) = doctor(&["loki-url=http://loki.invalid:3100"], &[]);
    assert!(!well);
    assert_says(&said, &["FAIL  loki.invalid:3100 cannot be resolved", "not that of a compose file"]);

    let strict = Standin::builder().auth(true).start();
    let (well, said) = doctor(&[&url(&strict)], &[]);
    assert!(!well);
    assert_says(&said, &["FAIL  it takes no line: Loki answered 401: no org id", "loki-tenant-id"]);
    assert!(doctor(&[&url(&strict), "loki-tenant-id=team-a"], &[]).0, "with a tenant it goes");

    let tls = url(&strict).replace("http://", "https://");
    let (well, said) = doctor(&[&tls], &[]);
    assert!(!well);
    assert_says(&said, &["FAIL  Loki cannot be reached", "speaks no TLS"]);
}

#[test]
fn a_line_that_is_taken_and_not_kept_is_noticed() {
    let loki = Standin::start();
    loki.fail(Failure::Status { code: 204, body: String::new() }, Times::UntilHealed);
    let (well, said) = doctor(&[&url(&loki), "loki-timeout=500ms"], &[]);
    assert!(!well, "{said}");
    assert_says(&said, &["FAIL  the line was taken and cannot be found", "loki_discarded_samples_total"]);
}

#[test]
fn of_two_destinations_each_is_looked_at() {
    let (up, down) = (Standin::start(), Standin::start());
    down.fail(Failure::Status { code: 503, body: "no".into() }, Times::UntilHealed);
    let (well, said) = doctor(&[&format!("{},{}", url(&down), up.push_url())], &[]);
    assert!(!well);
    assert_says(&said, &["FAIL  it takes no line: Loki answered 503: no", "ok    and gives it back"]);
}

#[test]
fn what_docker_run_would_refuse_is_said_whole_and_nothing_secret() {
    let (well, said) = doctor(
        &["loki-url=http://me:hunter2@bad host", "loki-timeout=10", "loki-password=hunter2", "loki-pasword=hunter2"],
        &[],
    );
    assert!(!well);
    assert_says(
        &said,
        &[
            "would not start",
            "loki-timeout: \"10\" is not a duration (try 10s, 500ms, 1m)",
            "did you mean loki-password?",
        ],
    );
    assert!(!said.contains("hunter2"), "{said}");
}

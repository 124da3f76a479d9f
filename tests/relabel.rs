//! `loki-rs relabel` runs rules without a container.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the command on rules, with a standard input.
fn run(arguments: &[&str], rules: &str, input: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(rules.as_bytes()).expect("it can be written to");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    command.args(["relabel", arguments[0]]).arg(file.path()).args(&arguments[1..]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary can be started");
    // A command that rejects its rules reads no input.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

const RULES: &str = "[{source_labels: [app], regex: 'w(.*)', target_label: x, replacement: $1}, \
                      {source_labels: [app], regex: db, action: drop}]";

#[test]
fn rules_are_checked() {
    let good = run(&["check"], RULES, "");
    assert_eq!((good.status.code(), good.stdout.len(), good.stderr.len()), (Some(0), 0, 0));
    let bad = run(&["check"], "- action: hashmod\n  target_label: a\n", "");
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    let why = "rule 1, line 1, column 3: relabel configuration for hashmod requires non-zero modulus\n";
    assert!(said.ends_with(why) && said.lines().count() == 1, "{said}");
}

#[test]
fn labels_go_in_and_come_out_as_text_or_as_json() {
    for (arguments, input, expected) in [
        (&["run"][..], "app=web,tier=\"a\"\napp=db\n\n", "{app=\"web\", tier=\"\\\"a\\\"\", x=\"eb\"}\ndropped\n"),
        (
            &["run", "--json"],
            "{\"labels\":{\"app\":\"web\"}}\n{\"labels\":{\"app\":\"db\"}}\n{}\n",
            "{\"labels\":{\"app\":\"web\",\"x\":\"eb\"}}\n{\"dropped\":true}\n{\"labels\":{}}\n",
        ),
    ] {
        let output = run(arguments, RULES, input);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    }
}

#[test]
fn a_line_that_is_none_is_told_with_its_number() {
    for (arguments, input) in [(&["run"][..], "a=1\nodd\n"), (&["run", "--json"], "{}\n[1]\n")] {
        let output = run(arguments, RULES, input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("line 2 of the input: "), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

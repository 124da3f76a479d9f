//! `loki-rs pipeline` runs stages without a container.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::pages;

/// Runs the command on stages, with a standard input.
fn run(arguments: &[&str], stages: &str, input: &[u8]) -> Output {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(stages.as_bytes()).expect("it can be written to");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    command.args(["pipeline", arguments[0]]).arg(file.path()).args(&arguments[1..]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary can be started");
    // A command that rejects its stages reads no input.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

/// The standard output, or the error.
fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    text(&output.stdout)
}

const STAGES: &str = "pipeline_stages:\n- logfmt: {mapping: {level: , msg: }}\n- labels: {level: }\n\
                      - drop: {source: level, value: debug}\n- output: {source: msg}\n";

const NOON: &str = "2024-01-31T12:00:00Z";

#[test]
fn stages_are_checked_as_a_file_and_as_an_option() {
    for stages in [STAGES, "- docker:\n", "pipeline_stages:\n"] {
        let good = run(&["check"], stages, b"");
        assert_eq!((good.status.code(), good.stdout.len(), good.stderr.len()), (Some(0), 0, 0), "{stages}");
    }
    let bad = run(&["check"], "- regx: {expression: a}\n- regex: {expression: '('}\n", b"");
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains(": line 1, column 3: Unknown stage type: regx (did you mean regex?)\n"), "{said}");
    assert!(said.contains(": line 2, column 23: invalid regex stage config: could not compile"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn lines_come_out_as_they_would_be_sent() {
    let input = b"level=info msg=\"one two\"\nlevel=debug msg=x\n\nno logfmt\n";
    let output = run(&["run", "--label", "app=web", "--now", NOON], STAGES, input);
    assert_eq!(
        shown(&output),
        "2024-01-31T12:00:00.000000000Z {app=\"web\", level=\"info\"} one two\n\
         2024-01-31T12:00:00.000000000Z {app=\"web\"} \n\
         2024-01-31T12:00:00.000000000Z {app=\"web\"} no logfmt\n",
        "a blank line is a line"
    );
}

#[test]
fn json_has_everything_that_an_entry_has() {
    let stages = "- regex: {expression: '^(?P<word>\\w+)'}\n- structured_metadata: {word: }\n- tenant: {value: team}\n";
    let input = br#"{"line": "one two", "labels": {"a": "b"}, "timestamp": "2024-01-31T13:00:00.5+01:00", "extracted": {"n": 1.5}}
{"line_base64": "/w=="}
"#;
    let output = shown(&run(&["run", "--json", "--now", NOON], stages, input));
    let lines: Vec<serde_json::Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            serde_json::json!({
                "line": "one two", "labels": {"a": "b", "__tenant_id__": "team"}, "tenant": "team",
                "timestamp": "2024-01-31T12:00:00.500000000Z", "structured_metadata": [["word", "one"]],
                "extracted": {"a": "b", "n": 1.5, "word": "one"},
            }),
            serde_json::json!({
                "line_base64": "/w==", "labels": {"__tenant_id__": "team"}, "tenant": "team",
                "timestamp": "2024-01-31T12:00:00.000000000Z", "structured_metadata": [], "extracted": {},
            }),
        ]
    );
}

#[test]
fn each_change_of_a_stage_is_shown_without_colours_in_a_pipe() {
    let input = b"level=info msg=x\nlevel=debug msg=y\n";
    let output = shown(&run(&["run", "--inspect", "--now", NOON], STAGES, input));
    let expected = "line 1 2024-01-31T12:00:00.000000000Z {} level=info msg=x\n  logfmt:\n    + extracted level: \"info\"\n    \
                    + extracted msg: \"x\"\n  labels:\n    + label level: \"info\"\n  drop:\n    nothing changes\n  output:\n    \
                    ~ line: \"level=info msg=x\" → \"x\"\n2024-01-31T12:00:00.000000000Z {level=\"info\"} x\n";
    assert!(output.starts_with(expected), "{output}");
    assert!(output.ends_with("  drop: dropped\n"), "{output}");
}

#[test]
fn stages_inside_of_others_are_told_of_under_their_name() {
    let stages = "- match: {selector: '{app=\"web\"}', stages: [{output: {source: app}}]}\n\
                  - match: {selector: '{app=\"db\"}', action: drop}\n";
    let output = shown(&run(&["run", "--inspect", "--now", NOON, "--label", "app=web"], stages, b"x\n"));
    let expected = "  match, inside:\n    output:\n      ~ line: \"x\" → \"web\"\n  match:\n    nothing changes\n";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn nobody_waits_for_a_limit_and_what_is_held_comes_at_the_end() {
    let stages = "- limit: {rate: 0.001, burst: 1}\n- multiline: {firstline: ^A}\n- pack: {}\n";
    let output = shown(&run(&["run", "--now", NOON], stages, b"A\nmore\nA\n"));
    // The clock is advanced by the wait of the limit, so the third line comes after it.
    assert_eq!(
        output,
        "2024-01-31T12:00:00.000000000Z {} {\"_entry\":\"A\\nmore\"}\n\
         2024-01-31T12:16:40.000000000Z {} {\"_entry\":\"A\"}\n"
    );
}

#[test]
fn what_was_counted_is_shown_at_the_end() {
    let stages = "- metrics: {lines: {type: counter, description: all, config: {match_all: true, action: inc}}}\n";
    let output = run(&["run", "--metrics", "--label", "app=web"], stages, b"a\nb\n");
    let expected = "# HELP promtail_custom_lines all\n# TYPE promtail_custom_lines counter\n\
                    promtail_custom_lines{app=\"web\"} 2\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

/// The output of `pipeline show` for presets.
fn show(presets: &str) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_loki-rs")).args(["pipeline", "show", presets]).output();
    command.expect("the binary can be started")
}

#[test]
fn what_is_shown_of_presets_is_a_pipeline_that_does_the_same() {
    for presets in ["json", "json,redact-email", "java", "redact-card, python", "nginx", "go", "postgres", "logfmt"] {
        let stages = shown(&show(presets));
        assert_eq!(shown(&run(&["check"], &stages, b"")), "", "{presets}");
    }
    let stages = shown(&show("json,redact-email"));
    let line = b"{\"level\":\"WARNING\",\"msg\":\"to a@example.com\"}\n";
    assert_eq!(
        shown(&run(&["run", "--now", NOON], &stages, line)),
        "2024-01-31T12:00:00.000000000Z {level=\"warn\"} {\"level\":\"WARNING\",\"msg\":\"to <email>\"}\n"
    );
    let refused = show("json,redact-mail");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(
        (refused.status.code(), said.as_str()),
        (Some(2), "\"redact-mail\" is not a preset, did you mean redact-email?\n")
    );
}

/// Runs each pipeline after `<!-- pipeline -->` on the lines behind it, and compares the output.
#[test]
fn pipelines_of_the_recipes_give_what_is_shown() {
    let page = pages::page("docs/recipes.md");
    let mut tried = 0;
    for part in page.split("<!-- pipeline -->\n").skip(1) {
        let block = |kind: &str| {
            let from = part.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind} in {part}")).1;
            from.split_once("```").expect("a block ends").0
        };
        let (stages, session) = (block("yaml"), block("console"));
        // `< ` marks an input line; all else is the output of `pipeline run`.
        let input: Vec<&str> = session.lines().filter_map(|line| line.strip_prefix("< ")).collect();
        let said: Vec<&str> = session.lines().filter(|line| !line.starts_with("< ")).collect();
        assert!(!input.is_empty(), "{part}");
        let input = format!("{}\n", input.join("\n"));
        let output = shown(&run(&["run", "--now", NOON], stages, input.as_bytes()));
        assert_eq!(output.lines().collect::<Vec<_>>(), said, "{stages}");
        tried += 1;
    }
    assert_eq!(tried, 6);
}

#[test]
fn a_line_that_is_none_is_told_with_its_number() {
    let output = run(&["run", "--json"], STAGES, b"{\"line\": \"\"}\n{}\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("line 2 of the input: "), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

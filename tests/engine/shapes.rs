//! Whatever bytes a container writes: `docker logs` shows the same bytes that the same container has under a driver
//! of Docker's own.

use super::stage::{Logs, Scene, numbered};

/// Docker's drivers to compare with. `json-file` replaces what is no UTF-8, and some of what dockerd has cut in the
/// middle of a character; `local` keeps bytes as they are.
const JSON_FILE: &str = "json-file";
const LOCAL: &str = "local";

/// Runs the same steps under the plugin and under Docker's driver, and compares `docker logs` byte for byte. Then
/// looks whether Loki has these lines, one for each line of the container.
#[track_caller]
fn compare<L: AsRef<[u8]>>(name: &str, driver: &str, steps: &[&str], in_loki: impl IntoIterator<Item = L>) -> Logs {
    let scene = Scene::new(name);
    let ours = scene.container("ours").run_well(steps);
    let theirs = scene.bare_container("theirs", driver).run_well(steps);
    let logs = ours.logs(&[]);
    assert_eq!(logs, theirs.logs(&[]), "docker logs with the plugin and with {driver}");
    assert_eq!(
        ours.logs(&["--tail", "1"]),
        theirs.logs(&["--tail", "1"]),
        "the last line with the plugin and with {driver}"
    );
    scene.expect_lines(&ours, in_loki);
    logs
}

#[test]
fn nothing_at_all() {
    compare("nothing", JSON_FILE, &[], [""; 0]);
}

#[test]
fn a_line_of_70_000_bytes_is_one_line() {
    let line = "x".repeat(70_000);
    let logs = compare("long", JSON_FILE, &["long:70000", "lines:1"], [&line, "line 1"]);
    assert_eq!(logs.stdout, format!("{line}\nline 1\n").as_bytes());
}

#[test]
fn lines_as_long_as_what_dockerd_cuts_at() {
    // dockerd hands 16,384 bytes on at a time: one less, just that, and the double of it are where an end can be
    // missed.
    let lengths = [16_383, 16_384, 16_385, 32_768];
    let steps = lengths.map(|length| format!("long:{length}"));
    compare("cut", JSON_FILE, &steps.each_ref().map(String::as_str), lengths.map(|length| "x".repeat(length)));
}

#[test]
fn no_newline_at_the_end() {
    let logs = compare("unended", JSON_FILE, &["lines:2", "text:the end"], ["line 1", "line 2", "the end"]);
    assert_eq!(logs.stdout, b"line 1\nline 2\nthe end");
}

#[test]
fn a_long_line_without_newline_at_the_end() {
    let end = "y".repeat(20_000);
    compare("long-unended", JSON_FILE, &["lines:1", &format!("text:{end}")], ["line 1", &end]);
}

#[test]
fn empty_lines() {
    let logs = compare("empty", JSON_FILE, &["empty:3", "lines:1", "empty:2"], ["", "", "", "line 1", "", ""]);
    assert_eq!(logs.stdout, b"\n\n\nline 1\n\n\n");
}

#[test]
fn control_characters_and_text_beyond_ascii() {
    let steps = ["hex:610d0a", "hex:00010207091b5b306d0a", "text:größer 🦀 \u{feff}\u{2028}\n"];
    let lines = ["a\r", "\0\u{1}\u{2}\u{7}\t\u{1b}[0m", "größer 🦀 \u{feff}\u{2028}"];
    compare("control", JSON_FILE, &steps, lines);
}

#[test]
fn bytes_that_are_no_text() {
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let steps = [&format!("hex:{hex}0a"), "hex:fffec3280a", "hex:c3"];
    let lines = [&bytes[..], b"\xff\xfe\xc3\x28", b"\xc3"];
    compare("bytes", LOCAL, &steps, lines);
}

#[test]
fn both_outputs_at_once() {
    let scene = Scene::new("mixed");
    let steps = ["to:both", "lines:50", "to:stderr", "long:20000", "empty:1", "to:stdout", "text:end"];
    let ours = scene.container("ours").run_well(&steps);
    let theirs = scene.bare_container("theirs", JSON_FILE).run_well(&steps);
    let logs = ours.logs(&[]);
    assert_eq!(logs, theirs.logs(&[]));
    assert_eq!(logs.lines().len(), 26);
}

#[test]
fn timestamps_are_one_a_line_and_rise() {
    let scene = Scene::new("stamped");
    let container = scene.container("times").run_well(&["lines:20"]);
    let lines = container.lines(&["--timestamps"]);
    let (times, texts): (Vec<_>, Vec<_>) = lines.iter().map(|line| line.split_once(' ').unwrap()).unzip();
    assert_eq!(texts, numbered(20));
    assert!(times.iter().all(|time| time.len() == "2006-01-02T15:04:05.000000000Z".len()), "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
}

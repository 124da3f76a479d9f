//! What lines are counted as.

use super::*;

fn counted(stages: &str, lines: &[&str]) -> String {
    let mut scene = Scene::new(stages);
    for line in lines {
        scene.line(line, SECOND);
    }
    let families = scene.pipeline.registry().unwrap().collect(SECOND);
    let text = exposition::text(&families);
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn counters_gauges_and_histograms_count() {
    let json = "- json: {expressions: {n: , t: }}\n- metrics:\n    m: ";
    for (metric, expected) in [
        ("{type: Counter, config: {match_all: true, action: inc}}", "promtail_custom_m{source=\"stdout\"} 3\n"),
        ("{type: counter, prefix: my_, source: n, config: {action: add}}", "my_m{source=\"stdout\"} 7.5\n"),
        ("{type: counter, source: t, config: {value: x, action: inc}}", "promtail_custom_m{source=\"stdout\"} 2\n"),
        (
            "{type: counter, config: {match_all: true, count_entry_bytes: true, action: add}}",
            "promtail_custom_m{source=\"stdout\"} 60\n",
        ),
        ("{type: gauge, source: n, config: {action: set}}", "promtail_custom_m{source=\"stdout\"} 5\n"),
        ("{type: gauge, source: n, config: {action: sub}}", "promtail_custom_m{source=\"stdout\"} -6.5\n"),
        ("{type: gauge, source: t, config: {action: dec}}", "promtail_custom_m{source=\"stdout\"} -3\n"),
        (
            "{type: histogram, source: n, config: {buckets: [2, 5]}}",
            "promtail_custom_m_bucket{source=\"stdout\",le=\"2\"} 1\npromtail_custom_m_bucket{source=\"stdout\",le=\"5\"} 3\n\
             promtail_custom_m_bucket{source=\"stdout\",le=\"+Inf\"} 3\npromtail_custom_m_sum{source=\"stdout\"} 6.5\n\
             promtail_custom_m_count{source=\"stdout\"} 3\n",
        ),
    ] {
        let lines = [r#"{"n": 2.5, "t": "x"}"#, r#"{"n": -1, "t": "yy"}"#, r#"{"n": "5", "t": "x"}"#];
        assert_eq!(counted(&format!("{json}{metric}"), &lines), expected, "{metric}");
    }
}

#[test]
fn dropped_lines_are_not_counted_by_what_comes_behind() {
    let stages = "- match: {selector: '{source=\"stdout\"} |= \"debug\"', action: drop}\n\
                  - metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}";
    let expected =
        "logentry_dropped_lines_total{reason=\"match_stage\"} 1\npromtail_custom_lines{source=\"stdout\"} 1\n";
    assert_eq!(counted(stages, &["debug", "info"]), expected);
}

#[test]
fn series_have_the_labels_of_the_line_but_for_inner_ones() {
    let stages = "- tenant: {value: t}\n- static_labels: {good: '1'}\n- metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}";
    assert_eq!(counted(stages, &["x"]), "promtail_custom_lines{good=\"1\",source=\"stdout\"} 1\n");
}

#[test]
fn a_clone_shares_what_was_compiled_and_not_what_is_held() {
    let mut scene = Scene::new("- multiline: {firstline: ^A}");
    let fresh = scene.pipeline.clone();
    scene.line("A", 0);
    assert_eq!((scene.pipeline.held_since(), fresh.held_since()), (Some(0), None));
}

#[test]
fn lines_that_a_stage_cannot_read_are_counted_when_it_drops_them() {
    let json = "- json: {expressions: {message: }, drop_malformed: true}";
    assert_eq!(counted(json, &["no JSON", "{}"]), "logentry_dropped_lines_total{reason=\"json_stage\"} 1\n");
    let event = "- json: {expressions: {message: }}\n- eventlogmessage:";
    let expected = "logentry_dropped_lines_total{reason=\"eventlogmessage_stage\"} 1\n";
    assert_eq!(counted(event, &["{\"message\": null}", "{\"message\": \"A: b\"}"]), expected);
}

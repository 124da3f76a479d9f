//! What templates and replacements make of lines.

use super::*;

#[test]
fn a_template_writes_a_value_or_takes_it_away() {
    let json = "- json: {expressions: {a: , n: , flag: , none: }}\n- template: ";
    for (template, expected) in [
        ("{source: a, template: '{{ ToUpper .Value }}'}", Some("X")),
        ("{source: a, template: '{{ .n }} {{ .flag }} {{ .none }} {{ .source }}'}", Some("125 true <no value> stdout")),
        ("{source: a, template: '{{ if .flag }}yes{{ end }}'}", Some("yes")),
        ("{source: a, template: '{{ .Entry | trunc 4 }}'}", Some("{\"a\"")),
        ("{source: a, template: ''}", None),
        ("{source: a, template: '{{ if eq .n 125 }}{{ end }}'}", Some("x")),
        ("{source: a, template: plain}", Some("plain")),
    ] {
        let stages = format!("{json}{template}");
        let line = r#"{"a": "x", "n": 125, "flag": true, "none": null}"#;
        assert_eq!(extracted(&stages, line, "a").as_deref(), expected, "{template}");
    }
    assert_eq!(extracted("- template: {source: new, template: 'v'}", "x", "new").as_deref(), Some("v"));
    let wrong = Pipeline::parse("- template: {source: a, template: '{{ nofunc }}'}", Form::List);
    assert!(wrong.is_err_and(|error| error.to_string().contains("nofunc")));
}

#[test]
fn groups_are_replaced_and_extracted() {
    for (replace, line, expected) in [
        ("{expression: 'a(b)c', replace: x}", "abc abc", "axc axc"),
        ("{expression: 'abc', replace: x}", "abc", "abc"),
        ("{expression: '(b)', replace: $1}", "abc", "a$1c"),
        ("{expression: '(b)'}", "abc", "ac"),
        ("{expression: '(a(b)c)', replace: '[{{ .Value }}]'}", "abcd", "[abc]d"),
        ("{expression: '(x)?(b)', replace: '{{ ToUpper .Value }}'}", "abc", "aBc"),
        ("{expression: '(b)', replace: '{{ nofunc }}'}", "abc", "abc"),
        ("{expression: '(b)', replace: '{{ fail .Value }}'}", "abc", "abc"),
        ("{expression: '(b)', replace: '{{ .source }}'}", "abc", "astdoutc"),
    ] {
        let entry = one(&format!("- replace: {replace}"), line).unwrap();
        assert_eq!(String::from_utf8_lossy(&entry.line), expected, "{replace}");
    }
    let stages = "- replace: {expression: '(?P<ip>\\d+)-(?P<none>x)?', replace: '{{ .Value }}!'}";
    assert_eq!(extracted(stages, "12-", "ip").as_deref(), Some("12!"));
    assert_eq!(extracted(stages, "12-", "none"), None);
    let stages = "- json: {expressions: {m: }}\n- replace: {source: m, expression: '(b)', replace: x}";
    assert_eq!(extracted(stages, "{\"m\": \"abc\"}", "m").as_deref(), Some("axc"));
    assert_eq!(one(stages, "{\"m\": \"abc\"}").unwrap().line, b"{\"m\": \"abc\"}");
}

#[test]
fn bytes_that_are_no_text_go_through() {
    let mut scene = Scene::new(
        "- regex: {expression: '^(?P<a>.*)$'}\n- template: {source: a, template: '<{{ .Value }}>'}\n\
         - replace: {expression: '(b)', replace: x}\n- logfmt: {mapping: {k: }}",
    );
    let entry = Entry { line: b"\xff b k=\xfe".to_vec(), ..Entry::default() };
    scene.pipeline.process(entry, 0, &mut scene.out);
    let out = &scene.out[0];
    assert_eq!(out.line, b"\xff x k=\xfe");
    assert_eq!(out.extracted["a"], Value::from(&b"<\xff b k=\xfe>"[..]));
}

#[test]
fn what_replacements_write_has_an_end() {
    let stages = "- replace: {expression: '(.)', replace: '{{ repeat 50000 .Value }}'}";
    assert_eq!(one(stages, "ab").unwrap().line.len(), 100_000);
    let long = "a".repeat(1000);
    // It may have been there to redact the line.
    assert!(one(stages, &long).is_none());
}

#[test]
fn a_line_that_is_read_again_later_becomes_the_same() {
    let logged = 1_790_000_000 * SECOND;
    for (stages, line) in [
        ("- pack: {}", "x"),
        ("- regex: {expression: '(?P<t>.*)'}\n- timestamp: {source: t, format: Jan _2 15:04:05}", "Sep  1 10:00:00"),
        ("- drop: {older_than: 24h}", "x"),
        ("- limit: {rate: 1, burst: 1, drop: true}", "x"),
    ] {
        let read_at = |now: i64| {
            let mut scene = Scene::new(stages);
            let entry = Entry { line: line.into(), timestamp: logged, arrived: logged, ..Entry::default() };
            scene.pipeline.process(entry, now, &mut scene.out);
            scene.out
        };
        let first = read_at(logged);
        assert_eq!(first.len(), 1, "{stages}");
        assert_eq!(read_at(logged + 400 * 86_400 * SECOND), first, "{stages}");
    }
}

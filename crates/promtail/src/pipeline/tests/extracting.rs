//! What is found in lines.

use super::*;

#[test]
fn json_extracts_values_with_their_types() {
    let stages = "- json: {expressions: {a: , deep: b.c, list: 'b.l[1]', count: length(b.l), object: b, none: x.y, bad: nofunc(a)}}";
    let line = r#"{"a": 1.50, "b": {"c": "<t>", "l": [1, true]}}"#;
    for (name, expected) in [
        ("a", Some("1.5")),
        ("deep", Some("<t>")),
        ("list", Some("true")),
        ("count", Some("2")),
        ("object", Some(r#"{"c":"\u003ct\u003e","l":[1,true]}"#)),
        ("none", Some("null")),
        ("bad", None),
    ] {
        assert_eq!(extracted(stages, line, name).as_deref(), expected, "{name}");
    }
    assert_eq!(extracted(stages, "null", "a").as_deref(), Some("null"));
    assert_eq!(extracted(stages, "[1]", "a"), None);
    let entry = one("- json: {expressions: {a: }}", "{\"a\": 123456789012345678}").unwrap();
    assert_eq!(entry.extracted["a"], Value::Number(123_456_789_012_345_680.0));
}

#[test]
fn json_slices_with_steps_of_any_size() {
    for (expression, expected) in [
        ("a[1::2147483647]", "[2]"),
        ("a[::99999999999999999999]", "[1]"),
        ("a[:-2147483648:-2147483648]", "[3]"),
        ("a[0:9223372036854775807]", "[1,2,3]"),
        ("a[2147483648]", "null"),
        ("a1234567890123.\"b.9999999999\"[000000000001:]", "[5]"),
        ("a[?@ == `2147483648`]", "[]"),
        ("['2147483648'][0]", "2147483648"),
    ] {
        let stages = format!("- json: {{expressions: {{x: '{}'}}}}", expression.replace('\'', "''"));
        let line = r#"{"a": [1, 2, 3], "a1234567890123": {"b.9999999999": [4, 5]}}"#;
        assert_eq!(extracted(&stages, line, "x").as_deref(), Some(expected), "{expression}");
    }
}

#[test]
fn json_drops_what_is_malformed_only_when_told_to() {
    assert!(one("- json: {expressions: {a: }}", "no").is_some());
    assert!(one("- json: {expressions: {a: }, drop_malformed: true}", "no").is_none());
    assert!(one("- json: {expressions: {a: }, drop_malformed: true, source: missing}", "no").is_some());
}

#[test]
fn a_group_that_took_no_part_is_an_empty_text() {
    let stages = "- regex: {expression: '(?P<a>x)?(?P<b>y)(?P<c>.)(?P<c>.)'}";
    for (name, expected) in [("a", ""), ("b", "y"), ("c", "2")] {
        assert_eq!(extracted(stages, "y12", name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(extracted(stages, "z", "b"), None);
}

#[test]
fn labels_seed_what_is_extracted_at_every_start() {
    let stages = "- json: {expressions: {source: x}}\n- match: {selector: '{source=\"stdout\"}', stages: [{output: {source: source}}]}";
    assert_eq!(one(stages, "{\"x\": \"changed\"}").unwrap().line, b"stdout");
    assert_eq!(one("- output: {source: source}", "x").unwrap().line, b"stdout");
}

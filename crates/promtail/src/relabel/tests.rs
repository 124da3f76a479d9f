//! What Prometheus' own table does not show; that table is replayed from outside, through `loki-rs relabel`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LABELS: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "foo"), ("empty", "")];

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The labels afterwards as `a=1 b=2`, or `dropped`.
fn applied(yaml: &str, labels: &[(&str, &str)]) -> String {
    let rules = Rules::parse(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let Some(labels) = rules.apply(map(labels).into()) else { return "dropped".into() };
    let labels: Vec<_> = BTreeMap::from(labels).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(" ")
}

#[test]
fn each_action_does_what_it_does_in_prometheus() {
    for (yaml, expected) in [
        ("", "a=foo b=bar c=foo"),
        ("null", "a=foo b=bar c=foo"),
        ("[{target_label: x, replacement: static}]", "a=foo b=bar c=foo x=static"),
        ("[{target_label: a, replacement: ''}]", "b=bar c=foo"),
        ("[{source_labels: [a, b, none], separator: '-', target_label: x}]", "a=foo b=bar c=foo x=foo-bar-"),
        ("[{source_labels: [a, b], target_label: x}]", "a=foo b=bar c=foo x=foo;bar"),
        (
            "[{source_labels: [a], regex: 'f(o+)', target_label: '$1', replacement: '${1}1'}]",
            "a=foo b=bar c=foo oo=oo1",
        ),
        ("[{source_labels: [a], regex: 'f(o+)', target_label: x, replacement: '$1x'}]", "a=foo b=bar c=foo"),
        ("[{source_labels: [a], regex: oo, target_label: x}]", "a=foo b=bar c=foo"),
        // An explicit nothing matches nothing but nothing.
        ("[{source_labels: [none], regex: , target_label: x, replacement: 5}]", "a=foo b=bar c=foo x=5"),
        ("[{source_labels: [a], regex: '', target_label: x}]", "a=foo b=bar c=foo"),
        ("[{source_labels: [a], regex: foo, action: KEEP}]", "a=foo b=bar c=foo"),
        ("[{source_labels: [a], regex: fo, action: keep}]", "dropped"),
        ("[{source_labels: [a], regex: fo., action: drop}]", "dropped"),
        ("[{action: drop, source_labels: [a], regex: x}, {action: labelkeep, regex: a}]", "a=foo"),
        ("[{source_labels: [a], target_label: c, action: keepequal}]", "a=foo b=bar c=foo"),
        ("[{source_labels: [a], target_label: b, action: keepequal}]", "dropped"),
        ("[{source_labels: [a], target_label: c, action: dropequal, separator: ;, replacement: $1}]", "dropped"),
        // The value is that of another program.
        ("[{source_labels: [a, b], modulus: 1000, target_label: h, action: hashmod}]", "a=foo b=bar c=foo h=750"),
        ("[{source_labels: [none], target_label: a, action: uppercase}]", "b=bar c=foo"),
        ("[{source_labels: [a], target_label: a, action: uppercase}]", "a=FOO b=bar c=foo"),
        ("[{regex: '(a|b)', replacement: 'x_$1', action: labelmap}]", "a=foo b=bar c=foo x_a=foo x_b=bar"),
        // There is no group, so there is no name.
        ("[{regex: a, action: labelmap}]", "a=foo b=bar c=foo"),
        // Labels that were there go first, in the order of their names; then those that were set.
        ("[{regex: '[abc]', replacement: x, action: labelmap}]", "a=foo b=bar c=foo x=foo"),
        (
            "[{target_label: a, replacement: last}, {regex: '[abc]', replacement: x, action: labelmap}]",
            "a=last b=bar c=foo x=last",
        ),
        ("[{regex: '[ab]', action: labeldrop, separator: ;, replacement: $1}]", "c=foo"),
        ("- &r {target_label: x, replacement: y}\n- {<<: *r, target_label: z}\n", "a=foo b=bar c=foo x=y z=y"),
    ] {
        assert_eq!(applied(yaml, LABELS), expected, "{yaml}");
    }
}

#[test]
fn rules_that_double_values_or_labels_again_and_again_cost_the_plugin_no_memory() {
    let doubled = format!(
        "- {{source_labels: [{0}], target_label: a, replacement: '{1}'}}\n",
        "a, ".repeat(100) + "a",
        "$1".repeat(100)
    );
    let mapped = "- {action: labelmap, regex: '(.*)', replacement: x$1}\n".repeat(60);
    for yaml in [doubled.repeat(20), mapped] {
        let labels = Rules::parse(&yaml).unwrap().apply(map(LABELS).into()).unwrap();
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes < 1 << 20 && labels.iter().count() <= 1000, "{bytes} bytes");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place_and_in_prometheus_words() {
    for (yaml, expected) in [
        ("foo", "line 1, column 1: a list of rules is expected here, and this is a text"),
        ("action: drop", "line 1, column 1: a list of rules is expected here, and this is a map"),
        ("- ", "rule 1, line 1, column 3: a map of fields is expected here, and this is nothing"),
        ("- {}", "rule 1, line 1, column 3: relabel configuration for replace action requires 'target_label' value"),
        (
            "- action: labeldrop\n  regex: a\n- action: hashmod\n  target_label: a\n",
            "rule 2, line 3, column 3: relabel configuration for hashmod requires non-zero modulus",
        ),
        ("[{action: hashmod, modulus: 5}]", "relabel configuration for hashmod action requires 'target_label' value"),
        ("[{action: hashmod, modulus: '5', target_label: a}]", "modulus is to be a whole number from 0 up"),
        ("[{action: hashmod, modulus: -5, target_label: a}]", "modulus is to be a whole number from 0 up"),
        ("[{action: ''}]", "unknown relabel action \"\" (known are replace, keep, drop, keepequal, dropequal, "),
        ("[{action: replaces}]", "unknown relabel action \"replaces\""),
        ("[{source_label: [a]}]", "rule 1, line 1, column 3: field \"source_label\" is not one of source_labels, "),
        ("[{source_labels: a}]", "source_labels is to be a list, as in [a, b], and this is a text"),
        ("[{source_labels: ['']}]", "\"\" is not a valid label name"),
        ("[{source_labels: [[a]]}]", "a name in source_labels is to be a text, and this is a list"),
        ("[{regex: '('}]", "\"(\" is not a regular expression: "),
        ("[{regex: [a]}]", "regex is to be a text, and this is a list"),
        ("[{target_label: a, target_label: b}]", "line 1, column 20: the key \"target_label\" is there already"),
        ("[{action: lowercase, target_label: a, replacement: b}]", "'replacement' can not be set for lowercase action"),
        ("[{action: labelmap, replacement: ''}]", "\"\" is invalid 'replacement' for labelmap action"),
        (
            "[{action: keepequal, target_label: a, regex: '(.*)'}]",
            "keepequal action requires only 'source_labels' and 'target_label', and no other fields",
        ),
        (
            "[{action: dropequal, target_label: a, separator: '-'}]",
            "dropequal action requires only 'source_labels' and 'target_label', and no other fields",
        ),
        ("[{action: labeldrop, source_labels: []}]", "labeldrop action requires only 'regex', and no other fields"),
        ("[{action: labelkeep, target_label: a}]", "labelkeep action requires only 'regex', and no other fields"),
        ("[", "line "),
    ] {
        let error = Rules::parse(yaml).expect_err(yaml).to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
        assert!(error.starts_with("rule ") || error.starts_with("line "), "{error}");
    }
}

/// A field of a rule, mostly one that is right.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(Action::ALL.to_vec()).prop_map(|action| format!("action: {}", action.as_str())),
        "source_labels: \\[[a-c]?(, [a-c])?\\]",
        "target_label: ('[a-c$1{}]{0,4}'|[a-c])",
        "regex: '[a-c.*()|$^]{0,6}'",
        "replacement: '[a-c$1{}]{0,5}'",
        "modulus: [0-9]{1,3}",
        "separator: '[;,]?'",
        "\\PC{0,10}",
    ]
}

proptest! {
    #[test]
    fn no_rules_and_no_labels_make_it_panic(
        rules in proptest::collection::vec(proptest::collection::vec(field(), 0..5), 0..4),
        labels in proptest::collection::btree_map("[a-c_]{0,2}|\\PC{0,3}", "\\PC{0,5}", 0..5),
    ) {
        let yaml: String = rules.iter().map(|rule| format!("- {}\n", rule.join("\n  "))).collect();
        if let Ok(rules) = Rules::parse(&yaml) {
            let _ = rules.apply(labels.clone().into());
        }
        // The same with one rule at a time, so that one that is wrong does not hide the others.
        for rule in &rules {
            if let Ok(rules) = Rules::parse(&format!("- {{{}}}", rule.join(", "))) {
                let after = rules.apply(labels.clone().into()).unwrap_or_default();
                prop_assert!(after.iter().all(|(name, value)| !name.is_empty() || labels.contains_key(name) && !value.is_empty()));
            }
        }
    }
}

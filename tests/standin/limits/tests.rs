//! Tables of streams and entries at the edge of each limit.

use super::super::labels;
use super::*;

const NOW: i128 = 1_795_167_534 * clock::SECOND;

fn stream(text: &str) -> Option<String> {
    let labels = labels::parse(text.as_bytes()).expect("the table holds good label strings");
    Limits::default().refuse_stream(&labels, "S")
}

fn entry(age: i128, line: usize, metadata: &[(&str, usize)]) -> Entry {
    Entry {
        timestamp: NOW - age * clock::SECOND,
        line: "x".repeat(line).into(),
        metadata: metadata.iter().map(|(name, value)| (name.to_string().into(), vec![b'v'; *value].into())).collect(),
    }
}

#[test]
fn streams() {
    let labels = |count| {
        let pairs: Vec<String> = (0..count).map(|n| format!("l{n}=\"x\"")).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let named = |name, value| format!("{{{}=\"{}\"}}", "n".repeat(name), "v".repeat(value));
    let table = [
        ("{}".to_owned(), Some("error at least one label pair is required per stream")),
        (labels(15), None),
        (labels(15).replace('}', ",service_name=\"s\"}"), None),
        (labels(16), Some("entry for stream 'S' has 16 label names; limit 15")),
        (named(1024, 2048), None),
        (named(1025, 1), Some("stream 'S' has label name too long: 'nnn")),
        (named(1, 2049), Some("stream 'S' has label value too long: 'vvv")),
        (r#"{a="1",a="2"}"#.into(), Some("stream 'S' has duplicate label name: 'a'")),
        (r#"{a="1",a="1"}"#.into(), Some("stream 'S' has duplicate label name: 'a'")),
        (r#"{""="1"}"#.into(), Some("stream 'S' has duplicate label name: ''")),
    ];
    for (text, expected) in table {
        let refusal = stream(&text);
        match expected {
            None => assert_eq!(refusal, None, "{text}"),
            Some(start) => assert!(refusal.as_deref().is_some_and(|it| it.starts_with(start)), "{text}: {refusal:?}"),
        }
    }
}

#[test]
fn entries() {
    const DAY: i128 = 86_400;
    let many = vec![("a", 0); 129];
    let table = [
        (entry(0, 1, &[]), None),
        (entry(7 * DAY, 1, &[]), None),
        (
            entry(7 * DAY + 1, 1, &[]),
            Some(
                "entry for stream 'S' has timestamp too old: 2026-11-13T09:38:53Z, oldest \
                 acceptable timestamp is: 2026-11-13T09:38:54Z",
            ),
        ),
        (entry(-600, 1, &[]), None),
        (entry(-601, 1, &[]), Some("entry for stream 'S' has timestamp too new: 2026-11-20T09:48:55Z")),
        (entry(0, 262_144, &[]), None),
        (
            entry(0, 262_145, &many),
            Some(
                "max entry size '262144' bytes exceeded for stream 'S' while adding an entry \
                 with length '262145' bytes",
            ),
        ),
        (entry(8 * DAY, 262_145, &[]), Some("entry for stream 'S' has timestamp too old")),
        (entry(0, 1, &[("a", 65_535)]), None),
        (
            entry(0, 1, &[("a", 65_536)]),
            Some("stream 'S' has structured metadata too large: '65537' bytes, limit: '65536'"),
        ),
        (entry(0, 1, &many[..128]), None),
        (entry(0, 1, &many), Some("stream 'S' has too many structured metadata labels: '129', limit: '128'")),
    ];
    for (number, (entry, expected)) in table.into_iter().enumerate() {
        let refusal = Limits::default().refuse_entry(&entry, "S", NOW);
        match expected {
            None => assert_eq!(refusal, None, "row {number}"),
            Some(start) => {
                assert!(refusal.as_deref().is_some_and(|it| it.starts_with(start)), "row {number}: {refusal:?}")
            }
        }
    }
}

#[test]
fn every_switch_switches() {
    let none = Limits { allow_structured_metadata: false, ..Limits::default() };
    let refusal = none.refuse_entry(&entry(0, 1, &[("", 1)]), "S", NOW).unwrap_or_default();
    assert!(refusal.starts_with("stream 'S' includes structured metadata"), "{refusal}");
    assert_eq!(none.refuse_entry(&entry(0, 1, &[]), "S", NOW), None);
    let old = Limits { reject_old_samples: false, ..Limits::default() };
    assert_eq!(old.refuse_entry(&entry(9_999_999, 1, &[]), "S", NOW), None);
}

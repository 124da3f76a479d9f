use super::*;

#[test]
fn the_table_is_in_order() {
    for spec in OPTIONS {
        match spec.env {
            Some(env) => assert_eq!(env, spec.key.to_uppercase().replace('-', "_")),
            None => assert!(matches!(spec.key, MODE | MAX_BUFFER_SIZE | COMPRESS | CACHE)),
        }
        assert!(spec.doc.ends_with('.'), "{}", spec.key);
        assert!(spec.default != Some(""), "{}", spec.key);
        assert_eq!(OPTIONS.iter().filter(|other| other.key == spec.key).count(), 1);
    }
}

#[test]
fn raw_options_and_complaints() {
    let raw = RawOptions(BTreeMap::from([("a".to_owned(), "hunter2".to_owned())]));
    assert_eq!((raw.get("a"), raw.get("b")), (Some("hunter2"), None));
    assert_eq!(format!("{raw:?}"), "RawOptions([\"a\"])");
    let errors = ["a", "b"].map(|key| OptionError::new(key, "is missing"));
    let errors = OptionErrors(errors.into());
    assert_eq!(errors.to_string(), "a: is missing; b: is missing");
}

#[test]
fn help_and_readme_follow_the_table() {
    let (help, readme) = (help(), markdown_table());
    for spec in OPTIONS {
        let (_, entry) = help.split_once(&format!("\n  {} ", spec.key)).unwrap();
        let facts: String = entry.lines().take(3).collect();
        for part in [spec.default, spec.env].into_iter().flatten() {
            assert!(facts.contains(part), "{facts} should have {part}");
        }
    }
    assert!(help.lines().all(|line| line.len() <= 96 && line == line.trim_end()));
    assert_eq!(readme.lines().count(), OPTIONS.len() + 2);
    assert!(readme.contains("| `loki-timeout` | duration | `10s` | `LOKI_TIMEOUT` | How long one push may take. |"));
}

use super::*;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000_000_000;

/// 2030-01-01T00:00:00Z.
const NEW_DECADE: i64 = 1_893_456_000_000_000_000;

const LABELS: &str = r#"{a="b", c="}' has \"x\\"}"#;

fn entries(entries: u64, oldest: Option<i64>, too_new: bool) -> Option<Kind> {
    Some(Kind::Entries(Refused { entries, oldest, too_new: too_new.then_some(NEW_DECADE) }))
}

fn too_old(labels: &str) -> String {
    format!(
        "entry for stream '{labels}' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00Z"
    )
}

fn too_new(labels: &str) -> String {
    format!("entry for stream '{labels}' has timestamp too new: 2030-01-01T00:00:00Z")
}

fn behind(labels: &str) -> String {
    format!(
        "entry with timestamp 2025-12-31 20:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: \
         2025-12-31T20:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00.000000001Z',\nuser 'fake', total \
         ignored: 3 out of 5 for stream: {labels}"
    )
}

#[test]
fn each_text_of_loki_is_known() {
    for (text, expected) in [
        (too_old(LABELS), entries(1, Some(NEW_YEAR), false)),
        (
            too_old(LABELS).replace("2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00"),
            entries(1, Some(NEW_YEAR), false),
        ),
        (format!("entry for stream '{LABELS}' has timestamp too old: 2020-01-01T00:00:00Z"), entries(1, None, false)),
        (too_new(LABELS), entries(1, None, true)),
        (
            format!("2 errors like: {}; 1 errors like: {}", too_new(LABELS), too_old("{}")),
            entries(3, Some(NEW_YEAR), true),
        ),
        (
            format!(
                "max entry size '5' bytes exceeded for stream '{LABELS}' while adding an entry with length '6' bytes"
            ),
            entries(1, None, false),
        ),
        (
            format!(
                "7 errors like: Max entry size '5' bytes exceeded for stream '{LABELS}' while adding an entry with length '6' bytes"
            ),
            entries(7, None, false),
        ),
        (behind(LABELS), entries(3, Some(NEW_YEAR + 1), false)),
        // Loki 2.4.
        (
            format!(
                "entry with timestamp 2026 ignored, reason: 'entry out of order' for stream: {LABELS},\ntotal ignored: 1 out of 2"
            ),
            entries(1, None, false),
        ),
        (format!("entry for stream '{LABELS}' has 16 label names; limit 15"), Some(Kind::Stream)),
        (format!("stream '{LABELS}' has label name too long: 'aaa'"), Some(Kind::Stream)),
        (format!("stream '{LABELS}' has label value too long: '; 5 errors like: '"), Some(Kind::Stream)),
        (format!("stream '{LABELS}' has duplicate label name: 'a'"), Some(Kind::Stream)),
        ("missing required labels 'team' for user 'fake' for stream '{}' (policy: '')".into(), Some(Kind::Stream)),
        ("error at least one label pair is required per stream".into(), Some(Kind::Stream)),
        ("Error parsing labels '{' with error: 1:2: parse error".into(), Some(Kind::Stream)),
        (
            format!(
                "stream '{LABELS}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
            ),
            Some(Kind::Metadata),
        ),
        (
            format!(
                "2 errors like: stream '{LABELS}' has structured metadata too large: '9' bytes, limit: '8' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it; 1 errors like: {}",
                too_new("{}")
            ),
            entries(3, None, true),
        ),
        (
            format!(
                "stream '{LABELS}' has too many structured metadata labels: '9', limit: '8'. Please see `x` or contact your Loki administrator to increase it."
            ),
            entries(1, None, false),
        ),
        ("received message larger than max (9 vs 8)".into(), Some(Kind::TooLarge { by_loki: true })),
    ] {
        assert_eq!(read(&text, true), expected, "{text}");
    }
}

#[test]
fn labels_that_loki_repeats_decide_nothing() {
    for label in [
        "x', total ignored: 5 out of 5",
        "total ignored: 5 out of 9",
        "; 9 errors like: ",
        "structured metadata is disallowed",
        "' includes structured metadata, but this feature is disallowed",
        "' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable timestamp is: 2099-01-01T00:00:00Z",
        "received message larger than max (",
        "}'; 2 errors like: stream '{}' has label name too long: '",
    ] {
        let labels = format!("{{a=\"{label}\"}}");
        assert_eq!(read(&too_new(&labels), true), entries(1, None, true), "{label}");
        assert_eq!(read(&too_old(&labels), true), entries(1, Some(NEW_YEAR), false), "{label}");
        assert_eq!(read(&behind(&labels), true), entries(3, Some(NEW_YEAR + 1), false), "{label}");
        assert!(!is_too_large(&too_new(&labels)));
    }
}

#[test]
fn texts_of_others_are_not_known() {
    for text in [
        "Bad Request",
        "snappy: corrupt input",
        "unexpected EOF",
        "total ignored: 5 out of 5",
        "nginx: entry too far behind, total ignored: 5 out of 5",
        "entry for stream 'a' has timestamp too new: 2030-01-01T00:00:00Z",
        "entry for stream '{}' has timestamp too new: soon",
        "entry for stream '{}' has timestamp too new: 2030-01-01T00:00:00Z and more",
        "entry with timestamp x ignored, reason: 'because',\ntotal ignored: 1 out of 1",
        "entry with timestamp x ignored, reason: 'entry out of order',",
        "max entry size '5' bytes exceeded",
        "3 errors like: ",
        "a proxy takes no structured metadata: disallowed",
    ] {
        assert_eq!(read(text, true), None, "{text}");
    }
}

#[test]
fn an_answer_that_ends_early_says_at_least_what_it_said() {
    let text = format!("2 errors like: {}; 1 errors like: {}", too_new(LABELS), too_old("{}"));
    let first = text.find("; ").unwrap();
    for end in 0..text.len() {
        match read(&text[..end], false) {
            Some(Kind::Entries(refused)) => assert!(end >= first && refused.entries == u64::MAX, "{}", &text[..end]),
            other => assert_eq!(other, None),
        }
    }
    let text = behind(LABELS);
    let line = text.find('\n').unwrap();
    assert_eq!(read(&text[..line], false), entries(u64::MAX, Some(NEW_YEAR + 1), false));
}

#[test]
fn sums_do_not_overflow() {
    let most = format!("{0} errors like: {1}; {0} errors like: {1}", u64::MAX, too_new("{}"));
    assert_eq!(read(&most, true), entries(u64::MAX, None, true));
    assert_eq!(read(&format!("{}9 errors like: {}", u64::MAX, too_new("{}")), true), entries(u64::MAX, None, true));
}

/// Pieces of Loki's texts in any order, with any status and type: no panic, and only listed texts accept or reject.
#[test]
fn any_answer_is_judged_and_only_the_listed_ones_decide_about_lines() {
    use crate::answer::Seen;
    let pieces = [
        "entry for stream '",
        LABELS,
        "' has timestamp too old: ",
        OLDEST,
        "' has timestamp too new: ",
        "2262-04-11T23:47:16Z",
        "-9999-01-01T00:00:00Z",
        "18446744073709551615",
        GROUPED,
        "; ",
        IGNORED,
        " ignored, reason: 'entry too far behind, entry timestamp is: ",
        "',\n",
        "user 'fake', total ignored: ",
        " out of ",
        "stream '",
        "' includes structured metadata, but this feature is disallowed",
        OF_SIZES[4],
        OF_STREAMS[2],
        "<",
        "é",
    ];
    let types = [None, Some(""), Some("text/plain; charset=utf-8"), Some("text/html"), Some("application/json")];
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..50_000 {
        let body: String = (0..random.usize(..12)).map(|_| *random.choice(&pieces).unwrap()).collect();
        let code = if random.bool() { 400 } else { random.u16(100..1000) };
        let content_type = *random.choice(&types).unwrap();
        // Truncated anywhere, also inside a character.
        let body = &body.as_bytes()[..random.usize(..=body.len())];
        let seen = Seen { code, content_type, body, is_whole: random.bool() };
        let kind = Kind::of(&seen);
        assert_eq!(kind == Kind::Accepted, code == 204, "{seen:?}");
        match kind {
            Kind::Unconfirmed => assert!((200..300).contains(&code) && body.is_empty() && seen.is_whole, "{seen:?}"),
            Kind::Entries(_) | Kind::Metadata | Kind::Stream => {
                let is_text = matches!(content_type, None | Some("" | "text/plain; charset=utf-8"));
                assert!(code == 400 && is_text, "{seen:?}");
            }
            _ => {}
        }
    }
}

//! What cannot be read or understood: with which status and sentence it is refused.

use super::target::{SECOND, Target, answers, answers_with};
use crate::standin::client::{compress, entry, snappy, stream, with_metadata};
use crate::standin::proto::{PushRequest, Timestamp};
use prost::Message;

/// One label string that cannot be read refuses everything else in the request, too.
pub fn label_strings(loki: &Target) {
    let table: [(&[u8], &str); 13] = [
        (br#"{a-b="c"}"#, "1:3: parse error: unexpected character inside braces: '-'"),
        (br#"{a.b="c"}"#, "1:3: parse error: unexpected character inside braces: '.'"),
        (br#"{a:b="c"}"#, "1:3: parse error: unexpected character inside braces: ':'"),
        (br#"{9a="b"}"#, "1:2: parse error: unexpected character inside braces: '9'"),
        ("{é=\"b\"}".as_bytes(), "1:2: parse error: unexpected character inside braces: 'é'"),
        (br#"{a="b"c"}"#, r#"1:7: parse error: unexpected identifier "c" in label set, expected "," or "}""#),
        (b"{a=\"b\nc\"}", "1:4: parse error: unterminated quoted string"),
        (b"{a=\"\xff\"}", "1:4: parse error: invalid UTF-8 rune"),
        (br#"{a="\q"}"#, "1:4: parse error: unknown escape sequence U+0071 'q'"),
        (br#"{a="b",,}"#, r#"1:8: parse error: unexpected "," in label set, expected identifier or "}""#),
        (br#"{a=~"b"}"#, r#"1:3: parse error: unexpected <op:=~> in label set, expected "=""#),
        (br#"{a="b""#, "1:7: parse error: unexpected end of input inside braces"),
        (br#"{a="b"} x"#, r#"1:9: parse error: unexpected identifier "x""#),
    ];
    for (labels, error) in table {
        let bad = stream(labels, vec![entry(loki.now, "bad")]);
        let reply = loki.push(vec![loki.lines_now("good", &["good"]), bad]);
        answers(&reply, 400, &format!("couldn't parse labels: {error}"));
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    // Even a stream without entries.
    answers_with(&loki.push(vec![stream("{a-b=\"c\"}", vec![])]), 400, "couldn't parse labels");
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
}

/// The same name twice costs the stream, not the request; equal values do not help.
pub fn duplicate_labels(loki: &Target) {
    for pair in ["twice=\"1\",twice=\"2\"", "twice=\"1\",twice=\"1\""] {
        let bad = stream(loki.labels_and("bad", pair), vec![entry(loki.now, "bad")]);
        let reply = loki.push(vec![bad, loki.lines_now("good", &["good"])]);
        answers_with(&reply, 400, "' has duplicate label name: 'twice'");
    }
    assert_eq!(loki.lines("good"), ["good"]);
    assert!(loki.lines("bad").is_empty());
}

/// No content type, no known encoding, no snappy, no protobuf.
pub fn bodies_that_cannot_be_read(loki: &Target) {
    let good = || vec![loki.lines_now("a", &["x"])];
    let body = snappy(good());
    let plain = PushRequest { streams: good() }.encode_to_vec();
    let kind = |kind| [("Content-Type", kind)];
    let protobuf = kind("application/x-protobuf");
    let encoded = |encoding| [protobuf[0], ("Content-Encoding", encoding)];
    answers(&loki.push_body(&[], &body), 400, "mime: no media type");
    answers(&loki.push_body(&kind("a/b/c"), &body), 400, "mime: unexpected content after media subtype");
    answers(&loki.push_body(&kind("text/plain; charset"), &body), 400, "mime: invalid media parameter");
    answers(&loki.push_body(&encoded("zstd"), &body), 400, "Content-Encoding \"zstd\" not supported");
    answers(&loki.push_body(&encoded("SNAPPY"), &body), 400, "Content-Encoding \"SNAPPY\" not supported");
    assert_eq!(loki.push_body(&encoded("gzip"), &body).status, 400);
    for corrupt in [plain.as_slice(), b"junk", b"", &body[..body.len() - 1]] {
        answers(&loki.push_body(&protobuf, corrupt), 400, "snappy: corrupt input");
    }
    // A block that claims to become five gigabytes.
    let boast = [0x80, 0x80, 0x80, 0xc0, 0x13, b'x'];
    answers(&loki.push_body(&protobuf, &boast), 400, "snappy: corrupt input");
    for junk in [&b"\xff\xff\xff"[..], b"hello world"] {
        assert_eq!(loki.push_body(&protobuf, &compress(junk)).status, 400);
    }
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
}

/// Refused for what the head announces: the body is not read, and the connection is closed.
pub fn bodies_that_are_too_large(loki: &Target) {
    let reply = loki.announce(104_857_601);
    answers(&reply, 413, "request body too large: message size too large than max (104857601 vs 104857600)");
    assert_eq!(reply.header("connection"), Some("close"));
}

pub fn nothing_to_ingest(loki: &Target) {
    let sentence = "error at least one valid stream is required for ingestion";
    answers(&loki.push(vec![]), 422, sentence);
}

/// Times that protobuf's timestamp cannot be refuse the whole request.
pub fn impossible_times(loki: &Target) {
    let seconds = loki.now / SECOND;
    for (seconds, nanos, part) in [
        (seconds, -1, "nanos not in range [0, 1e9)"),
        (seconds, 1_000_000_000, "nanos not in range [0, 1e9)"),
        (-62_135_596_801, 0, "before 0001-01-01"),
        (253_402_300_800, 0, "after 10000-01-01"),
    ] {
        let mut line = entry(0, "x");
        line.timestamp = Some(Timestamp { seconds, nanos });
        let streams = vec![loki.lines_now("good", &["good"]), loki.stream("bad", vec![line])];
        answers_with(&loki.push(streams), 400, part);
    }
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
}

/// A name that is empty, or has nothing that may be in a name, is a 500 that never passes.
pub fn metadata_without_a_name(loki: &Target) {
    let push = |name: &str| {
        let bad = with_metadata(entry(loki.now, "bad"), &[(name, "value")]);
        loki.push(vec![loki.lines_now("good", &["good"]), loki.stream("bad", vec![bad])])
    };
    answers(&push(""), 500, "label name is empty");
    for name in [".", "_", "__", "é"] {
        let sentence = format!("normalization for label name \"{name}\" resulted in invalid name \"_\"");
        answers(&push(name), 500, &sentence);
    }
    assert!(loki.streams(&loki.everything(), &[]).is_empty());
}

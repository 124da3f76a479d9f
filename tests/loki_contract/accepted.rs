//! What is stored, in which spellings, and what is read back.

use super::target::{Target, answers, parse};
use crate::standin::client::{compress, entry, snappy, stream, with_metadata};
use crate::standin::proto::PushRequest;
use prost::Message;
use serde_json::json;

/// A push is answered by an empty 204, and its lines can be read at once.
pub fn stored_and_read_back(loki: &Target) {
    let reply = loki.push(vec![loki.lines_now("a", &["one", "two"]), loki.lines_now("b", &["three"])]);
    answers(&reply, 204, "");
    assert_eq!(reply.header("content-type"), None);
    assert_eq!(loki.lines("a"), ["one", "two"]);
    assert_eq!(loki.lines("b"), ["three"]);
    assert_eq!(loki.count(), 3);
}

/// Order, blanks, a last comma and the kind of quotes make no other stream.
pub fn one_stream_in_many_spellings(loki: &Target) {
    let run = loki.run();
    let spellings = [
        format!("{{run=\"{run}\",name=\"a\"}}"),
        format!("{{name=\"a\",run=\"{run}\"}}"),
        format!(" {{ name = 'a' , run=`{run}`, }} "),
        format!("{{\"name\"=\"\\x61\",run=\"{run}\",gone=\"\"}} # a comment"),
    ];
    for (number, spelling) in spellings.iter().enumerate() {
        let line = entry(loki.now + number as i64, number.to_string());
        answers(&loki.push(vec![stream(spelling, vec![line])]), 204, "");
    }
    assert_eq!(loki.streams(&loki.everything(), &[]).len(), 1);
    assert_eq!(loki.lines("a"), ["0", "1", "2", "3"]);
}

/// Whatever a label's value holds comes back.
pub fn values_come_back_as_they_were(loki: &Target) {
    let escaped = r#"v="q\"b\\n\nt\té\u00e9\u0000<&>""#;
    let labels = loki.labels_and("a", escaped);
    answers(&loki.push(vec![stream(labels, vec![entry(loki.now, "x")])]), 204, "");
    let streams = loki.streams(&loki.labels("a"), &[]);
    assert_eq!(streams[0].0["v"], "q\"b\\n\nt\téé\0<&>");
    let tab = loki.labels_and("b", "v=\"a\tb\"");
    answers(&loki.push(vec![stream(tab, vec![entry(loki.now, "x")])]), 204, "");
    assert_eq!(loki.streams(&loki.labels("b"), &[])[0].0["v"], "a\tb");
}

/// A stream without labels is a stream of an unknown service.
pub fn no_labels_at_all(loki: &Target) {
    for labels in ["{}", "", "{a=\"\"}"] {
        let line = entry(loki.now, loki.run().to_owned());
        answers(&loki.push(vec![stream(labels, vec![line])]), 204, "");
    }
}

/// Anything that is not JSON and can be read as a content type is protobuf.
pub fn content_types_and_encodings(loki: &Target) {
    let ways: [(&str, &str); 7] = [
        ("application/x-protobuf", ""),
        ("application/x-protobuf; charset=utf-8", ""),
        ("Application/X-Protobuf", "snappy"),
        ("application/x-protobuf", "snappy"),
        ("text/plain", ""),
        ("application/octet-stream", ""),
        ("nonsense", ""),
    ];
    for (number, (kind, encoding)) in ways.into_iter().enumerate() {
        let line = entry(loki.now + number as i64, number.to_string());
        let body = snappy(vec![loki.stream("a", vec![line])]);
        let mut headers = vec![("Content-Type", kind)];
        if !encoding.is_empty() {
            headers.push(("Content-Encoding", encoding));
        }
        answers(&loki.push_body(&headers, &body), 204, "");
    }
    assert_eq!(loki.lines("a"), ["0", "1", "2", "3", "4", "5", "6"]);
    // A block of snappy may consist of a single literal, that is, not be compressed at all.
    let line = entry(loki.now, "literal");
    let streams = vec![loki.stream("b", vec![line])];
    let plain = PushRequest { streams }.encode_to_vec();
    assert!(plain.len() > 60 && plain.len() < 128, "one byte says the length");
    let length = plain.len() as u8;
    let body = [&[length, 60 << 2, length - 1], plain.as_slice()].concat();
    answers(&loki.push_body(&[("Content-Type", "application/x-protobuf")], &body), 204, "");
    assert_eq!(loki.lines("b"), ["literal"]);
    // The old path.
    let body = snappy(vec![loki.lines_now("c", &["old path"])]);
    let headers = [("Content-Type", "application/x-protobuf")];
    answers(&loki.send("POST", "/api/prom/push", &headers, &body), 204, "");
    assert_eq!(loki.lines("c"), ["old path"]);
}

/// JSON, which is also accepted when the encoding says snappy.
pub fn json(loki: &Target) {
    let body = |name: &str, value: serde_json::Value| {
        let labels = json!({"run": loki.run(), "name": name, "v": "x\"y\n\\", "empty": ""});
        json!({"other": 1, "streams": [{"stream": labels, "values": [value]}]}).to_string()
    };
    let now = loki.now.to_string();
    let kind = ("Content-Type", "application/json");
    let utf8 = ("Content-Type", "application/json; charset=utf-8");
    let snappy = ("Content-Encoding", "snappy");
    let push = |headers: &[(&str, &str)], body: String| loki.push_body(headers, body.as_bytes());
    answers(&push(&[kind], body("a", json!([now, "line", {"m": "1"}]))), 204, "");
    answers(&push(&[utf8], body("b", json!([now, "line"]))), 204, "");
    answers(&push(&[kind, snappy], body("c", json!([now, "line", {}, "more"]))), 204, "");
    answers(&push(&[kind], body("d", json!([now])) + " and more"), 204, "");
    let streams = loki.streams(&loki.labels("a"), &[]);
    assert_eq!(streams[0].0["v"], "x\"y\n\\");
    assert_eq!(streams[0].0.get("empty"), None);
    assert_eq!(streams[0].1[0].metadata["m"], "1");
    assert_eq!(loki.lines("b"), ["line"]);
    assert_eq!(loki.lines("c"), ["line"]);
    assert_eq!(loki.lines("d"), [""]);
    for bad in [
        body("e", json!([loki.now, "a number for a time"])),
        body("e", json!(["x", "no time"])),
        body("e", json!([now, 5])),
        body("e", json!([now, "line", {"m": 1}])),
        body("e", json!([now, "line", {"m": {"a": "b"}}])),
        json!({"streams": [{"stream": {"run": 1}, "values": [[now, "x"]]}]}).to_string().replace(":1}", "-a\":\"b\"}"),
        "{".to_owned(),
        String::new(),
        "[]".to_owned(),
    ] {
        assert_eq!(push(&[kind], bad.clone()).status, 400, "{bad}");
    }
    assert_eq!(push(&[kind], "{}".into()).status, 422);
    assert!(loki.lines("e").is_empty());
}

/// A line is bytes: nothing is refused, and only showing it as JSON costs what is not UTF-8.
pub fn bytes_of_a_line(loki: &Target) {
    let line: &[u8] = b"\0\xff\xfe\n\r\xc3\xa9\xe2\x82\xf0\x9f\x98\x01<>&\xe2\x80\xa8\x7f\xed\xa0\x80";
    let entries = vec![entry(loki.now, line), entry(loki.now + 1, "")];
    answers(&loki.push(vec![loki.stream("a", entries)]), 204, "");
    let bad = "\u{fffd}";
    let shown = format!("\0{bad}{bad}\n\ré{bad}{bad}{bad}{bad}{bad}\u{1}<>&\u{2028}\u{7f}{bad}{bad}{bad}");
    assert_eq!(loki.lines("a"), [shown.as_str(), ""]);
}

/// A stream without entries is accepted, whatever its labels, and is not there.
pub fn streams_and_lines_of_nothing(loki: &Target) {
    answers(&loki.push(vec![loki.stream("a", vec![])]), 204, "");
    let many: Vec<String> = (0..20).map(|number| format!("l{number}=\"x\"")).collect();
    let crowd = loki.labels_and("b", &many.join(","));
    answers(&loki.push(vec![stream(crowd, vec![])]), 204, "");
    let kept = loki.lines_now("c", &["kept"]);
    answers(&loki.push(vec![loki.stream("a", vec![]), kept]), 204, "");
    assert_eq!(loki.streams(&loki.everything(), &[]).len(), 1);
    // Fields that the schema does not have are passed over.
    let streams = vec![loki.lines_now("d", &["kept"])];
    let mut plain = PushRequest { streams }.encode_to_vec();
    plain.extend([0x3a, 1, b'q']);
    let headers = [("Content-Type", "application/x-protobuf")];
    answers(&loki.push_body(&headers, &compress(&plain)), 204, "");
    assert_eq!(loki.lines("d"), ["kept"]);
}

/// Names are made fit, values become UTF-8, and what has a label's name is renamed.
pub fn metadata(loki: &Target) {
    let sent = [
        ("plain", "1"),
        ("trace.id", "2"),
        ("a-b c", "3"),
        ("9x", "4"),
        ("__a", "5"),
        ("__b__", "6"),
        ("dé", "7"),
        ("c..e", "8"),
        ("name", "9"),
        ("nothing", ""),
    ];
    let mut line = with_metadata(entry(loki.now, "line"), &sent);
    line.metadata[0].value = b"x\xff\xfey"[..].into();
    answers(&loki.push(vec![loki.stream("a", vec![line])]), 204, "");
    let streams = loki.streams(&loki.labels("a"), &[]);
    let expected = json!({
        "plain": "x  y",
        "trace_id": "2",
        "a_b_c": "3",
        "key_9x": "4",
        "_a": "5",
        "__b__": "6",
        "d_": "7",
        "c_e": "8",
        "name_extracted": "9",
        "detected_level": "unknown",
    });
    assert_eq!(streams[0].1[0].metadata, expected);
    // Without the header it is mixed into the labels.
    let query = loki.labels("a");
    let answer = parse(&loki.ask("query_range", &[("query", &query)]));
    let stream = &answer["data"]["result"][0];
    assert_eq!(stream["stream"]["trace_id"], "2");
    assert_eq!(stream["stream"]["name"], "a");
    assert_eq!(stream["values"], json!([[loki.now.to_string(), "line"]]));
}

/// Loki adds the service as a label, and the level as metadata.
pub fn service_and_level_are_added(loki: &Target) {
    // "name" is one of the labels that a service's name is taken from, so these have none.
    let run = loki.run();
    let speakers = [
        ("host=\"h\"", "unknown_service"),
        ("container_name=\"c\",job=\"j\"", "c"),
        ("compose_service=\"s\"", "unknown_service"),
        ("service_name=\"own\",app=\"a\"", "own"),
    ];
    for (labels, service) in speakers {
        let labels = format!("{{run=\"{run}\",{labels}}}");
        answers(&loki.push(vec![stream(&labels, vec![entry(loki.now, "x")])]), 204, "");
        let streams = loki.streams(&labels, &[]);
        assert_eq!(streams[0].0["service_name"], service, "{labels}");
    }
    let levels = [
        ("plain", "unknown"),
        ("an error occured", "error"),
        ("WARNING: x", "warn"),
        ("[ERR] x", "error"),
        ("errors", "unknown"),
        ("info: error", "info"),
        ("{\"level\":\"warn\",\"m\":\"error\"}", "warn"),
        ("{\"log\":{\"level\":\"debug\"}}", "debug"),
        ("{\"level\":\"strange\"}", "unknown"),
        ("level=info msg=error", "info"),
    ];
    let lines: Vec<&str> = levels.iter().map(|(line, _)| *line).collect();
    let mut sent = loki.lines_now("levels", &lines);
    sent.entries.push(with_metadata(entry(loki.now + 100, "x"), &[("detected_level", "ERR")]));
    sent.entries.push(with_metadata(entry(loki.now + 101, "x"), &[("level", "weird")]));
    answers(&loki.push(vec![sent]), 204, "");
    let shown = &loki.streams(&loki.labels("levels"), &[])[0].1;
    for (shown, (line, level)) in shown.iter().zip(levels) {
        assert_eq!(shown.metadata["detected_level"], level, "{line:?}");
    }
    assert_eq!(shown[levels.len()].metadata, json!({"detected_level": "error"}));
    assert_eq!(shown[levels.len() + 1].metadata["detected_level"], "weird");
}

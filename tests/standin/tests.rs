//! What the stand-in has and no real Loki: failures on command, and a memory to look into.

mod failures;
mod upkeep;

use super::client::{begin, entry, push, read_reply, send, snappy, stream};
use super::proto;
use super::{Failure, Standin, Times, clock};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Short enough to wait for in vain.
const MOMENT: Duration = Duration::from_millis(200);

const PROTOBUF: [(&str, &str); 1] = [("Content-Type", "application/x-protobuf")];

fn line(text: &str) -> Vec<proto::Stream> {
    let now = clock::clamp(clock::now());
    vec![stream("{container_name=\"web\"}", vec![entry(now, text.to_owned())])]
}

fn status(loki: &Standin, text: &str) -> u16 {
    push(&loki.url(), &[], line(text)).expect("a push is answered").status
}

fn fails(loki: &Standin, text: &str) -> ErrorKind {
    push(&loki.url(), &[], line(text)).expect_err("a push fails").kind()
}

/// Sends a push and gives up waiting for the answer after a moment.
fn no_answer(loki: &Standin, text: &str) {
    let (mut connection, sent) =
        begin(&loki.url(), "POST", "/loki/api/v1/push", &PROTOBUF, &snappy(line(text))).expect("there is a server");
    sent.expect("the request fits the buffers");
    connection.set_read_timeout(Some(MOMENT)).expect("a time limit can be set");
    let error = connection.read(&mut [0]).expect_err("there is no answer");
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()), "{error}");
}

fn texts(loki: &Standin) -> Vec<String> {
    let lines = loki.lines(&[("container_name", "web")]).into_iter();
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}

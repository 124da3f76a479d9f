//! The server that a scenario runs against, and the requests of scenarios.

use crate::standin::client::{self, Reply, entry, percent_encode, stream};
use crate::standin::proto::{Entry, Stream};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// How long a real Loki may be out of tokens because of the scene before.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Target {
    base: String,
    /// The value of the label `run`, which no other scene has.
    run: String,
    /// A time that is the present for the whole scene.
    pub now: i64,
}

/// A line as a query shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub timestamp: i64,
    pub line: String,
    pub metadata: Value,
}

impl Target {
    pub fn new(base: &str, scene: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("it is after 1970").as_nanos() as i64;
        Self { base: base.trim_end_matches('/').to_owned(), run: format!("{scene}-{now}"), now }
    }

    /// The label string of a stream of this scene.
    pub fn labels(&self, name: &str) -> String {
        format!("{{run=\"{}\", name=\"{name}\"}}", self.run)
    }

    /// The same with more labels.
    pub fn labels_and(&self, name: &str, more: &str) -> String {
        self.labels(name).replace('}', &format!(", {more}}}"))
    }

    /// A selector of everything of this scene.
    pub fn everything(&self) -> String {
        format!("{{run=\"{}\"}}", self.run)
    }

    /// Where a driver pushes to.
    pub fn push_url(&self) -> String {
        format!("{}/loki/api/v1/push", self.base)
    }

    pub fn run(&self) -> &str {
        &self.run
    }

    /// A stream of this scene with lines at the present.
    pub fn lines_now(&self, name: &str, lines: &[&str]) -> Stream {
        let at = |(number, line): (usize, &&str)| entry(self.now + number as i64, line.to_string());
        stream(self.labels(name), lines.iter().enumerate().map(at).collect())
    }

    /// A stream of this scene with entries of any kind.
    pub fn stream(&self, name: &str, entries: Vec<Entry>) -> Stream {
        stream(self.labels(name), entries)
    }

    /// Pushes once.
    pub fn push_once(&self, streams: Vec<Stream>) -> Reply {
        client::push(&self.base, &[], streams).expect("a push is answered")
    }

    /// Pushes until the tenant's rate, used up by another scene, lets it through.
    pub fn push(&self, streams: Vec<Stream>) -> Reply {
        let begun = Instant::now();
        loop {
            let reply = self.push_once(streams.clone());
            let busy = reply.status == 429 && reply.text().contains("ingestion rate limit");
            if !busy || begun.elapsed() > PATIENCE {
                return reply;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Pushes a body as it is.
    pub fn push_body(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let sent = client::send(&self.base, "POST", "/loki/api/v1/push", headers, body);
        sent.expect("a push is answered")
    }

    pub fn push_with(&self, headers: &[(&str, &str)], streams: Vec<Stream>) -> Reply {
        client::push(&self.base, headers, streams).expect("a push is answered")
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let sent = client::send(&self.base, method, path, headers, body);
        sent.expect("a request is answered")
    }

    /// Says how large the body is going to be, and sends none.
    pub fn announce(&self, bytes: u64) -> Reply {
        use std::io::Write;
        use std::net::TcpStream;
        let host = self.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("there is a server");
        let head = format!(
            "POST /loki/api/v1/push HTTP/1.1\r\nHost: {host}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("a head can be sent");
        client::read_reply(stream).expect("a head is answered")
    }

    /// Asks something; the parameters are encoded.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        self.ask_with(&[], path, parameters)
    }

    pub fn ask_with(&self, headers: &[(&str, &str)], path: &str, parameters: &[(&str, &str)]) -> Reply {
        let encoded: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
            .collect();
        let path = format!("/loki/api/v1/{path}?{}", encoded.join("&"));
        self.send("GET", &path, headers, b"")
    }

    /// The lines of a stream of this scenario, oldest first, from the last `age` nanoseconds.
    pub fn lines_since(&self, name: &str, age: i64) -> Vec<String> {
        let start = (self.now - age).to_string();
        let streams = self.streams(&self.labels(name), &[("start", &start)]);
        streams.into_iter().flat_map(|(_, lines)| lines).map(|shown| shown.line).collect()
    }

    /// The streams a selector finds in the last two hours and the next one, with metadata apart.
    pub fn streams(&self, selector: &str, more: &[(&str, &str)]) -> Vec<(Value, Vec<Shown>)> {
        let (start, end) = (self.now - 2 * HOUR, self.now + HOUR);
        let (start, end) = (start.to_string(), end.to_string());
        let mut parameters = vec![("query", selector)];
        parameters.extend(more);
        for (name, value) in [("start", start.as_str()), ("end", &end), ("limit", "5000"), ("direction", "forward")] {
            if !more.iter().any(|(given, _)| *given == name) {
                parameters.push((name, value));
            }
        }
        let flags = [("X-Loki-Response-Encoding-Flags", "categorize-labels")];
        let reply = self.ask_with(&flags, "query_range", &parameters);
        assert_eq!(reply.status, 200, "{selector}: {}", reply.text());
        let answer = parse(&reply);
        assert_eq!(answer["status"], "success");
        assert_eq!(answer["data"]["resultType"], "streams");
        let streams = answer["data"]["result"].as_array().expect("streams are an array");
        let shown = |value: &Value| Shown {
            timestamp: value[0].as_str().and_then(|it| it.parse().ok()).expect("a time"),
            line: value[1].as_str().expect("a line").to_owned(),
            metadata: value[2]["structuredMetadata"].clone(),
        };
        let streams = streams.iter().map(|stream| {
            let values = stream["values"].as_array().expect("values are an array");
            (stream["stream"].clone(), values.iter().map(shown).collect())
        });
        streams.collect()
    }

    /// The lines of a stream of this scene, oldest first.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let streams = self.streams(&self.labels(name), &[]);
        let lines = streams.into_iter().flat_map(|(_, lines)| lines);
        lines.map(|shown| shown.line).collect()
    }

    /// How many lines a count finds in this scene.
    pub fn count(&self) -> u64 {
        let query = format!("sum(count_over_time({}[1h]))", self.everything());
        let answer = parse(&self.ask("query", &[("query", &query)]));
        assert_eq!(answer["data"]["resultType"], "vector");
        match &answer["data"]["result"][0]["value"][1] {
            Value::Null => 0,
            number => number.as_str().and_then(|it| it.parse().ok()).expect("a number"),
        }
    }
}

pub fn parse(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// Holds an answer to its status and its exact text.
#[track_caller]
pub fn answers(reply: &Reply, status: u16, text: &str) {
    assert_eq!((reply.status, reply.text().as_str()), (status, text));
}

/// Holds an answer to its status and a part of its text.
#[track_caller]
pub fn answers_with(reply: &Reply, status: u16, part: &str) {
    let text = reply.text();
    let shown: String = text.chars().take(600).collect();
    assert_eq!(reply.status, status, "{shown}");
    assert!(text.contains(part), "{part:?} is not in: {shown}");
}

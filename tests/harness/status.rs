//! The plugin as an operator sees it: the endpoints on `METRICS_ADDR`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::http::{Client, Reply};
use super::plugin::Plugin;

/// A scrape: each series as it is written, with its value.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub text: String,
    series: BTreeMap<String, f64>,
}

/// Asks for something, on a connection of its own.
pub fn ask(plugin: &Plugin, method: &str, path: &str) -> Reply {
    let client = Client::new(&plugin.status_socket());
    client.once(method, path, "plugin", b"").unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The body of what is there.
pub fn get(plugin: &Plugin, path: &str) -> String {
    let reply = ask(plugin, "GET", path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

/// `/status.json`.
pub fn status(plugin: &Plugin) -> Value {
    let json = get(plugin, "/status.json");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("/status.json: {error}: {json}"))
}

/// `/metrics`.
pub fn scrape(plugin: &Plugin) -> Scrape {
    Scrape::at(&plugin.status_socket())
}

/// An address of this machine without a listener.
pub fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// What `promtool check metrics` has to say; nothing when it is content.
pub fn promtool(text: &str) -> String {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = spawned.unwrap_or_else(|error| {
        panic!("promtool: {error} (make test installs it, or: apt-get install prometheus)");
    });
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

// === impl Scrape ===

impl Scrape {
    /// What is served on a socket.
    pub fn at(socket: &Path) -> Self {
        let reply = Client::new(socket).once("GET", "/metrics", "plugin", b"");
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        assert_eq!(reply.status, 200, "/metrics: {}", reply.body);
        Self::of(reply.body)
    }

    fn of(text: String) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            (series.to_owned(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
        };
        let series = samples.map(sample).collect();
        Self { text, series }
    }

    /// The sum of all series of this name that have all of these labels; `None` without such a series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let is_named = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| matches!(rest.chars().next(), None | Some('{')))
        };
        let found = self
            .series
            .iter()
            .filter(|(series, _)| is_named(series) && wanted.iter().all(|label| series.contains(label)));
        found.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }

    /// The same of a series that has to be there.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or_else(|| panic!("no {name} with {labels:?} in:\n{}", self.text))
    }
}

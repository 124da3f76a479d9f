//! Prometheus and promtool, which evaluate rules and expressions.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::assert_eventually;
use super::status::free_address;
use crate::standin::client::{percent_encode, send};

/// Advice when one of the two is missing.
const HOW_TO_INSTALL: &str = "make test installs it, or: apt-get install --no-install-recommends prometheus";

/// A Prometheus of its own, which ends with its owner.
pub struct Prometheus {
    url: String,
    process: Child,
    dir: TempDir,
}

/// One series of an answer.
#[derive(Debug)]
pub struct Sample {
    pub labels: Value,
    pub value: f64,
}

/// Runs promtool.
pub fn promtool(arguments: &[&str], file: &Path) -> Output {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    output.unwrap_or_else(|error| panic!("promtool does not run: {error} ({HOW_TO_INSTALL})"))
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one with this configuration, and waits until it can be asked. Rules that it names are to be named by their
    /// whole path.
    pub fn start(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("prometheus-").tempdir().expect("a temporary directory");
        let (file, log) = (dir.path().join("prometheus.yaml"), dir.path().join("log"));
        fs::write(&file, config).expect("a file in a fresh directory");
        let address = free_address();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).expect("a file in a fresh directory"))
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus does not run: {error} ({HOW_TO_INSTALL})"));
        let mut prometheus = Self { url: format!("http://{address}"), process, dir };
        assert_eventually!(
            {
                let ended = prometheus.process.try_wait().expect("it is ours");
                assert!(ended.is_none(), "Prometheus ended instead of serving:\n{}", prometheus.log());
                send(&prometheus.url, "GET", "/-/ready", &[], b"").is_ok_and(|reply| reply.status == 200)
            },
            "Prometheus is ready"
        );
        prometheus
    }

    /// What an expression gives now; `Err` is Prometheus' own complaint.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let answer = self.get(&format!("/api/v1/query?query={}", percent_encode(expression)));
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let data = &answer["data"];
        let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).expect("a number as text");
        if data["resultType"] == "scalar" {
            return Ok(vec![Sample { labels: Value::Null, value: number(&data["result"][1]) }]);
        }
        let series = data["result"].as_array().expect("series").iter();
        Ok(series.map(|one| Sample { labels: one["metric"].clone(), value: number(&one["value"][1]) }).collect())
    }

    /// Any other question of its API.
    pub fn get(&self, path: &str) -> Value {
        let reply = send(&self.url, "GET", path, &[], b"").unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", reply.text()))
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let log = fs::File::open(self.dir.path().join("log"));
        let read = log.and_then(|mut log| log.read_to_string(&mut text));
        read.map_or_else(|error| error.to_string(), |_| text)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It has nothing to keep.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

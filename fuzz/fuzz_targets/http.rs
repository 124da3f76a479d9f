//! Any requests on dockerd's socket and of the status page: each is answered in a bounded number of bytes, with no secret of
//! the request in it, and bytes that are no request at all end the connection.

#![no_main]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::disk;
use hyper::Request;
use hyper::body::Body;
use libfuzzer_sys::fuzz_target;
use loki_rs::config::{MetricsAddr, PluginDefaults, Settings};
use loki_rs::status::report::Reporter;
use loki_rs::streams::Registry;
use loki_rs::streams::registry::Setup;
use loki_rs::{docker, status};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Stands in bodies where dockerd sends secrets.
const SECRET: &str = "hunter2";

/// Calls with their bodies, in which `TEXT` is any text and `JSON` the same as a text of JSON.
const CALLS: &[(&str, &str)] = &[
    ("/Plugin.Activate", "TEXT"),
    ("/LogDriver.Capabilities", "{}"),
    ("/LogDriver.StartLogging", "TEXT"),
    ("/LogDriver.StartLogging", r#"{"File": JSON, "Info": {"ContainerID": "c1", "Config": {"loki-url": "http://a"}}}"#),
    ("/LogDriver.StartLogging", r#"{"File": "/dev/null/f", "Info": {"ContainerID": JSON, "ContainerName": JSON}}"#),
    (
        "/LogDriver.StartLogging",
        r#"{"File": "/dev/null/f", "Info": {"ContainerID": "c1", "Config": {"loki-url": "http://me:hunter2@a", JSON: JSON}}}"#,
    ),
    (
        "/LogDriver.StartLogging",
        r#"{"File": "/dev/null/f", "Info": {"ContainerID": "c1", "Config": {"loki-url": "http://a", "tag": JSON,
            "loki-pipeline-stages": JSON, "loki-relabel-config": JSON, "loki-external-labels": JSON, "loki-headers": "hunter2"}}}"#,
    ),
    ("/LogDriver.StartLogging", r#"{"File": "/dev/null/f", "Info": {"ContainerEnv": "A=hunter2", "Config": TEXT}}"#),
    ("/LogDriver.StartLogging", r#"{"Info": {"Config": {"loki-password": ["hunter2"], JSON: TEXT}}}"#),
    ("/LogDriver.StartLogging", r#"{"Info": {"ContainerArgs": {"hunter2": TEXT}}}"#),
    ("/LogDriver.StopLogging", r#"{"File": JSON}"#),
    ("/LogDriver.StopLogging", "TEXT"),
    ("/LogDriver.ReadLogs", r#"{"Info": {"ContainerID": JSON}, "Config": {"Since": JSON, "Until": JSON, "Tail": 1}}"#),
    (
        "/LogDriver.ReadLogs",
        r#"{"Info": {"ContainerID": "c1"}, "ReadConfig": {"Since": TEXT, "Tail": TEXT, "Follow": true}}"#,
    ),
    ("/LogDriver.ReadLogs", "TEXT"),
];

const PATHS: &[&str] =
    &["/", "/metrics", "/status.json", "/live", "/ready", "/?TEXT", "TEXT", "http://localhost/TEXT", "/TEXT"];
const HOSTS: &[&str] = &["localhost", "127.0.0.1:9337", "host", "[::1]:1", "TEXT", "localhost:TEXT", "TEXT@localhost"];

/// Bytes of an answer to dockerd: 16 KiB of a refusal, of which JSON writes one byte as six.
const LONGEST: usize = 100 << 10;

/// Bytes of an answer of the status page of a plugin without containers.
const LONGEST_PAGE: u64 = 256 << 10;

/// Nothing that is asked here waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A plugin that runs, without a container.
struct Plugin {
    runtime: Runtime,
    socket: PathBuf,
    page: PathBuf,
    routes: status::Routes,
    _dir: TempDir,
}

fuzz_target!(|input: (u8, u8, u8, String, Vec<u8>)| {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    let plugin = PLUGIN.get_or_init(Plugin::start);
    let (kind, which, times, text, bytes) = input;
    let text = text.replace(SECRET, "").repeat(1 + usize::from(times % 64));
    match kind % 4 {
        0 | 1 => plugin.call(CALLS[usize::from(which) % CALLS.len()], &text),
        2 => plugin.look(PATHS[usize::from(which) % PATHS.len()], HOSTS[usize::from(times) % HOSTS.len()], &text),
        _ => plugin.write(&[&plugin.socket, &plugin.page][usize::from(which) % 2], &bytes),
    }
});

// === impl Plugin ===

impl Plugin {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (socket, page) = (dir.path().join("socket"), dir.path().join("page"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let _entered = runtime.enter();
        let pipelines = Arc::<promtail::pipeline::Registries>::default();
        let registry = Registry::new(Setup {
            state_dir: dir.path().join("state"),
            hostname: "host".into(),
            defaults: PluginDefaults::default(),
            mistakes: Vec::new(),
            intake: runtime.handle().clone(),
            shipping: runtime.handle().clone(),
            counters: Default::default(),
            sent: Default::default(),
            pipelines: pipelines.clone(),
        });
        runtime.block_on(registry.adopt());
        let reporter = Reporter::new(registry.clone(), &Settings::read(&BTreeMap::<String, String>::new()));
        let routes = status::Routes::new(reporter, Default::default(), pipelines);
        let listener = disk::bind(&socket).expect("a socket");
        runtime.spawn(docker::server::serve(listener, docker::routes::Routes::new(registry)));
        runtime.spawn(status::server::serve(MetricsAddr::Unix(page.clone()), routes.clone()));
        while !page.exists() {
            std::thread::yield_now();
        }
        drop(_entered);
        Self { runtime, socket, page, routes, _dir: dir }
    }

    /// A call of dockerd.
    fn call(&self, (path, body): (&str, &str), text: &str) {
        let quoted = serde_json::Value::from(text).to_string();
        let body = body.replace("TEXT", text).replace("JSON", &quoted);
        let mut stream = connect(&self.socket);
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: \r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("the call is read");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the call is answered");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.len() <= LONGEST, "{} bytes: {answer}", answer.len());
        assert!(!answer.contains(SECRET), "{answer}");
    }

    /// A request of a browser, over loopback.
    fn look(&self, path: &str, host: &str, text: &str) {
        let path = path.replace("TEXT", text);
        let request = Request::builder().uri(&path).header("Host", host.replace("TEXT", text)).body(());
        let Ok(request) = request else { return };
        let answer = self.runtime.block_on(self.routes.answer(&request, true));
        assert!(matches!(answer.status().as_u16(), 200 | 404 | 421), "{}", answer.status());
        assert!(answer.body().size_hint().exact().is_some_and(|bytes| bytes <= LONGEST_PAGE), "{path}");
    }

    /// Bytes that need not be a request. Answers to those that are one may be left off when the writer hangs up.
    fn write(&self, socket: &PathBuf, bytes: &[u8]) {
        let mut stream = connect(socket);
        // The other side may have hung up.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(read.is_ok_and(|read| read as u64 <= LONGEST_PAGE * 64), "{:?}", answer.len());
    }
}

fn connect(socket: &PathBuf) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the plugin listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
    stream
}

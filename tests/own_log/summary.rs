//! The health summary, once a minute. Here a minute is a fifth of a second: the test runs the registry, on a thread
//! whose log is the test's own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dockerd::info::Info;
use loki_rs::config::PluginDefaults;
use loki_rs::streams::Registry;
use loki_rs::streams::registry::Setup;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use telemetry::logging::{Lines, Output, Outputs};
use telemetry::own_log::LogFormat;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle, Runtime};
use tracing_subscriber::layer::SubscriberExt;

use super::{Fields, read};
use crate::harness::dockerd::now;
use crate::harness::frame::Entry;
use crate::harness::pages;
use crate::harness::patience;
use crate::standin::{Failure, Standin, Times};

const MINUTE: Duration = Duration::from_millis(200);

/// What was said.
#[derive(Default)]
struct Kept(Mutex<Vec<(Output, String)>>);

/// A state directory, and the FIFO of a container that prints.
struct Stage {
    dir: TempDir,
    fifo: PathBuf,
    container: File,
    loki: Standin,
    kept: Arc<Kept>,
}

// === impl Kept ===

impl Kept {
    fn lines(&self) -> MutexGuard<'_, Vec<(Output, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outputs for Kept {
    fn write(&self, output: Output, line: &[u8]) {
        self.lines().push((output, String::from_utf8(line.to_vec()).expect("text")));
    }
}

// === impl Stage ===

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        let container = OpenOptions::new().read(true).write(true).open(&fifo).expect("the FIFO is there");
        Self { fifo, container, dir, loki: Standin::start(), kept: Arc::default() }
    }

    fn info(&self) -> Info {
        let config = json!({
            "loki-url": self.loki.push_url(),
            "loki-batch-wait": "20ms",
            "loki-min-backoff": "20ms",
            "loki-max-backoff": "100ms",
        });
        let info = json!({"Config": config, "ContainerID": "0".repeat(64), "ContainerName": "/web"});
        serde_json::from_value(info).expect("it is one")
    }

    fn print(&mut self, lines: usize) {
        for at in 0..lines {
            let frame = Entry::new("stdout", now(), format!("line {at}")).to_frame();
            self.container.write_all(&frame).expect("there is room");
        }
    }

    /// Waits for a line that says this and is as it should be, behind the first `from` ones. Gives its fields, and how many
    /// lines there are up to it.
    async fn said(&self, from: usize, message: &str, is_wanted: impl Fn(&Fields) -> bool) -> (Fields, usize) {
        let deadline = Instant::now() + patience();
        loop {
            let found =
                self.summaries(from).into_iter().find(|(_, fields)| fields["msg"] == message && is_wanted(fields));
            if let Some((at, fields)) = found {
                return (fields, at + 1);
            }
            assert!(Instant::now() < deadline, "{message} was not said like that: {:#?}", self.kept.lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All lines of summaries behind the first `from` lines, with their places.
    fn summaries(&self, from: usize) -> Vec<(usize, Fields)> {
        let lines = self.kept.lines().iter().skip(from).cloned().collect::<Vec<_>>();
        let mut found = Vec::new();
        for (at, (output, line)) in lines.iter().enumerate() {
            let fields = read("json", line);
            let expected = match fields["msg"].as_str() {
                Some("something is wrong") => Output::Stderr,
                Some("all is right again") => Output::Stdout,
                _ => continue,
            };
            assert_eq!(*output, expected, "{line}");
            found.push((from + at, fields));
        }
        found
    }
}

fn registry(state: &Path, defaults: PluginDefaults) -> Registry {
    let registry = Registry::new(Setup {
        state_dir: state.to_path_buf(),
        hostname: "host".into(),
        defaults,
        mistakes: Vec::new(),
        intake: Handle::current(),
        shipping: Handle::current(),
        counters: Default::default(),
        sent: Default::default(),
        pipelines: Default::default(),
    });
    let watched = registry.clone();
    tokio::spawn(async move { watched.keep_watch(MINUTE).await });
    registry
}

/// All that happens is on the thread of the test, but for what waits for a disk.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The documented example of a line has the fields that there are, and is logfmt.
fn assert_documented(message: &str, said: &Fields) {
    let (page, shown) = (pages::page("docs/monitoring.md"), pages::marked("summary"));
    let line = shown.lines().map(str::trim).find(|line| line.contains(message)).expect("it is among them");
    assert_eq!(read("logfmt", line).keys().collect::<Vec<_>>(), said.keys().collect::<Vec<_>>(), "{line}");
    for name in said.keys().filter(|name| !["level", "msg", "seconds", "most_waiting_lines"].contains(&name.as_str())) {
        assert!(page.contains(&format!("`{name}`")), "docs/monitoring.md does not say what {name} is");
    }
}

fn status(code: u16) -> Failure {
    let body = if code == 400 { "error parsing labels '{' with error: no" } else { "no" };
    Failure::Status { code, body: body.into() }
}

#[test]
fn what_is_wrong_is_summed_up_while_it_lasts_and_once_more_when_it_is_over() {
    let mut stage = Stage::new();
    let lines = Lines::new(LogFormat::Json, stage.kept.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
    let state = stage.dir.path().join("state");
    runtime().block_on(async {
        let registry = registry(&state, PluginDefaults::default());
        registry.adopt().await;
        stage.loki.fail(status(503), Times::UntilHealed);
        registry.start(stage.fifo.clone(), stage.info()).await.expect("it can be logged");
        stage.print(30);
        let (wrong, first) = stage.said(0, "something is wrong", |said| said["waiting_lines"] == 30).await;
        assert_eq!((&wrong["down"], &wrong["waiting_containers"]), (&json!(1), &json!(1)));
        let named = wrong["destinations"].as_str().expect("a text");
        assert!(named.starts_with(&format!("{} for ", stage.loki.push_url())), "{named}");
        assert_eq!((&wrong["reason"], &wrong["dropped_lines"]), (&json!("Loki answered 503: no"), &json!(0)));
        let (_, second) = stage.said(first, "something is wrong", |said| said["waiting_lines"] == 30).await;
        assert_documented("something is wrong", &wrong);
        // While an outage lasts, only the summary logs it.
        let text: String = stage.kept.lines().iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(text.matches("Loki takes no lines").count(), 1, "{text}");
        stage.loki.heal();
        let (right, over) = stage.said(second, "all is right again", |_| true).await;
        assert_documented("all is right again", &right);
        assert_eq!((&right["most_waiting_lines"], &right["dropped_lines"]), (&json!(30), &json!(0)));

        // What is lost is wrong once, with its reason.
        stage.loki.fail(status(400), Times::Next(1));
        stage.print(1);
        let (_, lost) = stage.said(over, "something is wrong", |said| said["dropped"] == "1 refused").await;
        stage.said(lost, "all is right again", |said| said["dropped_lines"] == 1).await;
        let all = stage.summaries(over);
        let of_all = |message: &str| -> u64 {
            let said = all.iter().filter(|(_, said)| said["msg"] == message);
            said.map(|(_, said)| said["dropped_lines"].as_u64().expect("a number")).sum()
        };
        assert_eq!((of_all("something is wrong"), of_all("all is right again")), (1, 1), "{all:#?}");
    });
}

#[test]
fn containers_that_are_kept_and_not_sent_are_wrong_until_the_settings_are_mended() {
    let mut stage = Stage::new();
    let lines = Lines::new(LogFormat::Json, stage.kept.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
    let state = stage.dir.path().join("state");
    let (good, bad) = (PluginDefaults::default(), PluginDefaults::new([("loki-timeout", "soon")]));
    runtime().block_on(async {
        let registry = registry(&state, good);
        registry.adopt().await;
        registry.start(stage.fifo.clone(), stage.info()).await.expect("it can be logged");
    });
    stage.print(3);
    runtime().block_on(async {
        registry(&state, bad).adopt().await;
        let (wrong, _) = stage.said(0, "something is wrong", |said| said["unusable_containers"] == 1).await;
        assert_eq!((&wrong["down"], &wrong.get("reason")), (&json!(0), &None::<&Value>));
    });
}

//! Support for scenarios: the real binary, a fake dockerd before it, a fake Loki behind it.
//!
//! ```text
//! a test ──▶ dockerd ──HTTP──▶ plugin ──HTTP──▶ standin
//!               └────FIFO────────▲
//! ```
//!
//! * [`plugin`]: the binary as a process, which can be killed and restarted with its state;
//! * [`dockerd`]: containers that log, stop and are read back, in the order of dockerd's calls;
//! * [`prometheus`]: a real Prometheus that scrapes the plugin, and promtool;
//! * [`status`]: the plugin as an operator sees it;
//! * [`browser`]: a page as users see it;
//! * [`host_clock`]: the time of day on the host of a plugin;
//! * [`bystander`]: a container that must not be affected;
//! * [`compose`]: Docker Compose, for tests of its files;
//! * [`pages`]: the documentation, for tests that compare it with the program;
//! * [`logql`]: a LogQL parser, for tests without a Loki;
//! * [`copier`]: how dockerd splits the output of a container; [`frame`]: how it encodes entries; [`http`]: how it
//!   calls.
//!
//! Nothing here sleeps for a fixed time: everything waits for a condition, for at most [`patience`].

pub mod browser;
pub mod bystander;
pub mod compose;
pub mod copier;
pub mod dockerd;
pub mod frame;
pub mod host_clock;
pub mod http;
pub mod logql;
pub mod name_server;
pub mod pages;
pub mod plugin;
pub mod prometheus;
pub mod status;

use std::time::Duration;

use crate::standin::{Builder, Limits, Standin, State};
use dockerd::{Container, Dockerd};
use plugin::{Plugin, Start};

/// How long an event may take. The value is high, because tests that pass do not wait for it, and the machine may be
/// busy; `TEST_PATIENCE` sets another number of seconds.
pub fn patience() -> Duration {
    let seconds = std::env::var("TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// How often a plugin under load is killed: `make crash N=50` asks for more.
pub fn kills() -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Waits until a condition holds. The arguments after the condition describe it.
macro_rules! assert_eventually {
    ($condition:expr) => {
        assert_eventually!($condition, "{}", stringify!($condition))
    };
    ($condition:expr, $($what:tt)+) => {{
        let deadline = std::time::Instant::now() + $crate::harness::patience();
        loop {
            if $condition {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "it did not come to this: {}", format_args!($($what)+));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }};
}
pub(crate) use assert_eventually;

/// Plugin, dockerd and Loki, connected. Fields are in the order in which they are dropped.
pub struct Scene {
    pub dockerd: Dockerd,
    pub plugin: Plugin,
    pub loki: Standin,
}

// === impl Scene ===

impl Scene {
    /// A plugin and a Loki with their defaults.
    pub fn new() -> Self {
        Self::with(Start::default(), Standin::builder())
    }

    /// A plugin and a Loki with other settings.
    pub fn with(plugin: Start, loki: Builder) -> Self {
        let loki = loki.start();
        let plugin = plugin.start();
        Self { dockerd: Dockerd::new(&plugin), plugin, loki }
    }

    /// A Loki without rate limits.
    pub fn generous() -> Self {
        Self::with(Start::default(), Standin::builder().limits(Limits::generous()))
    }

    /// A container that logs to this Loki, with waits so short that a test does not notice them.
    pub fn container(&self, name: &str) -> Container {
        self.patient_container(name)
            .option("loki-batch-wait", "20ms")
            .option("loki-min-backoff", "20ms")
            .option("loki-max-backoff", "200ms")
    }

    /// A container that logs to this Loki and leaves every other option alone.
    pub fn patient_container(&self, name: &str) -> Container {
        self.dockerd.container(name).option("loki-url", &self.loki.push_url())
    }

    /// Waits until Loki has this many lines of a container.
    pub fn wait_for_lines(&self, name: &str, count: usize) {
        wait_for_lines_in(&self.loki, name, count);
    }

    /// The lines of a container in Loki, as text, in the order in which they came.
    pub fn lines_in_loki(&self, name: &str) -> Vec<String> {
        lines_in(&self.loki, name)
    }

    /// Waits until Loki has as many lines of a container as there are in `expected`, and then holds them against each
    /// other.
    pub fn assert_lines_in_loki<L: AsRef<str>>(&self, name: &str, expected: &[L]) {
        assert_lines_in(&self.loki, name, expected);
    }
}

/// Waits until a Loki has this many lines of a container.
pub fn wait_for_lines_in(loki: &Standin, name: &str, count: usize) {
    let has = |state: &State| state.count(&[("container_name", name)]);
    let came = loki.wait_for(|state| has(state) >= count, patience());
    let now = loki.count(&[("container_name", name)]);
    assert!(came, "{name} wrote {count} lines, and Loki has {now}");
}

/// The lines of a container in a Loki, as text, in the order in which they came.
pub fn lines_in(loki: &Standin, name: &str) -> Vec<String> {
    let lines = loki.lines(&[("container_name", name)]);
    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Waits until a Loki has as many lines of a container as there are in `expected`, and then holds them against each
/// other.
pub fn assert_lines_in<L: AsRef<str>>(loki: &Standin, name: &str, expected: &[L]) {
    wait_for_lines_in(loki, name, expected.len());
    assert_same(&lines_in(loki, name), expected);
}

/// Holds two lists of lines against each other, and shows of long ones only where they part.
pub fn assert_same<A: AsRef<str>, B: AsRef<str>>(actual: &[A], expected: &[B]) {
    let show = |line: Option<&str>| match line {
        None => "nothing".to_owned(),
        Some(line) if line.len() > 200 => {
            format!("{:?}… ({} bytes)", line.chars().take(100).collect::<String>(), line.len())
        }
        Some(line) => format!("{line:?}"),
    };
    let longest = actual.len().max(expected.len());
    for at in 0..longest {
        let (a, e) = (actual.get(at).map(AsRef::as_ref), expected.get(at).map(AsRef::as_ref));
        assert!(
            a == e,
            "line {at} is {}, not {} ({} lines, {} expected)",
            show(a),
            show(e),
            actual.len(),
            expected.len()
        );
    }
}

/// `count` lines that tell themselves apart, each of about `length` bytes.
pub fn numbered(what: &str, count: usize, length: usize) -> Vec<String> {
    let line = |at| {
        let mut line = format!("{what} {at:06} ");
        line.extend(std::iter::repeat_n('x', length.saturating_sub(line.len())));
        line
    };
    (0..count).map(line).collect()
}

//! Support for scenarios on a real engine: a private dockerd, the built plugin, a fake Loki.
//!
//! ```text
//! a test ──docker──▶ dockerd ──HTTP and FIFOs──▶ plugin ──HTTP──▶ standin (in this process)
//!                       └──runs──▶ chatter
//! ```
//!
//! * [`Engine`] is a dockerd by `plugin/engine.sh`, in namespaces of its own. Most scenes share one, see
//!   [`Engine::shared`]; it ends with this process, however that ends.
//! * [`Plugin`] is one installation. Most scenes share that too; those that hurt it have one under a name of their own.
//! * [`Scene`] has a Loki and names to itself, so that scenes do not meet. [`Container`] is one container of it.
//!
//! Nothing sleeps for a fixed time: everything waits for a condition, for at most [`patience`]. When a test fails, the
//! end of dockerd's log is printed, which contains the plugin's.

mod container;
mod engine;
mod plugin;

#[allow(unused_imports, reason = "benches have no use for all of it")]
pub use container::{Container, Draft, Logs};
pub use engine::{Engine, IMAGE_NAME};
pub use plugin::Plugin;

use std::thread;
use std::time::{Duration, Instant};

pub use crate::harness::patience;
use crate::standin::Standin;

/// Waits until a condition holds; `what` says in words what was waited for.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A test's own stage.
pub struct Scene<'a> {
    name: String,
    pub engine: &'a Engine,
    pub plugin: &'a Plugin<'a>,
    pub loki: Standin,
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// A scene on the shared engine with the shared plugin.
    pub fn new(name: &str) -> Scene<'static> {
        Scene::with(name, Plugin::shared())
    }

    /// A scene with a plugin to itself. Its name begins the names of containers.
    pub fn with(name: &str, plugin: &'a Plugin<'a>) -> Scene<'a> {
        Scene { name: name.to_owned(), engine: plugin.engine, plugin, loki: Standin::start() }
    }

    /// A container that logs through the plugin to this scene's Loki.
    pub fn container(&'a self, name: &str) -> Draft<'a> {
        let url = self.loki.push_url();
        self.bare_container(name, &self.plugin.name).option("loki-url", &url)
    }

    /// A container that logs through a driver, with no options.
    pub fn bare_container(&'a self, name: &str, driver: &str) -> Draft<'a> {
        let name = format!("{}-{name}", self.name);
        Draft { scene: self, name, driver: driver.to_owned(), arguments: Vec::new() }
    }

    /// What Loki has of a container, in the order of arrival.
    pub fn lines(&self, container: &Container) -> Vec<String> {
        let lines = self.loki.lines(&[("container_name", &container.name)]);
        lines.iter().map(|line| text(line)).collect()
    }

    /// Waits until Loki has as many lines of a container as are expected, and compares all of them.
    #[track_caller]
    pub fn expect_lines<S: AsRef<[u8]>>(&self, container: &Container, expected: impl IntoIterator<Item = S>) {
        let expected: Vec<S> = expected.into_iter().collect();
        let labels = [("container_name", container.name.as_str())];
        let came = self.loki.wait_for(|state| state.count(&labels) >= expected.len(), patience());
        let lines = self.loki.lines(&labels);
        assert!(came, "Loki has {} lines of {} instead of {}", lines.len(), container.name, expected.len());
        for (at, (line, expected)) in lines.iter().zip(&expected).enumerate() {
            let expected = expected.as_ref();
            assert!(line == expected, "line {at} in Loki is {} instead of {}", short(line), short(expected));
        }
        assert_eq!(lines.len(), expected.len(), "lines of {} in Loki", container.name);
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.engine.print_log();
        }
    }
}

// === texts ===

/// `line 1` to `line N`, as chatter writes them.
pub fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("line {n}")).collect()
}

/// Bytes as text, whatever they are.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where two lists of lines part, for a complaint; `None` if they do not.
pub fn difference(lines: &[String], expected: &[String]) -> Option<String> {
    let at = (0..lines.len().max(expected.len())).find(|at| lines.get(*at) != expected.get(*at))?;
    let around = |all: &[String]| all[at.saturating_sub(2).min(all.len())..(at + 3).min(all.len())].join(", ");
    let counts = format!("{} lines instead of {}", lines.len(), expected.len());
    Some(format!("{counts}; at {at}: \"{}\" instead of \"{}\"", around(lines), around(expected)))
}

/// Enough of the bytes to see what they are.
fn short(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(200)];
    format!("{} bytes \"{}\"", bytes.len(), shown.escape_ascii())
}

//! The plugin's own log.
//!
//! dockerd takes the plugin's stdout at level info and its stderr at level error, line by line, puts the time before each,
//! and stops listening for good after a line of more than 64 KiB. So:
//!
//! * errors and warnings go to stderr, the rest to stdout, and each line says its level;
//! * there is no time in it;
//! * each event is one line of at most [`LONGEST`] bytes, whatever is in it, and of the [form](LogFormat) that was asked for
//!   even when something had to be cut (`event`);
//! * no more lines are written in a minute than the [quota] has room for; how many were not is said.

mod event;
mod json;
mod logfmt;
pub mod quota;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::event::Line;
use self::quota::{Kind, Quota, Unsaid};
use super::summary;
use crate::own_log::{LogFormat, LogLevel};

/// Bytes of a line, newline included.
pub const LONGEST: usize = 16 * 1024;

/// Writes events as lines. Clones write to the same outputs and share one quota.
#[derive(Clone)]
pub struct Lines {
    format: LogFormat,
    quota: Arc<Quota>,
    outputs: Arc<dyn Outputs>,
}

/// Where lines go.
pub trait Outputs: Send + Sync {
    /// Writes a line, which ends with a newline, at once. A failure cannot be reported anywhere.
    fn write(&self, output: Output, line: &[u8]);
}

/// One of the two outputs that dockerd listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For what is as it should be.
    Stdout,
    /// For warnings and errors.
    Stderr,
}

/// Those of the process.
struct Standard;

/// The crates of the project that log: their messages are filtered by the plugin's own level, those of libraries are warnings at least.
const OURS: [&str; 3] = ["loki", "loki_rs", "telemetry"];

/// Sets the log up, once a process. What comes back tells of lines that were not said.
pub fn init(level: LogLevel, format: LogFormat) -> Lines {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = Lines::new(format, Arc::new(Standard));
    // What crates below us have to tell at lower levels is for their developers.
    let targets =
        Targets::new().with_default(LevelFilter::WARN.min(filter)).with_targets(OURS.map(|name| (name, filter)));
    let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(targets));
    // Refused when a test has set one already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        // Only when RUST_BACKTRACE asks for it.
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
        let thread = std::thread::current();
        error!(thread = thread.name(), backtrace, "{panic}");
    }));
    lines
}

// === impl Lines ===

impl Lines {
    /// Lines that go elsewhere than to the outputs of the process.
    pub fn new(format: LogFormat, outputs: Arc<dyn Outputs>) -> Self {
        Self { format, quota: Arc::default(), outputs }
    }

    /// Says how many lines of a minute that is over were not said, until the task is dropped.
    pub async fn keep_honest(self) {
        loop {
            tokio::time::sleep(quota::MINUTE).await;
            self.tell(self.quota.over(Instant::now()));
        }
    }

    /// The last words of the process: says how many lines were not said.
    pub fn finish(&self) {
        // However far away, it is over then.
        self.tell(self.quota.over(Instant::now() + 2 * quota::MINUTE));
    }

    fn tell(&self, unsaid: Option<Unsaid>) {
        let Some(Unsaid { level, lines }) = unsaid else { return };
        let mut line = Line::new(level);
        line.say(format_args!(
            "{lines} more lines were not said, for there were too many in {} seconds",
            Duration::as_secs(&quota::MINUTE)
        ));
        line.add_number("lines", lines);
        self.write(line);
    }

    fn write(&self, line: Line) {
        let output = if line.level() <= Level::WARN { Output::Stderr } else { Output::Stdout };
        let fitted = line.fit(LONGEST);
        let mut text = match self.format {
            LogFormat::Logfmt => logfmt::write(&fitted),
            LogFormat::Json => json::write(&fitted),
        };
        text.push('\n');
        self.outputs.write(output, text.as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let of = event.metadata();
        let mut line = Line::new(*of.level());
        event.record(&mut line);
        if of.target() != summary::TARGET {
            let admitted = self.quota.admit(Instant::now(), *of.level(), Kind::of(of), line.container());
            self.tell(admitted.before);
            if !admitted.is_said {
                return;
            }
        }
        self.write(line);
    }
}

// === impl Standard ===

impl Outputs for Standard {
    fn write(&self, output: Output, line: &[u8]) {
        let _ = match output {
            Output::Stdout => io::stdout().lock().write_all(line),
            Output::Stderr => io::stderr().lock().write_all(line),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::{info, warn};

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(Output, String)>>);

    impl Outputs for Kept {
        fn write(&self, output: Output, line: &[u8]) {
            let line = String::from_utf8(line.to_vec()).expect("text");
            self.0.lock().unwrap().push((output, line));
        }
    }

    fn said(format: LogFormat, speak: impl FnOnce()) -> Vec<(Output, String)> {
        let kept = Arc::new(Kept::default());
        let lines = Lines::new(format, kept.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), speak);
        lines.finish();
        kept.0.lock().unwrap().clone()
    }

    fn speak() {
        let reason = "no \"such\" file";
        info!(version = "0.1.0", count = 3_u64, share = 0.5, done = true, "it\nserves");
        warn!(%reason, container = "web", debugged = ?Some("x"), absent = None::<u64>, nan = f64::NAN, empty = "", r#type = -1);
    }

    #[test]
    fn an_event_is_one_line_of_its_format_on_the_output_of_its_level() {
        let logfmt = [
            (Output::Stdout, "level=info msg=\"it\\nserves\" version=0.1.0 count=3 share=0.5 done=true\n"),
            (
                Output::Stderr,
                "level=warn msg=\"\" reason=\"no \\\"such\\\" file\" container=web debugged=\"Some(\\\"x\\\")\" \
                 nan=NaN empty=\"\" type=-1\n",
            ),
        ];
        assert_eq!(said(LogFormat::Logfmt, speak), logfmt.map(|(output, line)| (output, line.to_owned())));
        let json = [
            (
                Output::Stdout,
                "{\"level\":\"info\",\"msg\":\"it\\nserves\",\"version\":\"0.1.0\",\"count\":3,\"share\":0.5,\"done\":true}\n",
            ),
            (
                Output::Stderr,
                "{\"level\":\"warn\",\"msg\":\"\",\"reason\":\"no \\\"such\\\" file\",\"container\":\"web\",\
                 \"debugged\":\"Some(\\\"x\\\")\",\"nan\":\"NaN\",\"empty\":\"\",\"type\":-1}\n",
            ),
        ];
        assert_eq!(said(LogFormat::Json, speak), json.map(|(output, line)| (output, line.to_owned())));
    }

    #[test]
    fn every_crate_that_logs_is_listened_to() {
        let crates = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap().flatten();
        for folder in crates {
            let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
            let name = folder.file_name().into_string().unwrap().replace('-', "_");
            assert_eq!(manifest.contains("\ntracing.workspace"), OURS.contains(&&*name), "{name}");
        }
    }

    /// Says which of a child's tests to run, and that it is one.
    const CHILD: &str = "LOKI_RS_TEST_CHILD";

    #[test]
    fn a_panic_is_one_line_too() {
        if std::env::var_os(CHILD).is_some() {
            init(LogLevel::Info, LogFormat::Json);
            let _ = std::thread::Builder::new().name("intake".into()).spawn(|| panic!("two\nlines")).unwrap().join();
            return;
        }
        let name = format!("{}::a_panic_is_one_line_too", module_path!().split_once("::").unwrap().1);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &name, "--nocapture"]).env(CHILD, "1").env("RUST_BACKTRACE", "1");
        let output = child.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = said.lines().filter(|line| line.contains("panicked")).collect();
        let [line] = lines.as_slice() else { panic!("there is not one line: {said}") };
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&read["level"], &read["thread"]), (&"error".into(), &"intake".into()));
        let message = read["msg"].as_str().unwrap();
        assert!(message.starts_with("panicked at crates/telemetry/src/logging.rs:"), "{message}");
        assert!(message.ends_with("\ntwo\nlines"), "{message}");
        // Frames have names only where the binary has symbols.
        assert!(read["backtrace"].as_str().unwrap().contains("\n   1: "), "{line}");
    }

    #[test]
    fn a_thousand_containers_with_the_same_trouble_are_not_a_thousand_lines() {
        let said = said(LogFormat::Logfmt, || {
            for container in 0..1000 {
                warn!(container, "the same trouble");
            }
            error!("another one");
        });
        assert_eq!(said.len(), quota::OF_A_KIND as usize + 2);
        let [.., (_, other), (output, told)] = said.as_slice() else { panic!("there are more") };
        assert_eq!(other, "level=error msg=\"another one\"\n");
        let unsaid = 1000 - quota::OF_A_KIND;
        let expected = format!(
            "level=warn msg=\"{unsaid} more lines were not said, for there were too many in 60 seconds\" lines={unsaid}\n"
        );
        assert_eq!((*output, told), (Output::Stderr, &expected));
    }
}

//! `loki-rs pipeline`: stages tried out before a container has them.

mod inspect;
mod json;

use std::fs;
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use promtail::pipeline::{Entry, Form, Labels, Pipeline, SeqRange, exposition, presets};

/// What to do with a pipeline.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a pipeline can be used as loki-pipeline-stages or loki-pipeline-stage-file.
    Check {
        /// A YAML list of stages, or a map with the key pipeline_stages.
        file: PathBuf,
    },
    /// Show the stages of presets, as the option loki-pipeline runs them.
    Show {
        /// Names with commas between them: json,redact-email
        presets: String,
    },
    /// Send the lines of the standard input through a pipeline and show what would be sent to Loki.
    ///
    /// Time is that of the machine. Where the stage `limit` would wait, the clock is put forward instead.
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// A YAML list of stages, or a map with the key pipeline_stages.
    file: PathBuf,
    /// A label of all lines; can be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = super::pair)]
    labels: Vec<(String, String)>,
    /// The time that it is, which then stands still.
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
    /// Lines are JSON, {"line": "…", "labels": {…}, "timestamp": "…", "extracted": {…}}, and so is what comes out.
    #[arg(long)]
    json: bool,
    /// Show what each stage changes.
    #[arg(long)]
    inspect: bool,
    /// At the end, show on the standard error what the stages have counted.
    #[arg(long)]
    metrics: bool,
}

/// The time of day, or one that stands still; either can be put forward.
struct Clock {
    fixed: Option<i64>,
    skipped: i64,
}

/// Runs the command. A reader that hangs up is no failure.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Check { file } => read(file).map(drop),
        Command::Show { presets } => show(presets),
        Command::Run(run) => read(&run.file).and_then(|pipeline| run.lines(pipeline)),
    };
    super::end(done)
}

fn show(names: &str) -> Result<(), String> {
    let text = presets::expand(names)?;
    still_read(io::stdout().write_all(text.as_bytes())).map(drop)
}

fn read(file: &Path) -> Result<Pipeline, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Pipeline::parse(&text, Form::Either).map_err(|error| {
        let reasons = error.reasons().iter().map(|reason| format!("{}: {reason}", file.display()));
        reasons.collect::<Vec<_>>().join("\n")
    })
}

// === impl Run ===

impl Run {
    fn lines(&self, mut pipeline: Pipeline) -> Result<(), String> {
        let mut out = BufWriter::new(io::stdout().lock());
        // What is read by a program must not have anything else in it.
        let mut watch = if self.json {
            inspect::Inspector::new(Box::new(io::stderr()), io::stderr().is_terminal())
        } else {
            inspect::Inspector::new(Box::new(io::stdout()), io::stdout().is_terminal())
        };
        let mut clock = Clock { fixed: self.now.map(nanoseconds), skipped: 0 };
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        for seq in 0.. {
            line.clear();
            let number = seq + 1;
            let wrong = |reason: String| format!("line {number} of the input: {reason}");
            if input.read_until(b'\n', &mut line).map_err(|error| wrong(error.to_string()))? == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if self.json && line.trim_ascii().is_empty() {
                continue;
            }
            let now = clock.now();
            let mut entry = if self.json { json::read(&line, now).map_err(wrong)? } else { self.entry(&line, now) };
            entry.seq = SeqRange::one(seq);
            entry.arrived = now;
            let mut entries = Vec::new();
            let pause = if self.inspect {
                watch.line(number, &entry);
                pipeline.inspect(entry, now, &mut entries, &mut watch)
            } else {
                pipeline.process(entry, now, &mut entries)
            };
            if !self.write(&mut out, &entries)? {
                return Ok(());
            }
            clock.wait_until(pause);
        }
        let mut entries = Vec::new();
        pipeline.flush(clock.now(), &mut entries);
        self.write(&mut out, &entries)?;
        if self.metrics
            && let Some(registry) = pipeline.registry()
        {
            eprint!("{}", exposition::text(&registry.collect(clock.now())));
        }
        Ok(())
    }

    fn entry(&self, line: &[u8], now: i64) -> Entry {
        let labels: Labels = self.labels.iter().map(|(name, value)| (name, value)).collect();
        Entry { line: line.to_vec(), labels, timestamp: now, ..Entry::default() }
    }

    /// False when the reader has closed its end.
    fn write(&self, out: &mut impl Write, entries: &[Entry]) -> Result<bool, String> {
        for entry in entries {
            let mut text = if self.json { json::write(entry)? } else { inspect::shown(entry) };
            text.push(b'\n');
            if let Some(read) = still_read(out.write_all(&text))? {
                return Ok(read);
            }
        }
        Ok(still_read(out.flush())?.unwrap_or(true))
    }
}

fn still_read(written: io::Result<()>) -> Result<Option<bool>, String> {
    match written {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Some(false)),
        Err(error) => Err(error.to_string()),
    }
}

// === impl Clock ===

impl Clock {
    fn now(&self) -> i64 {
        self.fixed.unwrap_or_else(|| nanoseconds(Timestamp::now())).saturating_add(self.skipped)
    }

    fn wait_until(&mut self, time: Option<i64>) {
        let wait = time.map_or(0, |time| time.saturating_sub(self.now()));
        self.skipped = self.skipped.saturating_add(wait.max(0));
    }
}

/// Since 1970. What does not fit, centuries from now, is the end of time.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX })
}

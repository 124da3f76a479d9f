//! `loki-rs relabel`: rules tried out before a container has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::config::parse;
use base::maps::map_of;
use promtail::relabel::Rules;

/// What to do with rules.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether rules can be used as loki-relabel-config.
    Check {
        /// A YAML list of relabel rules.
        file: PathBuf,
    },
    /// Apply rules to the labels on each line of the standard input.
    ///
    /// A line is name=value,name=value. What comes out is the label set in braces, or the word dropped.
    Run {
        /// A YAML list of relabel rules.
        file: PathBuf,
        /// Lines are {"labels": {"name": "value"}}, and so is what comes out, or {"dropped": true}.
        #[arg(long)]
        json: bool,
    },
}

/// A line of `run --json`, in or out.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dropped: bool,
}

/// Runs the command. A reader that hangs up is no failure.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Check { file } => read(file).map(drop),
        Command::Run { file, json } => read(file).and_then(|rules| relabel(&rules, *json)),
    };
    super::end(done)
}

fn read(file: &Path) -> Result<Rules, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Rules::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn relabel(rules: &Rules, json: bool) -> Result<(), String> {
    let mut out = io::stdout().lock();
    for (number, line) in (1..).zip(io::stdin().lock().lines()) {
        let wrong = |reason: String| format!("line {number} of the input: {reason}");
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let labels = if json { from_json(&line) } else { from_pairs(&line) };
        let labels = rules.apply(labels.map_err(wrong)?.into()).map(BTreeMap::from);
        let answer = if json { to_json(labels) } else { Ok(to_text(labels.as_ref())) };
        match writeln!(out, "{}", answer.map_err(wrong)?) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| error.to_string())?,
        }
    }
    Ok(())
}

fn from_json(line: &str) -> Result<BTreeMap<String, String>, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    Ok(line.labels.unwrap_or_default())
}

fn from_pairs(line: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = parse::pairs(line).map_err(|refusal| refusal.to_string())?;
    Ok(map_of(pairs))
}

fn to_json(labels: Option<BTreeMap<String, String>>) -> Result<String, String> {
    let line = Line { dropped: labels.is_none(), labels };
    serde_json::to_string(&line).map_err(|error| error.to_string())
}

/// Names are shown as the rules left them: what Loki does not take in one is mended only afterwards.
fn to_text(labels: Option<&BTreeMap<String, String>>) -> String {
    let Some(labels) = labels else { return "dropped".to_owned() };
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}{name}={value:?}");
    }
    text.push('}');
    text
}

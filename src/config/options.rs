//! What may be typed: the one table of options, and the options as they were typed.
//!
//! `--help`, the README, the plugin's manifest and the parser all follow [`OPTIONS`]. An option
//! comes from one of three places, the first that has it:
//!
//! 1. the container: `docker run --log-opt`, a compose file, `log-opts` in daemon.json;
//! 2. the plugin: an environment variable set with `docker plugin set`, for all containers at once;
//! 3. the default in the table.
//!
//! Names, formats and defaults are those of Grafana's driver, unless the text says otherwise.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::render::{self, Entry, cell, code};
use base::refusal::clipped;

mod table;

pub use table::*;

/// One option: a row of `--help` and of the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The name behind `--log-opt`.
    pub key: &'static str,
    /// The plugin's environment variable for all containers; `None` where dockerd is the reader.
    pub env: Option<&'static str>,
    /// The value when nobody gives one.
    pub default: Option<&'static str>,
    /// What is accepted, in the words that a complaint uses too.
    pub form: &'static str,
    /// What it does, for the user.
    pub doc: &'static str,
}

/// Options as they were typed, before anything is known of them. Values are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawOptions(pub BTreeMap<String, String>);

/// Bytes of the reason why an option cannot be used: stages and rules repeat names and values of any length.
const LONGEST_REASON: usize = 4 * 1024;

/// One option that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct OptionError {
    /// The option, or the environment variable that stands for it.
    pub key: String,
    pub reason: String,
}

/// Every mistake in one set of options, so that nobody has to fix them one `docker run` at a time.
///
/// Nothing was started. The container does not start either: dockerd shows the sentence to whoever
/// typed `docker run`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", sentences(.0))]
pub struct OptionErrors(pub Vec<OptionError>);

// === impl OptionSpec ===

/// The row of one option, `None` for a key that is in no row.
pub fn spec(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| is_of(key, spec.key))
}

/// Whether a key belongs to the row of that name, which may stand for all that begin alike.
pub fn is_of(key: &str, row: &str) -> bool {
    row.strip_suffix('*').map_or(key == row, |beginning| key.starts_with(beginning))
}

/// The table for `--help`.
pub fn help() -> String {
    let entries: Vec<Entry<2>> = OPTIONS
        .iter()
        .map(|spec| {
            let mut facts = spec.form.to_owned();
            if let Some(default) = spec.default {
                facts.push_str(&format!("; default {default}"));
            }
            if let Some(env) = spec.env {
                facts.push_str(&format!("; for all containers {env}"));
            }
            let (name, paragraphs) = (spec.key, [facts, spec.doc.to_owned()]);
            Entry { name, paragraphs }
        })
        .collect();
    let title = "Options of a container (docker run --log-opt NAME=VALUE), and the variables that \
                 set\nthem for all containers (docker plugin set PLUGIN VARIABLE=VALUE):";
    render::aligned(title, &entries)
}

/// The table for the README.
pub fn markdown_table() -> String {
    let rows: Vec<[String; 5]> = OPTIONS
        .iter()
        .map(|spec| [code(Some(spec.key)), cell(spec.form), code(spec.default), code(spec.env), cell(spec.doc)])
        .collect();
    let heads = ["option", "takes", "default", "for all containers", "meaning"];
    render::markdown(heads, &rows)
}

// === impl RawOptions ===

impl RawOptions {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for RawOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawOptions").field(&self.0.keys()).finish()
    }
}

// === impl OptionError ===

impl OptionError {
    pub fn new(key: impl Into<String>, reason: impl fmt::Display) -> OptionError {
        OptionError { key: key.into(), reason: clipped(reason.to_string(), LONGEST_REASON) }
    }
}

fn sentences(errors: &[OptionError]) -> String {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

#[cfg(test)]
mod tests;

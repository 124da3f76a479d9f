//! The table of options, and the options of a container before they are parsed.
//!
//! `--help`, the README, the plugin's manifest and the parser all follow [`OPTIONS`]. The value of an option comes from
//! the first of three places that has it:
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
    /// The name after `--log-opt`.
    pub key: &'static str,
    /// The plugin's environment variable for all containers; `None` for options that dockerd reads itself.
    pub env: Option<&'static str>,
    /// The value when neither container nor plugin sets one.
    pub default: Option<&'static str>,
    /// The accepted form, in the words of error messages.
    pub form: &'static str,
    /// The effect, for users.
    pub doc: &'static str,
}

/// Options before they are parsed. `Debug` does not show values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawOptions(pub BTreeMap<String, String>);

/// The longest reason in an error, in bytes: stages and rules repeat names and values of any length.
const LONGEST_REASON: usize = 4 * 1024;

/// One option that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct OptionError {
    /// The option, or its environment variable.
    pub key: String,
    pub reason: String,
}

/// All mistakes in one set of options, so that users can fix them at once.
///
/// Nothing was started. The container does not start either: dockerd shows the sentence to the user who ran `docker
/// run`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", sentences(.0))]
pub struct OptionErrors(pub Vec<OptionError>);

// === impl OptionSpec ===

/// The row of one option; `None` for a key without a row.
pub fn spec(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| is_of(key, spec.key))
}

/// Whether a key belongs to the row of that name, which may stand for all keys with one prefix.
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

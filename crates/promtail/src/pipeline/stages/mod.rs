//! The stages by name, one module each.

pub mod cri;
pub mod decolorize;
pub mod docker;
pub mod drop;
pub mod eventlogmessage;
pub mod geoip;
pub mod json;
pub mod labels;
pub mod limit;
pub mod logfmt;
pub mod r#match;
pub mod metrics;
pub mod multiline;
pub mod output;
pub mod pack;
pub mod regex;
pub mod replace;
pub mod sampling;
pub mod structured_metadata;
pub mod template;
pub mod tenant;
pub mod timestamp;

use super::chain::{Chain, Stage};
use super::config;
use super::entry::{Entry, Name};
use super::fields::{Decoded, TextMap, Wrong};
use crate::yaml::{self, Node};

/// A stage that can be configured.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Makes one from what stands behind its name.
    pub read: Read,
}

/// A stage, or what is wrong with what it was given.
type Read = fn(&Node) -> Result<Box<dyn Stage>, Vec<Wrong>>;

macro_rules! stage {
    ($name:literal, $stage:ty) => {
        Kind { name: $name, read: |node| Ok(Box::new(<$stage>::read(node).map_err(|wrong| vec![wrong])?)) }
    };
}

/// All there are.
pub const STAGES: [Kind; 26] = [
    stage!("json", json::Json),
    stage!("logfmt", logfmt::Logfmt),
    stage!("regex", regex::Regex),
    stage!("replace", replace::Replace),
    stage!("template", template::Template),
    stage!("timestamp", timestamp::Timestamp),
    stage!("output", output::Output),
    stage!("labels", labels::SetLabels),
    stage!("labeldrop", labels::DropLabels),
    stage!("labelallow", labels::AllowLabels),
    stage!("static_labels", labels::StaticLabels),
    stage!("structured_metadata", structured_metadata::StructuredMetadata),
    stage!("non_indexed_labels", structured_metadata::StructuredMetadata),
    stage!("tenant", tenant::Tenant),
    stage!("drop", drop::Drop),
    Kind { name: "match", read: |node| Ok(Box::new(r#match::Match::read(node)?)) },
    stage!("sampling", sampling::Sampling),
    stage!("limit", limit::Limit),
    stage!("multiline", multiline::Multiline),
    stage!("pack", pack::Pack),
    stage!("decolorize", decolorize::Decolorize),
    stage!("cri", cri::Cri),
    stage!("docker", docker::Docker),
    stage!("metrics", metrics::Metrics),
    stage!("geoip", geoip::GeoIp),
    stage!("eventlogmessage", eventlogmessage::EventLogMessage),
];

/// Stages that are part of another one, from the text that its documentation has for them.
fn built_in(text: &str) -> Decoded<Chain> {
    let none = || Wrong::new(yaml::Place { line: 1, column: 1 }, "its own stages cannot be read");
    let node = yaml::parse(text).ok().flatten().ok_or_else(none)?;
    config::chain(&node).map_err(|wrongs| wrongs.into_iter().next().unwrap_or_else(none))
}

/// The text that a stage reads: the line, or an extracted value, which may be missing or have no text.
fn input<'e>(entry: &'e Entry, source: Option<&Name>) -> Option<std::borrow::Cow<'e, [u8]>> {
    match source {
        None => Some(std::borrow::Cow::Borrowed(&entry.line)),
        Some(source) => entry.text_of(source),
    }
}

/// Names and where their values come from: without a value, from what has the same name.
fn sources(map: TextMap) -> Vec<(Name, Name)> {
    let source = |name: &str, source: Option<String>| match source {
        Some(source) if !source.is_empty() => Name::from(source),
        _ => Name::from(name),
    };
    map.into_iter().map(|(name, from)| (Name::from(name.as_str()), source(&name, from))).collect()
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
fn is_label_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

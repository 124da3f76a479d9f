//! `eventlogmessage`: the lines `Key: value` of a Windows event become extracted values.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `source` | label name | `message` | the extracted value to read; without a text the line is dropped, and counted as `eventlogmessage_stage` |
//! | `drop_invalid_labels` | boolean | false | passes over keys that are no label names, which are mended otherwise |
//! | `overwrite_existing` | boolean | false | replaces values that are there; otherwise the new one is `<key>_extracted` |

use super::is_label_name;
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct EventLogMessage {
    source: String,
    drop_invalid_labels: bool,
    overwrite_existing: bool,
}

// === impl EventLogMessage ===

impl EventLogMessage {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let source = fields.text("source")?.unwrap_or_else(|| "message".to_owned());
        if !is_label_name(&source) {
            return fields.wrong_at("source", format!("invalid label name: {source}"));
        }
        Ok(Self {
            source,
            drop_invalid_labels: fields.flag("drop_invalid_labels")?.unwrap_or_default(),
            overwrite_existing: fields.flag("overwrite_existing")?.unwrap_or_default(),
        })
    }

    fn pair(&self, entry: &mut Entry, key: &[u8], value: &str) {
        let key = String::from_utf8_lossy(key);
        let key = if is_label_name(&key) {
            key.into_owned()
        } else if self.drop_invalid_labels {
            return;
        } else {
            mended(&key)
        };
        let exists = entry.extracted.contains_key(key.as_str());
        let key = if exists && !self.overwrite_existing { format!("{key}_extracted") } else { key };
        entry.extract(&Name::from(key), value.as_bytes());
    }
}

/// The reason under which lines are counted whose message has no text.
const REASON: &str = "eventlogmessage_stage";

/// Units for a byte of a message.
const PARSED: usize = 8;

impl Stage for EventLogMessage {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let Some(value) = entry.extracted.get(self.source.as_str()) else { return Flow::Pass };
        let Some(message) = value.text() else { return cx.drop(REASON) };
        let work = cx.work();
        if work.bytes(message.len().saturating_mul(PARSED)).is_err() || work.grow(message.len()).is_err() {
            return Flow::Drop;
        }
        let message = message.into_owned();
        for part in split_lines(&message) {
            let Some(colon) = part.iter().position(|b| *b == b':') else { continue };
            // What could not be a label is passed over.
            if let Ok(value) = std::str::from_utf8(&part[colon + 1..]) {
                self.pair(entry, &part[..colon], value.trim());
            }
        }
        Flow::Pass
    }
}

/// Parts between `\r\n`.
fn split_lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let Some(end) = text.windows(2).position(|pair| pair == b"\r\n") else {
            ended = true;
            return Some(text);
        };
        let part = &text[..end];
        text = &text[end + 2..];
        Some(part)
    })
}

/// Every character that a label name does not take becomes `_`.
fn mended(key: &str) -> String {
    if key.is_empty() {
        return "_".to_owned();
    }
    let mend = |(at, c): (usize, char)| if c.is_ascii_alphabetic() || c.is_ascii_digit() && at > 0 { c } else { '_' };
    key.chars().enumerate().map(mend).collect()
}

//! `pack`: the line and some labels become one JSON object.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `labels` | list of texts | none | extracted values to pack, of which labels are removed |
//! | `ingest_timestamp` | boolean | true | the time of the line becomes that at which it was logged |
//!
//! Keys are sorted, and `_entry`, which is the line, comes last.

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;
use go_compat::json::quoted;

/// The key of the line, which Loki's `unpack` knows.
const ENTRY: &str = "_entry";

#[derive(Debug, Clone)]
pub struct Pack {
    /// Sorted, each once.
    labels: Vec<Name>,
    ingest_timestamp: bool,
}

// === impl Pack ===

impl Pack {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let mut labels: Vec<Name> = fields.texts("labels")?.unwrap_or_default().into_iter().map(Name::from).collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(Self { labels, ingest_timestamp: fields.flag("ingest_timestamp")?.unwrap_or(true) })
    }
}

impl Stage for Pack {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        // A quoted byte has up to six.
        let texts = self.labels.iter().filter_map(|name| entry.text_of(name)).map(|text| text.len()).sum::<usize>();
        let length = (texts + entry.line.len()).saturating_mul(2);
        let work = cx.work();
        if work.bytes(length).is_err() || work.grow(length).is_err() {
            return Flow::Drop;
        }
        let mut packed = Vec::with_capacity(entry.line.len() + 64);
        packed.push(b'{');
        for name in &self.labels {
            let Some(text) = entry.text_of(name) else { continue };
            packed.extend_from_slice(quoted(name.as_bytes()).as_bytes());
            packed.push(b':');
            packed.extend_from_slice(quoted(&text).as_bytes());
            packed.push(b',');
            entry.labels.remove(name);
        }
        packed.extend_from_slice(quoted(ENTRY.as_bytes()).as_bytes());
        packed.push(b':');
        packed.extend_from_slice(quoted(&entry.line).as_bytes());
        packed.push(b'}');
        entry.line = packed;
        if self.ingest_timestamp {
            // Not the time of day: a line that is sent again is to be the same.
            entry.timestamp = entry.arrived;
        }
        Flow::Pass
    }
}

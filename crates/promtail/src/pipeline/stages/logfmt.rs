//! `logfmt`: extracts values from `key=value key="a value"`.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `mapping` | map of name to key | required | without a key, the name is one |
//! | `source` | text | the line | an extracted value to read |
//!
//! Values are texts. Of a key that comes twice the last value counts; what comes before a mistake is kept.

use std::collections::HashMap;

use super::{input, sources};
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name, Value};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;
use go_compat::logfmt::pairs;

#[derive(Debug, Clone)]
pub struct Logfmt {
    /// Names by key. One key has one name, as in Promtail, where it is any of them; here it is the last.
    names: HashMap<String, Name>,
    source: Option<Name>,
}

/// Units for a byte of logfmt.
const PARSED: usize = 8;

// === impl Logfmt ===

impl Logfmt {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let mapping = fields.map("mapping")?.unwrap_or_default();
        if mapping.is_empty() {
            return fields.wrong("logfmt mapping is required");
        }
        let source = fields.text("source")?;
        if source.as_deref() == Some("") {
            return fields.wrong_at("source", "empty source");
        }
        let names = sources(mapping).into_iter().map(|(name, key)| (key.to_string(), name)).collect();
        Ok(Self { names, source: source.map(Name::from) })
    }
}

impl Stage for Logfmt {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let Some(text) = input(entry, self.source.as_ref()) else { return Flow::Pass };
        // A pair of two bytes is a value of some dozens.
        let work = cx.work();
        if work.bytes(text.len().saturating_mul(PARSED)).is_err() || work.grow(text.len()).is_err() {
            return Flow::Drop;
        }
        let named = |(key, value)| Some((self.names.get(key)?.clone(), Value::from(value)));
        let found: Vec<(Name, Value)> = pairs(&text).into_iter().filter_map(named).collect();
        entry.extracted.extend(found);
        Flow::Pass
    }
}

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
use crate::pipeline::logfmt_text::pairs;
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct Logfmt {
    /// Names by key. One key has one name, as in Promtail, where it is any of them; here it is the last.
    names: HashMap<Vec<u8>, Name>,
    source: Option<Name>,
}

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
        let names = sources(mapping).into_iter().map(|(name, key)| (key.as_bytes().to_vec(), name)).collect();
        Ok(Self { names, source: source.map(Name::from) })
    }
}

impl Stage for Logfmt {
    fn process(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Flow {
        let Some(text) = input(entry, self.source.as_ref()) else { return Flow::Pass };
        let mut found: Vec<(Name, Value)> = Vec::new();
        pairs(&text, &mut |key, value| {
            if let Some(name) = self.names.get(key) {
                found.push((name.clone(), Value::from(value)));
            }
        });
        entry.extracted.extend(found);
        Flow::Pass
    }
}

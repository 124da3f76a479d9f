//! `structured_metadata`, once called `non_indexed_labels`: values that go along with a line without being labels.
//!
//! It has a map of name to source, without a source the same name. The source is an extracted value, or else a label. A
//! label that was a source and still has the value that was taken is removed.

use std::sync::Arc;

use super::labels::named_sources;
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::Decoded;
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct StructuredMetadata(Vec<(Name, Name)>);

// === impl StructuredMetadata ===

impl StructuredMetadata {
    pub fn read(node: &Node) -> Decoded<Self> {
        named_sources("structured_metadata", node).map(Self)
    }
}

impl Stage for StructuredMetadata {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let mut taken: Vec<(&Name, Arc<str>)> = Vec::new();
        for (name, source) in &self.0 {
            let extracted = entry.label_of(source);
            // Without an extracted value the label goes with the first name that takes it.
            let Some(value) = extracted.or_else(|| entry.labels.remove(source)) else { continue };
            if cx.work().grow(value.len()).is_err() {
                return Flow::Drop;
            }
            entry.structured_metadata.push((name.clone(), value.clone()));
            taken.push((source, value));
        }
        for (source, value) in taken {
            if entry.labels.get(source) == Some(&value) {
                entry.labels.remove(source);
            }
        }
        cx.pass(entry)
    }
}

//! `output`: the line becomes an extracted value.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `source` | text | required | the value; if it is missing or has no text, the line stays |

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct Output {
    source: Name,
}

// === impl Output ===

impl Output {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        match fields.text("source")? {
            Some(source) if !source.is_empty() => Ok(Self { source: source.into() }),
            _ => fields.wrong("output source value is required if output is specified"),
        }
    }
}

impl Stage for Output {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        if let Some(text) = entry.text_of(&self.source) {
            if cx.work().grow(text.len()).is_err() {
                return Flow::Drop;
            }
            entry.line = text.into_owned();
        }
        Flow::Pass
    }
}

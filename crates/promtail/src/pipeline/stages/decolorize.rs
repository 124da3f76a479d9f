//! `decolorize`: removes the escape sequences with which terminals are told of colours. It has no fields.

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::{Decoded, Wrong};
use crate::pipeline::pattern::Pattern;
use crate::yaml::Node;

/// An escape, then a text that ends in a bell, or parameters and a final character.
const SEQUENCE: &str = "[\\x1B\\x{9B}][\\[\\]()#;?]*(?:(?:[a-zA-Z\\d]*(?:;[a-zA-Z\\d]*)*)?\\x07\
                        |(?:\\d{1,4}(?:;\\d{0,4})*)?[\\dA-PRZcf-ntqry=><~])";

#[derive(Debug, Clone)]
pub struct Decolorize(Pattern);

// === impl Decolorize ===

impl Decolorize {
    pub fn read(node: &Node) -> Decoded<Self> {
        Pattern::parse(SEQUENCE).map(Self).map_err(|reason| Wrong::new(node.place, reason))
    }
}

impl Stage for Decolorize {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let mut plain = Vec::new();
        let mut end = 0;
        let Ok(all) = self.0.regexp().find_all(&entry.line, cx.work()) else { return Flow::Drop };
        for sequence in all.map(|found| found.whole()) {
            plain.extend_from_slice(&entry.line[end..sequence.start]);
            end = sequence.end;
        }
        if end > 0 {
            plain.extend_from_slice(&entry.line[end..]);
            entry.line = plain;
        }
        Flow::Pass
    }
}

//! `docker`: unpacks lines as `json-file` writes them. It has no fields.
//!
//! A line `{"log": …, "stream": …, "time": …}` gives the line, the label `stream` and the time. The three stay extracted as
//! `output`, `stream` and `timestamp`.

use super::built_in;
use crate::pipeline::chain::{Chain, Context, Flow, Stage};
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::Decoded;
use crate::yaml::Node;

const STAGES: &str = "
- json: {expressions: {output: log, stream: stream, timestamp: time}}
- labels: {stream: }
- timestamp: {source: timestamp, format: RFC3339Nano}
- output: {source: output}
";

#[derive(Clone)]
pub struct Docker(Chain);

// === impl Docker ===

impl Docker {
    pub fn read(_: &Node) -> Decoded<Self> {
        built_in(STAGES).map(Self)
    }
}

impl Stage for Docker {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        self.0.run_inside(entry, cx)
    }

    fn is_nested(&self) -> bool {
        true
    }
}

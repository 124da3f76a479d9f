//! `cri`: unpacks lines as containerd and CRI-O write them, and joins their parts.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `max_partial_lines` | whole number | 100 | label sets with a line that goes on; with one more, all are let go |
//! | `max_partial_line_size` | bytes | 0 | a joined line is cut to this |
//! | `max_partial_line_size_truncate` | boolean | false | whether it is cut |
//!
//! A line `<time> stdout|stderr <flags> <text>` gives the line, the label `stream` and the time. Flag `P` says that it goes
//! on with the next line of the same labels. Promtail loses what is held when the input ends; here it comes out. Nor is a
//! line held that has grown to 1 MiB.

use std::collections::HashMap;

use super::built_in;
use crate::pipeline::chain::{Chain, Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Labels, in_order};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;

const STAGES: &str = r"
- regex: {expression: '^(?s)(?P<time>\S+?) (?P<stream>stdout|stderr) (?P<flags>\S+?) (?P<content>.*)$'}
- labels: {stream: }
- timestamp: {source: time, format: RFC3339Nano}
- output: {source: content}
";

const MAX_PARTIAL_LINES: usize = 100;

/// More label sets than this are not held, whatever is typed.
const MOST_PARTIAL_LINES: usize = 10_000;

/// Bytes of a line that is held.
const MAX_BYTES: usize = 1 << 20;

#[derive(Clone)]
pub struct Cri {
    chain: Chain,
    max_partial_lines: usize,
    /// Bytes to which a line is cut.
    truncate: Option<usize>,
    held: HashMap<Labels, Entry>,
}

// === impl Cri ===

impl Cri {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let lines = fields.whole("max_partial_lines")?.unwrap_or_default();
        let max_partial_lines = match usize::try_from(lines) {
            Ok(0) => MAX_PARTIAL_LINES,
            Ok(lines) => lines.min(MOST_PARTIAL_LINES),
            // Below zero, as in Promtail, there is never room.
            Err(_) => {
                if lines < 0 {
                    0
                } else {
                    MOST_PARTIAL_LINES
                }
            }
        };
        let size = usize::try_from(fields.whole("max_partial_line_size")?.unwrap_or_default().max(0));
        let truncates = fields.flag("max_partial_line_size_truncate")?.unwrap_or_default();
        let truncate = truncates.then(|| size.unwrap_or(usize::MAX));
        Ok(Self { chain: built_in(STAGES)?, max_partial_lines, truncate, held: HashMap::new() })
    }

    fn cut(&self, entry: &mut Entry) {
        if let Some(size) = self.truncate {
            entry.line.truncate(size);
        }
    }

    /// What is held since before a line, in order.
    fn release(&mut self, before: u64) -> Vec<Entry> {
        let due = self.held.extract_if(|_, entry| entry.seq.first < before);
        let mut held: Vec<Entry> = due.map(|(_, entry)| entry).collect();
        in_order(&mut held);
        held
    }
}

impl Stage for Cri {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        // The stages inside hold nothing and drop nothing.
        let flow = self.chain.run_inside(entry, cx);
        if !matches!(flow, Flow::Pass) {
            // It cost too much.
            return flow;
        }
        let goes_on = entry.text_of("flags").is_some_and(|flags| flags.as_ref() == b"P");
        if goes_on && self.held.len() >= self.max_partial_lines {
            let released = self.release(u64::MAX);
            self.cut(entry);
            self.held.insert(entry.labels.clone(), std::mem::take(entry));
            return Flow::Emit(released);
        }
        if let Some(earlier) = self.held.remove(&entry.labels) {
            entry.seq = entry.seq.join(earlier.seq);
            let end = std::mem::replace(&mut entry.line, earlier.line);
            entry.line.extend_from_slice(&end);
            self.cut(entry);
        } else if goes_on {
            self.cut(entry);
        }
        if goes_on && entry.line.len() < MAX_BYTES {
            self.held.insert(entry.labels.clone(), std::mem::take(entry));
            return Flow::Hold;
        }
        flow
    }

    fn let_go(&mut self, before: u64, _: &mut Context<'_>, out: &mut Vec<Entry>) {
        out.append(&mut self.release(before));
    }

    fn finish(&mut self, _: &mut Context<'_>, out: &mut Vec<Entry>) {
        out.append(&mut self.release(u64::MAX));
    }

    fn held_bytes(&self) -> usize {
        self.held.values().map(Entry::size).sum()
    }

    fn held_since(&self) -> Option<u64> {
        self.held.values().map(|entry| entry.seq.first).min()
    }

    fn is_nested(&self) -> bool {
        true
    }
}

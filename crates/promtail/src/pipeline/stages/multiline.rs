//! `multiline`: lines up to the next one that begins a block become one.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `firstline` | RE2 | required | matches lines that begin a block |
//! | `max_wait_time` | duration | 3s | a block ends when none of its labels' lines comes for so long |
//! | `max_lines` | whole number | 128 | a block ends at this many lines; 0 means no limit |
//! | `own_time` | bool | false | what follows a block that ended has the time of its own first line (not in Promtail) |
//!
//! Each label set has its own blocks. A block has the labels, the time and the extracted values of the line that began it,
//! and no structured metadata; so have blocks of what follows one that ended for its length or its time. Lines before the
//! first beginning pass. What Promtail has no limit for has one here: a block ends with 1 MiB in any case, and of
//! more than 256 label sets, the one that was idle for the longest time is forgotten.

use std::collections::HashMap;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Labels, SeqRange, in_order};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::pattern::Pattern;
use crate::yaml::Node;
use go_compat::duration::go_duration;

/// Bytes of a block. Loki takes no line above 256 KiB unless it is told to.
const MAX_BYTES: usize = 1 << 20;

/// Label sets with a block.
const MAX_STREAMS: usize = 256;

#[derive(Debug, Clone)]
pub struct Multiline {
    first_line: Pattern,
    /// In nanoseconds.
    max_wait: i64,
    max_lines: u64,
    own_time: bool,
    streams: HashMap<Labels, Block>,
    /// Of all blocks together.
    held: usize,
}

#[derive(Debug, Clone)]
struct Block {
    /// The line that began it, without its text.
    start: Entry,
    start_size: usize,
    text: Vec<u8>,
    lines: u64,
    seq: Option<SeqRange>,
    /// When the last line of these labels was logged.
    arrived: i64,
}

// === impl Multiline ===

impl Multiline {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let Some(first_line) = fields.text("firstline")? else {
            return fields.wrong("multiline stage config must define 'firstline' regular expression");
        };
        let first_line = match Pattern::parse(&first_line) {
            Ok(pattern) => pattern,
            Err(reason) => {
                let reason = format!("multiline stage first line regex compilation error: {reason}");
                return fields.wrong_at("firstline", reason);
            }
        };
        let max_wait = fields.text("max_wait_time")?.unwrap_or_else(|| "3s".to_owned());
        let Ok(max_wait) = go_duration(&max_wait) else {
            let reason = "multiline stage unable to parse max wait duration";
            return fields.wrong_at("max_wait_time", format!("{reason}: {max_wait} is not a duration (try 3s)"));
        };
        let max_lines = fields.whole("max_lines")?.unwrap_or(128);
        // As in Go, where what is below zero becomes huge.
        let max_lines = u64::try_from(max_lines).unwrap_or(u64::MAX);
        let own_time = fields.flag("own_time")?.unwrap_or(false);
        Ok(Self { first_line, max_wait, max_lines, own_time, streams: HashMap::new(), held: 0 })
    }

    /// Room for one more label set.
    fn make_room(&mut self, out: &mut Vec<Entry>) {
        if self.streams.len() < MAX_STREAMS {
            return;
        }
        let idlest = self.streams.iter().min_by_key(|(_, block)| block.arrived);
        if let Some(labels) = idlest.map(|(labels, _)| labels.clone())
            && let Some(mut block) = self.streams.remove(&labels)
        {
            self.held -= block.size();
            out.extend(block.end());
        }
    }

    /// Ends some blocks, in order.
    fn end_those(&mut self, due: impl Fn(&Block) -> bool, out: &mut Vec<Entry>) {
        let due = self.streams.values_mut().filter(|block| due(block));
        let mut ended: Vec<Entry> = due.filter_map(Block::end).collect();
        in_order(&mut ended);
        self.held = self.streams.values().map(Block::size).sum();
        out.append(&mut ended);
    }
}

impl Stage for Multiline {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let Ok(begins) = self.first_line.is_match(&entry.line, cx.work()) else { return Flow::Drop };
        let mut out = Vec::new();
        let (seq, arrived, timestamp) = (entry.seq, entry.arrived, entry.timestamp);
        let (block, line) = match self.streams.get_mut(&entry.labels) {
            Some(block) => {
                let line = std::mem::take(&mut entry.line);
                self.held -= block.size();
                if begins {
                    out.extend(block.end());
                    block.begin(std::mem::take(entry));
                }
                (block, line)
            }
            None if !begins => return Flow::Pass,
            None => {
                self.make_room(&mut out);
                let mut start = std::mem::take(entry);
                let line = std::mem::take(&mut start.line);
                let mut new =
                    Block { text: Vec::new(), lines: 0, seq: None, arrived, start: Entry::default(), start_size: 0 };
                new.begin(start);
                (self.streams.entry(new.start.labels.clone()).or_insert(new), line)
            }
        };
        if self.own_time && !block.is_open() {
            // A line that nothing announced, an hour later: it would be found under the time of another.
            block.start.timestamp = timestamp;
        }
        block.add(&line, seq, arrived);
        if block.lines == self.max_lines || block.text.len() >= MAX_BYTES {
            out.extend(block.end());
        }
        self.held += block.size();
        if out.is_empty() { Flow::Hold } else { Flow::Emit(out) }
    }

    fn tick(&mut self, time: i64, _: &mut Context<'_>, out: &mut Vec<Entry>) {
        let max_wait = self.max_wait;
        self.end_those(|block| block.is_open() && block.arrived.saturating_add(max_wait) <= time, out);
    }

    fn let_go(&mut self, before: u64, _: &mut Context<'_>, out: &mut Vec<Entry>) {
        self.end_those(|block| block.is_open() && block.seq.is_some_and(|seq| seq.first < before), out);
    }

    fn finish(&mut self, _: &mut Context<'_>, out: &mut Vec<Entry>) {
        let mut ended: Vec<Entry> = self.streams.drain().filter_map(|(_, mut block)| block.end()).collect();
        in_order(&mut ended);
        self.held = 0;
        out.append(&mut ended);
    }

    fn held_bytes(&self) -> usize {
        self.held
    }

    fn deadline(&self) -> Option<i64> {
        let open = self.streams.values().filter(|block| block.is_open());
        open.map(|block| block.arrived.saturating_add(self.max_wait)).min()
    }

    fn held_since(&self) -> Option<u64> {
        self.streams.values().filter(|block| block.is_open()).filter_map(|block| block.seq).map(|seq| seq.first).min()
    }
}

// === impl Block ===

impl Block {
    fn is_open(&self) -> bool {
        !self.text.is_empty()
    }

    /// A line begins it, but for its text.
    fn begin(&mut self, start: Entry) {
        self.start_size = start.size();
        self.start = start;
    }

    /// Bytes of memory.
    fn size(&self) -> usize {
        self.start_size + self.text.len()
    }

    fn add(&mut self, line: &[u8], seq: SeqRange, arrived: i64) {
        if self.is_open() {
            self.text.push(b'\n');
        } else {
            // Empty lines before it came to nothing.
            self.seq = None;
        }
        self.text.extend_from_slice(line);
        self.seq = Some(self.seq.map_or(seq, |held| held.join(seq)));
        self.lines += 1;
        self.arrived = arrived;
    }

    /// Joins the held lines to one. A block of empty lines makes no line, and its lines stay counted.
    fn end(&mut self) -> Option<Entry> {
        if !self.is_open() {
            return None;
        }
        self.lines = 0;
        let seq = self.seq.take()?;
        let line = std::mem::take(&mut self.text);
        Some(Entry { line, seq, structured_metadata: Vec::new(), ..self.start.clone() })
    }
}

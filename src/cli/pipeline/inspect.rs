//! Entries and what stages do to them, for the eye.

use std::fmt::Write as _;
use std::io::Write;

use super::json::time;
use promtail::pipeline::chain::{Flow, Watch};
use promtail::pipeline::{Entry, Value};

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";

/// Writes what each stage changes.
pub struct Inspector {
    out: Box<dyn Write>,
    colours: bool,
}

/// An entry in readable form: time, labels in braces, the line, and what goes along with it.
pub fn shown(entry: &Entry) -> Vec<u8> {
    let mut text = format!("{} {{", time(entry.timestamp));
    for (index, (name, value)) in entry.labels.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}{name}={value:?}");
    }
    text.push_str("} ");
    let mut text = text.into_bytes();
    text.extend_from_slice(&entry.line);
    for (name, value) in &entry.structured_metadata {
        text.extend_from_slice(format!(" {name}={value:?}").as_bytes());
    }
    text
}

// === impl Inspector ===

impl Inspector {
    pub fn new(out: Box<dyn Write>, colours: bool) -> Self {
        Self { out, colours }
    }

    /// A line that comes in.
    pub fn line(&mut self, number: u64, entry: &Entry) {
        let head = self.paint(BOLD, &format!("line {number}"));
        self.say(&format!("{head} {}", String::from_utf8_lossy(&shown(entry))));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Output to a closed pipe is discarded.
    fn say(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn changes(&mut self, indent: &str, before: &[(String, String)], after: &[(String, String)]) -> bool {
        let find = |pairs: &[(String, String)], name: &str| {
            pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        };
        let mut changed = false;
        for (name, old) in before {
            let text = match find(after, name) {
                Some(new) if new == *old => continue,
                Some(new) => self.paint(YELLOW, &format!("~ {name}: {old} → {new}")),
                None => self.paint(RED, &format!("- {name}: {old}")),
            };
            changed = true;
            self.say(&format!("{indent}{text}"));
        }
        for (name, new) in after {
            if find(before, name).is_none() {
                changed = true;
                let text = self.paint(GREEN, &format!("+ {name}: {new}"));
                self.say(&format!("{indent}{text}"));
            }
        }
        changed
    }
}

impl Watch for Inspector {
    fn enter(&mut self, depth: usize, name: &str) {
        let title = self.paint(BOLD, name);
        self.say(&format!("{}{title}, inside:", "  ".repeat(depth)));
    }

    fn stage(&mut self, depth: usize, name: &str, before: &Entry, flow: &Flow, after: &[Entry]) {
        let indent = "  ".repeat(depth);
        let title = self.paint(BOLD, name);
        match flow {
            Flow::Drop => {
                let dropped = self.paint(RED, "dropped");
                self.say(&format!("{indent}{title}: {dropped}"));
            }
            Flow::Hold => self.say(&format!("{indent}{title}: held")),
            Flow::Emit(entries) => self.say(&format!("{indent}{title}: {} entries go on", entries.len())),
            Flow::Pass => self.say(&format!("{indent}{title}:")),
        }
        let indent = format!("{indent}  ");
        for entry in after {
            // What goes on may be another line than the one that came.
            let same = matches!(flow, Flow::Pass);
            let before = if same { parts(before) } else { Vec::new() };
            if !self.changes(&indent, &before, &parts(entry)) && same {
                self.say(&format!("{indent}nothing changes"));
            }
        }
    }
}

/// Everything that can change, by name.
fn parts(entry: &Entry) -> Vec<(String, String)> {
    let mut parts = vec![
        ("line".to_owned(), format!("{:?}", String::from_utf8_lossy(&entry.line))),
        ("timestamp".to_owned(), time(entry.timestamp)),
    ];
    parts.extend(entry.labels.iter().map(|(name, value)| (format!("label {name}"), format!("{value:?}"))));
    let metadata = entry.structured_metadata.iter().enumerate();
    parts.extend(metadata.map(|(at, (name, value))| (format!("metadata {name}#{at}"), format!("{value:?}"))));
    let value = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
        other => other.text().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default(),
    };
    parts.extend(entry.extracted.iter().map(|(name, text)| (format!("extracted {name}"), value(text))));
    parts
}

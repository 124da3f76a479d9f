//! YAML as a tree that remembers how it was typed, and where.
//!
//! Parsed by `saphyr-parser`; this builds the tree, by the rules of go-yaml, which is what Promtail and Prometheus read
//! their configuration with:
//!
//! * only the first document counts;
//! * a key that stands twice in a map is an error;
//! * plain `yes`, `off` and dates are text; `~`, `null` and nothing are null;
//! * anchors, aliases and merge keys (`<<`) work.
//!
//! Every scalar keeps its text, so that `1.10` or `0x10` can be taken as the text that it is. What a tree may hold is
//! bounded: an option that names itself a thousand times over must not take the plugin's memory.

mod scalar;

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, StrInput};

use scalar::{integer, kind};

/// Lists and maps inside each other. Real files have fewer; the stack must have a bound.
const MAX_DEPTH: usize = 64;

const TOO_DEEP: &str = "more than 64 lists and maps are inside each other";

/// Nodes of a tree, those that stand for an alias included.
const MAX_NODES: usize = 100_000;

/// Bytes of all scalars of a tree, those of aliases included.
const MAX_BYTES: usize = 4 << 20;

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    pub value: Value,
}

/// A place in the text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One word or text.
    Scalar {
        /// As it was typed, quotes and escapes resolved.
        text: String,
        kind: Kind,
    },
    List(Vec<Node>),
    /// In the order in which they were typed; keys are scalars and differ.
    Map(Vec<(Node, Node)>),
}

/// What a scalar means by itself. Quoted ones are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Text,
}

/// Why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct YamlError {
    pub place: Place,
    pub reason: String,
}

/// The tree of the first document; `None` when there is nothing in it.
///
/// # Errors
/// When it is no YAML, or more than it may be.
pub fn parse(text: &str) -> Result<Option<Node>, YamlError> {
    let mut loader = Loader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, bytes: 0 };
    loop {
        match loader.next()? {
            (Event::StreamEnd, _) => return Ok(None),
            (Event::StreamStart | Event::Nothing | Event::DocumentStart(_), _) => {}
            (event, mark) => return loader.node(event, mark, 0).map(Some),
        }
    }
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What has an anchor and is complete.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

/// How much there is in a node, itself included.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    /// Of lists and maps inside each other.
    height: usize,
}

// === impl Loader ===

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Marker), YamlError> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(YamlError { place: error.marker().into(), reason: error.info().to_owned() }),
            None => Ok((Event::StreamEnd, Marker::new(0, 1, 0))),
        }
    }

    fn node(&mut self, event: Event<'a>, mark: Marker, depth: usize) -> Result<Node, YamlError> {
        let place = Place::from(&mark);
        let fail = |reason: &str| Err(YamlError { place, reason: reason.to_owned() });
        self.charge(Size { nodes: 1, ..Size::default() }, place)?;
        if depth > MAX_DEPTH {
            return fail(TOO_DEEP);
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = kind(&text, style, tag.as_deref());
                let Some(kind) = kind else {
                    return fail("its tag is not one of !!str, !!int, !!float, !!bool, !!null");
                };
                self.charge(Size { bytes: text.len(), ..Size::default() }, place)?;
                (anchor, Value::Scalar { text: text.into_owned(), kind })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, mark) => items.push(self.node(event, mark, depth + 1)?),
                    }
                }
                (anchor, Value::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let Some((size, node)) = self.anchors.get(&anchor).map(|node| (size(node), node.clone())) else {
                    return fail("this alias is inside of what it stands for");
                };
                self.charge(size, place)?;
                if depth + size.height > MAX_DEPTH {
                    return fail(TOO_DEEP);
                }
                return Ok(Node { place, ..node });
            }
            _ => return fail("a value is expected here"),
        };
        let node = Node { place, value };
        if anchor > 0 {
            // It is kept a second time.
            self.charge(size(&node), place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Counts what is about to take memory.
    fn charge(&mut self, size: Size, place: Place) -> Result<(), YamlError> {
        self.nodes += size.nodes;
        self.bytes += size.bytes;
        let fail = |reason: &str| Err(YamlError { place, reason: reason.to_owned() });
        if self.nodes > MAX_NODES {
            return fail("there is more than 100000 values, those of aliases included");
        }
        if self.bytes > MAX_BYTES {
            return fail("there is more than 4 MiB of text, that of aliases included");
        }
        Ok(())
    }

    /// Pairs up to the end of a map, with what is merged into it.
    fn map(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut pairs: Vec<(Node, Node)> = Vec::new();
        let mut keys = HashSet::new();
        let mut merged: Vec<(Node, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, mark) => self.node(event, mark, depth + 1)?,
            };
            let Value::Scalar { text, .. } = &key.value else {
                return Err(YamlError { place: key.place, reason: "a list or map cannot be a key".into() });
            };
            if text != "<<" && !keys.insert(text.clone()) {
                return Err(YamlError { place: key.place, reason: format!("the key {text:?} is there already") });
            }
            let (event, mark) = self.next()?;
            let value = self.node(event, mark, depth + 1)?;
            if text == "<<" {
                merge(&mut merged, value)?;
            } else {
                pairs.push((key, value));
            }
        }
        // A key of its own comes before one that is merged in.
        merged.retain(|(key, _)| key.text().is_none_or(|text| !keys.contains(text)));
        pairs.append(&mut merged);
        Ok(Value::Map(pairs))
    }
}

/// What `<<` brings along: a map, or several of which the first that has a key counts.
fn merge(merged: &mut Vec<(Node, Node)>, value: Node) -> Result<(), YamlError> {
    match value.value {
        Value::Map(pairs) => {
            for (key, value) in pairs {
                if merged.iter().all(|(other, _)| other.text() != key.text()) {
                    merged.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            items.into_iter().try_for_each(|item| merge(merged, item))
        }
        _ => Err(YamlError { place: value.place, reason: "a map, or a list of maps, is expected behind <<".into() }),
    }
}

/// Nodes, and how many of them are inside each other.
fn size(node: &Node) -> Size {
    let of = |inner: &mut dyn Iterator<Item = &Node>| {
        let itself = Size { nodes: 1, bytes: 0, height: 1 };
        inner.map(size).fold(itself, |all, one| Size {
            nodes: all.nodes + one.nodes,
            bytes: all.bytes + one.bytes,
            height: all.height.max(one.height + 1),
        })
    };
    match &node.value {
        Value::Scalar { text, .. } => Size { nodes: 1, bytes: text.len(), height: 0 },
        Value::List(items) => of(&mut items.iter()),
        Value::Map(pairs) => of(&mut pairs.iter().flat_map(|(key, value)| [key, value])),
    }
}

// === impl Node ===

impl Node {
    /// The text of a scalar, whatever it means.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar { kind: Kind::Null, .. })
    }

    /// A whole number from 0 up; `None` for text, were it of digits.
    pub fn unsigned(&self) -> Option<u64> {
        let Value::Scalar { text, kind } = &self.value else { return None };
        let digits = text.replace('_', "");
        match kind {
            Kind::Int => integer(digits.strip_prefix('+').unwrap_or(&digits)),
            // Go cuts to whole numbers here.
            Kind::Float => {
                let number: f64 = digits.parse().ok()?;
                (0.0..u64::MAX as f64).contains(&number).then_some(number as u64)
            }
            _ => None,
        }
    }

    /// A whole number; `None` for text, were it of digits.
    pub fn signed(&self) -> Option<i128> {
        let Value::Scalar { text, kind: Kind::Int } = &self.value else { return None };
        let text = text.replace('_', "");
        match text.strip_prefix('-') {
            Some(digits) => integer(digits).map(|number| -i128::from(number)),
            None => integer(text.strip_prefix('+').unwrap_or(&text)).map(i128::from),
        }
    }

    /// Any number; `None` for text, were it of digits.
    pub fn float(&self) -> Option<f64> {
        let Value::Scalar { text, kind } = &self.value else { return None };
        match kind {
            Kind::Int => self.signed().map(|number| number as f64),
            Kind::Float => {
                let text = text.replace('_', "").to_ascii_lowercase();
                // .5 is a number as it stands, .inf and .nan are words.
                text.replace(".inf", "inf").replace(".nan", "nan").parse().ok()
            }
            _ => None,
        }
    }

    /// In words, for a complaint.
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::Scalar { kind, .. } => match kind {
                Kind::Null => "nothing",
                Kind::Bool => "a boolean",
                Kind::Int | Kind::Float => "a number",
                Kind::Text => "a text",
            },
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

// === impl Place ===

impl From<&Marker> for Place {
    fn from(mark: &Marker) -> Self {
        Self { line: mark.line(), column: mark.col() + 1 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests;

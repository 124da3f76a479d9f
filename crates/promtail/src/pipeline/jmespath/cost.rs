//! What values and functions of JMESPath cost.
//!
//! Values share their parts, so a list of few bytes may print as gigabytes. Room for a text or a copy is taken before it is made.

use jmespath::{Rcvar, Variable};

use super::{Failure, Search};
use go_compat::work::Excess;

/// How deep a value may be: what looks at it calls itself.
const MAX_DEPTH: usize = 256;

/// Bytes of a value with nothing in it, with its two counters, and of what the allocator adds to it and to its list or text.
pub(super) const NODE: usize = size_of::<Variable>() + 48;

/// Bytes of an element of a list.
pub(super) const ELEMENT: usize = size_of::<Rcvar>();

/// Bytes of a parsed tree for each byte of its expression, and of the tree's description.
pub(super) const TREE: usize = 64;

/// Bytes of one node of a map, which has up to eleven entries, and of entries in it at least.
const LEAF: usize = 384;
const ENTRIES: usize = 5;

/// Bytes of a value while its text is made, and steps for it.
const PRINTED: usize = 128;
const PRINTED_STEPS: usize = 4;

/// Times that a text is in memory at most while it is made: it is copied, and grows by doubling.
const COPIES: usize = 3;

/// Units of a look at a value with nothing in it.
const LOOK: u64 = 64;

/// Times that a sort looks at each of many elements.
const SORTED: usize = 20;

/// Bytes of a map without its keys and values.
pub(super) fn object(entries: usize) -> usize {
    (1 + entries / ENTRIES) * LEAF
}

/// Bytes of a text in JSON, at most: `"` and line feeds take two, other control characters and what Go escapes take six.
fn quoted(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        0..=0x1f | 0x7f | b'<' | b'>' | b'&' => 6,
        b'"' | b'\\' | 0x80.. => 2,
        _ => 1,
    };
    text.bytes().map(byte).sum::<usize>() + 2
}

// === impl Search ===

impl Search<'_> {
    /// Pays for what a function makes of its arguments. Each of them has been looked at.
    pub(super) fn pay(&mut self, name: &str, args: &[Rcvar]) -> Result<(), Failure> {
        match (name, args) {
            ("to_string", [value]) if !value.is_string() => self.print(value)?,
            ("join", [glue, pieces]) => {
                let glue = glue.as_string().map_or(0, String::len);
                for piece in pieces.as_array().into_iter().flatten() {
                    let length = piece.as_string().map_or(0, String::len);
                    self.work.grow(NODE + glue + 2 * length)?;
                }
            }
            // A text of JSON.
            ("to_number", [text]) => {
                self.work.grow(text.as_string().map_or(0, String::len).saturating_mul(NODE / 2))?;
            }
            ("keys" | "values" | "reverse" | "merge", _) => args.iter().try_for_each(|arg| self.copy(arg))?,
            ("sort" | "sort_by", _) => {
                for arg in args {
                    self.copy(arg)?;
                    (1..SORTED).try_for_each(|_| self.look(arg))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Pays for a copy of a value that shares its elements, twice: some functions copy it before they make another.
    fn copy(&mut self, value: &Variable) -> Result<(), Excess> {
        match value {
            Variable::String(text) => self.work.grow(2 * text.len()),
            Variable::Array(elements) => self.work.grow(2 * elements.len() * ELEMENT),
            Variable::Object(entries) => {
                self.work.grow(2 * object(entries.len()))?;
                entries.keys().try_for_each(|key| self.work.grow(2 * (NODE + key.len())))
            }
            Variable::Null | Variable::Bool(_) | Variable::Number(_) | Variable::Expref(_) => Ok(()),
        }
    }

    /// Pays for the text of a value, and for the copy that it is made from.
    pub(super) fn print(&mut self, value: &Variable) -> Result<(), Excess> {
        self.print_at(value, MAX_DEPTH)
    }

    fn print_at(&mut self, value: &Variable, depth: usize) -> Result<(), Excess> {
        if depth == 0 {
            return Err(self.work.exceed(Excess::Size));
        }
        self.work.steps(PRINTED_STEPS)?;
        self.work.grow(PRINTED)?;
        match value {
            Variable::String(text) => self.print_text(text),
            Variable::Expref(_) => self.work.grow(self.text.len().saturating_mul(COPIES * TREE)),
            Variable::Array(elements) => elements.iter().try_for_each(|element| self.print_at(element, depth - 1)),
            Variable::Object(entries) => {
                self.work.grow(2 * object(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| {
                    self.print_text(key)?;
                    self.print_at(value, depth - 1)
                })
            }
            Variable::Null | Variable::Bool(_) | Variable::Number(_) => Ok(()),
        }
    }

    fn print_text(&mut self, text: &str) -> Result<(), Excess> {
        self.work.bytes(text.len())?;
        self.work.grow(text.len() + COPIES * quoted(text))
    }

    /// Pays for a look at the whole of a value.
    pub(super) fn look(&mut self, value: &Variable) -> Result<(), Failure> {
        Ok(self.look_at(value, MAX_DEPTH)?)
    }

    fn look_at(&mut self, value: &Variable, depth: usize) -> Result<(), Excess> {
        if depth == 0 {
            return Err(self.work.exceed(Excess::Size));
        }
        self.work.charge(LOOK)?;
        match value {
            Variable::String(text) => self.work.bytes(text.len()),
            Variable::Array(elements) => elements.iter().try_for_each(|element| self.look_at(element, depth - 1)),
            Variable::Object(entries) => entries.iter().try_for_each(|(key, value)| {
                self.work.bytes(key.len())?;
                self.look_at(value, depth - 1)
            }),
            // It prints as a description of its tree.
            Variable::Expref(_) => self.work.bytes(self.text.len().saturating_mul(TREE)),
            Variable::Null | Variable::Bool(_) | Variable::Number(_) => Ok(()),
        }
    }
}

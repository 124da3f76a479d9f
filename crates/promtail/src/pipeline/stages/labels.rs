//! `labels`, `labeldrop`, `labelallow`, `static_labels`: labels set, removed, and kept.
//!
//! | stage | what it has | meaning |
//! | --- | --- | --- |
//! | `labels` | a map of label to source, without a source the same name | from extracted values that have a text in UTF-8 |
//! | `static_labels` | a map of label to value | without a value, nothing |
//! | `labeldrop` | a list of names, not empty | these go |
//! | `labelallow` | a list of names, not empty | all others go |

use std::sync::Arc;

use super::{is_label_name, sources};
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::{Decoded, Wrong, text_map, texts};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct SetLabels(Vec<(Name, Name)>);

#[derive(Debug, Clone)]
pub struct StaticLabels(Vec<(Name, Arc<str>)>);

#[derive(Debug, Clone)]
pub struct DropLabels(Vec<String>);

#[derive(Debug, Clone)]
pub struct AllowLabels(Vec<String>);

// === impl SetLabels ===

impl SetLabels {
    pub fn read(node: &Node) -> Decoded<Self> {
        named_sources("labels", node).map(Self)
    }
}

impl Stage for SetLabels {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        for (name, source) in &self.0 {
            if let Some(value) = entry.label_of(source) {
                if cx.work().grow(value.len()).is_err() {
                    return Flow::Drop;
                }
                entry.labels.set(name.clone(), value);
            }
        }
        cx.pass(entry)
    }
}

/// Labels and their sources, each label with a name that Loki takes.
pub(super) fn named_sources(what: &str, node: &Node) -> Decoded<Vec<(Name, Name)>> {
    let map = text_map(what, node)?;
    match map.iter().find(|(name, _)| !is_label_name(name)) {
        Some((name, _)) => Err(Wrong::new(node.place, format!("invalid label name: {name}"))),
        None => Ok(sources(map)),
    }
}

// === impl StaticLabels ===

impl StaticLabels {
    pub fn read(node: &Node) -> Decoded<Self> {
        let map = text_map("static_labels", node)?;
        if map.iter().any(|(name, _)| name.is_empty()) {
            return Err(Wrong::new(node.place, "invalid label name: "));
        }
        let set = map.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        Ok(Self(set.map(|(name, value)| (name.into(), value.into())).collect()))
    }
}

impl Stage for StaticLabels {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        for (name, value) in &self.0 {
            entry.labels.set(name.clone(), value.clone());
        }
        cx.pass(entry)
    }
}

// === impl DropLabels ===

impl DropLabels {
    pub fn read(node: &Node) -> Decoded<Self> {
        names("labeldrop", node).map(Self)
    }
}

impl Stage for DropLabels {
    fn process(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Flow {
        for name in &self.0 {
            entry.labels.remove(name);
        }
        Flow::Pass
    }
}

// === impl AllowLabels ===

impl AllowLabels {
    pub fn read(node: &Node) -> Decoded<Self> {
        names("labelallow", node).map(Self)
    }
}

impl Stage for AllowLabels {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let looks = entry.labels.iter().count().saturating_mul(self.0.len());
        if cx.work().charge(looks as u64).is_err() {
            return Flow::Drop;
        }
        entry.labels.retain(|name| self.0.iter().any(|allowed| allowed == name));
        Flow::Pass
    }
}

fn names(what: &str, node: &Node) -> Decoded<Vec<String>> {
    let names = if node.is_null() { Vec::new() } else { texts(what, node, false)? };
    if names.is_empty() {
        return Err(Wrong::new(node.place, format!("{what} stage config cannot be empty")));
    }
    Ok(names)
}

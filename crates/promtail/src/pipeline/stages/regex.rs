//! `regex`: extracts what the named groups of a pattern match.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `expression` | RE2 | required | its first match counts; a group that took no part gives an empty text |
//! | `source` | text | the line | an extracted value to look into |

use super::input;
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name, Value};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::pattern::{Pattern, bytes};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct Regex {
    expression: Pattern,
    source: Option<Name>,
}

// === impl Regex ===

impl Regex {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let expression = expression(&fields)?;
        let source = fields.text("source")?;
        if source.as_deref() == Some("") {
            return fields.wrong_at("source", "empty source");
        }
        Ok(Self { expression, source: source.map(Name::from) })
    }
}

/// The field `expression` of `regex` and `replace`.
pub(super) fn expression(fields: &Fields<'_>) -> Decoded<Pattern> {
    match fields.text("expression")? {
        Some(text) if !text.is_empty() => match Pattern::parse(&text) {
            Ok(pattern) => Ok(pattern),
            Err(reason) => fields.wrong_at("expression", format!("could not compile regular expression: {reason}")),
        },
        _ => fields.wrong("expression is required"),
    }
}

impl Stage for Regex {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let work = cx.work();
        let mut found: Vec<(Name, Value)> = Vec::new();
        if let Some(text) = input(entry, self.source.as_ref())
            && let Ok(Some(places)) = self.expression.find(&text, work)
        {
            for (at, name) in self.expression.names() {
                let group = bytes(&text, places.get(*at));
                if work.grow(group.len()).is_err() {
                    return Flow::Drop;
                }
                found.push((name.clone(), Value::from(group)));
            }
        }
        // Of two groups with one name the later one stays.
        entry.extracted.extend(found);
        Flow::Pass
    }
}

//! `replace`: what the groups of a pattern match becomes something else.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `expression` | RE2 | required | all matches; not the match but its groups are replaced |
//! | `source` | text | the line | an extracted value to change |
//! | `replace` | template | empty | over the extracted values, and `.Value`, which is what the group matched |
//!
//! Named groups are extracted with their new text. A template that is wrong, or fails, leaves everything as it is. What costs too much
//! drops the line.

use std::collections::HashMap;

use super::input;
use super::regex::expression;
use super::template::Data;
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name, Value};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::pattern::{Pattern, bytes};
use crate::yaml::Node;
use go_compat::template::Template;
use go_compat::work::{Excess, Work};

#[derive(Debug, Clone)]
pub struct Replace {
    expression: Pattern,
    source: Option<Name>,
    /// Nothing when it cannot be read, which Promtail finds out with each line.
    replace: Option<Template>,
}

/// Bytes that the replacements of one line may have. With more the line costs too much.
const MAX_WRITTEN: usize = 4 << 20;

/// The text with its replacements, and what each captured text became.
type Replaced = (Vec<u8>, HashMap<Vec<u8>, Vec<u8>>);

// === impl Replace ===

impl Replace {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let expression = expression(&fields)?;
        let source = fields.text("source")?;
        if source.as_deref() == Some("") {
            return fields.wrong_at("source", "empty source in replace stage");
        }
        let replace = Template::parse(&fields.text("replace")?.unwrap_or_default()).ok();
        Ok(Self { expression, source: source.map(Name::from), replace })
    }

    /// `None` when the template is wrong, fails, or costs too much.
    fn replaced(&self, entry: &Entry, text: &[u8], work: &mut Work) -> Option<Replaced> {
        let replace = self.replace.as_ref()?;
        let mut data = Data::of(entry, replace, work).ok()?;
        let (mut out, mut end, mut became) = (Vec::with_capacity(text.len()), 0, HashMap::new());
        let mut written = 0;
        let regexp = self.expression.regexp();
        for found in regexp.find_all(text, work).ok()? {
            regexp.pay(text, &found, work).ok()?;
            for place in found.groups().flatten() {
                let captured = &text[place.clone()];
                data.set("Value", captured);
                let new = data.render(replace, work).ok()?;
                written += new.len();
                if written > MAX_WRITTEN {
                    work.exceed(Excess::Size);
                    return None;
                }
                work.grow(captured.len() + new.len()).ok()?;
                // A group inside of one that is replaced already changes nothing more.
                if end <= place.start {
                    out.extend_from_slice(&text[end..place.start]);
                    out.extend_from_slice(&new);
                    end = place.end;
                }
                became.insert(captured.to_vec(), new);
            }
        }
        out.extend_from_slice(&text[end..]);
        Some((out, became))
    }
}

impl Stage for Replace {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let work = cx.work();
        let Some(text) = input(entry, self.source.as_ref()) else { return Flow::Pass };
        let Ok(Some(first)) = self.expression.find(&text, work) else { return Flow::Pass };
        let Some((out, became)) = self.replaced(entry, &text, work) else { return Flow::Pass };
        let new = |(at, name): &(usize, Name)| {
            let new = became.get(bytes(&text, first.get(*at)))?;
            Some((name.clone(), Value::from(new.as_slice())))
        };
        let groups: Vec<(Name, Value)> = self.expression.names().iter().filter_map(new).collect();
        match &self.source {
            Some(source) => entry.extract(&source.clone(), &out),
            None => entry.line = out,
        }
        entry.extracted.extend(groups);
        Flow::Pass
    }
}

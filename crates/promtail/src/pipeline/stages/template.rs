//! `template`: an extracted value becomes what a Go template makes of it.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `source` | text | required | the value, which may be new; it goes if nothing comes out |
//! | `template` | template | empty | over the extracted values as texts, `.Value`, which is the source, and `.Entry`, the line |
//!
//! A template that fails leaves the value as it is. One that costs too much drops the line: it may have been to redact it.

use std::borrow::Cow;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::json_text::{as_characters, bad_bytes};
use crate::yaml::Node;
use go_compat::template::{self, Template as Parsed};
use go_compat::work::{Excess, Work};

#[derive(Debug, Clone)]
pub struct Template {
    source: Name,
    template: Parsed,
}

/// What a template sees of an entry. Templates know texts in UTF-8 only: other bytes pass as unassigned characters.
pub(super) struct Data {
    texts: template::Data,
    mended: bool,
}

// === impl Template ===

impl Template {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let Some(source) = fields.text("source")?.filter(|source| !source.is_empty()) else {
            return fields.wrong("template source value is required");
        };
        match Parsed::parse(&fields.text("template")?.unwrap_or_default()) {
            Ok(template) => Ok(Self { source: source.into(), template }),
            Err(reason) => fields.wrong_at("template", reason),
        }
    }
}

impl Stage for Template {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let work = cx.work();
        let Ok(mut data) = Data::of(entry, &self.template, work) else { return Flow::Drop };
        if let Some(value) = entry.text_of(&self.source) {
            data.set("Value", &value);
        }
        data.set("Entry", &entry.line);
        match data.render(&self.template, work) {
            Ok(text) if text.is_empty() => {
                entry.extracted.remove(&self.source);
            }
            Ok(text) => entry.extract(&self.source, &text),
            Err(_) if work.is_over() => return Flow::Drop,
            Err(_) => {}
        }
        Flow::Pass
    }
}

// === impl Data ===

impl Data {
    /// The extracted values that have a text; none for a template that looks at none.
    pub(super) fn of(entry: &Entry, template: &Parsed, work: &mut Work) -> Result<Self, Excess> {
        let mut data = Self { texts: template::Data::default(), mended: false };
        if template.as_str().contains("{{") {
            for (name, value) in &entry.extracted {
                if let Some(text) = value.text() {
                    work.bytes(text.len())?;
                    data.set(name, &text);
                }
            }
            work.steps(1 + entry.extracted.len() / 4)?;
        }
        Ok(data)
    }

    pub(super) fn set(&mut self, name: &str, text: &[u8]) {
        let text = match std::str::from_utf8(text) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                self.mended = true;
                Cow::Owned(as_characters(text))
            }
        };
        self.texts.set(name, &text);
    }

    pub(super) fn render(&self, template: &Parsed, work: &mut Work) -> Result<Vec<u8>, String> {
        let text = template.render(&self.texts, work)?;
        Ok(if self.mended { bad_bytes(text.as_bytes()) } else { text.into_bytes() })
    }
}

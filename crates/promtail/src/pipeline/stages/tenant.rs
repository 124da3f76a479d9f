//! `tenant`: whose line it is.
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | `source` | text | an extracted value |
//! | `label` | text | a label |
//! | `value` | text | itself |
//!
//! Exactly one is required. If it gives nothing, the tenant stays.

use std::sync::Arc;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name, TENANT};
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct Tenant {
    from: From,
    label: Name,
}

#[derive(Debug, Clone)]
enum From {
    Extracted(String),
    Label(String),
    Value(Arc<str>),
}

// === impl Tenant ===

impl Tenant {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let given = |name| fields.text(name).map(|text| text.filter(|text| !text.is_empty()));
        let from = match (given("source")?, given("label")?, given("value")?) {
            (None, None, None) => return fields.wrong("label, source or value config are required"),
            (Some(source), None, None) => From::Extracted(source),
            (None, Some(label), None) => From::Label(label),
            (None, None, Some(value)) => From::Value(value.into()),
            _ => {
                return fields.wrong(
                    "label, source and value are mutually exclusive: you should set source, value or label but not all",
                );
            }
        };
        Ok(Self { from, label: TENANT.into() })
    }
}

impl Stage for Tenant {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let tenant = match &self.from {
            From::Extracted(source) => entry.label_of(source),
            From::Label(label) => entry.labels.shared(label).cloned(),
            From::Value(value) => Some(value.clone()),
        };
        if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
            entry.labels.set(self.label.clone(), tenant);
        }
        cx.pass(entry)
    }
}

//! `timestamp`: the line gets the time that is written in it.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `source` | text | required | the extracted value that is a time |
//! | `format` | text | required | a name as RFC3339 or Unix, or a Go reference time |
//! | `fallback_formats` | list of texts | none | what else to try, in this order |
//! | `location` | IANA name | UTC | for formats without a zone |
//! | `action_on_failure` | `skip`, `fudge` | `fudge` | the time stays, or is one nanosecond after the last one of the same labels |

use std::sync::Arc;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::recent::Recent;
use crate::yaml::Node;
use go_compat::time_layout::Layout;
use go_compat::work::{STEP, Work};
use go_compat::zone::Zone;

/// Label sets whose last time is known.
const MAX_STREAMS: usize = 10_000;

#[derive(Debug, Clone)]
pub struct Timestamp {
    source: String,
    format: Arc<Format>,
    /// The last time of each label set; `None` to leave the time of a line alone if it cannot be read.
    last: Option<Recent<i64>>,
}

#[derive(Debug)]
struct Format {
    /// In the order in which they are tried.
    layouts: Vec<Layout>,
    zone: Option<Zone>,
}

// === impl Timestamp ===

impl Timestamp {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let given = |name| fields.text(name).map(|text| text.filter(|text| !text.is_empty()));
        let Some(source) = given("source")? else {
            return fields.wrong("timestamp source value is required if timestamp is specified");
        };
        let Some(format) = given("format")? else {
            return fields.wrong("timestamp format is required");
        };
        let fallbacks = fields.texts("fallback_formats")?.unwrap_or_default();
        let zone = match given("location")?.map(|name| Zone::load(&name)).transpose() {
            Ok(zone) => zone,
            Err(reason) => return fields.wrong_at("location", format!("invalid location specified: {reason}")),
        };
        let last = match fields.text("action_on_failure")?.as_deref() {
            None | Some("fudge") => Some(Recent::new(MAX_STREAMS)),
            Some("skip") => None,
            Some(_) => {
                let reason = "invalid action on failure (supported values are [skip fudge])";
                return fields.wrong_at("action_on_failure", reason);
            }
        };
        let layouts = std::iter::once(format).chain(fallbacks).map(|format| Layout::parse(&format)).collect();
        Ok(Self { source, format: Arc::new(Format { layouts, zone }), last })
    }

    fn time(&self, entry: &Entry, work: &mut Work) -> Option<i64> {
        let text = entry.text_of(&self.source)?;
        let text = std::str::from_utf8(&text).ok()?;
        let Format { layouts, zone } = self.format.as_ref();
        work.charge((text.len() as u64 + STEP).saturating_mul(layouts.len() as u64)).ok()?;
        layouts.iter().find_map(|layout| layout.parse_time(text, zone.as_ref(), entry.arrived).ok())
    }
}

impl Stage for Timestamp {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let time = self.time(entry, cx.work());
        let Some(last) = &mut self.last else {
            entry.timestamp = time.unwrap_or(entry.timestamp);
            return Flow::Pass;
        };
        let fudged = || last.get(&entry.labels).map(|last| last.saturating_add(1));
        if let Some(time) = time.or_else(fudged) {
            entry.timestamp = time;
            last.set(&entry.labels, time);
        }
        Flow::Pass
    }
}

//! `drop`: the end of lines for which all given conditions hold.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `source` | text or list of texts | absent | extracted values: all are there, or joined they match |
//! | `separator` | text | `;` | between the values of several sources |
//! | `expression` | RE2 | absent | matches the sources, or else the line |
//! | `value` | text | absent | is the sources; not with `expression` |
//! | `older_than` | duration | absent | the line was older when it was logged |
//! | `longer_than` | bytes | absent | the line is longer |
//! | `drop_counter_reason` | text | `drop_stage` | under which dropped lines are counted |
//!
//! One of `source`, `expression`, `older_than` and `longer_than` is required.

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{self, Entry};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::pattern::Pattern;
use crate::yaml::{Kind, Node, Value};
use go_compat::bytes_size;
use go_compat::duration::go_duration;
use go_compat::work::{Excess, Work};

#[derive(Debug, Clone)]
pub struct Drop {
    sources: Option<Vec<String>>,
    separator: String,
    pattern: Option<Pattern>,
    /// In nanoseconds.
    older_than: Option<i64>,
    /// In bytes.
    longer_than: Option<u64>,
    reason: String,
}

// === impl Drop ===

impl Drop {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let sources = sources(&fields)?;
        let (expression, value) = (fields.text("expression")?, fields.text("value")?);
        let (older_than, longer_than) = (fields.text("older_than")?, fields.text("longer_than")?);
        if sources.is_none() && expression.is_none() && older_than.is_none() && longer_than.is_none() {
            return fields.wrong(
                "drop stage config must contain at least one of `source`, `expression`, `older_than` or `longer_than`",
            );
        }
        let older_than = match older_than.as_deref().map(|text| (text, go_duration(text))) {
            Some((text, Err(reason))) => {
                let reason = format!("drop stage invalid duration, {text} cannot be converted to a duration: {reason}");
                return fields.wrong_at("older_than", reason);
            }
            Some((_, Ok(duration))) => Some(duration),
            None => None,
        };
        let longer_than = match longer_than.as_deref().map(bytes_size::parse) {
            Some(Err(reason)) => {
                return fields
                    .wrong_at("longer_than", format!("drop stage failed to parse longer_than to bytes: {reason}"));
            }
            size => size.and_then(Result::ok),
        };
        let pattern = match (expression, value) {
            (Some(_), Some(_)) => {
                return fields.wrong(
                    "drop stage config error, 'value' and 'expression' cannot both be defined at the same time.",
                );
            }
            (Some(expression), None) => Some(("expression", Pattern::parse(&expression))),
            (None, Some(_)) if sources.is_none() => {
                return fields.wrong("drop stage config must contain 'source' if 'value' is specified");
            }
            (None, Some(value)) => Some(("value", Pattern::literal(&value))),
            (None, None) => None,
        };
        let pattern = match pattern {
            Some((name, Err(reason))) => {
                return fields.wrong_at(name, format!("drop stage regex compilation error: {reason}"));
            }
            pattern => pattern.and_then(|(_, pattern)| pattern.ok()),
        };
        let separator = fields.text("separator")?.unwrap_or_else(|| ";".to_owned());
        let reason = fields.text("drop_counter_reason")?.filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| "drop_stage".to_owned());
        Ok(Self { sources, separator, pattern, older_than, longer_than, reason })
    }

    fn applies(&self, entry: &Entry, work: &mut Work) -> Result<bool, Excess> {
        let is_short = |limit: &u64| u64::try_from(entry.line.len()).is_ok_and(|length| length <= *limit);
        if self.longer_than.as_ref().is_some_and(is_short) {
            return Ok(false);
        }
        if self.older_than.is_some_and(|age| entry.timestamp >= entry.arrived.saturating_sub(age)) {
            return Ok(false);
        }
        match (&self.sources, &self.pattern) {
            (None, None) => Ok(true),
            (None, Some(pattern)) => pattern.is_match(&entry.line, work),
            (Some(sources), None) => Ok(sources.iter().all(|source| entry.extracted.contains_key(source.as_str()))),
            (Some(sources), Some(pattern)) => {
                let present = sources.iter().filter_map(|source| entry.extracted.get(source.as_str()));
                // A value without a text keeps the line.
                let texts: Option<Vec<_>> = present.map(entry::Value::text).collect();
                let Some(texts) = texts else { return Ok(false) };
                let length = texts.iter().map(|text| text.len() + self.separator.len()).sum();
                work.grow(length)?;
                pattern.is_match(&texts.join(self.separator.as_bytes()), work)
            }
        }
    }
}

fn sources(fields: &Fields<'_>) -> Decoded<Option<Vec<String>>> {
    let text = |node: &Node| match &node.value {
        Value::Scalar { text, kind: Kind::Text } => Some(text.clone()),
        _ => None,
    };
    let Some(node) = fields.find("source") else { return Ok(None) };
    let sources = match &node.value {
        Value::List(items) => items.iter().map(text).collect(),
        _ => text(node).map(|source| vec![source]),
    };
    match sources {
        Some(sources) => Ok(Some(sources)),
        None => fields.wrong_at("source", "drop stage source invalid type should be string or list of strings"),
    }
}

impl Stage for Drop {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        match self.applies(entry, cx.work()) {
            Ok(true) => cx.drop(&self.reason),
            Ok(false) => Flow::Pass,
            Err(_) => Flow::Drop,
        }
    }
}

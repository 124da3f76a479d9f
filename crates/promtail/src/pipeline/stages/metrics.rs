//! `metrics`: counts what lines say. The lines stay as they are.
//!
//! It has a map of names to metrics:
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `type` | `counter`, `gauge`, `histogram` | required | |
//! | `description` | text | empty | |
//! | `source` | text | the name | the extracted value |
//! | `prefix` | text | `promtail_custom_` | before the name |
//! | `max_idle_duration` | duration from 1s up | 5m | a series without a change for so long goes |
//! | `config` | map | | see below |
//!
//! | field of `config` | for | meaning |
//! | --- | --- | --- |
//! | `action` | counter: `inc`, `add`; gauge: `set`, `inc`, `dec`, `add`, `sub` | required |
//! | `value` | all | counts only when the extracted value is this text |
//! | `match_all` | counter | counts every line, without a source |
//! | `count_entry_bytes` | counter | with `match_all` and `add`: counts the bytes of lines |
//! | `buckets` | histogram | upper bounds, Prometheus' own by default |
//!
//! A series has the labels of the line, without those that begin with `__`.

use std::sync::Arc;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Labels, Value};
use crate::pipeline::fields::{Decoded, Fields, Wrong};
use crate::pipeline::registry::{Change, Definition, Kind};
use crate::yaml::{self, Node};
use go_compat::duration::go_duration;
use go_compat::number::parse_float;

const PREFIX: &str = "promtail_custom_";

/// What the names of the plugin's own metrics begin with.
const OWN: [&str; 2] = ["loki_rs_", "process_"];

const MAX_IDLE: i64 = 5 * 60 * 1_000_000_000;

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone)]
pub struct Metrics(Arc<Vec<Metric>>);

#[derive(Debug)]
struct Metric {
    definition: Definition,
    source: String,
    action: Action,
    value: Option<String>,
    every_line: Option<EveryLine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Set,
    Inc,
    Dec,
    Add,
    Sub,
    Observe,
}

/// What `match_all` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EveryLine {
    Lines,
    Bytes,
}

// === impl Metrics ===

impl Metrics {
    pub fn read(node: &Node) -> Decoded<Self> {
        let pairs: &[(Node, Node)] = match &node.value {
            yaml::Value::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => {
                return Err(Wrong::new(
                    node.place,
                    format!("a map of metrics is expected here, and this is {}", node.what()),
                ));
            }
        };
        let metric = |(name, config): &(Node, Node)| match name.text() {
            Some(name) => Metric::read(name, config).map_err(|wrong| wrong.within(&format!("metric {name}"))),
            None => Err(Wrong::new(name.place, "the name of a metric is expected here")),
        };
        pairs.iter().map(metric).collect::<Decoded<Vec<_>>>().map(|metrics| Self(Arc::new(metrics)))
    }
}

impl Stage for Metrics {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let mut labels: Option<Labels> = None;
        for metric in self.0.iter() {
            let Some(change) = metric.change(entry) else { continue };
            let labels = labels.get_or_insert_with(|| {
                let mut labels = entry.labels.clone();
                labels.retain(|name| !name.starts_with("__"));
                labels
            });
            cx.tally.change(&metric.definition, labels, change, cx.now);
        }
        Flow::Pass
    }
}

// === impl Metric ===

impl Metric {
    fn read(name: &str, node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let typed = fields.text("type")?.unwrap_or_default().to_lowercase();
        let max_idle = match fields.text("max_idle_duration")? {
            Some(text) => idle(&fields, &text)?,
            None => MAX_IDLE,
        };
        let empty = Node { place: node.place, value: yaml::Value::Map(Vec::new()) };
        let config = Fields::strict(fields.find("config").unwrap_or(&empty))?;
        let value = config.text("value")?;
        let (kind, action, every_line) = match typed.as_str() {
            "counter" => {
                let (action, every_line) = counter(&config, value.is_some())?;
                (Kind::Counter, action, every_line)
            }
            "gauge" => (Kind::Gauge, gauge(&config)?, None),
            "histogram" => (Kind::Histogram(buckets(&config)?), Action::Observe, None),
            _ => {
                let reason = "metric type must be one of 'counter', 'gauge', or 'histogram'";
                return fields.wrong_at("type", format!("invalid metric type '{typed}', {reason}"));
            }
        };
        let prefix = fields.text("prefix")?.filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| PREFIX.to_owned());
        if OWN.iter().any(|own| format!("{prefix}{name}").starts_with(own)) {
            return fields.wrong(format!("the name of a metric cannot begin with {}", OWN.join(" or ")));
        }
        let help = fields.text("description")?.unwrap_or_default();
        let definition = Definition { name: format!("{prefix}{name}"), help, kind, max_idle };
        let source = fields.text("source")?.unwrap_or_else(|| name.to_owned());
        Ok(Self { definition, source, action, value, every_line })
    }

    /// What a line does to its series.
    fn change(&self, entry: &Entry) -> Option<Change> {
        let number = match self.every_line {
            Some(EveryLine::Lines) => None,
            Some(EveryLine::Bytes) if entry.line.is_empty() => return None,
            Some(EveryLine::Bytes) => Some(entry.line.len() as f64),
            None => {
                let value = entry.extracted.get(self.source.as_str())?;
                if let Some(wanted) = &self.value
                    && value.text()?.as_ref() != wanted.as_bytes()
                {
                    return None;
                }
                number(value)
            }
        };
        match self.action {
            Action::Inc => Some(Change::Add(1.0)),
            Action::Dec => Some(Change::Add(-1.0)),
            Action::Set => number.map(Change::Set),
            // Promtail dies of a counter that falls.
            Action::Add if self.definition.kind == Kind::Counter => {
                number.filter(|number| *number >= 0.0).map(Change::Add)
            }
            Action::Add => number.map(Change::Add),
            Action::Sub => number.map(|number| Change::Add(-number)),
            Action::Observe => number.map(Change::Observe),
        }
    }
}

fn idle(fields: &Fields<'_>, text: &str) -> Decoded<i64> {
    match go_duration(text) {
        Ok(duration) if duration >= 1_000_000_000 => Ok(duration),
        Ok(_) => fields.wrong_at("max_idle_duration", "max_idle_duration less than 1s not allowed"),
        Err(reason) => {
            let reason = format!("max_idle_duration could not be parsed as a time.Duration: '{reason}'");
            fields.wrong_at("max_idle_duration", reason)
        }
    }
}

fn counter(config: &Fields<'_>, has_value: bool) -> Decoded<(Action, Option<EveryLine>)> {
    let action = config.text("action")?.unwrap_or_default().to_lowercase();
    let action = match action.as_str() {
        "" => return config.wrong("counter action must be defined as either `inc` or `add`"),
        "inc" => Action::Inc,
        "add" => Action::Add,
        _ => {
            return config
                .wrong_at("action", format!("action {action} is not valid, action must be either `inc` or `add`"));
        }
    };
    let match_all = config.flag("match_all")?.unwrap_or_default();
    let count_bytes = config.flag("count_entry_bytes")?.unwrap_or_default();
    match (match_all, count_bytes) {
        (true, _) if has_value => config.wrong_at(
            "match_all",
            "`match_all: true` cannot be combined with `value`, please remove `match_all` or `value`",
        ),
        (false, true) => {
            config.wrong_at("count_entry_bytes", "`count_entry_bytes: true` can only be set with `match_all: true`")
        }
        (true, true) if action != Action::Add => {
            config.wrong_at("count_entry_bytes", "`count_entry_bytes: true` can only be used with `action: add`")
        }
        (true, true) => Ok((action, Some(EveryLine::Bytes))),
        (true, false) => Ok((action, Some(EveryLine::Lines))),
        (false, false) => Ok((action, None)),
    }
}

fn gauge(config: &Fields<'_>) -> Decoded<Action> {
    let action = config.text("action")?.unwrap_or_default().to_lowercase();
    match action.as_str() {
        "set" => Ok(Action::Set),
        "inc" => Ok(Action::Inc),
        "dec" => Ok(Action::Dec),
        "add" => Ok(Action::Add),
        "sub" => Ok(Action::Sub),
        "" => config.wrong("gauge action must be defined as `set`, `inc`, `dec`, `add`, or `sub`"),
        _ => {
            let reason = "action must be `set`, `inc`, `dec`, `add`, or `sub`";
            config.wrong_at("action", format!("action {action} is not valid, {reason}"))
        }
    }
}

fn buckets(config: &Fields<'_>) -> Decoded<Vec<f64>> {
    let buckets = config.floats("buckets")?.filter(|buckets| !buckets.is_empty()).unwrap_or_else(|| BUCKETS.to_vec());
    let rising = buckets.windows(2).all(|pair| pair[0] < pair[1]) && !buckets.iter().any(|bound| bound.is_nan());
    if rising { Ok(buckets) } else { config.wrong_at("buckets", "histogram buckets must be in increasing order") }
}

/// A number, or a duration in seconds.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => Some(*number),
        Value::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            go_float(text).or_else(|| Some(go_duration(text).ok()? as f64 / 1e9))
        }
    }
}

/// Go's float syntax as the stage takes it: with `_` between digits, `inf` and `nan` in any case.
fn go_float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let misplaced = |at: usize| bytes[at] == b'_' && (at == 0 || !is_digit(at - 1) || !is_digit(at + 1));
    if (0..bytes.len()).any(misplaced) {
        return None;
    }
    parse_float(&text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_numbers_as_in_go() {
        for (text, expected) in [
            ("1.5", Some(1.5)),
            ("1_000", Some(1000.0)),
            ("1e3", Some(1000.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Inf", Some(f64::NEG_INFINITY)),
            (".5", Some(0.5)),
            ("932ms", Some(0.932)),
            ("1h", Some(3600.0)),
            ("0x10", None),
            ("_1", None),
            (" 1", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(number(&Value::from(text)), expected, "{text}");
        }
        assert_eq!(number(&Value::Bool(true)), Some(1.0));
        assert_eq!(number(&Value::Null), None);
    }
}

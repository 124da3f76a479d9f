//! Prometheus' relabelling: rules that change, add and remove labels, or drop what has them.
//!
//! Each rule looks at the values of its `source_labels`, joined by `separator`:
//!
//! | action | effect |
//! | --- | --- |
//! | `replace` | if `regex` matches: `target_label` becomes `replacement`, in both of which `$1` is what a group matched |
//! | `keep`, `drop` | drop unless, or if, `regex` matches |
//! | `keepequal`, `dropequal` | drop unless, or if, it is the value of `target_label` |
//! | `hashmod` | `target_label` becomes its hash modulo `modulus` |
//! | `lowercase`, `uppercase` | `target_label` becomes it in lower or upper case |
//! | `labelmap` | the value of each label whose name `regex` matches is copied to the name `replacement` |
//! | `labeldrop`, `labelkeep` | labels are removed whose name `regex` matches, or does not |
//!
//! The semantics and the words of a complaint are those of Prometheus' `model/relabel` with UTF-8 label names, as in
//! Promtail and in Grafana's driver. [`rule`] reads one rule; [`go_compat::pattern`] is its regular expression; [`labels`] is what
//! they work on.

mod case;
pub mod labels;
pub mod rule;

use md5::{Digest, Md5};
use thiserror::Error;

use crate::yaml::{self, Value};
use go_compat::pattern::LONGEST;
pub use labels::Labels;
use rule::{Action, Rule};

/// Rules, to be applied one after another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// Why rules cannot be used, with the place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct RulesError(String);

// === impl Rules ===

impl Rules {
    /// Reads a YAML list of rules. Nothing is no rules.
    ///
    /// # Errors
    /// The first mistake, and where it is.
    pub fn parse(text: &str) -> Result<Rules, RulesError> {
        let wrong = |error: yaml::YamlError| RulesError(error.to_string());
        let Some(node) = yaml::parse(text).map_err(wrong)?.filter(|node| !node.is_null()) else {
            return Ok(Rules::default());
        };
        let Value::List(items) = &node.value else {
            let reason = format!("{}: a list of rules is expected here, and this is {}", node.place, node.what());
            return Err(RulesError(reason));
        };
        let rules = (1..).zip(items).map(|(number, item)| {
            Rule::read(item).map_err(|(place, reason)| RulesError(format!("rule {number}, {place}: {reason}")))
        });
        rules.collect::<Result<_, _>>().map(Rules)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels after all rules; `None`: what has them is to be dropped.
    pub fn apply(&self, mut labels: Labels) -> Option<Labels> {
        self.0.iter().all(|rule| apply(rule, &mut labels)).then_some(labels)
    }
}

/// The values of the source labels, as far as anybody needs them.
fn joined(rule: &Rule, labels: &Labels) -> String {
    let mut value = String::new();
    for (at, name) in rule.source_labels.iter().enumerate() {
        if at > 0 {
            value.push_str(&rule.separator);
        }
        value.push_str(labels.get(name));
        if value.len() > LONGEST {
            value.truncate(value.floor_char_boundary(LONGEST));
            break;
        }
    }
    value
}

/// False to drop.
fn apply(rule: &Rule, labels: &mut Labels) -> bool {
    let value = joined(rule, labels);
    match rule.action {
        Action::Keep => return rule.regex.is_match(&value),
        Action::Drop => return !rule.regex.is_match(&value),
        Action::KeepEqual => return labels.get(&rule.target_label) == value,
        Action::DropEqual => return labels.get(&rule.target_label) != value,
        Action::Replace => {
            if let Some(found) = rule.regex.captures(&value) {
                let target = rule.regex.expand(&rule.target_label, &found);
                if !target.is_empty() {
                    labels.set(&target, &rule.regex.expand(&rule.replacement, &found));
                }
            }
        }
        Action::HashMod => {
            // Of the sixteen bytes the last eight, as Prometheus has it.
            let hash = Md5::digest(value.as_bytes());
            let hash = hash.iter().skip(8).fold(0, |hash: u64, byte| hash << 8 | u64::from(*byte));
            // A rule without a modulus was refused.
            labels.set(&rule.target_label, &(hash % rule.modulus.max(1)).to_string());
        }
        Action::Lowercase => labels.set(&rule.target_label, &case::lower(&value)),
        Action::Uppercase => labels.set(&rule.target_label, &case::upper(&value)),
        Action::LabelMap => {
            for (name, value) in labels.clone().iter() {
                if let Some(found) = rule.regex.captures(name) {
                    let name = rule.regex.expand(&rule.replacement, &found);
                    // Prometheus sets a label without a name here, which no rule can name and Loki does not accept.
                    if !name.is_empty() {
                        labels.set(&name, value);
                    }
                }
            }
        }
        Action::LabelDrop => labels.retain(|name| !rule.regex.is_match(name)),
        Action::LabelKeep => labels.retain(|name| rule.regex.is_match(name)),
    }
    true
}

#[cfg(test)]
mod tests;

//! The configuration of a pipeline: a list of stages, each a map with one key.

use thiserror::Error;

use super::chain::Chain;
use super::fields::{Decoded, Wrong};
use super::stages::STAGES;
use crate::yaml::{self, Kind, Node, Place, Value};
use base::refusal::quote;
use base::suggestion::hint;
use go_compat::work::{self, Work};

/// How stages are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A list, as in the option `loki-pipeline-stages`.
    List,
    /// The same, or a map whose one key is `pipeline_stages`, as in a file.
    Either,
}

/// Why a configuration cannot be used: a sentence for each mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct PipelineError(Vec<String>, Vec<Place>);

const KEY: &str = "pipeline_stages";

/// Stages of Grafana Alloy that Promtail never had.
const ALLOYS: [&str; 8] = [
    "structured_metadata_drop",
    "label_keep",
    "pattern",
    "luhn",
    "split_json",
    "truncate",
    "windowsevent",
    "label_drop",
];

// === impl PipelineError ===

impl PipelineError {
    /// A sentence for each mistake.
    pub fn reasons(&self) -> &[String] {
        &self.0
    }

    /// Where the mistakes are, as far as it is known; nothing of the configuration is in it.
    pub fn places(&self) -> &[Place] {
        &self.1
    }
}

impl From<Vec<Wrong>> for PipelineError {
    fn from(wrongs: Vec<Wrong>) -> Self {
        let reasons = wrongs.iter().map(|wrong| format!("{}: {}", wrong.place, wrong.reason));
        Self(reasons.collect(), wrongs.iter().map(|wrong| wrong.place).collect())
    }
}

/// Reads a whole configuration.
pub fn read(text: &str, form: Form) -> Result<Chain, PipelineError> {
    let Some(node) = yaml::parse(text).map_err(|error| PipelineError(vec![error.to_string()], vec![error.place]))?
    else {
        return Err(PipelineError(vec!["there is no YAML document in it".to_owned()], Vec::new()));
    };
    let stages = match &node.value {
        Value::Map(pairs) if form != Form::List => from_file(pairs).map_err(|wrong| vec![wrong])?,
        Value::List(_) => Some(&node),
        _ if node.is_null() => None,
        _ => {
            let wanted = match form {
                Form::List => "a list of stages",
                Form::Either => "a map with the key pipeline_stages, or a list of stages,",
            };
            let reason = format!("{}: {wanted} is expected here, and this is {}", node.place, node.what());
            return Err(PipelineError(vec![reason], vec![node.place]));
        }
    };
    let Some(stages) = stages else { return Ok(Chain::default()) };
    work::charging(&mut Work::of_expressions(), || chain(stages)).map_err(PipelineError::from)
}

/// The list inside of the map of a file.
fn from_file(pairs: &[(Node, Node)]) -> Decoded<Option<&Node>> {
    let mut stages = None;
    for (key, value) in pairs {
        match key.text() {
            Some(KEY) => stages = Some(value).filter(|value| !value.is_null()),
            other => {
                let other = quote(other.unwrap_or_default());
                return Err(Wrong::new(key.place, format!("{other} is not a key of a pipeline file (only {KEY} is)")));
            }
        }
    }
    Ok(stages)
}

/// Reads a list of stages, the mistakes of all at once.
pub fn chain(node: &Node) -> Result<Chain, Vec<Wrong>> {
    let Value::List(items) = &node.value else {
        let reason = format!("cannot construct stages from {}: a list is expected, a - before each stage", node.what());
        return Err(vec![Wrong::new(node.place, reason)]);
    };
    let mut chain = Chain::default();
    let mut wrongs = Vec::new();
    for item in items {
        if let Err(mut wrong) = add(&mut chain, item) {
            wrongs.append(&mut wrong);
        }
    }
    if wrongs.is_empty() { Ok(chain) } else { Err(wrongs) }
}

fn add(chain: &mut Chain, item: &Node) -> Result<(), Vec<Wrong>> {
    let fail = |place, reason: String| Err(vec![Wrong::new(place, reason)]);
    let Value::Map(pairs) = &item.value else {
        let reason = "invalid YAML config, make sure each stage of your pipeline is a YAML object (must end with a ':'), \
                      check for a stage without it";
        return fail(item.place, format!("{reason}; this is {}", item.what()));
    };
    let (key, config) = match pairs.as_slice() {
        [] => return Ok(()),
        [pair] => (&pair.0, &pair.1),
        _ => return fail(item.place, "pipeline stage must contain only one key".to_owned()),
    };
    if !matches!(key.value, Value::Scalar { kind: Kind::Text, .. }) {
        return fail(key.place, format!("pipeline stage key should be a string, and this is {}", key.what()));
    }
    let name = key.text().unwrap_or_default();
    let Some(kind) = STAGES.iter().find(|kind| kind.name == name) else {
        return fail(key.place, unknown(name));
    };
    let stage = (kind.read)(config);
    let context = format!("invalid {} stage config", kind.name);
    match stage {
        Ok(stage) => chain.push(kind.name, stage),
        Err(wrongs) => return Err(wrongs.into_iter().map(|wrong| wrong.within(&context)).collect()),
    }
    Ok(())
}

/// A stage that does not exist, and the one that was probably meant.
fn unknown(name: &str) -> String {
    let shown = quote(name).trim_matches('"').to_owned();
    let hint = if ALLOYS.contains(&name) {
        "it is a stage of Alloy, which Promtail's pipelines do not have".to_owned()
    } else {
        hint(name, STAGES.iter().map(|kind| kind.name))
    };
    format!("Unknown stage type: {shown} ({hint})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match read(text, Form::Either) {
            Ok(_) => panic!("{text} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_pipeline_is_refused() {
        for (text, expected) in [
            ("", "there is no YAML document in it"),
            (
                "text",
                "line 1, column 1: a map with the key pipeline_stages, or a list of stages, is expected here, and this is a text",
            ),
            ("stages: []", "line 1, column 1: \"stages\" is not a key of a pipeline file (only pipeline_stages is)"),
            (
                "pipeline_stages: x",
                "line 1, column 18: cannot construct stages from a text: a list is expected, a - before each stage",
            ),
            ("- {json: , cri: }", "line 1, column 3: pipeline stage must contain only one key"),
            ("- regx:", "line 1, column 3: Unknown stage type: regx (did you mean regex?)"),
            ("- JSON:", "line 1, column 3: Unknown stage type: JSON (did you mean json?)"),
            (
                "- luhn:",
                "line 1, column 3: Unknown stage type: luhn (it is a stage of Alloy, which Promtail's pipelines do not have)",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
        assert!(refused("- cri").contains("must end with a ':'"));
        assert!(refused("- ").contains("must end with a ':'"));
        assert!(refused("- somethingelse:").contains("known are json, logfmt,"));
        assert!(read("- json: {expressions: {a: }}", Form::Either).is_ok());
        assert!(read("pipeline_stages: [{json: {expressions: {a: }}}]", Form::List).is_err());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        assert_eq!(
            refused("- json:\n- {}\n- output: {source: 1}\n"),
            "line 1, column 7: invalid json stage config: JMES expression is required\n\
             line 3, column 20: invalid output stage config: 'source' expected type 'string', got unconvertible type \
             'int', value: '1'"
        );
    }

    #[test]
    fn nothing_is_a_pipeline_that_does_nothing() {
        for text in ["pipeline_stages:", "pipeline_stages: []", "[]", "- {}", "~"] {
            assert!(read(text, Form::Either).is_ok_and(|chain| chain.is_empty()), "{text}");
        }
    }
}

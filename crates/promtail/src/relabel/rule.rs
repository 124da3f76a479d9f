//! One rule: its fields, their defaults, and which of them an action needs or refuses.

use crate::yaml::{Node, Place, Value};
use base::refusal::quote;
use go_compat::pattern::Pattern;

const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

/// One rule, valid for its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub source_labels: Vec<String>,
    pub separator: String,
    pub regex: Pattern,
    /// Above zero for [`Action::HashMod`].
    pub modulus: u64,
    pub target_label: String,
    pub replacement: String,
    pub action: Action,
}

/// What a rule does, see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// Fields as they were typed.
#[derive(Default)]
struct Typed {
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    regex: Option<Pattern>,
    modulus: u64,
    target_label: String,
    replacement: Option<String>,
    action: Option<Action>,
}

/// Where and what is wrong.
type Wrong = (Place, String);

// === impl Action ===

impl Action {
    pub(super) const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }
}

// === impl Rule ===

impl Rule {
    /// Reads one item of the list.
    pub fn read(node: &Node) -> Result<Rule, Wrong> {
        let Value::Map(pairs) = &node.value else {
            return Err((node.place, format!("a map of fields is expected here, and this is {}", node.what())));
        };
        let mut typed = Typed::default();
        for (key, value) in pairs {
            typed.field(key, value)?;
        }
        typed.check().map_err(|reason| (node.place, reason))
    }
}

// === impl Typed ===

impl Typed {
    fn field(&mut self, key: &Node, value: &Node) -> Result<(), Wrong> {
        let name = key.text().unwrap_or_default();
        let fail = |reason: String| Err((value.place, reason));
        match name {
            "regex" => {
                let text = if value.is_null() { "" } else { text(name, value)? };
                match Pattern::parse(text) {
                    Ok(pattern) => self.regex = Some(pattern),
                    Err(reason) => return fail(format!("{} is not a regular expression: {reason}", quote(text))),
                }
            }
            "source_labels" | "separator" | "modulus" | "target_label" | "replacement" | "action"
                if value.is_null() => {}
            "source_labels" => self.source_labels = Some(names(value)?),
            "separator" => self.separator = Some(text(name, value)?.to_owned()),
            "replacement" => self.replacement = Some(text(name, value)?.to_owned()),
            "target_label" => text(name, value)?.clone_into(&mut self.target_label),
            "modulus" => match value.unsigned() {
                Some(modulus) => self.modulus = modulus,
                None => return fail("modulus is to be a whole number from 0 up, without quotes".to_owned()),
            },
            "action" => {
                let typed = text(name, value)?;
                let lower = typed.to_lowercase();
                match Action::ALL.into_iter().find(|action| action.as_str() == lower) {
                    Some(action) => self.action = Some(action),
                    None => {
                        let known = Action::ALL.map(Action::as_str).join(", ");
                        return fail(format!("unknown relabel action {} (known are {known})", quote(typed)));
                    }
                }
            }
            _ => {
                return Err((
                    key.place,
                    format!(
                        "field {} is not one of source_labels, separator, regex, modulus, target_label, replacement, \
                         action",
                        quote(name)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Prometheus' `Config.Validate`, in its words.
    fn check(self) -> Result<Rule, String> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
        let action = self.action.unwrap_or(Replace);
        let name = action.as_str();
        let is = |actions: &[Action]| actions.contains(&action);
        let own_separator = self.separator.as_deref().is_some_and(|typed| typed != SEPARATOR);
        let own_replacement = self.replacement.as_deref().is_some_and(|typed| typed != REPLACEMENT);
        if self.modulus == 0 && is(&[HashMod]) {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        if is(&[Replace, HashMod, Lowercase, Uppercase, KeepEqual, DropEqual]) && self.target_label.is_empty() {
            return Err(format!("relabel configuration for {name} action requires 'target_label' value"));
        }
        if is(&[Lowercase, Uppercase, KeepEqual, DropEqual]) && own_replacement {
            return Err(format!("'replacement' can not be set for {name} action"));
        }
        if is(&[LabelMap]) && self.replacement.as_deref() == Some("") {
            return Err(format!("\"\" is invalid 'replacement' for {name} action"));
        }
        if is(&[KeepEqual, DropEqual]) && (self.regex.is_some() || self.modulus != 0 || own_separator) {
            return Err(format!("{name} action requires only 'source_labels' and 'target_label', and no other fields"));
        }
        let others = self.source_labels.is_some() || !self.target_label.is_empty() || self.modulus != 0;
        if is(&[LabelDrop, LabelKeep]) && (others || own_separator || own_replacement) {
            return Err(format!("{name} action requires only 'regex', and no other fields"));
        }
        let regex = self.regex.map_or_else(|| Pattern::parse(REGEX), Ok)?;
        Ok(Rule {
            source_labels: self.source_labels.unwrap_or_default(),
            separator: self.separator.unwrap_or_else(|| SEPARATOR.to_owned()),
            regex,
            modulus: self.modulus,
            target_label: self.target_label,
            replacement: self.replacement.unwrap_or_else(|| REPLACEMENT.to_owned()),
            action,
        })
    }
}

/// A scalar, whatever it means by itself: `replacement: 5` is the text 5.
fn text<'n>(name: &str, node: &'n Node) -> Result<&'n str, Wrong> {
    node.text().ok_or_else(|| (node.place, format!("{name} is to be a text, and this is {}", node.what())))
}

fn names(node: &Node) -> Result<Vec<String>, Wrong> {
    let Value::List(items) = &node.value else {
        let reason = format!("source_labels is to be a list, as in [a, b], and this is {}", node.what());
        return Err((node.place, reason));
    };
    let name = |item: &Node| match text("a name in source_labels", item)? {
        "" => Err((item.place, "\"\" is not a valid label name".to_owned())),
        name => Ok(name.to_owned()),
    };
    items.iter().map(name).collect()
}

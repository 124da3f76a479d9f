//! Labels while rules work on them.

use std::collections::BTreeMap;

use base::maps::map_of;

/// Labels that there can be while rules work. Rules may double them again and again, and Loki accepts fifteen.
const MOST: usize = 1000;

/// Names with values that are not empty, in the order in which Prometheus goes over them: those that were there first,
/// sorted by name, then those that rules have set. The order shows when `labelmap` gives two labels one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Vec<Label>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    name: String,
    value: String,
    /// Set by a rule.
    added: bool,
}

// === impl Labels ===

impl Labels {
    /// The value of a label; empty when it is not set.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| &self.0[at].value)
    }

    /// Sets a label. An empty value takes it away.
    pub fn set(&mut self, name: &str, value: &str) {
        let found = self.find(name);
        if value.is_empty() {
            found.map(|at| self.0.remove(at));
            return;
        }
        match found {
            Some(at) if self.0[at].added => value.clone_into(&mut self.0[at].value),
            found => {
                found.map(|at| self.0.remove(at));
                if self.0.len() >= MOST {
                    return;
                }
                self.0.push(Label { name: name.to_owned(), value: value.to_owned(), added: true });
            }
        }
    }

    /// Keeps those whose name is to be kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|label| keep(&label.name));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|label| (label.name.as_str(), label.value.as_str()))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|label| label.name == name)
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        Self(labels.map(|(name, value)| Label { name, value, added: false }).collect())
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        map_of(labels.0.into_iter().map(|label| (label.name, label.value)))
    }
}

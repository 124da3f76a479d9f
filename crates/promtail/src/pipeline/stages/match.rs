//! `match`: stages for some lines only, or their end.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `selector` | selector | required | which lines, as `{app="web"} \|= "error"` |
//! | `stages` | list of stages | required to keep | what happens to them |
//! | `action` | `keep`, `drop` | `keep` | |
//! | `pipeline_name` | text | absent | nothing, but it must not be empty |
//! | `drop_counter_reason` | text | `match_stage` | under which dropped lines are counted |

use std::path::PathBuf;
use std::sync::Arc;

use crate::pipeline::chain::{Chain, Context, Flow, Stage};
use crate::pipeline::config;
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::{Decoded, Fields, Wrong};
use crate::selector::Selector;
use crate::yaml::{Node, Value};
use base::files::Folders;

#[derive(Clone)]
pub struct Match {
    selector: Arc<Selector>,
    action: Action,
}

#[derive(Clone)]
enum Action {
    Keep(Chain),
    /// With the reason under which it is counted.
    Drop(String),
}

// === impl Match ===

impl Match {
    pub fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let fields = Fields::strict(node).map_err(|wrong| vec![wrong])?;
        let one = |wrong| vec![wrong];
        let drops = Self::drops(&fields).map_err(one)?;
        let selector = Self::selector(&fields).map_err(one)?;
        let stages = fields.find("stages");
        let has_stages = stages.is_some_and(|stages| !matches!(&stages.value, Value::List(items) if items.is_empty()));
        let fail = |reason: &str| fields.wrong_at("stages", reason).map_err(one);
        let action = match stages.filter(|_| has_stages) {
            Some(_) if drops => return fail("match stage configured to drop entries cannot contains stages"),
            None if !drops => {
                return fail("match stage requires at least one additional stage to be defined in '- stages'");
            }
            Some(stages) => {
                let context = "match stage failed to create pipeline from config";
                let within =
                    |wrongs: Vec<Wrong>| wrongs.into_iter().map(|wrong| wrong.within(context)).collect::<Vec<_>>();
                Action::Keep(config::chain(stages).map_err(within)?)
            }
            None => {
                let reason = fields.text("drop_counter_reason").map_err(one)?.filter(|reason| !reason.is_empty());
                Action::Drop(reason.unwrap_or_else(|| "match_stage".to_owned()))
            }
        };
        Ok(Self { selector: Arc::new(selector), action })
    }

    fn selector(fields: &Fields<'_>) -> Decoded<Selector> {
        if fields.text("pipeline_name")?.as_deref() == Some("") {
            let reason = "match stage pipeline name can be omitted but cannot be an empty string";
            return fields.wrong_at("pipeline_name", reason);
        }
        match fields.text("selector")? {
            Some(text) if !text.is_empty() => match Selector::parse(&text) {
                Ok(selector) => Ok(selector),
                Err(reason) => fields.wrong_at("selector", reason),
            },
            _ => fields.wrong("selector statement required for match stage"),
        }
    }

    fn drops(fields: &Fields<'_>) -> Decoded<bool> {
        match fields.text("action")?.as_deref() {
            None | Some("" | "keep") => Ok(false),
            Some("drop") => Ok(true),
            Some(_) => fields.wrong_at("action", "match stage action should be 'keep' or 'drop'"),
        }
    }
}

impl Stage for Match {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        match self.selector.matches(&|name| entry.labels.get(name), &entry.line, cx.work()) {
            Ok(true) => {}
            Ok(false) => return Flow::Pass,
            Err(_) => return Flow::Drop,
        }
        match &mut self.action {
            Action::Drop(reason) => cx.drop(reason),
            Action::Keep(chain) => chain.run_inside(entry, cx),
        }
    }

    fn tick(&mut self, time: i64, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        if let Action::Keep(chain) = &mut self.action {
            chain.tick(time, cx, out);
        }
    }

    fn let_go(&mut self, before: u64, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        if let Action::Keep(chain) = &mut self.action {
            chain.let_go(before, cx, out);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        if let Action::Keep(chain) = &mut self.action {
            chain.finish(cx, out);
        }
    }

    fn deadline(&self) -> Option<i64> {
        match &self.action {
            Action::Keep(chain) => chain.deadline(),
            Action::Drop(_) => None,
        }
    }

    fn held_since(&self) -> Option<u64> {
        match &self.action {
            Action::Keep(chain) => chain.held_since(),
            Action::Drop(_) => None,
        }
    }

    fn held_bytes(&self) -> usize {
        match &self.action {
            Action::Keep(chain) => chain.held_bytes(),
            Action::Drop(_) => 0,
        }
    }

    fn files(&self, to: &mut Vec<PathBuf>) {
        if let Action::Keep(chain) = &self.action {
            chain.files(to);
        }
    }

    fn open(&mut self, folders: &Folders) -> Result<(), Vec<Wrong>> {
        match &mut self.action {
            Action::Keep(chain) => chain.open(folders),
            Action::Drop(_) => Ok(()),
        }
    }

    fn is_nested(&self) -> bool {
        true
    }
}

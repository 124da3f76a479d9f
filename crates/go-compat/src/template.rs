//! The templates of the stages `template` and `replace`: Go's `text/template` over what was extracted from a line.
//!
//! The engine is the crate `gotmpl`. [`syntax`] refuses at once what Go refuses, `functions` has what a template may call,
//! and [`value`] prints as Go does. What a template writes, how large its values get, how often its loops turn and how deep
//! it calls itself is bounded; so is what goes wrong in it.
//!
//! What differs from Promtail: texts are UTF-8; `substr`, `trunc` and `abbrev` count bytes but leave out what they would cut in two;
//! `toDate` takes this year for a layout without one; functions that change a dict in place are not there, and neither are those
//! that reach out of a template or cost too much for a line.

pub mod cost;
pub mod engine;
mod functions;
pub mod syntax;
pub mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use self::engine::{Output, clipped, contained};
use self::syntax::{Dialect, GET};
use crate::work::Work;

/// Bytes a template may write.
const MAX_OUTPUT: usize = 1 << 20;

/// Turns of all loops of one template together.
const MAX_TURNS: u64 = 10_000;

/// A template of a pipeline.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    /// `None` if the text is nothing but text.
    parsed: Option<Arc<gotmpl::Template>>,
}

/// What a template sees: names with their texts. `.Value` and `.Entry` are two of them.
#[derive(Debug, Clone, Default)]
pub struct Data(Arc<BTreeMap<Arc<str>, Value>>);

/// Promtail's use of the language.
struct Promtail;

// === impl Template ===

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it: `template: there is no function nofunc`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("{{") {
            return Ok(Self { text: text.into(), parsed: None });
        }
        let parsed = contained(|| syntax::parse(text, &Promtail)).unwrap_or_else(|| Err(PANICKED.to_owned()));
        let parsed = parsed.map_err(|cause| format!("template: {cause}"))?;
        let mut all = cost::charging(functions::all());
        all.insert(GET.to_owned(), Arc::new(|args: &[Value]| value::chain(args, functions::field)));
        let template = parsed.with(all).max_range_iters(MAX_TURNS);
        Ok(Self { text: text.into(), parsed: Some(Arc::new(template)) })
    }

    /// What it writes, at the cost of `work`.
    ///
    /// # Errors
    /// Why it stopped; then nothing of what it wrote counts. Whether it was for its cost, `work` tells.
    pub fn render(&self, data: &Data, work: &mut Work) -> Result<String, String> {
        let Some(template) = &self.parsed else {
            return Ok(self.text.to_string());
        };
        let data = Value::Map(Arc::clone(&data.0));
        let rendered = contained(|| {
            let mut output = Output::up_to(MAX_OUTPUT);
            match engine::executed(template, &mut output, &data, work) {
                Ok(()) => Ok(output.text),
                Err(_) if output.overflowed => Err(format!("it writes more than {MAX_OUTPUT} bytes")),
                Err(error) => Err(clipped(error.to_string().trim_start_matches("execution error: "))),
            }
        });
        rendered.unwrap_or_else(|| Err(PANICKED.to_owned()))
    }

    /// The template as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

const PANICKED: &str = "the template engine cannot cope with it";

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

// === impl Data ===

impl Data {
    /// Gives a name its text, in place of what it had.
    pub fn set(&mut self, name: &str, text: &str) {
        Arc::make_mut(&mut self.0).insert(name.into(), text.into());
    }
}

// === impl Promtail ===

impl Dialect for Promtail {
    fn function(&self, name: &str) -> Result<(), String> {
        functions::known(name)
    }

    fn prints(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;

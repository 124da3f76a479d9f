//! `loki-pipeline`, `loki-pipeline-stages` and `loki-pipeline-stage-file`: stages by name, as text, or in a file.

use super::options::{self as keys, OptionError};
use super::reader::Reader;
use super::refusal::Refusal;
use crate::pipeline::{Form, Pipeline, presets};

/// What to do, at the end of every complaint.
const HELP: &str = "try [{labels: {level: }}], and loki-rs pipeline check FILE";

/// The same for presets.
const PRESETS_HELP: &str = "try json,redact-email, and loki-rs pipeline show json";

/// A pipeline that can be used, and the text that it was made from.
#[derive(Clone, Debug)]
pub struct Configured {
    text: String,
    pipeline: Pipeline,
}

// === impl Configured ===

impl Configured {
    fn new(text: &str, form: Form) -> Result<Option<Configured>, String> {
        let pipeline = Pipeline::parse(text, form).map_err(|error| error.reasons().join("; "))?;
        Ok((!pipeline.is_empty()).then(|| Configured { text: text.to_owned(), pipeline }))
    }

    /// These stages first, those of `other` behind them.
    fn then(self, other: Configured) -> Configured {
        // A NUL is in no YAML, so no two pairs have the same text.
        let text = format!("{}\0{}", self.text, other.text);
        Configured { text, pipeline: self.pipeline.then(other.pipeline) }
    }

    /// A pipeline that has seen nothing.
    pub fn pipeline(&self) -> Pipeline {
        self.pipeline.clone()
    }
}

impl PartialEq for Configured {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Configured {}

// === impl Reader ===

impl Reader<'_> {
    /// The stages of presets, and behind them those that were written. Either is the container's or else the plugin's.
    /// `None` also when there is an error on record.
    pub(super) fn pipeline(&mut self) -> Option<Configured> {
        let (presets, written) = (self.presets(), self.written());
        match (presets, written) {
            (Some(presets), Some(written)) => Some(presets.then(written)),
            (presets, written) => presets.or(written),
        }
    }

    fn presets(&mut self) -> Option<Configured> {
        let (_, names) = self.said(keys::LOKI_PIPELINE)?;
        let made = presets::expand(names).and_then(|text| Configured::new(&text, Form::List));
        made.unwrap_or_else(|why| {
            let reason = format!("is not a list of presets: {why} ({PRESETS_HELP})");
            self.errors.push(OptionError::new(keys::LOKI_PIPELINE, Refusal::new(names, reason)));
            None
        })
    }

    /// What a container says replaces what the plugin was set to, in either form.
    fn written(&mut self) -> Option<Configured> {
        let (stages, file) = (self.said(keys::LOKI_PIPELINE_STAGES), self.said(keys::LOKI_PIPELINE_STAGE_FILE));
        match (stages, file) {
            (Some((one, _)), Some((other, _))) if one == other => {
                self.contradiction(keys::LOKI_PIPELINE_STAGE_FILE, keys::LOKI_PIPELINE_STAGES);
                None
            }
            (Some((who, text)), file) if file.is_none_or(|(other, _)| other < who) => self.typed(text),
            (_, Some((_, path))) => self.in_file(path),
            (_, None) => None,
        }
    }

    fn typed(&mut self, text: &str) -> Option<Configured> {
        let refuse = |why: String| {
            Refusal::new(text, format!("is not a YAML list of stages: {} ({HELP})", why.replace("; ", ", ")))
        };
        let made = Configured::new(text, Form::List).map_err(refuse);
        made.unwrap_or_else(|refusal| {
            self.errors.push(OptionError::new(keys::LOKI_PIPELINE_STAGES, refusal));
            None
        })
    }

    fn in_file(&mut self, path: &str) -> Option<Configured> {
        let key = keys::LOKI_PIPELINE_STAGE_FILE;
        let file = self.file(key, path);
        let read = file
            .read()
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| file.flaw("is not UTF-8 text (save it as UTF-8)")));
        let made = read.and_then(|text| {
            Configured::new(&text, Form::Either).map_err(|why| {
                file.flaw(format!("is not a file with pipeline_stages: {} ({HELP})", why.replace("; ", ", ")))
            })
        });
        made.unwrap_or_else(|flaw| {
            self.errors.push(OptionError::new(key, flaw.reason));
            None
        })
    }
}

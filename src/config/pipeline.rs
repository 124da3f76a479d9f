//! `loki-pipeline`, `loki-pipeline-stages` and `loki-pipeline-stage-file`: stages by name, as text, or in a file.
//!
//! Options are parsed without access to files. So a file system that hangs, or a missing file, delays no call of
//! dockerd and not the start of the plugin. Files are opened afterwards, see [`Configured::open`].

use super::options::{self as keys, OptionError};
use super::reader::Reader;
use base::files::{self, Folders, Named};
use base::refusal::Refusal;
use loki::transport::Material;
use promtail::pipeline::{Draft, Form, Pipeline, PipelineError, presets};

/// The advice at the end of every error.
const HELP: &str = "try [{labels: {level: }}], and loki-rs pipeline check FILE";

/// The same for presets.
const PRESETS_HELP: &str = "try json,redact-email, and loki-rs pipeline show json";

/// The configured stages, in the order in which they run. No file that they name was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    parts: Vec<Part>,
    /// The folders in which files of stages may be.
    folders: Folders,
}

/// The stages of one option.
#[derive(Clone, Debug)]
enum Part {
    /// Stages as text, compiled.
    Typed { option: &'static str, text: String, stages: Draft },
    /// Stages in a file.
    File(Material),
}

/// Why a file cannot be used: a sentence with the option, the path, the reason and the advice.
pub type Flawed = String;

// === impl Configured ===

impl Configured {
    fn typed(option: &'static str, text: &str, folders: Folders) -> Result<Option<Configured>, String> {
        let stages = Draft::parse(text, Form::List).map_err(reasons)?;
        let is_empty = stages.is_empty();
        let parts = vec![Part::Typed { option, text: text.to_owned(), stages }];
        Ok((!is_empty).then_some(Configured { parts, folders }))
    }

    /// Whether any file is needed. A file with stages may name further ones.
    pub fn names_files(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Typed { stages, .. } => !stages.files().is_empty(),
            Part::File(_) => true,
        })
    }

    /// The stages, if they need no file.
    pub fn ready(&self) -> Option<Pipeline> {
        let stages = self.parts.iter().map(|part| match part {
            Part::Typed { stages, .. } if stages.files().is_empty() => stages.open(&self.folders).ok(),
            _ => None,
        });
        stages.reduce(|before, behind| Some(before?.then(behind?))).flatten()
    }

    /// Reads the files with stages and opens those that stages name. Waits at most [`files::PATIENCE`] for each file
    /// that hangs. `None` when there are no stages.
    ///
    /// # Errors The first file that cannot be used.
    pub async fn open(&self) -> Result<Option<Pipeline>, Flawed> {
        let mut all: Option<Pipeline> = None;
        for part in &self.parts {
            let (option, stages) = match part {
                Part::Typed { option, stages, .. } => (*option, stages.clone()),
                Part::File(file) => (file.option, read(file).await?),
            };
            if stages.is_empty() {
                continue;
            }
            let folders = self.folders.clone();
            let named = stages.files().into_iter().filter_map(|file| folders.name(file).ok());
            let looked_at: Vec<_> = named.flat_map(|file| file.paths().collect::<Vec<_>>()).collect();
            let opened =
                files::look(looked_at.iter().map(|file| files::folder(file)), move || stages.open(&folders)).await;
            let opened =
                opened.map_err(|silent| format!("{option}: a file that a stage names cannot be read: {silent}"))?;
            let opened = opened.map_err(|error| format!("{option}: {}", reasons(error)))?;
            all = Some(match all {
                Some(before) => before.then(opened),
                None => opened,
            });
        }
        Ok(all)
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Part::Typed { text, .. }, Part::Typed { text: other, .. }) => text == other,
            (Part::File(file), Part::File(other)) => file == other,
            _ => false,
        }
    }
}

impl Eq for Part {}

/// Parses the stages in a file.
async fn read(file: &Material) -> Result<Draft, Flawed> {
    let folders: Vec<_> = file.named().into_iter().flat_map(Named::paths).map(|path| files::folder(&path)).collect();
    let own = file.clone();
    let look = files::look(folders, move || {
        let text = own
            .read()
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| own.flaw("is not UTF-8 text (save it as UTF-8)")))?;
        Draft::parse(&text, Form::Either)
            .map_err(|error| own.flaw(format!("is not a file with pipeline_stages{}", places(&error))))
    });
    match look.await {
        Ok(read) => read.map_err(|flaw| flaw.to_string()),
        Err(silent) => Err(file.unread(silent).to_string()),
    }
}

/// The positions of mistakes in a file. The user who named it may not be allowed to read it, so none of its content is
/// shown.
fn places(error: &PipelineError) -> String {
    let places: Vec<_> = error
        .places()
        .iter()
        .take(3)
        .map(|place| format!(", see line {}, column {}", place.line, place.column))
        .collect();
    format!("{} (loki-rs pipeline check FILE says what is wrong there)", places.concat())
}

/// All mistakes of stages, as one part of a sentence.
fn reasons(error: PipelineError) -> String {
    error.reasons().join(", ").replace("; ", ", ")
}

// === impl Reader ===

impl Reader<'_> {
    /// The stages of presets, followed by the configured ones. For each the container's option replaces the plugin's.
    /// `None` also when an error was recorded.
    pub(super) fn pipeline(&mut self) -> Option<Configured> {
        let (presets, written) = (self.presets(), self.written());
        match (presets, written) {
            (Some(mut presets), Some(mut written)) => {
                presets.parts.append(&mut written.parts);
                Some(presets)
            }
            (presets, written) => presets.or(written),
        }
    }

    fn presets(&mut self) -> Option<Configured> {
        let (_, names) = self.said(keys::LOKI_PIPELINE)?;
        let made = presets::expand(names)
            .and_then(|text| Configured::typed(keys::LOKI_PIPELINE, &text, self.defaults.folders()));
        made.unwrap_or_else(|why| {
            let reason = format!("is not a list of presets: {why} ({PRESETS_HELP})");
            self.errors.push(OptionError::new(keys::LOKI_PIPELINE, Refusal::new(names, reason)));
            None
        })
    }

    /// The configured stages. A container's option replaces the plugin's, whichever form each has.
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
        let refuse = |why: String| Refusal::new(text, format!("is not a YAML list of stages: {why} ({HELP})"));
        let made = Configured::typed(keys::LOKI_PIPELINE_STAGES, text, self.defaults.folders()).map_err(refuse);
        made.unwrap_or_else(|refusal| {
            self.errors.push(OptionError::new(keys::LOKI_PIPELINE_STAGES, refusal));
            None
        })
    }

    fn in_file(&mut self, path: &str) -> Option<Configured> {
        let parts = vec![Part::File(self.file(keys::LOKI_PIPELINE_STAGE_FILE, path)?)];
        Some(Configured { parts, folders: self.defaults.folders() })
    }
}

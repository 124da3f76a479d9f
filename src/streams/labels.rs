//! Builds the labels of a container's two streams from its description, once per container.
//!
//! The order is that of Grafana's driver, and later steps overwrite earlier ones:
//!
//! 1. `loki-external-labels`, whose values are templates over the container;
//! 2. the options `labels`, `labels-regex`, `env`, `env-regex`, in this order;
//! 3. labels of Swarm and Compose, if present: `swarm_service`, `swarm_stack`, `compose_service`, `compose_project`;
//! 4. `host`, the name of the host, unless an earlier step has set it;
//! 5. `filename` with `loki-filename-label`, likewise;
//! 6. `source`, `stdout` or `stderr`, which makes two streams of one container, and the rules of `loki-relabel-config`:
//!    [`sources`](super::sources).
//!
//! The label of the option `tag` comes after those of step 2.
//!
//! Different from Grafana's driver: `filename` exists only on request (it makes new streams with every container), a
//! custom `host` stays, and rules see `source`. Invalid names are corrected instead of failing every push, and
//! `labels-regex` and `tag` work. An empty value means no label, so `loki-external-labels=host=` removes the host.

use std::collections::BTreeMap;

use super::metadata::metadata;
use super::sources::{SOURCE, Stream, Streams, streams};
use crate::config::{Destination, LabelOptions};
use crate::template;
use base::maps::map_of;
use base::refusal::quote;
use dockerd::info::Info;
use dockerd::source::Source;
use go_compat::work::{self, Work};
use loki::labels::{LabelName, MAX_NAME};

/// Labels that Docker's orchestrators set on a container, and their names in Loki.
const AUTOMATIC: [(&str, &str); 4] = [
    ("swarm_service", "com.docker.swarm.service.name"),
    ("swarm_stack", "com.docker.stack.namespace"),
    ("compose_service", "com.docker.compose.service"),
    ("compose_project", "com.docker.compose.project"),
];

const HOST: &str = "host";
const TAG: &str = "tag";
const FILENAME: &str = "filename";

/// The labels of a container, and the structured metadata of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLabels {
    streams: Streams,
    metadata: Vec<(String, String)>,
    /// Notes about corrected or replaced labels, to be logged.
    pub notes: Vec<String>,
}

/// Labels under construction, each with its origin.
#[derive(Default)]
struct Draft {
    labels: BTreeMap<LabelName, Origin>,
    notes: Vec<String>,
}

struct Origin {
    value: String,
    /// The origin in words, for a note: `container label "app"`.
    place: String,
}

/// The name of the host as the kernel reports it; empty if it does not.
///
/// A plugin has a copy that was made when it started.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_default()
}

/// Builds the labels of a container.
///
/// # Errors
///
/// One sentence for each template that fails for this container, and for each problem for which Loki would reject every
/// push. The container should not start then.
pub fn build(info: &Info, options: &LabelOptions, hostname: &str) -> Result<ContainerLabels, Vec<String>> {
    let mut draft = Draft::default();
    let mut errors = Vec::new();

    let mut work = Work::of(work::LABELS);
    for (name, template) in &options.external {
        match template::render(template, info, hostname, &mut work) {
            Ok(value) => draft.set(name.clone(), value, "loki-external-labels".to_owned()),
            Err(error) => errors.push(format!(
                "loki-external-labels: the template of {name} does not go with this container: \
                 {error}"
            )),
        }
    }
    draft.pick(info, options);
    match options.tag.as_ref().map(|template| template::render(template, info, hostname, &mut work)) {
        Some(Ok(value)) => draft.set(LabelName::known(TAG), value, "the option tag".to_owned()),
        Some(Err(error)) => errors.push(format!("tag: the template does not go with this container: {error}")),
        None => {}
    }
    for (name, label) in AUTOMATIC {
        let value = info.container_labels.get(label);
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let place = format!("container label {}", quote(label));
            draft.set(LabelName::known(name), value.clone(), place);
        }
    }
    draft.set_default(HOST, hostname);
    if options.filename {
        // The path that Grafana's driver uses.
        draft.set_default(FILENAME, &format!("/var/log/docker/{}/json.log", info.container_id));
    }
    let (common, mut notes) = draft.finish();

    let streams = collect(streams(&common, &options.relabel), &mut notes, &mut errors);
    let metadata = metadata(info, &options.metadata).map_err(|error| vec![error]);
    let metadata = collect(metadata, &mut notes, &mut errors);
    match (streams, metadata) {
        (Some(streams), Some(metadata)) if errors.is_empty() => Ok(ContainerLabels { streams, metadata, notes }),
        _ => Err(errors),
    }
}

/// Returns a result's value, and adds its notes and errors to the others.
fn collect<T>(
    made: Result<(T, Vec<String>), Vec<String>>,
    notes: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Option<T> {
    match made {
        Ok((made, more)) => {
            notes.extend(more);
            Some(made)
        }
        Err(more) => {
            errors.extend(more);
            None
        }
    }
}

// === impl ContainerLabels ===

impl ContainerLabels {
    /// The stream of one output; `None` if its lines are not sent.
    pub fn stream(&self, source: Source) -> Option<&Stream> {
        self.streams[source.index()].as_ref()
    }

    /// The destination of the container: `typed`, under the tenant in its labels if they name one for all lines. So
    /// containers share an outage only with those of their own tenant.
    pub fn target(&self, typed: &Destination) -> Destination {
        let mut tenants = self.streams.iter().flatten().map(|stream| stream.tenant.as_ref());
        let first = tenants.next().flatten();
        let mut target = typed.clone();
        if first.is_some() && tenants.all(|other| other == first) {
            target.tenant_id = first.cloned();
        }
        target
    }

    /// The structured metadata of each line.
    pub fn structured_metadata(&self) -> Vec<(String, String)> {
        self.metadata.clone()
    }
}

// === impl Draft ===

impl Draft {
    /// Sets a label and replaces an earlier one, with a note if the value changes.
    fn set(&mut self, name: LabelName, value: String, place: String) {
        if let Some(earlier) = self.labels.get(&name)
            && earlier.value != value
        {
            let earlier = &earlier.place;
            self.notes.push(format!("label {name}: {place} replaces {earlier}"));
        }
        self.labels.insert(name, Origin { value, place });
    }

    fn set_default(&mut self, name: &'static str, value: &str) {
        let (value, place) = (value.to_owned(), String::new());
        let label = self.labels.entry(LabelName::known(name));
        label.or_insert(Origin { value, place });
    }

    /// Selects labels like Docker's `ExtraAttributes`: exact names, then patterns on names, labels before environment.
    fn pick(&mut self, info: &Info, options: &LabelOptions) {
        let labels = info.container_labels.iter();
        let labels = labels.map(|(key, value)| (key.as_str(), value.as_str()));
        for (kind, values, exact, pattern) in [
            ("container label", map_of(labels), &options.labels, &options.labels_regex),
            ("environment variable", info.env(), &options.env, &options.env_regex),
        ] {
            let exact = exact.iter();
            let exact = exact.filter_map(|key| values.get_key_value(key.as_str())).map(|pair| (pair, true));
            let matches = |key| pattern.as_ref().is_some_and(|pattern| pattern.is_match(key));
            let matching = values.iter().filter(|(key, _)| matches(key)).map(|pair| (pair, false));
            for ((key, value), is_named) in exact.chain(matching) {
                // Docker allows a label without a name; Loki has no such label.
                let Ok(name) = LabelName::sanitise(key) else {
                    continue;
                };
                let place = format!("{kind} {}", quote(key));
                // Such names are for relabelling, and one of them is the tenant: an image must not set them by
                // accident.
                if name.as_str().starts_with("__") && !(is_named && name.as_str() == *key) {
                    let note =
                        format!("{place} is left out: {name} is a name for relabelling, which only an option can give");
                    self.notes.push(note);
                    continue;
                }
                if key.len() > MAX_NAME {
                    let note = format!("the name of {place} is cut to {MAX_NAME} bytes, Loki's limit");
                    self.notes.push(note);
                }
                self.set(name, value.to_string(), place);
            }
        }
    }

    /// Removes empty labels, as Loki would.
    fn finish(mut self) -> (BTreeMap<String, String>, Vec<String>) {
        let mut common = BTreeMap::new();
        for (name, Origin { value, place }) in self.labels {
            if name.as_str() == SOURCE {
                let note = format!("label {name}: stdout or stderr replaces {place}");
                self.notes.push(note);
            } else if !value.is_empty() {
                common.insert(name.as_str().to_owned(), value);
            }
        }
        (common, self.notes)
    }
}

#[cfg(test)]
mod tests;

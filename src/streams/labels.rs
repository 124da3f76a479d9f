//! From what dockerd says of a container to the labels of its two streams, once per container.
//!
//! The order is that of Grafana's driver, and later steps overwrite earlier ones:
//!
//! 1. `loki-external-labels`, whose values are templates over the container;
//! 2. what the options pick: `labels`, `labels-regex`, `env`, `env-regex`, in this order;
//! 3. what swarm and compose say, where they do: `swarm_service`, `swarm_stack`,
//!    `compose_service`, `compose_project`;
//! 4. `host`, the name of the host, unless one of the above has set it;
//! 5. `filename` with `loki-filename-label`, likewise;
//! 6. `source`, `stdout` or `stderr`, which makes two streams of one container, and the rules of `loki-relabel-config`:
//!    [`sources`](super::sources).
//!
//! The label of the option `tag` comes behind those of step 2.
//!
//! Different from Grafana's driver: there is no `filename` unless it is asked for (it makes new streams with every
//! container), a `host` of one's own stays, rules see `source`, names are mended instead of costing every push, and
//! `labels-regex` and `tag` work. An empty value means no label, so `loki-external-labels=host=` leaves the host out.

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

/// Labels that Docker's orchestrators leave on a container, and their names in Loki.
const AUTOMATIC: [(&str, &str); 4] = [
    ("swarm_service", "com.docker.swarm.service.name"),
    ("swarm_stack", "com.docker.stack.namespace"),
    ("compose_service", "com.docker.compose.service"),
    ("compose_project", "com.docker.compose.project"),
];

const HOST: &str = "host";
const TAG: &str = "tag";
const FILENAME: &str = "filename";

/// Labels of a container, and what goes beside its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLabels {
    streams: Streams,
    metadata: Vec<(String, String)>,
    /// What was mended or replaced, to be logged.
    pub notes: Vec<String>,
}

/// Labels on their way: each with the place it comes from.
#[derive(Default)]
struct Draft {
    labels: BTreeMap<LabelName, Origin>,
    notes: Vec<String>,
}

struct Origin {
    value: String,
    /// In words, for a note: `container label "app"`.
    place: String,
}

/// The name of the host as the kernel tells it; empty if it does not.
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
/// One sentence for each template that does not go with this container, and for each thing that would make Loki refuse
/// every push: the container had better not start.
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
        // Where Grafana's driver has it.
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

/// What was made, with its notes and errors put to the others.
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
    /// Where lines of one of the two outputs go; `None`: nowhere.
    pub fn stream(&self, source: Source) -> Option<&Stream> {
        self.streams[source.index()].as_ref()
    }

    /// The destination of a container that was given `typed`: under the tenant that its labels name, if they name one
    /// for all that is sent. So containers share an outage only with those of their own tenant.
    pub fn target(&self, typed: &Destination) -> Destination {
        let mut tenants = self.streams.iter().flatten().map(|stream| stream.tenant.as_ref());
        let first = tenants.next().flatten();
        let mut target = typed.clone();
        if first.is_some() && tenants.all(|other| other == first) {
            target.tenant_id = first.cloned();
        }
        target
    }

    /// What goes with each line without being part of its stream.
    pub fn structured_metadata(&self) -> Vec<(String, String)> {
        self.metadata.clone()
    }
}

// === impl Draft ===

impl Draft {
    /// Sets a label in place of an earlier one, with a note if that makes a difference.
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

    /// Docker's `ExtraAttributes`: exact names, then patterns on names, labels before environment.
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
                // Docker allows a label without a name; there is no such label in Loki.
                let Ok(name) = LabelName::sanitise(key) else {
                    continue;
                };
                let place = format!("{kind} {}", quote(key));
                // Such names are for relabelling, and one of them is the tenant: nothing that an image happens to have.
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

    /// Leaves out what is empty, as Loki would.
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

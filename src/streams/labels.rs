//! From what dockerd says of a container to the labels of its two streams, once per container.
//!
//! The order is that of Grafana's driver, and later steps overwrite earlier ones:
//!
//! 1. `loki-external-labels`, whose values are templates over the container;
//! 2. what the options pick: `labels`, `labels-regex`, `env`, `env-regex`, in this order;
//! 3. what swarm and compose say, where they do: `swarm_service`, `swarm_stack`,
//!    `compose_service`, `compose_project`;
//! 4. `host`, the name of the host, unless one of the above has set it;
//! 5. `source`, `stdout` or `stderr`, which makes two streams of one container.
//!
//! Different from Grafana's driver: there is no `filename` (it makes new streams with every
//! container), a `host` of one's own stays, names are mended instead of costing every push, and
//! `labels-regex` works. An empty value means no label, so `loki-external-labels=host=` leaves the
//! host out.

use std::collections::BTreeMap;

use crate::codec::source::Source;
use crate::config::LabelOptions;
use crate::config::refusal::quote;
use crate::loki::labels::{LabelName, LabelSet, MAX_LABELS, MAX_NAME};
use crate::streams::info::Info;
use crate::template;

/// Labels that Docker's orchestrators leave on a container, and their names in Loki.
const AUTOMATIC: [(&str, &str); 4] = [
    ("swarm_service", "com.docker.swarm.service.name"),
    ("swarm_stack", "com.docker.stack.namespace"),
    ("compose_service", "com.docker.compose.service"),
    ("compose_project", "com.docker.compose.project"),
];

/// Added by Loki itself if nobody sets it, and not counted against the limit.
const SERVICE_NAME: &str = "service_name";

/// Labels that a complaint about too many of them names.
const NAMED: usize = 30;

const HOST: &str = "host";
const SOURCE: &str = "source";

/// Labels of a container, and what goes beside its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLabels {
    /// All but `source`.
    common: LabelSet,
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
/// One sentence for each template that does not go with this container, and one if there are more
/// labels than Loki takes. Loki would refuse every push, so the container had better not start.
pub fn build(info: &Info, options: &LabelOptions, hostname: &str) -> Result<ContainerLabels, Vec<String>> {
    let mut draft = Draft::default();
    let mut errors = Vec::new();

    for (name, template) in &options.external {
        match template::render(template, info, hostname) {
            Ok(value) => draft.set(name.clone(), value, "loki-external-labels".to_owned()),
            Err(error) => errors.push(format!(
                "loki-external-labels: the template of {name} does not go with this container: \
                 {error}"
            )),
        }
    }
    draft.pick(info, options);
    for (name, label) in AUTOMATIC {
        let value = info.container_labels.get(label);
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let place = format!("container label {}", quote(label));
            draft.set(LabelName::known(name), value.clone(), place);
        }
    }
    draft.set_default(HOST, hostname);
    let (common, notes) = draft.finish();

    if let Err(error) = few_enough(&common) {
        errors.push(error);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let metadata = [("container_id", &info.container_id), ("image_name", &info.container_image_name)];
    let metadata = metadata.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(ContainerLabels {
        common,
        metadata: metadata.map(|(name, value)| (name.to_owned(), value.clone())).collect(),
        notes,
    })
}

/// Loki refuses a stream with more names than its limit, lines and all.
fn few_enough(common: &LabelSet) -> Result<(), String> {
    let mut names: Vec<&str> = common.iter().map(|(name, _)| name.as_str()).collect();
    names.push(SOURCE);
    names.retain(|name| *name != SERVICE_NAME);
    let count = names.len();
    if count <= MAX_LABELS {
        return Ok(());
    }
    names.truncate(NAMED);
    let more = match count - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(format!(
        "{count} labels are more than the {MAX_LABELS} that Loki takes: {}{more} (pick fewer with \
         labels, labels-regex, env, env-regex or loki-external-labels)",
        names.join(", ")
    ))
}

// === impl ContainerLabels ===

impl ContainerLabels {
    /// The labels of the stream that carries one of the two outputs.
    pub fn stream(&self, source: Source) -> LabelSet {
        let mut labels = self.common.clone();
        labels.insert(LabelName::known(SOURCE), source.as_str());
        labels
    }

    /// What goes with each line without being part of its stream: values that change with every
    /// container, and would make a new stream each time.
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
            ("container label", labels.collect(), &options.labels, &options.labels_regex),
            ("environment variable", info.env(), &options.env, &options.env_regex),
        ] {
            let exact = exact.iter();
            let exact = exact.filter_map(|key| values.get_key_value(key.as_str()));
            let matches = |key| pattern.as_ref().is_some_and(|pattern| pattern.is_match(key));
            let matching = values.iter().filter(|(key, _)| matches(key));
            for (key, value) in exact.chain(matching) {
                // Docker allows a label without a name; there is no such label in Loki.
                let Ok(name) = LabelName::sanitise(key) else {
                    continue;
                };
                let place = format!("{kind} {}", quote(key));
                if key.len() > MAX_NAME {
                    let note = format!("the name of {place} is cut to {MAX_NAME} bytes, Loki's limit");
                    self.notes.push(note);
                }
                self.set(name, value.to_string(), place);
            }
        }
    }

    /// Leaves out what is empty, as Loki would.
    fn finish(mut self) -> (LabelSet, Vec<String>) {
        let mut set = LabelSet::new();
        for (name, Origin { value, place }) in self.labels {
            if name.as_str() == SOURCE {
                let note = format!("label {name}: stdout or stderr replaces {place}");
                self.notes.push(note);
            } else if !value.is_empty() {
                self.notes.extend(set.insert(name, value));
            }
        }
        (set, self.notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PluginDefaults, StreamOptions};
    use proptest::prelude::*;

    /// A container of compose, with a few labels and variables of its own.
    fn info() -> Info {
        let labels = [
            ("app", "web"),
            ("app.kubernetes.io/name", "shop"),
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "front"),
            ("com.docker.swarm.service.name", ""),
            ("com.example.empty", ""),
            ("tier", "from label"),
        ];
        let env = ["APP_ENV=prod", "APP_TIER=one=1", "tier=from env", "odd", "DUP=1", "DUP=2"];
        Info {
            container_id: "d4f0a7b6c5e4".repeat(5) + "d4f0",
            container_name: "/shop-front-1".to_owned(),
            container_image_name: "shop:1.2".to_owned(),
            container_labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            container_env: env.map(str::to_owned).into(),
            ..Info::default()
        }
    }

    fn options(pairs: &[(&str, &str)]) -> LabelOptions {
        let mut typed = BTreeMap::from([("loki-url".to_owned(), "http://loki/x".to_owned())]);
        typed.extend(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        StreamOptions::parse(&typed, &PluginDefaults::default()).unwrap().labels
    }

    fn built(pairs: &[(&str, &str)]) -> ContainerLabels {
        build(&info(), &options(pairs), "box").unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    #[test]
    fn labels_come_in_grafanas_order() {
        const COMPOSE: &str = "compose_project=\"shop\", compose_service=\"front\"";
        for (pairs, expected) in [
            (&[][..], format!("{{{COMPOSE}, container_name=\"shop-front-1\", host=\"box\", source=\"stdout\"}}")),
            (&[("loki-external-labels", "")], format!("{{{COMPOSE}, host=\"box\", source=\"stdout\"}}")),
            (
                &[("loki-external-labels", "job=docker,name={{.Name | upper}}")],
                format!(
                    "{{{COMPOSE}, host=\"box\", job=\"docker\", name=\"SHOP-FRONT-1\", \
                     source=\"stdout\"}}"
                ),
            ),
            (
                &[("loki-external-labels", "host=mine,compose_service=mine")],
                format!("{{{COMPOSE}, host=\"mine\", source=\"stdout\"}}"),
            ),
            (&[("loki-external-labels", "host=")], format!("{{{COMPOSE}, source=\"stdout\"}}")),
            (
                &[("loki-external-labels", "host={{.Hostname}}-1,source=mine")],
                format!("{{{COMPOSE}, host=\"box-1\", source=\"stdout\"}}"),
            ),
            (
                &[("loki-external-labels", ""), ("labels", "app,none,com.example.empty,tier")],
                format!(
                    "{{app=\"web\", {COMPOSE}, host=\"box\", source=\"stdout\", \
                     tier=\"from label\"}}"
                ),
            ),
            (
                &[("loki-external-labels", ""), ("labels", "tier"), ("env", "tier,DUP,APP_TIER,odd, APP_ENV")],
                format!(
                    "{{APP_TIER=\"one=1\", DUP=\"2\", {COMPOSE}, host=\"box\", source=\"stdout\", \
                     tier=\"from env\"}}"
                ),
            ),
            (
                &[("loki-external-labels", ""), ("labels-regex", "^app"), ("env-regex", "ENV$")],
                format!(
                    "{{APP_ENV=\"prod\", app=\"web\", app_kubernetes_io_name=\"shop\", {COMPOSE}, \
                     host=\"box\", source=\"stdout\"}}"
                ),
            ),
            (
                &[("loki-external-labels", "tier=external,app=x"), ("labels", "tier")],
                format!("{{app=\"x\", {COMPOSE}, host=\"box\", source=\"stdout\", tier=\"from label\"}}"),
            ),
        ] {
            assert_eq!(built(pairs).stream(Source::Stdout).to_string(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_two_streams_differ_in_their_source_only() {
        let labels = built(&[]);
        let [stdout, stderr] = Source::ALL.map(|source| labels.stream(source));
        assert_eq!((stdout.get("source"), stderr.get("source")), (Some("stdout"), Some("stderr")));
        assert_eq!(stdout.to_string().replace("stdout", "stderr"), stderr.to_string());
    }

    #[test]
    fn ids_go_beside_the_lines() {
        let expected =
            [("container_id".to_owned(), info().container_id), ("image_name".to_owned(), "shop:1.2".to_owned())];
        assert_eq!(built(&[]).structured_metadata(), expected);
        let bare = build(&Info::default(), &options(&[]), "").unwrap();
        assert_eq!(bare.structured_metadata(), []);
        assert_eq!(bare.stream(Source::Stderr).to_string(), "{source=\"stderr\"}");
    }

    #[test]
    fn what_is_replaced_or_cut_is_noted() {
        let long = "x".repeat(3_000);
        let cut = format!("a={long}");
        for (pairs, notes) in [
            (&[][..], &[][..]),
            // One value from two places is no conflict.
            (&[("labels", "app"), ("labels-regex", "^app$")], &[]),
            (
                &[("labels", "tier"), ("env", "tier")],
                &["label tier: environment variable \"tier\" replaces container label \"tier\""],
            ),
            (
                &[("labels-regex", "^app"), ("loki-external-labels", "app-kubernetes.io/name=x")],
                &["label app_kubernetes_io_name: container label \"app.kubernetes.io/name\" replaces \
                   loki-external-labels"],
            ),
            (
                &[("loki-external-labels", "compose_service=mine")],
                &["label compose_service: container label \"com.docker.compose.service\" replaces \
                   loki-external-labels"],
            ),
            (
                &[("loki-external-labels", "source=mine")],
                &["label source: stdout or stderr replaces loki-external-labels"],
            ),
            (&[("loki-external-labels", &cut)], &["the value of label a is cut from 3000 to 2048 bytes, Loki's limit"]),
        ] {
            assert_eq!(built(pairs).notes, notes, "{pairs:?}");
        }
    }

    #[test]
    fn templates_that_do_not_fit_are_all_told() {
        let options = options(&[("loki-external-labels", "a={{.Nmae}},b={{.Name}},c={{upper 1}}")]);
        let errors = build(&info(), &options, "box").unwrap_err();
        assert_eq!(errors.len(), 2);
        for (error, start) in errors.iter().zip([
            "loki-external-labels: the template of a does not go with this container: \
             there is no field or method Nmae",
            "loki-external-labels: the template of c does not go with this container: \
             upper: argument 1 is to be a string, and is a number",
        ]) {
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn more_labels_than_loki_takes_are_refused() {
        let many = |count: usize| {
            let pairs: Vec<String> = (1..=count).map(|n| format!("l{n:02}=x")).collect();
            let external = format!("service_name=x,empty=,{}", pairs.join(","));
            build(&info(), &options(&[("loki-external-labels", &external)]), "box")
        };
        // compose_project, compose_service, host and source are there anyhow.
        assert_eq!(many(11).unwrap().stream(Source::Stdout).len(), 16);
        let errors = many(12).unwrap_err();
        assert_eq!(
            errors,
            ["16 labels are more than the 15 that Loki takes: compose_project, compose_service, \
              host, l01, l02, l03, l04, l05, l06, l07, l08, l09, l10, l11, l12, source (pick fewer \
              with labels, labels-regex, env, env-regex or loki-external-labels)"]
        );
    }

    #[test]
    fn names_that_are_too_long_or_too_many_are_told_briefly() {
        let mut info = info();
        info.container_labels = [("x".repeat(2_000), "1".to_owned())].into();
        let labels = build(&info, &options(&[("labels-regex", "^x")]), "box").unwrap();
        let note = format!("the name of container label \"{}…\" is cut to 1024 bytes, Loki's limit", "x".repeat(200));
        assert_eq!(labels.notes, [note]);
        assert_eq!(labels.stream(Source::Stdout).get(&"x".repeat(1_024)), Some("1"));

        info.container_labels = (0..50).map(|n| (format!("x{n:02}"), "1".to_owned())).collect();
        let errors = build(&info, &options(&[("labels-regex", "^x")]), "box").unwrap_err();
        assert!(errors[0].starts_with("53 labels are more than the 15"), "{errors:?}");
        assert!(errors[0].contains("x27 and 23 more (pick fewer"), "{errors:?}");
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(!hostname().is_empty());
    }

    proptest! {
        #[test]
        fn the_same_container_always_gets_the_same_labels(
            labels in proptest::collection::btree_map("[ab._-]{0,3}", "[xy\"]{0,2}", 0..8),
            env in proptest::collection::vec("[ab._=-]{0,5}", 0..8),
        ) {
            let info = Info { container_labels: labels, container_env: env, ..Info::default() };
            let options = options(&[("labels-regex", "a|b"), ("env-regex", "."), ("labels", "a,b,")]);
            let mut shuffled = info.clone();
            shuffled.container_env.dedup();
            prop_assert_eq!(build(&info, &options, "box"), build(&shuffled, &options, "box"));
        }
    }
}

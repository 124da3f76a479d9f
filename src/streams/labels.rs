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
use crate::codec::source::Source;
use crate::config::refusal::quote;
use crate::config::{Destination, LabelOptions};
use crate::loki::labels::{LabelName, MAX_NAME};
use crate::streams::info::Info;
use crate::template;

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
    match options.tag.as_ref().map(|template| template::render(template, info, hostname)) {
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
            ("container label", labels.collect(), &options.labels, &options.labels_regex),
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

    fn labels_of(labels: &ContainerLabels, source: Source) -> String {
        labels.stream(source).map_or_else(String::new, |stream| stream.labels.to_string())
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
            (
                &[("loki-external-labels", "tag=mine"), ("tag", "{{.Name}}/{{.ImageName}}")],
                format!("{{{COMPOSE}, host=\"box\", source=\"stdout\", tag=\"shop-front-1/shop:1.2\"}}"),
            ),
            (
                &[("loki-external-labels", ""), ("loki-filename-label", "true")],
                format!(
                    "{{{COMPOSE}, filename=\"/var/log/docker/{}/json.log\", host=\"box\", source=\"stdout\"}}",
                    info().container_id
                ),
            ),
            (
                &[("loki-external-labels", "filename=mine"), ("loki-filename-label", "true")],
                format!("{{{COMPOSE}, filename=\"mine\", host=\"box\", source=\"stdout\"}}"),
            ),
            (
                &[(
                    "loki-relabel-config",
                    "[{action: labelmap, regex: compose_(.*)}, {action: labelkeep, regex: '[^_]*'}]",
                )],
                "{host=\"box\", project=\"shop\", service=\"front\", source=\"stdout\"}".to_owned(),
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
            assert_eq!(labels_of(&built(pairs), Source::Stdout), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_two_streams_differ_in_their_source_only() {
        let labels = built(&[]);
        let [stdout, stderr] = Source::ALL.map(|source| labels_of(&labels, source));
        assert!(stdout.contains("source=\"stdout\""), "{stdout}");
        assert_eq!(stdout.replace("stdout", "stderr"), stderr);
    }

    #[test]
    fn ids_go_beside_the_lines() {
        let expected =
            [("container_id".to_owned(), info().container_id), ("image_name".to_owned(), "shop:1.2".to_owned())];
        assert_eq!(built(&[]).structured_metadata(), expected);
        let bare = build(&Info::default(), &options(&[]), "").unwrap();
        assert_eq!(bare.structured_metadata(), []);
        assert_eq!(labels_of(&bare, Source::Stderr), "{source=\"stderr\"}");
    }

    /// An image may have any label, and is not to choose whose its lines are.
    #[test]
    fn what_a_pattern_happens_to_find_is_no_tenant() {
        for (key, pairs, tenant) in [
            ("__tenant_id__", &[("labels-regex", "tenant")][..], None),
            ("..tenant.id..", &[("labels-regex", "tenant")], None),
            ("..tenant.id..", &[("labels", "..tenant.id..")], None),
            ("__tenant_id__", &[("labels", "__tenant_id__")], Some("red")),
        ] {
            let mut info = info();
            info.container_labels.insert(key.to_owned(), "red".to_owned());
            let labels = build(&info, &options(pairs), "").unwrap();
            let found = labels.stream(Source::Stdout).and_then(|stream| stream.tenant.as_deref());
            assert_eq!(found, tenant, "{key} {pairs:?}");
            let told = labels.notes.iter().any(|note| note.contains("is left out"));
            assert_eq!(told, tenant.is_none(), "{:?}", labels.notes);
        }
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
    fn the_tenant_of_all_that_is_sent_is_that_of_the_destination() {
        let target = |rules: &str| {
            let rules = format!("[{rules}]");
            let typed = BTreeMap::from([
                ("loki-url".to_owned(), "http://loki/x".to_owned()),
                ("loki-tenant-id".to_owned(), "typed".to_owned()),
                ("loki-relabel-config".to_owned(), rules),
            ]);
            let options = StreamOptions::parse(&typed, &PluginDefaults::default()).unwrap();
            let labels = build(&info(), &options.labels, "box").unwrap();
            labels.target(&options.destinations[0]).tenant_id.unwrap()
        };
        const TENANT: &str = "{target_label: __tenant_id__, replacement: one}";
        for (rules, expected) in [
            ("", "typed"),
            (TENANT, "one"),
            ("{source_labels: [source], target_label: __tenant_id__}", "typed"),
            ("{source_labels: [source], regex: stderr, target_label: __tenant_id__, replacement: one}", "typed"),
            ("{source_labels: [source], regex: stdout, action: keep}", "typed"),
        ] {
            assert_eq!(target(rules), expected, "{rules}");
        }
        assert_eq!(target(&format!("{TENANT}, {{source_labels: [source], regex: stdout, action: keep}}")), "one");
    }

    #[test]
    fn templates_that_do_not_fit_are_all_told() {
        let options =
            options(&[("loki-external-labels", "a={{.Nmae}},b={{.Name}},c={{upper 1}}"), ("tag", "{{.Nmae}}")]);
        let errors = build(&info(), &options, "box").unwrap_err();
        assert_eq!(errors.len(), 3);
        assert!(errors[2].starts_with("tag: the template does not go with this container: there is no field"));
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
        assert_eq!(many(11).unwrap().stream(Source::Stdout).unwrap().labels.len(), 16);
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
        let stream = labels.stream(Source::Stdout).unwrap();
        assert_eq!(stream.labels.get(&"x".repeat(1_024)), Some("1"));

        info.container_labels = (0..50).map(|n| (format!("x{n:02}"), "1".to_owned())).collect();
        let errors = build(&info, &options(&[("labels-regex", "^x")]), "box").unwrap_err();
        assert!(errors[0].starts_with("53 labels are more than the 15"), "{errors:?}");
        assert!(errors[0].contains("x26 and 23 more (pick fewer"), "{errors:?}");
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

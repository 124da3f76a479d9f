//! The labels of a container, and the notes about missing ones.

use super::*;
use crate::config::{PluginDefaults, StreamOptions};
use proptest::prelude::*;

/// A Compose container with some labels and environment variables.
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
fn ids_are_structured_metadata() {
    let expected = [("container_id".to_owned(), info().container_id), ("image_name".to_owned(), "shop:1.2".to_owned())];
    assert_eq!(built(&[]).structured_metadata(), expected);
    let bare = build(&Info::default(), &options(&[]), "").unwrap();
    assert_eq!(bare.structured_metadata(), []);
    assert_eq!(labels_of(&bare, Source::Stderr), "{source=\"stderr\"}");
}

/// An image may have any label, but must not choose the tenant of its lines.
#[test]
fn a_label_found_by_a_pattern_does_not_set_the_tenant() {
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
fn a_replaced_or_truncated_label_is_noted() {
    let long = "x".repeat(3_000);
    let cut = format!("a={long}");
    for (pairs, notes) in [
        (&[][..], &[][..]),
        // Equal values from two places are no conflict.
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
        (&[("loki-external-labels", "source=mine")], &["label source: stdout or stderr replaces loki-external-labels"]),
        (&[("loki-external-labels", &cut)], &["the value of label a is cut from 3000 to 2048 bytes, Loki's limit"]),
    ] {
        assert_eq!(built(pairs).notes, notes, "{pairs:?}");
    }
}

#[test]
fn a_tenant_of_all_lines_is_that_of_the_destination() {
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
fn all_failing_templates_are_reported() {
    let options = options(&[("loki-external-labels", "a={{.Nmae}},b={{.Name}},c={{upper 1}}"), ("tag", "{{.Nmae}}")]);
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
fn more_labels_than_loki_accepts_are_refused() {
    let many = |count: usize| {
        let pairs: Vec<String> = (1..=count).map(|n| format!("l{n:02}=x")).collect();
        let external = format!("service_name=x,empty=,{}", pairs.join(","));
        build(&info(), &options(&[("loki-external-labels", &external)]), "box")
    };
    // compose_project, compose_service, host and source are always present.
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
fn too_long_or_too_many_names_are_reported_briefly() {
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

//! `docs/migrating.md`: containers that started with Grafana's driver and are refused here.

use std::collections::BTreeSet;

use crate::harness::Scene;

/// Options that the guide says are refused, with the driver's names, and what the error names.
const REFUSED: [(&[(&str, &str)], &str); 12] = [
    (&[("loki-url", "")], "loki-url"),
    (&[("loki-url", "127.0.0.1:3100")], "loki-url"),
    (&[("loki-url", "http:///loki/api/v1/push")], "loki-url"),
    (&[("loki-timeout", "0s")], "loki-timeout"),
    (&[("loki-timeout", "-1s")], "loki-timeout"),
    (&[("loki-min-backoff", "0s")], "loki-min-backoff"),
    (&[("loki-max-backoff", "-1s")], "loki-max-backoff"),
    (&[("loki-min-backoff", "10s"), ("loki-max-backoff", "1s")], "loki-min-backoff"),
    (&[("loki-batch-wait", "-1s")], "loki-batch-wait"),
    (&[("loki-batch-size", "0")], "loki-batch-size"),
    (&[("loki-batch-size", "-1")], "loki-batch-size"),
    (&[("loki-retries", "-1")], "loki-retries"),
];

#[test]
fn what_started_there_and_is_refused_here() {
    let scene = Scene::new();
    for (options, named) in REFUSED {
        let draft = scene.dockerd.container("web").option("loki-url", &scene.loki.push_url());
        let draft = options.iter().fold(draft, |draft, (key, value)| draft.option(key, value));
        let Err(refusal) = draft.try_start() else { panic!("{options:?} starts") };
        assert!(refusal.contains(named), "{options:?}: {refusal}");
    }
    // `labels` has its own test.
    let guide = include_str!("../docs/migrating.md");
    let (_, table) = guide.split_once("| option | refused |\n| --- | --- |\n").expect("the guide has a table");
    let (table, _) = table.split_once("\n\n").expect("it ends");
    let first = |row: &'static str| row.trim_matches('|').split(" |").next().unwrap_or_default();
    let told = table.lines().flat_map(|row| first(row).split('`').skip(1).step_by(2)).collect::<BTreeSet<_>>();
    assert_eq!(told, REFUSED.iter().flat_map(|(options, _)| options.iter().map(|(key, _)| *key)).collect());
    // This is what is corrected instead.
    let bare = scene.dockerd.container("bare").option("loki-url", &scene.loki.url()).option("loki-batch-wait", "20ms");
    let run = bare.start();
    run.out("a line");
    scene.wait_for_lines("bare", 1);
    run.stop();
}

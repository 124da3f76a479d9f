//! The stack: Compose accepts it, its mounts exist, its services find each other, and no other host can reach them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use dockerd::partial::MAX_LINE;
use promtail::yaml::{self, Node, Value};

use super::alerts::{at, items, read};
use super::boards::{Board, DRIVER, LOGS};
use crate::examples::{accept, services};
use crate::harness::compose;
use crate::harness::compose::file;
use crate::harness::compose::{entry, text};

const STACK: &str = "deploy/compose.yaml";

/// The first `lines` lines that the stack's application prints.
pub fn app(lines: usize) -> Vec<String> {
    let output = Command::new("sh").arg(file("deploy/app.sh")).args([&lines.to_string(), "0"]).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The stack as Compose reads it.
fn stack() -> Node {
    let output = compose::config(&file(STACK), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = String::from_utf8_lossy(&output.stdout);
    yaml::parse(&config).unwrap_or_else(|error| panic!("{error}:\n{config}")).expect("a tree")
}

fn children(node: Option<&Node>) -> &[(Node, Node)] {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

/// What a service mounts from the host: source and target. Old and new Compose write it in two ways.
fn mounts(service: &Node) -> Vec<(String, String)> {
    let volumes = items(entry(service, "volumes")).iter().map(|volume| match &volume.value {
        Value::Map(_) => (at(volume, "source").to_owned(), at(volume, "target").to_owned()),
        _ => {
            let mut parts = text(volume).split(':').map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        }
    });
    volumes.filter(|(source, _)| source.starts_with('/')).collect()
}

#[test]
fn compose_takes_the_stack_and_the_driver_takes_each_services_options() {
    let services = services(STACK, &[]);
    let drivers: Vec<_> = services.iter().map(|(name, service)| (name.as_str(), service.driver.as_str())).collect();
    // A Loki that logged to itself would never come to rest.
    assert_eq!(drivers, [("app", "loki-rs"), ("grafana", "loki-rs"), ("loki", "local"), ("prometheus", "loki-rs")]);
    for (name, service) in services.iter().filter(|(_, service)| service.driver == "loki-rs") {
        let read = accept(name, &service.options);
        assert_eq!(read.notes, [""; 0], "{name}: the stack is as it should be");
        assert!(read.pipeline.is_some(), "{name} has levels");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let stack = stack();
    let mut mounted = BTreeSet::new();
    for (_, service) in children(entry(&stack, "services")) {
        for (source, target) in mounts(service) {
            let path = Path::new(&source);
            assert!(path.starts_with(file("deploy")) && path.exists(), "{source} is not there");
            mounted.insert(target);
        }
    }
    let provisioned = read("deploy/grafana/provisioning/dashboards/dashboards.yaml");
    let options = entry(&items(entry(&provisioned, "providers"))[0], "options");
    let dashboards = at(options.expect("a provider has options"), "path").to_owned();
    for target in [&dashboards, "/etc/grafana/provisioning", "/etc/prometheus", "/etc/loki/loki.yaml", "/app.sh"] {
        assert!(mounted.contains(target), "{target} is mounted: {mounted:?}");
    }
    let home = children(entry(
        entry(entry(&stack, "services").expect("services"), "grafana").expect("grafana"),
        "environment",
    ));
    let home = home.iter().find(|(name, _)| text(name) == "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH").expect("a home");
    let name = text(&home.1).strip_prefix(&format!("{dashboards}/")).expect("the home is one of the dashboards");
    assert!(file("deploy/grafana/dashboards").join(name).exists(), "{name} is not there");
}

#[test]
fn everybody_listens_where_the_others_look_and_nowhere_else() {
    let stack = stack();
    for (name, service) in children(entry(&stack, "services")) {
        assert_eq!(at(service, "network_mode"), "host", "{}", text(name));
        assert!(entry(service, "ports").is_none(), "{} is in the host's network", text(name));
    }
    let services = entry(&stack, "services").expect("services");
    let loki = read("deploy/loki.yaml");
    let server = entry(&loki, "server").expect("a server");
    assert_eq!(at(server, "grpc_listen_address"), "127.0.0.1");
    let loki = format!("http://{}:{}", at(server, "http_listen_address"), at(server, "http_listen_port"));
    let arguments = items(entry(entry(services, "prometheus").expect("it is there"), "command"));
    let listens = arguments.iter().find_map(|argument| text(argument).strip_prefix("--web.listen-address="));
    let prometheus = format!("http://{}", listens.expect("it is said"));
    let grafana = entry(entry(services, "grafana").expect("it is there"), "environment").expect("it is set");
    assert_eq!(at(grafana, "GF_SERVER_HTTP_ADDR"), "127.0.0.1");

    let sources = read("deploy/grafana/provisioning/datasources/datasources.yaml");
    let found: Vec<_> = items(entry(&sources, "datasources"))
        .iter()
        .map(|source| (at(source, "type"), at(source, "uid"), at(source, "url")))
        .collect();
    let expected =
        [("loki", "loki", &*loki), ("prometheus", "prometheus", &*prometheus), ("tempo", "tempo", "$TEMPO_URL")];
    assert_eq!(found, expected);
    assert_eq!(at(grafana, "TEMPO_URL"), "http://127.0.0.1:3200");
    for service in crate::examples::services(STACK, &[]).values().filter(|service| service.driver == "loki-rs") {
        assert_eq!(service.options["loki-url"], format!("{loki}/loki/api/v1/push"));
    }
    // A link from a line to its trace goes to a data source that there is.
    for field in
        items(entry(entry(&items(entry(&sources, "datasources"))[0], "jsonData").expect("data"), "derivedFields"))
    {
        assert!(found.iter().any(|(_, uid, _)| *uid == at(field, "datasourceUid")), "{field:?}");
    }
    for (name, kind) in [(DRIVER, "prometheus"), (LOGS, "loki")] {
        for panel in Board::read(name).panels().iter().filter(|panel| panel["type"] != "row") {
            assert_eq!(panel["datasource"]["type"], kind, "{name}: {}", panel["title"]);
        }
    }
    // The three commands of the README are for the same addresses.
    let readme = fs::read_to_string(file("deploy/README.md")).expect("it is there");
    let target = fs::read_to_string(file("deploy/prometheus/prometheus.yaml")).expect("it is there");
    let target = target.split("targets: [\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a target");
    for words in [&format!("METRICS_ADDR={target}\n"), STACK, &format!("<{prometheus}/alerts>")] {
        assert!(readme.contains(words), "deploy/README.md does not speak of {words:?}");
    }
}

#[test]
fn the_application_logs_json_that_the_pipeline_understands() {
    let lines = app(200);
    assert_eq!(lines.len(), 200);
    let mut levels = BTreeSet::new();
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        levels.insert(line["level"].as_str().expect("a level").to_owned());
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
        assert!(line["status"].is_u64() && line["duration_ms"].is_u64(), "{line}");
    }
    assert!(
        levels.len() > 1 && levels.iter().all(|level| ["debug", "info", "warn", "error", "fatal"].contains(&&**level))
    );
}

#[test]
fn lokis_limits_fit_what_the_driver_sends() {
    let loki = read("deploy/loki.yaml");
    let limits = entry(&loki, "limits_config").expect("limits");
    assert_eq!(at(limits, "max_line_size"), format!("{}KB", MAX_LINE / 1024), "the driver cuts lines at Loki's limit");
    for limit in ["allow_structured_metadata", "volume_enabled", "discover_log_levels"] {
        assert_eq!(at(limits, limit), "true", "{limit}");
    }
    let hours = |key: &str| -> u32 { at(limits, key).strip_suffix('h').and_then(|text| text.parse().ok()).expect(key) };
    // The driver keeps lines for a week (RING_RETENTION), and what is taken must not be removed at once.
    assert!(hours("reject_old_samples_max_age") >= 168);
    assert!(hours("retention_period") >= hours("reject_old_samples_max_age"));
    let compactor = entry(&loki, "compactor").expect("without one nothing is removed");
    assert_eq!((at(compactor, "retention_enabled"), at(compactor, "delete_request_store")), ("true", "filesystem"));
    // And Loki takes the file, where there is one.
    match Command::new("loki").arg("-verify-config").arg("-config.file").arg(file("deploy/loki.yaml")).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: there is no command loki to ask whether it takes deploy/loki.yaml"),
    }
}

//! Figures in the documentation: computed from constants, measurements, and Loki's defaults.

use std::fs;

use loki_rs::config::RingBudget;
use loki_rs::config::options::OPTIONS;
use loki_rs::config::settings::{RING_BUDGET, RING_RETENTION, SETTINGS};

use super::guide;
use crate::harness::compose::file;
use crate::harness::frame::Entry;
use crate::harness::pages::{self, rows};
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::{Limits, Standin, client};

const MIB: u64 = 1 << 20;

/// The value of a constant of the program, which may be a product.
fn constant(source: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file(source)).unwrap_or_else(|error| panic!("{source}: {error}"));
    let value = text.split_once(&format!("const {name}: ")).and_then(|(_, rest)| rest.split_once(" = "));
    let (value, _) = value.and_then(|(_, rest)| rest.split_once(';')).unwrap_or_else(|| panic!("{source}: no {name}"));
    let value = value.trim_start_matches("Duration::from_secs(").trim_end_matches(')');
    let number =
        |text: &str| text.trim().replace('_', "").parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error}"));
    match value.split_once("<<") {
        Some((base, shift)) => number(base) << number(shift),
        None => value.split('*').map(number).product(),
    }
}

/// The size in a ring of a line of `bytes` bytes.
fn in_ring(bytes: usize) -> usize {
    Entry::new("stdout", 1_790_000_000_000_000_000, vec![b'x'; bytes]).to_frame().len()
}

#[test]
fn the_formula_of_rings_and_its_table() {
    for bytes in [130, 200, 1000, 16_000] {
        assert_eq!(in_ring(bytes) - bytes, 25, "a line of {bytes} bytes");
    }
    assert!(in_ring(100) - 100 < 25, "shorter ones take less");
    let needed = |lines: f64, seconds: f64| lines * (200.0 + 25.0) * seconds * 1.1;
    let spans = [3600.0, 8.0 * 3600.0, 86_400.0, 3.0 * 86_400.0];
    let table = rows(&guide("rings"));
    assert_eq!(table.len(), 4);
    for row in table {
        let lines: f64 = row[0].parse().expect("a number of lines");
        for (cell, seconds) in row[1..].iter().zip(spans) {
            assert_eq!(*cell, format!("{:.0}", needed(lines, seconds) / 1e6), "{row:?}");
        }
    }
    let minutes = 100e6 / needed(100.0, 1.0) / 60.0;
    assert!(guide("").contains(&format!("The default lasts for {minutes:.0} minutes at 100 such lines a second.")));
    let seconds = 100e6 / (4.0 * MIB as f64);
    assert!(guide("").contains(&format!("100 MB take {seconds:.0} seconds")));
}

#[test]
fn a_ring_holds_what_the_formula_says() {
    let scene = Scene::with(Start::default(), Standin::builder());
    scene.loki.go_away();
    let run = scene.container("web").option("max-size", "1m").option("max-file", "4").start();
    let lines = numbered("line", 40_000, 200);
    run.out_all(&lines);
    assert_eventually!(run.lines().last() == lines.last(), "all were taken");
    let held = run.lines().len();
    let promised = 4_000_000.0 / (225.0 * 1.1);
    assert!(held as f64 >= promised, "{held} lines, and {promised} were promised");
    assert!(held < 40_000, "it was full");
    scene.loki.come_back();
    run.stop();
}

#[test]
fn figures_of_memory_and_processor_were_measured() {
    let measured = fs::read_to_string(file("docs/performance.md")).expect("it is there");
    let guide = guide("");
    let table = pages::marked("memory");
    for row in table.lines().filter(|line| line.starts_with('|') && !line.contains("---")) {
        assert!(measured.lines().any(|line| line == row), "docs/performance.md has no {row}");
    }
    let row = measured.lines().find(|line| line.starts_with("| 100 bytes | 1 |")).expect("it was measured");
    let cost = row.split('|').nth(5).map(str::trim).expect("a column");
    assert!(guide.contains(&format!("A line of 100 bytes costs {cost} µs")), "{cost}");
    let memory = constant("crates/ring/src/lib.rs", "MEMORY_BUDGET") / MIB;
    assert!(guide.contains(&format!("| {memory} MiB for each container that prints |")));
    let block = constant("crates/promtail/src/pipeline/stages/multiline.rs", "MAX_BYTES") / MIB;
    let streams = constant("crates/promtail/src/pipeline/stages/multiline.rs", "MAX_STREAMS");
    assert!(guide.contains(&format!("| {block} MiB for each of {streams} streams of a container |")));
}

#[test]
fn what_the_driver_does_is_what_its_constants_say() {
    let guide = guide("");
    let in_flight = constant("src/shipper/slots.rs", "IN_FLIGHT");
    let largest = constant("src/shipper/batch.rs", "LARGEST_REQUEST");
    let usual = OPTIONS.iter().find(|option| option.key == "loki-batch-size").and_then(|option| option.default);
    assert_eq!(usual, Some(MIB.to_string().as_str()));
    for words in [
        format!("of `loki-batch-size` (1 MiB) and {} MiB at most", largest / MIB),
        format!("sends {in_flight} requests at once"),
        format!(
            "| {in_flight} for each destination and tenant, each with a batch (`loki-batch-size`, {} MiB at most)",
            largest / MIB
        ),
        format!("compressed, and {} MiB of all together", constant("src/shipper/budget.rs", "TOTAL") / MIB),
        format!("truncates lines at {} KiB", constant("crates/dockerd/src/partial.rs", "MAX_LINE") / 1024),
        format!("no container with more than {} labels", constant("crates/loki/src/labels.rs", "MAX_LABELS")),
        format!("at most {} KiB of a container's own metadata", constant("src/streams/metadata.rs", "MOST") / 1024),
        format!("{} idle ones a destination", constant("crates/loki/src/transport/link.rs", "IDLE_CONNECTIONS")),
        format!("for {} seconds. A balancer", constant("crates/loki/src/transport/link.rs", "IDLE")),
    ] {
        assert!(guide.contains(&words), "the documentation does not say: {words}");
    }
    let default = |name: &str| SETTINGS.iter().find(|setting| setting.name == name).expect(name).default;
    for words in [
        format!("| {} after it stopped", default(RING_RETENTION)),
        format!("| above {} sent lines go first", default(RING_BUDGET)),
        format!("10 % of the file system, {} GB at most", RingBudget::LARGEST_SHARE / 1_000_000_000),
    ] {
        assert!(guide.contains(&words), "the documentation does not say: {words}");
    }
    assert_eq!(constant("src/shipper/destination.rs", "LONGEST_PROBE"), 5);
    assert!(guide.contains("asks again at least every five seconds"));
    assert_eq!(constant("crates/loki/src/transport/link.rs", "LOOK"), 2);
    assert!(guide.contains("Correct the file; it is looked at every two seconds."));
    assert!(guide.contains("Files are looked at every two seconds while lines are pushed"));
    assert_eq!(constant("src/streams/upkeep.rs", "SYNC_EVERY"), 5);
    assert!(guide.contains("Rings are synced every five seconds"));
}

#[test]
fn limits_are_lokis_defaults() {
    let limits = Limits::default();
    let expected = [
        ("grpc_server_max_recv_msg_size", limits.grpc_max_recv_msg_size.to_string()),
        ("ingestion_rate_mb", (limits.ingestion_rate as u64 / MIB).to_string()),
        ("ingestion_burst_size_mb", (limits.ingestion_burst_size / MIB).to_string()),
        ("per_stream_rate_limit", format!("{}MB", limits.per_stream_rate_limit / MIB)),
        ("per_stream_rate_limit_burst", format!("{}MB", limits.per_stream_rate_limit_burst / MIB)),
        ("max_global_streams_per_user", limits.max_global_streams_per_user.to_string()),
        ("max_line_size", format!("{}KB", limits.max_line_size / 1024)),
        ("max_label_names_per_series", limits.max_label_names_per_series.to_string()),
        ("max_structured_metadata_size", format!("{}KB", limits.max_structured_metadata_size / 1024)),
        ("reject_old_samples_max_age", format!("{}w", limits.reject_old_samples_max_age.as_secs() / (7 * 86_400))),
    ];
    let told: Vec<(String, String)> =
        rows(&guide("limits")).iter().map(|row| (row[1].trim_matches('`').to_owned(), row[2].clone())).collect();
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn a_real_loki_has_these_settings() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        println!("skipped: LOKI_URL names no real Loki");
        return;
    };
    let reply = client::send(&url, "GET", "/config", &[], b"").expect("it answers");
    let text = reply.text();
    // YAML of a few thousand lines; a name may stand in several sections.
    let values = |name: &str| -> Vec<String> {
        let prefix = format!("{name}: ");
        text.lines().filter_map(|line| line.trim_start().strip_prefix(&prefix)).map(str::to_owned).collect()
    };
    for row in rows(&guide("limits")) {
        let (name, default) = (row[1].trim_matches('`'), &row[2]);
        assert!(values(name).contains(default), "{name} is {:?} and not {default}", values(name));
    }
    for name in ["retention_enabled", "delete_request_store", "retention_period", "allow_structured_metadata"] {
        assert!(!values(name).is_empty(), "{name}");
        assert!(guide("").contains(name), "{name} is told");
    }
}

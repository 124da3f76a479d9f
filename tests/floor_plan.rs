//! ARCHITECTURE.md names the crates of the workspace, and the manifests agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../ARCHITECTURE.md");

/// The crates of the workspace that each crate uses.
type Plan = BTreeMap<String, BTreeSet<String>>;

/// What the table of the page says: | [`crate`](path) | `used`, `used` | …
fn documented() -> Plan {
    let (_, table) = PAGE.split_once("| crate | uses |").expect("the page has a table of crates");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let (name, used) = (cells.next().expect("a crate"), cells.next().expect("what it uses"));
        (names(name).pop_first().expect("a name"), names(used))
    };
    rows.map(row).collect()
}

/// The folder of each crate.
fn folders() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).expect("crates").flatten();
    let names = crates.map(|entry| entry.file_name().into_string().expect("a name"));
    let mut folders: BTreeMap<_, _> = names.map(|name| (name.clone(), format!("crates/{name}"))).collect();
    folders.insert("loki-rs".into(), ".".into());
    folders
}

/// The same from the manifests, without test dependencies.
fn actual() -> Plan {
    let folders = folders();
    let uses = |folder: &String| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("a manifest");
        let (_, dependencies) = manifest.split_once("\n[dependencies]\n").expect("dependencies");
        let names = dependencies
            .lines()
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split(['.', ' ']).next());
        names.filter(|name| folders.contains_key(*name)).map(str::to_owned).collect()
    };
    folders.iter().map(|(name, folder)| (name.clone(), uses(folder))).collect()
}

#[test]
fn the_floor_plan_names_every_crate_and_what_it_uses() {
    assert_eq!(documented(), actual());
}

#[test]
fn dependencies_point_downward_only() {
    let plan = actual();
    let mut order: Vec<&str> = Vec::new();
    while order.len() < plan.len() {
        let ready = plan.iter().find(|(name, uses)| {
            !order.contains(&name.as_str()) && uses.iter().all(|used| order.contains(&used.as_str()))
        });
        let (name, _) = ready.unwrap_or_else(|| panic!("a circle: only {order:?} are free of it"));
        order.push(name);
    }
    assert_eq!(order.last(), Some(&"loki-rs"));
}

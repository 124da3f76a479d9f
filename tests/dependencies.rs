//! Every crate that the plugin, its tests and its benches are built from has a licence that `deny.toml` allows, and the
//! duplicate versions are those that it lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::harness::compose::file;

/// Texts of a list of `deny.toml`, in order.
fn list(name: &str) -> Vec<String> {
    let text = fs::read_to_string(file("deny.toml")).expect("deny.toml is there");
    let (_, rest) = text.split_once(&format!("\n{name} = [\n")).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    let (entries, _) = rest.split_once("\n]").expect("a list ends");
    entries.lines().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// Name, version and licence of each crate.
fn crates() -> BTreeSet<(String, String, String)> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal,build,dev", "--prefix", "none"]);
    let output = tree.args(["--format", "{p}|{l}"]).current_dir(file("")).output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let crates = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let (package, licence) = line.split_once('|').unwrap_or_else(|| panic!("no licence: {line}"));
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        // cargo marks a crate that it has shown before.
        let licence = licence.trim_end_matches("(*)").trim();
        (name.to_owned(), version.trim_start_matches('v').to_owned(), licence.to_owned())
    });
    crates.collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is an older way to write `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&tokens, &mut at, allowed);
    assert_eq!(at, tokens.len(), "{expression} is no SPDX expression");
    met
}

fn any(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(tokens, at, allowed);
    }
    met
}

fn all(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let token = tokens.get(*at).copied().unwrap_or_default();
    *at += 1;
    if token == "(" {
        let met = any(tokens, at, allowed);
        assert_eq!(tokens.get(*at), Some(&")"), "{tokens:?}");
        *at += 1;
        return met;
    }
    // An exception only permits more.
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    allowed.iter().any(|licence| licence == token)
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list("allow");
    let crates = crates();
    assert!(crates.len() > 100, "{}", crates.len());
    for (name, version, licence) in &crates {
        assert!(is_met(licence, &allowed), "deny.toml does not allow {name} {version}: {licence:?}");
    }
    // The judge itself.
    let only = ["MIT".to_owned()];
    assert!(is_met("(MIT OR Apache-2.0) AND MIT", &only) && is_met("Unlicense/MIT", &only));
    assert!(!is_met("(MIT OR Apache-2.0) AND Unicode-3.0", &only) && !is_met("GPL-3.0", &only));
}

#[test]
fn duplicate_versions_are_those_that_are_listed() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version, _) in crates() {
        versions.entry(name).or_default().insert(version);
    }
    let older = |(name, versions): (&String, &BTreeSet<String>)| {
        let newest = versions.last().cloned();
        let older = versions.iter().filter(|version| Some(*version) != newest.as_ref());
        older.map(|version| format!("{name}@{version}")).collect::<Vec<_>>()
    };
    let found: BTreeSet<String> = versions.iter().flat_map(older).collect();
    assert_eq!(found, list("skip").into_iter().collect(), "deny.toml, skip");
}

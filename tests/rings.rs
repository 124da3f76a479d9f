//! `loki-rs ring list` and `ring dump` show rings on disk, without a running plugin, and do not change them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Scene, assert_eventually, assert_same, numbered};

/// Runs `loki-rs ring`; returns whether it succeeded, and its output.
fn ring(arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-rs"));
    let output = command.arg("ring").args(arguments).env_clear().output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Rows of `ring list`, by their fields.
fn list(scene: &Scene) -> Vec<Vec<String>> {
    let (well, said, complaint) = ring(&["list", scene.plugin.state().join("rings").to_str().expect("text")]);
    assert!(well, "{complaint}");
    let mut rows = said.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(rows.next().expect("a head"), ["CONTAINER", "NAME", "BYTES", "ENTRIES", "UNSENT"]);
    rows.collect()
}

#[test]
fn the_largest_come_first_with_what_was_not_sent() {
    let scene = Scene::new();
    // The largest is neither the first nor the last that was created.
    let sizes = [("small", 1), ("large", 20_000), ("middle", 5_000)];
    let runs = sizes.map(|(name, count)| {
        let run = scene.container(name).option("max-size", "2m").start();
        run.out_all(numbered(name, count, 100));
        scene.wait_for_lines(name, count);
        run
    });
    scene.loki.go_away();
    for (run, (name, _)) in runs.iter().zip(sizes) {
        run.out_all(numbered(name, 7, 100));
    }
    let names = || list(&scene).into_iter().map(|row| row[1].clone()).collect::<Vec<_>>();
    assert_eventually!(list(&scene).iter().all(|row| row[4] == "7"), "cursors say what was sent: {:?}", list(&scene));
    assert_eq!(names(), ["large", "middle", "small"], "{:?}", list(&scene));
    for row in list(&scene) {
        let (name, count) = sizes.into_iter().find(|(name, _)| *name == row[1]).expect("no other");
        let run = runs.iter().find(|run| run.container().name() == name).expect("it runs");
        assert_eq!(row[0], run.container().id()[..12]);
        assert_eq!(row[3], (count + 7).to_string(), "{name}");
        assert!(row[2].parse::<usize>().expect("bytes") >= count * 100, "{row:?}");
    }
    scene.loki.come_back();
    for (run, (name, count)) in runs.into_iter().zip(sizes) {
        scene.wait_for_lines(name, count + 7);
        run.stop();
    }
}

#[test]
fn who_looks_at_a_ring_while_it_is_written_to_harms_nobody() {
    let scene = Scene::generous();
    let run = scene.container("busy").option("max-size", "4m").start();
    let printed = numbered("busy", 20_000, 200);
    let dir = scene.plugin.ring(run.container().id());
    for lines in printed.chunks(1_000) {
        run.out_all(lines);
        let (well, shown, complaint) = ring(&["dump", dir.to_str().expect("text")]);
        assert!(well && complaint.is_empty(), "{complaint}");
        let shown: Vec<&str> = shown.lines().collect();
        assert_same(&shown, &printed[..shown.len()]);
        assert_eq!(list(&scene).len(), 1);
    }
    scene.assert_lines_in_loki("busy", &printed);
    assert_same(&run.lines(), &printed);
    let (_, shown, _) = ring(&["dump", dir.to_str().expect("text")]);
    assert_same(&shown.lines().collect::<Vec<_>>(), &printed);
    run.stop();
}

#[test]
fn nothing_is_changed_by_who_looks() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out_all(numbered("web", 10, 100));
    scene.wait_for_lines("web", 10);
    // A segment that its owner has just created, without a header.
    let dir = scene.plugin.ring(run.container().id());
    fs::write(dir.join("00000000000000ff.seg"), [0; 4096]).expect("it can be made");
    // A file that is not a ring hides none.
    fs::write(scene.plugin.state().join("rings/stray"), "x").expect("it can be made");
    let content = || -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(&dir).expect("a folder").flatten().map(|entry| entry.path());
        files
            .filter(|path| path.extension().is_some_and(|it| it == "seg"))
            .map(|it| (it.clone(), fs::read(it).expect("a file")))
            .collect()
    };
    let before = content();
    let (well, shown, complaint) = ring(&["dump", dir.to_str().expect("text")]);
    assert!(well, "{complaint}");
    assert_same(&shown.lines().collect::<Vec<_>>(), &numbered("web", 10, 100));
    assert!(list(&scene).iter().any(|row| row[1] == "web" && row[3] == "10"), "{:?}", list(&scene));
    assert!(content() == before, "they are as they were");
    run.stop();
}

#[test]
fn what_is_no_ring_is_named() {
    for command in ["list", "dump"] {
        let (well, _, complaint) = ring(&[command, "/nowhere/at/all"]);
        assert!(!well && complaint.contains("/nowhere/at/all"), "{complaint}");
    }
}

//! The disk is full, read-only, without inodes, or fails, or files on it are deleted. Containers continue, their lines
//! reach Loki from memory, the plugin logs it, and afterwards the disk is used again.
//!
//! Each scenario has its own plugin with its state on its own file system ([`own`]). Containers write more than all
//! pipes between them and the plugin hold ([`talker`]), which shows that they are not blocked.

pub(super) mod own;
mod talker;

use super::stage::{Engine, Plugin, Scene, eventually, numbered};
use own::Disk;
use std::fs;
use talker::{MANY, PIECE, Talker};

/// The most bytes of memory that replace the disk for one container; a little more while a reader still holds dropped
/// lines.
const MOST_MEMORY: u64 = 6 << 20;

/// The log line while lines are kept in memory.
const IN_MEMORY: &str = "the disk takes no lines; they are kept in memory";

fn install<'a>(engine: &'a Engine, name: &str) -> Plugin<'a> {
    // A tenth of so small a disk would be little.
    engine.install(name, &["RING_BUDGET=1g"])
}

fn scene<'a>(name: &str, plugin: &'a Plugin<'a>) -> Scene<'a> {
    let scene = Scene::with(name, plugin);
    scene.loki.change_limits(|limits| {
        (limits.ingestion_rate, limits.ingestion_burst_size) = (1e12, 1 << 40);
        (limits.per_stream_rate_limit, limits.per_stream_rate_limit_burst) = (1 << 40, 1 << 40);
    });
    scene
}

#[test]
fn a_full_disk_keeps_nobody_from_logging_and_is_used_again_when_there_is_room() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-full");
    let disk = Disk::of(&plugin, "size=24m");
    let scene = scene("full", &plugin);
    let mut early = Talker::start(&scene, "early");
    early.say(PIECE);
    early.must_be_in_loki();
    disk.fill();
    let mut late = Talker::start(&scene, "late");
    for talker in [&mut early, &mut late] {
        talker.say_much();
        talker.must_be_shown();
        disk.expect_said(IN_MEMORY, &talker.container);
    }
    assert!(disk.memory() <= 2 * MOST_MEMORY, "{} bytes", disk.memory());
    disk.free();
    disk.expect_used_again(&mut [&mut early, &mut late]);

    // And when it is full already when the plugin starts.
    disk.fill();
    plugin.kill();
    for talker in [&mut early, &mut late] {
        talker.say(PIECE);
        talker.must_have_arrived();
        talker.must_be_shown();
        talker.say_at_once(MANY);
        talker.end();
    }
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn a_state_directory_that_is_read_only_keeps_nobody_from_logging() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-read-only");
    let disk = Disk::of(&plugin, "size=64m");
    let scene = scene("read-only", &plugin);
    let exited = scene.container("exited").run_well(&["lines:1000"]);
    scene.expect_lines(&exited, numbered(1000));
    // It has printed nothing, so nothing of it is open for writing: the kernel would refuse.
    let mut early = Talker::start(&scene, "early");
    eventually("nothing is open for writing", || disk.remount("ro"));
    let mut late = Talker::start(&scene, "late");
    for talker in [&mut early, &mut late] {
        talker.say_much();
        talker.must_be_shown();
        disk.expect_said(IN_MEMORY, &talker.container);
    }
    assert_eq!(exited.lines(&[]), numbered(1000));
    exited.docker(&["start"]);
    assert_eq!(exited.wait(), 0);
    scene.expect_lines(&exited, [numbered(1000), numbered(1000)].concat());
    assert!(disk.remount("rw"));
    disk.expect_used_again(&mut [&mut early, &mut late]);
    for talker in [&mut early, &mut late] {
        talker.end();
    }
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn a_plugin_that_dies_on_a_read_only_disk_leaves_nobody_stuck() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-dies");
    let disk = Disk::of(&plugin, "size=64m");
    let scene = scene("dies", &plugin);
    let exited = scene.container("exited").run_well(&["lines:1000"]);
    let mut known = Talker::start(&scene, "known");
    eventually("nothing is open for writing", || disk.remount("ro"));
    let mut unknown = Talker::start(&scene, "unknown");
    unknown.say(PIECE);
    unknown.must_be_in_loki();
    plugin.kill();
    known.say_much();
    known.must_be_shown();
    assert_eq!(exited.lines(&[]), numbered(1000));
    // The next process cannot know the stream of these lines. They are lost, the plugin logs it, and no container
    // waits.
    unknown.say_at_once(MANY);
    unknown.end();
    assert!(disk.all_of_log().iter().any(|line| line.contains("a container is not logged")));
    known.end();
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn a_disk_without_inodes_keeps_nobody_from_logging_and_is_used_again_when_there_are_some() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-inodes");
    let disk = Disk::of(&plugin, "size=64m,nr_inodes=64");
    let scene = scene("inodes", &plugin);
    let mut early = Talker::start(&scene, "early");
    early.say(PIECE);
    early.must_be_in_loki();
    let taken = disk.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!((0..64).any(|number| fs::write(taken.join(number.to_string()), "").is_err()));
    let mut late = Talker::start(&scene, "late");
    for talker in [&mut early, &mut late] {
        talker.say_much();
        talker.must_be_shown();
        disk.expect_said(IN_MEMORY, &talker.container);
    }
    fs::remove_dir_all(disk.path().join("taken")).unwrap();
    disk.expect_used_again(&mut [&mut early, &mut late]);
    for talker in [&mut early, &mut late] {
        talker.end();
    }
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn files_that_somebody_deletes_under_a_running_container_are_made_again() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-deleted");
    let disk = Disk::of(&plugin, "size=64m");
    let scene = scene("deleted", &plugin);
    let mut talker = Talker::start(&scene, "talker");
    talker.say(PIECE);
    talker.must_be_in_loki();
    for folder in ["rings", "streams"] {
        fs::remove_dir_all(disk.path().join(folder)).unwrap();
    }
    talker.say_much();
    disk.expect_said("was left before it was full", &talker.container);
    eventually("the record is there again", || {
        fs::read_dir(disk.path().join("streams")).is_ok_and(|records| records.count() == 1)
    });
    // What was in the deleted file, too: it was open.
    let has_first = || disk.segments(&talker.container).iter().any(|path| path.ends_with("0000000000000001.seg"));
    eventually("the file is there again", has_first);
    talker.all_must_be_shown();
    plugin.kill();
    talker.all_must_be_shown();
    talker.say(PIECE);
    talker.all_must_be_shown();
    talker.must_have_arrived();
    talker.end();
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn a_disk_that_fails_below_a_running_container_is_left_for_memory_and_for_the_next_disk() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-fails");
    let disk = Disk::ext4(&plugin, 32).expect("a loop device");
    let scene = scene("fails", &plugin);
    let mut early = Talker::start(&scene, "early");
    early.say(PIECE);
    early.must_be_in_loki();
    // As when the kernel finds it damaged: nothing is written to it any more, whatever is open.
    let process = plugin.pid();
    assert!(disk.remount("abort"));
    let mut late = Talker::start(&scene, "late");
    for talker in [&mut early, &mut late] {
        talker.say_much();
        talker.must_be_shown();
        disk.expect_said(IN_MEMORY, &talker.container);
    }
    assert_eq!(plugin.pid(), process, "it went on");
    // It is repaired, or another is put in its place.
    assert!(engine.mount(&format!("-t tmpfs -o size=64m none {}", disk.mounted.display())));
    disk.expect_used_again(&mut [&mut early, &mut late]);
    for talker in [&mut early, &mut late] {
        talker.end();
    }
    disk.expect_no_panic_and_no_loss();
}

#[test]
fn a_full_disk_while_loki_is_away_costs_the_oldest_lines_and_they_are_counted() {
    let engine = Engine::shared();
    let plugin = install(engine, "loki-rs-full-away");
    let disk = Disk::of(&plugin, "size=8m");
    let scene = scene("full-away", &plugin);
    let mut talker = Talker::start(&scene, "talker");
    disk.fill();
    for round in 1..=2 {
        talker.say(PIECE);
        talker.must_be_in_loki();
        assert!(disk.memory() > 0);
        // The second time it is no news.
        disk.expect_said(IN_MEMORY, &talker.container);
        if round == 1 {
            disk.free();
            eventually("memory was given back", || disk.memory() == 0);
            disk.fill();
        }
    }
    scene.loki.go_away();
    let before = disk.resident();
    talker.say_at_once(2 * MANY);
    talker.must_be_shown();
    let (memory, grown) = (disk.memory(), disk.resident().saturating_sub(before));
    println!("{memory} bytes in the place of files, {grown} KiB of the plugin's own");
    assert!(memory <= MOST_MEMORY && grown < 24 * 1024, "{memory} bytes, {grown} KiB");
    scene.loki.come_back();
    eventually("Loki has the last line", || scene.lines(&talker.container).last() == talker.said.last());
    talker.end();
    let arrived = scene.lines(&talker.container);
    assert!(arrived.len() > PIECE && arrived.is_sorted_by(|a, b| a < b), "{} lines", arrived.len());
    let missing = (talker.said.len() - arrived.len()) as u64;
    println!("{} lines arrived, {missing} are missing", arrived.len());
    eventually("as many are counted", || disk.sum_in_log("lines were lost", "lines", &talker.container) == missing);
    disk.expect_no_panic_and_no_loss();
}

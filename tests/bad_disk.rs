//! Disks that are full, read-only, damaged or obstructed: containers continue, and the plugin logs it.
//!
//! Every scenario that affects one container has a second one, which must not be affected.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::harness::bystander::Bystander;
use crate::harness::dockerd::{Query, Run, lines};
use crate::harness::plugin::{Start, names_in};
use crate::harness::status::{scrape, status};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::{Limits, Standin};

// === The disk ===

/// Checks that lines that the disk did not accept reach Loki and `docker logs`.
fn is_logged_from_memory(scene: &Scene, run: &Run) {
    let written = numbered("line", 1000, 1000);
    run.out_all(&written);
    scene.assert_lines_in_loki(run.container().name(), &written);
    assert_same(&run.lines(), &written);
    let log = scene.plugin.log();
    assert!(log.contains("the disk takes no lines; they are kept in memory"), "{log}");
}

#[test]
fn a_state_directory_that_is_read_only_keeps_nobody_from_logging() {
    let scene = Scene::with(Start::default().state_on_tmpfs("ro"), Standin::builder());
    let (web, other) = (scene.container("web").start(), scene.container("other").start());
    is_logged_from_memory(&scene, &web);
    other.out("hello");
    scene.assert_lines_in_loki("other", &["hello"]);
    assert!(scene.plugin.log().contains("the stream cannot be recorded"), "{}", scene.plugin.log());
    web.stop();
    other.stop();
}

#[test]
fn a_state_directory_without_inodes_keeps_nobody_from_logging() {
    let scene = Scene::with(Start::default().state_on_tmpfs("nr_inodes=6"), Standin::builder());
    let runs: Vec<_> = (0..4).map(|at| scene.container(&format!("c{at}")).start()).collect();
    for run in &runs {
        run.out_all(numbered("line", 100, 100));
        scene.wait_for_lines(run.container().name(), 100);
        assert_eq!(run.lines().len(), 100);
    }
    for run in runs {
        run.stop();
    }
}

#[test]
fn a_disk_that_is_full_keeps_nobody_from_logging_and_is_used_again_when_there_is_room() {
    let scene = Scene::with(Start::default().state_on_tmpfs("size=2m"), Standin::builder());
    let filler = scene.plugin.inner_state().join("filler");
    let bystander = Bystander::new(&scene);
    scene.wait_for_lines("bystander", 1);
    // Takes all the free space.
    let mut full = fs::File::create(&filler).expect("there is room");
    while full.write_all(&[b'x'; 4096]).is_ok() {}
    let container = scene.container("web");
    let web = container.start();
    is_logged_from_memory(&scene, &web);
    let ring = scene.plugin.inner_state().join("rings").join(container.id());
    let on_disk = |ring: &Path| names_in(ring).iter().any(|name| name.ends_with(".seg"));
    assert!(!on_disk(&ring));
    fs::remove_file(&filler).expect("it is there");
    drop(full);
    // The plugin retries every ten seconds, when there is something to write.
    assert_eventually!(
        {
            web.out("still there");
            on_disk(&ring)
        },
        "the disk is used again"
    );
    web.out("the end");
    assert_eventually!(scene.lines_in_loki("web").last().is_some_and(|line| line == "the end"));
    assert_eq!(lines(&web.logs(Query::all().tail(1))), ["the end"]);
    web.stop();
    bystander.must_be_unharmed(&scene);
}

#[test]
fn memory_that_stands_in_for_the_disk_is_bounded_and_what_does_not_fit_is_counted() {
    let scene = Scene::with(Start::default().state_on_tmpfs("ro"), Standin::builder());
    let web = scene.container("web").start();
    scene.loki.go_away();
    let memory = scene.plugin.memory();
    let written = numbered("line", 20_000, 1000);
    web.out_all(&written);
    assert_eventually!(
        lines(&web.logs(Query::all().tail(1))) == written[written.len() - 1..],
        "docker logs is current"
    );
    let grown = scene.plugin.memory().saturating_sub(memory);
    assert!(grown < 24 * 1024, "twenty megabytes that have no place take {grown} KiB");
    scene.loki.come_back();
    assert_eventually!(scene.lines_in_loki("web").last() == written.last());
    web.stop();
    let arrived = scene.lines_in_loki("web");
    assert!(arrived.len() > 2000, "four megabytes hold more than {} lines", arrived.len());
    assert!(arrived.is_sorted_by(|a, b| a < b), "out of order, or twice");
    let lost = (written.len() - arrived.len()) as u64;
    assert_eventually!(scene.plugin.sum_in_log("lines were lost", "lines") == lost, "{lost} lines are missing");
}

#[test]
fn a_file_where_the_rings_should_be_is_named_in_the_refusal() {
    let scene = Scene::new();
    fs::write(scene.plugin.state().join("rings"), b"in the way").expect("nothing is there yet");
    let refusal = scene.container("web").try_start().expect_err("it has no place for lines");
    assert!(refusal.contains("/rings/") && refusal.contains("Not a directory"), "{refusal}");
    fs::remove_file(scene.plugin.state().join("rings")).expect("it is there");
    Bystander::new(&scene).must_be_unharmed(&scene);
}

#[test]
fn a_file_where_the_records_should_be_keeps_nobody_from_logging() {
    let scene = Scene::new();
    fs::write(scene.plugin.state().join("streams"), b"in the way").expect("nothing is there yet");
    let run = scene.container("web").start();
    run.out("hello");
    scene.assert_lines_in_loki("web", &["hello"]);
    assert!(scene.plugin.log().contains("the stream cannot be recorded"), "{}", scene.plugin.log());
    run.stop();
    Bystander::new(&scene).must_be_unharmed(&scene);
}

#[test]
fn a_ring_that_is_deleted_under_a_running_container_costs_its_past_and_nothing_else() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let run = scene.container("web").option("max-size", "600k").option("max-file", "1").start();
    // The prefix sorts before "after".
    run.out_all(numbered("a", 400, 1000));
    scene.wait_for_lines("web", 400);
    // The plugin may be writing its cursor.
    let ring = scene.plugin.ring(run.container().id());
    assert_eventually!(fs::remove_dir_all(&ring).is_ok());
    let after = numbered("after", 1000, 1000);
    run.out_all(&after);
    assert_eventually!(scene.lines_in_loki("web").last() == after.last());
    assert_eventually!(lines(&run.logs(Query::all().tail(5))) == after[995..]);
    run.stop();
    // Unsent lines of the deleted file are lost, and the plugin logs it.
    let arrived = scene.lines_in_loki("web");
    assert!(arrived.is_sorted() && arrived.len() > 1000, "{} lines arrived", arrived.len());
    let missing = 1400 - arrived.len() as u64;
    assert_eventually!(scene.plugin.sum_in_log("lines were lost", "lines") == missing, "{missing} lines are counted");
    bystander.must_be_unharmed(&scene);
}

/// A container's name, and how its ring is damaged.
type Hurt = (&'static str, fn(&Path));

#[test]
fn damage_that_is_found_at_boot_is_one_containers_alone() {
    let limits = Limits { ingestion_rate: 1e12, ingestion_burst_size: 1 << 40, ..Limits::default() };
    let mut scene = Scene::with(Start::default().serve_status(), Standin::builder().limits(limits));
    let mut bystander = Bystander::new(&scene);
    let hurts: [Hurt; 7] = [
        ("header", |ring| overwrite(&segment(ring), 0, &[0xee; 600])),
        ("data", |ring| overwrite(&segment(ring), 8192, &[0xee; 20_000])),
        ("cut", |ring| {
            let file = fs::OpenOptions::new().write(true).open(segment(ring)).expect("it is there");
            file.set_len(5000).expect("it can be cut");
        }),
        ("info", |ring| fs::write(ring.join("info.json"), b"{\"Config\":").expect("it can be written")),
        ("cursor", |ring| overwrite(&file(ring, |name| name.starts_with("cursor-")), 0, &[0xee; 1024])),
        ("segment", |ring| {
            let segment = segment(ring);
            fs::remove_file(&segment).expect("it is there");
            fs::create_dir(segment).expect("nothing is there now");
        }),
        ("folder", |ring| {
            fs::remove_dir_all(ring).expect("it is there");
            fs::write(ring, b"a file").expect("nothing is there now");
        }),
    ];
    let runs: Vec<_> = hurts.iter().map(|(name, _)| scene.container(name).start()).collect();
    for run in &runs {
        run.out_all(numbered("line", 300, 300));
        scene.wait_for_lines(run.container().name(), 300);
        assert_eventually!(scene.plugin.cursors(run.container().id()).len() == 1);
    }
    scene.plugin.kill();
    for (run, (_, hurt)) in runs.iter().zip(hurts) {
        hurt(&scene.plugin.ring(run.container().id()));
    }
    let records = scene.plugin.state().join("streams");
    fs::write(records.join("torn.json"), b"{\"file\":").expect("a file");
    fs::write(records.join("note.txt"), b"not a record").expect("a file");
    scene.plugin.restart();
    assert_eventually!(scene.plugin.log().contains("torn.json"), "what cannot be read is named");
    bystander.run.out("in between");
    bystander.written.push("in between".into());
    for run in runs {
        let container = run.container().clone();
        run.out("after");
        // A ring that cannot be opened is not written to, and the plugin logs it. Its container continues.
        if container.name() == "folder" {
            let log = scene.plugin.log();
            assert!(log.contains("is not logged any more; what it prints is lost\" container=folder "), "{log}");
            run.out_all(numbered("lost", 3000, 1000));
            assert_eq!(scrape(&scene.plugin).value("loki_rs_unlogged_streams", &[]), 1.0);
            let told = status(&scene.plugin)["verdict"].clone();
            assert_eq!(told["level"], "critical", "{told}");
            assert!(told["text"].as_str().is_some_and(|text| text.contains("1 stream is not logged")), "{told}");
        } else {
            assert_eventually!(
                scene.lines_in_loki(container.name()).last().is_some_and(|line| line == "after"),
                "{} goes on",
                container.name()
            );
            assert_eq!(run.lines().last().map(String::as_str), Some("after"), "{}", container.name());
        }
        run.stop();
    }
    let said = scene.plugin.log().matches("segment set aside").count();
    assert!(said > 0);
    assert_eq!(scrape(&scene.plugin).value("loki_rs_set_aside_segments_total", &[]), said as f64);
    bystander.must_be_unharmed(&scene);
}

fn segment(ring: &Path) -> PathBuf {
    file(ring, |name| name.ends_with(".seg"))
}

/// The last file of a ring whose name matches.
fn file(ring: &Path, is_meant: impl Fn(&String) -> bool) -> PathBuf {
    ring.join(names_in(ring).into_iter().rfind(is_meant).expect("a ring that was written to has one"))
}

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(file).expect("it is there");
    file.write_all_at(bytes, at).expect("it can be written");
}

//! The plugin or dockerd dies, at any instant, and no line is lost; the next process resumes where the other stopped.
//!
//! The check is outside of the plugin: the test knows what the containers printed, and compares it with `docker logs`
//! and Loki. `docker logs` must show every byte once. Loki must have every line at least once after a kill, and exactly
//! once after a regular end.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base::disk::hold::Hold;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::dockerd::{Query, Run, lines, now};
use crate::harness::frame::Entry;
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually, assert_same, kills, numbered, patience};
use crate::standin::{Failure, Standin, Times};

/// dockerd kills a plugin that takes longer to end.
const DOCKERDS_PATIENCE: Duration = Duration::from_secs(10);

const SOURCES: [&str; 2] = ["stdout", "stderr"];

/// What a container prints in a crash test: the line numbered `at`, and whether it goes to stderr.
type Habit = fn(usize) -> (Vec<u8>, bool);

fn text(at: usize, length: usize) -> Vec<u8> {
    let mut line = format!("line {at:06} ").into_bytes();
    line.resize(line.len().max(length), b'a' + (at % 26) as u8);
    line
}

/// Short lines on both outputs.
fn short(at: usize) -> (Vec<u8>, bool) {
    (text(at, 40), at.is_multiple_of(3))
}

/// Lines of several chunks, and short ones.
fn long(at: usize) -> (Vec<u8>, bool) {
    if at.is_multiple_of(50) { (text(at, 40_000 + at), false) } else { (text(at, 100), true) }
}

/// Lines that end in zeros, like a part of a file that was never written.
fn zeros(at: usize) -> (Vec<u8>, bool) {
    let mut line = text(at, 30 + at % 50);
    line.resize(line.len() + at % 70, 0);
    (line, false)
}

/// Lines of any length, below and above what a pipe accepts at once.
fn mixed(at: usize) -> (Vec<u8>, bool) {
    (text(at, at * 7919 % if at.is_multiple_of(7) { 6000 } else { 300 }), at.is_multiple_of(5))
}

/// Prints until `done` is set, and returns what was printed, by output.
fn print(run: &Run, habit: Habit, done: &AtomicBool, printed: &AtomicUsize) -> [Vec<Vec<u8>>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    let mut at = 0;
    while !done.load(Ordering::Relaxed) {
        let (line, is_err) = habit(at);
        run.print(usize::from(is_err), &[&line[..], b"\n"].concat());
        all[usize::from(is_err)].push(line);
        at += 1;
        printed.fetch_add(1, Ordering::Relaxed);
        if at % 20 == 0 {
            // Slow enough for a plugin that was built without optimisation.
            thread::sleep(Duration::from_millis(2));
        }
    }
    all
}

/// Compares what `docker logs` shows of an output with what was printed, byte for byte. `is_cut`: the beginning may be
/// missing.
fn judge_docker_logs(shown: &[Entry], source: &str, printed: &[Vec<u8>], is_cut: bool) {
    let of = shown.iter().filter(|entry| entry.source == source);
    let shown: Vec<u8> = of.flat_map(|entry| entry.line.iter().copied()).collect();
    let owed: Vec<u8> = printed.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
    let owed = if is_cut { &owed[owed.len().saturating_sub(shown.len())..] } else { &owed[..] };
    if shown == owed {
        return;
    }
    let at = shown.iter().zip(owed).position(|(a, b)| a != b).unwrap_or(shown.len().min(owed.len()));
    let around = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(60).min(bytes.len())..(at + 60).min(bytes.len())]).into_owned()
    };
    panic!(
        "{source}: docker logs has {} bytes, {} are owed; they part at {at}:\n  {:?}\n  {:?}",
        shown.len(),
        owed.len(),
        around(&shown),
        around(owed)
    );
}

/// Compares what Loki has of an output with what was printed: nothing missing, nothing invented, in order at first
/// arrival. Returns the number of lines that came more than once.
fn judge_loki(scene: &Scene, name: &str, source: &str, printed: &[Vec<u8>]) -> usize {
    let labels = [("container_name", name), ("source", source)];
    let distinct = |stored: &[Vec<u8>]| stored.iter().collect::<HashSet<_>>().len();
    let mut stored = Vec::new();
    while distinct(&stored) < printed.len() {
        // Repeated lines do not count.
        let enough = printed.len().max(stored.len() + 1);
        let came = scene.loki.wait_for(|state| state.count(&labels) >= enough, patience());
        stored = scene.loki.lines(&labels);
        assert!(came, "Loki has {} of the {} lines of {name}'s {source}", distinct(&stored), printed.len());
    }
    let mut seen = HashSet::new();
    let first: Vec<_> =
        stored.iter().filter(|line| seen.insert(line.as_slice())).map(|line| String::from_utf8_lossy(line)).collect();
    let printed: Vec<_> = printed.iter().map(|line| String::from_utf8_lossy(line)).collect();
    assert_same(&first, &printed);
    stored.len() - first.len()
}

/// Kills or ends the plugin again and again while containers print, and checks the result.
fn survive(mut scene: Scene, end: impl Fn(&mut Scene)) -> usize {
    let habits: [(&str, Habit); 4] = [("short", short), ("long", long), ("zeros", zeros), ("mixed", mixed)];
    // Rings that hold everything, however often the plugin is killed.
    let runs: Vec<_> = habits.iter().map(|(name, _)| scene.container(name).option("max-size", "1g").start()).collect();
    // The ring of this container overwrites lines all the time.
    let small = scene.container("small").option("max-size", "600k").option("max-file", "1").start();
    let (done, printed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut random = fastrand::Rng::with_seed(11);
    let (printed_by_all, printed_by_small) = thread::scope(|threads| {
        let (done, printed) = (&done, &printed);
        let small = threads.spawn({
            let small = &small;
            move || print(small, mixed, done, printed)
        });
        let writers: Vec<_> = runs
            .iter()
            .zip(habits)
            .map(|(run, (_, habit))| threads.spawn(move || print(run, habit, done, printed)))
            .collect();
        for _ in 0..kills() {
            let goal = printed.load(Ordering::Relaxed) + random.usize(200..3000);
            assert_eventually!(printed.load(Ordering::Relaxed) >= goal, "the containers go on");
            end(&mut scene);
            scene.plugin.restart();
        }
        let goal = printed.load(Ordering::Relaxed) + 1000;
        assert_eventually!(printed.load(Ordering::Relaxed) >= goal, "the containers go on");
        done.store(true, Ordering::Relaxed);
        let all: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("no container was blocked")).collect();
        (all, small.join().expect("no container was blocked"))
    });
    let mut doubled = 0;
    for ((run, printed), (name, _)) in runs.into_iter().zip(printed_by_all).zip(habits) {
        let container = run.container().clone();
        run.stop();
        let shown = container.logs(Query::all());
        for (source, printed) in SOURCES.iter().zip(&printed) {
            judge_docker_logs(&shown, source, printed, false);
            doubled += judge_loki(&scene, name, source, printed);
        }
    }
    let container = small.container().clone();
    small.stop();
    let shown = container.logs(Query::all());
    for (source, printed) in SOURCES.iter().zip(&printed_by_small) {
        judge_docker_logs(&shown, source, printed, true);
    }
    let log = scene.plugin.log();
    assert!(!log.contains("were no log entry") && !log.contains("damaged"), "{log}");
    doubled
}

#[test]
fn kills_under_load_lose_nothing_and_invent_nothing() {
    let doubled = survive(Scene::generous(), |scene| scene.plugin.kill());
    // A batch in flight is sent again, and Loki detects most of its lines as repeated.
    eprintln!("{doubled} lines are in Loki more than once");
}

#[test]
fn ends_in_order_lose_nothing_and_double_nothing() {
    let unanswered = Cell::new(0);
    let doubled = survive(Scene::generous(), |scene| {
        let (taken, status) = scene.plugin.terminate();
        assert!(status.success(), "{status}");
        // Under two seconds are promised, but a test machine is busy. dockerd kills after ten.
        assert!(taken < Duration::from_secs(5), "it took {taken:?} to end");
        unanswered.set(scene.plugin.log().matches("pushes that Loki has not answered").count());
    });
    // A push that a busy machine could not answer in time is sent again, and logged.
    assert!(doubled == 0 || unanswered.get() > 0, "{doubled} lines are in Loki more than once");
}

#[test]
fn a_kill_between_any_two_bytes_of_a_frame_costs_nothing() {
    let mut scene = Scene::new();
    let run = scene.container("web").start();
    let line = |at: usize| [format!("line {at:03} \0\0\0 zeros inside, zeros at the end").as_bytes(), &[0; 9]].concat();
    let length = Entry::new("stdout", now(), line(0)).to_frame().len();
    let mut printed = Vec::new();
    for cut in 1..length {
        let frame = Entry::new("stdout", now(), line(cut)).to_frame();
        run.write(&frame[..cut]);
        assert_eventually!(!run.has_unread(), "the plugin has read the first {cut} bytes");
        scene.plugin.kill();
        scene.plugin.restart();
        run.write(&frame[cut..]);
        printed.push(line(cut));
        assert_eventually!(
            run.logs(Query::all().tail(1)).last().is_some_and(|entry| entry.line.starts_with(&line(cut)))
        );
    }
    judge_docker_logs(&run.logs(Query::all()), "stdout", &printed, false);
    judge_loki(&scene, "web", "stdout", &printed);
    let log = scene.plugin.log();
    assert!(!log.contains("were no log entry"), "{log}");
    run.stop();
}

#[test]
fn a_kill_at_any_filling_of_a_segment_lets_the_stream_go_on() {
    let mut scene = Scene::new();
    // Segments of 224 KiB, the smallest there are.
    let run = scene.container("web").option("max-size", "600k").option("max-file", "1").start();
    for round in 0..20 {
        run.out_all(numbered("filling", 17, 1000));
        assert_eventually!(!run.has_unread());
        scene.plugin.kill();
        scene.plugin.restart();
        let line = format!("after kill {round}");
        run.out(&line);
        assert_eventually!(lines(&run.logs(Query::all().tail(1))) == [line.as_str()], "{line} is read");
    }
    run.stop();
}

#[test]
fn what_waits_in_the_pipe_while_there_is_no_plugin_is_read_by_the_next() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    run.out("before");
    assert_eventually!(run.lines().len() == 1);
    scene.plugin.kill();
    let written = numbered("line", 400, 100);
    run.out_all(&written);
    scene.plugin.restart();
    // A stop as soon as the plugin listens still finds what the pipe held.
    run.stop();
    let mut all = vec!["before".to_owned()];
    all.extend(written);
    assert_same(&web.lines(), &all);
    scene.assert_lines_in_loki("web", &all);
}

#[test]
fn a_stop_that_met_no_plugin_is_answered_by_the_next() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    run.out("last words");
    scene.plugin.kill();
    thread::scope(|threads| {
        threads.spawn(|| run.stop());
        scene.plugin.restart();
    });
    assert_eq!(web.lines(), ["last words"]);
    scene.assert_lines_in_loki("web", &["last words"]);
    assert_eventually!(scene.plugin.names_in("streams").is_empty());
}

/// The start waits for the disk while it recovers the former process's state.
#[test]
fn a_disk_that_hangs_at_the_start_does_not_keep_the_plugin_from_ending() {
    let mut plugin = Start::default().prepare();
    let records = plugin.state().join("streams");
    fs::create_dir(&records).expect("the state is empty");
    mkfifo(&records.join("hangs.json"), Mode::S_IRWXU).expect("the name is free");
    plugin.restart();
    let (taken, status) = plugin.terminate();
    assert!(status.success(), "{status}");
    assert!(taken < DOCKERDS_PATIENCE, "it took {taken:?}");
}

#[test]
fn a_second_process_on_one_state_ends_in_a_sentence_and_harms_nothing() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("before");
    scene.assert_lines_in_loki("web", &["before"]);
    let mut second = Start::default().state_in(&scene.plugin.state()).prepare();
    let said = second.fails_to_start();
    let state = scene.plugin.state();
    let sentence = format!("another process of the plugin works with the state in {}", state.display());
    assert!(said.contains(&sentence), "{said}");
    assert!(!second.socket().exists(), "it was not there for anybody");
    run.out("after");
    scene.assert_lines_in_loki("web", &["before", "after"]);
    run.stop();
}

/// As after a forced upgrade.
#[test]
fn a_process_that_is_still_ending_is_waited_for() {
    let mut plugin = Start::default().prepare();
    let hold = Hold::take(&plugin.state()).expect("it can be locked").expect("the lock is free");
    let ending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(hold);
    });
    plugin.restart();
    ending.join().expect("it only sleeps");
    let (_, status) = plugin.terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn an_end_in_order_takes_the_socket_along_and_leaves_the_records() {
    let mut scene = Scene::new();
    let run = scene.container("web").start();
    run.out("hello");
    scene.wait_for_lines("web", 1);
    let (taken, status) = scene.plugin.terminate();
    assert!(status.success() && taken < Duration::from_secs(2), "{status}, after {taken:?}");
    assert!(!scene.plugin.socket().exists());
    assert_eq!(scene.plugin.names_in("streams").len(), 1, "the container still runs");
    scene.plugin.restart();
    run.out("again");
    scene.assert_lines_in_loki("web", &["hello", "again"]);
    run.stop();
}

#[test]
fn a_loki_that_hangs_does_not_keep_the_plugin_from_ending() {
    let mut scene = Scene::new();
    let run = scene.container("web").option("loki-timeout", "1m").start();
    scene.loki.fail(Failure::Hang, Times::UntilHealed);
    let written = numbered("line", 1000, 100);
    run.out_all(&written);
    assert_eventually!(scene.plugin.connections_to(scene.loki.port()).len() == 1, "a push is on its way");
    let (taken, status) = scene.plugin.terminate();
    // dockerd kills after ten seconds. Two are promised, most of which the push may use.
    assert!(status.success() && taken < Duration::from_secs(5), "{status}, after {taken:?}");
    scene.loki.heal();
    scene.plugin.restart();
    scene.assert_lines_in_loki("web", &written);
    run.stop();
}

#[test]
fn lines_that_were_not_sent_when_their_container_was_gone_are_sent_by_the_next_process() {
    let mut scene = Scene::new();
    scene.loki.go_away();
    let written = numbered("line", 100, 100);
    for at in 0..10 {
        let run = scene.container(&format!("c{at}")).start();
        run.out_all(&written);
        run.print(1, b"no newline");
        run.stop();
    }
    scene.plugin.kill();
    scene.plugin.restart();
    scene.loki.come_back();
    for at in 0..10 {
        let name = format!("c{at}");
        scene.wait_for_lines(&name, 101);
        let of = |source| scene.loki.lines(&[("container_name", name.as_str()), ("source", source)]);
        let out: Vec<_> = of("stdout").iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        assert_same(&out, &written);
        assert_eq!(of("stderr"), [b"no newline"]);
    }
    assert_eventually!(scene.plugin.files_of_containers() == 0, "and then they are let go");
    // One push is enough.
    let pushes = scene.loki.pushes().len();
    scene.plugin.kill();
    scene.plugin.restart();
    assert_eventually!(scene.plugin.files_of_containers() == 0);
    assert_eq!(scene.loki.pushes().len(), pushes, "what was sent is not sent again");
}

#[test]
fn half_of_a_long_line_is_whole_when_the_rest_comes_to_the_next_process() {
    let mut scene = Scene::new();
    let run = scene.container("web").start();
    let line = numbered("long", 1, 60_000).swap_remove(0);
    run.print(0, &line.as_bytes()[..40_000]);
    run.err("meanwhile");
    scene.wait_for_lines("web", 1);
    scene.plugin.kill();
    scene.plugin.restart();
    run.print(0, &line.as_bytes()[40_000..]);
    run.print(0, b"\n");
    scene.wait_for_lines("web", 2);
    assert_same(&scene.lines_in_loki("web"), &["meanwhile", &line]);
    run.stop();
}

// === dockerd ===

#[test]
fn when_dockerd_dies_the_pipe_is_read_to_its_end_and_the_next_stream_goes_on() {
    let scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    let mut written = numbered("first", 500, 100);
    let follower = run.read(Query::all().follow());
    run.out_all(&written);
    let fifo = run.crash();
    assert_same(&lines(&follower.collect::<Vec<_>>()), &written);
    assert_eventually!(!fifo.exists(), "the plugin removes the FIFO");
    assert_eventually!(scene.plugin.names_in("streams").is_empty());
    // A live restore: the container ran all the time.
    let second = numbered("second", 500, 100);
    let run = web.start();
    run.out_all(&second);
    run.stop();
    written.extend(second);
    assert_same(&web.lines(), &written);
    scene.assert_lines_in_loki("web", &written);
}

#[test]
fn the_old_pipe_may_end_after_the_new_one_was_opened() {
    let scene = Scene::new();
    let web = scene.container("web");
    let old = web.start();
    old.out("one");
    assert_eventually!(old.lines() == ["one"]);
    let follower = old.read(Query::all().follow());
    // The kernel decides whether the old descriptor is closed before the new daemon comes.
    let new = web.start();
    new.out("two");
    let fifo = old.crash();
    new.out("three");
    assert_eventually!(!fifo.exists());
    // Its stream has ended, but the container has not. The follower need not show what it prints then, but must not end
    // in the middle of a line.
    let seen = lines(&follower.collect::<Vec<_>>());
    assert!(["one", "two", "three"].starts_with(&seen.iter().map(String::as_str).collect::<Vec<_>>()), "{seen:?}");
    new.stop();
    scene.wait_for_lines("web", 3);
    assert_eq!(scene.lines_in_loki("web"), ["one", "two", "three"]);
}

#[test]
fn when_both_die_the_next_plugin_clears_up_and_shows_what_there_was() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    run.out("hello");
    scene.wait_for_lines("web", 1);
    scene.plugin.kill();
    let fifo = run.crash();
    scene.plugin.restart();
    assert_eventually!(!fifo.exists() && scene.plugin.names_in("streams").is_empty(), "the stale stream is cleared up");
    assert_eq!(web.lines(), ["hello"]);
    let run = web.start();
    run.out("again");
    scene.assert_lines_in_loki("web", &["hello", "again"]);
    run.stop();
}

#[test]
fn a_record_whose_fifo_is_gone_is_forgotten() {
    let mut scene = Scene::new();
    let run = scene.container("web").start();
    run.out("hello");
    scene.wait_for_lines("web", 1);
    scene.plugin.kill();
    let fifo = run.crash();
    // The directory of FIFOs does not survive a reboot.
    fs::remove_file(fifo).expect("it is still there");
    scene.plugin.restart();
    assert_eventually!(scene.plugin.names_in("streams").is_empty());
    assert_eq!(scene.container("web").lines(), ["hello"]);
}

#[test]
fn a_container_that_runs_again_and_again_has_one_log() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let mut written = Vec::new();
    for round in 0..6 {
        let run = web.start();
        let lines = numbered(&format!("run {round}"), 50, 60);
        run.out_all(&lines);
        written.extend(lines);
        match round {
            // Between two runs, and while the container runs.
            1 => {
                run.stop();
                scene.plugin.kill();
                scene.plugin.restart();
            }
            3 => {
                scene.plugin.kill();
                scene.plugin.restart();
                run.stop();
            }
            _ => drop(run.stop()),
        }
        assert_same(&web.lines(), &written);
    }
    let printed: Vec<_> = written.iter().map(|line| line.clone().into_bytes()).collect();
    judge_loki(&scene, "web", "stdout", &printed);
}

#[test]
fn a_plugin_that_is_enabled_with_other_defaults_goes_on_with_them() {
    let mut scene = Scene::with(Start::default().set("LOKI_EXTERNAL_LABELS", "container_name=old"), Standin::builder());
    let run = scene.container("web").start();
    run.out("one");
    scene.wait_for_lines("old", 1);
    scene.plugin.terminate();
    scene.plugin.set("LOKI_EXTERNAL_LABELS", "container_name=new");
    scene.plugin.restart();
    run.out("two");
    scene.assert_lines_in_loki("new", &["two"]);
    assert_eq!(scene.lines_in_loki("old"), ["one"]);
    run.stop();
}

#[test]
fn a_plugin_that_is_enabled_with_settings_of_no_use_keeps_the_lines_until_they_are_mended() {
    let loki = Standin::start();
    let start = Start::default().set("LOKI_URL", &loki.push_url());
    let mut scene = Scene::with(start, Standin::builder());
    let (web, gone) = (scene.dockerd.container("web"), scene.dockerd.container("gone"));
    let (run, leaving) = (web.start(), gone.start());
    run.out("one");
    assert_eventually!(loki.count(&[]) == 1);
    scene.plugin.terminate();
    let cursors = scene.plugin.cursors(web.id());
    let sent: Vec<_> = cursors.iter().map(|cursor| fs::read(cursor).expect("a cursor")).collect();
    assert_eq!(sent.len(), 1);
    // The containers need a URL that is no longer set.
    scene.plugin.set("LOKI_URL", "");
    scene.plugin.restart();
    assert_eventually!(scene.plugin.log().matches("lines are buffered on disk and not sent: options").count() == 2);
    let kept = numbered("kept", 4000, 1000);
    run.out_all(&kept);
    leaving.out("last words");
    leaving.stop();
    assert_eventually!(!run.has_unread(), "no container is blocked");
    assert_eventually!(run.lines().len() == 4001, "docker logs has them");
    scene.plugin.terminate();
    let kept_cursors: Vec<_> = cursors.iter().map(|cursor| fs::read(cursor).ok()).collect();
    assert_eq!(kept_cursors, sent.into_iter().map(Some).collect::<Vec<_>>(), "how far it was sent is not forgotten");
    scene.plugin.set("LOKI_URL", &loki.push_url());
    scene.plugin.restart();
    run.out("two");
    let all = [vec!["one".to_owned()], kept, vec!["two".to_owned()]].concat();
    let of = |name: &str| {
        let lines = loki.lines(&[("container_name", name)]);
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
    };
    assert_eventually!(of("web").len() == all.len() && of("gone").len() == 1);
    assert_same(&of("web"), &all);
    assert_eq!(gone.lines(), ["last words"]);
    run.stop();
    assert_same(&web.lines(), &all);
}

/// An earlier release named the file by a checksum of the URL.
#[test]
fn a_cursor_of_an_earlier_release_is_found_after_an_upgrade() {
    let mut scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    let written = numbered("before", 500, 100);
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    scene.plugin.terminate();
    let [cursor] = &scene.plugin.cursors(web.id())[..] else { panic!("one destination has one cursor") };
    let former = format!("cursor-{:08x}", crc32fast::hash(scene.loki.push_url().as_bytes()));
    fs::rename(cursor, cursor.with_file_name(former)).expect("a disk");
    scene.plugin.restart();
    run.out("after");
    let all = [written, vec!["after".to_owned()]].concat();
    assert_eventually!(scene.lines_in_loki("web").last() == all.last());
    assert_same(&scene.lines_in_loki("web"), &all);
    assert_eq!(&scene.plugin.cursors(web.id()), std::slice::from_ref(cursor));
    run.stop();
}

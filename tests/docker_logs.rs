//! `docker logs` gives what `json-file` would give: newline for newline, tail, since, until, follow, after exit.
//!
//! The first half runs dockerd's own tests of log readers (moby, `daemon/logger/loggertest/logreader.go`) over the
//! socket, under their names. Here times are compared to the nanosecond, and without dockerd, which would filter by
//! `since` and `until` again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::dockerd::{Container, Query, Run, lines, now};
use crate::harness::frame::Entry;
use crate::harness::plugin::names_in;
use crate::harness::{Scene, assert_eventually, assert_same, numbered};

const MILLISECOND: i64 = 1_000_000;
const MINUTE: i64 = 60_000 * MILLISECOND;

/// loggertest's seven messages: lines, a line of one chunk, a line of two chunks, a long one, and one that is older
/// than the others.
fn messages() -> Vec<Entry> {
    let ago = |minutes: i64| now() - minutes * MINUTE;
    let long = format!("a really long message {}", "a".repeat(4096));
    vec![
        Entry::new("stdout", ago(30), "a message"),
        Entry::new("stdout", ago(20), "another message").chunk("aaaaaaaa", 1, true),
        Entry::new("stderr", ago(15), "to be...").chunk("bbbbbbbb", 1, false),
        Entry::new("stderr", ago(15), "continued").chunk("bbbbbbbb", 2, true),
        Entry::new("stderr", ago(10), long),
        Entry::new("stderr", ago(10), "just one more message"),
        Entry::new("stdout", ago(90), "someone adjusted the clock"),
    ]
}

/// Writes messages, and returns what must be read back.
fn log(run: &Run, messages: &[Entry]) -> Vec<Entry> {
    messages.iter().for_each(|message| run.log(message));
    messages.iter().map(Entry::shown).collect()
}

/// TestTail: each case has a query and what it expects of `expected`.
fn test_tail(read: impl Fn(Query) -> Vec<Entry>, messages: &[Entry], expected: &[Entry]) {
    let (all, count) = (Query::all(), messages.len());
    let tail = |count: usize| all.tail(count as i64);
    // loggertest truncates its bounds to milliseconds, for drivers that do.
    let since = messages[1].time / MILLISECOND * MILLISECOND;
    for (case, query, expected) in [
        ("Exact", tail(count), expected),
        ("LessThanAvailable", tail(2), &expected[count - 2..]),
        ("MoreThanAvailable", tail(100), expected),
        ("All", all, expected),
        ("Since", all.since(since), &expected[1..]),
        ("MoreThanSince", tail(count).since(since), &expected[1..]),
        ("LessThanSince", tail(count - 2).since(since), &expected[2..]),
        ("Until", all.until(messages[2].time - MILLISECOND), &expected[..2]),
        ("SinceAndUntil", all.since(since).until(messages[1].time + MILLISECOND), &expected[1..2]),
        // Not in loggertest: both bounds are inclusive, and a negative tail means no limit.
        ("SinceItself", all.since(messages[1].time), &expected[1..]),
        ("UntilItself", all.until(messages[1].time), &expected[..2]),
        ("NegativeTail", all.tail(-5), expected),
        ("Zero", all.tail(0), &[]),
    ] {
        assert_eq!(read(query), expected, "{case}: {query:?}");
    }
}

#[test]
fn tail_live() {
    let scene = Scene::new();
    let run = scene.container("tailtest").start();
    let messages = messages();
    let expected = log(&run, &messages);
    assert_eventually!(run.logs(Query::all()).len() == expected.len());
    test_tail(|query| run.logs(query), &messages, &expected);
    run.stop();
}

#[test]
fn tail_stopped() {
    let scene = Scene::new();
    let container = scene.container("tailtest");
    let messages = messages();
    let run = container.start();
    let expected = log(&run, &messages);
    run.stop();
    test_tail(|query| container.logs(query), &messages, &expected);
    // One stream for many queries, as in loggertest.
    let probe = container.start();
    test_tail(|query| probe.logs(query), &messages, &expected);
    probe.stop();
}

#[test]
fn tail_stopped_and_read_by_the_next_process() {
    let mut scene = Scene::new();
    let container = scene.container("tailtest");
    let messages = messages();
    let run = container.start();
    let expected = log(&run, &messages);
    run.stop();
    scene.plugin.kill();
    scene.plugin.restart();
    test_tail(|query| container.logs(query), &messages, &expected);
}

/// The cases of `testTailEmptyLogs`. loggertest runs the first query six times by mistake; here each is run.
fn test_tail_empty(run: &Run) {
    let far = 4_102_448_461_000_000_000;
    let all = Query::all();
    for (case, query) in [
        ("Zero", all.tail(0)),
        ("All", all),
        ("Tail", all.tail(42)),
        ("Since", all.since(1_000_000_000)),
        ("Until", all.until(far)),
        ("SinceAndUntil", all.since(1_000_000_000).until(far)),
    ] {
        assert_eq!(run.logs(query), [], "{case}");
    }
}

#[test]
fn tail_of_empty_logs() {
    let scene = Scene::new();
    let container = scene.container("tailemptytest");
    let run = container.start();
    test_tail_empty(&run);
    run.stop();
    let probe = container.start();
    test_tail_empty(&probe);
    probe.stop();
}

/// A TestFollow: the messages before the follower, its query, and what it must see of all messages.
fn test_follow(
    name: &str,
    before: usize,
    query: impl Fn(&[Entry]) -> Query,
    expected: impl Fn(&[Entry]) -> Vec<Entry>,
) {
    let scene = Scene::new();
    let run = scene.container(name).start();
    let messages = messages();
    let mut shown = log(&run, &messages[..before]);
    if before > 0 {
        assert_eventually!(run.logs(Query::all()).len() == before);
    }
    let follower = run.read(query(&messages).follow());
    shown.extend(log(&run, &messages[before..]));
    let follower = thread::spawn(move || follower.collect::<Vec<_>>());
    run.stop();
    assert_eq!(follower.join().expect("it reads to the end"), expected(&shown), "{name}");
}

#[test]
fn follow_from_empty_log() {
    for tail in [-1, 0, 1, 42] {
        test_follow("followstart", 0, |_| Query::all().tail(tail), <[Entry]>::to_vec);
    }
}

#[test]
fn follow_attach_mid_stream() {
    test_follow("followmiddle", 1, |_| Query::all(), <[Entry]>::to_vec);
}

#[test]
fn follow_since() {
    let since = |messages: &[Entry]| Query::all().since(messages[2].time / MILLISECOND * MILLISECOND);
    test_follow("followsince0", 0, since, |shown| shown[2..].to_vec());
}

#[test]
fn follow_tail_0() {
    test_follow("followtail00", 2, |_| Query::all().tail(0), |shown| shown[2..].to_vec());
}

#[test]
fn follow_tail_1() {
    test_follow("followtail00", 2, |_| Query::all().tail(1), |shown| shown[1..].to_vec());
}

/// These followers end by themselves, before the container does.
fn test_follow_until(name: &str, query: impl Fn(&[Entry]) -> Query, expected: impl Fn(&[Entry]) -> Vec<Entry>) {
    let scene = Scene::new();
    let run = scene.container(name).start();
    let messages = messages();
    let follower = run.read(query(&messages).follow());
    let shown = log(&run, &messages);
    assert_eq!(follower.collect::<Vec<_>>(), expected(&shown), "{name}");
    run.stop();
}

#[test]
fn follow_until() {
    let until = |messages: &[Entry]| Query::all().until(messages[2].time - MILLISECOND);
    test_follow_until("followuntil0", until, |shown| shown[..2].to_vec());
}

#[test]
fn follow_since_and_until() {
    let bounds =
        |messages: &[Entry]| Query::all().since(messages[1].time - MILLISECOND).until(messages[2].time - MILLISECOND);
    test_follow_until("followbounded", bounds, |shown| shown[1..2].to_vec());
}

#[test]
fn follow_multiple_starts() {
    let scene = Scene::new();
    let container = scene.container("startrestart");
    let messages = messages();
    let run = container.start();
    let mut expected = log(&run, &messages[..3]);
    run.stop();
    let run = container.start();
    let follower = run.read(Query::all().follow());
    expected.extend(log(&run, &messages[3..]));
    run.stop();
    assert_eq!(follower.collect::<Vec<_>>(), expected);
}

#[test]
fn follow_concurrent() {
    let scene = Scene::new();
    let run = scene.container("logconcurrent0").start();
    let follower = run.read(Query::all().follow());
    let of = |entries: &[Entry], source: &str| -> Vec<Entry> {
        entries.iter().filter(|entry| entry.source == source).cloned().collect()
    };
    let messages = messages();
    let expected: Vec<_> = ["stdout", "stderr"].map(|source| of(&messages, source)).into();
    thread::scope(|threads| {
        for messages in &expected {
            threads.spawn(|| log(&run, messages));
        }
    });
    run.stop();
    let seen: Vec<_> = follower.collect();
    for messages in expected {
        let shown: Vec<_> = messages.iter().map(Entry::shown).collect();
        assert_eq!(of(&seen, &messages[0].source), shown);
    }
}

// === What dockerd's command line tests hold, and what was learnt on a live engine ===

/// Output that `docker logs` must print byte for byte.
fn odd_output() -> Vec<u8> {
    let mut output = b"plain\n\n\n  blanks  \ncarriage\r\nbinary \x00\x01\xff\xfe\x80\nlatin1 \xe9\n".to_vec();
    output.extend_from_slice("umlauts ä ö ü 😀\n".as_bytes());
    // Lengths around those at which dockerd splits lines.
    for length in [16_383, 16_384, 16_385, 32_767, 32_768, 33_000, 70_000] {
        output.extend((0..length).map(|at| b'a' + (at % 26) as u8));
        output.push(b'\n');
    }
    output.extend_from_slice(b"trailing zeros \0\0\0\0\n\0\n");
    output
}

#[test]
fn every_byte_and_every_newline_comes_back() {
    let scene = Scene::new();
    let container = scene.container("odd");
    let run = container.start();
    let output = odd_output();
    run.print(0, &output);
    run.print(1, b"stderr stands beside it\n");
    run.stop();
    let of = |source: &str| -> Vec<u8> {
        let shown = container.logs(Query::all());
        shown.into_iter().filter(|entry| entry.source == source).flat_map(|entry| entry.line).collect()
    };
    assert!(of("stdout") == output, "stdout came back otherwise");
    assert_eq!(of("stderr"), b"stderr stands beside it\n");
}

#[test]
fn no_newline_is_invented_at_the_end() {
    let scene = Scene::new();
    let container = scene.container("no-newline");
    let run = container.start();
    run.print(0, b"first\nlast words");
    run.stop();
    let printed: Vec<u8> = container.logs(Query::all()).into_iter().flat_map(|entry| entry.line).collect();
    assert_eq!(printed, b"first\nlast words");
}

#[test]
fn a_hundred_thousand_lines_reach_a_follower_and_a_late_reader_in_order() {
    let scene = Scene::new();
    let container = scene.container("many");
    let run = container.start();
    let follower = run.read(Query::all().follow());
    let follower = thread::spawn(move || lines(&follower.collect::<Vec<_>>()));
    let written = numbered("line", 100_000, 20);
    run.out_all(&written);
    run.stop();
    assert_same(&follower.join().expect("it reads to the end"), &written);
    assert_same(&container.lines(), &written);
    assert_same(&lines(&container.logs(Query::all().tail(1234))), &written[100_000 - 1234..]);
}

#[test]
fn the_last_lines_of_a_container_that_writes_all_the_time_are_shown() {
    let scene = Scene::new();
    let run = scene.container("busy").start();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                run.write(&Entry::new("stdout", now(), "busy").to_frame().repeat(200));
            }
        });
        assert_eventually!(run.logs(Query::all()).len() > 100);
        let counts = [(); 50].map(|()| run.logs(Query::all().tail(5)).len());
        done.store(true, Ordering::Relaxed);
        assert_eq!(counts, [5; 50]);
    });
    run.stop();
}

#[test]
fn a_follower_ends_when_the_container_stops_and_has_everything() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let mut follower = run.read(Query::all().follow());
    run.out("one");
    assert_eq!(follower.next().map(|entry| entry.text()), Some("one\n".into()));
    let written = numbered("burst", 3000, 100);
    run.out_all(&written);
    // The follower has not read a byte of the burst when the container is gone.
    run.stop();
    assert_same(&lines(&follower.collect::<Vec<_>>()), &written);
}

#[test]
fn following_a_container_that_does_not_run_ends_at_once() {
    let scene = Scene::new();
    let container = scene.container("web");
    let run = container.start();
    run.out("one");
    run.stop();
    // dockerd does not allow this; a direct read has no stream to wait for.
    let probe = container.start();
    let follower = probe.read(Query::all().follow());
    probe.stop();
    assert_eq!(lines(&follower.collect::<Vec<_>>()), ["one"]);
}

#[test]
fn looking_at_a_container_does_not_end_those_who_follow_it() {
    let scene = Scene::new();
    let container = scene.container("web");
    let run = container.start();
    run.out("one");
    let mut follower = run.read(Query::all().follow());
    assert_eq!(follower.next().map(|entry| entry.text()), Some("one\n".into()));
    // As when `docker logs` is called while the container restarts.
    for _ in 0..3 {
        assert_eq!(container.lines(), ["one"]);
    }
    run.out("two");
    assert_eq!(follower.next().map(|entry| entry.text()), Some("two\n".into()));
    run.stop();
    assert_eq!(follower.next(), None);
}

#[test]
fn many_look_at_a_stopped_container_at_once() {
    let scene = Scene::new();
    let container = scene.container("web");
    let run = container.start();
    let written = numbered("line", 500, 50);
    run.out_all(&written);
    run.stop();
    thread::scope(|threads| {
        for _ in 0..10 {
            threads.spawn(|| assert_same(&container.lines(), &written));
        }
    });
    assert_eventually!(scene.plugin.names_in("streams").is_empty());
}

#[test]
fn a_follower_that_does_not_read_holds_nobody_up() {
    let scene = Scene::new();
    let container = scene.container("web");
    let run = container.start();
    let slow = run.read(Query::all().follow());
    // Far more than the sockets and pipes between them hold.
    let written = numbered("line", 20_000, 500);
    run.out_all(&written);
    scene.wait_for_lines("web", written.len());
    assert_same(&lines(&run.logs(Query::all().tail(10))), &written[written.len() - 10..]);
    let memory = scene.plugin.memory();
    assert!(memory < 64 * 1024, "{memory} KiB of memory for ten megabytes without a reader");
    run.stop();
    assert_same(&lines(&slow.collect::<Vec<_>>()), &written);
}

#[test]
fn followers_that_do_not_read_share_what_memory_there_is() {
    let scene = Scene::generous();
    let run = scene.container("web").option("max-size", "10m").start();
    run.out_all(numbered("line", 60_000, 100));
    assert_eventually!(!run.has_unread());
    let memory = scene.plugin.memory();
    let slow: Vec<_> = (0..200).map(|_| run.read(Query::all().follow())).collect();
    // Each follower has as much as its sockets hold, and waits.
    assert_eq!(run.logs(Query::all().tail(1)).len(), 1, "others are served");
    let grown = scene.plugin.memory().saturating_sub(memory);
    assert!(grown < 80 << 10, "200 followers take {grown} KiB");
    drop(slow);
}

#[test]
fn a_follower_that_was_overtaken_goes_on_with_whole_lines() {
    let scene = Scene::new();
    // The smallest possible ring: half a megabyte.
    let run = scene.container("web").option("max-size", "100k").option("max-file", "1").start();
    let slow = run.read(Query::all().follow());
    let written = numbered("line", 20_000, 500);
    run.out_all(&written);
    scene.wait_for_lines("web", 1);
    run.stop();
    let seen = lines(&slow.collect::<Vec<_>>());
    assert!(seen.len() < written.len(), "it was meant to be overtaken");
    assert_eq!(seen.last(), written.last());
    assert!(seen.is_sorted(), "out of order");
    assert!(seen.iter().all(|line| written.binary_search(line).is_ok()), "a line that was never written");
}

#[test]
fn followers_that_hang_up_leave_nothing_open() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("one");
    assert_eventually!(run.lines().len() == 1);
    let before = scene.plugin.files().len();
    let mut followers: Vec<_> = (0..100).map(|_| run.read(Query::all().follow())).collect();
    for follower in &mut followers {
        assert_eq!(follower.next().map(|entry| entry.text()), Some("one\n".into()));
    }
    assert!(scene.plugin.files().len() >= before + 100);
    drop(followers);
    // The container prints nothing meanwhile. Other connections come and go.
    assert_eventually!(scene.plugin.files().len() < before + 10, "{:?}", scene.plugin.files());
    run.stop();
}

#[test]
fn a_follower_sees_the_runs_before_and_not_the_one_after() {
    let scene = Scene::new();
    let container = scene.container("web");
    let first = container.start();
    first.out("first run");
    first.stop();
    let second = container.start();
    let follower = second.read(Query::all().follow());
    second.out("second run");
    second.stop();
    let third = container.start();
    third.out("third run");
    assert_eventually!(third.lines().len() == 3);
    let seen = lines(&follower.collect::<Vec<_>>());
    // The follower may have seen the third run while it was still reading.
    assert_eq!(seen[..2], ["first run", "second run"]);
    third.stop();
}

#[test]
fn a_follower_from_the_future_ends_with_the_container() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    let follower = run.read(Query::all().since(now() + 60 * MINUTE).follow());
    run.out("too early for it");
    run.stop();
    assert_eq!(follower.collect::<Vec<_>>(), []);
}

#[test]
fn a_follower_of_the_last_lines_of_a_silent_container_gets_them_at_once() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out_all(["one", "two", "three"]);
    assert_eventually!(run.lines().len() == 3);
    let mut follower = run.read(Query::all().tail(2).follow());
    assert_eq!(follower.next().map(|entry| entry.text()), Some("two\n".into()));
    assert_eq!(follower.next().map(|entry| entry.text()), Some("three\n".into()));
    follower.set_timeout(Duration::from_millis(200));
    assert!(follower.try_next().is_err(), "nothing more is to come");
    run.stop();
}

#[test]
fn what_is_in_a_full_ring_is_found_from_every_side() {
    let scene = Scene::new();
    let container = scene.container("web").option("max-size", "1m").option("max-file", "2");
    let run = container.start();
    let begin = now();
    // Four times what the ring holds, with one second between lines.
    for at in 0..20_000 {
        run.log(&Entry::new("stdout", begin + at * 1_000 * MILLISECOND, format!("{at:0400}")));
    }
    run.stop();
    let all = container.logs(Query::all());
    let first: i64 = all[0].text().trim_end().parse().expect("a number");
    assert!(first > 10_000, "the oldest are gone");
    assert_eq!(all.len() as i64, 20_000 - first, "and none of the others");
    for at in [first, first + 1, 17_777, 19_999] {
        let time = begin + at * 1_000 * MILLISECOND;
        let since = container.logs(Query::all().since(time));
        assert_eq!((since.len() as i64, since[0].time), (20_000 - at, time));
        let until = container.logs(Query::all().until(time));
        assert_eq!(until.last().map(|entry| entry.time), Some(time));
        let tail = container.logs(Query::all().tail(20_000 - at));
        assert_eq!(tail[0].time, time);
    }
}

#[test]
fn a_container_that_nobody_has_heard_of_has_an_empty_log() {
    let scene = Scene::new();
    let stranger: Container = scene.container("stranger");
    let other = scene.container("other").start();
    let body = format!(r#"{{"Info":{{"ContainerID":"{}"}},"Config":{{"Tail":-1}}}}"#, stranger.id());
    let reply = scene.dockerd.client().call("/LogDriver.ReadLogs", body.as_bytes()).expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(scene.plugin.names_in("rings"), [""; 0]);
    other.stop();
}

/// A power loss or damage leaves a gap in the numbers of lines.
#[test]
fn tail_counts_lines_across_a_gap() {
    let mut scene = Scene::generous();
    let container = scene.container("web").option("max-size", "1m").option("max-file", "4");
    let run = container.start();
    run.out_all(numbered("line", 4000, 300));
    run.stop();
    scene.wait_for_lines("web", 4000);
    scene.plugin.kill();
    let ring = scene.plugin.ring(container.id());
    let segments: Vec<_> = names_in(&ring).into_iter().filter(|name| name.ends_with(".seg")).collect();
    assert!(segments.len() >= 4, "{segments:?}");
    fs::remove_file(ring.join(&segments[segments.len() - 2])).unwrap();
    scene.plugin.restart();
    let all = container.lines();
    assert!(all.len() > 1000 && all.len() < 4000, "{}", all.len());
    for count in [1, 10, 300, 700, 1000, all.len(), 5000] {
        let expected = &all[all.len().saturating_sub(count)..];
        assert_same(&lines(&container.logs(Query::all().tail(count as i64))), expected);
    }
}

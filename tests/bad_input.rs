//! Invalid input gets a clear error or a counted drop, causes no panic, and affects no other container.
//!
//! Every scenario has a second container, which must still be logged at the end. Whether the plugin panicked is checked
//! when it ends, see [`crate::harness::plugin`].

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use serde_json::json;

use crate::harness::bystander::Bystander;
use crate::harness::dockerd::{Container, now};
use crate::harness::frame::{Attribute, Entry, framed};
use crate::harness::plugin::{Start, names_in};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::Standin;

/// What the log says of bytes that are no entry.
const GARBAGE: &str = "were no log entry and were dropped";

fn honest(count: usize) -> Vec<String> {
    numbered("honest", count, 50)
}

// === The FIFO ===

#[test]
fn frames_that_lie_about_their_length_cost_themselves_and_no_other() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let length = u32::try_from(Entry::new("stdout", now(), "liar").to_frame().len() - 4).expect("it is short");
    for lie in [0, 1, 3, length - 1, length + 1, length + 40, 1_000, 60_000, 65_537, 5_000_000, u32::MAX] {
        let container = scene.container(&format!("lie{lie}"));
        let run = container.start();
        let (before, after) = (honest(3), honest(20));
        run.out_all(&before);
        let mut liar = Entry::new("stdout", now(), "liar").to_frame();
        liar[..4].copy_from_slice(&lie.to_be_bytes());
        run.write(&liar);
        run.out_all(&after);
        run.stop();
        let all = [before, after].concat();
        // A length that could be true is found to be false at the end of the pipe.
        scene.assert_lines_in_loki(container.name(), &all);
        assert_same(&container.lines(), &all);
    }
    assert!(scene.plugin.log().contains(GARBAGE));
    bystander.must_be_unharmed(&scene);
}

#[test]
fn garbage_in_the_fifo_is_counted_and_what_follows_it_is_found() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let mut random = fastrand::Rng::with_seed(3);
    let mut noise = |length: usize| -> Vec<u8> { (0..length).map(|_| random.u8(..)).collect() };
    let text = b"this was never meant for a log driver\n".repeat(1000);
    let ones = vec![0xff; 100_000];
    let zeros = vec![0; 100_000];
    let cut_off = Entry::new("stdout", now(), [b'x'; 3000]).to_frame()[..1500].to_vec();
    let rubbish = [noise(7), noise(1000), noise(1_000_000), text, ones, zeros, cut_off];
    for (at, garbage) in rubbish.iter().enumerate() {
        let container = scene.container(&format!("c{at}"));
        let run = container.start();
        run.out_all(honest(3));
        run.write(garbage);
        run.out_all(honest(20));
        run.stop();
        let all = [honest(3), honest(20)].concat();
        scene.assert_lines_in_loki(container.name(), &all);
        assert_same(&container.lines(), &all);
    }
    let garbage: usize = rubbish.iter().map(Vec::len).sum();
    assert_eventually!(
        scene.plugin.files_of_containers() > 0 && {
            let counted = scene.plugin.sum_in_log(GARBAGE, "bytes");
            counted == garbage as u64
        },
        "{} of {garbage} bytes of garbage are counted",
        scene.plugin.sum_in_log(GARBAGE, "bytes")
    );
    bystander.must_be_unharmed(&scene);
}

/// A truncated frame swallows the frames behind it until more bytes come or the FIFO ends. Their lines are found when
/// the shipper has nothing to do and is about to end.
#[test]
fn lines_behind_a_cut_off_frame_are_sent_though_they_are_found_only_at_the_end_of_the_stream() {
    let scene = Scene::new();
    let cut_off = Entry::new("stdout", now(), [b'x'; 3000]).to_frame()[..1500].to_vec();
    let containers: Vec<_> = (0..40).map(|at| scene.container(&format!("c{at}"))).collect();
    for container in &containers {
        let run = container.start();
        run.out_all(honest(3));
        run.write(&cut_off);
        run.out_all(honest(20));
        run.stop();
    }
    let all = [honest(3), honest(20)].concat();
    for container in &containers {
        scene.assert_lines_in_loki(container.name(), &all);
    }
}

#[test]
fn a_pipe_of_nothing_but_garbage_does_not_hold_up_its_writer() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let run = scene.container("mad").start();
    let block: Vec<u8> = (0..1 << 20).map(|at| (at * 31 % 251) as u8).collect();
    for _ in 0..8 {
        run.write(&block);
    }
    run.stop();
    bystander.must_be_unharmed(&scene);
}

#[test]
fn unknown_fields_are_skipped_and_entries_without_a_needed_one_are_dropped() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let container = scene.container("odd");
    let run = container.start();
    let entry = |line: &str| Entry::new("stdout", now(), line);
    let attribute = Attribute { key: "k".into(), value: "v".into() };
    // Fields of newer and future engines.
    run.log(&Entry { attributes: vec![attribute.clone(), attribute], ..entry("with attributes") });
    let known = entry("with unknown fields").to_frame().split_off(4);
    let unknown =
        [&known[..], &[0x98, 0x06, 0x2a], &[0xa2, 0x06, 3, 1, 2, 3], &[0xa9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    run.write(&framed(&unknown));
    // proto3 omits empty fields.
    run.log(&entry(""));
    // These entries cannot be used.
    for lost in [
        Entry { source: String::new(), ..entry("no source") },
        Entry { source: "stdlog".into(), ..entry("unknown source") },
        Entry { time: 0, ..entry("no time") },
        Entry { time: -5, ..entry("time before 1970") },
    ] {
        run.log(&lost);
    }
    run.write(&framed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    run.write(&framed(&[0x08; 100]));
    run.out("the end");
    run.stop();
    let kept = ["with attributes", "with unknown fields", "", "the end"];
    scene.assert_lines_in_loki("odd", &kept);
    assert_eq!(container.lines(), kept);
    assert!(scene.plugin.log().contains(GARBAGE));
    bystander.must_be_unharmed(&scene);
}

#[test]
fn chunks_that_make_no_sense_lose_no_byte() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let container = scene.container("chunks");
    let run = container.start();
    let piece = |line: &str, id: &str, ordinal, last| Entry::new("stdout", now(), line).chunk(id, ordinal, last);
    // A last chunk without a first, ordinals that go backwards, an id that repeats, a line between chunks of another,
    // a last that never comes.
    for entry in [
        piece("only the last. ", "a", 7, true),
        piece("one ", "b", 2, false),
        piece("two ", "b", -1, false),
        piece("three", "b", i32::MAX, true),
        piece("again ", "b", 1, false),
        piece("and anew", "b", 1, true),
        piece("left alone", "c", 1, false),
        Entry::new("stdout", now(), "in between"),
        piece("", "", 0, true),
        piece("never ends", &"long id ".repeat(1000), 1, false),
    ] {
        run.log(&entry);
    }
    run.log(&Entry { chunk: None, partial: true, ..Entry::new("stderr", now(), "old ") });
    run.log(&Entry::new("stderr", now(), "daemon"));
    run.stop();
    let expected =
        ["only the last. ", "one two three", "again ", "and anew", "left alone", "in between", "", "never ends"];
    scene.wait_for_lines("chunks", expected.len() + 1);
    let of = |source| -> Vec<String> {
        let lines = scene.loki.lines(&[("container_name", "chunks"), ("source", source)]);
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    assert_same(&of("stdout"), &expected);
    assert_same(&of("stderr"), &["old daemon"]);
    bystander.must_be_unharmed(&scene);
}

// === The calls ===

#[test]
fn what_is_not_json_is_refused_with_a_sentence() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    for body in [
        "not json",
        "{",
        "\"\"",
        "[]",
        "null",
        "{}",
        " \n ",
        "{\"File\":7}",
        "{\"File\":\"/x\",\"Info\":[]}",
        "{\"File\":\"/x\",\"Info\":{\"Config\":{\"a\":{}}}}",
        "{\"File\":\"\\ud800\"}",
        "\u{0}\u{1}\u{2}",
    ] {
        let refusal = scene.dockerd.call("StartLogging", body.as_bytes()).expect_err("it says nothing to start");
        assert!(refusal.len() > 20 && !refusal.contains('\n'), "{body:?}: {refusal}");
        let refusal = scene.dockerd.call("ReadLogs", body.as_bytes()).expect_err("it says nothing to read");
        assert!(refusal.starts_with("LogDriver.ReadLogs: ") && refusal.len() > 40, "{body:?}: {refusal}");
        // An error would leak dockerd's reference, whatever the body was.
        assert_eq!(scene.dockerd.call("StopLogging", body.as_bytes()), Ok(()), "{body:?}");
    }
    let invalid = scene.dockerd.call("StartLogging", b"{\"File\":\"\xff\xfe\"}");
    assert!(invalid.is_err());
    bystander.must_be_unharmed(&scene);
}

#[test]
fn what_a_read_asks_for_may_be_odd_or_missing() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let container = scene.container("web");
    let run = container.start();
    run.out_all(["one", "two"]);
    assert_eventually!(run.lines().len() == 2);
    let ask = |config: &str| {
        let body = format!(r#"{{"Info":{{"ContainerID":"{}"}}{config}}}"#, container.id());
        scene.dockerd.client().call("/LogDriver.ReadLogs", body.as_bytes()).expect("an answer")
    };
    // Docker's documentation names the member differently from dockerd, and omits times.
    let all = ask("").body;
    assert!(all.contains("one\n") && all.contains("two\n"));
    assert_eq!(ask(r#","Config":{}"#).body, all);
    assert_eq!(ask(r#","Config":{"Since":null,"Until":"","Tail":-1}"#).body, all);
    let last = ask(r#","ReadConfig":{"Tail":1}"#).body;
    assert!(!last.contains("one\n") && last.contains("two\n"));
    assert_eq!(ask(r#","Config":{"Tail":9223372036854775807,"Until":"9999-12-30T22:00:00Z"}"#).body, all);
    assert_eq!(ask(r#","Config":{"Tail":-9223372036854775808,"Since":"1950-01-01T00:00:00Z"}"#).body, all);
    for (config, what) in
        [(r#","Config":{"Since":"yesterday"}"#, "yesterday"), (r#","Config":{"Tail":"five"}"#, "five")]
    {
        let reply = ask(config);
        assert_eq!(reply.status, 500);
        // The error shows the position, and nothing of the body.
        assert!(reply.body.contains("(line 1, column ") && !reply.body.contains(what), "{}", reply.body);
    }
    run.stop();
    bystander.must_be_unharmed(&scene);
}

#[test]
fn a_huge_call_is_refused_and_a_large_one_is_served() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    // Environments may be large.
    let large = scene.container("large").env(&format!("LARGE={}", "x".repeat(4 << 20))).start();
    large.out("hello");
    scene.assert_lines_in_loki("large", &["hello"]);
    large.stop();
    let memory = scene.plugin.memory();
    let huge = vec![b' '; 64 << 20];
    for method in ["StartLogging", "ReadLogs", "StopLogging"] {
        // The answer comes before the whole call was read; the client may see it or a reset.
        if let Ok(reply) = scene.dockerd.client().once("POST", &format!("/LogDriver.{method}"), "", &huge)
            && method != "StopLogging"
        {
            assert!(reply.body.contains("cannot be read"), "{}", reply.body);
        }
    }
    let grown = scene.plugin.memory().saturating_sub(memory);
    assert!(grown < 40 * 1024, "calls that were refused hold {grown} KiB");
    bystander.must_be_unharmed(&scene);
}

#[test]
fn what_is_not_http_disturbs_nobody() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let head = format!("POST /LogDriver.Capabilities HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for bytes in [&b"\0\0\0\0"[..], b"EHLO example.org\r\n", b"POST\r\n\r\n", b"\x16\x03\x01\x02\x00", head.as_bytes()]
    {
        let mut connection = scene.dockerd.client().connect().expect("it listens");
        // The plugin may close the connection before it has read everything.
        let _ = connection.write_all(bytes);
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    bystander.must_be_unharmed(&scene);
}

#[test]
fn a_file_that_is_no_fifo_is_refused_by_name() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let web = scene.container("web");
    let folder = scene.plugin.fifos();
    let regular = folder.join("regular");
    fs::write(&regular, b"content").expect("a file");
    let socket = scene.plugin.socket();
    for (file, why) in [
        (folder.join("absent"), "No such file"),
        (folder.join("no/such/folder"), "No such file"),
        (regular.join("below-a-file"), "Not a directory"),
        (regular.clone(), "not a FIFO"),
        (folder, "not a FIFO"),
        (PathBuf::from("/dev/null"), "not a FIFO"),
        (socket, "cannot open"),
        (PathBuf::new(), "No such file"),
        (PathBuf::from("x".repeat(5000)), "File name too long"),
    ] {
        let refusal = scene.dockerd.call("StartLogging", &web.start_call(&file)).expect_err("it cannot be read");
        assert!(
            refusal.contains(why) && refusal.contains(&file.display().to_string()),
            "{}: {refusal}",
            file.display()
        );
    }
    assert_eq!(fs::read(&regular).expect("a file"), b"content", "nothing was done to it");
    assert_eq!(scene.plugin.names_in("streams").len(), 1, "only the other container has a record");
    bystander.must_be_unharmed(&scene);
}

#[test]
fn a_container_id_that_is_a_path_leads_nowhere() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let outside = names_in(scene.plugin.state().parent().expect("it has one"));
    for id in ["", ".", "..", "a/../../../escaped", "/etc", "a/b", "../escaped", "a\0b", "a b", "ä", &"a".repeat(300)]
    {
        let container: Container = scene.container("evil").with("ContainerID", json!(id));
        let refusal = container.try_start().expect_err("it cannot be the name of a folder");
        assert!(refusal.contains("the container id"), "{id:?}: {refusal}");
        let body = json!({"Info": {"ContainerID": id}, "Config": {"Tail": -1}}).to_string();
        let reply = scene.dockerd.client().call("/LogDriver.ReadLogs", body.as_bytes()).expect("an answer");
        assert_eq!(reply.status, 500, "{id:?}");
        assert!(reply.body.contains("the container id"), "{id:?}: {}", reply.body);
    }
    assert_eq!(names_in(scene.plugin.state().parent().expect("it has one")), outside);
    assert_eq!(names_in(&scene.plugin.state().join("rings")), [bystander.run.container().id()]);
    bystander.must_be_unharmed(&scene);
}

#[test]
fn fields_of_a_container_may_be_missing_or_null() {
    let scene = Scene::new();
    let bystander = Bystander::new(&scene);
    let mut container = scene.container("bare");
    for field in
        ["ContainerArgs", "ContainerEnv", "ContainerLabels", "ContainerImageName", "ContainerCreated", "LogPath"]
    {
        container = container.with(field, json!(null));
    }
    let run = container.with("SomethingNew", json!({"deep": [1, null]})).start();
    run.out("hello");
    scene.assert_lines_in_loki("bare", &["hello"]);
    run.stop();
    bystander.must_be_unharmed(&scene);
}

#[test]
fn a_plugin_that_has_no_more_files_says_so_and_goes_on_with_what_it_has() {
    let scene = Scene::with(Start::default().open_files(100), Standin::builder());
    let bystander = Bystander::new(&scene);
    scene.wait_for_lines("bystander", 1);
    let mut runs = Vec::new();
    let refusal = loop {
        assert!(runs.len() < 100, "a hundred files were enough for as many containers");
        match scene.container(&format!("c{}", runs.len())).try_start() {
            Ok(run) => {
                run.out("hello");
                runs.push(run);
            }
            Err(refusal) => break refusal,
        }
    };
    assert!(refusal.contains("Too many open files"), "{refusal}");
    for run in runs {
        run.stop();
    }
    assert_eventually!(scene.plugin.files_of_containers() < 10, "files are closed");
    let late = scene.container("late").start();
    late.out("hello");
    scene.assert_lines_in_loki("late", &["hello"]);
    late.stop();
    bystander.must_be_unharmed(&scene);
}

// === The socket ===

#[test]
fn a_socket_that_cannot_be_bound_is_named() {
    let mut plugin = Start::default().prepare();
    fs::create_dir(plugin.socket()).expect("nothing is there yet");
    let said = plugin.fails_to_start();
    assert!(said.contains("loki-rs.sock"), "{said}");
}

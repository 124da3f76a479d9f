//! Streams start and stop, whatever dockerd does meanwhile, and leave nothing behind.

use std::io::Write;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::dockerd::{Query, lines, now};
use crate::harness::frame::Entry;
use crate::harness::{Scene, assert_eventually, assert_same, numbered};

/// The answer that a call must get.
fn answer(scene: &Scene, path: &str) -> (u16, String) {
    let reply = scene.dockerd.client().call(path, b"").unwrap_or_else(|error| panic!("{path}: {error}"));
    (reply.status, reply.body)
}

#[test]
fn a_line_goes_to_docker_logs_and_to_loki() {
    let scene = Scene::new();
    let web = scene.container("web").start();
    web.out("hello");
    web.err("oh no");
    scene.wait_for_lines("web", 2);
    assert_eq!(scene.loki.lines(&[("container_name", "web"), ("source", "stdout")]), [b"hello"]);
    assert_eq!(scene.loki.lines(&[("container_name", "web"), ("source", "stderr")]), [b"oh no"]);
    assert_eq!(web.lines(), ["hello", "oh no"]);
    web.stop();
}

#[test]
fn a_plugin_with_nothing_but_its_defaults_delivers_too() {
    let scene = Scene::new();
    let web = scene.patient_container("web").start();
    web.out("hello");
    scene.assert_lines_in_loki("web", &["hello"]);
    web.stop();
}

#[test]
fn dockerd_learns_that_this_is_a_log_driver_that_can_be_read() {
    let scene = Scene::new();
    assert_eq!(answer(&scene, "/Plugin.Activate"), (200, r#"{"Implements":["LogDriver"]}"#.into()));
    let capabilities = (200, r#"{"Cap":{"ReadLogs":true},"Err":""}"#.into());
    assert_eq!(answer(&scene, "/LogDriver.Capabilities"), capabilities);
}

#[test]
fn any_host_will_do() {
    let scene = Scene::new();
    // 20.10 sends an empty host, newer engines a name; the last one is what a person types.
    for host in ["", "plugin.moby.localhost", "localhost"] {
        let reply = scene.dockerd.client().once("POST", "/LogDriver.Capabilities", host, b"");
        assert_eq!(reply.expect("an answer").status, 200, "{host:?}");
    }
}

#[test]
fn an_unknown_path_is_answered_with_404_and_a_sentence() {
    let scene = Scene::new();
    for path in ["/", "/LogDriver.Nonsense", "/VolumeDriver.Create", "/LogDriver.StartLogging/"] {
        let (status, sentence) = answer(&scene, path);
        assert_eq!(status, 404, "{path}");
        assert!(sentence.contains("this is a log driver"), "{path}: {sentence}");
    }
    let reply = scene.dockerd.client().once("GET", "/LogDriver.Capabilities", "", b"").expect("an answer");
    assert_eq!(reply.status, 405, "{}", reply.body);
}

#[test]
fn a_stop_reads_the_pipe_empty_before_it_is_answered() {
    let scene = Scene::new();
    let burst = scene.container("burst");
    // `docker logs` may follow the exit of a container at once, when most of its output is still in the pipe.
    for round in 0..5 {
        let run = burst.start();
        let written = numbered(&format!("round {round}"), 600, 100);
        run.out_all(&written);
        run.stop();
        let shown = burst.logs(Query::all().tail(600));
        assert_same(&lines(&shown), &written);
    }
}

#[test]
fn a_stop_of_a_file_that_is_not_known_succeeds() {
    let scene = Scene::new();
    let web = scene.container("web").start();
    for body in [&br#"{"File":"/run/docker/logging/nobody"}"#[..], br#"{"File":""}"#, br#"{"File":"relative/../path"}"#]
    {
        assert_eq!(scene.dockerd.call("StopLogging", body), Ok(()));
    }
    web.out("goes on");
    scene.assert_lines_in_loki("web", &["goes on"]);
    web.stop();
}

#[test]
fn a_stop_without_a_body_reads_every_pipe_empty_and_succeeds() {
    let scene = Scene::new();
    let (a, b) = (scene.container("a").start(), scene.container("b").start());
    let written = numbered("line", 500, 100);
    a.out_all(&written);
    b.out_all(&written);
    // dockerd repeats a StopLogging whose connection broke without its body, so its stream is unknown.
    assert_eq!(scene.dockerd.call("StopLogging", b""), Ok(()));
    assert!(!a.has_unread() && !b.has_unread());
    assert_same(&a.lines(), &written);
    assert_same(&b.lines(), &written);
    // One of the two streams still runs.
    b.out("and on");
    assert_eventually!(b.lines().last().is_some_and(|line| line == "and on"));
    a.stop();
    b.stop();
}

#[test]
fn a_stop_without_a_body_is_answered_while_another_container_writes_as_fast_as_it_can() {
    let scene = Scene::new();
    let (busy, quiet) = (scene.container("busy").start(), scene.container("quiet").start());
    quiet.out("last words");
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            let frames = Entry::new("stdout", now(), [b'x'; 1000]).to_frame().repeat(5000);
            while !done.load(Ordering::Relaxed) {
                busy.write(&frames);
            }
        });
        assert_eventually!(!busy.logs(Query::all().tail(1)).is_empty());
        for _ in 0..10 {
            assert_eq!(scene.dockerd.call("StopLogging", b""), Ok(()));
            assert_eq!(quiet.lines(), ["last words"]);
        }
        done.store(true, Ordering::Relaxed);
    });
    let log = scene.plugin.log();
    assert!(!log.contains("could not be read empty in time"), "the stop of one container waited for another:\n{log}");
    quiet.stop();
    busy.stop();
}

#[test]
fn a_start_without_a_body_is_refused_with_a_sentence() {
    let scene = Scene::new();
    let refusal = scene.dockerd.call("StartLogging", b"").expect_err("its FIFO is unknown");
    assert!(refusal.contains("no body"), "{refusal}");
}

#[test]
fn starting_the_same_file_twice_makes_one_stream() {
    let scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    let call = web.start_call(run.file());
    assert_eq!(scene.dockerd.call("StartLogging", &call), Ok(()));
    let written = numbered("line", 2000, 50);
    run.out_all(&written);
    scene.assert_lines_in_loki("web", &written);
    assert_same(&run.lines(), &written);
    run.stop();
    assert_same(&web.lines(), &written);
}

#[test]
fn starting_the_same_file_many_times_at_once_makes_one_stream() {
    let scene = Scene::new();
    let web = scene.container("web");
    for round in 0..10 {
        let (file, fifo) = scene.dockerd.make_fifo();
        let call = web.start_call(&file);
        let together = Barrier::new(8);
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    together.wait();
                    assert_eq!(scene.dockerd.call("StartLogging", &call), Ok(()));
                });
            }
        });
        assert_eventually!(
            scene.plugin.files().iter().filter(|name| **name == file).count() == 1,
            "{round}: one reads it"
        );
        let stop = format!("{{\"File\":{:?}}}", file.to_str().expect("a name"));
        assert_eq!(scene.dockerd.call("StopLogging", stop.as_bytes()), Ok(()));
        drop(fifo);
        assert_eventually!(scene.plugin.files_of_containers() == 0, "{round}: the FIFO is let go");
    }
}

#[test]
fn two_containers_do_not_mix() {
    let scene = Scene::new();
    let (a, b) = (scene.container("a").start(), scene.container("b").start());
    let (lines_a, lines_b) = (numbered("a", 3000, 60), numbered("b", 3000, 60));
    thread::scope(|threads| {
        threads.spawn(|| a.out_all(&lines_a));
        threads.spawn(|| b.out_all(&lines_b));
    });
    scene.assert_lines_in_loki("a", &lines_a);
    scene.assert_lines_in_loki("b", &lines_b);
    assert_same(&a.lines(), &lines_a);
    assert_same(&b.lines(), &lines_b);
    a.stop();
    b.stop();
}

#[test]
fn connections_that_say_nothing_disturb_nobody() {
    let scene = Scene::new();
    let client = scene.dockerd.client();
    // Enabling a plugin is a connection that is closed at once.
    drop(client.connect().expect("it listens"));
    let silent: Vec<_> = (0..20).map(|_| client.connect().expect("it listens")).collect();
    let mut halfway = client.connect().expect("it listens");
    halfway.write_all(b"POST /LogDriver.StopLogging HTTP/1.1\r\nHost:").expect("it is read");
    let mut without_its_body = client.connect().expect("it listens");
    let head = b"POST /LogDriver.StopLogging HTTP/1.1\r\nHost: \r\nContent-Length: 100\r\n\r\n{\"File\"";
    without_its_body.write_all(head).expect("it is read");
    let web = scene.container("web").start();
    web.out("hello");
    scene.assert_lines_in_loki("web", &["hello"]);
    drop((silent, halfway, without_its_body));
    web.out("again");
    scene.assert_lines_in_loki("web", &["hello", "again"]);
    web.stop();
}

#[test]
fn fifty_containers_at_once_are_all_served() {
    let scene = Scene::new();
    thread::scope(|threads| {
        for at in 0..50 {
            let scene = &scene;
            threads.spawn(move || {
                let container = scene.container(&format!("c{at}"));
                let run = container.start();
                let written = numbered(container.name(), 20, 40);
                run.out_all(&written);
                scene.assert_lines_in_loki(container.name(), &written);
                assert_same(&run.lines(), &written);
                run.stop();
                assert_same(&container.lines(), &written);
            });
        }
    });
    assert_eq!(scene.loki.entries().len(), 50 * 20);
}

#[test]
fn a_container_that_never_wrote_leaves_nothing() {
    let scene = Scene::new();
    let silent = scene.container("silent");
    let run = silent.start();
    assert!(run.lines().is_empty());
    run.stop();
    // `docker logs` on a container that was created and never ran.
    assert!(silent.lines().is_empty());
    assert!(silent.logs(Query::all().tail(3)).is_empty());
    assert_eventually!(scene.plugin.files_of_containers() == 0, "its files are closed");
    assert_eq!(scene.plugin.names_in("rings"), [""; 0]);
    assert_eventually!(scene.plugin.names_in("streams").is_empty(), "no record of it is kept");
    assert!(scene.loki.pushes().is_empty());
}

#[test]
fn a_stopped_container_leaves_its_ring_and_nothing_else() {
    let scene = Scene::new();
    let web = scene.container("web");
    let run = web.start();
    let fifo = run.file().to_owned();
    assert_eq!(scene.plugin.names_in("streams").len(), 1, "the next process would have to know of it");
    run.out("hello");
    scene.wait_for_lines("web", 1);
    assert!(scene.plugin.files_of_containers() > 0);
    run.stop();
    assert!(!fifo.exists());
    assert_eventually!(scene.plugin.names_in("streams").is_empty(), "the record goes with the stream");
    assert_eventually!(scene.plugin.files_of_containers() == 0, "its files are closed");
    assert_eq!(scene.plugin.names_in("rings"), [web.id()]);
    assert_eq!(web.lines(), ["hello"]);
}

#[test]
fn a_hundred_containers_one_after_another_leave_neither_memory_nor_files() {
    let scene = Scene::new();
    let round = |round: usize, count: usize| {
        for at in 0..count {
            let name = format!("c{round}-{at}");
            let run = scene.container(&name).start();
            run.out("here and gone");
            run.stop();
        }
    };
    round(0, 30);
    scene.wait_for_lines("c0-29", 1);
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the files of the first thirty are closed");
    let (files, memory) = (scene.plugin.files().len(), scene.plugin.memory());
    round(1, 100);
    assert_eventually!(scene.loki.entries().len() == 130, "all lines are in Loki");
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the files of the next hundred are closed");
    // Connections come and go.
    assert_eventually!(
        scene.plugin.files().len() <= files + 10,
        "{files} files have become {:?}",
        scene.plugin.files()
    );
    let grown = scene.plugin.memory().saturating_sub(memory);
    assert!(grown < 4096, "a hundred containers that are gone hold {grown} KiB");
}

#[test]
fn a_start_that_is_refused_leaves_nothing() {
    let scene = Scene::new();
    for (container, why) in [
        (scene.dockerd.container("no-url"), "loki-url: is missing"),
        (scene.container("bad-option").option("loki-batch-size", "many"), "loki-batch-size: \"many\""),
        (scene.container("unknown-option").option("loki-batchsize", "1"), "loki-batchsize"),
        (scene.container("bad-template").option("loki-external-labels", "a={{.Nonsense}}"), "loki-external-labels"),
    ] {
        let refusal = container.try_start().expect_err("it cannot be logged");
        assert!(refusal.contains(why) && !refusal.contains('\n'), "{refusal}");
    }
    assert_eq!(scene.plugin.names_in("streams"), [""; 0]);
    assert_eq!(scene.plugin.names_in("rings"), [""; 0]);
    let web = scene.container("web").start();
    web.out("hello");
    scene.assert_lines_in_loki("web", &["hello"]);
    assert!(web.stop() < Duration::from_secs(5));
}

//! Which lines `docker logs` shows, of containers in every state.

use super::stage::{Scene, difference, numbered};
use std::io::Write;

#[test]
fn tail_counts_from_the_end() {
    let scene = Scene::new("tail");
    let container = scene.container("exited").run_well(&["lines:500"]);
    let all = numbered(500);
    for (tail, expected) in
        [("all", &all[..]), ("1000", &all), ("500", &all), ("7", &all[493..]), ("1", &all[499..]), ("0", &[])]
    {
        assert_eq!(container.lines(&["--tail", tail]), expected, "--tail {tail}");
    }
}

#[test]
fn since_and_until_take_in_their_bounds() {
    let scene = Scene::new("times");
    // At a rate, so that times differ.
    let container = scene.container("exited").run_well(&["lines:20@400"]);
    let stamped = container.lines(&["--timestamps"]);
    let (times, texts): (Vec<&str>, Vec<&str>) = stamped.iter().map(|line| line.split_once(' ').unwrap()).unzip();
    assert_eq!(texts, numbered(20));
    let (from, to) = (times[5], times[14]);
    let expected = |keep: &dyn Fn(&str) -> bool| -> Vec<&str> {
        texts.iter().zip(&times).filter(|(_, time)| keep(time)).map(|(text, _)| *text).collect()
    };
    assert_eq!(container.lines(&["--since", from]), expected(&|time| time >= from));
    assert_eq!(container.lines(&["--until", to]), expected(&|time| time <= to));
    assert_eq!(container.lines(&["--since", from, "--until", to]), expected(&|time| (from..=to).contains(&time)));
    // The tail is taken first.
    assert_eq!(container.lines(&["--tail", "3", "--since", from]), numbered(20)[17..]);
    assert_eq!(container.lines(&["--tail", "3", "--until", from]), [""; 0]);
    assert_eq!(container.lines(&["--since", "10m"]), numbered(20));
    assert_eq!(container.lines(&["--until", "10m"]), [""; 0]);
}

#[test]
fn a_container_that_was_never_started_has_no_lines() {
    let scene = Scene::new("created");
    let container = scene.container("only").create(&["lines:1"]);
    for arguments in [&[][..], &["--tail", "5"], &["--follow"]] {
        assert_eq!(container.lines(arguments), [""; 0], "{arguments:?}");
    }
    container.docker(&["start"]);
    container.wait();
    assert_eq!(container.lines(&[]), numbered(1), "reading did no harm");
}

#[test]
fn following_a_container_that_has_ended_ends() {
    let scene = Scene::new("ended");
    let container = scene.container("exited").run_well(&["lines:3"]);
    assert_eq!(container.follow(&[]).rest(), numbered(3));
    assert_eq!(container.follow(&["--tail", "1"]).rest(), ["line 3"]);
}

#[test]
fn a_follower_has_each_line_at_once_and_ends_with_the_container() {
    let scene = Scene::new("followed");
    let (container, mut docker) = scene.container("live").start_echo();
    let mut keyboard = docker.stdin.take().unwrap();
    let mut says = |line: &str| writeln!(keyboard, "{line}").unwrap();

    says("one");
    let all = container.follow(&[]);
    assert_eq!(all.next(), "one");
    says("two");
    assert_eq!(all.next(), "two");
    let last = container.follow(&["--tail", "1"]);
    assert_eq!(last.next(), "two");
    says("three");
    assert_eq!((all.next(), last.next()), ("three".into(), "three".into()));
    // A reader of what is there now is not held up by the container going on.
    assert_eq!(container.lines(&["--tail", "2"]), ["two", "three"]);

    says("four");
    drop(keyboard);
    assert_eq!(all.rest(), ["four"]);
    assert_eq!(last.rest(), ["four"]);
    assert!(docker.wait().unwrap().success());
    scene.expect_lines(&container, ["one", "two", "three", "four"]);
}

#[test]
fn a_follower_of_the_first_run_ends_with_it() {
    let scene = Scene::new("followed-restart");
    let container = scene.container("twice").start(&["lines:2", "wait"]);
    let first = container.follow(&[]);
    assert_eq!([first.next(), first.next()], ["line 1", "line 2"]);
    container.docker(&["restart"]);
    assert_eq!(first.rest(), [""; 0]);
    let both = container.follow(&[]);
    assert_eq!([both.next(), both.next(), both.next(), both.next()], ["line 1", "line 2", "line 1", "line 2"]);
    container.docker(&["stop"]);
    assert_eq!(both.rest(), [""; 0]);
}

#[test]
fn a_follower_keeps_up_with_a_container_at_full_speed() {
    let scene = Scene::new("followed-fast");
    let container = scene.container("fast").start(&["lines:1", "wait", "lines:200000"]);
    let follower = container.follow(&[]);
    assert_eq!(follower.next(), "line 1");
    container.docker(&["kill", "--signal", "TERM"]);
    let rest = follower.rest();
    assert_eq!(rest.len(), container.lines(&[]).len() - 1);
    assert_eq!(difference(&rest, &numbered(rest.len())), None, "docker logs -f");
}

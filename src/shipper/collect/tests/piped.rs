//! The collector with a pipeline.

use super::*;
use promtail::pipeline::{Form, Pipeline, Registries, exposition};

/// Makes a stream for each first word.
const BY_LEVEL: &str = "[{regex: {expression: '^(?P<level>\\w+)'}}, {labels: {level: }}]";

/// Joins indented lines to the line before.
const BLOCKS: &str = "[{multiline: {firstline: '^\\S', max_wait_time: 1h}}]";

fn collector(scene: &Scene, stages: &str) -> Collector {
    collector_of(scene, Pipeline::parse(stages, Form::List).unwrap())
}

fn collector_of(scene: &Scene, pipeline: Pipeline) -> Collector {
    let saved = ring::Cursor::open(&scene.dir.path().join("cursor")).unwrap().saved();
    let mut plan = plan(1 << 20);
    plan.pipeline = Some(pipeline);
    for (stream, source) in plan.streams.iter_mut().zip(Source::ALL) {
        stream.as_mut().unwrap().pairs = vec![("source".into(), source.as_str().into())];
    }
    Collector::new(&scene.ring, saved, &plan)
}

/// The batches of a round, as they are sent.
fn bodies(collector: &mut Collector) -> Vec<Option<Vec<u8>>> {
    (0..collector.batches()).map(|at| collector.batch(at).map(|batch| batch.body().to_vec())).collect()
}

fn request_of(body: &[u8]) -> PushRequest {
    let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    PushRequest::decode(&message[..]).unwrap()
}

fn lines_of(body: &[u8]) -> Vec<String> {
    request_of(body).streams[0].entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

/// The process dies; the next one begins with the cursor that a collector has saved.
fn dies(scene: &Scene, first: &Collector) -> Collector {
    let (position, note) = first.checkpoint();
    ring::Cursor::open(&scene.dir.path().join("cursor")).unwrap().save(position, note.bytes()).unwrap();
    collector(scene, BLOCKS)
}

/// The lines of all batches of a round.
fn sorted_lines(collector: &mut Collector) -> Vec<String> {
    let mut lines: Vec<_> = bodies(collector).iter().flatten().flat_map(|body| lines_of(body)).collect();
    lines.sort();
    lines
}

#[test]
fn a_replay_makes_the_same_bytes_and_leaves_out_what_is_with_loki() {
    let scene = Scene::new();
    for at in 0..60 {
        let level = ["info", "warn", "error"][at % 3];
        scene.write("stdout", &format!("{level} {at}"), None);
    }
    let mut collector = collector(&scene, BY_LEVEL);
    collect(&mut collector, false);
    let first = bodies(&mut collector);
    assert_eq!(first.len(), 3);
    collector.acknowledge(1, 0);
    collector.rewind();
    collect(&mut collector, false);
    let mut expected = first.clone();
    expected.remove(1);
    assert_eq!(bodies(&mut collector), expected);

    // The batch is halved, and Loki accepts the first half.
    collector.split(0);
    collector.rewind();
    collect(&mut collector, false);
    let half = lines_of(bodies(&mut collector)[0].as_ref().unwrap());
    collector.acknowledge(0, 0);
    for at in 0..collector.batches() {
        if collector.batch(at).is_some() {
            collector.acknowledge(at, 0);
        }
    }
    let mut rest = Vec::new();
    collect(&mut collector, false);
    for body in bodies(&mut collector).into_iter().flatten() {
        rest.extend(lines_of(&body));
    }
    let of_first = lines_of(first[0].as_ref().unwrap());
    let of_rest: Vec<_> = rest.into_iter().filter(|line| line.starts_with("info")).collect();
    assert_eq!([half, of_rest].concat(), of_first);
}

#[test]
fn the_next_process_begins_at_the_first_line_that_a_stage_holds() {
    let scene = Scene::new();
    // A long line of one source ends behind a short one of the other, and both are held.
    scene.write("stdout", "long ", Some((1, false)));
    scene.write("stderr", "short", None);
    scene.write("stdout", "line", Some((2, true)));
    let mut first = collector(&scene, BLOCKS);
    collect(&mut first, false);
    assert!(first.is_empty() && first.holds_lines());
    assert_eq!(first.checkpoint().0.seq, 0);
    let mut next = dies(&scene, &first);
    scene.write("stderr", "  more", None);
    collect(&mut next, true);
    assert_eq!(sorted_lines(&mut next), ["long line", "short\n  more"]);
}

#[test]
fn a_line_that_is_not_whole_in_front_of_one_that_a_stage_holds_loses_neither() {
    let scene = Scene::new();
    scene.write("stderr", "half ", Some((1, false)));
    scene.write("stdout", "held", None);
    let mut first = collector(&scene, BLOCKS);
    collect(&mut first, false);
    assert!(first.is_empty() && first.holds_lines());
    assert_eq!(first.checkpoint().0.seq, 0);
    let mut next = dies(&scene, &first);
    scene.write("stderr", "line", Some((2, true)));
    scene.write("stdout", "  more", None);
    collect(&mut next, true);
    assert_eq!(sorted_lines(&mut next), ["half line", "held\n  more"]);
}

#[test]
fn what_a_stage_lets_go_of_at_once_goes_into_smaller_and_smaller_batches() {
    let scene = Scene::new();
    let blocks: Vec<_> = (0..9).map(|at| format!("{at}")).collect();
    for block in &blocks {
        scene.write("stdout", block, None);
    }
    // Makes a block of each line, all of them of one stream.
    let stages = "[{regex: {expression: '^(?P<k>.)'}}, {labels: {k: }}, {multiline: {firstline: '^', max_wait_time: 1h}}, \
                  {labeldrop: [k]}]";
    let mut collector = collector(&scene, stages);
    collect(&mut collector, true);
    let sizes = |collector: &mut Collector| -> Vec<_> {
        bodies(collector).iter().map(|body| body.as_ref().map_or(0, |body| lines_of(body).len())).collect()
    };
    assert_eq!(sizes(&mut collector), [9]);
    for (split, expected) in [(0, vec![4, 4, 1]), (1, vec![2, 2, 2, 2, 1]), (4, vec![1; 9])] {
        collector.split(split);
        collector.rewind();
        collect(&mut collector, true);
        assert_eq!(sizes(&mut collector), expected);
    }
    // Loki accepts all but one, and that one comes again alone.
    for at in (0..9).filter(|at| *at != 4) {
        collector.acknowledge(at, 0);
    }
    collector.rewind();
    collect(&mut collector, true);
    let rest: Vec<_> = bodies(&mut collector).iter().flatten().flat_map(|body| lines_of(body)).collect();
    assert_eq!(rest, ["4"]);
}

#[test]
fn lines_that_are_tried_again_are_counted_once() {
    let scene = Scene::new();
    let registries = Registries::default();
    let stages =
        "[{drop: {expression: debug}}, {metrics: {lines: {type: counter, config: {match_all: true, action: inc}}}}]";
    let pipeline = Pipeline::parse(stages, Form::List).unwrap();
    let [mut first, mut second] = [Some(registries.for_container()), None]
        .map(|registry| collector_of(&scene, pipeline.clone().counting_in(registry)));
    let count = || {
        exposition::text(&registries.collect(0))
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join(" ")
    };
    for round in 1..=3 {
        scene.write("stdout", "debug", None);
        scene.write("stdout", "info", None);
        for collector in [&mut first, &mut second] {
            for _ in 0..3 {
                collect(collector, false);
                collector.rewind();
            }
            collect(collector, false);
        }
        if round == 2 {
            first.acknowledge(0, 0);
        }
        let expected = format!(
            "logentry_dropped_lines_total{{reason=\"drop_stage\"}} {round} \
                                promtail_custom_lines{{source=\"stdout\"}} {round}"
        );
        assert_eq!(count(), expected);
    }
    drop(first);
    assert_eq!(count(), "");
}

#[test]
fn what_a_stage_holds_does_not_keep_the_cursor_back_for_ever() {
    let scene = Scene::new();
    let mut collector = collector(&scene, "[{cri: }, {multiline: {firstline: '^\\S', max_wait_time: 24h}}]");
    scene.write("stdout", "2026-01-01T00:00:00Z stdout P begun", None);
    for at in 0..10_100 {
        scene.write("stderr", &format!("line {at}"), None);
    }
    let round = |collector: &mut Collector| {
        collect(collector, false);
        (0..collector.batches()).map(|at| lines_of(&collector.batch(at).unwrap().body())).collect::<Vec<_>>()
    };
    let first = round(&mut collector);
    assert!(first.iter().any(|lines| lines == &["begun"]), "it is let go of by itself");
    collector.rewind();
    assert_eq!(round(&mut collector), first);
    for at in 0..collector.batches() {
        collector.acknowledge(at, 0);
    }
    assert!(collector.checkpoint().0.seq > 10_000);
    // Each came out when the next one began; the last one is held.
    assert_eq!(first.concat().len(), 10_100);
}

#[test]
fn a_limited_rate_makes_a_request_a_second_and_not_one_for_each_line() {
    let scene = Scene::new();
    for at in 0..200 {
        scene.write("stdout", &format!("line {at}"), None);
    }
    let mut collector = collector(&scene, "[{limit: {rate: 10, burst: 10}}]");
    let (mut now, mut requests, mut sent) = (NOW, 0, 0);
    while sent < 200 {
        collector.collect(&Published { next_seq: 0, bytes: 0 }, false, true, &Now { host: now, loki: None });
        sent += collector.batch(0).unwrap().entries();
        collector.acknowledge(0, 0);
        requests += 1;
        // No more than the burst, what flowed in, and a second's worth.
        let seconds = (now - NOW) as f64 / 1e9;
        assert!(sent as f64 <= 10.0 + 10.0 * seconds + 12.0, "{sent} after {seconds} s");
        let pause = collector.not_before().unwrap().saturating_duration_since(tokio::time::Instant::now());
        now += pause.as_nanos() as i64;
    }
    assert_eq!(sent, 200);
    assert!((15..=20).contains(&requests), "{requests}");
    // 190 lines beyond the burst take 19 seconds.
    assert!((now - NOW - 19_000_000_000).abs() < 1_000_000_000, "{}", now - NOW);
}

#[test]
fn equal_lines_that_say_one_time_have_times_of_their_own() {
    let scene = Scene::new();
    // To the millisecond, as most programs write it; the last but one comes late from another thread.
    for at in [5, 5, 5, 5, 6, 5, 7] {
        scene.write("stdout", &format!("2026-11-20T10:00:00.00{at}Z"), None);
    }
    let stages = "[{regex: {expression: '^(?P<at>.*)$'}}, {timestamp: {source: at, format: RFC3339Nano}}]";
    let mut collector = collector(&scene, stages);
    collect(&mut collector, false);
    let request = request_of(bodies(&mut collector)[0].as_ref().unwrap());
    let times: Vec<_> = request.streams[0].entries.iter().map(|entry| entry.timestamp.unwrap().nanos).collect();
    assert_eq!(times, [5_000_000, 5_000_001, 5_000_002, 5_000_003, 6_000_000, 5_000_004, 7_000_000]);
}

/// Lines that were stamped before the clock was set back are read behind it and held.
#[test]
fn a_clock_that_is_set_back_makes_no_stage_wait_longer() {
    const HOUR: i64 = 3600 * 1_000_000_000;
    let wall = base::clock::unix_nanos();
    let ahead = Now { host: wall + HOUR, loki: None };
    for stamped in [ahead, Now { host: wall, loki: None }] {
        let scene = Scene::new();
        scene.write_at(ahead.host, "stdout", "begin", None);
        let mut collector = collector(&scene, "[{multiline: {firstline: '^begin', max_wait_time: 3s}}]");
        collector.collect(&Published::default(), false, true, &stamped);
        assert!(collector.holds_lines());
        let left = collector.deadline().unwrap().saturating_duration_since(tokio::time::Instant::now());
        assert!(left.as_secs() <= 3, "{left:?}");
    }
    let scene = Scene::new();
    let mut collector = collector(&scene, "[{limit: {rate: 1, burst: 1}}]");
    for (at, now) in [ahead, Now { host: wall, loki: None }].into_iter().enumerate() {
        (0..2).for_each(|_| scene.write("stdout", &format!("line {at}"), None));
        collector.collect(&Published::default(), false, true, &now);
        collector.acknowledge(0, 0);
    }
    let left = collector.not_before().unwrap().saturating_duration_since(tokio::time::Instant::now());
    assert!(left.as_secs() < 10, "{left:?}");
}

#[test]
fn lines_that_cost_too_much_are_counted_once_and_end_the_sending_when_there_are_too_many() {
    let bomb = r#"[{match: {selector: '{source=~".+"} |= "boom"', stages: [{template: {source: x, template: '{{repeat 9999999 "x"}}'}}]}}]"#;
    let scene = Scene::new();
    let mut collector = collector(&scene, bomb);
    for line in ["one", "boom", "two"] {
        scene.write("stdout", line, None);
    }
    let mut sent = Vec::new();
    for _ in 0..4 {
        collect(&mut collector, false);
        // A retried round counts nothing twice.
        collector.rewind();
        collect(&mut collector, false);
        sent.append(&mut sorted_lines(&mut collector));
        (0..collector.batches()).for_each(|at| collector.acknowledge(at, 0));
    }
    assert_eq!((sent, collector.take_toll().too_costly), (vec!["one".to_owned(), "two".to_owned()], 1));
    assert!(collector.is_suspect() && !collector.is_out());
    let mut rounds = 0;
    while !collector.is_out() {
        scene.write("stdout", "boom", None);
        collect(&mut collector, false);
        (0..collector.batches()).for_each(|at| collector.acknowledge(at, 0));
        rounds += 1;
    }
    assert_eq!(rounds, crate::shipper::strikes::MOST, "one that was made up for, in part");
}

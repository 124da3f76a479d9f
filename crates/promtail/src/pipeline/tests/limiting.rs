//! Lines that are too many.

use super::*;

#[test]
fn a_limit_without_drop_tells_how_long_to_wait() {
    let mut scene = Scene::new("- limit: {rate: 2, burst: 2}");
    assert_eq!(scene.line("1", 0), None);
    assert_eq!(scene.line("2", 0), None);
    assert_eq!(scene.line("3", 0), Some(SECOND / 2));
    assert_eq!(scene.line("4", SECOND / 2), Some(SECOND));
    assert_eq!(scene.line("5", 10 * SECOND), None);
    assert_eq!(scene.came().len(), 5);
}

#[test]
fn a_limit_with_drop_goes_by_when_lines_were_logged() {
    let stages = "- limit: {rate: '1', burst: 1, drop: 'true'}";
    let mut scene = Scene::new(stages);
    for (line, time) in [("1", 0), ("2", SECOND / 2), ("3", SECOND), ("4", SECOND)] {
        scene.line(line, time);
    }
    assert_eq!(scene.came(), ["1", "3"]);
    let dropped = exposition::text(&scene.pipeline.registry().unwrap().collect(0));
    assert!(dropped.ends_with("logentry_dropped_lines_total{reason=\"ratelimit_drop_stage\"} 2\n"), "{dropped}");
    // All at once, after an hour without Loki: none was too much when it was logged.
    let mut scene = Scene::new(stages);
    for second in 0..10 {
        let entry = Entry { arrived: second * SECOND, ..Entry::default() };
        scene.pipeline.process(entry, 3600 * SECOND, &mut scene.out);
    }
    assert_eq!(scene.out.len(), 10);
}

#[test]
fn a_limit_by_label_has_a_bucket_for_each_value() {
    let mut scene = Scene::new("- limit: {rate: 1, burst: 1, drop: true, by_label_name: source}");
    for (line, source) in [("a1", "a"), ("b1", "b"), ("a2", "a")] {
        scene.labelled(line, 0, source);
    }
    assert_eq!(scene.came(), ["a1", "b1"]);
}

/// A batch that is tried again goes through a copy of the pipeline as it was.
#[test]
fn a_limit_by_label_judges_lines_of_a_batch_again_as_it_did_before() {
    let mut scene = Scene::new("- limit: {rate: 1, burst: 1, drop: true, by_label_name: source}");
    for at in 0..1_000 {
        scene.labelled("fills", 0, &at.to_string());
    }
    scene.out.clear();
    let settled = scene.pipeline.clone();
    let run = |scene: &mut Scene| {
        for (line, time, source) in [("1", 0, "1"), ("2", SECOND, "2"), ("3", SECOND, "2"), ("4", 0, "new")] {
            scene.labelled(line, time, source);
        }
        std::mem::take(&mut scene.out).into_iter().map(|entry| entry.line).collect::<Vec<_>>()
    };
    let first = run(&mut scene);
    assert_eq!(first, [b"2", b"4"]);
    scene.pipeline = settled;
    assert_eq!(run(&mut scene), first);
}

#[test]
fn sampling_judges_a_line_once_and_for_all() {
    let run = || {
        let mut scene = Scene::new("- sampling: {rate: 0.25}");
        for _ in 0..10_000 {
            scene.line("x", 0);
        }
        scene.out.iter().map(|entry| entry.seq.first).collect::<Vec<_>>()
    };
    let passed = run();
    assert!((2300..2700).contains(&passed.len()), "{}", passed.len());
    assert_eq!(passed, run());
    for (rate, expected) in [("0", 0), ("1", 100)] {
        let mut scene = Scene::new(&format!("- sampling: {{rate: '{rate}'}}"));
        for _ in 0..100 {
            scene.line("x", 0);
        }
        assert_eq!(scene.out.len(), expected);
    }
    assert!(one("- sampling:", "x").is_none());
}

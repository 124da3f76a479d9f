//! What is held, and when it is let go.

use super::*;

#[test]
fn a_cursor_does_not_pass_a_block_that_goes_on() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 3s}");
    scene.line("before", 0);
    assert_eq!(scene.pipeline.held_since(), None);
    scene.line("A 1", 0);
    scene.line("more", SECOND);
    assert_eq!(scene.pipeline.held_since(), Some(1));
    assert_eq!(scene.pipeline.next_deadline(), Some(4 * SECOND));
    scene.line("A 2", 2 * SECOND);
    assert_eq!(scene.pipeline.held_since(), Some(3));
    assert_eq!(scene.came_with_seqs(), [("before".to_owned(), 0, 0), ("A 1\nmore".to_owned(), 1, 2)]);
    scene.pipeline.flush(2 * SECOND, &mut scene.out);
    assert_eq!(scene.came_with_seqs(), [("A 2".to_owned(), 3, 3)]);
    assert_eq!(scene.pipeline.held_since(), None);
}

#[test]
fn outputs_have_blocks_of_their_own() {
    let mut scene = Scene::new("- multiline: {firstline: ^A}");
    scene.labelled("A out", 0, "stdout");
    scene.labelled("A err", 0, "stderr");
    scene.labelled("more out", 0, "stdout");
    scene.labelled("A again", 0, "stderr");
    assert_eq!(scene.came(), ["A err"]);
    assert_eq!(scene.pipeline.held_since(), Some(0));
    scene.pipeline.flush(0, &mut scene.out);
    assert_eq!(scene.came(), ["A out\nmore out", "A again"]);
}

#[test]
fn a_block_ends_when_nothing_more_comes() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 2s}");
    scene.line("A 1", 0);
    scene.pipeline.tick(2 * SECOND - 1, &mut scene.out);
    assert!(scene.came().is_empty());
    scene.pipeline.tick(2 * SECOND, &mut scene.out);
    assert_eq!(scene.came(), ["A 1"]);
    assert_eq!(scene.pipeline.next_deadline(), None);
    // What follows has the labels and the time of the line that began the block.
    scene.line("more", 5 * SECOND);
    scene.line("A 2", 8 * SECOND);
    let ended = scene.out.remove(0);
    assert_eq!((ended.line.as_slice(), ended.timestamp), (&b"more"[..], 0));
}

#[test]
fn lines_that_are_read_late_make_the_same_blocks() {
    let lines = [("A 1", 0), ("more", 1), ("late", 9), ("A 2", 10), ("more", 11)];
    let run = |late: i64| {
        let mut scene = Scene::new("- multiline: {firstline: ^A, max_wait_time: 3s}");
        for (line, second) in lines {
            let entry = Entry {
                line: line.into(),
                arrived: second * SECOND,
                timestamp: second * SECOND,
                seq: SeqRange::one(scene.seq),
                ..Entry::default()
            };
            scene.pipeline.process(entry, (second + late) * SECOND, &mut scene.out);
        }
        scene.pipeline.flush((20 + late) * SECOND, &mut scene.out);
        scene.came()
    };
    assert_eq!(run(0), ["A 1\nmore", "late", "A 2\nmore"]);
    assert_eq!(run(3600), run(0));
}

#[test]
fn empty_lines_of_a_block_come_to_nothing() {
    let mut scene = Scene::new("- multiline: {firstline: '^(A|$)', max_lines: 3}");
    for line in ["A", "", "x", "x", "A"] {
        scene.line(line, 0);
    }
    // The empty line begins a block, counts, and is not there.
    assert_eq!(scene.came(), ["A", "x\nx"]);
    let mut scene = Scene::new("- multiline: {firstline: '^$'}");
    scene.line("", 0);
    assert_eq!(scene.pipeline.held_since(), None);
    scene.pipeline.flush(0, &mut scene.out);
    assert!(scene.came().is_empty());
}

#[test]
fn a_block_and_the_number_of_blocks_are_bounded() {
    let mut scene = Scene::new("- multiline: {firstline: ^A, max_lines: 0}");
    scene.line("A", 0);
    let long = "x".repeat(600_000);
    scene.line(&long, 0);
    assert!(scene.came().is_empty());
    scene.line(&long, 0);
    assert_eq!(scene.came().len(), 1);
    for stream in 0..1000 {
        scene.labelled("A", stream, &stream.to_string());
    }
    assert!(scene.came().len() >= 740);
}

#[test]
fn cri_joins_parts_and_loses_none_at_the_end() {
    let mut scene = Scene::new("- cri:");
    scene.line("2024-01-01T00:00:01Z stdout P one ", 0);
    assert_eq!((scene.came().len(), scene.pipeline.held_since()), (0, Some(0)));
    scene.line("2024-01-01T00:00:02Z stderr F other", 0);
    scene.line("2024-01-01T00:00:03Z stdout F two", 0);
    assert_eq!(scene.came_with_seqs(), [("other".to_owned(), 1, 1), ("one two".to_owned(), 0, 2)]);
    scene.line("2024-01-01T00:00:04Z stdout P rest", 0);
    scene.pipeline.flush(0, &mut scene.out);
    assert_eq!(scene.came(), ["rest"]);
}

#[test]
fn what_is_inside_of_match_is_held_as_well() {
    let mut scene =
        Scene::new("- match: {selector: '{source=\"stdout\"}', stages: [{multiline: {firstline: ^A}}]}\n- pack: {}");
    scene.line("A", 0);
    scene.labelled("passes", 0, "stderr");
    scene.line("more", 0);
    assert_eq!((scene.pipeline.held_since(), scene.pipeline.next_deadline()), (Some(0), Some(3 * SECOND)));
    scene.pipeline.tick(3 * SECOND, &mut scene.out);
    assert_eq!(scene.came(), ["{\"_entry\":\"passes\"}", "{\"_entry\":\"A\\nmore\"}"]);
}

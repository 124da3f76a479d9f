use super::*;

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const NEVER: i64 = 0;
const NOW: i64 = 1_790_000_000 * SECOND;

fn at(loki: i64) -> Now {
    Now { host: NOW, loki: Some(loki) }
}

fn too_new(time: i64) -> Refusal {
    Refusal { too_new: Some(time), ..Refusal::default() }
}

fn tried(least: i64, last: i64) -> Tried {
    Tried { least, last, accepted: None, earliest: None }
}

#[test]
fn lines_up_to_ten_minutes_ahead_of_loki_are_left_alone_and_later_ones_get_its_time() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0, NEVER);
    for (time, expected) in [(NOW - HOUR, NOW - HOUR), (NOW + GRACE, NOW + GRACE), (NOW + GRACE + 1, NOW)] {
        assert_eq!(clamp.window().clamp(time), expected, "{}", time - NOW);
    }
}

#[test]
fn nothing_is_clamped_while_the_clock_of_loki_is_unknown() {
    let mut clamp = Clamp::default();
    clamp.begin(&Now { host: NOW, loki: None }, 0, NEVER);
    assert_eq!(clamp.window().clamp(NOW + 9000 * HOUR), NOW + 9000 * HOUR);
}

#[test]
fn a_window_that_clamped_is_pinned_to_the_entries_that_were_sent_with_it() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0, NEVER);
    let window = *clamp.window();
    clamp.sending(true, 10);
    for from in [0, 9] {
        clamp.begin(&at(NOW + HOUR), from, NEVER);
        assert_eq!((*clamp.window(), clamp.until()), (window, Some(10)));
    }
    // The next process has it from the note.
    let mut clamp = Clamp::pinned(window, 10);
    clamp.begin(&at(NOW + HOUR), 9, NEVER);
    assert_eq!((*clamp.window(), clamp.until()), (window, Some(10)));
    clamp.settled(9);
    assert_eq!(clamp.until(), Some(10), "half of it is still out");
    clamp.settled(10);
    clamp.begin(&at(NOW + HOUR), 10, NEVER);
    assert_eq!((clamp.window().latest, clamp.until()), (NOW + HOUR, None));
}

#[test]
fn what_was_sent_as_it_was_stays_as_it_is_when_the_clock_of_loki_goes_back() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0, NEVER);
    clamp.sending(false, 10);
    clamp.begin(&at(NOW - HOUR), 0, NEVER);
    assert_eq!(clamp.window().clamp(NOW + GRACE), NOW + GRACE);
    clamp.settled(10);
    clamp.begin(&at(NOW - HOUR), 10, NEVER);
    assert_eq!(clamp.window().clamp(NOW + GRACE), NOW - HOUR);
}

#[test]
fn refusals_find_a_clock_that_is_behind_the_one_that_was_seen() {
    for behind in [0, 15 * MINUTE, HOUR, 8 * HOUR, 5 * 24 * HOUR] {
        let (mut clamp, mut tries) = (Clamp::default(), 0);
        clamp.begin(&at(NOW), 0, NEVER);
        let accepted = NOW - behind + GRACE;
        let mut time = NOW + HOUR;
        while time > accepted {
            assert!(clamp.refused(&too_new(time), &tried(time, NEVER), &at(NOW)), "it gives up");
            time = clamp.window().clamp(NOW + HOUR);
            tries += 1;
        }
        assert!(tries <= 13, "{tries}");
        // From then on none is rejected, until the result is too old.
        clamp.settled(10);
        clamp.begin(&at(NOW + SECOND), 10, NEVER);
        assert!(clamp.window().clamp(NOW + HOUR) <= accepted + SECOND);
        clamp.begin(&at(NOW + MEMORY), 10, NEVER);
        assert_eq!(clamp.window().newest, NOW + MEMORY + GRACE);
    }
}

#[test]
fn a_line_from_the_future_goes_no_later_than_lines_that_were_accepted_beside_it() {
    let mut clamp = Clamp::default();
    clamp.begin(&Now { host: NOW, loki: None }, 0, NEVER);
    assert!(clamp.refused(&too_new(NOW + 8 * HOUR), &tried(NOW - 2 * SECOND, NEVER), &at(NOW)));
    assert_eq!(clamp.window().clamp(NOW + 8 * HOUR), NOW - 2 * SECOND - ROOM);
    assert_eq!(clamp.window().clamp(NOW - SECOND), NOW - SECOND);
}

#[test]
fn a_batch_is_given_no_new_window_for_ever() {
    let mut clamp = Clamp::default();
    let refused = (0..100).take_while(|_| clamp.refused(&too_new(NOW), &tried(NOW, NEVER), &at(NOW))).count();
    assert_eq!(refused, MOST_REFUSALS as usize);
    let late = Refusal { oldest: Some(NOW), too_new: None };
    assert!(clamp.refused(&late, &tried(NOW, NEVER), &at(NOW)));
    assert!(!clamp.refused(&late, &tried(NOW, NEVER), &at(NOW)), "lines have that time already");
    assert_eq!(clamp.window().clamp(NOW - 1), NOW + LIFT);
}

/// What it says is cut to whole seconds.
#[test]
fn lines_that_loki_calls_older_than_the_second_of_their_time_are_raised_again() {
    let mut clamp = Clamp::default();
    let late = |oldest| Refusal { oldest: Some(oldest), too_new: None };
    assert!(clamp.refused(&late(NOW), &tried(NOW, NEVER), &at(NOW)));
    assert!(clamp.refused(&late(NOW + LIFT), &tried(NOW, NEVER), &at(NOW)));
    assert_eq!(clamp.window().oldest, NOW + 2 * LIFT);
    // No further than a line that was accepted, but beyond it when that is not enough.
    let oldest = NOW + 2 * LIFT;
    let beside = Tried { earliest: Some(oldest + SECOND / 2), ..tried(NOW, NEVER) };
    for expected in [oldest + SECOND / 2 - ROOM, oldest + LIFT] {
        assert!(clamp.refused(&late(oldest), &beside, &at(NOW)));
        assert_eq!(clamp.window().oldest, expected);
    }
    assert!(!clamp.refused(&late(oldest), &beside, &at(NOW)), "Loki contradicts itself");
}

#[test]
fn what_was_accepted_is_tried_before_anything_is_sent_with_an_earlier_time() {
    let mut clamp = Clamp::default();
    // A proxy whose clock is three hours late.
    clamp.begin(&at(NOW - 3 * HOUR), 0, NOW);
    assert_eq!(clamp.window().newest, NOW + SECOND);
    // Without any clock but that of a host that is eight hours ahead.
    let ahead = Now { host: NOW + 8 * HOUR, loki: None };
    let mut clamp = Clamp::default();
    clamp.begin(&ahead, 0, NOW);
    let mut edges = Vec::new();
    while edges.len() < 20 && clamp.refused(&too_new(ahead.host), &tried(ahead.host, NOW), &ahead) {
        edges.push(clamp.window().newest);
    }
    let first_before = edges.iter().position(|newest| *newest < NOW).unwrap();
    assert_eq!(edges[first_before - 1], NOW + SECOND);
}

#[test]
fn lines_that_were_accepted_are_left_alone_and_the_others_follow_them() {
    let mut clamp = Clamp::default();
    clamp.sending(false, 10);
    let batch = Tried { least: NOW + 1, last: NEVER, accepted: Some(NOW + 5), earliest: None };
    // Refused were NOW + 6 and NOW + 7, and the clock that was seen is wrong by an hour.
    assert!(clamp.refused(&too_new(NOW), &batch, &at(NOW - HOUR)));
    assert_eq!([5, 6, 7].map(|time| clamp.window().clamp(NOW + time)), [NOW + 5, NOW + 1 - ROOM, NOW + 1 - ROOM]);
    assert_eq!(clamp.until(), Some(10), "a smaller batch gets the same");
}

use super::*;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const NOW: i64 = 1_790_000_000 * SECOND;

fn at(loki: i64) -> Now {
    Now { host: NOW, loki: Some(loki) }
}

fn too_new(time: i64) -> Refusal {
    Refusal { too_new: Some(time), ..Refusal::default() }
}

#[test]
fn lines_up_to_ten_minutes_ahead_of_loki_are_left_alone_and_later_ones_get_its_time() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0);
    for (time, expected) in [(NOW - HOUR, NOW - HOUR), (NOW + GRACE, NOW + GRACE), (NOW + GRACE + 1, NOW)] {
        assert_eq!(clamp.window().clamp(time), expected, "{}", time - NOW);
    }
}

#[test]
fn nothing_is_clamped_while_the_clock_of_loki_is_unknown() {
    let mut clamp = Clamp::default();
    clamp.begin(&Now { host: NOW, loki: None }, 0);
    assert_eq!(clamp.window().clamp(NOW + 9000 * HOUR), NOW + 9000 * HOUR);
}

#[test]
fn a_window_that_clamped_is_pinned_to_the_entries_that_were_sent_with_it() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0);
    let window = *clamp.window();
    clamp.sending(true, 10);
    for from in [0, 9] {
        clamp.begin(&at(NOW + HOUR), from);
        assert_eq!((*clamp.window(), clamp.until()), (window, Some(10)));
    }
    // The next process has it from the note.
    let mut clamp = Clamp::pinned(window, 10);
    clamp.begin(&at(NOW + HOUR), 9);
    assert_eq!((*clamp.window(), clamp.until()), (window, Some(10)));
    clamp.settled(9);
    assert_eq!(clamp.until(), Some(10), "half of it is still out");
    clamp.settled(10);
    clamp.begin(&at(NOW + HOUR), 10);
    assert_eq!((clamp.window().latest, clamp.until()), (NOW + HOUR, None));
}

#[test]
fn what_was_sent_as_it_was_stays_as_it_is_when_the_clock_of_loki_goes_back() {
    let mut clamp = Clamp::default();
    clamp.begin(&at(NOW), 0);
    clamp.sending(false, 10);
    clamp.begin(&at(NOW - HOUR), 0);
    assert_eq!(clamp.window().clamp(NOW + GRACE), NOW + GRACE);
    clamp.settled(10);
    clamp.begin(&at(NOW - HOUR), 10);
    assert_eq!(clamp.window().clamp(NOW + GRACE), NOW - HOUR);
}

#[test]
fn refusals_find_a_clock_that_is_behind_the_one_that_was_seen() {
    for behind in [0, 15 * MINUTE, HOUR, 8 * HOUR, 5 * 24 * HOUR] {
        let (mut clamp, mut tries) = (Clamp::default(), 0);
        clamp.begin(&at(NOW), 0);
        let accepted = NOW - behind + GRACE;
        let mut time = NOW + HOUR;
        while time > accepted {
            assert!(clamp.refused(&too_new(time), time, &at(NOW)), "it gives up");
            time = clamp.window().clamp(NOW + HOUR);
            tries += 1;
        }
        assert!(tries <= 13, "{tries}");
        // From then on none is refused, until what was learnt is too old.
        clamp.settled(10);
        clamp.begin(&at(NOW + SECOND), 10);
        assert!(clamp.window().clamp(NOW + HOUR) <= accepted + SECOND);
        clamp.begin(&at(NOW + MEMORY), 10);
        assert_eq!(clamp.window().newest, NOW + MEMORY + GRACE);
    }
}

#[test]
fn a_line_from_the_future_goes_no_later_than_lines_that_were_accepted_beside_it() {
    let mut clamp = Clamp::default();
    clamp.begin(&Now { host: NOW, loki: None }, 0);
    assert!(clamp.refused(&too_new(NOW + 8 * HOUR), NOW - 2 * SECOND, &at(NOW)));
    assert_eq!(clamp.window().clamp(NOW + 8 * HOUR), NOW - 2 * SECOND);
    assert_eq!(clamp.window().clamp(NOW - SECOND), NOW - SECOND);
}

#[test]
fn a_batch_is_given_no_new_window_for_ever() {
    let mut clamp = Clamp::default();
    let refused = (0..100).filter(|_| clamp.refused(&too_new(NOW), NOW, &at(NOW))).count();
    assert_eq!(refused, MOST_REFUSALS as usize);
    let late = Refusal { oldest: Some(NOW), too_new: None };
    assert!(clamp.refused(&late, NOW, &at(NOW)));
    assert!(!clamp.refused(&late, NOW, &at(NOW)), "lines have that time already");
    assert_eq!(clamp.window().clamp(NOW - 1), NOW + LIFT);
}

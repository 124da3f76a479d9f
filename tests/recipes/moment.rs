//! Times in texts, moved so that they are of just now: Loki takes nothing that is older than a week.

use std::sync::LazyLock;

use regex::{Captures, Regex};

const SECOND: i64 = 1_000_000_000;

/// How long ago the last time of a page is to be: long enough for all that comes behind it not to be in the future.
const AGO: i64 = 20 * SECOND;

/// Times to the millisecond, as `2026-11-20T10:00:00.125Z`, `2026-11-20 10:00:00.125 UTC`, `2026-11-20 10:00:00,125`.
static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)([.,])(\d{3})").expect("it is one"));

/// Nanoseconds since 1970 of each time in a text.
pub fn all(text: &str) -> Vec<i64> {
    TIME.captures_iter(text).map(|found| of(&found)).collect()
}

/// A text with the last of its times a moment before `now`, and all others as far from that as they were.
pub fn moved(text: &str, now: i64) -> String {
    let Some(last) = all(text).into_iter().max() else { return text.to_owned() };
    let by = now / 1_000_000 * 1_000_000 - AGO - last;
    let moved = |found: &Captures<'_>| {
        let time = jiff::Timestamp::from_nanosecond(i128::from(of(found) + by)).expect("a time of these years");
        // With a time that is whole in milliseconds it has three digits.
        let text = format!("{time:.3}");
        let (date, rest) = text.split_once('T').expect("it is written so");
        let (clock, fraction) = rest.trim_end_matches('Z').split_once('.').expect("it has a fraction");
        format!("{date}{}{clock}{}{fraction}", &found[2], &found[4])
    };
    TIME.replace_all(text, moved).into_owned()
}

fn of(found: &Captures<'_>) -> i64 {
    let text = format!("{}T{}.{}Z", &found[1], &found[3], &found[5]);
    let time: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    i64::try_from(time.as_nanosecond()).expect("a time of these years")
}

#[test]
fn times_are_moved_together_and_stay_written_as_they_are() {
    let text = "2026-11-20T10:00:00.125Z, 2026-11-20 09:59:59.100 UTC and 2026-11-20 10:00:01,000";
    let now: jiff::Timestamp = "2031-01-01T00:00:20.5Z".parse().expect("a time");
    let expected = "2030-12-31T23:59:59.625Z, 2030-12-31 23:59:58.600 UTC and 2031-01-01 00:00:00,500";
    assert_eq!(moved(text, i64::try_from(now.as_nanosecond()).expect("it fits")), expected);
    assert_eq!(moved("no time", 1), "no time");
}

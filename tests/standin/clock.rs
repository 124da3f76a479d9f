//! Times: read the way Loki's query parameters spell them, written the way its refusals do.
//!
//! Rule: a `start`, `end` or `time` of up to ten digits is seconds, a longer one nanoseconds, one
//! with a point is seconds, anything else is RFC 3339. Refusals name whole seconds in UTC
//! (`2026-11-20T08:37:43Z`), except the time of an entry that an ingester ignores, which is
//! spelled `2026-11-20 08:36:43.641198312 +0000 UTC` without trailing zeros.
//!
//! Nanoseconds are `i128` here because Loki accepts the years 1 to 9999 and an `i64` ends in 2262.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds in a second.
pub const SECOND: i128 = 1_000_000_000;

/// What a missing protobuf timestamp means to Loki: the first second of the year 1.
pub const YEAR_ONE: i128 = -62_135_596_800 * SECOND;

/// The first second that is too late to be a protobuf timestamp: the year 10000.
pub const YEAR_TEN_THOUSAND: i128 = 253_402_300_800 * SECOND;

const DAY: i64 = 86_400;

/// The wall clock.
pub fn now() -> i128 {
    unix(SystemTime::now())
}

/// A system time as nanoseconds since 1970.
pub fn unix(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// As an `i64`, which is how times are stored; what does not fit becomes the nearest that does.
pub fn clamp(ns: i128) -> i64 {
    ns.clamp(i64::MIN as i128, i64::MAX as i128) as i64
}

/// `2026-11-20T08:37:43Z`
pub fn rfc3339(ns: i128) -> String {
    let (date, time) = date_and_time(ns);
    format!("{date}T{time}Z")
}

/// `2026-11-20 08:36:43.641198312 +0000 UTC`
pub fn long(ns: i128) -> String {
    let (date, time) = date_and_time(ns);
    let digits = format!("{:09}", ns.rem_euclid(SECOND));
    let fraction = match digits.trim_end_matches('0') {
        "" => String::new(),
        kept => format!(".{kept}"),
    };
    format!("{date} {time}{fraction} +0000 UTC")
}

/// A query parameter that is a time.
pub fn parse_time(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        let unit = if text.len() <= 10 { SECOND } else { 1 };
        return Some(clamp(number as i128 * unit));
    }
    if let Some((seconds, fraction)) = text.split_once('.')
        && let (Ok(seconds), true) = (seconds.parse::<i64>(), all_digits(fraction))
    {
        return Some(clamp(seconds as i128 * SECOND + nanos(fraction)));
    }
    parse_rfc3339(text)
}

/// A duration of the query language: `90s`, `5m`, `1h`, `7d`, `1h30m`. Nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let unit = match &rest[..letters] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND as i64,
            "m" => 60 * SECOND as i64,
            "h" => 3_600 * SECOND as i64,
            "d" => DAY * SECOND as i64,
            "w" => 7 * DAY * SECOND as i64,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[letters..];
    }
    (total > 0).then_some(total)
}

fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let sign = time.rfind(['+', '-'])?;
            let (hours, minutes) = time[sign + 1..].split_once(':')?;
            let seconds = number(hours)? * 3600 + number(minutes)? * 60;
            let ahead = time.as_bytes()[sign] == b'+';
            (&time[..sign], if ahead { seconds } else { -seconds })
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if !all_digits(fraction) {
        return None;
    }
    let mut clock = clock.splitn(3, ':').map(number);
    let seconds = clock.next()?? * 3600 + clock.next()?? * 60 + clock.next()??;
    let seconds = days_since_1970(year, month, day) * DAY + seconds - offset;
    Some(clamp(seconds as i128 * SECOND + nanos(fraction)))
}

/// A part of a date, small enough to be counted with.
fn number(text: &str) -> Option<i64> {
    text.parse::<u32>().ok().map(i64::from)
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The digits after a decimal point as nanoseconds; what is finer is dropped.
fn nanos(fraction: &str) -> i128 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    digits.fold(0, |sum, digit| sum * 10 + (digit - b'0') as i128)
}

fn date_and_time(ns: i128) -> (String, String) {
    let seconds = clamp(ns.div_euclid(SECOND));
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let date = format!("{year:04}-{month:02}-{day:02}");
    (date, format!("{hour:02}:{minute:02}:{second:02}"))
}

/// Days in the given year before its given month, which counts from 1.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    BEFORE[month as usize - 1] + i64::from(leap && month > 2)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let past = year - 1;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    past * 365 + leaps - 719_162 + days_before(year, month) + day - 1
}

/// The inverse of [`days_since_1970`].
fn civil(days: i64) -> (i64, i64, i64) {
    // 400 years are 146 097 days: the guess is a year off at most, so look at its neighbours too.
    let guess = 1970 + (days * 400).div_euclid(146_097);
    let starts = |year: &i64| days_since_1970(*year, 1, 1) <= days;
    let year = (guess - 1..=guess + 1).rev().find(starts).unwrap_or(guess);
    let within = days - days_since_1970(year, 1, 1);
    let month = (1..=12).rev().find(|month| days_before(year, *month) <= within).unwrap_or(1);
    (year, month, within - days_before(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_loki_writes_them() {
        let table = [
            (0, "1970-01-01T00:00:00Z", "1970-01-01 00:00:00 +0000 UTC"),
            (-5, "1969-12-31T23:59:59Z", "1969-12-31 23:59:59.999999995 +0000 UTC"),
            (YEAR_ONE, "0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"),
            (YEAR_TEN_THOUSAND - SECOND, "9999-12-31T23:59:59Z", "9999-12-31 23:59:59 +0000 UTC"),
            (951_782_400 * SECOND + 500_000_000, "2000-02-29T00:00:00Z", "2000-02-29 00:00:00.5 +0000 UTC"),
            (1_795_163_803_641_198_310, "2026-11-20T08:36:43Z", "2026-11-20 08:36:43.64119831 +0000 UTC"),
        ];
        for (ns, short, full) in table {
            assert_eq!((rfc3339(ns).as_str(), long(ns).as_str()), (short, full), "{ns}");
        }
    }

    #[test]
    fn times_are_read_in_every_spelling() {
        let table = [
            ("1795167534", Some(1_795_167_534_000_000_000)),
            ("1795167534.25", Some(1_795_167_534_250_000_000)),
            ("1795167534000000002", Some(1_795_167_534_000_000_002)),
            ("2026-11-20T09:38:54Z", Some(1_795_167_534_000_000_000)),
            ("2026-11-20T09:38:54.000000002Z", Some(1_795_167_534_000_000_002)),
            ("2026-11-20T10:38:54+01:00", Some(1_795_167_534_000_000_000)),
            ("x", None),
            ("", None),
            ("2026-13-20T09:38:54Z", None),
            ("4294967295-12-31T23:59:59+99:99", Some(i64::MAX)),
            ("99999999999-12-31T23:59:59Z", None),
        ];
        for (text, ns) in table {
            assert_eq!(parse_time(text), ns, "{text:?}");
        }
    }

    #[test]
    fn every_day_survives_the_calendar() {
        for days in -719_162..719_162 {
            let (year, month, day) = civil(days);
            assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn durations() {
        let table = [("1h", 3600), ("5m", 300), ("1h30m", 5400), ("7d", 604_800)];
        for (text, seconds) in table {
            assert_eq!(parse_duration(text), Some(seconds * SECOND as i64), "{text}");
        }
        for text in ["", "1", "h", "1x", "-1h", "99999999w"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}

//! Go's `time.Time.Format`: a layout is the reference time, written as the time is to be written.
//!
//! The reference is `Mon Jan 2 15:04:05 MST 2006`; whatever is not a part of it stands for itself.
//! Only what dockerd sends is written, which is always in UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The layout of Go's `Time.String`, which is how a time prints.
pub const STRING: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

/// A part of a layout, and what is written in its place.
type Part = (&'static str, fn(DateTime) -> String);

/// The parts of a layout, in the order in which they are tried: of two that begin alike, the
/// longer one first.
const PARTS: &[Part] = &[
    ("January", |t| month(t).to_owned()),
    ("Jan", |t| month(t)[..3].to_owned()),
    ("Monday", |t| weekday(t).to_owned()),
    ("Mon", |t| weekday(t)[..3].to_owned()),
    ("MST", |_| "UTC".to_owned()),
    ("002", |t| format!("{:03}", t.day_of_year())),
    ("01", |t| format!("{:02}", t.month())),
    ("02", |t| format!("{:02}", t.day())),
    ("03", |t| format!("{:02}", hour12(t))),
    ("04", |t| format!("{:02}", t.minute())),
    ("05", |t| format!("{:02}", t.second())),
    ("06", |t| format!("{:02}", t.year().rem_euclid(100))),
    ("15", |t| format!("{:02}", t.hour())),
    ("1", |t| t.month().to_string()),
    ("2006", |t| format!("{:04}", t.year())),
    ("2", |t| t.day().to_string()),
    // A year behind an underscore is a year.
    ("_2006", |t| format!("_{:04}", t.year())),
    ("__2", |t| format!("{:3}", t.day_of_year())),
    ("_2", |t| format!("{:2}", t.day())),
    ("3", |t| hour12(t).to_string()),
    ("4", |t| t.minute().to_string()),
    ("5", |t| t.second().to_string()),
    ("PM", |t| if t.hour() < 12 { "AM" } else { "PM" }.to_owned()),
    ("pm", |t| if t.hour() < 12 { "am" } else { "pm" }.to_owned()),
    ("-07:00:00", |_| "+00:00:00".to_owned()),
    ("-070000", |_| "+000000".to_owned()),
    ("-07:00", |_| "+00:00".to_owned()),
    ("-0700", |_| "+0000".to_owned()),
    ("-07", |_| "+00".to_owned()),
    ("Z07:00:00", |_| "Z".to_owned()),
    ("Z070000", |_| "Z".to_owned()),
    ("Z07:00", |_| "Z".to_owned()),
    ("Z0700", |_| "Z".to_owned()),
    ("Z07", |_| "Z".to_owned()),
];

/// The time, in UTC, written by a Go layout.
pub fn format(time: Timestamp, layout: &str) -> String {
    let time = Offset::UTC.to_datetime(time);
    let mut out = String::with_capacity(layout.len() + 8);
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        let part = PARTS.iter().find(|(part, _)| rest.starts_with(part));
        let taken = if let Some((digits, text)) = fraction(time, rest) {
            out.push_str(&text);
            digits
        } else if let Some((part, write)) = part.filter(|(part, _)| stands_alone(part, rest)) {
            out.push_str(&write(time));
            part.len()
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    out
}

/// `Jan` in `Janet` is no month and `Mon` in `Month` no day: no lower-case letter may follow.
fn stands_alone(part: &str, rest: &str) -> bool {
    !matches!(part, "Jan" | "Mon") || !rest[part.len()..].starts_with(|c: char| c.is_ascii_lowercase())
}

/// `.000` writes that many digits of the second, `.999` leaves the zeros at its end out. No digit
/// may follow. Answers with the bytes it took.
fn fraction(time: DateTime, rest: &str) -> Option<(usize, String)> {
    let (point, digits) = rest.split_at_checked(1)?;
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    if !matches!(point, "." | ",") {
        return None;
    }
    let width = digits.len() - digits.trim_start_matches(digit).len();
    if digits[width..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut written = format!("{:09}", time.subsec_nanosecond());
    written.truncate(width);
    if digit == '9' {
        written.truncate(written.trim_end_matches('0').len());
        if written.is_empty() {
            return Some((1 + width, written));
        }
    }
    Some((1 + width, format!("{point}{written}")))
}

fn hour12(time: DateTime) -> i8 {
    match time.hour() % 12 {
        0 => 12,
        hour => hour,
    }
}

fn month(time: DateTime) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let index = usize::try_from(time.month() - 1).unwrap_or_default();
    NAMES[index % NAMES.len()]
}

fn weekday(time: DateTime) -> &'static str {
    const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let index = usize::try_from(time.weekday().to_monday_zero_offset()).unwrap_or_default();
    NAMES[index % NAMES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gos() {
        let morning = "2026-11-20T08:24:57.418162077Z";
        let evening = "2009-02-04T21:00:57.012345600Z";
        for (time, layout, expected) in [
            (morning, STRING, "2026-11-20 08:24:57.418162077 +0000 UTC"),
            (morning, "2006-01-02T15:04:05Z07:00", "2026-11-20T08:24:57Z"),
            (morning, "2006-01-02T15:04:05.999999999Z07:00", "2026-11-20T08:24:57.418162077Z"),
            (morning, "Monday, 02-Jan-06 15:04:05 MST", "Friday, 20-Nov-26 08:24:57 UTC"),
            (morning, "January 2, 3:4:5 pm", "November 20, 8:24:57 am"),
            (morning, "plain text", "plain text"),
            (morning, "002 __2", "324 324"),
            (morning, "", ""),
            (morning, "é 2006 日", "é 2026 日"),
            // Go's own tests, src/time/format_test.go.
            (evening, "Mon Jan _2 15:04:05 2006", "Wed Feb  4 21:00:57 2009"),
            (evening, "Mon Jan _2 15:04:05 MST 2006", "Wed Feb  4 21:00:57 UTC 2009"),
            (evening, "Mon, 02 Jan 2006 15:04:05 -0700", "Wed, 04 Feb 2009 21:00:57 +0000"),
            (evening, "3:04PM", "9:00PM"),
            (evening, "3pm", "9pm"),
            (evening, "06 01 02", "09 02 04"),
            (evening, "hi Janet, the Month is January", "hi Janet, the Month is February"),
            (evening, "Jan _2 15:04:05.000", "Feb  4 21:00:57.012"),
            (evening, "Jan _2 15:04:05.000000", "Feb  4 21:00:57.012345"),
            (evening, "Jan _2 15:04:05.000000000", "Feb  4 21:00:57.012345600"),
            (evening, "Jan  2 002 __2 2", "Feb  4 035  35 4"),
            (evening, "15:04:05,999999999", "21:00:57,0123456"),
            (evening, "05.00 05.9 05.0001", "57.01 57 57.0002"),
            (evening, "-07 -07:00 Z0700", "+00 +00:00 Z"),
            (evening, "_2006 x_2", "_2009 x 4"),
            ("2009-02-04T00:00:00Z", "3PM 15:04:05.999|", "12AM 00:00:00|"),
            ("0001-01-01T00:00:00Z", STRING, "0001-01-01 00:00:00 +0000 UTC"),
        ] {
            let time = time.parse().unwrap();
            assert_eq!(format(time, layout), expected, "{layout}");
        }
    }
}

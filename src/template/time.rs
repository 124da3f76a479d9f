//! Times of a container: what dockerd sends is written in UTC, as a plugin knows no other zone.

use jiff::Timestamp;

use go_compat::time_layout::{Place, write};

pub use go_compat::time_layout::STRING;

/// The time, in UTC, written by a Go layout.
pub fn format(time: Timestamp, layout: &str) -> String {
    let ns = time.as_nanosecond();
    // The years of the crate, in seconds and in nanoseconds of one: neither can overflow.
    let second = ns.div_euclid(1_000_000_000) as i64;
    let nanosecond = ns.rem_euclid(1_000_000_000) as i64;
    write(&Place::at_second(second, nanosecond, None), layout)
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

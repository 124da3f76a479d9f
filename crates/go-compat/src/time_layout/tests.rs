//! What Promtail and Go's own tests say of layouts.

use proptest::prelude::*;

use super::*;

/// Reads a time of the test itself.
fn at(text: &str) -> i64 {
    let time: jiff::Timestamp = text.parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

fn read(layout: &str, text: &str, zone: &str, now: &str) -> Result<i64, TimeError> {
    let zone = Zone::load(zone).unwrap();
    Layout::parse(layout).parse_time(text, Some(&zone), at(now))
}

const NOW: &str = "2019-07-14T00:00:00Z";

#[test]
fn times_are_read_as_in_go() {
    for (layout, text, zone, expected) in [
        // Named ones, which no zone of one's own touches.
        ("ANSIC", "Mon Jan  2 15:04:05 2006", "Asia/Tokyo", "2006-01-02T15:04:05Z"),
        ("UnixDate", "Mon Jan  2 15:04:05 UTC 2006", "", "2006-01-02T15:04:05Z"),
        ("UnixDate", "Mon Jan  2 15:04:05 EST 2006", "America/New_York", "2006-01-02T15:04:05Z"),
        ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006", "", "2006-01-02T22:04:05Z"),
        ("RFC822", "02 Jan 06 15:04 MST", "", "2006-01-02T15:04:00Z"),
        ("RFC822Z", "02 Jan 06 15:04 -0700", "", "2006-01-02T22:04:00Z"),
        ("RFC850", "Monday, 02-Jan-06 15:04:05 GMT+3", "", "2006-01-02T15:04:05Z"),
        ("RFC1123", "Mon, 02 Jan 2006 15:04:05 GMT", "", "2006-01-02T15:04:05Z"),
        ("RFC1123Z", "Tue, 02 Jan 2006 15:04:05 +0130", "", "2006-01-02T13:34:05Z"),
        ("RFC3339", "2012-11-01T22:08:41-04:00", "", "2012-11-02T02:08:41Z"),
        ("RFC3339", "2012-11-01T22:08:41.5Z", "Asia/Tokyo", "2012-11-01T22:08:41.5Z"),
        ("RFC3339", "2012-11-01T22:08:41,25Z", "", "2012-11-01T22:08:41.25Z"),
        ("RFC3339Nano", "2019-01-01T01:00:00.000000001Z", "", "2019-01-01T01:00:00.000000001Z"),
        ("RFC3339Nano", "2019-01-01T01:00:00Z", "", "2019-01-01T01:00:00Z"),
        ("RFC3339Nano", "2019-01-01T01:00:00.12345678987Z", "", "2019-01-01T01:00:00.123456789Z"),
        // Counts.
        ("Unix", "1562708916", "", "2019-07-09T21:48:36Z"),
        ("Unix", "1562708916.414123", "", "2019-07-09T21:48:36.414123Z"),
        ("Unix", "1562708916.000000123", "", "2019-07-09T21:48:36.000000123Z"),
        ("Unix", "1.1234567899", "", "1970-01-01T00:00:01.123456789Z"),
        ("Unix", "-1.5", "", "1969-12-31T23:59:59.5Z"),
        ("Unix", "+1", "", "1970-01-01T00:00:01Z"),
        ("UnixMs", "1562708916919", "Asia/Tokyo", "2019-07-09T21:48:36.919Z"),
        ("UnixUs", "1562708916414123", "", "2019-07-09T21:48:36.414123Z"),
        ("UnixNs", "1562708916000000123", "", "2019-07-09T21:48:36.000000123Z"),
        // Layouts.
        ("2006-01-02", "2009-01-01", "", "2009-01-01T00:00:00Z"),
        ("2006-01-02 15:04:05", "2009-07-01 03:30:20", "America/New_York", "2009-07-01T07:30:20Z"),
        ("2006-01-02 15:04:05", "2009-07-01   3:30:20", "", "2009-07-01T03:30:20Z"),
        ("2006-01-02   15:04:05", "2009-07-01 03:30:20.125", "", "2009-07-01T03:30:20.125Z"),
        ("2006-01-02T15:04:05 ", "2009-07-01T03:30:20", "", "2009-07-01T03:30:20Z"),
        ("06 Jan 02 15:04:05", "19 Jul 15 01:02:03", "America/New_York", "2019-07-15T05:02:03Z"),
        ("06-1-2", "69-2-3", "", "1969-02-03T00:00:00Z"),
        ("06-1-2", "68-12-31", "", "2068-12-31T00:00:00Z"),
        ("02/Jan/2006:15:04:05 -0700", "10/Oct/2000:13:55:36 -0700", "", "2000-10-10T20:55:36Z"),
        ("2 January 2006", "2 fEBRUARY 2006", "", "2006-02-02T00:00:00Z"),
        ("Monday 2 Jan 2006", "tuesday 4 jul 2006", "", "2006-07-04T00:00:00Z"),
        ("2006-01-02 03:04:05 PM", "2020-05-06 12:00:01 AM", "", "2020-05-06T00:00:01Z"),
        ("2006-01-02 03:04:05 PM", "2020-05-06 12:00:01 PM", "", "2020-05-06T12:00:01Z"),
        ("2006-01-02 3pm", "2020-05-06 4pm", "", "2020-05-06T16:00:00Z"),
        ("2006-01-02 15:04:05.000", "2020-05-06 01:02:03,004", "", "2020-05-06T01:02:03.004Z"),
        ("2006-01-02 15:04:05,000", "2020-05-06 01:02:03.004", "", "2020-05-06T01:02:03.004Z"),
        ("2006-01-02 15:04:05.999", "2020-05-06 01:02:03.123456", "", "2020-05-06T01:02:03.123456Z"),
        ("2006-01-02 15:04:05.999", "2020-05-06 01:02:03", "", "2020-05-06T01:02:03Z"),
        ("2006 002", "2020 061", "", "2020-03-01T00:00:00Z"),
        ("2006 002", "2020 366", "", "2020-12-31T00:00:00Z"),
        ("2006 __2", "2021   9", "", "2021-01-09T00:00:00Z"),
        ("2006-01-02 _2006 2", "2020-05-06 _2020 6", "", "2020-05-06T00:00:00Z"),
        ("é 2006 日", "é 2020 日", "", "2020-01-01T00:00:00Z"),
        // Zones in the text.
        ("2006-01-02 15:04 MST", "2020-07-06 01:02 CEST", "Europe/Paris", "2020-07-05T23:02:00Z"),
        ("2006-01-02 15:04 MST", "2020-07-06 01:02 CEST", "", "2020-07-06T01:02:00Z"),
        ("2006-01-02 15:04 MST", "2020-07-06 01:02 WITA", "", "2020-07-06T01:02:00Z"),
        ("2006-01-02 15:04 MST", "2020-07-06 01:02 UTC", "Europe/Paris", "2020-07-06T01:02:00Z"),
        ("2006-01-02 15:04 MST", "2020-07-06 01:02 +03", "", "2020-07-06T01:02:00Z"),
        ("2006-01-02 15:04 MST -0700", "2020-07-06 01:02 CEST +0200", "", "2020-07-05T23:02:00Z"),
        ("2006-01-02 15:04 -07:00:00", "2020-07-06 01:02 -01:02:03", "", "2020-07-06T02:04:03Z"),
        ("2006-01-02 15:04 -070000", "2020-07-06 01:02 +010203", "", "2020-07-05T23:59:57Z"),
        ("2006-01-02 15:04 Z07", "2020-07-06 01:02 -01", "", "2020-07-06T02:02:00Z"),
        ("2006-01-02 15:04 -07", "2020-07-06 01:02 +24", "", "2020-07-05T01:02:00Z"),
        // Hours that clocks skip and hours that they show twice.
        ("2006-01-02 15:04", "2021-03-14 02:30", "America/New_York", "2021-03-14T06:30:00Z"),
        ("2006-01-02 15:04", "2021-03-28 02:30", "Europe/Paris", "2021-03-28T01:30:00Z"),
        ("2006-01-02 15:04", "2021-11-07 01:30", "America/New_York", "2021-11-07T05:30:00Z"),
        ("2006-01-02 15:04", "2021-10-31 02:30", "Europe/Paris", "2021-10-31T01:30:00Z"),
        ("2006-01-02 15:04", "2045-07-01 12:00", "Europe/Paris", "2045-07-01T10:00:00Z"),
        // Without a year.
        ("Jan 02 15:04:05", "Jul 15 01:02:03", "", "2019-07-15T01:02:03Z"),
        ("Jan 02 15:04:05", "Jul 15 01:02:03", "America/New_York", "2019-07-15T05:02:03Z"),
        ("Jan 02 15:04:05", "Jan 15 01:02:03", "America/New_York", "2019-01-15T06:02:03Z"),
        ("Jan 02 15:04:05", "Feb 29 01:02:03", "", "2019-03-01T01:02:03Z"),
        ("15:04:05", "01:02:03", "", "2019-01-01T01:02:03Z"),
        ("Jan 2 15:04 -0700", "Jul 15 01:02 +0200", "", "2019-07-14T23:02:00Z"),
    ] {
        assert_eq!(read(layout, text, zone, NOW), Ok(at(expected)), "{layout:?} {text:?} {zone}");
    }
}

#[test]
fn a_year_is_found_around_new_year() {
    for (text, now, expected) in [
        ("Dec 31 23:59:59", "2019-01-01T00:00:00Z", "2018-12-31T23:59:59Z"),
        ("Jan 01 01:02:03", "2018-12-31T00:00:00Z", "2019-01-01T01:02:03Z"),
        ("Feb 29 00:00:00", "2020-03-01T00:00:00Z", "2020-02-29T00:00:00Z"),
        ("Dec 01 00:00:00", "2019-02-01T00:00:00Z", "2019-12-01T00:00:00Z"),
    ] {
        assert_eq!(read("Jan 02 15:04:05", text, "", now), Ok(at(expected)), "{text} at {now}");
    }
}

#[test]
fn what_go_does_not_read_is_not_read() {
    let mismatch = |part: &str| TimeError::Mismatch(part.to_owned());
    for (layout, text, error) in [
        ("RFC3339", "2012-11-01t22:08:41Z", mismatch("T")),
        ("RFC3339", "2012-11-01T22:08:41z", mismatch("Z07:00")),
        ("RFC3339", "2012-11-01 22:08:41Z", mismatch("T")),
        ("RFC3339", "hi!", mismatch("2006")),
        ("RFC3339", "", mismatch("2006")),
        ("RFC3339", "2012-11-01T22:08:41Z ", TimeError::ExtraText),
        ("RFC3339", "2012-11-01T22:08:60Z", TimeError::OutOfRange("second")),
        ("RFC3339", "2012-11-01T24:08:00Z", TimeError::OutOfRange("hour")),
        ("RFC3339", "2012-11-01T22:60:00Z", TimeError::OutOfRange("minute")),
        ("RFC3339", "2012-02-30T22:00:00Z", TimeError::OutOfRange("day")),
        ("RFC3339", "2012-13-01T22:00:00Z", TimeError::OutOfRange("month")),
        ("RFC3339", "2012-11-00T22:00:00Z", TimeError::OutOfRange("day")),
        ("RFC3339", "2012-11-01T22:00:00+25:00", TimeError::OutOfRange("time zone offset hour")),
        ("RFC3339", "2012-11-01T22:00:00 02:00", mismatch("Z07:00")),
        ("RFC3339", "3012-11-01T22:00:00Z", TimeError::Unrepresentable),
        ("RFC1123", "Mon, 02 Jan 2006 15:04:05 xyz", mismatch("MST")),
        ("RFC1123", "Mon, 02 Jan 2006 15:04:05 ABCDEF", mismatch("MST")),
        ("RFC1123", "Mon, 02 Jan 2006 15:04:05 ABCD", mismatch("MST")),
        ("2006-01-02", "2009-1-01", mismatch("01")),
        ("2006-01-02", "2009-01-1", mismatch("02")),
        ("2006-1-2 15:04:05.000", "2009-1-1 01:02:03", mismatch(".000")),
        ("2006-1-2 15:04:05.000", "2009-1-1 01:02:03.12", mismatch(".000")),
        ("2006-1-2 15:04:05.000", "2009-1-1 01:02:03.1é", mismatch(".000")),
        ("2006 3 PM", "2006 3 pm", mismatch("PM")),
        ("2006 3 pm", "2006 3 PM", mismatch("pm")),
        ("2006 3PM", "2006 13PM", TimeError::OutOfRange("hour")),
        ("2006 002", "2021 366", TimeError::OutOfRange("day of year")),
        ("2006 002 Jan", "2021 032 Jan", TimeError::OutOfRange("day of year")),
        ("x06", "x06y", TimeError::ExtraText),
        ("Kitchen", "3:04PM", mismatch("Kitchen")),
        ("unixms", "1", mismatch("unixms")),
        ("Unix", "1e9", TimeError::NotACount),
        ("Unix", "1.", TimeError::NotACount),
        ("Unix", ".5", TimeError::NotACount),
        ("Unix", " 1", TimeError::NotACount),
        ("Unix", "1.2.3", TimeError::NotACount),
        ("Unix", "", TimeError::NotACount),
        ("Unix", "9223372036854775807", TimeError::Unrepresentable),
        ("UnixMs", "1.5", TimeError::NotACount),
        ("UnixMs", "9223372036854775807", TimeError::Unrepresentable),
    ] {
        assert_eq!(read(layout, text, "", NOW), Err(error), "{layout:?} {text:?}");
    }
}

/// Go's own tests of `Format`, and a little more.
#[test]
fn times_are_written_as_in_go() {
    let evening = at("2009-02-04T21:00:57.012345600Z");
    for (layout, zone, expected) in [
        (STRING, "", "2009-02-04 21:00:57.0123456 +0000 UTC"),
        (STRING, "America/New_York", "2009-02-04 16:00:57.0123456 -0500 EST"),
        ("ANSIC", "", "Wed Feb  4 21:00:57 2009"),
        ("UnixDate", "", "Wed Feb  4 21:00:57 UTC 2009"),
        ("RFC850", "", "Wednesday, 04-Feb-09 21:00:57 UTC"),
        ("RFC3339", "", "2009-02-04T21:00:57Z"),
        ("RFC3339Nano", "Asia/Kolkata", "2009-02-05T02:30:57.0123456+05:30"),
        ("3:04PM 3pm", "", "9:00PM 9pm"),
        ("hi Janet, the Month is January", "", "hi Janet, the Month is February"),
        ("Jan _2 15:04:05.000", "", "Feb  4 21:00:57.012"),
        ("05.000000000000", "", "57.012345600000"),
        ("Jan  2 002 __2 2", "", "Feb  4 035  35 4"),
        ("05.00 05.9 05.0001 05,999", "", "57.01 57 57.0002 57,012"),
        ("-07 -07:00 Z0700 -070000 Z07:00:00", "", "+00 +00:00 Z +000000 Z"),
        ("_2006 x_2", "", "_2009 x 4"),
        ("Unix", "", "1233781257"),
        ("UnixMs", "", "1233781257012"),
    ] {
        let zone = Zone::load(zone).unwrap();
        assert_eq!(Layout::parse(layout).format(evening, Some(&zone)), expected, "{layout}");
    }
}

proptest! {
    #[test]
    fn no_layout_and_no_text_makes_it_panic(
        layout in "\\PC{0,20}|[-Z0-9_JanMoSTPpm:., ]{0,30}",
        text in "\\PC{0,20}|[-Z0-9_JanMoSTPpm:., é]{0,30}",
        now in any::<i64>(),
    ) {
        let zone = Zone::load("Europe/Paris").unwrap();
        for layout in [Layout::parse(&layout), Layout::parse("RFC3339"), Layout::parse("Unix")] {
            let _ = layout.parse_time(&text, Some(&zone), now);
            let _ = layout.format(now, Some(&zone));
        }
    }

    #[test]
    fn what_is_written_is_read_back(ns in any::<i64>(), named in 0..3_usize) {
        let layout = Layout::parse(["RFC3339Nano", STRING, "UnixNs"][named]);
        let written = layout.format(ns, None);
        prop_assert_eq!(layout.parse_time(&written, None, 0), Ok(ns), "{}", written);
    }

    #[test]
    fn a_local_time_is_read_back_in_its_zone(second in 0_i64..4_000_000_000) {
        let zone = Zone::load("America/New_York").unwrap();
        let layout = Layout::parse("2006-01-02 15:04:05 -0700");
        let written = layout.format(second * 1_000_000_000, Some(&zone));
        prop_assert_eq!(layout.parse_time(&written, Some(&zone), 0), Ok(second * 1_000_000_000), "{}", written);
    }
}

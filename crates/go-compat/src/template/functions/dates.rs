//! Times and durations.
//!
//! The engine knows no times. A time is a map with one entry that no text can name; what prints it and what asks it for a
//! field look for that entry.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gotmpl::{ToValue, Value};

use super::Table;
use crate::duration::go_duration;
use crate::template::value::{Answer, exactly, fail, of_map, text, to_int};
use crate::time_layout::{Layout, Place, STRING, write};
use crate::zone::Zone;

pub const FUNCTIONS: Table = &[
    ("ago", |args| {
        Ok(printed_duration(now().saturating_sub(instant(&exactly::<1>(args)?[0])) / SECOND * SECOND).into())
    }),
    ("date", |args| formatted(text(&exactly::<2>(args)?[0])?, &args[1], "")),
    ("dateInZone", in_zone),
    ("dateModify", modify),
    ("date_in_zone", in_zone),
    ("date_modify", modify),
    ("duration", |args| Ok(printed_duration(to_int(&exactly::<1>(args)?[0]).saturating_mul(SECOND)).into())),
    ("durationRound", round),
    ("htmlDate", |args| formatted("2006-01-02", &exactly::<1>(args)?[0], "")),
    ("htmlDateInZone", |args| formatted("2006-01-02", &exactly::<2>(args)?[0], text(&args[1])?)),
    ("mustDateModify", modify),
    ("mustToDate", to_date),
    ("must_date_modify", modify),
    ("now", |_| Ok(time(now()))),
    ("toDate", |args| to_date(args).or_else(|_| Ok(time(ZERO)))),
    ("unixEpoch", |args| Ok(instant(&exactly::<1>(args)?[0]).div_euclid(SECOND).to_string().into())),
];

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// What stands for Go's zero time, which 64 bits of nanoseconds do not reach.
const ZERO: i64 = i64::MIN;

/// The entry that makes a map a time: nanoseconds since 1970.
const TIME: &str = "\u{1}time";

fn time(ns: i64) -> Value {
    of_map([(Arc::from(TIME), Value::Int(ns))].into())
}

fn of_time(value: &Value) -> Option<i64> {
    match value {
        Value::Map(map) => match map.get(TIME) {
            Some(Value::Int(ns)) => Some(*ns),
            _ => None,
        },
        _ => None,
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A time, or whole seconds since 1970; everything else is now, as in sprig.
fn instant(value: &Value) -> i64 {
    match (of_time(value), value) {
        (Some(ns), _) => ns,
        (None, Value::Int(seconds)) => seconds.saturating_mul(SECOND),
        _ => now(),
    }
}

fn place(ns: i64, zone: Option<&Zone>) -> Place {
    if ns == ZERO {
        // The first of January of the year 1.
        return Place::at_second(-62_135_596_800, 0, None);
    }
    Place::at(ns, zone)
}

/// What a time prints as.
pub fn printed(value: &Value) -> Option<String> {
    of_time(value).map(|ns| write(&place(ns, None), STRING))
}

/// The methods of a time; `None` when the value is not a time.
pub fn method(value: &Value, name: &str, arguments: &[Value]) -> Option<Answer> {
    let ns = of_time(value)?;
    let civil = place(ns, None).civil;
    let layout = |layout: &str| Ok(write(&place(ns, None), layout).into());
    Some(match (name, arguments) {
        ("Format", [Value::String(text)]) => layout(text),
        ("String", []) => layout(STRING),
        ("Month", []) => layout("January"),
        ("Weekday", []) => layout("Monday"),
        ("UTC" | "Local", []) => Ok(value.clone()),
        ("Year", []) => Ok(civil.year.to_value()),
        ("Day", []) => Ok(civil.day.to_value()),
        ("YearDay", []) => Ok(civil.year_day().to_value()),
        ("Hour", []) => Ok(civil.hour.to_value()),
        ("Minute", []) => Ok(civil.minute.to_value()),
        ("Second", []) => Ok(civil.second.to_value()),
        ("Nanosecond", []) => Ok(civil.nanosecond.to_value()),
        ("Unix", []) => Ok(civil.seconds().to_value()),
        ("UnixMilli", []) => Ok(ns.div_euclid(1_000_000).to_value()),
        ("UnixMicro", []) => Ok(ns.div_euclid(1_000).to_value()),
        ("UnixNano", []) => Ok(ns.to_value()),
        _ => {
            fail(format!("a time has no method {name} with these arguments here (try .Format \"2006-01-02\" or .Unix)"))
        }
    })
}

/// A zone that there is not is UTC, as in sprig.
fn formatted(layout: &str, value: &Value, zone: &str) -> Answer {
    let zone = Zone::load(zone).ok();
    Ok(write(&place(instant(value), zone.as_ref()), layout).into())
}

fn in_zone(args: &[Value]) -> Answer {
    let [layout, value, zone] = exactly(args)?;
    formatted(text(layout)?, value, text(zone)?)
}

/// `toDate layout text`, in UTC, which is a plugin's own zone.
fn to_date(args: &[Value]) -> Answer {
    let [layout, written] = exactly(args)?;
    // A layout without a year gives the year 0 in Go, which is of no use; this year is.
    let parsed = Layout::of_text(text(layout)?).parse_time(text(written)?, None, now());
    match parsed {
        Ok(ns) => Ok(time(ns)),
        Err(error) => fail(error.to_string()),
    }
}

/// `dateModify "-1.5h" time`
fn modify(args: &[Value]) -> Answer {
    let [duration, value] = exactly(args)?;
    let Some(ns) = of_time(value) else {
        return fail("it takes a duration and a time, as in now | dateModify \"-1h\"");
    };
    match go_duration(text(duration)?) {
        Ok(duration) => Ok(time(ns.saturating_add(duration))),
        Err(refusal) => fail(refusal.to_string()),
    }
}

/// `durationRound "2h10m"`: the largest unit alone, `2h`.
fn round(args: &[Value]) -> Answer {
    let [value] = exactly(args)?;
    let ns = match (of_time(value), value) {
        (Some(ns), _) => now().saturating_sub(ns),
        (None, Value::String(text)) => go_duration(text).unwrap_or_default(),
        (None, value) => to_int(value),
    };
    let seconds = ns.unsigned_abs() / SECOND.unsigned_abs();
    let units = [(31_536_000, "y"), (2_592_000, "mo"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let largest = units.iter().find(|(size, _)| seconds > *size);
    Ok(largest.map_or_else(|| "0s".to_owned(), |(size, unit)| format!("{}{unit}", seconds / size)).into())
}

/// Go's `Duration.String`: `1h0m5.5s`, `1.5ms`, `0s`.
fn printed_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let decimal = |unit: u64, name: &str| {
        let width = unit.ilog10() as usize;
        let digits = format!("{:0width$}", ns % unit);
        let digits = if width == 0 { "" } else { digits.trim_end_matches('0') };
        let point = if digits.is_empty() { "" } else { "." };
        (ns / unit, format!("{point}{digits}{name}"))
    };
    if ns == 0 {
        return "0s".to_owned();
    }
    let small = [(1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (1_000_000_000, 1_000_000, "ms")];
    if let Some((_, unit, name)) = small.into_iter().find(|(below, _, _)| ns < *below) {
        let (whole, rest) = decimal(unit, name);
        return format!("{sign}{whole}{rest}");
    }
    let (seconds, rest) = decimal(SECOND.unsigned_abs(), "s");
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{rest}"),
        (0, _) => format!("{sign}{minutes}m{}{rest}", seconds % 60),
        _ => format!("{sign}{hours}h{minutes}m{}{rest}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        for (ns, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3 * SECOND + SECOND / 2, "3.5s"),
            (65 * SECOND, "1m5s"),
            (-3_600 * SECOND, "-1h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(printed_duration(ns), expected);
        }
    }
}

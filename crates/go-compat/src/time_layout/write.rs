//! Writing a time by a layout: Go's `Time.Format`.

use super::civil::{Civil, MONTHS, Place, WEEKDAYS};
use super::token::{Form, Pad, Part, Token, tokens};

/// A time, written by a layout. Names of layouts mean nothing here: the text is the layout.
pub fn write(place: &Place, layout: &str) -> String {
    write_tokens(&tokens(layout), place)
}

pub(super) fn write_tokens(tokens: &[Token], place: &Place) -> String {
    let mut out = String::with_capacity(32);
    for token in tokens {
        match token {
            Token::Text(text) => out.push_str(text),
            Token::Part(part, text) => out.push_str(&written(*part, text, place)),
        }
    }
    out
}

fn written(part: Part, text: &str, place: &Place) -> String {
    let t = &place.civil;
    let two = |wide: bool, number: i64| if wide { format!("{number:02}") } else { number.to_string() };
    match part {
        Part::Year if t.year < 0 => format!("-{:04}", -t.year),
        Part::Year => format!("{:04}", t.year),
        Part::ShortYear => format!("{:02}", t.year.rem_euclid(100)),
        Part::MonthName => month(t).to_owned(),
        Part::ShortMonthName => month(t)[..3].to_owned(),
        Part::Month(wide) => two(wide, t.month),
        Part::WeekdayName => WEEKDAYS[t.weekday() % 7].to_owned(),
        Part::ShortWeekdayName => WEEKDAYS[t.weekday() % 7][..3].to_owned(),
        Part::Day(pad) => padded(pad, t.day, 2),
        Part::YearDay(pad) => padded(pad, t.year_day(), 3),
        Part::Hour => two(true, t.hour),
        Part::Hour12(wide) => two(wide, if t.hour % 12 == 0 { 12 } else { t.hour % 12 }),
        Part::Minute(wide) => two(wide, t.minute),
        Part::Second(wide) => two(wide, t.second),
        Part::Fraction(width) => format!("{}{}", &text[..1], digits(t, width)),
        Part::TrimmedFraction(width) => match digits(t, width).trim_end_matches('0') {
            "" => String::new(),
            digits => format!("{}{digits}", &text[..1]),
        },
        Part::UpperHalf => if t.hour < 12 { "AM" } else { "PM" }.to_owned(),
        Part::LowerHalf => if t.hour < 12 { "am" } else { "pm" }.to_owned(),
        Part::ZoneName if place.abbreviation.is_empty() => offset(place.offset, short_form(place.offset)),
        Part::ZoneName => place.abbreviation.clone(),
        Part::Offset { z: true, .. } if place.offset == 0 => "Z".to_owned(),
        Part::Offset { form, .. } => offset(place.offset, form),
    }
}

/// The first digits of a fraction of a second. No clock has more than nine.
fn digits(t: &Civil, width: usize) -> String {
    let mut digits = format!("{:09}", t.nanosecond);
    digits.truncate(width);
    // A layout may ask for more; they are zeros.
    digits.extend(std::iter::repeat_n('0', width.saturating_sub(9).min(64)));
    digits
}

fn padded(pad: Pad, number: i64, width: usize) -> String {
    match pad {
        Pad::None => number.to_string(),
        Pad::Blank => format!("{number:width$}"),
        Pad::Zero => format!("{number:0width$}"),
    }
}

fn short_form(offset: i64) -> Form {
    if offset % 3600 == 0 { Form::Hours } else { Form::Minutes }
}

fn offset(seconds: i64, form: Form) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match form {
        Form::Hours => format!("{sign}{hours:02}"),
        Form::Minutes => format!("{sign}{hours:02}{minutes:02}"),
        Form::ColonMinutes => format!("{sign}{hours:02}:{minutes:02}"),
        Form::Seconds => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
        Form::ColonSeconds => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

fn month(t: &Civil) -> &'static str {
    let index = usize::try_from(t.month - 1).unwrap_or_default();
    MONTHS[index % MONTHS.len()]
}

//! Reading a time by a layout: Go's `time.ParseInLocation`, part by part.

use super::TimeError;
use super::civil::{Civil, MONTHS, WEEKDAYS, days_in, is_leap};
use super::token::{Form, Pad, Part, Token};
use crate::zone::Zone;

/// What a text said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub civil: Civil,
    place: Where,
}

/// What a text said of its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Where {
    /// Nothing: it is from the zone one expects.
    Unsaid,
    /// So many seconds east of UTC.
    Offset(i64),
    /// An abbreviation.
    Named(String),
}

/// The fields as they are read; -1 is a field that was not there.
struct Reader<'a> {
    value: &'a str,
    year: i64,
    month: i64,
    day: i64,
    year_day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: i64,
    afternoon: Option<bool>,
    place: Where,
}

/// Why a part could not be read: no such thing is there, or it is too large.
enum Bad {
    Missing,
    Range(&'static str),
}

type Step<T = ()> = Result<T, Bad>;

/// Reads a text by the parts of a layout.
pub fn parse(tokens: &[Token], text: &str) -> Result<Parsed, TimeError> {
    let mut reader = Reader {
        value: text,
        year: 0,
        month: -1,
        day: -1,
        year_day: -1,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        afternoon: None,
        place: Where::Unsaid,
    };
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Text(expected) => {
                if !reader.skip(expected) {
                    return Err(TimeError::Mismatch(expected.clone()));
                }
            }
            Token::Part(part, written) => {
                let next = tokens[index + 1..].iter().find_map(|token| match token {
                    Token::Part(part, _) => Some(*part),
                    Token::Text(_) => None,
                });
                reader.part(*part, next).map_err(|bad| match bad {
                    Bad::Missing => TimeError::Mismatch(written.clone()),
                    Bad::Range(what) => TimeError::OutOfRange(what),
                })?;
            }
        }
    }
    if !reader.value.is_empty() {
        return Err(TimeError::ExtraText);
    }
    reader.finish()
}

// === impl Parsed ===

impl Parsed {
    /// Nanoseconds since 1970, or `None` if 64 bits do not hold them.
    pub fn nanoseconds(&self, zone: Option<&Zone>) -> Option<i64> {
        let local = self.civil.seconds();
        let offset = match (&self.place, zone) {
            (Where::Offset(offset), _) => *offset,
            // An abbreviation that means nothing here counts as UTC, `GMT+3` included.
            (Where::Named(name), Some(zone)) => zone.offset_of_abbreviation(name, local).unwrap_or(0),
            (Where::Unsaid, Some(zone)) => zone.offset_of_local(local),
            (_, None) => 0,
        };
        let nanoseconds = i128::from(local - offset) * 1_000_000_000 + i128::from(self.civil.nanosecond);
        i64::try_from(nanoseconds).ok()
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Text that stands for itself. Blanks stand for any number of blanks, and for none at the end.
    fn skip(&mut self, expected: &str) -> bool {
        let mut expected = expected;
        while let Some(c) = expected.chars().next() {
            if c == ' ' {
                if !self.value.is_empty() && !self.value.starts_with(' ') {
                    return false;
                }
                expected = expected.trim_start_matches(' ');
                self.value = self.value.trim_start_matches(' ');
                continue;
            }
            let Some(rest) = self.value.strip_prefix(c) else {
                return false;
            };
            self.value = rest;
            expected = &expected[c.len_utf8()..];
        }
        true
    }

    fn part(&mut self, part: Part, next: Option<Part>) -> Step {
        match part {
            Part::ShortYear => {
                let year = signed(self.take(2)?)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Part::Year => self.year = digits(self.take(4)?)?,
            Part::ShortMonthName => self.month = 1 + self.name(&MONTHS, 3)?,
            Part::MonthName => self.month = 1 + self.name(&MONTHS, usize::MAX)?,
            Part::Month(wide) => self.month = self.number(wide, 1..=12, "month")?,
            // That the day goes with the date is not checked.
            Part::ShortWeekdayName => drop(self.name(&WEEKDAYS, 3)?),
            Part::WeekdayName => drop(self.name(&WEEKDAYS, usize::MAX)?),
            Part::Day(pad) => {
                if pad == Pad::Blank {
                    self.value = self.value.strip_prefix(' ').unwrap_or(self.value);
                }
                // Whether the month has it is checked when the month is known.
                self.day = self.number(pad == Pad::Zero, 0..=99, "day")?;
            }
            Part::YearDay(pad) => self.year_day = self.year_day_number(pad)?,
            Part::Hour => self.hour = self.number(false, 0..=23, "hour")?,
            Part::Hour12(wide) => self.hour = self.number(wide, 0..=12, "hour")?,
            Part::Minute(wide) => self.minute = self.number(wide, 0..=59, "minute")?,
            Part::Second(wide) => {
                self.second = self.number(wide, 0..=59, "second")?;
                // A fraction is welcome even if the layout has none.
                if !matches!(next, Some(Part::Fraction(_) | Part::TrimmedFraction(_))) {
                    self.optional_fraction();
                }
            }
            Part::UpperHalf => self.afternoon = Some(self.half("AM", "PM")?),
            Part::LowerHalf => self.afternoon = Some(self.half("am", "pm")?),
            Part::Fraction(width) => {
                let fraction = self.take(1 + width)?;
                let digits = fraction.strip_prefix(['.', ',']).ok_or(Bad::Missing)?;
                self.nanosecond = nanoseconds(digits)?;
            }
            Part::TrimmedFraction(_) => self.optional_fraction(),
            Part::ZoneName => self.zone_name()?,
            Part::Offset { z: true, .. } if self.value.starts_with('Z') => {
                self.value = &self.value[1..];
                self.place = Where::Offset(0);
            }
            Part::Offset { form, .. } => self.offset(form)?,
        }
        Ok(())
    }

    /// The next bytes, if they are there and whole characters.
    fn take(&mut self, length: usize) -> Step<&'a str> {
        let (taken, rest) = self.value.split_at_checked(length).ok_or(Bad::Missing)?;
        self.value = rest;
        Ok(taken)
    }

    /// One or two digits; `wide` wants two.
    fn number(&mut self, wide: bool, range: std::ops::RangeInclusive<i64>, what: &'static str) -> Step<i64> {
        let length = leading_digits(self.value).min(2);
        if length == 0 || (wide && length == 1) {
            return Err(Bad::Missing);
        }
        let number = digits(self.take(length)?)?;
        if range.contains(&number) { Ok(number) } else { Err(Bad::Range(what)) }
    }

    fn year_day_number(&mut self, pad: Pad) -> Step<i64> {
        if pad == Pad::Blank {
            for _ in 0..2 {
                self.value = self.value.strip_prefix(' ').unwrap_or(self.value);
            }
        }
        let length = leading_digits(self.value).min(3);
        if length == 0 || (pad == Pad::Zero && length != 3) {
            return Err(Bad::Missing);
        }
        digits(self.take(length)?)
    }

    /// The place in a list of the name that comes next, of which `length` letters are written. Case does not matter.
    fn name(&mut self, names: &[&str], length: usize) -> Step<i64> {
        for (index, name) in (0..).zip(names) {
            let name = &name[..length.min(name.len())];
            if let Some((start, rest)) = self.value.split_at_checked(name.len())
                && start.eq_ignore_ascii_case(name)
            {
                self.value = rest;
                return Ok(index);
            }
        }
        Err(Bad::Missing)
    }

    /// Whether it is the second half of the day.
    fn half(&mut self, before: &str, after: &str) -> Step<bool> {
        let half = self.take(2)?;
        if half == after {
            Ok(true)
        } else if half == before {
            Ok(false)
        } else {
            Err(Bad::Missing)
        }
    }

    /// A point or comma and any number of digits, if they are there.
    fn optional_fraction(&mut self) {
        let Some(rest) = self.value.strip_prefix(['.', ',']) else {
            return;
        };
        let length = leading_digits(rest);
        if length > 0 {
            self.nanosecond = nanoseconds(&rest[..length]).unwrap_or_default();
            self.value = &rest[length..];
        }
    }

    fn offset(&mut self, form: Form) -> Step {
        let (length, colons) = match form {
            Form::Hours => (3, &[][..]),
            Form::Minutes => (5, &[][..]),
            Form::ColonMinutes => (6, &[3][..]),
            Form::Seconds => (7, &[][..]),
            Form::ColonSeconds => (9, &[3, 6][..]),
        };
        let text = self.take(length)?;
        if colons.iter().any(|at| text.as_bytes().get(*at) != Some(&b':')) {
            return Err(Bad::Missing);
        }
        let sign = match text.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(Bad::Missing),
        };
        let numbers: String =
            text.char_indices().skip(1).filter(|(at, _)| !colons.contains(at)).map(|(_, c)| c).collect();
        let field = |at: usize| match numbers.get(at..at + 2) {
            Some(field) => digits(field),
            None if at >= numbers.len() => Ok(0),
            None => Err(Bad::Missing),
        };
        let (hours, minutes, seconds) = (field(0)?, field(2)?, field(4)?);
        // Some people write offsets of 24 hours or 60 minutes.
        if hours > 24 {
            return Err(Bad::Range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(Bad::Range("time zone offset minute"));
        }
        if seconds > 60 {
            return Err(Bad::Range("time zone offset second"));
        }
        self.place = Where::Offset(sign * ((hours * 60 + minutes) * 60 + seconds));
        Ok(())
    }

    fn zone_name(&mut self) -> Step {
        if let Some(rest) = self.value.strip_prefix("UTC") {
            self.value = rest;
            self.place = Where::Offset(0);
            return Ok(());
        }
        let name = self.take(zone_name_length(self.value).ok_or(Bad::Missing)?)?;
        // An offset outweighs a name.
        if !matches!(self.place, Where::Offset(_)) {
            self.place = Where::Named(name.to_owned());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Parsed, TimeError> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if self.year_day >= 0 {
            self.resolve_year_day()?;
        }
        let month = if self.month < 0 { 1 } else { self.month };
        let day = if self.day < 0 { 1 } else { self.day };
        if day < 1 || day > days_in(self.year, month) {
            return Err(TimeError::OutOfRange("day"));
        }
        let civil = Civil {
            year: self.year,
            month,
            day,
            hour: self.hour,
            minute: self.minute,
            second: self.second,
            nanosecond: self.nanosecond,
        };
        Ok(Parsed { civil, place: self.place })
    }

    /// A day of the year has to go with the month and the day, if there are any.
    fn resolve_year_day(&mut self) -> Result<(), TimeError> {
        let mut left = self.year_day;
        if left < 1 || left > if is_leap(self.year) { 366 } else { 365 } {
            return Err(TimeError::OutOfRange("day of year"));
        }
        let mut month = 1;
        while left > days_in(self.year, month) {
            left -= days_in(self.year, month);
            month += 1;
        }
        let fits = (self.month < 0 || self.month == month) && (self.day < 0 || self.day == left);
        (self.month, self.day) = (month, left);
        if fits { Ok(()) } else { Err(TimeError::OutOfRange("day of year")) }
    }
}

// === numbers and names ===

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Digits, and nothing else.
fn digits(text: &str) -> Step<i64> {
    if leading_digits(text) == text.len() { text.parse().map_err(|_| Bad::Missing) } else { Err(Bad::Missing) }
}

/// Digits with a sign before them, or without one.
fn signed(text: &str) -> Step<i64> {
    text.parse().map_err(|_| Bad::Missing)
}

/// The digits of a fraction of a second. Those behind the ninth are cut off.
fn nanoseconds(text: &str) -> Step<i64> {
    let shown = text.get(..text.len().min(9)).ok_or(Bad::Missing)?;
    let scale = 10_i64.pow(9 - u32::try_from(shown.len()).unwrap_or(9));
    Ok(digits(shown)? * scale)
}

/// How long the abbreviation of a zone is that a text begins with: three to five capitals, or an offset.
fn zone_name_length(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed_offset_length(rest));
    }
    if text.starts_with(['+', '-']) {
        return Some(signed_offset_length(text)).filter(|length| *length > 0 && text.len() >= 3);
    }
    let bytes = text.as_bytes();
    let capitals = bytes.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    match capitals {
        3 => Some(3),
        4 if bytes[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if bytes[4] == b'T' => Some(5),
        _ => None,
    }
}

/// `+3`, `-03`: a sign and up to 23 hours.
fn signed_offset_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['+', '-']) else {
        return 0;
    };
    let length = leading_digits(rest);
    match rest[..length].parse::<u64>() {
        Ok(hours) if hours <= 23 => 1 + length,
        _ => 0,
    }
}

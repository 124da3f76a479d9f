//! The parts of a layout.

/// A part of a layout, or what stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Text that stands for itself.
    Text(String),
    /// A part of the reference time, as it is written in the layout.
    Part(Part, String),
}

/// What a part of the reference time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `2006`
    Year,
    /// `06`
    ShortYear,
    /// `January`
    MonthName,
    /// `Jan`
    ShortMonthName,
    /// `1`, `01`; whether it has two digits.
    Month(bool),
    /// `Monday`
    WeekdayName,
    /// `Mon`
    ShortWeekdayName,
    /// `2`, `_2`, `02`
    Day(Pad),
    /// `__2`, `002`
    YearDay(Pad),
    /// `15`
    Hour,
    /// `3`, `03`; whether it has two digits.
    Hour12(bool),
    /// `4`, `04`
    Minute(bool),
    /// `5`, `05`
    Second(bool),
    /// `.000` or `,000`: exactly this many digits.
    Fraction(usize),
    /// `.999` or `,999`: at most this many digits.
    TrimmedFraction(usize),
    /// `PM`
    UpperHalf,
    /// `pm`
    LowerHalf,
    /// `MST`
    ZoneName,
    /// `-0700`, `Z07:00` and their like.
    Offset {
        /// Whether UTC is written `Z`.
        z: bool,
        form: Form,
    },
}

/// What stands before a number of one digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pad {
    None,
    Blank,
    Zero,
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `07`
    Hours,
    /// `0700`
    Minutes,
    /// `07:00`
    ColonMinutes,
    /// `070000`
    Seconds,
    /// `07:00:00`
    ColonSeconds,
}

/// The parts, in the order in which they are tried: of two that begin alike, the longer one first.
const PARTS: &[(&str, Part)] = &[
    ("January", Part::MonthName),
    ("Jan", Part::ShortMonthName),
    ("Monday", Part::WeekdayName),
    ("Mon", Part::ShortWeekdayName),
    ("MST", Part::ZoneName),
    ("002", Part::YearDay(Pad::Zero)),
    ("01", Part::Month(true)),
    ("02", Part::Day(Pad::Zero)),
    ("03", Part::Hour12(true)),
    ("04", Part::Minute(true)),
    ("05", Part::Second(true)),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("1", Part::Month(false)),
    ("2006", Part::Year),
    ("2", Part::Day(Pad::None)),
    ("__2", Part::YearDay(Pad::Blank)),
    ("_2", Part::Day(Pad::Blank)),
    ("3", Part::Hour12(false)),
    ("4", Part::Minute(false)),
    ("5", Part::Second(false)),
    ("PM", Part::UpperHalf),
    ("pm", Part::LowerHalf),
    ("-07:00:00", Part::Offset { z: false, form: Form::ColonSeconds }),
    ("-070000", Part::Offset { z: false, form: Form::Seconds }),
    ("-07:00", Part::Offset { z: false, form: Form::ColonMinutes }),
    ("-0700", Part::Offset { z: false, form: Form::Minutes }),
    ("-07", Part::Offset { z: false, form: Form::Hours }),
    ("Z07:00:00", Part::Offset { z: true, form: Form::ColonSeconds }),
    ("Z070000", Part::Offset { z: true, form: Form::Seconds }),
    ("Z07:00", Part::Offset { z: true, form: Form::ColonMinutes }),
    ("Z0700", Part::Offset { z: true, form: Form::Minutes }),
    ("Z07", Part::Offset { z: true, form: Form::Hours }),
];

/// Cuts a layout into its parts.
pub fn tokens(layout: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut text = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        match part(rest) {
            Some((part, length)) => {
                if !text.is_empty() {
                    tokens.push(Token::Text(std::mem::take(&mut text)));
                }
                tokens.push(Token::Part(part, rest[..length].to_owned()));
                rest = &rest[length..];
            }
            None => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    if !text.is_empty() {
        tokens.push(Token::Text(text));
    }
    tokens
}

/// The part that `rest` begins with, and its length.
fn part(rest: &str) -> Option<(Part, usize)> {
    if let Some(found) = fraction(rest) {
        return Some(found);
    }
    // A year behind an underscore is a year.
    if rest.starts_with("_2006") {
        return None;
    }
    let (text, part) = PARTS.iter().find(|(text, _)| rest.starts_with(text))?;
    stands_alone(text, rest).then_some((*part, text.len()))
}

/// `Jan` in `Janet` is no month and `Mon` in `Month` no day: no lower-case letter may follow.
fn stands_alone(part: &str, rest: &str) -> bool {
    !matches!(part, "Jan" | "Mon") || !rest[part.len()..].starts_with(|c: char| c.is_ascii_lowercase())
}

/// A point or comma and zeros or nines, behind which no digit may follow.
fn fraction(rest: &str) -> Option<(Part, usize)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let width = digits.len() - digits.trim_start_matches(digit).len();
    if digits[width..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let part = if digit == '0' { Part::Fraction(width) } else { Part::TrimmedFraction(width) };
    Some((part, 1 + width))
}

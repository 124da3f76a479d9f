//! What calendars and clocks show, in the years of Go and beyond those of the crate `jiff`.

use crate::zone::Zone;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Months, in full.
pub const MONTHS: [&str; 12] = [
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

/// Days of the week, in full.
pub const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// From 1 to 12.
    pub month: i64,
    /// From 1 on. One that the month does not have is one of the next month.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nanosecond: i64,
}

/// A date and time somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub civil: Civil,
    /// Seconds east of UTC.
    pub offset: i64,
    /// What the zone is called then; empty if it has no name.
    pub abbreviation: String,
}

// === impl Civil ===

impl Civil {
    /// What a clock in UTC shows at an instant: seconds since 1970, and nanoseconds on top.
    pub fn of(second: i64, nanosecond: i64) -> Self {
        let of_day = second.rem_euclid(DAY);
        let (year, month, day) = date_of(second.div_euclid(DAY));
        Self { year, month, day, hour: of_day / 3600, minute: of_day / 60 % 60, second: of_day % 60, nanosecond }
    }

    /// Seconds since 1970 when a clock in UTC shows this.
    pub fn seconds(&self) -> i64 {
        days(self.year, self.month, self.day) * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// A year for a date without one: that of `now`, or the next one for a date in January seen in December, or the last one
    /// for a date in December seen in January.
    pub fn take_year_from(&mut self, now: Civil) {
        self.year += match (self.month, now.month) {
            (12, 1) => now.year - 1,
            (1, 12) => now.year + 1,
            _ => now.year,
        };
    }

    /// From 0, which is Sunday.
    pub fn weekday(&self) -> usize {
        // 1970 began on a Thursday.
        let day = (days(self.year, self.month, self.day) + 4).rem_euclid(7);
        usize::try_from(day).unwrap_or_default()
    }

    /// From 1 on.
    pub fn year_day(&self) -> i64 {
        days(self.year, self.month, self.day) - days(self.year, 1, 1) + 1
    }
}

// === impl Place ===

impl Place {
    /// An instant in nanoseconds since 1970, in UTC if there is no zone.
    pub fn at(ns: i64, zone: Option<&Zone>) -> Self {
        let second = ns.div_euclid(1_000_000_000);
        Self::at_second(second, ns.rem_euclid(1_000_000_000), zone)
    }

    /// An instant in seconds since 1970 and nanoseconds on top.
    pub fn at_second(second: i64, nanosecond: i64, zone: Option<&Zone>) -> Self {
        let (offset, abbreviation) = zone.map_or_else(|| (0, "UTC".to_owned()), |zone| zone.at(second));
        Self { civil: Civil::of(second.saturating_add(offset), nanosecond), offset, abbreviation }
    }
}

// === calendar ===

/// Whether a year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month from 1 to 12.
pub fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of January 1970 to a date; years are counted from March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year, month and day that is this number of days after 1 January 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_date_is_the_date_of_its_days(second in -1_i64 << 50..1 << 50) {
            let civil = Civil::of(second, 0);
            prop_assert_eq!(civil.seconds(), second);
            prop_assert!((1..=12).contains(&civil.month));
            prop_assert!((1..=days_in(civil.year, civil.month)).contains(&civil.day));
            prop_assert!((1..=366).contains(&civil.year_day()));
        }

        #[test]
        fn jiff_agrees(second in -60_000_000_000_i64..250_000_000_000) {
            let civil = Civil::of(second, 0);
            let theirs = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap());
            prop_assert_eq!(civil.year, i64::from(theirs.year()));
            prop_assert_eq!(civil.month, i64::from(theirs.month()));
            prop_assert_eq!(civil.day, i64::from(theirs.day()));
            prop_assert_eq!(civil.year_day(), i64::from(theirs.day_of_year()));
            prop_assert_eq!(civil.weekday(), theirs.weekday().to_sunday_zero_offset() as usize);
        }
    }
}

//! Numbers as people read them. The exact value stands beside them where there is room for it.

use std::fmt::{self, Display};

/// A count: `12,345`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

/// Bytes, in powers of 1,000 as `max-size` has them: `1.2 MB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

/// Seconds, in the two largest units that say something: `3 min 20 s`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub f64);

/// Seconds that are an estimate, in one unit: `2 h`.
#[derive(Clone, Copy, Debug)]
pub struct About(pub f64);

/// Something per second: `0.2`, `1,234`.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub f64);

/// So many of something: `1 line`, `2 lines`.
#[derive(Clone, Copy, Debug)]
pub struct Of(pub u64, pub &'static str);

/// Units of time in seconds, with what there is of each in the next larger one.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

// === impl Count ===

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

// === impl Bytes ===

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1_000 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64;
        for unit in ["kB", "MB", "GB", "TB"] {
            value /= 1_000.0;
            // What would be rounded to 1,000 is 1 of the next.
            if value < 999.5 || unit == "TB" {
                let places = usize::from(value < 99.95);
                return write!(f, "{value:.places$} {unit}");
            }
        }
        Ok(())
    }
}

// === impl Span ===

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(0.0) as u64;
        let Some(at) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return f.write_str("under 1 s") };
        let (unit, name) = UNITS[at];
        write!(f, "{} {name}", seconds / unit)?;
        match UNITS.get(at + 1) {
            Some((smaller, name)) if seconds % unit >= *smaller => write!(f, " {} {name}", seconds % unit / smaller),
            _ => Ok(()),
        }
    }
}

// === impl About ===

impl Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(1.0) as u64;
        // 90 minutes are more than an hour, and 40 hours more than a day.
        let (unit, name) = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((1, "s"));
        write!(f, "{} {name}", Count((self.0.max(1.0) / unit as f64).round() as u64))
    }
}

// === impl Rate ===

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate <= 0.0 => f.write_str("0"),
            rate if rate < 0.05 => f.write_str("under 0.1"),
            rate if rate < 9.95 => write!(f, "{rate:.1}"),
            rate => write!(f, "{}", Count(rate.round() as u64)),
        }
    }
}

// === impl Of ===

impl Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", Count(self.0), self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_shown<T: Copy, D: Display>(shown: impl Fn(T) -> D, table: &[(T, &str)]) {
        for (value, expected) in table {
            assert_eq!(shown(*value).to_string(), *expected);
        }
    }

    #[test]
    fn counts_have_commas_between_thousands() {
        let table = [(0, "0"), (12, "12"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        assert_shown(Count, &table);
        assert_shown(Count, &[(u64::MAX, "18,446,744,073,709,551,615")]);
        assert_shown(|count| Of(count, "line"), &[(0, "0 lines"), (1, "1 line"), (1_200, "1,200 lines")]);
    }

    #[test]
    fn bytes_are_in_powers_of_a_thousand() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (20_000_000, "20.0 MB"),
            (99_940_000, "99.9 MB"),
            (99_960_000, "100 MB"),
            (999_400, "999 kB"),
            (999_600, "1.0 MB"),
            (12_345_678_901, "12.3 GB"),
            (5_000_000_000_000_000, "5000 TB"),
        ];
        assert_shown(Bytes, &table);
    }

    #[test]
    fn spans_have_two_units_and_estimates_one() {
        let table = [
            (-1.0, "under 1 s"),
            (0.4, "under 1 s"),
            (1.0, "1 s"),
            (59.9, "59 s"),
            (60.0, "1 min"),
            (200.4, "3 min 20 s"),
            (3_600.0, "1 h"),
            (3_659.0, "1 h"),
            (7_500.0, "2 h 5 min"),
            (86_400.0 * 3.0 + 3_600.0 * 4.0 + 60.0, "3 d 4 h"),
            (f64::NAN, "under 1 s"),
        ];
        assert_shown(Span, &table);
        let table = [
            (0.0, "1 s"),
            (45.2, "45 s"),
            (119.0, "119 s"),
            (150.0, "3 min"),
            (5_400.0, "90 min"),
            (7_200.0, "2 h"),
            (144_000.0, "40 h"),
            (200_000.0, "2 d"),
            (1e9, "11,574 d"),
        ];
        assert_shown(About, &table);
    }

    #[test]
    fn rates_are_as_exact_as_they_are_small() {
        let table = [(0.0, "0"), (0.01, "under 0.1"), (0.25, "0.2"), (9.94, "9.9"), (9.96, "10"), (12_345.6, "12,346")];
        assert_shown(Rate, &table);
    }
}

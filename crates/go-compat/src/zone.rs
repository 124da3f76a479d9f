//! Time zones by name, as Go uses them.
//!
//! The database is in the binary: a plugin's rootfs holds nothing else.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    zone: TimeZone,
    /// Each abbreviation the zone ever had, with its seconds east of UTC, oldest first.
    abbreviations: Vec<(String, i64)>,
}

// === impl Zone ===

impl Zone {
    /// The zone of a name such as `Europe/Paris`. An empty name, `UTC` and `Local` are UTC, which is the only zone a plugin
    /// has by itself. Names are case-sensitive, as in Go.
    ///
    /// # Errors
    /// `unknown time zone America/Canada (try Europe/Paris)`
    pub fn load(name: &str) -> Result<Self, String> {
        if matches!(name, "" | "UTC" | "Local") {
            return Ok(Self { zone: TimeZone::UTC, abbreviations: Vec::new() });
        }
        let unknown = || {
            let name: String = name.chars().take(100).collect();
            format!("unknown time zone {name} (try Europe/Paris)")
        };
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
        // The crate takes a name in any case.
        if zone.iana_name() != Some(name) {
            return Err(unknown());
        }
        let abbreviations = abbreviations(&zone);
        Ok(Self { zone, abbreviations })
    }

    /// Seconds east of UTC and the abbreviation at an instant, in seconds since 1970.
    pub fn at(&self, second: i64) -> (i64, String) {
        let info = self.zone.to_offset_info(instant(second));
        (i64::from(info.offset().seconds()), info.abbreviation().to_owned())
    }

    /// Seconds east of UTC where clocks show `local`, which is given as if it were UTC.
    ///
    /// Clocks that are set forth skip an hour, and clocks that are set back repeat one. Go's rule for both: the offset is
    /// looked up as if the clock showed UTC; if that does not hold at the instant it gives, the one that does is taken.
    pub fn offset_of_local(&self, local: i64) -> i64 {
        let (first, _) = self.at(local);
        self.at(local.saturating_sub(first)).0
    }

    /// Seconds east of UTC of an abbreviation where clocks show `local`, or `None` if the zone never had it.
    ///
    /// One abbreviation can mean several offsets: the one in use then is taken, or else the oldest.
    pub fn offset_of_abbreviation(&self, name: &str, local: i64) -> Option<i64> {
        let offsets = || self.abbreviations.iter().filter(|(known, _)| known == name).map(|(_, offset)| *offset);
        let in_use = |offset: i64| {
            let (found, abbreviation) = self.at(local.saturating_sub(offset));
            (abbreviation == name).then_some(found)
        };
        offsets().find_map(in_use).or_else(|| offsets().next())
    }
}

/// An instant, or the nearest one that the crate knows.
fn instant(second: i64) -> Timestamp {
    let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(second).unwrap_or(end)
}

fn abbreviations(zone: &TimeZone) -> Vec<(String, i64)> {
    let mut found: Vec<(String, i64)> = Vec::new();
    let mut add = |abbreviation: &str, offset: jiff::tz::Offset| {
        let offset = i64::from(offset.seconds());
        if !found.iter().any(|(known, known_offset)| known == abbreviation && *known_offset == offset) {
            found.push((abbreviation.to_owned(), offset));
        }
    };
    // Before the first transition, and after each until 2038, by when every rule that goes on for ever has been seen.
    let first = zone.to_offset_info(Timestamp::MIN);
    add(first.abbreviation(), first.offset());
    for transition in zone.following(Timestamp::MIN).take_while(|next| next.timestamp().as_second() < 1 << 31) {
        add(transition.abbreviation(), transition.offset());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_database() {
        for name in [
            "",
            "UTC",
            "Local",
            "Europe/Paris",
            "America/New_York",
            "US/Eastern",
            "EST5EDT",
            "Asia/Kolkata",
            "Etc/GMT+5",
        ] {
            assert!(Zone::load(name).is_ok(), "{name}");
        }
        for name in ["America/Canada", "europe/paris", "Europe/Paris ", "../etc/passwd", "utc"] {
            assert_eq!(Zone::load(name).unwrap_err(), format!("unknown time zone {name} (try Europe/Paris)"));
        }
    }

    #[test]
    fn abbreviations_mean_what_they_mean_there() {
        let new_york = Zone::load("America/New_York").unwrap();
        // 2019-07-15 and 2019-01-15
        for (name, local, expected) in [
            ("EDT", 1_563_152_523, Some(-14_400)),
            ("EST", 1_547_513_600, Some(-18_000)),
            // Out of season, it means what it means in its season.
            ("EST", 1_563_152_523, Some(-18_000)),
            ("CEST", 1_563_152_523, None),
        ] {
            assert_eq!(new_york.offset_of_abbreviation(name, local), expected, "{name}");
        }
        assert_eq!(Zone::load("").unwrap().offset_of_abbreviation("EST", 0), None);
        assert_eq!(new_york.at(1_563_152_523), (-14_400, "EDT".to_owned()));
    }

    proptest! {
        #[test]
        fn no_instant_makes_it_panic(second in any::<i64>()) {
            let zone = Zone::load("Europe/Lisbon").unwrap();
            let (offset, _) = zone.at(second);
            prop_assert!(offset.abs() < 86_400);
            prop_assert!(zone.offset_of_local(second).abs() < 86_400);
            let _ = zone.offset_of_abbreviation("WEST", second);
        }
    }
}

//! Options that are accepted for compatibility and have no effect, and why.
//!
//! dockerd passes every option of a container to its driver, even those of its own cache, which it copies from
//! daemon.json into all containers. Rejecting them would keep these containers from starting.

use super::options::{CACHE, COMPRESS, RawOptions, is_of};

/// The options by row of the table, with the reason.
const IDLE: [(&str, &str); 2] = [
    (
        COMPRESS,
        "the files of the log on disk are never compressed, as they are read and sent from while they are written",
    ),
    (
        CACHE,
        "docker logs reads the log that the plugin keeps, so dockerd keeps no cache beside it; see max-size and max-file",
    ),
];

/// A note for each option of a container that has no effect.
pub fn notes(typed: &RawOptions) -> impl Iterator<Item = String> + '_ {
    typed.0.keys().filter_map(|key| {
        let (_, why) = IDLE.iter().find(|(row, _)| is_of(key, row))?;
        Some(format!("{key}: it has no effect: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn options_without_effect_are_told_and_others_are_not() {
        let keys = ["cache-disabled", "cache-max-size", "cache-some-day", "compress", "max-size"];
        let raw = RawOptions(BTreeMap::from(keys.map(|key| (key.to_owned(), "true".to_owned()))));
        let told: Vec<String> = notes(&raw).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        for (note, key) in told.iter().zip(keys) {
            assert!(note.starts_with(&format!("{key}: it has no effect: ")), "{note}");
        }
    }
}

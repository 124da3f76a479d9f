//! The JSON of the plugin protocol, under Go's names.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::info::Info;

/// `/LogDriver.StartLogging`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartLogging {
    /// The path of the FIFO.
    pub file: PathBuf,
    /// The container.
    #[serde(default)]
    pub info: Info,
}

/// `/LogDriver.StopLogging`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StopLogging {
    /// The path of the FIFO, as in StartLogging.
    pub file: PathBuf,
}

/// `/LogDriver.ReadLogs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReadLogs {
    /// The container.
    pub info: Info,
    /// Docker's documentation calls it `ReadConfig`; dockerd sends `Config`.
    #[serde(default, alias = "ReadConfig")]
    pub config: ReadConfig,
}

/// The entries that `docker logs` asks for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReadConfig {
    /// The earliest time; Go's zero time (year 1) means from the beginning.
    #[serde(deserialize_with = "time")]
    pub since: Option<i64>,
    /// The latest time.
    #[serde(deserialize_with = "time")]
    pub until: Option<i64>,
    /// The number of last entries; negative means all.
    pub tail: i64,
    /// Whether to wait for more entries.
    pub follow: bool,
}

/// An answer without data.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    /// The error text; empty on success.
    pub err: String,
}

// === impl ReadConfig ===

impl Default for ReadConfig {
    fn default() -> Self {
        Self { since: None, until: None, tail: -1, follow: false }
    }
}

/// Parses RFC 3339 with any offset into nanoseconds since 1970. A time before 1970 gives `None`: no entry is older.
fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    let time: Timestamp = text.parse().map_err(|_| serde::de::Error::custom("a text is not an RFC 3339 time"))?;
    let nanos =
        i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX });
    Ok((nanos > 0).then_some(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_dockerd_are_read() {
        let call: ReadLogs = serde_json::from_str(
            r#"{"Info":{"Config":{},"ContainerID":"c","ContainerEnv":null,"New":1},
                "Config":{"Since":"2026-11-20T09:24:57.5+01:00","Until":"0001-01-01T00:00:00Z","Tail":-1,"Follow":true}}"#,
        )
        .unwrap();
        assert_eq!(call.info.container_id, "c");
        assert_eq!(call.config.since, Some(1_795_163_097_500_000_000));
        assert_eq!((call.config.until, call.config.tail, call.config.follow), (None, -1, true));
    }

    #[test]
    fn times_outside_the_range_of_nanoseconds_are_clamped() {
        let config = |text: &str| serde_json::from_str::<ReadConfig>(&format!(r#"{{"Until":"{text}"}}"#));
        assert_eq!(config("9999-12-30T22:00:00Z").unwrap().until, Some(i64::MAX));
        assert_eq!(config("1950-01-01T00:00:00Z").unwrap().until, None);
        assert!(config("yesterday").unwrap_err().to_string().contains("a text is not an RFC 3339 time"));
    }
}

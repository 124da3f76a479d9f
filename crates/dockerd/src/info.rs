//! dockerd's description of a container at StartLogging.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use base::maps::map_of;

/// The `Info` of `/LogDriver.StartLogging`, under Go's names for its fields.
///
/// dockerd sends every field and writes `null` for an empty list; a newer one may send more. So all fields are
/// optional, `null` is empty, and unknown fields are skipped. It is persisted as it came, to recover the stream after a
/// crash, and reads back by the same rules.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// The log options, including those that dockerd reads itself.
    #[serde(deserialize_with = "map")]
    pub config: BTreeMap<String, String>,
    /// 64 hexadecimal digits.
    #[serde(rename = "ContainerID", deserialize_with = "text")]
    pub container_id: String,
    /// With a leading slash, see [`Info::name`].
    #[serde(deserialize_with = "text")]
    pub container_name: String,
    #[serde(deserialize_with = "text")]
    pub container_entrypoint: String,
    #[serde(deserialize_with = "list")]
    pub container_args: Vec<String>,
    /// `sha256:` and 64 hexadecimal digits.
    #[serde(rename = "ContainerImageID", deserialize_with = "text")]
    pub container_image_id: String,
    /// The image as typed by the user who started the container.
    #[serde(deserialize_with = "text")]
    pub container_image_name: String,
    /// RFC 3339 in UTC. Kept as text: only templates use it, and an unusual value must not prevent a container from
    /// starting.
    #[serde(deserialize_with = "text")]
    pub container_created: String,
    /// `NAME=value`, in order; the last one of a name counts.
    #[serde(deserialize_with = "list")]
    pub container_env: Vec<String>,
    #[serde(deserialize_with = "map")]
    pub container_labels: BTreeMap<String, String>,
    /// Empty for plugins.
    #[serde(deserialize_with = "text")]
    pub log_path: String,
    #[serde(deserialize_with = "text")]
    pub daemon_name: String,
}

// === impl Info ===

impl Info {
    /// The name without the slash, as `docker ps` shows it.
    pub fn name(&self) -> &str {
        let name = &self.container_name;
        name.strip_prefix('/').unwrap_or(name)
    }

    /// The first twelve characters of the container's id, as `docker ps` shows it.
    pub fn id12(&self) -> &str {
        short_id(&self.container_id)
    }

    /// The entrypoint and its arguments, separated by spaces.
    pub fn command(&self) -> String {
        let arguments = self.container_args.iter();
        arguments.fold(self.container_entrypoint.clone(), |command, argument| command + " " + argument)
    }

    /// Environment variables by name. An entry without `=` is skipped.
    pub fn env(&self) -> BTreeMap<&str, &str> {
        let entries = self.container_env.iter();
        map_of(entries.filter_map(|entry| entry.split_once('=')))
    }
}

/// The first twelve characters of an id, without its algorithm (moby, `stringid.TruncateID`).
pub fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    let end = digits.char_indices().nth(12);
    end.map_or(digits, |(end, _)| &digits[..end])
}

/// Shows names only: values of options, labels and environment variables may be secrets.
impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("container", &self.id12())
            .field("name", &self.name())
            .field("image", &self.container_image_name)
            .field("created", &self.container_created)
            .field("config", &self.config.keys())
            .field("env", &self.env().keys())
            .field("labels", &self.container_labels.keys())
            .finish_non_exhaustive()
    }
}

// === nulls ===

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let items: Option<Vec<Option<String>>> = Option::deserialize(from)?;
    let items = items.into_iter().flatten();
    Ok(items.map(Option::unwrap_or_default).collect())
}

fn map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let entries: Option<BTreeMap<String, Option<String>>> = Option::deserialize(from)?;
    let entries = entries.into_iter().flatten();
    Ok(map_of(entries.map(|(name, value)| (name, value.unwrap_or_default()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description as dockerd sends it for `docker run -e TOKEN=hunter2 --label app=web --name c1 …`.
    const SENT: &str = r#"{
        "Config": {"loki-url": "http://u:hunter2@loki/", "mode": "non-blocking"},
        "ContainerID": "d4f0a7b6c5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8",
        "ContainerName": "/c1",
        "ContainerEntrypoint": "sh",
        "ContainerArgs": ["-c", "echo \u003chi\u003e"],
        "ContainerImageID": "sha256:56f5a0000000000000000000000000000000000000000000000000000000000f",
        "ContainerImageName": "bb:1",
        "ContainerCreated": "2026-11-20T08:24:57.418162077Z",
        "ContainerEnv": ["TOKEN=hunter2", "A=b=c", "odd", "A=last"],
        "ContainerLabels": {"app": "hunter2"},
        "LogPath": "",
        "DaemonName": "docker",
        "SomethingNew": {"deep": [1, null]}
    }"#;

    #[test]
    fn info_of_dockerd_is_read() {
        let info: Info = serde_json::from_str(SENT).unwrap();
        assert_eq!(info.name(), "c1");
        assert_eq!(info.id12(), "d4f0a7b6c5e4");
        assert_eq!(info.container_args, ["-c", "echo <hi>"]);
        assert_eq!(info.container_created, "2026-11-20T08:24:57.418162077Z");
        assert_eq!(info.config.len(), 2);
        assert_eq!(info.daemon_name, "docker");
        let env: Vec<_> = info.env().into_iter().collect();
        assert_eq!(env, [("A", "last"), ("TOKEN", "hunter2")]);
    }

    #[test]
    fn nulls_and_gaps_are_empty() {
        let names = [
            "Config",
            "ContainerID",
            "ContainerName",
            "ContainerEntrypoint",
            "ContainerArgs",
            "ContainerImageID",
            "ContainerImageName",
            "ContainerCreated",
            "ContainerEnv",
            "ContainerLabels",
            "LogPath",
            "DaemonName",
        ];
        let nulls: BTreeMap<&str, Option<u8>> = names.map(|name| (name, None)).into();
        let nulls = serde_json::to_string(&nulls).unwrap();
        for json in ["{}", nulls.as_str(), r#"{"Config": {}, "ContainerArgs": []}"#] {
            assert_eq!(serde_json::from_str::<Info>(json).unwrap(), Info::default(), "{json}");
        }
        let json = r#"{"Config": {"a": null}, "ContainerArgs": ["x", null]}"#;
        let info: Info = serde_json::from_str(json).unwrap();
        assert_eq!(info.config["a"], "");
        assert_eq!(info.container_args, ["x", ""]);
    }

    #[test]
    fn persisted_info_reads_back() {
        let info: Info = serde_json::from_str(SENT).unwrap();
        let json = serde_json::to_string(&info).unwrap();
        assert!(json.contains("\"ContainerImageID\":\"sha256:56f5a"), "{json}");
        assert_eq!(serde_json::from_str::<Info>(&json).unwrap(), info);
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let info: Info = serde_json::from_str(SENT).unwrap();
        let shown = format!("{info:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        for name in ["d4f0a7b6c5e4", "c1", "bb:1", "loki-url", "TOKEN", "app"] {
            assert!(shown.contains(name), "{name} in {shown}");
        }
    }

    #[test]
    fn ids_are_shortened_as_docker_does() {
        for (id, short) in [
            ("", ""),
            ("abc", "abc"),
            ("abcdef0123456789", "abcdef012345"),
            ("sha256:582c496ccf79d8aa", "582c496ccf79"),
            ("ééééééééééééé", "éééééééééééé"),
        ] {
            assert_eq!(short_id(id), short);
        }
    }
}

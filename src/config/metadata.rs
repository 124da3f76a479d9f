//! `loki-structured-metadata`: structured metadata of each line, from labels, variables and facts of the container.
//!
//! ```text
//! list   = item { "," item }
//! item   = [ name "=" ] source
//! source = "label:" key | "env:" key | fact
//! ```
//!
//! Without a name, a fact keeps its own, and a key gets the nearest name that Loki accepts: `label:com.example/team`
//! becomes `com_example_team`.

use base::refusal::{Refusal, quote};
use loki::labels::LabelName;

/// The largest number of items. Loki accepts 128 for a line, and the driver may add one.
const MAX_ITEMS: usize = 100;

/// One item of structured metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataItem {
    /// The name in Loki.
    pub name: LabelName,
    pub source: MetadataSource,
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataSource {
    /// A label of the container, by its exact name.
    Label(String),
    /// An environment variable of the container.
    Env(String),
    Fact(Fact),
}

/// A fact that dockerd knows about every container, or Swarm about its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    ContainerId,
    ContainerName,
    ContainerCreated,
    ImageId,
    ImageName,
    Command,
    DaemonName,
    SwarmTaskId,
    SwarmSlot,
    SwarmNodeId,
}

/// The facts by name.
const FACTS: [(&str, Fact); 10] = [
    ("container_id", Fact::ContainerId),
    ("container_name", Fact::ContainerName),
    ("container_created", Fact::ContainerCreated),
    ("image_id", Fact::ImageId),
    ("image_name", Fact::ImageName),
    ("command", Fact::Command),
    ("daemon_name", Fact::DaemonName),
    ("swarm_task_id", Fact::SwarmTaskId),
    ("swarm_slot", Fact::SwarmSlot),
    ("swarm_node_id", Fact::SwarmNodeId),
];

/// Parses the list. An empty list means no metadata.
pub fn items(text: &str) -> Result<Vec<MetadataItem>, Refusal> {
    let refuse = |why: String| {
        let reason =
            format!("is not a list of metadata: {why} (try container_id,label:com.example.team,tier=env:TIER)");
        Refusal::new(text, reason)
    };
    let typed: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if typed.len() > MAX_ITEMS {
        return Err(refuse(format!("{} are more than {MAX_ITEMS}, and Loki takes no more", typed.len())));
    }
    typed.into_iter().map(|typed| item(typed).map_err(refuse)).collect()
}

fn item(typed: &str) -> Result<MetadataItem, String> {
    // A key may contain `=`, a fact may not; a name contains no colon.
    let (name, source) = match typed.split_once('=') {
        Some((name, source)) if !name.contains(':') => (Some(name.trim()), source.trim()),
        _ => (None, typed),
    };
    let (known, source) = if let Some(key) = source.strip_prefix("label:") {
        (key, MetadataSource::Label(key.to_owned()))
    } else if let Some(key) = source.strip_prefix("env:") {
        (key, MetadataSource::Env(key.to_owned()))
    } else if let Some((known, fact)) = FACTS.iter().find(|(known, _)| *known == source) {
        (*known, MetadataSource::Fact(*fact))
    } else {
        let known = FACTS.map(|(known, _)| known).join(", ");
        return Err(format!("{} is none of label:NAME, env:NAME, {known}", quote(source)));
    };
    let name = LabelName::sanitise(name.unwrap_or(known)).map_err(|_| format!("{} has no name", quote(typed)))?;
    if matches!(&source, MetadataSource::Label(key) | MetadataSource::Env(key) if key.is_empty()) {
        return Err(format!("{} has no name", quote(typed)));
    }
    Ok(MetadataItem { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let read = |text: &str| -> Vec<(String, MetadataSource)> {
            let items = items(text).unwrap_or_else(|error| panic!("{error}"));
            items.into_iter().map(|item| (item.name.as_str().to_owned(), item.source)).collect()
        };
        let label = |key: &str| MetadataSource::Label(key.to_owned());
        let env = |key: &str| MetadataSource::Env(key.to_owned());
        assert_eq!(read(""), []);
        assert_eq!(read(" , "), []);
        assert_eq!(
            read("image_id, label:com.example/team,env:TIER,my-pod=label:a=b,label:c=d,id=container_id"),
            [
                ("image_id".to_owned(), MetadataSource::Fact(Fact::ImageId)),
                ("com_example_team".to_owned(), label("com.example/team")),
                ("TIER".to_owned(), env("TIER")),
                ("my_pod".to_owned(), label("a=b")),
                ("c_d".to_owned(), label("c=d")),
                ("id".to_owned(), MetadataSource::Fact(Fact::ContainerId)),
            ]
        );
        for (name, fact) in FACTS {
            assert_eq!(read(name), [(name.to_owned(), MetadataSource::Fact(fact))]);
        }
    }

    #[test]
    fn what_is_no_item_is_refused() {
        let many = vec!["command"; 101].join(",");
        for (text, why) in [
            ("pod", "\"pod\" is none of label:NAME, env:NAME, container_id, "),
            ("a=pod", "\"pod\" is none of "),
            ("label:", "\"label:\" has no name"),
            ("x=env:", "\"x=env:\" has no name"),
            ("=command", "\"=command\" has no name"),
            (&many, "101 are more than 100, and Loki takes no more"),
        ] {
            let error = items(text).unwrap_err().to_string();
            assert!(error.contains("is not a list of metadata: "), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}

//! Structured metadata of each line, by `loki-structured-metadata`.
//!
//! It holds values that change with every container; as labels they would make a new stream each time.

use crate::config::{Fact, MetadataItem, MetadataSource};
use dockerd::info::Info;
use loki::labels::{LabelName, MAX_VALUE};

/// The most bytes of names and values together in each line; Loki accepts 64 KiB.
const MOST: usize = 32 * 1024;

/// Docker Swarm's labels of a container.
const TASK_ID: &str = "com.docker.swarm.task.id";
const TASK_NAME: &str = "com.docker.swarm.task.name";
const NODE_ID: &str = "com.docker.swarm.node.id";

/// Names and values.
pub type Pairs = Vec<(String, String)>;

/// Returns names with non-empty values, and notes for the log.
///
/// # Errors
/// One sentence when it is more than Loki accepts.
pub fn metadata(info: &Info, items: &[MetadataItem]) -> Result<(Pairs, Vec<String>), String> {
    let mut found: Vec<(&LabelName, String)> = Vec::new();
    let mut notes = Vec::new();
    for MetadataItem { name, source } in items {
        let mut value = value(info, source);
        if value.is_empty() {
            continue;
        }
        let length = value.len();
        if length > MAX_VALUE {
            value.truncate(value.floor_char_boundary(MAX_VALUE));
            let kept = value.len();
            notes.push(format!("loki-structured-metadata: the value of {name} is cut from {length} to {kept} bytes"));
        }
        match found.iter_mut().find(|(other, _)| *other == name) {
            Some((_, earlier)) => {
                if *earlier != value {
                    notes.push(format!("loki-structured-metadata: {name} is there twice, and the last one counts"));
                }
                *earlier = value;
            }
            None => found.push((name, value)),
        }
    }
    let bytes: usize = found.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MOST {
        return Err(format!(
            "loki-structured-metadata: {bytes} bytes beside each line are more than the {MOST} that are sent (name fewer)"
        ));
    }
    Ok((found.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect(), notes))
}

fn value(info: &Info, source: &MetadataSource) -> String {
    let label = |key: &str| info.container_labels.get(key).cloned().unwrap_or_default();
    match source {
        MetadataSource::Label(key) => label(key),
        MetadataSource::Env(key) => info.env().get(key.as_str()).map_or_else(String::new, ToString::to_string),
        MetadataSource::Fact(fact) => match fact {
            Fact::ContainerId => info.container_id.clone(),
            Fact::ContainerName => info.name().to_owned(),
            Fact::ContainerCreated => info.container_created.clone(),
            Fact::ImageId => info.container_image_id.clone(),
            Fact::ImageName => info.container_image_name.clone(),
            Fact::Command => info.command(),
            Fact::DaemonName => info.daemon_name.clone(),
            Fact::SwarmTaskId => label(TASK_ID),
            Fact::SwarmSlot => slot(&label(TASK_NAME)).to_owned(),
            Fact::SwarmNodeId => label(NODE_ID),
        },
    }
}

/// The number in `service.3.id-of-the-task`. The tasks of a global service have the id of their node instead, and no
/// slot.
fn slot(task: &str) -> &str {
    let slot = task.rsplit('.').nth(1).unwrap_or_default();
    if slot.bytes().all(|byte| byte.is_ascii_digit()) { slot } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::metadata::items;

    fn info() -> Info {
        let labels = [
            ("com.docker.swarm.task.id", "x1y2"),
            ("com.docker.swarm.task.name", "shop_cart.3.x1y2"),
            ("com.docker.swarm.node.id", "n0de"),
            ("team/name", "cart"),
            ("long", &"é".repeat(1_025)),
            ("empty", ""),
        ];
        Info {
            container_id: "abc".into(),
            container_name: "/web".into(),
            container_entrypoint: "sh".into(),
            container_args: ["-c".into(), "echo".into()].into(),
            container_image_id: "sha256:5".into(),
            container_image_name: "img:1".into(),
            container_created: "2026-11-20T08:24:57Z".into(),
            container_env: ["TIER=front=1".into()].into(),
            container_labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            daemon_name: "docker".into(),
            ..Info::default()
        }
    }

    fn found(typed: &str) -> (Pairs, Vec<String>) {
        metadata(&info(), &items(typed).unwrap()).unwrap()
    }

    #[test]
    fn each_item_has_its_value_and_empty_items_are_omitted() {
        let (found, notes) = found(
            "container_id,container_name,container_created,image_id,image_name,command,daemon_name,swarm_task_id,\
             swarm_slot,swarm_node_id,label:team/name,tier=env:TIER,label:none,label:empty,env:NONE",
        );
        let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            found.join(" "),
            "container_id=abc container_name=web container_created=2026-11-20T08:24:57Z image_id=sha256:5 \
             image_name=img:1 command=sh -c echo daemon_name=docker swarm_task_id=x1y2 swarm_slot=3 swarm_node_id=n0de \
             team_name=cart tier=front=1"
        );
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn slots_are_numbers() {
        for (task, expected) in
            [("cart.3.x1y2", "3"), ("cart.n0de.x1y2", ""), ("cart", ""), ("", ""), ("shop.v2.10.x", "10")]
        {
            assert_eq!(slot(task), expected, "{task}");
        }
    }

    #[test]
    fn equal_names_and_long_values_are_reported() {
        let (twice, notes) = found("team_name=command,label:team/name");
        assert_eq!(twice, [("team_name".to_owned(), "cart".to_owned())]);
        assert_eq!(notes, ["loki-structured-metadata: team_name is there twice, and the last one counts"]);
        let (long, notes) = found("label:long");
        assert_eq!(long[0].1.len(), 2_048);
        assert_eq!(notes, ["loki-structured-metadata: the value of long is cut from 2050 to 2048 bytes"]);
        let many: Vec<String> = (0..17).map(|n| format!("n{n}=label:long")).collect();
        let error = metadata(&info(), &items(&many.join(",")).unwrap()).unwrap_err();
        assert!(error.starts_with("loki-structured-metadata: 34"), "{error}");
    }
}

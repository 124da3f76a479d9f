//! Docker Compose, in either form that this machine has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use promtail::yaml::{self, Node, Value};

/// The logging options of a service in a compose file, and the container fields that dockerd passes to a log driver.
#[derive(Debug)]
pub struct Service {
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// A file of the project.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `docker compose`, or `docker-compose` where that is what there is. `make test` sees to one of them.
pub fn command() -> Command {
    let works = |command: &mut Command| {
        let version = command.arg("version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    };
    if works(Command::new("docker").arg("compose")) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    assert!(
        works(&mut Command::new("docker-compose")),
        "there is neither docker compose nor docker-compose (make test installs one, or: apt-get install docker-compose)"
    );
    Command::new("docker-compose")
}

/// What Compose makes of a file, with all variables and anchors resolved.
pub fn config(file: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = command();
    command.arg("--file").arg(file).arg("config").envs(variables.iter().copied());
    command.output().unwrap_or_else(|error| panic!("Compose does not run: {error}"))
}

/// The services of a file that say how they log, as Compose itself reads it.
pub fn services(file: &Path, variables: &[(&str, &str)]) -> BTreeMap<String, Service> {
    let name = file.display();
    let output = config(file, variables);
    let [config, complaint] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{name}: {complaint}");
    let config = yaml::parse(&config).unwrap_or_else(|error| panic!("{name}: {error}:\n{config}")).expect("a tree");
    let Some(Node { value: Value::Map(services), .. }) = entry(&config, "services") else {
        panic!("{name} has no services")
    };
    let read = |service: &Node| {
        let logging = entry(service, "logging")?;
        let driver = text(entry(logging, "driver")?).to_owned();
        Some(Service { driver, options: texts(entry(logging, "options")), labels: texts(entry(service, "labels")) })
    };
    services.iter().filter_map(|(name, service)| Some((text(name).to_owned(), read(service)?))).collect()
}

/// A value of a map.
pub fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { panic!("{key} is looked for in what is no map: {node:?}") };
    entries.iter().find(|(name, _)| text(name) == key).map(|(_, value)| value)
}

/// A scalar.
pub fn text(node: &Node) -> &str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        other => panic!("{other:?} is no text"),
    }
}

/// A map of texts. Compose writes what it would read again, with `$$` for `$`.
pub fn texts(map: Option<&Node>) -> BTreeMap<String, String> {
    let Some(Node { value: Value::Map(entries), .. }) = map else { return BTreeMap::new() };
    entries.iter().map(|(key, value)| (text(key).to_owned(), text(value).replace("$$", "$"))).collect()
}

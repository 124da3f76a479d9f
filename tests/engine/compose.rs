//! Users of Grafana's driver change the driver's name in a compose file, or give this plugin that name, and nothing
//! else.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::stage::{Scene, numbered, text};
use crate::harness::{compose, patience};

/// A compose file for Grafana's driver.
const FILE: &str = "tests/data/grafana-compose.yaml";

/// A project of Docker Compose on a scene's engine. It goes with the value.
struct Project<'a> {
    scene: &'a Scene<'a>,
    name: &'static str,
    file: PathBuf,
}

// === impl Project ===

impl<'a> Project<'a> {
    /// A project with a file of that content.
    fn new(scene: &'a Scene<'a>, name: &'static str, content: &str) -> Self {
        let file = scene.engine.folder(name).join("compose.yaml");
        fs::write(&file, content).unwrap();
        Project { scene, name, file }
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        // The environment that leads a docker command to the engine leads Compose there as well.
        let docker = self.scene.engine.command(["version"]);
        let host = docker.get_args().nth(1).expect("--host and its value");
        let mut command = compose::command();
        command.arg("--project-name").arg(self.name).arg("--file").arg(&self.file).args(arguments);
        command.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("DOCKER_HOST", host).env("LOKI_URL", self.scene.loki.push_url());
        command
    }

    /// `up`, and waits until all containers have ended.
    fn run(&self) {
        let output = self.compose(&["up", "--detach"]).output().unwrap();
        assert!(output.status.success(), "{}: {}", self.name, text(&output.stderr));
        for service in ["web", "worker"] {
            self.scene.engine.docker(["wait", &self.container(service)]);
        }
    }

    /// The name of a service's container: Compose's versions do not agree on how to make one.
    fn container(&self, service: &str) -> String {
        let filters = [format!("project={}", self.name), format!("service={service}")];
        let filters = filters.map(|filter| format!("--filter=label=com.docker.compose.{filter}"));
        self.scene.engine.docker(["ps", "--all", "--format={{.Names}}"].into_iter().chain(filters.iter().map(|f| &**f)))
    }

    /// Waits until Loki has `count` lines, and returns them with their labels except hosts.
    fn told(&self, count: usize) -> Vec<String> {
        let loki = &self.scene.loki;
        let came = loki.wait_for(|state| state.entries().len() >= count, patience());
        assert!(came, "Loki has {} lines of {}, not {count}", loki.entries().len(), self.name);
        let told = loki.entries().into_iter().map(|entry| {
            let labels = entry.labels.iter().filter(|(name, _)| *name != "host");
            let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} | {}", labels.join(" "), text(&entry.line))
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    }

    /// The expected lines. `rounds`: how often the containers ran.
    fn expected(&self, rounds: usize) -> Vec<String> {
        let project = self.name;
        let web = format!("REGION=eu container_name={} image=chatter job=docker service=web", self.container("web"),);
        let lines = [("stdout", 1), ("stdout", 2), ("stdout", 3), ("stderr", 1)];
        let web =
            lines.map(|(source, n)| format!("{web} source={source} tier=front unit=compose/{project}/web | line {n}"));
        let worker = [1, 2].map(|n| {
            format!(
                "compose_project={project} compose_service=worker container_name={} source=stdout | line {n}",
                self.container("worker"),
            )
        });
        let mut all: Vec<String> = web.into_iter().chain(worker).flat_map(|line| vec![line; rounds]).collect();
        all.sort();
        all
    }

    /// What `docker logs` shows of each container, both outputs.
    fn logs(&self) -> BTreeMap<&'static str, [Vec<String>; 2]> {
        let logs = ["web", "worker"].map(|service| {
            let (said, output) = self.scene.engine.try_docker(["logs", &self.container(service)]);
            assert!(output.status.success(), "{said}: {}", text(&output.stderr));
            let lines = |bytes: &[u8]| text(bytes).lines().map(str::to_owned).collect();
            (service, [lines(&output.stdout), lines(&output.stderr)])
        });
        BTreeMap::from(logs)
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        match self.compose(&["down", "--timeout", "1"]).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("{}: {}", self.name, text(&output.stderr)),
            Err(error) => eprintln!("{}: {error}", self.name),
        }
    }
}

/// What each container prints in one run, both outputs.
fn printed() -> BTreeMap<&'static str, [Vec<String>; 2]> {
    BTreeMap::from([("web", [numbered(3), numbered(1)]), ("worker", [numbered(2), Vec::new()])])
}

fn content() -> String {
    fs::read_to_string(compose::file(FILE)).unwrap()
}

#[test]
fn a_compose_file_for_grafanas_driver_works_when_the_drivers_name_is_changed() {
    let scene = Scene::new("compose");
    let ours = content().replace("driver: loki", &format!("driver: {}", scene.plugin.name));
    assert!(ours.contains("driver: loki-rs\n") && ours.contains("driver: loki-rs:latest\n"));
    let project = Project::new(&scene, "grafanas", &ours);
    project.run();
    assert_eq!(project.told(6), project.expected(1));
    assert_eq!(project.logs(), printed());
}

#[test]
fn a_plugin_that_takes_the_name_of_another_serves_the_containers_made_for_that() {
    let scene = Scene::new("renamed");
    let plugin = scene.engine.install("loki", &[]);
    let id = plugin.id.clone();
    let project = Project::new(&scene, "untouched", &content());
    project.run();
    assert_eq!(project.told(6), project.expected(1));

    // Its containers stay as they are, and the next plugin of that name has them. What docker logs had went with the first.
    drop(plugin);
    let plugin = scene.engine.install("loki", &[]);
    assert_ne!(plugin.id, id);
    for service in ["web", "worker"] {
        let container = project.container(service);
        scene.engine.docker(["start", &container]);
        scene.engine.docker(["wait", &container]);
    }
    assert_eq!(project.told(12), project.expected(2));
    assert_eq!(project.logs(), printed());
}

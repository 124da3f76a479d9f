//! How a user hands certificates, passwords and tokens over, with docker's own commands.

use super::registry::Registry;
use super::stage::{Engine, IMAGE_NAME, Scene, eventually, numbered, text};
use super::upgrade::push;
use crate::harness::pages;
use crate::transport::stage::{Authority, Front};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::ffi::OsStr;
use std::fs;

/// What the documentation says under *Files*: commands, each on one line.
fn documented() -> Vec<String> {
    let joined = pages::marked("files").replace("\\\n", " ");
    joined.lines().map(str::trim).filter(|line| line.starts_with("docker ")).map(str::to_owned).collect()
}

#[test]
fn files_are_passed_to_the_plugin_as_documented() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-files", &[]);
    let scene = Scene::with("files", &plugin);
    let authority = Authority::new();
    let front = Front::start(scene.loki.port(), &authority.vouch_for("127.0.0.1").serves(None));
    scene.loki.demand("authorization", &format!("Basic {}", STANDARD.encode("docker:hunter2")));

    // Without it, the refusal says what to do.
    let draft = scene.container("early").option("loki-tls-ca-file", "ca.pem");
    let (_container, output) = draft.run(&["lines:1"]);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{complaint}");
    for part in ["loki-tls-ca-file: \"/etc/loki-rs/ca.pem\" cannot be read", "files.source=", "/etc/loki-rs"] {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }

    let folder = engine.folder("files-of-the-host");
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    write("ca.pem", &authority.pem());
    write("password", "wrong\n");
    let commands = documented();
    assert!(commands.len() >= 4, "{commands:?}");
    let name = "files-documented";
    for command in commands {
        let words = command.split_whitespace().skip(1).flat_map(|word| match word {
            "loki-rs" => vec![plugin.name.clone()],
            "--log-driver=loki-rs" => {
                vec![format!("--log-driver={}", plugin.name), format!("--name={name}"), "--network=none".into()]
            }
            "files.source=/etc/loki-rs" => vec![format!("files.source={}", folder.display())],
            "loki-url=https://loki.example.com" => vec![format!("loki-url={}", front.url())],
            "IMAGE" => vec![IMAGE_NAME.into(), "lines:3".into()],
            word => vec![word.to_owned()],
        });
        engine.docker(words);
    }
    eventually("Loki refuses the password", || engine.log().contains("Loki answered 401"));
    // As every editor does it: a new file under the old name.
    write("new", "hunter2\n");
    fs::rename(folder.join("new"), folder.join("password")).unwrap();
    eventually("Loki has the lines", || scene.loki.count(&[("container_name", name)]) == 3);
    assert_eq!(engine.docker(["logs", name]), numbered(3).join("\n"));
    engine.docker(["rm", name]);
    assert!(!engine.log().contains("hunter2"));
    plugin.disable();
}

#[test]
fn after_an_upgrade_files_are_handed_over_again_and_lines_wait_for_it() {
    let engine = Engine::shared();
    let registry = Registry::start();
    let (name, reference) = ("loki-rs-refiled", registry.reference("loki-rs-files"));
    push(engine, &reference, "first-with-files");
    let folder = engine.folder("files-of-the-upgraded");
    fs::write(folder.join("token"), "t\n").unwrap();
    let source = format!("files.source={}", folder.display());
    engine.docker(["plugin", "install", "--grant-all-permissions", "--alias", name, &reference, &source]);
    let plugin = engine.installed(name);
    let scene = Scene::with("refiled", &plugin);
    scene.loki.demand("authorization", "Bearer t");
    let draft = scene.container("echo").option("loki-bearer-token-file", "token");
    let (container, mut input) = draft.start_echo();
    let mut say = |line: &str| std::io::Write::write_all(input.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
    say("before\n");
    scene.expect_lines(&container, ["before"]);

    push(engine, &reference, "second-with-files");
    engine.docker(["plugin", "disable", "--force", name]);
    engine.docker(["plugin", "upgrade", "--grant-all-permissions", name]);
    // What Docker shows under Settings is not what it goes by.
    let format = "{{range .Config.Mounts}}{{with .Source}}{{.}}{{end}}{{end}}";
    assert_eq!(engine.docker(["plugin", "inspect", "--format", format, name]), "/sys/fs");
    engine.docker(["plugin", "enable", "--timeout", "0", name]);
    say("without files\n");
    eventually("docker logs goes on", || container.lines(&[]) == ["before", "without files"]);
    eventually("the log says what is missing", || {
        let log = engine.log();
        log.lines().any(|line| line.contains(&plugin.id) && line.contains("loki-bearer-token-file"))
    });
    engine.docker(["plugin", "disable", "--force", name]);
    engine.docker([OsStr::new("plugin"), "set".as_ref(), name.as_ref(), source.as_ref()]);
    engine.docker(["plugin", "enable", "--timeout", "0", name]);
    say("after\n");
    scene.expect_lines(&container, ["before", "without files", "after"]);
    drop(input.stdin.take());
    input.wait().unwrap();
    container.docker(&["rm"]);
    plugin.disable();
}

#[test]
fn files_in_the_plugins_own_folder_outlive_an_upgrade() {
    let engine = Engine::shared();
    let registry = Registry::start();
    let (name, reference) = ("loki-rs-kept", registry.reference("loki-rs-kept-files"));
    push(engine, &reference, "first-with-kept-files");
    engine.docker(["plugin", "install", "--grant-all-permissions", "--alias", name, &reference]);
    let plugin = engine.installed(name);
    fs::write(plugin.folder().join("propagated-mount/loki-rs/files/token"), "t\n").unwrap();
    let scene = Scene::with("kept", &plugin);
    scene.loki.demand("authorization", "Bearer t");
    let (container, mut input) = scene.container("echo").option("loki-bearer-token-file", "token").start_echo();
    let mut say = |line: &str| std::io::Write::write_all(input.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
    say("before\n");
    scene.expect_lines(&container, ["before"]);

    push(engine, &reference, "second-with-kept-files");
    engine.docker(["plugin", "disable", "--force", name]);
    engine.docker(["plugin", "upgrade", "--grant-all-permissions", name]);
    engine.docker(["plugin", "enable", "--timeout", "0", name]);
    say("after\n");
    scene.expect_lines(&container, ["before", "after"]);
    drop(input.stdin.take());
    input.wait().unwrap();
    container.docker(&["rm"]);
    plugin.disable();
}

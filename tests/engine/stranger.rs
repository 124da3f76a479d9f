//! A new operator follows `deploy/README.md`, breaks Loki, and reads off the status page what is wrong, what is
//! buffered and what is dropped.

use super::crash::wait_for_more;
use super::stage::{Engine, Plugin, Scene, difference, eventually, numbered, text};
use crate::harness::status::free_address;
use crate::standin::client;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The address that the documents name.
const ADDRESS: &str = "127.0.0.1:9337";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What `deploy/README.md` says of the plugin: commands, each on one line.
fn commands() -> Vec<String> {
    let readme = read("deploy/README.md");
    readme.lines().filter_map(|line| line.strip_prefix("    docker plugin ")).map(str::to_owned).collect()
}

/// The body that is served there; `None` when no server listens.
fn get(address: &str, path: &str) -> Option<String> {
    let reply = client::send(&format!("http://{address}"), "GET", path, &[], b"").ok()?;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    Some(reply.text())
}

/// The page as it is seen: its words, without what is between `<` and `>`, and without what is code.
fn page(address: &str) -> String {
    let html = get(address, "/").expect("it is served");
    let (_, body) = html.split_once("<body").expect("a page");
    let words = body.split('<').filter_map(|part| part.split_once('>')).map(|(_, words)| words.trim());
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn status(address: &str) -> Value {
    serde_json::from_str(&get(address, "/status.json").expect("it is served")).unwrap()
}

/// What `$DIR/rootfs/loki-rs` of the guide says.
fn run(plugin: &Plugin, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(plugin.folder().join("rootfs/loki-rs")).args(arguments).env_clear().output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn who_has_never_seen_it_reads_off_the_page_what_is_wrong_kept_and_lost() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-stranger", &[]);
    let scene = Scene::with("stranger", &plugin);
    let address = free_address();
    let said = commands();
    assert_eq!(said.len(), 3, "{said:?}");
    for command in said {
        let command = command.replace("loki-rs", &plugin.name).replace(ADDRESS, &address);
        engine.docker(["plugin"].into_iter().chain(command.split_whitespace()));
    }
    assert!(read("deploy/README.md").contains(&format!("The plugin's own page is <http://{ADDRESS}>")));
    assert!(read("deploy/README.md").contains("what is wrong (*Loki takes no lines*, and why)"));
    eventually("the page is served", || get(&address, "/live").is_some());

    // The options of compose.yaml.
    let draft =
        scene.container("app").option("max-size", "10m").option("max-file", "3").option("loki-pipeline", "json");
    let app = draft.start(&["lines:1000000@100"]);
    wait_for_more(&app, 1);
    let first_sentence = || status(&address)["verdict"]["text"].as_str().unwrap().to_owned();
    eventually("Loki has lines, and the page says so", || {
        first_sentence() == "All is well: Loki takes the lines of 1 container." && !scene.lines(&app).is_empty()
    });

    scene.loki.go_away();
    eventually("the page says that Loki is away, and for how long there is room", || {
        first_sentence().ends_with(" at the present rate.")
    });
    let told = status(&address);
    let verdict = &told["verdict"];
    assert_eq!(verdict["level"], "warning", "lines are late, and kept: {verdict}");
    let sentence = verdict["text"].as_str().unwrap();
    let begin = format!("Loki at {} has taken no lines for ", scene.loki.url());
    let room =
        format!("lines of 1 container wait, kept on disk; the first ring, that of {}, is full in about ", app.name);
    assert!(sentence.starts_with(&begin) && sentence.contains(&room), "{sentence}");
    assert_eq!(verdict["wrong"]["what"], "Loki takes no lines");
    assert!(verdict["wrong"]["detail"].as_str().unwrap().contains("Connection refused"), "{verdict}");
    assert!(verdict["kept"]["what"].as_str().unwrap().ends_with(" lines"), "{verdict}");
    assert!(verdict["kept"]["detail"].as_str().unwrap().ends_with(" of 1 container, on disk, to be sent"), "{verdict}");
    assert_eq!(verdict["lost"]["what"], "nothing");
    // The same on the page, from the first to the last of them, before anything else.
    let seen = page(&address);
    let mut rest = seen.as_str();
    for words in
        [&begin, "What is wrong | Loki takes no lines |", "What is kept |", "What is lost | nothing |", "Destinations"]
    {
        let Some((_, behind)) = rest.split_once(words) else {
            panic!("{words:?} is not on the page, or not in order: {seen}")
        };
        rest = behind;
    }
    let metrics = get(&address, "/metrics").unwrap();
    let up = metrics.lines().find(|line| line.starts_with("loki_rs_destination_up{")).unwrap();
    let value = up.rsplit_once(' ').unwrap().1;
    assert_eq!(value.parse(), Ok(0.0), "what the alert LokiRsDestinationDown asks for: {up}");

    // "The application goes on, docker logs shows every line." What the guide says to look at first says it, too.
    wait_for_more(&app, 100);
    let rings = plugin.folder().join("propagated-mount/loki-rs/rings");
    let (well, listed) = run(&plugin, &["ring", "list", rings.to_str().unwrap()]);
    assert!(well && listed.contains(&app.name), "{listed}");
    let (well, advice) =
        run(&plugin, &["doctor", "--log-opt", &format!("loki-url={}", scene.loki.url()), "--label", "team=shop"]);
    assert!(!well && advice.contains("Lines would not get to Loki"), "{advice}");

    scene.loki.come_back();
    app.docker(&["stop"]);
    let lines = app.lines(&[]);
    assert_eq!(difference(&lines, &numbered(lines.len())), None, "docker logs");
    scene.expect_lines(&app, lines);
    eventually("all is well", || first_sentence() == "All is well: no container logs through the plugin now.");
    let verdict = &status(&address)["verdict"];
    for (which, what) in [("wrong", "nothing"), ("kept", "nothing waits"), ("lost", "nothing")] {
        assert_eq!(verdict[which]["what"], what, "{verdict}");
    }
    assert!(!verdict.to_string().contains("no line was sent"), "many were: {verdict}");
    app.docker(&["rm"]);
    plugin.disable();
}

#[test]
fn a_socket_for_root_alone_is_reached_as_the_guide_says() {
    let guide = read("docs/monitoring.md");
    let (_, rest) = guide.split_once("For root alone, `METRICS_ADDR=").expect("the guide says how");
    let (address, _) = rest.split_once('`').unwrap();
    let (_, command) = rest.split_once("cd $DIR/").expect("the guide goes there");
    let (folder, command) = command.split_once(" && ").unwrap();
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-socket", &[&format!("METRICS_ADDR={address}")]);
    let mut words = command.lines().next().unwrap().split_whitespace();
    let mut curl = Command::new(words.next().unwrap());
    curl.args(words).arg("--silent").current_dir(plugin.folder().join(folder));
    eventually("the metrics are there", || text(&curl.output().unwrap().stdout).contains("loki_rs_build_info{"));
    plugin.disable();
}

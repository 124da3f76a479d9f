//! Options and files that cannot be used. A container that has started before starts, is read, and its lines wait until
//! the mistake is corrected. A new one is refused in one sentence. `docker logs` always works.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::dockerd::Container;
use crate::harness::plugin::Start;
use crate::harness::status::{scrape, status};
use crate::harness::{Scene, assert_eventually, assert_same, numbered};
use crate::standin::{Limits, Standin};

/// Stages without which nothing may be sent.
const REDACT: &str = "- replace: {expression: '(secret)', replace: '***'}\n";

const STAGE_FILE: &str = "loki-pipeline-stage-file";

/// What the log says of containers whose files cannot be used.
const WAITS: &str = "lines are buffered on disk until the files that options name can be used";

/// A plugin with a status page, and a folder for files.
fn scene() -> (Scene, TempDir) {
    let scene = Scene::with(Start::default().serve_status(), Standin::builder().limits(Limits::generous()));
    (scene, tempfile::tempdir().expect("a folder"))
}

fn stages(dir: &TempDir) -> PathBuf {
    let file = dir.path().join("stages.yaml");
    fs::write(&file, REDACT).expect("it can be written");
    file
}

fn with_stages(scene: &Scene, name: &str, file: &Path) -> Container {
    scene.container(name).option(STAGE_FILE, file.to_str().expect("text"))
}

fn secrets(count: usize) -> (Vec<String>, Vec<String>) {
    let printed = numbered("a secret", count, 100);
    let sent = printed.iter().map(|line| line.replace("secret", "***")).collect();
    (printed, sent)
}

/// Waits until a stopped container has left memory, so that its options are parsed again.
fn wait_until_it_has_left(scene: &Scene, name: &str) {
    let has_left = || {
        let status = status(&scene.plugin);
        status["containers"].as_array().expect("a list").iter().all(|container| container["name"] != name)
    };
    assert_eventually!(has_left(), "{name} leaves");
}

/// A way in which a file cannot be used: its name, how to cause it, and the error.
type Broken = (&'static str, fn(&Path), &'static str);

/// The ways in which a file with stages cannot be used.
const BROKEN: [Broken; 6] = [
    ("missing", |file| fs::remove_file(file).expect("it is there"), "cannot be read: No such file or directory"),
    (
        "no YAML",
        |file| fs::write(file, "- [").expect("it is written"),
        "is not a file with pipeline_stages, see line 2, column 1",
    ),
    (
        "no stage",
        |file| fs::write(file, "- redact: {}").expect("it is written"),
        "is not a file with pipeline_stages, see line 1, column 3",
    ),
    ("no text", |file| fs::write(file, [0xff, 0xfe]).expect("it is written"), "is not UTF-8 text"),
    (
        "no file",
        |file| {
            fs::remove_file(file).expect("it is there");
            fs::create_dir(file).expect("a folder");
        },
        "it is not a regular file",
    ),
    (
        "names a file that is not there",
        |file| {
            let stages = "- geoip: {db: /tmp/nowhere/city.mmdb, db_type: city, source: ip}\n";
            fs::write(file, stages).expect("it is written");
        },
        r#"unable to open the MaxMind database "/tmp/nowhere/city.mmdb": No such file or directory"#,
    ),
];

fn mend(file: &Path) {
    if file.is_dir() {
        fs::remove_dir(file).expect("it is empty");
    }
    fs::write(file, REDACT).expect("it can be written");
}

// === Files ===

#[test]
fn lines_wait_for_a_file_and_are_never_sent_without_its_stages() {
    let (mut scene, dir) = scene();
    let file = stages(&dir);
    let web = with_stages(&scene, "web", &file);
    let mut run = web.start();
    let (mut printed, mut sent) = secrets(3);
    run.out_all(&printed);
    scene.assert_lines_in_loki("web", &sent);
    for (how, hurt, why) in BROKEN {
        hurt(&file);
        // A new container is refused in one sentence.
        let new = with_stages(&scene, &how.replace(' ', "-"), &file);
        let refusal = new.try_start().expect_err("it is refused");
        let names = refusal.starts_with(&format!("{STAGE_FILE}: ")) && refusal.contains(why);
        assert!(names && !refusal.contains('\n'), "{how}: {refusal}");

        // The running container is restarted; the next time, the plugin is.
        if how.len() % 2 == 0 {
            run.stop();
            wait_until_it_has_left(&scene, "web");
            run = web.start();
        } else {
            scene.plugin.terminate();
            scene.plugin.restart();
        }
        let (more, redacted) = secrets(2_000);
        run.out_all(&more);
        printed.extend(more);
        assert_eventually!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]) == 1.0, "{how}");
        assert_eventually!(
            !run.has_unread() && run.lines().len() == printed.len(),
            "{how}: the container is not blocked"
        );
        let told = status(&scene.plugin)["containers"][0]["unusable"].as_str().expect("it is said").to_owned();
        assert!(told.starts_with(&format!("{STAGE_FILE}: ")) && told.contains(why), "{how}: {told}");
        assert!(scene.plugin.log().contains(WAITS), "{how}");
        assert_same(&scene.lines_in_loki("web"), &sent);

        // The plugin is not notified that the file is fixed.
        mend(&file);
        sent.extend(redacted);
        scene.assert_lines_in_loki("web", &sent);
        assert_eventually!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]) == 0.0, "{how}");
    }
    assert_same(&run.lines(), &printed);
    run.stop();
}

#[test]
fn a_file_that_is_named_for_all_containers_stops_neither_the_plugin_nor_who_was_there() {
    let (mut scene, dir) = scene();
    let file = stages(&dir);
    scene.plugin.terminate();
    scene.plugin.set("LOKI_PIPELINE_STAGE_FILE", file.to_str().expect("text"));
    scene.plugin.restart();
    let (web, gone) = (scene.container("web"), scene.container("gone"));
    let (run, leaving) = (web.start(), gone.start());
    let (first, mut sent) = secrets(1);
    run.out_all(&first);
    scene.assert_lines_in_loki("web", &sent);
    scene.plugin.terminate();
    fs::remove_file(&file).expect("it is there");
    scene.plugin.restart();
    let (more, redacted) = secrets(100);
    sent.extend(redacted);
    run.out_all(&more);
    leaving.out("last secret words");
    leaving.stop();
    let refusal = scene.container("new").try_start().expect_err("it is refused");
    assert!(refusal.starts_with(&format!("{STAGE_FILE}: {file:?} cannot be read")), "{refusal}");
    // Its last lines wait for the file, also after another end of the plugin.
    assert_eq!(gone.lines(), ["last secret words"]);
    scene.plugin.kill();
    scene.plugin.restart();
    assert_eq!(gone.lines(), ["last secret words"]);
    assert_eq!(scene.lines_in_loki("web").len(), 1);
    fs::write(&file, REDACT).expect("it can be written");
    scene.assert_lines_in_loki("web", &sent);
    scene.assert_lines_in_loki("gone", &["last *** words"]);
    run.stop();
    scene.container("new").start().stop();
}

#[test]
fn lines_that_the_ring_could_not_hold_until_the_file_was_there_are_counted_while_it_is_missing() {
    let (scene, dir) = scene();
    let file = stages(&dir);
    let web = with_stages(&scene, "web", &file).option("max-size", "256k").option("max-file", "1");
    let run = web.start();
    run.out("a secret");
    scene.assert_lines_in_loki("web", &["a ***"]);
    run.stop();
    wait_until_it_has_left(&scene, "web");
    fs::remove_file(&file).expect("it is there");
    let run = web.start();
    run.out_all(numbered("a secret", 10_000, 100));
    let lost = || scrape(&scene.plugin).value("loki_rs_dropped_lines_total", &[("reason", "overwritten")]);
    assert_eventually!(lost() > 0.0, "what is lost is counted when it is");
    fs::write(&file, REDACT).expect("it can be written");
    run.stop();
    assert_eventually!(1 + 10_000 == scene.lines_in_loki("web").len() + lost() as usize);
    assert!(scene.lines_in_loki("web").iter().all(|line| !line.contains("secret")));
}

/// This container has no ring that shows that it has started before.
#[test]
fn a_container_that_has_printed_nothing_or_keeps_nothing_is_old_when_it_starts_again() {
    let (mut scene, dir) = scene();
    let file = stages(&dir);
    let silent = with_stages(&scene, "silent", &file);
    let unkept = with_stages(&scene, "unkept", &file).option("no-file", "true");
    silent.start().stop();
    let run = unkept.start();
    run.out("a secret");
    scene.assert_lines_in_loki("unkept", &["a ***"]);
    run.stop();
    for name in ["silent", "unkept"] {
        wait_until_it_has_left(&scene, name);
    }
    assert_eventually!(scene.plugin.names_in("rings").is_empty() && scene.plugin.names_in("started").len() == 2);
    fs::remove_file(&file).expect("it is there");
    scene.plugin.kill();
    scene.plugin.restart();
    let runs = [silent.start(), unkept.start()];
    let _ = with_stages(&scene, "new", &file).try_start().expect_err("it is new");
    runs.iter().for_each(|run| run.out("more secret"));
    mend(&file);
    scene.assert_lines_in_loki("silent", &["more ***"]);
    scene.assert_lines_in_loki("unkept", &["a ***", "more ***"]);
    for run in runs {
        run.stop();
    }
}

/// As after a reboot: dockerd starts the container again without a StopLogging before.
#[test]
fn a_silent_container_that_ran_when_the_machine_went_down_is_old_when_it_starts_again() {
    let (mut scene, dir) = scene();
    let file = stages(&dir);
    let silent = with_stages(&scene, "silent", &file);
    let run = silent.start();
    scene.plugin.kill();
    fs::remove_file(run.crash()).expect("dockerd has left it");
    fs::remove_file(&file).expect("it is there");
    scene.plugin.restart();
    let run = silent.start();
    run.out("a secret");
    mend(&file);
    scene.assert_lines_in_loki("silent", &["a ***"]);
    run.stop();
}

// === Options ===

/// Options of a container that has lines, which are invalid today.
const WRONG: [(&str, &str, &str); 7] = [
    ("loki-url", "", "loki-url: is missing"),
    ("loki-timeout", "ten", r#"loki-timeout: "ten" is not a duration"#),
    ("loki-of-tomorrow", "1", "loki-of-tomorrow: is not an option of loki-rs"),
    ("tag", "{{.NoSuchField}}", "tag: the template does not go with this container"),
    ("labels", "l1,l2,l3,l4,l5,l6,l7,l8,l9,l10,l11,l12,l13,l14,l15,l16", "15"),
    ("loki-tls-ca-file", "/tmp/nowhere/ca.pem", "loki-tls-ca-file: "),
    (STAGE_FILE, "/tmp/nowhere/stages.yaml", "loki-pipeline-stage-file: "),
];

#[test]
fn docker_logs_works_whatever_the_options_say() {
    let (scene, _dir) = scene();
    for (at, (key, value, why)) in WRONG.into_iter().enumerate() {
        let with_labels = |name: String| {
            (1..=16).fold(scene.container(&name), |container, at| container.label(&format!("l{at}"), "x"))
        };
        let good = with_labels(format!("c{at}"));
        let run = good.start();
        run.out_all(["one", "two"]);
        run.stop();
        scene.wait_for_lines(good.name(), 2);
        wait_until_it_has_left(&scene, good.name());

        let bad = good.clone().option(key, value);
        assert_eq!(bad.lines(), ["one", "two"], "{key}");
        // A start is the same call. Printed lines are kept and not sent, and the next start may have valid options.
        let run = bad.start();
        run.out("three");
        assert_eventually!(run.lines().len() == 3, "{key}");
        run.stop();
        assert_eq!(bad.lines(), ["one", "two", "three"], "{key}");
        assert_eq!(scene.lines_in_loki(good.name()).len(), 2, "{key}");

        let refusal = with_labels(format!("n{at}")).option(key, value).try_start().expect_err("it is refused");
        assert!(refusal.contains(why) && !refusal.contains('\n'), "{key}: {refusal}");
        assert!(refusal.starts_with(key) || key == "labels", "{key}: {refusal}");
    }
}

#[test]
fn lines_of_a_container_with_wrong_options_are_sent_when_these_are_set_right() {
    let (mut scene, _dir) = scene();
    let good = scene.container("web");
    let run = good.start();
    run.out("one");
    run.stop();
    scene.wait_for_lines("web", 1);
    wait_until_it_has_left(&scene, "web");
    let run = good.clone().option("loki-timeout", "ten").start();
    run.out("two");
    assert_eventually!(run.lines().len() == 2);
    let status = status(&scene.plugin);
    assert_eq!(status["containers"][0]["unusable"], r#"loki-timeout: "ten" is not a duration (try 10s, 500ms, 1m)"#);
    assert_eq!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]), 1.0);
    assert_eventually!(scene.plugin.log().contains("lines are buffered on disk and not sent: options cannot be used"));
    // The same holds for the next process.
    scene.plugin.kill();
    scene.plugin.restart();
    run.out("three");
    assert_eventually!(run.lines().len() == 3);
    assert_eq!(scrape(&scene.plugin).value("loki_rs_unusable_containers", &[]), 1.0);
    run.stop();
    assert_eventually!(
        scrape(&scene.plugin).value("loki_rs_stranded_containers", &[]) == 1.0,
        "and when it has stopped"
    );
    let run = good.start();
    run.out("four");
    scene.assert_lines_in_loki("web", &["one", "two", "three", "four"]);
    run.stop();
    assert_eventually!(scrape(&scene.plugin).value("loki_rs_stranded_containers", &[]) == 0.0);
}

#[test]
fn a_question_about_a_container_with_wrong_options_strands_nothing_that_was_sent() {
    let (scene, _dir) = scene();
    let good = scene.container("web");
    let run = good.start();
    run.out("one");
    scene.wait_for_lines("web", 1);
    run.stop();
    wait_until_it_has_left(&scene, "web");
    assert_eq!(good.option("loki-timeout", "ten").lines(), ["one"]);
    wait_until_it_has_left(&scene, "web");
    assert_eq!(scrape(&scene.plugin).value("loki_rs_stranded_containers", &[]), 0.0);
}

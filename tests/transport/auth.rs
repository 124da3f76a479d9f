//! Passwords, tokens and headers; files that have them, and change.

use super::stage::Files;
use crate::harness::{Scene, assert_eventually};

/// `Basic`, with user `me`.
fn basic(password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("me:{password}")))
}

#[test]
fn a_password_that_is_mended_in_its_file() {
    let (scene, files) = (Scene::new(), Files::new());
    scene.loki.demand("authorization", &basic("right"));
    let path = files.put("password", "wrong\n");
    let run = scene.container("web").option("loki-username", "me").option("loki-password-file", &path).start();
    run.out("line");
    assert_eventually!(scene.plugin.log().contains("Loki answered 401"), "the wrong password is refused");
    files.put("password", "right\n");
    scene.assert_lines_in_loki("web", &["line"]);
    run.stop();
}

#[test]
fn a_token_that_rotates() {
    let (scene, files) = (Scene::new(), Files::new());
    scene.loki.demand("authorization", "Bearer first");
    let path = files.put("token", "first");
    let run = scene.container("web").option("loki-bearer-token-file", &path).start();
    run.out("one");
    scene.assert_lines_in_loki("web", &["one"]);
    scene.loki.demand("authorization", "Bearer second");
    run.out("two");
    assert_eventually!(scene.plugin.log().contains("Loki answered 401"), "the first token is over");
    // In place and of the same length, as an editor might.
    std::fs::write(&path, "secon\n").unwrap();
    std::fs::write(&path, "second").unwrap();
    scene.assert_lines_in_loki("web", &["one", "two"]);
    run.stop();
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_used_as_it_was() {
    let (scene, files) = (Scene::new(), Files::new());
    scene.loki.demand("authorization", "Bearer first");
    let path = files.put("token", "first");
    let container = scene.container("web").option("loki-bearer-token-file", &path);
    let run = container.start();
    run.out("one");
    scene.assert_lines_in_loki("web", &["one"]);
    files.remove("token");
    let mut written = vec!["one".to_owned()];
    assert_eventually!(
        {
            written.push(format!("line {}", written.len()));
            run.out(written.last().unwrap());
            scene.assert_lines_in_loki("web", &written);
            scene.plugin.log().contains("files that changed cannot be used")
        },
        "it is said"
    );
    let said = scene.plugin.log().matches("files that changed cannot be used").count();
    assert_eq!(said, 1, "once a minute");
    // One that starts now has nothing to go by.
    let complaint = scene.container("late").option("loki-bearer-token-file", &path).try_start().unwrap_err();
    assert!(complaint.contains("loki-bearer-token-file: \""), "{complaint}");
    files.put("token", "second");
    scene.loki.demand("authorization", "Bearer second");
    run.out("last");
    written.push("last".into());
    scene.assert_lines_in_loki("web", &written);
}

#[test]
fn all_ways_to_say_who_one_is() {
    let (scene, files) = (Scene::new(), Files::new());
    let (password, token) = (files.put("password", "pw"), files.put("token", "t"));
    let url = scene.loki.push_url();
    let in_url = url.replace("http://", "http://me:pw@");
    for (name, options, expected) in [
        ("nobody", vec![], None),
        ("url", vec![("loki-url", &*in_url)], Some(basic("pw"))),
        ("password", vec![("loki-username", "me"), ("loki-password", "other")], Some(basic("other"))),
        ("file", vec![("loki-username", "me"), ("loki-password-file", &*password)], Some(basic("pw"))),
        ("no-password", vec![("loki-username", "me")], Some(basic(""))),
        ("bearer", vec![("loki-bearer-token-file", &*token)], Some("Bearer t".into())),
    ] {
        let mut container = scene.container(name);
        for (key, value) in options {
            container = container.option(key, value);
        }
        scene.loki.forget();
        container.start().out("line");
        scene.assert_lines_in_loki(name, &["line"]);
        let mut pushes = scene.loki.pushes();
        // Of the one before, what it holds may have come late.
        pushes.retain(|push| push.streams[0].0.contains(&format!("\"{name}\"")));
        // Only destinations with the same credentials share connections.
        assert!(pushes.iter().all(|push| push.header("authorization") == expected.as_deref()), "{name}: {pushes:?}");
    }
}

#[test]
fn headers_arrive_with_every_push() {
    let scene = Scene::new();
    let run = scene.container("web").option("loki-headers", "X-Team=red,X-Key=a=b; c").start();
    let plain = scene.container("plain").start();
    for line in ["one", "two"] {
        run.out(line);
        scene.wait_for_lines("web", if line == "one" { 1 } else { 2 });
    }
    plain.out("line");
    scene.wait_for_lines("plain", 1);
    for push in scene.loki.pushes() {
        let is_web = push.streams[0].0.contains("\"web\"");
        assert_eq!(push.header("x-team"), is_web.then_some("red"));
        assert_eq!(push.header("x-key"), is_web.then_some("a=b; c"));
        assert_eq!(push.header("content-type"), Some("application/x-protobuf"));
    }
}

//! Certificates that the plugin trusts behind an https URL, and its own identity there.

use super::stage::{Authority, Files, Front, Identity, on_one_line};
use crate::harness::dockerd::{Query, lines};
use crate::harness::{Scene, assert_eventually, numbered};

const HOST: &str = "127.0.0.1";

#[test]
fn a_loki_that_demands_a_client_certificate() {
    let (scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let front = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(Some(&authority)));
    let client = authority.vouch_for("client");
    let ca = files.put("ca.pem", &authority.pem());
    let (certificate, key) = (files.put("cert.pem", &client.certificate), files.put("key.pem", &client.key));

    let by_file = scene.container("by-file").option("loki-url", &front.url());
    let by_file = by_file
        .option("loki-tls-ca-file", &ca)
        .option("loki-tls-cert-file", &certificate)
        .option("loki-tls-key-file", &key);
    let inline = scene.container("inline").option("loki-url", &front.url());
    let inline = inline
        .option("loki-tls-ca-file", &on_one_line(&authority.pem()))
        .option("loki-tls-cert-file", &client.certificate)
        .option("loki-tls-key-file", &on_one_line(&client.key));
    for (name, container) in [("by-file", by_file), ("inline", inline)] {
        let run = container.start();
        run.out_all(numbered(name, 10, 20));
        scene.assert_lines_in_loki(name, &numbered(name, 10, 20));
        run.stop();
    }
    let anonymous = scene.container("nobody").option("loki-url", &front.url()).option("loki-tls-ca-file", &ca).start();
    anonymous.out("not yet");
    assert_eventually!(scene.plugin.log().contains("CertificateRequired"), "Loki does not let everybody in");
    assert_eq!(scene.lines_in_loki("nobody"), [""; 0]);
}

#[test]
fn a_wrong_authority_keeps_the_lines_until_the_file_is_mended() {
    let (scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let front = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(None));
    let ca = files.put("ca.pem", &Authority::new().pem());
    let container = scene.container("web").option("loki-url", &front.url()).option("loki-tls-ca-file", &ca);
    let run = container.start();
    let written = numbered("line", 100, 40);
    run.out_all(&written);
    assert_eventually!(
        scene.plugin.log().contains("invalid peer certificate: UnknownIssuer"),
        "the log says what is wrong with the certificate"
    );
    assert_eventually!(lines(&run.logs(Query::all())) == written, "docker logs has what Loki does not");
    assert_eq!(scene.lines_in_loki("web"), [""; 0]);

    // Half of it: that is no certificate, and the old one is used on.
    files.put("ca.pem", &authority.pem()[..200]);
    assert_eventually!(scene.plugin.log().contains("loki-tls-ca-file"), "the log says what is wrong with the file");
    assert!(scene.plugin.log().contains("has no certificate in PEM"));

    files.put("ca.pem", &authority.pem());
    scene.assert_lines_in_loki("web", &written);
    run.stop();
}

#[test]
fn a_client_certificate_is_replaced_with_its_key_in_two_steps() {
    let (scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let front = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(Some(&authority)));
    let (wrong, right) = (Authority::new().vouch_for("client"), authority.vouch_for("client"));
    let run = scene
        .container("web")
        .option("loki-url", &front.url())
        .option("loki-tls-ca-file", &files.put("ca.pem", &authority.pem()))
        .option("loki-tls-cert-file", &files.put("cert.pem", &wrong.certificate))
        .option("loki-tls-key-file", &files.put("key.pem", &wrong.key))
        .start();
    run.out("line");
    assert_eventually!(scene.plugin.log().contains("Loki takes no lines"), "Loki does not know the client");
    files.put("cert.pem", &right.certificate);
    assert_eventually!(
        scene.plugin.log().contains("is not the private key of the certificate in loki-tls-cert-file"),
        "a certificate without its key is not used"
    );
    files.put("key.pem", &right.key);
    scene.assert_lines_in_loki("web", &["line"]);
    assert_eventually!(scene.plugin.log().contains("files have changed, and what is in them is used from now on"));
}

#[test]
fn whom_the_plugin_trusts() {
    let (scene, authority) = (Scene::new(), Authority::new());
    let loopback = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(None));
    let named = Front::start(scene.loki.port(), &authority.vouch_for("loki.test").serves(None));
    let itself = Identity::self_signed(HOST);
    let alone = Front::start(scene.loki.port(), &itself.serves(None));
    let misnamed = Identity::self_signed("loki.test");
    let misnamed_front = Front::start(scene.loki.port(), &misnamed.serves(None));
    let (ca, own) = (authority.pem(), itself.certificate.clone());
    for (name, front, options, refusal) in [
        ("public", &loopback, vec![], Some("UnknownIssuer")),
        ("own", &loopback, vec![("loki-tls-ca-file", &*ca)], None),
        ("misnamed", &named, vec![("loki-tls-ca-file", &*ca)], Some("certificate not valid for name")),
        ("renamed", &named, vec![("loki-tls-ca-file", &*ca), ("loki-tls-server-name", "loki.test")], None),
        ("self-signed", &alone, vec![("loki-tls-ca-file", &*own)], None),
        ("stranger", &alone, vec![("loki-tls-ca-file", &*ca)], Some("invalid peer certificate")),
        (
            "self-signed-misnamed",
            &misnamed_front,
            vec![("loki-tls-ca-file", &*misnamed.certificate)],
            Some("certificate not valid for name"),
        ),
        ("insecure", &alone, vec![("loki-tls-insecure-skip-verify", "true")], None),
        ("insecure-misnamed", &named, vec![("loki-tls-insecure-skip-verify", "1")], None),
    ] {
        let mut container = scene.container(name).option("loki-url", &front.url());
        for (key, value) in options {
            container = container.option(key, value);
        }
        let said = scene.plugin.log().len();
        let run = container.start();
        run.out("line");
        match refusal {
            None => scene.assert_lines_in_loki(name, &["line"]),
            Some(reason) => {
                assert_eventually!(scene.plugin.log()[said..].contains(reason), "{name} is refused: {reason}");
                assert_eq!(scene.lines_in_loki(name), [""; 0], "{name}");
            }
        }
        let warned = scene.plugin.log()[said..].contains("loki-tls-insecure-skip-verify: whoever is between");
        assert_eq!(warned, name.starts_with("insecure"), "{name}");
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start() {
    let (scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let (one, other) = (authority.vouch_for("one"), authority.vouch_for("other"));
    let cert = files.put("cert.pem", &one.certificate);
    let key = files.put("key.pem", &one.key);
    let (wrong_key, text) = (files.put("other.pem", &other.key), files.put("text", "hello\n"));
    let none = files.path("none").to_str().unwrap().to_owned();
    for (options, sentences) in [
        (vec![("loki-tls-ca-file", &none)], vec!["loki-tls-ca-file: \"", "none\" cannot be read: No such file"]),
        (vec![("loki-tls-ca-file", &none)], vec!["docker plugin set <plugin> files.source="]),
        (vec![("loki-tls-ca-file", &text)], vec!["text\" has no certificate in PEM (try a file that begins with"]),
        (vec![("loki-tls-ca-file", &key)], vec!["key.pem\" has no certificate in PEM"]),
        (vec![("loki-tls-cert-file", &cert), ("loki-tls-key-file", &text)], vec!["has no private key in PEM"]),
        (
            vec![("loki-tls-cert-file", &cert), ("loki-tls-key-file", &wrong_key)],
            vec!["loki-tls-key-file: \"", "is not the private key of the certificate in loki-tls-cert-file"],
        ),
        (
            vec![("loki-tls-ca-file", &none), ("loki-bearer-token-file", &none)],
            vec!["loki-tls-ca-file: \"", "; loki-bearer-token-file: \""],
        ),
        (vec![("loki-tls-ca-file", &"ca.pem".to_owned())], vec!["/ca.pem\" cannot be read"]),
    ] {
        let mut container = scene.container("web");
        for (key, value) in options {
            container = container.option(key, value);
        }
        let complaint = container.try_start().expect_err("it cannot be used");
        for sentence in sentences {
            assert!(complaint.contains(sentence), "{sentence} in {complaint}");
        }
    }
    let inline = scene.container("web").option("loki-tls-ca-file", "-----BEGIN CERTIFICATE-----\\nhunter2");
    let complaint = inline.try_start().expect_err("it is no certificate");
    assert!(complaint.contains("loki-tls-ca-file: the text has no certificate in PEM"), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn a_file_that_is_gone_when_the_plugin_starts_again_is_waited_for() {
    let (mut scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let front = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(None));
    let ca = files.put("ca.pem", &authority.pem());
    let run = scene.container("web").option("loki-url", &front.url()).option("loki-tls-ca-file", &ca).start();
    run.out("before");
    scene.assert_lines_in_loki("web", &["before"]);
    scene.plugin.kill();
    files.remove("ca.pem");
    run.out("meanwhile");
    scene.plugin.restart();
    run.out("after");
    assert_eventually!(
        scene.plugin.log().contains("ca.pem\\\" cannot be read")
            || scene.plugin.log().contains("ca.pem\" cannot be read"),
        "the log says what is missing"
    );
    assert_eventually!(run.lines() == ["before", "meanwhile", "after"], "docker logs goes on");
    files.put("ca.pem", &authority.pem());
    scene.assert_lines_in_loki("web", &["before", "meanwhile", "after"]);
    run.stop();
}

#[test]
fn a_file_that_is_gone_keeps_nobody_from_docker_logs_nor_a_container_from_its_next_run() {
    let (scene, files, authority) = (Scene::new(), Files::new(), Authority::new());
    let front = Front::start(scene.loki.port(), &authority.vouch_for(HOST).serves(None));
    let ca = files.put("ca.pem", &authority.pem());
    let container = scene.container("web").option("loki-url", &front.url()).option("loki-tls-ca-file", &ca);
    let run = container.start();
    run.out("first run");
    scene.assert_lines_in_loki("web", &["first run"]);
    run.stop();
    assert_eventually!(scene.plugin.files_of_containers() == 0, "the container is let go of");
    files.remove("ca.pem");
    assert_eq!(container.lines(), ["first run"]);
    let run = container.start();
    run.out("second run");
    run.stop();
    assert_eventually!(scene.plugin.log().contains("loki-tls-ca-file: "), "the log says what is missing");
    assert_eq!(container.lines(), ["first run", "second run"]);
    files.put("ca.pem", &authority.pem());
    scene.assert_lines_in_loki("web", &["first run", "second run"]);
}

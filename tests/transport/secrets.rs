//! No secret is in what the plugin prints, nor in a file that other users than root can read.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;

use super::stage::{Authority, Files, Front, Proxy, files_below, on_one_line};
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually};
use crate::standin::Standin;

/// The middle of a PEM text: no line of it may be seen.
fn part_of(pem: &str) -> String {
    pem.lines().nth(2).expect("a key has several lines").to_owned()
}

#[test]
fn no_secret_is_said_or_left_for_others_to_read() {
    let (files, authority) = (Files::new(), Authority::new());
    let identity = authority.vouch_for("client");
    let base64 = |pair: &str| base64::engine::general_purpose::STANDARD.encode(pair);
    let mut secrets: Vec<String> = [
        "url-pw-1",
        "plain-pw-2",
        "file-pw-3",
        "token-4",
        "header-5",
        "proxy-pw-6",
        "plugin-pw-7",
        "user-8",
        "odd-9",
        "half-10",
    ]
    .map(|word| format!("hunter-{word}"))
    .into();
    let [url_pw, plain, in_file, token, header, proxy_pw, plugin_pw, user, odd, half] =
        secrets.clone().try_into().unwrap();
    secrets.extend([part_of(&identity.key), base64(&format!("{user}:{plain}")), base64(&format!("u:{proxy_pw}"))]);
    secrets.extend([base64(&format!("{user}:{in_file}")), base64(&format!("u:{url_pw}"))]);

    let start = Start::default().set("LOG_LEVEL", "trace").set("LOKI_USERNAME", &user).set("LOKI_PASSWORD", &plugin_pw);
    let mut scene = Scene::with(start, Standin::builder());
    let front = Front::start(scene.loki.port(), &authority.vouch_for("127.0.0.1").serves(Some(&authority)));
    let proxy = Proxy::start(Some("Basic bm90OnRoaXM="), None);
    scene.loki.demand("authorization", "nobody has it");
    scene.plugin.set("LOKI_URL", &scene.loki.push_url());
    scene.plugin.terminate();
    scene.plugin.restart();
    let (password, bearer) = (files.put("password", &in_file), files.put("token", &token));
    let two_lines = files.put("odd", &format!("{odd}\n{odd}"));
    let bad_key = files.put("bad.pem", &format!("-----BEGIN PRIVATE KEY-----\n{odd}\n"));
    let url = scene.loki.push_url();
    let (with_pw, with_bad_pw) =
        (url.replace("http://", &format!("http://u:{url_pw}@")), format!("http://u:{url_pw}@bad host"));
    let proxy_url = format!("http://u:{proxy_pw}@127.0.0.1:{}", proxy.port());
    let bad_proxy = format!("socks5://u:{proxy_pw}@proxy");
    let (headers, key) = (format!("X-Key={header}"), on_one_line(&identity.key));
    let none = String::new();

    // What starts and then fails, in every way that there is.
    let mut runs = Vec::new();
    for (name, options) in [
        ("url", vec![("loki-url", &with_pw)]),
        ("plain", vec![("loki-password", &plain), ("loki-headers", &headers)]),
        ("file", vec![("loki-password-file", &password)]),
        ("bearer", vec![("loki-bearer-token-file", &bearer)]),
        ("proxy", vec![("loki-proxy-url", &proxy_url)]),
        ("tls-proxy", vec![("loki-url", &front.url()), ("loki-proxy-url", &proxy_url)]),
        (
            "tls",
            vec![
                ("loki-url", &front.url()),
                ("loki-tls-ca-file", &authority.pem()),
                ("loki-tls-cert-file", &identity.certificate),
                ("loki-tls-key-file", &key),
                ("loki-username", &none),
                ("loki-password", &none),
            ],
        ),
    ] {
        let mut container = scene.container(name);
        for (key, value) in options {
            container = container.option(key, value);
        }
        let run = container.start();
        run.out("line");
        runs.push((name, run));
    }
    assert_eventually!(scene.plugin.log().contains("Loki answered 407"), "the proxy refuses");
    assert_eventually!(scene.plugin.log().matches("Loki takes no lines").count() >= runs.len(), "all are refused");

    // And what is refused.
    let mut complaints = String::new();
    for options in [
        vec![("loki-url", &with_bad_pw)],
        vec![("loki-username", &format!("{user}:{odd}"))],
        vec![("loki-password", &plain), ("loki-password-file", &password)],
        vec![("loki-username", &user), ("loki-bearer-token-file", &bearer)],
        vec![("loki-password-file", &two_lines)],
        vec![("loki-bearer-token-file", &two_lines)],
        vec![("loki-headers", &format!("Authorization=Bearer {header}"))],
        vec![("loki-headers", &format!("X-Key=a,{half} x={half}"))],
        vec![("loki-headers", &header)],
        vec![("loki-headers", &format!("X-Key={header}\u{1}"))],
        vec![("loki-header", &headers)],
        vec![("loki-proxy-url", &bad_proxy)],
        vec![("loki-tls-key", &key)],
        vec![("loki-tls-cert-file", &identity.certificate), ("loki-tls-key-file", &bad_key)],
        vec![("loki-tls-cert-file", &key), ("loki-tls-key-file", &key)],
        vec![("loki-tls-key-file", &key)],
        vec![("loki-token", &token), ("loki-passwd", &plain)],
    ] {
        let mut container = scene.container("refused");
        for (key, value) in &options {
            container = container.option(key, value);
        }
        complaints += &container.try_start().expect_err(&format!("{:?}", options[0].0));
        complaints.push('\n');
    }

    // The next process reads it all from its records.
    scene.plugin.kill();
    scene.plugin.restart();
    runs[0].1.out("again");
    assert_eventually!(scene.plugin.log().contains("went on with containers"), "it goes on");
    let told = [("the log", scene.plugin.log()), ("a complaint", complaints)];
    for (where_, text) in told {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {where_}:\n{text}");
        }
    }

    // dockerd's options are kept, and are root's alone. Staged files keep their names once the plugin is dead.
    scene.plugin.kill();
    let mut found = 0;
    for file in files_below(&scene.plugin.state()) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if secrets.iter().any(|secret| text.contains(secret.as_str())) {
            found += 1;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{} is to be read by root alone", file.display());
        }
        // Nothing that was in a file of the host is copied.
        for secret in [&in_file, &token, &odd] {
            assert!(!text.contains(secret.as_str()), "{secret} is in {}", file.display());
        }
    }
    assert!(
        found >= runs.len(),
        "records have the options as dockerd gave them, or this test looks in the wrong place"
    );

    // An error about a setting of the plugin does not repeat its value either.
    scene.plugin.set("LOKI_HEADERS", &format!("{half} {half}=1"));
    scene.plugin.set("LOKI_PROXY_URL", &bad_proxy);
    scene.plugin.restart();
    let refusal = scene.container("new").try_start().expect_err("it is refused");
    let log = format!("{refusal}\n{}", scene.plugin.log());
    assert!(refusal.contains("LOKI_HEADERS: is not Name=value") && refusal.contains("LOKI_PROXY_URL: "), "{log}");
    assert!(!secrets.iter().any(|secret| log.contains(secret.as_str())), "{log}");
}

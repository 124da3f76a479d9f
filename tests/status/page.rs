//! The status page, in a real browser. Pictures of it are kept in `target/status-page`.

use std::collections::BTreeMap;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::plugin::Start;
use crate::harness::status::free_address;
use crate::harness::{Scene, assert_eventually, numbered};
use crate::standin::client::{self, Reply};
use crate::standin::{Failure, Standin, Times};

/// How much brighter the one colour is than the other, of all text that is seen: the pairs below what WCAG 2 asks for.
const PALE: &str = r#"
const rgb = (text) => {
  const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
  return { channels: [red, green, blue], alpha };
};
const luminance = (channels) => {
  const [red, green, blue] = channels.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { channels, alpha } = rgb(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return channels;
    if (alpha > 0) throw new Error("a background that one sees through is not reckoned with");
  }
  throw new Error("nothing is behind " + element.outerHTML);
};
const seen = [], pale = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
  if (!text || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.nodeName) || !element.checkVisibility()) continue;
  const light = [rgb(getComputedStyle(element).color).channels, ground(element)].map(luminance).sort((a, b) => b - a);
  const contrast = (light[0] + 0.05) / (light[1] + 0.05);
  seen.push(text);
  if (contrast < 4.5) pale.push(text + ": " + contrast.toFixed(2));
}
return { seen: seen.length, pale };
"#;

/// Elements that reach out of the window.
const WIDE: &str = r#"
const wide = [...document.querySelectorAll("body *")].filter((element) => {
  const { width, right } = element.getBoundingClientRect();
  return width > 0 && element.checkVisibility() && right > innerWidth + 0.5;
});
return { scroll: document.documentElement.scrollWidth, inner: innerWidth, wide: wide.map((element) => element.outerHTML.slice(0, 200)) };
"#;

/// A plugin with its page on TCP, as a browser wants it, and the page's URL.
fn scene() -> (Scene, String) {
    let address = free_address();
    let start = Start::default().set("METRICS_ADDR", &address).set("LOKI_PASSWORD", "hunter2");
    let scene = Scene::with(start.set("LOKI_USERNAME", "me"), Standin::builder());
    assert_eventually!(TcpStream::connect(&address).is_ok(), "the page is served");
    (scene, format!("http://{address}/"))
}

fn get(url: &str, path: &str) -> Reply {
    client::send(url, "GET", path, &[], b"").unwrap_or_else(|error| panic!("{url}{path}: {error}"))
}

/// `/status.json`.
fn status(url: &str) -> Value {
    serde_json::from_slice(&get(url, "/status.json").body).expect("JSON")
}

fn broken() -> Failure {
    Failure::Status { code: 503, body: "the ring is unhealthy".into() }
}

#[track_caller]
fn assert_readable(browser: &Browser) {
    let found = browser.run(PALE);
    assert_eq!(found["pale"], json!([]), "text that is hard to read");
    assert!(found["seen"].as_u64().expect("a number") > 20, "{found}");
}

#[test]
fn an_outage_is_on_the_page_within_a_refresh_and_gone_after_it() {
    let (scene, url) = scene();
    let (web, db) = (scene.container("web").start(), scene.container("db").start());
    web.out_all(numbered("before", 30, 100));
    db.out_all(numbered("before", 30, 100));
    scene.wait_for_lines("web", 30);
    scene.wait_for_lines("db", 30);
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&url);
    let first = || browser.text_of("h1");
    assert_eventually!(first() == "All is well: Loki takes the lines of 2 containers.");
    assert!(browser.text("document.title").starts_with("all is well: loki-rs on "));
    browser.picture("light");
    // It is the very same page later on, and not one that was loaded again.
    browser.run("window.here = document.querySelector('#effective'); here.open = true; here.scrollIntoView()");
    let place = || browser.run("return Math.round(here.getBoundingClientRect().top)").as_i64().expect("a number");
    assert!(place().abs() <= 1, "there is something to scroll: {}", place());

    scene.loki.fail(broken(), Times::UntilHealed);
    web.out_all(numbered("during", 1_200, 100));
    db.out_all(numbered("during", 34, 100));
    assert_eventually!(
        first().contains(": 1,234 lines of 2 containers wait, kept on disk"),
        "the page says that lines wait"
    );
    assert!(
        first().starts_with(&format!(
            "Loki at {} has taken no lines for ",
            scene.loki.push_url().trim_end_matches("/loki/api/v1/push")
        )),
        "{}",
        first()
    );
    let facts = browser.text_of(".facts");
    for words in
        ["Loki takes no lines", "Loki answered 503: the ring is unhealthy", "1,234 lines", "of 2 containers", "nothing"]
    {
        assert!(facts.contains(words), "{words}: {facts}");
    }
    assert!(browser.text_of("tbody .state").contains("takes no lines"));
    assert!(!browser.text_of(".level").is_empty() && !browser.text_of("[role=status]").contains("all is well"));
    assert_eq!(browser.run("return here.isConnected && here.open"), json!(true), "what was opened is open");
    assert!(place().abs() <= 1, "what one looks at stays where it is: {}", place());
    let told = status(&url)["verdict"].clone();
    assert_eq!(
        (&told["level"], &told["kept"]["what"], &told["lost"]["what"]),
        (&json!("warning"), &json!("1,234 lines"), &json!("nothing"))
    );
    assert!(told["text"].as_str().expect("text").contains("1,234 lines of 2 containers wait"), "{told}");
    browser.run("here.open = false; scrollTo(0, 0)");
    browser.picture("outage");
    browser.resize(360, 740);
    browser.picture("outage-phone");

    scene.loki.heal();
    scene.wait_for_lines("web", 1_230);
    assert_eventually!(first().starts_with("All is well: "), "it is over");
    assert_eventually!(browser.text_of(".facts").contains("nothing waits"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn it_is_readable_on_a_phone_and_in_the_dark_with_all_that_can_be_wrong_on_it() {
    let (scene, url) = scene();
    let long = "a-name-without-any-place-to-break-it-which-goes-on-for-longer-than-a-phone-is-wide".repeat(2);
    let other = Standin::builder().start();
    let both = format!("{},{}", scene.loki.push_url(), other.push_url());
    let runs = [
        scene.container("healthy").start(),
        scene.container("two-ways").option("loki-url", &both).option("loki-tenant-id", "red").start(),
        scene.container(&long).start(),
        scene.container("gives-up").option("loki-retries", "1").start(),
        scene.container("full").option("max-size", "256k").option("max-file", "2").start(),
    ];
    runs.iter().for_each(|run| run.out_all(numbered("before", 20, 100)));
    runs.iter().for_each(|run| scene.wait_for_lines(run.container().name(), 20));
    let body = "Maximum active stream limit exceeded, ".repeat(20) + &"x".repeat(200);
    scene.loki.fail(Failure::Status { code: 500, body }, Times::UntilHealed);
    runs.iter().for_each(|run| run.out_all(numbered("during", 50, 100)));
    runs[4].out_all(numbered("much", 12_000, 100));
    let is_lost = |name: &str, reason: &str| {
        let status = status(&url);
        let found = status["containers"].as_array().expect("a list").iter().find(|found| found["name"] == name);
        found.is_some_and(|found| found["destinations"][0]["dropped_lines"][reason].as_u64() > Some(0))
    };
    assert_eventually!(is_lost("full", "overwritten") && is_lost("gives-up", "given_up"));

    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&url);
    let level = || browser.text_of(".level");
    assert_eq!(level(), "Critical");
    let findings = browser.text_of(".findings");
    assert!(
        findings.contains("lines were lost") && findings.contains("the ring was full before Loki took them"),
        "{findings}"
    );
    let first = browser.text_of("table[aria-label=Containers] .name bdi");
    assert!(["full", "gives-up"].contains(&first.as_str()), "those that lose lines come first, and not {first}");
    browser.run("document.querySelectorAll('details').forEach((one) => (one.open = true))");

    let mut grounds = BTreeMap::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (width, form) in [(1280, "wide"), (360, "phone")] {
            browser.resize(width, 800);
            let ground = browser.text("getComputedStyle(document.body).backgroundColor");
            grounds.insert(scheme, ground);
            assert_readable(&browser);
            let found = browser.run(WIDE);
            let scroll = found["scroll"].as_u64().expect("a number");
            assert!(scroll <= u64::from(width), "{scheme}, {form}: the page is {scroll} wide: {found}");
            if form == "phone" {
                assert_eq!((&found["inner"], &found["wide"]), (&json!(360), &json!([])), "{scheme}");
            }
            // Also where they are no table to the eye. There is a row for each container's way, two destinations of one
            // Loki and one of the other, options and settings.
            let roles = browser.roles();
            let has = |role: &str| roles.get(role).copied().unwrap_or_default();
            for (role, expected) in
                [("main", 1), ("status", 1), ("table", 4), ("columnheader", 4 + 8 + 3 + 2), ("region", 4)]
            {
                assert_eq!(has(role), expected, "{role}, {form}: {roles:?}");
            }
            assert!(has("rowheader") > 3 + 5 + 20 && has("heading") >= 4 && has("cell") > 60, "{form}: {roles:?}");
            browser.picture(&format!("trouble-{scheme}-{form}"));
        }
    }
    assert_ne!(grounds["light"], grounds["dark"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // Healed, and nothing more is lost: what was lost is still said.
    scene.loki.heal();
    assert_eventually!(browser.text_of("h1").contains("lines were lost, the last "), "the loss is what is left");
    browser.prefer("dark");
    browser.resize(1280, 900);
    browser.run("document.querySelectorAll('details').forEach((one) => (one.open = false))");
    browser.picture("dark");
    browser.prefer("light");
    browser.resize(360, 740);
    browser.picture("phone");
}

#[test]
fn a_page_without_script_loads_again_and_one_without_plugin_says_so() {
    let (mut scene, url) = scene();
    let web = scene.container("web").start();
    web.out("before");
    scene.wait_for_lines("web", 1);
    let browser = Browser::start();
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(&url);
    // All of it at once: it may be loaded again at any time.
    let shown = |words: &str| {
        let snapshot = browser.devtools("DOMSnapshot.captureSnapshot", json!({"computedStyles": []}));
        snapshot["strings"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|text| text.as_str().is_some_and(|it| it.contains(words)))
    };
    assert_eventually!(shown("All is well: "));
    scene.loki.fail(broken(), Times::UntilHealed);
    web.out("during");
    assert_eventually!(shown("1 line waits, kept on disk"), "the browser itself loads it again");

    browser.devtools("Emulation.setScriptExecutionDisabled", json!({"value": false}));
    browser.open(&url);
    assert!(browser.run("return document.querySelector('#stale').hidden").as_bool().expect("a truth"));
    scene.plugin.kill();
    assert_eventually!(browser.text_of("#stale").starts_with("The plugin does not answer. What is shown here is "));
    assert_eq!(browser.text("document.title"), "no answer: loki-rs");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        assert_readable(&browser);
    }
    scene.plugin.restart();
    assert_eventually!(
        browser.run("return document.querySelector('#stale').hidden") == Value::Bool(true),
        "it is back"
    );
}

#[test]
fn whoever_names_a_container_or_answers_for_loki_writes_no_html() {
    let (scene, url) = scene();
    let name = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    let web =
        scene.container(name).with("ContainerImageName", json!(name)).option("loki-external-labels", "a=b").start();
    scene.loki.fail(Failure::Status { code: 503, body: name.into() }, Times::UntilHealed);
    web.out("line");
    let browser = Browser::start();
    browser.open(&url);
    assert_eventually!(
        browser.text_of("main").contains(&format!("answered 503, but not by Loki (text/plain; charset=utf-8): {name}")),
        "the error is told as text"
    );
    assert_eq!(browser.text_of("table[aria-label=Containers] .name bdi"), name);
    assert!(browser.text("document.title").starts_with("Loki takes no lines: "));
    assert_eq!(browser.run("return document.images.length + document.scripts.length"), json!(1), "its own script");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "nothing was even tried");
}

#[test]
fn the_page_is_one_file_that_may_do_nothing_but_ask_for_itself() {
    let (scene, url) = scene();
    // Before it has looked for what a process before it left, nothing is said to be well.
    assert_eventually!(get(&url, "/ready").status == 200);
    let reply = get(&url, "/");
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let policy = reply.header("content-security-policy").expect("it has a policy");
    for part in [
        "default-src 'none'; ",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(reply.body.clone()).expect("UTF-8");
    assert!(
        page.starts_with("<!doctype html>")
            && page.contains("All is well: no container logs")
            && !page.contains("hunter"),
        "{page}"
    );
    assert!(page.contains("<code>loki-password</code>") && page.contains("<code>***</code>"));
    drop(scene);
}

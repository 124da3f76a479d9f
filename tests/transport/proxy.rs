//! HTTP proxies: by CONNECT or by whole URLs, and hosts without a proxy.

use super::stage::{Authority, Front, Proxy, on_one_line};
use crate::harness::plugin::Start;
use crate::harness::{Scene, assert_eventually};
use crate::standin::Standin;

/// `u:pw`
const AUTHORIZATION: &str = "Basic dTpwdw==";

#[test]
fn an_http_loki_is_asked_for_by_its_whole_url() {
    let (scene, proxy) = (Scene::new(), Proxy::start(Some(AUTHORIZATION), None));
    let url = format!("http://u:pw@127.0.0.1:{}", proxy.port());
    scene.container("web").option("loki-proxy-url", &url).start().out("line");
    scene.assert_lines_in_loki("web", &["line"]);
    let heads = proxy.heads();
    assert!(heads[0].starts_with(&format!("POST {} HTTP/1.1\r\n", scene.loki.push_url())), "{heads:?}");
}

#[test]
fn an_https_loki_is_connected_to() {
    let authority = Authority::new();
    let scene = Scene::new();
    let front = Front::start(scene.loki.port(), &authority.vouch_for("127.0.0.1").serves(None));
    for (name, tls) in [("http", None), ("https", Some(authority.vouch_for("localhost").serves(None)))] {
        let proxy = Proxy::start(Some(AUTHORIZATION), tls);
        let url = format!("{name}://u:pw@localhost:{}/", proxy.port());
        let container = scene.container(name).option("loki-url", &front.url());
        let container = container.option("loki-tls-ca-file", &on_one_line(&authority.pem()));
        container.option("loki-proxy-url", &url).start().out("line");
        scene.assert_lines_in_loki(name, &["line"]);
        let heads = proxy.heads();
        assert!(heads[0].starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", front.port())), "{heads:?}");
    }
    // The proxy's password is for the proxy.
    assert!(scene.loki.pushes().iter().all(|push| push.header("proxy-authorization").is_none()));
}

#[test]
fn a_proxy_that_refuses_is_named_and_lines_are_kept() {
    let authority = Authority::new();
    let scene = Scene::new();
    let front = Front::start(scene.loki.port(), &authority.vouch_for("127.0.0.1").serves(None));
    let proxy = Proxy::start(Some(AUTHORIZATION), None);
    let url = format!("http://u:hunter2@127.0.0.1:{}", proxy.port());
    scene.container("plain").option("loki-proxy-url", &url).start().out("line");
    assert_eventually!(scene.plugin.log().contains("Loki answered 407"), "the proxy refuses whole URLs");
    let container = scene.container("tls").option("loki-url", &front.url()).option("loki-proxy-url", &url);
    container.option("loki-tls-insecure-skip-verify", "true").start().out("line");
    let by = format!("by way of the proxy http://127.0.0.1:{}/: ", proxy.port());
    assert_eventually!(scene.plugin.log().contains(&by), "the log says which proxy");
    assert!(scene.plugin.log().contains("proxy authorization required"));
    assert!(!scene.plugin.log().contains("hunter2"));
    assert_eq!(scene.loki.entries().len(), 0);
}

#[test]
fn hosts_in_no_proxy_are_reached_without() {
    let proxy = Proxy::start(None, None);
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let elsewhere = Standin::start();
    // What other programs go by is not for this one: the last two would lead nowhere.
    let start = Start::default().set("LOKI_PROXY_URL", &url);
    let start = start.set("HTTP_PROXY", "http://127.0.0.1:1").set("http_proxy", "http://127.0.0.1:1");
    let mut scene = Scene::with(start, Standin::builder());
    scene.plugin.kill();
    scene.plugin.set("NO_PROXY", &format!("example.com, 127.0.0.0/31,localhost:{}", elsewhere.port()));
    scene.plugin.restart();

    let local = scene.container("local").option("loki-url", &elsewhere.push_url().replace("127.0.0.1", "localhost"));
    local.start().out("line");
    assert_eventually!(elsewhere.count(&[("container_name", "local")]) == 1, "the host and port are in NO_PROXY");
    scene.container("net").start().out("line");
    scene.assert_lines_in_loki("net", &["line"]);
    assert_eq!(proxy.heads(), [""; 0]);

    let other_port =
        scene.container("other").option("loki-url", &scene.loki.push_url().replace("127.0.0.1", "localhost"));
    other_port.start().out("line");
    scene.assert_lines_in_loki("other", &["line"]);
    assert_eq!(proxy.heads().len(), 1);
    let direct = scene.container("direct").option("loki-proxy-url", "").option("loki-url", &elsewhere.push_url());
    direct.start().out("line");
    assert_eventually!(elsewhere.count(&[("container_name", "direct")]) == 1, "an empty URL is no proxy");
    assert_eq!(proxy.heads().len(), 1);
}

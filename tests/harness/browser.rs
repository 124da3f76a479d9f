//! A real browser without a window: Chromium, by way of chromedriver, which is talked to in JSON over HTTP
//! (<https://www.w3.org/TR/webdriver2/>).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::standin::client;

/// A browser with one page.
pub struct Browser {
    driver: Child,
    /// The browser's output. It stays open, because the browser would end without a reader.
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
}

// === impl Browser ===

impl Browser {
    /// Starts one.
    pub fn start() -> Self {
        let spawned = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = spawned.unwrap_or_else(|error| {
            panic!("chromedriver: {error} (make test installs it, or: apt-get install chromium chromium-driver)")
        });
        let mut said = BufReader::new(driver.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).is_ok_and(|read| read > 0), "chromedriver ended");
            let words =
                line.trim_end().trim_end_matches('.').strip_prefix("ChromeDriver was started successfully on port ");
            if let Some(port) = words.and_then(|port| port.parse().ok()) {
                break port;
            }
        };
        let mut browser = Self { driver, _said: said, port, session: String::new() };
        // Chromium's sandbox needs more than root may use, and these tests run as root for a real engine. The browser
        // loads only pages of the program under test.
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.call("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        browser
    }

    /// Goes to a page, and waits until it is there.
    pub fn open(&self, url: &str) {
        self.ask("/url", &json!({"url": url}));
    }

    /// What a function's body returns, run in the page.
    pub fn run(&self, body: &str) -> Value {
        self.ask("/execute/sync", &json!({"script": body, "args": []}))
    }

    /// The same of an expression that is text.
    pub fn text(&self, expression: &str) -> String {
        let value = self.run(&format!("return {expression}"));
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}, and not text")).to_owned()
    }

    /// The text of an element, as it is seen.
    pub fn text_of(&self, selector: &str) -> String {
        self.text(&format!("document.querySelector({}).innerText", json!(selector)))
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// What a screen reader would find, by its role.
    pub fn roles(&self) -> BTreeMap<String, usize> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a list").iter().filter(|node| node["ignored"] == false);
        nodes.filter_map(|node| node["role"]["value"].as_str()).fold(BTreeMap::new(), |mut roles, role| {
            *roles.entry(role.to_owned()).or_default() += 1;
            roles
        })
    }

    /// Sets the size of the window, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let mobile = width < 500;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// The user prefers `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// A picture of the whole page, kept in `target/status-page`.
    pub fn picture(&self, name: &str) -> PathBuf {
        let page = self.run("return document.documentElement.getBoundingClientRect()");
        let clip = json!({"x": 0, "y": 0, "width": page["width"], "height": page["height"], "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.devtools("Page.captureScreenshot", asked);
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
        let folder = target.join("status-page");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, png).expect("a picture in a fresh folder");
        file
    }

    /// The errors of the browser's console since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("/se/log", &json!({"type": "browser"}));
        let all = log.as_array().expect("a list").iter();
        all.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let base = format!("http://127.0.0.1:{}", self.port);
        let json = [("Content-Type", "application/json")];
        let reply = client::send(&base, method, path, &json, body.to_string().as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("chromedriver: {method} {path}: {error}"));
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer["value"]["error"].is_null(), "chromedriver: {method} {path} {body}: {}", answer["value"]);
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser along when the session ends, and not when it is killed.
        let (base, session) = (format!("http://127.0.0.1:{}", self.port), format!("/session/{}", self.session));
        let _ = client::send(&base, "DELETE", &session, &[], b"");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

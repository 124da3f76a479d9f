//! Any options of a container under any settings of the plugin: accepted, or refused in a few sentences. It costs little, and
//! no password, header or key that was given is shown anywhere.

#![no_main]

#[path = "support/cost.rs"]
mod cost;

use std::collections::BTreeMap;
use std::time::Duration;

use cost::measured;
use go_compat::work::EXPRESSIONS;
use libfuzzer_sys::fuzz_target;
use loki_rs::config::effective::effective;
use loki_rs::config::{OPTIONS, RawOptions, SETTINGS, Settings, StreamOptions};
use dockerd::info::Info;
use loki_rs::streams::labels;

/// Stands in every secret, and nowhere else.
const SECRET: &str = "hunter2";

/// What a value looks like in which `TEXT` is any text, by the option that it is for; others get `ANY` of these.
const FORMS: &[(&str, &[&str])] = &[
    ("loki-password", &["hunter2", "hunter2TEXT", "TEXThunter2"]),
    ("loki-headers", &["X-Key=hunter2", "X-Key=hunter2TEXT", "TEXT=hunter2", "X-Key: hunter2,TEXT", "TEXT,b=hunter2"]),
    (
        "loki-tls-key-file",
        &["-----BEGIN PRIVATE KEY-----\nhunter2TEXT", "-----BEGIN TEXT\\nhunter2\\n-----END", "TEXT"],
    ),
    ("loki-url", URLS),
    ("loki-proxy-url", URLS),
    ("loki-pipeline-stages", STAGES),
    ("loki-relabel-config", RULES),
];

const URLS: &[&str] = &[
    "http://me:hunter2@TEXT",
    "http://me:hunter2@loki:3100/TEXT",
    "TEXT://me:hunter2@loki:3100",
    "http://a/x,https://me:hunter2@TEXT,http://b",
    "http://TEXT:hunter2@loki",
    "http://me:hunter2TEXT@loki",
    "http://TEXT",
    "TEXT",
];

const STAGES: &[&str] = &[
    "TEXT",
    "[TEXT]",
    "- TEXT:",
    "- json: {expressions: {a: TEXT}}",
    "- regex: {expression: 'TEXT'}",
    "- template: {source: a, template: 'TEXT'}",
    "- match: {selector: 'TEXT', stages: [TEXT]}",
    "- timestamp: {source: a, format: 'TEXT', location: TEXT}",
    "- metrics: {TEXT: {type: TEXT, config: {TEXT: TEXT}}}",
];

const RULES: &[&str] = &[
    "TEXT",
    "[TEXT]",
    "- {source_labels: [TEXT], regex: 'TEXT', target_label: a, replacement: 'TEXT'}",
    "- {action: TEXT, regex: 'TEXT'}",
    "- {source_labels: [a], target_label: 'TEXT', action: hashmod, modulus: TEXT}",
];

const ANY: &[&str] =
    &["TEXT", "TEXTTEXTTEXTTEXT", "TEXT,TEXT=TEXT,{{TEXT}}", "/etc/loki-rs/TEXT", "{{.TEXT}}", "TEXTs", "TEXTm"];

/// Bytes of a sentence: an option, and why it is refused.
const LONGEST: usize = 8 << 10;

/// Bytes beside those of expressions.
const BESIDE: usize = 64 << 20;

/// For one look at all options and settings.
const PATIENCE: Duration = Duration::from_secs(10);

fuzz_target!(|input: (Vec<(u8, u8, String)>, Vec<(u8, u8, String)>)| {
    let (container, plugin) = input;
    let options: BTreeMap<_, _> = container.into_iter().map(|(key, form, text)| option(key, form, &text)).collect();
    let settings: BTreeMap<_, _> = plugin.into_iter().map(|(key, form, text)| setting(key, form, &text)).collect();
    let (said, cost) = measured(|| read(&options, &settings));
    assert!(cost.bytes < 2 * EXPRESSIONS as usize + BESIDE, "{} bytes", cost.bytes);
    assert!(cost.time < PATIENCE, "{:?}", cost.time);
    assert!(said.iter().all(|sentence| sentence.len() <= LONGEST), "{said:?}");
});

/// Reads everything as the plugin does; gives the sentences of a refusal.
fn read(options: &BTreeMap<String, String>, settings: &BTreeMap<String, String>) -> Vec<String> {
    let settings = Settings::read(settings);
    let mut said: Vec<_> = settings.mistakes.iter().map(ToString::to_string).collect();
    let parsed = StreamOptions::parse(options, &settings.defaults);
    assert_secret(&format!("{settings:?} {parsed:?} {:?}", settings.typed));
    assert_secret(&format!("{:?}", effective(&RawOptions(options.clone()), &settings.defaults)));
    match parsed {
        Ok(parsed) => {
            assert_secret(&parsed.notes.join(" "));
            let info = Info { container_id: "c".repeat(64), container_name: "/fuzz".into(), ..Info::default() };
            said.extend(labels::build(&info, &parsed.labels, "host").err().unwrap_or_default());
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            said.extend(errors.0.iter().map(ToString::to_string));
        }
    }
    assert_secret(&said.join(" "));
    said
}

fn assert_secret(shown: &str) {
    assert!(!shown.contains(SECRET), "{shown}");
}

/// An option; the last ones are those that do not exist.
fn option(key: u8, form: u8, text: &str) -> (String, String) {
    match OPTIONS.get(usize::from(key) % (OPTIONS.len() + 2)) {
        Some(spec) => (spec.key.to_owned(), value(spec.key, form, text)),
        None => (format!("loki-{}", text.replace(SECRET, "")), SECRET.to_owned()),
    }
}

/// A setting, or the default of an option.
fn setting(key: u8, form: u8, text: &str) -> (String, String) {
    let key = usize::from(key) % (SETTINGS.len() + OPTIONS.len());
    match SETTINGS.get(key) {
        Some(spec) => (spec.name.to_owned(), value(spec.name, form, text)),
        None => {
            let spec = &OPTIONS[key - SETTINGS.len()];
            (spec.env.unwrap_or("UNUSED").to_owned(), value(spec.key, form, text))
        }
    }
}

fn value(key: &str, form: u8, text: &str) -> String {
    let forms = FORMS.iter().find(|(known, _)| *known == key).map_or(ANY, |(_, forms)| forms);
    forms[usize::from(form) % forms.len()].replace("TEXT", &text.replace(SECRET, ""))
}

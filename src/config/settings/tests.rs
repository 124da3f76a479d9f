//! Every setting is accepted or rejected as documented.

use std::path::Path;

use super::*;
use proptest::prelude::*;

#[test]
fn a_budget_is_a_size_or_a_share_with_a_ceiling() {
    let budget = |text: &str| read(&[(RING_BUDGET, text)]).map(|settings| settings.ring_budget);
    assert_eq!(budget("5g").unwrap().of(1), 5_000_000_000);
    assert_eq!(budget("25%").unwrap().of(1_000), 250);
    assert_eq!(budget("").unwrap().of(20_000_000_000), 2_000_000_000);
    assert_eq!(budget("10%").unwrap().of(u64::MAX), RingBudget::LARGEST_SHARE);
    for bad in ["0%", "101%", "ten", "-1", "%"] {
        let error = budget(bad).unwrap_err().to_string();
        assert!(error.starts_with("RING_BUDGET: ") && error.contains(bad), "{error}");
    }
}

#[test]
fn metrics_are_served_where_it_says_and_nowhere_unless_it_does() {
    let addr = |text: &str| read(&[(METRICS_ADDR, text)]).map(|settings| settings.metrics_addr);
    assert_eq!(addr("").unwrap(), None);
    for text in ["127.0.0.1:9337", "[::1]:9337", "0.0.0.0:80", "unix:/run/loki-rs.metrics"] {
        assert_eq!(addr(text).unwrap().unwrap().to_string(), text);
    }
    for bad in ["9337", "localhost:9337", "127.0.0.1", "127.0.0.1:0", "unix:here", "http://127.0.0.1:9337"] {
        let error = addr(bad).unwrap_err().to_string();
        assert!(error.starts_with(&format!("METRICS_ADDR: \"{bad}\" is not an address to listen on (try ")), "{error}");
    }
}

fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingErrors> {
    let strings: BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Settings::read(&strings).checked()
}

#[test]
fn an_empty_environment_is_fine_and_so_are_empty_variables() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.log_level, LogLevel::Info);
    assert_eq!(settings.state_dir, Path::new("/run/docker/logging/loki-rs"));
    assert_eq!(settings.socket, Path::new("/run/docker/plugins/loki-rs.sock"));
    assert_eq!(settings.defaults.options, RawOptions::default());

    let mut empty: Vec<(&str, &str)> = SETTINGS.iter().map(|spec| (spec.name, "")).collect();
    empty.extend(OPTIONS.iter().filter_map(|spec| Some((spec.env?, ""))));
    assert_eq!(read(&empty).unwrap(), settings);
}

#[test]
fn every_setting_has_a_good_value_and_a_bad_one() {
    for (spec, (name, good, bad)) in SETTINGS.iter().zip([
        ("LOG_LEVEL", "debug", "verbose"),
        ("LOG_FORMAT", "json", "xml"),
        ("STATE_DIR", "/var/lib/loki-rs", "state"),
        ("SOCKET", "/run/loki-rs.sock", "loki-rs.sock"),
    ]) {
        assert_eq!(spec.name, name);
        assert_ne!(read(&[(name, good)]).unwrap(), read(&[]).unwrap());
        assert_eq!(read(&[(name, spec.default)]).unwrap(), read(&[]).unwrap());
        let message = read(&[(name, bad)]).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{name}: \"{bad}\" is not a")), "{message}");
        assert!(message.contains(spec.form) && message.contains("try "), "{message}");
    }
    for level in ["error", "warn", "info", "debug", "trace"] {
        assert_eq!(read(&[("LOG_LEVEL", level)]).unwrap().log_level.as_str(), level);
    }
}

#[test]
fn defaults_of_options_are_read_under_their_variables() {
    let settings = read(&[
        ("LOKI_URL", "http://loki:3100"),
        ("LOKI_EXTERNAL_LABELS", "app={{.Name}}"),
        ("MAX_SIZE", "10m"),
        ("MODE", "sideways"),
    ])
    .unwrap();
    assert_eq!(settings.defaults.get("loki-url"), Some("http://loki:3100"));
    assert_eq!(settings.defaults.get("loki-external-labels"), Some("app={{.Name}}"));
    assert_eq!(settings.defaults.get("max-size"), Some("10m"));
    // dockerd's own options have no variable.
    assert_eq!(settings.defaults.get("mode"), None);
}

#[test]
fn all_mistakes_are_told_at_boot_under_the_name_of_the_variable() {
    let error = read(&[
        ("LOG_LEVEL", "loud"),
        ("STATE_DIR", "here"),
        ("NO_PROXY", "loki:http"),
        ("LOKI_URL", "http://u:secret@bad host"),
        ("LOKI_TIMEOUT", "10"),
        ("LABELS_REGEX", "("),
        ("LOKI_MIN_BACKOFF", "1h"),
    ])
    .unwrap_err();
    let message = error.to_string();
    for part in [
        "LOG_LEVEL: \"loud\" is not a log level",
        "STATE_DIR: \"here\" is not an absolute path",
        "NO_PROXY: \"loki:http\" is not a list of hosts",
        "LOKI_URL: \"http://***@bad host\" is not an http or https URL",
        "LOKI_TIMEOUT: \"10\" is not a duration (try 10s, 500ms, 1m)",
        "LABELS_REGEX: \"(\" is not a regular expression",
        "LOKI_MIN_BACKOFF: \"1h\" is not a duration of at most loki-max-backoff \"5m\"",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(error.0.0.len(), 7);
    assert!(!message.contains("secret"));
    let settings = read(&[("LOKI_URL", "http://u:secret@loki/x")]).unwrap();
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn a_setting_that_cannot_be_used_has_something_safe_in_its_place() {
    let read = |name: &str, value: &str| Settings::read(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
    let usual = Settings::read(&BTreeMap::new());
    assert_eq!(usual.mistakes, []);
    for (name, safe) in [
        ("LOG_LEVEL", Settings { ..usual.clone() }),
        ("LOG_FORMAT", Settings { ..usual.clone() }),
        ("STATE_DIR", Settings { ..usual.clone() }),
        ("SOCKET", Settings { ..usual.clone() }),
        ("METRICS_ADDR", Settings { metrics_addr: None, ..usual.clone() }),
        ("RING_RETENTION", Settings { ring_retention: Duration::MAX, ..usual.clone() }),
        ("RING_BUDGET", Settings { ring_budget: RingBudget::UNLIMITED, ..usual.clone() }),
    ] {
        let bad = read(name, "no such thing");
        assert_eq!(bad.mistakes.iter().map(|mistake| mistake.key.as_str()).collect::<Vec<_>>(), [name]);
        let (mistakes, typed) = (bad.mistakes.clone(), bad.typed.clone());
        assert_eq!(bad, Settings { mistakes, typed, ..safe }, "{name}");
    }
    // No proxy is used with an invalid list of exceptions.
    let bad = read("NO_PROXY", "loki:http");
    let container = |proxy: &str| {
        let url = ("loki-url".to_owned(), EXAMPLE_URL.to_owned());
        StreamOptions::parse(&BTreeMap::from([url, ("loki-proxy-url".to_owned(), proxy.to_owned())]), &bad.defaults)
    };
    assert!(container("").is_ok());
    let refusal = container("http://proxy:3128").unwrap_err().to_string();
    assert!(refusal.starts_with("NO_PROXY: \"loki:http\" is not a list of hosts"), "{refusal}");
}

#[test]
fn files_that_are_named_are_not_looked_at() {
    let settings = read(&[
        ("LOKI_PIPELINE_STAGE_FILE", "nowhere/stages.yaml"),
        ("LOKI_TLS_CA_FILE", "/etc/loki-rs/nowhere/ca.pem"),
        ("LOKI_BEARER_TOKEN_FILE", "nowhere/token"),
    ]);
    settings.unwrap();
    read(&[("LOKI_PIPELINE_STAGES", "[{geoip: {db: /nowhere/city.mmdb, db_type: city, source: ip}}]")]).unwrap();
    let refusal = read(&[("LOKI_BEARER_TOKEN_FILE", "/elsewhere/token")]).unwrap_err().to_string();
    assert!(refusal.starts_with("LOKI_BEARER_TOKEN_FILE: \"/elsewhere/token\" is not below /etc/loki-rs"), "{refusal}");
}

#[test]
fn help_and_readme_follow_the_table() {
    let (help, readme) = (help(), markdown_table());
    for spec in SETTINGS {
        assert!(help.contains(&format!("\n  {} ", spec.name)));
        let default = if spec.default.is_empty() { String::new() } else { format!("`{}`", spec.default) };
        let start = format!("| `{}` | {} | {default} | ", spec.name, spec.form);
        assert!(readme.contains(&start), "{readme}");
    }
}

#[test]
fn the_environment_is_one_source() {
    assert_eq!(Environment.get("LOKI_RS_NO_SUCH_VARIABLE"), None);
    assert!(Environment.get("PATH").is_some());
}

proptest! {
    /// Whatever an operator sets, there are usable settings, and each mistake is one line.
    #[test]
    fn no_text_keeps_the_plugin_from_starting(
        row in 0..SETTINGS.len() + OPTIONS.len(),
        text in "\\PC{0,40}|[-+0-9.a-z%:/,={}\\[\\]\"\n]{0,40}",
    ) {
        let option = || OPTIONS.get(row - SETTINGS.len()).and_then(|spec| spec.env);
        let name = SETTINGS.get(row).map(|spec| spec.name).or_else(option);
        let strings: BTreeMap<_, _> = name.into_iter().map(|name| (name.to_owned(), text.clone())).collect();
        let settings = Settings::read(&strings);
        prop_assert!(settings.state_dir.is_absolute() && settings.socket.is_absolute());
        for mistake in &settings.mistakes {
            prop_assert!(!mistake.to_string().contains('\n'), "{}", mistake);
        }
        prop_assert_eq!(settings.mistakes.is_empty(), settings.checked().is_ok());
    }
}

//! What Loki adds by itself: the label `service_name` and the metadata `detected_level`.
//!
//! Rule for `service_name`: a stream that has none gets the value of the first of a list of labels
//! that it has, `container_name` among them, or `unknown_service`. It is a label, so it is part of
//! what makes two streams different.
//!
//! Rule for `detected_level`: the first that is there of a `detected_level` in the metadata, a
//! level label of the stream, a level in the metadata, a level field of a JSON or logfmt line, a
//! word like `error` in the line; else `unknown`. The words are tidied: `ERR` becomes `error`.

use super::labels::Pair;

/// The label with the name of the service.
pub const SERVICE: &str = "service_name";

/// The metadata that says how grave it is.
pub const LEVEL: &str = "detected_level";

/// Where a service's name is looked for, best first.
const SERVICE_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Names that hold a level, best first.
const LEVEL_NAMES: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// Words that are looked for in the text of a line.
const LEVEL_WORDS: [&str; 9] = ["trace", "debug", "info", "warn", "warning", "error", "err", "critical", "fatal"];

/// The `service_name` of a stream that did not bring one.
pub fn service(labels: &[Pair]) -> String {
    let find = |wanted: &&str| labels.iter().find(|(name, _)| name == wanted);
    match SERVICE_LABELS.iter().find_map(find) {
        Some((_, value)) => value.clone(),
        None => "unknown_service".into(),
    }
}

/// The `detected_level` of a line.
pub fn detect(labels: &[Pair], metadata: &[Pair], line: &[u8]) -> String {
    let value = |pairs: &[Pair], wanted: &str| {
        let mut found = pairs.iter().filter(|(name, value)| name == wanted && !value.is_empty());
        found.next().map(|(_, value)| value.clone())
    };
    let any_of = |pairs: &[Pair]| LEVEL_NAMES.iter().find_map(|name| value(pairs, name));
    value(metadata, LEVEL)
        .or_else(|| any_of(labels))
        .or_else(|| any_of(metadata))
        .map(|found| known(&found).map_or(found, str::to_owned))
        .or_else(|| in_fields(line).map(str::to_owned))
        .or_else(|| in_text(line).map(str::to_owned))
        .unwrap_or_else(|| "unknown".into())
}

/// The tidy form of a level, if it is one.
fn known(level: &str) -> Option<&'static str> {
    Some(match level.to_ascii_lowercase().as_str() {
        "trace" | "trc" => "trace",
        "debug" | "dbg" => "debug",
        "info" | "inf" | "information" => "info",
        "warn" | "wrn" | "warning" => "warn",
        "error" | "err" => "error",
        "critical" => "critical",
        "fatal" => "fatal",
        _ => return None,
    })
}

/// A level field of a line that is JSON or logfmt.
fn in_fields(line: &[u8]) -> Option<&'static str> {
    if line.trim_ascii_start().starts_with(b"{") {
        let object: serde_json::Value = serde_json::from_slice(line).ok()?;
        let nested = |name: &&str| {
            let path: Vec<&str> = name.split('.').collect();
            let field = path.iter().try_fold(&object, |value, step| value.get(step));
            field.or_else(|| object.get("log")?.get(name)).or_else(|| object.get(name))?.as_str()
        };
        return LEVEL_NAMES.iter().find_map(nested).and_then(known);
    }
    let text = std::str::from_utf8(line).ok()?;
    let fields = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let mut levels = fields.filter(|(name, _)| LEVEL_NAMES.contains(name));
    levels.find_map(|(_, value)| known(value.trim_matches('"')))
}

/// The first word of a line that names a level and stands alone.
fn in_text(line: &[u8]) -> Option<&'static str> {
    let breaks = |byte: u8| byte.is_ascii_whitespace() || b"[]()\"".contains(&byte);
    let words = line.split(|byte| breaks(*byte));
    let mut words = words.filter_map(|word| std::str::from_utf8(word).ok());
    words.find_map(|word| {
        let word = word.trim_end_matches([',', '!', ':']);
        let named = LEVEL_WORDS.iter().any(|level| word.eq_ignore_ascii_case(level));
        named.then(|| known(word)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Pair> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn service_names() {
        let both = pairs(&[("container_name", "c"), ("job", "j")]);
        assert_eq!(service(&both), "c");
        assert_eq!(service(&pairs(&[("compose_service", "x")])), "unknown_service");
    }

    #[test]
    fn levels_of_lines() {
        let table = [
            ("", "unknown"),
            ("an error occured", "error"),
            ("Error: x", "error"),
            ("[ERR] x", "error"),
            ("WARNING: x", "warn"),
            ("info: error", "info"),
            ("error: info", "error"),
            ("warn!", "warn"),
            ("CRIT", "unknown"),
            ("errors", "unknown"),
            ("x-error", "unknown"),
            ("some information", "unknown"),
            ("{\"level\":\"warn\",\"m\":\"error\"}", "warn"),
            ("{\"log\":{\"level\":\"warn\"}}", "warn"),
            ("{\"log.level\":\"error\"}", "error"),
            ("{\"msg\":\"error here\"}", "error"),
            ("{\"level\":\"strange\"}", "unknown"),
            ("level=warn msg=error", "warn"),
            ("severity=INFO", "info"),
            ("level=strange error", "error"),
            ("level:error", "unknown"),
        ];
        for (line, level) in table {
            assert_eq!(detect(&[], &[], line.as_bytes()), level, "{line:?}");
        }
    }

    #[test]
    fn levels_from_labels_and_metadata() {
        let level = |labels, metadata| detect(&pairs(labels), &pairs(metadata), b"warn");
        assert_eq!(level(&[("level", "ERR")], &[]), "error");
        assert_eq!(level(&[], &[("level", "ERR")]), "error");
        assert_eq!(level(&[], &[("level", "weird")]), "weird");
        assert_eq!(level(&[], &[("level", "ERR"), (LEVEL, "info")]), "info");
        assert_eq!(level(&[], &[("level", "")]), "warn");
    }
}

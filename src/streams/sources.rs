//! Builds the streams of a container's two outputs from its labels: `source`, relabelling, and Loki's limits.
//!
//! The rules of `loki-relabel-config` are applied once for each output, and `source` is among the labels that they see.
//! (Grafana's driver applies them before it adds `source`, and sends what they drop.) Afterwards:
//!
//! * outputs that the rules drop are not sent;
//! * `__tenant_id__` becomes the tenant, and all other names that begin with `__` are removed;
//! * names are corrected, and values truncated, to what Loki accepts.

use std::collections::BTreeMap;

use crate::config::tenant::tenant_id;
use base::refusal::quote;
use dockerd::Source;
use loki::labels::{LabelName, LabelSet, MAX_LABELS};
use promtail::relabel::Rules;

/// The label with the name of the output.
pub const SOURCE: &str = "source";

/// The label that becomes the tenant; Promtail's name for it.
const TENANT: &str = "__tenant_id__";

/// The prefix of labels that only rules see.
const INTERNAL: &str = "__";

/// The label that Loki adds itself if it is missing, and does not count against the limit.
const SERVICE_NAME: &str = "service_name";

/// The most labels that an error about too many of them names.
const NAMED: usize = 30;

/// The stream of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub labels: LabelSet,
    /// The tenant, instead of `loki-tenant-id`.
    pub tenant: Option<String>,
}

/// The streams of both outputs, by [`Source::index`]; `None`: its lines are not sent.
pub type Streams = [Option<Stream>; 2];

/// Builds the streams, with notes for the log.
///
/// # Errors
/// One sentence for each problem for which Loki would reject every push.
pub fn streams(common: &BTreeMap<String, String>, rules: &Rules) -> Result<(Streams, Vec<String>), Vec<String>> {
    let (mut streams, mut notes, mut errors) = ([None, None], Vec::new(), Vec::new());
    for source in Source::ALL {
        let mut labels = common.clone();
        labels.insert(SOURCE.to_owned(), source.as_str().to_owned());
        let made = match rules.apply(labels.into()) {
            Some(labels) => stream(source, labels.into(), rules, &mut notes).map(Some),
            None => {
                notes.push(format!(
                    "loki-relabel-config: lines of {source} are dropped, and not sent",
                    source = source.as_str()
                ));
                Ok(None)
            }
        };
        match made {
            Ok(made) => streams[source.index()] = made,
            Err(error) if errors.contains(&error) => {}
            Err(error) => errors.push(error),
        }
    }
    // A note that applies to both outputs is logged once.
    let mut told = Vec::new();
    notes.retain(|note| {
        !told.contains(note) && {
            told.push(note.clone());
            true
        }
    });
    if errors.is_empty() { Ok((streams, notes)) } else { Err(errors) }
}

fn stream(
    source: Source,
    labels: BTreeMap<String, String>,
    rules: &Rules,
    notes: &mut Vec<String>,
) -> Result<Stream, String> {
    let mut set = LabelSet::new();
    let mut tenant = None;
    let mut typed: BTreeMap<LabelName, String> = BTreeMap::new();
    for (name, value) in labels {
        if name == TENANT {
            tenant = tenant_id(&value).map_err(|refusal| format!("label {TENANT}: {refusal}"))?;
            continue;
        }
        if name.starts_with(INTERNAL) {
            if rules.is_empty() {
                notes.push(format!(
                    "label {name}: it is not sent, as names with {INTERNAL} in front are for relabelling only"
                ));
            }
            continue;
        }
        let Ok(mended) = LabelName::sanitise(&name) else { continue };
        if mended.as_str() != name {
            notes.push(format!("loki-relabel-config: {} is sent as {}", quote(&name), quote(mended.as_str())));
        }
        if let Some(other) = typed.insert(mended.clone(), name.clone()) {
            notes.push(format!("label {mended}: {} replaces {}", quote(&name), quote(&other)));
        }
        notes.extend(set.insert(mended, value));
    }
    if set.is_empty() {
        return Err(format!(
            "loki-relabel-config: no label is left for lines of {}, and Loki refuses lines without any (keep one, or drop \
             the lines with action: drop)",
            source.as_str()
        ));
    }
    few_enough(&set)?;
    Ok(Stream { labels: set, tenant })
}

/// Checks the number of labels: Loki rejects a stream above its limit, with all its lines.
fn few_enough(labels: &LabelSet) -> Result<(), String> {
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| *name != SERVICE_NAME);
    let count = names.len();
    if count <= MAX_LABELS {
        return Ok(());
    }
    names.truncate(NAMED);
    let more = match count - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(format!(
        "{count} labels are more than the {MAX_LABELS} that Loki takes: {}{more} (pick fewer with \
         labels, labels-regex, env, env-regex or loki-external-labels)",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both streams as text, then the notes; or the errors.
    fn made(common: &[(&str, &str)], rules: &str) -> String {
        let common = common.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let show = |stream: Option<Stream>| match stream {
            None => "dropped".to_owned(),
            Some(Stream { labels, tenant: None }) => labels.to_string(),
            Some(Stream { labels, tenant: Some(tenant) }) => format!("{tenant}{labels}"),
        };
        match streams(&common, &Rules::parse(rules).unwrap()) {
            Ok((streams, notes)) => {
                let parts: Vec<String> = streams.map(show).into_iter().chain(notes).collect();
                parts.join("\n")
            }
            Err(errors) => errors.join("\n"),
        }
    }

    #[test]
    fn rules_see_the_source_and_decide_for_each_output() {
        let common = &[("app", "web"), ("host", "box")];
        for (rules, expected) in [
            ("", "{app=\"web\", host=\"box\", source=\"stdout\"}\n{app=\"web\", host=\"box\", source=\"stderr\"}"),
            (
                "[{source_labels: [source], target_label: stream}, {action: labeldrop, regex: source|host}]",
                "{app=\"web\", stream=\"stdout\"}\n{app=\"web\", stream=\"stderr\"}",
            ),
            (
                "[{action: drop, source_labels: [source], regex: stderr}]",
                "{app=\"web\", host=\"box\", source=\"stdout\"}\ndropped\n\
                 loki-relabel-config: lines of stderr are dropped, and not sent",
            ),
            (
                "[{action: keep, source_labels: [app], regex: db}]",
                "dropped\ndropped\nloki-relabel-config: lines of stdout are dropped, and not sent\n\
                 loki-relabel-config: lines of stderr are dropped, and not sent",
            ),
            (
                "[{source_labels: [app, source], separator: '-', target_label: __tenant_id__}, \
                  {target_label: __tmp, replacement: x}, {action: labelkeep, regex: app|__.*}]",
                "web-stdout{app=\"web\"}\nweb-stderr{app=\"web\"}",
            ),
            (
                "[{action: labelkeep, regex: app}, {target_label: a.b, replacement: x}, {target_label: a-b, replacement: y}]",
                "{a_b=\"x\", app=\"web\"}\n{a_b=\"x\", app=\"web\"}\nloki-relabel-config: \"a-b\" is sent as \"a_b\"\n\
                 loki-relabel-config: \"a.b\" is sent as \"a_b\"\nlabel a_b: \"a.b\" replaces \"a-b\"",
            ),
        ] {
            assert_eq!(made(common, rules), expected, "{rules}");
        }
    }

    #[test]
    fn a_tenant_needs_no_rule_and_similar_names_are_reported() {
        let common = &[("__tenant_id__", "a"), ("__tmp", "b"), ("app", "web")];
        assert_eq!(
            made(common, ""),
            "a{app=\"web\", source=\"stdout\"}\na{app=\"web\", source=\"stderr\"}\n\
             label __tmp: it is not sent, as names with __ in front are for relabelling only"
        );
    }

    #[test]
    fn a_label_set_that_loki_would_reject_is_refused_at_once() {
        for (rules, expected) in [
            (
                "[{action: labeldrop, regex: '.*'}]",
                "loki-relabel-config: no label is left for lines of stdout, and Loki refuses lines without any (keep one, \
                 or drop the lines with action: drop)\nloki-relabel-config: no label is left for lines of stderr, and \
                 Loki refuses lines without any (keep one, or drop the lines with action: drop)",
            ),
            (
                "[{target_label: __tenant_id__, replacement: a|b}]",
                "label __tenant_id__: \"a|b\" is not a tenant id (up to 150 letters, digits and !-_.*'(), try team-a)",
            ),
        ] {
            assert_eq!(made(&[("app", "web")], rules), expected);
        }
        let many: Vec<String> = (0..15).map(|n| format!("{{target_label: l{n}, replacement: x}}")).collect();
        let error = made(&[("app", "web")], &format!("[{}]", many.join(", ")));
        assert!(error.starts_with("17 labels are more than the 15 that Loki takes: app, l0, "), "{error}");
        assert_eq!(error.lines().count(), 1, "said once for both");
    }
}

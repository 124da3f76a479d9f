//! Hostile containers that start: what they ask for costs them their own lines, and others nothing.

use super::Surroundings;
use crate::engine::stage::{Container, eventually};
use std::thread;

/// A label of the streams for which Loki knows no tenant.
pub const REFUSED_TENANT: (&str, &str) = ("team", "refused");

/// Loki's words about structured metadata, as a container's label has them.
const WORDS: &str = "' includes structured metadata, but this feature is disallowed. Please see";

/// A template that calls itself twice, for ever.
const RECURSION: &str = "{{define \"a\"}}{{template \"a\" .}}{{template \"a\" .}}{{end}}{{template \"a\" .}}";

/// How many containers fail closed: those of [`failed_closed`].
pub const FAIL_CLOSED: f64 = 6.0;

/// Ten lines a second, for as long as the container runs: each may cost a second of a core.
const SLOW: &str = "lines:1000000@10";

/// As fast as the stages go.
const FAST: &str = "width:4000";

/// A kind of hostile container.
struct Kind {
    name: &'static str,
    containers: usize,
    options: Vec<(&'static str, String)>,
    steps: &'static [&'static str],
    /// What is to be seen when it has its way.
    sign: fn(&Surroundings, &str) -> bool,
}

/// One container, and how it is seen at work.
pub struct Hostile<'a> {
    container: Container<'a>,
    sign: fn(&Surroundings, &str) -> bool,
}

/// Starts all of them.
pub fn start<'a>(surroundings: &Surroundings<'a>) -> Vec<Hostile<'a>> {
    let scene = surroundings.scene;
    thread::scope(|scope| {
        let started: Vec<_> = kinds(surroundings)
            .into_iter()
            .map(|kind| {
                scope.spawn(move || {
                    let start = |number| {
                        let draft = scene.bare_container(&format!("{}-{number}", kind.name), &scene.plugin.name);
                        let options = kind.options.iter();
                        let draft = options.fold(draft, |draft, (option, value)| draft.option(option, value));
                        Hostile { container: draft.start(kind.steps), sign: kind.sign }
                    };
                    (1..=kind.containers).map(start).collect::<Vec<_>>()
                })
            })
            .collect();
        started.into_iter().flat_map(|thread| thread.join().expect("all of a kind start")).collect()
    })
}

/// Waits until each container has done what it is for.
pub fn expect_at_work(surroundings: &Surroundings, hostile: &[Hostile]) {
    for Hostile { container, sign } in hostile {
        eventually(&format!("{} is at work", container.name), || sign(surroundings, &container.name));
    }
    let requests = surroundings.foreign.requests();
    let credentials = requests.iter().flat_map(|request| &request.headers).find(|(name, _)| name == "authorization");
    assert_eq!(credentials, None, "the foreign Loki has the plugin's credentials");
}

fn kinds(surroundings: &Surroundings) -> Vec<Kind> {
    let stages = |stages: &str| vec![("loki-pipeline-stages", stages.to_owned())];
    let doublings = vec!["[@,@]"; 24].join("|");
    let buckets = (1..=5000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    vec![
        Kind {
            name: "template",
            containers: 2,
            options: stages(&format!("- template: {{source: x, template: '{RECURSION}'}}")),
            steps: &[SLOW],
            sign: failed_closed,
        },
        Kind {
            name: "jmespath",
            containers: 2,
            options: stages(&format!(
                "- template: {{source: j, template: '{{\"a\":1}}'}}\n- json: {{source: j, expressions: {{x: '{doublings}'}}}}"
            )),
            steps: &[SLOW],
            sign: failed_closed,
        },
        Kind {
            name: "texts",
            containers: 1,
            // A text of 15 KB, 2^15 times.
            options: stages(&format!(
                "- template: {{source: j, template: '{{\"a\":\"{{{{repeat 15000 \"x\"}}}}\"}}'}}\n\
                 - json: {{source: j, expressions: {{x: 'a|{}|length(to_string(@))'}}}}",
                vec!["[@,@]"; 15].join("|")
            )),
            steps: &[SLOW],
            sign: failed_closed,
        },
        Kind {
            name: "large-label",
            containers: 1,
            options: stages("- template: {source: big, template: '{{repeat 1000000 \"x\"}}'}\n- labels: {big: }"),
            steps: &[SLOW],
            sign: failed_closed,
        },
        Kind {
            name: "foreign",
            containers: 1,
            options: vec![("loki-url", surroundings.foreign.push_url())],
            steps: &[SLOW],
            sign: |surroundings, _| !surroundings.foreign.requests().is_empty(),
        },
        Kind {
            name: "busy",
            containers: 2,
            options: vec![("loki-pipeline", "redact-email,redact-ipv4,redact-bearer,redact-card".into())],
            steps: &[FAST, "lines:1000000@500/50"],
            sign: |surroundings, name| has_lines(surroundings, name, 1000),
        },
        Kind {
            name: "tenant",
            containers: 8,
            options: stages("- static_labels: {team: refused}\n- tenant: {value: refused}"),
            steps: &[SLOW],
            sign: |surroundings, name| is_answered(surroundings, name, 403, "no such tenant"),
        },
        Kind {
            name: "words",
            containers: 1,
            options: stages(&format!("- static_labels: {{x: \"{WORDS}\"}}")),
            steps: &["width:12000", SLOW],
            sign: |surroundings, name| is_answered(surroundings, name, 400, WORDS),
        },
        Kind {
            name: "buckets",
            containers: 1,
            options: stages(&format!(
                "- regex: {{expression: '(?P<v>\\d+)'}}\n- labels: {{v: }}\n- metrics: {{h: {{type: Histogram, source: v, \
                 config: {{buckets: [{buckets}]}}}}}}\n- labeldrop: [v]"
            )),
            steps: &["lines:1000000@500/50"],
            sign: |surroundings, _| surroundings.metrics().text.contains("promtail_custom_h_bucket"),
        },
        Kind {
            name: "multiline",
            containers: 1,
            options: stages(
                "- regex: {expression: '(?P<s>\\d+)'}\n- labels: {s: }\n- template: {source: big, template: '{{repeat 1040000 \"x\"}}'}\n\
                 - output: {source: big}\n- multiline: {firstline: '^y', max_wait_time: 1h}\n- labeldrop: [s]",
            ),
            steps: &[SLOW],
            // The blocks would wait for an hour, but for the bound on what they hold. Each is longer than Loki accepts.
            sign: |surroundings, name| is_answered(surroundings, name, 400, "max entry size"),
        },
    ]
}

// === signs ===

fn failed_closed(surroundings: &Surroundings, name: &str) -> bool {
    surroundings.is_logged(name, "container failed closed")
}

fn has_lines(surroundings: &Surroundings, name: &str, count: usize) -> bool {
    surroundings.scene.loki.count(&[("container_name", name)]) >= count
}

/// Whether a push of the container was refused with these words.
fn is_answered(surroundings: &Surroundings, name: &str, status: u16, words: &str) -> bool {
    let pushes = surroundings.scene.loki.pushes();
    let name = format!("container_name=\"{name}\"");
    pushes.iter().any(|push| {
        let is_its = push.streams.iter().any(|(labels, _)| labels.contains(&name));
        is_its && push.status_answered == Some(status) && push.answer.contains(words)
    })
}

//! Options that no container starts with: `docker run` says so in a sentence.

use super::Surroundings;
use super::ordinary::Ordinary;
use crate::engine::stage::text;
use std::process::Output;

/// A template that calls itself twice for each of sixty letters.
const RECURSION: &str = "{{define \"a\"}}{{if .}}{{template \"a\" (slice . 1)}}{{template \"a\" (slice . 1)}}{{end}}{{end}}\
                             {{template \"a\" \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}}";

/// Most bytes of a refusal: 4 KiB of the plugin, and the words that dockerd puts before and behind.
const LONGEST: usize = 5 << 10;

/// How often a container with a wrong option is started again: more often than the plugin warns about one container in two minutes.
const STARTS: usize = 30;

/// Warnings about one container in two minutes (`OF_A_CONTAINER` in one).
const MOST_WARNINGS: usize = 24;

/// A container with a wrong option, by its name, and another one that is started after it.
const NOISY: &str = "noisy";
const QUIET: &str = "after-noisy";

/// A name, options, and words of the refusal.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// Starts a container of each kind. None of them runs.
pub fn all_are_refused(surroundings: &Surroundings, victim: &Ordinary) {
    let id = victim.container.inspect("{{.Id}}");
    let state = format!("../../run/docker/logging/loki-rs/rings/{id}/info.json");
    let labels = format!("x={RECURSION}");
    let expressions: Vec<String> = (0..400).map(|n| format!("- drop: {{expression: '\\pL{{10}}{n}'}}")).collect();
    let url = |n| format!("http://127.0.0.1:9/loki/api/v1/push?{n}");
    let urls: Vec<String> = (0..1000).map(url).collect();
    let refusals: [Refusal; 7] = [
        ("labels", &[("loki-external-labels", &labels)], &["loki-external-labels", "too many steps"]),
        ("tag", &[("tag", RECURSION)], &["tag", "too many steps"]),
        (
            "growing-tag",
            &[("tag", "{{range 9999}}{{$x := pad \"x\" 65536 65536}}{{end}}")],
            &["tag", "too many steps or too much memory"],
        ),
        ("state", &[("loki-username", "me"), ("loki-password-file", &state)], &["loki-password-file", "info.json"]),
        ("expressions", &[("loki-pipeline-stages", &expressions.join("\n"))], &["loki-pipeline-stages", "memory"]),
        ("urls", &[("loki-url", &urls.join(","))], &["loki-url", "16"]),
        (
            "series",
            &[("loki-pipeline-stages", "- metrics: {x: {type: Counter, prefix: loki_rs_, config: {action: inc}}}")],
            &["loki-pipeline-stages", "loki_rs_"],
        ),
    ];
    for (name, options, words) in refusals {
        expect_refusal(&run(surroundings, name, options), name, words);
    }

    let unknown: Vec<(String, String)> = (0..2000).map(|n| (format!("option-{n}"), "x".into())).collect();
    let unknown: Vec<(&str, &str)> = unknown.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let words = ["is not an option of loki-rs", "1990 more are not options"];
    expect_refusal(&run(surroundings, "unknown", &unknown), "unknown", &words);

    let noisy = surroundings.scene.bare_container(NOISY, &surroundings.scene.plugin.name);
    let noisy = noisy.option("loki-batch-size", "plenty").create(&["wait"]);
    for _ in 0..STARTS {
        let (_, output) = surroundings.scene.engine.try_docker(["start", &noisy.name]);
        assert!(text(&output.stderr).contains("is not a number of bytes"), "{}", text(&output.stderr));
    }
    expect_refusal(&run(surroundings, QUIET, &[("loki-batch-size", "scarce")]), QUIET, &["is not a number of bytes"]);
}

/// Warnings about one container leave room for those about another.
pub fn expect_few_warnings(surroundings: &Surroundings) {
    let log = surroundings.scene.engine.log();
    let id = &surroundings.scene.plugin.id;
    let warnings = |value: &str| {
        let of_plugin = log.lines().filter(|line| line.contains(&format!(" plugin={id}")));
        of_plugin.filter(|line| line.contains("not logging") && line.contains(value)).count()
    };
    let (noisy, quiet) = (warnings("plenty"), warnings("scarce"));
    assert!((1..=MOST_WARNINGS).contains(&noisy), "{noisy} warnings about one container");
    assert_eq!(quiet, 1, "the warning about another container is logged");
}

fn run(surroundings: &Surroundings, name: &str, options: &[(&str, &str)]) -> Output {
    let draft = surroundings.scene.bare_container(name, &surroundings.scene.plugin.name);
    let draft = options.iter().fold(draft, |draft, (option, value)| draft.option(option, value));
    let (_container, output) = draft.run(&["lines:1"]);
    output
}

fn expect_refusal(output: &Output, name: &str, words: &[&str]) {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{name}: {complaint}");
    for word in words {
        assert!(complaint.contains(word), "{name}: \"{word}\" is not in: {complaint}");
    }
    assert!(complaint.len() <= LONGEST, "{name}: the refusal has {} bytes: {complaint}", complaint.len());
    assert!(!complaint.contains("container_id") && !complaint.contains("ContainerName"), "{name}: {complaint}");
}

//! The validated options of one container's stream.
//!
//! [`StreamOptions::parse`] is the only way from [`RawOptions`] to them. The rest of the program trusts them and never
//! sees the text of an option.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::destination::Destination;
use super::metadata::MetadataItem;
use super::options::{OptionErrors, RawOptions};
use super::pipeline::Configured;
use super::reader::Reader;
use super::settings::PluginDefaults;
use go_compat::go_regex::KeyPattern;
use go_compat::work::{self, Work};
use loki::labels::LabelName;
use promtail::relabel::Rules;

/// The largest batch, in bytes of lines.
///
/// Above Loki's gRPC limit of 4 MiB for the uncompressed request each retry gets a 500; a quarter is left for labels,
/// timestamps and framing.
pub const MAX_BATCH_SIZE: usize = 3 * 1024 * 1024;

/// The options of one stream, by concern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// The destinations: at least one, and no two with the same URL.
    pub destinations: Vec<Destination>,
    pub batch: Batch,
    pub retry: Retry,
    pub labels: LabelOptions,
    pub ring: RingOptions,
    /// The stages that lines pass before they are sent.
    pub pipeline: Option<Configured>,
    /// What was corrected while parsing, for the log.
    pub notes: Vec<String>,
}

/// When a batch is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of lines, from 1 to [`MAX_BATCH_SIZE`].
    pub size_bytes: usize,
    /// The longest time that a line waits for others; zero sends at once.
    pub wait: Duration,
}

/// What happens after a push failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first one included; `None`: as long as the ring holds the lines.
    pub attempts: Option<NonZeroU32>,
    /// Above zero, and never longer than `max_backoff`.
    pub min_backoff: Duration,
    pub max_backoff: Duration,
}

/// The labels that a stream gets besides the default ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelOptions {
    /// Label names, and Go templates for their values; the templates parse.
    pub external: Vec<(LabelName, String)>,
    /// Exact names of container labels.
    pub labels: Vec<String>,
    pub labels_regex: Option<KeyPattern>,
    /// Exact names of environment variables.
    pub env: Vec<String>,
    pub env_regex: Option<KeyPattern>,
    /// A Go template for the label `tag`; it parses.
    pub tag: Option<String>,
    /// Whether the stream has the label `filename`.
    pub filename: bool,
    /// Structured metadata of each line.
    pub metadata: Vec<MetadataItem>,
    /// Relabelling rules, applied last.
    pub relabel: Rules,
}

/// The bounds of a container's ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingOptions {
    /// Bytes of one file, above zero.
    pub max_size: u64,
    /// Number of files, at least one.
    pub max_file: u32,
    /// How long the container may block when the ring is full of unsent lines; `None`: never.
    pub block: Option<Duration>,
    /// Whether sent lines are removed.
    pub no_file: bool,
    /// Whether the ring is kept beyond `RING_RETENTION`.
    pub keep_file: bool,
}

// === impl StreamOptions ===

impl StreamOptions {
    /// Parses the options of a container, with the plugin's defaults.
    ///
    /// # Errors
    ///
    /// All mistakes at once: values that do not parse, unknown keys, options that contradict each other, a missing
    /// `loki-url`, and regular expressions that are too large together.
    pub fn parse(
        container: &BTreeMap<String, String>,
        defaults: &PluginDefaults,
    ) -> Result<StreamOptions, OptionErrors> {
        let container = RawOptions(container.clone());
        // Stages have a budget of their own.
        work::charging(&mut Work::of_expressions(), || Reader::new(&container, defaults).read())
    }
}

// === impl RingOptions ===

impl RingOptions {
    /// The ring options of a container, whatever mistakes the others have; invalid ones get the built-in values.
    pub fn salvage(container: &BTreeMap<String, String>, defaults: &PluginDefaults) -> RingOptions {
        let built_in = || Reader::new(&RawOptions::default(), &PluginDefaults::default()).ring();
        let ring = Reader::new(&RawOptions(container.clone()), defaults).ring().or_else(built_in);
        ring.unwrap_or(RingOptions { max_size: 0, max_file: 1, block: None, no_file: false, keep_file: false })
    }

    /// The disk budget of one container, in bytes.
    pub fn budget(&self) -> u64 {
        self.max_size.saturating_mul(u64::from(self.max_file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::OPTIONS;
    use loki::transport::Transport;
    use proptest::prelude::*;

    const URL: (&str, &str) = ("loki-url", "http://loki:3100/x");

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        owned.collect()
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<StreamOptions, OptionErrors> {
        StreamOptions::parse(&map(pairs), &PluginDefaults::default())
    }

    /// Parses options with a URL, and expects success.
    fn good(pairs: &[(&str, &str)]) -> StreamOptions {
        let pairs = [&[URL], pairs].concat();
        parse(&pairs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Parses options with a URL, and expects an error.
    fn bad(pairs: &[(&str, &str)]) -> String {
        let pairs = [&[URL], pairs].concat();
        parse(&pairs).unwrap_err().to_string()
    }

    #[test]
    fn a_url_is_enough() {
        let options = good(&[]);
        assert_eq!(options.destinations[0].url.as_str(), "http://loki:3100/x");
        assert_eq!(options.destinations[0].credentials, None);
        assert_eq!(options.destinations[0].transport, Transport::default());
        assert_eq!(options.destinations[0].tenant_id, None);
        assert_eq!(options.destinations[0].timeout, Duration::from_secs(10));
        let wait = Duration::from_secs(1);
        assert_eq!(options.batch, Batch { size_bytes: 1_048_576, wait });
        let (min_backoff, max_backoff) = (Duration::from_millis(500), Duration::from_secs(300));
        assert_eq!(options.retry, Retry { attempts: None, min_backoff, max_backoff });
        let name = LabelName::sanitise("container_name").unwrap();
        assert_eq!(options.labels.external, [(name, "{{.Name}}".to_owned())]);
        assert!(options.labels.labels.is_empty() && options.labels.env.is_empty());
        assert_eq!((options.labels.labels_regex, options.labels.env_regex), (None, None));
        assert_eq!(
            options.ring,
            RingOptions { max_size: 20_000_000, max_file: 5, block: None, no_file: false, keep_file: false }
        );
        assert_eq!(options.ring.budget(), 100_000_000);
        assert!(options.notes.is_empty(), "{:?}", options.notes);
    }

    #[test]
    fn every_option_has_a_good_value_and_a_bad_one() {
        let mut walked = 0;
        for (key, good_value, bad_value) in [
            ("loki-url", "https://u:p@loki/", Some("ftp://loki")),
            ("loki-external-labels", "app=web,name={{.Name}}", Some("app")),
            ("loki-batch-size", "400", Some("0")),
            ("loki-batch-wait", "0s", Some("-1s")),
            ("loki-timeout", "2m", Some("0s")),
            ("loki-accept-any-2xx", "true", Some("yes")),
            ("loki-retries", "0", Some("-1")),
            ("loki-min-backoff", "1ms", Some("0s")),
            ("loki-max-backoff", "1h", Some("5")),
            ("loki-backpressure", "block", Some("wait")),
            ("loki-block-timeout", "1m", Some("0s")),
            ("loki-tls-ca-file", "ca.pem", None),
            ("loki-tls-cert-file", "cert.pem", None),
            ("loki-tls-key-file", "key.pem", None),
            ("loki-tls-server-name", "loki.example.com", Some("lo ki")),
            ("loki-tls-insecure-skip-verify", "T", Some("yes")),
            ("loki-proxy-url", "http://u:p@proxy:3128", Some("proxy:3128")),
            // An error shows nothing of the other options, see `transport`.
            ("loki-username", "me", None),
            ("loki-password", "x", None),
            ("loki-password-file", "password", None),
            ("loki-bearer-token-file", "token", None),
            ("loki-headers", "X-Team=a,X-Site=b", None),
            ("loki-tenant-id", "team-a_(1)", Some("a|b")),
            // Any text is a list of names.
            ("labels", "app,tier", None),
            ("labels-regex", "^com\\.", Some("(")),
            ("env", "APP,TIER", None),
            ("env-regex", "^APP_", Some("[")),
            ("tag", "{{.Name}}", Some("{{.Name")),
            ("loki-relabel-config", "[{action: labeldrop, regex: host}]", Some("foo")),
            ("loki-pipeline", "json,redact-email", Some("jsn")),
            ("loki-pipeline-stages", "[{labels: {level: }}]", Some("- jsn: {}")),
            // The file is checked when it is read.
            ("loki-pipeline-stage-file", "", None),
            ("loki-structured-metadata", "label:app,env:TIER,command", Some("pod")),
            ("loki-filename-label", "true", Some("yes")),
            ("max-size", "1.5g", Some("-1")),
            ("max-file", "1", Some("0")),
            ("no-file", "1", Some("yes")),
            ("keep-file", "T", Some("on")),
            // dockerd checks these two before it calls a plugin.
            ("mode", "non-blocking", None),
            ("max-buffer-size", "4m", None),
            // dockerd rejects these itself, or nothing does.
            ("compress", "true", None),
            ("cache-*", "any", None),
        ] {
            let spec = &OPTIONS[walked];
            assert_eq!(spec.key, key, "the table and this test go in the same order");
            walked += 1;
            let other = match key {
                "loki-tls-cert-file" => ("loki-tls-key-file", "key.pem"),
                "loki-tls-key-file" => ("loki-tls-cert-file", "cert.pem"),
                "loki-password" | "loki-password-file" => ("loki-username", "me"),
                _ => URL,
            };
            good(&[other, (key, good_value)]);
            if let Some(default) = spec.default {
                assert_eq!(good(&[(key, default)]), good(&[]), "{key}: {default}");
            }
            let Some(bad_value) = bad_value else { continue };
            let message = bad(&[(key, bad_value)]);
            let start = format!("{key}: \"{bad_value}\" is not a");
            assert!(message.starts_with(&start) || message.starts_with(&start[..start.len() - 2]), "{message}");
            assert!(message.contains(spec.form), "{message} should say {}", spec.form);
            assert!(message.contains("try "), "{message} should give an example");
            assert!(!message.contains(';'), "{message} should be one sentence");
        }
        assert_eq!(walked, OPTIONS.len());
    }

    #[test]
    fn a_short_longest_wait_shortens_the_first_one_that_nobody_asked_for() {
        let short = map(&[URL, ("loki-max-backoff", "100ms")]);
        // A managed plugin gets the defaults of its manifest as settings.
        let managed = PluginDefaults::new([("loki-min-backoff", "500ms"), ("loki-max-backoff", "5m")]);
        for defaults in [PluginDefaults::default(), managed] {
            let retry = StreamOptions::parse(&short, &defaults).unwrap().retry;
            assert_eq!(
                (retry.min_backoff, retry.max_backoff),
                (Duration::from_millis(100), Duration::from_millis(100))
            );
        }
        let asked_for = PluginDefaults::new([("loki-min-backoff", "200ms")]);
        assert!(StreamOptions::parse(&short, &asked_for).is_err());
    }

    #[test]
    fn blocking_is_asked_for() {
        assert_eq!(good(&[("loki-block-timeout", "5s")]).ring.block, None);
        assert_eq!(good(&[("loki-backpressure", "block")]).ring.block, Some(Duration::from_secs(30)));
        let options = good(&[("loki-backpressure", "block"), ("loki-block-timeout", "5s")]);
        assert_eq!(options.ring.block, Some(Duration::from_secs(5)));
    }

    #[test]
    fn complaints_are_whole_sentences() {
        for (pairs, expected) in [
            (vec![("loki-timeout", "10")], "loki-timeout: \"10\" is not a duration (try 10s, 500ms, 1m)"),
            (
                vec![("loki-url", "localhost:3100")],
                "loki-url: \"localhost:3100\" is not an http or https URL \
                 (try http://localhost:3100/loki/api/v1/push)",
            ),
            (
                vec![("loki-batch-size", "1m")],
                "loki-batch-size: \"1m\" is not a number of bytes from 1 up (try 1048576)",
            ),
            (
                vec![("loki-retries", "-1")],
                "loki-retries: \"-1\" is not a whole number from 0 up (try 10, or 0 for ever)",
            ),
            (
                vec![("loki-max-backoff", "100ms"), ("loki-min-backoff", "500ms")],
                "loki-min-backoff: \"500ms\" is not a duration of at most loki-max-backoff \
                 \"100ms\" (make this one shorter or that one longer)",
            ),
            (
                vec![("max-file", "4294967296")],
                "max-file: \"4294967296\" is not a whole number below 4294967296 (try 5)",
            ),
            (
                vec![("loki-tenant-id", "..")],
                "loki-tenant-id: \"..\" is not a tenant id \
                 (up to 150 letters, digits and !-_.*'(), try team-a)",
            ),
            (
                vec![("loki-external-labels", "app={{.Name")],
                "loki-external-labels: \"app={{.Name\" is not name=value,name=value with Go \
                 templates for values (\"app\": 1:8: unclosed action, try app={{.Name}})",
            ),
            (
                vec![("labels-regex", "(a")],
                "labels-regex: \"(a\" is not a regular expression: unclosed group \
                 (try ^com\\.example\\.)",
            ),
        ] {
            assert_eq!(bad(&pairs), expected);
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let message = bad(&[("loki-timeout", "x"), ("loki-retries", "x"), ("max-size", "x"), ("loki-bach-size", "1")]);
        let parts: Vec<&str> = message.split("; ").collect();
        assert_eq!(parts.len(), 4, "{message}");
        for (part, key) in parts.iter().zip(["loki-timeout", "loki-retries", "max-size", "loki-bach-size"]) {
            assert!(part.starts_with(&format!("{key}: ")), "{part}");
        }
    }

    #[test]
    fn a_missing_url_says_how_to_give_one() {
        for pairs in [&[][..], &[("loki-url", "")], &[("loki-url", " ")]] {
            let message = parse(pairs).unwrap_err().to_string();
            for hint in ["loki-url: is missing", "--log-opt loki-url=", "daemon.json", "LOKI_URL="] {
                assert!(message.contains(hint), "{message}");
            }
        }
    }

    #[test]
    fn no_complaint_shows_a_password() {
        for pairs in [
            &[("loki-url", "http://u:secret@bad host/x")][..],
            &[("loki-url", "u:secret@loki:3100")],
            &[("loki-url", "http://u:sec@secret/x#y")],
            &[("loki-timeout", "http://u:secret@loki/")],
            &[("loki-password", "secret")],
            &[("loki-urls", "http://u:secret@loki/")],
            &[("labels-regex", "(http://u:secret@loki/")],
        ] {
            let errors = parse(&[&[("loki-url", "http://loki/x")], pairs].concat()).unwrap_err();
            assert!(!format!("{errors} {errors:?}").contains("secret@"), "{errors}");
            assert!(!format!("{errors} {errors:?}").contains("\"secret"), "{errors}");
        }
        let options = good(&[("loki-url", "http://user:secret@loki/x")]);
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret") && !shown.contains("user"), "{shown}");
        let credentials = options.destinations[0].credentials.clone().unwrap();
        assert_eq!(credentials.authorization(), "Basic dXNlcjpzZWNyZXQ=");
    }

    #[test]
    fn what_is_mended_is_noted() {
        for (pairs, note) in [
            (
                vec![("loki-url", "http://loki:3100")],
                "loki-url: it has no path, so lines go to http://loki:3100/loki/api/v1/push",
            ),
            (
                vec![("loki-batch-size", "3145729")],
                "loki-batch-size: 3145729 is lowered to 3145728, as Loki refuses requests above 4 MiB",
            ),
            (
                vec![("loki-external-labels", "my-app=x")],
                "loki-external-labels: \"my-app\" is sent as \"my_app\", because Loki takes only \
                 letters, digits and _ in a label, 1024 of them at most",
            ),
            (vec![("labels", "a, b")], "labels: \" b\" is looked up with its blanks, as Docker does"),
        ] {
            let options = good(&pairs);
            assert_eq!(options.notes, [note]);
        }
        assert_eq!(good(&[("loki-batch-size", "3145728")]).batch.size_bytes, MAX_BATCH_SIZE);
        assert_eq!(good(&[("loki-batch-size", "9999999999")]).batch.size_bytes, MAX_BATCH_SIZE);
    }

    #[test]
    fn empty_values_mean_none_where_that_makes_sense() {
        let options = good(&[
            ("loki-external-labels", ""),
            ("loki-tenant-id", ""),
            ("labels", ""),
            ("loki-tls-ca-file", ""),
            ("loki-tls-cert-file", ""),
            ("loki-tls-server-name", ""),
            ("loki-proxy-url", ""),
            ("loki-username", ""),
            ("loki-password", ""),
            ("loki-bearer-token-file", ""),
            ("loki-headers", ""),
            ("labels-regex", ""),
            ("env", ""),
            ("env-regex", ""),
            ("tag", ""),
            ("loki-relabel-config", ""),
            ("loki-structured-metadata", ""),
            ("mode", ""),
        ]);
        assert!(options.labels.external.is_empty());
        assert_eq!(options.destinations[0].transport, Transport::default());
        assert_eq!(options.destinations[0].tenant_id, None);
        assert_eq!((options.labels.labels_regex, options.labels.env_regex), (None, None));
        assert!(options.labels.relabel.is_empty() && options.labels.metadata.is_empty());
        assert_eq!((options.labels.tag, options.labels.filename), (None, false));
        for key in ["loki-timeout", "loki-batch-size", "loki-retries", "max-size", "max-file"] {
            assert!(bad(&[(key, "")]).starts_with(&format!("{key}: \"\" is not")));
        }
    }

    #[test]
    fn retries_are_attempts() {
        for (value, attempts) in [("0", None), ("1", Some(1)), ("10", Some(10)), ("99999999999", Some(u32::MAX))] {
            let expected = attempts.and_then(NonZeroU32::new);
            assert_eq!(good(&[("loki-retries", value)]).retry.attempts, expected);
        }
    }

    #[test]
    fn the_container_comes_before_the_plugin_and_the_plugin_before_the_table() {
        let defaults = PluginDefaults::new([
            ("loki-url", "http://plugin/x"),
            ("loki-timeout", "20s"),
            ("loki-tenant-id", "plugin"),
            ("max-file", ""),
        ]);
        let parse = |pairs: &[(&str, &str)]| StreamOptions::parse(&map(pairs), &defaults).unwrap();
        let options = parse(&[]);
        assert_eq!(options.destinations[0].url.as_str(), "http://plugin/x");
        assert_eq!(options.destinations[0].timeout, Duration::from_secs(20));
        assert_eq!(options.destinations[0].tenant_id.as_deref(), Some("plugin"));
        assert_eq!(options.ring.max_file, 5);
        let options = parse(&[URL, ("loki-timeout", "30s"), ("loki-tenant-id", "")]);
        assert_eq!(options.destinations[0].url.as_str(), URL.1);
        assert_eq!(options.destinations[0].timeout, Duration::from_secs(30));
        assert_eq!(options.destinations[0].tenant_id, None);
        assert_eq!(parse(&[("loki-url", "")]).destinations[0].url.as_str(), "http://plugin/x");
    }

    proptest! {
        #[test]
        fn no_options_make_it_panic(
            index in 0..OPTIONS.len(), value in "\\PC{0,30}", key in "\\PC{0,20}",
        ) {
            let _ = parse(&[(OPTIONS[index].key, &value)]);
            let _ = parse(&[(&key, &value)]);
        }
    }
}

//! The reader parses and validates all options of a container, one concern after the other.
//!
//! The result is in `stream_options`, and so are the tests.

use std::num::NonZeroU32;

use super::departure::Departure;
use super::destination::{Destination, TypedUrl};
use super::options::{self as keys, OptionError, OptionErrors, RawOptions, spec};
use super::settings::PluginDefaults;
use super::stream_options::{Batch, LabelOptions, MAX_BATCH_SIZE, Retry, RingOptions, StreamOptions};
use super::tenant::tenant_id;
use super::{idle, metadata, parse, unknown};
use crate::template;
use base::refusal::{Refusal, quote};
use go_compat::duration;
use go_compat::go_regex::KeyPattern;
use loki::labels::{LabelName, MAX_NAME};
use promtail::relabel::Rules;

/// Looks options up in order of precedence, and collects all mistakes.
pub struct Reader<'a> {
    pub(super) container: &'a RawOptions,
    pub(super) defaults: &'a PluginDefaults,
    pub(super) errors: Vec<OptionError>,
    pub(super) departure: Departure,
    notes: Vec<String>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub fn new(container: &'a RawOptions, defaults: &'a PluginDefaults) -> Reader<'a> {
        let departure = Departure::of(container, defaults);
        Reader { container, defaults, errors: Vec::new(), departure, notes: Vec::new() }
    }

    /// All options, or all mistakes.
    pub fn read(mut self) -> Result<StreamOptions, OptionErrors> {
        let destinations = self.destinations();
        let batch = self.batch();
        let retry = self.retry();
        let labels = self.labels();
        let ring = self.ring();
        let pipeline = self.pipeline();
        self.errors.extend(unknown::complaints(self.container));
        self.notes.extend(idle::notes(self.container));
        match (destinations, batch, retry, labels, ring) {
            (Some(destinations), Some(batch), Some(retry), Some(labels), Some(ring)) if self.errors.is_empty() => {
                Ok(StreamOptions { destinations, batch, retry, labels, ring, pipeline, notes: self.notes })
            }
            _ => Err(OptionErrors(self.errors)),
        }
    }

    fn destinations(&mut self) -> Option<Vec<Destination>> {
        let typed = self.urls();
        self.notes.extend(self.departure.note(self.defaults));
        let tenant_id = self.optional(keys::LOKI_TENANT_ID, tenant_id);
        let transport = self.transport(typed.iter().flatten().any(|url| url.credentials.is_some()));
        let timeout = self.required(keys::LOKI_TIMEOUT, duration::positive_duration)?;
        let accepts_any_2xx = self.required(keys::LOKI_ACCEPT_ANY_2XX, parse::boolean);
        let (transport, accepts_any_2xx) = (transport?, accepts_any_2xx?);
        let destination = |TypedUrl { url, credentials, .. }| {
            // The credentials in the URL may be the plugin's, and others the container's.
            let credentials = credentials.filter(|_| transport.authorization.is_none());
            let (tenant_id, transport) = (tenant_id.clone(), transport.clone());
            Destination { url, credentials, transport, tenant_id, timeout, accepts_any_2xx }
        };
        Some(typed?.into_iter().map(destination).collect())
    }

    /// The value in force: the container's, else the plugin's, else the table's.
    fn text(&self, key: &str) -> Option<&'a str> {
        let typed = self.container.get(key);
        let typed = typed.or_else(|| self.defaults.get(key));
        typed.or_else(|| spec(key)?.default)
    }

    /// `None` without a value, or when it was rejected and the error recorded.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<Option<T>, Refusal>,
    ) -> Option<T> {
        let parsed = parse(self.text(key)?);
        parsed.unwrap_or_else(|refusal| {
            self.errors.push(OptionError::new(key, refusal));
            None
        })
    }

    /// `None` only when an error was recorded.
    pub(super) fn required<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Option<T> {
        if self.text(key).is_none() {
            self.errors.push(OptionError::new(key, "is missing"));
        }
        self.optional(key, |text| parse(text).map(Some))
    }

    fn note(&mut self, key: &str, note: impl std::fmt::Display) {
        self.notes.push(format!("{key}: {note}"));
    }

    pub(super) fn has_own_url(&self) -> bool {
        self.container.get(keys::LOKI_URL).is_some_and(|url| !url.trim().is_empty())
    }

    /// An empty URL counts as unset: an unset variable in a compose file leaves one.
    fn urls(&mut self) -> Option<Vec<TypedUrl>> {
        let key = keys::LOKI_URL;
        let typed = if self.has_own_url() { self.container.get(key) } else { self.defaults.get(key) };
        let Some(typed) = typed else {
            let reason = "is missing (give it for one container with --log-opt \
                          loki-url=http://localhost:3100/loki/api/v1/push, for all in daemon.json \
                          under log-opts, or for this plugin with docker plugin set <plugin> \
                          LOKI_URL=http://localhost:3100/loki/api/v1/push)";
            self.errors.push(OptionError::new(key, reason));
            return None;
        };
        match TypedUrl::parse_all(typed) {
            Ok(mut urls) => {
                if self.departure.way.is_some() && !self.has_own_url() {
                    urls.iter_mut().for_each(|url| url.credentials = None);
                }
                for note in urls.iter().filter_map(|url| url.note.as_ref()) {
                    self.note(key, note);
                }
                Some(urls)
            }
            Err(refusal) => {
                self.errors.push(OptionError::new(key, refusal));
                None
            }
        }
    }

    fn batch(&mut self) -> Option<Batch> {
        let size = self.required(keys::LOKI_BATCH_SIZE, |text| parse::integer(text, "number of bytes", 1, "1048576"));
        let wait = self.required(keys::LOKI_BATCH_WAIT, duration::duration);
        let (size, wait) = (size?, wait?);
        let size_bytes = usize::try_from(size).map_or(MAX_BATCH_SIZE, |size| size.min(MAX_BATCH_SIZE));
        if size > MAX_BATCH_SIZE as i64 {
            let note = format!("{size} is lowered to {MAX_BATCH_SIZE}, as Loki refuses requests above 4 MiB");
            self.note(keys::LOKI_BATCH_SIZE, note);
        }
        Some(Batch { size_bytes, wait })
    }

    fn retry(&mut self) -> Option<Retry> {
        let attempts = self.optional(keys::LOKI_RETRIES, attempts);
        let min = self.required(keys::LOKI_MIN_BACKOFF, duration::positive_duration);
        let max = self.required(keys::LOKI_MAX_BACKOFF, duration::positive_duration);
        let (mut min_backoff, max_backoff) = (min?, max?);
        // dockerd passes the manifest's defaults as if they were set by a user.
        let set =
            |key: &str| self.defaults.get(key).filter(|set| spec(key).is_none_or(|spec| spec.default != Some(*set)));
        let typed = |key| self.container.get(key).or_else(|| set(key));
        if typed(keys::LOKI_MIN_BACKOFF).is_none() {
            // Only the maximum was set; as with Grafana's driver it also bounds the minimum.
            min_backoff = min_backoff.min(max_backoff);
        }
        if min_backoff > max_backoff {
            // Either may be the one that was set, so both are shown.
            let key = keys::LOKI_MAX_BACKOFF;
            let max = quote(self.text(key).unwrap_or_default());
            let min = self.text(keys::LOKI_MIN_BACKOFF).unwrap_or_default();
            let reason = format!("is not a duration of at most {key} {max} (make this one shorter or that one longer)");
            let refusal = Refusal::new(min, reason);
            self.errors.push(OptionError::new(keys::LOKI_MIN_BACKOFF, refusal));
        }
        Some(Retry { attempts, min_backoff, max_backoff })
    }

    fn labels(&mut self) -> Option<LabelOptions> {
        let mut notes = Vec::new();
        let external = self.required(keys::LOKI_EXTERNAL_LABELS, |text| external_labels(text, &mut notes));
        for note in notes {
            self.note(keys::LOKI_EXTERNAL_LABELS, note);
        }
        let labels = self.names(keys::LABELS);
        let labels_regex = self.optional(keys::LABELS_REGEX, pattern);
        let env = self.names(keys::ENV);
        let env_regex = self.optional(keys::ENV_REGEX, pattern);
        let tag = self.optional(keys::TAG, tag);
        let relabel = self.optional(keys::LOKI_RELABEL_CONFIG, relabel).unwrap_or_default();
        let metadata = self.required(keys::LOKI_STRUCTURED_METADATA, metadata::items);
        let filename = self.required(keys::LOKI_FILENAME_LABEL, parse::boolean);
        Some(LabelOptions {
            external: external?,
            labels,
            labels_regex,
            env,
            env_regex,
            tag,
            filename: filename?,
            metadata: metadata?,
            relabel,
        })
    }

    fn names(&mut self, key: &str) -> Vec<String> {
        let names = parse::list(self.text(key).unwrap_or_default());
        for name in names.iter().filter(|name| name.trim() != name.as_str()) {
            self.note(key, format!("{} is looked up with its blanks, as Docker does", quote(name)));
        }
        names
    }

    pub fn ring(&mut self) -> Option<RingOptions> {
        let max_size = self.required(keys::MAX_SIZE, parse::size);
        let max_file = self.required(keys::MAX_FILE, |text| {
            let files = parse::integer(text, "whole number", 1, "5")?;
            u32::try_from(files).map_err(|_| Refusal::new(text, "is not a whole number below 4294967296 (try 5)"))
        });
        let blocks = self.required(keys::LOKI_BACKPRESSURE, |text| match text {
            "block" => Ok(true),
            "drop-oldest" => Ok(false),
            _ => Err(Refusal::new(text, "is not drop-oldest or block (try block)")),
        });
        let timeout = self.required(keys::LOKI_BLOCK_TIMEOUT, duration::positive_duration);
        let no_file = self.required(keys::NO_FILE, flag);
        let keep_file = self.required(keys::KEEP_FILE, flag);
        if no_file == Some(true) && self.container.get(keys::KEEP_FILE).is_some() && keep_file == Some(true) {
            let reason = "\"true\" contradicts no-file, which keeps nothing (leave one of them out)";
            self.errors.push(OptionError::new(keys::KEEP_FILE, reason));
        }
        let (blocks, timeout) = (blocks?, timeout?);
        Some(RingOptions {
            max_size: max_size?,
            max_file: max_file?,
            block: blocks.then_some(timeout),
            no_file: no_file?,
            keep_file: keep_file?,
        })
    }
}

// === parsers of single options ===

/// An empty value counts as unset, as with Grafana's driver.
fn flag(text: &str) -> Result<bool, Refusal> {
    if text.is_empty() { Ok(false) } else { parse::boolean(text) }
}

/// `0` and an empty value mean without limit.
fn attempts(text: &str) -> Result<Option<NonZeroU32>, Refusal> {
    let attempts = parse::integer(text, "whole number", 0, "10, or 0 for ever")?;
    // More than four thousand million tries are as good as that number.
    Ok(NonZeroU32::new(u32::try_from(attempts).unwrap_or(u32::MAX)))
}

/// An empty pattern selects nothing, as in Docker.
fn pattern(text: &str) -> Result<Option<KeyPattern>, Refusal> {
    match text {
        "" => Ok(None),
        text => KeyPattern::parse(text).map(Some),
    }
}

/// A template that parses. An empty one makes no label.
fn tag(text: &str) -> Result<Option<String>, Refusal> {
    let refuse = |error| Refusal::new(text, format!("is not a Go template ({error}, try {{{{.Name}}}}/{{{{.ID}}}})"));
    template::check(text).map_err(refuse)?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// An empty value means no rules.
fn relabel(text: &str) -> Result<Option<Rules>, Refusal> {
    let refuse = |error| {
        let reason = format!(
            "is not a YAML list of relabel rules: {error} (try [{{action: labeldrop, regex: host}}], and loki-rs relabel \
             check FILE)"
        );
        Refusal::new(text, reason)
    };
    Rules::parse(text).map(Some).map_err(refuse)
}

/// Pairs of a label and a template that parses. Whether its fields exist is known only with a container.
fn external_labels(text: &str, notes: &mut Vec<String>) -> Result<Vec<(LabelName, String)>, Refusal> {
    let mut labels = Vec::new();
    for (typed, template) in parse::pairs(text)? {
        template::check(&template).map_err(|error| {
            let reason = format!(
                "is not name=value,name=value with Go templates for values ({}: {error}, \
                 try app={{{{.Name}}}})",
                quote(&typed)
            );
            Refusal::new(text, reason)
        })?;
        let name = LabelName::sanitise(&typed)
            .map_err(|error| Refusal::new(text, format!("is not name=value,name=value ({error})")))?;
        if name.as_str() != typed {
            notes.push(format!(
                "{} is sent as {}, because Loki takes only letters, digits and _ in a label, \
                 {MAX_NAME} of them at most",
                quote(&typed),
                quote(name.as_str())
            ));
        }
        labels.push((name, template));
    }
    Ok(labels)
}

//! Settings of the plugin itself, read from its environment once, at boot.
//!
//! There are two kinds: the rows of [`SETTINGS`], and a default for each option of [`OPTIONS`] that has a variable.
//! Both are set with `docker plugin set`, which leaves variables empty rather than unset, so an empty one counts as
//! unset.
//!
//! All settings are checked here, without access to files, so that a mistake is known when the plugin is enabled. A
//! mistake does not keep the plugin from starting: dockerd would only say that the plugin does not answer, and running
//! containers would block without a reader. The plugin continues with the replacement in the table below, refuses new
//! containers with an error, and shows the mistake in its log and on the status page.
//!
//! | setting | replacement for an invalid value |
//! | --- | --- |
//! | `RING_RETENTION`, `RING_BUDGET` | no ring is removed for it: removed lines cannot be restored, and each ring has its own bound |
//! | `METRICS_ADDR` | nothing is served |
//! | `NO_PROXY` | containers with a proxy are not shipped: their lines must not use a proxy that the operator excluded |
//! | the default of an option | containers that use it are not shipped |
//! | others | the built-in default |

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::destination::EXAMPLE_URL;
use super::options::{LOKI_URL, OPTIONS, OptionError, OptionErrors, RawOptions, spec};
use super::parse;
use super::render::{self, Entry, cell, code};
use super::stream_options::StreamOptions;
use base::files::Folders;
use base::refusal::{Refusal, quote, redact};
use go_compat::duration;
use loki::transport::NoProxy;
use telemetry::own_log::{LogFormat, LogLevel};

pub const LOG_LEVEL: &str = "LOG_LEVEL";
pub const LOG_FORMAT: &str = "LOG_FORMAT";
pub const METRICS_ADDR: &str = "METRICS_ADDR";
pub const STATE_DIR: &str = "STATE_DIR";
pub const SOCKET: &str = "SOCKET";
pub const FILES_DIR: &str = "FILES_DIR";
pub const RING_RETENTION: &str = "RING_RETENTION";
pub const RING_BUDGET: &str = "RING_BUDGET";
pub const NO_PROXY: &str = "NO_PROXY";

/// Grafana's driver has the first four of the five levels, under the same variable.
pub const DEFAULT_LOG_LEVEL: &str = "info";

/// The format that Docker and Loki use.
pub const DEFAULT_LOG_FORMAT: &str = "logfmt";

/// The folder in the state directory for an operator's files.
pub const KEPT_FILES: &str = "files";

/// The default state directory, below `propagatedMount` of the manifest, so it survives an upgrade of the plugin like
/// the FIFOs beside it.
///
/// That mount is the folder of the FIFOs, not `/run/docker` above it. dockerd mounts the socket's folder into the
/// plugin too, inside the mount, and a shared mount propagates that to the host. When the plugin is killed, dockerd
/// removes the socket's folder. Then runc refuses to start the next process over a mount of the removed folder.
pub const DEFAULT_STATE_DIR: &str = "/run/docker/logging/loki-rs";

/// The folder for files that options name. The manifest has a mount there, which `docker plugin set` configures.
pub const DEFAULT_FILES_DIR: &str = "/etc/loki-rs";

/// The socket that the manifest names for dockerd.
pub const DEFAULT_SOCKET: &str = "/run/docker/plugins/loki-rs.sock";

/// The default retention: a week, so that a failure on Friday can be examined on Monday.
pub const DEFAULT_RING_RETENTION: &str = "168h";

/// The default budget, see [`RingBudget::Share`].
pub const DEFAULT_RING_BUDGET: &str = "10%";

/// One setting: a row of the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    /// The environment variable.
    pub name: &'static str,
    pub default: &'static str,
    /// The accepted form, in the words of error messages.
    pub form: &'static str,
    pub doc: &'static str,
}

/// All settings except the defaults of options.
pub const SETTINGS: &[SettingSpec] = &[
    SettingSpec {
        name: LOG_LEVEL,
        default: DEFAULT_LOG_LEVEL,
        form: "log level",
        doc: "How much the plugin says of itself in dockerd's log: error, warn, info, debug or \
              trace.",
    },
    SettingSpec {
        name: LOG_FORMAT,
        default: DEFAULT_LOG_FORMAT,
        form: "log format",
        doc: "How it says it: logfmt or json, one event a line. There is no time in it: dockerd adds that.",
    },
    SettingSpec {
        name: STATE_DIR,
        default: DEFAULT_STATE_DIR,
        form: "absolute path",
        doc: "Where the logs and all other state are kept, as seen by the plugin.",
    },
    SettingSpec {
        name: SOCKET,
        default: DEFAULT_SOCKET,
        form: "absolute path",
        doc: "The socket dockerd talks to. A managed plugin has to leave it alone.",
    },
    SettingSpec {
        name: FILES_DIR,
        default: DEFAULT_FILES_DIR,
        form: "absolute path",
        doc: "The folder with the files that options may name, as seen by the plugin. A managed plugin has to leave it \
              alone.",
    },
    SettingSpec {
        name: RING_RETENTION,
        default: DEFAULT_RING_RETENTION,
        form: "duration",
        doc: "How long the log of a container is kept after it last stopped, for docker logs. A clock that \
              steps does not shorten it. Lines that were not sent are kept longer.",
    },
    SettingSpec {
        name: RING_BUDGET,
        default: DEFAULT_RING_BUDGET,
        form: "size or percentage",
        doc: "What the logs of all containers together may take on disk; a percentage is of the file \
              system, and 10 GB at most. Sent lines go first: logs of stopped containers, the one that \
              stopped first before the others, then the oldest lines of running containers, of which \
              1 MiB each stays. Only then go logs of stopped containers with unsent lines; these are \
              counted and logged.",
    },
    SettingSpec {
        name: NO_PROXY,
        default: "",
        form: "hosts",
        doc: "Hosts that loki-proxy-url is not used for, between commas: names with all that is below them, \
              addresses, networks (10.0.0.0/8), each with a port if need be, or * for all.",
    },
    SettingSpec {
        name: METRICS_ADDR,
        default: "",
        form: "address",
        doc: "Where /metrics, /live, /ready and the status page are served: 127.0.0.1:9337, or unix: and an absolute path. \
              It has no authentication and shows names of containers and errors.",
    },
];

/// The address of metrics and the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddr {
    /// An address with a port.
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

/// The source of settings: the environment, or a map in tests.
pub trait Strings {
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of the process.
#[derive(Debug, Clone, Copy)]
pub struct Environment;

/// The settings of the whole plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    /// `None`: metrics are not served.
    pub metrics_addr: Option<MetricsAddr>,
    /// An absolute path.
    pub state_dir: PathBuf,
    /// An absolute path.
    pub socket: PathBuf,
    /// How long a ring is kept after its container last stopped.
    pub ring_retention: Duration,
    /// The disk budget of all rings together.
    pub ring_budget: RingBudget,
    pub defaults: PluginDefaults,
    /// Settings and defaults of options that are invalid, each under the name of its variable.
    pub mistakes: Vec<OptionError>,
    /// Each setting with its value as text, for display. None of them is a secret.
    pub typed: Vec<(&'static str, String)>,
}

/// The disk budget of all rings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingBudget {
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of the file system that the rings are on, but at most [`RingBudget::LARGEST_SHARE`].
    Share(u8),
}

/// The defaults of options for all containers: by option, never empty. `Debug` does not show values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginDefaults {
    options: RawOptions,
    /// The hosts without a proxy, or why the list is invalid.
    no_proxy: Result<NoProxy, Refusal>,
    /// The folders in which files of options may be.
    folders: Folders,
}

/// All mistakes in the environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct SettingErrors(pub OptionErrors);

/// The table for `--help`.
pub fn help() -> String {
    let entries: Vec<Entry<2>> = SETTINGS
        .iter()
        .map(|spec| {
            let default = if spec.default.is_empty() { "none" } else { spec.default };
            let facts = format!("{}; default {default}", spec.form);
            let (name, paragraphs) = (spec.name, [facts, spec.doc.to_owned()]);
            Entry { name, paragraphs }
        })
        .collect();
    let title = "Settings of the plugin (docker plugin set PLUGIN NAME=VALUE):";
    render::aligned(title, &entries)
}

/// The table for the README.
pub fn markdown_table() -> String {
    let rows: Vec<[String; 4]> = SETTINGS
        .iter()
        .map(|spec| {
            let default = Some(spec.default).filter(|default| !default.is_empty());
            let (name, default) = (code(Some(spec.name)), code(default));
            [name, cell(spec.form), default, cell(spec.doc)]
        })
        .collect();
    render::markdown(["variable", "takes", "default", "meaning"], &rows)
}

// === impl Strings ===

impl Strings for Environment {
    /// Text that is not UTF-8 is shown with replacement characters, and rejected as such.
    fn get(&self, name: &str) -> Option<String> {
        let value = std::env::var_os(name)?;
        Some(value.to_string_lossy().into_owned())
    }
}

impl Strings for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

impl Strings for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name).cloned()
    }
}

// === impl Settings ===

impl Settings {
    /// Reads and checks all settings. Invalid ones are in [`Settings::mistakes`], and have a safe replacement.
    #[must_use]
    pub fn read(strings: &dyn Strings) -> Settings {
        let mut read = Mistakes { strings, found: Vec::new() };
        let log_level = read.setting(LOG_LEVEL, DEFAULT_LOG_LEVEL, log_level).unwrap_or(LogLevel::Info);
        let log_format = read.setting(LOG_FORMAT, DEFAULT_LOG_FORMAT, log_format).unwrap_or(LogFormat::Logfmt);
        let state_dir =
            read.setting(STATE_DIR, DEFAULT_STATE_DIR, absolute).unwrap_or_else(|_| DEFAULT_STATE_DIR.into());
        let socket = read.setting(SOCKET, DEFAULT_SOCKET, absolute).unwrap_or_else(|_| DEFAULT_SOCKET.into());
        let ring_retention = read.setting(RING_RETENTION, DEFAULT_RING_RETENTION, duration::duration);
        let ring_budget = read.setting(RING_BUDGET, DEFAULT_RING_BUDGET, RingBudget::parse);
        let no_proxy = read.setting(NO_PROXY, "", no_proxy);
        let metrics_addr = read.setting(METRICS_ADDR, "", MetricsAddr::parse).unwrap_or_default();
        let files_dir =
            read.setting(FILES_DIR, DEFAULT_FILES_DIR, absolute).unwrap_or_else(|_| DEFAULT_FILES_DIR.into());
        let folders = Folders::new([files_dir, state_dir.join(KEPT_FILES)]);
        let mut mistakes = read.found;
        let defaults = PluginDefaults { options: PluginDefaults::read(strings), no_proxy, folders };
        // An invalid NO_PROXY is also found where a proxy is set.
        mistakes.extend(defaults.mistakes().into_iter().filter(|mistake| mistake.key != NO_PROXY));
        let value = |spec: &SettingSpec| strings.get(spec.name).filter(|typed| !typed.is_empty());
        let typed = SETTINGS.iter().map(|spec| (spec.name, value(spec).unwrap_or_else(|| spec.default.to_owned())));
        Settings {
            log_level,
            log_format,
            metrics_addr,
            state_dir,
            socket,
            ring_retention: ring_retention.unwrap_or(Duration::MAX),
            ring_budget: ring_budget.unwrap_or(RingBudget::UNLIMITED),
            defaults,
            mistakes,
            typed: typed.collect(),
        }
    }

    /// The settings, if all of them are valid.
    ///
    /// # Errors
    /// All mistakes at once, each under the name of its variable.
    pub fn checked(self) -> Result<Settings, SettingErrors> {
        if self.mistakes.is_empty() { Ok(self) } else { Err(SettingErrors(OptionErrors(self.mistakes))) }
    }
}

/// Reads settings, and collects mistakes.
struct Mistakes<'a> {
    strings: &'a dyn Strings,
    found: Vec<OptionError>,
}

impl Mistakes<'_> {
    fn setting<T>(&mut self, name: &str, default: &str, parse: fn(&str) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let typed = self.strings.get(name).filter(|typed| !typed.is_empty());
        parse(typed.as_deref().unwrap_or(default))
            .inspect_err(|refusal| self.found.push(OptionError::new(name, refusal)))
    }
}

fn log_level(text: &str) -> Result<LogLevel, Refusal> {
    text.parse()
}

fn log_format(text: &str) -> Result<LogFormat, Refusal> {
    text.parse()
}

fn no_proxy(text: &str) -> Result<NoProxy, Refusal> {
    NoProxy::parse(text).map_err(|part| {
        let reason =
            format!("is not a list of hosts ({} is none, try localhost,.example.com,10.0.0.0/8)", quote(&redact(part)));
        Refusal::new(text, reason)
    })
}

fn absolute(text: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Refusal::new(text, "is not an absolute path (try one that starts with /run/docker/)"))
}

// === impl RingBudget ===

impl RingBudget {
    /// The largest share, in bytes: on a large disk a tenth is too much for a default.
    pub const LARGEST_SHARE: u64 = 10_000_000_000;

    /// A budget for which no ring is removed.
    pub const UNLIMITED: RingBudget = RingBudget::Bytes(u64::MAX);

    fn parse(text: &str) -> Result<RingBudget, Refusal> {
        let Some(hundredths) = text.strip_suffix('%') else { return parse::size(text).map(RingBudget::Bytes) };
        match hundredths.parse() {
            Ok(hundredths @ 1..=100) => Ok(RingBudget::Share(hundredths)),
            _ => Err(Refusal::new(text, "is not a percentage (try 10%, 25%)")),
        }
    }

    /// The budget in bytes, on a file system of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            RingBudget::Bytes(bytes) => bytes,
            RingBudget::Share(hundredths) => (total / 100 * u64::from(hundredths)).min(RingBudget::LARGEST_SHARE),
        }
    }
}

// === impl MetricsAddr ===

impl MetricsAddr {
    fn parse(text: &str) -> Result<Option<MetricsAddr>, Refusal> {
        const REASON: &str =
            "is not an address to listen on (try 127.0.0.1:9337, [::1]:9337 or unix:/run/loki-rs/metrics.sock)";
        if text.is_empty() {
            return Ok(None);
        }
        let addr = match text.strip_prefix("unix:") {
            Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_absolute()).map(MetricsAddr::Unix),
            None => text.parse().ok().filter(|addr: &SocketAddr| addr.port() != 0).map(MetricsAddr::Tcp),
        };
        addr.map(Some).ok_or_else(|| Refusal::new(text, REASON))
    }
}

impl fmt::Display for MetricsAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAddr::Tcp(addr) => write!(f, "{addr}"),
            MetricsAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl PluginDefaults ===

impl Default for PluginDefaults {
    fn default() -> Self {
        Self {
            options: RawOptions::default(),
            no_proxy: Ok(NoProxy::default()),
            folders: Folders::new([DEFAULT_FILES_DIR.into()]),
        }
    }
}

impl PluginDefaults {
    /// The defaults by option, unchecked. Empty ones are dropped.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> PluginDefaults {
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        PluginDefaults { options: RawOptions(given.collect()), ..PluginDefaults::default() }
    }

    /// Hosts for which no proxy is used.
    ///
    /// # Errors When `NO_PROXY` is invalid: for no host is it then known whether a proxy may be used.
    pub fn no_proxy(&self) -> Result<&NoProxy, &Refusal> {
        self.no_proxy.as_ref()
    }

    /// The folders in which files of options may be: the mounted one, and the one that survives an upgrade of the
    /// plugin.
    pub fn folders(&self) -> Folders {
        self.folders.clone()
    }

    /// The default of one option.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key)
    }

    fn read(strings: &dyn Strings) -> RawOptions {
        let given = OPTIONS.iter().filter_map(|spec| {
            let value = strings.get(spec.env?)?;
            (!value.is_empty()).then(|| (spec.key.to_owned(), value))
        });
        RawOptions(given.collect())
    }

    /// The errors that a container without options would get, under the names of the variables.
    fn mistakes(&self) -> Vec<OptionError> {
        // Without a URL for the plugin each container sets its own, which is no mistake.
        let mut defaults = self.clone();
        defaults.options.0.entry(LOKI_URL.to_owned()).or_insert_with(|| EXAMPLE_URL.to_owned());
        let Err(OptionErrors(mut errors)) = StreamOptions::parse(&BTreeMap::new(), &defaults) else {
            return Vec::new();
        };
        for error in &mut errors {
            if let Some(env) = spec(&error.key).and_then(|spec| spec.env) {
                error.key = env.to_owned();
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests;

//! Everything that is shown, as one value: the page, the JSON and the metrics say the same.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::process::Process;
use crate::config::effective::{Effective, effective};
use crate::config::{RawOptions, Settings};
use crate::streams::Registry;
use crate::streams::view::{View, nanoseconds, time_of};
use base::maps::map_of;

/// The state of the plugin at one instant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The plugin's version.
    pub version: &'static str,
    /// The host that it is on, as in the label `host`.
    pub host: String,
    /// When this was, in nanoseconds since 1970.
    #[serde(serialize_with = "time_of")]
    pub now: i64,
    /// For how long the process has run.
    pub uptime_seconds: u64,
    /// Containers and destinations.
    #[serde(flatten)]
    pub view: View,
    /// Settings of the plugin by name.
    pub settings: BTreeMap<&'static str, String>,
    /// What a container gets that says nothing, with nothing secret.
    pub options: Vec<Effective>,
    /// What the kernel says of the process; not part of the JSON, for it is what metrics are for.
    #[serde(skip)]
    pub process: Option<Process>,
}

/// Makes reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    registry: Registry,
    settings: BTreeMap<&'static str, String>,
    options: Vec<Effective>,
    begun: Instant,
}

// === impl Reporter ===

impl Reporter {
    /// Reports on these containers, with these settings.
    pub fn new(registry: Registry, settings: &Settings) -> Self {
        let options = effective(&RawOptions::default(), &settings.defaults);
        Self { registry, settings: map_of(settings.typed.iter().cloned()), options, begun: Instant::now() }
    }

    /// Whether what the process before this one left has been taken up.
    pub fn is_ready(&self) -> bool {
        self.registry.is_adopted()
    }

    /// The host that it is on, as in the label `host`.
    pub fn host(&self) -> &str {
        self.registry.host()
    }

    /// Looks at everything. It is for a thread that may wait.
    pub fn report(&self) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            host: self.registry.host().to_owned(),
            now: nanoseconds(),
            uptime_seconds: self.begun.elapsed().as_secs(),
            view: self.registry.view(),
            settings: self.settings.clone(),
            options: self.options.clone(),
            process: Process::look(),
        }
    }
}

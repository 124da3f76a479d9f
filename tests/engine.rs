//! The plugin on a real Docker Engine, as users have it: `docker run`, `docker logs` and Loki.
//!
//! [`stage`] is the support for scenarios. There is a file for each promise:
//!
//! * [`main_job`]: a container's lines are in Loki and in `docker logs`, under the right labels;
//! * [`shapes`]: `docker logs` shows any bytes that a container writes as `json-file` does;
//! * [`selection`]: tail, since, until and follow, of containers in every state;
//! * [`volume`]: many lines at once, many containers at once;
//! * [`compose`]: a compose file for Grafana's driver works with this one;
//! * [`options`]: where options come from, and how a wrong one is refused;
//! * [`files`]: how certificates and passwords are passed to the plugin;
//! * [`outage`]: an outage of Loki delays no container and no command;
//! * [`guide`]: what the guide for operators says about a disabled plugin;
//! * [`status`]: metrics can be read from outside;
//! * [`stranger`]: a new operator finds the cause of a failure with the guide alone;
//! * [`soak`]: long outages of every kind at once;
//! * [`crash`]: the plugin or dockerd dies, and no line is missing;
//! * [`kills`]: the plugin is killed again and again, and the [`oracle`] finds no missing and no invented line;
//! * [`disk`]: a disk that accepts no writes blocks no container;
//! * [`hostile`]: containers with hostile options harm no other;
//! * [`upgrade`]: the plugin comes from a [`registry`], and a newer one replaces it.

mod compose;
mod confined;
mod crash;
mod disk;
mod files;
mod guide;
mod hostile;
mod kills;
mod main_job;
mod options;
mod oracle;
mod outage;
mod registry;
mod selection;
mod shapes;
mod soak;
mod stage;
mod status;
mod stranger;
mod upgrade;
mod volume;

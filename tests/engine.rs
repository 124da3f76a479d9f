//! The plugin on a real Docker Engine, as users have it: what `docker run`, `docker logs` and Loki show.
//!
//! [`stage`] is what the scenes are played with. A file for each thing that is promised:
//!
//! * [`main_job`]: a container's lines are in Loki and in `docker logs`, under the right labels;
//! * [`shapes`]: whatever bytes a container writes, `docker logs` shows them as `json-file` would;
//! * [`selection`]: tail, since, until and follow, of containers in every state;
//! * [`volume`]: many lines at once, many containers at once;
//! * [`compose`]: a compose file for Grafana's driver works with this one;
//! * [`options`]: where options come from, and how a wrong one is refused;
//! * [`files`]: how certificates and passwords are handed over;
//! * [`outage`]: with Loki away, nobody waits;
//! * [`guide`]: what the guide for operators says of a plugin that is disabled;
//! * [`status`]: what it does can be seen from outside;
//! * [`stranger`]: and so can what is wrong, by somebody who has never seen it;
//! * [`soak`]: an outage that lasts, of every kind at once;
//! * [`crash`]: the plugin or dockerd dies, and no line is missing;
//! * [`kills`]: the plugin dies again and again, and the [`oracle`] finds nothing missing and nothing invented;
//! * [`disk`]: the disk takes nothing, and nobody waits for it;
//! * [`hostile`]: containers with options of every hostile kind harm no other;
//! * [`upgrade`]: the plugin comes from a [`registry`], and a newer one takes its place.

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

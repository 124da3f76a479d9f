//! All black-box tests, one binary. Table of contents:
//!
//! * [`contract`]: the manifest and the documentation match the program.
//! * [`examples`]: the files in `examples/` work as they are.
//! * [`recipes`]: the recipes produce what their pages show.
//! * [`deploy`]: the files in `deploy/` work as they are: alerts, dashboards, a stack.
//! * [`logql`]: the LogQL parser of the tests agrees with Loki.
//! * [`readme`]: what the documentation shows works as shown.
//! * [`migrating`]: what the migration guide says is refused is refused.
//! * [`operating`]: commands, log lines, metrics and figures in the documentation are those of the program.
//! * [`loki_contract`]: what loki-rs relies on of Loki, checked against the fake and, with `LOKI_URL`, a real one.
//!
//! The real binary between a fake dockerd and a fake Loki, a file for each promise ([`harness`] has the fixtures):
//!
//! * [`lifecycle`]: streams start and stop, and leave nothing behind;
//! * [`docker_logs`]: `docker logs` shows what `json-file` would show;
//! * [`transport`]: lines reach Loki by TLS, with credentials and through proxies;
//! * [`shipping`]: lines arrive in Loki as they should;
//! * [`destinations`]: a container ships to several Lokis, independently;
//! * [`options`]: every option is accepted or refused as documented;
//! * [`labels`]: labels, metadata and tenants are those that were configured;
//! * [`relabel`]: rules can be tried on the command line;
//! * [`pipeline`]: stages change lines before they are sent;
//! * [`isolation`]: one container's stages do not slow down another;
//! * [`hidden_loss`]: no line is lost behind an answer of Loki that hides it;
//! * [`outage`]: an outage of Loki affects no container;
//! * [`answers`]: other servers answer in Loki's place, and no line is lost;
//! * [`full_ring`]: Loki is down for longer than the ring lasts;
//! * [`restart`]: the plugin or dockerd dies, and no line is lost;
//! * [`status`]: an operator sees at a glance which lines are late, rejected or dropped;
//! * [`own_log`]: the plugin's own log is short and machine-readable;
//! * [`rings`]: rings on disk can be listed and printed;
//! * [`retention`]: rings of removed containers are kept for a while, and within a budget;
//! * [`no_file`]: sent lines are not kept with `no-file`;
//! * [`many`]: many containers, one after another and at once;
//! * [`bad_disk`]: a disk that fails or is damaged does only limited harm;
//! * [`power_loss`]: a power loss costs no line that was synced;
//! * [`descriptors`]: a lack of file descriptors costs no line;
//! * [`bad_input`]: invalid input affects no other container;
//! * [`bad_settings`]: neither does an invalid setting;
//! * [`unusable`]: options and files that cannot be used make lines wait, and nothing else;
//! * [`dry_run`]: stages can be tried on the command line;
//! * [`doctor`]: problems can be found before a container starts.
//!
//! And the plugin as users have it:
//!
//! * [`engine`]: on a real Docker Engine.

mod harness;
mod loki_contract;
mod standin;

mod answers;
mod bad_disk;
mod bad_input;
mod bad_settings;
mod clocks;
mod confined;
mod contract;
mod deploy;
mod descriptors;
mod destinations;
mod docker_logs;
mod doctor;
mod dry_run;
mod engine;
mod examples;
mod floor_plan;
mod full_ring;
mod held_back;
mod hidden_loss;
mod isolation;
mod labels;
mod lifecycle;
mod logql;
mod many;
mod migrating;
mod no_file;
mod operating;
mod options;
mod outage;
mod own_log;
mod pipeline;
mod power_loss;
mod readme;
mod recipes;
mod relabel;
mod restart;
mod retention;
mod rings;
mod shipping;
mod status;
mod transport;
mod unusable;

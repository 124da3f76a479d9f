//! All black-box tests, one binary. Table of contents:
//!
//! * [`contract`]: the manifest and the documentation say what the program does.
//! * [`examples`]: what is in `examples/` can be used as it is.
//! * [`recipes`]: and its recipes give what they say.
//! * [`deploy`]: and so can what is in `deploy/`: alerts, dashboards, a stack;
//! * [`logql`]: who judges queries without a Loki, judged by one;
//! * [`readme`]: what the documentation shows can be done as it is shown;
//! * [`migrating`]: what the guide for those who come from elsewhere says is refused;
//! * [`operating`]: commands, log lines, metrics and figures in the documentation are those of the program.
//! * [`loki_contract`]: what is relied on of Loki, held against the stand-in and, with `LOKI_URL`, a real one.
//!
//! The real binary between a fake dockerd and the stand-in, a file for each promise ([`harness`] has the stage):
//!
//! * [`lifecycle`]: streams start and stop, and leave nothing behind;
//! * [`docker_logs`]: `docker logs` gives what `json-file` would give;
//! * [`transport`]: they get there by TLS, past passwords and round proxies;
//! * [`shipping`]: lines arrive in Loki as they should;
//! * [`destinations`]: to several Lokis, each for itself;
//! * [`options`]: every option is taken or refused as it should be;
//! * [`labels`]: under the labels that were asked for, and nobody else's tenant;
//! * [`relabel`]: rules can be tried out on the command line;
//! * [`pipeline`]: changed by stages, if there are any;
//! * [`isolation`]: and one container's stages cost no other anything;
//! * [`hidden_loss`]: nor is anything lost that Loki does not speak of;
//! * [`outage`]: Loki is away, and nobody notices;
//! * [`answers`]: others answer in its place, and nothing is lost;
//! * [`full_ring`]: it is away for longer than the ring lasts;
//! * [`restart`]: the plugin or dockerd dies, and nothing is lost;
//! * [`status`]: an operator sees at a glance what is late, refused or lost;
//! * [`own_log`]: what the plugin says of itself is short, and can be read by a program;
//! * [`rings`]: what is on disk can be listed and printed;
//! * [`retention`]: logs of containers that are gone are kept for a while, and within a budget;
//! * [`no_file`]: what was sent is not kept, if that is what is wanted;
//! * [`many`]: many containers, one after another and at once;
//! * [`bad_disk`]: nor does a disk that takes nothing, or damage on it, harm more than it has to;
//! * [`power_loss`]: nor does a power loss cost what was synced;
//! * [`descriptors`]: nor does a lack of file descriptors cost a line;
//! * [`bad_input`]: what nobody should send harms nobody else;
//! * [`bad_settings`]: nor does a setting that cannot be used;
//! * [`unusable`]: options and files that cannot be used make lines wait, and nothing else;
//! * [`dry_run`]: stages can be tried out on the command line;
//! * [`doctor`]: what would become of a container's lines can be known before.
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

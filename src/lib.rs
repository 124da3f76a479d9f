//! loki-rs: a Docker log driver for Grafana Loki that blocks nobody and loses nothing.
//!
//! ```text
//!             control                         per container
//! dockerd ── docker/ ──start/stop──▶ streams/ ──┬─ intake:  FIFO ─▶ frames ─▶ ring.append
//!    ▲          │                               └─ shipper: ring.read ─▶ join partials ─▶ batch ─▶ Loki
//!    └──────────┘ docker logs:  docker/read_logs ◀── ring.read                              │
//!                                                    ring.cursor ◀──── acknowledged through seq
//! ```
//!
//! The tour, in the order in which a line travels:
//!
//! 1. [`docker`]: dockerd's calls; which containers are logged, and what `docker logs` asks for.
//! 2. [`streams`]: the containers that are being logged; [`fifo`] and [`streams::intake`] read them.
//! 3. [`codec`]: Docker's frames and entries, pure.
//! 4. [`ring`]: the file in between; read its module first, everything else relies on it.
//! 5. [`shipper`]: from the ring to Loki, and what to do when Loki says no.
//! 6. [`loki`]: one POST; [`transport`]: how it gets there, and as whom.
//!
//! [`pipeline`] is Promtail's stages: pure but for what they hold; `shipper` runs them where a container has any. [`work`] bounds what
//! anything that options ask for may cost.
//!
//! [`config`] turns what was typed into what is meant, with [`relabel`], [`template`] and [`yaml`]; [`golang`] is what Go does and
//! Rust does not; [`telemetry`] is what the plugin says of itself, [`status`]
//! what it shows to who asks, `confine` what it gives up at its start, [`app`] is the one place that knows everybody, and [`cli`] is above it.
//!
//! Downward only: `cli → app → docker, status → streams → shipper → loki → transport`. The leaves `ring`, `codec`, `fifo`, `transport`,
//! `yaml`, `work` and `config::parse` import nothing of ours, except that `ring` uses `disk`, whoever reaches for a disk asks `lock`, `ring` and `loki` take their
//! memory from `buffers`, and `transport` says what lasts through `telemetry::throttle`. `ring` knows no log line and `codec` no
//! file: they meet in `streams`, `shipper` and `docker/read_logs`.

pub mod app;
pub mod buffers;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
mod confine;
pub mod disk;
pub mod docker;
pub mod doctor;
pub mod fifo;
pub mod files;
pub mod frames;
pub mod golang;
pub mod lock;
pub mod loki;
pub mod maps;
pub mod pipeline;
pub mod pools;
pub mod relabel;
pub mod ring;
pub mod shipper;
#[cfg(test)]
mod simulation;
pub mod status;
pub mod streams;
pub mod telemetry;
pub mod template;
pub mod transport;
pub mod work;
pub mod yaml;

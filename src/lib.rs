//! loki-rs: a Docker log driver for Grafana Loki that never blocks containers and buffers logs on disk through outages.
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
//! 1. [`docker`]: dockerd's calls: start and stop logging, `docker logs`.
//! 2. [`streams`]: the containers that are being logged; [`streams::intake`] reads the [FIFO](dockerd::fifo) of each.
//! 3. [`dockerd`]: frames and entries as Docker writes them.
//! 4. [`ring`]: the on-disk buffer. Read its module first: everything else relies on it.
//! 5. [`shipper`]: from the ring to Loki, and the retry policy.
//! 6. [`loki`]: one push; [`loki::transport`]: connections, TLS, proxies, authentication.
//!
//! [`promtail`] has the stages, relabelling and selectors; [`go_compat`] is what Go does and Rust does not, and bounds what an evaluation
//! may [cost](go_compat::work). [`config`] parses options and settings; [`template`] fills in labels. [`telemetry`] is the plugin's own log,
//! [`status`] its page and metrics, `confine` drops privileges at the start, [`app`] puts all of it together for [`cli`].
//!
//! Dependencies point downward only, and each crate names those that it uses: `ring`, `dockerd`, `go-compat`, `telemetry` → `base`;
//! `promtail` → `go-compat`; `loki` → `telemetry`; this crate → all. `ring` knows no log line and `dockerd` no segment: they meet in
//! `frames`, `shipper` and `docker::read_logs`.

// Allowed in the simulation alone, which is no part of the plugin.
#![deny(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
mod confine;
pub mod docker;
pub mod doctor;
#[cfg(test)]
mod documented_bounds;
pub mod frames;
pub mod shipper;
#[cfg(test)]
#[allow(unsafe_code, reason = "it stands in for functions of libc, so that disk and clock are simulated")]
mod simulation;
pub mod status;
pub mod streams;
pub mod template;
#[cfg(test)]
mod usual_costs;

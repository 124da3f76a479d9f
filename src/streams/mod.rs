//! Containers that are being logged.
//!
//! dockerd's unit is a *stream*: a FIFO that StartLogging names and StopLogging ends. A container can have several at
//! once (a `docker logs` on a stopped container is one too), and has one [`ring`] for all of them.
//!
//! * [`registry`]: stop, reader, and shared state; `table`: streams by FIFO, containers by id; `start`: StartLogging;
//! * [`container`]: a ring, its shippers, and the streams that write to it;
//! * `ship`: a container from the opening of its ring until it leaves the table; `lanes`: its path to each destination;
//! * `started`: containers that have started before and have no ring;
//! * `resolve`: the effective options, and the one rule for options and files that cannot be used;
//! * `rename`: a container that starts under another description; `former`: descriptions of unsent lines;
//! * [`intake`]: FIFO to ring; `discard`: lines without room;
//! * [`record`]: the persisted record of a stream, which the next process resumes;
//! * [`labels`]: from a container's [`dockerd::info`] and options to Loki labels; [`sources`]: the streams of its two
//!   outputs; [`metadata`]: structured metadata of its lines;
//! * [`adopt`]: recovery at start; [`upkeep`]: periodic syncs and repairs;
//! * [`view`]: a snapshot of all of them for metrics and the status page; `watch`: for the plugin's own log;
//!   [`counters`]: those of the whole plugin;
//! * [`strays`]: orphan FIFOs;
//! * [`retention`]: rings of stopped containers; `ages`: the time since their stop; [`evict`]: the choice of what to
//!   evict, pure; `tidy`: the eviction.

pub mod adopt;
mod ages;
pub mod container;
pub mod counters;
mod discard;
pub mod events;
pub mod evict;
mod former;
pub mod intake;
pub mod labels;
mod lanes;
pub mod metadata;
pub mod record;
pub mod registry;
mod rename;
mod resolve;
pub mod retention;
mod ship;
pub mod sources;
mod start;
mod started;
pub mod strays;
mod table;
mod tidy;
pub mod upkeep;
pub mod view;
mod watch;

#[cfg(test)]
mod tests;

pub use registry::{Registry, StartError};
pub use start::START_PATIENCE;

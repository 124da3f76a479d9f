//! Containers that are being logged.
//!
//! dockerd speaks of *streams*: a FIFO that StartLogging names and StopLogging ends. A container can have several at
//! once (a `docker logs` on a stopped container is one too), and has one [`ring`] for all of them.
//!
//! * [`registry`]: stop, reader, and what containers share; `table`: streams by FIFO, containers by id; `start`: from a call to a
//!   stream that is read;
//! * [`container`]: a ring, its shipper, and who is writing to it;
//! * `ship`: a container from the opening of its ring until it is let go; `lanes`: its way to each destination;
//! * `started`: containers that have started before and have no ring;
//! * `resolve`: what its options come to, and the one rule for options and files that cannot be used;
//! * `rename`: a container that starts under another description; `former`: descriptions of lines that wait;
//! * [`intake`]: FIFO to ring; `discard`: what there is no room for;
//! * [`record`]: what is persisted about a stream, so that the next process takes it up;
//! * [`labels`]: from a container's [`dockerd::info`] and options to Loki labels; [`sources`]: the streams of its two outputs;
//!   [`metadata`]: what goes beside its lines;
//! * [`adopt`]: what happens at boot; [`upkeep`]: what happens beside logging;
//! * [`view`]: how all of them are doing, for those who look from outside; `watch`: for the plugin's own log;
//!   [`counters`]: those of the whole plugin;
//! * [`strays`]: FIFOs that nobody else reads;
//! * [`retention`]: rings of containers that are gone; `ages`: for how long they are; [`evict`]: what goes when, pure; `tidy`: that it does.

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

//! Decoding of what Docker writes into a container's FIFO.
//!
//! * [`frame`]: where one frame ends and the next begins, also after garbage;
//! * [`entry`]: the `LogEntry` message inside a frame;
//! * [`partial`]: the bounded joiner that makes one line from 16 KiB chunks;
//! * [`source`]: stdout or stderr.
//!
//! These modules are pure, so the same code is tested on split reads, fuzzed, and used by intake, shipper and `docker
//! logs` alike.

// A system call that no crate wraps is allowed at its call, with a reason.
#![deny(unsafe_code)]

pub mod entry;
pub mod fifo;
pub mod frame;
pub mod info;
pub mod messages;
pub mod partial;
pub mod source;

pub use entry::{Chunk, Entry};
pub use source::Source;

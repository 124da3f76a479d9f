//! Shared basics of all crates: errors, buffers, files, clocks, locks and threads for blocking calls.

#![forbid(unsafe_code)]

pub mod buffers;
pub mod clock;
pub mod disk;
pub mod files;
pub mod lock;
pub mod maps;
pub mod pools;
pub mod refusal;
pub mod suggestion;

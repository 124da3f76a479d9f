//! What every other crate stands on: errors, buffers, files, clocks, locks and the threads for calls that can wait.

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

//! What the plugin says of itself.

#![forbid(unsafe_code)]

pub mod last;
pub mod logging;
pub mod own_log;
pub mod rate;
pub mod summary;
pub mod throttle;

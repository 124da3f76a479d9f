//! What the plugin says of itself.

pub mod logging;
pub mod rate;
pub mod summary;
pub mod throttle;

//! loki-rs.
pub mod codec;
pub mod ring;

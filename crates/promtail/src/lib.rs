//! Promtail's stages, Prometheus' relabelling, and the YAML and selectors that both are written in.

pub mod pipeline;
pub mod relabel;
pub mod selector;
pub mod yaml;

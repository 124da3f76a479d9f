//! Promtail's stages, Prometheus' relabelling, and the YAML and selectors that both are written in.

#![forbid(unsafe_code)]

pub mod pipeline;
pub mod relabel;
pub mod selector;
pub mod yaml;

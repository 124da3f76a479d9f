//! Loki's push API: one request, one answer.
//!
//! * [`labels`]: names and the canonical label string;
//! * [`encode`]: lines to protobuf to snappy;
//! * [`client`]: one POST, over one pool of connections for each destination;
//! * [`answer`]: who answered and what it says about the lines, with [`refusal`], the texts of Loki; pure;
//! * [`error`]: the error of a push;
//! * [`pace`]: the size of requests on a slow link; pure;
//! * [`hints`]: what the headers of an answer say.
//!
//! This crate reports errors; the shipper's retry policy decides what follows.

#![forbid(unsafe_code)]

pub mod answer;
pub mod client;
pub mod encode;
pub mod error;
pub mod hints;
pub mod labels;
pub mod pace;
pub mod refusal;
pub mod transport;

pub use answer::Kind;
pub use client::{Answer, Client};
pub use encode::StreamEncoder;
pub use error::PushError;
pub use hints::Hints;
pub use labels::{LabelName, LabelSet};

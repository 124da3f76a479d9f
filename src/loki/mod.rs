//! Loki's push API: one request, one answer.
//!
//! * [`labels`]: names and the canonical label string;
//! * [`encode`]: lines to protobuf to snappy;
//! * [`client`]: one POST, one pool of connections a destination;
//! * [`error`]: what an answer other than 204 says;
//! * [`hints`]: what its headers say beside that.
//!
//! What to do after an error is not decided here: that is [`crate::shipper::verdict`].

pub mod client;
pub mod encode;
pub mod error;
pub mod hints;
pub mod labels;

pub use client::{Answer, Client};
pub use encode::StreamEncoder;
pub use error::PushError;
pub use hints::Hints;
pub use labels::{LabelName, LabelSet};

//! Docker's frames as records of the ring: where `codec` and `ring` meet.

use crate::codec::frame::{self, HEADER, MAX_PAYLOAD};
use crate::ring::{Framing, Scan};

/// A record is a frame as dockerd wrote it.
#[derive(Clone, Copy, Debug)]
pub struct DockerFrames;

// A ring's filler must begin no frame.
const _: () = assert!(crate::ring::FILLER == frame::FILLER);

// === impl DockerFrames ===

impl Framing for DockerFrames {
    const LONGEST: usize = HEADER + MAX_PAYLOAD;

    fn scan(&self, bytes: &[u8]) -> Scan {
        match frame::scan(bytes) {
            frame::Scan::Frame { len, time } => Scan::Record { len, time },
            frame::Scan::Garbage(len) => Scan::Garbage(len),
            frame::Scan::Incomplete => Scan::Incomplete,
        }
    }

    fn zeros_between(&self, tail: &[u8], next: &[u8]) -> usize {
        frame::zeros_between(tail, next)
    }
}

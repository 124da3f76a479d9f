//! `sampling`: lets a part of the lines through.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `rate` | 0.0 to 1.0 | 0, which drops all | the part that passes |
//! | `drop_counter_reason` | text | `sampling_stage` | under which dropped lines are counted |

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::{Decoded, Fields};
use crate::yaml::Node;

#[derive(Debug, Clone)]
pub struct Sampling {
    rate: f64,
    reason: String,
}

// === impl Sampling ===

impl Sampling {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let rate = fields.float("rate")?.unwrap_or_default();
        if !(0.0..=1.0).contains(&rate) {
            let reason = "sampling stage failed to parse rate,Sampling Rate must be between 0.0 and 1.0, received";
            return fields.wrong_at("rate", format!("{reason} {rate:.6}"));
        }
        let reason = fields.text("drop_counter_reason")?.unwrap_or_else(|| "sampling_stage".to_owned());
        Ok(Self { rate, reason })
    }
}

impl Stage for Sampling {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        // By the number of the line and not by a throw: a line that is sent again must not be judged again.
        let chance = (mix(entry.seq.first) >> 11) as f64 / (1_u64 << 53) as f64;
        if chance < self.rate { Flow::Pass } else { cx.drop(&self.reason) }
    }
}

/// The finaliser of SplitMix64: numbers in a row come out as if they were random.
fn mix(seq: u64) -> u64 {
    let mut z = seq.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

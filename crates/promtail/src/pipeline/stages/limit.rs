//! `limit`: at most this many lines a second.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `rate` | number above 0 | required | lines a second |
//! | `burst` | whole number above 0 | required | lines that may come at once |
//! | `drop` | boolean | false | drops what is too much instead of waiting |
//! | `by_label_name` | text | absent | a limit for each value of this label, with `drop` only; a line without the label is not limited |
//! | `max_distinct_labels` | whole number | 10000 | values that are told apart; 10000 are at least |
//!
//! Lines that are dropped are judged by when they were logged: what piles up while Loki is away is not too much for it.

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::Entry;
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::recent::Recent;
use crate::yaml::Node;

const MIN_DISTINCT_LABELS: usize = 10_000;

/// A day's worth of values a second apart; more would be memory without a use.
const MAX_DISTINCT_LABELS: usize = 100_000;

const REASON: &str = "ratelimit_drop_stage";

#[derive(Debug, Clone)]
pub struct Limit {
    rate: Rate,
    mode: Mode,
}

#[derive(Debug, Clone)]
enum Mode {
    Wait(Bucket),
    Drop(Bucket),
    DropByLabel { name: String, buckets: Recent<Bucket> },
}

/// What flows into a bucket.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// Go's token bucket, full at first.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    tokens: f64,
    /// When the tokens were counted; nothing before the first line.
    counted: Option<i64>,
}

// === impl Limit ===

impl Limit {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::weak(node)?;
        let per_second = fields.float("rate")?.unwrap_or_default();
        let burst = fields.whole("burst")?.unwrap_or_default();
        if per_second.is_nan() || per_second <= 0.0 || burst <= 0 {
            return fields.wrong("limit stage failed to parse rate or burst");
        }
        let rate = Rate { per_second, burst: burst as f64 };
        let drops = fields.flag("drop")?.unwrap_or_default();
        let by_label = fields.text("by_label_name")?.filter(|name| !name.is_empty());
        let mode = match by_label {
            Some(_) if !drops => {
                return fields.wrong_at("by_label_name", "When ratelimiting by label, drop must be true");
            }
            Some(name) => {
                let wanted = fields.whole("max_distinct_labels")?.unwrap_or_default();
                let size = usize::try_from(wanted).unwrap_or_default().clamp(MIN_DISTINCT_LABELS, MAX_DISTINCT_LABELS);
                Mode::DropByLabel { name, buckets: Recent::new(size) }
            }
            None if drops => Mode::Drop(Bucket::default()),
            None => Mode::Wait(Bucket::default()),
        };
        Ok(Self { rate, mode })
    }
}

impl Stage for Limit {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        match &mut self.mode {
            Mode::Wait(bucket) => {
                if let Some(time) = bucket.reserve(self.rate, cx.now) {
                    cx.wait_until(time);
                }
                Flow::Pass
            }
            Mode::Drop(bucket) => {
                if bucket.take(self.rate, entry.arrived) {
                    Flow::Pass
                } else {
                    cx.drop(REASON)
                }
            }
            Mode::DropByLabel { name, buckets } => {
                let Some(value) = entry.labels.shared(name) else { return Flow::Pass };
                if buckets.get(value).is_none() {
                    buckets.set(value, Bucket::default());
                }
                let passes = buckets.get(value).is_none_or(|bucket| bucket.take(self.rate, entry.arrived));
                if passes {
                    return Flow::Pass;
                }
                cx.tally.dropped_by_label(name, value);
                cx.drop(REASON)
            }
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn fill(&mut self, rate: Rate, now: i64) {
        let counted = self.counted.unwrap_or(i64::MIN);
        // A clock that goes back fills nothing, and empties nothing.
        let passed = now.max(counted).saturating_sub(counted) as f64 / 1e9;
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.counted = Some(now.max(counted));
    }

    /// One token, if there is a whole one.
    fn take(&mut self, rate: Rate, now: i64) -> bool {
        self.fill(rate, now);
        let has_one = self.tokens >= 1.0;
        self.tokens -= if has_one { 1.0 } else { 0.0 };
        has_one
    }

    /// One token, borrowed if need be: the time when it would have been there.
    fn reserve(&mut self, rate: Rate, now: i64) -> Option<i64> {
        self.fill(rate, now);
        self.tokens -= 1.0;
        let wait = (-self.tokens / rate.per_second * 1e9).ceil();
        (wait > 0.0).then(|| self.counted.unwrap_or(now).saturating_add(wait as i64))
    }
}

//! A small model of the timestamps that Loki accepts, and of its errors about others.

use super::*;
use std::collections::BTreeMap;

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
const WEEK: i64 = 7 * 24 * HOUR;

/// A line as it was stored: time, text, and the metadata that the driver adds.
pub type Stored = (i64, String, Option<String>);

/// The streams of one tenant.
#[derive(Default)]
pub struct Loki {
    pub stored: BTreeMap<String, Vec<Stored>>,
    newest: BTreeMap<String, i64>,
}

// === impl Loki ===

impl Loki {
    /// Stores what it accepts when its clock says `now`. The text of a 400 is that of `pkg/distributor/validator.go`,
    /// or that of `pkg/ingester/stream.go` where both reject lines.
    pub fn push(&mut self, body: &[u8], now: i64) -> Result<(), String> {
        let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let stream = PushRequest::decode(&message[..]).unwrap().streams.remove(0);
        let labels = stream.labels;
        let (total, mut refused, mut ignored) = (stream.entries.len(), BTreeMap::<_, usize>::new(), 0);
        let mut behind = String::new();
        for entry in stream.entries {
            let time = entry.timestamp.unwrap();
            let time = time.seconds * SECOND + i64::from(time.nanos);
            let newest = self.newest.get(&labels).copied().unwrap_or(i64::MIN);
            let oldest = newest.saturating_sub(HOUR);
            if time < now - WEEK {
                let why =
                    format!("too old: {}, oldest acceptable timestamp is: {}", rfc3339(time), rfc3339(now - WEEK));
                *refused.entry(why).or_default() += 1;
            } else if time > now + 10 * MINUTE {
                *refused.entry(format!("too new: {}", rfc3339(time))).or_default() += 1;
            } else if time < oldest {
                ignored += 1;
                behind = format!(
                    "entry with timestamp {time} ignored, reason: 'entry too far behind, entry timestamp is: {}, oldest acceptable \
                     timestamp is: {}',",
                    rfc3339(time),
                    rfc3339(oldest)
                );
            } else {
                self.newest.insert(labels.clone(), time.max(newest));
                let own = entry.structured_metadata.into_iter().find(|pair| pair.name == ORIGINAL_TIME);
                let line = String::from_utf8(entry.line).unwrap();
                self.stored.entry(labels.clone()).or_default().push((time, line, own.map(|pair| pair.value)));
            }
        }
        if ignored > 0 {
            return Err(format!("{behind}\nuser 'fake', total ignored: {ignored} out of {total} for stream: {labels}"));
        }
        let faults = refused
            .iter()
            .map(|(why, times)| format!("{times} errors like: entry for stream '{labels}' has timestamp {why}"));
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}

fn rfc3339(time: i64) -> String {
    let second = jiff::Timestamp::from_second(time.div_euclid(SECOND)).unwrap();
    second.to_string()
}

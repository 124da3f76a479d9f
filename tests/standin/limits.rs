//! The limits of a tenant, with Loki's defaults, and the verdicts that need nothing but them.
//!
//! Rule: a stream is judged by its labels before its entries are looked at (too few, too many, then
//! label by label: name too long, value too long, name seen before). An entry is judged in this
//! order: too old, too new, too long, metadata not allowed, too big, too many. Only the first fault
//! is told. A stream or an entry that is refused here answers 400, and the rest is stored. Sizes
//! are bytes; the limit itself still passes.

use super::clock;
use super::labels::Pair;
use super::level::SERVICE;
use super::push::Entry;
use std::time::{Duration, SystemTime};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a tenant may do, in the words of Loki's configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest line.
    pub max_line_size: usize,
    /// Most labels of a stream, `service_name` not counted.
    pub max_label_names_per_series: usize,
    pub max_label_name_length: usize,
    pub max_label_value_length: usize,
    pub allow_structured_metadata: bool,
    /// Bytes of all names and values of one entry's metadata.
    pub max_structured_metadata_size: usize,
    pub max_structured_metadata_entries_count: usize,
    pub reject_old_samples: bool,
    pub reject_old_samples_max_age: Duration,
    /// How far a line may be ahead of the clock.
    pub creation_grace_period: Duration,
    /// How far the clock is ahead of the right one, in nanoseconds; answers are dated by it.
    pub clock_ahead: i64,
    /// Bytes a second of a tenant. Past it (429) nothing of the request is stored.
    pub ingestion_rate: f64,
    /// Largest request that can ever pass.
    pub ingestion_burst_size: u64,
    /// Bytes a second of one stream. Past it (429) lines of that stream are lost, and the answer
    /// tells only if that stream is the last of the request.
    pub per_stream_rate_limit: u64,
    pub per_stream_rate_limit_burst: u64,
    /// On: a stream past its rate loses all its lines of the request. Off: those that do not fit.
    /// The other half of sharding, spreading a hot stream over several, is not stood in for.
    pub shard_streams: bool,
    /// Streams a tenant may have (429), reported only if the rejected stream is the last.
    pub max_global_streams_per_user: usize,
    /// How far behind the newest line of its stream a line may be: half of `max_chunk_age`.
    pub out_of_order_window: Duration,
    /// Bytes after which a repeated line is not noticed any more: the `chunk_block_size`.
    pub head_block_size: usize,
    /// Largest message between Loki's own parts (500 above it, for ever).
    pub grpc_max_recv_msg_size: usize,
    /// Largest body as sent (413).
    pub max_recv_msg_size: usize,
    /// Largest body after decompression (413).
    pub max_decompressed_size: u64,
    /// Adds the label `service_name` where it is missing.
    pub discover_service_name: bool,
    /// Adds `detected_level` to the metadata of each line.
    pub discover_log_levels: bool,
    /// Until then nothing is stored and the status below is answered.
    pub block_ingestion_until: Option<SystemTime>,
    pub block_ingestion_status_code: u16,
    /// Largest `limit` of a query.
    pub max_entries_limit_per_query: usize,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line_size: 256 * KIB as usize,
            max_label_names_per_series: 15,
            max_label_name_length: 1024,
            max_label_value_length: 2048,
            allow_structured_metadata: true,
            max_structured_metadata_size: 64 * KIB as usize,
            max_structured_metadata_entries_count: 128,
            reject_old_samples: true,
            reject_old_samples_max_age: Duration::from_secs(7 * 24 * 3600),
            creation_grace_period: Duration::from_secs(10 * 60),
            clock_ahead: 0,
            ingestion_rate: (4 * MIB) as f64,
            ingestion_burst_size: 6 * MIB,
            per_stream_rate_limit: 3 * MIB,
            per_stream_rate_limit_burst: 15 * MIB,
            shard_streams: true,
            max_global_streams_per_user: 5000,
            out_of_order_window: Duration::from_secs(3600),
            head_block_size: 256 * KIB as usize,
            grpc_max_recv_msg_size: 4 * MIB as usize,
            max_recv_msg_size: 100 * MIB as usize,
            max_decompressed_size: 5000 * MIB,
            discover_service_name: true,
            discover_log_levels: true,
            block_ingestion_until: None,
            block_ingestion_status_code: 260,
            max_entries_limit_per_query: 5000,
        }
    }
}

impl Limits {
    /// Those of a Loki that has no opinion on how much may come at once.
    pub fn generous() -> Self {
        Self {
            ingestion_rate: 1e12,
            ingestion_burst_size: 1 << 40,
            per_stream_rate_limit: 1 << 40,
            per_stream_rate_limit_burst: 1 << 40,
            ..Self::default()
        }
    }

    /// Why a stream is refused, if it is. `labels` are sorted, `stream` is how they are shown.
    pub fn refuse_stream(&self, labels: &[Pair], stream: &str) -> Option<String> {
        if labels.is_empty() {
            return Some("error at least one label pair is required per stream".into());
        }
        let counted = labels.iter().filter(|(name, _)| name != SERVICE).count();
        if counted > self.max_label_names_per_series {
            return Some(format!(
                "entry for stream '{stream}' has {counted} label names; limit {}",
                self.max_label_names_per_series
            ));
        }
        let mut before = "";
        for (name, value) in labels {
            if name.len() > self.max_label_name_length {
                return Some(format!("stream '{stream}' has label name too long: '{name}'"));
            }
            if value.len() > self.max_label_value_length {
                return Some(format!("stream '{stream}' has label value too long: '{value}'"));
            }
            // An empty name is "seen before" from the start, and so refused: that is Loki's way.
            if name == before {
                return Some(format!("stream '{stream}' has duplicate label name: '{name}'"));
            }
            before = name;
        }
        None
    }

    /// Why an entry of an acceptable stream is refused, if it is.
    pub fn refuse_entry(&self, entry: &Entry, stream: &str, now: i128) -> Option<String> {
        let oldest = now - self.reject_old_samples_max_age.as_nanos() as i128;
        if self.reject_old_samples && entry.timestamp < oldest {
            return Some(format!(
                "entry for stream '{stream}' has timestamp too old: {}, oldest acceptable \
                 timestamp is: {}",
                clock::rfc3339(entry.timestamp),
                clock::rfc3339(oldest)
            ));
        }
        if entry.timestamp > now + self.creation_grace_period.as_nanos() as i128 {
            return Some(format!(
                "entry for stream '{stream}' has timestamp too new: {}",
                clock::rfc3339(entry.timestamp)
            ));
        }
        if entry.line.len() > self.max_line_size {
            return Some(format!(
                "max entry size '{}' bytes exceeded for stream '{stream}' while adding an entry \
                 with length '{}' bytes",
                self.max_line_size,
                entry.line.len()
            ));
        }
        self.refuse_metadata(entry, stream)
    }

    fn refuse_metadata(&self, entry: &Entry, stream: &str) -> Option<String> {
        if entry.metadata.is_empty() {
            return None;
        }
        if !self.allow_structured_metadata {
            return Some(format!(
                "stream '{stream}' includes structured metadata, but this feature is disallowed. \
                 Please see `limits_config.allow_structured_metadata` or contact your Loki \
                 administrator to enable it"
            ));
        }
        let size = entry.metadata_size();
        if size > self.max_structured_metadata_size {
            return Some(format!(
                "stream '{stream}' has structured metadata too large: '{size}' bytes, limit: \
                 '{}' bytes. Please see `limits_config.max_structured_metadata_size` or contact \
                 your Loki administrator to increase it",
                self.max_structured_metadata_size
            ));
        }
        let count = entry.metadata.len();
        if count > self.max_structured_metadata_entries_count {
            return Some(format!(
                "stream '{stream}' has too many structured metadata labels: '{count}', limit: \
                 '{}'. Please see `limits_config.max_structured_metadata_entries_count` or \
                 contact your Loki administrator to increase it",
                self.max_structured_metadata_entries_count
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests;

//! The plugin's counters between FIFOs and rings, since the process began.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use telemetry::last::Last;

/// All counters. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Bytes that came out of FIFOs.
    pub read_bytes: Counter,
    /// Log entries that were read from FIFOs.
    pub read_lines: Counter,
    /// Bytes that went into rings.
    pub appended_bytes: Counter,
    /// Bytes that belonged to no log entry.
    pub no_entry_bytes: Counter,
    /// Bytes dropped because neither disk nor memory had room.
    pub no_room_bytes: Counter,
    /// Lines dropped because neither disk nor memory had room.
    pub no_room_lines: Counter,
    /// Lines of streams without a record, read and dropped so that their containers do not block.
    pub unknown_stream_lines: Counter,
    /// Segments that could not be read and were set aside.
    pub set_aside: Counter,
    /// Containers resumed after a restart of the plugin.
    pub adopted: Counter,
    /// The last time at which bytes were dropped for lack of room.
    pub last_lost: Arc<Last>,
}

// === impl Counters ===

impl Counters {
    /// Counters that `registry` serves.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        for (name, help, counter) in [
            ("loki_rs_read_bytes", "Bytes that were read from containers", &counters.read_bytes),
            (
                "loki_rs_read_lines",
                "Lines that were read from containers; a line of more than 16 KiB counts once for each of its chunks",
                &counters.read_lines,
            ),
            ("loki_rs_appended_bytes", "Bytes that went into rings", &counters.appended_bytes),
            ("loki_rs_appended_lines", "Lines that went into rings", &counters.read_lines),
            (
                "loki_rs_set_aside_segments",
                "Segments of rings that could not be read and were set aside; each was a file of at most 4 MiB",
                &counters.set_aside,
            ),
            ("loki_rs_adopted_containers", "Containers taken over from the process before", &counters.adopted),
        ] {
            registry.register(name, help, counter.clone());
        }
        let discarded = Family::<[(&str, &str); 1], Counter>::default();
        registry.register("loki_rs_discarded_bytes", "Bytes that were read and could not be kept", discarded.clone());
        let lines = Family::<[(&str, &str); 1], Counter>::default();
        registry.register(
            "loki_rs_discarded_lines",
            "Lines that were read and could not be kept; a line of more than 16 KiB counts once for each of its chunks",
            lines.clone(),
        );
        Self {
            no_room_lines: lines.get_or_create_owned(&[("reason", "no_room")]),
            unknown_stream_lines: lines.get_or_create_owned(&[("reason", "unknown_stream")]),
            no_entry_bytes: discarded.get_or_create_owned(&[("reason", "no_entry")]),
            no_room_bytes: discarded.get_or_create_owned(&[("reason", "no_room")]),
            ..counters
        }
    }
}

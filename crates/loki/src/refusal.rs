//! Parses the texts with which Loki rejects entries and streams, at fixed positions.
//!
//! Loki repeats labels in its texts, and containers choose labels. So a text is parsed from its beginning, and a set of
//! labels is skipped as a whole, quotes included: its content decides nothing. A text that does not match to its end is
//! unknown.
//!
//! Distributor (`pkg/validation/validate.go`, grouped by `pkg/util/errors/errors.go` in any order):
//!
//! ```text
//! entry for stream '{…}' has timestamp too old: T, oldest acceptable timestamp is: T
//! 3 errors like: …; 2 errors like: …
//! ```
//!
//! Ingester (`pkg/ingester/stream.go`, `errorForFailedEntries`), where one request carries one stream:
//!
//! ```text
//! entry with timestamp T ignored, reason: 'entry too far behind, entry timestamp is: T, oldest acceptable timestamp is: T',
//! user 'fake', total ignored: 3 out of 5 for stream: {…}
//! ```
//!
//! The forms of Loki 2.0 to 3.7 are known; they differ in capitals and in what they say about the oldest time.

use super::answer::Kind;

/// Entries that Loki rejected while it stored the others of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The number of entries; [`u64::MAX`] when the answer ended before it.
    pub entries: u64,
    /// The oldest time that Loki accepts, in nanoseconds since 1970, where an entry was older.
    pub oldest: Option<i64>,
    /// The earliest time that Loki called too new, in nanoseconds since 1970.
    pub too_new: Option<i64>,
}

/// Texts about the labels of a stream. They come alone, because Loki then checks nothing else of the stream.
const OF_STREAMS: [&str; 6] = [
    "couldn't parse labels: ",
    "Error parsing labels '",
    "error parsing labels '",
    "error at least one label pair is required per stream",
    "missing required labels '",
    "streams must not contain the reserved labels ",
];

/// Beginnings of the texts about a message's size: the distributor's (`pkg/util/http.go`, `pkg/loghttp/push/push.go`), and gRPC's.
const OF_SIZES: [&str; 7] = [
    "request body too large",
    "http: request body too large",
    "message size too large than max (",
    "decompressed message size too large than max (",
    "received message larger than max (",
    "grpc: received message larger than max (",
    "grpc: received message after decompression larger than max ",
];

/// The prefix of gRPC's own text.
const OF_GRPC: &str = "rpc error: code = ResourceExhausted desc = ";

/// Whether a text says that a message is too large.
#[must_use]
pub fn is_too_large(text: &str) -> bool {
    let text = text.strip_prefix(OF_GRPC).unwrap_or(text);
    OF_SIZES.iter().any(|beginning| text.starts_with(beginning))
}

/// Parses the text of a 400; `None` when it is not one of Loki's known texts.
#[must_use]
pub fn read(text: &str, is_whole: bool) -> Option<Kind> {
    if OF_STREAMS.iter().any(|beginning| text.starts_with(beginning)) {
        return Some(Kind::Stream);
    }
    if is_too_large(text) {
        return Some(Kind::TooLarge { by_loki: true });
    }
    if text.starts_with(IGNORED) { ingester(text, is_whole) } else { distributor(text, is_whole) }
}

/// The beginning of a line of the ingester's text.
const IGNORED: &str = "entry with timestamp ";

/// The separator of groups in the distributor's text.
const GROUPED: &str = " errors like: ";

/// Why one entry was rejected.
enum Reason {
    Stream,
    Metadata,
    TooOld(Option<i64>),
    TooNew(i64),
    Other,
}

/// Labels contain no unescaped line feed, so the text can be split into lines.
fn ingester(text: &str, is_whole: bool) -> Option<Kind> {
    let mut refused = Refused { entries: u64::MAX, ..Refused::default() };
    let mut has_ignored = false;
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        if let Some(oldest) = ignored(line) {
            has_ignored = true;
            refused.oldest = refused.oldest.max(oldest);
        } else if lines.peek().is_some() {
            return None;
        } else if let Some(total) = total(line) {
            return Some(Kind::Entries(Refused { entries: total, ..refused }));
        }
    }
    // The text says that entries were ignored, and ended before their number.
    (has_ignored && !is_whole).then_some(Kind::Entries(refused))
}

/// Parses a line about one entry, with the oldest time that Loki accepts, if it has one.
fn ignored(line: &str) -> Option<Option<i64>> {
    let (_, reason) = line.strip_prefix(IGNORED)?.split_once(" ignored, reason: '")?;
    if let Some(rest) = reason.strip_prefix("entry too far behind") {
        let rest = rest.strip_prefix(", entry timestamp is: ").and_then(time);
        let oldest = rest.and_then(|(_, rest)| time(rest.strip_prefix(OLDEST)?));
        return Some(oldest.map(|(oldest, _)| oldest));
    }
    ["entry out of order", "Per stream rate limit exceeded "]
        .iter()
        .any(|known| reason.starts_with(known))
        .then_some(None)
}

/// Parses `user 'fake', total ignored: 3 out of 5 for stream: {…}`; a tenant id has no comma.
fn total(line: &str) -> Option<u64> {
    let rest = match line.strip_prefix("user '") {
        Some(rest) => rest.split_once("', ")?.1,
        None => line,
    };
    let (ignored, rest) = number(rest.strip_prefix("total ignored: ")?)?;
    number(rest.strip_prefix(" out of ")?)?;
    Some(ignored)
}

fn distributor(text: &str, is_whole: bool) -> Option<Kind> {
    let mut refused = Refused::default();
    let mut rest = text;
    loop {
        let counted = number(rest).and_then(|(count, rest)| Some((count, rest.strip_prefix(GROUPED)?)));
        let (count, of_one) = counted.unwrap_or((1, rest));
        let Some((reason, behind)) = entry(of_one) else {
            if is_whole || refused.entries == 0 {
                return None;
            }
            refused.entries = u64::MAX;
            return Some(Kind::Entries(refused));
        };
        match reason {
            Reason::Stream => return Some(Kind::Stream),
            // Without metadata, Loki reports other errors of the same entries.
            Reason::Metadata => return Some(Kind::Metadata),
            Reason::TooOld(oldest) => refused.oldest = refused.oldest.max(oldest),
            Reason::TooNew(time) => refused.too_new = Some(refused.too_new.map_or(time, |known| known.min(time))),
            Reason::Other => {}
        }
        refused.entries = refused.entries.saturating_add(count);
        rest = match behind {
            "" if is_whole => return Some(Kind::Entries(refused)),
            "" => return Some(Kind::Entries(Refused { entries: u64::MAX, ..refused })),
            behind => behind.strip_prefix("; ")?,
        };
    }
}

/// The separator of two times.
const OLDEST: &str = ", oldest acceptable timestamp is: ";

/// Parses the text about one entry, and returns the rest.
fn entry(text: &str) -> Option<(Reason, &str)> {
    if let Some(rest) = text.strip_prefix("entry for stream '") {
        let rest = labels(rest)?.strip_prefix("' has ")?;
        if let Some(rest) = rest.strip_prefix("timestamp too old: ") {
            let (_, rest) = time(rest)?;
            let Some(behind) = rest.strip_prefix(OLDEST) else { return Some((Reason::TooOld(None), rest)) };
            return time(behind).map(|(oldest, rest)| (Reason::TooOld(Some(oldest)), rest));
        }
        if let Some(rest) = rest.strip_prefix("timestamp too new: ") {
            return time(rest).map(|(time, rest)| (Reason::TooNew(time), rest));
        }
        let (_, rest) = number(rest)?;
        return rest.strip_prefix(" label names; limit ").map(|rest| (Reason::Stream, rest));
    }
    if let Some(rest) = text.strip_prefix("stream '") {
        let rest = labels(rest)?.strip_prefix("' ")?;
        if ["has label name too long: '", "has label value too long: '", "has duplicate label name: '"]
            .iter()
            .any(|of_labels| rest.starts_with(of_labels))
        {
            return Some((Reason::Stream, ""));
        }
        if rest.starts_with("includes structured metadata, but this feature is disallowed") {
            return Some((Reason::Metadata, ""));
        }
        // "… '5' bytes, limit: '4' bytes. Please see … or contact your Loki administrator to increase it"
        let of_metadata = ["has structured metadata too large: '", "has too many structured metadata labels: '"];
        let rest = of_metadata.iter().find_map(|of_metadata| rest.strip_prefix(of_metadata))?;
        let (_, behind) = rest.split_once(" to increase it")?;
        return Some((Reason::Other, behind.strip_prefix('.').unwrap_or(behind)));
    }
    let rest = text.strip_prefix("max entry size '").or_else(|| text.strip_prefix("Max entry size '"))?;
    let (_, rest) = number(rest)?;
    let rest = labels(rest.strip_prefix("' bytes exceeded for stream '")?)?;
    let (_, rest) = number(rest.strip_prefix("' while adding an entry with length '")?)?;
    rest.strip_prefix("' bytes").map(|rest| (Reason::Other, rest))
}

/// Skips `{a="b", c="d"}`, with values quoted as by Go.
fn labels(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('{')?;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            // The byte is ASCII, so this is a character boundary.
            b'}' if !is_quoted => return Some(&rest[at + 1..]),
            _ => {}
        }
    }
    None
}

/// Parses a number, and returns the rest. A number that is too large for its type becomes the largest.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].parse().unwrap_or(u64::MAX), &text[end..]))
}

/// Parses a time of RFC 3339 into nanoseconds since 1970, and returns the rest. Loki writes it in the zone of its host.
fn time(text: &str) -> Option<(i64, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | '.' | 'T' | 'Z');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let time: jiff::Timestamp = text[..end].parse().ok()?;
    Some((i64::try_from(time.as_nanosecond()).ok()?, &text[end..]))
}

#[cfg(test)]
#[path = "refusal/tests.rs"]
mod tests;

//! The texts in which Loki refuses entries and streams, read at fixed positions.
//!
//! Loki repeats labels in its texts, and labels are the containers' own. So a text is walked from its beginning, a set of labels is passed
//! over as a whole, quotes and all, and what stands in it decides nothing. What does not have the form to its end is not known.
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
//! Forms of Loki 2.0 to 3.7 are known; they differ in capitals and in what is said about the oldest time.

use super::answer::Kind;

/// Entries that Loki refused while it stored the others of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many; [`u64::MAX`] when the answer ended before it said so.
    pub entries: u64,
    /// The oldest time that Loki takes, in nanoseconds since 1970, where it refused one that is older.
    pub oldest: Option<i64>,
    /// The earliest time that it called too new, in nanoseconds since 1970.
    pub too_new: Option<i64>,
}

/// Texts about the labels of a stream; they come alone, because nothing else of such a stream is looked at.
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

/// What gRPC puts before its own text.
const OF_GRPC: &str = "rpc error: code = ResourceExhausted desc = ";

/// Whether a text says that a message is too large.
#[must_use]
pub fn is_too_large(text: &str) -> bool {
    let text = text.strip_prefix(OF_GRPC).unwrap_or(text);
    OF_SIZES.iter().any(|beginning| text.starts_with(beginning))
}

/// Reads the text of a 400; `None` when it is none of Loki's that is known here.
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

/// How a line of the ingester's text begins.
const IGNORED: &str = "entry with timestamp ";

/// Between groups of the distributor's.
const GROUPED: &str = " errors like: ";

/// What one entry was refused for.
enum Reason {
    Stream,
    Metadata,
    TooOld(Option<i64>),
    TooNew(i64),
    Other,
}

/// Labels have no line feed that is not escaped, so lines are what they seem.
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
    // It said that it ignored some, and ended before it said how many.
    (has_ignored && !is_whole).then_some(Kind::Entries(refused))
}

/// A line about one entry, with the oldest time that Loki takes, if it says so.
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

/// `user 'fake', total ignored: 3 out of 5 for stream: {…}`; a tenant's id has no comma.
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
            // Without it the same entries say whatever else is wrong with them.
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

/// Between two times.
const OLDEST: &str = ", oldest acceptable timestamp is: ";

/// One text about one entry, and what is behind it.
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

/// Passes over `{a="b", c="d"}`, with values as Go quotes them.
fn labels(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('{')?;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            // ASCII, so a boundary of characters.
            b'}' if !is_quoted => return Some(&rest[at + 1..]),
            _ => {}
        }
    }
    None
}

/// A number, and what is behind it. One that is too large for its type is the largest.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].parse().unwrap_or(u64::MAX), &text[end..]))
}

/// A time of RFC 3339 in nanoseconds since 1970, and what is behind it. Loki writes it in the zone of its host.
fn time(text: &str) -> Option<(i64, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | '.' | 'T' | 'Z');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let time: jiff::Timestamp = text[..end].parse().ok()?;
    Some((i64::try_from(time.as_nanosecond()).ok()?, &text[end..]))
}

#[cfg(test)]
#[path = "refusal/tests.rs"]
mod tests;

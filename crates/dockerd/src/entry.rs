//! Docker's `LogEntry` message.
//!
//! The format is `proto/entry.proto`: 1 source, 2 time_nano, 3 line, 4 partial, 5 partial_log_metadata
//! {1 last, 2 id, 3 ordinal}. proto3 leaves zero values out, so an empty line has no field 3. Fields are walked by
//! hand and borrowed from the frame; the `prost` types in [`proto`] are the reference the tests hold the walk against.

use super::Source;

/// One entry of a container's output: a whole line without its newline, or a chunk of a line longer than 16 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The output that the container wrote to.
    pub source: Source,
    /// When dockerd read it, in nanoseconds since 1970. Not monotonic; all chunks of a line share one.
    pub time: i64,
    /// The bytes, which need not be UTF-8.
    pub line: &'a [u8],
    /// Set when this is a chunk of a longer line.
    pub chunk: Option<Chunk<'a>>,
}

/// The place of a chunk in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Random per line. Empty from daemons older than the metadata: there the next whole entry ends the line.
    pub id: &'a [u8],
    /// Counted from 1.
    pub ordinal: i32,
    /// True on the last chunk only; dockerd marks every chunk partial, the last one too.
    pub last: bool,
}

/// Why a payload is not an entry that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not protobuf, or a known field of another type.
    #[error("the payload is not a LogEntry message")]
    NotProtobuf,
    /// The source is missing, or is neither stdout nor stderr.
    #[error("the entry has no source that is stdout or stderr")]
    NoSource,
    /// The time is missing, or before 1970.
    #[error("the entry has no time after 1970")]
    NoTime,
}

/// The same messages as `prost` types, the reference for the tests.
pub mod proto {
    /// `LogEntry` of moby's `daemon/logger/internal/logdriver/entry.proto`.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct LogEntry {
        /// `stdout` or `stderr`.
        #[prost(string, tag = "1")]
        pub source: String,
        /// Nanoseconds since 1970.
        #[prost(int64, tag = "2")]
        pub time_nano: i64,
        /// The line, without its newline.
        #[prost(bytes = "vec", tag = "3")]
        pub line: Vec<u8>,
        /// True on every chunk of a long line.
        #[prost(bool, tag = "4")]
        pub partial: bool,
        /// Which line the chunk belongs to.
        #[prost(message, optional, tag = "5")]
        pub partial_log_metadata: Option<PartialLogEntryMetadata>,
    }

    /// `PartialLogEntryMetadata` of the same file.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct PartialLogEntryMetadata {
        /// True on the chunk that ends the line.
        #[prost(bool, tag = "1")]
        pub last: bool,
        /// 64 hexadecimal digits.
        #[prost(string, tag = "2")]
        pub id: String,
        /// From 1.
        #[prost(int32, tag = "3")]
        pub ordinal: i32,
    }
}

// Wire types of protobuf: https://protobuf.dev/programming-guides/encoding/
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

// === impl Entry ===

impl<'a> Entry<'a> {
    /// Reads the payload of one frame.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        // The fast path for almost every entry, at an eighth of the cost.
        if let Some(entry) = Self::decode_whole_line(payload) { Ok(entry) } else { Self::decode_any(payload) }
    }

    /// Decodes a whole line as dockerd writes it: source, time, line, in this order and no other field. `None` for all
    /// other payloads, valid or not.
    #[inline]
    fn decode_whole_line(payload: &'a [u8]) -> Option<Self> {
        const TIME: u8 = 2 << 3 | VARINT as u8;
        const LINE: u8 = 3 << 3 | BYTES as u8;
        let (source, rest) = payload.split_first_chunk::<8>()?;
        let source = match source {
            b"\x0a\x06stdout" => Source::Stdout,
            b"\x0a\x06stderr" => Source::Stderr,
            _ => return None,
        };
        // Times between 1972 and 2262 take nine bytes.
        let ([TIME, time @ ..], rest) = rest.split_first_chunk::<10>()? else { return None };
        let (low, high) = time.split_first_chunk::<8>()?;
        let (low, high) = (u64::from_le_bytes(*low), u64::from(high[0]));
        let is_nine_bytes = low & CONTINUED == CONTINUED && high < 0x80;
        let (&LINE, rest) = rest.split_first()? else { return None };
        let (len, line) = match *rest {
            [a @ ..0x80, ref line @ ..] => (usize::from(a), line),
            [a, b @ ..0x80, ref line @ ..] => (usize::from(a & 0x7f) | usize::from(b) << 7, line),
            _ => return None,
        };
        if !is_nine_bytes || len != line.len() {
            return None;
        }
        // Below 2^63, and above 0 unless the varint was padded with zeros.
        let time = (sevens(low) | high << 56) as i64;
        (time > 0).then_some(Self { source, time, line, chunk: None })
    }

    fn decode_any(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut source: &[u8] = &[];
        let mut time = 0i64;
        let mut line: &[u8] = &[];
        let mut partial = false;
        let mut chunk = None;
        let mut rest = payload;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            match (key >> 3, key & 7) {
                (1, BYTES) => source = bytes(&mut rest)?,
                // Like Go, Rust takes an int64 from the varint's 64 bits.
                (2, VARINT) => time = varint(&mut rest)? as i64,
                (3, BYTES) => line = bytes(&mut rest)?,
                (4, VARINT) => partial = varint(&mut rest)? != 0,
                (5, BYTES) => chunk = Some(Chunk::decode(bytes(&mut rest)?)?),
                (0..=5, _) => return Err(Malformed::NotProtobuf),
                (_, wire) => skip(&mut rest, wire)?,
            }
        }
        Ok(Self {
            source: Source::from_bytes(source).ok_or(Malformed::NoSource)?,
            time: if time > 0 { time } else { return Err(Malformed::NoTime) },
            line,
            chunk: match (partial, chunk) {
                (true, None) => Some(Chunk { id: &[], ordinal: 0, last: false }),
                (true, some) => some,
                (false, _) => None,
            },
        })
    }

    /// Whether a newline followed in the container's output.
    pub fn ends_line(&self) -> bool {
        self.chunk.is_none_or(|chunk| chunk.last)
    }
}

// === impl Chunk ===

impl<'a> Chunk<'a> {
    fn decode(mut rest: &'a [u8]) -> Result<Self, Malformed> {
        let mut chunk = Chunk { id: &[], ordinal: 0, last: false };
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            match (key >> 3, key & 7) {
                (1, VARINT) => chunk.last = varint(&mut rest)? != 0,
                (2, BYTES) => chunk.id = bytes(&mut rest)?,
                (3, VARINT) => chunk.ordinal = varint(&mut rest)? as i32,
                (0..=3, _) => return Err(Malformed::NotProtobuf),
                (_, wire) => skip(&mut rest, wire)?,
            }
        }
        Ok(chunk)
    }
}

/// The bits that say, in each of eight bytes of a varint, that more bytes follow.
const CONTINUED: u64 = 0x8080_8080_8080_8080;

/// Joins the lower seven bits of eight bytes.
#[inline]
fn sevens(bytes: u64) -> u64 {
    let pairs = bytes & 0x007f_007f_007f_007f | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        // The tenth byte has room for one bit only.
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed::NotProtobuf)
}

#[inline]
fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = varint(rest)?;
    take(rest, len)
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed::NotProtobuf)?;
    let (head, tail) = rest.split_at_checked(len).ok_or(Malformed::NotProtobuf)?;
    *rest = tail;
    Ok(head)
}

/// Skips a field of a later protocol version.
fn skip(rest: &mut &[u8], wire: u64) -> Result<(), Malformed> {
    match wire {
        VARINT => varint(rest).map(drop),
        FIXED64 => take(rest, 8).map(drop),
        BYTES => bytes(rest).map(drop),
        FIXED32 => take(rest, 4).map(drop),
        // Groups were never part of proto3.
        _ => Err(Malformed::NotProtobuf),
    }
}

#[cfg(test)]
mod tests {
    use super::proto::{LogEntry, PartialLogEntryMetadata};
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    #[test]
    fn an_empty_line_has_no_line_field() {
        // As dockerd 20.10 sends it: 18 bytes of payload at most, no field 3.
        let payload = b"\x0a\x06stdout\x10\x80\x80\x80\x80\x80\x80\x80\x80\x10";
        let entry = Entry::decode(payload).unwrap();
        assert_eq!((entry.source, entry.line, entry.chunk), (Source::Stdout, &b""[..], None));
    }

    #[test]
    fn the_last_chunk_ends_the_line_although_it_is_partial() {
        let message = LogEntry {
            source: "stderr".into(),
            time_nano: 5,
            line: b"x".to_vec(),
            partial: true,
            partial_log_metadata: Some(PartialLogEntryMetadata { last: true, id: "ab".into(), ordinal: 2 }),
        };
        let payload = message.encode_to_vec();
        let entry = Entry::decode(&payload).unwrap();
        assert_eq!(entry.chunk, Some(Chunk { id: b"ab", ordinal: 2, last: true }));
        assert!(entry.ends_line());
    }

    #[test]
    fn decode_says_why_a_payload_is_not_an_entry() {
        for (payload, why) in [
            (&b""[..], Malformed::NoSource),
            (b"\x0a\x06stdout", Malformed::NoTime),
            (b"\x0a\x06stdoux\x10\x01", Malformed::NoSource),
            (b"\x0a\x07stdout", Malformed::NotProtobuf),
            (b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Malformed::NotProtobuf),
            (b"\x08\x01", Malformed::NotProtobuf),
            (b"\x0a\x06stdout\x10\x01\x33", Malformed::NotProtobuf),
            (b"\x00\x00", Malformed::NotProtobuf),
        ] {
            assert_eq!(Entry::decode(payload), Err(why), "{payload:x?}");
        }
    }

    proptest! {
        #[test]
        fn decode_agrees_with_prost(
            stderr: bool,
            time_nano in 1i64..,
            line: Vec<u8>,
            partial: bool,
            meta in proptest::option::of((any::<bool>(), "[0-9a-f]{0,64}", any::<i32>())),
            unknown in proptest::collection::vec((6u32..40, any::<Vec<u8>>()), 0..3),
        ) {
            let message = LogEntry {
                source: if stderr { "stderr" } else { "stdout" }.into(),
                time_nano, line, partial,
                partial_log_metadata: meta.map(|(last, id, ordinal)| PartialLogEntryMetadata { last, id, ordinal }),
            };
            let mut payload = message.encode_to_vec();
            for (tag, value) in unknown {
                prost::encoding::bytes::encode(tag, &value, &mut payload);
            }
            let entry = Entry::decode(&payload).unwrap();
            let seen = LogEntry::decode(&payload[..]).unwrap();
            prop_assert_eq!(entry.source.as_str(), seen.source);
            prop_assert_eq!(entry.time, seen.time_nano);
            prop_assert_eq!(entry.line, &seen.line[..]);
            prop_assert_eq!(entry.chunk.is_some(), seen.partial);
            if let (Some(chunk), Some(meta)) = (entry.chunk, seen.partial_log_metadata) {
                prop_assert_eq!((chunk.id, chunk.ordinal, chunk.last), (meta.id.as_bytes(), meta.ordinal, meta.last));
            }
        }

        #[test]
        fn any_bytes_are_an_entry_or_an_error(payload: Vec<u8>) {
            let _ = Entry::decode(&payload);
        }
    }
}

//! Encodes lines of one stream as the body of a push.
//!
//! The message is `logproto.PushRequest` (`proto/push.proto`): 1 streams {1 labels, 2 entries {1 timestamp {1 seconds,
//! 2 nanos}, 2 line, 3 structuredMetadata {1 name, 2 value}}}, as one raw snappy block. One request carries one stream,
//! because Loki's 204 is about the last stream in a request only.
//!
//! The encoder is written by hand, without `prost`. A line is bytes (Loki stores them, UTF-8 or not), but `prost` needs
//! a `String`. And the length of a message can be filled in last.

use std::cell::RefCell;

use bytes::Bytes;

use base::buffers;

/// Room before the labels for the tag and length of the one stream.
const HEAD: usize = 6;

/// Encodes one stream, entry by entry. It holds memory only while it has entries.
#[derive(Debug)]
pub struct StreamEncoder {
    /// Room for the head, and the encoded labels.
    beginning: Vec<u8>,
    /// Whether it has its own memory instead of a buffer of the pool.
    is_small: bool,
    /// The beginning, and the entries.
    buffer: Vec<u8>,
    entries: usize,
    counted: usize,
}

/// The bytes before a line: tags, lengths and the timestamp, assembled before they are copied. The head stands right
/// before the rest, because it has its length.
struct Prefix {
    array: [u8; Self::HEAD + Self::MOST],
    begin: usize,
    end: usize,
}

/// A body in memory that returns to the pool when it is dropped.
struct Body {
    memory: Vec<u8>,
    len: usize,
}

thread_local! {
    /// Its tables are worth keeping, and no state outlives a call.
    static SNAPPY: RefCell<snap::raw::Encoder> = RefCell::new(snap::raw::Encoder::new());
}

/// Name and value pairs of an entry, encoded once for all entries of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    encoded: Vec<u8>,
    counted: usize,
}

/// The same messages for `prost`, for tests and other readers of a push.
pub mod proto {
    /// `logproto.PushRequest`.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct PushRequest {
        /// One entry for each label set.
        #[prost(message, repeated, tag = "1")]
        pub streams: Vec<Stream>,
    }

    /// `logproto.StreamAdapter`.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Stream {
        /// `{name="value", …}`.
        #[prost(string, tag = "1")]
        pub labels: String,
        /// In the order in which they were written.
        #[prost(message, repeated, tag = "2")]
        pub entries: Vec<Entry>,
    }

    /// `logproto.EntryAdapter`.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct Entry {
        /// `google.protobuf.Timestamp`.
        #[prost(message, optional, tag = "1")]
        pub timestamp: Option<Timestamp>,
        /// The line; a string by the schema, any bytes in fact.
        #[prost(bytes = "vec", tag = "2")]
        pub line: Vec<u8>,
        /// Structured metadata.
        #[prost(message, repeated, tag = "3")]
        pub structured_metadata: Vec<LabelPair>,
    }

    /// `google.protobuf.Timestamp`.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub struct Timestamp {
        /// Seconds since 1970.
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        /// 0 to 999,999,999.
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }

    /// `logproto.LabelPairAdapter`.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub struct LabelPair {
        /// A valid label name.
        #[prost(string, tag = "1")]
        pub name: String,
        /// UTF-8.
        #[prost(string, tag = "2")]
        pub value: String,
    }
}

/// The memory of a body may exceed its length by one part in this many.
const SLACK: usize = 8;

// === impl Metadata ===

impl Metadata {
    /// Encodes the pairs. Empty names or values are left out: Loki answers an empty name with a 500 at every retry.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::default().with(pairs)
    }

    /// The same pairs and more.
    #[must_use]
    pub fn with<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut metadata = self.clone();
        pairs.into_iter().for_each(|(name, value)| metadata.add(name, value));
        metadata
    }

    fn add(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        self.counted += name.len() + value.len();
        let len = 1 + varint_len(name.len()) + name.len() + 1 + varint_len(value.len()) + value.len();
        self.encoded.push(0x1a);
        put_varint(len as u64, &mut self.encoded);
        put_bytes(0x0a, name.as_bytes(), &mut self.encoded);
        put_bytes(0x12, value.as_bytes(), &mut self.encoded);
    }

    /// Bytes of names and values, as Loki counts them against its limits.
    pub fn counted(&self) -> usize {
        self.counted
    }
}

// === impl StreamEncoder ===

impl StreamEncoder {
    /// An encoder for a stream with this label string.
    pub fn new(labels: &str) -> Self {
        let mut beginning = vec![0; HEAD];
        put_bytes(0x0a, labels.as_bytes(), &mut beginning);
        Self { beginning, buffer: Vec::new(), is_small: false, entries: 0, counted: 0 }
    }

    /// An encoder without a buffer from the pool, which may be much larger than its stream.
    pub fn small(labels: &str) -> Self {
        Self { is_small: true, ..Self::new(labels) }
    }

    /// Adds a line at `time`, in nanoseconds since 1970.
    pub fn push(&mut self, time: i64, line: &[u8], metadata: &Metadata) {
        let (seconds, nanos) = match u64::try_from(time) {
            Ok(time) => (time / 1_000_000_000, time % 1_000_000_000),
            Err(_) => (time.div_euclid(1_000_000_000) as u64, time.rem_euclid(1_000_000_000) as u64),
        };
        let mut prefix = Prefix::default();
        for (tag, value) in [(0x08, seconds), (0x10, nanos)] {
            if value != 0 {
                prefix.put(tag, value);
            }
        }
        let timestamp = prefix.len();
        if !line.is_empty() {
            prefix.put(0x12, line.len() as u64);
        }
        let len = 2 + prefix.len() + line.len() + metadata.encoded.len();
        prefix.put_head(len, timestamp as u8);

        if self.buffer.is_empty() {
            self.begin();
        }
        self.buffer.reserve(Prefix::MOST + len);
        prefix.append_to(&mut self.buffer);
        self.buffer.extend_from_slice(line);
        self.buffer.extend_from_slice(&metadata.encoded);
        self.entries += 1;
        self.counted += line.len() + metadata.counted;
    }

    /// Entries so far.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of lines and metadata so far, as Grafana's `loki-batch-size` counts them.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// Bytes of the message so far. Loki limits them to 4 MiB for each request.
    pub fn encoded(&self) -> usize {
        self.buffer.len()
    }

    /// Drops the entries and keeps the labels.
    pub fn clear(&mut self) {
        self.free();
        self.entries = 0;
        self.counted = 0;
    }

    fn free(&mut self) {
        if self.is_small {
            self.buffer = Vec::new();
        } else {
            buffers::give(&mut self.buffer);
        }
    }

    #[cold]
    fn begin(&mut self) {
        if !self.is_small {
            self.buffer = buffers::take(0);
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.beginning);
    }

    /// The body: the whole request as a raw snappy block.
    pub fn body(&mut self) -> Bytes {
        if self.buffer.is_empty() {
            self.begin();
        }
        // The length of the stream stands right before it, in as few bytes as it takes.
        let len = (self.buffer.len() - HEAD) as u64;
        let mut head = [0; HEAD];
        head[0] = 0x0a;
        let used = 1 + varint_into(len, &mut head[1..]);
        self.buffer[HEAD - used..HEAD].copy_from_slice(&head[..used]);
        let message = &self.buffer[HEAD - used..];
        let most = snap::raw::max_compress_len(message.len());
        let mut memory = buffers::take(most);
        if memory.len() < most {
            memory.resize(most, 0);
        }
        // This fails only above 4 GiB, far more than any batch has.
        let len = SNAPPY.with_borrow_mut(|snappy| snappy.compress(message, &mut memory)).unwrap_or(0);
        if memory.capacity() > len + len / SLACK + 4096 {
            // A body may wait for minutes, so its spare memory is freed.
            let body = copied(&memory[..len]);
            buffers::give(&mut memory);
            return body;
        }
        Bytes::from_owner(Body { memory, len })
    }

    /// Returns the body and frees the memory of the entries; they still count.
    pub fn finish(&mut self) -> Bytes {
        let body = self.body();
        self.free();
        body
    }
}

// === impl Prefix ===

impl Default for Prefix {
    #[inline]
    fn default() -> Self {
        Self { array: [0; _], begin: Self::HEAD, end: Self::HEAD }
    }
}

impl Prefix {
    /// Room for the head: two tags, the length of the entry, and the length of the timestamp in a byte.
    const HEAD: usize = 3 + 10;

    /// Room for the whole prefix: two varints of the timestamp and the length of the line, each with a tag.
    const MOST: usize = Self::HEAD + 3 * 11 + 2;

    /// Bytes without the head.
    #[inline]
    fn len(&self) -> usize {
        self.end - Self::HEAD
    }

    /// Writes eight bytes if possible, more than the varint has: the bytes behind it are not written yet.
    #[inline(always)]
    fn put(&mut self, tag: u8, value: u64) {
        let rest = &mut self.array[self.end..];
        self.end += 1 + match rest.first_chunk_mut() {
            Some(rest) if value < 1 << 35 => {
                let (varint, len) = short_varint(value);
                *rest = (varint << 8 | u64::from(tag)).to_le_bytes();
                len
            }
            _ => {
                rest[0] = tag;
                varint_into(value, &mut rest[1..])
            }
        };
    }

    #[inline(always)]
    fn put_head(&mut self, len: usize, timestamp: u8) {
        let len_len = if len < 1 << 14 { 1 + usize::from(len >= 1 << 7) } else { varint_len(len) };
        self.begin = Self::HEAD - 3 - len_len;
        self.array[self.begin] = 0x12;
        varint_into(len as u64, &mut self.array[self.begin + 1..]);
        [self.array[Self::HEAD - 2], self.array[Self::HEAD - 1]] = [0x0a, timestamp];
    }

    /// Copies more bytes than necessary, because a fixed number is copied without a call.
    #[inline]
    fn append_to(&self, buffer: &mut Vec<u8>) {
        let len = buffer.len() + self.end - self.begin;
        buffer.extend_from_slice(&self.array[self.begin..][..Self::MOST]);
        buffer.truncate(len);
    }
}

// === impl Body ===

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        buffers::give(&mut self.memory);
    }
}

/// Copies bytes in short pieces. glibc copies longer ones with `rep movsb`, and callgrind counts each byte of that as
/// an instruction.
fn copied(bytes: &[u8]) -> Bytes {
    let mut copy = Vec::with_capacity(bytes.len());
    bytes.chunks(2048).for_each(|piece| copy.extend_from_slice(piece));
    copy.into()
}

fn put_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(value: u64, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let len = varint_into(value, &mut bytes);
    out.extend_from_slice(&bytes[..len]);
}

#[inline]
fn varint_into(mut value: u64, out: &mut [u8]) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// The varint of a value below 2^35, and its length.
#[inline(always)]
fn short_varint(value: u64) -> (u64, usize) {
    if value < 0x80 {
        return (value, 1);
    }
    let sevens = value & 0x7f
        | (value & 0x7f << 7) << 1
        | (value & 0x7f << 14) << 2
        | (value & 0x7f << 21) << 3
        | (value & 0x7f << 28) << 4;
    match value {
        0x1000_0000.. => (sevens | 0x8080_8080, 5),
        0x20_0000.. => (sevens | 0x80_8080, 4),
        0x4000.. => (sevens | 0x8080, 3),
        _ => (sevens | 0x80, 2),
    }
}

fn varint_len(value: usize) -> usize {
    (usize::BITS as usize - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::proto::PushRequest;
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn decode(body: &[u8]) -> PushRequest {
        let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        PushRequest::decode(&message[..]).unwrap()
    }

    #[test]
    fn the_message_has_these_bytes() {
        let mut encoder = StreamEncoder::new(r#"{a="b"}"#);
        encoder.push(1_000_000_002, b"hi", &Metadata::new([("k", "v")]));
        let message = snap::raw::Decoder::new().decompress_vec(&encoder.body()).unwrap();
        let expected = b"\x0a\x1d\x0a\x07{a=\"b\"}\x12\x12\x0a\x04\x08\x01\x10\x02\x12\x02hi\x1a\x06\x0a\x01k\x12\x01v";
        assert_eq!(message, expected);
    }

    #[test]
    fn an_encoder_is_used_again_after_it_was_cleared() {
        let mut encoder = StreamEncoder::new(r#"{a="b"}"#);
        encoder.push(5, b"first", &Metadata::default());
        let _ = encoder.body();
        encoder.clear();
        encoder.push(6, b"second", &Metadata::default());
        let streams = decode(&encoder.body()).streams;
        assert_eq!(streams.len(), 1);
        assert_eq!((streams[0].labels.as_str(), streams[0].entries.len()), (r#"{a="b"}"#, 1));
        assert_eq!(streams[0].entries[0].line, b"second");
    }

    #[test]
    fn a_varint_is_the_same_at_once_and_byte_by_byte() {
        let edges = (0..64).map(|bits| 1 << bits).flat_map(|edge: u64| [edge - 1, edge, edge + 1]);
        for value in edges.chain([1_790_000_000, 999_999_999, u64::MAX]) {
            let mut bytes = [0; 16];
            let len = varint_into(value, &mut bytes);
            if value < 1 << 35 {
                assert_eq!(short_varint(value), (u64::from_le_bytes(*bytes.first_chunk().unwrap()), len), "{value}");
            }
            assert_eq!(len, varint_len(value as usize), "{value}");
        }
    }

    proptest! {
        #[test]
        fn prost_reads_what_was_written(
            labels in "\\{a=\"[a-z]{0,300}\"\\}",
            lines in proptest::collection::vec((1i64.., any::<Vec<u8>>()), 0..20),
            pairs in proptest::collection::vec(("[a-z]{1,200}", "[a-z]{1,200}"), 0..3),
        ) {
            let metadata = Metadata::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let mut encoder = StreamEncoder::new(&labels);
            for (time, line) in &lines {
                encoder.push(*time, line, &metadata);
            }
            prop_assert_eq!(encoder.entries(), lines.len());
            let request = decode(&encoder.body());
            prop_assert_eq!(&request.streams[0].labels, &labels);
            let seen: Vec<_> = request.streams[0].entries.iter().map(|entry| {
                let timestamp = entry.timestamp.unwrap();
                (timestamp.seconds * 1_000_000_000 + i64::from(timestamp.nanos), entry.line.clone())
            }).collect();
            prop_assert_eq!(seen, lines);
            for entry in &request.streams[0].entries {
                let seen: Vec<_> = entry.structured_metadata.iter().map(|p| (p.name.clone(), p.value.clone())).collect();
                prop_assert_eq!(&seen, &pairs);
            }
        }
    }
}

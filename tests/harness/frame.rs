//! Frames as dockerd writes and reads them: a big-endian length, then a message of `entry.proto`.
//!
//! The messages are declared here once more, and not taken from the crate: what is tested must not be its own judge.

use std::fmt;
use std::io::{self, Read};

use prost::Message;

/// One entry, on its way to the plugin or back.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub source: String,
    #[prost(int64, tag = "2")]
    pub time: i64,
    #[prost(bytes = "vec", tag = "3")]
    pub line: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub partial: bool,
    #[prost(message, optional, tag = "5")]
    pub chunk: Option<Chunk>,
    /// Newer engines have this field; their plugin adapter does not fill it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<Attribute>,
}

/// Which piece of a long line it is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Chunk {
    #[prost(bool, tag = "1")]
    pub last: bool,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(int32, tag = "3")]
    pub ordinal: i32,
}

/// A name and a value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

// === impl Entry ===

impl Entry {
    /// A whole line.
    pub fn new(source: &str, time: i64, line: impl Into<Vec<u8>>) -> Self {
        Self { source: source.into(), time, line: line.into(), ..Self::default() }
    }

    /// A piece of a line.
    pub fn chunk(self, id: &str, ordinal: i32, last: bool) -> Self {
        Self { partial: true, chunk: Some(Chunk { last, id: id.into(), ordinal }), ..self }
    }

    /// With its length before it.
    pub fn to_frame(&self) -> Vec<u8> {
        framed(&self.encode_to_vec())
    }

    /// The line for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }

    /// What `docker logs` must give back: dockerd took the newline away, the plugin returns it where a line ended
    /// (moby, `loggertest.transformToExpected`). dockerd looks at no other field of an answer.
    pub fn shown(&self) -> Self {
        let mut line = self.line.clone();
        if self.chunk.as_ref().is_none_or(|chunk| chunk.last) {
            line.push(b'\n');
        }
        Self::new(&self.source, self.time, line)
    }
}

/// For failures, which show what people can read.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(60).collect();
        write!(f, "{} at {}: {text:?} ({} bytes)", self.source, self.time, self.line.len())
    }
}

/// Any payload with its length before it.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB");
    [&length.to_be_bytes(), payload].concat()
}

/// Reads one frame; `None` at the end. An end inside a frame is an error, as it is to dockerd.
pub fn read(from: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut length = [0; 4];
    match from.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..])?,
    }
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut payload)?;
    Entry::decode(&payload[..]).map(Some).map_err(io::Error::other)
}

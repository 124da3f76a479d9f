//! From the body of a push to streams and entries. Nothing is judged here but the form.
//!
//! Rule: `application/json` is JSON, any other content type that can be read is snappy protobuf,
//! and none at all is an error. Protobuf is always one raw snappy block, whether `Content-Encoding`
//! says `snappy` or nothing; other encodings answer 400, which is where the stand-in is stricter
//! than Loki: `gzip` and `deflate` are refused too. One label string that cannot be read refuses
//! the whole request, and so does a timestamp out of the range of protobuf's; a *missing* timestamp
//! is the year 1.
//!
//! JSON is `{"streams":[{"stream":{"a":"b"},"values":[["<ns>","line",{"meta":"data"}]]}]}`, with
//! every value a string. Unknown fields, and whatever follows the object, are skipped.

use super::answer::Answer;
use super::clock;
use super::labels::{self, Pair};
use super::limits::Limits;
use super::proto;
use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Value};

/// A request that could be read.
#[derive(Debug, Default)]
pub struct Push {
    pub streams: Vec<Stream>,
    pub compressed_bytes: usize,
    pub uncompressed_bytes: usize,
}

#[derive(Debug)]
pub struct Stream {
    /// The labels as they came.
    pub text: String,
    /// The labels as they were understood: sorted, empty ones gone.
    pub labels: Vec<Pair>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    /// Nanoseconds since 1970.
    pub timestamp: i128,
    pub line: Bytes,
    /// As sent: not yet cleaned.
    pub metadata: Vec<(Bytes, Bytes)>,
}

/// Reads a body.
pub fn decode(
    content_type: Option<&str>,
    encoding: Option<&str>,
    body: Bytes,
    limits: &Limits,
) -> Result<Push, Answer> {
    let encoding = encoding.unwrap_or_default();
    if !matches!(encoding, "" | "snappy") {
        let sentence = format!("Content-Encoding \"{encoding}\" not supported");
        return Err(Answer::error(400, sentence));
    }
    let kind = media_type(content_type.unwrap_or_default()).map_err(bad_request)?;
    let compressed_bytes = body.len();
    let (streams, uncompressed_bytes) = if kind == "application/json" {
        (from_json(&body).map_err(bad_request)?, body.len())
    } else {
        let plain = unsnap(&body, limits)?;
        let size = plain.len();
        (from_protobuf(plain).map_err(bad_request)?, size)
    };
    Ok(Push { streams, compressed_bytes, uncompressed_bytes })
}

fn bad_request(sentence: String) -> Answer {
    Answer::error(400, sentence)
}

/// The lower-case type in front of the parameters.
fn media_type(header: &str) -> Result<String, String> {
    let mut parts = header.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut names = kind.splitn(3, '/');
    match (names.next(), names.next(), names.next()) {
        (Some(""), ..) | (None, ..) => return Err("mime: no media type".into()),
        (_, _, Some(_)) => return Err("mime: unexpected content after media subtype".into()),
        (_, Some(""), _) => return Err("mime: expected token after slash".into()),
        _ => {}
    }
    for parameter in parts.filter(|part| !part.is_empty()) {
        match parameter.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {}
            _ => return Err("mime: invalid media parameter".into()),
        }
    }
    Ok(kind)
}

fn unsnap(body: &[u8], limits: &Limits) -> Result<Vec<u8>, Answer> {
    let corrupt = || bad_request("snappy: corrupt input".into());
    let declared = snap::raw::decompress_len(body).map_err(|_| corrupt())?;
    if declared as u64 > limits.max_decompressed_size {
        let limit = limits.max_decompressed_size;
        return Err(Answer::error(
            413,
            format!("request body too large: message size too large than max ({declared} vs {limit})"),
        ));
    }
    // Three bytes of snappy make 64 at most, so a bolder claim is false: do not allocate for it.
    if declared > body.len().saturating_mul(32) {
        return Err(corrupt());
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())
}

fn from_protobuf(body: Vec<u8>) -> Result<Vec<Stream>, String> {
    let request =
        proto::PushRequest::decode(Bytes::from(body)).map_err(|error| format!("proto: PushRequest: {error}"))?;
    // Loki reads all the entries before it looks at any label, hence the two passes.
    let mut streams = Vec::with_capacity(request.streams.len());
    for stream in request.streams {
        let entries: Result<Vec<Entry>, String> = stream.entries.into_iter().map(entry).collect();
        streams.push((stream.labels, entries?));
    }
    streams
        .into_iter()
        .map(|(text, entries)| {
            Ok(Stream { labels: read_labels(&text)?, text: String::from_utf8_lossy(&text).into_owned(), entries })
        })
        .collect()
}

fn entry(entry: proto::Entry) -> Result<Entry, String> {
    let timestamp = match entry.timestamp {
        None => clock::YEAR_ONE,
        Some(proto::Timestamp { seconds, nanos }) => {
            let shown = format!("&types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}");
            let start = seconds as i128 * clock::SECOND;
            if start < clock::YEAR_ONE {
                return Err(format!("timestamp: {shown} before 0001-01-01"));
            }
            if start >= clock::YEAR_TEN_THOUSAND {
                return Err(format!("timestamp: {shown} after 10000-01-01"));
            }
            if !(0..clock::SECOND).contains(&(nanos as i128)) {
                return Err(format!("timestamp: {shown}: nanos not in range [0, 1e9)"));
            }
            start + nanos as i128
        }
    };
    let pairs = entry.metadata.into_iter();
    Ok(Entry { timestamp, line: entry.line, metadata: pairs.map(|pair| (pair.name, pair.value)).collect() })
}

fn read_labels(text: &[u8]) -> Result<Vec<Pair>, String> {
    labels::parse(text).map_err(|error| format!("couldn't parse labels: {error}"))
}

fn from_json(body: &[u8]) -> Result<Vec<Stream>, String> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let request = match values.next() {
        None => return Err("EOF".into()),
        Some(value) => value.map_err(|error| format!("the body is not JSON: {error}"))?,
    };
    let Value::Object(request) = request else {
        return Err("a push in JSON must be an object".into());
    };
    let streams = request.get("streams").unwrap_or(&Value::Null);
    list(streams, "streams")?.iter().map(json_stream).collect()
}

fn json_stream(stream: &Value) -> Result<Stream, String> {
    let nothing = Map::new();
    let labels = match stream.get("stream") {
        None | Some(Value::Null) => &nothing,
        Some(Value::Object(labels)) => labels,
        Some(_) => return Err("a stream's labels in JSON must be an object".into()),
    };
    let pairs: Result<Vec<Pair>, String> =
        labels.iter().map(|(name, value)| Ok((name.clone(), string(value, "a label's value")?.to_owned()))).collect();
    // Names are written bare, so that one with a hyphen is refused as it would be in protobuf.
    let bare: Vec<String> =
        pairs?.iter().map(|(name, value)| format!("{name}={}", super::quoted::write(value))).collect();
    let text = format!("{{{}}}", bare.join(", "));
    let values = stream.get("values").unwrap_or(&Value::Null);
    let entries: Result<Vec<Entry>, String> = list(values, "values")?.iter().map(json_entry).collect();
    Ok(Stream { labels: read_labels(text.as_bytes())?, text, entries: entries? })
}

fn json_entry(value: &Value) -> Result<Entry, String> {
    let parts = list(value, "an entry")?;
    let timestamp = match parts.first() {
        None => clock::YEAR_ONE,
        Some(text) => {
            let text = string(text, "a timestamp")?;
            let digits: Result<i64, _> = text.parse();
            digits.map_err(|_| format!("a timestamp must be nanoseconds, and {text:?} is not"))? as i128
        }
    };
    let line = match parts.get(1) {
        None => "",
        Some(line) => string(line, "a line")?,
    };
    let metadata = match parts.get(2) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(pairs)) => {
            let pair = |(name, value): (&String, &Value)| {
                let value = string(value, "a value of the structured metadata")?;
                Ok((name.clone().into(), value.to_owned().into()))
            };
            pairs.iter().map(pair).collect::<Result<_, String>>()?
        }
        Some(_) => return Err("structured metadata in JSON must be an object".into()),
    };
    Ok(Entry { timestamp, line: Bytes::copy_from_slice(line.as_bytes()), metadata })
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], String> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(values) => Ok(values),
        _ => Err(format!("{what} in JSON must be an array")),
    }
}

fn string<'a>(value: &'a Value, what: &str) -> Result<&'a str, String> {
    let text = value.as_str();
    text.ok_or_else(|| format!("{what} in JSON must be a string, and {value} is not"))
}

// === impl Entry ===

impl Entry {
    /// Bytes of the metadata, names and values.
    pub fn metadata_size(&self) -> usize {
        self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

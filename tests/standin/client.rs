//! A small blocking HTTP client and push encoder, for tests of the stand-in and of a real Loki.
//!
//! Rule: one connection a request, closed after it. A server that refuses a body before it has all
//! of it may reset the connection while it is sent: then what it answered still counts.

use super::proto;
use bytes::Bytes;
use prost::Message;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Sends a request to `http://host:port` and waits for the whole answer.
pub fn send(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
    let (stream, sent) = begin(base, method, path, headers, body)?;
    match (read_reply(stream), sent) {
        (Err(_), Err(error)) => Err(error),
        (reply, _) => reply,
    }
}

/// Sends a request and leaves the answer where it is. The second half says whether all of the
/// request could be sent.
pub fn begin(
    base: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<(TcpStream, io::Result<()>)> {
    let host = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    Ok((stream, sent))
}

/// Reads an answer until it is whole.
pub fn read_reply(stream: TcpStream) -> io::Result<Reply> {
    let mut reader = BufReader::new(stream);
    let status = read_line(&mut reader)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer has no status"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, body: Vec::new() };
    if status == 100 {
        return read_reply(reader.into_inner());
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&read_line(&mut reader)?, 16);
            let size = size.map_err(|_| io::Error::other("a chunk has no size"))?;
            io::copy(&mut reader.by_ref().take(size as u64), &mut reply.body)?;
            read_line(&mut reader)?;
            if size == 0 {
                return Ok(reply);
            }
        }
    }
    match reply.header("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => {
            reply.body.resize(length, 0);
            reader.read_exact(&mut reply.body)?;
        }
        None if status == 204 => {}
        None => drop(reader.read_to_end(&mut reply.body)?),
    }
    Ok(reply)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Pushes streams as snappy protobuf.
pub fn push(base: &str, headers: &[(&str, &str)], streams: Vec<proto::Stream>) -> io::Result<Reply> {
    let headers = [headers, &[("Content-Type", "application/x-protobuf")]].concat();
    send(base, "POST", "/loki/api/v1/push", &headers, &snappy(streams))
}

/// The body of a push.
pub fn snappy(streams: Vec<proto::Stream>) -> Vec<u8> {
    compress(&proto::PushRequest { streams }.encode_to_vec())
}

/// One raw snappy block.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    let compressed = snap::raw::Encoder::new().compress_vec(plain);
    compressed.expect("a test's body is smaller than 4 GiB")
}

/// A stream with its label string as it stands.
pub fn stream(labels: impl AsRef<[u8]>, entries: Vec<proto::Entry>) -> proto::Stream {
    proto::Stream { labels: labels.as_ref().to_vec(), entries, hash: 0 }
}

pub fn entry(ns: i64, line: impl Into<Bytes>) -> proto::Entry {
    let (seconds, nanos) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000) as i32);
    let timestamp = Some(proto::Timestamp { seconds, nanos });
    proto::Entry { timestamp, line: line.into(), metadata: Vec::new() }
}

pub fn with_metadata(mut entry: proto::Entry, pairs: &[(&str, &str)]) -> proto::Entry {
    entry.metadata = pairs
        .iter()
        .map(|(name, value)| proto::Pair { name: name.to_string().into(), value: value.to_string().into() })
        .collect();
    entry
}

/// A value for a query string.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(byte as char),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

// === impl Reply ===

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body without the line feed that ends it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }
}

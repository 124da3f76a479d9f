//! A sink in place of Loki that costs little: it reads pushes, counts the entries in them, and answers 204.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::dockerd::now;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sink on loopback. Its threads end with the process.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: AtomicU64,
    bytes: AtomicU64,
    /// How old lines were when they came, in nanoseconds; see [`Sink::ages`].
    ages: Mutex<Vec<u64>>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared::default());
        let served = shared.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = served.clone();
                thread::spawn(move || serve(connection, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    /// Lines that have come.
    pub fn lines(&self) -> u64 {
        self.shared.lines.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that have come, as they were on the wire.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Waits until this many lines have arrived in all.
    pub fn wait_for(&self, lines: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.lines() < lines {
            assert!(Instant::now() < deadline, "{} of {lines} lines came", self.lines());
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.lines(), lines, "a line came twice");
    }

    /// How long lines that begin with the nanosecond of their writing were on their way, shortest first.
    pub fn ages(&self) -> Vec<u64> {
        let mut ages = self.shared.ages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ages.sort_unstable();
        ages
    }
}

fn serve(connection: TcpStream, shared: &Shared) {
    let _ = connection.set_nodelay(true);
    let Ok(mut answers) = connection.try_clone() else { return };
    let mut requests = BufReader::with_capacity(256 * 1024, connection);
    let mut body = Vec::new();
    while read_body(&mut requests, &mut body).is_ok() {
        let came = now();
        let message = snap::raw::Decoder::new().decompress_vec(&body).expect("a snappy block");
        let mut ages = Vec::new();
        let lines = count(&message, |line| ages.extend(written(line).map(|at| came.saturating_sub(at).max(0) as u64)));
        shared.ages.lock().unwrap_or_else(PoisonError::into_inner).append(&mut ages);
        shared.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        if answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
        shared.lines.fetch_add(lines, Ordering::Relaxed);
    }
}

fn read_body(requests: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((_, value)) = header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    body.resize(length, 0);
    requests.read_exact(body)
}

/// The nanosecond at the beginning of a line.
fn written(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.get(..19)?).ok()?.parse().ok()
}

/// Counts the entries of a `PushRequest` with one stream, and shows each line.
fn count(message: &[u8], mut each: impl FnMut(&[u8])) -> u64 {
    let mut lines = 0;
    let mut message = message;
    let (_, mut stream) = field(&mut message).expect("a stream");
    while let Some((tag, mut entry)) = field(&mut stream) {
        if tag == 2 {
            lines += 1;
            while let Some((tag, value)) = field(&mut entry) {
                if tag == 2 {
                    each(value);
                }
            }
        }
    }
    lines
}

/// Takes a length-delimited field, with its number, from the beginning of `bytes`.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (value, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((tag >> 3, value))
}

//! dockerd's calls, byte for byte: POST over a unix socket, an empty Host, no content type (moby,
//! `pkg/plugins/client.go`).
//!
//! Connections are kept and used again, as Go's client does. A call whose connection breaks is repeated, and then **has
//! no body**: the buffer was consumed by the first try.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::patience;

/// Idle connections that are kept: `MaxIdleConnsPerHost`.
const IDLE: usize = 2;

/// dockerd's client for one plugin.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    idle: Mutex<Vec<BufReader<UnixStream>>>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub struct Body {
    from: BufReader<UnixStream>,
    left: Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// This many bytes are left, and then the next answer follows.
    Bytes(u64),
    /// This many bytes of the chunk are left, and then the next chunk, which may come much later.
    Chunk(u64),
    /// All of it was read.
    Nothing,
}

/// What stands before a body.
struct Head<'a> {
    method: &'a str,
    path: &'a str,
    host: &'a str,
}

// === impl Client ===

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into(), idle: Mutex::default() }
    }

    /// A call as dockerd makes it, repeated until there is an answer. A body that was sent once is not sent again.
    pub fn call(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        let (status, mut answer) = self.stream(path, body)?;
        let body = answer.text()?;
        self.keep(answer);
        Ok(Reply { status, body })
    }

    /// The same; the body of the answer is read by the caller.
    pub fn stream(&self, path: &str, body: &[u8]) -> io::Result<(u16, Body)> {
        let deadline = Instant::now() + patience();
        let mut body = body;
        // dockerd begins with a second.
        let mut pause = Duration::from_millis(10);
        loop {
            let attempt = self.connection().and_then(|connection| {
                let sent = std::mem::take(&mut body);
                exchange(connection, &Head { method: "POST", path, host: "" }, sent)
            });
            match attempt {
                Err(_) if Instant::now() < deadline => sleep(pause),
                other => return other,
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// One try of any request on a connection of its own.
    pub fn once(&self, method: &str, path: &str, host: &str, body: &[u8]) -> io::Result<Reply> {
        let connection = BufReader::new(self.connect()?);
        let (status, mut answer) = exchange(connection, &Head { method, path, host }, body)?;
        Ok(Reply { status, body: answer.text()? })
    }

    /// A connection, and nothing said on it.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(stream)
    }

    fn connection(&self) -> io::Result<BufReader<UnixStream>> {
        while let Some(kept) = self.idle().pop() {
            if is_open(kept.get_ref()) {
                return Ok(kept);
            }
        }
        self.connect().map(BufReader::new)
    }

    fn keep(&self, body: Body) {
        let mut idle = self.idle();
        if body.left == Left::Nothing && idle.len() < IDLE {
            idle.push(body.from);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<BufReader<UnixStream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the other end has not hung up; nothing is expected to come unasked.
fn is_open(stream: &UnixStream) -> bool {
    let waits = stream.set_nonblocking(true).is_ok()
        && matches!((&*stream).read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_ok() && waits
}

fn exchange(mut connection: BufReader<UnixStream>, head: &Head<'_>, body: &[u8]) -> io::Result<(u16, Body)> {
    let Head { method, path, host } = head;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
         Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n",
        body.len()
    );
    let stream = connection.get_mut();
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body));
    // A body that was refused halfway may have been answered all the same.
    let status = match (read_line(&mut connection), sent) {
        (Ok(status), _) => status,
        (Err(error), Ok(())) | (Err(_), Err(error)) => return Err(error),
    };
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer has no status"))?;
    let mut left = Left::Nothing;
    loop {
        let line = read_line(&mut connection)?.to_ascii_lowercase();
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => left = Left::Bytes(value.parse().map_err(io::Error::other)?),
            Some(("transfer-encoding", "chunked")) => left = Left::Chunk(0),
            Some(_) => {}
            None => break,
        }
    }
    if left == Left::Bytes(0) {
        left = Left::Nothing;
    }
    Ok((status, Body { from: connection, left }))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match from.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

// === impl Body ===

impl Body {
    /// All of it, frames among it as far as they are text.
    fn text(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How long a read may wait.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.from.get_ref().set_read_timeout(Some(timeout))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Left::Chunk(0) {
            let size = u64::from_str_radix(&read_line(&mut self.from)?, 16).map_err(io::Error::other)?;
            self.left = if size == 0 { Left::Nothing } else { Left::Chunk(size) };
            if size == 0 {
                read_line(&mut self.from)?;
            }
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = self.left else { return Ok(0) };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = left - read as u64;
        self.left = match self.left {
            Left::Chunk(_) if rest == 0 => {
                read_line(&mut self.from)?;
                Left::Chunk(0)
            }
            Left::Chunk(_) => Left::Chunk(rest),
            _ if rest == 0 => Left::Nothing,
            _ => Left::Bytes(rest),
        };
        Ok(read)
    }
}

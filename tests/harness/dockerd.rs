//! A fake dockerd, which makes, calls, writes and reads what dockerd does, in the same order (moby,
//! `daemon/logger/{plugin,adapter}.go`).
//!
//! A container that runs is a [`Run`]: its FIFO is open for reading and writing, so that its content outlives a plugin
//! that dies, and a full pipe makes it wait. [`Run::stop`] calls StopLogging first, closes the FIFO after the answer
//! and removes it then. `docker logs` on a container that does not run is a start, a read and a stop. No call ever says
//! that a container was removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Map, Value, json};

use super::copier::Copier;
use super::frame::{self, Entry};
use super::http::{Body, Client};
use super::patience;
use super::plugin::Plugin;

/// Go's zero time, which stands for no time.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The daemon's side of one plugin.
#[derive(Clone, Debug)]
pub struct Dockerd {
    client: Arc<Client>,
    fifos: PathBuf,
}

/// A container that was created: all that dockerd tells of it.
#[derive(Clone, Debug)]
pub struct Container {
    dockerd: Dockerd,
    info: Value,
}

/// A container that runs, or a `docker logs` that looks at one.
#[derive(Debug)]
pub struct Run {
    container: Container,
    file: PathBuf,
    /// The adapter's mutex: a stop waits for the current write, and no write happens meanwhile.
    pipe: Mutex<File>,
    outputs: [Mutex<Copier>; 2],
}

/// The query of a `docker logs`.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    tail: i64,
    since: Option<i64>,
    until: Option<i64>,
    follow: bool,
}

/// The answer to a ReadLogs, read as far as its owner has.
#[derive(Debug)]
pub struct Logs(Body);

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_nanos()).expect("it is before 2262")
}

// === impl Dockerd ===

impl Dockerd {
    pub fn new(plugin: &Plugin) -> Self {
        Self { client: Arc::new(Client::new(&plugin.socket())), fifos: plugin.fifos() }
    }

    /// Creates a container. Its id is made from its name, as long as real ones are.
    pub fn container(&self, name: &str) -> Container {
        let mut id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        id = format!("{id:0<64}");
        id.truncate(64);
        let info = json!({
            "Config": {},
            "ContainerID": id,
            "ContainerName": format!("/{name}"),
            "ContainerEntrypoint": "sh",
            "ContainerArgs": ["-c", "echo hello"],
            "ContainerImageID": format!("sha256:{}", "56f5a".repeat(13)),
            "ContainerImageName": "busybox:1",
            "ContainerCreated": "2026-11-20T08:24:57.418162077Z",
            "ContainerEnv": null,
            "ContainerLabels": {},
            "LogPath": "",
            "DaemonName": "docker",
        });
        Container { dockerd: self.clone(), info }
    }

    /// Where a call goes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A call; `Err` is what dockerd would show.
    pub fn call(&self, method: &str, body: &[u8]) -> Result<(), String> {
        let path = format!("/LogDriver.{method}");
        let reply = self.client.call(&path, body).unwrap_or_else(|error| panic!("{path}: {error}"));
        if reply.status != 200 {
            return Err(format!("LogDriver.{method}: {}", reply.body));
        }
        let answer: Value = serde_json::from_str(&reply.body)
            .unwrap_or_else(|error| panic!("{path} was answered with {:?}: {error}", reply.body));
        match answer["Err"].as_str() {
            None | Some("") => Ok(()),
            Some(error) => Err(error.to_owned()),
        }
    }

    /// A FIFO under a new name, open for reading and writing.
    pub fn make_fifo(&self) -> (PathBuf, File) {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let file = self.fifos.join(format!("{:064x}", MADE.fetch_add(1, Ordering::Relaxed) + 1));
        mkfifo(&file, Mode::S_IRWXU).expect("a FIFO under a new name");
        (file.clone(), open_fifo(&file))
    }
}

fn open_fifo(file: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    options.open(file).expect("the FIFO is there")
}

/// The body of a call: Go's encoder puts a newline behind it.
fn encode(body: &Value) -> Vec<u8> {
    format!("{body}\n").into_bytes()
}

// === impl Container ===

impl Container {
    /// `--log-opt`
    pub fn option(self, key: &str, value: &str) -> Self {
        self.in_map("Config", key, value)
    }

    /// `--label`
    pub fn label(self, key: &str, value: &str) -> Self {
        self.in_map("ContainerLabels", key, value)
    }

    /// `--env`
    pub fn env(mut self, assignment: &str) -> Self {
        match &mut self.info["ContainerEnv"] {
            Value::Array(list) => list.push(assignment.into()),
            none => *none = json!([assignment]),
        }
        self
    }

    /// Any other field of what dockerd tells.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.info[field] = value;
        self
    }

    pub fn id(&self) -> &str {
        self.info["ContainerID"].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.info["ContainerName"].as_str().unwrap_or_default().trim_start_matches('/')
    }

    /// `docker start`
    pub fn start(&self) -> Run {
        self.try_start().unwrap_or_else(|error| panic!("{} does not start: {error}", self.name()))
    }

    /// `docker start`, when it may be refused.
    pub fn try_start(&self) -> Result<Run, String> {
        let capabilities = self.dockerd.client.call("/LogDriver.Capabilities", b"");
        let capabilities = capabilities.unwrap_or_else(|error| panic!("Capabilities: {error}"));
        assert!(capabilities.body.contains(r#""ReadLogs":true"#), "{}", capabilities.body);
        let (file, pipe) = self.dockerd.make_fifo();
        let run = Run {
            container: self.clone(),
            file,
            pipe: Mutex::new(pipe),
            outputs: [Mutex::new(Copier::new("stdout")), Mutex::new(Copier::new("stderr"))],
        };
        // When this fails the FIFO stays behind, as dockerd leaves it.
        self.dockerd.call("StartLogging", &self.start_call(&run.file))?;
        Ok(run)
    }

    /// The body of a StartLogging.
    pub fn start_call(&self, file: &Path) -> Vec<u8> {
        encode(&json!({"File": file, "Info": self.info}))
    }

    /// `docker logs` on a container that does not run: a stream that lives for one question.
    pub fn logs(&self, query: Query) -> Vec<Entry> {
        let probe = self.start();
        // dockerd never lets one follow what does not run.
        let shown = probe.logs(Query { follow: false, ..query });
        probe.stop();
        shown
    }

    /// All that `docker logs` shows of a container that does not run, line for line.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.logs(Query::all()))
    }

    fn in_map(mut self, map: &str, key: &str, value: &str) -> Self {
        let map = self.info[map].as_object_mut();
        let entries: &mut Map<String, Value> = map.expect("it was made as a map");
        entries.insert(key.into(), value.into());
        self
    }
}

// === impl Run ===

impl Run {
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// The FIFO's path.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The container prints a line to stdout.
    pub fn out(&self, line: impl AsRef<[u8]>) {
        self.print(0, &[line.as_ref(), b"\n"].concat());
    }

    /// The container prints a line to stderr.
    pub fn err(&self, line: impl AsRef<[u8]>) {
        self.print(1, &[line.as_ref(), b"\n"].concat());
    }

    /// The container prints lines to stdout, one after the other.
    pub fn out_all<L: AsRef<[u8]>>(&self, lines: impl IntoIterator<Item = L>) {
        for line in lines {
            self.out(line);
        }
    }

    /// The container prints bytes, of which newlines make lines, to stdout (0) or stderr (1).
    pub fn print(&self, output: usize, bytes: &[u8]) {
        self.print_at(now(), output, bytes);
    }

    /// The same, at a time that Docker is to have noted.
    pub fn print_at(&self, time: i64, output: usize, bytes: &[u8]) {
        let mut copier = lock(&self.outputs[output]);
        for entry in copier.print(bytes, time) {
            self.log(&entry);
        }
    }

    /// One entry, whatever is in it.
    pub fn log(&self, entry: &Entry) {
        self.write(&entry.to_frame());
    }

    /// Writes bytes into the FIFO. A container that waits for longer than a test may was blocked.
    pub fn write(&self, mut bytes: &[u8]) {
        let mut pipe = lock(&self.pipe);
        while !bytes.is_empty() {
            match pipe.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = wait(&pipe, PollFlags::POLLOUT, patience());
                    assert!(ready, "{} is blocked: its FIFO is not read", self.container.name());
                }
                Err(error) => panic!("the FIFO of {}: {error}", self.container.name()),
            }
        }
    }

    /// Whether bytes are in the FIFO that the plugin has not read.
    pub fn has_unread(&self) -> bool {
        wait(&lock(&self.pipe), PollFlags::POLLIN, Duration::ZERO)
    }

    /// `docker logs` on a container that runs.
    pub fn logs(&self, query: Query) -> Vec<Entry> {
        self.read(query).collect()
    }

    /// All that `docker logs` shows, line for line.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.logs(Query::all()))
    }

    /// The answer to a ReadLogs, to be read by and by.
    pub fn read(&self, query: Query) -> Logs {
        self.try_read(query).unwrap_or_else(|error| panic!("docker logs {}: {error}", self.container.name()))
    }

    /// The same, when it may be refused.
    pub fn try_read(&self, query: Query) -> Result<Logs, String> {
        read_logs(&self.container, query)
    }

    /// The container exits, or a `docker logs` is done. Tells how long the plugin took to answer.
    pub fn stop(self) -> Duration {
        for output in &self.outputs {
            let dangling = lock(output).end(now());
            if let Some(entry) = dangling {
                self.log(&entry);
            }
        }
        let pipe = lock(&self.pipe);
        let begin = Instant::now();
        let answer = self.container.dockerd.call("StopLogging", &encode(&json!({"File": self.file})));
        let taken = begin.elapsed();
        assert_eq!(answer, Ok(()), "an error from StopLogging leaks dockerd's reference to the plugin");
        drop(pipe);
        let file = self.file.clone();
        drop(self);
        // The plugin may have removed it already.
        let _ = fs::remove_file(file);
        taken
    }

    /// dockerd dies: the FIFO is closed and stays in its place, without a StopLogging.
    pub fn crash(self) -> PathBuf {
        self.file.clone()
    }
}

fn read_logs(container: &Container, query: Query) -> Result<Logs, String> {
    let body = encode(&json!({"Info": container.info, "Config": query.to_json()}));
    let answer = container.dockerd.client.stream("/LogDriver.ReadLogs", &body);
    let (status, mut body) = answer.unwrap_or_else(|error| panic!("ReadLogs: {error}"));
    if status == 200 {
        return Ok(Logs(body));
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut body, &mut text).unwrap_or_else(|error| panic!("ReadLogs: {error}"));
    Err(format!("LogDriver.ReadLogs: {text}"))
}

/// Lines of entries as `docker logs` prints them, newlines taken away; what has none at the end is one too.
pub fn lines(entries: &[Entry]) -> Vec<String> {
    let printed: Vec<u8> = entries.iter().flat_map(|entry| entry.line.iter().copied()).collect();
    String::from_utf8_lossy(&printed).split_terminator('\n').map(str::to_owned).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the pipe can be read or written, in so much time.
fn wait(pipe: &File, flags: PollFlags, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(pipe.as_fd(), flags)];
    poll(&mut fds, timeout).expect("a pipe can be polled") > 0
}

// === impl Query ===

impl Query {
    /// `docker logs`
    pub const fn all() -> Self {
        Self { tail: -1, since: None, until: None, follow: false }
    }

    /// `-f`
    pub const fn follow(self) -> Self {
        Self { follow: true, ..self }
    }

    /// `--tail`
    pub const fn tail(self, tail: i64) -> Self {
        Self { tail, ..self }
    }

    /// `--since`, in nanoseconds since 1970
    pub const fn since(self, since: i64) -> Self {
        Self { since: Some(since), ..self }
    }

    /// `--until`, in nanoseconds since 1970
    pub const fn until(self, until: i64) -> Self {
        Self { until: Some(until), ..self }
    }

    fn to_json(self) -> Value {
        // dockerd writes times in its own zone.
        let time = |nanos: Option<i64>| match nanos {
            None => ZERO_TIME.to_owned(),
            Some(nanos) => {
                let utc = jiff::Timestamp::from_nanosecond(i128::from(nanos) + 90 * 60 * 1_000_000_000);
                utc.expect("a time that jiff knows").to_string().replace('Z', "+01:30")
            }
        };
        json!({"Since": time(self.since), "Until": time(self.until), "Tail": self.tail, "Follow": self.follow})
    }
}

// === impl Logs ===

impl Logs {
    /// How long to wait for the next entry before giving up.
    pub fn set_timeout(&self, timeout: Duration) {
        self.0.set_timeout(timeout).expect("a socket has a timeout");
    }

    /// The next entry, `None` at the end; an error is what dockerd would show as "error decoding log message".
    pub fn try_next(&mut self) -> io::Result<Option<Entry>> {
        frame::read(&mut self.0)
    }
}

impl Iterator for Logs {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.try_next().unwrap_or_else(|error| panic!("docker logs: {error}"))
    }
}

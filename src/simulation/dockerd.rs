//! A fake dockerd for one container: its FIFOs and its calls of the plugin.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use prost::Message;

use super::disk::FIFOS;
use super::oracle::{Oracle, Printed};
use super::{bounds, kernel, time};
use dockerd::entry::proto::{LogEntry, PartialLogEntryMetadata};
use dockerd::info::Info;

/// The length in bytes above which dockerd cuts lines into chunks.
pub const CHUNK: usize = 16 * 1024;

/// A container that dockerd knows, running or not.
#[derive(Debug)]
pub struct Container {
    pub number: usize,
    pub options: BTreeMap<String, String>,
    /// The container's name at each start.
    pub runs: Vec<String>,
    /// The number of renames.
    renames: usize,
    /// The most bytes that its ring may take.
    pub budget: u64,
    /// The number of lines it has begun to print.
    pub lines: usize,
    pub running: Option<Running>,
    /// The time of its last start.
    pub started: Duration,
    /// Whether the plugin may lack a record of its stream, because it died before the disk had one. Later lines are
    /// lost.
    pub is_unrecorded: bool,
    /// Whether its pipe may be full for long, or that was already reported.
    pub may_wait: bool,
    /// The last time at which a segment of its ring was damaged.
    pub damaged: Option<Duration>,
    /// Whether a ring above its bound was already reported.
    pub is_too_large: bool,
    /// Whether StartLogging is unanswered.
    pub starts: bool,
    /// Whether StartLogging was answered, and the container has not exited.
    pub prints: bool,
    /// Whether it has exited, and StopLogging is unanswered.
    pub stops: bool,
}

/// A container's pipe, from dockerd's side.
#[derive(Debug)]
pub struct Running {
    /// The path that dockerd gives to the plugin.
    pub fifo: PathBuf,
    /// The real path.
    real: PathBuf,
    pipe: File,
    /// Frames without room in the pipe, each with the line that it ends.
    owed: VecDeque<(Vec<u8>, Option<Printed>)>,
    /// The number of bytes written into the pipe.
    pub written: u64,
    /// Since when the pipe has been full.
    pub stuck: Option<Duration>,
}

// === impl Container ===

impl Container {
    pub fn new(number: usize, options: BTreeMap<String, String>) -> Self {
        Self {
            number,
            budget: bounds::budget(&options),
            may_wait: options.contains_key("loki-backpressure"),
            options,
            runs: Vec::new(),
            renames: 0,
            lines: 0,
            running: None,
            started: Duration::ZERO,
            is_unrecorded: false,
            damaged: None,
            is_too_large: false,
            starts: false,
            prints: false,
            stops: false,
        }
    }

    pub fn id(&self) -> String {
        format!("{:064x}", 0xc000 + self.number)
    }

    /// Its name from the next start on.
    pub fn name(&self) -> String {
        match self.renames {
            0 => format!("c{}", self.number),
            renames => format!("c{}-{renames}", self.number),
        }
    }

    /// `docker rename`.
    pub fn rename(&mut self) {
        self.renames += 1;
    }

    /// The tenant of a source's lines.
    pub fn tenant(&self, source: &str) -> &str {
        if source == "stderr" && self.options.contains_key("loki-relabel-config") {
            return "b";
        }
        self.options.get("loki-tenant-id").map_or("fake", String::as_str)
    }

    /// Its description in StartLogging and ReadLogs.
    pub fn info(&self) -> Info {
        Info {
            config: self.options.clone(),
            container_id: self.id(),
            container_name: format!("/{}", self.name()),
            container_image_name: "image:1".into(),
            container_created: "2025-12-31T00:00:00Z".into(),
            ..Info::default()
        }
    }

    /// Creates the FIFO of another run in `dir`, before StartLogging.
    pub fn open(&mut self, dir: &Path) -> PathBuf {
        self.runs.push(self.name());
        self.starts = true;
        (self.started, self.is_unrecorded) = (time::passed(), false);
        let name = format!("{:08x}{:04x}", self.number, self.runs.len());
        let (fifo, real) = (Path::new(FIFOS).join(&name), dir.join(&name));
        let pipe = kernel::outside(|| make_fifo(&real));
        self.running = Some(Running { fifo: fifo.clone(), real, pipe, owed: VecDeque::new(), written: 0, stuck: None });
        fifo
    }

    /// Prints a line of about `len` bytes to a source, at the host's time `now`.
    pub fn print(&mut self, oracle: &mut Oracle, source: usize, len: usize, now: i64) {
        let Some(running) = &mut self.running else { return };
        let text = super::oracle::text(self.number, self.lines, len);
        self.lines += 1;
        if text.len() > CHUNK {
            oracle.begins(&text);
        }
        let chunks: Vec<_> = text.as_bytes().chunks(CHUNK).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let last = at + 1 == chunks.len();
            let partial = (chunks.len() > 1).then(|| PartialLogEntryMetadata {
                last,
                id: format!("{:064x}", self.lines),
                ordinal: i32::try_from(at + 1).unwrap_or(i32::MAX),
            });
            let entry = LogEntry {
                source: ["stdout", "stderr"][source].into(),
                time_nano: now,
                line: chunk.to_vec(),
                partial: partial.is_some(),
                partial_log_metadata: partial,
            };
            let printed = last.then(|| Printed {
                text: text.clone(),
                source,
                at: Duration::ZERO,
                end: 0,
                run: self.runs.len(),
                excuse: self.is_unrecorded.then_some("its stream could not be recorded before the plugin died"),
            });
            running.owed.push_back((frame(&entry), printed));
        }
    }

    /// Writes as many frames as the pipe accepts.
    pub fn flush(&mut self, oracle: &mut Oracle) {
        let Some(running) = &mut self.running else { return };
        kernel::outside(|| {
            while let Some((frame, ends)) = running.owed.front_mut() {
                match running.pipe.write(frame) {
                    Ok(n) => {
                        running.stuck = None;
                        running.written += n as u64;
                        frame.drain(..n);
                        if frame.is_empty() {
                            if let Some(line) = ends.take() {
                                oracle
                                    .printed(self.number, Printed { at: time::passed(), end: running.written, ..line });
                            }
                            running.owed.pop_front();
                        }
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the container's pipe");
                        running.stuck.get_or_insert_with(time::passed);
                        return;
                    }
                }
            }
        });
    }

    /// Whether the container waits for its pipe.
    pub fn is_stuck(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.owed.is_empty())
    }

    /// How long the container has waited for its pipe; zero if it may wait.
    pub fn waits_for(&self, now: Duration) -> Duration {
        let may = self.is_unrecorded || self.may_wait;
        let stuck = self.running.as_ref().filter(|_| !may).and_then(|running| running.stuck);
        stuck.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    pub fn is_piped(&self) -> bool {
        self.options.contains_key("loki-pipeline-stages")
    }

    /// Excuses the lines of damaged segments, which may be missing without being counted once the ring is opened again.
    pub fn forget_unreadable(&self, oracle: &mut Oracle) {
        if let Some(damaged) = self.damaged {
            oracle.excuse_of(self.number, "its segment was damaged", damaged);
        }
    }

    /// Excuses the unread bytes in its pipe, which may be missing.
    pub fn excuse_pipe(&self, why: &'static str, oracle: &mut Oracle) {
        if let Some(running) = &self.running {
            let landed = running.written.saturating_sub(running.unread());
            oracle.excuse_in_pipe(self.number, self.runs.len(), landed, why);
        }
    }

    /// Loses the lines in dockerd's memory, and those in the pipe that the plugin has not read.
    pub fn lose_power(&mut self, oracle: &mut Oracle) {
        (self.starts, self.prints, self.stops) = (false, false, false);
        self.excuse_pipe("it was in the pipe when the power failed", oracle);
        self.running = None;
    }

    /// Closes and removes the pipe, as dockerd does after StopLogging.
    pub fn close(&mut self) {
        (self.starts, self.prints, self.stops) = (false, false, false);
        if let Some(running) = self.running.take() {
            kernel::outside(|| drop(fs::remove_file(&running.real)));
        }
    }
}

impl Running {
    /// The number of unread bytes in the pipe.
    fn unread(&self) -> u64 {
        use std::os::fd::AsRawFd;
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and FIONREAD writes one int.
        unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        u64::try_from(bytes).unwrap_or(0)
    }
}

fn make_fifo(path: &Path) -> File {
    mkfifo(path, Mode::S_IRWXU).expect("a FIFO can be made");
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("a FIFO can be opened")
}

/// Encodes an entry as dockerd does: its length, and then the entry.
fn frame(entry: &LogEntry) -> Vec<u8> {
    let mut frame = u32::try_from(entry.encoded_len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.extend(entry.encode_to_vec());
    frame
}

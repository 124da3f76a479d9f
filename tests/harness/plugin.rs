//! The real binary as a process with its own directory.
//!
//! It can be killed at any instant, terminated, and restarted with its state. Its log is kept and printed when a test
//! fails. A plugin that panicked, or logged a line that dockerd cannot read, fails any test.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use tempfile::TempDir;

use super::assert_eventually;
use super::host_clock::HostClock;

/// The longest line that the plugin promises. dockerd's scanner would take four times as much.
const LONGEST_LINE: usize = 16 * 1024;

/// How to start a plugin.
#[derive(Clone, Debug, Default)]
pub struct Start {
    environment: Vec<(String, String)>,
    /// Options of a tmpfs that the state is in, in a mount namespace of the plugin's own.
    tmpfs: Option<String>,
    files: Option<u64>,
    serves_status: bool,
    /// Where the state is, when that is not in the plugin's own directory.
    state: Option<PathBuf>,
    /// A file that the kernel's boot id is read from, in a mount namespace of the plugin's own.
    boot_id: Option<PathBuf>,
}

/// A plugin that runs, or did.
pub struct Plugin {
    dir: TempDir,
    start: Start,
    process: Option<Process>,
    said: Arc<Mutex<Vec<Said>>>,
}

/// A line of the plugin's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub output: Output,
    /// As it was written, without its newline.
    pub line: String,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// dockerd tags it info.
    Stdout,
    /// dockerd tags it error.
    Stderr,
    /// The test itself: a note that a process begins.
    Nobody,
}

struct Process {
    child: Child,
    listeners: Vec<JoinHandle<()>>,
}

// === impl Start ===

impl Start {
    /// As `docker plugin set` does.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Keeps the state on a tmpfs with these options of tmpfs(5), such as a size or `ro`.
    pub fn state_on_tmpfs(mut self, options: &str) -> Self {
        self.tmpfs = Some(options.into());
        self
    }

    /// Limits the number of its open files.
    pub fn open_files(mut self, most: u64) -> Self {
        self.files = Some(most);
        self
    }

    /// Keeps the state in a directory that is there.
    pub fn state_in(mut self, dir: &Path) -> Self {
        self.state = Some(dir.into());
        self
    }

    /// Simulates a reboot: the boot id is read from this file.
    pub fn boot_id(mut self, file: &Path) -> Self {
        self.boot_id = Some(file.into());
        self
    }

    /// Uses another clock than that of this machine.
    pub fn clock(mut self, clock: &HostClock) -> Self {
        let variables = clock.environment().into_iter();
        self.environment.extend(variables.map(|(name, file)| (name.into(), file.display().to_string())));
        self
    }

    /// Serves metrics and the status page on a socket beside the plugin's own.
    pub fn serve_status(mut self) -> Self {
        self.serves_status = true;
        self
    }

    /// Starts it, and waits until it serves its socket.
    pub fn start(self) -> Plugin {
        let plugin = self.prepare();
        plugin.running()
    }

    /// Makes its directory without starting it, for a test that damages what is there.
    pub fn prepare(self) -> Plugin {
        let dir = tempfile::Builder::new().prefix("loki-rs-").tempdir().expect("a temporary directory");
        let plugin = Plugin { dir, start: self, process: None, said: Arc::default() };
        for made in [plugin.state(), plugin.fifos()] {
            fs::create_dir_all(made).expect("a directory in a fresh one");
        }
        plugin
    }

    fn command(&self, plugin: &Plugin) -> Command {
        let binary = env!("CARGO_BIN_EXE_loki-rs");
        let mut before = String::new();
        if let Some(options) = &self.tmpfs {
            let _ = write!(before, "mount -t tmpfs -o '{options}' none \"$STATE_DIR\" && ");
        }
        if let Some(file) = &self.boot_id {
            let _ = write!(before, "mount --bind '{}' /proc/sys/kernel/random/boot_id && ", file.display());
        }
        if let Some(files) = self.files {
            let _ = write!(before, "ulimit -n {files} && ");
        }
        let mounts = self.tmpfs.is_some() || self.boot_id.is_some();
        let mut command = match (mounts, before.is_empty()) {
            (false, true) => Command::new(binary),
            (false, false) => Command::new("sh"),
            (true, _) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh"]);
                command
            }
        };
        if !before.is_empty() {
            command.arg("-c").arg(format!("{before}exec {binary}"));
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("SOCKET", plugin.socket()).env("STATE_DIR", plugin.state()).env("RUST_BACKTRACE", "1");
        // Tests have their files in folders of their own, all below this one.
        command.env("FILES_DIR", std::env::temp_dir().iter().take(2).collect::<PathBuf>());
        if self.serves_status {
            command.env("METRICS_ADDR", format!("unix:{}", plugin.status_socket().display()));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

// === impl Plugin ===

impl Plugin {
    /// Where dockerd calls it.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("loki-rs.sock")
    }

    /// Where it serves metrics and the status page, if it does.
    pub fn status_socket(&self) -> PathBuf {
        self.dir.path().join("status.sock")
    }

    /// Where dockerd makes FIFOs.
    pub fn fifos(&self) -> PathBuf {
        self.dir.path().join("logging")
    }

    /// Its `STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.start.state.clone().unwrap_or_else(|| self.dir.path().join("state"))
    }

    /// Its `STATE_DIR` as the running plugin sees it, which on a tmpfs is another place.
    pub fn inner_state(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(self.state().strip_prefix("/").expect("temporary directories are absolute"))
    }

    /// The ring of a container.
    pub fn ring(&self, container: &str) -> PathBuf {
        self.state().join("rings").join(container)
    }

    /// Names in a folder of the state; none when there is no such folder.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        names_in(&self.state().join(folder))
    }

    /// As `docker plugin set` does while it is disabled.
    pub fn set(&mut self, name: &str, value: &str) {
        self.start = std::mem::take(&mut self.start).set(name, value);
    }

    /// Limits the number of open files of the running process, or restores the first limit.
    pub fn limit_files(&self, most: Option<u64>) {
        let pid = libc::pid_t::try_from(self.pid()).expect("a process id");
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: no new limit is given, and the old one is written to a place that lives on.
        let got = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
        limit.rlim_cur = most.unwrap_or(limit.rlim_max);
        // SAFETY: the limit is read during the call alone, and no old one is asked for.
        let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!((got, set), (0, 0), "the limit can be set");
    }

    /// Starts it again with its state, and waits until it serves its socket.
    pub fn restart(&mut self) {
        self.spawn();
        assert_eventually!(
            {
                assert!(self.has_exited().is_none(), "it ended instead of serving:\n{}", self.log());
                UnixStream::connect(self.socket()).is_ok()
                    && (!self.start.serves_status || UnixStream::connect(self.status_socket()).is_ok())
            },
            "the plugin listens"
        );
    }

    /// Starts it, waits until it has given up, and gives what it said.
    pub fn fails_to_start(&mut self) -> String {
        self.spawn();
        assert_eventually!(self.has_exited().is_some_and(|status| !status.success()), "the plugin gives up");
        self.kill();
        self.log()
    }

    /// What it has said so far, all processes and both outputs, line by line.
    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same as a text to be searched, in which a quote in a message is a quote.
    pub fn log(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().map(|said| said.line.replace("\\\"", "\"") + "\n").collect()
    }

    /// The values of `field` in those lines of the log that have `words` in them, added up.
    pub fn sum_in_log(&self, words: &str, field: &str) -> u64 {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(words));
        let value = |line: &str| {
            let (_, rest) = line.split_once(&format!(" {field}="))?;
            rest.split(' ').next()?.parse::<u64>().ok()
        };
        lines.map(|line| value(line).unwrap_or_else(|| panic!("no {field} in {line:?}"))).sum()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().expect("it can be killed");
            process.end();
        }
    }

    /// SIGTERM; tells how long it took to end, and how it did.
    pub fn terminate(&mut self) -> (Duration, ExitStatus) {
        let process = self.process.take().expect("it runs");
        let pid = nix::libc::pid_t::try_from(process.child.id()).expect("a process id");
        let begin = Instant::now();
        // SAFETY: kill(2) touches no memory, and the child was not waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0, "it can be told to end");
        let mut process = process;
        assert_eventually!(process.child.try_wait().expect("it is ours").is_some(), "the plugin ends");
        (begin.elapsed(), process.end())
    }

    /// Resident memory that is not a file's, in KiB: what the plugin itself holds.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid())
    }

    /// Processor time that it has used, in user and kernel mode together.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        // proc_pid_stat(5): utime and stime are the 14th and 15th field; the second, a name, may have spaces in it.
        let (_, fields) = stat.rsplit_once(") ").expect("the kernel says so");
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        // Linux counts them in hundredths of a second, whatever its own clock does.
        Duration::from_millis(10 * ticks)
    }

    /// The files of the cursors in a container's ring.
    pub fn cursors(&self, container: &str) -> Vec<PathBuf> {
        let ring = self.ring(container);
        let names = names_in(&ring).into_iter().filter(|name| name.starts_with("cursor-"));
        names.map(|name| ring.join(name)).collect()
    }

    /// How often one of its threads has woken up, or has had to wait for another.
    pub fn wake_ups(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let statuses = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
        let count = |status: String| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
        };
        statuses.filter_map(count).sum()
    }

    /// What its open files are.
    pub fn files(&self) -> Vec<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs");
        // One may be closed while they are looked at.
        open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }

    /// How many of its open files belong to containers: FIFOs, rings, cursors.
    pub fn files_of_containers(&self) -> usize {
        let (fifos, state) = (self.fifos(), self.state());
        let is_containers = |file: &&PathBuf| file.starts_with(&fifos) || file.starts_with(&state);
        // The lock on the state is the plugin's own.
        self.files().iter().filter(is_containers).filter(|file| **file != state.join("lock")).count()
    }

    /// Local ports of its connections to a port.
    pub fn connections_to(&self, port: u16) -> Vec<u16> {
        let sockets: Vec<String> = self.files().iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).expect("it runs");
        let port_of = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
        let mut ports = Vec::new();
        for line in table.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, remote, state, inode) = (columns[1], columns[2], columns[3], columns[9]);
            let is_ours = sockets.contains(&format!("socket:[{inode}]"));
            if state == "01" && port_of(remote) == Some(port) && is_ours {
                ports.extend(port_of(local));
            }
        }
        ports.sort_unstable();
        ports
    }

    /// How it ended, if it did by itself.
    pub fn has_exited(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.child.try_wait().expect("it is ours")
    }

    fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = self.start.command(self);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let note = Said { output: Output::Nobody, line: format!("--- process {} ---", child.id()) };
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        let (out, err) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let outputs: [(Output, Box<dyn Read + Send>); 2] =
            [(Output::Stdout, Box::new(out)), (Output::Stderr, Box::new(err))];
        let listeners = outputs.into_iter().map(|(output, from)| listen(output, from, self.said.clone())).collect();
        self.process = Some(Process { child, listeners });
    }

    fn running(mut self) -> Self {
        self.restart();
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if thread::panicking() {
            eprintln!("the plugin said:\n{log}");
            return;
        }
        assert!(!log.contains("panicked at"), "the plugin panicked:\n{log}");
        let longest = self.said().iter().map(|said| said.line.len()).max().unwrap_or_default();
        assert!(longest < LONGEST_LINE, "there is a line of {longest} bytes in the plugin's log");
    }
}

// === impl Process ===

impl Process {
    /// Waits for the end of the process and of its outputs.
    fn end(mut self) -> ExitStatus {
        let status = self.child.wait().expect("it is ours");
        for listener in self.listeners {
            listener.join().expect("it only reads");
        }
        status
    }
}

/// Resident memory of a process that is not a file's, in KiB.
pub fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Names in a folder, in order; none when there is no such folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn listen(output: Output, from: Box<dyn Read + Send>, said: Arc<Mutex<Vec<Said>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            said.lock().unwrap_or_else(PoisonError::into_inner).push(Said { output, line: text });
            line.clear();
        }
    })
}

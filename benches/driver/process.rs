//! What a process has used, as the kernel accounts for it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc;

/// Counts the system calls of a process, by perf(1).
pub struct Syscalls(Child);

/// Processor time of a process, all threads that live, to the nanosecond. The plugin keeps its threads.
pub fn processor_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(of).sum())
}

/// Processor time of this thread.
pub fn own_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    Duration::from_nanos(text.split(' ').next().and_then(|time| time.parse().ok()).expect("a number"))
}

/// A line of `/proc/<pid>/status`, in KiB: `VmHWM`, `VmRSS`, `RssAnon`.
pub fn kib(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

// === impl Syscalls ===

impl Syscalls {
    /// Begins to count; `None` where there is no perf, or no leave to use it.
    pub fn count(pid: u32) -> Option<Self> {
        let mut command = Command::new("perf");
        command.args(["stat", "--field-separator=,", "--event=raw_syscalls:sys_enter", "--pid", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It has no way to say that it has begun.
        std::thread::sleep(Duration::from_millis(300));
        Some(Self(child))
    }

    /// How many there were.
    pub fn stop(self) -> Option<u64> {
        let pid = libc::pid_t::try_from(self.0.id()).ok()?;
        // SAFETY: kill(2) touches no memory, and the child was not waited for, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let output = self.0.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().find(|line| line.contains("sys_enter"))?.split(',').next()?.parse().ok()
    }
}

//! A host clock for one plugin that can be set: the times of dockerd and of the plugin jump at once. The clock of this
//! machine stays as it is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::dockerd;

/// A clock for one plugin.
#[derive(Debug)]
pub struct HostClock {
    dir: TempDir,
    file: File,
    ahead: AtomicI64,
}

// === impl HostClock ===

impl HostClock {
    /// One that is right.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("loki-rs-clock-").tempdir().expect("a temporary directory");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/host_clock/preloaded.rs");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"]).arg(dir.path().join("clock.so"));
        let built = rustc.arg(source).status().expect("there is a rustc");
        assert!(built.success(), "{source} is built");
        let file = File::create(dir.path().join("ahead")).expect("a file in a fresh directory");
        let clock = Self { dir, file, ahead: AtomicI64::new(0) };
        clock.set(0);
        clock
    }

    /// Sets it this many nanoseconds ahead of the right time.
    pub fn set(&self, ahead: i64) {
        self.file.write_all_at(&ahead.to_ne_bytes(), 0).expect("the file can be written to");
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// What it says, in nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        dockerd::now() + self.ahead.load(Ordering::Relaxed)
    }

    /// The environment of a program that goes by it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.dir.path().join("clock.so")), ("CLOCK_AHEAD", self.dir.path().join("ahead"))]
    }
}

#[test]
fn a_program_that_goes_by_it_reads_what_it_was_set_to() {
    let clock = HostClock::new();
    for ahead in [0, 1_800_000_000_000, -1_800_000_000_001] {
        clock.set(ahead);
        let before = clock.now();
        let date = Command::new("date").arg("+%s%N").envs(clock.environment()).output().expect("there is a date");
        let read: i64 = String::from_utf8_lossy(&date.stdout).trim().parse().expect("nanoseconds");
        assert!((before..=clock.now()).contains(&read), "{read} and not {before}");
    }
}

//! The plugin on an engine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::libc;

use super::{Engine, eventually};
use crate::harness::plugin::memory_of;

/// A plugin as it is installed and enabled.
pub struct Plugin<'a> {
    pub engine: &'a Engine,
    pub name: String,
    pub id: String,
}

// === impl Plugin ===

impl Plugin<'static> {
    /// The one that most scenes share, with no settings.
    pub fn shared() -> &'static Plugin<'static> {
        static SHARED: OnceLock<Plugin<'static>> = OnceLock::new();
        SHARED.get_or_init(|| Engine::shared().install("loki-rs", &[]))
    }
}

impl Plugin<'_> {
    /// Its process id: the process whose root is the plugin's.
    pub fn pid(&self) -> Option<u32> {
        let root = fs::metadata(self.folder().join("rootfs")).ok()?;
        let is_ours = |pid: &u32| {
            let theirs = fs::metadata(format!("/proc/{pid}/root/"));
            theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (root.dev(), root.ino()))
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_ours)
    }

    /// Kills it with SIGKILL when `wait` returns, and waits until dockerd has started it again and relies on it. Half a
    /// second after a start dockerd checks whether the plugin answers, and gives it up for good if it does not.
    pub fn kill_after(&self, wait: impl FnOnce()) {
        let (pid, record) = (self.pid().expect("the plugin is running"), self.record());
        wait();
        // SAFETY: kill(2) touches no memory. The process was not waited for yet, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) }, 0, "it can be killed");
        eventually("dockerd starts the plugin again", || {
            self.record() != record && self.pid().is_some_and(|next| next != pid)
        });
    }

    /// Kills it now.
    pub fn kill(&self) {
        self.kill_after(|| ());
    }

    /// The version of dockerd's record of the plugin on disk, which dockerd rewrites after each good start.
    fn record(&self) -> Option<(u64, i64, i64)> {
        let file = fs::metadata(self.folder().join("config.json")).ok()?;
        Some((file.ino(), file.ctime(), file.ctime_nsec()))
    }

    /// Resident memory that is not a file's, in KiB.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid().expect("the plugin is running"))
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        let pid = self.pid().expect("the plugin is running");
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// Remains of streams: FIFOs, and their records.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mount = self.folder().join("propagated-mount");
        let folders = [mount.clone(), mount.join("loki-rs/streams")].map(fs::read_dir);
        let entries = folders.into_iter().flatten().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| !path.ends_with("loki-rs")).collect()
    }

    /// Disables it without force.
    pub fn disable(&self) {
        self.engine.docker(["plugin", "disable", &self.name]);
    }

    /// Where dockerd keeps it.
    pub fn folder(&self) -> PathBuf {
        self.engine.dir.join("data/plugins").join(&self.id)
    }
}

impl Drop for Plugin<'_> {
    fn drop(&mut self) {
        self.engine.remove(&["plugin", "rm", "--force", &self.name]);
    }
}

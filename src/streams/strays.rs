//! Orphan FIFOs: containers write to them, but they have no record, so no stream reads them.
//!
//! While the disk refuses writes, a stream that starts cannot be recorded, and the next process does not know it. The
//! FIFO would fill up and block its container, past any stop. So orphan FIFOs are found and drained. Their owner is
//! unknown, so their lines are dropped; the loss is logged.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tracing::error;

use super::discard::Discard;
use super::registry::Registry;
use base::pools::Pool;
use dockerd::fifo::Fifo;

/// The folder in which dockerd creates FIFOs.
const FIFOS: &str = "/run/docker/logging";

/// The bytes in each orphan FIFO at the last check.
pub type Seen = HashMap<PathBuf, usize>;

impl Registry {
    /// Finds FIFOs without a stream, and drains those whose bytes stayed since the last check. The FIFO of a container
    /// that is just being started is empty until its stream is known.
    pub(super) fn drain_strays(&self, seen: &mut Seen) {
        if !is_ours() {
            return;
        }
        let mut now = Seen::new();
        for entry in fs::read_dir(FIFOS).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_fifo()) || self.knows(&path) {
                continue;
            }
            let Ok(fifo) = Fifo::open(&path) else { continue };
            match fifo.waiting().unwrap_or_default() {
                0 => {}
                waiting if seen.get(&path) == Some(&waiting) => self.drain(path, fifo),
                waiting => drop(now.insert(path, waiting)),
            }
        }
        *seen = now;
    }

    fn knows(&self, file: &Path) -> bool {
        let table = self.table();
        table.streams.contains_key(file)
            || table.strays.contains(file)
            || table.resuming.contains_key(file)
            || table.waiting.streams.contains_key(file)
    }

    fn drain(&self, file: PathBuf, fifo: Fifo) {
        error!(
            fifo = %file.display(),
            "a container is not logged, and what it prints is lost until it is restarted: the disk has no record of its stream"
        );
        self.throw_away(file, fifo);
    }

    /// Reads a stream to its end and drops its lines. A record stays until then: a process with valid settings resumes
    /// the stream.
    pub(super) fn throw_away(&self, file: PathBuf, fifo: Fifo) {
        self.table().strays.insert(file.clone());
        let registry = self.clone();
        self.inner.setup.intake.spawn(async move {
            let ended = registry.discard(fifo).await;
            registry.table().strays.remove(&file);
            if ended {
                let _ = Pool::Sync.run(move || registry.inner.records.remove(&file)).await;
            }
        });
    }
}

// === impl Registry ===

impl Registry {
    /// Reads to the end, frame by frame, and only counts the lines, because a full pipe would block the container and
    /// its stop. False when the pipe cannot be read, or the runtime shuts down: a process that resumes the stream then
    /// begins with a whole frame.
    async fn discard(&self, mut fifo: Fifo) -> bool {
        let (mut discard, counters) = (Discard::default(), &self.inner.setup.counters);
        while fifo.readable().await.is_ok() {
            match discard.read(|buffer| fifo.read(buffer)) {
                Ok(Some(dropped)) => {
                    counters.read_bytes.inc_by(dropped.bytes);
                    counters.unknown_stream_lines.inc_by(dropped.lines);
                    if dropped.lines > 0 {
                        counters.last_lost.set_now();
                    }
                }
                Ok(None) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// Whether all FIFOs are for this plugin: dockerd mounts its folder into a managed plugin. On the host, the folder
/// belongs to all unmanaged plugins together.
fn is_ours() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|mount| mount.split(' ').nth(4) == Some(FIFOS))
}

//! FIFOs that containers write to and that nobody reads.
//!
//! While the disk takes nothing, a stream that starts cannot be recorded. A process that follows knows nothing of it:
//! the FIFO would fill up, and its container be stuck, past any stop. So such FIFOs are looked for, and read for
//! nothing but that. Whose lines these are nobody can tell any more; that they are lost is said.

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

/// Where dockerd makes FIFOs.
const FIFOS: &str = "/run/docker/logging";

/// What the strays of the last look had to give.
pub type Seen = HashMap<PathBuf, usize>;

impl Registry {
    /// Finds FIFOs of which there is no stream, and reads those that nobody has read from since the last look. The
    /// FIFO of a container that is just being started is empty until its stream is known.
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

    /// Reads a stream to its end and keeps nothing of it. A record stays until then: a process with settings that can
    /// be used takes the stream up again.
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
    /// Reads to the end, frame by frame, and keeps nothing but the count of lines: a full pipe would hold up the
    /// container, and then its stop. False when the pipe cannot be read, or the runtime goes down: a process that takes
    /// the stream up again then begins with a whole frame.
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

/// Whether the FIFOs are all for this plugin: dockerd mounts the folder into a managed one. Those on a machine belong
/// to all plugins that run there without being managed.
fn is_ours() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|mount| mount.split(' ').nth(4) == Some(FIFOS))
}

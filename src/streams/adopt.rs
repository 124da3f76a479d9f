//! Boot: what the process before this one left is taken up.
//!
//! Streams that were not stopped are read again, from their [records](super::record): dockerd does not say
//! StartLogging a second time. First all of their FIFOs are opened, so that none goes with the bytes in it, and their containers are
//! claimed; from then on a call of dockerd waits for its own container alone. Then containers are resumed, several at once, and
//! at last rings with lines that were not sent get their shipper back.
//!
//! A container that cannot be resumed, and a panic over one, is that container's alone.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::record::Record;
use super::registry::{Registry, StartError, check_id};
use super::resolve::Way;
use super::retention;
use super::start::Attempt;
use super::table::Claim;
use crate::config::settings::KEPT_FILES;
use crate::disk::small;
use crate::disk::{self};
use crate::fifo::Fifo;
use crate::pools::Pool;
use crate::ring::INFO;

/// A container whose streams are to be read again.
struct Left {
    claim: Claim,
    records: Vec<Record>,
    /// Held until the streams are read, so that what is in the pipes stays there.
    fifos: Vec<Fifo>,
}

impl Registry {
    /// Takes up what the process before this one left: streams that were not stopped, and lines that were not sent.
    pub async fn adopt(&self) {
        let registry = self.clone();
        let left = Pool::Adopt.run(move || registry.find_left()).await.unwrap_or_else(|panic| {
            error!(%panic, "records of streams cannot be read; containers must be restarted to be logged");
            Vec::new()
        });
        self.inner.known.send_replace(true);
        let mut tasks = JoinSet::new();
        for container in left {
            let registry = self.clone();
            tasks.spawn(async move { registry.resume(container).await });
        }
        let adopted: u64 = tasks.join_all().await.into_iter().sum();
        self.inner.adopted.send_replace(true);
        self.inner.setup.counters.adopted.inc_by(adopted);
        if adopted > 0 {
            info!(streams = adopted, "went on with containers that were being logged");
        }
        self.adopt_rings().await;
    }

    /// Reads the records, opens their FIFOs, and claims their containers.
    fn find_left(&self) -> Vec<Left> {
        // For whoever has something to put there; without it, nobody misses it.
        let _ = disk::make_dir(&self.inner.setup.state_dir.join(KEPT_FILES));
        let (records, broken) = self.inner.records.load();
        for path in broken {
            warn!(path = %path.display(), "the record of a stream cannot be read; its container must be restarted to be logged");
            self.inner.records.set_aside(&path);
        }
        let mut left: HashMap<String, Left> = HashMap::new();
        for record in records {
            let id = record.info.container_id.clone();
            let fifo = match (check_id(&id), Fifo::open(&record.file)) {
                (Ok(()), Ok(fifo)) => fifo,
                (Ok(()), Err(error)) if !error.is_gone() => {
                    error!(
                        container = record.info.name(),
                        file = %record.file.display(),
                        %error,
                        "a stream cannot be read; its record stays, and the next start of the plugin tries again"
                    );
                    continue;
                }
                // Nobody writes there any more.
                _ => {
                    self.restore_description(&record);
                    self.inner.records.remove(&record.file);
                    continue;
                }
            };
            if !left.contains_key(&id) {
                // Nobody else has: calls wait until this is over.
                let Some(claim) = self.try_claim(&id) else { continue };
                left.insert(id.clone(), Left { claim, records: Vec::new(), fifos: Vec::new() });
            }
            if let Some(container) = left.get_mut(&id) {
                self.table().resuming.insert(record.file.clone(), id);
                container.records.push(record);
                container.fifos.push(fifo);
            }
        }
        left.into_values().collect()
    }

    /// Resumes the streams of one container; gives how many.
    async fn resume(self, left: Left) -> u64 {
        let files: Vec<PathBuf> = left.records.iter().map(|record| record.file.clone()).collect();
        let name = left.records.first().map(|record| record.info.name().to_owned()).unwrap_or_default();
        let registry = self.clone();
        let resumed = Pool::Adopt.run(move || {
            let Left { claim, records, fifos } = left;
            let resumed = records.iter().map(|record| u64::from(registry.resume_one(record, &claim))).sum();
            drop(fifos);
            resumed
        });
        let resumed = resumed.await.unwrap_or_else(|panic| {
            error!(container = name, %panic, "a container is not logged any more; what it prints is lost");
            0
        });
        for file in files {
            let is_read = {
                let mut table = self.table();
                table.resuming.remove(&file);
                table.streams.contains_key(&file) || table.strays.contains(&file)
            };
            // Its container must not be stuck.
            if !is_read && let Ok(fifo) = Fifo::open(&file) {
                self.throw_away(file, fifo);
            }
        }
        resumed
    }

    fn resume_one(&self, record: &Record, claim: &Claim) -> bool {
        let way = self.resolve(&record.info).map_or_else(Way::Kept, |resolved| Way::Shipped(resolved, None));
        match self.start_now(record, false, &way, claim, &Attempt::default()) {
            Ok(()) => return true,
            Err(StartError::Fifo { source, .. }) if source.is_gone() => self.inner.records.remove(&record.file),
            Err(error) => {
                error!(container = record.info.name(), %error, "a container is not logged any more; what it prints is lost");
            }
        }
        false
    }

    /// A stream that is over may have been of a container whose ring has lost what it says of itself: the record has it too.
    fn restore_description(&self, record: &Record) {
        let id = &record.info.container_id;
        let dir = self.ring_dir(id);
        if check_id(id).is_err() || !dir.is_dir() || retention::info_of(&dir).is_some() {
            return;
        }
        let path = dir.join(INFO);
        let written =
            serde_json::to_vec(&record.info).map_err(Into::into).and_then(|bytes| small::stage(&path, &bytes));
        if let Err(error) = written {
            warn!(container = record.info.name(), %error, "the container's description cannot be written beside its lines");
        }
    }

    /// Rings that no stream belongs to, and that have lines which were not sent.
    async fn adopt_rings(&self) {
        let rings = self.rings_dir();
        let found = Pool::Adopt.run(move || {
            let entries = fs::read_dir(rings).into_iter().flatten().flatten();
            entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect::<Vec<_>>()
        });
        let mut tasks = JoinSet::new();
        for (dir, id) in found.await.unwrap_or_default() {
            let registry = self.clone();
            tasks.spawn(async move { registry.adopt_ring(dir, id).await });
        }
        tasks.join_all().await;
    }

    async fn adopt_ring(self, dir: PathBuf, id: String) {
        // Whoever starts it at this moment takes its lines over.
        let Some(claim) = self.try_claim(&id) else { return };
        let (registry, container) = (self, id.clone());
        let adopted = Pool::Adopt.run(move || {
            let adopted = registry.open_left(&dir, &claim);
            if let Err(error) = &adopted {
                warn!(container, %error, "lines of a container that is gone cannot be sent");
                if matches!(error, StartError::Ring(_)) || retention::has_unsent(&dir, registry.inner.boot) {
                    registry.inner.stranded.lock().insert(container);
                }
            }
        });
        if let Err(panic) = adopted.await {
            error!(container = id, %panic, "lines of a container that is gone cannot be sent");
        }
    }

    fn open_left(&self, dir: &Path, claim: &Claim) -> Result<(), StartError> {
        let id = claim.container();
        check_id(id)?;
        let info = match retention::info_of(dir) {
            Some(info) if info.container_id == id => info,
            // Without it nobody knows where the lines may go, and as whose.
            _ if retention::has_unsent(dir, self.inner.boot) => return Err(StartError::Undescribed),
            _ => return Ok(()),
        };
        let resolved = self.resolve(&info)?;
        if !self.table().containers.contains_key(id) {
            let (container, shippers) = self.open_container(&info, &resolved, None)?;
            self.table().containers.insert(id.to_owned(), container.clone());
            // It leaves at once when there is nothing to send.
            self.launch(shippers, &container);
        }
        Ok(())
    }
}

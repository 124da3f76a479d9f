//! Recovery at start: resumes the streams and rings of the last process.
//!
//! Streams that were not stopped are read again, from their [records](super::record): dockerd does not call
//! StartLogging a second time. First recovery opens all their FIFOs, which keeps the bytes in the pipes, and claims
//! their containers. From then on a call of dockerd waits for its own container alone. Then it resumes containers,
//! several at once. At last it starts shippers for rings with unsent lines.
//!
//! A failure or a panic in one container does not affect the others. If the process has no free file descriptor for a
//! stream or ring, it stays untouched, and [`upkeep`](super::upkeep) retries it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::record::{EXHAUSTED, Record};
use super::registry::{Registry, StartError, check_id};
use super::resolve::Way;
use super::retention;
use super::start::Attempt;
use super::table::Claim;
use crate::config::settings::KEPT_FILES;
use base::disk::small::{self, Content};
use base::disk::{self};
use base::pools::Pool;
use dockerd::fifo::Fifo;
use dockerd::info::Info;
use ring::{INFO, RingError, described};

/// A container whose streams are resumed.
struct Left {
    claim: Claim,
    /// The records and their FIFOs, which are held open until the streams are read, so that the pipes keep their bytes.
    streams: Vec<(Record, Fifo)>,
}

/// The result of resuming a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resumed {
    /// The stream is being read.
    Read,
    /// The process has no file descriptor for it, so it is retried. Its pipe stays untouched until then.
    Waits,
    /// The stream cannot be read.
    Broken,
}

impl Registry {
    /// Recovers the state of the last process: streams that were not stopped, and unsent lines.
    pub async fn adopt(&self) {
        let registry = self.clone();
        let left = Pool::Adopt.run(move || registry.find_left()).await.unwrap_or_else(|panic| {
            error!(%panic, "records of streams cannot be read; containers must be restarted to be logged");
            Vec::new()
        });
        self.inner.known.send_replace(true);
        let adopted = self.resume_all(left).await;
        self.inner.adopted.send_replace(true);
        if adopted > 0 {
            info!(streams = adopted, "went on with containers that were being logged");
        }
        self.adopt_rings().await;
    }

    /// Retries a stream that waits for a file descriptor; false if no such stream exists, or none is free yet. A caller
    /// that gives up leaves nothing half done.
    pub(super) async fn resumes_now(&self, file: &Path) -> bool {
        if !self.table().waiting.streams.contains_key(file) {
            return false;
        }
        let (registry, file) = (self.clone(), file.to_owned());
        let resumed = tokio::spawn(async move { registry.resume_waiting(Some(&file)).await });
        resumed.await.unwrap_or_default() > 0
    }

    /// Retries streams that wait for a file descriptor, all or one; returns how many are read now.
    pub(super) async fn resume_waiting(&self, file: Option<&Path>) -> u64 {
        let records: Vec<_> = {
            let mut table = self.table();
            let waiting = &mut table.waiting.streams;
            match file {
                Some(file) => waiting.remove(file).into_iter().collect(),
                None => waiting.drain().map(|(_, record)| record).collect(),
            }
        };
        if records.is_empty() {
            return 0;
        }
        let registry = self.clone();
        let left = Pool::Adopt.run(move || {
            for record in records.iter().filter(|record| !record.file.exists()) {
                let container = record.info.name();
                error!(container, "lines may be lost: the stream ended before there was a file descriptor to read it");
            }
            registry.open_fifos(records)
        });
        let left = left.await;
        let resumed = self.resume_all(left.unwrap_or_default()).await;
        if resumed > 0 {
            info!(streams = resumed, "went on with containers that had to wait for file descriptors");
        }
        resumed
    }

    async fn resume_all(&self, left: Vec<Left>) -> u64 {
        let mut tasks = JoinSet::new();
        for container in left {
            let registry = self.clone();
            tasks.spawn(async move { registry.resume(container).await });
        }
        let resumed = tasks.join_all().await.into_iter().sum();
        self.inner.setup.counters.adopted.inc_by(resumed);
        resumed
    }

    /// Reads the records, opens their FIFOs, and claims their containers.
    fn find_left(&self) -> Vec<Left> {
        // Operators put files for options there; without such files the folder is not needed.
        let _ = disk::make_dir(&self.inner.setup.state_dir.join(KEPT_FILES));
        let (records, broken) = self.inner.records.load();
        for path in broken {
            warn!(path = %path.display(), "the record of a stream cannot be read; its container must be restarted to be logged");
            self.inner.records.set_aside(&path);
        }
        self.open_fifos(records)
    }

    /// Opens the FIFOs of records, and claims their containers.
    fn open_fifos(&self, records: Vec<Record>) -> Vec<Left> {
        let mut left: HashMap<String, Left> = HashMap::new();
        for record in records {
            let id = record.info.container_id.clone();
            let fifo = match (check_id(&id), Fifo::open(&record.file)) {
                (Ok(()), Ok(fifo)) => fifo,
                (Ok(()), Err(error)) if error.is_exhausted() => {
                    self.wait_for_files(record);
                    continue;
                }
                (Ok(()), Err(error)) if !error.is_gone() => {
                    error!(
                        container = record.info.name(),
                        file = %record.file.display(),
                        %error,
                        "a stream cannot be read; its record stays, and the next start of the plugin tries again"
                    );
                    continue;
                }
                // No process writes there any more.
                checked => {
                    if checked.0.is_ok() {
                        self.restore_description(&record);
                        self.remember(&id);
                    }
                    self.inner.records.remove(&record.file);
                    continue;
                }
            };
            if !left.contains_key(&id) {
                // At the start no other task has a claim: calls wait until this is over.
                let Some(claim) = self.try_claim(&id) else {
                    self.table().waiting.streams.insert(record.file.clone(), record);
                    continue;
                };
                left.insert(id.clone(), Left { claim, streams: Vec::new() });
            }
            if let Some(container) = left.get_mut(&id) {
                self.table().resuming.insert(record.file.clone(), id);
                container.streams.push((record, fifo));
            }
        }
        left.into_values().collect()
    }

    /// Lets the container wait for a file descriptor. Its output stays in its pipe.
    fn wait_for_files(&self, record: Record) {
        self.inner.exhausted.lasts(|| record.info.name().to_owned());
        self.table().waiting.streams.insert(record.file.clone(), record);
    }

    /// Resumes the streams of one container; returns how many.
    async fn resume(self, left: Left) -> u64 {
        let records: Vec<Record> = left.streams.iter().map(|(record, _)| record.clone()).collect();
        let name = records.first().map(|record| record.info.name().to_owned()).unwrap_or_default();
        let registry = self.clone();
        let resumed = Pool::Adopt.run(move || {
            let Left { claim, streams } = left;
            streams.into_iter().map(|(record, fifo)| registry.resume_one(&record, fifo, &claim)).collect()
        });
        let resumed = resumed.await.unwrap_or_else(|panic| {
            error!(container = name, %panic, "a container is not logged any more; what it prints is lost");
            vec![Resumed::Broken; records.len()]
        });
        for (record, resumed) in records.into_iter().zip(&resumed) {
            let is_read = {
                let mut table = self.table();
                table.resuming.remove(&record.file);
                table.streams.contains_key(&record.file) || table.strays.contains(&record.file)
            };
            match resumed {
                Resumed::Waits if !is_read => self.wait_for_files(record),
                // Read and discard the pipe, so that its container does not block.
                Resumed::Broken if !is_read => match Fifo::open(&record.file) {
                    Ok(fifo) => self.throw_away(record.file, fifo),
                    Err(error) if error.is_exhausted() => self.wait_for_files(record),
                    Err(_) => {}
                },
                _ => {}
            }
        }
        resumed.iter().filter(|resumed| **resumed == Resumed::Read).count() as u64
    }

    fn resume_one(&self, record: &Record, fifo: Fifo, claim: &Claim) -> Resumed {
        let way = self.resolve(&record.info).map_or_else(Way::Kept, |resolved| Way::Shipped(resolved, None));
        match self.start_now(record, Some(fifo), &way, claim, &Attempt::default()) {
            Ok(()) => Resumed::Read,
            Err(error) if error.is_exhausted() => Resumed::Waits,
            Err(error) => {
                error!(container = record.info.name(), %error, "a container is not logged any more; what it prints is lost");
                Resumed::Broken
            }
        }
    }

    /// Restores the description of a ring that has lost it from the record of a stream that has ended.
    fn restore_description(&self, record: &Record) {
        let id = &record.info.container_id;
        let dir = self.ring_dir(id);
        if !dir.is_dir() || retention::info_of(&dir).is_some() {
            return;
        }
        let path = dir.join(INFO);
        let written =
            serde_json::to_vec(&record.info).map_err(Into::into).and_then(|bytes| small::stage(&path, &bytes));
        if let Err(error) = written {
            warn!(container = record.info.name(), %error, "the container's description cannot be written beside its lines");
        }
    }

    /// Starts shippers for rings with unsent lines that have no stream.
    async fn adopt_rings(&self) {
        let rings = self.rings_dir();
        let found = Pool::Adopt.run(move || {
            let entries = loop {
                match fs::read_dir(&rings) {
                    Err(error) if disk::is_exhausted(&error) => thread::sleep(EXHAUSTED),
                    entries => break entries.into_iter().flatten().flatten(),
                }
            };
            entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect::<Vec<_>>()
        });
        let mut tasks = JoinSet::new();
        for (dir, id) in found.await.unwrap_or_default() {
            let registry = self.clone();
            tasks.spawn(async move { registry.adopt_ring(dir, id).await });
        }
        tasks.join_all().await;
    }

    /// Retries rings that wait for a file descriptor.
    pub(super) async fn adopt_waiting_rings(&self) {
        let rings = std::mem::take(&mut self.table().waiting.rings);
        for id in rings {
            self.clone().adopt_ring(self.ring_dir(&id), id).await;
        }
    }

    async fn adopt_ring(self, dir: PathBuf, id: String) {
        // A StartLogging call meanwhile takes its lines over, if it succeeds.
        let claim = self.claim(&id).await;
        let (registry, container) = (self, id.clone());
        let adopted = Pool::Adopt.run(move || match registry.open_left(&dir, &claim) {
            Err(error) if error.is_exhausted() => {
                registry.inner.exhausted.lasts(|| container.clone());
                registry.table().waiting.rings.insert(container);
            }
            Err(error) => {
                warn!(container, %error, "lines of a container that is gone cannot be sent");
                if matches!(error, StartError::Ring(_)) || retention::has_unsent(&dir, registry.inner.boot) {
                    registry.inner.stranded.lock().insert(container);
                }
            }
            Ok(()) => {}
        });
        if let Err(panic) = adopted.await {
            error!(container = id, %panic, "lines of a container that is gone cannot be sent");
        }
    }

    fn open_left(&self, dir: &Path, claim: &Claim) -> Result<(), StartError> {
        let id = claim.container();
        check_id(id)?;
        let described = match described(dir) {
            Content::OutOfFiles => return Err(RingError::out_of_files(dir.into()).into()),
            Content::Whole(bytes) => serde_json::from_slice::<Info>(&bytes).ok(),
            Content::Absent | Content::Unreadable => None,
        };
        let info = match described {
            Some(info) if info.container_id == id => info,
            // Without the description, the destination and the tenant of the lines are unknown.
            _ if retention::has_unsent(dir, self.inner.boot) => return Err(StartError::Undescribed),
            _ => return Ok(()),
        };
        let resolved = self.resolve(&info)?;
        if !self.table().containers.contains_key(id) {
            let (container, shippers) = self.open_container(&info, &resolved, None)?;
            self.table().containers.insert(id.to_owned(), container.clone());
            // The container leaves the table at once when nothing is unsent.
            self.launch(shippers, &container);
        }
        Ok(())
    }
}

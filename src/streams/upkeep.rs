//! What goes on beside logging: rings are synced, what the disk did not take is brought to it, and streams without a
//! record or a reader get one.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::record::Record;
use super::registry::Registry;
use super::strays::Seen;
use super::table::Stream;
use base::buffers;
use base::pools::Pool;

/// How much of what was written a power loss may cost, and how soon a disk that has recovered is used again.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// Heals and syncs rings and cursors, as many at once as [`Pool::Sync`] has threads, until the plugin goes down. A round
    /// begins when the one before is over: a disk that is slower than that is not asked for more.
    pub async fn keep_synced(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            self.sync_all().await;
        }
    }

    /// One round. Beside the others it is due when the rings are open: processes that are killed one after the other must
    /// not put off that what they wrote is synced.
    pub async fn sync_all(&self) {
        let containers: Vec<_> = self.table().containers.values().cloned().collect();
        let mut syncs = JoinSet::new();
        for container in containers {
            container.sample();
            syncs.spawn(Pool::Sync.run(move || container.sync()));
        }
        let records = self.inner.records.clone();
        // After a power loss a record says whose lines a ring holds. What the disk does not take is tried again, and said
        // for the rings.
        syncs.spawn(Pool::Sync.run(move || drop(records.settle())));
        while syncs.join_next().await.is_some() {}
        buffers::trim();
    }

    /// Writes down streams that are not recorded, reads FIFOs that nobody reads, and takes up what there was no file descriptor for, until
    /// the plugin goes down. Apart from the syncs:
    /// containers are stuck until it is done.
    pub async fn keep_account(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        let mut strays = Seen::new();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            let registry = self.clone();
            let look = Pool::Adopt.run(move || {
                registry.keep_recorded();
                registry.drain_strays(&mut strays);
                strays
            });
            strays = look.await.unwrap_or_default();
            self.resume_waiting(None).await;
            self.adopt_waiting_rings().await;
        }
    }

    /// Writes down streams of which there is no record, because the disk did not take it or somebody has deleted it.
    fn keep_recorded(&self) {
        let table = self.table();
        let container = |stream: &Stream| table.containers.get(&stream.container).cloned();
        let streams: Vec<_> =
            table.streams.iter().filter_map(|(file, stream)| Some((file.clone(), container(stream)?))).collect();
        drop(table);
        for (file, container) in streams.into_iter().filter(|(file, _)| !self.inner.records.has(file)) {
            let info = container.ring.description().and_then(|description| serde_json::from_slice(&description).ok());
            let Some(info) = info else { continue };
            self.record(&Record { file: file.clone(), info });
            // It may have ended meanwhile.
            if !self.table().streams.contains_key(&file) {
                self.inner.records.remove(&file);
            }
        }
    }
}

//! Periodic upkeep beside logging: syncs rings, heals them, and gives streams their missing record or reader.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::record::Record;
use super::registry::Registry;
use super::strays::Seen;
use super::table::Stream;
use base::buffers;
use base::pools::Pool;

/// The time between two syncs: bounds the loss in a power loss, and the delay until a recovered disk is used again.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// Heals and syncs rings and cursors until the plugin shuts down, as many at once as [`Pool::Sync`] has threads. A
    /// round begins when the last one has ended, so a slow disk gets no more work.
    pub async fn keep_synced(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            self.sync_all().await;
        }
    }

    /// Runs one round. Recovery runs one more when the rings are open, so that a series of killed processes cannot
    /// postpone the sync of their writes.
    pub async fn sync_all(&self) {
        let containers: Vec<_> = self.table().containers.values().cloned().collect();
        let mut syncs = JoinSet::new();
        for container in containers {
            container.sample();
            syncs.spawn(Pool::Sync.run(move || container.sync()));
        }
        let records = self.inner.records.clone();
        // After a power loss, a record says which container a ring belongs to. A failed write is retried; the rings log
        // the disk's errors.
        syncs.spawn(Pool::Sync.run(move || drop(records.settle())));
        while syncs.join_next().await.is_some() {}
        buffers::trim();
    }

    /// Writes missing records, drains orphan FIFOs, and resumes what waits for a file descriptor, until the plugin
    /// shuts down. Apart from the syncs, because containers block until this is done.
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

    /// Records streams without a record, because the disk refused it or another process deleted it.
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

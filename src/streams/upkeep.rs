//! What goes on beside logging: rings are synced, what the disk did not take is brought to it, and the rings of
//! containers that are gone are let go.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::Info;
use super::record::Record;
use super::registry::{Registry, Stream, lock};
use super::retention::{self, Policy};
use super::strays::Seen;
use super::view::nanoseconds;
use crate::buffers;
use crate::config::RingOptions;
use crate::pools::Pool;
use crate::shipper::counters::Dropped;

/// How much of what was written a power loss may cost, and how soon a disk that has recovered is used again.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// Heals and syncs rings and cursors, one after the other, until the plugin goes down.
    pub async fn keep_synced(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        let mut strays = Seen::new();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            let containers: Vec<_> = self.table().containers.values().cloned().collect();
            let registry = self.clone();
            let sync = Pool::Sync.run(move || {
                registry.keep_recorded();
                registry.drain_strays(&mut strays);
                for container in &containers {
                    container.sync();
                    container.sample();
                }
                strays
            });
            strays = sync.await.unwrap_or_default();
            buffers::trim();
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

    /// Lets go of rings whose containers are gone, at once and then again and again, until the plugin goes down.
    pub async fn keep_tidy(&self, policy: Policy) {
        let mut shutdown = self.inner.shutdown.subscribe();
        loop {
            let registry = self.clone();
            let _ = Pool::Sync.run(move || registry.tidy(policy)).await;
            if timeout(retention::EVERY, shutdown.wait_for(|down| *down)).await.is_ok() {
                return;
            }
        }
    }

    fn tidy(&self, policy: Policy) {
        let (rings, now, defaults) = (self.rings_dir(), SystemTime::now(), &self.inner.setup.defaults);
        let find = |id: &str| self.table().containers.get(id).cloned();
        let budget = retention::budget(policy, &rings);
        let mut all = retention::survey(&rings, |id| find(id).is_some_and(|container| container.is_attached()));
        *lock(&self.inner.rings) = (all.iter().map(|ring| ring.bytes).sum(), budget);
        let known = |id: &str| find(id).map(|container| container.unsent());
        let is_kept = |info: &Info| RingOptions::salvage(&info.config, defaults).keep_file;
        retention::look_into(&mut all, policy, budget, now, self.inner.boot, known, is_kept);
        for (ring, reason) in retention::choose(&all, policy, budget, now) {
            // Nothing can open it while the table is held.
            let mut table = self.table();
            match table.containers.get(&ring.container) {
                Some(container) if container.is_attached() => continue,
                Some(container) => container.condemn(),
                None => {}
            }
            table.containers.remove(&ring.container);
            let unsent = if ring.unsent > 0 { retention::unsent_to(&ring, defaults) } else { Vec::new() };
            let is_gone = retention::retire(&ring, reason);
            drop(table);
            for (url, lines) in unsent.into_iter().filter(|(_, lines)| is_gone && *lines > 0) {
                self.inner.setup.sent.to(url.as_str()).dropped(Dropped::OverBudget, lines, nanoseconds());
            }
        }
    }
}

//! What goes on beside logging: rings are synced, what the disk did not take is brought to it, and the rings of
//! containers that are gone are let go.

use std::fs;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Info;
use super::record::Record;
use super::registry::Registry;
use super::retention::{self, Policy};
use super::strays::Seen;
use super::table::Stream;
use super::view::nanoseconds;
use crate::buffers;
use crate::config::RingOptions;
use crate::pools::Pool;
use crate::shipper::counters::Dropped;

/// How much of what was written a power loss may cost, and how soon a disk that has recovered is used again.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// Heals and syncs rings and cursors, as many at once as [`Pool::Sync`] has threads, until the plugin goes down. A round
    /// begins when the one before is over: a disk that is slower than that is not asked for more.
    pub async fn keep_synced(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            let containers: Vec<_> = self.table().containers.values().cloned().collect();
            let mut syncs = JoinSet::new();
            for container in containers {
                container.sample();
                syncs.spawn(Pool::Sync.run(move || container.sync()));
            }
            while syncs.join_next().await.is_some() {}
            buffers::trim();
        }
    }

    /// Writes down streams that are not recorded and reads FIFOs that nobody reads, until the plugin goes down. Apart from the syncs:
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
        *self.inner.rings.lock() = (all.iter().map(|ring| ring.bytes).sum(), budget);
        let known = |id: &str| find(id).map(|container| container.unsent());
        let is_kept = |info: &Info| RingOptions::salvage(&info.config, defaults).keep_file;
        retention::look_into(&mut all, policy, budget, now, self.inner.boot, known, is_kept);
        for (ring, reason) in retention::choose(&all, policy, budget, now) {
            // With the claim nobody opens it. Whoever is at work on it now keeps it until the next look.
            let Some(claim) = self.try_claim(&ring.container) else { continue };
            let known = {
                let mut table = self.table();
                match table.containers.get(&ring.container) {
                    Some(container) if container.is_attached() => continue,
                    _ => table.containers.remove(&ring.container),
                }
            };
            let unsent = if ring.unsent > 0 { retention::unsent_to(&ring, defaults) } else { Vec::new() };
            let is_gone = match known {
                Some(container) => {
                    container.condemn();
                    retention::retire(&ring, reason, || container.remove())
                }
                None => retention::retire(&ring, reason, || fs::remove_dir_all(&ring.dir)),
            };
            drop(claim);
            for (url, lines) in unsent.into_iter().filter(|(_, lines)| is_gone && *lines > 0) {
                self.inner.setup.sent.to(url.as_str()).dropped(Dropped::OverBudget, lines, nanoseconds());
            }
        }
    }
}

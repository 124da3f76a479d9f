//! What goes on beside logging: rings are synced, memory that nobody needs is given back, and rings of containers that
//! are gone are let go.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::registry::Registry;
use super::retention::{self, Policy};
use crate::buffers;

/// How much of what was written a power loss may cost.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Registry {
    /// Syncs rings and cursors, one after the other, and gives memory back, until the plugin goes down.
    pub async fn keep_synced(&self) {
        let mut shutdown = self.inner.shutdown.subscribe();
        while timeout(SYNC_EVERY, shutdown.wait_for(|down| *down)).await.is_err() {
            let containers: Vec<_> = self.table().containers.values().cloned().collect();
            let sync = tokio::task::spawn_blocking(move || containers.iter().for_each(|container| container.sync()));
            let _ = sync.await;
            buffers::trim();
        }
    }

    /// Lets go of rings whose containers are gone, at once and then again and again, until the plugin goes down.
    pub async fn keep_tidy(&self, policy: Policy) {
        let mut shutdown = self.inner.shutdown.subscribe();
        loop {
            let registry = self.clone();
            let _ = tokio::task::spawn_blocking(move || registry.tidy(policy)).await;
            if timeout(retention::EVERY, shutdown.wait_for(|down| *down)).await.is_ok() {
                return;
            }
        }
    }

    fn tidy(&self, policy: Policy) {
        let (rings, now) = (self.rings_dir(), SystemTime::now());
        let find = |id: &str| self.table().containers.get(id).cloned();
        let budget = retention::budget(policy, &rings);
        let mut all = retention::survey(&rings, |id| find(id).is_some_and(|container| container.is_attached()));
        let known = |id: &str| find(id).map(|container| container.unsent());
        retention::look_into(&mut all, policy, budget, now, self.inner.boot, known);
        for (ring, reason) in retention::choose(&all, policy, budget, now) {
            // Nothing can open it while the table is held.
            let mut table = self.table();
            match table.containers.get(&ring.container) {
                Some(container) if container.is_attached() => continue,
                Some(container) => container.condemn(),
                None => {}
            }
            table.containers.remove(&ring.container);
            retention::retire(&ring, reason);
        }
    }
}

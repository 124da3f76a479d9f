//! Evicts old rings, and rings above the budget, once a minute.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::timeout;
use tracing::warn;

use super::ages::{Ages, Moment};
use super::container::Container;
use super::evict::{self, Found, Policy, Reason, Step};
use super::registry::Registry;
use super::retention;
use super::view::nanoseconds;
use crate::config::RingOptions;
use crate::shipper::counters::Dropped;
use base::pools::Pool;
use dockerd::info::Info;

/// The file with the ages of stopped containers, beside the rings.
const AGES: &str = "ages.json";

impl Registry {
    /// Evicts rings of stopped containers, at once and then every minute, until the plugin shuts down.
    pub async fn keep_tidy(&self, policy: Policy) {
        let mut shutdown = self.inner.shutdown.subscribe();
        let path = self.ages_path();
        let mut ages = Pool::Sync.run(move || Ages::load(&path)).await.unwrap_or_default();
        loop {
            let registry = self.clone();
            let tidied = Pool::Sync.run(move || {
                registry.tidy(policy, &mut ages);
                ages
            });
            ages = tidied.await.unwrap_or_default();
            if timeout(retention::EVERY, shutdown.wait_for(|down| *down)).await.is_ok() {
                break;
            }
        }
        // Stops since the last survey are found by the next process's first survey.
        let registry = self.clone();
        let _ = Pool::Sync.run(move || registry.age(policy, &mut ages)).await;
    }

    fn ages_path(&self) -> PathBuf {
        self.inner.setup.state_dir.join(AGES)
    }

    /// Surveys all rings and their ages.
    fn age(&self, policy: Policy, ages: &mut Ages) -> Vec<Found> {
        let is_live = |id: &str| self.open_container_of(id).is_some_and(|container| container.is_attached());
        let stops = std::mem::take(&mut *self.inner.stops.lock());
        let all =
            retention::survey(&stops, &self.rings_dir(), is_live, ages, Moment::now(self.inner.boot), policy.retention);
        if let Err(error) = ages.save(&self.ages_path()) {
            // The next process counts them as younger than they are.
            warn!(%error, "the ages of stopped containers cannot be saved");
        }
        all
    }

    fn open_container_of(&self, id: &str) -> Option<Arc<Container>> {
        self.table().containers.get(id).cloned()
    }

    fn tidy(&self, policy: Policy, ages: &mut Ages) {
        let (rings, defaults) = (self.rings_dir(), &self.inner.setup.defaults);
        let budget = retention::budget(policy, &rings);
        let mut all = self.age(policy, ages);
        self.inner.started.tidy(policy.retention);
        *self.inner.rings.lock() = (all.iter().map(|ring| ring.bytes).sum(), budget);
        let held = |id: &str| self.open_container_of(id).map(|container| (container.unsent(), container.sent_sizes()));
        let is_kept = |info: &Info| RingOptions::salvage(&info.config, defaults).keep_file;
        retention::look_into(&mut all, policy, budget, self.inner.boot, held, is_kept);
        for (at, step) in evict::choose(&all, policy, budget) {
            match step {
                Step::Remove(reason) => self.remove(&all[at], reason),
                Step::Trim(segments) => self.trim(&all[at], segments),
            }
        }
    }

    fn trim(&self, ring: &Found, segments: usize) {
        let bytes = match self.open_container_of(&ring.container) {
            Some(container) => container.trim(segments),
            // With the claim no other task opens it. A task that holds the claim now keeps the ring until the next
            // survey.
            None => match self.try_claim(&ring.container) {
                Some(_claim) => retention::trim_on_disk(&ring.dir, self.inner.boot, segments),
                None => return,
            },
        };
        if bytes > 0 {
            retention::say_trimmed(ring, bytes);
        }
    }

    fn remove(&self, ring: &Found, reason: Reason) {
        let Some(claim) = self.try_claim(&ring.container) else { return };
        // It may have been started since, have printed, and have stopped.
        let open = self.open_container_of(&ring.container);
        let attached_before = open.as_ref().map(|container| container.attachments());
        let unsent = match &open {
            Some(container) => Some(container.unsent()),
            None => retention::unsent_on_disk(&ring.dir, self.inner.boot),
        };
        let Some(unsent) = unsent else { return };
        if ring.unsent == 0 && unsent > 0 {
            return;
        }
        let known = {
            let mut table = self.table();
            match table.containers.get(&ring.container) {
                Some(container) if container.is_attached() || Some(container.attachments()) != attached_before => {
                    return;
                }
                _ => table.containers.remove(&ring.container),
            }
        };
        let ring = &Found { unsent, ..ring.clone() };
        let defaults = &self.inner.setup.defaults;
        let lost = if unsent > 0 { retention::unsent_to(ring, defaults) } else { Vec::new() };
        let is_gone = match known {
            Some(container) => {
                container.condemn();
                retention::retire(ring, reason, || container.remove())
            }
            None => retention::retire(ring, reason, || fs::remove_dir_all(&ring.dir)),
        };
        drop(claim);
        for (url, lines) in lost.into_iter().filter(|(_, lines)| is_gone && *lines > 0) {
            self.inner.setup.sent.to(url.as_str()).dropped(Dropped::OverBudget, lines, nanoseconds());
        }
    }
}

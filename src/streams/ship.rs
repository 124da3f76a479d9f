//! A container in the table: opened, shipped or only kept, and removed.
//!
//! It leaves when no stream is attached to it and everything it wrote was sent. `let_go` checks the first under the
//! table's lock, and the second before. StopLogging ends what is *live*, and makes the shippers catch up. But lines can
//! still come until dockerd closes the FIFO, and a stream that starts meanwhile finds the container in the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::container::{Activity, Container};
use super::record::Record;
use super::registry::{Registry, StartError};
use super::rename::HandedOver;
use super::resolve::Resolved;
use super::retention;
use super::start::Attempt;
use super::table::Claim;
use crate::config::RingOptions;
use crate::frames::DockerFrames;
use crate::shipper::{Done, Shipper, Stages};
use base::disk::small::Content;
use base::pools::Pool;
use dockerd::fifo::Fifo;
use dockerd::info::Info;
use ring::{self, Ring, RingError, cursors, described};

impl Registry {
    /// Opens a container's ring, and creates a shipper for each destination. Without `stages`, the lines wait until the
    /// stages of its options are open, if these need files.
    pub(super) fn open_container(
        &self,
        info: &Info,
        resolved: &Resolved,
        stages: Option<&Stages>,
    ) -> Result<(Arc<Container>, Vec<Shipper>), StartError> {
        let ring = self.open_ring(info, &resolved.options.ring)?;
        let activity = Activity::new(info.name(), self.inner.setup.counters.clone());
        let sent = cursors::furthest_behind(ring.dir()).map(|position| position.seq).unwrap_or_default();
        self.assemble((ring, activity), sent, (info, resolved, stages))
    }

    /// Starts a container's shippers.
    pub(super) fn launch(&self, all: Vec<Shipper>, container: &Arc<Container>) {
        let mut shippers = self.inner.shippers.lock();
        // Removes finished shippers, so that the set does not grow with every container that ever ran.
        while shippers.try_join_next().is_some() {}
        for (at, shipper) in all.into_iter().enumerate() {
            shippers.spawn_on(self.clone().ship(shipper, container.clone(), at), &self.inner.setup.shipping);
        }
    }

    /// Ships a container to one destination, on lane `at`, until it leaves the table.
    async fn ship(self, mut shipper: Shipper, container: Arc<Container>, at: usize) {
        let (mut attached, mut live, mut follow) = (container.attached(), container.live(), container.ring.follow());
        let (mut shutdown, mut over) = (self.inner.shutdown.subscribe(), container.over());
        loop {
            let done = tokio::select! {
                done = shipper.run() => done,
                // Its ring is gone, and a new one may have taken its place in the table.
                _ = over.wait_for(|over| *over) => return,
            };
            // Later changes are seen below, or by the check before the container leaves.
            attached.mark_unchanged();
            live.mark_unchanged();
            follow.mark_unchanged();
            let is_done = || shipper.is_caught_up() && container.unsent() == 0;
            if self.let_go(&container, is_done).await || done == Done::Shutdown {
                return;
            }
            if !shipper.is_caught_up() {
                continue;
            }
            if container.is_through(at) {
                match self.hand_over(&container, at).await {
                    HandedOver::Next(next) => {
                        shipper = *next;
                        continue;
                    }
                    HandedOver::Waits => {}
                    HandedOver::Ended => return,
                }
                // The last lane to catch up hands over for all.
                tokio::select! {
                    _ = shutdown.changed() => {}
                    _ = over.wait_for(|over| *over) => return,
                }
                continue;
            }
            tokio::select! {
                _ = attached.changed() => {}
                _ = live.changed() => {}
                _ = follow.changed() => {}
                _ = shutdown.changed() => {}
                // The last shipper to catch up removes the container.
                _ = over.wait_for(|over| *over) => return,
            }
        }
    }

    /// Reads a stream without sending it, for a container whose options cannot be used. Its lines are sent once the
    /// options are corrected.
    pub(super) fn keep(
        &self,
        record: &Record,
        fifo: Fifo,
        reason: &StartError,
        claim: &Claim,
        attempt: &Attempt,
    ) -> Result<(), StartError> {
        let Record { file, info } = record;
        let opened = AtomicBool::new(false);
        // A container without a shipper must not wait for room.
        let (container, _) = self.enter(file, fifo, None, claim, attempt, || {
            let ring = RingOptions::salvage(&info.config, &self.inner.setup.defaults);
            let who = (info.container_id.as_str(), info.name());
            let activity = Activity::new(info.name(), self.inner.setup.counters.clone());
            let open = (self.open_ring(info, &ring)?, activity);
            let container = Container::new(who, open, (Vec::new(), Vec::new()), ring.no_file)?;
            container.set_unusable(Some(reason.to_string()));
            opened.store(true, Ordering::Relaxed);
            Ok((container, Vec::new()))
        })?;
        if opened.into_inner() {
            let end = self.clone().wait_for_end(container);
            self.inner.shippers.lock().spawn_on(end, &self.inner.setup.shipping);
        }
        Ok(())
    }

    /// Waits until the last stream of a container that is not shipped has ended, then removes it from the table.
    pub(super) async fn wait_for_end(self, container: Arc<Container>) {
        let (mut attached, mut shutdown) = (container.attached(), self.inner.shutdown.subscribe());
        loop {
            tokio::select! {
                _ = attached.wait_for(|attached| *attached == 0) => {}
                _ = shutdown.wait_for(|down| *down) => {}
            }
            if self.let_go(&container, || true).await || *shutdown.borrow() {
                // The sent positions are on disk, because the container was opened without destinations.
                let (dir, boot) = (container.ring.dir().to_owned(), self.inner.boot);
                let is_stranded = Pool::Sync.run(move || retention::has_unsent(&dir, boot)).await;
                if is_stranded.unwrap_or_default() {
                    self.inner.stranded.lock().insert(container.id.clone());
                }
                return;
            }
        }
    }

    /// Removes a container from the table if no stream is attached to it and it `is_done`; false when there is more to
    /// do. Until then it is synced in the table, where retention finds it.
    async fn let_go(&self, container: &Arc<Container>, is_done: impl Fn() -> bool) -> bool {
        if container.is_attached() || !is_done() {
            return false;
        }
        let last = container.clone();
        let _ = Pool::Sync.run(move || last.sync()).await;
        // In this order: the end of a stream publishes its last lines, and then detaches. `is_done` runs without the
        // lock, and counts if no stream has attached since.
        let attached_before = container.attachments();
        if container.is_attached() || !is_done() {
            return false;
        }
        let (left, claim) = {
            let mut table = self.table();
            if container.is_attached() || container.attachments() != attached_before {
                return false;
            }
            let left = table.remove(container);
            // A container that is being started takes the folder over.
            let is_to_go = left.is_some() && container.forgets;
            (left, is_to_go.then(|| table.claim(&self.inner, &container.id).ok()).flatten())
        };
        drop(left);
        container.leave();
        if let Some(claim) = claim {
            let (registry, last) = (self.clone(), container.clone());
            let gone = Pool::Sync.run(move || {
                if last.unsent() == 0 {
                    registry.inner.started.remember(&last.id);
                    last.condemn();
                    let _ = last.remove();
                }
                drop(claim);
            });
            let _ = gone.await;
        }
        true
    }

    /// Opens a container's ring, and describes it.
    fn open_ring(&self, info: &Info, ring: &RingOptions) -> Result<Arc<Ring>, RingError> {
        #[cfg(test)]
        self.inner.before_open.get().inspect(|hook| hook(&info.container_id));
        let options = ring::Options { budget: ring.budget(), boot: self.inner.boot };
        let ring = Ring::open(&self.ring_dir(&info.container_id), options, &DockerFrames)?;
        let before = match described(ring.dir()) {
            // The description of the unsent lines must not be lost.
            Content::OutOfFiles => return Err(RingError::out_of_files(ring.dir().into())),
            Content::Whole(bytes) => serde_json::from_slice(&bytes).ok(),
            Content::Absent | Content::Unreadable => None,
        };
        let sent = cursors::furthest_behind(ring.dir()).map(|position| position.seq).unwrap_or_default();
        self.describe(&ring, before.as_ref(), info, (sent, ring.published().next_seq));
        Ok(ring)
    }
}

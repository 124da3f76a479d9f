//! A container that starts under another description while lines of it are unsent.
//!
//! Unsent lines keep their name, labels and options; later lines get the new ones. To each destination the lines before
//! the change are sent first, and then those after it in the new way, so that a slow destination or an outage delays no
//! other. If the change is one of destinations, all of them wait for each other: another [`Container`] then replaces
//! the former one, with the same ring and the same streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use super::container::Container;
use super::former;
use super::registry::{Registry, StartError};
use super::resolve::Resolved;
use super::table::Claim;
use crate::shipper::Shipper;
use base::pools::Pool;
use dockerd::info::Info;
use ring::{Ring, cursors};
use telemetry::throttle::Throttle;

/// The time between two attempts to replace a container, while the disk refuses the cursors.
pub const AGAIN: Duration = Duration::from_secs(5);

/// The next step for a shipper that has sent all entries in its way.
pub(super) enum HandedOver {
    /// This shipper continues in its place.
    Next(Box<Shipper>),
    /// The other destinations must catch up first.
    Waits,
    /// No successor: another container has replaced this one, or the plugin shuts down.
    Ended,
}

impl Registry {
    /// Ends an open container of another description with the lines printed so far. Call it with the container's claim,
    /// before a stream attaches.
    pub(super) fn supersede(&self, info: &Info) {
        let open = self.table().containers.get(&info.container_id).cloned();
        // The process that can use the container's options sends lines that are only kept.
        let Some(container) = open.filter(|container| !container.lanes().is_empty()) else { return };
        let Some(before) = description(&container.ring).filter(|before| before != info) else { return };
        let until = container.ring.published().next_seq;
        self.describe(&container.ring, Some(&before), info, (sent_on_disk(&container.ring), until));
        container.end_at(until);
    }

    /// Replaces the description `before` of a ring, whose entries from `sent` to `until` are unsent.
    pub(super) fn describe(&self, ring: &Ring, before: Option<&Info>, info: &Info, (sent, until): (u64, u64)) {
        if let Some(before) = before.filter(|before| *before != info && sent < until)
            && let Err(error) = former::save(ring.dir(), sent, until, before)
        {
            warn!(container = info.name(), %error, "lines from before a change of the container may go under its new name");
        }
        let described = serde_json::to_vec(info).ok().map(|description| ring.describe(&description));
        if let Some(Err(error)) = described {
            self.inner.undescribed.lasts(|| format!("{}: {error}", info.name()));
        }
    }

    /// Moves lane `at`, which has sent all entries in its way, to its next way. If the next way has other destinations,
    /// another container replaces this one once all lanes have caught up. When the disk refuses, this retries.
    pub(super) async fn hand_over(&self, container: &Arc<Container>, at: usize) -> HandedOver {
        let (mut over, mut shutdown) = (container.over(), self.inner.shutdown.subscribe());
        let waits = Throttle::new(&container.name, |container, _, reason| {
            warn!(container, reason, "lines from after a change of the container wait for the disk");
        });
        loop {
            let claim = self.claim(&container.id).await;
            // The shipper to another destination was quicker.
            if *over.borrow() {
                return HandedOver::Ended;
            }
            let (registry, old) = (self.clone(), container.clone());
            let handed_over = Pool::Adopt.run(move || registry.pass_on(&old, at, &claim));
            match handed_over.await.unwrap_or_else(|panic| Err(StartError::Broken(panic.to_string()))) {
                Ok(handed_over) => return handed_over,
                Err(StartError::Ring(error)) => waits.lasts(|| error.to_string()),
                Err(error) => {
                    error!(container = %container.name, %error, "a container's lines are kept and not sent, until the plugin is enabled with settings that can be used");
                    container.set_unusable(Some(error.to_string()));
                    self.clone().wait_for_end(container.clone()).await;
                    return HandedOver::Ended;
                }
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                _ = over.wait_for(|over| *over) => return HandedOver::Ended,
                _ = shutdown.wait_for(|down| *down) => return HandedOver::Ended,
            }
        }
    }

    fn pass_on(&self, old: &Arc<Container>, at: usize, claim: &Claim) -> Result<HandedOver, StartError> {
        let Some(now) = description(&old.ring) else {
            return Err(StartError::Broken("the container has no description".into()));
        };
        let Some(lane) = old.lanes().get(at).cloned() else { return Ok(HandedOver::Ended) };
        let (sent, from) = (sent_on_disk(&old.ring), lane.until.get());
        let next = match self.printed_under(&old.ring, sent, from, &now)? {
            Some(former) => Ok(former),
            None => self.resolve(&now).map(|resolved| (u64::MAX, now, resolved)),
        };
        if let Ok((until, info, resolved)) = &next
            && resolved.names(&old.id) == old.names()
            && resolved.options.ring.no_file == old.forgets
        {
            return Ok(HandedOver::Next(Box::new(self.next_way(old, at, *until, (info, resolved)))));
        }
        if !(0..old.names().len()).all(|at| old.is_through(at)) {
            return Ok(HandedOver::Waits);
        }
        self.succeed(old, claim).map(|()| HandedOver::Ended)
    }

    fn succeed(&self, old: &Arc<Container>, _claim: &Claim) -> Result<(), StartError> {
        let Some(info) = description(&old.ring) else {
            return Err(StartError::Broken("the container has no description".into()));
        };
        // The next container begins where the files say, and removes the former description.
        old.save_sent()?;
        let sent = old.sent.furthest_behind().unwrap_or_default();
        let (resolved, open) = (self.resolve(&info)?, (old.ring.clone(), old.activity.clone()));
        let (next, shippers) = self.assemble(open, sent, (&info, &resolved, None))?;
        let left = {
            let mut table = self.table();
            let left = table.remove(old);
            if left.is_some() {
                table.containers.insert(next.id.clone(), next.clone());
            }
            left
        };
        old.leave();
        if left.is_some() {
            self.launch(shippers, &next);
        }
        Ok(())
    }

    /// The former description under which lines from `from` on were printed, and its last entry; `None` when it is
    /// `now`. Entries of the ring below `sent` were sent everywhere.
    pub(super) fn printed_under(
        &self,
        ring: &Ring,
        sent: u64,
        from: u64,
        now: &Info,
    ) -> Result<Option<(u64, Info, Box<Resolved>)>, StartError> {
        let former = former::load(ring.dir(), sent)?.into_iter().filter(|former| former.until > from);
        let mut usable = former.filter_map(|former| {
            let resolved = self.resolve(&former.info).inspect_err(|error| {
                warn!(container = now.name(), %error, "lines from before a change of the container go with those after it");
            });
            Some((former.until, former.info, resolved.ok()?))
        });
        Ok(usable.next())
    }
}

/// The position up to which the next process counts a ring as sent; later lines would be sent again.
fn sent_on_disk(ring: &Ring) -> u64 {
    cursors::furthest_behind(ring.dir()).map(|position| position.seq).unwrap_or_default()
}

fn description(ring: &Ring) -> Option<Info> {
    serde_json::from_slice(&ring.description()?).ok()
}

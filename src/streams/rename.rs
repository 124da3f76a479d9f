//! A container that starts under another description while lines of it wait: they keep their name, labels and options, and what comes
//! has the new ones.
//!
//! To each destination the lines before the change are sent to their end first, and then those after it in the new way, so that a
//! destination which is slow, or away, holds up no other. Where the change is one of destinations, they wait for each other: another
//! [`Container`] then takes the place of the one that was, over the same ring and with the same streams.

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

/// Between two tries to let another take the place of a container, while the disk takes no cursor.
pub const AGAIN: Duration = Duration::from_secs(5);

/// What becomes of a shipper that has sent everything in its way.
pub(super) enum HandedOver {
    /// This one goes on in its place.
    Next(Box<Shipper>),
    /// The others have to be there first.
    Waits,
    /// Nothing: another container has taken the place of its own, or the plugin goes down.
    Ended,
}

impl Registry {
    /// Lets the container, if it is open under another description, end with what it has printed so far. To be called
    /// with its claim, before a stream attaches.
    pub(super) fn supersede(&self, info: &Info) {
        let open = self.table().containers.get(&info.container_id).cloned();
        // One that is merely kept is sent by a process that can use its options.
        let Some(container) = open.filter(|container| !container.lanes().is_empty()) else { return };
        let Some(before) = description(&container.ring).filter(|before| before != info) else { return };
        let until = container.ring.published().next_seq;
        self.describe(&container.ring, Some(&before), info, (sent_on_disk(&container.ring), until));
        container.end_at(until);
    }

    /// Describes a ring that was described otherwise `before`, when entries from `sent` to `until` wait.
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

    /// The lane number `at` of a container has sent everything in its way: lets it go on in the next. Where the next has other destinations,
    /// another container takes the place of this one, once all lanes are there. What the disk refuses is tried again.
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
        // Another begins where the files say, and removes what dockerd said before.
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

    /// Up to which entry lines from `from` on were printed under a former description, and that; `None` when it is the present one, `now`.
    /// Of a ring whose entries below `sent` were sent everywhere.
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

/// How far a ring was sent everywhere, as the next process finds it: what the disk did not take is sent again.
fn sent_on_disk(ring: &Ring) -> u64 {
    cursors::furthest_behind(ring.dir()).map(|position| position.seq).unwrap_or_default()
}

fn description(ring: &Ring) -> Option<Info> {
    serde_json::from_slice(&ring.description()?).ok()
}

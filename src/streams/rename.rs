//! A container that starts under another description while lines of it wait: they keep their name, labels and options, and what comes
//! has the new ones.
//!
//! The lines before the change are sent to their end first, by a [`Container`] that ends there. Then another takes its
//! place in the table, over the same ring and with the same streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use super::Info;
use super::container::Container;
use super::former;
use super::registry::{Registry, StartError};
use super::table::Claim;
use crate::pools::Pool;
use crate::ring::{Ring, cursors};
use crate::telemetry::throttle::Throttle;

/// Between two tries to let another take the place of a container, while the disk takes no cursor.
pub const AGAIN: Duration = Duration::from_secs(5);

impl Registry {
    /// Lets the container, if it is open under another description, end with what it has printed so far. To be called
    /// with its claim, before a stream attaches.
    pub(super) fn supersede(&self, info: &Info) {
        let open = self.table().containers.get(&info.container_id).cloned();
        // One that is merely kept is sent by a process that can use its options.
        let Some(container) = open.filter(|container| !container.lanes.is_empty()) else { return };
        let Some(before) = description(&container.ring).filter(|before| before != info) else { return };
        let until = container.ring.published().next_seq;
        // As the next process finds it: what the disk did not take is sent again.
        let sent = cursors::furthest_behind(container.ring.dir()).map(|position| position.seq).unwrap_or_default();
        self.describe(&container.ring, Some(&before), info, (sent, until));
        container.end_at(until);
    }

    /// Describes a ring that was described otherwise `before`, when entries from `sent` to `until` wait.
    pub(super) fn describe(&self, ring: &Ring, before: Option<&Info>, info: &Info, (sent, until): (u64, u64)) {
        if let Some(before) = before.filter(|before| *before != info && sent < until)
            && let Err(error) = former::save(ring.dir(), until, before)
        {
            warn!(container = info.name(), %error, "lines from before a change of the container may go under its new name");
        }
        let described = serde_json::to_vec(info).ok().map(|description| ring.describe(&description));
        if let Some(Err(error)) = described {
            self.inner.undescribed.lasts(|| format!("{}: {error}", info.name()));
        }
    }

    /// Lets another take the place of a container that has sent everything of its own. Tries until the disk has taken how far that is.
    pub(super) async fn hand_over(&self, container: Arc<Container>) {
        let (mut over, mut shutdown) = (container.over(), self.inner.shutdown.subscribe());
        let waits = Throttle::new(&container.name, |container, _, reason| {
            warn!(
                container,
                reason,
                "lines from after a change of the container wait until the disk takes how far those before it were sent"
            );
        });
        loop {
            let claim = self.claim(&container.id).await;
            // The shipper to another destination was quicker.
            if *over.borrow() {
                return;
            }
            let (registry, old) = (self.clone(), container.clone());
            let succeeded = Pool::Adopt.run(move || registry.succeed(&old, &claim));
            match succeeded.await.unwrap_or_else(|panic| Err(StartError::Broken(panic.to_string()))) {
                Ok(()) => return,
                Err(StartError::Ring(error)) => waits.lasts(|| error.to_string()),
                Err(error) => {
                    error!(container = %container.name, %error, "a container's lines are kept and not sent, until the plugin is enabled with settings that can be used");
                    container.set_unusable(Some(error.to_string()));
                    return self.clone().wait_for_end(container).await;
                }
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                _ = over.wait_for(|over| *over) => return,
                _ = shutdown.wait_for(|down| *down) => return,
            }
        }
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
}

fn description(ring: &Ring) -> Option<Info> {
    serde_json::from_slice(&ring.description()?).ok()
}

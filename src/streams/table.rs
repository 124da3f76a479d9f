//! The table of streams by FIFO, open containers by id, and claims on containers' folders.
//!
//! The table is behind a [`ShortLock`](base::lock::ShortLock), so no call that waits for a disk runs under it. A task
//! that opens or removes a container's files holds that container's [`Claim`] meanwhile, and a call for the same
//! container waits for its release. Calls for other containers do not.
//!
//! Three rules keep it consistent:
//!
//! * only the holder of a container's claim puts the container into the table;
//! * only the holder of its claim removes its folder, after it has left the table;
//! * a stream attaches to a container in the table, under the lock, with or without a claim.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, watch};

use super::container::Container;
use super::intake::Command;
use super::record::Record;
use super::registry::{Inner, Registry};

/// The streams, containers and claims, see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Table {
    pub streams: HashMap<PathBuf, Stream>,
    /// Orphan FIFOs that are being drained.
    pub strays: HashSet<PathBuf>,
    /// Streams of the last process that are being resumed, with their containers.
    pub resuming: HashMap<PathBuf, String>,
    /// Streams and rings that wait for a file descriptor.
    pub waiting: Waiting,
    pub containers: HashMap<String, Arc<Container>>,
    claims: HashMap<String, Released>,
}

/// State of the last process that waits for a file descriptor. Bounded by what existed at the start of this one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Streams by FIFO.
    pub streams: HashMap<PathBuf, Record>,
    /// Containers with unsent lines, and without a stream.
    pub rings: HashSet<String>,
}

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct Stream {
    pub container: String,
    pub commands: mpsc::Sender<Command>,
    pub stopped: watch::Receiver<bool>,
}

/// The exclusive right to open or remove one container's files. Dropping it releases it, which must not happen under
/// the table's lock.
#[derive(Debug)]
pub(super) struct Claim {
    inner: Weak<Inner>,
    container: String,
    _release: watch::Sender<()>,
}

/// A channel that reports when a claim is released.
#[derive(Clone, Debug)]
pub(super) struct Released(watch::Receiver<()>);

// === impl Table ===

impl Table {
    /// Claims a container, unless another task holds the claim.
    ///
    /// # Errors
    /// The channel that reports when to retry.
    pub fn claim(&mut self, inner: &Arc<Inner>, container: &str) -> Result<Claim, Released> {
        if let Some(released) = self.claims.get(container) {
            return Err(released.clone());
        }
        let (release, released) = watch::channel(());
        self.claims.insert(container.to_owned(), Released(released));
        Ok(Claim { inner: Arc::downgrade(inner), container: container.to_owned(), _release: release })
    }

    /// The channel for the release of the container's claim, if it is claimed.
    pub fn claimed(&self, container: &str) -> Option<Released> {
        self.claims.get(container).cloned()
    }

    /// The channel for the release of a container whose stream is being resumed.
    pub fn resumes(&self, file: &Path) -> Option<Released> {
        self.claimed(self.resuming.get(file)?)
    }

    /// Removes `container` if it is the one in the table under its id. Drop the result without the lock, because that
    /// closes files.
    pub fn remove(&mut self, container: &Arc<Container>) -> Option<Arc<Container>> {
        let is_known = self.containers.get(&container.id).is_some_and(|known| Arc::ptr_eq(known, container));
        if is_known { self.containers.remove(&container.id) } else { None }
    }
}

// === impl Registry ===

impl Registry {
    /// Waits until no other task holds the claim on the container, and claims it.
    pub(super) async fn claim(&self, container: &str) -> Claim {
        loop {
            let claimed = self.table().claim(&self.inner, container);
            match claimed {
                Ok(claim) => return claim,
                Err(released) => released.wait().await,
            }
        }
    }

    /// Claims the container if no task holds the claim.
    pub(super) fn try_claim(&self, container: &str) -> Option<Claim> {
        self.table().claim(&self.inner, container).ok()
    }

    /// Waits until no task holds the claim on the container.
    pub(super) async fn unclaimed(&self, container: &str) {
        loop {
            let claimed = self.table().claimed(container);
            let Some(released) = claimed else { return };
            released.wait().await;
        }
    }
}

// === impl Released ===

impl Released {
    /// Waits for the release.
    pub async fn wait(mut self) {
        // Nothing is ever sent; the channel closes when the sender is dropped.
        while self.0.changed().await.is_ok() {}
    }
}

// === impl Claim ===

impl Claim {
    /// The container's id.
    pub fn container(&self) -> &str {
        &self.container
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        inner.table.lock().claims.remove(&self.container);
    }
}

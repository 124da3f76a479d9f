//! What is being logged: streams by FIFO, open containers by id, and who is at work on a container's folder.
//!
//! The table is behind a [`ShortLock`](base::lock::ShortLock), so nothing that waits for a disk happens under it. Whoever opens or removes what is on
//! disk of a container holds that container's [`Claim`] meanwhile, and a call for the same container waits for its
//! release. Calls for other containers do not.
//!
//! Three rules hold it together:
//!
//! * a container enters the table only by whoever holds its claim;
//! * its folder is removed only by whoever holds its claim, after it has left the table;
//! * a stream attaches to a container in the table, under the lock, with or without a claim.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, watch};

use super::container::Container;
use super::intake::Command;
use super::record::Record;
use super::registry::{Inner, Registry};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Table {
    pub streams: HashMap<PathBuf, Stream>,
    /// FIFOs that are read for nothing.
    pub strays: HashSet<PathBuf>,
    /// Streams of the process before that are being resumed, with their containers.
    pub resuming: HashMap<PathBuf, String>,
    /// What is to be tried again because the process had no file descriptor for it.
    pub waiting: Waiting,
    pub containers: HashMap<String, Arc<Container>>,
    claims: HashMap<String, Released>,
}

/// What the process before left, and this one had no file descriptor for. Bounded by what was there when it started.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Streams by FIFO.
    pub streams: HashMap<PathBuf, Record>,
    /// Containers with lines that were not sent, and without a stream.
    pub rings: HashSet<String>,
}

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct Stream {
    pub container: String,
    pub commands: mpsc::Sender<Command>,
    pub stopped: watch::Receiver<bool>,
}

/// The exclusive right to open, or to remove, what is on disk of one container. Released when it is dropped, which must
/// not happen under the table's lock.
#[derive(Debug)]
pub(super) struct Claim {
    inner: Weak<Inner>,
    container: String,
    _release: watch::Sender<()>,
}

/// Tells when a claim is released.
#[derive(Clone, Debug)]
pub(super) struct Released(watch::Receiver<()>);

// === impl Table ===

impl Table {
    /// Claims a container, unless somebody else has.
    ///
    /// # Errors
    /// With what tells when to try again.
    pub fn claim(&mut self, inner: &Arc<Inner>, container: &str) -> Result<Claim, Released> {
        if let Some(released) = self.claims.get(container) {
            return Err(released.clone());
        }
        let (release, released) = watch::channel(());
        self.claims.insert(container.to_owned(), Released(released));
        Ok(Claim { inner: Arc::downgrade(inner), container: container.to_owned(), _release: release })
    }

    /// What tells when the container is not claimed any more, if it is.
    pub fn claimed(&self, container: &str) -> Option<Released> {
        self.claims.get(container).cloned()
    }

    /// The same for the container of a stream that is being resumed.
    pub fn resumes(&self, file: &Path) -> Option<Released> {
        self.claimed(self.resuming.get(file)?)
    }

    /// Takes `container` out, if it is the one that is known under its id. To be dropped without the lock: that closes files.
    pub fn remove(&mut self, container: &Arc<Container>) -> Option<Arc<Container>> {
        let is_known = self.containers.get(&container.id).is_some_and(|known| Arc::ptr_eq(known, container));
        if is_known { self.containers.remove(&container.id) } else { None }
    }
}

// === impl Registry ===

impl Registry {
    /// Waits until nobody else is at work on the container's folder, and claims it.
    pub(super) async fn claim(&self, container: &str) -> Claim {
        loop {
            let claimed = self.table().claim(&self.inner, container);
            match claimed {
                Ok(claim) => return claim,
                Err(released) => released.wait().await,
            }
        }
    }

    /// Claims the container if nobody is at work on its folder.
    pub(super) fn try_claim(&self, container: &str) -> Option<Claim> {
        self.table().claim(&self.inner, container).ok()
    }

    /// Waits until nobody is at work on the container's folder.
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
    /// Waits for it.
    pub async fn wait(mut self) {
        // Nothing is ever sent: the sender goes.
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

//! The registry: streams by FIFO, containers by id.
//!
//! The life of a container here: StartLogging opens its ring, if it is not open, attaches a stream and starts its
//! shippers. StopLogging reads the FIFO empty, and the stream detaches when dockerd closes it. When no stream is
//! attached and the shippers have caught up, the container leaves the table and only its directory remains. At start,
//! streams that were not stopped are resumed from their [records](super::record), and rings with unsent lines get their
//! shippers.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::container::Attachment;
use super::counters::Counters;
use super::intake::Command;
use super::labels::ContainerLabels;
use super::record::Records;
use super::start::START_PATIENCE;
use super::started::Started;
use super::table::Table;
use crate::config::{Destination as Target, OptionError, OptionErrors, PluginDefaults, StreamOptions};
use crate::shipper::budget::Budget;
use crate::shipper::gate::{HostKey, Hosts};
use crate::shipper::{self, destination::Destination};
use base::clock;
use base::lock::{ShortGuard, ShortLock};
use base::pools::Pool;
use dockerd::fifo::{Fifo, OpenError};
use loki;
use loki::transport::Secret;
use promtail::pipeline::Registries;
use ring::{self, BootId, Reader, RingError};
use telemetry::throttle::Throttle;

/// StopLogging is answered after this long even if the disk hangs and the FIFO is not empty. Nothing is lost: reading
/// continues to its end. dockerd holds the container's lock meanwhile, and a `docker stop` may take a second more than
/// with `json-file`.
const STOP_PATIENCE: Duration = Duration::from_millis(750);

/// The time that pushes in flight get when the plugin shuts down.
const DRAIN_PATIENCE: Duration = Duration::from_millis(1500);

/// All containers that are being logged.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

/// The settings and resources of a [`Registry`].
#[derive(Debug)]
pub struct Setup {
    /// The folder of rings and records.
    pub state_dir: PathBuf,
    /// The value of the label `host`.
    pub hostname: String,
    /// Options that the operator set for the whole plugin.
    pub defaults: PluginDefaults,
    /// Errors in the plugin's settings: new containers are refused because of them.
    pub mistakes: Vec<OptionError>,
    /// Threads used for intake only.
    pub intake: Handle,
    /// Threads for shippers, which read and write rings: a disk that hangs blocks them, but no call of dockerd.
    pub shipping: Handle,
    /// Counters of everything before the ring.
    pub counters: Counters,
    /// Counters of everything after the ring.
    pub sent: shipper::counters::Counters,
    /// Counters of the pipelines of all containers.
    pub pipelines: Arc<Registries>,
}

pub(super) struct Inner {
    pub setup: Setup,
    pub boot: BootId,
    pub records: Records,
    pub started: Started,
    pub table: ShortLock<Table>,
    pub destinations: ShortLock<HashMap<Target, Weak<Destination>>>,
    /// State that all destinations on one host share.
    pub hosts: Hosts,
    /// The memory budget of all containers for lines on their way to Loki.
    pub budget: Arc<Budget>,
    pub shippers: ShortLock<JoinSet<()>>,
    /// True once the streams of the last process are known.
    pub known: watch::Sender<bool>,
    /// True once all of them are read again.
    pub adopted: watch::Sender<bool>,
    pub shutdown: watch::Sender<bool>,
    /// The bytes that all rings took at the last survey, and their budget.
    pub rings: ShortLock<(u64, u64)>,
    /// The time since boot at which containers stopped that had printed; since the last survey of all rings.
    pub stops: ShortLock<HashMap<String, Duration>>,
    /// Stopped containers whose ring has lines that cannot be sent, by id.
    pub stranded: ShortLock<HashSet<String>>,
    pub unrecorded: Throttle,
    pub undescribed: Throttle,
    pub exhausted: Throttle,
    /// Called before a ring is opened, with the container's id: simulates a disk that hangs, or a panic.
    #[cfg(test)]
    pub before_open: std::sync::OnceLock<BeforeOpen>,
}

/// A test's function to call before a container's ring is opened.
#[cfg(test)]
pub(super) type BeforeOpen = Box<dyn Fn(&str) + Send + Sync>;

/// A reader of one container, for `docker logs`.
#[derive(Debug)]
pub struct LogReader {
    /// A ring reader at the oldest entry.
    pub reader: Reader,
    /// The published end of the ring, as it changes.
    pub follow: watch::Receiver<ring::Published>,
    /// The streams that were live when the reader was created; following ends with the last of them.
    pub live: Vec<watch::Receiver<bool>>,
}

/// The error for a stream that cannot be logged. The user who started the container sees the text.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The id cannot be the name of a directory.
    #[error("the container id {0:?} is not one: letters, digits, '.', '_' and '-' are expected")]
    ContainerId(String),
    /// The FIFO cannot be read.
    #[error("the FIFO {}: {source}", path.display())]
    Fifo {
        /// The path as dockerd named it.
        path: PathBuf,
        /// The cause.
        source: OpenError,
    },
    /// The plugin's own settings are wrong.
    #[error(
        "the plugin refuses new containers, because its settings cannot be used: {0} (set them right with docker plugin \
         set while the plugin is disabled, and enable it again)"
    )]
    Settings(String),
    /// One or more options are wrong.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// Valid options that do not work for this container: a template, labels that Loki would reject, an unusable file.
    /// One sentence for each.
    #[error("{}", .0.join("; "))]
    Unfit(Vec<String>),
    /// The destination cannot be addressed.
    #[error("loki-url: {0}")]
    Destination(#[from] loki::client::TargetError),
    /// The container's lines are not kept.
    #[error("there is nothing to show: the container logs with no-file=true, and its lines are in Loki alone")]
    NoFile,
    /// The disk did not answer in time; a later attempt may succeed.
    #[error("the disk that holds the state of the plugin has not answered for {} s; check it, then start the container again", START_PATIENCE.as_secs())]
    Slow,
    /// The attempt panicked.
    #[error("the plugin failed at this container, which is a bug of the plugin: {0}; its log says more")]
    Broken(String),
    /// The destination of the container's lines is unknown.
    #[error(
        "its description (info.json) is missing or damaged, so that nobody knows which options it had; start the container again"
    )]
    Undescribed,
    /// The container's earlier lines cannot be opened.
    #[error(transparent)]
    Ring(#[from] RingError),
}

// === impl Registry ===

impl StartError {
    /// Whether the process had no file descriptor left, so that the caller should retry.
    pub(super) fn is_exhausted(&self) -> bool {
        match self {
            Self::Fifo { source, .. } => source.is_exhausted(),
            Self::Ring(error) => error.is_exhausted(),
            _ => false,
        }
    }
}

impl Registry {
    /// Creates an empty registry on the current runtime. [`Registry::adopt`] fills it.
    pub fn new(setup: Setup) -> Self {
        let (records, started) = (Records::new(&setup.state_dir), Started::new(&setup.state_dir));
        Self {
            inner: Arc::new(Inner {
                setup,
                boot: BootId::current(),
                records,
                started,
                table: ShortLock::default(),
                destinations: ShortLock::default(),
                hosts: Hosts::default(),
                budget: Arc::default(),
                rings: ShortLock::default(),
                stops: ShortLock::default(),
                stranded: ShortLock::default(),
                shippers: ShortLock::default(),
                known: watch::Sender::new(false),
                adopted: watch::Sender::new(false),
                shutdown: watch::Sender::new(false),
                unrecorded: Throttle::new(&"".into(), |_, _, reason| {
                    error!(%reason, "the stream cannot be recorded: a crash of the plugin before it can would stop its logging");
                }),
                undescribed: Throttle::new(&"".into(), |_, _, reason| {
                    warn!(%reason, "the container's description cannot be written beside its lines");
                }),
                exhausted: Throttle::new(&"".into(), |_, _, container| {
                    error!(container, "container waits: the plugin has no file descriptor left to go on with it");
                }),
                #[cfg(test)]
                before_open: std::sync::OnceLock::new(),
            }),
        }
    }

    /// StopLogging: empties the FIFO, then returns; reading continues until dockerd closes the FIFO. An unknown stream
    /// is no error. Returns within `STOP_PATIENCE`, whatever the disk does.
    pub async fn stop(&self, file: &Path) {
        self.ask(file.to_path_buf(), Command::Stop).await;
    }

    /// Empties all FIFOs, for a retried StopLogging, which names no stream.
    pub async fn drain_all(&self) {
        let all: Vec<_> = {
            let table = self.table();
            table.streams.keys().chain(table.resuming.keys()).cloned().collect()
        };
        let mut drains = JoinSet::new();
        for file in all {
            let registry = self.clone();
            drains.spawn(async move { registry.ask(file, Command::Drain).await });
        }
        drains.join_all().await;
    }

    /// Sends a command to the intake of a stream and waits for its answer, up to a timeout.
    async fn ask(&self, file: PathBuf, make: fn(oneshot::Sender<()>) -> Command) {
        let answered = async {
            self.known().await;
            let commands = loop {
                // A stream of the last process is read as soon as its ring is open.
                let (commands, resumes) = {
                    let table = self.table();
                    (table.streams.get(&file).map(|stream| stream.commands.clone()), table.resumes(&file))
                };
                match (commands, resumes) {
                    (Some(commands), _) => break commands,
                    (None, Some(resumed)) => resumed.wait().await,
                    // dockerd is about to remove the FIFO, so this is the last chance to read it.
                    (None, None) if self.resumes_now(&file).await => {}
                    (None, None) => {
                        debug!(file = %file.display(), "a stream that is not known was stopped");
                        return;
                    }
                }
            };
            let (reply, answer) = oneshot::channel();
            // An intake that has ended has read everything.
            if commands.send(make(reply)).await.is_ok() {
                let _ = answer.await;
            }
        };
        if timeout(STOP_PATIENCE, answered).await.is_err() {
            warn!(file = %file.display(), "a container's FIFO could not be read empty in time; reading goes on");
        }
    }

    /// Creates a reader of the container's lines. Waits for work on the same container alone, and at most five seconds.
    ///
    /// # Errors
    /// When the id is not valid, the ring cannot be opened, its lines are not kept, or the disk does not answer.
    pub async fn reader(&self, container: &str) -> Result<LogReader, StartError> {
        check_id(container)?;
        let found = timeout(START_PATIENCE, async {
            self.known().await;
            self.unclaimed(container).await;
            let (live, open) = {
                let table = self.table();
                let streams = table.streams.values().filter(|stream| stream.container == container);
                let live = streams.map(|stream| stream.stopped.clone()).filter(|stopped| !*stopped.borrow()).collect();
                (live, table.containers.get(container).cloned())
            };
            let (dir, boot) = (self.ring_dir(container), self.inner.boot);
            let read = Pool::Read.run(move || {
                let ring = match open {
                    Some(container) if container.forgets => return Err(StartError::NoFile),
                    Some(container) => container.ring.clone(),
                    // dockerd starts a stream before it reads; a stream of the last process may have ended by now.
                    None => ring::Ring::look(&dir, boot, &crate::frames::DockerFrames)?,
                };
                Ok(LogReader { reader: ring.reader(), follow: ring.follow(), live })
            });
            read.await.unwrap_or_else(|panic| Err(StartError::Broken(panic.to_string())))
        });
        found.await.unwrap_or(Err(StartError::Slow))
    }

    /// Waits for pushes in flight; the next process sends the other unsent lines.
    pub async fn shut_down(&self) {
        self.inner.shutdown.send_replace(true);
        let mut shippers = std::mem::take(&mut *self.inner.shippers.lock());
        let all = async { while shippers.join_next().await.is_some() {} };
        if timeout(DRAIN_PATIENCE, all).await.is_err() {
            warn!("pushes that Loki has not answered are sent again at the next start");
        }
    }

    /// The value of the label `host`.
    pub fn host(&self) -> &str {
        &self.inner.setup.hostname
    }

    /// Whether [`Registry::adopt`] is done.
    pub fn is_adopted(&self) -> bool {
        *self.inner.adopted.borrow()
    }

    /// Waits until the streams of the last process are known: until then a call could be about one.
    pub(super) async fn known(&self) {
        // Fails only when the sender is gone, and it lives as long as `self`.
        let _ = self.inner.known.subscribe().wait_for(|known| *known).await;
    }

    /// Removes a stream that has ended.
    pub(super) async fn ended(&self, file: PathBuf, attachment: Attachment) {
        let stopped = *attachment.watch().borrow();
        debug!(container = %attachment.container().name, stopped, "a stream has ended");
        self.table().streams.remove(&file);
        if attachment.has_printed() {
            let stop = (attachment.container().id.clone(), clock::since_boot());
            self.inner.stops.lock().extend([stop]);
        }
        let container = attachment.container().id.clone();
        drop(attachment);
        let registry = self.clone();
        // On a thread that may block, because threads that read FIFOs must not. A record that outlives its FIFO is
        // removed at the next start.
        let removed = Pool::Sync.run(move || {
            registry.remember(&container);
            registry.inner.records.remove(&file);
            if !stopped {
                // dockerd died without stopping it, and will not remove the FIFO either.
                let _ = fs::remove_file(&file);
            }
        });
        let _ = removed.await;
    }

    /// The destinations of a container, at least one.
    pub(super) fn destinations(
        &self,
        options: &StreamOptions,
        labels: &ContainerLabels,
    ) -> Result<Vec<Arc<Destination>>, StartError> {
        options.destinations.iter().map(|target| self.destination(&labels.target(target))).collect()
    }

    /// The destination for a target; containers with equal targets share it.
    fn destination(&self, target: &Target) -> Result<Arc<Destination>, StartError> {
        let known = || self.inner.destinations.lock().get(target).and_then(Weak::upgrade);
        if let Some(destination) = known() {
            return Ok(destination);
        }
        let authorization = target.credentials.as_ref().map(|credentials| Secret::new(credentials.authorization()));
        // Outside the lock, because this may read files.
        let client = loki::Client::new(&loki::client::Target {
            url: target.url.as_str(),
            tenant: target.tenant_id.as_deref(),
            transport: &target.transport,
            authorization: authorization.as_ref(),
            timeout: target.timeout,
            accepts_any_2xx: target.accepts_any_2xx,
        })?;
        let name = target.url.to_string();
        let counters = self.inner.setup.sent.to(&name);
        let host = self.inner.hosts.gate(HostKey::new(target.url.as_str(), &target.transport));
        let destination = Destination::new(name, client, host, self.inner.budget.clone(), counters);
        let mut destinations = self.inner.destinations.lock();
        destinations.retain(|_, destination| destination.strong_count() > 0);
        // Another container may have created it meanwhile.
        if let Some(quicker) = destinations.get(target).and_then(Weak::upgrade) {
            return Ok(quicker);
        }
        destinations.insert(target.clone(), Arc::downgrade(&destination));
        Ok(destination)
    }

    pub(super) fn rings_dir(&self) -> PathBuf {
        self.inner.setup.state_dir.join("rings")
    }

    pub(super) fn ring_dir(&self, container: &str) -> PathBuf {
        self.rings_dir().join(container)
    }

    pub(super) fn table(&self) -> ShortGuard<'_, Table> {
        self.inner.table.lock()
    }
}

pub(super) fn open_fifo(file: &Path) -> Result<Fifo, StartError> {
    Fifo::open(file).map_err(|source| StartError::Fifo { path: file.to_path_buf(), source })
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// Checks that the id is a plain name, because it names a directory.
pub(super) fn check_id(id: &str) -> Result<(), StartError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > 128 || id.starts_with('.') || !id.chars().all(plain) {
        return Err(StartError::ContainerId(id.chars().take(128).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_id;

    #[test]
    fn an_id_that_is_a_path_is_refused() {
        for id in ["", ".", "..", "a/../b", "/etc", "a b", "a\0b", "é", &"a".repeat(129)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        for id in ["abc", &"0123456789abcdef".repeat(4), "my-test_1.2"] {
            assert!(check_id(id).is_ok(), "{id:?}");
        }
    }
}

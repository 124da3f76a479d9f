//! Streams by FIFO, containers by id.
//!
//! The life of a container here: StartLogging opens its ring, if it is not open, attaches a stream and lets a shipper
//! run; StopLogging reads the FIFO empty, and the stream detaches when dockerd closes it; when no stream is attached
//! and the shipper has caught up, the container leaves the table and only its directory remains. At boot, streams
//! that were not stopped are taken up again from their [records](super::record), and rings with lines that were not
//! sent get their shipper back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::container::{Attachment, Container};
use super::counters::Counters;
use super::info::Info;
use super::intake::{Command, Intake};
use super::labels::{self, ContainerLabels};
use super::record::{Record, Records, stream_id};
use crate::config::{self, Destination as Target, OptionErrors, PluginDefaults, StreamOptions};
use crate::fifo::{Fifo, OpenError};
use crate::loki;
use crate::pipeline::Registries;
use crate::pools::Pool;
use crate::ring::{self, BootId, Reader, RingError};
use crate::shipper::gate::{HostKey, Hosts};
use crate::shipper::{self, destination::Destination};
use crate::telemetry::throttle::Throttle;
use crate::transport::Secret;

/// StopLogging is answered after this long even if the FIFO was not read empty: nothing is lost by that, because
/// reading goes on to its end, and dockerd holds the container's lock meanwhile.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long pushes that are on their way may take when the plugin goes down.
const DRAIN_PATIENCE: Duration = Duration::from_millis(1500);

/// Everything that is being logged.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

/// What a [`Registry`] is built from.
#[derive(Debug)]
pub struct Setup {
    /// Where rings and records are.
    pub state_dir: PathBuf,
    /// The value of the label `host`.
    pub hostname: String,
    /// Options that the operator set for the whole plugin.
    pub defaults: PluginDefaults,
    /// Threads for intake and nothing else.
    pub intake: Handle,
    /// What is counted before the ring.
    pub counters: Counters,
    /// What is counted behind it.
    pub sent: shipper::counters::Counters,
    /// What the pipelines of all containers count.
    pub pipelines: Arc<Registries>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub setup: Setup,
    pub boot: BootId,
    pub records: Records,
    table: Mutex<Table>,
    pub destinations: Mutex<HashMap<Target, Weak<Destination>>>,
    /// What all who go to one host share.
    pub hosts: Hosts,
    pub shippers: Mutex<JoinSet<()>>,
    pub adopted: watch::Sender<bool>,
    pub shutdown: watch::Sender<bool>,
    /// What all rings took when they were looked over last, and what they may, in bytes.
    pub rings: Mutex<(u64, u64)>,
    /// Rings of stopped containers with lines that cannot be sent, by container.
    pub stranded: Mutex<HashSet<String>>,
    unrecorded: Throttle,
    pub undescribed: Throttle,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub streams: HashMap<PathBuf, Stream>,
    /// FIFOs that are read for nothing.
    pub strays: HashSet<PathBuf>,
    pub containers: HashMap<String, Arc<Container>>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub container: String,
    commands: mpsc::Sender<Command>,
    stopped: watch::Receiver<bool>,
}

/// A reader of one container, for `docker logs`.
#[derive(Debug)]
pub struct LogReader {
    /// At the oldest entry.
    pub reader: Reader,
    /// Shows how far the ring goes.
    pub follow: watch::Receiver<ring::Published>,
    /// The streams that were live when the reader was made; following ends with the last of them.
    pub live: Vec<watch::Receiver<bool>>,
}

/// Why a stream cannot be logged. The text is shown to whoever started the container.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The id cannot be the name of a directory.
    #[error("the container id {0:?} is not one: letters, digits, '.', '_' and '-' are expected")]
    ContainerId(String),
    /// The FIFO cannot be read.
    #[error("the FIFO {}: {source}", path.display())]
    Fifo {
        /// As dockerd named it.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// One or more options are wrong.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// Options that read well do not go with this container: a template, labels that Loki would not take, a file that
    /// cannot be used. One sentence for each.
    #[error("{}", .0.join("; "))]
    Unfit(Vec<String>),
    /// The destination cannot be addressed.
    #[error("loki-url: {0}")]
    Destination(#[from] loki::client::TargetError),
    /// Its lines are not kept.
    #[error("there is nothing to show: the container logs with no-file=true, and its lines are in Loki alone")]
    NoFile,
    /// The container's earlier lines cannot be opened.
    #[error(transparent)]
    Ring(#[from] RingError),
}

// === impl Registry ===

impl Registry {
    /// An empty registry on the current runtime. [`Registry::adopt`] fills it.
    pub fn new(setup: Setup) -> Self {
        let records = Records::new(&setup.state_dir);
        Self {
            inner: Arc::new(Inner {
                setup,
                boot: BootId::current(),
                records,
                table: Mutex::default(),
                destinations: Mutex::default(),
                hosts: Hosts::default(),
                rings: Mutex::default(),
                stranded: Mutex::default(),
                shippers: Mutex::default(),
                adopted: watch::Sender::new(false),
                shutdown: watch::Sender::new(false),
                unrecorded: Throttle::new(&"".into(), |_, _, reason| {
                    error!(%reason, "the stream cannot be recorded: a crash of the plugin before it can would stop its logging");
                }),
                undescribed: Throttle::new(&"".into(), |_, _, reason| {
                    warn!(%reason, "the container's description cannot be written beside its lines");
                }),
            }),
        }
    }

    /// StartLogging: from its answer on, the stream is read, also by the next process.
    ///
    /// # Errors
    /// When the options, the labels or the FIFO are not usable. Nothing then remains of the attempt.
    pub async fn start(&self, file: PathBuf, info: Info) -> Result<(), StartError> {
        self.adopted().await;
        let registry = self.clone();
        let control = Handle::current();
        // Opening a ring reads the disk.
        let started = Pool::Start.run(move || registry.start_now(&Record { file, info }, true, &control));
        started.await.unwrap_or(Ok(()))
    }

    /// StopLogging: reads all there is, then returns; reading goes on until dockerd closes the FIFO. An unknown
    /// stream is fine.
    pub async fn stop(&self, file: &Path) {
        self.adopted().await;
        let commands = self.table().streams.get(file).map(|stream| stream.commands.clone());
        match commands {
            Some(commands) => command(commands, Command::Stop).await,
            None => debug!(file = %file.display(), "a stream that is not known was stopped"),
        }
    }

    /// A retried StopLogging carries no name: whatever stream it means is read empty.
    pub async fn drain_all(&self) {
        self.adopted().await;
        let all: Vec<_> = self.table().streams.values().map(|stream| stream.commands.clone()).collect();
        let mut drains = JoinSet::new();
        for commands in all {
            drains.spawn(command(commands, Command::Drain));
        }
        drains.join_all().await;
    }

    /// A reader of what the container wrote.
    ///
    /// # Errors
    /// When the container's id is none, its ring cannot be opened, or nothing is kept of it.
    pub async fn reader(&self, container: &str) -> Result<LogReader, StartError> {
        self.adopted().await;
        check_id(container)?;
        let live = {
            let table = self.table();
            let streams = table.streams.values().filter(|stream| stream.container == container);
            streams.map(|stream| stream.stopped.clone()).filter(|stopped| !*stopped.borrow()).collect()
        };
        let open = self.table().containers.get(container).cloned();
        let ring = match open {
            Some(container) if container.forgets => return Err(StartError::NoFile),
            Some(container) => container.ring.clone(),
            // dockerd starts a stream before it reads; one that the last process knew may be over by now.
            None => ring::Ring::look(&self.ring_dir(container), self.inner.boot, &crate::frames::DockerFrames)?,
        };
        Ok(LogReader { reader: ring.reader(), follow: ring.follow(), live })
    }

    /// Lets pushes on their way end; what is not sent is sent by the next process.
    pub async fn shut_down(&self) {
        self.inner.shutdown.send_replace(true);
        let mut shippers = std::mem::take(&mut *lock(&self.inner.shippers));
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

    async fn adopted(&self) {
        // Fails only when the sender is gone, and it lives as long as `self`.
        let _ = self.inner.adopted.subscribe().wait_for(|adopted| *adopted).await;
    }

    pub(super) fn start_now(&self, record: &Record, is_new: bool, control: &Handle) -> Result<(), StartError> {
        let Record { file, info } = record;
        check_id(&info.container_id)?;
        let options = StreamOptions::parse(&info.config, &self.inner.setup.defaults)?;
        if self.table().streams.contains_key(file) {
            return Ok(());
        }
        let labels = labels::build(info, &options.labels, &self.inner.setup.hostname);
        // Of a container that ran before, this may be a `docker logs`, or a start at boot that nobody watches: its lines
        // wait for the files.
        let files = match is_new && !self.ring_dir(&info.container_id).exists() {
            true => options.destinations.iter().try_for_each(config::Destination::check_files),
            false => Ok(()),
        };
        let labels = match (labels, files) {
            (Ok(labels), Ok(())) => labels,
            (labels, files) => {
                let files = files.err().into_iter().flat_map(|errors| errors.0).map(|error| error.to_string());
                return Err(StartError::Unfit(labels.err().into_iter().flatten().chain(files).collect()));
            }
        };
        let fifo = open_fifo(file)?;
        let destinations = self.destinations(&options, &labels)?;
        for note in options.notes.iter().chain(&labels.notes) {
            info!(container = info.name(), "{note}");
        }
        if options.destinations.iter().any(|destination| destination.transport.tls.insecure) {
            warn!(
                container = info.name(),
                "loki-tls-insecure-skip-verify: whoever is between here and Loki can read and change what is sent"
            );
        }
        if is_new {
            self.record(record);
        }
        let mut table = self.table();
        // Another call for the same FIFO may have been quicker; a second reader would take bytes that no StopLogging
        // waits for.
        if table.streams.contains_key(file) {
            return Ok(());
        }
        let (container, shippers) = match table.containers.get(&info.container_id) {
            Some(container) => (container.clone(), Vec::new()),
            None => self.open_container(&mut table, info, &options, &labels, destinations)?,
        };
        // Before a shipper runs: without a stream it would take half a line for one that nobody will finish.
        let attachment = container.attach();
        self.launch(shippers, &container, control);
        self.attach(table, fifo, file, attachment, options.ring.block);
        Ok(())
    }

    /// Lets a stream be read into its container's ring.
    pub(super) fn attach(
        &self,
        mut table: MutexGuard<'_, Table>,
        fifo: Fifo,
        file: &Path,
        attachment: Attachment,
        block: Option<Duration>,
    ) {
        let container = attachment.container().clone();
        let (commands, receiver) = mpsc::channel(4);
        let stream = Stream { container: container.id.clone(), commands, stopped: attachment.watch() };
        table.streams.insert(file.to_path_buf(), stream);
        drop(table);

        let writer = container.ring.writer(&stream_id(file));
        let intake = Intake::new(fifo, writer, container.events.clone(), block);
        let (registry, file) = (self.clone(), file.to_path_buf());
        self.inner.setup.intake.spawn(async move {
            if intake.run(receiver, || attachment.stopped()).await {
                registry.ended(&file, attachment);
            }
        });
    }

    /// Writes down a stream, so that the next process takes it up.
    pub(super) fn record(&self, record: &Record) {
        if let Err(error) = self.inner.records.save(record) {
            self.inner.unrecorded.lasts(|| format!("{}: {error}", record.info.name()));
        }
    }

    /// A stream came to its end.
    fn ended(&self, file: &Path, attachment: Attachment) {
        let stopped = *attachment.watch().borrow();
        debug!(container = %attachment.container().name, stopped, "a stream has ended");
        self.table().streams.remove(file);
        self.inner.records.remove(file);
        if !stopped {
            // dockerd went away without stopping it, and will not remove the FIFO either.
            let _ = fs::remove_file(file);
        }
        drop(attachment);
    }

    /// The destinations of a container, at least one.
    pub(super) fn destinations(
        &self,
        options: &StreamOptions,
        labels: &ContainerLabels,
    ) -> Result<Vec<Arc<Destination>>, StartError> {
        options.destinations.iter().map(|target| self.destination(&labels.target(target))).collect()
    }

    /// The destination for a target; containers with equal ones share it.
    fn destination(&self, target: &Target) -> Result<Arc<Destination>, StartError> {
        let mut destinations = lock(&self.inner.destinations);
        destinations.retain(|_, destination| destination.strong_count() > 0);
        if let Some(destination) = destinations.get(target).and_then(Weak::upgrade) {
            return Ok(destination);
        }
        let authorization = target.credentials.as_ref().map(|credentials| Secret::new(credentials.authorization()));
        let client = loki::Client::new(&loki::client::Target {
            url: target.url.as_str(),
            tenant: target.tenant_id.as_deref(),
            transport: &target.transport,
            authorization: authorization.as_ref(),
            timeout: target.timeout,
            accepts_any_2xx: target.accepts_any_2xx,
        })?;
        let counters = self.inner.setup.sent.to(target.url.as_str());
        let host = self.inner.hosts.gate(HostKey::new(target.url.as_str(), &target.transport));
        let destination = Destination::new(target.url.as_str().into(), client, host, counters);
        destinations.insert(target.clone(), Arc::downgrade(&destination));
        Ok(destination)
    }

    pub(super) fn rings_dir(&self) -> PathBuf {
        self.inner.setup.state_dir.join("rings")
    }

    pub(super) fn ring_dir(&self, container: &str) -> PathBuf {
        self.rings_dir().join(container)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.inner.table)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn open_fifo(file: &Path) -> Result<Fifo, StartError> {
    Fifo::open(file).map_err(|source| StartError::Fifo { path: file.to_path_buf(), source })
}

/// Sends a command to an intake and waits for the answer, within reason.
async fn command(commands: mpsc::Sender<Command>, make: fn(oneshot::Sender<()>) -> Command) {
    let (reply, answer) = oneshot::channel();
    let answered = async {
        // An intake that is gone has read everything.
        if commands.send(make(reply)).await.is_ok() {
            let _ = answer.await;
        }
    };
    if timeout(STOP_PATIENCE, answered).await.is_err() {
        warn!("a container's FIFO could not be read empty in time; reading goes on");
    }
}

/// The id names a directory, so it must be a plain name.
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

//! StartLogging: from a call to a stream that is read.
//!
//! It needs the disk, to record the stream for the next process and to open the container's ring, and a disk can hang.
//! So the work runs beside the call, which waits [`START_PATIENCE`] and then refuses. Work that ends later finds its
//! attempt given up, and leaves nothing behind: an attempt is either committed to the table or given up, never both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::container::Container;
use super::intake::Intake;
use super::record::{Record, stream_id};
use super::registry::{Registry, StartError, check_id, open_fifo};
use super::resolve::{Resolved, Way};
use super::table::{Claim, Stream};
use crate::shipper::Shipper;
use base::pools::Pool;
use dockerd::fifo::Fifo;
use dockerd::info::Info;

/// The timeout of a call that needs a disk. dockerd holds the container's lock meanwhile, and a `docker run` that fails
/// with a reason can be repeated. A disk that is merely slow answers within it.
pub const START_PATIENCE: Duration = Duration::from_secs(5);

/// An attempt to start a stream, which is either committed or given up.
#[derive(Debug, Default)]
pub(super) struct Attempt(AtomicU8);

const COMMITTED: u8 = 1;
const GIVEN_UP: u8 = 2;

// === impl Attempt ===

impl Attempt {
    /// Commits the attempt, before the stream enters the table; false when it was given up.
    fn commit(&self) -> bool {
        self.settle(COMMITTED)
    }

    /// Gives the attempt up, after a timeout; false when it was already committed.
    fn give_up(&self) -> bool {
        self.settle(GIVEN_UP)
    }

    fn settle(&self, outcome: u8) -> bool {
        let settled = self.0.compare_exchange(0, outcome, Ordering::AcqRel, Ordering::Acquire);
        settled.is_ok() || settled == Err(outcome)
    }
}

/// Logs what an operator should know about a container that starts.
fn say(info: &Info, way: &Way) {
    let name = info.name();
    match way {
        Way::Shipped(resolved, _) => {
            let Resolved { options, labels, .. } = &**resolved;
            for note in options.notes.iter().chain(&labels.notes) {
                info!(container = name, "{note}");
            }
            if options.destinations.iter().any(|destination| destination.transport.tls.insecure) {
                warn!(
                    container = name,
                    "loki-tls-insecure-skip-verify: whoever is between here and Loki can read and change what is sent"
                );
            }
        }
        Way::Kept(error) => {
            warn!(container = name, %error, "lines are buffered on disk and not sent: options cannot be used");
        }
    }
}

/// A record that is removed again unless the stream enters the table.
struct Recorded<'a> {
    registry: &'a Registry,
    file: &'a Path,
    is_kept: bool,
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.registry.inner.records.remove(self.file);
        }
    }
}

// === impl Registry ===

impl Registry {
    /// StartLogging: once it is answered, the stream is read, also by the next process.
    ///
    /// Waits for work on the same container alone, and at most five seconds.
    ///
    /// # Errors
    /// When the options, the labels or the FIFO cannot be used, the disk does not answer, or the attempt panicked. The
    /// attempt then leaves nothing behind.
    pub async fn start(&self, file: PathBuf, info: Info) -> Result<(), StartError> {
        check_id(&info.container_id)?;
        let deadline = Instant::now() + START_PATIENCE;
        let claimed = timeout_at(deadline, async {
            self.known().await;
            self.claim(&info.container_id).await
        });
        let Ok(claim) = claimed.await else { return Err(StartError::Slow) };
        let record = Arc::new(Record { file, info });
        let (registry, read) = (self.clone(), record.clone());
        let looked = Pool::Start.run(move || {
            let has_started = registry.has_started(&read.info.container_id);
            (registry.resolve(&read.info), has_started)
        });
        let (resolved, has_started) = match timeout_at(deadline, looked).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(panic)) => return Err(StartError::Broken(panic.to_string())),
            Err(_) => return Err(StartError::Slow),
        };
        // Files that options name have their own timeout.
        let before = Instant::now();
        let way = self.way(&record.info, resolved, has_started).await?;
        let deadline = deadline + before.elapsed();
        let attempt = Arc::<Attempt>::default();
        let (registry, shared) = (self.clone(), attempt.clone());
        let work = Pool::Start.run(move || registry.start_now(&record, None, &way, &claim, &shared));
        match timeout_at(deadline, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(StartError::Broken(panic.to_string())),
            Err(_) if attempt.give_up() => Err(StartError::Slow),
            // The attempt was committed at this very moment.
            Err(_) => Ok(()),
        }
    }

    /// Starts a stream: one of the last process, whose FIFO is open, or a new one.
    pub(super) fn start_now(
        &self,
        record: &Record,
        left: Option<Fifo>,
        way: &Way,
        claim: &Claim,
        attempt: &Attempt,
    ) -> Result<(), StartError> {
        let Record { file, info } = record;
        if self.table().streams.contains_key(file) {
            return Ok(());
        }
        let is_new = left.is_none();
        let fifo = left.map_or_else(|| open_fifo(file), Ok)?;
        say(info, way);
        let mut recorded = Recorded { registry: self, file, is_kept: !is_new };
        if is_new {
            self.record(record);
        }
        match way {
            Way::Shipped(resolved, stages) => {
                self.supersede(info);
                let (container, shippers) =
                    self.enter(file, fifo, resolved.options.ring.block, claim, attempt, || {
                        self.open_container(info, resolved, stages.as_ref())
                    })?;
                self.launch(shippers, &container);
            }
            Way::Kept(reason) => self.keep(record, fifo, reason, claim, attempt)?,
        }
        recorded.is_kept = true;
        Ok(())
    }

    /// Reads a stream into its container's ring, which `open` opens if it is not open. The claim proves that no other
    /// task opens or removes the container.
    ///
    /// # Errors
    /// Those of `open`, and [`StartError::Slow`] when the attempt was given up.
    pub(super) fn enter(
        &self,
        file: &Path,
        fifo: Fifo,
        block: Option<Duration>,
        claim: &Claim,
        attempt: &Attempt,
        open: impl Fn() -> Result<(Arc<Container>, Vec<Shipper>), StartError>,
    ) -> Result<(Arc<Container>, Vec<Shipper>), StartError> {
        let mut opened = None;
        let (attachment, receiver, shippers) = loop {
            let mut table = self.table();
            let known = table.containers.get(claim.container()).cloned();
            let Some(container) = known.or_else(|| opened.as_ref().map(|(container, _)| Arc::clone(container))) else {
                drop(table);
                opened = Some(open()?);
                continue;
            };
            if !attempt.commit() {
                drop(table);
                return Err(StartError::Slow);
            }
            table.containers.entry(container.id.clone()).or_insert_with(|| container.clone());
            // Attached before a shipper runs: without a stream, the shipper would send half a line as one that will not
            // be finished.
            let attachment = container.attach();
            let (commands, receiver) = mpsc::channel(4);
            let stream = Stream { container: container.id.clone(), commands, stopped: attachment.watch() };
            table.resuming.remove(file);
            table.streams.insert(file.to_path_buf(), stream);
            drop(table);
            break (attachment, receiver, opened.take().map(|(_, shippers)| shippers).unwrap_or_default());
        };
        let container = attachment.container().clone();
        let writer = container.ring.writer(&stream_id(file));
        let intake = Intake::new(fifo, writer, container.activity.events.clone(), block);
        let (registry, file) = (self.clone(), file.to_path_buf());
        self.inner.setup.intake.spawn(async move {
            if intake.run(receiver, || attachment.stopped()).await {
                registry.ended(file, attachment).await;
            }
        });
        Ok((container, shippers))
    }

    /// Records a stream, so that the next process resumes it.
    pub(super) fn record(&self, record: &Record) {
        if let Err(error) = self.inner.records.save(record) {
            self.inner.unrecorded.lasts(|| format!("{}: {error}", record.info.name()));
        }
    }
}

//! One container: its ring, how far it was sent to whom, and who is writing to it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::counters::Counters;
use super::events::Events;
use super::retention;
use crate::frames::DockerFrames;
use crate::ring::{Cursors, Options, Ring, RingError};
use crate::shipper;
use crate::shipper::destination::Destination;
use crate::telemetry::rate::Rate;

/// A container with at least one stream, or with lines that were not sent yet.
#[derive(Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// As people know it, for the log.
    pub name: Arc<str>,
    /// What it wrote.
    pub ring: Arc<Ring>,
    /// How far that was sent, to each of its destinations.
    pub cursors: Arc<Mutex<Cursors>>,
    /// What was sent is not kept (`no-file`).
    pub forgets: bool,
    /// Where its lines go, in the order of the cursors; nowhere while its options cannot be used.
    pub lanes: Vec<Lane>,
    /// What happens at its intake.
    pub events: Arc<Events>,
    /// Lines that it writes.
    pub line_rate: Rate,
    /// Bytes that it writes.
    pub byte_rate: Rate,
    /// Streams that dockerd has not stopped.
    live: watch::Sender<usize>,
    /// Streams that can still bring bytes: dockerd closes a FIFO only after StopLogging was answered.
    attached: watch::Sender<usize>,
    /// Nothing is to be sent any more: all was, or its ring was removed.
    over: watch::Sender<bool>,
    /// Its ring was removed, for who brings to the disk what is not on it. Held meanwhile.
    retired: Mutex<bool>,
}

/// One container's way to one destination.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Where to.
    pub destination: Arc<Destination>,
    /// What happens to its lines.
    pub events: Arc<shipper::events::Events>,
    /// How long a line may wait for others before it is sent.
    pub batch_wait: Duration,
}

/// One stream's hold on its container. Dropped when the stream has ended.
#[derive(Debug)]
pub struct Attachment {
    container: Arc<Container>,
    stopped: AtomicBool,
    stop: watch::Sender<bool>,
}

// === impl Container ===

impl Container {
    /// Opens the ring in `dir`, with a cursor of a name for each lane.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn open(
        (id, name): (&str, &str),
        dir: &Path,
        options: Options,
        (cursors, lanes): (&[String], Vec<Lane>),
        forgets: bool,
        counters: Counters,
    ) -> Result<Arc<Self>, RingError> {
        let name: Arc<str> = name.into();
        let ring = Ring::open(dir, options, &DockerFrames)?;
        Ok(Arc::new(Self {
            id: id.into(),
            ring: ring.clone(),
            cursors: Arc::new(Mutex::new(Cursors::open(&ring, cursors)?)),
            forgets,
            lanes,
            events: Arc::new(Events::new(&name, counters)),
            line_rate: Rate::default(),
            byte_rate: Rate::default(),
            name,
            live: watch::Sender::new(0),
            attached: watch::Sender::new(0),
            over: watch::Sender::new(false),
            retired: Mutex::new(false),
        }))
    }

    /// A new stream that writes to this container.
    pub fn attach(self: &Arc<Self>) -> Attachment {
        self.live.send_modify(|live| *live += 1);
        self.attached.send_modify(|attached| *attached += 1);
        Attachment { container: self.clone(), stopped: AtomicBool::new(false), stop: watch::Sender::new(false) }
    }

    /// How many streams dockerd has not stopped.
    pub fn live(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }

    /// How many streams can still bring bytes.
    pub fn attached(&self) -> watch::Receiver<usize> {
        self.attached.subscribe()
    }

    /// Whether a stream can still bring bytes.
    pub fn is_attached(&self) -> bool {
        *self.attached.borrow() > 0
    }

    /// How many streams dockerd has not stopped.
    pub fn streams(&self) -> usize {
        *self.live.borrow()
    }

    /// Lines that were not sent, to one destination at least.
    pub fn unsent(&self) -> u64 {
        let sent = self.cursors.lock().unwrap_or_else(PoisonError::into_inner).furthest_behind();
        retention::unsent(&self.ring, sent)
    }

    /// Looks at what was written so far, for the rates. To be called every few seconds.
    pub fn sample(&self) {
        let happened = self.events.happened();
        self.line_rate.sample(happened.entries);
        self.byte_rate.sample(happened.bytes);
    }

    /// The ring is about to be removed; nothing of it will be sent or written any more. Waits for a sync to end.
    pub fn condemn(&self) {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.send_replace(true);
    }

    /// It has left the table: everything was sent to everyone.
    pub fn leave(&self) {
        self.over.send_replace(true);
    }

    /// Becomes true with [`Container::condemn`] or [`Container::leave`].
    pub fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Brings to the disk what it did not take before, and makes what was written and sent so far survive a power loss.
    /// Waits for the disk.
    pub fn sync(&self) {
        // What is gone because it was retired must not be made again.
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        if *retired {
            return;
        }
        self.events.healed(&self.ring.heal::<DockerFrames>());
        let (cursors, sent) = {
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            // That it could not be saved was said by who saved it.
            let sent = cursors.save_again().ok().and_then(|()| cursors.furthest_behind());
            (cursors.to_sync(), sent)
        };
        if let Some(sent) = sent.filter(|_| self.forgets) {
            self.ring.retire_all_before(sent);
        }
        if let Err(error) = self.ring.sync() {
            self.events.not_synced(&error);
        }
        for file in cursors {
            // A cursor that goes back sends lines twice, and loses none.
            let _ = file.sync_data();
        }
    }
}

// === impl Attachment ===

impl Attachment {
    /// The container.
    pub fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// dockerd has stopped the stream and everything it wrote is in the ring. Said once or more.
    pub fn stopped(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            self.stop.send_replace(true);
            self.container.live.send_modify(|live| *live -= 1);
        }
    }

    /// Becomes true when [`Attachment::stopped`] was said, or the stream is gone.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.stopped();
        self.container.attached.send_modify(|attached| *attached -= 1);
    }
}

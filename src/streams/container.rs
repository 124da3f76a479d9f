//! One container: its ring, how far it was sent to whom, and who is writing to it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::counters::Counters;
use super::events::Events;
use super::retention;
use crate::frames::DockerFrames;
use crate::shipper;
use crate::shipper::destination::Destination;
use crate::shipper::events::FAILED_CLOSED;
use crate::shipper::until::Until;
use base::lock::{self, ShortLock};
use ring::cursors::Name;
use ring::{Cursors, Ring, RingError, Saved};
use telemetry::rate::Rate;

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
    /// The same, for those who must not wait while a cursor is being saved.
    pub sent: Saved,
    /// What was sent is not kept (`no-file`).
    pub forgets: bool,
    /// Where its lines go, in the order of the cursors; nowhere while its options cannot be used.
    lanes: ShortLock<Vec<Lane>>,
    /// The names of the cursors.
    names: Vec<Name>,
    /// What it does, which goes on when another takes its place.
    pub activity: Arc<Activity>,
    /// Why its lines are not sent, see [`Container::unusable`].
    unusable: Mutex<Option<String>>,
    /// Nothing is to be sent any more: all was, or its ring was removed.
    over: watch::Sender<bool>,
    /// Its ring is to go, or has gone: nothing of it is brought to the disk any more.
    condemned: AtomicBool,
}

/// Who writes to a ring, and what of it is counted.
#[derive(Debug)]
pub struct Activity {
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
    /// How many streams have ever attached.
    attachments: AtomicU64,
    /// Held by the one that syncs the ring or removes it, across calls that wait: only ever locked on a thread that may.
    at_disk: Mutex<()>,
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
    /// The first entry that is to be sent in another way, because it was printed under another name or other options, see
    /// `former`. The greatest number while there is none.
    pub until: Until,
}

/// One stream's hold on its container. Dropped when the stream has ended.
#[derive(Debug)]
pub struct Attachment {
    container: Arc<Container>,
    /// The next entry of the ring when it began.
    first: u64,
    stopped: AtomicBool,
    stop: watch::Sender<bool>,
}

// === impl Container ===

impl Container {
    /// A container of a ring that is open, with a cursor of a name for each lane.
    ///
    /// # Errors
    /// When the cursors cannot be read.
    pub fn new(
        (id, name): (&str, &str),
        (ring, activity): (Arc<Ring>, Arc<Activity>),
        (names, lanes): (Vec<Name>, Vec<Lane>),
        forgets: bool,
    ) -> Result<Arc<Self>, RingError> {
        let cursors = Cursors::open(&ring, &names)?;
        let container = Arc::new(Self {
            id: id.into(),
            name: name.into(),
            ring,
            sent: cursors.shown(),
            cursors: Arc::new(Mutex::new(cursors)),
            forgets,
            lanes: ShortLock::new(lanes),
            names,
            unusable: Mutex::default(),
            activity,
            over: watch::Sender::new(false),
            condemned: AtomicBool::new(false),
        });
        container.activity.events.noticed(container.ring.take_notices());
        Ok(container)
    }

    /// Why its lines are buffered and not sent: what is wrong with its options, or with a file that they name.
    pub fn unusable(&self) -> Option<String> {
        let failed_closed = || self.lanes.lock().iter().any(|lane| lane.events.has_failed_closed());
        let unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unusable.or_else(|| failed_closed().then(|| FAILED_CLOSED.to_owned()))
    }

    /// Says why its lines are not sent, or that they are; gives what was said before.
    pub fn set_unusable(&self, reason: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.unusable.lock().unwrap_or_else(PoisonError::into_inner), reason)
    }

    /// Where its lines go, in the order of the cursors; nowhere while its options cannot be used.
    pub fn lanes(&self) -> Vec<Lane> {
        self.lanes.lock().clone()
    }

    /// The names of its cursors, in their order.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Lets the lane number `at` go on in another way.
    pub fn set_lane(&self, at: usize, lane: Lane) {
        if let Some(place) = self.lanes.lock().get_mut(at) {
            *place = lane;
        }
    }

    /// What comes from entry `until` on is to be sent in another way. To be followed by an attachment, which wakes the shippers.
    pub fn end_at(&self, until: u64) {
        self.lanes.lock().iter().for_each(|lane| lane.until.lower(until));
    }

    /// Whether the lane number `at` has sent everything that was to be sent in its way.
    pub fn is_through(&self, at: usize) -> bool {
        let until = self.lanes.lock().get(at).map_or(u64::MAX, |lane| lane.until.get());
        self.sent.position(at).map_or(0, |position| position.seq) >= until
    }

    /// A new stream that writes to this container.
    pub fn attach(self: &Arc<Self>) -> Attachment {
        let Activity { attachments, live, attached, .. } = &*self.activity;
        attachments.fetch_add(1, Ordering::AcqRel);
        live.send_modify(|live| *live += 1);
        attached.send_modify(|attached| *attached += 1);
        let first = self.ring.published().next_seq;
        Attachment { container: self.clone(), first, stopped: AtomicBool::new(false), stop: watch::Sender::new(false) }
    }

    /// How many streams dockerd has not stopped.
    pub fn live(&self) -> watch::Receiver<usize> {
        self.activity.live.subscribe()
    }

    /// How many streams can still bring bytes.
    pub fn attached(&self) -> watch::Receiver<usize> {
        self.activity.attached.subscribe()
    }

    /// Whether a stream can still bring bytes.
    pub fn is_attached(&self) -> bool {
        *self.activity.attached.borrow() > 0
    }

    /// How many streams have ever attached. While it stays the same and none is attached, nothing is written.
    pub fn attachments(&self) -> u64 {
        self.activity.attachments.load(Ordering::Acquire)
    }

    /// How many streams dockerd has not stopped.
    pub fn streams(&self) -> usize {
        *self.activity.live.borrow()
    }

    /// Lines that were not sent, to one destination at least.
    pub fn unsent(&self) -> u64 {
        retention::unsent(&self.ring, self.sent.furthest_behind())
    }

    /// Bytes of its oldest segments of which everything was sent to everyone; that which is written to is not among them.
    pub fn sent_sizes(&self) -> Vec<u64> {
        self.ring.sizes_before(self.sent.furthest_behind().unwrap_or_default())
    }

    /// Removes so many of those segments, the oldest first; gives their bytes. Waits for the disk.
    pub fn trim(&self, segments: usize) -> u64 {
        lock::may_wait();
        self.ring.retire_oldest_before(self.sent.furthest_behind().unwrap_or_default(), segments)
    }

    /// Looks at what was written so far, for the rates. To be called every few seconds.
    pub fn sample(&self) {
        let happened = self.activity.events.happened();
        self.activity.line_rate.sample(happened.entries);
        self.activity.byte_rate.sample(happened.bytes);
    }

    /// The ring is about to be removed; nothing of it will be sent or written any more.
    pub fn condemn(&self) {
        self.condemned.store(true, Ordering::Release);
        self.over.send_replace(true);
    }

    /// Removes the ring of a container that is [condemned](Container::condemn) and has left the table. Waits for the
    /// disk, and for a sync to end.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        lock::may_wait();
        let _nobody_syncs = self.activity.at_disk.lock().unwrap_or_else(PoisonError::into_inner);
        fs::remove_dir_all(self.ring.dir())
    }

    /// It has left the table: everything was sent to everyone.
    pub fn leave(&self) {
        self.over.send_replace(true);
    }

    /// Becomes true with [`Container::condemn`] or [`Container::leave`].
    pub fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Makes how far it was sent survive a power loss. Waits for the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn save_sent(&self) -> Result<(), RingError> {
        lock::may_wait();
        let (saved, files) = {
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            (cursors.save_again(), cursors.to_sync())
        };
        // A cursor that goes back sends lines twice, and loses none.
        files.iter().for_each(|file| drop(file.sync_data()));
        saved
    }

    /// Brings to the disk what it did not take before, and makes what was written and sent so far survive a power loss.
    /// Waits for the disk.
    pub fn sync(&self) {
        lock::may_wait();
        // What is gone because it was retired must not be made again.
        let _nobody_removes = self.activity.at_disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.condemned.load(Ordering::Acquire) {
            return;
        }
        let healed = self.ring.heal::<DockerFrames>();
        self.activity.events.healed(&healed);
        self.activity.events.noticed(self.ring.take_notices());
        if healed.is_revoked {
            // The container was started again meanwhile. Its cursors are the newer ring's as well.
            return;
        }
        let (cursors, sent) = {
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            // That it could not be saved was said by who saved it.
            let sent = cursors.save_again().ok().and_then(|()| cursors.furthest_behind());
            (cursors.to_sync(), sent)
        };
        if let Some(sent) = sent.filter(|_| self.forgets) {
            self.ring.retire_all_before(sent);
        }
        if let Err(error) = self.ring.sync()
            && !error.is_revoked()
        {
            self.activity.events.not_synced(&error);
        }
        for file in cursors {
            // A cursor that goes back sends lines twice, and loses none.
            let _ = file.sync_data();
        }
    }
}

// === impl Activity ===

impl Activity {
    /// Of a container of this name, of which nothing is counted yet.
    pub fn new(name: &str, counters: Counters) -> Arc<Self> {
        Arc::new(Self {
            events: Arc::new(Events::new(&name.into(), counters)),
            line_rate: Rate::default(),
            byte_rate: Rate::default(),
            live: watch::Sender::new(0),
            attached: watch::Sender::new(0),
            attachments: AtomicU64::new(0),
            at_disk: Mutex::default(),
        })
    }
}

// === impl Attachment ===

impl Attachment {
    /// The container.
    pub fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// Whether anything was printed since it began: a `docker logs` is a stream that never is.
    pub fn has_printed(&self) -> bool {
        self.container.ring.published().next_seq > self.first
    }

    /// dockerd has stopped the stream and everything it wrote is in the ring. Said once or more.
    pub fn stopped(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            self.stop.send_replace(true);
            self.container.activity.live.send_modify(|live| *live -= 1);
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
        self.container.activity.attached.send_modify(|attached| *attached -= 1);
    }
}

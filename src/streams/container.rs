//! One container: its ring, its destinations with their progress, and its streams.

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

/// A container with at least one stream, or with unsent lines.
#[derive(Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name for the log.
    pub name: Arc<str>,
    /// The on-disk buffer (ring) of its output.
    pub ring: Arc<Ring>,
    /// The cursors: how far the ring was sent to each destination.
    pub cursors: Arc<Mutex<Cursors>>,
    /// The same positions, for readers that must not wait while a cursor is saved.
    pub sent: Saved,
    /// Whether sent lines are removed from the ring (`no-file`).
    pub forgets: bool,
    /// Its destinations, in the order of the cursors; empty while its options cannot be used.
    lanes: ShortLock<Vec<Lane>>,
    /// The names of the cursors.
    names: Vec<Name>,
    /// Its counters and streams, which continue when another `Container` replaces this one.
    pub activity: Arc<Activity>,
    /// The reason why its lines are not sent, see [`Container::unusable`].
    unusable: Mutex<Option<String>>,
    /// True once there is nothing left to send: all was sent, or its ring was removed.
    over: watch::Sender<bool>,
    /// True once its ring is about to be removed: nothing of it is written to disk any more.
    condemned: AtomicBool,
}

/// The streams that write to a ring, and their counters.
#[derive(Debug)]
pub struct Activity {
    /// The events of its intake.
    pub events: Arc<Events>,
    /// The rate of its lines.
    pub line_rate: Rate,
    /// The rate of its bytes.
    pub byte_rate: Rate,
    /// The number of streams that dockerd has not stopped.
    live: watch::Sender<usize>,
    /// The number of streams that can still bring bytes: dockerd closes a FIFO only after StopLogging was answered.
    attached: watch::Sender<usize>,
    /// The number of streams that have ever attached.
    attachments: AtomicU64,
    /// Held while the ring is synced or removed, across calls that block: lock it only on a thread that may block.
    at_disk: Mutex<()>,
}

/// The path of one container's lines to one destination.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The destination.
    pub destination: Arc<Destination>,
    /// The events of its lines.
    pub events: Arc<shipper::events::Events>,
    /// How long a line may wait for others before it is sent.
    pub batch_wait: Duration,
    /// The first entry that is sent in another way, because it was printed under another name or other options, see
    /// `former`. The greatest number if no such change is pending.
    pub until: Until,
}

/// The attachment of one stream to its container, dropped when the stream has ended.
#[derive(Debug)]
pub struct Attachment {
    container: Arc<Container>,
    /// The number of the ring's next entry when the stream began.
    first: u64,
    stopped: AtomicBool,
    stop: watch::Sender<bool>,
}

// === impl Container ===

impl Container {
    /// Creates a container of an open ring, with one named cursor for each lane.
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

    /// The reason why its lines are buffered and not sent: an error in its options, or in a file that they name.
    pub fn unusable(&self) -> Option<String> {
        let failed_closed = || self.lanes.lock().iter().any(|lane| lane.events.has_failed_closed());
        let unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unusable.or_else(|| failed_closed().then(|| FAILED_CLOSED.to_owned()))
    }

    /// Sets or clears the reason why its lines are not sent; returns the former one.
    pub fn set_unusable(&self, reason: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.unusable.lock().unwrap_or_else(PoisonError::into_inner), reason)
    }

    /// Its lanes, in the order of the cursors; empty while its options cannot be used.
    pub fn lanes(&self) -> Vec<Lane> {
        self.lanes.lock().clone()
    }

    /// The names of its cursors, in their order.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Replaces lane `at`.
    pub fn set_lane(&self, at: usize, lane: Lane) {
        if let Some(place) = self.lanes.lock().get_mut(at) {
            *place = lane;
        }
    }

    /// Sends entries from `until` on in another way. An attachment must follow, which wakes the shippers.
    pub fn end_at(&self, until: u64) {
        self.lanes.lock().iter().for_each(|lane| lane.until.lower(until));
    }

    /// Whether lane `at` has sent all entries that are sent in its way.
    pub fn is_through(&self, at: usize) -> bool {
        let until = self.lanes.lock().get(at).map_or(u64::MAX, |lane| lane.until.get());
        self.sent.position(at).map_or(0, |position| position.seq) >= until
    }

    /// Attaches a new stream that writes to this container.
    pub fn attach(self: &Arc<Self>) -> Attachment {
        let Activity { attachments, live, attached, .. } = &*self.activity;
        attachments.fetch_add(1, Ordering::AcqRel);
        live.send_modify(|live| *live += 1);
        attached.send_modify(|attached| *attached += 1);
        let first = self.ring.published().next_seq;
        Attachment { container: self.clone(), first, stopped: AtomicBool::new(false), stop: watch::Sender::new(false) }
    }

    /// The number of streams that dockerd has not stopped.
    pub fn live(&self) -> watch::Receiver<usize> {
        self.activity.live.subscribe()
    }

    /// The number of streams that can still bring bytes.
    pub fn attached(&self) -> watch::Receiver<usize> {
        self.activity.attached.subscribe()
    }

    /// Whether a stream can still bring bytes.
    pub fn is_attached(&self) -> bool {
        *self.activity.attached.borrow() > 0
    }

    /// The number of streams that have ever attached. While it stays the same and none is attached, nothing is written.
    pub fn attachments(&self) -> u64 {
        self.activity.attachments.load(Ordering::Acquire)
    }

    /// The number of streams that dockerd has not stopped.
    pub fn streams(&self) -> usize {
        *self.activity.live.borrow()
    }

    /// The number of lines that are unsent for at least one destination.
    pub fn unsent(&self) -> u64 {
        retention::unsent(&self.ring, self.sent.furthest_behind())
    }

    /// Bytes of its oldest segments that were sent to all destinations, without the active one.
    pub fn sent_sizes(&self) -> Vec<u64> {
        self.ring.sizes_before(self.sent.furthest_behind().unwrap_or_default())
    }

    /// Evicts at most this many of those segments, the oldest first; returns their bytes. Waits for the disk.
    pub fn trim(&self, segments: usize) -> u64 {
        lock::may_wait();
        self.ring.retire_oldest_before(self.sent.furthest_behind().unwrap_or_default(), segments)
    }

    /// Samples its counters for the rates. Call it every few seconds.
    pub fn sample(&self) {
        let happened = self.activity.events.happened();
        self.activity.line_rate.sample(happened.entries);
        self.activity.byte_rate.sample(happened.bytes);
    }

    /// Marks the ring as about to be removed; nothing of it will be sent or written any more.
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
        let _at_disk = self.activity.at_disk.lock().unwrap_or_else(PoisonError::into_inner);
        fs::remove_dir_all(self.ring.dir())
    }

    /// Records that it has left the table, because all destinations have everything.
    pub fn leave(&self) {
        self.over.send_replace(true);
    }

    /// Becomes true with [`Container::condemn`] or [`Container::leave`].
    pub fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Makes the sent positions survive a power loss. Waits for the disk.
    ///
    /// # Errors
    /// When the disk refuses it.
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

    /// Moves to the disk what it refused before, and makes all writes and sent positions so far survive a power loss.
    /// Waits for the disk.
    pub fn sync(&self) {
        lock::may_wait();
        // An evicted segment must not be created again.
        let _at_disk = self.activity.at_disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.condemned.load(Ordering::Acquire) {
            return;
        }
        let healed = self.ring.heal::<DockerFrames>();
        self.activity.events.healed(&healed);
        self.activity.events.noticed(self.ring.take_notices());
        if healed.is_revoked {
            // The container was started again meanwhile. Its cursors belong to the newer ring as well.
            return;
        }
        let (cursors, sent) = {
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            // The shipper that saved it has logged the failure.
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
    /// The activity of a container of this name, with empty counters.
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
    /// The container of this stream.
    pub fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// Whether the stream has printed: a `docker logs` is a stream that never does.
    pub fn has_printed(&self) -> bool {
        self.container.ring.published().next_seq > self.first
    }

    /// Records that dockerd has stopped the stream and that all its lines are in the ring. May be called repeatedly.
    pub fn stopped(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            self.stop.send_replace(true);
            self.container.activity.live.send_modify(|live| *live -= 1);
        }
    }

    /// Becomes true after [`Attachment::stopped`], or when the stream has ended.
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

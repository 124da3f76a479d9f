//! All that the stand-in knows, behind one lock.
//!
//! Rule: the server changes it in short synchronous sections and tells the condition variable after
//! letting go of the lock; tests look at it and wait on that variable. Nothing ever waits while it
//! holds the lock, so a standard mutex is right also in async code.

use super::faults::Script;
use super::labels::Pair;
use super::limits::Limits;
use super::store::{Kept, Labels, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line that Loki has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub tenant: String,
    /// As they were sent: without the `service_name` that Loki adds, and that queries show.
    pub labels: BTreeMap<String, String>,
    pub timestamp_ns: i64,
    pub line: Vec<u8>,
    /// As it was sent and cleaned: without a `detected_level` that Loki added.
    pub metadata: Vec<(String, String)>,
}

/// A request that was answered, or for which it is clear that it will not be.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// `None`: no answer was given.
    pub status_answered: Option<u16>,
    /// The beginning of the answer's text; nothing for a 200.
    pub answer: String,
    /// Label string and number of entries of each stream of a push that could be read.
    pub streams: Vec<(String, usize)>,
    /// Bytes of body that came.
    pub compressed_bytes: usize,
    pub uncompressed_bytes: usize,
    /// When its head had come.
    pub at: Instant,
}

/// What a condition of [`super::Standin::wait_for`] may look at.
pub struct State {
    pub(super) limits: Limits,
    pub(super) auth: bool,
    /// A header without which no push is let in.
    pub(super) demanded: Option<(String, String)>,
    pub(super) script: Script,
    pub(super) store: Store,
    pub(super) requests: Vec<Request>,
    pub(super) started: Instant,
}

/// The state and the means to wait for a change of it.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

// === impl State ===

impl State {
    /// Stored lines in the order of arrival.
    pub fn entries(&self) -> Vec<Stored> {
        self.store.kept().iter().map(Stored::from).collect()
    }

    /// Text of the stored lines that have all these labels, in the order of arrival.
    pub fn lines(&self, labels: &[(&str, &str)]) -> Vec<Vec<u8>> {
        self.matching(labels).map(|kept| kept.line.text.to_vec()).collect()
    }

    /// Shows the stored lines that have all these labels, with their times and structured metadata, in the order of arrival.
    pub fn each(&self, labels: &[(&str, &str)], mut show: impl FnMut(&[u8], i64, &[Pair])) {
        self.matching(labels).for_each(|kept| show(&kept.line.text, kept.line.timestamp, &kept.line.metadata));
    }

    /// How many stored lines have all these labels.
    pub fn count(&self, labels: &[(&str, &str)]) -> usize {
        self.store.count(labels)
    }

    /// Requests in the order they were done with.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Those of the requests that went to a push endpoint.
    pub fn pushes(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.is_push())
    }

    fn matching(&self, labels: &[(&str, &str)]) -> impl Iterator<Item = &Kept> {
        // Lines that came together have their labels from the same place.
        let mut known: Option<(&Arc<Labels>, bool)> = None;
        self.store.kept().iter().filter(move |kept| {
            let same = known.filter(|(labels, _)| Arc::ptr_eq(labels, &kept.labels));
            let (_, have) = *known.insert(same.unwrap_or_else(|| (&kept.labels, kept.labels.have(labels))));
            have
        })
    }
}

// === impl Shared ===

impl Shared {
    pub fn new(limits: Limits, auth: bool) -> Self {
        let state = State {
            limits,
            auth,
            demanded: None,
            script: Script::default(),
            store: Store::default(),
            requests: Vec::new(),
            started: Instant::now(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// For a look. A test that panicked with the lock in hand changes nothing for the others.
    pub fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, releases the lock, and wakes waiting threads.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.look());
        self.changed.notify_all();
        result
    }

    /// Waits until the condition holds; says whether it did in time.
    pub fn wait_for(&self, condition: impl Fn(&State) -> bool, patience: Duration) -> bool {
        let holds_not = |state: &mut State| !condition(state);
        let waited = self.changed.wait_timeout_while(self.look(), patience, holds_not);
        let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !result.timed_out()
    }
}

// === impl Request ===

impl Request {
    pub fn is_push(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        super::routes::PUSH_PATHS.contains(&path)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

// === impl Stored ===

impl From<&Kept> for Stored {
    fn from(kept: &Kept) -> Self {
        Self {
            tenant: kept.labels.tenant.clone(),
            labels: kept.labels.sent.clone(),
            timestamp_ns: kept.line.timestamp,
            line: kept.line.text.to_vec(),
            metadata: kept.line.metadata.to_vec(),
        }
    }
}

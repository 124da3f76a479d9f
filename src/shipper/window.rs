//! The times that Loki accepts for a stream, and what it gets in place of others.
//!
//! Loki refuses a line that is more than `creation_grace_period` ahead of its clock (`pkg/distributor/validator.go`), one that is more than
//! an hour behind the newest of its stream (`pkg/ingester/stream.go`), and one that is older than
//! `reject_old_samples_max_age`. A host whose clock was wrong, a stage that reads a time without its zone, and an outage of
//! hours all make such lines. They are sent with the nearest time that Loki accepts.
//!
//! A line that was sent once must be the same when it is sent again. So a window in which a line was clamped is pinned: to
//! the entries that were sent with it, and on disk before they are sent. What comes behind them gets a window of its own time.

/// `creation_grace_period` of Loki unless it is configured otherwise, in nanoseconds.
pub const GRACE: i64 = 600 * 1_000_000_000;

/// Times that are raised go so far above the oldest that Loki accepts, in nanoseconds: that rises while lines are on their way.
pub const LIFT: i64 = 60 * 1_000_000_000;

/// How much further back each refusal goes that a `Date` does not explain: the first step, doubled each time.
const STEP: i64 = 600 * 1_000_000_000;

/// Refusals of one batch as too new after which it waits. The distance is a fortnight by then, and Loki's clock is not what is wrong.
const MOST_REFUSALS: u32 = 14;

/// What a refusal taught about Loki's clock is forgotten after so long, in nanoseconds: somebody may have set that clock right.
const MEMORY: i64 = 600 * 1_000_000_000;

/// The time of day here and at Loki, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// By the clock of this host.
    pub host: i64,
    /// By Loki's, if an answer has told it lately.
    pub loki: Option<i64>,
}

/// What a refusal says about the times that Loki accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The oldest time that it accepts, where a line was older.
    pub oldest: Option<i64>,
    /// The earliest time that it called too new, in whole seconds.
    pub too_new: Option<i64>,
}

/// Times of lines, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines that are older are sent with this.
    pub oldest: i64,
    /// Lines that are newer are sent with [`Window::latest`].
    pub newest: i64,
    /// No later than Loki's clock.
    pub latest: i64,
}

/// The window of a stream from try to try. Where it says entries, it means their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    window: Window,
    /// Entries before this one may have been sent with the window, and some of them were clamped; 0 while it is not pinned.
    until: u64,
    /// Something was sent with the window and is not settled.
    is_tried: bool,
    /// Refusals as too new since something was settled.
    refusals: u32,
    learnt: Option<Learnt>,
}

/// How far ahead of its clock Loki accepts lines, as refusals have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Learnt {
    grace: i64,
    at: i64,
}

// === impl Now ===

impl Now {
    /// Loki's time; without one, that of the host.
    pub fn best(&self) -> i64 {
        self.loki.unwrap_or(self.host)
    }
}

// === impl Window ===

impl Window {
    /// Every time is inside.
    pub const OPEN: Self = Self { oldest: i64::MIN, newest: i64::MAX, latest: i64::MAX };

    /// The time that a line is sent with, if nothing else is in its way.
    pub fn clamp(&self, time: i64) -> i64 {
        if time < self.oldest {
            self.oldest
        } else if time > self.newest {
            // Where both ends cannot be kept to, it waits until the later one is over.
            self.latest.max(self.oldest)
        } else {
            time
        }
    }
}

// === impl Clamp ===

impl Default for Clamp {
    fn default() -> Self {
        Self::pinned(Window::OPEN, 0)
    }
}

impl Clamp {
    /// The window with which entries before `until` may have been sent.
    pub fn pinned(window: Window, until: u64) -> Self {
        Self { window, until, is_tried: false, refusals: 0, learnt: None }
    }

    /// Chooses the window for what is read now, from entry `from` on.
    pub fn begin(&mut self, now: &Now, from: u64) {
        if from < self.until {
            return;
        }
        self.until = 0;
        let (base, before) = (now.best(), self.window);
        // A clock that was set back makes it as worthless as age does.
        self.learnt = self.learnt.filter(|learnt| (0..MEMORY).contains(&base.saturating_sub(learnt.at)));
        let grace = match (self.learnt, now.loki) {
            (Some(learnt), _) => learnt.grace,
            (None, Some(_)) => GRACE,
            (None, None) => {
                self.window = Window { oldest: before.oldest, ..Window::OPEN };
                return;
            }
        };
        let newest = base.saturating_add(grace);
        // What was inside when it was sent for the first time stays as it is.
        let newest = if self.is_tried { newest.max(before.newest) } else { newest };
        self.window = Window { oldest: before.oldest, newest, latest: base.saturating_add(grace.min(0)) };
    }

    /// The window for what is read now.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The entry at which reading must end, so that a pinned window has no other lines than before.
    pub fn until(&self) -> Option<u64> {
        Some(self.until).filter(|until| *until > 0)
    }

    /// A batch that ends before entry `until` is about to be sent; with `is_clamped`, lines in it have another time than their own.
    pub fn sending(&mut self, is_clamped: bool, until: u64) {
        self.is_tried = true;
        if is_clamped {
            self.until = self.until.max(until);
        }
    }

    /// Narrows the window to what a refusal says; false when that cannot help any more. `least` is the earliest time of a line in the batch.
    pub fn refused(&mut self, refusal: &Refusal, least: i64, now: &Now) -> bool {
        let mut helps = false;
        if let Some(oldest) = refusal.oldest
            && self.window.oldest < oldest
        {
            self.window.oldest = oldest.saturating_add(LIFT);
            helps = true;
        }
        if let Some(too_new) = refusal.too_new
            && self.refusals < MOST_REFUSALS
        {
            self.refusals += 1;
            self.lower(too_new, least, now.best());
            helps = true;
        }
        helps
    }

    /// The first refusal is believed in what it says, the second leaves nothing ahead of Loki's clock, and each that follows is about a
    /// clock that is not the one of which the `Date` was seen.
    fn lower(&mut self, too_new: i64, least: i64, base: i64) {
        let (newest, latest) = match self.refusals {
            1 => (base.saturating_add(GRACE).min(too_new.saturating_sub(1)), base),
            2 => (base, base),
            more => {
                let edge = base.saturating_sub(STEP << (more - 3));
                (edge, edge)
            }
        };
        let latest = latest.min(newest);
        // Behind a line that was accepted with its own time, that time could not be kept.
        let latest = if least <= newest { latest.min(least) } else { latest };
        self.window = Window { newest, latest, ..self.window };
        self.learnt = Some(Learnt { grace: newest.saturating_sub(base).min(GRACE), at: base });
    }

    /// Everything before entry `next` is settled.
    pub fn settled(&mut self, next: u64) {
        if next >= self.until {
            self.until = 0;
            self.is_tried = false;
            self.refusals = 0;
        }
    }
}

#[cfg(test)]
mod tests;

//! The times that Loki accepts for a stream, and what it gets in place of others.
//!
//! Loki refuses a line that is more than `creation_grace_period` ahead of its clock (`pkg/distributor/validator.go`), one that is more than
//! an hour behind the newest of its stream (`pkg/ingester/stream.go`), and one that is older than
//! `reject_old_samples_max_age`. A host whose clock was wrong, a stage that reads a time without its zone, and an outage of
//! hours all make such lines. They are sent with the nearest time that Loki accepts.
//!
//! A line that was sent once must be the same when it is sent again. So a window in which a line was clamped is pinned: to
//! the entries that were sent with it, and on disk before they are sent. What comes behind them gets a window of its own time.

/// How far ahead of Loki's clock a line may be, in nanoseconds: `creation_grace_period` unless it is configured otherwise, less a second for lines
/// that follow and get later times.
pub const GRACE: i64 = 599 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// Times that are raised go so far above the oldest that Loki accepts, in nanoseconds: that rises while lines are on their way.
pub const LIFT: i64 = 60 * SECOND;

/// Room for clamped lines before one that keeps its time, in nanoseconds: as many lines may go there.
const ROOM: i64 = 1_000_000;

/// How much further back each refusal goes that a `Date` does not explain: the first step, doubled each time.
const STEP: i64 = 600 * SECOND;

/// Refusals of one batch as too new after which it waits. The distance is a fortnight by then, and Loki's clock is not what is wrong.
const MOST_REFUSALS: u32 = 14;

/// What a refusal taught about Loki's clock is forgotten after so long, in nanoseconds: somebody may have set that clock right.
const MEMORY: i64 = 600 * SECOND;

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

/// What is known of a batch that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// The earliest time that one of its lines says.
    pub least: i64,
    /// The time of the last line of the stream that was accepted before.
    pub last: i64,
    /// The latest time of a line of it that was accepted, if any was.
    pub accepted: Option<i64>,
    /// The earliest one, when only lines that were too old were refused.
    pub earliest: Option<i64>,
}

// === impl Tried ===

impl Tried {
    /// The earliest time for lines that were older than `oldest`: a little later, unless a line has that time which was accepted with its own.
    /// Nothing when they were sent with such a time already, which is `floor`.
    ///
    /// What Loki says is cut to whole seconds. So it may name a time that lines have which it refused; then they get a later one, even if that
    /// is later than the line that was accepted, which comes twice in that case.
    pub fn lifted(&self, oldest: i64, floor: i64) -> Option<i64> {
        let lifted = oldest.saturating_add(LIFT);
        let before = self.earliest.map_or(lifted, |earliest| lifted.min(earliest.saturating_sub(ROOM)).max(oldest));
        [before, lifted].into_iter().find(|time| *time > floor)
    }
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
    /// Entries before this one were sent and are not settled; 0 when there are none.
    tried: u64,
    /// Entries before this one are sent with this window and no other; 0 while it is not pinned.
    until: u64,
    /// Refusals as too new since something was settled.
    refusals: u32,
    learnt: Option<Learnt>,
}

/// How far ahead of its clock Loki accepts lines, as refusals have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Learnt {
    grace: i64,
    at: i64,
    /// Not even a time behind that of the last accepted line was accepted.
    is_set_back: bool,
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
        Self { window, tried: until, until, refusals: 0, learnt: None }
    }

    /// Chooses the window for what is read now, from entry `from` on, in a stream whose last line was accepted with the time `last`.
    pub fn begin(&mut self, now: &Now, from: u64, last: i64) {
        if from < self.until {
            return;
        }
        self.until = 0;
        let (base, before) = (now.best(), self.window);
        // A clock that was set back makes it as worthless as age does.
        self.learnt = self.learnt.filter(|learnt| (0..MEMORY).contains(&base.saturating_sub(learnt.at)));
        let (grace, is_set_back) = match (self.learnt, now.loki) {
            (Some(learnt), _) => (learnt.grace, learnt.is_set_back),
            (None, Some(_)) => (GRACE, false),
            (None, None) => {
                self.window = Window { oldest: before.oldest, ..Window::OPEN };
                return;
            }
        };
        let newest = base.saturating_add(grace);
        // What was accepted tells more than the clock of a proxy.
        let newest = if is_set_back { newest } else { newest.max(behind(last)) };
        // What was inside when it was sent for the first time stays as it is.
        let newest = if from < self.tried { newest.max(before.newest) } else { newest };
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
        self.tried = self.tried.max(until);
        if is_clamped {
            self.until = self.tried;
        }
    }

    /// Narrows the window to what a refusal says; false when only time helps.
    pub fn refused(&mut self, refusal: &Refusal, tried: &Tried, now: &Now) -> bool {
        let mut helps = false;
        if let Some(lifted) = refusal.oldest.and_then(|oldest| tried.lifted(oldest, self.window.oldest)) {
            self.window.oldest = lifted;
            helps = true;
        }
        if let Some(too_new) = refusal.too_new {
            self.refusals += 1;
            if self.refusals <= MOST_REFUSALS {
                self.lower(too_new, tried, now);
                helps = true;
            } else {
                self.refusals = 0;
            }
        }
        if helps {
            // A smaller batch of them gets no other window.
            self.until = self.tried;
        }
        helps
    }

    /// Lines that were accepted beside those that were refused tell what is accepted. Without any, the first refusal is believed in what it
    /// says, the second leaves nothing ahead of Loki's clock, and each that follows is about a clock that is not the one of which the `Date` was
    /// seen; but before a time is earlier than that of the last accepted line, that is tried.
    fn lower(&mut self, too_new: i64, tried: &Tried, now: &Now) {
        let (base, before) = (now.best(), self.window.newest);
        let sooner = too_new.saturating_sub(1).min(before);
        let (newest, latest) = match tried.accepted {
            // What was refused is told in whole seconds.
            // Lines may be among the accepted that have another time already.
            Some(accepted) => {
                let is_nearby = accepted < too_new.saturating_add(SECOND);
                (if is_nearby { sooner.max(accepted) } else { sooner }, accepted.min(self.window.latest))
            }
            None => {
                let edge = match self.refusals {
                    1 if now.loki.is_some() => base.saturating_add(GRACE).min(sooner),
                    1 => sooner,
                    2 => base.min(before),
                    more => base.saturating_sub(STEP << (more - 3)).min(before),
                };
                let last = behind(tried.last);
                (if (edge..before).contains(&last) { last } else { edge }, base)
            }
        };
        let latest = latest.min(newest);
        // A line that was accepted with its own time keeps it only if no other gets that or a later one before it.
        let latest = if tried.least <= newest { latest.min(tried.least.saturating_sub(ROOM)) } else { latest };
        self.window = Window { newest, latest, ..self.window };
        let grace = newest.saturating_sub(base);
        self.learnt = (grace < GRACE).then_some(Learnt { grace, at: base, is_set_back: newest < behind(tried.last) });
    }

    /// Everything before entry `next` is settled.
    pub fn settled(&mut self, next: u64) {
        if next >= self.until {
            self.until = 0;
        }
        if next >= self.tried {
            (self.tried, self.refusals) = (0, 0);
        }
    }
}

/// Room for lines behind one that was accepted.
fn behind(last: i64) -> i64 {
    last.saturating_add(SECOND)
}

#[cfg(test)]
mod tests;

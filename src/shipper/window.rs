//! The window of timestamps that Loki accepts for a stream, and how others are clamped.
//!
//! Loki rejects a line that is more than `creation_grace_period` ahead of its clock (`pkg/distributor/validator.go`),
//! one that is more than an hour behind the newest of its stream (`pkg/ingester/stream.go`), and one that is older than
//! `reject_old_samples_max_age`. A host with a wrong clock, a stage that parses a timestamp without its zone, and an
//! outage of hours all make such lines. They are sent with the nearest timestamp that Loki accepts.
//!
//! A replay must send a line with the same timestamp. So a window that has clamped a line is pinned to the entries that
//! were sent with it, and saved before they are sent. Entries behind them get a window of their own time.

/// How far ahead of Loki's clock a line may be, in nanoseconds: the default of `creation_grace_period`, less a second
/// for lines that follow with later timestamps.
pub const GRACE: i64 = 599 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// How far raised timestamps are above the oldest that Loki accepts, in nanoseconds: that rises while lines are in
/// flight.
pub const LIFT: i64 = 60 * SECOND;

/// Room for clamped lines before one that keeps its timestamp, in nanoseconds: this number of lines fits there.
const ROOM: i64 = 1_000_000;

/// The first step back, in nanoseconds, after a rejection that the `Date` does not explain; each further one doubles.
const STEP: i64 = 600 * SECOND;

/// Rejections of one batch as too new after which it waits. The distance is two weeks by then, so Loki's clock is not
/// the cause.
const MOST_REFUSALS: u32 = 14;

/// How long the result of a rejection is remembered, in nanoseconds: Loki's clock may have been corrected since.
const MEMORY: i64 = 600 * SECOND;

/// The time of day on this host and at Loki, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// By the clock of this host.
    pub host: i64,
    /// By Loki's clock, if an answer has shown it recently.
    pub loki: Option<i64>,
}

/// What a rejection says about the timestamps that Loki accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The oldest accepted timestamp, where a line was older.
    pub oldest: Option<i64>,
    /// The earliest timestamp that Loki called too new, in whole seconds.
    pub too_new: Option<i64>,
}

/// What is known of a batch that was rejected.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// The earliest timestamp that one of its lines had before clamping.
    pub least: i64,
    /// The timestamp of the last line of the stream that was accepted before.
    pub last: i64,
    /// The latest timestamp of an accepted line of the batch.
    pub accepted: Option<i64>,
    /// The earliest one, when Loki rejected only lines that were too old.
    pub earliest: Option<i64>,
}

// === impl Tried ===

impl Tried {
    /// The lowest timestamp for lines that were older than `oldest`: a little later, but before a line that was
    /// accepted with its own. `None` when lines were sent with such a timestamp already, which is `floor`.
    ///
    /// Loki names whole seconds, so it may name a timestamp that it rejects. Then lines get a later one, even if that
    /// is later than an accepted line, which then comes twice.
    pub fn lifted(&self, oldest: i64, floor: i64) -> Option<i64> {
        let lifted = oldest.saturating_add(LIFT);
        let before = self.earliest.map_or(lifted, |earliest| lifted.min(earliest.saturating_sub(ROOM)).max(oldest));
        [before, lifted].into_iter().find(|time| *time > floor)
    }
}

/// Limits of timestamps, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines that are older are sent with this.
    pub oldest: i64,
    /// Lines that are newer are sent with [`Window::latest`].
    pub newest: i64,
    /// The timestamp of lines that are newer than `newest`; no later than Loki's clock.
    pub latest: i64,
}

/// The window of a stream from try to try. Entries are given by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    window: Window,
    /// Entries before this one were sent and are not settled; 0 when there are none.
    tried: u64,
    /// Entries before this one are sent with exactly this window; 0 while it is not pinned.
    until: u64,
    /// Rejections as too new since entries were settled.
    refusals: u32,
    learnt: Option<Learnt>,
}

/// How far ahead of its clock Loki accepts lines, as learnt from rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Learnt {
    grace: i64,
    at: i64,
    /// Whether Loki did not accept even a timestamp behind that of the last accepted line.
    is_set_back: bool,
}

// === impl Now ===

impl Now {
    /// Loki's time if it is known, else the host's.
    pub fn best(&self) -> i64 {
        self.loki.unwrap_or(self.host)
    }
}

// === impl Window ===

impl Window {
    /// A window without limits.
    pub const OPEN: Self = Self { oldest: i64::MIN, newest: i64::MAX, latest: i64::MAX };

    /// The timestamp to which this window clamps a line.
    pub fn clamp(&self, time: i64) -> i64 {
        if time < self.oldest {
            self.oldest
        } else if time > self.newest {
            // If both limits cannot be met, the line waits until Loki accepts the later one.
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

    /// Chooses the window for entries from `from` on, in a stream whose last line was accepted with the timestamp
    /// `last`.
    pub fn begin(&mut self, now: &Now, from: u64, last: i64) {
        if from < self.until {
            return;
        }
        self.until = 0;
        let (base, before) = (now.best(), self.window);
        // A clock that was set back makes it as useless as age does.
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
        // An accepted line is better evidence than the clock of a proxy.
        let newest = if is_set_back { newest } else { newest.max(behind(last)) };
        // A timestamp that was inside the window at the first try stays unchanged.
        let newest = if from < self.tried { newest.max(before.newest) } else { newest };
        self.window = Window { oldest: before.oldest, newest, latest: base.saturating_add(grace.min(0)) };
    }

    /// The window for what is read now.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The entry at which reading must end, so that a pinned window has the same lines as before.
    pub fn until(&self) -> Option<u64> {
        Some(self.until).filter(|until| *until > 0)
    }

    /// Notes that a batch that ends before entry `until` is about to be sent; `is_clamped` says whether timestamps in
    /// it were clamped.
    pub fn sending(&mut self, is_clamped: bool, until: u64) {
        self.tried = self.tried.max(until);
        if is_clamped {
            self.until = self.tried;
        }
    }

    /// Narrows the window after a rejection; false when only waiting helps.
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
            // A smaller batch of the same lines gets the same window.
            self.until = self.tried;
        }
        helps
    }

    /// Lowers the upper limit. Lines that were accepted beside rejected ones show what Loki accepts. Without any, the
    /// first rejection is believed, the second allows nothing ahead of Loki's clock, and each further one means that
    /// Loki's clock is not the one of the `Date`. Before a timestamp gets earlier than that of the last accepted line,
    /// that one is tried.
    fn lower(&mut self, too_new: i64, tried: &Tried, now: &Now) {
        let (base, before) = (now.best(), self.window.newest);
        let sooner = too_new.saturating_sub(1).min(before);
        let (newest, latest) = match tried.accepted {
            // Loki names whole seconds, and accepted lines may have been clamped already.
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
        // An accepted line keeps its own timestamp only if no earlier line gets that or a later one.
        let latest = if tried.least <= newest { latest.min(tried.least.saturating_sub(ROOM)) } else { latest };
        self.window = Window { newest, latest, ..self.window };
        let grace = newest.saturating_sub(base);
        self.learnt = (grace < GRACE).then_some(Learnt { grace, at: base, is_set_back: newest < behind(tried.last) });
    }

    /// Marks everything before entry `next` as settled.
    pub fn settled(&mut self, next: u64) {
        if next >= self.until {
            self.until = 0;
        }
        if next >= self.tried {
            (self.tried, self.refusals) = (0, 0);
        }
    }
}

/// Room for lines behind an accepted one.
fn behind(last: i64) -> i64 {
    last.saturating_add(SECOND)
}

#[cfg(test)]
mod tests;

//! Delays of calls that may wait for the disk or for a name server.

use std::time::Duration;

use super::network::RESOLVER;
use super::time;
use base::pools::Pool;

/// The present delays, see the [module](self).
#[derive(Debug, Default)]
pub struct Delays {
    syncs: Duration,
    all: Duration,
    pub slowest_sync: Duration,
    /// When the last call ends that was delayed noticeably.
    hung_until: Duration,
}

// === impl Delays ===

impl Delays {
    /// The duration of a call that begins now.
    pub fn of(&mut self, pool: Pool) -> Duration {
        let delay = match pool {
            Pool::Names => return RESOLVER,
            Pool::Sync => self.all + self.syncs + Duration::from_micros(fastrand::u64(..20_000)),
            _ => self.all + Duration::from_micros(fastrand::u64(..2000)),
        };
        if !self.all.is_zero() {
            self.hung_until = self.hung_until.max(time::passed() + delay);
        }
        delay
    }

    /// Sets the duration of syncs.
    pub fn set_syncs(&mut self, delay: Duration) {
        self.syncs = delay;
        self.slowest_sync = self.slowest_sync.max(self.syncs + self.all);
    }

    /// Sets the duration of all calls that wait for the disk.
    pub fn set_all(&mut self, delay: Duration) {
        self.all = delay;
        // A round syncs more rings than a pool has threads.
        self.slowest_sync = self.slowest_sync.max(self.syncs + 3 * self.all);
    }

    /// Whether calls are delayed noticeably.
    pub fn are_long(&self) -> bool {
        !self.syncs.is_zero() || !self.were_short_since(time::passed().saturating_sub(self.slowest_sync))
    }

    /// Whether no call except syncs has been delayed since.
    pub fn were_short_since(&self, since: Duration) -> bool {
        self.all.is_zero() && self.hung_until <= since
    }
}

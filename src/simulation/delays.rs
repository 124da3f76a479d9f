//! How long calls take that may wait for the disk or for a name server.

use std::time::Duration;

use super::network::RESOLVER;
use super::time;
use base::pools::Pool;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Delays {
    syncs: Duration,
    all: Duration,
    pub slowest_sync: Duration,
    /// When the last call ends that was delayed by more than a moment.
    hung_until: Duration,
}

// === impl Delays ===

impl Delays {
    /// How long a call takes that begins now.
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

    /// Syncs take so long.
    pub fn set_syncs(&mut self, delay: Duration) {
        self.syncs = delay;
        self.slowest_sync = self.slowest_sync.max(self.syncs + self.all);
    }

    /// All calls that wait for the disk take so long.
    pub fn set_all(&mut self, delay: Duration) {
        self.all = delay;
        // A round has rings of more than a pool's threads.
        self.slowest_sync = self.slowest_sync.max(self.syncs + 3 * self.all);
    }

    /// Whether calls may have to wait longer than for a moment.
    pub fn are_long(&self) -> bool {
        !self.syncs.is_zero() || !self.were_short_since(time::passed().saturating_sub(self.slowest_sync))
    }

    /// Whether no call of those that are not syncs has been delayed since.
    pub fn were_short_since(&self, since: Duration) -> bool {
        self.all.is_zero() && self.hung_until <= since
    }
}

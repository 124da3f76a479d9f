//! Slots bound how many pushes to one destination are in flight at once.
//!
//! Pushes that hang must not displace those that are answered. So streams whose last push failed have a small share of
//! their own. A push that is overdue moves to a third share, and its slot goes to the next push.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in flight to one destination, except those of streams that failed and those that are overdue.
pub const IN_FLIGHT: usize = 8;

/// Requests in flight of streams whose last push failed.
pub const FAILED_SHARE: usize = 2;

/// Requests in flight that are [overdue](super::breaker::OVERDUE). Beyond it, overdue requests keep their slot: a
/// destination at which this many requests hang is as good as down.
pub const OVERDUE_SHARE: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub struct Slots {
    prompt: Arc<Semaphore>,
    failed: Arc<Semaphore>,
    overdue: Arc<Semaphore>,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
}

// === impl Slots ===

impl Slots {
    /// Slots of one destination.
    pub fn new() -> Arc<Self> {
        let of = |count| Arc::new(Semaphore::new(count));
        Arc::new(Self { prompt: of(IN_FLIGHT), failed: of(FAILED_SHARE), overdue: of(OVERDUE_SHARE) })
    }

    /// Waits for a slot, first come, first served.
    pub async fn take(self: &Arc<Self>, has_failed: bool) -> Slot {
        let share = if has_failed { &self.failed } else { &self.prompt };
        // Never closed.
        let permit = share.clone().acquire_owned().await.ok();
        Slot { slots: self.clone(), permit }
    }
}

// === impl Slot ===

impl Slot {
    /// Marks the request as overdue: its slot goes to the next push, if the overdue share has room.
    pub fn is_overdue(&mut self) {
        if let Ok(permit) = self.slots.overdue.clone().try_acquire_owned() {
            self.permit = Some(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_free(slots: &Arc<Slots>, has_failed: bool) -> bool {
        timeout(Duration::from_millis(1), slots.take(has_failed)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_failed_take_no_place_of_the_others() {
        let slots = Slots::new();
        let mut failed = Vec::new();
        while is_free(&slots, true).await {
            failed.push(slots.take(true).await);
        }
        assert_eq!(failed.len(), FAILED_SHARE);
        assert!(is_free(&slots, false).await);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_hang_make_room_and_their_number_is_bounded() {
        let slots = Slots::new();
        let mut out = Vec::new();
        while is_free(&slots, false).await {
            let mut slot = slots.take(false).await;
            slot.is_overdue();
            out.push(slot);
        }
        assert_eq!(out.len(), IN_FLIGHT + OVERDUE_SHARE);
        out.pop();
        assert!(is_free(&slots, false).await);
    }
}

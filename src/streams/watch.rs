//! Checks everything once a minute, and logs in the plugin's log when something fails and when it recovers.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::container::Container;
use super::registry::Registry;
use super::view::{LaneView, nanoseconds};
use base::pools::Pool;
use telemetry::summary::{Down, Lost, Reading, Summary};

impl Registry {
    /// Checks once per `every` until the plugin shuts down. Lines are behind when they wait longer than `every`, beyond
    /// `loki-batch-wait`, or for a destination that is down.
    pub async fn keep_watch(&self, every: Duration) {
        let mut shutdown = self.inner.shutdown.subscribe();
        let mut summary = Summary::default();
        while timeout(every, shutdown.wait_for(|down| *down)).await.is_err() {
            let registry = self.clone();
            // Finding the age of lines reads from the disk.
            let Ok(reading) = Pool::Status.run(move || registry.reading(every)).await else { continue };
            if let Some(outcome) = summary.look(Instant::now().into_std(), reading) {
                outcome.say();
            }
        }
    }

    fn reading(&self, patience: Duration) -> Reading {
        let (read, sent) = (&self.inner.setup.counters, &self.inner.setup.sent);
        let (containers, unlogged) = self.open();
        let mut reading = Reading {
            down: self.down(),
            bad_settings: self.inner.setup.mistakes.len() as u64,
            unlogged: unlogged as u64,
            unusable: self.stranded() as u64,
            lost: Lost { lines: sent.dropped(), bytes: read.no_entry_bytes.get() + read.no_room_bytes.get() },
            ..Reading::default()
        };
        let now = nanoseconds();
        for container in &containers {
            reading.in_memory += u64::from(container.ring.is_in_memory());
            reading.unusable += u64::from(container.unusable().is_some());
            add_waiting(&mut reading, container, patience, now);
        }
        reading
    }

    fn down(&self) -> Vec<Down> {
        let destinations: Vec<_> =
            self.inner.destinations.lock().values().filter_map(std::sync::Weak::upgrade).collect();
        let mut down: Vec<_> = destinations
            .iter()
            .filter_map(|destination| {
                let health = destination.health();
                Some(Down {
                    name: destination.name().to_owned(),
                    lasts: health.down_for?,
                    reason: health.last_error.map(|error| error.text),
                })
            })
            .collect();
        down.sort_by(|one, other| (&one.name, one.lasts).cmp(&(&other.name, other.lasts)));
        down
    }
}

/// Adds a container's lines that are behind.
fn add_waiting(reading: &mut Reading, container: &Container, patience: Duration, now: i64) {
    let mut is_behind = false;
    for (at, lane) in container.lanes().iter().enumerate() {
        let view = LaneView::of(container, at, lane, now);
        let age = Duration::from_secs_f64(view.lag_seconds);
        let is_late = lane.destination.is_down() || age > patience.saturating_add(lane.batch_wait);
        if view.lag_lines > 0 && is_late {
            is_behind = true;
            reading.waiting_lines += view.lag_lines;
            reading.oldest = reading.oldest.max(age);
        }
    }
    reading.waiting_containers += u64::from(is_behind);
}

//! Says things that happen often, once a minute, with their number.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same thing.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts one thing that happens to one container, between lines of the log. What is unsaid at the end is said then.
#[derive(Debug)]
pub struct Throttle {
    container: Arc<str>,
    say: fn(container: &str, count: u64, detail: &str),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
    detail: String,
}

// === impl Throttle ===

impl Throttle {
    /// Says it by `say`, which is given the container, how often it happened since it was said last, and the latest
    /// detail.
    pub fn new(container: &Arc<str>, say: fn(&str, u64, &str)) -> Self {
        Self { container: container.clone(), say, state: Mutex::default() }
    }

    /// It happened `count` times more: said at once the first time, then once a minute at most.
    pub fn add(&self, count: u64, detail: impl FnOnce() -> String) {
        self.add_at(now(), count, detail);
    }

    /// It is still so: said at once the first time, then once a minute. It is not counted, so nothing of it is left to say.
    pub fn lasts(&self, detail: impl FnOnce() -> String) {
        self.lasts_at(now(), detail);
    }

    fn lasts_at(&self, now: Instant, detail: impl FnOnce() -> String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_due(now) {
            state.said = Some(now);
            (self.say)(&self.container, 1, &detail());
        }
    }

    fn add_at(&self, now: Instant, count: u64, detail: impl FnOnce() -> String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsaid += count;
        let due = state.is_due(now);
        if due || state.detail.is_empty() {
            state.detail = detail();
        }
        if state.unsaid > 0 && due {
            state.said = Some(now);
            let unsaid = std::mem::take(&mut state.unsaid);
            (self.say)(&self.container, unsaid, &state.detail);
        }
    }
}

impl State {
    fn is_due(&self, now: Instant) -> bool {
        self.said.is_none_or(|said| now.duration_since(said) >= INTERVAL)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.unsaid > 0 {
            (self.say)(&self.container, state.unsaid, &state.detail);
        }
    }
}

/// By Tokio's clock, which a test can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_rest_once_a_minute_with_their_number() {
        static SAID: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
        let throttle = Throttle::new(&"c".into(), |_, count, detail| SAID.lock().unwrap().push((count, detail.into())));
        let start = Instant::now();
        for second in 0..125 {
            throttle.add_at(start + Duration::from_secs(second), 2, || format!("at {second}"));
        }
        drop(throttle);
        let said: Vec<_> = SAID.lock().unwrap().iter().map(|(count, detail)| (*count, detail.clone())).collect();
        let expected = [(2, "at 0"), (120, "at 60"), (120, "at 120"), (8, "at 120")];
        assert_eq!(said, expected.map(|(count, detail)| (count, detail.to_string())));
    }
    #[test]
    fn what_lasts_is_said_once_a_minute_and_not_at_the_end() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let throttle = Throttle::new(&"c".into(), |_, _, detail| SAID.lock().unwrap().push(detail.into()));
        let start = Instant::now();
        for second in 0..119 {
            throttle.lasts_at(start + Duration::from_secs(second), || format!("at {second}"));
        }
        drop(throttle);
        assert_eq!(*SAID.lock().unwrap(), ["at 0", "at 60"]);
    }
}

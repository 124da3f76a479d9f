//! How much an evaluation may cost: options come from anyone who may start a container, and what they compute is bounded.
//!
//! A [`Work`] is a counter that every evaluator charges before it does something: templates, JMESPath, regular expressions, the
//! other stages of a pipeline. It counts *units*. A unit is about what one core does in a nanosecond, in the worst case that was
//! found; no clock is read, so the same line with the same options costs the same wherever and however often it is run.
//!
//! When the counter is used up, or a value grows too large, the evaluation ends with [`Excess`]. What was evaluated has no result then: a
//! line is not sent, because the stage may have been there to redact it; a label is refused.

use std::cell::Cell;
use std::fmt;

/// Units that one line may cost in all stages of its pipeline.
///
/// docs/security.md says what usual pipelines were measured to take of it.
pub const LINE: u64 = 1_000_000_000;

/// Units that all templates of one container's labels may cost together; dockerd waits for them.
pub const LABELS: u64 = 20_000_000;

/// Bytes of all values that the evaluation of one line may make, those included that were dropped again.
pub const ROOM: u64 = 64 << 20;

/// Bytes of memory that all regular expressions of one text of stages, or of the other options of a container, may take together.
pub const EXPRESSIONS: u64 = 128 << 20;

/// Units of one step of a template or of JMESPath: a call, a branch, an element of a list.
pub const STEP: u64 = 500;

/// Why an evaluation was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It takes too many steps, or touches too many bytes.
    Work,
    /// A value, or all values together, become too large.
    Size,
}

/// What an evaluation may still cost. See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    left: u64,
    room: u64,
    total: u64,
    excess: Option<Excess>,
}

// === impl Work ===

impl Work {
    /// So many units, and [`ROOM`].
    pub const fn of(units: u64) -> Self {
        Self { left: units, room: ROOM, total: units, excess: None }
    }

    /// What one line may cost.
    pub const fn of_line() -> Self {
        Self::of(LINE)
    }

    /// What regular expressions of options may take: room alone.
    pub const fn of_expressions() -> Self {
        Self { room: EXPRESSIONS, ..Self::of(u64::MAX) }
    }

    /// Takes units.
    ///
    /// # Errors
    /// When fewer units are left. From then on every charge fails.
    #[inline]
    pub fn charge(&mut self, units: u64) -> Result<(), Excess> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exceed(Excess::Work)),
        }
    }

    /// Takes units for steps.
    ///
    /// # Errors
    /// As [`Work::charge`].
    #[inline]
    pub fn steps(&mut self, steps: usize) -> Result<(), Excess> {
        self.charge((steps as u64).saturating_mul(STEP))
    }

    /// Takes units for bytes that are read or copied.
    ///
    /// # Errors
    /// As [`Work::charge`].
    #[inline]
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Excess> {
        self.charge(bytes as u64)
    }

    /// Takes room for a value of this many bytes.
    ///
    /// # Errors
    /// When there is not so much left. From then on every charge fails.
    #[inline]
    pub fn grow(&mut self, bytes: usize) -> Result<(), Excess> {
        match self.room.checked_sub(bytes as u64) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => Err(self.exceed(Excess::Size)),
        }
    }

    /// Ends the evaluation: the first reason counts.
    #[cold]
    pub fn exceed(&mut self, excess: Excess) -> Excess {
        self.left = 0;
        self.room = 0;
        *self.excess.get_or_insert(excess)
    }

    /// Why it was ended, if it was.
    #[inline]
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// Whether it was ended.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.excess.is_some()
    }

    /// Units that were taken.
    pub fn spent(&self) -> u64 {
        self.total - self.left
    }
}

// === impl Excess ===

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Work => "it takes too many steps or touches too many bytes",
            Self::Size => "its values become too large",
        })
    }
}

impl std::error::Error for Excess {}

// === engines that take no argument of ours ===

thread_local! {
    /// Outside of [`charging`] there is no bound.
    static CURRENT: Cell<Work> = const { Cell::new(Work { room: u64::MAX, ..Work::of(u64::MAX) }) };
}

/// Runs something that charges by [`current`]: an engine that calls functions with its own arguments only.
///
/// What panics inside is to be caught inside.
pub fn charging<T>(work: &mut Work, run: impl FnOnce() -> T) -> T {
    let outer = CURRENT.replace(*work);
    let answer = run();
    *work = CURRENT.replace(outer);
    answer
}

/// Charges what [`charging`] was called with.
///
/// # Errors
/// As the method of [`Work`] that is called.
#[inline]
pub fn current<T>(charge: impl FnOnce(&mut Work) -> T) -> T {
    let mut work = CURRENT.get();
    let answer = charge(&mut work);
    CURRENT.set(work);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_up_work_stays_used_up() {
        let mut work = Work::of(1_000);
        assert_eq!(work.steps(1), Ok(()));
        assert_eq!(work.bytes(500), Ok(()));
        assert_eq!((work.spent(), work.is_over()), (1_000, false));
        assert_eq!(work.charge(1), Err(Excess::Work));
        assert_eq!(work.charge(1), Err(Excess::Work));
        assert_eq!(work.grow(1), Err(Excess::Work), "the first reason is given");
        assert_eq!(work.excess(), Some(Excess::Work));
    }

    #[test]
    fn room_is_bounded_by_itself() {
        let mut work = Work::of(10);
        assert_eq!(work.grow(ROOM as usize), Ok(()));
        assert_eq!(work.grow(1), Err(Excess::Size));
        assert_eq!(work.charge(1), Err(Excess::Size));
    }

    #[test]
    fn an_inner_evaluation_charges_its_own_work() {
        let (mut outer, mut inner) = (Work::of(10), Work::of(10));
        charging(&mut outer, || {
            current(|work| work.charge(1)).unwrap();
            charging(&mut inner, || current(|work| work.charge(5)).unwrap());
            current(|work| work.charge(1)).unwrap();
        });
        assert_eq!((outer.spent(), inner.spent()), (2, 5));
    }
}

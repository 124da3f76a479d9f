//! Strikes decide when a container's pipeline gets no more lines, because it costs too much again and again.
//!
//! A line that costs too much is dropped, and has cost as much as a million others. After [`MOST`] of them with few
//! good lines in between, the container fails closed: none of its lines is evaluated or sent any more, and they stay on
//! disk.

/// Lines that may cost too much when no good line is between them.
pub const MOST: u32 = 10;

/// Lines within their budget that offset one that was not.
pub const GOOD_FOR_ONE: u32 = 100;

/// See the [module](self).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strikes(u32);

// === impl Strikes ===

impl Strikes {
    /// Counts a line that cost too much.
    pub fn add(&mut self) {
        self.0 = self.0.saturating_add(GOOD_FOR_ONE).min(MOST * GOOD_FOR_ONE);
    }

    /// Counts a line within its budget.
    pub fn passed(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Whether a line cost too much recently.
    pub fn is_any(self) -> bool {
        self.0 > 0
    }

    /// Whether the container must fail closed.
    pub fn is_out(self) -> bool {
        self.0 >= MOST * GOOD_FOR_ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the line after which `is_out`, if one in `every` costs too much.
    fn out_after(every: u32, lines: u32) -> Option<u32> {
        let mut strikes = Strikes::default();
        (1..=lines).find(|line| {
            if line % every == 0 {
                strikes.add()
            } else {
                strikes.passed()
            }
            strikes.is_out()
        })
    }

    #[test]
    fn lines_that_always_cost_too_much_end_it_soon() {
        assert_eq!(out_after(1, 100), Some(MOST));
        assert_eq!(out_after(2, 100), Some(22));
    }

    #[test]
    fn a_rare_line_ends_nothing() {
        assert_eq!(out_after(GOOD_FOR_ONE + 1, 1_000_000), None);
        assert!(out_after(GOOD_FOR_ONE / 2, 1_000_000).is_some());
    }
}

//! Lines of the log that peers can cause: at most one a second of each kind, with a count of those left out.

use crate::units::Mono;
use std::sync::atomic::{AtomicU64, Ordering};

/// One kind of line.
pub struct Seldom {
    /// The next line is due at this time, in ms of the monotonic clock.
    due: AtomicU64,
    left_out: AtomicU64,
}

const PAUSE_MS: u64 = 1_000;

impl Seldom {
    /// A line that has never been written.
    pub const fn new() -> Seldom {
        Seldom { due: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether the line is to be written now: then how many were left out before it.
    pub fn write(&self, now: Mono) -> Option<u64> {
        let due = self.due.load(Ordering::Relaxed);
        let next = now.0.saturating_add(PAUSE_MS);
        // A clock that began anew is no reason to be silent.
        let written = (due <= now.0 || due > next)
            && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !written {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_second_that_tells_how_many_it_stands_for() {
        let seldom = Seldom::new();
        assert_eq!(seldom.write(Mono(5_000)), Some(0));
        for ms in 5_000..5_999 {
            assert_eq!(seldom.write(Mono(ms)), None);
        }
        assert_eq!(seldom.write(Mono(6_000)), Some(999));
        assert_eq!(seldom.write(Mono(10)), Some(0), "a clock that began anew");
    }
}

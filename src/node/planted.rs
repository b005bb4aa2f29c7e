//! Bugs that a test plants in the node, to see that the simulated world finds them. Only compiled for tests.

use crate::units::{Energy, MeterReading};
use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Outputs leave when their records are handed to the log, before its sync.
    ReleaseBeforeSync,
    /// Every fourth timer that fires is forgotten.
    LostTimer,
    /// A full page of the books is acknowledged instead of archived.
    PageNotArchived,
    /// The last reading of a session that the gate numbers is acknowledged and forgotten.
    LastReadingForgotten,
    /// The last reading of a session that the gate numbers has fifty watt hours more.
    LastReadingRaised,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    static TIMERS: Cell<u32> = const { Cell::new(0) };
}

/// Runs something on this thread while a bug is planted.
pub(crate) fn with<T>(bug: Bug, run: impl FnOnce() -> T) -> T {
    PLANTED.set(Some(bug));
    let done = run();
    PLANTED.set(None);
    done
}

/// Whether a bug is planted on this thread.
pub(super) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// The last reading of a session that the gate numbers.
pub(super) fn last(reading: Option<MeterReading>) -> Option<MeterReading> {
    let mut reading = reading.filter(|_| !has(Bug::LastReadingForgotten))?;
    if has(Bug::LastReadingRaised) {
        let more = Energy::from_microwatt_hours(50_000_000);
        reading.register = reading.register.checked_add(more).unwrap_or(reading.register);
    }
    Some(reading)
}

/// Whether a timer that fires now is forgotten.
pub(super) fn loses_timer() -> bool {
    TIMERS.set(TIMERS.get().wrapping_add(1));
    has(Bug::LostTimer) && TIMERS.get().is_multiple_of(4)
}

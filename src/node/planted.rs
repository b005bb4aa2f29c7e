//! Bugs that a test plants in the node, to see that the simulated world finds them. Only compiled for tests.

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

/// Whether a timer that fires now is forgotten.
pub(super) fn loses_timer() -> bool {
    TIMERS.set(TIMERS.get().wrapping_add(1));
    has(Bug::LostTimer) && TIMERS.get().is_multiple_of(4)
}

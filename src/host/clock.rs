//! The clocks of the machine.

use crate::units::{Clock, Mono, Now, Timestamp};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The system's clocks: a wall clock that may be set while the program runs, and a monotonic one that may not.
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The monotonic clock begins at zero.
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall: wall_clock(), mono: Mono(mono) }
    }
}

/// The time of the system's wall clock; 1970 if the clock stands before it.
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

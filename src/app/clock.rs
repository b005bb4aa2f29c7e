//! The clocks of the machine.

use crate::units::{Clock, Mono, Now, Timestamp};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The system's clocks. For demonstrations the wall clock can run faster; time-outs always take their real time.
pub struct SystemClock {
    started: Instant,
    wall_started: i64,
    rate: i64,
}

impl SystemClock {
    /// The real time.
    pub fn new() -> SystemClock {
        SystemClock::at_rate(1)
    }

    /// From now on the wall clock runs `rate` times as fast.
    pub fn at_rate(rate: u32) -> SystemClock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_started = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        SystemClock { started: Instant::now(), wall_started, rate: i64::from(rate.max(1)) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let elapsed = self.started.elapsed().as_millis();
        let wall = match self.rate {
            // The system's own wall clock, which may be set while we run.
            1 => SystemClock::new_wall(),
            rate => self.wall_started.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX).saturating_mul(rate)),
        };
        Now { wall: Timestamp::from_unix_ms(wall), mono: Mono(u64::try_from(elapsed).unwrap_or(u64::MAX)) }
    }
}

impl SystemClock {
    fn new_wall() -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

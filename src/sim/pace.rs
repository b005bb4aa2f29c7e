//! Simulated time: a clock at any speed, and how long its moments are in real time.

use crate::host::wall_clock;
use crate::units::{Clock, Mono, Now, TimeSpan, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A wall clock that starts at the system's time and runs faster, beside a monotonic clock of real time.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    born: Instant,
    wall: Timestamp,
    speed: u32,
}

impl FastClock {
    /// Starts now; at speed 60 an hour passes in a minute.
    pub fn new(speed: u32) -> FastClock {
        FastClock::starting_at(wall_clock(), speed)
    }

    /// Starts now at this time of the wall clock.
    pub fn starting_at(wall: Timestamp, speed: u32) -> FastClock {
        FastClock { born: Instant::now(), wall, speed: speed.max(1) }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Now {
        let real = i64::try_from(self.born.elapsed().as_millis()).unwrap_or(i64::MAX);
        let wall = self.wall.saturating_add(TimeSpan::from_ms(real.saturating_mul(i64::from(self.speed))));
        Now { wall, mono: Mono(real.unsigned_abs()) }
    }
}

/// A clock together with its speed.
#[derive(Clone)]
pub struct Pace {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Wall time per real time.
    pub speed: u32,
}

impl Pace {
    /// A clock of its own at this speed.
    pub fn new(speed: u32) -> Pace {
        Pace { clock: Arc::new(FastClock::new(speed)), speed: speed.max(1) }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// How long in real time until this moment of the wall clock; at least a millisecond, so that no caller spins.
    pub fn until(&self, at: Timestamp, now: Now) -> Duration {
        self.real(at.since(now.wall))
    }

    /// How long a span of the wall clock is in real time, rounded up to a millisecond.
    pub fn real(&self, span: TimeSpan) -> Duration {
        let speed = u64::from(self.speed);
        let ms = u64::try_from(span.ms().max(0)).unwrap_or(0);
        Duration::from_millis(ms.div_ceil(speed).max(1))
    }

    /// How long until this moment of the monotonic clock; at least a millisecond.
    pub fn until_mono(&self, at: Mono, now: Now) -> Duration {
        Duration::from_millis(u64::try_from(at.since(now.mono).ms()).unwrap_or(0).max(1))
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pace({}×)", self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_at_sixty_times_is_a_minute() {
        let pace = Pace::new(60);
        assert_eq!(pace.real(TimeSpan::from_secs(3_600)), Duration::from_secs(60));
        let now = pace.now();
        assert_eq!(pace.until(now.wall.saturating_add(TimeSpan::from_ms(90)), now), Duration::from_millis(2));
        assert_eq!(pace.until(now.wall.saturating_add(TimeSpan::from_ms(-90)), now), Duration::from_millis(1));
    }
}

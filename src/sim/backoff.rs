//! How long to wait before dialling again: longer each time, never for long, never all at once.

use crate::units::rng::Rng;
use std::time::Duration;

/// A growing wait with jitter, in real time.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits about `first` after the first failure, twice as long after each further one, `most` in the end.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, failures: 0 }
    }

    /// The connection was good.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Another failure: how long to wait now, between a half and the whole of the wait that is due.
    pub fn wait(&mut self, rng: &mut Rng) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let due = u64::try_from(doubled.min(self.most).as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(due - rng.below(due / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_bound_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut rng = Rng::new(1);
        let waits: Vec<Duration> = (0..10).map(|_| backoff.wait(&mut rng)).collect();
        let within =
            |wait: Duration, due_ms| wait <= Duration::from_millis(due_ms) && wait >= Duration::from_millis(due_ms / 2);
        for (wait, due_ms) in waits.iter().zip([100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000, 2_000, 2_000]) {
            assert!(within(*wait, due_ms), "{wait:?} of {due_ms} ms");
        }
        backoff.succeeded();
        assert!(within(backoff.wait(&mut rng), 100));
    }
}

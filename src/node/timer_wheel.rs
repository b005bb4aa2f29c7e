//! One timer wheel per shard: deadlines of a million hosted actors for a few bytes each.
//!
//! A single ring of buckets, each one tick wide. A deadline beyond the ring is put into the last bucket and inserted
//! again from there; re-arming to a later time costs nothing, because the actor's own deadline is read when its
//! wake-up fires (see [`Arena::disarm`](super::hosted::Arena::disarm)). A wake-up is never early and at most one tick
//! late.
//!
//! It is our own because time is an argument here, the same for a gate and for a simulated world. Examined in November 2026:
//! `DelayQueue` of `tokio-util` (0.7) waits on tokio's clock, in its runtime; `hierarchical_hash_wheel_timer` (1.4) moves
//! each entry down through four levels, where here one ring is enough and an actor is armed again for nothing.

use crate::units::Mono;

/// Width of a bucket in milliseconds.
const TICK_MS: u64 = 50;

/// Buckets in the ring: 204 seconds ahead.
const BUCKETS: u64 = 4_096;

/// A wake-up: its target, and the deadline with which it was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake<T> {
    /// The target.
    pub whom: T,
    /// The deadline.
    pub at: Mono,
}

/// Emptied buckets whose memory is kept for the next ones. Kept by every bucket of the ring, it would add up to many times
/// what is in the wheel.
const SPARE_MAX: usize = 64;

/// The wheel.
pub struct TimerWheel<T> {
    buckets: Vec<Vec<Wake<T>>>,
    spare: Vec<Vec<Wake<T>>>,
    /// The tick up to which everything has fired.
    done: u64,
    len: usize,
}

impl<T: Copy> TimerWheel<T> {
    /// An empty wheel that begins at `now`.
    pub fn new(now: Mono) -> TimerWheel<T> {
        TimerWheel {
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            spare: Vec::new(),
            done: now.0 / TICK_MS,
            len: 0,
        }
    }

    /// Wakes `whom` when `at` has come.
    pub fn insert(&mut self, whom: T, at: Mono) {
        let due = at.0.div_ceil(TICK_MS).clamp(self.done + 1, self.done + BUCKETS - 1);
        let bucket = &mut self.buckets[(due % BUCKETS) as usize];
        if bucket.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *bucket = spare;
        }
        // A bucket that doubled would have half of its memory empty, and there are thousands of them.
        if bucket.len() == bucket.capacity() {
            bucket.reserve_exact((bucket.len() / 4).max(4));
        }
        bucket.push(Wake { whom, at });
        self.len += 1;
    }

    /// Moves the wheel on to `now` and appends everything due to `fired`, in the order of ticks.
    pub fn advance(&mut self, now: Mono, fired: &mut Vec<Wake<T>>) {
        let target = now.0 / TICK_MS;
        // A clock that jumped further than the ring is long visits every bucket once.
        let first = self.done + 1;
        let last = target.min(self.done + BUCKETS);
        for tick in first..=last {
            let mut due = std::mem::take(&mut self.buckets[(tick % BUCKETS) as usize]);
            self.done = tick;
            for wake in &due {
                self.len -= 1;
                if wake.at <= now { fired.push(*wake) } else { self.insert(wake.whom, wake.at) }
            }
            if self.spare.len() < SPARE_MAX && due.capacity() > 0 {
                due.clear();
                self.spare.push(due);
            }
        }
        self.done = self.done.max(target);
    }

    /// Wake-ups in the wheel, void ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fires_at_its_tick_and_not_before() {
        let mut timers = TimerWheel::new(Mono(1_000));
        timers.insert("a", Mono(1_120));
        let mut fired = Vec::new();
        timers.advance(Mono(1_119), &mut fired);
        assert!(fired.is_empty());
        timers.advance(Mono(1_150), &mut fired);
        assert_eq!(fired, [Wake { whom: "a", at: Mono(1_120) }]);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_deadline_beyond_the_ring_comes_in_its_time() {
        let mut timers = TimerWheel::new(Mono(0));
        timers.insert(1, Mono(1_000_000));
        let mut fired = Vec::new();
        let mut now = 0;
        while fired.is_empty() {
            now += 7_000;
            timers.advance(Mono(now), &mut fired);
        }
        assert!((1_000_000..1_000_000 + 7_000 + TICK_MS).contains(&now), "{now}");
    }

    #[test]
    fn what_has_fired_leaves_no_memory_behind() {
        let mut timers = TimerWheel::new(Mono(0));
        let mut fired = Vec::new();
        for now in (0..3 * BUCKETS * TICK_MS).step_by(TICK_MS as usize) {
            (0..100).for_each(|whom| timers.insert(whom, Mono(now + 1_000)));
            timers.advance(Mono(now), &mut fired);
            fired.clear();
        }
        let held: usize = timers.buckets.iter().chain(&timers.spare).map(Vec::capacity).sum();
        assert!(held < 128 * (timers.len() / 100 + SPARE_MAX + 1), "{held} places for {} wake-ups", timers.len());
    }

    proptest! {
        #[test]
        fn every_wake_up_fires_once_and_never_early(
            deadlines in prop::collection::vec(0_u64..600_000, 1..60),
            steps in prop::collection::vec(1_u64..30_000, 1..60),
        ) {
            let mut timers = TimerWheel::new(Mono(0));
            for (index, deadline) in deadlines.iter().enumerate() {
                timers.insert(index, Mono(*deadline));
            }
            let mut times = vec![0_u32; deadlines.len()];
            let mut now = 0;
            for step in steps.into_iter().chain([700_000, 50]) {
                now += step;
                let mut fired = Vec::new();
                timers.advance(Mono(now), &mut fired);
                for wake in fired {
                    prop_assert!(wake.at.0 <= now);
                    times[wake.whom] += 1;
                }
            }
            prop_assert!(times.iter().all(|count| *count == 1), "{times:?}");
            prop_assert!(timers.is_empty());
        }
    }
}

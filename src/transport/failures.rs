//! Bound on failed handshakes per source address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failed handshakes of the last minute, per address.
#[derive(Debug)]
pub struct Failures {
    per_minute: u32,
    addresses: HashMap<IpAddr, Window>,
}

/// Things counted since a moment.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    count: u32,
}

const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are kept; beyond, those whose window is over are dropped, then all.
const ADDRESSES_MAX: usize = 10_000;

impl Failures {
    /// Allows `per_minute` failures per address.
    pub fn new(per_minute: u32) -> Failures {
        Failures { per_minute, addresses: HashMap::new() }
    }

    /// Counts a failure of this address.
    pub fn count(&mut self, address: IpAddr, now: Instant) {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, window| now.duration_since(window.since) < WINDOW);
            if self.addresses.len() >= ADDRESSES_MAX {
                self.addresses.clear();
            }
        }
        let window = self.addresses.entry(address).or_insert(Window { since: now, count: 0 });
        if now.duration_since(window.since) >= WINDOW {
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
    }

    /// Whether this address has to wait until its minute is over.
    pub fn is_blocked(&self, address: IpAddr, now: Instant) -> bool {
        let blocked = |window: &Window| window.count >= self.per_minute && now.duration_since(window.since) < WINDOW;
        self.addresses.get(&address).is_some_and(blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_out_its_minute_and_others_are_untouched() {
        let start = Instant::now();
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut failures = Failures::new(3);
        for _ in 0..3 {
            assert!(!failures.is_blocked(bad, start));
            failures.count(bad, start);
        }
        assert!(failures.is_blocked(bad, start) && !failures.is_blocked(good, start));
        let later = start + WINDOW;
        assert!(!failures.is_blocked(bad, later));
        failures.count(bad, later);
        assert!(!failures.is_blocked(bad, later), "a new minute counts from one");
    }

    #[test]
    fn memory_is_bounded_whoever_knocks() {
        let start = Instant::now();
        let mut failures = Failures::new(3);
        for number in 0..50_000_u32 {
            failures.count(IpAddr::from(number.to_be_bytes()), start);
        }
        assert!(failures.addresses.len() <= ADDRESSES_MAX);
    }
}

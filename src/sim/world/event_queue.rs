//! What is to happen when: the one scheduler of a simulated world, and its clock.

use super::faults::Fault;
use super::network::Side;
use super::process::Wake;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Bytes may have arrived at a side of a connection.
    Arrive(u64, Side),
    /// The end of a connection is reported to one side.
    Ended(u64, Side),
    /// A charger's or site controller's own deadline.
    Fleet(usize),
    /// A charger or site controller dials.
    DialFleet(usize),
    /// A processor's own deadline.
    SimulatedProcessor(usize),
    /// A processor dials on one of its connections.
    DialProcessor(usize, usize),
    /// The gate's clock ticks.
    Tick,
    /// The gate's links check their deadlines.
    Sweep,
    /// The disk has done a commit.
    Commit(u32),
    /// A timer of a life of the gate fires.
    Wake(u32, Wake),
    /// A shard that was closed in a life of the gate is opened again.
    OpenShard(u32, usize),
    /// Every live session is looked at.
    Check,
    /// The gate is started.
    Start,
    /// Something goes wrong.
    Strike(Fault),
    /// A disk that was full has room again.
    Room,
    /// The disk of the snapshots, that was full, has room again.
    SnapshotRoom,
    /// The gate's wall clock is set right again.
    ClockRight,
    /// An archived session that was damaged is brought back from a backup.
    Mend,
    /// Faults stop for a while, or may happen again.
    Calm(bool),
}

/// The scheduler. Events of the same millisecond happen in the order in which they were put here.
#[derive(Default)]
pub(super) struct EventQueue {
    now: u64,
    number: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
}

impl EventQueue {
    /// Milliseconds since the world began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Puts an event into the queue; what is past happens now.
    pub fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.heap.push(Reverse((at.max(self.now), self.number, event)));
    }

    /// Puts an event into the queue, so many milliseconds from now.
    pub fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now.saturating_add(ms), event);
    }

    /// The next event until `end`; the clock moves on to it, or to `end`.
    pub fn next(&mut self, end: u64) -> Option<Event> {
        match self.heap.peek() {
            Some(Reverse((at, _, _))) if *at <= end => {
                let Reverse((at, _, event)) = self.heap.pop()?;
                self.now = at;
                Some(event)
            }
            _ => {
                self.now = self.now.max(end);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_from_event_to_event_and_equals_keep_their_order() {
        let mut events = EventQueue::default();
        events.at(30, Event::Tick);
        events.at(10, Event::Sweep);
        events.at(10, Event::Check);
        assert_eq!(events.next(20), Some(Event::Sweep));
        assert_eq!((events.now(), events.next(20)), (10, Some(Event::Check)));
        assert_eq!((events.next(20), events.now()), (None, 20));
        events.after(5, Event::Start);
        assert_eq!((events.next(40), events.now()), (Some(Event::Start), 25));
        assert_eq!(events.next(40), Some(Event::Tick));
    }
}

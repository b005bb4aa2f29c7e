//! The queue of effects: none leaves before the records that cause it are durable.

use super::appender::Position;
use crate::limits;
use std::collections::VecDeque;

/// Effects in the order in which they were decided, each waiting for the position of the last record before it.
///
/// The durable watermark releases them from the front: a constant amount of work for each, no future, no lookup. The
/// buffer is kept, so that a steady load allocates nothing. An effect without records of its own (a refusal, a repeated
/// answer) is queued at the position of the records before it, because it may have been computed from them.
#[derive(Debug)]
pub struct OutputBuffer<E> {
    waiting: VecDeque<(Position, E)>,
    capacity: usize,
}

impl<E> OutputBuffer<E> {
    /// A gate behind which at most [`limits::GATE_EFFECTS_MAX`] effects wait.
    pub fn new() -> OutputBuffer<E> {
        OutputBuffer::with_capacity(limits::GATE_EFFECTS_MAX)
    }

    /// A gate behind which at most this many effects wait.
    ///
    /// # Panics
    /// When that is less than one turn may queue.
    pub fn with_capacity(capacity: usize) -> OutputBuffer<E> {
        assert!(capacity >= limits::PERMIT_EFFECTS_MAX, "a gate takes at least the effects of one turn");
        OutputBuffer { waiting: VecDeque::new(), capacity }
    }

    /// Whether one more turn may queue its effects.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.has_room_for(limits::PERMIT_EFFECTS_MAX)
    }

    /// Whether one more turn may queue this number of effects.
    #[inline]
    pub fn has_room_for(&self, effects: usize) -> bool {
        self.waiting.len().saturating_add(effects) <= self.capacity
    }

    /// Queues an effect until `position` is durable.
    ///
    /// # Panics
    /// When positions go backwards, or when no room was reserved: both are bugs of the caller.
    #[inline]
    pub fn push(&mut self, position: Position, effect: E) {
        assert!(self.waiting.len() < self.capacity, "effects were queued without a permit");
        if let Some((last, _)) = self.waiting.back() {
            assert!(*last <= position, "effects are queued in the order of the log");
        }
        self.waiting.push_back((position, effect));
    }

    /// Removes and returns the effects whose records are durable now, in order. Effects that the caller does not take
    /// stay.
    #[inline]
    pub fn release(&mut self, durable: Position) -> impl Iterator<Item = E> + '_ {
        std::iter::from_fn(move || match self.waiting.front() {
            Some((position, _)) if *position <= durable => self.waiting.pop_front().map(|(_, effect)| effect),
            _ => None,
        })
    }

    /// The effects whose records are durable now, without removing them.
    pub fn released(&self, durable: Position) -> impl Iterator<Item = &E> {
        self.waiting.iter().take_while(move |(position, _)| *position <= durable).map(|(_, effect)| effect)
    }

    /// Effects that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<E> Default for OutputBuffer<E> {
    fn default() -> Self {
        OutputBuffer::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_releases_in_order_and_nothing_early() {
        let mut gate = OutputBuffer::new();
        gate.push(Position(0), "refused, before any record");
        gate.push(Position(2), "acknowledged");
        gate.push(Position(2), "captured");
        gate.push(Position(3), "told");
        assert_eq!(gate.release(Position(0)).collect::<Vec<_>>(), ["refused, before any record"]);
        assert_eq!(gate.release(Position(1)).count(), 0);
        assert_eq!(gate.released(Position(2)).collect::<Vec<_>>(), [&"acknowledged", &"captured"]);
        assert_eq!(gate.release(Position(2)).collect::<Vec<_>>(), ["acknowledged", "captured"]);
        assert_eq!((gate.len(), gate.is_empty()), (1, false));
        assert_eq!(gate.release(Position(9)).collect::<Vec<_>>(), ["told"]);
    }

    #[test]
    fn a_steady_load_keeps_the_buffer() {
        let mut gate = OutputBuffer::with_capacity(256);
        for n in 0..10_000 {
            gate.push(Position(n), n);
            assert_eq!(gate.release(Position(n)).count(), 1);
        }
        assert!(gate.waiting.capacity() <= 256);
    }

    #[test]
    fn a_full_gate_says_so_before_the_turn() {
        let mut gate = OutputBuffer::with_capacity(limits::PERMIT_EFFECTS_MAX + 1);
        gate.push(Position(1), ());
        assert!(gate.has_room());
        gate.push(Position(1), ());
        assert!(!gate.has_room());
    }

    #[test]
    #[should_panic(expected = "in the order of the log")]
    fn effects_never_overtake() {
        let mut gate = OutputBuffer::new();
        gate.push(Position(2), ());
        gate.push(Position(1), ());
    }
}

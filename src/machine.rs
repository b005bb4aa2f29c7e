//! The structure that all machines share: deciding never mutates, applying never fails.
//!
//! A machine is a module with `decide(&State, Command, …) -> Decision` and `apply(&mut State, &Event)`. The events of
//! a decision are journaled and applied; its effects are released when those events are durable. A refusal is a
//! decision without events and with one effect that reports it to the peer.

use smallvec::SmallVec;

/// What a machine decided: facts to record and things to do once they are recorded.
///
/// Room for one of each without a heap allocation, which is what a meter reading needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<Event, Effect> {
    /// Facts, in the order in which they are to be applied and journaled.
    pub events: SmallVec<[Event; 1]>,
    /// What leaves the machine after the events are durable, in order.
    pub effects: SmallVec<[Effect; 1]>,
}

impl<Event, Effect> Decision<Event, Effect> {
    /// No events and no effects.
    #[inline]
    pub fn nothing() -> Self {
        Decision { events: SmallVec::new(), effects: SmallVec::new() }
    }

    /// No events, and one effect that reports the reason (a refusal, or a repeated answer).
    #[inline]
    pub fn reply(effect: Effect) -> Self {
        Decision { events: SmallVec::new(), effects: SmallVec::from_buf([effect]) }
    }

    /// One fact.
    #[inline]
    pub fn event(event: Event) -> Self {
        Decision { events: SmallVec::from_buf([event]), effects: SmallVec::new() }
    }

    /// Adds a fact.
    #[inline]
    pub fn and_event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// Adds an effect.
    #[inline]
    pub fn and_effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

impl<Event, Effect> Default for Decision<Event, Effect> {
    fn default() -> Self {
        Decision::nothing()
    }
}

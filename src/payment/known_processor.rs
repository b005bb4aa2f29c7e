//! Stored facts on processors: the capabilities of each at its last connection, and whether an operator has drained
//! it of new holds.
//!
//! Both are facts of the log, so that a gate after a restart can stand in for a processor before it connects, and
//! keeps the operator's orders. Connections and response behaviour are not stored.

use super::Capabilities;
use crate::limits::PROCESSORS_KNOWN;
use crate::stored::stored;
use crate::units::{ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// A fact about a processor. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Its declaration at a connection differs from the stored one.
    Declared {
        /// The processor.
        processor: ProcessorId,
        /// Its capabilities.
        capabilities: Box<Capabilities>,
        /// When.
        at: Timestamp,
    },
    /// An operator stopped new holds at it, or allows them again.
    DrainOrdered {
        /// The processor.
        processor: ProcessorId,
        /// Whether it is to get none.
        on: bool,
        /// When.
        at: Timestamp,
    },
    /// It is connected, and was not before.
    Connected {
        /// The processor.
        processor: ProcessorId,
        /// When.
        at: Timestamp,
    },
    /// Its last connection is gone, and it did not come back in time.
    Disconnected {
        /// The processor.
        processor: ProcessorId,
        /// When its time was over.
        at: Timestamp,
    },
    /// It takes no new holds by its own wish, or takes them again.
    DrainWished {
        /// The processor.
        processor: ProcessorId,
        /// Whether it takes none.
        on: bool,
        /// When.
        at: Timestamp,
    },
}

stored!(enum Event {
    0: Declared { 0: processor, 1: capabilities, 2: at },
    1: DrainOrdered { 0: processor, 1: on, 2: at },
    2: Connected { 0: processor, 1: at },
    3: Disconnected { 0: processor, 1: at },
    4: DrainWished { 0: processor, 1: on, 2: at },
});

impl Event {
    /// The processor that it is about.
    pub fn processor(&self) -> &ProcessorId {
        match self {
            Event::Declared { processor, .. }
            | Event::DrainOrdered { processor, .. }
            | Event::Connected { processor, .. }
            | Event::Disconnected { processor, .. }
            | Event::DrainWished { processor, .. } => processor,
        }
    }
}

/// Stored facts on one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProcessor {
    /// Its declaration at its last connection.
    pub capabilities: Capabilities,
    /// When it declared that first.
    pub declared_at: Timestamp,
    /// An operator stopped new holds at it.
    pub drained: bool,
    /// It counts as connected: it is, or was until a moment ago.
    #[serde(skip)]
    pub is_connected: bool,
    /// It takes no new holds by its own wish.
    #[serde(skip)]
    pub wishes_drain: bool,
}

stored!(struct KnownProcessor {
    0: capabilities,
    1: declared_at,
    2: drained,
    3: is_connected or false,
    4: wishes_drain or false,
});

/// Stored facts by processor id.
///
/// ```
/// use wattstile::payment::Capabilities;
/// use wattstile::payment::known_processor::KnownProcessors;
/// use wattstile::units::{Currency, ProcessorId, Timestamp};
///
/// let (acme, at) = (ProcessorId::new("acme")?, Timestamp::from_unix_ms(1_796_000_000_000));
/// let mut known = KnownProcessors::default();
/// let capabilities = Capabilities::everything(Currency::EUR);
/// let event = known.declared(&acme, &capabilities, at).ok_or("its first declaration is a fact")?;
/// known.apply(&event);
/// assert_eq!(known.declared(&acme, &capabilities, at), None, "the same declaration is none");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProcessors(BTreeMap<ProcessorId, KnownProcessor>);

stored!(struct KnownProcessors(value));

/// Reason of a refused order about a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownProcessor {
    /// It has never connected.
    #[error("it has never connected")]
    Unknown,
}

impl KnownProcessors {
    /// Decides on the declaration of a connecting processor: an event if it differs from the stored one. Their number
    /// is bounded.
    pub fn declared(&self, processor: &ProcessorId, capabilities: &Capabilities, at: Timestamp) -> Option<Event> {
        match self.0.get(processor) {
            Some(known) if known.capabilities == *capabilities => None,
            None if self.0.len() >= PROCESSORS_KNOWN => None,
            Some(_) | None => {
                let (processor, capabilities) = (processor.clone(), Box::new(capabilities.clone()));
                Some(Event::Declared { processor, capabilities, at })
            }
        }
    }

    /// Decides on an operator's order: an event if it changes something.
    ///
    /// # Errors
    /// [`UnknownProcessor::Unknown`]: the processor has never connected.
    pub fn drain(&self, processor: &ProcessorId, on: bool, at: Timestamp) -> Result<Option<Event>, UnknownProcessor> {
        let known = self.0.get(processor).ok_or(UnknownProcessor::Unknown)?;
        Ok((known.drained != on).then(|| Event::DrainOrdered { processor: processor.clone(), on, at }))
    }

    /// Decides on how it stands: whether it is connected, and whether it takes no new holds by its own wish. Nothing is known of
    /// one that has declared nothing.
    pub fn stands(
        &self,
        processor: &ProcessorId,
        (is_connected, wishes_drain): (bool, bool),
        at: Timestamp,
    ) -> SmallVec<[Event; 2]> {
        let Some(known) = self.0.get(processor) else { return SmallVec::new() };
        let connection = (known.is_connected != is_connected).then(|| {
            let processor = processor.clone();
            if is_connected { Event::Connected { processor, at } } else { Event::Disconnected { processor, at } }
        });
        // Its wish ends with its last connection.
        let wish = (is_connected && known.wishes_drain != wishes_drain).then(|| Event::DrainWished {
            processor: processor.clone(),
            on: wishes_drain,
            at,
        });
        connection.into_iter().chain(wish).collect()
    }

    /// Applies a fact, and returns the processor's stored facts after it.
    pub fn apply(&mut self, event: &Event) -> Option<(&ProcessorId, &KnownProcessor)> {
        match event {
            Event::Declared { processor, capabilities, at } => {
                let before = self.0.get(processor);
                let known = KnownProcessor {
                    capabilities: Capabilities::clone(capabilities),
                    declared_at: *at,
                    drained: before.is_some_and(|known| known.drained),
                    is_connected: before.is_some_and(|known| known.is_connected),
                    wishes_drain: before.is_some_and(|known| known.wishes_drain),
                };
                self.0.insert(processor.clone(), known);
            }
            Event::DrainOrdered { processor, on, at: _ } => {
                self.0.entry(processor.clone()).and_modify(|known| known.drained = *on);
            }
            Event::Connected { processor, at: _ } => {
                self.0.entry(processor.clone()).and_modify(|known| known.is_connected = true);
            }
            Event::Disconnected { processor, at: _ } => {
                self.0.entry(processor.clone()).and_modify(|known| {
                    (known.is_connected, known.wishes_drain) = (false, false);
                });
            }
            Event::DrainWished { processor, on, at: _ } => {
                self.0.entry(processor.clone()).and_modify(|known| known.wishes_drain = *on);
            }
        }
        self.0.get_key_value(event.processor())
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ProcessorId, &KnownProcessor)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{CredentialKind, OperationKind};
    use crate::units::{Currency, TimeSpan};

    fn acme() -> ProcessorId {
        ProcessorId::new("acme").unwrap()
    }

    fn capabilities(increments_max: u8) -> Capabilities {
        Capabilities {
            kinds: vec![OperationKind::Authorize],
            credentials: vec![CredentialKind::CardToken],
            currencies: vec![Currency::EUR],
            idempotent_replay: TimeSpan::ZERO,
            replay_after_error_safe: false,
            request_life_max: TimeSpan::ZERO,
            inquiry_authoritative_after: None,
            increments_max,
            overcapture_percent: 0,
            partial_approval: false,
            multiple_captures: false,
            hold_validity: TimeSpan::from_secs(86_400),
            inflight_max: 10,
        }
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let (mut known, at) = (KnownProcessors::default(), Timestamp::default());
        assert_eq!(known.drain(&acme(), true, at), Err(UnknownProcessor::Unknown));
        let declared = known.declared(&acme(), &capabilities(1), at).unwrap();
        known.apply(&declared);
        assert_eq!(known.declared(&acme(), &capabilities(1), at), None);
        let drain = known.drain(&acme(), true, at).unwrap().unwrap();
        known.apply(&drain);
        assert_eq!(known.drain(&acme(), true, at), Ok(None));
    }

    #[test]
    fn an_operators_word_outlives_a_new_declaration() {
        let (mut known, at) = (KnownProcessors::default(), Timestamp::default());
        known.apply(&known.clone().declared(&acme(), &capabilities(1), at).unwrap());
        known.apply(&known.clone().drain(&acme(), true, at).unwrap().unwrap());
        let again = known.declared(&acme(), &capabilities(2), at).unwrap();
        let (_, now) = known.apply(&again).unwrap();
        assert!(now.drained && now.capabilities.increments_max == 2);
    }

    #[test]
    fn connection_and_wish_are_facts_only_when_they_change() {
        let (mut known, at) = (KnownProcessors::default(), Timestamp::default());
        assert!(known.stands(&acme(), (true, false), at).is_empty(), "it has declared nothing");
        known.apply(&known.clone().declared(&acme(), &capabilities(1), at).unwrap());
        let mut facts = |stands| {
            let events = known.stands(&acme(), stands, at);
            for event in &events {
                assert!(known.apply(event).is_some());
            }
            events.to_vec()
        };
        let wished = |on| Event::DrainWished { processor: acme(), on, at };
        assert_eq!(facts((true, false)), [Event::Connected { processor: acme(), at }]);
        assert_eq!(facts((true, true)), [wished(true)]);
        assert_eq!(facts((true, true)), []);
        assert_eq!(facts((false, true)), [Event::Disconnected { processor: acme(), at }]);
        assert_eq!(facts((true, false)), [Event::Connected { processor: acme(), at }], "its wish has ended too");
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let (mut known, at) = (KnownProcessors::default(), Timestamp::default());
        for number in 0..2 * PROCESSORS_KNOWN {
            let id = ProcessorId::new(&format!("p{number}")).unwrap();
            if let Some(event) = known.declared(&id, &capabilities(1), at) {
                known.apply(&event);
            }
        }
        assert_eq!(known.iter().count(), PROCESSORS_KNOWN);
    }
}

//! The newest durable facts, for observers. The writer of the log adds them after each sync; observers pull, and one that is
//! slow costs nothing but its own place: what falls out here is read from the log.

use crate::journal::{KeptRecord, LogPosition, RecordKind};
use crate::limits::{FACT_TAIL_BYTES, FACT_TAIL_RECORDS};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The newest durable facts.
pub struct FactTail {
    kept: Mutex<Kept>,
    added: Condvar,
}

struct Kept {
    /// Every fact behind this position is here.
    begin: LogPosition,
    facts: VecDeque<Arc<KeptRecord>>,
    bytes: usize,
}

impl FactTail {
    /// An empty one, for a log that goes on with this block.
    pub fn new(next_block: u64) -> FactTail {
        let begin = LogPosition { block: next_block, index: 0 };
        FactTail { kept: Mutex::new(Kept { begin, facts: VecDeque::new(), bytes: 0 }), added: Condvar::new() }
    }

    /// Adds facts that are durable by now, in their order.
    pub fn add(&self, facts: impl IntoIterator<Item = KeptRecord>) {
        let mut kept = self.kept();
        for fact in facts {
            kept.bytes += fact.payload.len();
            kept.facts.push_back(Arc::new(fact));
        }
        while kept.bytes > FACT_TAIL_BYTES || kept.facts.len() > FACT_TAIL_RECORDS {
            let Some(oldest) = kept.facts.pop_front() else { break };
            kept.bytes -= oldest.payload.len();
            kept.begin = oldest.at;
        }
        drop(kept);
        self.added.notify_all();
    }

    /// The facts behind a position, at most so many.
    ///
    /// # Errors
    /// They do not go back so far: the position behind which everything is here.
    pub fn behind(&self, after: LogPosition, most: usize) -> Result<Vec<Arc<KeptRecord>>, LogPosition> {
        let kept = self.kept();
        if after < kept.begin {
            return Err(kept.begin);
        }
        let begin = kept.facts.partition_point(|fact| fact.at <= after);
        Ok(kept.facts.range(begin..).take(most).cloned().collect())
    }

    /// Where the newest fact stands.
    pub fn end(&self) -> LogPosition {
        let kept = self.kept();
        kept.facts.back().map_or(kept.begin, |fact| fact.at)
    }

    /// Waits until there is a fact behind a position, at most so long.
    pub fn wait(&self, after: LogPosition, timeout: Duration) {
        let kept = self.kept();
        let waits = |kept: &mut Kept| kept.facts.back().is_none_or(|fact| fact.at <= after);
        drop(self.added.wait_timeout_while(kept, timeout, waits));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readings, and what only they cause: no observer gets them one by one. The first byte of a fact of a session is its
/// number in the upper seven bits; that of a plain reading has the highest bit.
const PLAIN_READING: u8 = 0x80;
/// `Metered`, `RegisterJumped`, `Suspected`, `Decided`, `Noted`, `Signed`.
const OF_READINGS: [u8; 6] = [1, 2, 3, 11, 16, 17];
/// Where the fact begins behind the session's id.
const SESSION_ID: usize = 12;

/// Whether a record is passed to observers.
pub fn is_for_observers(kind: RecordKind, payload: &[u8]) -> bool {
    match kind {
        RecordKind::SessionEvent => payload
            .get(SESSION_ID)
            .is_some_and(|first| first & PLAIN_READING == 0 && !OF_READINGS.contains(&(first >> 1))),
        RecordKind::TariffPinned | RecordKind::DocumentEvent => false,
        RecordKind::ChargerEvent
        | RecordKind::AccountEvent
        | RecordKind::BillingEvent
        | RecordKind::SettlementEvent
        | RecordKind::TopUpEvent
        | RecordKind::ProcessorEvent
        | RecordKind::CertificateEvent => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Sequence;
    use crate::session::{Event, Metered};
    use crate::stored::Stored;
    use crate::tariff::Slices;
    use crate::units::{Energy, MeterReading, PartitionId, SessionId, Timestamp};

    fn fact(block: u64, index: u16, bytes: usize) -> KeptRecord {
        KeptRecord {
            at: LogPosition { block, index },
            partition: PartitionId(1),
            sequence: Sequence(block * 10 + u64::from(index)),
            kind: RecordKind::AccountEvent,
            payload: vec![0; bytes].into(),
        }
    }

    #[test]
    fn facts_are_pulled_from_any_position_that_is_still_here() {
        let tail = FactTail::new(7);
        let at = |block, index| LogPosition { block, index };
        assert_eq!(tail.end(), at(7, 0));
        assert_eq!(tail.behind(at(7, 0), 9).unwrap().len(), 0);
        assert_eq!(tail.behind(at(6, 3), 9).unwrap_err(), at(7, 0), "the log has what is older");
        tail.add([fact(7, 2, 1), fact(7, 5, 1), fact(9, 1, 1)]);
        let found = |after, most| {
            tail.behind(after, most).unwrap().iter().map(|fact| (fact.at.block, fact.at.index)).collect::<Vec<_>>()
        };
        assert_eq!(found(at(7, 0), 9), [(7, 2), (7, 5), (9, 1)]);
        assert_eq!(found(at(7, 2), 1), [(7, 5)]);
        assert_eq!(found(at(9, 1), 9), []);
        tail.add([fact(10, 1, FACT_TAIL_BYTES)]);
        assert_eq!(tail.behind(at(7, 5), 9).unwrap_err(), at(9, 1), "the oldest fall out");
        assert_eq!(found(at(9, 1), 9), [(10, 1)]);
        tail.wait(at(9, 1), Duration::from_secs(60));
    }

    /// The filter reads first bytes: they follow from the numbers of stored facts.
    #[test]
    fn readings_are_not_told_and_other_facts_of_sessions_are() {
        let id = SessionId::new(Timestamp::from_unix_ms(1_780_000_000_000), PartitionId(1), 7);
        let passed = |event: &Event| {
            let mut payload = id.within_partition().to_vec();
            event.store(&mut payload);
            is_for_observers(RecordKind::SessionEvent, &payload)
        };
        let reading = MeterReading {
            sequence: 1,
            at: Timestamp::from_unix_ms(1_780_000_060_000),
            register: Energy::from_watt_hours(10).unwrap(),
            power: None,
            current: None,
        };
        assert!(!passed(&Event::Metered(Metered { reading, slices: Slices::default() })));
        assert!(!passed(&Event::RegisterJumped(Energy::from_watt_hours(1).unwrap())));
        assert!(!passed(&Event::Decided(Slices::default())));
        assert!(passed(&Event::Closed { at: Timestamp::from_unix_ms(0) }));
        let mut plain = Vec::new();
        crate::node::session_record::write(
            id,
            &Event::Metered(Metered { reading, slices: Slices::default() }),
            &mut plain,
        );
        assert!(!is_for_observers(RecordKind::SessionEvent, &plain));
    }
}

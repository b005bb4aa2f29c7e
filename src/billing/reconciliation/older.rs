//! Summaries of booked batches that are no longer kept line by line: totals, settled operations, and hashes that
//! recognise repeated parts.
//!
//! So a report covers all batches, and no operation is settled twice: a line that names an operation of an old batch
//! matches nothing. Of the oldest batches only the totals are kept; operations of that time count as settled.

use super::kept::{KeptPart, Shared};
use super::lay::Verdict;
use super::received::{BatchState, Booked, Earlier, Received};
use super::register::{BatchKey, Part};
use crate::limits;
use crate::stored::stored;
use crate::units::{Currency, OpId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A batch that is no longer kept line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Older {
    /// When the money moved.
    pub at: Timestamp,
    /// Of all lines.
    pub currency: Currency,
    /// Lines.
    pub count: u64,
    /// Before fees, in minor units.
    pub gross: i128,
    /// The processor's fees.
    pub fee: i128,
    /// The amount paid out.
    pub net: i128,
    /// Its sums in the books.
    pub booked: Booked,
    /// Over its lines.
    pub content: Option<[u8; 16]>,
    /// Whether it was taken back.
    pub reverted: bool,
    /// Its revision, counted from 1.
    pub revision: u32,
    earlier: Vec<Earlier>,
    /// CRC-32 of each part, in order.
    parts: Shared<u32>,
    /// Our operations that it settled, in order, and for how much.
    settled: Shared<(OpId, i64)>,
}

stored!(struct Older {
    0: at, 1: currency, 2: count, 3: gross, 4: fee, 5: net, 6: booked, 7: content, 8: reverted, 9: revision,
    10: earlier, 11: parts, 12: settled,
});

/// The older batches of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderBatches {
    batches: BTreeMap<BatchKey, Older>,
    /// In the order in which they began.
    order: VecDeque<BatchKey>,
    /// Operations of all of them.
    remembered: u64,
    /// End of the time of which the settled operations are no longer kept.
    forgotten_until: Option<Timestamp>,
}

stored!(struct OlderBatches { 0: batches, 1: order, 2: remembered, 3: forgotten_until });

impl OlderBatches {
    /// Adds a booked batch. Beyond the bounds the oldest ones are reduced to totals, or dropped.
    pub(super) fn take(&mut self, key: BatchKey, received: &Received) {
        let mut older = Older {
            at: received.at(),
            currency: received.currency(),
            count: 0,
            gross: 0,
            fee: 0,
            net: 0,
            booked: received.booked(),
            content: received.content(),
            reverted: received.state() == BatchState::Reverted,
            revision: received.revision(),
            earlier: received.all_taken_back().unwrap_or_else(|| received.earlier().to_vec()),
            parts: Shared(received.checksums().into()),
            settled: Shared::default(),
        };
        let mut settled = BTreeMap::new();
        received.each(&mut |line, verdict| {
            older.count += 1;
            older.gross += i128::from(line.gross.minor);
            older.fee += i128::from(line.fee.minor);
            older.net += i128::from(line.net.minor);
            if let Some(operation) = verdict.and_then(Verdict::settles).filter(|_| !older.reverted) {
                settled.entry(operation).or_insert(line.gross.minor);
            }
        });
        older.settled = Shared(settled.into_iter().collect());
        self.remembered += older.settled.0.len() as u64;
        self.order.push_back(key.clone());
        self.batches.insert(key, older);
        self.forget();
    }

    fn forget(&mut self) {
        while self.order.len() > limits::SETTLEMENT_BATCHES_COUNTED {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.batches.remove(&oldest) {
                self.lose(gone.at, gone.settled.0.len());
            }
        }
        for place in 0..self.order.len() {
            if self.remembered <= limits::SETTLED_REMEMBERED {
                return;
            }
            let Some(older) = self.order.get(place).and_then(|key| self.batches.get_mut(key)) else { return };
            let (at, settled) = (older.at, std::mem::take(&mut older.settled));
            self.lose(at, settled.0.len());
        }
    }

    fn lose(&mut self, at: Timestamp, operations: usize) {
        self.remembered = self.remembered.saturating_sub(operations as u64);
        if operations > 0 {
            self.forgotten_until = self.forgotten_until.max(Some(at));
        }
    }

    /// Whether this part of this batch is known: the same, or another one, with the number of the next revision if the
    /// batch was taken back; `None`: there is no such batch.
    pub(super) fn knows(&self, key: &BatchKey, part: &Part) -> Option<Result<(), Option<u32>>> {
        let older = self.batches.get(key)?;
        let revision = usize::try_from(part.revision).unwrap_or(usize::MAX).checked_sub(1);
        let earlier = revision.and_then(|revision| older.earlier.get(revision));
        let place = usize::try_from(part.part).ok().and_then(|part| part.checked_sub(1));
        let current = place.and_then(|place| older.parts.0.get(place)) == Some(&KeptPart::checksum_of(&part.lines));
        let same = match earlier {
            Some(earlier) => earlier.has(part),
            None => current && part.revision == older.revision,
        };
        let next = older.reverted.then(|| older.revision.saturating_add(1));
        Some(if same { Ok(()) } else { Err(next) })
    }

    /// The revisions before the next one, and the batch itself goes: it begins again.
    pub(super) fn next_revision(&mut self, key: &BatchKey) -> Option<Vec<Earlier>> {
        let older = self.batches.remove(key)?;
        self.order.retain(|known| known != key);
        self.remembered = self.remembered.saturating_sub(older.settled.0.len() as u64);
        Some(older.earlier)
    }

    /// One batch.
    pub fn get(&self, key: &BatchKey) -> Option<&Older> {
        self.batches.get(key)
    }

    /// For how much an old batch of this processor settled an operation, if one did: in minor units.
    pub fn settled(&self, operation: OpId) -> Option<i64> {
        self.batches.values().find_map(|older| {
            let found = older.settled.0.binary_search_by_key(&operation, |(id, _)| *id).ok()?;
            Some(older.settled.0[found].1)
        })
    }

    /// Every operation that one of them settled, with the amount.
    pub fn all_settled(&self) -> impl Iterator<Item = (OpId, i64)> + '_ {
        self.batches.values().flat_map(|older| older.settled.0.iter().copied())
    }

    /// Operations up to then may have been settled by a batch whose operations are no longer kept.
    pub fn forgotten_until(&self) -> Option<Timestamp> {
        self.forgotten_until
    }

    /// The batches in the order in which they began.
    pub fn iter(&self) -> impl Iterator<Item = (&BatchKey, &Older)> {
        self.order.iter().filter_map(|key| self.batches.get_key_value(key))
    }
}

//! What is left of a batch that is booked and no longer kept line by line: its totals, what it settled, and enough to know
//! its parts again.
//!
//! So a report tells of all batches, however many there were, and no operation is settled twice: a line that names one
//! which an old batch has settled fits nothing. Of the very oldest only the totals are left; operations of that time count
//! as settled.

use super::LineKind;
use super::register::{BatchKey, Received};
use crate::limits;
use crate::units::{Currency, OpId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A batch that is no longer kept line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Older {
    /// When the money moved.
    pub at: Timestamp,
    /// Of every line.
    pub currency: Currency,
    /// Lines.
    pub count: u64,
    /// Before fees, in minor units.
    pub gross: i128,
    /// The processor's fees.
    pub fee: i128,
    /// What was paid out.
    pub net: i128,
    /// CRC-32 of each part, in order.
    parts: Box<[u32]>,
    /// Our operations that it settled, in order, and for how much.
    settled: Box<[(OpId, i64)]>,
}

/// The older batches of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderBatches {
    batches: BTreeMap<BatchKey, Older>,
    /// In the order in which they began.
    order: VecDeque<BatchKey>,
    /// Operations of all of them.
    remembered: u64,
    /// Batches up to then do not say any more what they settled.
    forgotten_until: Option<Timestamp>,
}

impl OlderBatches {
    /// Takes a booked batch. The oldest ones go, or say less, when there are too many.
    pub(super) fn take(&mut self, key: BatchKey, received: &Received) {
        let batch = received.batch(&key, None);
        let mut older = Older {
            at: batch.at,
            currency: batch.currency,
            count: 0,
            gross: 0,
            fee: 0,
            net: 0,
            parts: received.checksums().collect(),
            settled: Box::default(),
        };
        let mut settled = BTreeMap::new();
        for line in &batch.lines {
            older.count += 1;
            older.gross += i128::from(line.gross.minor);
            older.fee += i128::from(line.fee.minor);
            older.net += i128::from(line.net.minor);
            let moves = matches!(line.kind, LineKind::Capture | LineKind::Refund);
            if let Some(operation) = line.operation.filter(|id| moves && received.settled().contains(id)) {
                settled.entry(operation).or_insert(line.gross.minor);
            }
        }
        // What was matched by the processor's reference alone: for what it is worth, without the amount.
        for operation in received.settled() {
            settled.entry(*operation).or_insert(0);
        }
        older.settled = settled.into_iter().collect();
        self.remembered += older.settled.len() as u64;
        self.order.push_back(key.clone());
        self.batches.insert(key, older);
        self.forget();
    }

    fn forget(&mut self) {
        while self.order.len() > limits::SETTLEMENT_BATCHES_COUNTED {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.batches.remove(&oldest) {
                self.lose(gone.at, gone.settled.len());
            }
        }
        for place in 0..self.order.len() {
            if self.remembered <= limits::SETTLED_REMEMBERED {
                return;
            }
            let Some(older) = self.order.get(place).and_then(|key| self.batches.get_mut(key)) else { return };
            let (at, settled) = (older.at, std::mem::take(&mut older.settled));
            self.lose(at, settled.len());
        }
    }

    fn lose(&mut self, at: Timestamp, operations: usize) {
        self.remembered = self.remembered.saturating_sub(operations as u64);
        if operations > 0 {
            self.forgotten_until = self.forgotten_until.max(Some(at));
        }
    }

    /// Whether this part of this batch is known, and whether it is the same; `None`: there is no such batch.
    pub(super) fn knows(&self, key: &BatchKey, part: u32, checksum: u32) -> Option<bool> {
        let place = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
        let older = self.batches.get(key)?;
        Some(place.and_then(|place| older.parts.get(place)) == Some(&checksum))
    }

    /// For how much an old batch of this processor settled an operation, if one did: in minor units.
    pub fn settled(&self, operation: OpId) -> Option<i64> {
        self.batches.values().find_map(|older| {
            let found = older.settled.binary_search_by_key(&operation, |(id, _)| *id).ok()?;
            Some(older.settled[found].1)
        })
    }

    /// Every operation that one of them settled, and for how much.
    pub fn all_settled(&self) -> impl Iterator<Item = (OpId, i64)> + '_ {
        self.batches.values().flat_map(|older| older.settled.iter().copied())
    }

    /// Operations up to then may have been settled by a batch that does not say any more what it settled.
    pub fn forgotten_until(&self) -> Option<Timestamp> {
        self.forgotten_until
    }

    /// The batches in the order in which they began.
    pub fn iter(&self) -> impl Iterator<Item = (&BatchKey, &Older)> {
        self.order.iter().filter_map(|key| self.batches.get_key_value(key))
    }
}

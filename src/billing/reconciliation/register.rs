//! Settlement batches of processors: received part by part, matched, booked.
//!
//! ```text
//!   (none) ──part──▶ gathering ──last part──▶ whole ──each part booked──▶ booked ──ordered──▶ reverting ──▶ reverted
//!               expired ◀──┘                                                        next revision ◀──part──┘
//! ```
//!
//! A part is a fact before it is acknowledged. A batch is matched with our operations when it is complete, and booked
//! part by part; a part is booked once. An operator can revert a batch: each of its parts is then booked with its
//! sides exchanged.

use super::kept::{KeptPart, hash};
use super::lay::{Paper, Verdict};
use super::older::OlderBatches;
use super::received::{BatchState, Received};
use super::{LineKind, Trailer};
use crate::ledger::Entry;
use crate::limits;
use crate::stored::stored;
use crate::units::{Currency, OpId, ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A batch by its processor and its name.
pub type BatchKey = (ProcessorId, Box<str>);

/// Facts of settlement. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A part came in, at this time.
    Received(Box<Part>, Timestamp),
    /// A part was laid beside our operations and booked.
    Booked(Box<Booking>),
    /// A batch did not become complete in time and is discarded.
    Expired(BatchKey),
    /// A batch is to be taken back.
    RevertOrdered(Box<Reverting>),
    /// A part of it was booked the other way round.
    Reverted(Box<Reversal>),
}

stored!(enum Event {
    0: Received(0: part, 1: timestamp),
    1: Booked(booking),
    2: Expired(batch_key),
    3: RevertOrdered(reverting),
    4: Reverted(reversal),
});

/// A part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The processor.
    pub processor: ProcessorId,
    /// The processor's name for the batch.
    pub batch: Box<str>,
    /// How often the batch was taken in, counted from 1: a batch that was taken back may come again under the next number.
    pub revision: u32,
    /// Counted from 1.
    pub part: u32,
    /// When the money moves.
    pub at: Timestamp,
    /// Of every line that names no other.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<Line>,
    /// Whether no part comes after it.
    pub last: bool,
    /// The batch's own totals, in its last part.
    pub trailer: Option<Trailer>,
    /// SHA-256 over all lines of the batch, in its last part if the processor sends it ([`hash`]).
    pub sha256: Option<[u8; 32]>,
}

stored!(struct Part {
    0: processor, 1: batch, 2: revision, 3: part, 4: at, 5: currency, 6: lines, 7: last, 8: trailer, 9: sha256,
});

/// A line as it is kept. Amounts in minor units, with the signs of a [`SettlementLine`](super::SettlementLine).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its subject.
    pub kind: LineKind,
    /// Our operation, if the line names one.
    pub operation: Option<OpId>,
    /// The processor's reference.
    pub reference: Option<Box<str>>,
    /// Its currency, where that is not its batch's.
    pub currency: Option<Currency>,
    /// Before fees.
    pub gross: i64,
    /// The processor's fee.
    pub fee: i64,
    /// The amount paid out.
    pub net: i64,
}

stored!(struct Line { 0: kind, 1: operation, 2: reference, 3: currency, 4: gross, 5: fee, 6: net });

/// The booking of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The processor.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// Its revision.
    pub revision: u32,
    /// The part.
    pub part: u32,
    /// The entries that follow.
    pub entries: Vec<Entry>,
    /// The result of each of its lines, in order.
    pub verdicts: Vec<Verdict>,
}

stored!(struct Booking { 0: processor, 1: batch, 2: revision, 3: part, 4: entries, 5: verdicts });

/// The order to take a batch back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverting {
    /// The processor.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// Its revision.
    pub revision: u32,
    /// The operator's reason.
    pub reason: Box<str>,
    /// When it was ordered.
    pub at: Timestamp,
}

stored!(struct Reverting { 0: processor, 1: batch, 2: revision, 3: reason, 4: at });

/// A part that was booked the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    /// The processor.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// The part.
    pub part: u32,
    /// The entries that follow.
    pub entries: Vec<Entry>,
}

stored!(struct Reversal { 0: processor, 1: batch, 2: part, 3: entries });

/// Why a part or an order is not taken. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// The part arrived before, with another content.
    #[error("this part came before, with another content")]
    DifferentPart = 1,
    /// Another currency, date or revision than in earlier parts, or a part behind the last one.
    #[error(
        "the part does not belong to this batch: another currency, date or revision, or a part behind the last one"
    )]
    DifferentBatch = 2,
    /// With this part the batch does not add up to its trailer, or its lines do not have the stated hash.
    #[error("the batch does not add up to its trailer")]
    Trailer = 3,
    /// More batches of this processor are unfinished than are kept.
    #[error("too many batches of this processor are unfinished")]
    TooMany = 4,
    /// There is no such batch to take back.
    #[error("this processor has no such batch")]
    NoBatch = 5,
    /// Only its totals are kept.
    #[error("only the totals of this batch are kept: it cannot be taken back line by line any more")]
    TooOld = 6,
}

/// The batches of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    batches: BTreeMap<BatchKey, Received>,
    /// In the order in which they began.
    order: Vec<BatchKey>,
    /// Batches that are no longer kept line by line.
    older: OlderBatches,
}

stored!(struct Register { 0: batches, 1: order, 2: older });

impl Register {
    /// Decides on a part. A repeated part is accepted without an event.
    ///
    /// # Errors
    /// Each [`Refusal`] of parts.
    pub fn receive(&self, part: &Part, now: Timestamp) -> Result<Option<Event>, Refusal> {
        let key = (part.processor.clone(), part.batch.clone());
        let event = || Some(Event::Received(Box::new(part.clone()), now));
        let fresh = |revision: u32| {
            if part.revision != revision || part.part == 0 || revision > limits::SETTLEMENT_REVISIONS_MAX {
                return Err(Refusal::DifferentBatch);
            }
            self.has_room(part)?;
            check(&BTreeMap::new(), part).map(|()| event())
        };
        let Some(known) = self.batches.get(&key) else {
            return match self.older.knows(&key, part) {
                Some(Ok(())) => Ok(None),
                Some(Err(Some(next))) if part.revision == next => fresh(next),
                Some(Err(_)) => Err(Refusal::DifferentPart),
                None => fresh(1),
            };
        };
        if part.revision < known.revision {
            let earlier =
                usize::try_from(part.revision).ok().and_then(|number| known.earlier.get(number.checked_sub(1)?));
            let same = earlier.is_some_and(|earlier| earlier.has(part));
            return if same { Ok(None) } else { Err(Refusal::DifferentPart) };
        }
        if part.revision > known.revision {
            let reverted = known.state() == BatchState::Reverted;
            return if reverted { fresh(known.revision + 1) } else { Err(Refusal::DifferentBatch) };
        }
        if let Some(before) = known.parts.get(&part.part) {
            let same = before.is(&part.lines) && (known.last == Some(part.part)) == part.last;
            return if same { Ok(None) } else { Err(Refusal::DifferentPart) };
        }
        let behind = known.last.is_some_and(|last| part.part > last || part.last);
        let other = known.at != part.at || known.currency != part.currency || known.reverting.is_some();
        if other || behind || part.part == 0 {
            return Err(Refusal::DifferentBatch);
        }
        if known.parts.len() >= limits::SETTLEMENT_PARTS_MAX {
            return Err(Refusal::TooMany);
        }
        self.has_room(part)?;
        let (trailer, sha256) = (part.trailer.or(known.trailer), part.sha256.or(known.sha256));
        let whole = Part { trailer, sha256, last: part.last || known.last.is_some(), ..part.clone() };
        check(&known.parts, &whole).map(|()| event())
    }

    /// Each processor has its own bound, in batches and in bytes: what one leaves unfinished shuts out no other.
    fn has_room(&self, part: &Part) -> Result<(), Refusal> {
        let key = (part.processor.clone(), part.batch.clone());
        let own = self.batches.range((part.processor.clone(), Box::default())..);
        let own = own.take_while(|((processor, _), _)| *processor == part.processor);
        let (mut batches, mut bytes) = (0, KeptPart::new(&part.lines).bytes());
        for (of, batch) in own.filter(|(_, batch)| !batch.is_finished()) {
            batches += usize::from(*of != key);
            bytes = bytes.saturating_add(batch.bytes());
        }
        let fits = batches < limits::SETTLEMENT_UNFINISHED_MAX && bytes <= limits::SETTLEMENT_UNFINISHED_BYTES;
        if fits { Ok(()) } else { Err(Refusal::TooMany) }
    }

    /// Decides about a booking: the same part is booked once.
    pub fn book(&self, booking: &Booking) -> Option<Event> {
        let known = self.batches.get(&(booking.processor.clone(), booking.batch.clone()))?;
        let due = known.revision == booking.revision && known.unbooked().any(|part| part == booking.part);
        due.then(|| Event::Booked(Box::new(booking.clone())))
    }

    /// Decides on the order to revert a batch. A repeated order is accepted without an event.
    ///
    /// # Errors
    /// [`Refusal::NoBatch`] and [`Refusal::TooOld`].
    pub fn revert(&self, key: &BatchKey, reason: &str, now: Timestamp) -> Result<Option<Event>, Refusal> {
        let Some(known) = self.batches.get(key) else {
            return match self.older.get(key) {
                Some(older) if older.reverted => Ok(None),
                Some(_) => Err(Refusal::TooOld),
                None => Err(Refusal::NoBatch),
            };
        };
        if known.reverting.is_some() {
            return Ok(None);
        }
        let ((processor, batch), revision) = (key.clone(), known.revision);
        Ok(Some(Event::RevertOrdered(Box::new(Reverting {
            processor,
            batch,
            revision,
            reason: reason.into(),
            at: now,
        }))))
    }

    /// Decides about a part of a batch that is taken back: each is booked the other way round once.
    pub fn unbook(&self, key: &BatchKey, number: u32, now: Timestamp) -> Option<Event> {
        let known = self.batches.get(key)?;
        let part = known.parts.get(&number).filter(|part| known.reverting.is_some() && !part.is_reverted())?;
        let paper = Paper { processor: &key.0, batch: &key.1, revision: known.revision, at: known.at };
        let (verdicts, mut index, mut entries) = (part.verdicts(), 0, Vec::new());
        known.each_of(number, &mut |line| {
            if let Some(verdict) = verdicts.get(index) {
                entries.extend(paper.reversed(line, verdict, now));
            }
            index += 1;
        });
        let (processor, batch) = key.clone();
        Some(Event::Reverted(Box::new(Reversal { processor, batch, part: number, entries })))
    }

    /// A batch whose next part is overdue, if there is one.
    pub fn overdue(&self, now: Timestamp) -> Option<Event> {
        let late = |batch: &Received| {
            batch.state() == BatchState::Incomplete && now.since(batch.touched_at) > limits::SETTLEMENT_UNFINISHED_FOR
        };
        let key = self.order.iter().find(|key| self.batches.get(key).is_some_and(late))?;
        Some(Event::Expired(key.clone()))
    }

    /// Applies a fact. Cannot fail.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Received(part, now) => {
                let key = (part.processor.clone(), part.batch.clone());
                let again =
                    self.batches.get(&key).filter(|known| known.revision < part.revision).map(Received::taken_back);
                if again.is_some() {
                    self.batches.remove(&key);
                }
                let begun = self.older.next_revision(&key);
                let received = self.batches.entry(key.clone()).or_insert_with(|| Received {
                    earlier: again.or(begun).unwrap_or_default(),
                    ..Received::begin(part, *now)
                });
                if !self.order.contains(&key) {
                    self.order.push(key);
                }
                received.take(part, *now);
                self.forget();
            }
            Event::Booked(booking) => {
                let key = (booking.processor.clone(), booking.batch.clone());
                if let Some(received) = self.batches.get_mut(&key) {
                    received.book(booking);
                    self.forget();
                }
            }
            Event::Expired(key) => {
                self.batches.remove(key);
                self.order.retain(|known| known != key);
            }
            Event::RevertOrdered(reverting) => {
                let key = (reverting.processor.clone(), reverting.batch.clone());
                if let Some(received) = self.batches.get_mut(&key) {
                    received.reverting = Some((reverting.reason.clone(), reverting.at));
                }
            }
            Event::Reverted(reversal) => {
                let key = (reversal.processor.clone(), reversal.batch.clone());
                if let Some(received) = self.batches.get_mut(&key) {
                    let currency = received.currency;
                    received.booked.post(&reversal.entries, currency);
                    if let Some(part) = received.parts.get_mut(&reversal.part) {
                        part.revert();
                    }
                    self.forget();
                }
            }
        }
    }

    /// The oldest finished batches of a processor go when it has too many, and of the processor with the most bytes when all
    /// take too much room: no processor pushes out the lines of another, and unfinished batches push out none.
    fn forget(&mut self) {
        while let Some(crowded) = self.crowded() {
            let of_it = |key: &BatchKey| key.0 == crowded && self.batches.get(key).is_none_or(Received::is_finished);
            let Some(oldest) = self.order.iter().position(of_it) else { return };
            let key = self.order.remove(oldest);
            if let Some(finished) = self.batches.remove(&key) {
                self.older.take(key, &finished);
            }
        }
    }

    /// The processor whose oldest finished batch is not kept line by line any more, if there are too many.
    fn crowded(&self) -> Option<ProcessorId> {
        let mut kept: BTreeMap<&ProcessorId, (usize, usize)> = BTreeMap::new();
        for (key, batch) in self.batches.iter().filter(|(_, batch)| batch.is_finished()) {
            let (count, bytes) = kept.entry(&key.0).or_default();
            *count += 1;
            *bytes = bytes.saturating_add(batch.bytes());
        }
        let too_many = kept.iter().find(|(_, (count, _))| *count > limits::SETTLEMENT_BATCHES_KEPT);
        let all = kept.values().map(|(_, bytes)| *bytes).fold(0, usize::saturating_add);
        let largest =
            || kept.iter().max_by_key(|(_, (_, bytes))| *bytes).filter(|_| all > limits::SETTLEMENT_KEPT_BYTES);
        too_many.or_else(largest).map(|(processor, _)| (*processor).clone())
    }

    /// Whether no batch ever came.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty() && self.older.iter().next().is_none()
    }

    /// The batches in the order in which they began.
    pub fn batches(&self) -> impl Iterator<Item = (&BatchKey, &Received)> {
        self.order.iter().filter_map(|key| self.batches.get_key_value(key))
    }

    /// The batches before those: their totals, and what they settled.
    pub fn older(&self) -> &OlderBatches {
        &self.older
    }

    /// One batch.
    pub fn get(&self, key: &BatchKey) -> Option<&Received> {
        self.batches.get(key)
    }

    /// Another batch of the processor that has the same lines, all of them, and was not taken back.
    pub fn same_content(&self, key: &BatchKey, content: [u8; 16]) -> Option<Box<str>> {
        let kept = self.batches().filter(|(_, batch)| batch.content == Some(content) && batch.reverting.is_none());
        let older = self.older.iter().filter(|(_, older)| older.content == Some(content) && !older.reverted);
        let names = older.map(|(key, _)| key).chain(kept.map(|(key, _)| key));
        // Of batches that began after it, it is the first.
        names.take_while(|known| *known != key).find(|known| known.0 == key.0).map(|(_, name)| name.clone())
    }
}

/// Whether the batch adds up, if it is whole with this part. A batch without a trailer cannot be checked.
fn check(parts: &BTreeMap<u32, KeptPart>, part: &Part) -> Result<(), Refusal> {
    let Some(trailer) = part.trailer else { return Ok(()) };
    let highest = parts.keys().next_back().copied().unwrap_or(0).max(part.part);
    let whole = part.last && usize::try_from(highest) == Ok(parts.len() + 1);
    if !whole {
        return Ok(());
    }
    let before = || parts.range(..part.part).flat_map(|(_, part)| part.lines());
    let behind = || parts.range(part.part..).flat_map(|(_, part)| part.lines());
    let lines = || before().chain(part.lines.iter().cloned()).chain(behind());
    let mut sums = Trailer::default();
    for line in lines() {
        sums.count += 1;
        sums.gross += i128::from(line.gross);
        sums.fee += i128::from(line.fee);
        sums.net += i128::from(line.net);
    }
    let fits = sums == trailer && part.sha256.is_none_or(|stated| stated == hash(lines()));
    if fits { Ok(()) } else { Err(Refusal::Trailer) }
}

#[cfg(test)]
mod tests;

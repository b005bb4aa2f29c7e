//! What processors said they settled: batches as they come in, part by part, and what was booked of them.
//!
//! ```text
//!   (none) ──part──▶ gathering ──last part──▶ whole ──each part booked──▶ booked
//! ```
//!
//! A part is a fact before it is acknowledged. A batch is laid beside our operations when it is whole, and booked part by
//! part; a part is booked once.

use super::older::OlderBatches;
use super::{Batch, LineKind, SettlementLine, Trailer};
use crate::ledger::Entry;
use crate::limits;
use crate::units::{Amount, Currency, OpId, ProcessorId, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A batch by its processor and its name.
pub type BatchKey = (ProcessorId, Box<str>);

/// Facts of settlement. The order of the variants is the journal's numbering and only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A part came in.
    Received(Box<Part>),
    /// A part was laid beside our operations and booked.
    Booked(Box<Booking>),
}

/// A part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whose.
    pub processor: ProcessorId,
    /// The processor's name for the batch.
    pub batch: Box<str>,
    /// Counted from 1.
    pub part: u32,
    /// When the money moves.
    pub at: Timestamp,
    /// Of every line.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<Line>,
    /// Whether no part comes after it.
    pub last: bool,
    /// What the batch says about itself, in its last part.
    pub trailer: Option<Trailer>,
    /// SHA-256 over all lines of the batch, in its last part where the processor tells ([`hash`]).
    pub sha256: Option<[u8; 32]>,
}

/// A line as it is kept. Amounts in minor units, with the signs of a [`SettlementLine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is about.
    pub kind: LineKind,
    /// Our operation, where the processor tells it.
    pub operation: Option<OpId>,
    /// The processor's reference.
    pub reference: Option<Box<str>>,
    /// Before fees.
    pub gross: i64,
    /// The processor's fee.
    pub fee: i64,
    /// What is paid out.
    pub net: i64,
}

/// What was booked of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Whose.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// The part.
    pub part: u32,
    /// What follows for the books.
    pub entries: Vec<Entry>,
    /// Our operations that its lines settle.
    pub settled: Vec<OpId>,
}

/// Why a part is not taken. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// The part came before, and said something else.
    #[error("this part came before, with another content")]
    DifferentPart = 1,
    /// Another currency or date than in earlier parts, or a part behind the last one.
    #[error("the part does not belong to this batch")]
    DifferentBatch = 2,
    /// With this part the batch does not add up to its trailer, or its lines are not those that were hashed.
    #[error("the batch does not add up to its trailer")]
    Trailer = 3,
    /// More batches of this processor are unfinished than are kept.
    #[error("too many batches of this processor are unfinished")]
    TooMany = 4,
}

/// The batches of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    batches: BTreeMap<BatchKey, Received>,
    /// In the order in which they began.
    order: Vec<BatchKey>,
    /// Those that are not kept line by line any more.
    older: OlderBatches,
}

/// A batch, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    at: Timestamp,
    currency: Currency,
    parts: BTreeMap<u32, Vec<Line>>,
    last: Option<u32>,
    trailer: Option<Trailer>,
    sha256: Option<[u8; 32]>,
    booked: BTreeSet<u32>,
    settled: BTreeSet<OpId>,
}

impl Received {
    /// Whether every part is there.
    pub fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| usize::try_from(last) == Ok(self.parts.len()))
    }

    /// Whether every part is booked.
    pub fn is_booked(&self) -> bool {
        self.is_whole() && self.booked.len() == self.parts.len()
    }

    /// The parts that are not booked yet, in order.
    pub fn unbooked(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts.keys().copied().filter(|part| !self.booked.contains(part))
    }

    /// Our operations that it settles, as far as it is booked.
    pub fn settled(&self) -> &BTreeSet<OpId> {
        &self.settled
    }

    /// CRC-32 of each part, in order.
    pub(super) fn checksums(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts.values().map(|lines| checksum(lines))
    }

    /// The batch (or one part of it) in the words of reconciliation.
    pub fn batch(&self, key: &BatchKey, only: Option<u32>) -> Batch {
        let mut row = 0;
        let mut lines = Vec::new();
        for (part, found) in &self.parts {
            for line in found {
                row += 1;
                if only.is_none_or(|only| only == *part) {
                    lines.push(line.shown(row, self.currency));
                }
            }
        }
        Batch {
            id: key.1.clone(),
            processor: key.0.clone(),
            currency: self.currency,
            at: self.at,
            lines,
            trailer: self.trailer.filter(|_| only.is_none()),
        }
    }
}

impl Line {
    fn shown(&self, row: u64, currency: Currency) -> SettlementLine {
        let amount = |minor| Amount::new(minor, currency);
        SettlementLine {
            row,
            kind: self.kind,
            operation: self.operation,
            reference: self.reference.clone(),
            gross: amount(self.gross),
            fee: amount(self.fee),
            net: amount(self.net),
        }
    }
}

impl Register {
    /// Decides about a part. A part that is there already is taken again, and nothing follows.
    pub fn receive(&self, part: &Part) -> Result<Option<Event>, Refusal> {
        let key = (part.processor.clone(), part.batch.clone());
        let event = || Some(Event::Received(Box::new(part.clone())));
        let Some(known) = self.batches.get(&key) else {
            match self.older.knows(&key, part.part, checksum(&part.lines)) {
                Some(true) => return Ok(None),
                Some(false) => return Err(Refusal::DifferentPart),
                None => {}
            }
            // Each processor has its own bound: what one leaves unfinished shuts out no other.
            let own = self.batches.iter().filter(|((processor, _), _)| *processor == part.processor);
            let unfinished = own.filter(|(_, batch)| !batch.is_booked()).count();
            if unfinished >= limits::SETTLEMENT_BATCHES_KEPT {
                return Err(Refusal::TooMany);
            }
            return check(&BTreeMap::new(), part).map(|()| event());
        };
        if let Some(before) = known.parts.get(&part.part) {
            let same = *before == part.lines && (known.last == Some(part.part)) == part.last;
            return if same { Ok(None) } else { Err(Refusal::DifferentPart) };
        }
        let behind = known.last.is_some_and(|last| part.part > last || part.last);
        if known.at != part.at || known.currency != part.currency || behind || part.part == 0 {
            return Err(Refusal::DifferentBatch);
        }
        if known.parts.len() >= limits::SETTLEMENT_PARTS_MAX {
            return Err(Refusal::TooMany);
        }
        let (trailer, sha256) = (part.trailer.or(known.trailer), part.sha256.or(known.sha256));
        let whole = Part { trailer, sha256, last: part.last || known.last.is_some(), ..part.clone() };
        check(&known.parts, &whole).map(|()| event())
    }

    /// Decides about a booking: the same part is booked once.
    pub fn book(&self, booking: &Booking) -> Option<Event> {
        let known = self.batches.get(&(booking.processor.clone(), booking.batch.clone()))?;
        let due = known.parts.contains_key(&booking.part) && !known.booked.contains(&booking.part);
        due.then(|| Event::Booked(Box::new(booking.clone())))
    }

    /// Folds a fact. Cannot fail.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Received(part) => {
                let key = (part.processor.clone(), part.batch.clone());
                let received = self.batches.entry(key.clone()).or_insert_with(|| Received {
                    at: part.at,
                    currency: part.currency,
                    parts: BTreeMap::new(),
                    last: None,
                    trailer: None,
                    sha256: None,
                    booked: BTreeSet::new(),
                    settled: BTreeSet::new(),
                });
                if received.parts.is_empty() {
                    self.order.push(key);
                }
                received.parts.insert(part.part, part.lines.clone());
                received.trailer = received.trailer.or(part.trailer);
                received.sha256 = received.sha256.or(part.sha256);
                if part.last {
                    received.last = Some(part.part);
                }
                self.forget();
            }
            Event::Booked(booking) => {
                let key = (booking.processor.clone(), booking.batch.clone());
                if let Some(received) = self.batches.get_mut(&key) {
                    received.booked.insert(booking.part);
                    received.settled.extend(booking.settled.iter().copied());
                }
            }
        }
    }

    /// The oldest booked batches go when there are too many.
    fn forget(&mut self) {
        while self.order.len() > limits::SETTLEMENT_BATCHES_KEPT {
            let booked = |key: &BatchKey| self.batches.get(key).is_none_or(Received::is_booked);
            let Some(oldest) = self.order.iter().position(booked) else { return };
            let key = self.order.remove(oldest);
            if let Some(booked) = self.batches.remove(&key) {
                self.older.take(key, &booked);
            }
        }
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
}

/// Whether the batch adds up, if it is whole with this part. A batch without a trailer cannot be checked.
fn check(parts: &BTreeMap<u32, Vec<Line>>, part: &Part) -> Result<(), Refusal> {
    let Some(trailer) = part.trailer else { return Ok(()) };
    let before = || parts.range(..part.part).flat_map(|(_, lines)| lines);
    let behind = || parts.range(part.part..).flat_map(|(_, lines)| lines);
    let lines = || before().chain(&part.lines).chain(behind());
    let highest = parts.keys().next_back().copied().unwrap_or(0).max(part.part);
    let whole = part.last && usize::try_from(highest) == Ok(parts.len() + 1);
    let sum = |field: fn(&Line) -> i64| -> i128 { lines().map(|line| i128::from(field(line))).sum() };
    let fits = u64::try_from(lines().count()) == Ok(trailer.count)
        && sum(|line| line.gross) == trailer.gross
        && sum(|line| line.fee) == trailer.fee
        && sum(|line| line.net) == trailer.net;
    let fits = fits && part.sha256.is_none_or(|told| told == hash(lines()));
    if whole && !fits { Err(Refusal::Trailer) } else { Ok(()) }
}

/// SHA-256 over the lines of a batch as they stood on the wire: one line of text each, in order over all parts:
/// `<operation as 32 hexadecimal digits, or ->,<kind>,<gross>,<fee>,<net>` and a line feed, where a fee that is taken is
/// below zero.
pub fn hash<'a>(lines: impl IntoIterator<Item = &'a Line>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for Line { kind, operation, reference: _, gross, fee, net } in lines {
        let operation = operation.map_or("-".to_owned(), |id| format!("{:032x}", id.as_u128()));
        let fee = fee.saturating_neg();
        context.update(format!("{operation},{},{gross},{fee},{net}\n", kind.number()).as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn checksum(lines: &[Line]) -> u32 {
    crc32fast::hash(&postcard::to_stdvec(lines).expect("lines are plain values and always encode"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{PartitionId, SessionId};

    fn part(number: u32, last: bool, amounts: &[i64]) -> Part {
        let lines = amounts.iter().enumerate().map(|(index, gross)| {
            let session = SessionId::new(Timestamp::from_unix_ms(1), PartitionId(1), index as u64);
            let operation = Some(session.operation(2));
            Line { kind: LineKind::Capture, operation, reference: None, gross: *gross, fee: 10, net: gross - 10 }
        });
        Part {
            processor: ProcessorId::new("acme").unwrap(),
            batch: "2026-11-21".into(),
            part: number,
            at: Timestamp::from_unix_ms(1_763_700_000_000),
            currency: Currency::EUR,
            lines: lines.collect(),
            last,
            trailer: None,
            sha256: None,
        }
    }

    fn trailer(count: u64, gross: i128) -> Option<Trailer> {
        let fee = i128::from(count) * 10;
        Some(Trailer { count, gross, fee, net: gross - fee })
    }

    fn take(register: &mut Register, part: &Part) -> Result<bool, Refusal> {
        let event = register.receive(part)?;
        if let Some(event) = &event {
            register.apply(event);
        }
        Ok(event.is_some())
    }

    #[test]
    fn parts_come_in_any_order_and_each_counts_once() {
        let mut register = Register::default();
        let last = Part { trailer: trailer(3, 2_400), ..part(2, true, &[500]) };
        assert_eq!(take(&mut register, &last), Ok(true));
        assert_eq!(take(&mut register, &last), Ok(false), "the same again");
        assert_eq!(take(&mut register, &part(2, true, &[501])), Err(Refusal::DifferentPart));
        assert_eq!(take(&mut register, &part(3, false, &[1])), Err(Refusal::DifferentBatch));
        assert_eq!(take(&mut register, &part(1, false, &[960, 940])), Ok(true));
        let (key, received) = register.batches().next().unwrap();
        assert!(received.is_whole() && !received.is_booked());
        let batch = received.batch(key, None);
        assert_eq!(
            batch.lines.iter().map(|line| (line.row, line.gross.minor)).collect::<Vec<_>>(),
            [(1, 960), (2, 940), (3, 500)]
        );
    }

    #[test]
    fn a_batch_that_does_not_add_up_is_refused_with_its_last_part() {
        let mut register = Register::default();
        assert_eq!(take(&mut register, &part(1, false, &[960])), Ok(true));
        let wrong = Part { trailer: trailer(2, 1_461), ..part(2, true, &[500]) };
        assert_eq!(take(&mut register, &wrong), Err(Refusal::Trailer));
        let right = Part { trailer: trailer(2, 1_460), ..part(2, true, &[500]) };
        assert_eq!(take(&mut register, &right), Ok(true));
    }

    #[test]
    fn the_hash_of_a_batch_in_several_parts_is_checked_when_it_is_whole() {
        let parts = [part(1, false, &[960, 940]), part(2, false, &[300]), part(3, true, &[500])];
        let whole = hash(parts.iter().flat_map(|part| &part.lines));
        for order in [[0, 1, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0]] {
            for told in [whole, [7; 32]] {
                let mut register = Register::default();
                let mut taken = Ok(true);
                for index in order {
                    let last = index == 2;
                    let part = parts[index].clone();
                    let trailer = trailer(4, 2_700).filter(|_| last);
                    taken = take(&mut register, &Part { trailer, sha256: Some(told).filter(|_| last), ..part });
                }
                assert_eq!(taken, if told == whole { Ok(true) } else { Err(Refusal::Trailer) }, "{order:?}");
            }
        }
    }

    #[test]
    fn of_old_batches_the_totals_stay_and_nothing_is_settled_twice() {
        let mut register = Register::default();
        let named = |number: usize| Part { batch: format!("{number}").into(), ..part(1, true, &[960, 40]) };
        let batches = limits::SETTLEMENT_BATCHES_KEPT + 10;
        for number in 0..batches {
            let part = named(number);
            assert_eq!(take(&mut register, &part), Ok(true));
            let settled = part.lines[..1].iter().filter_map(|line| line.operation).collect();
            let (processor, batch) = (part.processor, part.batch);
            let booking = Booking { processor, batch, part: 1, entries: Vec::new(), settled };
            let event = register.book(&booking).unwrap();
            register.apply(&event);
        }
        let first = named(0);
        assert!(register.get(&(first.processor.clone(), first.batch.clone())).is_none(), "its lines are gone");
        assert_eq!(register.batches().count() + register.older().iter().count(), batches);
        let (_, older) = register.older().iter().next().unwrap();
        assert_eq!((older.count, older.gross, older.net), (2, 1_000, 980));
        let operation = |line: usize| first.lines[line].operation.unwrap();
        assert_eq!(register.older().settled(operation(0)), Some(960));
        assert_eq!(register.older().settled(operation(1)), None, "what fitted nothing was not settled");
        assert_eq!(take(&mut register, &first), Ok(false), "the same again is known");
        let other = Part { lines: part(1, true, &[961]).lines, ..first };
        assert_eq!(take(&mut register, &other), Err(Refusal::DifferentPart));
    }

    #[test]
    fn a_batch_without_end_is_refused() {
        let mut register = Register::default();
        for number in 1..=u32::try_from(limits::SETTLEMENT_PARTS_MAX).unwrap() {
            assert_eq!(take(&mut register, &part(number, false, &[])), Ok(true));
        }
        assert_eq!(take(&mut register, &part(1_000_000, false, &[])), Err(Refusal::TooMany));
    }

    #[test]
    fn unfinished_batches_of_one_processor_shut_out_no_other() {
        let mut register = Register::default();
        let named = |number: usize| Part { batch: format!("{number}").into(), ..part(1, false, &[960]) };
        for number in 0..limits::SETTLEMENT_BATCHES_KEPT {
            assert_eq!(take(&mut register, &named(number)), Ok(true));
        }
        assert_eq!(take(&mut register, &named(999)), Err(Refusal::TooMany));
        let other = Part { processor: ProcessorId::new("other").unwrap(), ..named(999) };
        assert_eq!(take(&mut register, &other), Ok(true));
    }

    #[test]
    fn a_part_is_booked_once() {
        let mut register = Register::default();
        take(&mut register, &part(1, true, &[960])).unwrap();
        let (processor, batch) = register.batches().next().unwrap().0.clone();
        let settled = vec![SessionId::new(Timestamp::from_unix_ms(1), PartitionId(1), 0).operation(2)];
        let booking = Booking { processor, batch, part: 1, entries: Vec::new(), settled };
        let event = register.book(&booking).unwrap();
        register.apply(&event);
        assert_eq!(register.book(&booking), None);
        assert!(register.batches().all(|(_, batch)| batch.is_booked() && batch.settled().len() == 1));
    }
}

//! What processors said they settled: batches as they come in, part by part, and what was booked of them.
//!
//! ```text
//!   (none) ──part──▶ gathering ──last part──▶ whole ──each part booked──▶ booked ──ordered──▶ reverting ──▶ reverted
//!               expired ◀──┘                                                        next revision ◀──part──┘
//! ```
//!
//! A part is a fact before it is acknowledged. A batch is laid beside our operations when it is whole, and booked part by
//! part; a part is booked once. An operator can take a batch back: each of its parts is then booked the other way round.

use super::kept::{KeptPart, hash};
use super::lay::{Paper, Verdict};
use super::older::OlderBatches;
use super::{Batch, BatchFault, LineKind, SettlementLine, Trailer};
use crate::ledger::{Entry, Name, Side};
use crate::limits;
use crate::units::{Amount, Currency, OpId, ProcessorId, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A batch by its processor and its name.
pub type BatchKey = (ProcessorId, Box<str>);

/// Facts of settlement. The order of the variants is the journal's numbering and only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A part came in, at this time.
    Received(Box<Part>, Timestamp),
    /// A part was laid beside our operations and booked.
    Booked(Box<Booking>),
    /// A batch did not become whole in time and is forgotten.
    Expired(BatchKey),
    /// A batch is to be taken back.
    RevertOrdered(Box<Reverting>),
    /// A part of it was booked the other way round.
    Reverted(Box<Reversal>),
}

/// A part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whose.
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
    /// Its currency, where that is not its batch's.
    pub currency: Option<Currency>,
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
    /// Its revision.
    pub revision: u32,
    /// The part.
    pub part: u32,
    /// What follows for the books.
    pub entries: Vec<Entry>,
    /// What became of each of its lines, in order.
    pub verdicts: Vec<Verdict>,
}

/// The order to take a batch back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverting {
    /// Whose.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// Its revision.
    pub revision: u32,
    /// Why, in the operator's words.
    pub reason: Box<str>,
    /// When it was ordered.
    pub at: Timestamp,
}

/// A part that was booked the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    /// Whose.
    pub processor: ProcessorId,
    /// The batch.
    pub batch: Box<str>,
    /// The part.
    pub part: u32,
    /// What follows for the books.
    pub entries: Vec<Entry>,
}

/// Why a part or an order is not taken. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// The part came before, and said something else.
    #[error("this part came before, with another content")]
    DifferentPart = 1,
    /// Another currency, date or revision than in earlier parts, or a part behind the last one.
    #[error(
        "the part does not belong to this batch: another currency, date or revision, or a part behind the last one"
    )]
    DifferentBatch = 2,
    /// With this part the batch does not add up to its trailer, or its lines are not those that were hashed.
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
    /// Those that are not kept line by line any more.
    older: OlderBatches,
}

/// A batch, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    at: Timestamp,
    currency: Currency,
    /// When its last part came.
    touched_at: Timestamp,
    parts: BTreeMap<u32, KeptPart>,
    last: Option<u32>,
    trailer: Option<Trailer>,
    sha256: Option<[u8; 32]>,
    revision: u32,
    reverting: Option<(Box<str>, Timestamp)>,
    /// What is left of the revisions before it, oldest first.
    earlier: Vec<Earlier>,
    /// Over its lines, as soon as it is whole: the same list under another name has the same.
    content: Option<[u8; 16]>,
    booked: Booked,
}

/// A revision that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Why it was taken back.
    pub reason: Box<str>,
    /// When.
    pub at: Timestamp,
    /// CRC-32 of each part, in order.
    checksums: Box<[u32]>,
}

/// What a batch moved in the books, in minor units of its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
    /// Onto the bank account.
    pub bank: i128,
    /// Of what the processor owed.
    pub settled: i128,
    /// Processor's fees.
    pub fees: i128,
    /// Into suspense.
    pub suspense: i128,
    /// Withheld.
    pub reserved: i128,
}

impl Booked {
    fn post(&mut self, entries: &[Entry], currency: Currency) {
        for leg in entries.iter().flat_map(Entry::legs).filter(|leg| leg.amount.currency == currency) {
            let minor = i128::from(leg.amount.minor);
            let debit = if leg.side == Side::Debit { minor } else { -minor };
            match leg.account {
                Name::Bank => self.bank += debit,
                Name::ProcessorReceivable(_) => self.settled -= debit,
                Name::ProcessorFee(_) => self.fees += debit,
                Name::Suspense(_) => self.suspense -= debit,
                Name::ProcessorReserve(_) => self.reserved -= debit,
                _ => {}
            }
        }
    }
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Parts are missing.
    Incomplete,
    /// Whole, and not booked yet.
    Received,
    /// Every part is booked.
    Booked,
    /// It is being taken back.
    Reverting,
    /// Taken back.
    Reverted,
}

impl BatchState {
    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            BatchState::Incomplete => "incomplete",
            BatchState::Received => "received",
            BatchState::Booked => "booked",
            BatchState::Reverting => "reverting",
            BatchState::Reverted => "reverted",
        }
    }
}

impl Received {
    /// How far it is.
    pub fn state(&self) -> BatchState {
        match &self.reverting {
            Some(_) if self.parts.values().all(KeptPart::is_reverted) => BatchState::Reverted,
            Some(_) => BatchState::Reverting,
            None if !self.is_whole() => BatchState::Incomplete,
            None if self.parts.values().all(KeptPart::is_booked) => BatchState::Booked,
            None => BatchState::Received,
        }
    }

    /// Whether every part is there.
    pub fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| usize::try_from(last) == Ok(self.parts.len()))
    }

    /// Whether every part is booked, and it was not taken back.
    pub fn is_booked(&self) -> bool {
        self.state() == BatchState::Booked
    }

    /// Whether nothing more happens to it by itself.
    pub fn is_finished(&self) -> bool {
        matches!(self.state(), BatchState::Booked | BatchState::Reverted)
    }

    /// Whether parts of it are to be booked, or booked the other way round.
    pub fn is_due(&self) -> bool {
        matches!(self.state(), BatchState::Received | BatchState::Reverting)
    }

    /// The parts that are not booked yet, in order.
    pub fn unbooked(&self) -> impl Iterator<Item = u32> + '_ {
        let open = self.reverting.is_none();
        self.parts.iter().filter(move |(_, part)| open && !part.is_booked()).map(|(number, _)| *number)
    }

    /// The parts that are to be booked the other way round, in order.
    pub fn unreverted(&self) -> impl Iterator<Item = u32> + '_ {
        let reverting = self.reverting.is_some();
        self.parts.iter().filter(move |(_, part)| reverting && !part.is_reverted()).map(|(number, _)| *number)
    }

    /// Shows each line that is booked, and what became of it. A batch that was taken back has none.
    pub fn each_booked(&self, visit: &mut dyn FnMut(&SettlementLine, &Verdict)) {
        if self.reverting.is_some() {
            return;
        }
        self.each(&mut |line, verdict| {
            if let Some(verdict) = verdict {
                visit(line, verdict);
            }
        });
    }

    /// Shows each line with its row, and what became of it, also when it was taken back since.
    pub fn each(&self, visit: &mut dyn FnMut(&SettlementLine, Option<&Verdict>)) {
        let mut row = 0;
        for part in self.parts.values() {
            let verdicts = part.verdicts();
            for (index, line) in part.lines().iter().enumerate() {
                row += 1;
                visit(&line.shown(row, self.currency), verdicts.get(index));
            }
        }
    }

    /// Shows the lines of one part.
    pub fn each_of(&self, number: u32, visit: &mut dyn FnMut(&SettlementLine)) {
        let before = self.parts.range(..number).map(|(_, part)| u64::from(part.count())).sum::<u64>();
        let lines = self.parts.get(&number).map(KeptPart::lines).unwrap_or_default();
        for (row, line) in (before + 1..).zip(&lines) {
            visit(&line.shown(row, self.currency));
        }
    }

    /// What is wrong with the batch itself: the first hundred faults, and the sums over its lines.
    pub fn faults(&self) -> (Vec<BatchFault>, Trailer) {
        const FAULTS_TOLD: usize = 100;
        let (mut faults, mut sums) = (Vec::new(), Trailer::default());
        self.each(&mut |line, _| {
            sums.add(line);
            let room = FAULTS_TOLD.saturating_sub(faults.len());
            faults.extend(line.faults(self.currency).into_iter().take(room));
        });
        if self.is_whole() {
            faults.extend(self.trailer.iter().flat_map(|told| told.faults(&sums)));
        }
        (faults, sums)
    }

    /// When the money moves.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Of its lines.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// How often it was taken in, counted from 1.
    pub const fn revision(&self) -> u32 {
        self.revision
    }

    /// Why it is or was taken back, and when that was ordered.
    pub fn reverting(&self) -> Option<(&str, Timestamp)> {
        self.reverting.as_ref().map(|(reason, at)| (&**reason, *at))
    }

    /// The revisions before it, which were taken back.
    pub fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// What it moved in the books; nothing once it was taken back.
    pub const fn booked(&self) -> Booked {
        self.booked
    }

    /// Over its lines; none while parts are missing.
    pub const fn content(&self) -> Option<[u8; 16]> {
        self.content
    }

    /// CRC-32 of each part, in order.
    pub(super) fn checksums(&self) -> Box<[u32]> {
        self.parts.values().map(KeptPart::checksum).collect()
    }

    /// Bytes that its lines take.
    pub fn bytes(&self) -> usize {
        self.parts.values().map(KeptPart::bytes).sum()
    }

    /// The batch in the words of reconciliation.
    pub fn batch(&self, key: &BatchKey) -> Batch {
        let mut lines = Vec::new();
        self.each(&mut |line, _| lines.push(line.clone()));
        let (id, processor) = (key.1.clone(), key.0.clone());
        Batch { id, processor, currency: self.currency, at: self.at, lines, trailer: self.trailer }
    }

    /// A batch of which nothing has come yet.
    pub fn begin(part: &Part, now: Timestamp) -> Received {
        Received {
            at: part.at,
            currency: part.currency,
            touched_at: now,
            parts: BTreeMap::new(),
            last: None,
            trailer: None,
            sha256: None,
            revision: part.revision,
            reverting: None,
            earlier: Vec::new(),
            content: None,
            booked: Booked::default(),
        }
    }

    /// A part is booked.
    pub fn book(&mut self, booking: &Booking) {
        let currency = self.currency;
        self.booked.post(&booking.entries, currency);
        if let Some(part) = self.parts.get_mut(&booking.part) {
            part.book(&booking.verdicts);
        }
    }

    /// Takes a part in.
    pub fn take(&mut self, part: &Part, now: Timestamp) {
        self.parts.insert(part.part, KeptPart::new(&part.lines));
        self.trailer = self.trailer.or(part.trailer);
        self.sha256 = self.sha256.or(part.sha256);
        self.touched_at = now;
        if part.last {
            self.last = Some(part.part);
        }
        if self.is_whole() {
            let mut context = digest::Context::new(&digest::SHA256);
            for line in self.parts.values().flat_map(KeptPart::lines) {
                context.update(&postcard::to_stdvec(&line).expect("lines are plain values and always encode"));
            }
            let hash = context.finish();
            self.content = Some(hash.as_ref()[..16].try_into().expect("SHA-256 has more than 16 bytes"));
        }
    }
}

impl Line {
    fn shown(&self, row: u64, batch: Currency) -> SettlementLine {
        let amount = |minor| Amount::new(minor, self.currency.unwrap_or(batch));
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

    /// Decides about the order to take a batch back. Repeated, nothing follows.
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

    /// Folds a fact. Cannot fail.
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

    /// The oldest finished batches go when there are too many, or when their lines take too much room.
    fn forget(&mut self) {
        let mut bytes: usize = self.batches.values().filter(|batch| batch.is_finished()).map(Received::bytes).sum();
        while self.order.len() > limits::SETTLEMENT_BATCHES_KEPT || bytes > limits::SETTLEMENT_KEPT_BYTES {
            let finished = |key: &BatchKey| self.batches.get(key).is_none_or(Received::is_finished);
            let Some(oldest) = self.order.iter().position(finished) else { return };
            let key = self.order.remove(oldest);
            if let Some(finished) = self.batches.remove(&key) {
                bytes = bytes.saturating_sub(finished.bytes());
                self.older.take(key, &finished);
            }
        }
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

impl Received {
    /// The revisions before the next one.
    fn taken_back(&self) -> Vec<Earlier> {
        let (reason, at) = self.reverting.clone().unwrap_or_default();
        let mut earlier = self.earlier.clone();
        earlier.push(Earlier { reason, at, checksums: self.checksums() });
        earlier
    }

    /// All revisions, if the last one was taken back too.
    pub(super) fn all_taken_back(&self) -> Option<Vec<Earlier>> {
        (self.state() == BatchState::Reverted).then(|| self.taken_back())
    }
}

impl Earlier {
    /// Whether it had this part.
    pub(super) fn has(&self, part: &Part) -> bool {
        let place = usize::try_from(part.part).ok().and_then(|part| part.checked_sub(1));
        place.and_then(|place| self.checksums.get(place)) == Some(&KeptPart::checksum_of(&part.lines))
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
    let fits = sums == trailer && part.sha256.is_none_or(|told| told == hash(lines()));
    if fits { Ok(()) } else { Err(Refusal::Trailer) }
}

#[cfg(test)]
mod tests;

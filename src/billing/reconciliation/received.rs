//! A settlement batch with its parts received so far, its state, its sums in the books, and its earlier revisions.

use super::kept::{KeptPart, identity};
use super::lay::Verdict;
use super::register::{BatchKey, Booking, Line, Part};
use super::{Batch, BatchFault, SettlementLine, Trailer};
use crate::ledger::{Entry, Name, Side};
use crate::stored::stored;
use crate::units::{Amount, Currency, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A batch, as far as it was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub(super) at: Timestamp,
    pub(super) currency: Currency,
    /// When its last part came.
    pub(super) touched_at: Timestamp,
    pub(super) parts: BTreeMap<u32, KeptPart>,
    pub(super) last: Option<u32>,
    pub(super) trailer: Option<Trailer>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) revision: u32,
    pub(super) reverting: Option<(Box<str>, Timestamp)>,
    /// Summaries of the earlier revisions, oldest first.
    pub(super) earlier: Vec<Earlier>,
    /// Over its lines, as soon as it is whole: the same list under another name has the same.
    pub(super) content: Option<[u8; 16]>,
    pub(super) booked: Booked,
}

stored!(struct Received {
    0: at, 1: currency, 2: touched_at, 3: parts, 4: last, 5: trailer, 6: sha256, 7: revision, 8: reverting,
    9: earlier, 10: content, 11: booked,
});

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

stored!(struct Earlier { 0: reason, 1: at, 2: checksums });

/// Sums of a batch in the books, in minor units of its currency.
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

stored!(struct Booked { 0: bank, 1: settled, 2: fees, 3: suspense, 4: reserved });

impl Booked {
    pub(super) fn post(&mut self, entries: &[Entry], currency: Currency) {
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

/// State of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Parts are missing.
    Incomplete,
    /// Whole, and not booked yet.
    Received,
    /// Every part is booked.
    Booked,
    /// It is being reverted.
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
    /// Its state.
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

    /// Whether its state is final without an order.
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

    /// Visits each booked line with its result. A reverted batch has none.
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

    /// Visits each line with its row and its result, also of a reverted batch.
    pub fn each(&self, visit: &mut dyn FnMut(&SettlementLine, Option<&Verdict>)) {
        self.each_behind(0, &mut |line, verdict| {
            visit(line, verdict);
            true
        });
    }

    /// The same for the lines behind a row, until the visitor says no. Parts before it are not read.
    pub fn each_behind(&self, behind: u64, visit: &mut dyn FnMut(&SettlementLine, Option<&Verdict>) -> bool) {
        let mut row = 0;
        for part in self.parts.values() {
            let last = row + u64::from(part.count());
            if last <= behind {
                row = last;
                continue;
            }
            let verdicts = part.verdicts();
            for (index, line) in part.lines().iter().enumerate() {
                row += 1;
                if row > behind && !visit(&line.shown(row, self.currency), verdicts.get(index)) {
                    return;
                }
            }
        }
    }

    /// Visits the lines of one part.
    pub fn each_of(&self, number: u32, visit: &mut dyn FnMut(&SettlementLine)) {
        let before = self.parts.range(..number).map(|(_, part)| u64::from(part.count())).sum::<u64>();
        let lines = self.parts.get(&number).map(KeptPart::lines).unwrap_or_default();
        for (row, line) in (before + 1..).zip(&lines) {
            visit(&line.shown(row, self.currency));
        }
    }

    /// Faults of the batch itself: the first hundred, and the sums over its lines.
    pub fn faults(&self) -> (Vec<BatchFault>, Trailer) {
        const FAULTS_LISTED: usize = 100;
        let (mut faults, mut sums) = (Vec::new(), Trailer::default());
        self.each(&mut |line, _| {
            sums.add(line);
            let room = FAULTS_LISTED.saturating_sub(faults.len());
            faults.extend(line.faults(self.currency).into_iter().take(room));
        });
        if self.is_whole() {
            faults.extend(self.trailer.iter().flat_map(|stated| stated.faults(&sums)));
        }
        (faults, sums)
    }

    /// When the money moves.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// When its last part came.
    pub const fn touched_at(&self) -> Timestamp {
        self.touched_at
    }

    /// Of its lines.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Its revision, counted from 1.
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

    /// Its sums in the books; zero once it was reverted.
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

    /// The batch as a value of reconciliation.
    pub fn batch(&self, key: &BatchKey) -> Batch {
        let mut lines = Vec::new();
        self.each(&mut |line, _| lines.push(line.clone()));
        let (id, processor) = (key.1.clone(), key.0.clone());
        Batch { id, processor, currency: self.currency, at: self.at, lines, trailer: self.trailer }
    }

    /// A batch without parts.
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

    /// Adds a part.
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
                context.update(&identity(&line));
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

impl Received {
    /// The revisions before the next one.
    pub(super) fn taken_back(&self) -> Vec<Earlier> {
        let (reason, at) = self.reverting.clone().unwrap_or_default();
        let mut earlier = self.earlier.clone();
        earlier.push(Earlier { reason, at, checksums: self.checksums() });
        earlier
    }

    /// All revisions, if the last one was reverted too.
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

//! Matches one line of a batch with our operations: the operation that it settles, and the bookings that follow.
//!
//! For any line the bank moves by its net amount, and at most the open amount is settled. The rest is booked to
//! suspense until an operator matches it.

use super::received::Received;
use super::register::{BatchKey, Booking};
use super::table::shortened;
use super::{Flow, LineKind, Ours, SettlementLine, WhyExtra};
use crate::ledger::{Entry, EntryError, EntryId};
use crate::stored::stored;
use crate::units::{Amount, Currency, OpId, PaymentId, ProcessorId, Timestamp};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The result of a line. The order is that of the journal and only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It settles an operation of ours.
    Matched(OpId),
    /// It settles an operation for another amount; the excess is in suspense.
    Differs {
        /// The operation.
        operation: OpId,
        /// Theirs less ours, in minor units.
        difference: i64,
    },
    /// It matches nothing: its net amount is in suspense.
    Extra(WhyExtra),
    /// A fee, a reserve, a payout, or an adjustment (which is in suspense).
    Other,
    /// It cannot be booked as stated, for this reason: as far as possible, it is in suspense.
    SetAside(Box<str>),
}

stored!(enum Verdict {
    0: Matched(op_id),
    1: Differs { 0: operation, 1: difference },
    2: Extra(why_extra),
    3: Other,
    4: SetAside(str),
});

impl Verdict {
    /// The operation that the line settles.
    pub const fn settles(&self) -> Option<OpId> {
        match self {
            Verdict::Matched(operation) | Verdict::Differs { operation, .. } => Some(*operation),
            Verdict::Extra(_) | Verdict::Other | Verdict::SetAside(_) => None,
        }
    }
}

/// Our data that a batch is matched with.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Captures, refunds and disputes at the processor, settled ones too.
    pub ours: Vec<Ours>,
    /// Operations that other batches settled.
    pub settled: BTreeSet<OpId>,
    /// Operations up to then count as settled.
    pub settled_until: Option<Timestamp>,
    /// Operations of other processors that the batch names.
    pub elsewhere: BTreeSet<OpId>,
    /// Lines of earlier batches that name a reference and no operation ([`reference_mark`]).
    pub reported: BTreeSet<u64>,
    /// The earlier batch that has the same lines, all of them.
    pub same_as: Option<Box<str>>,
}

impl Facts {
    /// Lays the parts of a batch that are not booked beside our operations, and gives what follows from each.
    pub fn book(&self, key: &BatchKey, received: &Received, give: &mut dyn FnMut(Booking)) {
        let settled = |ours: &Ours| {
            self.settled.contains(&ours.operation) || self.settled_until.is_some_and(|until| ours.at <= until)
        };
        let mut open = Open::new(&self.ours, settled);
        received.each(&mut |line, _| open.count_fee(line));
        let (listed_here, currency) = (BTreeSet::new(), received.currency());
        let paper = Paper { processor: &key.0, batch: &key.1, revision: received.revision(), at: received.at() };
        let mut laying = Laying { facts: self, open, listed_here, paper, currency };
        for part in received.unbooked() {
            let (mut entries, mut verdicts) = (Vec::new(), Vec::new());
            received.each_of(part, &mut |line| {
                let (verdict, booked) = laying.line(line);
                entries.extend(booked);
                verdicts.push(verdict);
            });
            let (processor, batch) = key.clone();
            let revision = received.revision();
            give(Booking { processor, batch, revision, part, entries, verdicts });
        }
    }
}

/// A batch while its lines are laid beside our operations, one after the other.
struct Laying<'f> {
    facts: &'f Facts,
    open: Open<'f>,
    /// Lines so far that name a reference and no operation.
    listed_here: BTreeSet<u64>,
    paper: Paper<'f>,
    currency: Currency,
}

impl Laying<'_> {
    fn line(&mut self, line: &SettlementLine) -> (Verdict, Entries) {
        let mark = reference_mark(line);
        let again = |mark: &u64| self.facts.reported.contains(mark) || self.listed_here.contains(mark);
        let verdict = match &self.facts.same_as {
            Some(_) => Verdict::Extra(self.open.why_again(line)),
            None if line.kind.flow().is_none() && mark.as_ref().is_some_and(again) => {
                Verdict::Extra(WhyExtra::ReportedAlready)
            }
            None => self.open.lay(self.currency, line).0,
        };
        self.listed_here.extend(mark);
        let verdict = match (verdict, line.operation) {
            (Verdict::Extra(WhyExtra::Unknown | WhyExtra::NoDispute), Some(named))
                if self.facts.elsewhere.contains(&named) =>
            {
                Verdict::Extra(WhyExtra::OtherProcessor)
            }
            (verdict, _) => verdict,
        };
        match self.paper.entries(line, &verdict) {
            Ok(entries) => (verdict, entries),
            // One line that cannot be booked leaves out no other.
            Err(error) => {
                if let Some(operation) = verdict.settles() {
                    self.open.release(operation);
                }
                let verdict = Verdict::SetAside(shortened(&error.to_string()).into());
                let entries = self.paper.entries(line, &verdict).unwrap_or_default();
                (verdict, entries)
            }
        }
    }
}

/// The key by which a line without an operation is recognised as a repetition.
pub fn reference_mark(line: &SettlementLine) -> Option<u64> {
    let reference = line.reference.as_deref().filter(|_| line.kind.flow().is_none())?;
    let SettlementLine { kind, gross, fee, net, .. } = line;
    let text = format!("{}\n{}\n{}\n{}\n{reference}", kind.number(), gross.minor, fee.minor, net.minor);
    let hash = digest(&SHA256, text.as_bytes());
    Some(u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("SHA-256 has more than 8 bytes")))
}

/// The entries of one line.
pub type Entries = SmallVec<[Entry; 2]>;

/// The batch of a line: its entries are named after it.
#[derive(Clone, Copy, Debug)]
pub struct Paper<'b> {
    /// The processor.
    pub processor: &'b ProcessorId,
    /// Its name.
    pub batch: &'b str,
    /// Its revision, counted from 1.
    pub revision: u32,
    /// When the money moves.
    pub at: Timestamp,
}

impl Paper<'_> {
    /// The entries that follow from a line.
    ///
    /// # Errors
    /// The amounts cannot be booked: their sums overflow.
    pub fn entries(&self, line: &SettlementLine, verdict: &Verdict) -> Result<Entries, EntryError> {
        let mut entries = Entries::new();
        let (at, processor, zero) = (self.at, self.processor, Amount::zero(line.net.currency));
        let of_line = self.line_id(line);
        let suspense = |net: Amount, entries: &mut Entries| -> Result<(), EntryError> {
            if net.minor != 0 {
                entries.push(Entry::unmatched(of_line, at, processor, net)?);
            }
            Ok(())
        };
        match (verdict, line.kind) {
            // The way to the bank is part of every settlement.
            (_, LineKind::Payout) => {}
            (Verdict::Matched(operation) | Verdict::Differs { operation, .. }, _) => {
                let theirs = line.gross.minor;
                let owed = match verdict {
                    Verdict::Differs { difference, .. } => theirs.saturating_sub(*difference),
                    _ => theirs,
                };
                // Never more is settled than is owed; less leaves the rest of the claim open.
                let settled = if owed >= 0 { theirs.clamp(0, owed) } else { theirs.clamp(owed, 0) };
                let settled = Amount::new(settled, line.gross.currency);
                let fee = if line.kind == LineKind::Capture && line.fee.minor < 0 { zero } else { line.fee };
                let paid = settled.checked_sub(fee)?;
                if settled.minor != 0 || fee.minor != 0 {
                    entries.push(Entry::settlement(self.settlement_id(*operation), at, processor, settled, fee)?);
                }
                suspense(line.net.checked_sub(paid)?, &mut entries)?;
            }
            (Verdict::Other, LineKind::Fee) if line.net.minor != 0 => {
                entries.push(Entry::settlement(of_line, at, processor, zero, zero.checked_sub(line.net)?)?);
            }
            (Verdict::Other, LineKind::Reserve) if line.net.minor != 0 => {
                entries.push(Entry::reserved(of_line, at, processor, line.net)?);
            }
            (Verdict::Other | Verdict::Extra(_) | Verdict::SetAside(_), _) => suspense(line.net, &mut entries)?,
        }
        Ok(entries)
    }

    /// The entries that take a line's entries back.
    pub fn reversed(
        &self,
        line: &SettlementLine,
        verdict: &Verdict,
        now: Timestamp,
    ) -> impl Iterator<Item = Entry> + use<> {
        let entries = self.entries(line, verdict).unwrap_or_default();
        entries.into_iter().map(move |entry| {
            let id = entry.id();
            entry.correction(id.number(id.number | 1), now)
        })
    }

    /// The entry that settles an operation. It is named after the batch too: a batch can be taken back, and another one
    /// settle the operation.
    fn settlement_id(&self, operation: OpId) -> EntryId {
        let hash = crc32fast::hash(format!("{}\n{}\n{}", self.processor, self.batch, self.revision).as_bytes());
        // The last bit is that of the entry that takes it back.
        EntryId::of(operation).number(0x4000_0000 | (hash & 0x1fff_ffff) << 1)
    }

    /// An entry for a line that has no operation: named by processor, batch and row.
    fn line_id(&self, line: &SettlementLine) -> EntryId {
        let mut name = format!("{}\n{}\n{}", self.processor, self.batch, line.row);
        if self.revision > 1 {
            name.push_str(&format!("\n{}", self.revision));
        }
        let hash = digest(&SHA256, name.as_bytes());
        let bits: [u8; 16] = hash.as_ref()[..16].try_into().expect("SHA-256 has more than 16 bytes");
        EntryId::of(OpId::from_u128(u128::from_be_bytes(bits)))
    }
}

/// Operations, and which of them no line has settled yet.
pub struct Open<'o> {
    ours: &'o [Ours],
    taken: Vec<bool>,
    by_operation: BTreeMap<OpId, usize>,
    by_reference: BTreeMap<(&'o str, Flow), usize>,
    of_references: Vec<Candidates>,
    /// Fees of the batch that its lines may still give back, in minor units.
    fees: i128,
    /// Lines about a refund or a dispute may name the capture that it is about.
    of_payments: BTreeMap<(PaymentId, Flow), Candidates>,
}

#[derive(Default)]
struct Candidates {
    all: VecDeque<usize>,
    by_amount: BTreeMap<i64, VecDeque<usize>>,
}

impl Candidates {
    fn push(&mut self, index: usize, amount: i64) {
        self.all.push_back(index);
        self.by_amount.entry(amount).or_default().push_back(index);
    }

    /// The first that is not taken: of this amount, else of any.
    fn first(&mut self, amount: i64, taken: &[bool]) -> Option<usize> {
        let same = self.by_amount.get_mut(&amount).and_then(|same| untaken(same, taken));
        same.or_else(|| untaken(&mut self.all, taken))
    }
}

fn untaken(candidates: &mut VecDeque<usize>, taken: &[bool]) -> Option<usize> {
    while let Some(first) = candidates.front() {
        if !taken[*first] {
            return Some(*first);
        }
        candidates.pop_front();
    }
    None
}

impl<'o> Open<'o> {
    /// Operations; `settled` returns whether nothing of one is open.
    pub fn new(ours: &'o [Ours], settled: impl Fn(&Ours) -> bool) -> Open<'o> {
        let mut by_reference: BTreeMap<(&str, Flow), usize> = BTreeMap::new();
        let mut of_references: Vec<Candidates> = Vec::new();
        let mut of_payments: BTreeMap<(PaymentId, Flow), Candidates> = BTreeMap::new();
        for (index, operation) in ours.iter().enumerate() {
            let group = *by_reference.entry((&operation.reference, operation.kind)).or_insert(of_references.len());
            if group == of_references.len() {
                of_references.push(Candidates::default());
            }
            of_references[group].push(index, operation.signed());
            if operation.kind != Flow::Capture {
                let of = (operation.operation.payment(), operation.kind);
                of_payments.entry(of).or_default().push(index, operation.signed());
            }
        }
        let by_operation = ours.iter().enumerate().map(|(index, ours)| (ours.operation, index)).collect();
        Open {
            ours,
            taken: ours.iter().map(settled).collect(),
            by_operation,
            by_reference,
            of_references,
            fees: 0,
            of_payments,
        }
    }

    /// Counts what a line of the batch takes as a fee: lines of fees give back that much at most. Every line is counted before
    /// the first one is laid.
    pub fn count_fee(&mut self, line: &SettlementLine) {
        let taken = match line.kind {
            LineKind::Fee => -i128::from(line.net.minor),
            _ => i128::from(line.fee.minor),
        };
        self.fees += taken.max(0);
    }

    /// Matches a line of a batch in this currency: returns its result, and the operation that it settles.
    pub fn lay(&mut self, batch: Currency, line: &SettlementLine) -> (Verdict, Option<&'o Ours>) {
        let extra = |why| (Verdict::Extra(why), None);
        if [line.gross.currency, line.fee.currency, line.net.currency].iter().any(|currency| *currency != batch) {
            return extra(WhyExtra::OtherCurrency);
        }
        let Some(flow) = line.kind.flow() else {
            let given_back = if line.kind == LineKind::Fee { i128::from(line.net.minor.max(0)) } else { 0 };
            if given_back > self.fees {
                return extra(WhyExtra::WrongSign);
            }
            self.fees -= given_back;
            return (Verdict::Other, None);
        };
        if (flow.brings() && line.gross.minor < 0) || (!flow.brings() && line.gross.minor > 0) {
            return extra(WhyExtra::WrongSign);
        }
        let index = match self.find(line, flow) {
            Ok(index) => index,
            Err(why) => return extra(why),
        };
        let ours = &self.ours[index];
        if ours.amount.currency != batch {
            return extra(WhyExtra::OtherCurrency);
        }
        self.taken[index] = true;
        let (operation, difference) = (ours.operation, line.gross.minor.saturating_sub(ours.signed()));
        let verdict =
            if difference == 0 { Verdict::Matched(operation) } else { Verdict::Differs { operation, difference } };
        (verdict, Some(ours))
    }

    /// Why a repeated line of a batch settles nothing.
    fn why_again(&mut self, line: &SettlementLine) -> WhyExtra {
        let found = line.kind.flow().map(|flow| self.find(line, flow));
        if found == Some(Err(WhyExtra::SettledAlready)) { WhyExtra::SettledAlready } else { WhyExtra::ReportedAlready }
    }

    /// The operation that a line settles: by its id, or by reference and kind, those of the same amount first. Many processors
    /// name a refund by the capture that it gives back, and a dispute by the capture that it is about.
    fn find(&mut self, line: &SettlementLine, flow: Flow) -> Result<usize, WhyExtra> {
        let dispute = matches!(flow, Flow::Dispute | Flow::DisputeWon);
        let unknown = if dispute { WhyExtra::NoDispute } else { WhyExtra::Unknown };
        let candidates = match (line.operation, line.reference.as_deref()) {
            (Some(operation), _) if dispute => self.of_payments.get_mut(&(operation.payment(), flow)),
            (Some(operation), _) => {
                let index = *self.by_operation.get(&operation).ok_or(unknown)?;
                if self.ours[index].kind == flow {
                    return if self.taken[index] { Err(WhyExtra::SettledAlready) } else { Ok(index) };
                }
                let of_capture = flow == Flow::Refund && self.ours[index].kind == Flow::Capture;
                let refunds = self.of_payments.get_mut(&(operation.payment(), flow)).filter(|_| of_capture);
                Some(refunds.ok_or(WhyExtra::OtherKind)?)
            }
            (None, Some(reference)) => {
                let group = self.by_reference.get(&(reference, flow)).copied();
                group.and_then(|group| self.of_references.get_mut(group))
            }
            (None, None) => None,
        };
        let candidates = candidates.ok_or(unknown)?;
        candidates.first(line.gross.minor, &self.taken).ok_or(WhyExtra::SettledAlready)
    }

    /// Marks the operation as unsettled again.
    fn release(&mut self, operation: OpId) {
        if let Some(index) = self.by_operation.get(&operation) {
            self.taken[*index] = false;
        }
    }

    /// The operations that no line has settled.
    pub fn rest(&self) -> impl Iterator<Item = &'o Ours> + '_ {
        self.ours.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(ours, _)| ours)
    }
}

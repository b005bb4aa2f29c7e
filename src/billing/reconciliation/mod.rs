//! What a processor says it settled against what we captured and refunded.
//!
//! Every line of a settlement batch ends in exactly one pile, and so does every operation of ours:
//!
//! | pile | ours | theirs |
//! |---|---|---|
//! | matched | an operation | a line with the same amount |
//! | differs | an operation | a line with another amount |
//! | missing | an operation older than the grace | |
//! | in flight | a younger operation | |
//! | extra | | a line that fits no operation, or one that was settled already |
//! | other | | fees, chargebacks, payouts: not about an operation of ours |

mod csv;
mod map;
pub mod older;
pub mod register;
pub mod table;
#[cfg(test)]
mod tests;

pub use crate::units::DecimalMark;
pub use csv::{CsvError, ReadRows, read_csv, read_ours, read_rows};
pub use map::{ColumnMap, Meaning};

use crate::ledger::{Entry, EntryError, EntryId};
use crate::units::{Amount, Currency, OpId, ProcessorId, TimeSpan, Timestamp};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

/// The number of a settlement's entry among the entries of its operation.
const SETTLEMENT_ENTRY: u32 = 100;

/// An operation of ours that a processor has to settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ours {
    /// The operation.
    #[serde(serialize_with = "as_text")]
    pub operation: OpId,
    /// Capture or refund.
    pub kind: Flow,
    /// The processor's reference of its hold.
    pub reference: Box<str>,
    /// How much; above zero for both kinds.
    pub amount: Amount,
    /// When it was approved.
    pub at: Timestamp,
}

/// Which way an operation moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// To us.
    Capture,
    /// Back to the driver.
    Refund,
}

/// What a settlement line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// A capture; its gross amount is above zero.
    Capture,
    /// A refund; its gross amount is below zero.
    Refund,
    /// A fee that belongs to no operation.
    Fee,
    /// Money that an issuer took back.
    Chargeback,
    /// A chargeback that was taken back.
    ChargebackReversal,
    /// A correction by the processor.
    Adjustment,
    /// A payment to the bank.
    Payout,
    /// Withheld for later, or released.
    Reserve,
}

impl LineKind {
    /// Its number on the wire, and in the hash over a batch.
    pub const fn number(self) -> u8 {
        match self {
            LineKind::Capture => 1,
            LineKind::Refund => 2,
            LineKind::Fee => 3,
            LineKind::Chargeback => 4,
            LineKind::ChargebackReversal => 5,
            LineKind::Adjustment => 6,
            LineKind::Reserve => 7,
            LineKind::Payout => 8,
        }
    }
}

/// A line of a settlement batch. Amounts have the sign of what happens to our claim: a refund is negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettlementLine {
    /// Its place in the batch, counted from 1 (in a file: the line of the file).
    pub row: u64,
    /// What it is about.
    pub kind: LineKind,
    /// Our operation, where the processor tells it.
    #[serde(serialize_with = "as_optional_text")]
    pub operation: Option<OpId>,
    /// The processor's reference.
    pub reference: Option<Box<str>>,
    /// Before fees.
    pub gross: Amount,
    /// The processor's fee; above zero when it takes something.
    pub fee: Amount,
    /// What is paid out for it.
    pub net: Amount,
}

/// What a batch says about itself at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Lines.
    pub count: u64,
    /// Sum of the gross amounts, in minor units.
    pub gross: i128,
    /// Sum of the fees.
    pub fee: i128,
    /// Sum of the net amounts.
    pub net: i128,
}

/// A settlement batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The processor's name for it.
    pub id: Box<str>,
    /// The processor.
    pub processor: ProcessorId,
    /// The one currency of its lines.
    pub currency: Currency,
    /// When it was paid out.
    pub at: Timestamp,
    /// Its lines.
    pub lines: Vec<SettlementLine>,
    /// Its trailer, where it has one.
    pub trailer: Option<Trailer>,
}

/// The piles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Same amount on both sides.
    pub matched: Vec<Pair>,
    /// Another amount on the other side.
    pub differs: Vec<Pair>,
    /// Ours, and old enough to be missed.
    pub missing: Vec<Ours>,
    /// Ours, and too young to be missed.
    pub in_flight: Vec<Ours>,
    /// Theirs, and not ours.
    pub extra: Vec<Extra>,
    /// Theirs, and not about an operation.
    pub other: Vec<SettlementLine>,
    /// What is wrong with the batch itself.
    pub faults: Vec<BatchFault>,
    /// Sums over all lines.
    pub sums: Option<Trailer>,
}

/// An operation and the line that settles it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Ours.
    pub ours: Ours,
    /// Theirs.
    pub theirs: SettlementLine,
    /// Theirs less ours, in minor units.
    pub difference: i64,
}

/// A line that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extra {
    /// Theirs.
    pub theirs: SettlementLine,
    /// Why it fits nothing.
    pub why: WhyExtra,
}

/// Why a line fits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyExtra {
    /// No such operation.
    Unknown,
    /// The operation is settled by an earlier line.
    SettledAlready,
    /// The operation is of the other kind: a capture is settled as a refund or the other way round.
    OtherKind,
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum BatchFault {
    /// A line whose net amount is not gross less fee.
    #[error("row {row}: {} less a fee of {} is not {}", Amount::new(*.gross, *.currency).major(), Amount::new(*.fee, *.currency), Amount::new(*.net, *.currency).major())]
    Net {
        /// The row.
        row: u64,
        /// Gross amount in minor units.
        gross: i64,
        /// Fee.
        fee: i64,
        /// Net amount.
        net: i64,
        /// The currency.
        currency: Currency,
    },
    /// A line in another currency than the batch; it stands among the extra lines.
    #[error("row {row} is in {currency}")]
    Currency {
        /// The row.
        row: u64,
        /// Its currency.
        currency: Currency,
    },
    /// The trailer is not the sum of the lines.
    #[error("the trailer says {says} for {what}, the lines come to {sum}")]
    Trailer {
        /// `count`, `gross`, `fee` or `net`.
        what: &'static str,
        /// What the trailer says.
        says: i128,
        /// What the lines come to.
        sum: i128,
    },
}

impl Report {
    /// Whether everything is matched, or young enough.
    pub fn is_clean(&self) -> bool {
        self.differs.is_empty() && self.missing.is_empty() && self.extra.is_empty() && self.faults.is_empty()
    }

    /// The entries that follow from the batch. What is matched is settled, fees and chargebacks are booked, and what came
    /// beyond that is in suspense.
    pub fn entries(&self, batch: &Batch) -> Result<Vec<Entry>, EntryError> {
        let mut entries = Vec::new();
        for pair in self.matched.iter().chain(&self.differs) {
            let (ours, theirs) = (signed(&pair.ours), pair.theirs.gross.minor);
            // Never more is settled than is owed; less leaves the rest of the claim open.
            let settled = if ours >= 0 { theirs.min(ours) } else { theirs.max(ours) };
            let amount = |minor| Amount::new(minor, batch.currency);
            let id = EntryId::of(pair.ours.operation).number(SETTLEMENT_ENTRY);
            let fee = pair.theirs.fee;
            if settled != 0 || fee.minor != 0 {
                entries.push(Entry::settlement(id, batch.at, &batch.processor, amount(settled), fee)?);
            }
            if theirs != settled {
                let rest = amount(theirs - settled);
                entries.push(Entry::unmatched(line_id(batch, &pair.theirs), batch.at, &batch.processor, rest)?);
            }
        }
        for extra in &self.extra {
            let line = &extra.theirs;
            if line.net.minor != 0 {
                entries.push(Entry::unmatched(line_id(batch, line), batch.at, &batch.processor, line.net)?);
            }
        }
        for line in &self.other {
            let (id, processor) = (line_id(batch, line), &batch.processor);
            let entry = match line.kind {
                // The claim was lowered when the dispute was opened; here the money leaves.
                LineKind::Chargeback | LineKind::ChargebackReversal | LineKind::Fee => {
                    let (gross, fee) = match line.kind == LineKind::Fee {
                        true => (Amount::new(0, batch.currency), Amount::new(0, batch.currency).checked_sub(line.net)?),
                        false => (line.gross, line.fee),
                    };
                    Entry::settlement(id, batch.at, processor, gross, fee)
                }
                LineKind::Reserve => Entry::reserved(id, batch.at, processor, line.net),
                LineKind::Adjustment => Entry::unmatched(id, batch.at, processor, line.net),
                // The way to the bank is part of every settlement.
                LineKind::Payout | LineKind::Capture | LineKind::Refund => continue,
            };
            if line.net.minor != 0 {
                entries.push(entry?);
            }
        }
        Ok(entries)
    }

    /// The piles as a table: pile, operation, reference, row, ours, theirs, difference, currency.
    pub fn write_csv(&self, out: impl Write) -> io::Result<()> {
        let mut table = ::csv::Writer::from_writer(out);
        table.write_record(["pile", "operation", "reference", "row", "ours", "theirs", "difference", "currency"])?;
        for (pile, pairs) in [("matched", &self.matched), ("amount differs", &self.differs)] {
            for pair in pairs {
                let (ours, theirs) = (&pair.ours, &pair.theirs);
                let own = Amount::new(signed(ours), ours.amount.currency);
                let difference = Amount::new(pair.difference, ours.amount.currency);
                table.write_record([
                    pile,
                    &ours.operation.to_string(),
                    &guarded(&ours.reference),
                    &theirs.row.to_string(),
                    &own.major().to_string(),
                    &theirs.gross.major().to_string(),
                    &difference.major().to_string(),
                    own.currency.code(),
                ])?;
            }
        }
        for (pile, operations) in [("missing", &self.missing), ("in flight", &self.in_flight)] {
            for ours in operations {
                let own = Amount::new(signed(ours), ours.amount.currency).major().to_string();
                let (operation, reference) = (ours.operation.to_string(), guarded(&ours.reference));
                table.write_record([pile, &operation, &reference, "", &own, "", "", ours.amount.currency.code()])?;
            }
        }
        let extra = self.extra.iter().map(|extra| ("extra", &extra.theirs));
        for (pile, line) in extra.chain(self.other.iter().map(|line| ("other", line))) {
            let operation = line.operation.map(|id| id.to_string()).unwrap_or_default();
            let reference = line.reference.as_deref().map(guarded).unwrap_or_default();
            let (row, theirs) = (line.row.to_string(), line.gross.major().to_string());
            table.write_record([pile, &operation, &reference, &row, "", &theirs, "", line.gross.currency.code()])?;
        }
        table.flush()
    }
}

/// Puts every line and every operation on its pile. Operations younger than `grace` at the time of the batch are not
/// missed yet.
pub fn reconcile(ours: &[Ours], batch: &Batch, grace: TimeSpan) -> Report {
    let mut report = Report::default();
    let mut open = Open::new(ours);
    let mut sums = Trailer { count: 0, gross: 0, fee: 0, net: 0 };
    for line in &batch.lines {
        sums.count += 1;
        sums.gross += i128::from(line.gross.minor);
        sums.fee += i128::from(line.fee.minor);
        sums.net += i128::from(line.net.minor);
        let currencies = [line.gross.currency, line.fee.currency, line.net.currency];
        if let Some(currency) = currencies.into_iter().find(|currency| *currency != batch.currency) {
            report.faults.push(BatchFault::Currency { row: line.row, currency });
            report.extra.push(Extra { theirs: line.clone(), why: WhyExtra::Unknown });
            continue;
        }
        if i128::from(line.gross.minor) - i128::from(line.fee.minor) != i128::from(line.net.minor) {
            let (gross, fee, net) = (line.gross.minor, line.fee.minor, line.net.minor);
            report.faults.push(BatchFault::Net { row: line.row, gross, fee, net, currency: batch.currency });
        }
        let flow = match line.kind {
            LineKind::Capture => Flow::Capture,
            LineKind::Refund => Flow::Refund,
            LineKind::Fee
            | LineKind::Chargeback
            | LineKind::ChargebackReversal
            | LineKind::Adjustment
            | LineKind::Reserve
            | LineKind::Payout => {
                report.other.push(line.clone());
                continue;
            }
        };
        match open.take(line, flow) {
            Ok(ours) => {
                let difference = line.gross.minor.saturating_sub(signed(ours));
                let same = difference == 0 && ours.amount.currency == line.gross.currency;
                let pair = Pair { ours: ours.clone(), theirs: line.clone(), difference };
                if same { report.matched.push(pair) } else { report.differs.push(pair) }
            }
            Err(why) => report.extra.push(Extra { theirs: line.clone(), why }),
        }
    }
    for (index, ours) in ours.iter().enumerate() {
        if !open.taken[index] {
            let young = batch.at.since(ours.at) < grace;
            if young { report.in_flight.push(ours.clone()) } else { report.missing.push(ours.clone()) }
        }
    }
    if let Some(trailer) = batch.trailer {
        let figures = [
            ("count", i128::from(trailer.count), i128::from(sums.count)),
            ("gross", trailer.gross, sums.gross),
            ("fee", trailer.fee, sums.fee),
            ("net", trailer.net, sums.net),
        ];
        let wrong = figures.into_iter().filter(|(_, says, sum)| says != sum);
        report.faults.extend(wrong.map(|(what, says, sum)| BatchFault::Trailer { what, says, sum }));
    }
    report.sums = Some(sums);
    report
}

/// Operations that no line has settled yet.
struct Open<'o> {
    ours: &'o [Ours],
    taken: Vec<bool>,
    by_operation: BTreeMap<OpId, usize>,
    by_reference: BTreeMap<(&'o str, Flow), VecDeque<usize>>,
}

impl<'o> Open<'o> {
    fn new(ours: &'o [Ours]) -> Open<'o> {
        let mut by_reference: BTreeMap<(&str, Flow), VecDeque<usize>> = BTreeMap::new();
        for (index, operation) in ours.iter().enumerate() {
            by_reference.entry((&operation.reference, operation.kind)).or_default().push_back(index);
        }
        let by_operation = ours.iter().enumerate().map(|(index, ours)| (ours.operation, index)).collect();
        Open { ours, taken: vec![false; ours.len()], by_operation, by_reference }
    }

    /// The operation that a line settles: by its id, or by reference and kind, those of the same amount first.
    fn take(&mut self, line: &SettlementLine, flow: Flow) -> Result<&'o Ours, WhyExtra> {
        let index = match (line.operation, line.reference.as_deref()) {
            (Some(operation), _) => {
                let index = *self.by_operation.get(&operation).ok_or(WhyExtra::Unknown)?;
                if self.ours[index].kind != flow {
                    return Err(WhyExtra::OtherKind);
                }
                index
            }
            (None, Some(reference)) => {
                let candidates = self.by_reference.get(&(reference, flow)).ok_or(WhyExtra::Unknown)?;
                let free = || candidates.iter().copied().filter(|index| !self.taken[*index]);
                let same = free().find(|index| signed(&self.ours[*index]) == line.gross.minor);
                same.or_else(|| free().next()).ok_or(WhyExtra::SettledAlready)?
            }
            (None, None) => return Err(WhyExtra::Unknown),
        };
        if std::mem::replace(&mut self.taken[index], true) {
            return Err(WhyExtra::SettledAlready);
        }
        Ok(&self.ours[index])
    }
}

/// An operation's amount with the sign that its line has.
fn signed(ours: &Ours) -> i64 {
    match ours.kind {
        Flow::Capture => ours.amount.minor,
        Flow::Refund => ours.amount.minor.saturating_neg(),
    }
}

/// An entry for a line that has no operation: named by processor, batch and row.
fn line_id(batch: &Batch, line: &SettlementLine) -> EntryId {
    let name = format!("{}\n{}\n{}", batch.processor, batch.id, line.row);
    let hash = digest(&SHA256, name.as_bytes());
    let bits: [u8; 16] = hash.as_ref()[..16].try_into().expect("SHA-256 has more than 16 bytes");
    EntryId::of(OpId::from_u128(u128::from_be_bytes(bits)))
}

/// A text from outside that a spreadsheet would take for a formula gets an apostrophe in front.
fn guarded(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// Ids in documents are text, as everywhere else; as numbers they would not survive most readers.
fn as_text<S: serde::Serializer>(id: &OpId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_optional_text<S: serde::Serializer>(id: &Option<OpId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

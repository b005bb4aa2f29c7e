//! Compares what a processor reports as settled with our captures and refunds.
//!
//! Every line of a settlement batch gets exactly one of these results, and so does every operation of ours:
//!
//! | result | ours | theirs |
//! |---|---|---|
//! | matched | an operation | a line with the same amount |
//! | differs | an operation | a line with another amount |
//! | missing | an operation older than the grace | |
//! | in flight | a younger operation | |
//! | extra | | a line that fits no operation or dispute, was settled or listed already, or has the wrong sign |
//! | other | | fees, reserves, adjustments, payouts: not about an operation of ours |
//!
//! The gate matches each line once, when its batch is complete, and keeps the result ([`Verdict`]): a report on a
//! batch shows what was booked.

mod csv;
mod kept;
pub mod lay;
mod left_out;
mod map;
pub mod older;
pub mod received;
pub mod register;
pub mod table;
#[cfg(test)]
mod tests;

pub use crate::units::DecimalMark;
use crate::units::shape::{Described, Shapes, one_of};
pub use csv::{CsvError, ReadRows, read_csv, read_ours, read_rows};
pub use kept::hash as kept_hash;
pub use lay::{Facts, Open, Verdict};
pub use map::{ColumnMap, Meaning};
use serde_json::Value;

use crate::stored::stored;
use crate::units::{Amount, Currency, OpId, ProcessorId, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// An operation of ours that a processor has to settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ours {
    /// The operation.
    #[serde(serialize_with = "as_text")]
    pub operation: OpId,
    /// Capture, refund, or a dispute of a capture.
    pub kind: Flow,
    /// The processor's reference of its hold.
    pub reference: Box<str>,
    /// How much; above zero for every kind.
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
    /// Taken back by an issuer.
    Dispute,
    /// Given back by an issuer.
    DisputeWon,
}

impl Flow {
    /// Every flow with its name.
    pub const ALL: [(Flow, &str); 4] = [
        (Flow::Capture, "capture"),
        (Flow::Refund, "refund"),
        (Flow::Dispute, "dispute"),
        (Flow::DisputeWon, "dispute_won"),
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        Flow::ALL.iter().find(|(flow, _)| *flow == self).map_or("", |(_, name)| name)
    }

    /// Whether it brings us money.
    pub const fn brings(self) -> bool {
        matches!(self, Flow::Capture | Flow::DisputeWon)
    }
}

/// The kind of a settlement line.
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

stored!(enum LineKind {
    0: Capture,
    1: Refund,
    2: Fee,
    3: Chargeback,
    4: ChargebackReversal,
    5: Adjustment,
    6: Payout,
    7: Reserve,
});

impl Described for LineKind {
    fn shape(_: &mut Shapes) -> Value {
        one_of(&[
            LineKind::Capture,
            LineKind::Refund,
            LineKind::Fee,
            LineKind::Chargeback,
            LineKind::ChargebackReversal,
            LineKind::Adjustment,
            LineKind::Payout,
            LineKind::Reserve,
        ])
    }
}

impl LineKind {
    /// The operations that a line of this kind settles.
    pub const fn flow(self) -> Option<Flow> {
        match self {
            LineKind::Capture => Some(Flow::Capture),
            LineKind::Refund => Some(Flow::Refund),
            LineKind::Chargeback => Some(Flow::Dispute),
            LineKind::ChargebackReversal => Some(Flow::DisputeWon),
            LineKind::Fee | LineKind::Adjustment | LineKind::Payout | LineKind::Reserve => None,
        }
    }

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
    /// Its subject.
    pub kind: LineKind,
    /// Our operation, if the line names one.
    #[serde(serialize_with = "as_optional_text")]
    pub operation: Option<OpId>,
    /// The processor's reference.
    pub reference: Option<Box<str>>,
    /// Before fees.
    pub gross: Amount,
    /// The processor's fee; above zero when it takes something.
    pub fee: Amount,
    /// The amount paid out for it.
    pub net: Amount,
}

/// The batch's own totals, at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

stored!(struct Trailer { 0: count, 1: gross, 2: fee, 3: net });

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
    /// Faults of the batch itself.
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
    /// The reason.
    pub why: WhyExtra,
}

/// Reason why a line matches nothing. The order is that of the journal and only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyExtra {
    /// No such operation.
    Unknown,
    /// The operation is settled by an earlier line.
    SettledAlready,
    /// The operation is of the other kind: a capture is settled as a refund or the other way round.
    OtherKind,
    /// The operation is one of another processor.
    OtherProcessor,
    /// A chargeback, or its reversal, without a dispute that it could be.
    NoDispute,
    /// Money goes the other way than lines of its kind move it.
    WrongSign,
    /// An earlier batch had the same line.
    ReportedAlready,
    /// It is in another currency than its batch.
    OtherCurrency,
}

stored!(enum WhyExtra {
    0: Unknown,
    1: SettledAlready,
    2: OtherKind,
    3: OtherProcessor,
    4: NoDispute,
    5: WrongSign,
    6: ReportedAlready,
    7: OtherCurrency,
});

impl WhyExtra {
    /// As text.
    pub const fn text(self) -> &'static str {
        match self {
            WhyExtra::Unknown => "unknown",
            WhyExtra::SettledAlready => "settled already",
            WhyExtra::OtherKind => "other kind",
            WhyExtra::OtherProcessor => "operation of another processor",
            WhyExtra::NoDispute => "no dispute of ours",
            WhyExtra::WrongSign => "wrong sign",
            WhyExtra::ReportedAlready => "told already",
            WhyExtra::OtherCurrency => "other currency",
        }
    }
}

/// A fault of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum BatchFault {
    /// A line whose net amount is not gross less fee.
    #[error("line {row}: {} less a fee of {} is not {}", Amount::new(*.gross, *.currency), Amount::new(*.fee, *.currency), Amount::new(*.net, *.currency))]
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
    /// A fee that gives money, on a line that brings money.
    #[error("line {row}: the fee of {fee} gives money instead of taking it")]
    FeeSign {
        /// The row.
        row: u64,
        /// The fee.
        fee: Amount,
    },
    /// A line in another currency than the batch; it stands among the extra lines.
    #[error("line {row} is in {currency}")]
    Currency {
        /// The row.
        row: u64,
        /// Its currency.
        currency: Currency,
    },
    /// The trailer is not the sum of the lines.
    #[error("the trailer says {stated_sum} for {what}, the lines come to {sum}")]
    Trailer {
        /// `count`, `gross`, `fee` or `net`.
        what: &'static str,
        /// The value in the trailer.
        stated_sum: i128,
        /// What the lines come to.
        sum: i128,
    },
}

impl Report {
    /// Whether everything is matched, or young enough.
    pub fn is_clean(&self) -> bool {
        self.differs.is_empty() && self.missing.is_empty() && self.extra.is_empty() && self.faults.is_empty()
    }

    /// The piles as a table: pile, operation, reference, row, ours, theirs, difference, currency.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write_csv(&self, out: impl Write) -> io::Result<()> {
        let mut table = ::csv::Writer::from_writer(out);
        table.write_record(["pile", "operation", "reference", "row", "ours", "theirs", "difference", "currency"])?;
        for (pile, pairs) in [("matched", &self.matched), ("amount differs", &self.differs)] {
            for pair in pairs {
                let (ours, theirs) = (&pair.ours, &pair.theirs);
                let own = Amount::new(ours.signed(), ours.amount.currency);
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
                let own = Amount::new(ours.signed(), ours.amount.currency).major().to_string();
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

/// Assigns every line and every operation to a result. Operations younger than `grace` at the time of the batch are
/// not missed yet. Chargebacks are matched with disputes only where `ours` has some: without, they are other lines.
pub fn reconcile(ours: &[Ours], batch: &Batch, grace: TimeSpan) -> Report {
    let mut report = Report::default();
    let disputes = ours.iter().any(|ours| matches!(ours.kind, Flow::Dispute | Flow::DisputeWon));
    let mut open = Open::new(ours, |_| false);
    batch.lines.iter().for_each(|line| open.count_fee(line));
    let mut sums = Trailer::default();
    for line in &batch.lines {
        sums.add(line);
        report.faults.extend(line.faults(batch.currency));
        if !disputes && matches!(line.kind, LineKind::Chargeback | LineKind::ChargebackReversal) {
            report.other.push(line.clone());
            continue;
        }
        match open.lay(batch.currency, line) {
            (Verdict::Matched(_), Some(ours)) => {
                report.matched.push(Pair { ours: ours.clone(), theirs: line.clone(), difference: 0 });
            }
            (Verdict::Differs { difference, .. }, Some(ours)) => {
                report.differs.push(Pair { ours: ours.clone(), theirs: line.clone(), difference });
            }
            (Verdict::Extra(why), _) => report.extra.push(Extra { theirs: line.clone(), why }),
            _ => report.other.push(line.clone()),
        }
    }
    for ours in open.rest() {
        let young = batch.at.since(ours.at) < grace;
        if young { report.in_flight.push(ours.clone()) } else { report.missing.push(ours.clone()) }
    }
    report.faults.extend(batch.trailer.iter().flat_map(|stated| stated.faults(&sums)));
    report.sums = Some(sums);
    report
}

impl Trailer {
    /// Adds a line.
    pub fn add(&mut self, line: &SettlementLine) {
        self.count += 1;
        self.gross += i128::from(line.gross.minor);
        self.fee += i128::from(line.fee.minor);
        self.net += i128::from(line.net.minor);
    }

    /// Differences between the trailer and the sums of the lines.
    pub fn faults(&self, sums: &Trailer) -> Vec<BatchFault> {
        let figures = [
            ("count", i128::from(self.count), i128::from(sums.count)),
            ("gross", self.gross, sums.gross),
            ("fee", self.fee, sums.fee),
            ("net", self.net, sums.net),
        ];
        let wrong = figures.into_iter().filter(|(_, stated_sum, sum)| stated_sum != sum);
        wrong.map(|(what, stated_sum, sum)| BatchFault::Trailer { what, stated_sum, sum }).collect()
    }
}

impl SettlementLine {
    /// Faults of the line itself, in a batch of this currency.
    pub fn faults(&self, batch: Currency) -> Vec<BatchFault> {
        let (row, gross, fee, net) = (self.row, self.gross.minor, self.fee.minor, self.net.minor);
        let currencies = [self.gross.currency, self.fee.currency, self.net.currency];
        if let Some(currency) = currencies.into_iter().find(|currency| *currency != batch) {
            return vec![BatchFault::Currency { row, currency }];
        }
        let mut faults = Vec::new();
        if i128::from(gross) - i128::from(fee) != i128::from(net) {
            faults.push(BatchFault::Net { row, gross, fee, net, currency: batch });
        }
        if self.kind == LineKind::Capture && fee < 0 {
            faults.push(BatchFault::FeeSign { row, fee: self.fee });
        }
        faults
    }
}

impl Ours {
    /// Its amount with the sign that its line has.
    pub const fn signed(&self) -> i64 {
        if self.kind.brings() { self.amount.minor } else { self.amount.minor.saturating_neg() }
    }
}

/// A text from outside that a spreadsheet would take for a formula gets an apostrophe in front.
fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
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

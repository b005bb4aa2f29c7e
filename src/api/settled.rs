//! Settlement: compares the reports of processors with the sessions' payments.
//!
//! A report shows the booking of each line, which the register of batches keeps line by line.

use super::batches::{batch_row, older_row};
use super::paging::{First, Page, Paged};
use super::refused::Refused;
use super::views::{Unanswered, Views};
use crate::billing::reconciliation::lay::Verdict;
use crate::billing::reconciliation::older::Older;
use crate::billing::reconciliation::received::Received;
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::reconciliation::{Flow, LineKind, Ours, SettlementLine};
use crate::journal::ById;
use crate::limits::LIST_ITEMS_MAX;
use crate::node::query::{self, KeptBatches, Moved};
use crate::units::shape::described;
use crate::units::{Amount, OpId, PaymentId, ProcessorId, TimeSpan, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How old an operation is when it is missed, unless the caller names another age.
pub const GRACE: TimeSpan = TimeSpan::from_secs(72 * 3_600);

described! {
/// How many sessions, lines and batches there are; the lists of them stand under `settlement/sessions`, `differs`, `extra` and
/// `batches`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledSummary {
    /// How many sessions of which money was taken are in which state.
    pub states: BTreeMap<String, u64>,
    /// Lines that settle an operation for another amount.
    pub differs: u64,
    /// Lines of processors that fit no operation.
    pub extra: u64,
    /// Batches.
    pub batches: u64,
    /// When that was counted; none: it is being counted for the first time.
    #[serde(default)]
    pub at: Option<String>,
}
}

/// Every session priced, captured and settled, and what fits none: what `recon report` gives as one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledView {
    /// `wattstile.settlement-report/1`
    pub schema: String,
    /// How many sessions are in which state.
    pub states: BTreeMap<String, u64>,
    /// The sessions of which money was taken, in the order of their ids.
    pub sessions: Vec<SettledRow>,
    /// Lines that settle an operation for another amount; the first
    /// [`SETTLEMENT_LINES_LISTED`](crate::limits::SETTLEMENT_LINES_LISTED).
    #[serde(default)]
    pub differs: Vec<DiffersRow>,
    /// Lines of processors that fit no operation; as many.
    pub extra: Vec<ExtraRow>,
    /// How many lines that differ, or fit nothing, are not listed.
    #[serde(default)]
    pub left_out: u64,
    /// The batches, those of which only the totals are kept first, in the order in which they came.
    pub batches: Vec<BatchRow>,
}

described! {
/// One session. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledRow {
    /// Its id.
    pub session: String,
    /// `matched`, `refunded` (the same, and we gave some of it back), `in flight`, `missing`, `amount differs` (settled another
    /// amount than captured), or `not covered` (captured another amount than it was priced at).
    pub state: String,
    /// The processors that took money.
    pub processors: Vec<String>,
    /// What it was priced at.
    pub priced: Decimal,
    /// Taken, less what was given back.
    pub captured: Decimal,
    /// Settled, less what was settled back.
    pub settled: Decimal,
    /// The currency.
    pub currency: String,
}
}

described! {
/// A line that fits no operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraRow {
    /// The processor.
    pub processor: String,
    /// The batch.
    pub batch: String,
    /// Its place there, counted from 1.
    pub row: u64,
    /// What the line is about.
    pub kind: LineKind,
    /// The operation that it names.
    pub operation: Option<String>,
    /// The reference that it names.
    pub reference: Option<String>,
    /// `unknown`, `settled already`, `told already`, `other kind`, `wrong sign`, `no dispute of ours`, `other currency`,
    /// `operation of another processor`, or why it could not be booked.
    pub why: String,
    /// Before fees.
    pub gross: Decimal,
    /// The amount in suspense because of it.
    pub suspense: Decimal,
    /// The currency.
    pub currency: String,
}
}

described! {
/// A line that settles an operation for another amount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffersRow {
    /// The processor.
    pub processor: String,
    /// The batch.
    pub batch: String,
    /// Its place there, counted from 1.
    pub row: u64,
    /// The operation.
    pub operation: String,
    /// Ours, with the sign of the line.
    pub ours: Decimal,
    /// Theirs, before fees.
    pub theirs: Decimal,
    /// The currency.
    pub currency: String,
}
}

described! {
/// A batch. Money in major units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// The processor.
    pub processor: String,
    /// Its name.
    pub batch: String,
    /// Its revision, counted from 1.
    pub revision: u32,
    /// When the money moves.
    pub at: String,
    /// When its last part came; not known where only the totals are kept.
    #[serde(default)]
    pub came_at: Option<String>,
    /// Lines.
    pub lines: u64,
    /// The amount paid out by its lines.
    pub net: Decimal,
    /// Its sum on the bank account in the books.
    pub bank: Decimal,
    /// What they have of it as settled.
    pub settled: Decimal,
    /// What they have of it as fees.
    pub fees: Decimal,
    /// What they have of it in suspense.
    pub suspense: Decimal,
    /// The currency.
    pub currency: String,
    /// `incomplete`, `received`, `booked`, `reverting` or `reverted`.
    pub state: String,
    /// Why it was taken back.
    #[serde(default)]
    pub reason: Option<String>,
    /// An earlier batch with the same lines.
    #[serde(default)]
    pub same_as: Option<String>,
    /// The fault.
    pub faults: Vec<String>,
}
}

/// By what a list of batches is ordered: when the money moves, the processor, the batch.
pub type BatchPlace = (Timestamp, String, String);

/// By what a list of lines is ordered: the batch, and the row in it.
pub type LinePlace = (BatchPlace, u64);

/// The wanted report, and its clock.
#[derive(Clone, Debug)]
pub struct Report {
    /// Only of this processor; none: of all.
    pub processor: Option<ProcessorId>,
    /// Operations that are younger are in flight, and not missed.
    pub grace: TimeSpan,
    /// The time.
    pub now: Timestamp,
}

/// What lines settle.
#[derive(Default)]
struct Settled {
    /// For how much, in minor units, in the order of operations.
    operations: Vec<(OpId, i64)>,
    forgotten_until: Option<Timestamp>,
}

impl Settled {
    /// What these batches settle of the operations that are wanted.
    fn of(registers: &[KeptBatches], wanted: impl Fn(OpId) -> bool) -> Settled {
        let mut settled = Settled::default();
        for KeptBatches { older, kept } in registers {
            settled.operations.extend(older.all_settled().filter(|(operation, _)| wanted(*operation)));
            settled.forgotten_until = settled.forgotten_until.max(older.forgotten_until());
            for (_, received, _) in kept {
                received.each_booked(&mut |line, verdict| {
                    let operation = verdict.settles().filter(|operation| wanted(*operation));
                    settled.operations.extend(operation.map(|operation| (operation, line.gross.minor)));
                });
            }
        }
        settled.operations.sort_unstable();
        settled
    }

    fn get(&self, ours: &Ours) -> Option<i64> {
        let found = self.operations.binary_search_by_key(&ours.operation, |(operation, _)| *operation).ok();
        let forgotten = self.forgotten_until.is_some_and(|until| ours.at <= until).then(|| ours.signed());
        found.map(|place| self.operations[place].1).or(forgotten)
    }
}

impl Report {
    fn wants(&self, processor: &ProcessorId) -> bool {
        self.processor.as_ref().is_none_or(|only| only == processor)
    }

    /// A session beside what lines settle of it; none: nothing of it is to be reported.
    fn row(&self, payment: PaymentId, moved: &Moved, settled: &Settled) -> Option<SettledRow> {
        let mut row = None;
        let wanted = moved.operations.iter().filter(|(processor, _)| self.wants(processor));
        for (processor, ours) in wanted.filter(|(_, ours)| matches!(ours.kind, Flow::Capture | Flow::Refund)) {
            let major = |minor| Amount::new(minor, ours.amount.currency).major();
            let row = row.get_or_insert_with(|| SettledRow {
                session: payment.to_string(),
                state: moved.cover().to_owned(),
                processors: Vec::new(),
                priced: major(moved.payable_minor),
                captured: major(moved.net_minor),
                settled: Decimal::ZERO,
                currency: ours.amount.currency.code().to_owned(),
            });
            if !row.processors.contains(&processor.to_string()) {
                row.processors.push(processor.to_string());
            }
            let settled = settled.get(ours);
            row.settled += major(settled.unwrap_or(0));
            let state = match settled {
                Some(minor) if minor == ours.signed() => "matched",
                Some(_) => "amount differs",
                None if self.now.since(ours.at) < self.grace => "in flight",
                None => "missing",
            };
            row.state = worse(&row.state, state).to_owned();
        }
        row
    }
}

impl Views {
    /// How many sessions, lines and batches a report has.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn settled(&self, report: &Report) -> Result<SettledSummary, Unanswered> {
        let registers = self.registers()?;
        let mut summary = SettledSummary::default();
        for KeptBatches { older, kept } in &registers {
            let older = older.iter().filter(|(key, _)| report.wants(&key.0)).count();
            let kept = || kept.iter().filter(|(key, ..)| report.wants(&key.0));
            summary.batches += u64::try_from(older + kept().count()).unwrap_or(u64::MAX);
            for (_, received, _) in kept() {
                received.each_booked(&mut |_, verdict| match verdict {
                    Verdict::Differs { .. } => summary.differs += 1,
                    Verdict::Extra(_) | Verdict::SetAside(_) => summary.extra += 1,
                    Verdict::Matched(_) | Verdict::Other => {}
                });
            }
        }
        let settled = Settled::of(&registers, |_| true);
        self.each_moved(None, &mut |session, moved| {
            if let Some(row) = report.row(session, &moved, &settled) {
                *summary.states.entry(row.state).or_default() += 1;
            }
            true
        })?;
        Ok(summary)
    }

    /// The sessions of which money was taken, in the order of their ids.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn settled_sessions(
        &self,
        report: &Report,
        page: &Page<PaymentId>,
    ) -> Result<Paged<PaymentId, SettledRow>, Unanswered> {
        let (mut found, nothing) = (Vec::new(), Settled::default());
        self.each_moved(page.after, &mut |session, moved| {
            if report.row(session, &moved, &nothing).is_some() {
                found.push((session, moved));
            }
            found.len() <= page.limit
        })?;
        let operations = found.iter().flat_map(|(_, moved)| moved.operations.iter().map(|(_, ours)| ours.operation));
        let wanted: BTreeSet<OpId> = operations.collect();
        let settled = Settled::of(&self.registers()?, |operation| wanted.contains(&operation));
        let rows = found.iter().filter_map(|(session, moved)| Some((*session, report.row(*session, moved, &settled)?)));
        Ok(Paged::cut(rows.collect(), page.limit, None))
    }

    /// The batches, by the time when their money moves; those of this name, where one is named.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn batches(
        &self,
        report: &Report,
        name: Option<&str>,
        page: &Page<BatchPlace>,
    ) -> Result<Paged<BatchPlace, BatchRow>, Unanswered> {
        enum Found<'r> {
            Older(&'r BatchKey, &'r Older),
            Kept(&'r BatchKey, &'r Received, Option<&'r str>),
        }
        let registers = self.registers()?;
        let mut first = First::behind(page.after.clone(), page.limit);
        let wanted = |key: &BatchKey| report.wants(&key.0) && name.is_none_or(|name| *name == *key.1);
        for KeptBatches { older, kept } in &registers {
            for (key, older) in older.iter().filter(|(key, _)| wanted(key)) {
                first.offer(place_of(older.at, key), Found::Older(key, older));
            }
            for (key, received, same_as) in kept.iter().filter(|(key, ..)| wanted(key)) {
                first.offer(place_of(received.at(), key), Found::Kept(key, received, same_as.as_deref()));
            }
        }
        let rows = first.rows(|place, found| match found {
            Found::Older(key, older) => (place, older_row(key, older)),
            Found::Kept(key, received, same_as) => (place, batch_row(key, received, same_as)),
        });
        Ok(Paged::cut(rows, page.limit, None))
    }

    /// Lines that settle an operation for another amount, batch by batch.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn differing(
        &self,
        report: &Report,
        page: &Page<LinePlace>,
    ) -> Result<Paged<LinePlace, DiffersRow>, Unanswered> {
        self.booked_lines(report, page, differs_row)
    }

    /// Lines of processors that fit no operation, batch by batch.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn extra(&self, report: &Report, page: &Page<LinePlace>) -> Result<Paged<LinePlace, ExtraRow>, Unanswered> {
        self.booked_lines(report, page, extra_row)
    }

    fn booked_lines<T>(
        &self,
        report: &Report,
        page: &Page<LinePlace>,
        row: fn(&BatchKey, &SettlementLine, &Verdict) -> Option<T>,
    ) -> Result<Paged<LinePlace, T>, Unanswered> {
        let registers = self.registers()?;
        let kept = registers.iter().flat_map(|register| &register.kept);
        let kept = kept.filter(|(key, received, _)| report.wants(&key.0) && received.reverting().is_none());
        let mut batches: Vec<(BatchPlace, &BatchKey, &Received)> =
            kept.map(|(key, received, _)| (place_of(received.at(), key), key, received)).collect();
        batches.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut found = Vec::new();
        for (place, key, received) in batches {
            let behind = match &page.after {
                Some((batch, _)) if place < *batch => continue,
                Some((batch, row)) if place == *batch => *row,
                _ => 0,
            };
            received.each_behind(behind, &mut |line, verdict| {
                let row = verdict.and_then(|verdict| row(key, line, verdict));
                found.extend(row.map(|row| ((place.clone(), line.row), row)));
                found.len() <= page.limit
            });
            if found.len() > page.limit {
                break;
            }
        }
        Ok(Paged::cut(found, page.limit, None))
    }

    /// Our captures, refunds and disputes at outside processors (or at one), as
    /// [`read_ours`](crate::billing::reconciliation::read_ours) reads them.
    ///
    /// # Errors
    /// The request is wrong, a shard did not answer in time, or the archive cannot be read.
    pub fn ours_csv(&self, processor: Option<&ProcessorId>) -> Result<String, Refused> {
        let mut table = ::csv::Writer::from_writer(Vec::new());
        let failed = |error: ::csv::Error| Refused::failed(error);
        table.write_record(["operation", "kind", "reference", "amount", "currency", "at"]).map_err(failed)?;
        let mut write = |ours: &Ours| {
            let (operation, amount) = (ours.operation.to_string(), ours.amount.major().to_string());
            let at = ours.at.to_rfc3339();
            table.write_record([
                &operation,
                ours.kind.name(),
                &ours.reference,
                &amount,
                ours.amount.currency.code(),
                &at,
            ])
        };
        let mut written = Ok(());
        self.each_moved(None, &mut |_, moved| {
            let mut ours = moved.operations.iter().filter(|(id, _)| processor.is_none_or(|only| only == id));
            written = ours.try_for_each(|(_, ours)| write(ours));
            written.is_ok()
        })?;
        written.map_err(failed)?;
        let bytes = table.into_inner().map_err(Refused::failed)?;
        String::from_utf8(bytes).map_err(Refused::failed)
    }

    /// The batches of every partition that has some.
    pub(super) fn registers(&self) -> Result<Vec<KeptBatches>, Unanswered> {
        let found = self.ask(query::SettlementBatches);
        Ok(found.whole()?.into_iter().flatten().collect())
    }

    /// Captures, refunds and disputes of all sessions at outside processors, in the order of their ids.
    pub(super) fn operations(&self) -> Result<Vec<(ProcessorId, Ours)>, Unanswered> {
        let mut found = Vec::new();
        self.each_moved(None, &mut |_, moved| {
            found.extend(moved.operations);
            true
        })?;
        Ok(found)
    }

    /// Shows the sessions and top-ups of which money moved at outside processors, in the order of their ids, until the
    /// visitor says no. Some are taken from the shards at a time, and archived ones are read one by one in between.
    fn each_moved(
        &self,
        mut after: Option<PaymentId>,
        visit: &mut dyn FnMut(PaymentId, Moved) -> bool,
    ) -> Result<(), Unanswered> {
        loop {
            let mut live = self.first(&Page { after, limit: LIST_ITEMS_MAX }, |part| query::MovedMoney { part })?;
            // What is archived meanwhile is still in these.
            let until = (live.len() > LIST_ITEMS_MAX).then(|| {
                live.truncate(LIST_ITEMS_MAX);
                live.last().map(|(id, _)| *id)
            });
            let until = until.flatten();
            let mut live = live.into_iter().peekable();
            for id in self.archived_ids(after.map(PaymentId::session), ById::OldestFirst) {
                let id = id?.payment();
                if until.is_some_and(|until| id > until) {
                    break;
                }
                while let Some((known, moved)) = live.next_if(|(known, _)| *known < id) {
                    if !visit(known, moved) {
                        return Ok(());
                    }
                }
                // What is live is younger than what the archive has of it.
                if live.peek().is_some_and(|(known, _)| *known == id) {
                    continue;
                }
                let moved = self.archived(id.session())?.and_then(|archive_record| Moved::of(&archive_record.session));
                if moved.is_some_and(|moved| !visit(id, moved)) {
                    return Ok(());
                }
            }
            for (known, moved) in live {
                if !visit(known, moved) {
                    return Ok(());
                }
            }
            match until {
                Some(_) => after = until,
                None => return Ok(()),
            }
        }
    }
}

fn place_of(at: Timestamp, (processor, batch): &BatchKey) -> BatchPlace {
    (at, processor.to_string(), batch.to_string())
}

fn differs_row((processor, batch): &BatchKey, line: &SettlementLine, verdict: &Verdict) -> Option<DiffersRow> {
    let Verdict::Differs { operation, difference } = verdict else { return None };
    let currency = line.gross.currency;
    Some(DiffersRow {
        processor: processor.to_string(),
        batch: batch.to_string(),
        row: line.row,
        operation: operation.to_string(),
        ours: Amount::new(line.gross.minor.saturating_sub(*difference), currency).major(),
        theirs: line.gross.major(),
        currency: currency.code().to_owned(),
    })
}

fn extra_row((processor, batch): &BatchKey, line: &SettlementLine, verdict: &Verdict) -> Option<ExtraRow> {
    let why = match verdict {
        Verdict::Extra(why) => why.text().to_owned(),
        Verdict::SetAside(reason) => reason.to_string(),
        Verdict::Matched(_) | Verdict::Differs { .. } | Verdict::Other => return None,
    };
    Some(ExtraRow {
        processor: processor.to_string(),
        batch: batch.to_string(),
        row: line.row,
        kind: line.kind,
        operation: line.operation.map(|id| id.to_string()),
        reference: line.reference.as_deref().map(str::to_owned),
        why,
        gross: line.gross.major(),
        suspense: if line.kind == LineKind::Payout { Decimal::ZERO } else { line.net.major() },
        currency: line.gross.currency.code().to_owned(),
    })
}

/// The state that needs more attention.
fn worse<'s>(one: &'s str, other: &'s str) -> &'s str {
    const ORDER: [&str; 6] = ["matched", "refunded", "in flight", "not covered", "missing", "amount differs"];
    let rank = |state: &str| ORDER.iter().position(|known| *known == state).unwrap_or(0);
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refund of ours was `not covered` for ever.
    #[test]
    fn a_refund_of_ours_is_covered() {
        let cover = |payable_minor, net_minor, refunded_minor| {
            Moved { payable_minor, net_minor, refunded_minor, operations: Vec::new() }.cover()
        };
        assert_eq!(cover(311, 311, 0), "matched");
        assert_eq!(cover(311, 61, 250), "refunded");
        assert_eq!(cover(311, 0, 311), "refunded");
        assert_eq!(cover(311, 300, 0), "not covered");
        assert_eq!(cover(311, 50, 250), "not covered", "a shortfall and a refund");
        assert_eq!(cover(0, 311, 0), "not covered");
        assert_eq!(worse("refunded", "matched"), "refunded");
        assert_eq!(worse("refunded", "in flight"), "in flight");
    }
}

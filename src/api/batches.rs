//! Settlement batches one by one: brought, laid beside our operations, shown line by line, and taken back.

use super::paging::{Page, Paged};
use super::refused::Refused;
use super::settled::BatchRow;
use super::views::{Unanswered, Views};
use crate::billing::reconciliation::lay::{Facts, Verdict, reference_mark};
use crate::billing::reconciliation::older::Older;
use crate::billing::reconciliation::received::Received;
use crate::billing::reconciliation::register::{BatchKey, Booking, Line, Part, Refusal};
use crate::billing::reconciliation::{LineKind, SettlementLine};
use crate::limits::{SETTLEMENT_LINES_LISTED, SETTLEMENT_LINES_PER_PART};
use crate::node::input::Input;
use crate::node::input::SettlementReply;
pub use crate::node::query::Due;
use crate::node::query::{self, KeptBatches};
use crate::units::shape::described;
use crate::units::{Amount, Currency, OpId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a part of a batch may take until it is durable.
const DURABLE_WITHIN: Duration = Duration::from_secs(10);

described! {
/// One batch, line by line, as the gate booked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchView {
    /// `wattstile.settlement-batch/1`
    pub schema: String,
    /// The batch.
    pub batch: BatchRow,
    /// How many lines are what: `matched`, `differs`, `extra`, `other`, `set aside`, `not booked`.
    pub counts: BTreeMap<String, u64>,
    /// Of a list that is only tried, the lines that are neither matched nor other; the first
    /// [`SETTLEMENT_LINES_LISTED`](crate::limits::SETTLEMENT_LINES_LISTED). Those of a batch that came are a list of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LineRow>,
}
}

described! {
/// A line of a batch. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRow {
    /// Its place in the batch, counted from 1.
    pub row: u64,
    /// Its subject.
    pub kind: LineKind,
    /// The operation that it settles, or names.
    pub operation: Option<String>,
    /// The reference that it names.
    pub reference: Option<String>,
    /// `matched`, `differs`, `extra`, `other`, `set aside` or `not booked`.
    pub state: String,
    /// Why it fits nothing.
    pub why: Option<String>,
    /// Ours, with the sign of the line, where it settles something.
    pub ours: Option<Decimal>,
    /// Theirs, before fees.
    pub gross: Decimal,
    /// The processor's fee.
    pub fee: Decimal,
    /// The amount paid out.
    pub net: Decimal,
    /// The currency.
    pub currency: String,
}
}

/// A batch as a register keeps it, and the name of an earlier one with the same lines.
type KeptBatch = (Received, Option<Box<str>>);

impl Views {
    /// Batches that are to be booked, or taken back.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn due(&self) -> Result<Vec<Due>, Unanswered> {
        let found = self.ask(query::DueBatches);
        Ok(found.whole()?.into_iter().flatten().collect())
    }

    /// Lays the parts of a batch that are not booked beside our operations, and gives what follows from each.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn bookings(&self, key: &BatchKey, give: &mut dyn FnMut(Booking)) -> Result<(), Unanswered> {
        if let Some((received, same_as)) = self.batch(key)? {
            self.facts(key, &received, same_as)?.book(key, &received, give);
        }
        Ok(())
    }

    /// A batch that is kept line by line, and an earlier one with the same lines.
    fn batch(&self, key: &BatchKey) -> Result<Option<KeptBatch>, Unanswered> {
        let registers = self.registers()?.into_iter().flat_map(|register| register.kept);
        Ok(registers.filter(|(of, ..)| of == key).map(|(_, received, same_as)| (received, same_as)).next())
    }

    /// Our data that a batch is matched with.
    fn facts(&self, key: &BatchKey, batch: &Received, same_as: Option<Box<str>>) -> Result<Facts, Unanswered> {
        let mut named: BTreeSet<OpId> = BTreeSet::new();
        batch.each(&mut |line, _| named.extend(line.operation));
        let mut facts = Facts { same_as, ..Facts::default() };
        for KeptBatches { older, kept } in self.registers()? {
            facts.settled.extend(older.all_settled().map(|(operation, _)| operation));
            facts.settled_until = facts.settled_until.max(older.forgotten_until());
            for (_, received, _) in kept.iter().filter(|(of, ..)| of.0 == key.0) {
                received.each_booked(&mut |line, verdict| {
                    facts.settled.extend(verdict.settles());
                    facts.reported.extend(reference_mark(line));
                });
            }
        }
        for (processor, ours) in self.operations()? {
            if processor == key.0 {
                facts.ours.push(ours);
            } else if named.contains(&ours.operation) {
                facts.elsewhere.insert(ours.operation);
            }
        }
        Ok(facts)
    }

    /// One batch as it is booked.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn batch_view(&self, key: &BatchKey) -> Result<Option<BatchView>, Unanswered> {
        if let Some((received, same_as)) = self.batch(key)? {
            let view = view(key, &received, same_as.as_deref());
            return Ok(Some(BatchView { lines: Vec::new(), ..view }));
        }
        let registers = self.registers()?;
        let older = registers.iter().find_map(|register| register.older.get(key));
        Ok(older.map(|older| {
            let batch = older_row(key, older);
            let counts = BTreeMap::from([("not listed any more".to_owned(), older.count)]);
            BatchView { schema: SCHEMA.to_owned(), batch, counts, lines: Vec::new() }
        }))
    }

    /// The lines of a batch that are neither matched nor other, by their rows; none of a batch of which only the totals are
    /// kept.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn batch_lines(&self, key: &BatchKey, page: &Page<u64>) -> Result<Option<Paged<u64, LineRow>>, Unanswered> {
        let Some((received, _)) = self.batch(key)? else {
            let known = self.batch_view(key)?;
            return Ok(known.map(|_| Paged { items: Vec::new(), next: None }));
        };
        let mut found = Vec::new();
        received.each_behind(page.after.unwrap_or(0), &mut |line, verdict| {
            if is_listed(state_of(verdict)) {
                found.push((line.row, line_row(line, verdict)));
            }
            found.len() <= page.limit
        });
        Ok(Some(Paged::cut(found, page.limit, None)))
    }

    /// What a batch would come to: it is laid beside our operations as if it had been brought, and nothing is kept.
    pub(super) fn preview(&self, lines: Vec<Line>, part: &Part, now: Timestamp) -> Result<BatchView, Unanswered> {
        let key = (part.processor.clone(), part.batch.clone());
        let mut received = Received::begin(part, now);
        let chunks = lines.chunks(SETTLEMENT_LINES_PER_PART).count().max(1);
        let mut rest = lines.into_iter();
        for number in 1..=u32::try_from(chunks).unwrap_or(u32::MAX) {
            let lines = rest.by_ref().take(SETTLEMENT_LINES_PER_PART).collect();
            let last = usize::try_from(number) == Ok(chunks);
            received.take(&Part { part: number, lines, last, ..part.clone() }, now);
        }
        if let Some((known, same_as)) = self.batch(&key)?
            && known.content() == received.content()
            && known.reverting().is_none()
        {
            return Ok(view(&key, &known, same_as.as_deref()));
        }
        let same_as = match received.content() {
            Some(content) => self.same_content(&key, content)?,
            None => None,
        };
        let facts = self.facts(&key, &received, same_as)?;
        let mut bookings = Vec::new();
        facts.book(&key, &received, &mut |booking| bookings.push(booking));
        bookings.iter().for_each(|booking| received.book(booking));
        Ok(view(&key, &received, facts.same_as.as_deref()))
    }

    fn same_content(&self, key: &BatchKey, content: [u8; 16]) -> Result<Option<Box<str>>, Unanswered> {
        let found = self.ask(query::BatchWithSameContent { key: key.clone(), content });
        found.found()
    }

    /// Hands a part of a batch that an operator brings to its partition; it is durable when this returns.
    pub(super) fn bring(&self, part: Part) -> Result<(), Refused> {
        let name = part.batch.clone();
        self.order_batch(|reply| Input::Settlement(Box::new(part), reply)).map_err(|refused| match refused {
            Ok(Refusal::DifferentPart) => Refused::conflict(format!(
                "batch {name} was brought before, with other lines; take it back (recon revert {name}), or give this list \
                 another name (--batch)"
            )),
            Ok(refusal) => Refused::conflict(refusal),
            Err(refused) => refused,
        })
    }

    /// Has a batch taken back; the order is durable when this returns.
    pub(super) fn revert(&self, key: &BatchKey, reason: &str) -> Result<(), Refused> {
        let (key, reason) = (key.clone(), reason.into());
        self.order_batch(|reply| Input::RevertBatch(key, reason, reply)).map_err(|refused| match refused {
            Ok(Refusal::NoBatch) => Refused::not_found(Refusal::NoBatch),
            Ok(refusal) => Refused::conflict(refusal),
            Err(refused) => refused,
        })
    }

    fn order_batch(&self, input: impl FnOnce(SettlementReply) -> Input) -> Result<(), Result<Refusal, Refused>> {
        let directory = self.directory().ok_or_else(|| Err(Refused::conflict("no gate is running")))?;
        let asker = directory.order(DURABLE_WITHIN, |reply| input(SettlementReply::Order(reply)));
        match asker.map_err(|_| Err(Refused::busy()))?.wait() {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(Ok(refusal)),
            Err(_) => Err(Err(Refused::no_answer("no answer in time; ask again, it is the same batch"))),
        }
    }
}

const SCHEMA: &str = "wattstile.settlement-batch/1";

fn view(key: &BatchKey, received: &Received, same_as: Option<&str>) -> BatchView {
    let (mut counts, mut lines) = (BTreeMap::new(), Vec::new());
    for state in ["matched", "differs", "extra", "other", "set aside", "not booked"] {
        counts.insert(state.to_owned(), 0);
    }
    received.each(&mut |line, verdict| {
        let state = state_of(verdict);
        *counts.entry(state.to_owned()).or_default() += 1;
        if is_listed(state) && lines.len() < SETTLEMENT_LINES_LISTED {
            lines.push(line_row(line, verdict));
        }
    });
    BatchView { schema: SCHEMA.to_owned(), batch: batch_row(key, received, same_as), counts, lines }
}

const fn state_of(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Matched(_)) => "matched",
        Some(Verdict::Differs { .. }) => "differs",
        Some(Verdict::Extra(_)) => "extra",
        Some(Verdict::Other) => "other",
        Some(Verdict::SetAside(_)) => "set aside",
        None => "not booked",
    }
}

/// Whether a line in this state is to be looked at by an operator.
fn is_listed(state: &str) -> bool {
    !matches!(state, "matched" | "other" | "not booked")
}

/// A line as the batch has it.
pub(super) fn line_row(line: &SettlementLine, verdict: Option<&Verdict>) -> LineRow {
    let settles = verdict.and_then(Verdict::settles);
    let ours = match verdict {
        Some(Verdict::Matched(_)) => Some(line.gross.minor),
        Some(Verdict::Differs { difference, .. }) => Some(line.gross.minor.saturating_sub(*difference)),
        _ => None,
    };
    LineRow {
        row: line.row,
        kind: line.kind,
        operation: settles.or(line.operation).map(|id| id.to_string()),
        reference: line.reference.as_deref().map(str::to_owned),
        state: state_of(verdict).to_owned(),
        why: match verdict {
            Some(Verdict::Extra(why)) => Some(why.text().to_owned()),
            Some(Verdict::SetAside(reason)) => Some(reason.to_string()),
            _ => None,
        },
        ours: ours.map(|minor| Amount::new(minor, line.gross.currency).major()),
        gross: line.gross.major(),
        fee: line.fee.major(),
        net: line.net.major(),
        currency: line.gross.currency.code().to_owned(),
    }
}

/// A batch that is kept line by line.
pub(super) fn batch_row((processor, batch): &BatchKey, received: &Received, same_as: Option<&str>) -> BatchRow {
    let (faults, sums) = received.faults();
    let (currency, booked) = (received.currency(), received.booked());
    BatchRow {
        processor: processor.to_string(),
        batch: batch.to_string(),
        revision: received.revision(),
        at: received.at().to_string(),
        came_at: Some(received.touched_at().to_string()),
        lines: sums.count,
        net: decimal(sums.net, currency),
        bank: decimal(booked.bank, currency),
        settled: decimal(booked.settled, currency),
        fees: decimal(booked.fees, currency),
        suspense: decimal(booked.suspense, currency),
        currency: currency.code().to_owned(),
        state: received.state().name().to_owned(),
        reason: received.reverting().map(|(reason, _)| reason.to_owned()),
        same_as: same_as.map(str::to_owned),
        faults: faults.iter().map(ToString::to_string).collect(),
    }
}

/// A batch of which only the totals are kept.
pub(super) fn older_row((processor, batch): &BatchKey, older: &Older) -> BatchRow {
    let (currency, booked) = (older.currency, older.booked);
    BatchRow {
        processor: processor.to_string(),
        batch: batch.to_string(),
        revision: older.revision,
        at: older.at.to_string(),
        lines: older.count,
        net: decimal(older.net, currency),
        bank: decimal(booked.bank, currency),
        settled: decimal(booked.settled, currency),
        fees: decimal(booked.fees, currency),
        suspense: decimal(booked.suspense, currency),
        currency: currency.code().to_owned(),
        state: if older.reverted { "reverted" } else { "booked" }.to_owned(),
        ..BatchRow::default()
    }
}

fn decimal(minor: i128, currency: Currency) -> Decimal {
    Decimal::try_from_i128_with_scale(minor, u32::from(currency.exponent())).unwrap_or_default()
}

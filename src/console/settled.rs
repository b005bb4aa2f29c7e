//! Settlement: what processors said they settled beside what sessions came to.

use super::api::Refused;
use super::views::{Unanswered, Views};
use crate::actors::output::{SettlementReply, SettlementTold};
use crate::actors::shard::Input;
use crate::billing::reconciliation::older::Older;
use crate::billing::reconciliation::register::{BatchKey, Booking, Part, Received};
use crate::billing::reconciliation::{Flow, Ours, Report, WhyExtra, reconcile};
use crate::ledger::EntryError;
use crate::payment::{Final, OperationKind, Payment};
use crate::session::Session;
use crate::units::{Amount, Currency, OpId, ProcessorId, SessionId, TimeSpan, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

/// How old an operation is when it is missed, unless somebody says otherwise.
pub const GRACE: TimeSpan = TimeSpan::from_secs(72 * 3_600);

/// How long a part of a batch may take until it is durable.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every session priced, captured and settled, and what fits none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledView {
    /// `wattstile.settlement-report/1`
    pub schema: String,
    /// How many sessions are in which state.
    pub states: BTreeMap<String, u64>,
    /// The sessions of which money was taken, in the order of their ids.
    pub sessions: Vec<SettledRow>,
    /// Lines of processors that fit no operation.
    pub extra: Vec<ExtraRow>,
    /// The batches, those of which only the totals are kept first, in the order in which they came.
    pub batches: Vec<BatchRow>,
}

/// One session. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledRow {
    /// Its id.
    pub session: String,
    /// `matched`, `in flight`, `missing`, `amount differs` (settled another amount than captured), or `not covered` (captured
    /// another amount than it was priced at).
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

/// A line that fits no operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraRow {
    /// Whose.
    pub processor: String,
    /// The batch.
    pub batch: String,
    /// Its place there, counted from 1.
    pub row: u64,
    /// The operation that it names.
    pub operation: Option<String>,
    /// The reference that it names.
    pub reference: Option<String>,
    /// `unknown`, `settled already`, `other kind`.
    pub why: String,
    /// Before fees.
    pub gross: Decimal,
    /// The currency.
    pub currency: String,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Whose.
    pub processor: String,
    /// Its name.
    pub batch: String,
    /// When the money moves.
    pub at: String,
    /// Lines.
    pub lines: u64,
    /// What is paid out.
    pub net: Decimal,
    /// The currency.
    pub currency: String,
    /// `incomplete`, `received` or `booked`.
    pub state: String,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// What a processor has settled by now, laid beside what it took.
struct Laid {
    ours: Vec<Ours>,
    reports: Vec<(BatchKey, Received, Report)>,
    /// Ours that no line has settled.
    rest: Vec<Ours>,
    /// Ours that batches have settled of which only the totals are kept, and for how much.
    before: BTreeMap<OpId, i64>,
}

/// What is left of batches that are not kept line by line.
#[derive(Default)]
struct Before {
    batches: Vec<(BatchKey, Older)>,
    settled: BTreeMap<OpId, i64>,
    /// Operations up to then count as settled.
    forgotten_until: Option<Timestamp>,
}

/// Why nothing of a batch is booked.
#[derive(Debug, thiserror::Error)]
pub enum Unbooked {
    /// Not everything that it is laid beside is known.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// It has no place in the books.
    #[error("it has no place in the books: {0}")]
    Entry(#[from] EntryError),
}

impl Views {
    /// Whole batches with a part that is not booked.
    pub fn unbooked(&self) -> Result<Vec<BatchKey>, Unanswered> {
        let found = self.batches()?.into_iter().filter(|(_, batch)| batch.is_whole() && !batch.is_booked());
        Ok(found.map(|(key, _)| key).collect())
    }

    /// What follows from the parts of a batch that are not booked.
    pub fn bookings(&self, processor: &ProcessorId, batch: &str) -> Result<Vec<Booking>, Unbooked> {
        let batches = self.batches()?;
        let of_processor = || batches.iter().filter(|((id, _), _)| id == processor);
        let mut settled: BTreeSet<OpId> =
            of_processor().flat_map(|(_, found)| found.settled().iter().copied()).collect();
        let older = self.older()?;
        settled.extend(older.settled.keys());
        let Some((key, received)) = of_processor().find(|((_, name), _)| **name == *batch) else {
            return Ok(Vec::new());
        };
        let mut ours = self.ours(Some(processor))?;
        ours.retain(|ours| older.forgotten_until.is_none_or(|until| ours.at > until));
        let mut bookings = Vec::new();
        for part in received.unbooked() {
            let open: Vec<Ours> = ours.iter().filter(|ours| !settled.contains(&ours.operation)).cloned().collect();
            let lines = received.batch(key, Some(part));
            let report = reconcile(&open, &lines, GRACE);
            let fresh: Vec<OpId> =
                report.matched.iter().chain(&report.differs).map(|pair| pair.ours.operation).collect();
            settled.extend(&fresh);
            let (processor, batch) = key.clone();
            bookings.push(Booking { processor, batch, part, entries: report.entries(&lines)?, settled: fresh });
        }
        Ok(bookings)
    }

    /// Every session priced, captured and settled; operations that are younger than `grace` at `now` are in flight.
    pub fn settled(
        &self,
        processor: Option<&ProcessorId>,
        grace: TimeSpan,
        now: Timestamp,
    ) -> Result<SettledView, Unanswered> {
        let mut rows: BTreeMap<SessionId, SettledRow> = BTreeMap::new();
        let prices = self.prices()?;
        let mut extra = Vec::new();
        let before = self.older()?.batches.into_iter().filter(|(key, _)| processor.is_none_or(|only| *only == key.0));
        let mut batches: Vec<BatchRow> = before.map(|(key, older)| older_row(&key, &older)).collect();
        for (id, laid) in self.laid(processor)? {
            for ours in &laid.ours {
                let session = ours.operation.session();
                let (payable, net) = prices.get(&session).copied().unwrap_or((0, 0));
                let major = |minor| Amount::new(minor, ours.amount.currency).major();
                let row = rows.entry(session).or_insert_with(|| SettledRow {
                    session: session.to_string(),
                    state: if payable == net { "matched" } else { "not covered" }.to_owned(),
                    processors: Vec::new(),
                    priced: major(payable),
                    captured: major(net),
                    settled: Decimal::ZERO,
                    currency: ours.amount.currency.code().to_owned(),
                });
                if !row.processors.contains(&id.to_string()) {
                    row.processors.push(id.to_string());
                }
            }
            for ours in &laid.ours {
                if let (Some(settled), Some(row)) =
                    (laid.before.get(&ours.operation), rows.get_mut(&ours.operation.session()))
                {
                    row.settled += Amount::new(*settled, ours.amount.currency).major();
                    if settled.abs() != ours.amount.minor {
                        row.state = worse(&row.state, "amount differs").to_owned();
                    }
                }
            }
            let mut say = |operation: OpId, state: &str| {
                if let Some(row) = rows.get_mut(&operation.session()) {
                    row.state = worse(&row.state, state).to_owned();
                }
            };
            for ours in &laid.rest {
                say(ours.operation, if now.since(ours.at) < grace { "in flight" } else { "missing" });
            }
            for (_, _, report) in &laid.reports {
                report.differs.iter().for_each(|pair| say(pair.ours.operation, "amount differs"));
            }
            for ((_, batch), received, report) in &laid.reports {
                for pair in report.matched.iter().chain(&report.differs) {
                    if let Some(row) = rows.get_mut(&pair.ours.operation.session()) {
                        row.settled += pair.theirs.gross.major();
                    }
                }
                extra.extend(report.extra.iter().map(|found| ExtraRow {
                    processor: id.to_string(),
                    batch: batch.to_string(),
                    row: found.theirs.row,
                    operation: found.theirs.operation.map(|id| id.to_string()),
                    reference: found.theirs.reference.as_deref().map(str::to_owned),
                    why: in_words(found.why).to_owned(),
                    gross: found.theirs.gross.major(),
                    currency: found.theirs.gross.currency.code().to_owned(),
                }));
                batches.push(batch_row(&id, batch, received, report));
            }
        }
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows.values() {
            *states.entry(row.state.clone()).or_default() += 1;
        }
        let (schema, sessions) = ("wattstile.settlement-report/1".to_owned(), rows.into_values().collect());
        Ok(SettledView { schema, states, sessions, extra, batches })
    }

    /// Our captures and refunds at outside processors (or at one), as [`read_ours`](crate::billing::reconciliation::read_ours)
    /// reads them.
    pub fn ours_csv(&self, processor: Option<&ProcessorId>) -> Result<String, Refused> {
        let mut table = ::csv::Writer::from_writer(Vec::new());
        let failed = |error: ::csv::Error| Refused::new(500, error);
        table.write_record(["operation", "kind", "reference", "amount", "currency", "at"]).map_err(failed)?;
        for ours in self.ours(processor)? {
            let kind = match ours.kind {
                Flow::Capture => "capture",
                Flow::Refund => "refund",
            };
            let (operation, amount) = (ours.operation.to_string(), ours.amount.major().to_string());
            let at = ours.at.to_rfc3339();
            let record = [&operation, kind, &ours.reference, &amount, ours.amount.currency.code(), &at];
            table.write_record(record).map_err(failed)?;
        }
        let bytes = table.into_inner().map_err(|error| Refused::new(500, error))?;
        String::from_utf8(bytes).map_err(|error| Refused::new(500, error))
    }

    /// Hands a part of a batch that an operator brings to its partition; it is durable when this returns.
    pub(super) fn bring(&self, part: Part) -> Result<(), Refused> {
        let directory = self.directory().ok_or_else(|| Refused::conflict("no gate is running"))?;
        let (tell, told) = mpsc::channel();
        let reply = SettlementReply::Order(SettlementTold(Box::new(move |refused| {
            let _ = tell.send(refused);
        })));
        if directory.post(Input::Settlement(Box::new(part), reply)).is_err() {
            return Err(Refused::busy());
        }
        match told.recv_timeout(PATIENCE) {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(Refused::conflict(code.meaning())),
            Err(_) => Err(Refused::new(504, "no answer in time; ask again, it is the same batch")),
        }
    }

    fn older(&self) -> Result<Before, Unanswered> {
        let found = self.ask(|shard| {
            let mut before = Before::default();
            for partition in shard.partitions() {
                let older = partition.settlements.older();
                before.batches.extend(older.iter().map(|(key, older)| (key.clone(), older.clone())));
                before.settled.extend(older.all_settled());
                before.forgotten_until = before.forgotten_until.max(older.forgotten_until());
            }
            before
        });
        Ok(found.whole()?.into_iter().fold(Before::default(), |mut sum, part| {
            sum.batches.extend(part.batches);
            sum.settled.extend(part.settled);
            sum.forgotten_until = sum.forgotten_until.max(part.forgotten_until);
            sum
        }))
    }

    fn batches(&self) -> Result<Vec<(BatchKey, Received)>, Unanswered> {
        let found = self.ask(|shard| {
            let all = shard.partitions().iter().flat_map(|partition| partition.settlements.batches());
            all.map(|(key, batch)| (key.clone(), batch.clone())).collect::<Vec<_>>()
        });
        Ok(found.whole()?.into_iter().flatten().collect())
    }

    /// Lays each processor's batches beside our operations, in the order in which they came: an operation is settled once.
    fn laid(&self, only: Option<&ProcessorId>) -> Result<BTreeMap<ProcessorId, Laid>, Unanswered> {
        let mut all: BTreeMap<ProcessorId, Laid> = BTreeMap::new();
        let before = self.older()?;
        let empty = || Laid { ours: Vec::new(), reports: Vec::new(), rest: Vec::new(), before: BTreeMap::new() };
        for (processor, ours) in self.operations()? {
            if only.is_none_or(|only| *only == processor) {
                let laid = all.entry(processor).or_insert_with(empty);
                let signed = match ours.kind {
                    Flow::Capture => ours.amount.minor,
                    Flow::Refund => ours.amount.minor.saturating_neg(),
                };
                match before.settled.get(&ours.operation) {
                    // Zero: it was matched by its reference alone.
                    Some(minor) => drop(laid.before.insert(ours.operation, if *minor == 0 { signed } else { *minor })),
                    None if before.forgotten_until.is_some_and(|until| ours.at <= until) => {
                        laid.before.insert(ours.operation, signed);
                    }
                    None => laid.rest.push(ours.clone()),
                }
                laid.ours.push(ours);
            }
        }
        for (key, received) in self.batches()? {
            if only.is_some_and(|only| *only != key.0) {
                continue;
            }
            let laid = all.entry(key.0.clone()).or_insert_with(empty);
            let mut report = reconcile(&laid.rest, &received.batch(&key, None), GRACE);
            let settled: BTreeSet<OpId> =
                report.matched.iter().chain(&report.differs).map(|pair| pair.ours.operation).collect();
            for found in &mut report.extra {
                let known = |id: &OpId| laid.ours.iter().any(|ours| ours.operation == *id);
                if found.why == WhyExtra::Unknown && found.theirs.operation.as_ref().is_some_and(known) {
                    found.why = WhyExtra::SettledAlready;
                }
            }
            laid.rest.retain(|ours| !settled.contains(&ours.operation));
            laid.reports.push((key, received, report));
        }
        Ok(all)
    }

    fn ours(&self, only: Option<&ProcessorId>) -> Result<Vec<Ours>, Unanswered> {
        let all = self.operations()?.into_iter();
        Ok(all.filter(|(processor, _)| only.is_none_or(|only| only == processor)).map(|(_, ours)| ours).collect())
    }

    /// Captures and refunds of all sessions at outside processors, in the order of their ids.
    fn operations(&self) -> Result<Vec<(ProcessorId, Ours)>, Unanswered> {
        let mut found: BTreeMap<OpId, (ProcessorId, Ours)> = BTreeMap::new();
        self.each_session(operations, |(processor, ours)| {
            found.insert(ours.operation, (processor, ours));
        })?;
        let top_ups = self.ask(|shard| {
            let all = shard.partitions().iter().flat_map(|partition| partition.top_ups.known.values());
            all.flat_map(|top_up| moved(&top_up.payment, top_up.opened_at)).collect::<Vec<_>>()
        });
        for (processor, ours) in top_ups.whole()?.into_iter().flatten() {
            found.insert(ours.operation, (processor, ours));
        }
        Ok(found.into_values().collect())
    }

    /// What each session was priced at, and what was taken and not given back, in minor units.
    fn prices(&self) -> Result<BTreeMap<SessionId, (i64, i64)>, Unanswered> {
        let mut found = BTreeMap::new();
        let top_ups = self.ask(|shard| {
            let all = shard.partitions().iter().flat_map(|partition| partition.top_ups.known.values());
            all.map(|top_up| (top_up.id, (top_up.credited_minor, net(&top_up.payment)))).collect::<Vec<_>>()
        });
        found.extend(top_ups.whole()?.into_iter().flatten());
        let price = |session: &Session| {
            let payable = session.ended().map_or(0, |ended| ended.payable.minor);
            vec![(session.id, (payable, net(&session.payment)))]
        };
        self.each_session(price, |(id, prices)| {
            found.insert(id, prices);
        })?;
        Ok(found)
    }

    /// Looks at every session, archived ones first: what is live is younger.
    fn each_session<T: Send + 'static>(
        &self,
        look: impl Fn(&Session) -> Vec<T> + Copy + Send + 'static,
        mut keep: impl FnMut(T),
    ) -> Result<(), Unanswered> {
        self.each_archived(Timestamp::from_unix_ms(i64::MIN), &mut |dossier| {
            look(&dossier.session).into_iter().for_each(&mut keep);
            true
        })?;
        let live = self.ask(move |shard| {
            let sessions = shard.partitions().iter().flat_map(|partition| partition.sessions.iter());
            sessions.flat_map(|(_, hosted)| look(hosted.state())).collect::<Vec<_>>()
        });
        live.whole()?.into_iter().flatten().for_each(keep);
        Ok(())
    }
}

fn operations(session: &Session) -> Vec<(ProcessorId, Ours)> {
    let at = session.settled_at().or_else(|| session.ended().map(|ended| ended.known_at)).unwrap_or(session.opened_at);
    moved(&session.payment, at)
}

/// What was taken and not given back, in minor units.
fn net(payment: &Payment) -> i64 {
    payment.captured().minor.saturating_sub(payment.refunded().minor)
}

/// The captures and refunds of a payment at outside processors.
fn moved(payment: &Payment, at: Timestamp) -> Vec<(ProcessorId, Ours)> {
    let approved = payment.past_operations().iter().filter(|past| past.result == Final::Approved);
    let moved = approved.filter_map(|past| {
        let kind = match past.kind {
            OperationKind::Capture => Flow::Capture,
            OperationKind::Refund => Flow::Refund,
            _ => return None,
        };
        let hold = payment.hold(past.hold)?;
        if crate::actors::house::account_of(hold.processor()).is_some() {
            return None;
        }
        let reference = hold.processor_ref.as_ref().map(|name| name.0.clone()).unwrap_or_default();
        let amount = Amount::new(past.amount_minor, payment.currency());
        let operation = payment.operation_id(past.number);
        Some((hold.processor().clone(), Ours { operation, kind, reference, amount, at }))
    });
    moved.collect()
}

fn batch_row(processor: &ProcessorId, batch: &str, received: &Received, report: &Report) -> BatchRow {
    let found = received.batch(&(processor.clone(), batch.into()), None);
    let (count, net) = report.sums.map_or((0, 0), |sums| (sums.count, sums.net));
    BatchRow {
        processor: processor.to_string(),
        batch: batch.to_owned(),
        at: found.at.to_string(),
        lines: count,
        net: decimal(net, found.currency),
        currency: found.currency.code().to_owned(),
        state: match (received.is_whole(), received.is_booked()) {
            (_, true) => "booked",
            (true, false) => "received",
            (false, false) => "incomplete",
        }
        .to_owned(),
        faults: report.faults.iter().map(ToString::to_string).collect(),
    }
}

fn older_row((processor, batch): &BatchKey, older: &Older) -> BatchRow {
    BatchRow {
        processor: processor.to_string(),
        batch: batch.to_string(),
        at: older.at.to_string(),
        lines: older.count,
        net: decimal(older.net, older.currency),
        currency: older.currency.code().to_owned(),
        state: "booked".to_owned(),
        faults: Vec::new(),
    }
}

fn decimal(minor: i128, currency: Currency) -> Decimal {
    Decimal::from_i128_with_scale(minor, u32::from(currency.exponent()))
}

/// The state that needs more attention.
fn worse<'s>(one: &'s str, other: &'s str) -> &'s str {
    const ORDER: [&str; 5] = ["matched", "in flight", "not covered", "missing", "amount differs"];
    let rank = |state: &str| ORDER.iter().position(|known| *known == state).unwrap_or(0);
    if rank(other) > rank(one) { other } else { one }
}

const fn in_words(why: WhyExtra) -> &'static str {
    match why {
        WhyExtra::Unknown => "unknown",
        WhyExtra::SettledAlready => "settled already",
        WhyExtra::OtherKind => "other kind",
    }
}

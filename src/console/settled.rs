//! Settlement: what processors said they settled beside what sessions came to.
//!
//! A report says of each line what was booked of it: the register of batches keeps that, line by line.

use super::api::Refused;
use super::batches::{batch_row, older_row};
use super::views::{Unanswered, Views};
use crate::accounting::settlement::{self, moved};
use crate::billing::reconciliation::lay::Verdict;
use crate::billing::reconciliation::older::OlderBatches;
use crate::billing::reconciliation::received::Received;
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::reconciliation::{Flow, LineKind, Ours, SettlementLine};
use crate::limits::SETTLEMENT_LINES_LISTED;
use crate::session::Session;
use crate::units::{Amount, OpId, ProcessorId, SessionId, TimeSpan, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How old an operation is when it is missed, unless the caller names another age.
pub const GRACE: TimeSpan = TimeSpan::from_secs(72 * 3_600);

/// Every session priced, captured and settled, and what fits none.
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
    /// What is in suspense because of it.
    pub suspense: Decimal,
    /// The currency.
    pub currency: String,
}

/// A line that settles an operation for another amount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffersRow {
    /// Whose.
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

/// A batch. Money in major units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Whose.
    pub processor: String,
    /// Its name.
    pub batch: String,
    /// How often it was taken in, counted from 1.
    pub revision: u32,
    /// When the money moves.
    pub at: String,
    /// Lines.
    pub lines: u64,
    /// What is paid out by its lines.
    pub net: Decimal,
    /// What the books have of it on the bank account.
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
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// What is settled by now, and what the lines of batches came to.
#[derive(Default)]
struct Laid {
    /// Operations that a line settles: for how much, in minor units.
    settled: BTreeMap<OpId, i64>,
    differs: Vec<DiffersRow>,
    extra: Vec<ExtraRow>,
    left_out: u64,
}

impl Laid {
    fn line(&mut self, (processor, batch): &BatchKey, line: &SettlementLine, verdict: &Verdict) {
        let currency = line.gross.currency;
        if let Some(operation) = verdict.settles() {
            self.settled.insert(operation, line.gross.minor);
        }
        match verdict {
            Verdict::Differs { operation, difference } if self.differs.len() < SETTLEMENT_LINES_LISTED => {
                let ours = Amount::new(line.gross.minor.saturating_sub(*difference), currency);
                self.differs.push(DiffersRow {
                    processor: processor.to_string(),
                    batch: batch.to_string(),
                    row: line.row,
                    operation: operation.to_string(),
                    ours: ours.major(),
                    theirs: line.gross.major(),
                    currency: currency.code().to_owned(),
                });
            }
            Verdict::Extra(_) | Verdict::SetAside(_) if self.extra.len() < SETTLEMENT_LINES_LISTED => {
                let suspense = if line.kind == LineKind::Payout { Decimal::ZERO } else { line.net.major() };
                self.extra.push(ExtraRow {
                    processor: processor.to_string(),
                    batch: batch.to_string(),
                    row: line.row,
                    kind: line.kind,
                    operation: line.operation.map(|id| id.to_string()),
                    reference: line.reference.as_deref().map(str::to_owned),
                    why: match verdict {
                        Verdict::Extra(why) => why.text().to_owned(),
                        Verdict::SetAside(reason) => reason.to_string(),
                        Verdict::Matched(_) | Verdict::Differs { .. } | Verdict::Other => String::new(),
                    },
                    gross: line.gross.major(),
                    suspense,
                    currency: currency.code().to_owned(),
                });
            }
            Verdict::Differs { .. } | Verdict::Extra(_) | Verdict::SetAside(_) => self.left_out += 1,
            Verdict::Matched(_) | Verdict::Other => {}
        }
    }
}

impl Views {
    /// Every session priced, captured and settled; operations that are younger than `grace` at `now` are in flight.
    pub fn settled(
        &self,
        processor: Option<&ProcessorId>,
        grace: TimeSpan,
        now: Timestamp,
    ) -> Result<SettledView, Unanswered> {
        let wanted = |id: &ProcessorId| processor.is_none_or(|only| only == id);
        let (registers, prices) = (self.registers()?, self.prices()?);
        let (mut laid, mut batches, mut forgotten_until) = (Laid::default(), Vec::new(), None::<Timestamp>);
        for (older, kept) in &registers {
            laid.settled.extend(older.all_settled());
            forgotten_until = forgotten_until.max(older.forgotten_until());
            batches.extend(older.iter().filter(|(key, _)| wanted(&key.0)).map(|(key, older)| older_row(key, older)));
            for (key, received, same_as) in kept.iter().filter(|(key, ..)| wanted(&key.0)) {
                received.each_booked(&mut |line, verdict| laid.line(key, line, verdict));
                batches.push(batch_row(key, received, same_as.as_deref()));
            }
        }
        let mut rows: BTreeMap<SessionId, SettledRow> = BTreeMap::new();
        let moved = self.operations()?.into_iter().filter(|(id, _)| wanted(id));
        for (id, ours) in moved.filter(|(_, ours)| matches!(ours.kind, Flow::Capture | Flow::Refund)) {
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
            let forgotten = forgotten_until.is_some_and(|until| ours.at <= until).then(|| ours.signed());
            let settled = laid.settled.get(&ours.operation).copied().or(forgotten);
            row.settled += major(settled.unwrap_or(0));
            let state = match settled {
                Some(minor) if minor == ours.signed() => "matched",
                Some(_) => "amount differs",
                None if now.since(ours.at) < grace => "in flight",
                None => "missing",
            };
            row.state = worse(&row.state, state).to_owned();
        }
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows.values() {
            *states.entry(row.state.clone()).or_default() += 1;
        }
        let Laid { differs, extra, left_out, .. } = laid;
        let (schema, sessions) = ("wattstile.settlement-report/1".to_owned(), rows.into_values().collect());
        Ok(SettledView { schema, states, sessions, differs, extra, left_out, batches })
    }

    /// Our captures, refunds and disputes at outside processors (or at one), as
    /// [`read_ours`](crate::billing::reconciliation::read_ours) reads them.
    pub fn ours_csv(&self, processor: Option<&ProcessorId>) -> Result<String, Refused> {
        let mut table = ::csv::Writer::from_writer(Vec::new());
        let failed = |error: ::csv::Error| Refused::new(500, error);
        table.write_record(["operation", "kind", "reference", "amount", "currency", "at"]).map_err(failed)?;
        for (_, ours) in self.operations()?.into_iter().filter(|(id, _)| processor.is_none_or(|only| only == id)) {
            let (operation, amount) = (ours.operation.to_string(), ours.amount.major().to_string());
            let at = ours.at.to_rfc3339();
            let record = [&operation, ours.kind.name(), &ours.reference, &amount, ours.amount.currency.code(), &at];
            table.write_record(record).map_err(failed)?;
        }
        let bytes = table.into_inner().map_err(|error| Refused::new(500, error))?;
        String::from_utf8(bytes).map_err(|error| Refused::new(500, error))
    }

    /// The batches of every partition: the older ones, and those that are kept line by line, with the name of an earlier
    /// one that has the same lines.
    #[allow(clippy::type_complexity)]
    pub(super) fn registers(
        &self,
    ) -> Result<Vec<(OlderBatches, Vec<(BatchKey, Received, Option<Box<str>>)>)>, Unanswered> {
        let found = self.ask(|shard| {
            let registers = shard.partitions().iter().map(|partition| &partition.settlements);
            let some = registers.filter(|register| !register.is_empty());
            some.map(|register| {
                let kept = register.batches().map(|(key, batch)| {
                    let same_as = batch.content().and_then(|content| register.same_content(key, content));
                    (key.clone(), batch.clone(), same_as)
                });
                (register.older().clone(), kept.collect::<Vec<_>>())
            })
            .collect::<Vec<_>>()
        });
        Ok(found.whole()?.into_iter().flatten().collect())
    }

    /// Captures, refunds and disputes of all sessions at outside processors, in the order of their ids.
    pub(super) fn operations(&self) -> Result<Vec<(ProcessorId, Ours)>, Unanswered> {
        let mut found: BTreeMap<OpId, (ProcessorId, Ours)> = BTreeMap::new();
        self.each_session(settlement::of_session, |(processor, ours)| {
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
            all.map(|top_up| (top_up.id, (top_up.credited_minor, settlement::kept(&top_up.payment))))
                .collect::<Vec<_>>()
        });
        found.extend(top_ups.whole()?.into_iter().flatten());
        let price = |session: &Session| {
            let payable = session.ended().map_or(0, |ended| ended.payable.minor);
            vec![(session.id, (payable, settlement::kept(&session.payment)))]
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

/// The state that needs more attention.
fn worse<'s>(one: &'s str, other: &'s str) -> &'s str {
    const ORDER: [&str; 5] = ["matched", "in flight", "not covered", "missing", "amount differs"];
    let rank = |state: &str| ORDER.iter().position(|known| *known == state).unwrap_or(0);
    if rank(other) > rank(one) { other } else { one }
}

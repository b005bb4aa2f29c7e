//! Chargers, processors, holds.

use super::paging::{First, Page, Paged};
use super::sessions::{OperationRow, hold_state, operations};
use super::timeline::{self, TimelineRow};
use super::views::{Gathered, Unanswered, Views};
use crate::actors::Addr;
use crate::actors::directory::Directory;
use crate::actors::reply_table::Asker;
use crate::billing::meter_signature::MeterKey;
use crate::limits::LIST_ITEMS_MAX;
use crate::node::processor::{ProcessorActor, ProcessorFigures, Report};
use crate::node::query::{self, ChargerSummary, HoldSummary};
use crate::payment::{Capabilities, OperationKind, Ordinal};
use crate::units::shape::described;
use crate::units::{Amount, OpId, ProcessorId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a processor's actor may take to answer.
const PROCESSOR_TIMEOUT: Duration = Duration::from_secs(5);
const PROCESSORS: &str = "processors' actors";

described! {
/// A charger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerRow {
    /// Its id.
    pub id: String,
    /// Whether it is connected now.
    pub online: bool,
    /// The states that its connectors report.
    pub connectors: Vec<String>,
    /// Its firmware.
    pub firmware: String,
    /// Sessions that are open.
    pub sessions: Vec<String>,
    /// The registered key of its meter.
    #[serde(default)]
    pub meter_key: Option<MeterKeyRow>,
}
}

described! {
/// The public key of a charger's meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterKeyRow {
    /// A short name: the first half of the SHA-256 of the key, in hexadecimal.
    pub id: String,
    /// The key as a SubjectPublicKeyInfo in DER, in hexadecimal.
    pub der: String,
    /// Whether signatures of its curve are verified here (P-256, P-384).
    pub is_verifiable: bool,
}
}

impl MeterKeyRow {
    /// Of a key.
    pub fn of(key: &MeterKey) -> MeterKeyRow {
        MeterKeyRow { id: key.id(), der: hex::encode(key.der()), is_verifiable: key.is_verifiable() }
    }
}

described! {
/// A processor that has connected at least once, also before a restart of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorRow {
    /// Its id.
    pub id: String,
    /// Connections that are up.
    pub connections: usize,
    /// Operations that wait for an answer.
    pub in_flight: usize,
    /// Operations sent, repetitions included.
    pub sent: u64,
    /// Answers received, repetitions included.
    pub answers: u64,
    /// Operations that no connection could take.
    pub not_sent: u64,
    /// Whether it gets no new holds: its own wish, or an operator's.
    pub draining: bool,
    /// Kinds of operations that are not sent now, because they failed.
    #[serde(default)]
    pub breakers_open: Vec<String>,
}
}

described! {
/// One processor in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessorSheet {
    /// `wattstile.processor/1`
    pub schema: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: ProcessorRow,
    /// Operations that were not answered in time.
    pub overdue: u64,
    /// Its declaration at its last connection.
    pub takes: Option<Declared>,
    /// Its priority among those that match; none: there are no rules.
    pub priority: Option<u16>,
    /// Its share among those of the same place.
    pub weight: Option<u16>,
}
}

described! {
/// What a processor declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Kinds of operations.
    pub kinds: Vec<String>,
    /// Kinds of credentials.
    pub credentials: Vec<String>,
    /// Currencies.
    pub currencies: Vec<String>,
    /// How long it recognises a repetition, in seconds.
    pub replay_s: i64,
    /// Whether a repetition after an error is worked on again.
    pub replay_after_error_safe: bool,
    /// Most increments of one hold.
    pub increments_max: u8,
    /// How much more than authorized may be captured, in percent.
    pub overcapture_percent: u8,
    /// Whether less than requested may be approved.
    pub partial_approval: bool,
    /// Whether several captures of one hold are possible.
    pub multiple_captures: bool,
    /// Validity of a hold, in seconds.
    pub hold_validity_s: i64,
    /// Most unanswered operations on one connection.
    pub inflight_max: u32,
}
}

described! {
/// One hold in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldSheet {
    /// `wattstile.hold/1`
    pub schema: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: HoldRow,
    /// How its session stands.
    pub session_state: String,
    /// Given back.
    pub refunded: Decimal,
    /// Its operations, in order.
    pub operations: Vec<OperationRow>,
    /// The history of its payment, with sources and times.
    #[serde(default)]
    pub timeline: Vec<TimelineRow>,
    /// Whether the history is full, so that later repetitions and inquiries are missing.
    #[serde(default)]
    pub timeline_is_cut: bool,
}
}

described! {
/// One operation in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationSheet {
    /// `wattstile.operation/1`
    pub schema: String,
    /// Its session.
    pub session: String,
    /// Its currency.
    pub currency: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: OperationRow,
    /// Its history, with sources and times.
    #[serde(default)]
    pub timeline: Vec<TimelineRow>,
    /// Whether the history is full, so that later repetitions and inquiries are missing.
    #[serde(default)]
    pub timeline_is_cut: bool,
}
}

described! {
/// Funds that are reserved, or being requested or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// Its id: that of its authorization.
    pub id: String,
    /// The session.
    pub session: String,
    /// Where.
    pub processor: String,
    /// The processor's name for it.
    pub reference: Option<String>,
    /// Its state.
    pub state: String,
    /// Reserved, in major units.
    pub authorized: Decimal,
    /// Taken.
    pub captured: Decimal,
    /// The currency.
    pub currency: String,
    /// When it lapses.
    pub expires_at: String,
}
}

impl Views {
    /// Every charger that ever sent Hello, in the order of ids; those whose id begins so.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn chargers(&self, start: &str, page: &Page<String>) -> Result<Paged<String, ChargerRow>, Unanswered> {
        let start = start.to_owned();
        let rows = self.first(page, |part| query::Chargers { start: start.clone(), part })?;
        let rows = rows.into_iter().map(|(id, found)| {
            let row = charger(&id, &found);
            (id, row)
        });
        Ok(Paged::cut(rows.collect(), page.limit, None))
    }

    /// Processors of a running gate, in the order of ids.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn processors(&self, page: &Page<String>) -> Result<Paged<String, ProcessorRow>, Unanswered> {
        let Some(directory) = self.directory() else { return Ok(Paged { items: Vec::new(), next: None }) };
        let actors = directory.processors();
        let routes = directory.node_config().routing.routes();
        let known: BTreeSet<&ProcessorId> = actors.keys().chain(routes.registry.processors.keys()).collect();
        let mut first = First::behind(page.after.as_deref(), page.limit);
        known.into_iter().for_each(|id| first.offer(id.as_str(), id));
        let Paged { items, next } = Paged::cut(first.into_sorted(), page.limit, None);
        let asked: Vec<_> =
            items.iter().filter_map(|id| actors.get(*id)).map(|actor| report(directory, actor)).collect();
        let of = asked.len();
        let answers = asked.into_iter().flatten().filter_map(|asker| asker.wait().ok()).map(|known| processor(&known));
        let reported: Vec<ProcessorRow> = Gathered { answers: answers.collect(), whom: PROCESSORS, of }.whole()?;
        let mut reported: BTreeMap<String, ProcessorRow> =
            reported.into_iter().map(|row| (row.id.clone(), row)).collect();
        let rows = items.into_iter().map(|id| {
            let mut row = reported.remove(id.as_str()).unwrap_or_else(|| ProcessorRow::absent(id));
            row.draining |= routes.registry.drained.contains(id);
            row
        });
        Ok(Paged { items: rows.collect(), next: next.map(str::to_owned) })
    }

    /// Every processor of a running gate: there are few, and metrics tell of all.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn all_processors(&self) -> Result<Vec<ProcessorRow>, Unanswered> {
        let (mut page, mut rows) = (Page::first(LIST_ITEMS_MAX), Vec::new());
        loop {
            let Paged { items, next } = self.processors(&page)?;
            rows.extend(items);
            match next {
                Some(_) => page.after = next,
                None => return Ok(rows),
            }
        }
    }

    /// Holds that have not ended, in the order of ids.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn holds(&self, page: &Page<OpId>) -> Result<Paged<OpId, HoldRow>, Unanswered> {
        self.page_of(page, |part| query::Holds { part }, |hold| hold_row(&hold))
    }
}

impl Views {
    /// One processor of a running gate.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn processor(&self, id: &ProcessorId) -> Result<Option<ProcessorSheet>, Unanswered> {
        let Some(directory) = self.directory() else { return Ok(None) };
        let actors = directory.processors();
        let routes = directory.node_config().routing.routes();
        let (mut row, capabilities, overdue) = match actors.get(id) {
            Some(actor) => {
                let answers = report(directory, actor).and_then(|asker| asker.wait().ok()).into_iter().collect();
                let Some(known) = (Gathered { answers, whom: PROCESSORS, of: 1 }).whole()?.pop() else {
                    return Ok(None);
                };
                (processor(&known), known.capabilities, known.counts.overdue)
            }
            None => {
                let Some(known) = routes.registry.processors.get(id) else { return Ok(None) };
                (ProcessorRow::absent(id), Some(known.capabilities.clone()), 0)
            }
        };
        row.draining |= routes.registry.drained.contains(id);
        let rule = routes.registry.rules.iter().find(|rule| rule.processor == *id);
        Ok(Some(ProcessorSheet {
            schema: "wattstile.processor/1".to_owned(),
            row,
            overdue,
            takes: capabilities.as_ref().map(Declared::of),
            priority: rule.map(|rule| rule.priority),
            weight: rule.map(|rule| rule.weight),
        }))
    }

    /// One hold, ended or not: of a live session or an archived one, or of a top-up.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn hold(&self, id: OpId) -> Result<Option<HoldSheet>, Unanswered> {
        let Some((payment, owner)) = self.payment(id.payment())? else { return Ok(None) };
        let payment = &payment;
        let Some(hold) = payment.hold(Ordinal(id.ordinal())) else { return Ok(None) };
        let operations = operations(payment).into_iter().filter(|row| row.hold_id == id.to_string()).collect();
        Ok(Some(HoldSheet {
            schema: "wattstile.hold/1".to_owned(),
            row: hold_row(&HoldSummary::of(payment, hold)),
            session_state: owner,
            refunded: Amount::new(hold.refunded_minor, payment.currency()).major(),
            operations,
            timeline: timeline::of_payment(payment),
            timeline_is_cut: payment.history_is_full(),
        }))
    }

    /// One operation, of a live session or an archived one, or of a top-up.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn operation(&self, id: OpId) -> Result<Option<OperationSheet>, Unanswered> {
        let Some((payment, _)) = self.payment(id.payment())? else { return Ok(None) };
        let row = operations(&payment).into_iter().find(|row| row.id == id.to_string());
        Ok(row.map(|row| OperationSheet {
            schema: "wattstile.operation/1".to_owned(),
            session: payment.id().to_string(),
            currency: payment.currency().code().to_owned(),
            row,
            timeline: timeline::of_operation(&payment, Ordinal(id.ordinal())),
            timeline_is_cut: payment.history_is_full(),
        }))
    }
}

/// Asks a processor's actor for its figures; `None`: it cannot be asked now.
fn report(directory: &Directory, actor: &Addr<ProcessorActor>) -> Option<Asker<ProcessorFigures>> {
    let asker = directory.replies().asker(PROCESSOR_TIMEOUT).ok()?;
    actor.try_send(Report(asker.to())).ok()?;
    Some(asker)
}

impl ProcessorRow {
    /// One that has not connected since the gate began.
    fn absent(id: &ProcessorId) -> ProcessorRow {
        ProcessorRow {
            id: id.to_string(),
            connections: 0,
            in_flight: 0,
            sent: 0,
            answers: 0,
            not_sent: 0,
            draining: false,
            breakers_open: Vec::new(),
        }
    }
}

pub(super) fn charger(id: &str, found: &ChargerSummary) -> ChargerRow {
    let connectors = found.connectors.iter().map(|(id, power_max, state)| {
        let status = state.map_or("unknown".to_owned(), |state| format!("{state:?}").to_lowercase());
        format!("{id}: {} kW, {status}", power_max.kw())
    });
    ChargerRow {
        id: id.to_owned(),
        online: found.online,
        connectors: connectors.collect(),
        firmware: found.firmware.to_string(),
        sessions: found.sessions.iter().map(ToString::to_string).collect(),
        meter_key: found.meter_key.as_deref().and_then(|der| MeterKey::read(der).ok()).map(|key| MeterKeyRow::of(&key)),
    }
}

fn hold_row(found: &HoldSummary) -> HoldRow {
    let (currency, hold) = (found.currency, &found.hold);
    let major = |minor| Amount::new(minor, currency).major();
    HoldRow {
        id: found.id.to_string(),
        session: found.payment.to_string(),
        processor: hold.processor().to_string(),
        reference: hold.processor_ref.as_ref().map(|name| name.0.to_string()),
        state: hold_state(hold.stage).to_owned(),
        authorized: major(hold.authorized_minor),
        captured: major(hold.captured_minor),
        currency: currency.code().to_owned(),
        expires_at: hold.expires_at.to_string(),
    }
}

impl Declared {
    fn of(capabilities: &Capabilities) -> Declared {
        Declared {
            kinds: capabilities.kinds.iter().map(|kind| words(*kind)).collect(),
            credentials: capabilities.credentials.iter().map(|kind| format!("{kind:?}")).collect(),
            currencies: capabilities.currencies.iter().map(|currency| currency.code().to_owned()).collect(),
            replay_s: capabilities.idempotent_replay.whole_secs(),
            replay_after_error_safe: capabilities.replay_after_error_safe,
            increments_max: capabilities.increments_max,
            overcapture_percent: capabilities.overcapture_percent,
            partial_approval: capabilities.partial_approval,
            multiple_captures: capabilities.multiple_captures,
            hold_validity_s: capabilities.hold_validity.whole_secs(),
            inflight_max: capabilities.inflight_max,
        }
    }
}

/// A kind of operation, as one word.
pub(super) fn words(kind: OperationKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn processor(known: &ProcessorFigures) -> ProcessorRow {
    ProcessorRow {
        id: known.id.to_string(),
        connections: known.connections,
        in_flight: known.in_flight,
        sent: known.counts.sent,
        answers: known.counts.answers,
        not_sent: known.counts.not_sent,
        draining: known.draining,
        breakers_open: known.breakers_open.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect(),
    }
}

//! Sessions: the list, and one in full.

use super::timeline;
use super::views::{Unanswered, Views};
use crate::accounting::dossier::{self, Dossier};
use crate::billing::{BillingError, ReceiptLine, receipt_lines};
use crate::host::wall_clock;
use crate::node::shard::Shard;
use crate::payment::{Ending, Final, OperationKind, Ordinal, Payment, Phase};
use crate::session::{Session, Stage};
use crate::tariff::Tariff;
use crate::units::{Amount, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Which sessions are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    /// One of [`SESSION_STATES`].
    pub state: Option<String>,
    /// The beginning of a charger's id.
    pub charger: Option<String>,
    /// The beginning of the session's id.
    pub id: Option<String>,
    /// At most so many, the newest first.
    pub limit: Option<usize>,
}

/// The states by which sessions are listed. A refused session is a closed one that was never admitted.
pub const SESSION_STATES: [&str; 5] = ["authorizing", "charging", "settling", "closed", REFUSED];
const REFUSED: &str = "refused";

/// Most sessions of one list.
const ROWS_MAX: usize = 10_000;
const ROWS: usize = 50;

/// One session in a list. Money in major units of the currency, energy in kWh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: String,
    /// The charger.
    pub charger: String,
    /// The connector.
    pub connector: u16,
    /// How the credential is shown.
    pub credential: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it ended.
    pub end_reason: Option<String>,
    /// Energy that is billed.
    pub energy_kwh: Decimal,
    /// Readings recorded.
    pub readings: u32,
    /// The exact cost, VAT included.
    pub cost: Decimal,
    /// Reserved now.
    pub held: Decimal,
    /// Taken.
    pub captured: Decimal,
    /// The currency.
    pub currency: String,
    /// Whether it is in the archive.
    pub archived: bool,
    /// Whether it ended before energy was given, because it was not admitted.
    #[serde(default)]
    pub refused: bool,
}

impl SessionRow {
    /// Where it stands, as a list shows it: a refused session is no closed one.
    pub fn shown_state(&self) -> &str {
        if self.refused && self.state == "closed" { REFUSED } else { &self.state }
    }
}

/// One session in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSheet {
    /// `wattstile.session/1`
    pub schema: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: SessionRow,
    /// The tariff's id.
    pub tariff: String,
    /// SHA-256 of its text.
    pub tariff_sha256: String,
    /// The charger's time zone.
    pub zone: String,
    /// The register at the start and at the last reading, in kWh.
    pub register_kwh: [Decimal; 2],
    /// Readings that were recorded and rejected as implausible.
    pub suspects: u16,
    /// What was priced, in order.
    pub lines: Vec<ReceiptLine>,
    /// The exact cost without VAT.
    pub net: Decimal,
    /// VAT per rate: percent and exact amount.
    pub vat: Vec<(Option<Decimal>, Decimal)>,
    /// The exact cost with VAT.
    pub gross: Decimal,
    /// What the driver pays (or would pay if it ended now): rounded once.
    pub payable: Decimal,
    /// Given free again.
    pub released: Decimal,
    /// Owed and not taken.
    pub shortfall: Decimal,
    /// The most that it may cost by now.
    pub limit: Option<Decimal>,
    /// When every hold had ended.
    pub settled_at: Option<String>,
    /// What was asked of processors, in order.
    pub operations: Vec<OperationRow>,
    /// Whether a signed receipt exists.
    pub receipt: bool,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub kind: String,
    /// Of whom.
    pub processor: String,
    /// The amount.
    pub amount: Decimal,
    /// Where it stands, or how it ended.
    pub state: String,
    /// When it was asked.
    pub requested_at: Option<String>,
    /// When its outcome was known.
    #[serde(default)]
    pub answered_at: Option<String>,
    /// The processor's name for the hold.
    pub reference: Option<String>,
    /// How the hold stands.
    pub hold: String,
    /// The hold: the id of its authorization.
    #[serde(default)]
    pub hold_id: String,
}

impl Views {
    /// The sessions that fit, the newest first.
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<SessionRow>, Unanswered> {
        let limit = filter.limit.unwrap_or(ROWS).min(ROWS_MAX);
        let wanted = filter.clone();
        let live = self.ask(move |shard| rows(shard, &wanted, limit));
        let mut rows: Vec<SessionRow> = live.whole()?.into_iter().flatten().collect();
        if filter.state.as_deref().is_none_or(|state| state == "closed" || state == REFUSED) {
            rows.extend(self.archived_rows(filter, limit)?);
        }
        rows.sort_by(|a, b| b.id.cmp(&a.id).then(a.archived.cmp(&b.archived)));
        rows.dedup_by(|a, b| a.id == b.id);
        rows.truncate(limit);
        Ok(rows)
    }

    /// What is known of a session, live or archived.
    pub(super) fn state(&self, id: SessionId) -> Result<Option<Session>, Unanswered> {
        let home = id.partition();
        let live = self.ask_home(home, move |shard| shard.session(id).map(|hosted| hosted.state().clone())).found()?;
        match live {
            Some(live) => Ok(Some(live)),
            None => Ok(self.archived(id)?.map(|dossier| dossier.session)),
        }
    }

    /// The payment of a session, live or archived, or of a top-up; and how its owner stands.
    pub(super) fn payment(&self, id: SessionId) -> Result<Option<(Payment, String)>, Unanswered> {
        if let Some(session) = self.state(id)? {
            let standing = state(&session).to_owned();
            return Ok(Some((session.payment, standing)));
        }
        let found = self.ask_home(id.partition(), move |shard| {
            let mut partitions = shard.partitions().iter();
            partitions
                .find_map(|partition| partition.top_ups.known.get(&id))
                .map(|top_up| (top_up.payment.clone(), format!("top-up of {}", top_up.account)))
        });
        found.found()
    }

    /// One session, live or archived.
    pub fn session(&self, id: SessionId) -> Result<Option<SessionSheet>, Unanswered> {
        let live = self.ask_home(id.partition(), move |shard| {
            shard.session(id).map(|hosted| sheet(hosted.state(), hosted.tariff(), false))
        });
        if let Some(live) = live.found()? {
            return Ok(Some(live?));
        }
        let Some(Dossier { session, tariff, receipt, .. }) = self.archived(id)? else { return Ok(None) };
        let tariff = Tariff::parse_pinned(&tariff)
            .map_err(|error| Unanswered::Tariff { session: id, error: Box::new(error) })?;
        Ok(Some(SessionSheet { receipt: receipt.is_some(), ..sheet(&session, &tariff, true)? }))
    }

    /// The newest archived sessions that fit. Looks at the last minutes first, and at all of them only when it must.
    fn archived_rows(&self, filter: &Filter, limit: usize) -> Result<Vec<SessionRow>, Unanswered> {
        let now = wall_clock().unix_ms();
        let mut found: VecDeque<SessionRow> = VecDeque::new();
        for minutes in [10, 360, 10_080, i64::MAX / 60_000] {
            found.clear();
            let from = Timestamp::from_unix_ms(now.saturating_sub(minutes.saturating_mul(60_000)));
            self.each_archived(from, &mut |dossier| {
                if !fits(&dossier.session, filter) {
                    return true;
                }
                found.push_back(row(&dossier.session, None, true));
                if found.len() > limit {
                    found.pop_front();
                }
                true
            })?;
            if found.len() >= limit {
                break;
            }
        }
        Ok(found.into())
    }
}

fn rows(shard: &Shard, filter: &Filter, limit: usize) -> Vec<SessionRow> {
    let mut found: Vec<SessionRow> = Vec::new();
    for partition in shard.partitions() {
        for (_, hosted) in partition.sessions.iter().filter(|(_, hosted)| fits(hosted.state(), filter)) {
            found.push(row(hosted.state(), Some(hosted.tariff()), false));
        }
        if found.len() > limit {
            found.sort_by(|a, b| b.id.cmp(&a.id));
            found.truncate(limit);
        }
    }
    found
}

fn fits(session: &Session, filter: &Filter) -> bool {
    let Filter { state: wanted, charger, id, limit: _ } = filter;
    wanted.as_deref().is_none_or(|wanted| wanted == state(session) || (wanted == REFUSED && is_refused(session)))
        && charger.as_deref().is_none_or(|start| session.charger.as_str().starts_with(start))
        && id.as_deref().is_none_or(|start| {
            let text = session.id.to_string();
            text.starts_with(start) || text.trim_start_matches("ses_").starts_with(start)
        })
}

pub(super) fn state(session: &Session) -> &'static str {
    match session.stage {
        Stage::Authorizing => "authorizing",
        Stage::Charging { .. } => "charging",
        Stage::Settling(_) => "settling",
        Stage::Closed(_) => "closed",
    }
}

/// Whether it ended without having been admitted.
fn is_refused(session: &Session) -> bool {
    matches!(&session.stage, Stage::Closed(ended) if !ended.admitted)
}

fn row(session: &Session, tariff: Option<&Tariff>, archived: bool) -> SessionRow {
    let ended = session.ended();
    let running = || tariff.and_then(|tariff| session.rating.total(tariff).ok()).map(|total| total.incl_vat);
    let cost = ended.map(|ended| ended.cost).or_else(running);
    SessionRow {
        id: session.id.to_string(),
        state: state(session).to_owned(),
        charger: session.charger.to_string(),
        connector: session.connector.0,
        credential: session.fingerprint.to_string(),
        started_at: session.opened_at.to_string(),
        ended_at: ended.map(|ended| ended.at.to_string()),
        end_reason: ended.map(|ended| dossier::in_words(ended.reason).to_owned()),
        energy_kwh: session.meter.energy().kwh(),
        readings: session.meter.sequence,
        cost: cost.map(|cost| cost.major()).unwrap_or_default(),
        held: session.payment.authorized().major(),
        captured: session.payment.captured().major(),
        currency: session.payment.currency().code().to_owned(),
        archived,
        refused: is_refused(session),
    }
}

fn sheet(session: &Session, tariff: &Tariff, archived: bool) -> Result<SessionSheet, BillingError> {
    let closed = dossier::closed(session, tariff)?;
    Ok(SessionSheet {
        schema: "wattstile.session/1".to_owned(),
        row: row(session, Some(tariff), archived),
        tariff: tariff.id().to_string(),
        tariff_sha256: tariff.hash().to_string(),
        zone: session.zone.to_string(),
        register_kwh: [session.meter.first.kwh(), session.meter.register.kwh()],
        suspects: session.meter.suspects,
        lines: receipt_lines(&closed)?,
        net: closed.net.major(),
        vat: closed.vat.iter().map(|rate| (rate.percent, rate.vat.major())).collect(),
        gross: closed.gross.major(),
        payable: closed.payable.major(),
        released: closed.payment.released.major(),
        shortfall: closed.payment.shortfall.major(),
        limit: match &session.stage {
            Stage::Charging { limit, .. } => Some(limit.major()),
            Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => None,
        },
        settled_at: session.settled_at().map(|at| at.to_string()),
        operations: operations(&session.payment),
        receipt: false,
    })
}

pub(super) fn operations(payment: &Payment) -> Vec<OperationRow> {
    let row = |number: Ordinal, kind: OperationKind, hold: Ordinal, minor, state: String| {
        let (requested_at, answered_at) = timeline::asked_and_answered(payment, number);
        let id = payment.operation_id(number);
        let hold_id = payment.operation_id(hold).to_string();
        let hold = payment.hold(hold);
        OperationRow {
            id: id.to_string(),
            hold_id,
            kind: format!("{kind:?}").to_lowercase(),
            processor: hold.map(|hold| hold.processor().to_string()).unwrap_or_default(),
            amount: Amount::new(minor, payment.currency()).major(),
            state,
            requested_at: requested_at.map(|at| at.to_string()),
            answered_at: answered_at.map(|at| at.to_string()),
            reference: hold.and_then(|hold| hold.processor_ref.as_ref()).map(|name| name.0.to_string()),
            hold: hold.map(|hold| hold_state(hold.stage).to_owned()).unwrap_or_default(),
        }
    };
    let past = payment.past_operations().iter().map(|past| {
        let ended = match past.result {
            Final::Approved => "approved",
            Final::Declined => "declined",
            Final::NotExecuted => "not executed",
            Final::GivenUp => "given up",
            Final::Superseded => "superseded",
            Final::Undone => "undone",
        };
        row(past.number, past.kind, past.hold, past.amount_minor, ended.to_owned())
    });
    let live = payment.live_operations().iter().map(|live| {
        let standing = match live.phase {
            Phase::Asked => "asked".to_owned(),
            Phase::Queued => "waits for a connection".to_owned(),
            Phase::Accepted { decide_by } => format!("accepted, decided by {decide_by}"),
            Phase::Unknown { cause } => format!("unknown ({cause:?})").to_lowercase(),
        };
        row(live.number, live.ask.kind(), live.hold, live.amount_minor, standing)
    });
    let mut rows: Vec<OperationRow> = past.chain(live).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// How a hold stands, in words.
pub(super) const fn hold_state(stage: crate::payment::Stage) -> &'static str {
    use crate::payment::Stage;
    match stage {
        Stage::Authorizing => "authorizing",
        Stage::StandIn { .. } => "stand-in",
        Stage::Open => "open",
        Stage::Reversing => "reversing",
        Stage::Closed(ending) => match ending {
            Ending::Declined => "declined",
            Ending::StandInLost => "stand-in lost",
            Ending::NotExecuted => "not executed",
            Ending::Reversed => "reversed",
            Ending::Voided => "voided",
            Ending::Captured => "captured",
            Ending::CaptureFailed => "capture failed",
            Ending::Expired => "expired",
        },
    }
}

//! Sessions: the list, and one in full.

use super::paging::{Page, Paged};
use super::review;
use super::timeline;
use super::views::{Unanswered, Views};
use crate::accounting::archive_record::{self, ArchiveRecord};
use crate::billing::meter_signature::{Judged, ReadingContext};
use crate::billing::{BillingError, ReceiptLine, receipt_lines};
use crate::journal::ById;
use crate::limits::LIST_SESSIONS_READ;
use crate::node::query::{self, SessionSummary, state_name};
use crate::payment::{Dispute, DisputeState, Ending, Final, OperationKind, Ordinal, Payment, Phase};
use crate::session::{Quarantine, Ruling, Session, Stage};
use crate::tariff::Tariff;
use crate::units::shape::described;
use crate::units::{Amount, PartitionId, PaymentId, SessionId, TimeSpan};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

pub use crate::node::query::{FLAGS, Filter, Newest, SESSION_STATES};

described! {
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
    /// Energy that is billed; of a session that is not paid for, what was reported and can be.
    pub energy_kwh: Decimal,
    /// Energy that is kept for review: billed by an operator's order only.
    #[serde(default)]
    pub quarantined_kwh: Option<Decimal>,
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
    /// What its charger speaks: `native`, `ocpp1.6`, `ocpp2.0.1`, `ocpp2.1`.
    #[serde(default)]
    pub protocol: String,
    /// The charger's name for it, or the number that the two know it by.
    #[serde(default)]
    pub transaction_id: String,
    /// `estimated`: it ended without its charger; `offline`: it was reported later than it was; `gap`: reports of it are missing;
    /// `quarantined`: something that was reported of it is kept for review; `signed_verified`, `signed_unverified`: what its meter
    /// signed is verified, or not all of it.
    #[serde(default)]
    pub flags: Vec<String>,
}
}

impl SessionRow {
    /// Where it stands, as a list shows it: a refused session is no closed one.
    pub fn shown_state(&self) -> &str {
        if self.refused && self.state == "closed" { "refused" } else { &self.state }
    }
}

described! {
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
    /// Operations at processors, in order.
    pub operations: Vec<OperationRow>,
    /// Disputes of what was captured, in order.
    #[serde(default)]
    pub disputes: Vec<DisputeRow>,
    /// Whether a signed receipt exists.
    pub receipt: bool,
    /// What is kept of it for review, or was.
    #[serde(default)]
    pub quarantine: Option<QuarantineRow>,
    /// What the charger's meter signed of it.
    #[serde(default)]
    pub signed_values: Vec<SignedValueRow>,
}
}

described! {
/// A value that the charger's meter signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedValueRow {
    /// `begin` or `end`.
    pub moment: String,
    /// The format, as the charger named it.
    pub encoding: String,
    /// `verified`, `no_key`, `unknown_format`, `unreadable`, `unknown_algorithm`, `forged`.
    pub verification: String,
    /// The signed text, byte for byte.
    pub data: String,
}
}

impl SignedValueRow {
    fn of(judged: &Judged) -> SignedValueRow {
        SignedValueRow {
            moment: match judged.value.moment {
                ReadingContext::Begin => "begin".to_owned(),
                ReadingContext::End => "end".to_owned(),
            },
            encoding: judged.value.encoding.to_string(),
            verification: judged.verification.name().to_owned(),
            data: judged.value.data.to_string(),
        }
    }
}

described! {
/// What is kept of a session for review, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// Why.
    pub cause: String,
    /// What was decided on it: `released`, `dropped` or `adopted`; none: nothing yet.
    pub ruling: Option<String>,
    /// When.
    pub ruled_at: Option<String>,
    /// The energy that was billed then, in kWh.
    pub released_kwh: Option<Decimal>,
    /// The session that it is part of.
    pub adopted_by: Option<String>,
}
}

described! {
/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its id.
    pub id: String,
    /// The kind of request.
    pub kind: String,
    /// The processor.
    pub processor: String,
    /// The amount.
    pub amount: Decimal,
    /// Where it stands, or how it ended.
    pub state: String,
    /// When it was requested.
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
}

described! {
/// Money that an issuer took back from a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeRow {
    /// The hold that was captured: the id of its authorization.
    pub hold_id: String,
    /// The amount.
    pub amount: Decimal,
    /// `open`, `won` (the money came back) or `lost`.
    pub state: String,
}
}

/// How much earlier the gate may have begun a session than its charger's clock says.
const LATE_MAX: TimeSpan = TimeSpan::from_secs(-24 * 3_600);

impl Views {
    /// Sessions, the newest first: live ones and archived ones.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn sessions(&self, filter: &Filter, page: &Page<Newest>) -> Result<Paged<Newest, SessionRow>, Unanswered> {
        let Some(mut within) = ids(filter) else { return Ok(Paged { items: Vec::new(), next: None }) };
        if let Some(since) = filter.since {
            // An id has the gate's time of the start, which is later than the charger's by what the message took.
            within.0 = within.0.max(SessionId::new(since.saturating_add(LATE_MAX), PartitionId(0), 0));
        }
        // Live ones first: what is archived meanwhile is then seen twice, and never not at all.
        let live = self.first(page, |part| query::Sessions { filter: filter.clone(), part })?;
        let mut found: Vec<(Newest, SessionRow)> = live.iter().map(|(id, live)| (*id, row(live, false))).collect();
        let mut until = None;
        if filter.takes_closed() {
            // What is older than a page of live ones is not on it.
            let oldest = found.get(page.limit).map_or(within.0, |(Reverse(id), _)| (*id).max(within.0));
            let behind = match (page.after, within.1) {
                (Some(Reverse(after)), Some(end)) => Some(after.min(end)),
                (Some(Reverse(after)), None) => Some(after),
                (None, end) => end,
            };
            until = self.archived_rows(filter, page.limit, (oldest, behind), &mut found)?;
        }
        found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.archived.cmp(&b.1.archived)));
        found.dedup_by_key(|(id, _)| *id);
        Ok(Paged::cut(found, page.limit, until))
    }

    /// The state of a session, live or archived.
    pub(super) fn state(&self, id: SessionId) -> Result<Option<Session>, Unanswered> {
        match self.ask_home(id.partition(), query::SessionNamed(id)).found()? {
            Some(live) => Ok(Some(live.session)),
            None => Ok(self.archived(id)?.map(|archive_record| archive_record.session)),
        }
    }

    /// The payment of a session, live or archived, or of a top-up, with the state of its owner.
    pub(super) fn payment(&self, id: PaymentId) -> Result<Option<(Payment, String)>, Unanswered> {
        if let Some(session) = self.state(id.session())? {
            let standing = state_name(&session).to_owned();
            return Ok(Some((session.payment, standing)));
        }
        let found = self.ask_home(id.partition(), query::TopUpPayment(id)).found()?;
        Ok(found.map(|found| {
            let (payment, account) = *found;
            (payment, format!("top-up of {account}"))
        }))
    }

    /// One session, live or archived.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn session(&self, id: SessionId) -> Result<Option<SessionSheet>, Unanswered> {
        if let Some(live) = self.ask_home(id.partition(), query::SessionNamed(id)).found()? {
            return Ok(Some(sheet(&live.session, &live.tariff, false)?));
        }
        let Some(ArchiveRecord { session, tariff, receipt, .. }) = self.archived(id)? else { return Ok(None) };
        let tariff = Tariff::parse_pinned(&tariff)
            .map_err(|error| Unanswered::Tariff { session: id, error: Box::new(error) })?;
        Ok(Some(SessionSheet { receipt: receipt.is_some(), ..sheet(&session, &tariff, true)? }))
    }

    /// Finds the newest archived sessions that fit, from before `behind` down to `oldest`, and one more than a page has.
    /// Returns the last one that was read, if there are more and enough were read.
    fn archived_rows(
        &self,
        filter: &Filter,
        limit: usize,
        (oldest, behind): (SessionId, Option<SessionId>),
        found: &mut Vec<(Newest, SessionRow)>,
    ) -> Result<Option<Newest>, Unanswered> {
        let (mut fitting, mut read) = (0, 0);
        for id in self.archived_ids(behind, ById::NewestFirst) {
            let id = id?;
            if id < oldest || fitting > limit {
                break;
            }
            let Some(archive_record) = self.archived(id)? else { continue };
            if filter.fits(&archive_record.session) {
                found.push((Reverse(id), row(&SessionSummary::of(&archive_record.session, None), true)));
                fitting += 1;
            }
            read += 1;
            if read == LIST_SESSIONS_READ && fitting <= limit {
                return Ok(Some(Reverse(id)));
            }
        }
        Ok(None)
    }
}

/// The ids that begin as they are to: from the first one to before the second one; `None`: there can be none.
fn ids(filter: &Filter) -> Option<(SessionId, Option<SessionId>)> {
    let all = (SessionId::from_u128(0), None);
    let Some(start) = filter.id.as_deref() else { return Some(all) };
    if "ses_".starts_with(start) {
        return Some(all);
    }
    let digits = start.strip_prefix("ses_").unwrap_or(start);
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let open = 32_usize.checked_sub(digits.len()).filter(|_| is_hex)?;
    let open = u32::try_from(open).ok()?.saturating_mul(4);
    let begun = u128::from_str_radix(digits, 16).ok()?.checked_shl(open).unwrap_or(0);
    let last = begun | 1_u128.checked_shl(open).map_or(u128::MAX, |next| next - 1);
    let behind = SessionId::from_u128(last).as_u128().checked_add(1 << 16).map(SessionId::from_u128);
    Some((SessionId::from_u128(begun), behind))
}

fn row(session: &SessionSummary, archived: bool) -> SessionRow {
    let ended = session.ended.as_ref();
    SessionRow {
        id: session.id.to_string(),
        state: session.state.to_owned(),
        charger: session.charger.to_string(),
        connector: session.connector.0,
        credential: session.credential.clone(),
        started_at: session.opened_at.to_string(),
        ended_at: ended.map(|ended| ended.at.to_string()),
        end_reason: ended.map(|ended| archive_record::in_words(ended.reason).to_owned()),
        energy_kwh: session.energy.kwh(),
        quarantined_kwh: session.kept.map(crate::units::Energy::kwh),
        readings: session.readings,
        cost: session.cost.map(|cost| cost.major()).unwrap_or_default(),
        held: session.held.major(),
        captured: session.captured.major(),
        currency: session.held.currency.code().to_owned(),
        archived,
        refused: session.is_refused,
        protocol: session.protocol.to_string(),
        transaction_id: session.transaction.clone(),
        flags: session.flags.iter().map(|flag| (*flag).to_owned()).collect(),
    }
}

fn sheet(session: &Session, tariff: &Tariff, archived: bool) -> Result<SessionSheet, BillingError> {
    let closed = archive_record::closed(session, tariff)?;
    Ok(SessionSheet {
        schema: "wattstile.session/1".to_owned(),
        row: row(&SessionSummary::of(session, Some(tariff)), archived),
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
        disputes: disputes(&session.payment),
        receipt: false,
        quarantine: session.quarantine().map(quarantine),
        signed_values: session.signed().iter().map(SignedValueRow::of).collect(),
    })
}

fn quarantine(of: Quarantine) -> QuarantineRow {
    let ruling = of.ruled.map(|ruled| ruled.ruling);
    QuarantineRow {
        cause: of.cause.as_str().to_owned(),
        ruling: ruling.map(|ruling| review::word(ruling).to_owned()),
        ruled_at: of.ruled.map(|ruled| ruled.at.to_string()),
        released_kwh: match ruling {
            Some(Ruling::Released(energy)) => Some(energy.kwh()),
            Some(Ruling::Dropped | Ruling::Adopted(_)) | None => None,
        },
        adopted_by: match ruling {
            Some(Ruling::Adopted(session)) => Some(session.to_string()),
            Some(Ruling::Released(_) | Ruling::Dropped) | None => None,
        },
    }
}

fn disputes(payment: &Payment) -> Vec<DisputeRow> {
    let row = |dispute: &Dispute| DisputeRow {
        hold_id: payment.operation_id(dispute.hold).to_string(),
        amount: Amount::new(dispute.amount_minor, payment.currency()).major(),
        state: match dispute.state {
            DisputeState::Open => "open",
            DisputeState::Won => "won",
            DisputeState::Lost => "lost",
        }
        .to_owned(),
    };
    payment.disputes().map(row).collect()
}

/// The operations of a payment, in their order.
pub fn operations(payment: &Payment) -> Vec<OperationRow> {
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

/// The state of a hold, as text.
pub const fn hold_state(stage: crate::payment::Stage) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn ids_that_begin_alike_lie_in_one_range() {
        let times = [1_763_833_500_123, 1_763_833_500_124, 1_763_833_600_000, 1, 281_474_976_710_655];
        let sessions = times.map(|ms| SessionId::new(Timestamp::from_unix_ms(ms), PartitionId(513), 0xabc));
        for text in sessions.map(|id| id.to_string()) {
            for start in (0..=text.len()).map(|end| &text[..end]).chain((4..=text.len()).map(|end| &text[4..end])) {
                let filter = Filter { id: Some(start.to_owned()), ..Filter::default() };
                let (first, behind) = ids(&filter).expect("there are such ids");
                for id in sessions {
                    let begins = id.to_string().starts_with(start) || id.to_string()[4..].starts_with(start);
                    let is_within = first <= id && behind.is_none_or(|behind| id < behind);
                    assert_eq!(is_within, begins, "{id} {start}");
                }
            }
        }
        for start in ["x", "ses_g", "0198C", "ses_0198c 1", &"0".repeat(33)] {
            let filter = Filter { id: Some(start.to_owned()), ..Filter::default() };
            assert_eq!(ids(&filter), None, "{start}");
        }
    }
}

//! Log lines about sessions: subject, object and amounts are fields of their own, so that a log can be searched by
//! them.
//!
//! The log itself bounds the number of lines that peers cause.

use crate::account::DebitCause;
use crate::accounting::archive_record::in_words;
use crate::message::Code;
use crate::metrics::SESSIONS_DOUBTFUL;
use crate::payment::{Alarm, Payment};
use crate::session::{Event, Opening, Session};
use crate::units::{AccountId, Amount, ChargerId, OpId, SessionKey};

/// A session was opened.
pub(super) fn begun(opening: &Opening, tariff: &str) {
    let Opening { id, charger, connector, key, .. } = opening;
    tracing::info!(session = %id, %charger, connector = connector.0, key = key.0, tariff, "a session begins");
}

/// Logs a session's new fact, if operators need it.
pub(super) fn session(event: &Event, session: &Session) {
    let Session { id, charger, .. } = session;
    match event {
        Event::Ended(ended) if ended.admitted => {
            let (readings, energy_wh) = (session.meter.sequence, session.meter.energy().microwatt_hours() / 1_000_000);
            let (amount_minor, currency) = (ended.payable.minor, ended.payable.currency.code());
            tracing::info!(session = %id, %charger, reason = ?ended.reason, readings, energy_wh, amount_minor, currency, "a session ends");
            doubted(session);
        }
        Event::Ended(ended) => {
            doubted(session);
            let why = in_words(ended.reason);
            tracing::info!(session = %id, %charger, reason = ?ended.reason, why, "a session is refused");
        }
        Event::Closed { .. } => {
            let captured = session.payment.captured();
            let (amount_minor, currency) = (captured.minor, captured.currency.code());
            tracing::info!(session = %id, %charger, amount_minor, currency, "a session is settled");
        }
        Event::Quarantined { cause, .. } => {
            tracing::warn!(session = %id, %charger, ?cause, "a session is not paid for: its energy is kept for review");
        }
        Event::Ruled(ruled) => {
            tracing::info!(session = %id, %charger, ruling = %ruled.ruling, "energy that was kept for review is decided on");
        }
        Event::Opened(_)
        | Event::Metered(_)
        | Event::RegisterJumped(_)
        | Event::Suspected { .. }
        | Event::Admitted { .. }
        | Event::StopAsked { .. }
        | Event::Payment(_)
        | Event::Restored(_)
        | Event::Corrected(_)
        | Event::Presented(_)
        | Event::Continued { .. }
        | Event::Noted(_)
        | Event::Signed(_)
        | Event::Decided(_) => {}
    }
}

/// Logs the end of a session with suspect readings: its cost may be less than the energy was worth.
fn doubted(session: &Session) {
    let Session { id, charger, meter, .. } = session;
    if !meter.is_doubtful() {
        return;
    }
    SESSIONS_DOUBTFUL.counter(&[]).increment(1);
    let (rejected, readings) = (meter.suspects, meter.sequence);
    let unbilled_wh = meter.unbilled().map(|energy| energy.microwatt_hours() / 1_000_000);
    tracing::warn!(session = %id, %charger, rejected, readings, unbilled_wh, "readings of a session were not believed: look at it");
}

/// A charger's start was refused before there was a session.
pub(super) fn start_refused(charger: &ChargerId, key: SessionKey, code: Code, reason: &dyn std::fmt::Display) {
    tracing::warn!(%charger, key = key.0, code = code.number(), "a start is refused: {reason}");
}

/// The money of a session, or of a top-up, needs people: `charger` is `None` for a top-up.
pub(super) fn alarm(payment: &Payment, charger: Option<&ChargerId>, operation: OpId, alarm: Alarm) {
    let owner = operation.payment();
    let (session, top_up) = match charger {
        Some(_) => (Some(owner.to_string()), None),
        None => (None, Some(owner.to_string())),
    };
    let found = payment.find_operation(operation);
    let processor = found.map(|found| found.hold.processor().to_string());
    let kind = found.map(|found| format!("{:?}", found.kind));
    let amount_minor = alarm.amount().map(|amount| amount.minor).or(found.map(|found| found.amount_minor));
    let (charger, currency) = (charger.map(ToString::to_string), payment.currency().code());
    let held_minor = payment.authorized().minor;
    if let Alarm::DisputeWon(_) = alarm {
        tracing::info!(session, top_up, charger, processor, %operation, kind, amount_minor, currency, "{alarm}");
        return;
    }
    let of = if charger.is_some() { "session" } else { "top-up" };
    tracing::warn!(
        session, top_up, charger, processor, %operation, kind, amount_minor, currency, held_minor,
        "the money of a {of} needs a look: {alarm}"
    );
}

/// An account was debited for what a top-up has lost after it was credited; `paid_minor` is left, below zero when the
/// account owes it.
pub(super) fn debited(account: &AccountId, (operation, amount): (OpId, Amount), cause: DebitCause, paid_minor: i64) {
    let (top_up, amount_minor, currency) = (operation.payment(), amount.minor, amount.currency.code());
    let owes_minor = paid_minor.min(0).saturating_neg();
    tracing::warn!(
        %account, %top_up, %operation, amount_minor, currency, paid_minor, owes_minor, cause = cause.as_str(),
        "an account is debited: money that a card paid onto it is lost"
    );
}

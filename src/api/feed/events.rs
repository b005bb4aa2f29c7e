//! Events: what observers get of durable facts, and how each event follows from one.
//!
//! An event is made of its fact alone, so it is the same on every delivery. Its id is a digest of what it is about: the same
//! whether it is made from the log or, later, from the archive.

use crate::account;
use crate::accounting::archive_record::in_words;
use crate::api::Unanswered;
use crate::billing::invoice;
use crate::billing::reconciliation::lay::Verdict;
use crate::billing::reconciliation::register;
use crate::charger;
use crate::node::certificates;
use crate::node::fact::Fact;
use crate::payment::history::{HistoryEntry, HistoryKind};
use crate::payment::{self, OperationKind, Ordinal, Payment, known_processor};
use crate::session::{self, Ended, Session};
use crate::units::shape::described;
use crate::units::{Amount, Currency, PartitionId, PaymentId, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Every type of event with its meaning. The manual lists the same.
pub const EVENT_TYPES: &[(&str, &str)] = &[
    ("session.started", "a session exists"),
    (
        "session.updated",
        "it is admitted, has another limit, is ordered to stop, is kept for review, or no more energy is billed",
    ),
    ("session.settled", "every hold of it has ended"),
    ("session.corrected", "it ended otherwise than its last known total"),
    ("authorization.approved", "funds are reserved"),
    ("authorization.declined", "a hold was refused"),
    ("authorization.unknown", "the outcome of an authorization is not known yet"),
    ("hold.increased", "more is reserved"),
    ("hold.released", "nothing is reserved any longer"),
    ("hold.expired", "a hold lapsed"),
    ("capture.succeeded", "money was taken"),
    ("capture.failed", "a capture was refused, or failed after all"),
    ("refund.succeeded", "money was given back"),
    ("refund.failed", "a refund was refused, or failed after all"),
    ("dispute.opened", "an issuer took money back"),
    ("dispute.won", "disputed money came back"),
    ("dispute.lost", "disputed money did not come back"),
    ("receipt.issued", "the receipt of a session is final"),
    ("invoice.issued", "an invoice or a credit note has its number"),
    ("account.opened", "an account exists"),
    ("account.topped_up", "paid money was credited"),
    ("account.promoted", "promotional money was granted"),
    ("account.debited", "money of a top-up was taken back"),
    ("account.limit_changed", "the credit limit is another one"),
    ("account.closed", "an account takes nothing more"),
    ("charger.online", "a charger is connected"),
    ("charger.offline", "a charger has not been connected for a minute"),
    ("charger.faulted", "a connector reports a fault"),
    ("charger.recovered", "a connector reports its fault no longer"),
    ("processor.up", "a processor is connected"),
    ("processor.down", "a processor has not been connected for ten seconds"),
    ("processor.draining", "a processor gets no new holds"),
    ("processor.resumed", "a processor gets new holds again"),
    ("certificate.expiring", "a certificate in use has 30, 14, 7 or 1 days left, or has expired"),
    ("reconciliation.differs", "lines of a settlement batch differ from ours, or fit nothing"),
    ("reconciliation.reverted", "a settlement batch is taken back"),
    ("feed.gap", "facts before a time are in no log any more: before it, only events of sessions are not missing"),
];

described! {
/// One event. Money in major units. Members that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `wattstile.event/1`
    pub schema: String,
    /// The same on every delivery.
    pub id: String,
    /// The type.
    pub r#type: String,
    /// When, by the gate's clock; of a session's start by the charger's.
    pub at: String,
    /// Where the feed goes on behind it: the parameter `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The partition of its fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u16>,
    /// The place of its fact in the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The session, or the top-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The charger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charger: Option<String>,
    /// The connector of the charger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<u16>,
    /// The operation at a processor, or on an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// What a certificate is, or whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// When the certificate expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The settlement batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The number of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Decimal>,
    /// The currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What was owed and not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Decimal>,
    /// Lines of a batch that differ, or fit nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The processor's code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
}

impl Event {
    /// An event about something, by the part of it that makes it one of its kind.
    fn about(kind: &str, subject: impl Display, part: impl Display, at: Timestamp) -> Event {
        let text = format!("{kind}|{subject}|{part}|{}", at.unix_ms());
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        Event {
            schema: "wattstile.event/1".to_owned(),
            id: format!("evt_{}", hex::encode(&digest.as_ref()[..16])),
            r#type: kind.to_owned(),
            at: at.to_string(),
            ..Event::default()
        }
    }

    fn with_amount(self, amount: Amount) -> Event {
        Event { amount: Some(amount.major()), currency: Some(amount.currency.code().to_owned()), ..self }
    }

    /// What is missing before a time.
    pub(super) fn gap(before: Timestamp) -> Event {
        Event::about("feed.gap", "feed", "", before)
    }
}

/// Returns the kind of an operation that a fact does not tell.
pub(super) type KindOf<'a> = dyn Fn(PaymentId, Ordinal) -> Result<Option<OperationKind>, Unanswered> + 'a;

/// The events that follow from a fact.
///
/// # Errors
/// The kind of an operation cannot be found out now.
pub(super) fn of_fact(partition: PartitionId, fact: &Fact<'_>, kind_of: &KindOf<'_>) -> Result<Vec<Event>, Unanswered> {
    Ok(match fact {
        Fact::Session(id, session::Event::Payment(event)) => {
            of_payment(id.payment(), event, kind_of)?.into_iter().collect()
        }
        Fact::Session(id, event) => of_session_fact(*id, event),
        Fact::TopUp(id, account::TopUpEvent::Payment(event)) => of_payment(*id, event, kind_of)?.into_iter().collect(),
        Fact::Account(id, event) => of_account(id.as_str(), event).into_iter().collect(),
        Fact::Billing(_, invoice::Event::Finalized { issued, .. }) => vec![of_document(issued)],
        Fact::Settlement(event) => of_settlement(partition, event).into_iter().collect(),
        Fact::Processor(event) => of_processor(event).into_iter().collect(),
        Fact::Charger(id, event) => of_charger(id.as_str(), event).into_iter().collect(),
        Fact::Certificate(event) => vec![of_certificate(event)],
        Fact::Billing(..) | Fact::TopUp(..) | Fact::TariffPinned(..) | Fact::Document(_) => Vec::new(),
    })
}

fn of_session_fact(id: SessionId, event: &session::Event) -> Vec<Event> {
    use session::Event as Fact;
    let about = |kind: &str, part: &str, at: Timestamp| Event {
        session: Some(id.to_string()),
        ..Event::about(kind, id, part, at)
    };
    match event {
        Fact::Opened(opening) => vec![started(id, opening.charger.as_str(), opening.at)],
        Fact::Admitted { limit, at } => {
            vec![Event {
                reason: Some("limit".to_owned()),
                ..about("session.updated", "limit", *at).with_amount(*limit)
            }]
        }
        Fact::StopAsked { reason, at } => {
            vec![Event { reason: Some(in_words(*reason).to_owned()), ..about("session.updated", "stop", *at) }]
        }
        Fact::Ended(ended) => vec![over("session.updated", id, ended)],
        Fact::Corrected(ended) => vec![over("session.corrected", id, ended)],
        Fact::Closed { at } => vec![closed("session.settled", id, *at), closed("receipt.issued", id, *at)],
        Fact::Quarantined { at, .. } => {
            vec![Event { reason: Some("kept for review".to_owned()), ..about("session.updated", "kept", *at) }]
        }
        Fact::Ruled(ruled) => {
            vec![Event { reason: Some("review is over".to_owned()), ..about("session.updated", "ruled", ruled.at) }]
        }
        Fact::Payment(_)
        | Fact::Metered(_)
        | Fact::RegisterJumped(_)
        | Fact::Suspected { .. }
        | Fact::Decided(_)
        | Fact::Presented(_)
        | Fact::Continued { .. }
        | Fact::Noted(_)
        | Fact::Signed(_)
        | Fact::Restored(_) => Vec::new(),
    }
}

fn started(id: SessionId, charger: &str, at: Timestamp) -> Event {
    Event {
        session: Some(id.to_string()),
        charger: Some(charger.to_owned()),
        ..Event::about("session.started", id, "", at)
    }
}

fn over(kind: &str, id: SessionId, ended: &Ended) -> Event {
    Event {
        session: Some(id.to_string()),
        reason: Some(in_words(ended.reason).to_owned()),
        ..Event::about(kind, id, "ended", ended.known_at).with_amount(ended.payable)
    }
}

fn closed(kind: &str, id: SessionId, at: Timestamp) -> Event {
    Event { session: Some(id.to_string()), ..Event::about(kind, id, "", at) }
}

/// The event of a fact about money: that of its entry in the payment's history.
fn of_payment(id: PaymentId, event: &payment::Event, kind_of: &KindOf<'_>) -> Result<Option<Event>, Unanswered> {
    let entry = event.entry();
    let asks =
        matches!(entry.kind, HistoryKind::Unknown(_) | HistoryKind::NotExecuted(_) | HistoryKind::LateApproval { .. });
    let kind = match event.operation_kind() {
        None if asks => kind_of(id, entry.operation)?,
        kind => kind,
    };
    Ok(of_entry(id, &entry, kind, event.currency()))
}

/// The kind of an operation of a payment.
pub(super) fn kind_in(payment: &Payment, number: Ordinal) -> Option<OperationKind> {
    let past = payment.past_operations().iter().map(|past| (past.number, past.kind));
    let live = payment.live_operations().iter().map(|live| (live.number, live.ask.kind()));
    past.chain(live).find(|(known, _)| *known == number).map(|(_, kind)| kind)
}

/// The event of an entry of a payment's history.
fn of_entry(
    id: PaymentId,
    entry: &HistoryEntry,
    kind: Option<OperationKind>,
    currency: Option<Currency>,
) -> Option<Event> {
    use HistoryKind as Fact;
    use OperationKind as Kind;
    let HistoryEntry { at, operation, kind: fact } = entry;
    let (name, minor, code) = match (fact, kind) {
        (Fact::Approved { amount_minor, .. }, Some(Kind::Authorize)) => ("authorization.approved", *amount_minor, None),
        (Fact::LateApproval { amount_minor, .. }, Some(Kind::Authorize)) => {
            ("authorization.approved", Some(*amount_minor), None)
        }
        (Fact::Declined { code, .. }, Some(Kind::Authorize)) => ("authorization.declined", None, Some(code)),
        (Fact::NotExecuted(_) | Fact::GivenUp(_), Some(Kind::Authorize)) => ("authorization.declined", None, None),
        (Fact::Unknown(_), Some(Kind::Authorize)) => ("authorization.unknown", None, None),
        (Fact::Approved { amount_minor, .. }, Some(Kind::Increment)) => ("hold.increased", *amount_minor, None),
        (Fact::Approved { .. }, Some(Kind::Void)) => ("hold.released", None, None),
        (Fact::Expired { .. }, _) => ("hold.expired", None, None),
        (Fact::Approved { amount_minor, .. }, Some(Kind::Capture)) => ("capture.succeeded", *amount_minor, None),
        (Fact::LateApproval { amount_minor, .. }, Some(Kind::Capture)) => {
            ("capture.succeeded", Some(*amount_minor), None)
        }
        (Fact::Declined { code, .. }, Some(Kind::Capture)) => ("capture.failed", None, Some(code)),
        (Fact::CaptureReversed { amount_minor }, _) => ("capture.failed", Some(*amount_minor), None),
        (Fact::Approved { amount_minor, .. }, Some(Kind::Refund)) => ("refund.succeeded", *amount_minor, None),
        (Fact::LateApproval { amount_minor, .. }, Some(Kind::Refund)) => {
            ("refund.succeeded", Some(*amount_minor), None)
        }
        (Fact::Declined { code, .. }, Some(Kind::Refund)) => ("refund.failed", None, Some(code)),
        (Fact::RefundReversed { amount_minor }, _) => ("refund.failed", Some(*amount_minor), None),
        (Fact::DisputeOpened { amount_minor }, _) => ("dispute.opened", Some(*amount_minor), None),
        (Fact::DisputeClosed { amount_minor, won: true }, _) => ("dispute.won", Some(*amount_minor), None),
        (Fact::DisputeClosed { amount_minor, won: false }, _) => ("dispute.lost", Some(*amount_minor), None),
        _ => return None,
    };
    let about = id.operation(operation.0);
    let event = Event {
        session: Some(id.to_string()),
        operation: Some(about.to_string()),
        code: code.map(ToString::to_string),
        ..Event::about(name, about, "", *at)
    };
    Some(match (minor, currency) {
        (Some(minor), Some(currency)) => event.with_amount(Amount::new(minor, currency)),
        _ => event,
    })
}

fn of_document(issued: &invoice::Issued) -> Event {
    Event {
        session: Some(issued.document.id.payment().session().to_string()),
        number: Some(issued.number.to_string()),
        ..Event::about("invoice.issued", &issued.number, "", issued.at).with_amount(issued.document.total)
    }
}

fn of_account(id: &str, event: &account::Event) -> Option<Event> {
    use account::Event as Fact;
    let (kind, at, op, amount) = match event {
        Fact::Opened { at, op, credit_limit, .. } => ("account.opened", at, op, *credit_limit),
        Fact::ToppedUp { at, op, amount, .. } => ("account.topped_up", at, op, *amount),
        Fact::PromotionGranted { at, op, amount, .. } => ("account.promoted", at, op, *amount),
        Fact::CreditLimitSet { at, op, limit } => ("account.limit_changed", at, op, *limit),
        Fact::Closed { at, op, paid_out, .. } => ("account.closed", at, op, *paid_out),
        Fact::Debited { at, op, amount, .. } => ("account.debited", at, op, *amount),
        Fact::HoldPlaced { .. }
        | Fact::Refused { .. }
        | Fact::HoldAdjusted { .. }
        | Fact::Captured { .. }
        | Fact::Released { .. }
        | Fact::Reversed { .. }
        | Fact::Refunded { .. }
        | Fact::PromotionExpired { .. }
        | Fact::CredentialLinked { .. }
        | Fact::CredentialUnlinked { .. } => return None,
    };
    Some(Event {
        account: Some(id.to_owned()),
        operation: Some(op.to_string()),
        ..Event::about(kind, id, op, *at).with_amount(amount)
    })
}

fn of_processor(event: &known_processor::Event) -> Option<Event> {
    use known_processor::Event as Fact;
    let drains = |on: bool| if on { "processor.draining" } else { "processor.resumed" };
    let (kind, part, at) = match event {
        Fact::DrainOrdered { on, at, .. } => (drains(*on), "", at),
        Fact::DrainWished { on, at, .. } => (drains(*on), "its own wish", at),
        Fact::Connected { at, .. } => ("processor.up", "", at),
        Fact::Disconnected { at, .. } => ("processor.down", "", at),
        Fact::Declared { .. } => return None,
    };
    let processor = event.processor();
    let reason = (!part.is_empty()).then(|| part.to_owned());
    Some(Event { processor: Some(processor.to_string()), reason, ..Event::about(kind, processor, part, *at) })
}

fn of_charger(id: &str, event: &charger::Event) -> Option<Event> {
    use charger::Event as Fact;
    let (kind, connector, at) = match event {
        Fact::WentOnline { at } => ("charger.online", None, at),
        Fact::WentOffline { at } => ("charger.offline", None, at),
        Fact::Faulted { connector, at } => ("charger.faulted", Some(connector.0), at),
        Fact::Recovered { connector, at } => ("charger.recovered", Some(connector.0), at),
        Fact::Described(_)
        | Fact::SessionOpened { .. }
        | Fact::SessionEnded { .. }
        | Fact::SessionClosed { .. }
        | Fact::SessionContinued { .. }
        | Fact::StartRefused { .. }
        | Fact::MeterKeyRegistered { .. } => return None,
    };
    let part = connector.map(|connector| connector.to_string()).unwrap_or_default();
    Some(Event { charger: Some(id.to_owned()), connector, ..Event::about(kind, id, part, *at) })
}

fn of_certificate(event: &certificates::Event) -> Event {
    let certificates::Event::Expiring { name, not_after, days, at } = event;
    let reason = match days {
        0 => "it has expired".to_owned(),
        1 => "it has at most 1 day left".to_owned(),
        days => format!("it has at most {days} days left"),
    };
    Event {
        certificate: Some(name.to_string()),
        expires: Some(not_after.to_string()),
        reason: Some(reason),
        ..Event::about("certificate.expiring", name, format!("{}|{days}", not_after.unix_ms()), *at)
    }
}

fn of_settlement(partition: PartitionId, event: &register::Event) -> Option<Event> {
    match event {
        register::Event::Booked(booking) => {
            let differs = |verdict: &&Verdict| {
                matches!(verdict, Verdict::Differs { .. } | Verdict::Extra(_) | Verdict::SetAside(_))
            };
            let lines = u64::try_from(booking.verdicts.iter().filter(differs).count()).unwrap_or(u64::MAX);
            let at = booking.entries.first().map_or(Timestamp::default(), crate::ledger::Entry::at);
            let part = format!("{}|{}|{}|{}", booking.batch, booking.revision, booking.part, partition.0);
            (lines > 0).then(|| Event {
                processor: Some(booking.processor.to_string()),
                batch: Some(booking.batch.to_string()),
                lines: Some(lines),
                ..Event::about("reconciliation.differs", &booking.processor, part, at)
            })
        }
        register::Event::RevertOrdered(reverting) => Some(Event {
            processor: Some(reverting.processor.to_string()),
            batch: Some(reverting.batch.to_string()),
            reason: Some(reverting.reason.to_string()),
            ..Event::about("reconciliation.reverted", &reverting.processor, &reverting.batch, reverting.at)
        }),
        register::Event::Received(..) | register::Event::Expired(_) | register::Event::Reverted(_) => None,
    }
}

/// The events of a session's whole life that its state still tells, from a time on: those of the log with the same ids.
pub(in crate::api) fn of_session(session: &Session, since: Timestamp) -> Vec<Event> {
    let (id, payment) = (session.id, &session.payment);
    let mut events = Vec::new();
    if session.opened_at >= since || id.begun() >= since {
        events.push(started(id, session.charger.as_str(), session.opened_at));
    }
    let entries = payment.history().filter(|entry| entry.at >= since);
    let of_operations = entries.filter_map(|entry| {
        of_entry(id.payment(), &entry, kind_in(payment, entry.operation), Some(payment.currency()))
    });
    events.extend(of_operations);
    if let Some(ended) = session.ended().filter(|ended| ended.known_at >= since) {
        events.push(over("session.updated", id, ended));
    }
    if let Some(at) = session.settled_at().filter(|at| *at >= since) {
        events.extend([closed("session.settled", id, at), closed("receipt.issued", id, at)]);
    }
    events.extend(session.documents().iter().filter(|issued| issued.at >= since).map(of_document));
    events
}

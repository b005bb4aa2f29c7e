//! The history of an operation, with sources and times.
//!
//! Every line is a fact of the log. Messages of the gate were sent only when their line was durable, and messages of
//! a processor were acknowledged only then.

use super::resources::words;
use crate::payment::history::{HistoryEntry, HistoryKind, HistorySource};
use crate::payment::{NotExecutedCause, OperationKind, Ordinal, Payment, UnknownCause};
use crate::units::shape::described;
use crate::units::{Amount, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

described! {
/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// When, by the gate's clock.
    pub at: String,
    /// Milliseconds since the first line.
    pub after_ms: i64,
    /// The source: `gate`, `session`, or the processor's id.
    pub by: String,
    /// The operation that it is about; none: the payment as a whole.
    pub operation: Option<String>,
    /// The kind of entry, as one word that does not change.
    pub what: String,
    /// The same as text.
    pub text: String,
    /// The sending that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u16>,
    /// The amount that was requested or acted on, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Decimal>,
    /// The processor's code, or the number of a discrepancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether it is the answer to an inquiry.
    #[serde(default)]
    pub by_inquiry: bool,
}
}

/// The whole of a payment's history, in order.
pub(super) fn of_payment(payment: &Payment) -> Vec<TimelineRow> {
    rows(payment, |_| true)
}

/// The history of one operation. Notifications about the hold belong to the operation that they undo or dispute.
pub(super) fn of_operation(payment: &Payment, number: Ordinal) -> Vec<TimelineRow> {
    let past = || payment.past_operations().iter().map(|past| (past.number, past.kind, past.hold));
    let live = || payment.live_operations().iter().map(|live| (live.number, live.ask.kind(), live.hold));
    let found = past().chain(live()).find(|(found, _, _)| *found == number);
    rows(payment, |moment| match (&moment.kind, found) {
        (
            HistoryKind::CaptureReversed { .. } | HistoryKind::DisputeOpened { .. } | HistoryKind::DisputeClosed { .. },
            Some(found),
        ) => found.1 == OperationKind::Capture && found.2 == moment.operation,
        (HistoryKind::RefundReversed { .. }, Some(found)) => {
            found.1 == OperationKind::Refund && found.2 == moment.operation
        }
        _ => moment.operation == number,
    })
}

/// When an operation was requested, and when it had its outcome.
pub(super) fn asked_and_answered(payment: &Payment, number: Ordinal) -> (Option<Timestamp>, Option<Timestamp>) {
    let of = || payment.history().filter(|moment| moment.operation == number);
    let asked = of().find(|moment| matches!(moment.kind, HistoryKind::Asked { .. })).map(|moment| moment.at);
    let ended = payment.past_operations().iter().any(|past| past.number == number);
    let is_outcome = |happened: &HistoryKind| {
        matches!(
            happened,
            HistoryKind::Approved { .. }
                | HistoryKind::Declined { .. }
                | HistoryKind::NothingThere { .. }
                | HistoryKind::NotExecuted(_)
        ) || matches!(happened, HistoryKind::GivenUp(_) | HistoryKind::Abandoned | HistoryKind::LateApproval { .. })
    };
    let answered = of().filter(|moment| ended && is_outcome(&moment.kind)).map(|moment| moment.at).next();
    (asked, answered)
}

fn rows(payment: &Payment, wanted: impl Fn(&HistoryEntry) -> bool) -> Vec<TimelineRow> {
    let mut attempts = std::collections::BTreeMap::new();
    let mut first = None;
    let mut rows = Vec::new();
    for moment in payment.history() {
        let sent = attempts.entry(moment.operation).or_insert(1);
        if let HistoryKind::AskedAgain { attempt } = moment.kind {
            *sent = attempt;
        }
        if wanted(&moment) {
            let since = *first.get_or_insert(moment.at);
            rows.push(row(payment, &moment, *sent, since));
        }
    }
    rows
}

fn row(payment: &Payment, entry: &HistoryEntry, attempt: u16, first: Timestamp) -> TimelineRow {
    let HistoryEntry { at, operation, kind: happened } = entry;
    let major = |minor: i64| Amount::new(minor, payment.currency()).major();
    let processor = processor(payment, *operation);
    let by = match happened.by() {
        HistorySource::Gate => "gate".to_owned(),
        HistorySource::Processor => processor.clone(),
        HistorySource::Owner => "session".to_owned(),
    };
    let (what, text, amount, code) = described(happened, &kind(payment, *operation), &processor, attempt, major);
    TimelineRow {
        at: at.to_string(),
        after_ms: at.since(first).ms(),
        by,
        operation: (operation.0 != 0).then(|| payment.operation_id(*operation).to_string()),
        what: what.to_owned(),
        text,
        attempt: matches!(happened, HistoryKind::Asked { .. } | HistoryKind::AskedAgain { .. }).then_some(attempt),
        amount,
        code,
        by_inquiry: is_found_by_inquiry(happened),
    }
}

type Described = (&'static str, String, Option<Decimal>, Option<String>);

fn described(
    happened: &HistoryKind,
    kind: &str,
    processor: &str,
    attempt: u16,
    major: impl Fn(i64) -> Decimal,
) -> Described {
    let after_inquiry = if is_found_by_inquiry(happened) { ", as an inquiry found out" } else { "" };
    let plain = |what, text: String| (what, text, None, None);
    match happened {
        HistoryKind::Asked { amount_minor } => {
            let amount = major(*amount_minor);
            ("asked", format!("asks {processor}: {kind} {amount} (attempt 1)"), Some(amount), None)
        }
        HistoryKind::AskedAgain { .. } => {
            plain("asked_again", format!("asks {processor} again, under the same id (attempt {attempt})"))
        }
        HistoryKind::Inquired { binding } => {
            let bound = if *binding { "; \"not found\" will mean never" } else { "" };
            plain("inquired", format!("asks {processor} what became of it{bound}"))
        }
        HistoryKind::Unknown(cause) => {
            let why = match cause {
                UnknownCause::Silence => "no answer in time",
                UnknownCause::ConnectionLost => "the connection broke while it was on its way",
                UnknownCause::Error => "the processor failed and left it open",
                UnknownCause::Restart => "the gate was restarted; it may or may not have been sent",
                UnknownCause::Mismatch => "the answer contradicted it",
            };
            plain("unknown", format!("the outcome is not known: {why}"))
        }
        HistoryKind::Queued => plain("queued", "it did not leave the gate, and waits for a connection".to_owned()),
        HistoryKind::Accepted { decide_by, .. } => {
            plain("accepted", format!("took it in, to be decided by {decide_by}{after_inquiry}"))
        }
        HistoryKind::Approved { amount_minor, .. } => {
            let amount = amount_minor.map(&major);
            let shown = amount.map(|amount| format!(": {amount}")).unwrap_or_default();
            ("approved", format!("{kind} approved{shown}{after_inquiry}"), amount, None)
        }
        HistoryKind::Declined { class, code, .. } => {
            let class = format!("{class:?}").to_lowercase();
            ("declined", format!("{kind} declined: {class}, code {code}{after_inquiry}"), None, Some(code.to_string()))
        }
        HistoryKind::NothingThere { .. } => {
            plain("nothing_there", format!("knows nothing that could be released{after_inquiry}"))
        }
        HistoryKind::NotExecuted(NotExecutedCause::NotSent) => {
            plain("not_executed", "it did not leave the gate, and will not".to_owned())
        }
        HistoryKind::NotExecuted(NotExecutedCause::NotFound) => {
            plain("not_executed", "it never reached the processor, and cannot any more".to_owned())
        }
        HistoryKind::GivenUp(_) => plain("given_up", "it is not waited for any longer, and reversed".to_owned()),
        HistoryKind::LateApproval { amount_minor, .. } => {
            let amount = major(*amount_minor);
            ("late_approval", format!("{kind} approved after all: {amount}{after_inquiry}"), Some(amount), None)
        }
        HistoryKind::SetAside(discrepancy) => {
            let number = discrepancy.number().to_string();
            ("set_aside", format!("an answer was set aside: {discrepancy} ({number})"), None, Some(number))
        }
        HistoryKind::Repeated { callback } => {
            let text = format!("the same answer came again (callback {:032x}); nothing changed", callback.0);
            plain("repeated", text)
        }
        HistoryKind::Escalated => plain("escalated", "a person was called; attempts go on".to_owned()),
        HistoryKind::Abandoned => plain("abandoned", "it cannot be found out; another takes its place".to_owned()),
        HistoryKind::WindowPassed { percent } => {
            plain("window_passed", format!("{percent} % of the time in which it can succeed have passed"))
        }
        HistoryKind::Expiring { expires_at } => plain("expiring", format!("the hold lapses at {expires_at}")),
        HistoryKind::Expired { reported: true } => plain("expired", "the hold lapsed".to_owned()),
        HistoryKind::Expired { reported: false } => plain("expired", "the hold lapsed, by its age".to_owned()),
        HistoryKind::CaptureReversed { amount_minor } => {
            let amount = major(*amount_minor);
            ("capture_reversed", format!("the capture failed after all: {amount}"), Some(amount), None)
        }
        HistoryKind::RefundReversed { amount_minor } => {
            let amount = major(*amount_minor);
            ("refund_reversed", format!("the refund failed after all: {amount}"), Some(amount), None)
        }
        HistoryKind::DisputeOpened { amount_minor } => {
            let amount = major(*amount_minor);
            ("dispute_opened", format!("the issuer took back {amount}"), Some(amount), None)
        }
        HistoryKind::DisputeClosed { amount_minor, won } => {
            let amount = major(*amount_minor);
            let how = if *won { "won" } else { "lost" };
            ("dispute_closed", format!("the dispute over {amount} is {how}"), Some(amount), None)
        }
        HistoryKind::CaptureOrdered { owed_minor, last } => {
            let amount = major(*owed_minor);
            let how = if *last { "the rest is released" } else { "the hold stays" };
            ("capture_ordered", format!("{amount} is owed and to be taken; {how}"), Some(amount), None)
        }
        HistoryKind::ReleaseOrdered(_) => {
            plain("release_ordered", "nothing is owed; everything is to be released".to_owned())
        }
        HistoryKind::Settled { captured_minor, shortfall_minor } => {
            let (taken, short) = (major(*captured_minor), major(*shortfall_minor));
            ("settled", format!("every hold has ended: {taken} taken, {short} owed and not taken"), Some(taken), None)
        }
    }
}

fn is_found_by_inquiry(happened: &HistoryKind) -> bool {
    match happened {
        HistoryKind::Accepted { inquiry, .. }
        | HistoryKind::Approved { inquiry, .. }
        | HistoryKind::Declined { inquiry, .. }
        | HistoryKind::NothingThere { inquiry }
        | HistoryKind::LateApproval { inquiry, .. } => *inquiry,
        HistoryKind::NotExecuted(cause) => *cause == NotExecutedCause::NotFound,
        _ => false,
    }
}

fn kind(payment: &Payment, number: Ordinal) -> String {
    let past = payment.past_operations().iter().find(|past| past.number == number).map(|past| past.kind);
    let live = || payment.live_operations().iter().find(|live| live.number == number).map(|live| live.ask.kind());
    past.or_else(live).map(words).unwrap_or_default()
}

fn processor(payment: &Payment, number: Ordinal) -> String {
    let past = payment.past_operations().iter().find(|past| past.number == number).map(|past| past.hold);
    let live = || payment.live_operations().iter().find(|live| live.number == number).map(|live| live.hold);
    let hold = payment.hold(past.or_else(live).unwrap_or(number));
    hold.map(|hold| hold.processor().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        self, Answer, CallbackId, Command, Credential, CredentialKind, Effect, Extent, HoldCapabilities, Operation,
        Outcome, Policy, ProcessorRef,
    };
    use crate::units::{Currency, Mono, Now, PartitionId, PaymentId, ProcessorId, TimeSpan};

    struct Payer {
        payment: Payment,
        now: Now,
        sent: Vec<Operation>,
    }

    impl Payer {
        fn new() -> Payer {
            let wall = Timestamp::parse_rfc3339("2026-11-22T14:03:07Z").unwrap();
            let id = PaymentId::new(wall, PartitionId(1), 7);
            let now = Now { wall, mono: Mono(1_000) };
            Payer { payment: Payment::new(id, Currency::EUR), now, sent: Vec::new() }
        }

        fn send(&mut self, command: Command) {
            let decided = payment::decide(&self.payment, command, self.now, &Policy::default());
            decided.events.iter().for_each(|event| payment::apply(&mut self.payment, event));
            self.payment.arm(self.now, &Policy::default());
            self.sent.extend(decided.effects.into_iter().filter_map(|effect| match effect {
                Effect::Send(operation) => Some(operation),
                _ => None,
            }));
        }

        fn later(&mut self, ms: i64) {
            let span = TimeSpan::from_ms(ms);
            self.now = Now { wall: self.now.wall.saturating_add(span), mono: self.now.mono.after(span) };
        }

        fn answer(&mut self, callback: u128, minor: i64) {
            let operation = self.sent.last().expect("something was sent").clone();
            let amount = Amount::new(minor, Currency::EUR);
            let processor_ref = ProcessorRef("8841".into());
            let outcome = Outcome::Approved { amount, processor_ref, expires_at: None };
            let callback = CallbackId(callback);
            let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
            self.send(Command::Answer { from: operation.processor, answer });
        }
    }

    #[test]
    fn a_timeline_says_who_said_what_when() {
        let mut payer = Payer::new();
        payer.send(Command::Authorize {
            processor: ProcessorId::new("acme-cards").unwrap(),
            capabilities: HoldCapabilities::of(&crate::account::capabilities(vec![Currency::EUR])),
            credential: Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() },
            amount: Amount::new(4_500, Currency::EUR),
            partial_ok: false,
        });
        payer.later(8_000);
        payer.send(Command::Tick);
        payer.later(81);
        payer.answer(1, 4_500);
        payer.later(5);
        payer.answer(1, 4_500);
        payer.send(Command::Capture { owed: Amount::new(960, Currency::EUR), extent: Extent::Final });
        let rows = of_operation(&payer.payment, Ordinal(1));
        let described: Vec<_> = rows.iter().map(|row| (row.after_ms, &*row.by, &*row.what, row.attempt)).collect();
        assert_eq!(
            described,
            [
                (0, "gate", "asked", Some(1)),
                (8_000, "gate", "unknown", None),
                (8_000, "gate", "asked_again", Some(2)),
                (8_081, "acme-cards", "approved", None),
                (8_086, "acme-cards", "repeated", None),
            ]
        );
        assert_eq!(rows[0].text, "asks acme-cards: authorize 45.00 (attempt 1)");
        assert_eq!(rows[0].at, "2026-11-22T14:03:07Z");
        assert_eq!(rows[3].text, "authorize approved: 45.00");
        let (asked, answered) = asked_and_answered(&payer.payment, Ordinal(1));
        assert_eq!(answered.unwrap().since(asked.unwrap()).ms(), 8_081);
        let whole: Vec<String> = of_payment(&payer.payment).into_iter().skip(5).map(|row| row.text).collect();
        assert_eq!(
            whole,
            ["9.60 is owed and to be taken; the rest is released", "asks acme-cards: capture 9.60 (attempt 1)"]
        );
    }
}

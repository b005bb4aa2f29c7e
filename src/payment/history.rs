//! History of a payment's operations with times: kept in the payment itself, so that it is available after its log
//! was trimmed.
//!
//! Millions of payments are resident, most with two or three operations, so a history is one allocation with some ten
//! bytes for an entry. It is bounded: a void may be repeated for weeks, and beyond [`HISTORY_BYTES`] repetitions,
//! inquiries and time-outs are no longer recorded. The request and the end of an operation always are.

use super::{
    CallbackId, Decline, DeclineClass, Discrepancy, Event, NotExecutedCause, Ordinal, UnknownCause, VoidReason,
};
use crate::limits::HISTORY_BYTES;
use crate::stored::{Stored, stored};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// The moments of a payment, oldest first: the stored form of one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "InVersion4")]
pub struct History(Box<[u8]>);

stored!(struct History(moments));

/// The same in data of version 4: one postcard encoding after the other.
#[derive(Deserialize)]
struct InVersion4(Box<[u8]>);

impl From<InVersion4> for History {
    fn from(InVersion4(bytes): InVersion4) -> History {
        let (mut rest, mut moments) = (&*bytes, Vec::new());
        while let Ok((moment, after)) = postcard::take_from_bytes::<HistoryEntry>(rest) {
            moment.store(&mut moments);
            rest = after;
        }
        History(moments.into_boxed_slice())
    }
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, by the gate's wall clock.
    pub at: Timestamp,
    /// The operation; for a report about a hold its authorization; 0 for the payment as a whole.
    pub operation: Ordinal,
    /// What.
    pub kind: HistoryKind,
}

stored!(struct HistoryEntry { 0: at, 1: operation, 2: kind });

impl HistoryEntry {
    /// Of a fact; `attempts`: how often its operation was sent by now.
    pub(super) fn of(event: &Event, attempts: u16) -> HistoryEntry {
        let (operation, kind) = moment(event, attempts);
        HistoryEntry { at: event.at(), operation, kind }
    }
}

/// The source of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistorySource {
    /// The gate to the processor, or to itself.
    Gate,
    /// The processor to the gate.
    Processor,
    /// The owner of the payment to the gate: the session, or an operator.
    Owner,
}

/// The kind of an entry, with its data. Amounts are in minor units of the payment's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryKind {
    /// The first request.
    Asked {
        /// The requested amount; of a void the amount presumed held.
        amount_minor: i64,
    },
    /// The same again, under the same id.
    AskedAgain {
        /// Which sending.
        attempt: u16,
    },
    /// An inquiry was sent.
    Inquired {
        /// Whether "not found" will mean that it never happened.
        binding: bool,
    },
    /// The outcome became unknown.
    Unknown(UnknownCause),
    /// It did not leave the gate, and waits for a connection.
    Queued,
    /// It was taken in, to be decided later.
    Accepted {
        /// When.
        decide_by: Timestamp,
        /// Whether it is the answer to an inquiry.
        inquiry: bool,
    },
    /// Done.
    Approved {
        /// What the processor acted on; none for a void.
        amount_minor: Option<i64>,
        /// Whether it is the answer to an inquiry.
        inquiry: bool,
    },
    /// Refused.
    Declined {
        /// What that means.
        class: DeclineClass,
        /// The processor's own code.
        code: Box<str>,
        /// Whether it is the answer to an inquiry.
        inquiry: bool,
    },
    /// The processor has nothing to release.
    NothingThere {
        /// Whether it is the answer to an inquiry.
        inquiry: bool,
    },
    /// It certainly never happened.
    NotExecuted(NotExecutedCause),
    /// It was not waited for any longer.
    GivenUp(VoidReason),
    /// Done after all, after it had ended otherwise.
    LateApproval {
        /// The amount that the processor acted on.
        amount_minor: i64,
        /// Whether it is the answer to an inquiry.
        inquiry: bool,
    },
    /// An answer contradicted it, and was set aside.
    SetAside(Discrepancy),
    /// Its answer came again: noted once.
    Repeated {
        /// The message.
        callback: CallbackId,
    },
    /// A person was called.
    Escalated,
    /// It could not be found out, and another took its place.
    Abandoned,
    /// A capture, or its release, is running out of time.
    WindowPassed {
        /// How much of it has passed.
        percent: u8,
    },
    /// The hold lapses soon.
    Expiring {
        /// When.
        expires_at: Timestamp,
    },
    /// The hold lapsed.
    Expired {
        /// Whether the processor reported it; otherwise it follows from the hold's age.
        reported: bool,
    },
    /// A capture that had been approved failed after all.
    CaptureReversed {
        /// The amount.
        amount_minor: i64,
    },
    /// A refund that had been approved failed after all.
    RefundReversed {
        /// The amount.
        amount_minor: i64,
    },
    /// The issuer took money back.
    DisputeOpened {
        /// The amount.
        amount_minor: i64,
    },
    /// A dispute ended.
    DisputeClosed {
        /// The amount.
        amount_minor: i64,
        /// Whether the money was returned.
        won: bool,
    },
    /// The amount owed is to be taken.
    CaptureOrdered {
        /// Everything that is owed.
        owed_minor: i64,
        /// Whether the payment ends with it.
        last: bool,
    },
    /// Everything is to be released.
    ReleaseOrdered(VoidReason),
    /// Every hold has ended and no operation is in progress.
    Settled {
        /// The captured amount.
        captured_minor: i64,
        /// The owed amount that was not captured.
        shortfall_minor: i64,
    },
}

stored!(enum HistoryKind {
    0: Asked { 0: amount_minor },
    1: AskedAgain { 0: attempt },
    2: Inquired { 0: binding },
    3: Unknown(unknown_cause),
    4: Queued,
    5: Accepted { 0: decide_by, 1: inquiry },
    6: Approved { 0: amount_minor, 1: inquiry },
    7: Declined { 0: class, 1: code, 2: inquiry },
    8: NothingThere { 0: inquiry },
    9: NotExecuted(not_executed_cause),
    10: GivenUp(void_reason),
    11: LateApproval { 0: amount_minor, 1: inquiry },
    12: SetAside(discrepancy),
    13: Repeated { 0: callback },
    14: Escalated,
    15: Abandoned,
    16: WindowPassed { 0: percent },
    17: Expiring { 0: expires_at },
    18: Expired { 0: reported },
    19: CaptureReversed { 0: amount_minor },
    20: RefundReversed { 0: amount_minor },
    21: DisputeOpened { 0: amount_minor },
    22: DisputeClosed { 0: amount_minor, 1: won },
    23: CaptureOrdered { 0: owed_minor, 1: last },
    24: ReleaseOrdered(void_reason),
    25: Settled { 0: captured_minor, 1: shortfall_minor },
});

impl History {
    /// The moments, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = HistoryEntry> + '_ {
        let mut rest = &*self.0;
        std::iter::from_fn(move || if rest.is_empty() { None } else { HistoryEntry::load(&mut rest).ok() })
    }

    /// Whether the bound is reached, so that repetitions and inquiries are no longer recorded.
    pub fn is_full(&self) -> bool {
        self.0.len() >= HISTORY_BYTES
    }

    /// Notes a fact. `attempts`: how often its operation was sent by now.
    pub(super) fn note(&mut self, event: &Event, attempts: u16) {
        let entry = HistoryEntry::of(event, attempts);
        if self.is_full() && entry.kind.recurs() {
            return;
        }
        let mut moments = self.0.to_vec();
        entry.store(&mut moments);
        self.0 = moments.into_boxed_slice();
    }
}

impl HistoryKind {
    /// The source of the entry.
    pub fn by(&self) -> HistorySource {
        match self {
            HistoryKind::Accepted { .. }
            | HistoryKind::Approved { .. }
            | HistoryKind::Declined { .. }
            | HistoryKind::NothingThere { .. }
            | HistoryKind::LateApproval { .. }
            | HistoryKind::SetAside(_)
            | HistoryKind::Repeated { .. }
            | HistoryKind::Expired { reported: true }
            | HistoryKind::CaptureReversed { .. }
            | HistoryKind::RefundReversed { .. }
            | HistoryKind::DisputeOpened { .. }
            | HistoryKind::DisputeClosed { .. } => HistorySource::Processor,
            HistoryKind::CaptureOrdered { .. } | HistoryKind::ReleaseOrdered(_) => HistorySource::Owner,
            HistoryKind::Asked { .. }
            | HistoryKind::AskedAgain { .. }
            | HistoryKind::Inquired { .. }
            | HistoryKind::Unknown(_)
            | HistoryKind::Queued
            | HistoryKind::NotExecuted(_)
            | HistoryKind::GivenUp(_)
            | HistoryKind::Escalated
            | HistoryKind::Abandoned
            | HistoryKind::WindowPassed { .. }
            | HistoryKind::Expiring { .. }
            | HistoryKind::Expired { reported: false }
            | HistoryKind::Settled { .. } => HistorySource::Gate,
        }
    }

    /// Whether it may occur any number of times for one operation.
    fn recurs(&self) -> bool {
        matches!(
            self,
            HistoryKind::AskedAgain { .. }
                | HistoryKind::Inquired { .. }
                | HistoryKind::Unknown(_)
                | HistoryKind::Queued
        ) || matches!(self, HistoryKind::Accepted { .. } | HistoryKind::Escalated | HistoryKind::Expiring { .. })
    }
}

/// The entry of a fact, with its operation.
fn moment(event: &Event, attempts: u16) -> (Ordinal, HistoryKind) {
    let declined = |decline: &Decline, inquiry| {
        let Decline { class, code, retry_after: _ } = decline;
        HistoryKind::Declined { class: *class, code: code.clone(), inquiry }
    };
    let kind = match event {
        Event::HoldRequested { amount, .. } | Event::OperationRequested { amount, .. } => {
            HistoryKind::Asked { amount_minor: amount.minor }
        }
        Event::OperationRepeated { .. } => HistoryKind::AskedAgain { attempt: attempts },
        Event::Inquired { binding, .. } => HistoryKind::Inquired { binding: *binding },
        Event::OutcomeUnknown { cause, .. } => HistoryKind::Unknown(*cause),
        Event::Queued { .. } => HistoryKind::Queued,
        Event::Accepted { decide_by, source, .. } => {
            HistoryKind::Accepted { decide_by: *decide_by, inquiry: source.inquiry }
        }
        Event::Approved { total: amount, source, .. }
        | Event::PartiallyApproved { total: amount, source, .. }
        | Event::IncrementApproved { total: amount, source, .. }
        | Event::DecrementApproved { total: amount, source, .. }
        | Event::Captured { amount, source, .. }
        | Event::Refunded { amount, source, .. } => {
            HistoryKind::Approved { amount_minor: Some(amount.minor), inquiry: source.inquiry }
        }
        Event::Voided { source, .. } => HistoryKind::Approved { amount_minor: None, inquiry: source.inquiry },
        Event::Declined { decline, source, .. }
        | Event::IncrementDeclined { decline, source, .. }
        | Event::DecrementDeclined { decline, source, .. }
        | Event::CaptureDeclined { decline, source, .. }
        | Event::CaptureFailed { decline, source, .. }
        | Event::RefundDeclined { decline, source, .. }
        | Event::VoidRefused { decline: Some(decline), source, .. } => declined(decline, source.inquiry),
        Event::VoidRefused { decline: None, source, .. } | Event::NothingToVoid { source, .. } => {
            HistoryKind::NothingThere { inquiry: source.inquiry }
        }
        Event::NotExecuted { cause, .. } => HistoryKind::NotExecuted(*cause),
        Event::GivenUp { reason, .. } => HistoryKind::GivenUp(*reason),
        Event::LateApproval { amount, source, .. } => {
            HistoryKind::LateApproval { amount_minor: amount.minor, inquiry: source.inquiry }
        }
        Event::AnswerQuarantined { discrepancy, .. } => HistoryKind::SetAside(*discrepancy),
        Event::AnswerRepeated { source, .. } => HistoryKind::Repeated { callback: source.callback },
        Event::Escalated { .. } => HistoryKind::Escalated,
        Event::VoidAbandoned { .. } => HistoryKind::Abandoned,
        Event::CaptureWindowPassed { percent, .. } => HistoryKind::WindowPassed { percent: *percent },
        Event::HoldExpiring { expires_at, .. } => HistoryKind::Expiring { expires_at: *expires_at },
        Event::HoldExpired { source, .. } => HistoryKind::Expired { reported: source.is_some() },
        Event::CaptureReversed { amount, .. } => HistoryKind::CaptureReversed { amount_minor: amount.minor },
        Event::RefundReversed { amount, .. } => HistoryKind::RefundReversed { amount_minor: amount.minor },
        Event::DisputeOpened { amount, .. } => HistoryKind::DisputeOpened { amount_minor: amount.minor },
        Event::DisputeClosed { amount, won, .. } => {
            HistoryKind::DisputeClosed { amount_minor: amount.minor, won: *won }
        }
        Event::CaptureOrdered { owed, last, .. } => HistoryKind::CaptureOrdered { owed_minor: owed.minor, last: *last },
        Event::ReleaseOrdered { reason, .. } => HistoryKind::ReleaseOrdered(*reason),
        Event::Settled { captured, shortfall, .. } => {
            HistoryKind::Settled { captured_minor: captured.minor, shortfall_minor: shortfall.minor }
        }
    };
    (event.operation().unwrap_or_default(), kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{ProcessorRef, Source};
    use crate::units::{Amount, Currency};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_790_000_000_000 + ms)
    }

    fn approved(operation: u16, ms: i64) -> Event {
        Event::Approved {
            operation: Ordinal(operation),
            total: Amount::new(4_500, Currency::EUR),
            processor_ref: ProcessorRef("8841".into()),
            expires_at: at(0),
            source: Source { callback: CallbackId(7), digest: 9, at: at(ms), inquiry: true },
        }
    }

    #[test]
    fn what_was_said_comes_back_in_order_with_its_time() {
        let mut history = History::default();
        history.note(&Event::OperationRepeated { operation: Ordinal(1), at: at(5) }, 2);
        history.note(&approved(1, 81), 1);
        let expected = [
            HistoryEntry { at: at(5), operation: Ordinal(1), kind: HistoryKind::AskedAgain { attempt: 2 } },
            HistoryEntry {
                at: at(81),
                operation: Ordinal(1),
                kind: HistoryKind::Approved { amount_minor: Some(4_500), inquiry: true },
            },
        ];
        assert_eq!(history.entries().collect::<Vec<_>>(), expected);
        assert_eq!(expected.map(|moment| moment.kind.by()), [HistorySource::Gate, HistorySource::Processor]);
    }

    #[test]
    fn a_moment_is_small() {
        let mut history = History::default();
        history.note(&approved(1, 0), 1);
        assert!(history.0.len() <= 14, "{} bytes", history.0.len());
    }

    #[test]
    fn repetitions_for_weeks_do_not_fill_the_memory_and_the_outcome_is_noted_all_the_same() {
        let mut history = History::default();
        for ms in 0..100_000 {
            history.note(&Event::OperationRepeated { operation: Ordinal(3), at: at(ms) }, 9);
        }
        let kept = history.0.len();
        assert!(history.is_full() && kept < HISTORY_BYTES + 32, "{kept} bytes");
        history.note(&approved(3, 100_000), 1);
        assert_eq!(history.entries().last().map(|moment| moment.at), Some(at(100_000)));
    }
}

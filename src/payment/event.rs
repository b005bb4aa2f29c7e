//! The facts of a payment, as they are stored in the journal.
//!
//! Variants are encoded by their position: new ones are added at the end, none is removed or moved.

use super::{CallbackId, Credential, Decline, Discrepancy, HoldCapabilities, Ordinal, ProcessorRef, VoidReason};
use crate::stored::stored;
use crate::units::{Amount, ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};

/// One fact. Operations and holds are named by their number in the payment; a hold has the number of its authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Funds are requested: a new hold and its authorization.
    HoldRequested {
        /// The authorization's number, and the hold's.
        operation: Ordinal,
        /// Where; the hold is pinned to it.
        processor: ProcessorId,
        /// Capabilities of the processor at that moment.
        capabilities: HoldCapabilities,
        /// The driver's credential.
        credential: Box<Credential>,
        /// The requested amount.
        amount: Amount,
        /// Whether less is useful.
        partial_ok: bool,
        /// For a stand-in: how much may be spent before the answer.
        floor: Option<Amount>,
        /// When.
        at: Timestamp,
    },
    /// Another operation on a hold.
    OperationRequested {
        /// Its number.
        operation: Ordinal,
        /// The hold.
        hold: Ordinal,
        /// The request.
        ask: Ask,
        /// The new total (increment, decrement), the amount to capture or refund, or the amount presumed held (void).
        amount: Amount,
        /// When.
        at: Timestamp,
    },
    /// The operation is sent again under the same id.
    OperationRepeated {
        /// Its number.
        operation: Ordinal,
        /// When.
        at: Timestamp,
    },
    /// An inquiry about an operation is sent to the processor.
    Inquired {
        /// The operation that is inquired after.
        operation: Ordinal,
        /// Whether "not found" will mean that it never happened: its last sending is old enough by now.
        binding: bool,
        /// When.
        at: Timestamp,
    },
    /// What became of the operation is not known.
    OutcomeUnknown {
        /// Its number.
        operation: Ordinal,
        /// Why it is not known.
        cause: UnknownCause,
        /// Since when.
        at: Timestamp,
    },
    /// The operation never left the gate and waits for a connection.
    Queued {
        /// Its number.
        operation: Ordinal,
        /// When.
        at: Timestamp,
    },
    /// The processor took the operation in and decides later.
    Accepted {
        /// Its number.
        operation: Ordinal,
        /// Announced time of its decision.
        decide_by: Timestamp,
        /// The message of the processor.
        source: Source,
    },
    /// The whole amount is reserved. Energy may flow.
    Approved {
        /// The authorization.
        operation: Ordinal,
        /// The reserved amount.
        total: Amount,
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// When the hold lapses.
        expires_at: Timestamp,
        /// The message of the processor.
        source: Source,
    },
    /// Less than requested is reserved. A part too small to be useful is released in the same decision.
    PartiallyApproved {
        /// The authorization.
        operation: Ordinal,
        /// The reserved amount.
        total: Amount,
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// When the hold lapses.
        expires_at: Timestamp,
        /// The message of the processor.
        source: Source,
    },
    /// The authorization was refused. After a stand-in: energy must stop, what was spent is a shortfall.
    Declined {
        /// The authorization.
        operation: Ordinal,
        /// The reason.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// The operation definitely never happened and will not be tried again under this number.
    NotExecuted {
        /// Its number.
        operation: Ordinal,
        /// How that is known.
        cause: NotExecutedCause,
        /// When it was known.
        at: Timestamp,
    },
    /// An authorization is not waited for any longer; its reversal follows in the same decision.
    GivenUp {
        /// The authorization.
        operation: Ordinal,
        /// The reason.
        reason: VoidReason,
        /// When.
        at: Timestamp,
    },
    /// More is reserved.
    IncrementApproved {
        /// Its number.
        operation: Ordinal,
        /// The hold's new total.
        total: Amount,
        /// When the hold lapses now, where the processor changed that.
        expires_at: Option<Timestamp>,
        /// The message of the processor.
        source: Source,
    },
    /// No more is reserved; what was reserved before is untouched.
    IncrementDeclined {
        /// Its number.
        operation: Ordinal,
        /// Why; kept and shown.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// Less is reserved.
    DecrementApproved {
        /// Its number.
        operation: Ordinal,
        /// The hold's new total.
        total: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// The total stays as it was.
    DecrementDeclined {
        /// Its number.
        operation: Ordinal,
        /// The reason.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// The payment's owner ordered a capture.
    CaptureOrdered {
        /// Everything that is owed.
        owed: Amount,
        /// Whether the payment ends with it.
        last: bool,
        /// What no hold covers, as far as is known at this moment.
        shortfall: Amount,
        /// When.
        at: Timestamp,
    },
    /// The payment's owner ordered everything to be released.
    ReleaseOrdered {
        /// The reason.
        reason: VoidReason,
        /// When.
        at: Timestamp,
    },
    /// Money was taken.
    Captured {
        /// The capture.
        operation: Ordinal,
        /// The amount.
        amount: Amount,
        /// Difference to the requested amount.
        shortfall: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// A capture was refused for now; another follows.
    CaptureDeclined {
        /// The capture.
        operation: Ordinal,
        /// The reason.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// A capture was refused for good: the driver owes its amount, and the hold is released.
    CaptureFailed {
        /// The capture.
        operation: Ordinal,
        /// The amount that was not captured.
        amount: Amount,
        /// The reason.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// Nothing is reserved by this hold any longer.
    Voided {
        /// The void.
        operation: Ordinal,
        /// The message of the processor.
        source: Source,
        /// When it was known.
        at: Timestamp,
    },
    /// The processor did not release the hold; another void follows until the hold lapses.
    VoidRefused {
        /// The void.
        operation: Ordinal,
        /// The reason; `None`: the processor has no such hold (yet).
        decline: Option<Decline>,
        /// The message of the processor.
        source: Source,
    },
    /// Money was given back.
    Refunded {
        /// The refund.
        operation: Ordinal,
        /// The amount.
        amount: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// A refund was refused; its amount can be refunded again.
    RefundDeclined {
        /// The refund.
        operation: Ordinal,
        /// The reason.
        decline: Decline,
        /// The message of the processor.
        source: Source,
    },
    /// An operation that had ended without effect was approved after all. Money that moved is booked; a reservation is
    /// released in the same decision.
    LateApproval {
        /// Its number.
        operation: Ordinal,
        /// The amount that the processor acted on.
        amount: Amount,
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// The message of the processor.
        source: Source,
        /// When.
        at: Timestamp,
    },
    /// An answer contradicts its operation and is set aside; the outcome stays what it was, or becomes unknown.
    AnswerQuarantined {
        /// The operation.
        operation: Ordinal,
        /// The fault.
        discrepancy: Discrepancy,
        /// Which answer.
        source: Source,
        /// When.
        at: Timestamp,
    },
    /// The outcome is unknown for so long that a person was called. Attempts go on.
    Escalated {
        /// Its number.
        operation: Ordinal,
        /// When.
        at: Timestamp,
    },
    /// The hold lapses soon: its owner should capture the amount owed so far, or stop.
    HoldExpiring {
        /// The hold.
        hold: Ordinal,
        /// When it lapses.
        expires_at: Timestamp,
        /// When that was noticed.
        at: Timestamp,
    },
    /// The hold lapsed, as the processor reported or by its age.
    HoldExpired {
        /// The hold.
        hold: Ordinal,
        /// The processor's message, if it reported it.
        source: Option<Source>,
        /// When.
        at: Timestamp,
    },
    /// A capture that had been approved failed after all.
    CaptureReversed {
        /// The hold.
        hold: Ordinal,
        /// The amount that is owed again.
        amount: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// A refund that had been approved failed after all.
    RefundReversed {
        /// The hold.
        hold: Ordinal,
        /// The amount that did not reach the driver.
        amount: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// The issuer took money back; that much cannot be refunded while it is disputed.
    DisputeOpened {
        /// The hold.
        hold: Ordinal,
        /// The amount.
        amount: Amount,
        /// The message of the processor.
        source: Source,
    },
    /// The dispute ended.
    DisputeClosed {
        /// The hold.
        hold: Ordinal,
        /// The disputed amount.
        amount: Amount,
        /// Whether the money was returned.
        won: bool,
        /// The message of the processor.
        source: Source,
    },
    /// A capture or its release is running out of time.
    CaptureWindowPassed {
        /// The capture.
        operation: Ordinal,
        /// How much of the time has passed, in percent: 50 or 90.
        percent: u8,
        /// When.
        at: Timestamp,
    },
    /// Every hold ended and nothing is in progress: the money facts of the payment stand.
    Settled {
        /// The captured amount.
        captured: Amount,
        /// The owed amount that was not captured.
        shortfall: Amount,
        /// When.
        at: Timestamp,
    },
    /// A void found nothing to release, and nothing can arrive any more: the hold ended as if by [`Event::Voided`].
    NothingToVoid {
        /// The void.
        operation: Ordinal,
        /// The message of the processor.
        source: Source,
        /// When it was known.
        at: Timestamp,
    },
    /// A void whose outcome cannot be found out is replaced by a new one: releasing twice is harmless.
    VoidAbandoned {
        /// The void.
        operation: Ordinal,
        /// When.
        at: Timestamp,
    },
    /// An answer came again after the operation had its outcome. HistoryKind once for each operation, however often it comes.
    AnswerRepeated {
        /// The operation.
        operation: Ordinal,
        /// Which message.
        source: Source,
    },
}

stored!(enum Event {
    0: HoldRequested {
        0: operation, 1: processor, 2: capabilities, 3: credential, 4: amount, 5: partial_ok, 6: floor, 7: at,
    },
    1: OperationRequested { 0: operation, 1: hold, 2: ask, 3: amount, 4: at },
    2: OperationRepeated { 0: operation, 1: at },
    3: Inquired { 0: operation, 1: binding, 2: at },
    4: OutcomeUnknown { 0: operation, 1: cause, 2: at },
    5: Queued { 0: operation, 1: at },
    6: Accepted { 0: operation, 1: decide_by, 2: source },
    7: Approved { 0: operation, 1: total, 2: processor_ref, 3: expires_at, 4: source },
    8: PartiallyApproved { 0: operation, 1: total, 2: processor_ref, 3: expires_at, 4: source },
    9: Declined { 0: operation, 1: decline, 2: source },
    10: NotExecuted { 0: operation, 1: cause, 2: at },
    11: GivenUp { 0: operation, 1: reason, 2: at },
    12: IncrementApproved { 0: operation, 1: total, 2: expires_at, 3: source },
    13: IncrementDeclined { 0: operation, 1: decline, 2: source },
    14: DecrementApproved { 0: operation, 1: total, 2: source },
    15: DecrementDeclined { 0: operation, 1: decline, 2: source },
    16: CaptureOrdered { 0: owed, 1: last, 2: shortfall, 3: at },
    17: ReleaseOrdered { 0: reason, 1: at },
    18: Captured { 0: operation, 1: amount, 2: shortfall, 3: source },
    19: CaptureDeclined { 0: operation, 1: decline, 2: source },
    20: CaptureFailed { 0: operation, 1: amount, 2: decline, 3: source },
    21: Voided { 0: operation, 1: source, 2: at },
    22: VoidRefused { 0: operation, 1: decline, 2: source },
    23: Refunded { 0: operation, 1: amount, 2: source },
    24: RefundDeclined { 0: operation, 1: decline, 2: source },
    25: LateApproval { 0: operation, 1: amount, 2: processor_ref, 3: source, 4: at },
    26: AnswerQuarantined { 0: operation, 1: discrepancy, 2: source, 3: at },
    27: Escalated { 0: operation, 1: at },
    28: HoldExpiring { 0: hold, 1: expires_at, 2: at },
    29: HoldExpired { 0: hold, 1: source, 2: at },
    30: CaptureReversed { 0: hold, 1: amount, 2: source },
    31: RefundReversed { 0: hold, 1: amount, 2: source },
    32: DisputeOpened { 0: hold, 1: amount, 2: source },
    33: DisputeClosed { 0: hold, 1: amount, 2: won, 3: source },
    34: CaptureWindowPassed { 0: operation, 1: percent, 2: at },
    35: Settled { 0: captured, 1: shortfall, 2: at },
    36: NothingToVoid { 0: operation, 1: source, 2: at },
    37: VoidAbandoned { 0: operation, 1: at },
    38: AnswerRepeated { 0: operation, 1: source },
});

impl Event {
    /// The operation that it is about; a fact about a whole hold is about its authorization.
    pub fn operation(&self) -> Option<Ordinal> {
        match self {
            Event::HoldRequested { operation, .. }
            | Event::OperationRequested { operation, .. }
            | Event::OperationRepeated { operation, .. }
            | Event::Inquired { operation, .. }
            | Event::OutcomeUnknown { operation, .. }
            | Event::Queued { operation, .. }
            | Event::Accepted { operation, .. }
            | Event::Approved { operation, .. }
            | Event::PartiallyApproved { operation, .. }
            | Event::Declined { operation, .. }
            | Event::NotExecuted { operation, .. }
            | Event::GivenUp { operation, .. }
            | Event::IncrementApproved { operation, .. }
            | Event::IncrementDeclined { operation, .. }
            | Event::DecrementApproved { operation, .. }
            | Event::DecrementDeclined { operation, .. }
            | Event::Captured { operation, .. }
            | Event::CaptureDeclined { operation, .. }
            | Event::CaptureFailed { operation, .. }
            | Event::Voided { operation, .. }
            | Event::VoidRefused { operation, .. }
            | Event::Refunded { operation, .. }
            | Event::RefundDeclined { operation, .. }
            | Event::LateApproval { operation, .. }
            | Event::AnswerQuarantined { operation, .. }
            | Event::Escalated { operation, .. }
            | Event::CaptureWindowPassed { operation, .. }
            | Event::NothingToVoid { operation, .. }
            | Event::VoidAbandoned { operation, .. }
            | Event::AnswerRepeated { operation, .. } => Some(*operation),
            Event::HoldExpiring { hold, .. }
            | Event::HoldExpired { hold, .. }
            | Event::CaptureReversed { hold, .. }
            | Event::RefundReversed { hold, .. }
            | Event::DisputeOpened { hold, .. }
            | Event::DisputeClosed { hold, .. } => Some(*hold),
            Event::CaptureOrdered { .. } | Event::ReleaseOrdered { .. } | Event::Settled { .. } => None,
        }
    }

    /// When it was decided, received or noticed, by the gate's wall clock.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::HoldRequested { at, .. }
            | Event::OperationRequested { at, .. }
            | Event::OperationRepeated { at, .. }
            | Event::Inquired { at, .. }
            | Event::OutcomeUnknown { at, .. }
            | Event::Queued { at, .. }
            | Event::NotExecuted { at, .. }
            | Event::GivenUp { at, .. }
            | Event::CaptureOrdered { at, .. }
            | Event::ReleaseOrdered { at, .. }
            | Event::Voided { at, .. }
            | Event::LateApproval { at, .. }
            | Event::AnswerQuarantined { at, .. }
            | Event::Escalated { at, .. }
            | Event::HoldExpiring { at, .. }
            | Event::HoldExpired { at, .. }
            | Event::CaptureWindowPassed { at, .. }
            | Event::Settled { at, .. }
            | Event::NothingToVoid { at, .. }
            | Event::VoidAbandoned { at, .. } => *at,
            Event::Accepted { source, .. }
            | Event::Approved { source, .. }
            | Event::PartiallyApproved { source, .. }
            | Event::Declined { source, .. }
            | Event::IncrementApproved { source, .. }
            | Event::IncrementDeclined { source, .. }
            | Event::DecrementApproved { source, .. }
            | Event::DecrementDeclined { source, .. }
            | Event::Captured { source, .. }
            | Event::CaptureDeclined { source, .. }
            | Event::CaptureFailed { source, .. }
            | Event::VoidRefused { source, .. }
            | Event::Refunded { source, .. }
            | Event::RefundDeclined { source, .. }
            | Event::CaptureReversed { source, .. }
            | Event::RefundReversed { source, .. }
            | Event::DisputeOpened { source, .. }
            | Event::DisputeClosed { source, .. }
            | Event::AnswerRepeated { source, .. } => source.at,
        }
    }
}

/// The request of an operation on an existing hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// The authorization that makes the hold.
    Authorize {
        /// Whether a partial amount is useful.
        partial_ok: bool,
        /// Whether energy is given before the answer.
        stand_in: bool,
    },
    /// Raise the total.
    Increment,
    /// Lower the total.
    Decrement,
    /// Take money.
    Capture {
        /// Whether the rest is released with it.
        last: bool,
    },
    /// Release the hold.
    Void {
        /// The reason.
        reason: VoidReason,
    },
    /// Give money back.
    Refund {
        /// The capture it refers to.
        capture: Ordinal,
    },
}

stored!(enum Ask {
    0: Authorize { 0: partial_ok, 1: stand_in },
    1: Increment,
    2: Decrement,
    3: Capture { 0: last },
    4: Void { 0: reason },
    5: Refund { 0: capture },
});

/// Identity of the processor's message that a fact follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The processor's number for the message.
    pub callback: CallbackId,
    /// CRC-32 of its body: distinguishes a repeated message from another one under the same number.
    pub digest: u32,
    /// When the gate received it.
    pub at: Timestamp,
    /// Whether it answers an inquiry after the operation, not the operation itself.
    pub inquiry: bool,
}

stored!(struct Source { 0: callback, 1: digest, 2: at, 3: inquiry });

/// Why an outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownCause {
    /// No answer in time.
    Silence,
    /// The connection broke while the operation was on its way.
    ConnectionLost,
    /// The processor failed in a way that leaves it open.
    Error,
    /// The gate was restarted; the operation may or may not have been sent.
    Restart,
    /// The answer contradicted the operation.
    Mismatch,
}

stored!(enum UnknownCause { 0: Silence, 1: ConnectionLost, 2: Error, 3: Restart, 4: Mismatch });

/// The evidence that an operation never took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotExecutedCause {
    /// No byte of it left the gate.
    NotSent,
    /// The processor never saw it, and it is too old to arrive any more.
    NotFound,
}

stored!(enum NotExecutedCause { 0: NotSent, 1: NotFound });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::DeclineClass;
    use crate::units::Currency;

    /// A variant that moved would be read as another one from an older journal.
    #[test]
    fn variants_keep_their_numbers() {
        let (operation, hold, at) = (Ordinal(2), Ordinal(1), Timestamp::default());
        let amount = Amount::new(1, Currency::EUR);
        let source = Source { callback: CallbackId(7), digest: 9, at, inquiry: false };
        let decline = || Decline { class: DeclineClass::Soft, code: "51".into(), retry_after: None };
        let processor_ref = || ProcessorRef("r".into());
        let cause = UnknownCause::Silence;
        let numbered = [
            (1, Event::OperationRequested { operation, hold, ask: Ask::Increment, amount, at }),
            (2, Event::OperationRepeated { operation, at }),
            (3, Event::Inquired { operation, binding: true, at }),
            (4, Event::OutcomeUnknown { operation, cause, at }),
            (5, Event::Queued { operation, at }),
            (6, Event::Accepted { operation, decide_by: at, source }),
            (7, Event::Approved { operation, total: amount, processor_ref: processor_ref(), expires_at: at, source }),
            (9, Event::Declined { operation, decline: decline(), source }),
            (10, Event::NotExecuted { operation, cause: NotExecutedCause::NotSent, at }),
            (11, Event::GivenUp { operation, reason: VoidReason::NoStart, at }),
            (12, Event::IncrementApproved { operation, total: amount, expires_at: None, source }),
            (13, Event::IncrementDeclined { operation, decline: decline(), source }),
            (14, Event::DecrementApproved { operation, total: amount, source }),
            (16, Event::CaptureOrdered { owed: amount, last: true, shortfall: amount, at }),
            (17, Event::ReleaseOrdered { reason: VoidReason::NoStart, at }),
            (18, Event::Captured { operation, amount, shortfall: amount, source }),
            (21, Event::Voided { operation, source, at }),
            (22, Event::VoidRefused { operation, decline: None, source }),
            (23, Event::Refunded { operation, amount, source }),
            (25, Event::LateApproval { operation, amount, processor_ref: processor_ref(), source, at }),
            (27, Event::Escalated { operation, at }),
            (28, Event::HoldExpiring { hold, expires_at: at, at }),
            (29, Event::HoldExpired { hold, source: None, at }),
            (30, Event::CaptureReversed { hold, amount, source }),
            (33, Event::DisputeClosed { hold, amount, won: true, source }),
            (34, Event::CaptureWindowPassed { operation, percent: 50, at }),
            (35, Event::Settled { captured: amount, shortfall: amount, at }),
            (36, Event::NothingToVoid { operation, source, at }),
            (37, Event::VoidAbandoned { operation, at }),
            (38, Event::AnswerRepeated { operation, source }),
        ];
        for (number, event) in numbered {
            let bytes = crate::stored::to_bytes(&event);
            assert_eq!(bytes[0] >> 1, number, "{event:?}");
            assert_eq!(crate::stored::from_bytes::<Event>(&bytes).unwrap(), event);
        }
    }
}

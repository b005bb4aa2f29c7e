//! What follows from a fact about money alone, without the payment's state.

use super::history::HistoryEntry;
use super::{Event, OperationKind};
use crate::units::Currency;

impl Event {
    /// The kind of its operation, where that follows from the fact; none: only the payment knows.
    pub fn operation_kind(&self) -> Option<OperationKind> {
        match self {
            Event::HoldRequested { .. }
            | Event::Approved { .. }
            | Event::PartiallyApproved { .. }
            | Event::Declined { .. }
            | Event::GivenUp { .. } => Some(OperationKind::Authorize),
            Event::OperationRequested { ask, .. } => Some(ask.kind()),
            Event::IncrementApproved { .. } | Event::IncrementDeclined { .. } => Some(OperationKind::Increment),
            Event::DecrementApproved { .. } | Event::DecrementDeclined { .. } => Some(OperationKind::Decrement),
            Event::Captured { .. }
            | Event::CaptureDeclined { .. }
            | Event::CaptureFailed { .. }
            | Event::CaptureWindowPassed { .. } => Some(OperationKind::Capture),
            Event::Voided { .. }
            | Event::VoidRefused { .. }
            | Event::NothingToVoid { .. }
            | Event::VoidAbandoned { .. } => Some(OperationKind::Void),
            Event::Refunded { .. } | Event::RefundDeclined { .. } => Some(OperationKind::Refund),
            Event::OperationRepeated { .. }
            | Event::Inquired { .. }
            | Event::OutcomeUnknown { .. }
            | Event::Queued { .. }
            | Event::Accepted { .. }
            | Event::NotExecuted { .. }
            | Event::CaptureOrdered { .. }
            | Event::ReleaseOrdered { .. }
            | Event::LateApproval { .. }
            | Event::AnswerQuarantined { .. }
            | Event::AnswerRepeated { .. }
            | Event::Escalated { .. }
            | Event::HoldExpiring { .. }
            | Event::HoldExpired { .. }
            | Event::CaptureReversed { .. }
            | Event::RefundReversed { .. }
            | Event::DisputeOpened { .. }
            | Event::DisputeClosed { .. }
            | Event::Settled { .. } => None,
        }
    }

    /// The currency, where the fact has an amount that its entry of the history keeps.
    pub fn currency(&self) -> Option<Currency> {
        match self {
            Event::Approved { total: amount, .. }
            | Event::PartiallyApproved { total: amount, .. }
            | Event::IncrementApproved { total: amount, .. }
            | Event::DecrementApproved { total: amount, .. }
            | Event::Captured { amount, .. }
            | Event::Refunded { amount, .. }
            | Event::LateApproval { amount, .. }
            | Event::CaptureReversed { amount, .. }
            | Event::RefundReversed { amount, .. }
            | Event::DisputeOpened { amount, .. }
            | Event::DisputeClosed { amount, .. } => Some(amount.currency),
            _ => None,
        }
    }

    /// Its entry of the payment's history.
    pub fn entry(&self) -> HistoryEntry {
        HistoryEntry::of(self, 0)
    }
}

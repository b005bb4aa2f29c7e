//! The holds of a payment and their operations: authorize, increment, capture, release, refund.
//!
//! A [`Payment`] is the hold group of one session (or of one top-up): a few holds, each with its operations against
//! the processor that it is pinned to. It decides and applies like every machine and is embedded in a larger one; its
//! owner journals the events, releases [`Effect::Send`] only when they are durable, and reacts to the events that
//! concern it.
//!
//! ```text
//!  Authorize                      approved                        Capture, approved
//! ──────────▶ Authorizing ───────────────────────▶ Open ─────────────────────────────▶ Closed(Captured)
//!               │  │  │                            │ ▲│ │ Release, approved
//!               │  │  │ declined, never sent        │ ││ └───────────────────────────▶ Closed(Voided)
//!               │  │  └──────────────▶ Closed(…)    │ ││ capture refused for good
//!               │  │                                │ │└──────────▶ Closed(CaptureFailed), rest released
//!               │  │ unknown, and not needed        │ └─ increments, decrements: the total moves
//!               │  └──▶ Reversing ──▶ Closed(Reversed)│ validity over
//!               │        (void, repeated until done)└─────────────────────────────────▶ Closed(Expired)
//!  StandIn ─────┴─ the same, with a floor to spend from and not given up while something is owed
//! ```
//!
//! Every operation has the same life cycle, whatever its kind:
//!
//! ```text
//!   requested ─▶ Asked ─▶ answered ─▶ final (approved, declined, not executed, given up, superseded)
//!                 │ ▲ │ taken in, decided later
//!   never sent ◀──┘ │ └──────▶ Accepted ─┐ overdue
//!   (Queued, or     │                    ▼
//!    final)         └──── Unknown ◀── silence, lost connection, error, restart, a mismatch
//!                  same id   │ inquiry ─▶ answered ─▶ final
//!                            └ never an error, never "declined", never a fresh id
//! ```
//!
//! Three rules above all: an unknown outcome is a state of its own; an operation is durable before its first byte
//! leaves, and its result before it is acknowledged; all guards are evaluated here, on reserved amounts, before
//! anything is journaled.

mod answer;
mod apply;
pub mod breaker;
mod capabilities;
pub mod credential;
mod decide;
mod draft;
mod event;
mod event_view;
mod finish;
pub mod history;
pub mod known_processor;
mod operation;
mod policy;
mod rejection;
mod resolve;
mod resume;
pub mod routing;
mod state;
pub mod vault;
mod view;

pub use apply::apply;
pub use capabilities::HoldCapabilities;
pub use credential::Shown;
pub use decide::{decide, decide_ahead};
pub use draft::Decided;
pub use event::{Ask, Event, NotExecutedCause, Source, UnknownCause};
pub use operation::{
    Answer, CallbackId, Capabilities, Credential, CredentialKind, Decline, DeclineClass, Notification,
    NotificationKind, Operation, OperationKind, Outcome, ProcessorRef, Request, VoidReason,
};
pub use policy::Policy;
pub use rejection::{AcknowledgeCode, Discrepancy, Rejection};
pub use resume::resume;
pub use state::{
    Dispute, DisputeState, Ending, Final, Hold, LiveOperation, Ordinal, PastOperation, Payment, Phase, Stage,
};
pub use view::FoundOperation;

use crate::machine;
use crate::units::{Amount, OpId, ProcessorId};

/// A command of the owner, a processor or the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Request funds from a processor: the first hold, another credential, or another processor after a definite
    /// refusal.
    Authorize {
        /// The processor; the hold stays there for ever.
        processor: ProcessorId,
        /// Capabilities of that processor, kept with the hold.
        capabilities: HoldCapabilities,
        /// The driver's credential.
        credential: Credential,
        /// The amount.
        amount: Amount,
        /// Whether less than `amount` is useful.
        partial_ok: bool,
    },
    /// No processor can be reached: give energy up to `floor` on our own risk and request the money as soon as one
    /// can.
    StandIn {
        /// The processor of the later request.
        processor: ProcessorId,
        /// What it is known to be able to do.
        capabilities: HoldCapabilities,
        /// The driver's credential.
        credential: Credential,
        /// The amount to request.
        amount: Amount,
        /// How much may be spent before the answer; at most [`Policy::floor_limit_minor`].
        floor: Amount,
    },
    /// Raise the reserved funds of the whole group to this total.
    IncreaseTo(Amount),
    /// Lower the reserved funds of the whole group to this total.
    DecreaseTo(Amount),
    /// Capture the amount owed: the whole total, never the difference, so that repeating it captures once.
    Capture {
        /// Everything that is owed so far.
        owed: Amount,
        /// Whether this ends the payment.
        extent: Extent,
    },
    /// Release everything that is reserved; nothing is owed.
    Release(VoidReason),
    /// An operator releases one hold before the payment ends. Refused once money is being taken from it.
    ReleaseByOperator {
        /// The hold, by the number of its authorization.
        hold: Ordinal,
    },
    /// Give captured money back.
    Refund(Amount),
    /// A processor answered an operation.
    Answer {
        /// The processor (from the certificate of the connection).
        from: ProcessorId,
        /// Its answer.
        answer: Answer,
    },
    /// A processor reports something on its own.
    Notification {
        /// The processor (from the certificate of the connection).
        from: ProcessorId,
        /// Its notification.
        notification: Notification,
    },
    /// No byte of this attempt left the gate, and none will: definite.
    NotSent {
        /// The operation (an inquiry's id is ignored: the schedule repeats the inquiry).
        operation: OpId,
        /// The attempt that was not sent; an older one than the last changes nothing.
        attempt: u16,
    },
    /// The connection broke after at least one byte of this attempt had been written.
    ConnectionLost {
        /// The operation (an inquiry's id is ignored: the schedule repeats the inquiry).
        operation: OpId,
        /// The attempt that was on its way; an older one than the last changes nothing.
        attempt: u16,
    },
    /// A deadline passed ([`Payment::next_deadline`]).
    Tick,
}

/// How far a capture goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// More may be owed later: holds that can be captured several times stay open.
    Interim,
    /// Nothing more will be owed: take the amount owed, oldest hold first, and release all the rest.
    Final,
}

/// The work to do once the events of the decision are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to its processor. A repetition has the same id and body, a higher attempt, and a flag.
    Send(Operation),
    /// Acknowledge a processor's message.
    Acknowledge {
        /// The sender.
        to: ProcessorId,
        /// Its number.
        callback: CallbackId,
        /// The verdict.
        code: AcknowledgeCode,
    },
    /// The command is refused; nothing changed.
    Refuse(Rejection),
    /// Raise an alarm for the operator.
    Alarm {
        /// The operation concerned (for a whole hold: its authorization).
        operation: OpId,
        /// The fault.
        alarm: Alarm,
    },
}

/// An alarm for the operator. Automatic attempts continue without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// An answer or notification contradicts the known state.
    #[error(transparent)]
    Discrepancy(Discrepancy),
    /// The outcome is still unknown after the schedule's dense part.
    #[error("its outcome is unknown after all quick inquiries")]
    Unresolved,
    /// A release that was requested was refused.
    #[error("the hold was not released although that was asked for")]
    VoidRefused,
    /// An operation was approved after it had been given up or refused.
    #[error("it was approved after it had been given up or refused")]
    LateApproval,
    /// A capture was refused for good; the driver owes the money.
    #[error("the capture is refused for good: the driver owes the money")]
    CaptureFailed,
    /// Half of the time in which a capture that is still open can succeed has passed.
    #[error("half of the time in which the capture can succeed has passed")]
    CaptureWindowHalf,
    /// Nine tenths of the time in which a capture that is still open can succeed have passed.
    #[error("nine tenths of the time in which the capture can succeed have passed")]
    CaptureWindowClosing,
    /// A capture failed after it had been approved; its amount is owed again.
    #[error("the capture failed after all, though it had been approved: the driver owes the money")]
    CaptureReversed(Amount),
    /// A refund failed after it had been approved; its amount did not reach the driver.
    #[error("the refund failed after all, though it had been approved: the driver does not have the money")]
    RefundReversed(Amount),
    /// The issuer disputes a capture and took its amount back.
    #[error("a dispute is opened: the processor took the money back")]
    DisputeOpened(Amount),
    /// A dispute ended, and the money stays with the issuer.
    #[error("a dispute is lost")]
    DisputeLost(Amount),
    /// A dispute ended, and the money was returned.
    #[error("a dispute is won: the processor returned the money")]
    DisputeWon(Amount),
}

impl Alarm {
    /// The amount in question, where it is not that of its operation.
    pub const fn amount(self) -> Option<Amount> {
        match self {
            Alarm::CaptureReversed(amount)
            | Alarm::RefundReversed(amount)
            | Alarm::DisputeOpened(amount)
            | Alarm::DisputeLost(amount)
            | Alarm::DisputeWon(amount) => Some(amount),
            Alarm::Discrepancy(_)
            | Alarm::Unresolved
            | Alarm::VoidRefused
            | Alarm::LateApproval
            | Alarm::CaptureFailed
            | Alarm::CaptureWindowHalf
            | Alarm::CaptureWindowClosing => None,
        }
    }
}

/// A decision of a payment.
pub type Decision = machine::Decision<Event, Effect>;

//! One session's holds and their operations: how money is reserved, raised, taken, released and given back.
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
//!               │  │ unknown, and nobody waits      │ └─ increments, decrements: the total moves
//!               │  └──▶ Reversing ──▶ Closed(Reversed)│ validity over
//!               │        (void, repeated until done)└─────────────────────────────────▶ Closed(Expired)
//!  StandIn ─────┴─ the same, with a floor to spend from and no giving up while something is owed
//! ```
//!
//! Every operation walks the same path, whatever it asks for:
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
pub use decide::decide;
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

/// What the owner, a processor or the clock wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask a processor to reserve funds: the first hold, another credential, or another processor after a definite no.
    Authorize {
        /// Where to ask; the hold stays there for ever.
        processor: ProcessorId,
        /// What that processor can do, kept with the hold.
        capabilities: HoldCapabilities,
        /// What the driver presented.
        credential: Credential,
        /// How much.
        amount: Amount,
        /// Whether less than `amount` is useful.
        partial_ok: bool,
    },
    /// No processor can be reached: give energy up to `floor` on our own risk and ask for the money as soon as one can.
    StandIn {
        /// The processor that will be asked.
        processor: ProcessorId,
        /// What it is known to be able to do.
        capabilities: HoldCapabilities,
        /// What the driver presented.
        credential: Credential,
        /// How much to ask for.
        amount: Amount,
        /// How much may be spent before the answer; at most [`Policy::floor_limit_minor`].
        floor: Amount,
    },
    /// Raise the reserved funds of the whole group to this total.
    IncreaseTo(Amount),
    /// Lower the reserved funds of the whole group to this total.
    DecreaseTo(Amount),
    /// Take what is owed: the whole total, never the difference, so that saying it twice takes it once.
    Capture {
        /// Everything that the driver owes for the session so far.
        owed: Amount,
        /// Whether this ends the payment.
        extent: Extent,
    },
    /// Release everything that is reserved; nothing is owed.
    Release(VoidReason),
    /// An operator releases one hold, whatever the session thinks. Refused once money is being taken from it.
    ReleaseByOperator {
        /// The hold, by the number of its authorization.
        hold: Ordinal,
    },
    /// Give captured money back.
    Refund(Amount),
    /// A processor answered an operation.
    Answer {
        /// Who says so (from the certificate of the connection).
        from: ProcessorId,
        /// What it says.
        answer: Answer,
    },
    /// A processor reports something on its own.
    Notification {
        /// Who says so (from the certificate of the connection).
        from: ProcessorId,
        /// What it says.
        notification: Notification,
    },
    /// No byte of this attempt left the gate, and none will: definite.
    NotSent {
        /// The operation (an inquiry's id is ignored: the schedule asks again).
        operation: OpId,
        /// The attempt that was not sent; an older one than the last changes nothing.
        attempt: u16,
    },
    /// The connection broke after at least one byte of this attempt had been written.
    ConnectionLost {
        /// The operation (an inquiry's id is ignored: the schedule asks again).
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
    /// The session goes on, or may be corrected: holds that can be captured several times stay open.
    Interim,
    /// The session is over: take what is owed, oldest hold first, and release all the rest.
    Final,
}

/// What is to be done once the events of the decision are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to its processor. A repetition has the same id and body, a higher attempt, and says so.
    Send(Operation),
    /// Acknowledge a processor's message.
    Acknowledge {
        /// Who sent it.
        to: ProcessorId,
        /// Its number.
        callback: CallbackId,
        /// The verdict.
        code: AcknowledgeCode,
    },
    /// The command is refused; nothing changed.
    Refuse(Rejection),
    /// A person should look at this.
    Alarm {
        /// The operation concerned (for a whole hold: its authorization).
        operation: OpId,
        /// What is wrong.
        alarm: Alarm,
    },
}

/// What a person should look at. Nothing waits for that: automatic attempts go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// An answer or notification contradicts what is known.
    #[error(transparent)]
    Discrepancy(Discrepancy),
    /// The outcome is still unknown after the schedule's dense part.
    #[error("its outcome is unknown after all quick inquiries")]
    Unresolved,
    /// A hold was not released although it was asked for.
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
}

/// What a payment decides.
pub type Decision = machine::Decision<Event, Effect>;

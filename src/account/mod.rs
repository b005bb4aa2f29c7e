//! The prepaid account's machine: the processor that is built in.
//!
//! An account is shared by any number of credentials and sessions; every hold, capture and refund on it passes this
//! one machine, so that its limits are atomic. A session sends it the same operations as to an outside processor
//! ([`Command::from_operation`]), without a distinction.
//!
//! ```text
//!   Unopened ──Open──▶ Open ──Close──▶ Closed          the account
//!
//!            Hold                Capture(last)
//!   (none) ───────▶ Open ─────────────────────▶ Captured ──Refund──▶ Captured (refunded ≤ captured)
//!      │            │  ▲ │   Release
//!      │      Adjust└──┘ └─────────────────────▶ Released
//!      ├─Hold refused──────────────────────────▶ Declined
//!      └─Release (of a hold never seen)────────▶ Reversed    a hold that comes later is refused
//! ```
//!
//! Invariants after every event:
//!
//! * `posted − held ≥ −credit limit`, in paid and promotional money together and apart: promotional money never goes
//!   below zero, paid money never below the credit limit, but for what a top-up's payment has lost later (below).
//! * `held` is the sum of the open holds; a hold reaches one terminal state, once.
//! * An operation's id has one answer. The same id with the same body gets that answer again; with another body it
//!   gets [`Rejection::ExistsWithDifferentAmount`] or a similar refusal, and nothing changes.
//!
//! # What an account owes
//!
//! A card's payment can fail, be refunded or be charged back long after it was credited. The account is debited for it
//! ([`Command::Debit`]) whatever is on it, open or closed. While that leaves it below its credit limit it takes no new
//! hold; it is closed only when nothing is owed, and a closed one takes what it owes and nothing else.
//!
//! # How long an operation is kept
//!
//! As long as its hold is open, and afterwards with its hold: an account keeps its last
//! [`limits::ACCOUNT_CLOSED_HOLDS`] closed holds for ever, and more of them, up to
//! [`limits::ACCOUNT_CLOSED_HOLDS_MAX`], while they are younger than [`limits::ACCOUNT_MEMORY`]. Of one hold the last
//! [`limits::ACCOUNT_OPERATIONS_PER_HOLD`] operations are kept, its authorization and its captures always. An
//! operation that may have been dropped is answered as such ([`Rejection::OperationForgotten`]; to an inquiry, an
//! open outcome), never as "not found" and never by repeating it. An authorization is only taken until its
//! `decide_by`, so that a repetition of a dropped one can reserve nothing.

mod apply;
mod decide;
mod event;
mod operation;
mod postings;
mod processor;
mod rejection;
mod resume;
mod state;
#[cfg(test)]
mod tests;
mod top_up;

pub use apply::apply;
pub use decide::decide;
pub use event::Event;
pub use operation::{CAPABILITIES_INFLIGHT_MAX, capabilities};
pub use postings::entries;
pub use processor::{account_of, account_processor};
pub use rejection::Rejection;
pub use resume::{next_deadline, resume};
pub use state::{Account, Balance, CredentialLink, Hold, HoldState, Movement, MovementKind, OpenAccount, Parts};
pub use top_up::{Due, Event as TopUpEvent, Step, TopUp, Undone};

#[cfg(doc)]
use crate::limits;
use crate::payment::Answer;
use crate::stored::stored;
use crate::units::{AccountId, Amount, Currency, Fingerprint, HoldId, OpId, Timestamp};
use serde::{Deserialize, Serialize};

/// A command to an account. `op` is the idempotency key of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the account. Opening it again with the same terms is the same opening.
    Open {
        /// The idempotency key.
        op: OpId,
        /// The account's name.
        account: AccountId,
        /// The one currency of the account.
        currency: Currency,
        /// Credit limit of paid money; zero for a prepaid account.
        credit_limit: Amount,
    },
    /// Reserve money for a session; the hold is named by `op`.
    Hold {
        /// The idempotency key, and the name of the hold.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Whether less may be reserved when there is not enough.
        partial_ok: bool,
        /// The credential that was presented. `None` when the router of the operation has checked it.
        credential: Option<Fingerprint>,
        /// Until when this may take effect.
        decide_by: Timestamp,
        /// Whether no other session may have an open hold, of which nothing was captured yet.
        is_alone: bool,
    },
    /// Change the total of a hold, upwards or downwards.
    Adjust {
        /// The idempotency key.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// Which way it is meant to go.
        direction: Direction,
        /// The whole new total, never the difference.
        new_total: Amount,
    },
    /// Take money out of a hold.
    Capture {
        /// The idempotency key.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The amount.
        amount: Amount,
        /// Whether the rest is released.
        last: bool,
    },
    /// Release the amount still reserved by a hold.
    Release {
        /// The idempotency key.
        op: OpId,
        /// The hold.
        hold: HoldId,
    },
    /// Give captured money back.
    Refund {
        /// The idempotency key.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The capture that is refunded.
        capture: OpId,
        /// The amount.
        amount: Amount,
    },
    /// Return the outcome of an operation. Changes nothing.
    Inquire {
        /// The inquiry's own id.
        op: OpId,
        /// Number of times that this inquiry was sent.
        attempt: u16,
        /// The hold of the operation in question.
        hold: HoldId,
        /// The operation in question.
        target: OpId,
    },
    /// Put paid money on the account.
    TopUp {
        /// The idempotency key.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// The source of the money.
        source: TopUpSource,
    },
    /// Put money of a top-up's payment on the account: the top-up keeps which of its operations are done.
    Credit {
        /// The idempotency key.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// The source of the money.
        source: TopUpSource,
    },
    /// Take back money of a top-up's payment that failed after it was credited. Never refused for lack of money, nor
    /// because the account is closed: the difference is owed.
    Debit {
        /// The idempotency key.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Why the account loses it.
        cause: DebitCause,
    },
    /// Put promotional money on the account.
    GrantPromotion {
        /// The idempotency key.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// When the unused rest lapses; `None`: never.
        expires_at: Option<Timestamp>,
    },
    /// Let promotional money lapse that is due ([`next_deadline`]).
    ExpirePromotions,
    /// Change how far paid money may go below zero.
    SetCreditLimit {
        /// The idempotency key.
        op: OpId,
        /// The new limit, zero or more.
        limit: Amount,
    },
    /// Let a credential use the account.
    LinkCredential {
        /// The idempotency key.
        op: OpId,
        /// The credential.
        credential: Fingerprint,
    },
    /// No longer let a credential use the account. Holds that it has stay.
    UnlinkCredential {
        /// The idempotency key.
        op: OpId,
        /// The credential.
        credential: Fingerprint,
    },
    /// Pay out the paid money, forfeit the promotional, and accept nothing more.
    Close {
        /// The idempotency key.
        op: OpId,
    },
}

/// Which way a hold is adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// The new total is higher.
    Up,
    /// The new total is lower.
    Down,
}

stored!(enum Direction { 0: Up, 1: Down });

/// Source of a top-up's money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopUpSource {
    /// Captured by an outside processor.
    Processor(crate::units::ProcessorId),
    /// Received on a bank account.
    Bank,
    /// Returned by an outside processor: a refund of a top-up that failed after the account was debited for it.
    RefundFailed(crate::units::ProcessorId),
}

/// Why money of a top-up is taken back from its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DebitCause {
    /// The capture failed after it had been approved.
    CaptureFailed,
    /// The holder of the card disputed it, and the dispute is lost.
    DisputeLost,
    /// It was refunded to the card.
    Refunded,
}

stored!(enum DebitCause { 0: CaptureFailed, 1: DisputeLost, 2: Refunded });

impl DebitCause {
    /// A short text for statements and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            DebitCause::CaptureFailed => "top-up failed",
            DebitCause::DisputeLost => "top-up charged back",
            DebitCause::Refunded => "top-up refunded",
        }
    }
}

stored!(enum TopUpSource { 0: Processor(processor_id), 1: Bank, 2: RefundFailed(processor_id) });

/// The body of an operation on a hold, as far as it distinguishes requests. Amounts in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// [`Command::Hold`]
    Hold {
        /// Minor units.
        amount: i64,
        /// Whether less was welcome.
        partial_ok: bool,
        /// The credential.
        credential: Option<Fingerprint>,
    },
    /// [`Command::Adjust`]
    Adjust {
        /// Which way.
        direction: Direction,
        /// Minor units of the whole new total.
        new_total: i64,
    },
    /// [`Command::Capture`]
    Capture {
        /// Minor units.
        amount: i64,
        /// Whether the rest was to be released.
        last: bool,
    },
    /// [`Command::Release`]
    Release,
    /// [`Command::Refund`]
    Refund {
        /// The capture's number in its session.
        capture: u16,
        /// Minor units.
        amount: i64,
    },
}

stored!(enum Asked {
    0: Hold { 0: amount, 1: partial_ok, 2: credential },
    1: Adjust { 0: direction, 1: new_total },
    2: Capture { 0: amount, 1: last },
    3: Release,
    4: Refund { 0: capture, 1: amount },
});

/// An output of an account, released when its events are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To the session that made the request: the answer in the form of an outside processor.
    Answer(Answer),
    /// To the source of an order that is not a payment operation: it is done (now, or it was already).
    Done {
        /// The operation.
        op: OpId,
        /// The balance at this moment.
        balance: Balance,
    },
    /// To the source of an order that is not a payment operation: it is not done.
    Refused {
        /// The operation.
        op: OpId,
        /// The reason.
        rejection: Rejection,
    },
}

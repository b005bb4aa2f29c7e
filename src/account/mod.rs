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
mod operation;
mod postings;
mod processor;
mod resume;
mod state;
#[cfg(test)]
mod tests;
mod top_up;

pub use apply::apply;
pub use decide::decide;
pub use operation::{CAPABILITIES_INFLIGHT_MAX, capabilities};
pub use postings::entries;
pub use processor::{account_of, account_processor};
pub use resume::{next_deadline, resume};
pub use state::{Account, Balance, CredentialLink, Hold, HoldState, Movement, MovementKind, OpenAccount, Parts};
pub use top_up::{Due, Event as TopUpEvent, Step, TopUp, Undone};

#[cfg(doc)]
use crate::limits;
use crate::payment::{Answer, Decline, DeclineClass};
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

/// A fact about an account. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The account exists.
    Opened {
        /// When.
        at: Timestamp,
        /// The operation that opened it.
        op: OpId,
        /// Its name.
        account: AccountId,
        /// Its currency.
        currency: Currency,
        /// Credit limit of paid money.
        credit_limit: Amount,
    },
    /// Money is reserved.
    HoldPlaced {
        /// When.
        at: Timestamp,
        /// The operation; it names the hold.
        op: OpId,
        /// The body of the request, needed to recognise a repetition.
        asked: Asked,
        /// The reserved amount, by kind of money.
        reserved: Parts,
    },
    /// An operation was refused for a reason that may disappear; its id is refused from now on.
    Refused {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// Its hold.
        hold: HoldId,
        /// The body of the request.
        asked: Asked,
        /// Why not.
        rejection: Rejection,
    },
    /// A hold has another total.
    HoldAdjusted {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The body of the request.
        asked: Asked,
        /// The reserved amount without captures, by kind of money.
        reserved: Parts,
    },
    /// Money was taken out of a hold.
    Captured {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The captured amount, by kind of money.
        taken: Parts,
        /// Whether the hold ended and its rest was released.
        last: bool,
        /// When the promotional money that was taken would have lapsed, for a refund.
        promotion_expires_at: Option<Timestamp>,
    },
    /// The rest was released, and the hold ended.
    Released {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The released amount, by kind of money.
        released: Parts,
    },
    /// A hold was reversed before it arrived; it will be refused.
    Reversed {
        /// When.
        at: Timestamp,
        /// The operation that reversed it.
        op: OpId,
        /// The hold.
        hold: HoldId,
    },
    /// Captured money was refunded.
    Refunded {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The hold.
        hold: HoldId,
        /// The body of the request.
        asked: Asked,
        /// The refunded amount, by kind of money.
        returned: Parts,
        /// When the promotional part lapses.
        promotion_expires_at: Option<Timestamp>,
    },
    /// Paid money was credited.
    ToppedUp {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Where from.
        source: TopUpSource,
    },
    /// Promotional money was granted.
    PromotionGranted {
        /// When.
        at: Timestamp,
        /// The operation; it names the grant.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// When the unused rest lapses.
        expires_at: Option<Timestamp>,
    },
    /// Promotional money lapsed.
    PromotionExpired {
        /// When.
        at: Timestamp,
        /// The grant.
        grant: OpId,
        /// Which of the parts in which this grant lapses, counted from 0.
        part: u16,
        /// The lapsed amount.
        amount: Amount,
    },
    /// The credit limit changed.
    CreditLimitSet {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The new limit.
        limit: Amount,
    },
    /// A credential may use the account.
    CredentialLinked {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The credential.
        credential: Fingerprint,
    },
    /// A credential may no longer use the account.
    CredentialUnlinked {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The credential.
        credential: Fingerprint,
    },
    /// The account accepts nothing more.
    Closed {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// Paid money that is paid out.
        paid_out: Amount,
        /// Promotional money that is forfeited.
        forfeited: Amount,
    },
    /// Money of a top-up was taken back; the account may owe it now.
    Debited {
        /// When.
        at: Timestamp,
        /// The operation.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Why.
        cause: DebitCause,
    },
}

stored!(enum Event {
    0: Opened { 0: at, 1: op, 2: account, 3: currency, 4: credit_limit },
    1: HoldPlaced { 0: at, 1: op, 2: asked, 3: reserved },
    2: Refused { 0: at, 1: op, 2: hold, 3: asked, 4: rejection },
    3: HoldAdjusted { 0: at, 1: op, 2: hold, 3: asked, 4: reserved },
    4: Captured { 0: at, 1: op, 2: hold, 3: taken, 4: last, 5: promotion_expires_at },
    5: Released { 0: at, 1: op, 2: hold, 3: released },
    6: Reversed { 0: at, 1: op, 2: hold },
    7: Refunded { 0: at, 1: op, 2: hold, 3: asked, 4: returned, 5: promotion_expires_at },
    8: ToppedUp { 0: at, 1: op, 2: amount, 3: source },
    9: PromotionGranted { 0: at, 1: op, 2: amount, 3: expires_at },
    10: PromotionExpired { 0: at, 1: grant, 2: part, 3: amount },
    11: CreditLimitSet { 0: at, 1: op, 2: limit },
    12: CredentialLinked { 0: at, 1: op, 2: credential },
    13: CredentialUnlinked { 0: at, 1: op, 2: credential },
    14: Closed { 0: at, 1: op, 2: paid_out, 3: forfeited },
    15: Debited { 0: at, 1: op, 2: amount, 3: cause },
});

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

/// Reason of an account's refusal. The numbers are in the journal and are never reused.
///
/// When several apply, the first in this order is reported: the account; the command's own figures; the operation's
/// id; the hold; the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[repr(u8)]
pub enum Rejection {
    /// There is no such account.
    #[error("there is no such account")]
    NoSuchAccount = 1,
    /// The account is closed.
    #[error("the account is closed")]
    AccountClosed = 2,
    /// The account exists on other terms.
    #[error("the account exists with another currency or credit limit")]
    AccountExists = 3,
    /// An amount in another currency than the account's.
    #[error("the amount is not in the account's currency")]
    CurrencyDiffers = 4,
    /// An amount of zero or less.
    #[error("the amount is not above zero")]
    AmountNotPositive = 5,
    /// An amount, or a balance that would follow, above what an account can hold.
    #[error("the amount is too large")]
    AmountTooLarge = 6,
    /// The operation belongs to another session than its hold.
    #[error("the operation belongs to another session than its hold")]
    OperationOfAnotherSession = 7,
    /// The operation is older than those that are kept; whether it was done is unknown here.
    #[error("the operation may have been done and forgotten")]
    OperationForgotten = 8,
    /// The operation's id was used for another kind of request.
    #[error("the operation exists with a different kind")]
    ExistsWithDifferentKind = 9,
    /// The operation's id was used with another amount.
    #[error("the operation exists with a different amount")]
    ExistsWithDifferentAmount = 10,
    /// The operation's id was used for another hold.
    #[error("the operation exists with a different hold")]
    ExistsWithDifferentHold = 11,
    /// The operation's id was used with another credential.
    #[error("the operation exists with a different credential")]
    ExistsWithDifferentCredential = 12,
    /// The operation's id was used with another flag, direction, source, expiry or capture.
    #[error("the operation exists with different terms")]
    ExistsWithDifferentTerms = 13,
    /// The credential is not one of the account's.
    #[error("the credential is not linked to the account")]
    CredentialNotLinked = 14,
    /// The operation arrived after its `decide_by`.
    #[error("the operation came too late")]
    TooLate = 15,
    /// The hold is not known.
    #[error("the hold is not known")]
    HoldUnknown = 16,
    /// The hold has ended.
    #[error("the hold has ended")]
    HoldEnded = 17,
    /// The new total is the present total.
    #[error("the hold has this total already")]
    SameTotal = 18,
    /// The new total is in the other direction, or below the captured amount.
    #[error("the new total lies in the wrong direction")]
    WrongDirection = 19,
    /// More than is reserved.
    #[error("the amount exceeds the hold")]
    ExceedsHold = 20,
    /// The capture that is to be refunded is not known.
    #[error("the capture is not known")]
    CaptureUnknown = 21,
    /// More than was captured and not yet refunded.
    #[error("the amount exceeds what was captured")]
    ExceedsCapture = 22,
    /// Not enough money.
    #[error("insufficient funds")]
    InsufficientFunds = 23,
    /// The account has as many open holds as it can have.
    #[error("too many open holds")]
    TooManyHolds = 24,
    /// The account has as many grants or credentials as it can have, or the hold as many captures.
    #[error("too many entries of this kind")]
    TooMany = 25,
    /// The new credit limit is below the amount already used.
    #[error("the credit limit is already used")]
    LimitInUse = 26,
    /// The account cannot be closed while sessions hold money.
    #[error("there are open holds")]
    HoldsOpen = 27,
    /// The account cannot be closed while the driver owes money.
    #[error("the account owes money")]
    OwesMoney = 28,
    /// The account cannot be closed while a card's payment onto it is disputed, or not yet final.
    #[error("a card's payment onto the account is disputed or not yet final")]
    TopUpOpen = 29,
    /// The account pays for another session, and may pay for one at a time.
    #[error("the account pays for another session")]
    SessionOpen = 30,
}

stored!(enum Rejection {
    1: NoSuchAccount,
    2: AccountClosed,
    3: AccountExists,
    4: CurrencyDiffers,
    5: AmountNotPositive,
    6: AmountTooLarge,
    7: OperationOfAnotherSession,
    8: OperationForgotten,
    9: ExistsWithDifferentKind,
    10: ExistsWithDifferentAmount,
    11: ExistsWithDifferentHold,
    12: ExistsWithDifferentCredential,
    13: ExistsWithDifferentTerms,
    14: CredentialNotLinked,
    15: TooLate,
    16: HoldUnknown,
    17: HoldEnded,
    18: SameTotal,
    19: WrongDirection,
    20: ExceedsHold,
    21: CaptureUnknown,
    22: ExceedsCapture,
    23: InsufficientFunds,
    24: TooManyHolds,
    25: TooMany,
    26: LimitInUse,
    27: HoldsOpen,
    28: OwesMoney,
    29: TopUpOpen,
    30: SessionOpen,
});

impl Rejection {
    /// A short text for machines: the `code` of a decline, at most 16 characters.
    pub const fn code(self) -> &'static str {
        match self {
            Rejection::NoSuchAccount => "no_account",
            Rejection::AccountClosed => "account_closed",
            Rejection::AccountExists => "account_differs",
            Rejection::CurrencyDiffers => "currency_differs",
            Rejection::AmountNotPositive => "amount_not_pos",
            Rejection::AmountTooLarge => "amount_too_large",
            Rejection::OperationOfAnotherSession => "other_session",
            Rejection::OperationForgotten => "op_forgotten",
            Rejection::ExistsWithDifferentKind => "different_kind",
            Rejection::ExistsWithDifferentAmount => "different_amount",
            Rejection::ExistsWithDifferentHold => "different_hold",
            Rejection::ExistsWithDifferentCredential => "different_cred",
            Rejection::ExistsWithDifferentTerms => "different_terms",
            Rejection::CredentialNotLinked => "not_linked",
            Rejection::TooLate => "too_late",
            Rejection::HoldUnknown => "hold_unknown",
            Rejection::HoldEnded => "hold_ended",
            Rejection::SameTotal => "same_total",
            Rejection::WrongDirection => "wrong_direction",
            Rejection::ExceedsHold => "exceeds_hold",
            Rejection::CaptureUnknown => "capture_unknown",
            Rejection::ExceedsCapture => "exceeds_capture",
            Rejection::InsufficientFunds => "no_funds",
            Rejection::TooManyHolds => "too_many_holds",
            Rejection::TooMany => "too_many",
            Rejection::LimitInUse => "limit_in_use",
            Rejection::HoldsOpen => "holds_open",
            Rejection::OwesMoney => "owes_money",
            Rejection::TopUpOpen => "top_up_open",
            Rejection::SessionOpen => "session_open",
        }
    }

    /// The same refusal as a [`Decline`], which all processors use.
    pub fn to_decline(self) -> Decline {
        let class = match self {
            Rejection::InsufficientFunds | Rejection::TooManyHolds => DeclineClass::Soft,
            Rejection::NoSuchAccount
            | Rejection::AccountClosed
            | Rejection::SessionOpen
            | Rejection::CredentialNotLinked => DeclineClass::Hard,
            Rejection::TooLate => DeclineClass::Technical,
            Rejection::AccountExists
            | Rejection::CurrencyDiffers
            | Rejection::AmountNotPositive
            | Rejection::AmountTooLarge
            | Rejection::OperationOfAnotherSession
            | Rejection::OperationForgotten
            | Rejection::ExistsWithDifferentKind
            | Rejection::ExistsWithDifferentAmount
            | Rejection::ExistsWithDifferentHold
            | Rejection::ExistsWithDifferentCredential
            | Rejection::ExistsWithDifferentTerms
            | Rejection::HoldUnknown
            | Rejection::HoldEnded
            | Rejection::SameTotal
            | Rejection::WrongDirection
            | Rejection::ExceedsHold
            | Rejection::CaptureUnknown
            | Rejection::ExceedsCapture
            | Rejection::TooMany
            | Rejection::LimitInUse
            | Rejection::HoldsOpen
            | Rejection::OwesMoney
            | Rejection::TopUpOpen => DeclineClass::State,
        };
        Decline { class, code: self.code().into(), retry_after: None }
    }
}

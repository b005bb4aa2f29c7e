//! Why an account refuses a command.

use crate::payment::{Decline, DeclineClass};
use crate::stored::stored;
use serde::{Deserialize, Serialize};

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

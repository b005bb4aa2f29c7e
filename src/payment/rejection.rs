//! Refusals and discrepancies: typed, numbered, in order of precedence.

use super::OperationKind;
use crate::stored::stored;
use crate::units::{Amount, Currency};
use serde::{Deserialize, Serialize};

/// Reason of a refused command. Nothing changed. Where several apply, the one with the lowest number is given;
/// numbers are stable and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// Zero or less.
    #[error("the amount must be more than zero")]
    AmountNotPositive,
    /// The payment is in another currency.
    #[error("the payment is in {expected}, not in {found}")]
    CurrencyDiffers {
        /// The payment's currency.
        expected: Currency,
        /// The command's.
        found: Currency,
    },
    /// More than policy allows, or than can be counted.
    #[error("the amount is more than is allowed: {} {} at most", max.major(), max.currency)]
    AmountTooLarge {
        /// The bound.
        max: Amount,
    },
    /// The credential looks like a card number.
    #[error("a card number is not a credential; present a token")]
    CardNumber,
    /// A token of no bytes, or of more than [`Credential::MAX_TOKEN`](super::Credential::MAX_TOKEN).
    #[error("a token has 1 to 128 bytes")]
    TokenLength,
    /// The payment was ordered to end.
    #[error("the payment is ending")]
    Ending,
    /// As many holds as a payment may have.
    #[error("the payment has as many holds as it may have")]
    TooManyHolds,
    /// As many operations as a payment may have.
    #[error("the payment has as many operations as it may have")]
    TooManyOperations,
    /// An authorization is in progress; a second one could hold the driver's money twice.
    #[error("an authorization is under way")]
    AuthorizationPending,
    /// The outcome of an earlier authorization is unknown and it is being reversed; a second one could hold the
    /// driver's money twice.
    #[error("an earlier authorization is being reversed")]
    ReversalPending,
    /// The processor does not offer this.
    #[error("the processor cannot do this: {0:?}")]
    NotSupported(OperationKind),
    /// More than may be given on our own risk.
    #[error("the floor is above the limit of {} {}", limit.major(), limit.currency)]
    FloorAboveLimit {
        /// The bound.
        limit: Amount,
    },
    /// No hold has this number.
    #[error("there is no such hold")]
    UnknownHold,
    /// Nothing is reserved.
    #[error("no hold is open")]
    NoOpenHold,
    /// The hold is being released.
    #[error("the hold is being released")]
    ReleaseUnderWay,
    /// Money was or is being taken from the hold.
    #[error("money was or is being taken from the hold")]
    CaptureUnderWay,
    /// Its total is being changed already.
    #[error("the total of the hold is being changed")]
    AdjustmentUnderWay,
    /// The requested total is already reserved.
    #[error("this total is reserved already")]
    TotalUnchanged,
    /// An increase to less, or a decrease to more.
    #[error("this is not a change in that direction")]
    WrongDirection,
    /// As many increments as the processor or policy allows.
    #[error("the hold was raised as often as it may be")]
    IncrementsExhausted,
    /// Less is owed than was taken or is being taken; the difference is a refund.
    #[error("more was taken than is owed; give it back as a refund")]
    OwedFalls,
    /// More than was taken, less what was or is being given back, less the disputed amount.
    #[error("only {} {} can be given back", refundable.major(), refundable.currency)]
    RefundTooLarge {
        /// What can be refunded.
        refundable: Amount,
    },
    /// An increment was refused a moment ago; another one may be requested after a pause.
    #[error("an increment was refused a moment ago")]
    IncrementTooSoon,
    /// Increments of this hold were refused for good; the reserved amount can still be taken.
    #[error("increments of this hold were refused for good")]
    IncrementsRefused,
}

impl Rejection {
    /// Its stable number.
    pub const fn number(self) -> u16 {
        match self {
            Rejection::AmountNotPositive => 1,
            Rejection::CurrencyDiffers { .. } => 2,
            Rejection::AmountTooLarge { .. } => 3,
            Rejection::CardNumber => 4,
            Rejection::TokenLength => 5,
            Rejection::Ending => 6,
            Rejection::TooManyHolds => 7,
            Rejection::TooManyOperations => 8,
            Rejection::AuthorizationPending => 9,
            Rejection::ReversalPending => 10,
            Rejection::NotSupported(_) => 11,
            Rejection::FloorAboveLimit { .. } => 12,
            Rejection::UnknownHold => 13,
            Rejection::NoOpenHold => 14,
            Rejection::ReleaseUnderWay => 15,
            Rejection::CaptureUnderWay => 16,
            Rejection::AdjustmentUnderWay => 17,
            Rejection::TotalUnchanged => 18,
            Rejection::WrongDirection => 19,
            Rejection::IncrementsExhausted => 20,
            Rejection::OwedFalls => 21,
            Rejection::RefundTooLarge { .. } => 22,
            Rejection::IncrementTooSoon => 23,
            Rejection::IncrementsRefused => 24,
        }
    }
}

/// A fault in a processor's message. The numbers are stable; where several apply, the lowest is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[repr(u16)]
pub enum Discrepancy {
    /// The operation belongs to another processor.
    #[error("the operation belongs to another processor")]
    DifferentProcessor = 101,
    /// The message names another hold than the operation's.
    #[error("the message names another hold")]
    DifferentHold = 102,
    /// The message is in another currency.
    #[error("the message is in another currency")]
    DifferentCurrency = 103,
    /// The processor acted on another amount than requested, or than it reported before.
    #[error("the message has another amount")]
    DifferentAmount = 104,
    /// A final outcome was followed by the opposite one.
    #[error("the message contradicts an earlier one")]
    DifferentOutcome = 105,
    /// The number of an earlier message with another body.
    #[error("the number of this message was used for another one")]
    DifferentBody = 106,
    /// The report does not fit the known state of the hold.
    #[error("the report does not fit the hold")]
    DifferentState = 107,
}

stored!(enum Discrepancy {
    101: DifferentProcessor,
    102: DifferentHold,
    103: DifferentCurrency,
    104: DifferentAmount,
    105: DifferentOutcome,
    106: DifferentBody,
    107: DifferentState,
});

impl Discrepancy {
    /// Its stable number.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// Acknowledgement of a processor's message. Sent only when its consequences are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeCode {
    /// Taken in.
    Ok,
    /// Processed before: the same message, or another one with the same content.
    Duplicate,
    /// It contradicts its operation, or its own number; set aside.
    BodyMismatch(Discrepancy),
    /// It contradicts what is final; set aside.
    Conflict(Discrepancy),
    /// The gate never sent this operation.
    UnknownOperation,
    /// It concerns an operation or hold that does not exist yet, and may soon: to be repeated. Nothing of it is kept.
    Early,
}

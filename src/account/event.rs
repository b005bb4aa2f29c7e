//! The facts of an account, as they are stored.

use super::{Asked, DebitCause, Parts, Rejection, TopUpSource};
use crate::stored::stored;
use crate::units::{AccountId, Amount, Currency, Fingerprint, HoldId, OpId, Timestamp};
use serde::{Deserialize, Serialize};

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

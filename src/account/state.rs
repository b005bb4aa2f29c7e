//! State of an account: money, holds, and the operations that it keeps.

use super::{Asked, DebitCause, Direction, Rejection, TopUpSource};
use crate::limits;
use crate::stored::stored;
use crate::units::{AccountId, Amount, Currency, Fingerprint, HoldId, OpId, PaymentId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An account in each of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// Not opened yet.
    #[default]
    Unopened,
    /// Accepts holds.
    Open(Box<OpenAccount>),
    /// Accepts nothing new; still answers operations that it keeps.
    Closed(Box<OpenAccount>),
}

stored!(enum Account { 0: Unopened, 1: Open(open_account), 2: Closed(open_account) });

impl Account {
    /// The account's inner state, unless it was never opened.
    pub fn opened(&self) -> Option<&OpenAccount> {
        match self {
            Account::Unopened => None,
            Account::Open(account) | Account::Closed(account) => Some(account),
        }
    }
}

/// An amount in minor units of the account's currency, by kind of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Money that the driver paid (or owes, on credit).
    pub paid: i64,
    /// Money that was granted.
    pub promotional: i64,
}

stored!(value struct Parts { 0: paid, 1: promotional });

impl Parts {
    /// Both kinds together. Every part is bounded by [`limits::ACCOUNT_AMOUNT_MAX`], so the sum fits.
    pub const fn total(self) -> i64 {
        self.paid + self.promotional
    }

    pub(super) const fn plus(self, other: Parts) -> Parts {
        Parts { paid: self.paid + other.paid, promotional: self.promotional + other.promotional }
    }

    pub(super) const fn minus(self, other: Parts) -> Parts {
        Parts { paid: self.paid - other.paid, promotional: self.promotional - other.promotional }
    }
}

/// Promotional money of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The operation that granted it (or the refund that brought it back).
    pub op: OpId,
    /// The unused rest, in minor units; above zero.
    pub remaining: i64,
    /// In how many parts it has lapsed so far: what holds reserve lapses after the rest.
    pub lapsed_parts: u16,
    /// When it lapses; `None`: never.
    pub expires_at: Option<Timestamp>,
}

stored!(struct Grant { 0: op, 1: remaining, 2: lapsed_parts, 3: expires_at });

impl Grant {
    /// Order in which grants are used: the first to lapse is used first.
    pub(super) fn rank(&self) -> (i64, OpId) {
        (self.expires_at.map_or(i64::MAX, Timestamp::unix_ms), self.op)
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// One hold and what was answered about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Where it stands.
    pub state: HoldState,
    /// The operations that are kept, oldest first.
    pub operations: Vec<Remembered>,
    /// The highest number of a dropped operation of this hold; 0: none.
    pub forgotten_up_to: u16,
}

stored!(struct Hold { 0: state, 1: operations, 2: forgotten_up_to });

/// Where a hold stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldState {
    /// Money is reserved.
    Open {
        /// The reserved amount without captures.
        reserved: Parts,
        /// The captured amount so far.
        taken: Taken,
    },
    /// Ended by a capture (or released after one).
    Captured(Taken),
    /// Ended without a capture.
    Released,
    /// Never placed: there was not enough money.
    Declined,
    /// Reversed before it was placed.
    Reversed,
}

stored!(enum HoldState {
    0: Open { 0: reserved, 1: taken },
    1: Captured(taken),
    2: Released,
    3: Declined,
    4: Reversed,
});

/// The captured and refunded amounts of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Captured.
    pub captured: Parts,
    /// Given back.
    pub refunded: Parts,
    /// When the promotional part would have lapsed; `None`: never, or there is none.
    pub promotion_expires_at: Option<Timestamp>,
}

stored!(struct Taken { 0: captured, 1: refunded, 2: promotion_expires_at });

/// An operation and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The operation's number in its session.
    pub ordinal: u16,
    /// The body of the request.
    pub asked: Asked,
    /// The answer.
    pub answered: Answered,
}

stored!(struct Remembered { 0: ordinal, 1: asked, 2: answered });

/// A stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answered {
    /// Done, for this many minor units.
    Done(i64),
    /// Refused.
    Refused(Rejection),
    /// A release of a hold that does not exist.
    NothingToRelease,
}

stored!(enum Answered { 0: Done(minor), 1: Refused(rejection), 2: NothingToRelease });

/// A stored order that is not a payment operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// [`super::Command::TopUp`]
    TopUp(Amount, TopUpSource),
    /// [`super::Command::GrantPromotion`]
    Grant(Amount, Option<Timestamp>),
    /// [`super::Command::SetCreditLimit`]
    Limit(Amount),
    /// [`super::Command::LinkCredential`]
    Link(Fingerprint),
    /// [`super::Command::UnlinkCredential`]
    Unlink(Fingerprint),
    /// [`super::Command::Close`]
    Close,
    /// [`super::Command::Debit`]
    Debit(Amount, DebitCause),
}

stored!(enum Order {
    0: TopUp(0: amount, 1: top_up_source),
    1: Grant(0: amount, 1: timestamp),
    2: Limit(amount),
    3: Link(fingerprint),
    4: Unlink(fingerprint),
    5: Close,
    6: Debit(0: amount, 1: cause),
});

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// When.
    pub at: Timestamp,
    /// The operation that caused it.
    pub op: OpId,
    /// Its kind.
    pub kind: MovementKind,
    /// Its change of the balance, in minor units; negative for outgoing money.
    pub change: Parts,
    /// The balance (posted money, holds not deducted) afterwards.
    pub balance: Parts,
}

stored!(struct Movement { 0: at, 1: op, 2: kind, 3: change, 4: balance });

/// Kinds of movements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovementKind {
    /// Paid money was credited.
    TopUp,
    /// Promotional money was granted.
    Promotion,
    /// Promotional money lapsed.
    Expiry,
    /// A session was paid.
    Capture,
    /// A capture was given back.
    Refund,
    /// The rest was paid out at the end.
    PayOut,
    /// A top-up's money was taken back.
    Debit(DebitCause),
    /// A refund of a top-up failed, and its money is back.
    RefundFailed,
}

stored!(enum MovementKind { 0: TopUp, 1: Promotion, 2: Expiry, 3: Capture, 4: Refund, 5: PayOut, 6: Debit(cause), 7: RefundFailed });

/// A credential that may use the account.
pub type CredentialLink = Fingerprint;

/// Balance of an account, in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// Money on the account, holds not deducted.
    pub posted: Parts,
    /// Reserved by open holds.
    pub held: Parts,
    /// Credit limit of paid money.
    pub credit_limit: i64,
}

impl Balance {
    /// The amount that can still be reserved.
    pub const fn available(&self) -> i64 {
        self.posted.total() - self.held.total() + self.credit_limit
    }

    /// Paid money that is missing: below zero, with or without a credit limit.
    pub const fn owes(&self) -> i64 {
        if self.posted.paid < 0 { -self.posted.paid } else { 0 }
    }
}

/// The state of an account that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAccount {
    /// Its name.
    pub id: AccountId,
    /// The operation that opened it.
    pub opened_by: OpId,
    /// Its currency.
    pub currency: Currency,
    /// The credit limit that it was opened with.
    pub first_credit_limit: i64,
    /// Credit limit of paid money, in minor units.
    pub credit_limit: i64,
    /// Paid money, holds not deducted.
    pub paid: i64,
    /// Promotional money in the order in which it is used.
    pub grants: Vec<Grant>,
    /// Reserved by the open holds: always their sum.
    pub held: Parts,
    /// Number of open holds.
    pub open_holds: u32,
    /// Open holds, and closed ones as long as they are kept.
    pub holds: BTreeMap<HoldId, Hold>,
    /// Closed holds in the order in which they closed.
    pub closed: VecDeque<(Timestamp, HoldId)>,
    /// When the youngest of the dropped holds was closed.
    pub forgotten_until: Option<Timestamp>,
    /// Refused authorizations in the order in which they were refused.
    pub declined: VecDeque<HoldId>,
    /// Credentials that may use the account; if empty, the router of the operations decides.
    pub credentials: BTreeSet<CredentialLink>,
    /// The last orders, oldest first.
    pub orders: VecDeque<(OpId, Order)>,
    /// The youngest session time (milliseconds) among the dropped orders.
    pub orders_forgotten_until_ms: Option<u64>,
    /// The last movements, oldest first.
    pub movements: VecDeque<Movement>,
}

stored!(struct OpenAccount {
    0: id, 1: opened_by, 2: currency, 3: first_credit_limit, 4: credit_limit, 5: paid, 6: grants, 7: held,
    8: open_holds, 9: holds, 10: closed, 11: forgotten_until, 12: declined, 13: credentials, 14: orders,
    15: orders_forgotten_until_ms, 16: movements,
});

impl OpenAccount {
    /// The balance.
    pub fn balance(&self) -> Balance {
        Balance { currency: self.currency, posted: self.posted(), held: self.held, credit_limit: self.credit_limit }
    }

    /// Money on the account, holds not deducted.
    pub fn posted(&self) -> Parts {
        Parts { paid: self.paid, promotional: self.grants.iter().map(|grant| grant.remaining).sum() }
    }

    /// Minor units as an amount of the account's currency.
    pub fn amount(&self, minor: i64) -> Amount {
        Amount::new(minor, self.currency)
    }

    /// The amount that can be reserved now, by kind of money: promotional money that is due to lapse does not count.
    pub(super) fn available(&self, now: Timestamp) -> Parts {
        let promotional =
            self.unreserved_grants().filter(|(grant, _)| !grant.is_due(now)).map(|(_, unreserved)| unreserved).sum();
        Parts { paid: self.paid + self.credit_limit - self.held.paid, promotional }
    }

    /// Grants that are due to lapse, with the part that no hold reserves. What a hold reserves lapses when the hold
    /// ends without using it.
    pub(super) fn lapsing(&self, now: Timestamp) -> impl Iterator<Item = (&Grant, i64)> {
        self.unreserved_grants().filter(move |(grant, unreserved)| grant.is_due(now) && *unreserved > 0)
    }

    /// Every grant with its unreserved part. Holds reserve the grants that are used first.
    pub(super) fn unreserved_grants(&self) -> impl Iterator<Item = (&Grant, i64)> {
        let mut reserved = self.held.promotional;
        self.grants.iter().map(move |grant| {
            let covered = reserved.min(grant.remaining);
            reserved -= covered;
            (grant, grant.remaining - covered)
        })
    }

    /// Whether a missing hold may be a dropped one: its session is as old as one of those.
    pub(super) fn may_have_forgotten(&self, hold: HoldId) -> bool {
        let began_ms = session_time_ms(hold.0);
        self.forgotten_until.is_some_and(|until| began_ms <= until.unix_ms().unsigned_abs())
    }

    /// Number of closed holds that exceed the bound at this moment, oldest first.
    pub(super) fn forgettable(&self, now: Timestamp) -> usize {
        let surplus = self.closed.len().saturating_sub(limits::ACCOUNT_CLOSED_HOLDS);
        let too_many = self.closed.len().saturating_sub(limits::ACCOUNT_CLOSED_HOLDS_MAX);
        let too_old = self.closed.iter().take(surplus);
        let too_old = too_old.take_while(|(at, _)| now.since(*at) > limits::ACCOUNT_MEMORY).count();
        too_many.max(too_old)
    }
}

impl OpenAccount {
    /// Whether a session other than this one has an open hold of which nothing was captured yet.
    pub fn pays_for_another(&self, payment: Option<PaymentId>) -> bool {
        let is_another = |id: &HoldId| payment.is_none_or(|payment| id.payment() != payment);
        let is_charging = |hold: &Hold| match &hold.state {
            HoldState::Open { taken, .. } => taken.captured.total() == 0,
            HoldState::Captured(_) | HoldState::Released | HoldState::Declined | HoldState::Reversed => false,
        };
        self.open_holds > 0 && self.holds.iter().any(|(id, hold)| is_another(id) && is_charging(hold))
    }
}

impl Hold {
    /// The operation of this hold with this number, if it is kept.
    pub(super) fn remembered(&self, ordinal: u16) -> Option<&Remembered> {
        self.operations.iter().find(|operation| operation.ordinal == ordinal)
    }

    /// The reserved amount, if the hold is open.
    pub fn reserved(&self) -> Option<Parts> {
        match self.state {
            HoldState::Open { reserved, .. } => Some(reserved),
            HoldState::Captured(_) | HoldState::Released | HoldState::Declined | HoldState::Reversed => None,
        }
    }

    /// The captured and refunded amounts.
    pub fn taken(&self) -> Option<Taken> {
        match self.state {
            HoldState::Open { taken, .. } | HoldState::Captured(taken) => Some(taken),
            HoldState::Released | HoldState::Declined | HoldState::Reversed => None,
        }
    }
}

impl Asked {
    /// Compares with the body of another request under the same id.
    pub(super) fn difference(&self, other: &Asked) -> Option<Rejection> {
        use Asked::{Adjust, Capture, Hold, Refund, Release};
        let pick = |same_amount: bool, same_terms: bool| match (same_amount, same_terms) {
            (true, true) => None,
            (false, _) => Some(Rejection::ExistsWithDifferentAmount),
            (true, false) => Some(Rejection::ExistsWithDifferentTerms),
        };
        match (self, other) {
            (
                Hold { amount, partial_ok, credential },
                Hold { amount: other, partial_ok: other_ok, credential: other_credential },
            ) => {
                if credential == other_credential {
                    pick(amount == other, partial_ok == other_ok)
                } else {
                    Some(Rejection::ExistsWithDifferentCredential)
                }
            }
            (Adjust { direction, new_total }, Adjust { direction: other_direction, new_total: other }) => {
                pick(new_total == other, direction == other_direction)
            }
            (Capture { amount, last }, Capture { amount: other, last: other_last }) => {
                pick(amount == other, last == other_last)
            }
            (Refund { capture, amount }, Refund { capture: other_capture, amount: other }) => {
                pick(amount == other, capture == other_capture)
            }
            (Release, Release) => None,
            (Hold { .. } | Adjust { .. } | Capture { .. } | Refund { .. } | Release, _) => {
                Some(Rejection::ExistsWithDifferentKind)
            }
        }
    }
}

impl Order {
    /// Compares with another order under the same id.
    pub(super) fn difference(&self, other: &Order) -> Option<Rejection> {
        let amounts = match (self, other) {
            (Order::TopUp(amount, _), Order::TopUp(other, _))
            | (Order::Grant(amount, _), Order::Grant(other, _))
            | (Order::Debit(amount, _), Order::Debit(other, _))
            | (Order::Limit(amount), Order::Limit(other)) => amount == other,
            (Order::Link(_), Order::Link(_)) | (Order::Unlink(_), Order::Unlink(_)) | (Order::Close, Order::Close) => {
                true
            }
            (
                Order::TopUp(..)
                | Order::Grant(..)
                | Order::Limit(_)
                | Order::Link(_)
                | Order::Unlink(_)
                | Order::Debit(..)
                | Order::Close,
                _,
            ) => return Some(Rejection::ExistsWithDifferentKind),
        };
        match (amounts, self == other) {
            (_, true) => None,
            (false, false) => Some(Rejection::ExistsWithDifferentAmount),
            (true, false) => Some(Rejection::ExistsWithDifferentTerms),
        }
    }
}

impl Direction {
    /// Whether the change from `old` to `new` has this direction.
    pub(super) const fn fits(self, old: i64, new: i64) -> bool {
        match self {
            Direction::Up => new > old,
            Direction::Down => new < old,
        }
    }
}

/// The time at which the session of an operation began, in milliseconds: the upper 48 bits of its id.
pub(super) fn session_time_ms(op: OpId) -> u64 {
    u64::try_from(op.as_u128() >> 80).expect("48 bits fit")
}

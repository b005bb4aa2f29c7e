//! Results of operators' orders.

use crate::account;
use crate::billing::reconciliation::register::Refusal;
use crate::payment;
use crate::units::Amount;
use std::fmt;

/// Result of an operator's order to an account, or about a session's money.
#[derive(Clone, Debug)]
pub enum Ordered {
    /// Done (now, or it was already); the balance afterwards.
    Done(account::Balance),
    /// Not done.
    Refused(account::Rejection),
    /// Not done, for a reason outside of the account.
    Declined(Box<str>),
    /// Requested (now, or it was already), with the state of the session's money.
    Asked(MoneyStanding),
    /// Not requested.
    MoneyRefused(payment::Rejection),
    /// There is no such session, neither live nor archived.
    NoSession,
    /// The order about a processor is a fact now, or was one already.
    Noted,
}

/// How a session's money stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoneyStanding {
    /// Taken.
    pub captured: Amount,
    /// Given back.
    pub refunded: Amount,
    /// Being given back.
    pub refunding: Amount,
    /// Reserved.
    pub held: Amount,
}

impl MoneyStanding {
    /// Of a payment.
    pub fn of(payment: &payment::Payment) -> MoneyStanding {
        MoneyStanding {
            captured: payment.captured(),
            refunded: payment.refunded(),
            refunding: payment.refunding(),
            held: payment.authorized(),
        }
    }
}

/// The operator that imports a part.
pub struct SettlementTold(pub Box<dyn FnOnce(Option<Refusal>) + Send>);

impl fmt::Debug for SettlementTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettlementTold")
    }
}

/// Receiver of the result.
pub struct OrderReply(pub Box<dyn FnOnce(Ordered) + Send>);

impl fmt::Debug for OrderReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrderReply")
    }
}

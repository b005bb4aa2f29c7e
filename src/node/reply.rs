//! Replies to requests of a shard or a processor: orders and questions.
//!
//! An asker is a number, not a function: a request and its reply are plain values, wherever the asker is.

use super::processor::{ProcessorFigures, Tested};
use super::query::Answer;
use crate::account;
use crate::billing::reconciliation::register::Refusal;
use crate::message::{OrderNumber, OrderOutcome};
use crate::payment;
use crate::session;
use crate::units::Amount;

/// A node of a gate, by its place among the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u16);

/// Where a reply goes: the number under which a node keeps the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The node of the asker.
    pub node: NodeNumber,
    /// The asker's number there; 0: the reply is not wanted.
    pub number: u64,
}

impl ReplyTo {
    /// No reply is wanted.
    pub const NONE: ReplyTo = ReplyTo { node: NodeNumber(0), number: 0 };
}

impl From<ReplyTo> for OrderNumber {
    fn from(reply: ReplyTo) -> OrderNumber {
        OrderNumber { node: reply.node.0, number: reply.number }
    }
}

impl From<OrderNumber> for ReplyTo {
    fn from(order: OrderNumber) -> ReplyTo {
        ReplyTo { node: NodeNumber(order.node), number: order.number }
    }
}

/// A reply to an asker.
#[derive(Debug)]
pub enum Reply {
    /// An operator's order is carried out, or refused.
    Ordered(Ordered),
    /// A part of a settlement batch is durable, or an order about a batch is; or why not.
    Settlement(Option<Refusal>),
    /// A processor's figures.
    Processor(Box<ProcessorFigures>),
    /// The answer of a shard to a question.
    Answer(Answer),
    /// A processor was tested.
    Tested(Tested),
}

/// What an asker expects.
pub trait Expected: Sized {
    /// The value in a reply; `None`: it replies to something else.
    fn of(reply: Reply) -> Option<Self>;
}

macro_rules! expected {
    ($($kind:ident($value:ty) $(, $unboxed:tt)?;)*) => { $(
        impl Expected for $value {
            fn of(reply: Reply) -> Option<$value> {
                match reply {
                    Reply::$kind(value) => Some($($unboxed)? value),
                    _ => None,
                }
            }
        }
    )* };
}

expected! {
    Ordered(Ordered);
    Settlement(Option<Refusal>);
    Processor(ProcessorFigures), *;
    Answer(Answer);
    Tested(Tested);
}

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
    /// It is decided on what is kept of a session for review, now or before.
    Ruled(session::Ruled),
    /// There is no such session, neither live nor archived.
    NoSession,
    /// There is no charger of this id.
    NoCharger,
    /// The order about a processor is a fact now, or was one already.
    Noted,
    /// What becomes of an order to a charger.
    Charger(OrderOutcome),
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

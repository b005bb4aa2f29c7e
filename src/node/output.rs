//! Outputs of a shard, released once the records that cause them are durable.

use super::hosted::Slot;
use super::shard::Input;
use crate::account;
use crate::billing::invoice::{Issued, Request, SeriesFamily, Turn};
use crate::billing::reconciliation::register::Refusal;
use crate::message::{Code, ToCharger};
use crate::payment::{self, Answer, CallbackId, Operation};
use crate::units::{AccountId, Amount, Cost, PartitionId, ProcessorId, SessionId, SessionKey};
use std::fmt;

/// A charger of this shard: the index of its partition in the shard, and its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChargerRef {
    /// Index of the partition in the shard.
    pub partition: u16,
    /// Its cell there.
    pub slot: Slot,
}

/// Something to be sent. Small, because a million of them may wait: what is rare is boxed.
#[derive(Debug)]
pub enum Output {
    /// A cumulative acknowledgement, the most frequent output.
    MeterAck {
        /// The receiver.
        charger: ChargerRef,
        /// The charger's number for the session.
        session: SessionKey,
        /// Everything up to this sequence is durable.
        up_to: u32,
        /// The running cost.
        running: Cost,
    },
    /// Any other message to a charger; sent on its connection when it is released.
    Charger(ChargerRef, Box<ToCharger>),
    /// An operation for a processor.
    Operation(Box<Operation>),
    /// An operation for an account, on any shard.
    Account(Box<(AccountId, Operation)>),
    /// An account's answer for the session that made the request, on any shard.
    AccountAnswer(Box<(ProcessorId, Answer)>),
    /// A request for the number of a document, to the home of its series, on any shard.
    AskNumber(Box<Request>),
    /// The answer, to the partition of the document's session, on any shard.
    Numbered(Box<(SeriesFamily, Turn, Box<Issued>)>),
    /// A processor's message is dealt with.
    Callback {
        /// The sender of the message.
        processor: ProcessorId,
        /// Which.
        callback: CallbackId,
        /// `None`: what follows from it is durable. Else why it is refused.
        refused: Option<Code>,
    },
    /// A closed session for the archive.
    Archive(SessionId),
    /// A charger is to get the receipt of a session that is in the archive.
    ReceiptAgain(ChargerRef, SessionKey, SessionId),
    /// A processor's message concerns a session that is not live: it may be in the archive.
    LoadArchived(SessionId, Box<Input>),
    /// A page of the books of a partition is full: it is for the archive.
    ArchivePage(PartitionId, u64),
    /// A settlement batch of this partition is to be booked, or taken back.
    BatchDue(PartitionId),
    /// A part of a settlement batch that an operator brought is durable, or refused.
    SettlementTold(SettlementTold, Option<Refusal>),
    /// An operator's order is carried out, or refused.
    Ordered(Box<(OrderReply, Ordered)>),
}

impl Output {
    /// The charger that it is for, if it is for one.
    pub fn charger(&self) -> Option<ChargerRef> {
        match self {
            Output::MeterAck { charger, .. } | Output::Charger(charger, _) => Some(*charger),
            Output::Operation(_)
            | Output::Account(_)
            | Output::AccountAnswer(_)
            | Output::AskNumber(_)
            | Output::Numbered(_)
            | Output::Callback { .. }
            | Output::Archive(_)
            | Output::ReceiptAgain(..)
            | Output::LoadArchived(..)
            | Output::ArchivePage(..)
            | Output::BatchDue(_)
            | Output::SettlementTold(..)
            | Output::Ordered(_) => None,
        }
    }
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

/// Receiver of the result of a settlement batch's part.
#[derive(Debug)]
pub enum SettlementReply {
    /// The processor that sent it.
    Callback(ProcessorId, CallbackId),
    /// An operator.
    Order(SettlementTold),
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

//! Outputs of a shard, released once the records that cause them are durable.

use super::input::{FundsQuery, Input};
use super::reference::ChargerRef;
use super::reply::{Ordered, ReplyTo};
use crate::billing::invoice::{Issued, Request, RequestNumbers, SeriesFamily};
use crate::billing::reconciliation::register::Refusal;
use crate::message::{Code, ToCharger};
use crate::payment::{Answer, CallbackId, Operation};
use crate::session::Session;
use crate::units::{AccountId, Cost, PartitionId, ProcessorId, SessionId, SessionKey};

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
    /// A charger's question what an account has, to the account, on any shard.
    AskFunds(Box<FundsQuery>),
    /// A message for a charger of the partition of this id, on any shard.
    Notify(Box<(SessionId, ChargerRef, ToCharger)>),
    /// A request for the number of a document, to the home of its series, on any shard.
    AskNumber(Box<Request>),
    /// The answer, to the partition of the document's session, on any shard.
    Numbered(Box<(SeriesFamily, RequestNumbers, Box<Issued>)>),
    /// A processor's message is dealt with.
    Callback {
        /// The sender of the message.
        processor: ProcessorId,
        /// Which.
        callback: CallbackId,
        /// `None`: what follows from it is durable. Else why it is refused.
        refused: Option<Code>,
    },
    /// A closed session for the archive, as it is when its facts up to now are durable. One that changed since is archived by the
    /// output of that change: the archive must not have what the log may lose.
    Archive(Box<Session>),
    /// A charger is to get the receipt of a session that is in the archive.
    ReceiptAgain(ChargerRef, SessionKey, SessionId),
    /// A processor's message concerns a session that is not live: it may be in the archive.
    LoadArchived(SessionId, Box<Input>),
    /// A page of the books of a partition is full: it is for the archive.
    ArchivePage(PartitionId, u64),
    /// A settlement batch of this partition is to be booked, or taken back.
    BatchDue(PartitionId),
    /// A part of a settlement batch that an operator brought is durable, or refused.
    SettlementAnswer(ReplyTo, Option<Refusal>),
    /// An operator's order is carried out, or refused.
    Ordered(Box<(ReplyTo, Ordered)>),
}

impl Output {
    /// The charger that it is for, if it is for one.
    pub fn charger(&self) -> Option<ChargerRef> {
        match self {
            Output::MeterAck { charger, .. } | Output::Charger(charger, _) => Some(*charger),
            Output::Operation(_)
            | Output::Account(_)
            | Output::AccountAnswer(_)
            | Output::AskFunds(_)
            | Output::Notify(_)
            | Output::AskNumber(_)
            | Output::Numbered(_)
            | Output::Callback { .. }
            | Output::Archive(_)
            | Output::ReceiptAgain(..)
            | Output::LoadArchived(..)
            | Output::ArchivePage(..)
            | Output::BatchDue(_)
            | Output::SettlementAnswer(..)
            | Output::Ordered(_) => None,
        }
    }
}

//! Inputs of a shard, other than the messages of its chargers.

use super::certificates::EndsSoon;
use super::reference::ChargerRef;
use super::reply::ReplyTo;
use super::topping_up::TopUpOrder;
use crate::account;
use crate::accounting::settlement;
use crate::billing::invoice::{Issued, Request, RequestNumbers, SeriesFamily};
use crate::billing::reconciliation::register::{BatchKey, Booking, Part};
use crate::message::{ChargerOrder, SessionName, Ticket, ToCharger};
use crate::payment::{self, Answer, CallbackId, Capabilities, Notification, Operation, Ordinal, Payment};
use crate::session::{self, Command, StopReason};
use crate::units::{AccountId, Amount, ChargerId, Energy, OpId, PartitionId, PaymentId, ProcessorId, SessionId};

/// Something that happened outside of the shard, other than a charger's message.
#[derive(Debug)]
pub enum Input {
    /// A processor answered. It is the processor of the connection, not one that the answer claims.
    Answer(ProcessorId, Box<Answer>),
    /// A processor reported something.
    Notification(ProcessorId, Notification),
    /// No connection could take this attempt of an operation: it was certainly not sent.
    NotSent(OpId, u16),
    /// The connection was lost on which this attempt had been sent.
    ConnectionLost(OpId, u16),
    /// A session's operation for an account of this shard.
    AskAccount(AccountId, Box<Operation>),
    /// An operator's order for an account of this shard.
    Order(AccountId, Box<account::Command>, ReplyTo),
    /// A partition's request to a series of this shard for the number of a document.
    AskNumber(Box<Request>),
    /// A document of a session of this shard has its number.
    Numbered(Box<(SeriesFamily, RequestNumbers, Box<Issued>)>),
    /// Ends a session without its charger.
    StopSession(SessionId, StopReason),
    /// A later message of a charger for a session that was ended without messages.
    Late(SessionId, Box<session::Command>),
    /// The end of a call of a charger about a session that was archived: what it reported waits for the session before this.
    LateFence(SessionId, Box<LateFence>),
    /// An operator's order on what is kept of a session for review.
    Review(SessionId, ReviewOrder, ReplyTo),
    /// An operator's order about the money of a session, live or archived, or of a top-up.
    OrderMoney(PaymentId, MoneyOrder, ReplyTo),
    /// A closed session is in the archive, durably, in this state.
    Archived(Box<session::Session>),
    /// An archived session that was restored, the text of its tariff, and the message that it was restored for.
    Restored(Box<session::Session>, Box<str>, Box<Input>),
    /// A closed session for which the archiver had no room.
    ArchiveAgain(SessionId),
    /// A message about a session that is neither live nor in the archive.
    NotArchived(Box<Input>),
    /// A processor connected, and declared this.
    Declared(ProcessorId, Box<Capabilities>),
    /// A processor's connections changed; none: its last one is gone.
    Stands(ProcessorId, Option<Drains>),
    /// An operator stops new holds at a processor, or allows them again.
    DrainProcessor(ProcessorId, bool, ReplyTo),
    /// A part of a settlement batch, with the receiver of the confirmation that it is durable.
    Settlement(Box<Part>, SettlementReply),
    /// A part of a settlement batch was laid beside our operations.
    Booked(Box<Booking>),
    /// An operator has a settlement batch taken back, for this reason.
    RevertBatch(BatchKey, Box<str>, SettlementReply),
    /// A part of a batch that is taken back is booked the other way round.
    UnbookPart(BatchKey, u32),
    /// A top-up of an account of this shard.
    TopUp(Box<TopUpOrder>, ReplyTo),
    /// A certificate in use ends soon.
    CertificateEnds(Box<EndsSoon>),
    /// A page of the books is in the archive, durably.
    PageArchived(PartitionId, u64),
    /// A charger wants to know what an account of this shard has.
    AskFunds(Box<FundsQuery>),
    /// An operator registers the key of a charger's meter (a SubjectPublicKeyInfo in DER), or takes it back.
    MeterKey(ChargerId, Option<Box<[u8]>>, ReplyTo),
    /// An operator's order to a charger of this shard.
    OrderCharger(Box<(ChargerId, ChargerOrder)>, ReplyTo),
    /// A message for a charger, about this session or, of that partition, about none.
    Notify(SessionId, ChargerRef, Box<ToCharger>),
}

/// Whether a connected processor wishes no new holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drains(pub bool);

/// A charger's question what an account has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundsQuery {
    /// The account.
    pub account: AccountId,
    /// The partition of the charger.
    pub home: PartitionId,
    /// The charger.
    pub charger: ChargerRef,
    /// Its call.
    pub ticket: Ticket,
    /// Whether the account may pay for one session at a time, and the question is about another one.
    pub is_alone: bool,
}

/// A call of a charger about a session that was archived with an estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateFence {
    /// The charger.
    pub charger: ChargerRef,
    /// Its call.
    pub ticket: Ticket,
    /// The session, as the call names it.
    pub name: Option<SessionName>,
    /// What the call reports, in its order.
    pub commands: Vec<Command>,
}

/// An input that its shard did not get.
#[derive(Debug)]
pub struct Undelivered {
    /// The input, unchanged.
    pub input: Input,
    /// Why.
    pub why: NotTaken,
}

/// Why a shard did not get an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It has no room now; ask again.
    #[error("it has no room now")]
    Busy,
    /// It is not open here now; ask again.
    #[error("its shard is not open here now")]
    NotHere,
    /// There is no such partition.
    #[error("there is no such partition")]
    NoShard,
}

/// An operator's order on what is kept of a session for review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewOrder {
    /// It is billed.
    Release {
        /// So much of it; none: all of it.
        energy: Option<Energy>,
        /// The account that pays; none: that of the session's credential.
        account: Option<AccountId>,
    },
    /// It is never billed.
    Drop,
}

/// An operator's order about the money of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyOrder {
    /// Refund up to this total: repeating the order refunds once.
    RefundTo(Amount),
    /// Release a hold, regardless of the session.
    Release(Ordinal),
}

impl MoneyOrder {
    /// Its command to the payment; `None` when it is done, or in progress, already.
    pub fn command(self, payment: &Payment) -> Option<payment::Command> {
        match self {
            MoneyOrder::RefundTo(total) => {
                let done = payment.refunded().minor.saturating_add(payment.refunding().minor);
                let left = total.minor.saturating_sub(done);
                (total.minor <= 0 || left > 0)
                    .then(|| payment::Command::Refund(Amount::new(left.max(0), total.currency)))
            }
            MoneyOrder::Release(hold) => Some(payment::Command::ReleaseByOperator { hold }),
        }
    }
}

impl Input {
    /// The partition that it is for, among `count`. An answer may name one that does not exist.
    pub fn partition(&self, count: u16) -> PartitionId {
        match self {
            Input::Answer(_, answer) => answer.operation.payment().partition(),
            Input::Notification(_, notification) => notification.hold.payment().partition(),
            Input::NotSent(operation, _) | Input::ConnectionLost(operation, _) => operation.payment().partition(),
            Input::AskAccount(account, _) | Input::Order(account, _, _) => PartitionId::of(account.as_str(), count),
            Input::MeterKey(charger, ..) => PartitionId::of(charger.as_str(), count),
            Input::OrderCharger(order, _) => PartitionId::of(order.0.as_str(), count),
            Input::AskFunds(query) => PartitionId::of(query.account.as_str(), count),
            Input::AskNumber(request) => request.family.home(count),
            Input::Numbered(numbered) => numbered.1.partition,
            Input::ArchiveAgain(session)
            | Input::StopSession(session, _)
            | Input::Late(session, _)
            | Input::LateFence(session, _)
            | Input::Review(session, _, _)
            | Input::Notify(session, _, _) => session.partition(),
            Input::OrderMoney(payment, _, _) => payment.partition(),
            Input::Archived(session) | Input::Restored(session, ..) => session.id.partition(),
            Input::NotArchived(input) => input.partition(count),
            Input::TopUp(order, _) => order.id.partition(),
            Input::CertificateEnds(soon) => PartitionId::of(&soon.name, count),
            Input::PageArchived(partition, _) => *partition,
            Input::Declared(processor, _) | Input::Stands(processor, _) | Input::DrainProcessor(processor, _, _) => {
                settlement::partition_of(processor, count)
            }
            Input::Settlement(part, _) => settlement::partition_of(&part.processor, count),
            Input::Booked(booking) => settlement::partition_of(&booking.processor, count),
            Input::RevertBatch(key, ..) | Input::UnbookPart(key, _) => settlement::partition_of(&key.0, count),
        }
    }
}

/// Receiver of the result of a settlement batch's part.
#[derive(Debug)]
pub enum SettlementReply {
    /// The processor that sent it.
    Callback(ProcessorId, CallbackId),
    /// An operator.
    Order(ReplyTo),
}

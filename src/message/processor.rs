//! Messages between a payment processor and the gate, in the types of the domain.

use super::{Code, GoAway, Terms, numbered::numbered};
use crate::payment::{Answer, CallbackId, Capabilities, Notification, Operation};
use crate::units::{Currency, OpId, ProcessorId, Timestamp};
use ring::digest;

/// A message from a processor. (The link answers pings itself and does not pass them on.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromProcessor {
    /// First on a connection. Answered by [`ToProcessor::HelloAck`].
    Hello(ProcessorHello),
    /// The outcome of an operation. Repeated until [`ToProcessor::Ack`] or [`ToProcessor::Nack`].
    Answer(Answer),
    /// An event that the processor reports without a request. Repeated until acknowledged.
    Notification(Notification),
    /// One part of a settlement batch. Repeated until acknowledged.
    Settlement(SettlementPart),
    /// Most unanswered operations on this connection from now on, in place of the former number.
    Credit {
        /// 0 pauses.
        operations: u32,
    },
    /// No new holds, please; operations in flight are finished until the deadline.
    Drain(Drain),
    /// The processor ends the connection.
    GoAway(GoAway),
}

/// A message to a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToProcessor {
    /// Answers Hello.
    HelloAck(ProcessorHelloAck),
    /// Something to be done, exactly once per id.
    Operation(Operation),
    /// The consequences of the callback are durable.
    Ack {
        /// The callback.
        callback: CallbackId,
    },
    /// The callback is refused; it has no consequences, and need not be repeated.
    Nack {
        /// The callback.
        callback: CallbackId,
        /// Why (500s).
        code: Code,
        /// For a person.
        text: Box<str>,
    },
    /// No new holds will be sent; operations in flight are finished until the deadline.
    Drain(Drain),
    /// The gate ends the connection.
    GoAway(GoAway),
}

/// A processor introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorHello {
    /// The processor; the link has compared it with the certificate.
    pub processor: ProcessorId,
    /// Which of its machines this is, at most [`limits::MESSAGE_NAME_MAX`](crate::limits::MESSAGE_NAME_MAX) bytes.
    pub instance: Box<str>,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Its clock.
    pub clock: Timestamp,
}

/// The gate's answer to a processor's Hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorHelloAck {
    /// Intervals that the gate requires of the connection.
    pub terms: Terms,
    /// The gate's wall clock.
    pub server_time: Timestamp,
}

/// One side announces that it will end the connection after the messages in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Latest time of its `Bye`.
    pub deadline: Timestamp,
    /// For a person.
    pub text: Box<str>,
}

/// One part of a settlement batch: what a processor pays out, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementPart {
    /// The processor's number for this message.
    pub callback: CallbackId,
    /// The batch, the same in all its parts.
    pub batch: u128,
    /// Counted from 1.
    pub part: u32,
    /// Calendar day on which the money moves, as days since 1970-01-01.
    pub value_day: i32,
    /// The currency of all lines.
    pub currency: Currency,
    /// At most [`limits::SETTLEMENT_LINES_PER_PART`](crate::limits::SETTLEMENT_LINES_PER_PART).
    pub lines: Vec<SettlementLine>,
    /// In the last part.
    pub trailer: Option<SettlementTrailer>,
}

/// One movement of money. Minor units, positive towards the operator of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementLine {
    /// The operation that it settles, where it settles one.
    pub operation: Option<OpId>,
    /// The kind of movement.
    pub kind: SettlementKind,
    /// Before the processor's fee.
    pub gross: i64,
    /// The processor's fee (negative: it is taken).
    pub fee: i64,
    /// The amount paid out.
    pub net: i64,
}

numbered! {
    /// The subject of a settlement line. The numbers are on the wire and are never reused.
    SettlementKind {
        /// Captured money.
        Capture = 1,
        /// Money given back.
        Refund = 2,
        /// A fee of its own.
        Fee = 3,
        /// The issuer took money back.
        Chargeback = 4,
        /// A chargeback was undone.
        ChargebackReversal = 5,
        /// A correction.
        Adjustment = 6,
        /// Withheld for later, or released.
        Reserve = 7,
        /// Paid out to the bank.
        Payout = 8,
    }
}

/// Counts and sums over all parts of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementTrailer {
    /// Number of lines.
    pub lines: u32,
    /// Sum of `gross`.
    pub gross: i64,
    /// Sum of `fee`.
    pub fee: i64,
    /// Sum of `net`.
    pub net: i64,
    /// SHA-256 over the lines; see [`SettlementTrailer::of`].
    pub sha256: [u8; 32],
}

impl SettlementTrailer {
    /// The trailer of a batch with these lines; `None` when a sum does not fit.
    ///
    /// The hash is over one line of text per settlement line, in order over all parts:
    /// `<operation as 32 hexadecimal digits, or ->,<kind>,<gross>,<fee>,<net>` and a line feed, numbers in decimal.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a SettlementLine>) -> Option<SettlementTrailer> {
        let mut context = digest::Context::new(&digest::SHA256);
        let (mut count, mut gross, mut fee, mut net) = (0_u32, 0_i64, 0_i64, 0_i64);
        for line in lines {
            let operation = line.operation.map_or("-".to_owned(), |id| format!("{:032x}", id.as_u128()));
            let text = format!("{operation},{},{},{},{}\n", line.kind.number(), line.gross, line.fee, line.net);
            context.update(text.as_bytes());
            count = count.checked_add(1)?;
            gross = gross.checked_add(line.gross)?;
            fee = fee.checked_add(line.fee)?;
            net = net.checked_add(line.net)?;
        }
        let sha256 = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Some(SettlementTrailer { lines: count, gross, fee, net, sha256 })
    }
}

//! What a [`Driver`](super::driver::Driver) is connected to: implemented by the actix actor of a shard and by the simulated
//! world. An implementation carries values, and decides nothing.

use super::archiver::ToArchive;
use super::charger::{ConnectionId, Link};
use super::input::Input;
use super::log_figures::LogFigures;
use super::output::Output;
use super::reply::{Reply, ReplyTo};
use super::shard::Shard;
use super::snapshot::Taken;
use crate::journal::Batch;
use crate::message::{Code, ToCharger};
use crate::payment::{CallbackId, Operation};
use crate::units::{PartitionId, ProcessorId};
use std::time::{Duration, Instant};

/// The outside of one shard. Nothing here blocks: what finds no room says so, and the driver tries again.
pub trait Ports {
    /// The time by which waits are measured.
    fn instant(&self) -> Instant;

    /// How long the log is, and whether it is full.
    fn log(&self) -> &LogFigures;

    /// Hands records to the log's writer; they come back by [`Driver::committed`](super::driver::Driver::committed). `false`: the
    /// writer is gone, and nothing becomes durable any more. There is room for every batch that a shard may have under way.
    fn append(&mut self, batch: Batch) -> bool;

    /// An output has passed the gate and is about to be carried. For checks; nothing may depend on it.
    #[inline]
    fn released(&mut self, shard: &Shard, output: &Output) {
        let _ = (shard, output);
    }

    /// Sends a message to the charger of a channel. Never blocks: a peer that does not read is cut off by its connection.
    fn send(&mut self, link: Link, message: &ToCharger);

    /// Closes a channel with this code, or all of a single charger's connection.
    fn close(&mut self, link: Link, code: Code);

    /// The batch of a connection is taken: it may read on.
    fn read_on(&mut self, connection: ConnectionId);

    /// Hands an operation to its processor. `false`: nothing of it was sent.
    fn dispatch(&mut self, operation: Operation) -> bool;

    /// A processor's message is dealt with: what follows from it is durable, or it is refused with this code. When that is lost,
    /// the processor repeats the message.
    fn acknowledge(&mut self, processor: &ProcessorId, callback: CallbackId, refused: Option<Code>);

    /// Hands an input to the shard that it is for; it comes back when there is no room.
    fn post(&mut self, input: Input) -> Result<(), Input>;

    /// Whether there is an archive. It stays so.
    fn has_archive(&self) -> bool;

    /// Hands something to the archiver. `false`: there is no room now.
    fn archive(&mut self, wanted: ToArchive) -> bool;

    /// Carries a reply to the node of its asker. An asker that is gone gets nothing.
    fn reply(&mut self, to: ReplyTo, reply: Reply);

    /// A settlement batch is whole, or taken back: it is to be booked.
    fn batch_whole(&mut self);

    /// The snapshot of a partition may be kept; none when nothing has happened since the last one.
    fn snapshot(&mut self, partition: PartitionId, taken: Option<Taken>);

    /// So many readings are durable, so long after they came.
    fn durable(&mut self, readings: u64, after: Duration);
}

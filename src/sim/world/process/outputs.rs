//! What leaves the shards of a simulated process: batches for the disk, messages to peers, sessions for the archive, inputs of
//! other shards.

use super::connections::{End, Kind};
use super::{Counts, Wake};
use crate::journal::{Batch, Failure, Sequence, Sequences};
use crate::message::{Code, ToCharger};
use crate::node::archiver::{Archiver, ToArchive};
use crate::node::connection;
use crate::node::input::Input;
use crate::node::log_figures::LogFigures;
use crate::node::log_writer::LogWriter;
use crate::node::node_config::NodeConfig;
use crate::node::output::Output;
use crate::node::ports::Ports;
use crate::node::processor::{ProcessorActor, Reach};
use crate::node::reply::{Reply, ReplyTo};
use crate::node::shard::Shard;
use crate::node::snapshot::Taken;
use crate::node::snapshot_schedule::{Asked, Doing};
use crate::node::{ConnectionId, Link};
use crate::payment::{CallbackId, Operation};
use crate::sim::world::checker::Checker;
use crate::sim::world::durable::DurableState;
use crate::sim::world::outbox::Outbox;
use crate::units::{Now, PartitionId, ProcessorId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything of a gate but its shards.
pub(super) struct OutputDispatcher {
    pub(super) node_config: Arc<NodeConfig>,
    pub(super) durable: Arc<DurableState>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) instant: Instant,
    pub(super) figures: Arc<LogFigures>,
    pub(super) writer: LogWriter<usize>,
    /// Batches that wait until the disk is free.
    pub(super) queued: Vec<(usize, Batch)>,
    /// What the log is to be trimmed to when the disk is free.
    pub(super) trim: Option<Sequences>,
    pub(super) archiver: Archiver,
    pub(super) processors: BTreeMap<ProcessorId, ProcessorActor>,
    /// Accessed by number only.
    pub(super) ends: HashMap<u64, End>,
    /// Connections of OCPP chargers on which calls may go on now.
    pub(super) touched: Vec<u64>,
    /// What leaves: bytes by connection, and connections that are closed after them.
    pub(super) sent: Vec<(u64, Vec<u8>)>,
    pub(super) closed: Vec<u64>,
    /// What has to be called, and after how long; and which shards are called to go on with their snapshots.
    pub(super) wakes: Vec<(Wake, Duration)>,
    pub(super) sweeping: Vec<bool>,
    /// Snapshots that shards have handed over.
    pub(super) taken: Vec<(PartitionId, Option<Taken>)>,
    pub(super) counts: Counts,
    pub(super) failure: Option<Failure>,
}

impl OutputDispatcher {
    /// As a shard sees it.
    pub(super) fn of<'a>(&'a mut self, shard: usize, checker: &'a mut Checker) -> Shards<'a> {
        Shards { outputs: self, checker, shard }
    }

    /// The process is at its end when something fails.
    pub(super) fn note<T>(&mut self, done: Result<T, Failure>) -> Option<T> {
        done.map_err(|failure| self.failure = Some(failure)).ok()
    }

    pub(super) fn trim_now(&mut self, reach: &Sequences) {
        let trimmed = self.writer.trim(reach);
        if let Some(dropped) = self.note(trimmed) {
            self.durable.trimmed(reach);
            self.counts.generations_dropped += u64::try_from(dropped).unwrap_or(0);
        }
    }

    /// Connections that may read again, with what the network has brought for them meanwhile.
    pub(super) fn readable(&mut self) -> Vec<(u64, Vec<u8>)> {
        let resumed = std::mem::take(&mut self.outbox.left().resumed);
        self.touched.extend(&resumed);
        let unread = resumed.into_iter().filter_map(|line| {
            let end = self.ends.get_mut(&line)?;
            end.untaken = end.untaken.saturating_sub(1);
            let read = end.untaken == 0 && !end.unread.is_empty();
            read.then(|| (line, std::mem::take(&mut end.unread)))
        });
        unread.collect()
    }

    /// Sends what processors' actors left.
    pub(super) fn send_to_processors(&mut self, now: Now) {
        let messages = std::mem::take(&mut self.outbox.left().messages);
        for (line, message) in messages {
            let Some(Kind::Processor { link, .. }) = self.ends.get_mut(&line).map(|end| &mut end.kind) else {
                continue;
            };
            let mut bytes = Vec::new();
            let _ = link.send(&message, now, &mut bytes);
            self.send_bytes(line, bytes);
        }
    }

    pub(super) fn send_bytes(&mut self, line: u64, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.sent.push((line, bytes));
        }
    }

    /// Closes a connection, after the bytes sent on it.
    pub(super) fn drop_line(&mut self, line: u64) {
        self.forget(line);
        self.closed.push(line);
    }

    pub(super) fn forget(&mut self, line: u64) {
        match self.ends.remove(&line).map(|end| end.kind) {
            Some(Kind::Charger { .. } | Kind::Ocpp { .. }) => self.outbox.gone(ConnectionId(line)),
            Some(Kind::Processor { id, .. }) => {
                if let Some(actor) = self.processors.get_mut(&id) {
                    actor.disconnect(ConnectionId(line));
                }
            }
            None => {}
        }
    }
}

/// The outside of one shard, and who watches what passes.
pub(super) struct Shards<'a> {
    outputs: &'a mut OutputDispatcher,
    checker: &'a mut Checker,
    shard: usize,
}

impl Ports for Shards<'_> {
    fn instant(&self) -> Instant {
        self.outputs.instant
    }

    fn log(&self) -> &LogFigures {
        &self.outputs.figures
    }

    fn append(&mut self, batch: Batch) -> bool {
        self.outputs.queued.push((self.shard, batch));
        true
    }

    fn released(&mut self, shard: &Shard, output: &Output) {
        self.checker.released(shard, output);
    }

    fn send(&mut self, link: Link, message: &ToCharger) {
        let (line, outputs) = (link.connection.0, &mut *self.outputs);
        let end = match outputs.ends.get_mut(&line).map(|end| &mut end.kind) {
            Some(Kind::Charger { link, .. }) => link,
            Some(Kind::Ocpp { end, .. }) => {
                let (now, mut bytes) = (Reach::now(&*outputs.outbox), Vec::new());
                end.send(message, now, &mut bytes);
                outputs.touched.push(line);
                return outputs.send_bytes(line, bytes);
            }
            Some(Kind::Processor { .. }) | None => return,
        };
        match outputs.sent.last_mut() {
            Some((same, bytes)) if *same == line => drop(end.send(link.channel, message, bytes)),
            _ => {
                let mut bytes = Vec::with_capacity(64);
                let _ = end.send(link.channel, message, &mut bytes);
                outputs.sent.push((line, bytes));
            }
        }
    }

    fn close(&mut self, link: Link, code: Code) {
        self.send(link, &connection::farewell(code));
        let line = link.connection.0;
        let is_over = match self.outputs.ends.get_mut(&line).map(|end| &mut end.kind) {
            Some(Kind::Charger { link: end, .. }) => connection::ends_with(end.peer(), link.channel),
            Some(Kind::Ocpp { end, .. }) => {
                let mut bytes = Vec::new();
                end.close(code, &mut bytes);
                self.outputs.send_bytes(line, bytes);
                true
            }
            Some(Kind::Processor { .. }) | None => false,
        };
        if is_over {
            self.outputs.drop_line(line);
        }
    }

    fn read_on(&mut self, connection: ConnectionId) {
        self.outputs.outbox.left().resumed.push(connection.0);
    }

    fn dispatch(&mut self, operation: Operation) -> bool {
        let actor = self.outputs.processors.get_mut(&operation.processor);
        actor.map(|actor| actor.dispatch(operation)).is_some()
    }

    fn acknowledge(&mut self, processor: &ProcessorId, callback: CallbackId, refused: Option<Code>) {
        if let Some(actor) = self.outputs.processors.get_mut(processor) {
            actor.acknowledge(callback, refused);
        }
    }

    fn post(&mut self, input: Input) -> Result<(), Input> {
        self.outputs.outbox.post(input)
    }

    fn reply(&mut self, _: ReplyTo, reply: Reply) {
        self.outputs.outbox.left().replies.push(reply);
    }

    fn has_archive(&self) -> bool {
        true
    }

    fn archive(&mut self, wanted: ToArchive) -> bool {
        if self.outputs.outbox.is_full() {
            return false;
        }
        let taken = self.outputs.archiver.take(wanted);
        if let Some(after) = self.outputs.note(taken).flatten() {
            self.outputs.wakes.push((Wake::Archive, after));
        }
        true
    }

    /// When everything has come to its end batches are booked by [`World::settle_up`](super::world::World).
    fn batch_whole(&mut self) {}

    fn snapshot(&mut self, partition: PartitionId, taken: Option<Taken>) {
        self.outputs.taken.push((partition, taken));
    }

    fn durable(&mut self, _: u64, _: Duration) {}
}

/// A simulated process does not wait for the end of a snapshot cycle.
impl Doing for OutputDispatcher {
    type Waiting = ();

    fn take(&mut self, partition: PartitionId, unless: Option<Sequence>) -> Asked {
        let shard = Shard::of(partition, self.node_config.shards);
        if !self.outbox.is_open(usize::from(shard)) {
            return Asked::NotHere;
        }
        if self.outbox.is_full() {
            Asked::Busy
        } else {
            self.outbox.snapshot(partition, unless);
            Asked::Taken
        }
    }

    fn trim(&mut self, reach: Sequences) -> bool {
        if self.writer.has_gathered() {
            self.trim = Some(reach)
        } else {
            self.trim_now(&reach)
        }
        true
    }

    fn over(&mut self, (): (), _: bool) {}
}

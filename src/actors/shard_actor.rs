//! The actix actor around a [`Driver`]: one per core, alone on its thread.
//!
//! It carries batches from connections, answers from processors, committed records from the journal's writer and ticks of the
//! clock into the driver, and what the driver hands out to connections, processors, other shards and the archive. It decides
//! nothing.

use super::archiver_actor::ArchiverActor;
use super::directory::Directory;
use super::snapshot_scheduler::{SnapshotScheduler, Swept};
use super::turn::{Attach, ChargerOutlet, Detach};
use super::writer::{Append, JournalWriter};
use crate::journal::{Batch, Sequence};
use crate::limits;
use crate::message::{Code, ToCharger};
use crate::metrics::{Durations, MAILBOX_DEPTH};
use crate::node::archiver::ToArchive;
use crate::node::driver::{Driver, ReadBatch, TICK};
use crate::node::input::Input;
use crate::node::log_figures::LogFigures;
use crate::node::ports::Ports;
use crate::node::query::Query;
use crate::node::reply::{Reply, ReplyTo};
use crate::node::shard::Shard;
use crate::node::snapshot::Taken;
use crate::node::{ConnectionId, Link};
use crate::payment::{CallbackId, Operation};
use crate::units::{Clock, PartitionId, ProcessorId};
use actix::prelude::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, StreamHandler};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A shard on its thread.
pub struct ShardActor {
    driver: Driver,
    outputs: OutputDispatcher,
    clock: Arc<dyn Clock>,
    returning: Option<mpsc::Receiver<Batch>>,
    /// A [`GoOn`] is on its way.
    goes_on: bool,
    /// What waits for the journal in all shards, and what this one has reported of it.
    depth: ::metrics::Gauge,
    reported: u32,
}

/// What the actor of a shard is connected to.
pub struct ShardActorParts {
    /// The addresses of the gate.
    pub directory: Arc<Directory>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The log's writer.
    pub writer: Addr<JournalWriter>,
    /// How the log is.
    pub log: Arc<LogFigures>,
    /// How long readings took from their arrival until they were durable.
    pub ticks: Arc<Durations>,
}

/// Where a driver's outputs go.
struct OutputDispatcher {
    directory: Arc<Directory>,
    writer: Addr<JournalWriter>,
    committed: mpsc::Sender<Batch>,
    connections: HashMap<ConnectionId, Arc<dyn ChargerOutlet>>,
    log: Arc<LogFigures>,
    ticks: Arc<Durations>,
    /// Who gets the snapshots that are being taken.
    keepers: Vec<(PartitionId, Addr<SnapshotScheduler>)>,
}

/// Take a snapshot of a partition, beside everything else.
pub struct TakeSnapshot {
    /// Which partition.
    pub partition: PartitionId,
    /// Not if this is its last record.
    pub unless: Option<Sequence>,
    /// The snapshot scheduler.
    pub reply: Addr<SnapshotScheduler>,
}

impl Message for TakeSnapshot {
    type Result = ();
}

/// Go on with the snapshots.
struct GoOn;

impl Message for GoOn {
    type Result = ();
}

/// Anything for the shard that is not a charger's message.
pub struct Take(pub Input);

impl Message for Take {
    type Result = ();
}

/// A question to the shard; the answer goes to the asker.
pub struct Look(pub Query, pub ReplyTo);

impl Message for Look {
    type Result = ();
}

/// Stop: makes decided facts durable and lets their outputs leave. Returns whether nothing is left; to be repeated if
/// not.
pub struct Drain(pub std::sync::mpsc::Sender<bool>);

impl Message for Drain {
    type Result = ();
}

impl ShardActor {
    /// The actor of a shard.
    pub fn new(shard: Shard, parts: ShardActorParts) -> ShardActor {
        let ShardActorParts { directory, clock, writer, log, ticks } = parts;
        let (committed, returning) = mpsc::channel(limits::BATCHES_IN_FLIGHT_MAX);
        let (connections, keepers) = (HashMap::new(), Vec::new());
        ShardActor {
            driver: Driver::new(shard),
            outputs: OutputDispatcher { directory, writer, committed, connections, log, ticks, keepers },
            clock,
            returning: Some(returning),
            goes_on: false,
            depth: MAILBOX_DEPTH.gauge(&["shard"]),
            reported: 0,
        }
    }

    /// Reports how much waits for the journal.
    fn report_depth(&mut self) {
        let waiting = u32::try_from(self.driver.waiting()).unwrap_or(u32::MAX);
        self.depth.increment(f64::from(waiting) - f64::from(self.reported));
        self.reported = waiting;
    }
}

impl OutputDispatcher {
    fn archiver(&self) -> Option<&Addr<ArchiverActor>> {
        self.directory.archiver()
    }
}

impl Ports for OutputDispatcher {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn log(&self) -> &LogFigures {
        &self.log
    }

    fn append(&mut self, batch: Batch) -> bool {
        match self.writer.try_send(Append { batch, reply: self.committed.clone() }) {
            Ok(()) => true,
            Err(SendError::Closed(_)) => false,
            Err(SendError::Full(_)) => unreachable!("the writer's mailbox has room for every shard's batches"),
        }
    }

    fn send(&mut self, link: Link, message: &ToCharger) {
        if let Some(outlet) = self.connections.get(&link.connection) {
            outlet.send(link.channel, message);
        }
    }

    fn close(&mut self, link: Link, code: Code) {
        if let Some(outlet) = self.connections.get(&link.connection) {
            outlet.close(link.channel, code);
        }
    }

    fn read_on(&mut self, connection: ConnectionId) {
        if let Some(outlet) = self.connections.get(&connection) {
            outlet.resume();
        }
    }

    fn dispatch(&mut self, operation: Operation) -> bool {
        self.directory.dispatch(operation)
    }

    fn acknowledge(&mut self, processor: &ProcessorId, callback: CallbackId, refused: Option<Code>) {
        self.directory.acknowledge(processor, callback, refused);
    }

    fn post(&mut self, input: Input) -> Result<(), Input> {
        self.directory.post(input)
    }

    fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.directory.replies().reply(to, reply);
    }

    fn has_archive(&self) -> bool {
        self.archiver().is_some()
    }

    fn archive(&mut self, wanted: ToArchive) -> bool {
        let full = |archiver: &Addr<ArchiverActor>| matches!(archiver.try_send(wanted), Err(SendError::Full(_)));
        !self.archiver().is_some_and(full)
    }

    fn batch_whole(&mut self) {
        self.directory.batch_whole();
    }

    fn snapshot(&mut self, partition: PartitionId, taken: Option<Taken>) {
        if let Some(place) = self.keepers.iter().position(|(of, _)| *of == partition) {
            let (_, snapshot_scheduler) = self.keepers.remove(place);
            // The keeper has room for the answers of each shard.
            let _ = snapshot_scheduler.try_send(Swept { partition, taken });
        }
    }

    fn durable(&mut self, readings: u64, after: Duration) {
        self.ticks.observe_many(after, readings);
    }
}

impl Actor for ShardActor {
    type Context = Context<ShardActor>;

    fn started(&mut self, context: &mut Context<ShardActor>) {
        context.set_mailbox_capacity(limits::SHARD_MAILBOX);
        let returning = self.returning.take().expect("a shard starts once");
        context.add_stream(ReceiverStream::new(returning));
        context.run_interval(TICK, |actor, _| {
            actor.driver.tick(actor.clock.now(), &mut actor.outputs);
            actor.report_depth();
        });
        self.driver.resume(self.clock.now(), &mut self.outputs);
    }
}

impl StreamHandler<Batch> for ShardActor {
    fn handle(&mut self, batch: Batch, _: &mut Context<ShardActor>) {
        self.driver.committed(batch, self.clock.now(), &mut self.outputs);
    }
}

impl Handler<TakeSnapshot> for ShardActor {
    type Result = ();

    fn handle(&mut self, wanted: TakeSnapshot, context: &mut Context<ShardActor>) {
        let TakeSnapshot { partition, unless, reply } = wanted;
        self.outputs.keepers.push((partition, reply));
        let begun = self.driver.begin_snapshot(partition, unless, &mut self.outputs);
        if begun && !self.goes_on {
            self.goes_on = true;
            context.notify(GoOn);
        }
    }
}

impl Handler<GoOn> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: GoOn, context: &mut Context<ShardActor>) {
        let after = self.driver.go_on(&mut self.outputs);
        self.goes_on = after.is_some();
        match after {
            None => {}
            Some(Duration::ZERO) => context.notify(GoOn),
            Some(pause) => drop(context.notify_later(GoOn, pause)),
        }
    }
}

impl Handler<Attach> for ShardActor {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Context<ShardActor>) {
        self.outputs.connections.insert(attach.connection, attach.outlet);
    }
}

impl Handler<Detach> for ShardActor {
    type Result = ();

    fn handle(&mut self, Detach(connection): Detach, _: &mut Context<ShardActor>) {
        self.driver.disconnected(connection);
        self.outputs.connections.remove(&connection);
    }
}

impl Handler<ReadBatch> for ShardActor {
    type Result = ();

    fn handle(&mut self, batch: ReadBatch, _: &mut Context<ShardActor>) {
        self.driver.read(batch, self.clock.now(), &mut self.outputs);
    }
}

impl Handler<Take> for ShardActor {
    type Result = ();

    fn handle(&mut self, Take(input): Take, _: &mut Context<ShardActor>) {
        self.driver.input(input, self.clock.now(), &mut self.outputs);
    }
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, _: &mut Context<ShardActor>) {
        // A receiver that has timed out asks again.
        let _ = done.send(self.driver.drain(self.clock.now(), &mut self.outputs));
    }
}

impl Handler<Look> for ShardActor {
    type Result = ();

    fn handle(&mut self, Look(query, to): Look, _: &mut Context<ShardActor>) {
        self.driver.ask(&query, to, &mut self.outputs);
    }
}

//! The actix actor around a [`Driver`]: one per core, alone on its thread.
//!
//! A shard is opened in it and closed as a whole ([`super::hosting`]); the actor stays, so that nothing is lost that was sent to
//! it before its sender knew. It carries batches from connections, answers from processors, committed records from the journal's writer and ticks of the
//! clock into the driver, and what the driver hands out to connections, processors, other shards and the archive. It decides
//! nothing.

use super::archiver_actor::ArchiverActor;
use super::directory::Directory;
use super::snapshot_scheduler::{SnapshotScheduler, Swept};
use super::turn::{Attach, ChargerOutlet, Detach};
use super::writer::{Append, JournalWriter};
use crate::journal::{Batch, Sequence};
use crate::limits;
use crate::message::{Channel, Code, ToCharger};
use crate::metrics::{Durations, MAILBOX_DEPTH};
use crate::node::archiver::ToArchive;
use crate::node::driver::{Driver, ReadBatch, TICK};
use crate::node::input::Input;
use crate::node::log_figures::LogFigures;
use crate::node::ports::Ports;
use crate::node::query::Query;
use crate::node::reply::{Reply, ReplyTo};
use crate::node::snapshot::Taken;
use crate::node::{ConnectionId, Link};
use crate::payment::{CallbackId, Operation};
use crate::units::{Clock, PartitionId, ProcessorId};
use actix::prelude::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, StreamHandler};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The place of a shard, on a thread of its own.
pub struct ShardActor {
    /// The shard, while it is open.
    driver: Option<Box<Driver>>,
    /// Who gets the shard when it has settled, and until when that is waited for.
    closing: Option<Close>,
    /// What came for the shard while it was not open, from senders that did not know yet.
    late: VecDeque<Input>,
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
    /// The archive, if there is one.
    pub archiver: Option<Addr<ArchiverActor>>,
    /// Called when a settlement batch is complete.
    pub on_batch: OnBatch,
}

/// Called when a settlement batch is complete.
pub type OnBatch = Arc<dyn Fn() + Send + Sync>;

/// Where a driver's outputs go.
struct OutputDispatcher {
    directory: Arc<Directory>,
    writer: Addr<JournalWriter>,
    committed: mpsc::Sender<Batch>,
    connections: HashMap<ConnectionId, Arc<dyn ChargerOutlet>>,
    log: Arc<LogFigures>,
    ticks: Arc<Durations>,
    archiver: Option<Addr<ArchiverActor>>,
    on_batch: OnBatch,
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
pub struct RunQuery(pub Query, pub ReplyTo);

impl Message for RunQuery {
    type Result = ();
}

/// A question to the shard; the answer goes to the asker when all that it tells is durable.
pub struct RunDurableQuery(pub Query, pub ReplyTo);

impl Message for RunDurableQuery {
    type Result = ();
}

/// Open this shard.
pub struct Open(pub Box<Driver>);

impl Message for Open {
    type Result = ();
}

/// Close the shard: it takes nothing more, and its state goes back when everything that it decided is durable and has left.
pub struct Close {
    /// Receives the shard. Dropped: it was not closed in time, or was not open.
    pub closed: std::sync::mpsc::SyncSender<Box<Driver>>,
    /// When it opens again instead.
    pub until: Instant,
}

impl Message for Close {
    type Result = ();
}

/// Stop: makes decided facts durable and lets their outputs leave. Returns whether nothing is left; to be repeated if
/// not.
pub struct Drain(pub std::sync::mpsc::Sender<bool>);

impl Message for Drain {
    type Result = ();
}

impl ShardActor {
    /// An actor in which no shard is open.
    pub fn new(parts: ShardActorParts) -> ShardActor {
        let ShardActorParts { directory, clock, writer, log, ticks, archiver, on_batch } = parts;
        let (committed, returning) = mpsc::channel(limits::BATCHES_IN_FLIGHT_MAX);
        let (connections, keepers) = (HashMap::new(), Vec::new());
        ShardActor {
            driver: None,
            closing: None,
            late: VecDeque::new(),
            outputs: OutputDispatcher {
                directory,
                writer,
                committed,
                connections,
                log,
                ticks,
                archiver,
                on_batch,
                keepers,
            },
            clock,
            returning: Some(returning),
            goes_on: false,
            depth: MAILBOX_DEPTH.gauge(&["shard"]),
            reported: 0,
        }
    }

    /// Reports how much waits for the journal.
    fn report_depth(&mut self) {
        let waiting = self.driver.as_ref().map_or(0, |driver| driver.waiting());
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        self.depth.increment(f64::from(waiting) - f64::from(self.reported));
        self.reported = waiting;
    }
}

impl ShardActor {
    /// The shard, while it takes anything.
    fn open(&mut self) -> Option<(&mut Driver, &mut OutputDispatcher)> {
        match (&mut self.driver, &self.closing) {
            (Some(driver), None) => Some((driver, &mut self.outputs)),
            _ => None,
        }
    }

    /// Goes on with closing: hands the shard over when it has settled.
    fn close(&mut self) {
        let Some(Close { closed, until }) = self.closing.take() else { return };
        let Some(mut driver) = self.driver.take() else { return };
        if driver.settle(self.clock.now(), &mut self.outputs) {
            driver.close(Code::Draining, &mut self.outputs);
            match closed.try_send(driver) {
                Ok(()) => return,
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => driver = back,
            }
        }
        self.driver = Some(driver);
        if Instant::now() < until {
            self.closing = Some(Close { closed, until });
        } else {
            self.take_late();
        }
    }

    /// Takes what came while the shard was not open.
    fn take_late(&mut self) {
        while let Some(input) = self.late.pop_front() {
            if let Some(driver) = &mut self.driver {
                driver.input(input, self.clock.now(), &mut self.outputs);
            }
        }
    }

    /// Sends the chargers of a batch away: they come back, and repeat unacknowledged messages.
    fn send_away(&mut self, batch: ReadBatch) {
        let mut channels: Vec<Channel> = batch.messages.map(|received| received.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        for channel in channels {
            self.outputs.close(Link { connection: batch.connection, channel }, Code::Overloaded);
        }
        self.outputs.read_on(batch.connection);
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
        self.directory.post(input).map_err(|undelivered| undelivered.input)
    }

    fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.directory.replies().reply(to, reply);
    }

    fn has_archive(&self) -> bool {
        self.archiver.is_some()
    }

    fn archive(&mut self, wanted: ToArchive) -> bool {
        let full = |archiver: &Addr<ArchiverActor>| matches!(archiver.try_send(wanted), Err(SendError::Full(_)));
        !self.archiver.as_ref().is_some_and(full)
    }

    fn batch_whole(&mut self) {
        (self.on_batch)();
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
            let now = actor.clock.now();
            if let Some((driver, outputs)) = actor.open() {
                driver.tick(now, outputs);
            }
            actor.close();
            actor.report_depth();
        });
    }
}

impl StreamHandler<Batch> for ShardActor {
    fn handle(&mut self, batch: Batch, _: &mut Context<ShardActor>) {
        if let Some(driver) = &mut self.driver {
            driver.committed(batch, self.clock.now(), &mut self.outputs);
        }
        self.close();
    }
}

impl Handler<TakeSnapshot> for ShardActor {
    type Result = ();

    fn handle(&mut self, wanted: TakeSnapshot, context: &mut Context<ShardActor>) {
        let TakeSnapshot { partition, unless, reply } = wanted;
        self.outputs.keepers.push((partition, reply));
        let begun = match self.open() {
            Some((driver, outputs)) => driver.begin_snapshot(partition, unless, outputs),
            None => {
                self.outputs.snapshot(partition, None);
                false
            }
        };
        if begun && !self.goes_on {
            self.goes_on = true;
            context.notify(GoOn);
        }
    }
}

impl Handler<GoOn> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: GoOn, context: &mut Context<ShardActor>) {
        let after = self.driver.as_mut().and_then(|driver| driver.go_on(&mut self.outputs));
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
        if let Some(driver) = &mut self.driver {
            driver.disconnected(connection);
        }
        self.outputs.connections.remove(&connection);
    }
}

impl Handler<ReadBatch> for ShardActor {
    type Result = ();

    fn handle(&mut self, batch: ReadBatch, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        match self.open() {
            Some((driver, outputs)) => driver.read(batch, now, outputs),
            None => self.send_away(batch),
        }
    }
}

impl Handler<Take> for ShardActor {
    type Result = ();

    fn handle(&mut self, Take(input): Take, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        match self.open() {
            Some((driver, outputs)) => driver.input(input, now, outputs),
            None => self.late.push_back(input),
        }
    }
}

impl Handler<Open> for ShardActor {
    type Result = ();

    fn handle(&mut self, Open(driver): Open, _: &mut Context<ShardActor>) {
        debug_assert!(self.driver.is_none(), "a shard is opened where none is open");
        let driver = self.driver.insert(driver);
        driver.resume(self.clock.now(), &mut self.outputs);
        self.take_late();
    }
}

impl Handler<Close> for ShardActor {
    type Result = ();

    fn handle(&mut self, close: Close, _: &mut Context<ShardActor>) {
        if self.closing.is_none() {
            self.closing = Some(close);
            self.close();
        }
    }
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, _: &mut Context<ShardActor>) {
        // A receiver that has timed out asks again.
        let now = self.clock.now();
        let is_idle = self.driver.as_mut().is_none_or(|driver| driver.drain(now, &mut self.outputs));
        let _ = done.send(is_idle);
    }
}

impl Handler<RunDurableQuery> for ShardActor {
    type Result = ();

    fn handle(&mut self, RunDurableQuery(query, to): RunDurableQuery, _: &mut Context<ShardActor>) {
        if let Some(driver) = &mut self.driver {
            driver.ask_durable(&query, to, &mut self.outputs);
        }
    }
}

impl Handler<RunQuery> for ShardActor {
    type Result = ();

    fn handle(&mut self, RunQuery(query, to): RunQuery, _: &mut Context<ShardActor>) {
        // An asker of a shard that is not open gets no answer.
        if let Some(driver) = &self.driver {
            driver.ask(&query, to, &mut self.outputs);
        }
    }
}

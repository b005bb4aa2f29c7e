//! The gate of a simulated world: the drivers, log writer, archiver, snapshot schedule, links and processors' actors of a real
//! one. What is simulated here is what connects them: threads and mailboxes are method calls in an order that the event queue
//! decides, and a full mailbox is a random choice.
//!
//! The process dies by being dropped; what it had on disk is all that the next one has.

use super::checker::Checker;
use super::durable::DurableState;
use super::network::Peer;
use super::outbox::{Mail, Outbox, Outlet};
use crate::account::TopUp;
use crate::journal::{Batch, Damage, Failure, Sequence, Sequences, Store, recover};
use crate::message::{Code, FromCharger, FromProcessor, PeerIdentity, Received, Subject, ToCharger};
use crate::node::archiver::{Archiver, ToArchive};
use crate::node::connection::{self, Came, ShardsOfChannels};
use crate::node::driver::{Driver, ReadBatch};
use crate::node::input::Input;
use crate::node::log_figures::LogFigures;
use crate::node::log_writer::LogWriter;
use crate::node::node_config::NodeConfig;
use crate::node::output::Output;
use crate::node::ports::Ports;
use crate::node::processor::{Callbacks, Connected, ProcessorActor};
use crate::node::replay::Rebuilding;
use crate::node::reply::{Reply, ReplyTo};
use crate::node::shard::Shard;
use crate::node::snapshot::Taken;
use crate::node::snapshot_schedule::{Asked, Doing, Schedule};
use crate::node::{ConnectionId, Link};
use crate::payment::{CallbackId, Credential, Operation};
use crate::session::Session;
use crate::units::{Fingerprint, Mono, Now, PartitionId, ProcessorId, SessionId};
use crate::wire::{ChargerLink, LinkError, ProcessorLink};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A gate that runs.
pub(super) struct Process {
    /// The number of this run, counted from 1.
    pub life: u32,
    /// Snapshots that were damaged when it began, and for which older ones stood in.
    pub damaged: Vec<Damage>,
    drivers: Vec<Driver>,
    standing: Vec<Standing>,
    schedule: Schedule<()>,
    outputs: OutputDispatcher,
}

/// How a shard stands. A closed one keeps its state, which is what it is opened again with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// It takes nothing more, and settles with the log.
    Closing,
    Closed,
}

/// Everything of a gate but its shards.
struct OutputDispatcher {
    node_config: Arc<NodeConfig>,
    durable: Arc<DurableState>,
    outbox: Arc<Outbox>,
    instant: Instant,
    figures: Arc<LogFigures>,
    writer: LogWriter<usize>,
    /// Batches that wait until the disk is free.
    queued: Vec<(usize, Batch)>,
    /// What the log is to be trimmed to when the disk is free.
    trim: Option<Sequences>,
    archiver: Archiver,
    processors: BTreeMap<ProcessorId, ProcessorActor>,
    /// Accessed by number only.
    ends: HashMap<u64, End>,
    /// What leaves: bytes by connection, and connections that are closed after them.
    told: Vec<(u64, Vec<u8>)>,
    closed: Vec<u64>,
    /// What has to be called, and after how long; and which shards are called to go on with their snapshots.
    wakes: Vec<(Wake, Duration)>,
    sweeping: Vec<bool>,
    /// Snapshots that shards have handed over.
    taken: Vec<(PartitionId, Option<Taken>)>,
    counts: Counts,
    failure: Option<Failure>,
}

/// A timer of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// The archiver writes what has gathered.
    Archive,
    /// A shard goes on with its snapshots.
    Sweep(usize),
}

/// What became of the log, in this life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub snapshots: u64,
    pub generations_dropped: u64,
    /// Messages of a connection that came while the log was at its bound.
    pub reads_delayed: u64,
}

/// The gate's end of a connection.
struct End {
    kind: Kind,
    /// Batches that are not taken: nothing is read meanwhile.
    untaken: usize,
    /// What the network has brought meanwhile.
    unread: Vec<u8>,
}

enum Kind {
    Charger { link: Box<ChargerLink>, shards: ShardsOfChannels },
    Processor { link: Box<ProcessorLink>, id: ProcessorId },
}

impl Process {
    /// Starts on the contents of a store. [`Process::resume`] repeats the requests.
    pub fn start(durable: &Arc<DurableState>, store: Box<dyn Store>, life: u32, now: Now) -> Result<Process, Failure> {
        let node_config = Arc::new(durable.node_config());
        let workers =
            (0..node_config.shards).map(|index| Rebuilding { shard: Shard::new(node_config.clone(), index, now), now });
        let (log, workers, recovered) = recover(store, &durable.snapshots, workers.collect(), &|_| ())?;
        let instant = durable.instant(now);
        let figures = Arc::new(LogFigures::new(&recovered, &log, durable.snapshot_policy.bound(), instant));
        let driver = |rebuilt: Rebuilding| {
            let mut shard = rebuilt.shard;
            shard.continue_after(log.sequences().clone());
            Driver::new(shard)
        };
        let drivers: Vec<Driver> = workers.into_iter().map(driver).collect();
        let sizes = (node_config.partitions, node_config.shards);
        let schedule = Schedule::new(durable.snapshots.clone(), figures.clone(), durable.snapshot_policy, sizes);
        let outputs = OutputDispatcher {
            outbox: Arc::new(Outbox::new(node_config.clone(), durable.loses)),
            archiver: Archiver::new(durable.archive.clone(), durable.billing.clone()),
            node_config,
            durable: durable.clone(),
            instant,
            writer: LogWriter::new(log, figures.clone()),
            figures,
            queued: Vec::new(),
            trim: None,
            processors: BTreeMap::new(),
            ends: HashMap::new(),
            told: Vec::new(),
            closed: Vec::new(),
            wakes: Vec::new(),
            sweeping: vec![false; drivers.len()],
            taken: Vec::new(),
            counts: Counts::default(),
            failure: None,
        };
        let standing = vec![Standing::Open; drivers.len()];
        Ok(Process { life, damaged: recovered.damaged, drivers, standing, schedule, outputs })
    }

    /// Repeats the requests that were in flight.
    pub fn resume(&mut self, now: Now, checker: &mut Checker) {
        self.begin(now);
        for (index, driver) in self.drivers.iter_mut().enumerate() {
            driver.resume(now, &mut self.outputs.of(index, checker));
        }
        self.settle(now, checker);
    }

    /// Its shards.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.drivers.iter().map(Driver::shard)
    }

    /// The shard of a partition.
    pub fn shard_of(&self, partition: PartitionId) -> &Shard {
        self.drivers[usize::from(Shard::of(partition, self.outputs.node_config.shards))].shard()
    }

    /// By what it recognises a credential.
    pub fn mark(&self, credential: &Credential) -> Fingerprint {
        self.outputs.node_config.mark(credential)
    }

    /// A live session.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        if id.partition().0 >= self.outputs.node_config.partitions {
            return None;
        }
        self.shard_of(id.partition()).session(id).map(|hosted| hosted.state())
    }

    /// Every top-up that is kept.
    pub fn top_ups(&self) -> impl Iterator<Item = &TopUp> {
        self.shards().flat_map(Shard::partitions).flat_map(|partition| partition.top_ups.known.values())
    }

    /// Whether everything that was decided is durable and has left.
    pub fn is_idle(&self) -> bool {
        self.outputs.queued.is_empty()
            && !self.outputs.writer.has_gathered()
            && self.outputs.archiver.is_idle()
            && self.outputs.processors.values().all(|actor| !actor.has_waiting())
            && self.drivers.iter().all(Driver::is_idle)
    }

    /// Bytes to be sent and connections to be closed since the last call, in this order.
    pub fn take_sent(&mut self) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        (std::mem::take(&mut self.outputs.told), std::mem::take(&mut self.outputs.closed))
    }

    /// Timers that were set since the last call.
    pub fn take_wakes(&mut self) -> Vec<(Wake, Duration)> {
        std::mem::take(&mut self.outputs.wakes)
    }

    /// Replies to operators since the last call.
    pub fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.outputs.outbox.left().replies)
    }

    /// What became of the log since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.outputs.counts)
    }

    /// What made it fail, if it did: it is at its end.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.outputs.failure.take()
    }

    /// A peer's connection, after its handshake.
    pub fn accept(&mut self, line: u64, peer: Peer, subject: Subject, now: Now) {
        let identity = PeerIdentity { trust_domain: "world".into(), subject };
        let outputs = &mut self.outputs;
        let kind = match (peer, &identity.subject) {
            (Peer::SimulatedProcessor(..), Subject::Processor(id)) => {
                let id = id.clone();
                let link = ProcessorLink::new(&identity, None, now.mono).expect("a processor may be one");
                let actor = || ProcessorActor::new(id.clone(), outputs.outbox.clone());
                outputs.processors.entry(id.clone()).or_insert_with(actor);
                Kind::Processor { link: Box::new(link), id }
            }
            _ => {
                let link = ChargerLink::new(identity, Arc::new(|_, _| true), now.mono);
                Kind::Charger { link: Box::new(link.expect("a charger may be one")), shards: Default::default() }
            }
        };
        outputs.ends.insert(line, End { kind, untaken: 0, unread: Vec::new() });
    }

    /// Bytes came on a connection.
    pub fn receive(&mut self, line: u64, bytes: &[u8], now: Now, checker: &mut Checker) {
        self.begin(now);
        self.read(line, bytes, now);
        self.settle(now, checker);
    }

    /// A connection has ended.
    pub fn ended(&mut self, line: u64, now: Now, checker: &mut Checker) {
        self.begin(now);
        self.outputs.forget(line);
        self.settle(now, checker);
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now, checker: &mut Checker) {
        self.begin(now);
        for (index, driver) in self.drivers.iter_mut().enumerate() {
            if self.standing[index] == Standing::Open {
                driver.tick(now, &mut self.outputs.of(index, checker));
            }
        }
        for actor in self.outputs.processors.values_mut() {
            actor.retry();
            actor.sweep();
        }
        self.schedule.go_on(self.outputs.instant, &mut self.outputs);
        self.settle(now, checker);
    }

    /// Closes a shard. `false`: it is not open.
    pub fn close_shard(&mut self, index: usize, now: Now, checker: &mut Checker) -> bool {
        if self.standing[index] != Standing::Open {
            return false;
        }
        self.begin(now);
        self.standing[index] = Standing::Closing;
        self.outputs.outbox.set_open(index, false);
        self.settle(now, checker);
        true
    }

    /// Opens a shard that was closed. `false`: it has not settled with the log yet.
    pub fn open_shard(&mut self, index: usize, now: Now, checker: &mut Checker) -> bool {
        if self.standing[index] != Standing::Closed {
            return self.standing[index] == Standing::Open;
        }
        self.begin(now);
        self.standing[index] = Standing::Open;
        self.outputs.outbox.set_open(index, true);
        self.drivers[index].resume(now, &mut self.outputs.of(index, checker));
        self.settle(now, checker);
        true
    }

    /// Closes links whose peers have timed out.
    pub fn sweep(&mut self, lines: &[u64], now: Now, checker: &mut Checker) {
        self.begin(now);
        for line in lines {
            let mut reply = Vec::new();
            let Some(end) = self.outputs.ends.get_mut(line) else { continue };
            let outcome = match end.next_deadline() {
                Some(at) if at <= now.mono => end.on_deadline(now.mono, &mut reply),
                _ => Ok(()),
            };
            self.outputs.tell(*line, reply);
            if outcome.is_err() {
                self.outputs.drop_line(*line);
            }
        }
        self.settle(now, checker);
    }

    /// Connections, in the order of their numbers.
    pub fn lines(&self) -> Vec<u64> {
        let mut lines: Vec<u64> = self.outputs.ends.keys().copied().collect();
        lines.sort_unstable();
        lines
    }

    /// An input from outside of the network.
    pub fn order(&mut self, input: Input, now: Now, checker: &mut Checker) {
        self.begin(now);
        self.outputs.outbox.push(input);
        self.settle(now, checker);
    }

    /// Hands what waits to the disk, if the disk is free: whether a commit is in progress now that was not before.
    pub fn begin_commit(&mut self) -> bool {
        let outputs = &mut self.outputs;
        if outputs.writer.has_gathered() || outputs.queued.is_empty() {
            return false;
        }
        for (owner, batch) in outputs.queued.drain(..) {
            outputs.writer.add(batch, owner);
        }
        true
    }

    /// The disk does what was begun.
    pub fn commit(&mut self, now: Now, checker: &mut Checker) -> Result<(), Failure> {
        self.begin(now);
        self.outputs.writer.commit()?;
        let committed: Vec<(usize, Batch)> = self.outputs.writer.committed().collect();
        for (owner, batch) in committed {
            self.drivers[owner].committed(batch, now, &mut self.outputs.of(owner, checker));
        }
        if let Some(reach) = self.outputs.trim.take() {
            self.outputs.trim_now(&reach);
        }
        self.settle(now, checker);
        Ok(())
    }

    /// A timer fired.
    pub fn wake(&mut self, wake: Wake, now: Now, checker: &mut Checker) {
        self.begin(now);
        match wake {
            Wake::Archive => {
                let written =
                    self.outputs.archiver.write(&mut |archive_record, bytes| checker.archived(archive_record, bytes));
                self.outputs.note(written);
            }
            Wake::Sweep(shard) => {
                let pause = self.drivers[shard].go_on(&mut self.outputs.of(shard, checker));
                self.outputs.sweeping[shard] = pause.is_some();
                self.outputs.wakes.extend(pause.map(|pause| (wake, pause)));
            }
        }
        self.settle(now, checker);
    }
}

impl Process {
    fn begin(&mut self, now: Now) {
        self.outputs.outbox.left().now = Some(now);
        self.outputs.instant = self.outputs.durable.instant(now);
    }

    /// Lets everything happen that can happen at this moment: what is in mailboxes is taken, and what comes of it.
    fn settle(&mut self, now: Now, checker: &mut Checker) {
        loop {
            let mut moved = false;
            for index in 0..self.drivers.len() {
                if self.standing[index] == Standing::Closing {
                    moved |= self.go_on_closing(index, now, checker);
                }
            }
            for index in 0..self.drivers.len() {
                while let Some(mail) = self.outputs.outbox.next(index) {
                    moved = true;
                    self.deliver(index, mail, now, checker);
                }
            }
            for (partition, taken) in std::mem::take(&mut self.outputs.taken) {
                moved = true;
                if let Some(taken) = taken {
                    self.outputs.counts.snapshots += 1;
                    self.schedule.keep(&taken, &mut self.outputs);
                }
                self.schedule.answered(partition, self.outputs.instant, &mut self.outputs);
            }
            let OutputDispatcher { outbox, archiver, .. } = &mut self.outputs;
            archiver.answer(|input| outbox.shard_of(input), |input| outbox.post(input));
            self.outputs.send_to_processors(now);
            for (line, bytes) in self.outputs.readable() {
                moved = true;
                self.read(line, &bytes, now);
            }
            if !moved && !self.outputs.outbox.has_mail() {
                break;
            }
        }
        checker.check_books(self.drivers.iter().map(Driver::shard));
    }

    /// Whether a shard has settled with the log, and is closed now.
    fn go_on_closing(&mut self, index: usize, now: Now, checker: &mut Checker) -> bool {
        let mut ports = self.outputs.of(index, checker);
        let settled = self.drivers[index].settle(now, &mut ports);
        if settled {
            self.drivers[index].close(Code::Draining, &mut ports);
            self.standing[index] = Standing::Closed;
        }
        settled
    }

    fn deliver(&mut self, index: usize, mail: Mail, now: Now, checker: &mut Checker) {
        let is_open = self.standing[index] == Standing::Open;
        let driver = &mut self.drivers[index];
        let mut ports = self.outputs.of(index, checker);
        match mail {
            Mail::Read(batch) if !is_open => {
                for received in batch.messages {
                    ports.close(Link { connection: batch.connection, channel: received.channel }, Code::Overloaded);
                }
                ports.read_on(batch.connection);
            }
            Mail::Snapshot(partition, _) if !is_open => ports.snapshot(partition, None),
            Mail::Input(input) => driver.input(input, now, &mut ports),
            Mail::Read(batch) => {
                self.outputs.counts.reads_delayed += u64::from(self.outputs.figures.is_full());
                self.drivers[index].read(batch, now, &mut self.outputs.of(index, checker));
            }
            Mail::Gone(connection) => driver.disconnected(connection),
            Mail::Snapshot(partition, unless) => {
                let begun = driver.begin_snapshot(partition, unless, &mut ports);
                if begun && !std::mem::replace(&mut self.outputs.sweeping[index], true) {
                    self.outputs.wakes.push((Wake::Sweep(index), Duration::ZERO));
                }
            }
        }
    }

    /// A connection reads, unless what it read before is not taken yet.
    fn read(&mut self, line: u64, bytes: &[u8], now: Now) {
        let OutputDispatcher { ends, outbox, node_config, processors, instant, .. } = &mut self.outputs;
        let Some(end) = ends.get_mut(&line) else { return };
        if end.untaken > 0 {
            return end.unread.extend_from_slice(bytes);
        }
        let mut reply = Vec::new();
        let outcome = match &mut end.kind {
            Kind::Charger { link, shards } => {
                let mut received: Vec<Received<FromCharger>> = Vec::new();
                let outcome = link.receive(bytes, now, &mut received, &mut reply);
                let batches = shards.split(node_config, &mut received, |_, _| true);
                end.untaken = batches.len();
                for (shard, messages) in batches {
                    let (connection, messages) = (ConnectionId(line), messages.into_iter());
                    outbox.read(usize::from(shard), ReadBatch { connection, arrived: *instant, messages });
                }
                outcome
            }
            Kind::Processor { link, id } => {
                let mut received: Vec<FromProcessor> = Vec::new();
                let outcome = link.receive(bytes, now, &mut received, &mut reply);
                let mut callbacks = Vec::with_capacity(received.len());
                let Some(actor) = processors.get_mut(id) else { return };
                for message in received {
                    match Came::from(message) {
                        Came::Hello(hello) => {
                            outbox.left().messages.push_back((line, connection::welcome(now)));
                            let outlet = Arc::new(Outlet { line, outbox: outbox.clone() });
                            let capabilities = hello.capabilities;
                            actor.connect(Connected { connection: ConnectionId(line), outlet, capabilities });
                        }
                        Came::Callback(callback) => callbacks.push(callback),
                        Came::GoAway(_) => {}
                    }
                }
                if !callbacks.is_empty() {
                    end.untaken = 1;
                    actor.on_callbacks(Callbacks { connection: ConnectionId(line), callbacks });
                }
                outcome
            }
        };
        self.outputs.tell(line, reply);
        if outcome.is_err() {
            self.outputs.drop_line(line);
        }
    }
}

impl OutputDispatcher {
    /// As a shard sees it.
    fn of<'a>(&'a mut self, shard: usize, checker: &'a mut Checker) -> Shards<'a> {
        Shards { outputs: self, checker, shard }
    }

    /// The process is at its end when something fails.
    fn note<T>(&mut self, done: Result<T, Failure>) -> Option<T> {
        done.map_err(|failure| self.failure = Some(failure)).ok()
    }

    fn trim_now(&mut self, reach: &Sequences) {
        let trimmed = self.writer.trim(reach);
        if let Some(dropped) = self.note(trimmed) {
            self.durable.trimmed(reach);
            self.counts.generations_dropped += u64::try_from(dropped).unwrap_or(0);
        }
    }

    /// Connections that may read again, with what the network has brought for them meanwhile.
    fn readable(&mut self) -> Vec<(u64, Vec<u8>)> {
        let resumed = std::mem::take(&mut self.outbox.left().resumed);
        let unread = resumed.into_iter().filter_map(|line| {
            let end = self.ends.get_mut(&line)?;
            end.untaken = end.untaken.saturating_sub(1);
            let read = end.untaken == 0 && !end.unread.is_empty();
            read.then(|| (line, std::mem::take(&mut end.unread)))
        });
        unread.collect()
    }

    /// Sends what processors' actors left.
    fn send_to_processors(&mut self, now: Now) {
        let messages = std::mem::take(&mut self.outbox.left().messages);
        for (line, message) in messages {
            let Some(Kind::Processor { link, .. }) = self.ends.get_mut(&line).map(|end| &mut end.kind) else {
                continue;
            };
            let mut bytes = Vec::new();
            let _ = link.send(&message, now, &mut bytes);
            self.tell(line, bytes);
        }
    }

    fn tell(&mut self, line: u64, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.told.push((line, bytes));
        }
    }

    /// Closes a connection, after the bytes sent on it.
    fn drop_line(&mut self, line: u64) {
        self.forget(line);
        self.closed.push(line);
    }

    fn forget(&mut self, line: u64) {
        match self.ends.remove(&line).map(|end| end.kind) {
            Some(Kind::Charger { .. }) => self.outbox.gone(ConnectionId(line)),
            Some(Kind::Processor { id, .. }) => {
                if let Some(actor) = self.processors.get_mut(&id) {
                    actor.disconnect(ConnectionId(line));
                }
            }
            None => {}
        }
    }
}

impl End {
    fn next_deadline(&self) -> Option<Mono> {
        match &self.kind {
            Kind::Charger { link, .. } => link.next_deadline(),
            Kind::Processor { link, .. } => link.next_deadline(),
        }
    }

    fn on_deadline(&mut self, now: Mono, reply: &mut Vec<u8>) -> Result<(), LinkError> {
        match &mut self.kind {
            Kind::Charger { link, .. } => link.on_deadline(now, reply),
            Kind::Processor { link, .. } => link.on_deadline(now, reply),
        }
    }
}

/// The outside of one shard, and who watches what passes.
struct Shards<'a> {
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
        let Some(Kind::Charger { link: end, .. }) = outputs.ends.get_mut(&line).map(|end| &mut end.kind) else {
            return;
        };
        match outputs.told.last_mut() {
            Some((same, bytes)) if *same == line => drop(end.send(link.channel, message, bytes)),
            _ => {
                let mut bytes = Vec::with_capacity(64);
                let _ = end.send(link.channel, message, &mut bytes);
                outputs.told.push((line, bytes));
            }
        }
    }

    fn close(&mut self, link: Link, code: Code) {
        self.send(link, &connection::farewell(code));
        let line = link.connection.0;
        let Some(Kind::Charger { link: end, .. }) = self.outputs.ends.get(&line).map(|end| &end.kind) else { return };
        if connection::ends_with(end.peer(), link.channel) {
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

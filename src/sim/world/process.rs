//! The gate of a simulated world: the drivers, log writer, archiver, snapshot schedule, links and processors' actors of a real
//! one. What is simulated here is what connects them: threads and mailboxes are method calls in an order that the event queue
//! decides, and a full mailbox is a random choice.
//!
//! The process dies by being dropped; what it had on disk is all that the next one has.

mod connections;
mod outputs;

use super::checker::Checker;
use super::durable::DurableState;
use super::outbox::{Mail, Outbox};
use crate::account::TopUp;
use crate::journal::{Batch, Damage, Failure, Store, recover};
use crate::message::Code;
use crate::node::Link;
use crate::node::archiver::Archiver;
use crate::node::driver::Driver;
use crate::node::input::Input;
use crate::node::log_figures::LogFigures;
use crate::node::log_writer::LogWriter;
use crate::node::ports::Ports;
use crate::node::replay::Rebuilding;
use crate::node::reply::Reply;
use crate::node::shard::Shard;
use crate::node::snapshot_schedule::Schedule;
use crate::payment::Credential;
use crate::session::Session;
use crate::units::{Fingerprint, Now, PartitionId, SessionId};
use outputs::OutputDispatcher;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

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

impl Process {
    /// Starts on the contents of a store. [`Process::resume`] repeats the requests.
    ///
    /// # Errors
    /// The data are damaged.
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
            touched: Vec::new(),
            sent: Vec::new(),
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
        (std::mem::take(&mut self.outputs.sent), std::mem::take(&mut self.outputs.closed))
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
    ///
    /// # Errors
    /// The simulated disk failed: the process is at its end.
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
            for line in std::mem::take(&mut self.outputs.touched) {
                self.outputs.go_on(line, now);
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
}

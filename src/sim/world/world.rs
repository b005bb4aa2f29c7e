//! A simulated world: one event queue, one gate, a fleet, a few processors, and whatever goes wrong between them.

use super::checker::Checker;
use super::controller::Controller;
use super::durable::{DurableState, PARTITIONS};
use super::event_queue::{Event, EventQueue};
use super::faults::{Fault, Weather};
use super::network::{End, Network, Side};
use super::process::{Process, Wake};
use super::simulated_processor::SimulatedProcessor;
use super::{Faults, Settings, audit, peers};
use crate::account;
use crate::journal::{Failure, SimulatedDisk, Store};
use crate::node::reply::{Ordered, Reply};
use crate::sim::processor::Rates;
use crate::units::rng::Rng;
use crate::units::{AccountId, Amount, Currency, Mono, Now, PartitionId, SessionId, TimeSpan, Timestamp};
use std::sync::Arc;

/// A world.
pub(super) struct World {
    pub settings: Settings,
    pub events: EventQueue,
    pub network: Network,
    pub weather: Weather,
    pub checker: Checker,
    pub process: Option<Process>,
    pub fleet: Vec<Controller>,
    pub processors: Vec<SimulatedProcessor>,
    pub durable: Arc<DurableState>,
    pub accounts: Vec<AccountId>,
    pub disk: SimulatedDisk,
    pub rng: Rng,
    /// When the world began.
    pub epoch: Timestamp,
    /// How far the gate's wall clock is off, in milliseconds.
    pub clock_off: i64,
    /// Start of the monotonic clock of this run of the gate.
    mono_from: u64,
    life: u32,
    /// A gate that died while nothing was in progress, as it was.
    last: Option<Process>,
    /// What will fail on the disk is a loss of power.
    pub power_fails: bool,
    /// An archived session of which a bit has changed, and which.
    pub rotten: Option<(SessionId, u64)>,
    /// Nothing goes wrong any more.
    resting: bool,
    /// Orders of operators so far: each has an id of its own.
    pub orders: u64,
    pub counts: Counts,
    /// Orders that were carried out.
    pub ordered: u64,
}

/// What happened to the gate's process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub starts: u64,
    pub deaths: u64,
    pub failed_starts: u64,
    pub commits: u64,
    pub snapshots: u64,
    pub generations_dropped: u64,
    pub reads_delayed: u64,
    pub settlement_parts: u64,
    /// Top-ups by card that were ordered.
    pub card_top_ups: u64,
    /// Restarts that were compared, state for state, with the gate before.
    pub replays: u64,
}

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
const TICK: u64 = 250;
const SWEEP: u64 = 5 * SECOND;
const CHECK_INTERVAL: u64 = 10 * MINUTE;
/// A thread that goes on with a snapshot has other things to do as well, for up to so long.
const SWEEP_DELAY: u64 = 400;
/// How long everything may take to come to its end when nothing goes wrong any more.
pub(super) const GRACE: u64 = 96 * HOUR;
/// Generations of the simulated disk are short, so that many are dropped.
const GENERATION_BLOCKS: u64 = 64;

impl World {
    pub fn new(settings: &Settings) -> World {
        let mut rng = Rng::of(settings.seed, 0x0077_6f72_6c64);
        let weather = Weather::new(settings.faults, &mut rng);
        // Somewhere in 2026, changes of summer time included.
        let epoch = Timestamp::from_unix_ms(1_767_225_600_000 + rng.between(0, 364 * 24 * 3_600_000));
        let accounts: Vec<AccountId> = (0..=settings.chargers / 4)
            .map(|number| AccountId::new(&format!("driver-{number:05}")).expect("an id"))
            .collect();
        let fleet = peers::fleet(settings, &weather, &accounts, epoch, &mut rng);
        let processors = peers::processors(settings, epoch, &mut rng);
        let mut world = World {
            events: EventQueue::default(),
            network: Network::default(),
            checker: Checker::new(settings.seed),
            process: None,
            fleet,
            processors,
            durable: Arc::new(DurableState::new(&mut rng, settings.faults != Faults::NONE)),
            accounts,
            disk: SimulatedDisk::new(rng.bits(), GENERATION_BLOCKS),
            epoch,
            clock_off: 0,
            mono_from: rng.below(1_000_000_000),
            life: 0,
            last: None,
            power_fails: false,
            rotten: None,
            resting: false,
            orders: 0,
            counts: Counts::default(),
            ordered: 0,
            settings: settings.clone(),
            weather,
            rng,
        };
        world.begin();
        world
    }

    /// Starts the gate, opens accounts, connects all peers, and schedules the faults.
    fn begin(&mut self) {
        self.start();
        for account in self.accounts.clone() {
            let limit = if self.rng.chance(2_000) { 5_000 } else { 0 };
            let id = self.order_id(&account);
            let currency = Currency::EUR;
            let credit_limit = Amount::new(limit, currency);
            self.order(
                &account,
                account::Command::Open { op: id.operation(1), account: account.clone(), currency, credit_limit },
            );
            let minor = self.rng.between(500, 60_000);
            self.top_up(&account, minor);
            self.link(&account);
        }
        for place in 0..self.fleet.len() {
            let after = self.rng.below(30 * SECOND);
            self.events.after(after, Event::DialFleet(place));
            self.events.after(after, Event::Fleet(place));
        }
        for place in 0..self.processors.len() {
            for line in 0..self.processors[place].lines.len() {
                let after = self.rng.below(SECOND);
                self.events.after(after, Event::DialProcessor(place, line));
            }
            self.events.after(SECOND, Event::SimulatedProcessor(place));
        }
        self.events.after(TICK, Event::Tick);
        self.events.after(SWEEP, Event::Sweep);
        self.events.after(CHECK_INTERVAL, Event::Check);
        self.events.after(48 * MINUTE, Event::Calm(true));
        for fault in Fault::ALL {
            if let Some(after) = self.weather.next(*fault) {
                self.events.after(after, Event::Strike(*fault));
            }
        }
    }

    /// Runs until a moment, in milliseconds since the beginning.
    pub fn run_until(&mut self, end: u64) {
        while let Some(event) = self.events.next(end) {
            self.checker.now = self.events.now();
            self.checker.step += 1;
            self.happen(event);
        }
    }

    /// Stops faults and new drivers, and lets everything end; returns whether it did in time.
    pub fn come_to_rest(&mut self) -> bool {
        self.resting = true;
        self.calm(true);
        let deadline = self.events.now() + GRACE;
        let mut step = 30 * SECOND;
        loop {
            for place in 0..self.fleet.len() {
                let (world, now) = (self.wall(), self.events.now());
                self.fleet[place].close(world, now);
                self.drive_fleet(place);
            }
            self.run_until(self.events.now() + step);
            if audit::is_at_rest(self) {
                return true;
            }
            if self.events.now() >= deadline {
                return false;
            }
            step = (step * 2).min(HOUR);
        }
    }

    /// The world's time.
    pub fn wall(&self) -> Timestamp {
        let ms = i64::try_from(self.events.now()).unwrap_or(i64::MAX);
        self.epoch.saturating_add(TimeSpan::from_ms(ms))
    }

    /// The clocks of simulated peers, which no fault sets.
    pub(super) fn peer_now(&self) -> Now {
        Now { wall: self.wall(), mono: Mono(self.events.now()) }
    }

    /// The gate's clocks.
    pub fn now(&self) -> Now {
        let wall = self.wall().saturating_add(TimeSpan::from_ms(self.clock_off));
        Now { wall, mono: Mono(self.mono_from + self.events.now()) }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(line, Side::Gate) => {
                let Some(bytes) = self.network.arrived(line, Side::Gate, self.events.now()) else { return };
                let now = self.now();
                if let Some(process) = &mut self.process {
                    process.receive(line, &bytes, now, &mut self.checker);
                }
                self.network.give_back(bytes);
                self.after_gate();
            }
            Event::Arrive(line, Side::Peer) => self.arrive_at_peer(line),
            Event::Ended(line, Side::Gate) => {
                self.network.ended(line, Side::Gate);
                let now = self.now();
                if let Some(process) = &mut self.process {
                    process.ended(line, now, &mut self.checker);
                }
                self.after_gate();
            }
            Event::Ended(line, Side::Peer) => {
                let Some(peer) = self.network.peer(line) else { return };
                self.network.ended(line, Side::Peer);
                self.peer_lost(line, peer);
            }
            Event::Fleet(place) => {
                if self.fleet[place].wake <= self.events.now() {
                    self.drive_fleet(place);
                }
            }
            Event::SimulatedProcessor(place) => {
                if self.processors[place].wake <= self.events.now() {
                    self.drive_processor(place);
                }
            }
            Event::DialFleet(place) => self.dial_fleet(place),
            Event::DialProcessor(place, line) => self.dial_processor(place, line),
            Event::Tick => {
                let now = self.now();
                if let Some(process) = &mut self.process {
                    process.tick(now, &mut self.checker);
                }
                self.after_gate();
                let jitter = self.rng.below(TICK);
                self.events.after(TICK / 2 + jitter, Event::Tick);
            }
            Event::Sweep => {
                let now = self.now();
                if let Some(process) = &mut self.process {
                    let lines = process.lines();
                    process.sweep(&lines, now, &mut self.checker);
                }
                self.after_gate();
                self.events.after(SWEEP, Event::Sweep);
            }
            Event::Commit(life) => self.commit(life),
            Event::Wake(life, wake) => {
                let now = self.now();
                if let Some(process) = self.process.as_mut().filter(|process| process.life == life) {
                    process.wake(wake, now, &mut self.checker);
                }
                self.after_gate();
            }
            Event::OpenShard(life, shard) => {
                let now = self.now();
                let process = self.process.as_mut().filter(|process| process.life == life);
                let opened = process.is_none_or(|process| process.open_shard(shard, now, &mut self.checker));
                if !opened {
                    self.events.after(SECOND, Event::OpenShard(life, shard));
                }
                self.after_gate();
            }
            Event::Check => {
                if let Some(process) = &self.process {
                    for partition in process.shards().flat_map(crate::node::shard::Shard::partitions) {
                        for (_, session) in partition.sessions.iter() {
                            self.checker.check_session(session.state());
                        }
                    }
                }
                self.events.after(CHECK_INTERVAL, Event::Check);
            }
            Event::Start => self.start(),
            Event::Room => self.disk.repair(),
            Event::SnapshotRoom => self.durable.snapshots.set_full(false),
            Event::ClockRight => self.clock_off = 0,
            Event::Mend => self.mend(),
            Event::Calm(_) if self.resting => {}
            Event::Calm(calm) => {
                self.calm(calm);
                self.events.after(if calm { 12 * MINUTE } else { 48 * MINUTE }, Event::Calm(!calm));
            }
            Event::Strike(fault) => {
                if !self.weather.calm {
                    self.strike(fault);
                }
                if let Some(after) = self.weather.next(fault) {
                    self.events.after(after, Event::Strike(fault));
                }
            }
        }
    }

    /// Sends the gate's outputs, and writes its records.
    pub(super) fn after_gate(&mut self) {
        let Some(process) = &mut self.process else { return };
        let (sent, closed) = process.take_sent();
        for (line, bytes) in sent {
            self.network.send(End { line, side: Side::Peer }, bytes, &mut self.events, &mut self.weather);
        }
        for line in closed {
            self.network.close(line, Side::Gate, &mut self.events);
        }
        if process.begin_commit() {
            let slow = if self.weather.strikes(Fault::SlowDisk) { self.weather.rng().below(30 * SECOND) } else { 0 };
            let takes = 1 + self.rng.below(8) + slow;
            self.events.after(takes, Event::Commit(process.life));
        }
        for (wake, after) in process.take_wakes() {
            let delay = match wake {
                Wake::Archive => 0,
                Wake::Sweep(_) if self.weather.strikes(Fault::SlowSnapshots) => self.rng.below(10 * MINUTE),
                Wake::Sweep(_) => self.rng.below(SWEEP_DELAY),
            };
            let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            self.events.after(after.saturating_add(delay), Event::Wake(process.life, wake));
        }
        let done = |reply: &&Reply| matches!(reply, Reply::Ordered(Ordered::Done(_) | Ordered::Asked(_)));
        self.ordered += process.take_replies().iter().filter(done).count() as u64;
        let counts = process.take_counts();
        self.counts.snapshots += counts.snapshots;
        self.counts.generations_dropped += counts.generations_dropped;
        self.counts.reads_delayed += counts.reads_delayed;
        if let Some(failure) = process.take_failure() {
            self.fail(&failure);
        }
    }

    /// Ends the process, with system and page cache intact: returns the store that the next process opens.
    pub fn kill_disk(&mut self) -> Box<dyn Store> {
        self.disk.kill();
        self.disk.store()
    }

    fn commit(&mut self, life: u32) {
        let now = self.now();
        let Some(process) = self.process.as_mut().filter(|process| process.life == life) else { return };
        self.counts.commits += 1;
        match process.commit(now, &mut self.checker) {
            Ok(()) => self.after_gate(),
            Err(failure) => self.fail(&failure),
        }
    }

    /// The disk of the gate fails, and the gate with it.
    fn fail(&mut self, failure: &Failure) {
        match failure {
            Failure::Io { .. } | Failure::Full { .. } => {
                let power = std::mem::take(&mut self.power_fails);
                if power {
                    self.disk.repair();
                }
                self.die("the disk", power);
            }
            other => {
                self.checker.violated(|| format!("the log fails: {other}"));
                self.die("the disk", false);
            }
        }
    }

    /// The gate's process ends; it is started again some time later.
    pub(super) fn die(&mut self, _why: &str, power: bool) {
        let Some(process) = self.process.take() else { return };
        if power {
            self.disk.power_cut()
        } else {
            self.disk.kill()
        }
        self.counts.deaths += 1;
        for line in process.lines() {
            self.network.ended(line, Side::Gate);
            let after = 10 + self.rng.below(2 * SECOND);
            self.events.after(after, Event::Ended(line, Side::Peer));
        }
        // Everything that it decided is durable: the next one has to be the same.
        self.last = Some(process).filter(Process::is_idle);
        let after = SECOND + self.rng.below(40 * SECOND);
        self.events.after(after, Event::Start);
    }

    /// The gate is started on what its disk has.
    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        // The monotonic clock begins at a random value in each run.
        self.mono_from = self.rng.below(1_000_000_000);
        let now = self.now();
        let rotten = self.rot_snapshot();
        let started = Process::start(&self.durable, self.disk.store(), self.life, now);
        match started {
            Ok(mut process) => {
                self.counts.starts += 1;
                if let Some(partition) = rotten.filter(|_| process.damaged.is_empty()) {
                    self.checker
                        .violated(|| format!("the snapshot of partition {partition} changed, and it was not detected"));
                }
                if let Some(before) = self.last.take() {
                    self.counts.replays += 1;
                    for what in audit::compare_replay(&before, &process) {
                        self.checker.violated(|| what);
                    }
                }
                self.checker.recovered(&process);
                if self.weather.strikes(Fault::Nested) && self.life > 1 {
                    // It repeats requests that were in flight, and is killed before they are durable.
                    process.resume(now, &mut self.checker);
                    self.process = Some(process);
                    self.die("killed while it began", self.life.is_multiple_of(2));
                    return;
                }
                process.resume(now, &mut self.checker);
                self.process = Some(process);
                self.after_gate();
            }
            Err(Failure::Io { .. } | Failure::Full { .. }) => {
                self.counts.failed_starts += 1;
                let power = std::mem::take(&mut self.power_fails);
                if power {
                    self.disk.repair();
                    self.disk.power_cut();
                }
                let after = 2 * SECOND + self.rng.below(20 * SECOND);
                self.events.after(after, Event::Start);
            }
            Err(other) => self.checker.violated(|| format!("the gate cannot start: {other}")),
        }
    }

    /// While the gate was down, a bit of a partition's newest snapshot may have changed. The one before it and the log stand
    /// in.
    fn rot_snapshot(&mut self) -> Option<PartitionId> {
        if !self.weather.would_strike(Fault::SnapshotRot) {
            return None;
        }
        let partition = PartitionId(u16::try_from(self.weather.rng().below(u64::from(PARTITIONS))).unwrap_or(0));
        let bit = self.weather.rng().bits();
        let struck = self.durable.rot_snapshot(partition, bit);
        struck.then(|| {
            self.weather.happened(Fault::SnapshotRot);
            partition
        })
    }

    /// Faults stop, or may happen again.
    fn calm(&mut self, calm: bool) {
        if calm {
            self.mend();
        }
        self.weather.calm = calm;
        self.checker.is_calm_since = calm.then_some(self.events.now());
        for processor in &mut self.processors {
            let percent = if calm { 0 } else { self.settings.misbehave(&self.weather) };
            processor.processor.set_rates(if percent == 0 { Rates::default() } else { Rates::hostile(percent) });
        }
        if calm {
            self.clock_off = 0;
            self.disk.repair();
            self.durable.snapshots.set_full(false);
            self.power_fails = false;
            self.reconnect();
        }
    }

    /// Disconnected peers dial now, before their scheduled time.
    fn reconnect(&mut self) {
        for place in 0..self.processors.len() {
            if std::mem::take(&mut self.processors[place].offline_until) > self.events.now() {
                for line in 0..self.processors[place].lines.len() {
                    self.events.after(1 + self.rng.below(SECOND), Event::DialProcessor(place, line));
                }
            }
        }
        for place in 0..self.fleet.len() {
            if std::mem::take(&mut self.fleet[place].offline_until) > self.events.now() {
                self.events.after(1 + self.rng.below(SECOND), Event::DialFleet(place));
            }
        }
    }
}

/// Live sessions, in the order of partitions and cells.
pub(super) fn live_sessions(process: &Process) -> impl Iterator<Item = SessionId> + '_ {
    let partitions = process.shards().flat_map(crate::node::shard::Shard::partitions);
    partitions.flat_map(|partition| partition.sessions.iter().map(|(_, session)| session.state().id))
}

//! In-process load: chargers without connections, whose turns go directly to their shards.
//!
//! Sessions are paid by a card at a processor inside the process that approves everything at once. A *line* stands for the
//! connection of a site controller: it sends its next turn when the last one was taken, as a connection does, and keeps a
//! bounded number of rounds unacknowledged.

use super::approving_processor::ApprovingProcessor;
use crate::actors::shard_actor::ShardActor;
use crate::actors::turn::{Attach, ChargerOutlet};
use crate::app::Gate;
use crate::message::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, MeterAck, Received, StartSession, ToCharger,
};
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use crate::node::shard::Shard;
use crate::payment::{Credential, CredentialKind};
use crate::units::{
    ChargerId, Clock, ConnectorId, Energy, IdError, MeterReading, PartitionId, Power, ProcessorId, SessionKey,
};
use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the load is made of.
#[derive(Clone, Copy, Debug)]
pub struct InProcessSettings {
    /// Live sessions, spread evenly over the chargers.
    pub sessions: u32,
    /// Chargers, each with as many connectors as it has sessions.
    pub chargers: u32,
    /// The most sessions whose readings are sent in one turn; a charger's sessions stay together.
    pub per_line: u32,
}

impl InProcessSettings {
    /// This number of sessions, each with a charger of its own.
    pub fn one_each(sessions: u32) -> InProcessSettings {
        InProcessSettings { sessions, chargers: sessions, per_line: 512 }
    }
}

/// Energy between two readings of a session, in watt hours.
const STEP_WH: i64 = 10;
const PAUSE: Duration = Duration::from_micros(100);
/// Rounds of a line that may be unacknowledged.
const ROUNDS: u32 = 64;
/// Every how manieth session of a line is timed: reading the clock costs a tenth of what a reading does.
const TIMED: usize = 8;

/// Chargers inside the process.
pub struct InProcessLoad {
    lines: Vec<Line>,
    clock: Arc<dyn Clock>,
    /// The sequence number of the last reading.
    sequence: u32,
}

struct Line {
    id: ConnectionId,
    shard: Addr<ShardActor>,
    /// The chargers by channel, and how many sessions each has. Empty once the sessions are open.
    chargers: Vec<(ChargerId, u16)>,
    outlet: Arc<LineOutlet>,
}

/// Acknowledgements that a line has received.
struct LineOutlet {
    /// The last turn was taken.
    free: AtomicBool,
    accepted: AtomicU32,
    refused: AtomicU32,
    /// Sessions that may try again to begin: no more than there are.
    behind: Mutex<Vec<(Channel, SessionKey)>>,
    /// Readings that are durable.
    durable: AtomicU64,
    /// The last acknowledged reading of each session, in the order of channels and of the chargers' own numbers.
    sessions: Vec<AtomicU32>,
    /// Where in `sessions` each channel begins; the channels count from 1.
    begins: Vec<u32>,
    /// When the rounds were due, by sequence number: nanoseconds after `epoch`.
    due: [AtomicU64; ROUNDS as usize],
    epoch: Instant,
    latencies: Arc<Mutex<Histogram<u64>>>,
}

/// Why the load did not come about.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The gate did not admit all sessions.
    #[error("{accepted} of {wanted} sessions were admitted in time, {refused} were refused")]
    NotAdmitted {
        /// Sessions that charge.
        accepted: u32,
        /// Sessions refused.
        refused: u32,
        /// All of them.
        wanted: u32,
    },
}

impl InProcessLoad {
    /// Adds these chargers to this gate, without sending anything yet.
    ///
    /// # Errors
    /// The settings cannot be served by this gate.
    pub fn new(gate: &Gate, load: InProcessSettings, clock: Arc<dyn Clock>) -> Result<InProcessLoad, LoadError> {
        let node_config = gate.directory().node_config();
        let (sessions, chargers) = (u64::from(load.sessions), u64::from(load.chargers.clamp(1, load.sessions.max(1))));
        let mut of_shard: Vec<Vec<(ChargerId, u16)>> = vec![Vec::new(); usize::from(node_config.shards)];
        for number in 0..chargers {
            let id = ChargerId::new(&format!("LOAD-{number:07}"))?;
            let partition = PartitionId::of(id.as_str(), node_config.partitions);
            let of_charger = (number + 1) * sessions / chargers - number * sessions / chargers;
            let of_charger = u16::try_from(of_charger).unwrap_or(u16::MAX);
            of_shard[usize::from(Shard::of(partition, node_config.shards))].push((id, of_charger));
        }
        let per_charger = sessions.div_ceil(chargers);
        let at_once = usize::try_from(u64::from(load.per_line) / per_charger).unwrap_or(1).max(1);
        let epoch = Instant::now();
        let mut of_shard: Vec<_> = of_shard
            .iter()
            .map(|chargers| (chargers.chunks(at_once), Arc::new(Mutex::new(latency_histogram()))))
            .collect();
        // Lines of the shards take turns, so that all shards have work at any time.
        let mut lines = Vec::new();
        let mut found = true;
        while std::mem::take(&mut found) {
            for (shard, (parts, latencies)) in of_shard.iter_mut().enumerate() {
                let Some(part) = parts.next() else { continue };
                found = true;
                let id = ConnectionId(u64::MAX / 2 + lines.len() as u64);
                let shard = gate.directory().shards()[shard].clone();
                let outlet = Arc::new(LineOutlet::new(part, epoch, latencies.clone()));
                lines.push(Line { id, shard, chargers: part.to_vec(), outlet });
            }
        }
        Ok(InProcessLoad { lines, clock, sequence: 0 })
    }

    /// Opens all sessions, and waits until they charge.
    ///
    /// # Errors
    /// The chargers do not connect, or their sessions do not begin in time.
    pub fn open(&mut self, gate: &Gate, timeout: Duration) -> Result<(), LoadError> {
        ApprovingProcessor::join(gate, ProcessorId::new("inside-cards")?);
        for line in &mut self.lines {
            deliver(&line.shard, Attach { connection: line.id, outlet: line.outlet.clone() });
            line.outlet.free.store(true, Ordering::Release);
            line.hello(&*self.clock);
            line.start(&*self.clock);
            line.chargers = Vec::new();
        }
        let (deadline, wanted) = (Instant::now() + timeout, self.sessions());
        loop {
            let sum = |count: fn(&LineOutlet) -> &AtomicU32| -> u32 {
                self.lines.iter().map(|line| count(&line.outlet).load(Ordering::Relaxed)).sum()
            };
            let (accepted, refused) = (sum(|outlet| &outlet.accepted), sum(|outlet| &outlet.refused));
            if accepted == wanted {
                return Ok(());
            }
            if refused > 0 || Instant::now() >= deadline {
                return Err(LoadError::NotAdmitted { accepted, refused, wanted });
            }
            self.lines.iter().for_each(|line| line.start_again(&*self.clock));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the next reading of every session, line by line. `before` is called before each line and may block; it
    /// returns when the readings of the line were due, or ends the round before that line with `None`.
    pub fn round(&mut self, mut before: impl FnMut(&InProcessLoad) -> Option<Instant>) -> u64 {
        self.sequence += 1;
        let (sequence, register) = (self.sequence, i64::from(self.sequence) * STEP_WH);
        let register = Energy::from_watt_hours(register).unwrap_or(Energy::ZERO);
        let mut sent = 0;
        for line in &self.lines {
            let Some(due) = before(self) else { break };
            line.outlet.due(sequence, due);
            let at = self.clock.now().wall;
            let reading = MeterReading { sequence, at, register, power: None, current: None };
            line.readings(reading);
            sent += line.outlet.sessions.len() as u64;
        }
        sent
    }

    /// Sessions, all of which charge.
    pub fn sessions(&self) -> u32 {
        self.lines.iter().map(|line| u32::try_from(line.outlet.sessions.len()).unwrap_or(u32::MAX)).sum()
    }

    /// Number of lines that carry them.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Readings that were acknowledged, by now.
    pub fn durable(&self) -> u64 {
        self.lines.iter().map(|line| line.outlet.durable.load(Ordering::Relaxed)).sum()
    }

    /// Returns the times from when readings were due to their acknowledgement, in microseconds, since the last call:
    /// of every eighth session.
    pub fn take_latencies(&self) -> Histogram<u64> {
        let mut all = latency_histogram();
        let mut before: Option<&Arc<Mutex<Histogram<u64>>>> = None;
        // The lines of a shard share theirs; emptied once, it adds nothing when it is met again.
        for latencies in self.lines.iter().map(|line| &line.outlet.latencies) {
            if before.is_some_and(|before| Arc::ptr_eq(before, latencies)) {
                continue;
            }
            before = Some(latencies);
            let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
            if !latencies.is_empty() {
                // The same bounds: everything fits.
                let _ = all.add(&*latencies);
                latencies.reset();
            }
        }
        all
    }
}

impl Line {
    /// Connects every charger.
    fn hello(&self, clock: &dyn Clock) {
        let now = clock.now().wall;
        let messages = self.chargers.iter().zip(1_u32..).map(|((charger, sessions), channel)| {
            let connectors =
                (1..=*sessions).map(|number| ConnectorInfo { id: ConnectorId(number), power_max: power() });
            let hello = ChargerHello {
                numbering: Default::default(),
                charger: charger.clone(),
                connectors: connectors.collect(),
                firmware: Box::from("1.0"),
                clock: now,
                sessions: Vec::new(),
            };
            Received { channel: Channel(channel), message: FromCharger::Hello(hello) }
        });
        self.turn(messages.collect());
    }

    /// Every session begins.
    fn start(&self, clock: &dyn Clock) {
        let mut sessions = Vec::with_capacity(self.outlet.sessions.len());
        self.outlet.each_session(|channel, session| sessions.push((channel, session)));
        self.start_these(sessions.into_iter(), clock);
    }

    /// Repeats starts that were refused because the gate was behind, as drivers do.
    fn start_again(&self, clock: &dyn Clock) {
        let behind = std::mem::take(&mut *self.outlet.behind.lock().unwrap_or_else(PoisonError::into_inner));
        if !behind.is_empty() {
            self.start_these(behind.into_iter(), clock);
        }
    }

    fn start_these(&self, sessions: impl Iterator<Item = (Channel, SessionKey)>, clock: &dyn Clock) {
        let at = clock.now().wall;
        let messages = sessions.map(|(channel, session)| {
            let start = StartSession {
                session,
                connector: ConnectorId(u16::try_from(session.0).unwrap_or(u16::MAX)),
                credential: Credential { kind: CredentialKind::CardToken, token: Box::from(*b"tok_inside") },
                at,
                register: Energy::ZERO,
            };
            Received { channel, message: FromCharger::Start(start) }
        });
        self.turn(messages.collect());
    }

    /// Every session sends its reading.
    fn readings(&self, reading: MeterReading) {
        // An older round must be acknowledged first: the gate may be slower than the requested rate.
        let expected = u64::from(reading.sequence.saturating_sub(ROUNDS)) * self.outlet.sessions.len() as u64;
        while self.outlet.durable.load(Ordering::Relaxed) < expected {
            std::thread::sleep(PAUSE);
        }
        let mut messages = Vec::with_capacity(self.outlet.sessions.len());
        self.outlet.each_session(|channel, session| {
            messages.push(Received { channel, message: FromCharger::Reading { session, reading } });
        });
        self.turn(messages);
    }

    /// Waits until the last turn was taken, and sends the next one.
    fn turn(&self, messages: Vec<Received<FromCharger>>) {
        while !self.outlet.free.swap(false, Ordering::Acquire) {
            std::thread::sleep(PAUSE);
        }
        deliver(
            &self.shard,
            ReadBatch { connection: self.id, arrived: Instant::now(), messages: messages.into_iter() },
        );
    }
}

impl LineOutlet {
    fn new(chargers: &[(ChargerId, u16)], epoch: Instant, latencies: Arc<Mutex<Histogram<u64>>>) -> LineOutlet {
        let (mut sessions, mut begins) = (Vec::new(), vec![0]);
        for (_, of_charger) in chargers {
            begins.push(u32::try_from(sessions.len()).unwrap_or(u32::MAX));
            sessions.extend((0..*of_charger).map(|_| AtomicU32::new(0)));
        }
        sessions.shrink_to_fit();
        begins.shrink_to_fit();
        LineOutlet {
            free: AtomicBool::new(false),
            accepted: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            behind: Mutex::default(),
            durable: AtomicU64::new(0),
            sessions,
            begins,
            due: std::array::from_fn(|_| AtomicU64::new(0)),
            epoch,
            latencies,
        }
    }

    /// The channel of each session, and its charger's number for it.
    fn each_session(&self, mut each: impl FnMut(Channel, SessionKey)) {
        let end = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let ends = self.begins.iter().skip(2).chain(std::iter::once(&end));
        for (channel, (begin, end)) in (1_u32..).zip(self.begins.iter().skip(1).zip(ends)) {
            (1..=u64::from(end - begin)).for_each(|key| each(Channel(channel), SessionKey(key)));
        }
    }

    fn due(&self, sequence: u32, due: Instant) {
        let nanos = u64::try_from(due.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        self.due[(sequence % ROUNDS) as usize].store(nanos, Ordering::Relaxed);
    }

    /// Everything up to this reading of a session is durable.
    fn acknowledged(&self, channel: Channel, key: SessionKey, up_to: u32) {
        let begin = self.begins.get(channel.0 as usize).map_or(usize::MAX, |begin| *begin as usize);
        let index = begin.saturating_add(usize::try_from(key.0.saturating_sub(1)).unwrap_or(usize::MAX));
        let Some(session) = self.sessions.get(index) else { return };
        // Only the line's shard writes here: no exchange is needed, which costs as much as a good part of a reading.
        let before = session.load(Ordering::Relaxed);
        session.store(up_to, Ordering::Relaxed);
        let durable = self.durable.load(Ordering::Relaxed) + u64::from(up_to.saturating_sub(before));
        self.durable.store(durable, Ordering::Relaxed);
        if index.is_multiple_of(TIMED) {
            let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            for sequence in before.saturating_add(1)..=up_to {
                let due = self.due[(sequence % ROUNDS) as usize].load(Ordering::Relaxed);
                latencies.saturating_record(now.saturating_sub(due) / 1_000);
            }
        }
    }
}

impl ChargerOutlet for LineOutlet {
    fn send(&self, channel: Channel, message: &ToCharger) {
        match message {
            ToCharger::MeterAck(MeterAck { session, up_to, .. }) => self.acknowledged(channel, *session, *up_to),
            ToCharger::StartAccepted { .. } => drop(self.accepted.fetch_add(1, Ordering::Relaxed)),
            ToCharger::StartRejected { session, code: Code::Busy, .. } => {
                self.behind.lock().unwrap_or_else(PoisonError::into_inner).push((channel, *session));
            }
            ToCharger::StartRejected { .. } | ToCharger::SessionRejected { .. } => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn resume(&self) {
        self.free.store(true, Ordering::Release);
    }

    fn close(&self, _: Channel, _: Code) {}
}

/// From a microsecond to an hour.
fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that a histogram can have")
}

fn power() -> Power {
    Power::from_watts(22_000).unwrap_or(Power::from_milliwatts(0))
}

fn deliver<M>(shard: &Addr<ShardActor>, mut message: M)
where
    M: Message<Result = ()> + Send + 'static,
    ShardActor: Handler<M>,
{
    while let Err(SendError::Full(back)) = shard.try_send(message) {
        message = back;
        std::thread::sleep(PAUSE);
    }
}

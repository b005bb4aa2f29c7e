//! Load from inside the process: chargers without connections, whose turns go straight to their shards.
//!
//! Each charger has one session, paid by a card at a processor inside the process that approves everything at once. A *line*
//! stands for the connection of a site controller: it sends its next turn when the last one was taken, as a connection does.

use super::Gate;
use crate::actors::ConnectionId;
use crate::actors::processor::{Callback, Callbacks, ProcessorActor, ProcessorOutlet};
use crate::actors::shard::Shard;
use crate::actors::shard_actor::ShardActor;
use crate::actors::turn::{Attach, ChargerOutlet, Turn};
use crate::payment::{
    Answer, CallbackId, Capabilities, Credential, CredentialKind, OperationKind, Outcome, ProcessorRef, Request,
};
use crate::units::{
    Amount, ChargerId, Clock, ConnectorId, Currency, Energy, IdError, MeterReading, PartitionId, Power, ProcessorId,
    SessionKey, TimeSpan,
};
use crate::wire::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, MeterAck, Received, StartSession, ToCharger, ToProcessor,
};
use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Chargers that speak over one line.
const CHARGERS_PER_LINE: usize = 512;
/// What a charger's meter moves on with each reading, in watt hours.
const STEP_WH: i64 = 10;
const PAUSE: Duration = Duration::from_micros(100);

/// Chargers inside the process.
pub struct Inside {
    lines: Vec<Line>,
    clock: Arc<dyn Clock>,
    /// The sequence number of the last reading.
    sequence: u32,
}

struct Line {
    id: ConnectionId,
    shard: Addr<ShardActor>,
    chargers: Vec<ChargerId>,
    outlet: Arc<Heard>,
}

/// What a line has heard.
#[derive(Default)]
struct Heard {
    /// The last turn was taken.
    free: AtomicBool,
    accepted: AtomicU32,
    refused: AtomicU32,
    /// Readings that are durable.
    durable: AtomicU64,
    /// The last acknowledged reading of each charger.
    up_to: Vec<AtomicU32>,
}

/// Why the load did not come about.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
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

impl Inside {
    /// So many chargers at this gate, none of which has said anything yet.
    pub fn new(gate: &Gate, sessions: u32, clock: Arc<dyn Clock>) -> Result<Inside, InsideError> {
        let house = gate.directory().house();
        let mut of_shard: Vec<Vec<ChargerId>> = vec![Vec::new(); usize::from(house.shards)];
        for number in 0..sessions {
            let id = ChargerId::new(&format!("LOAD-{number:07}"))?;
            let partition = PartitionId::of(id.as_str(), house.partitions);
            of_shard[usize::from(Shard::of(partition, house.shards))].push(id);
        }
        let mut lines = Vec::new();
        for (shard, chargers) in of_shard.into_iter().enumerate() {
            for part in chargers.chunks(CHARGERS_PER_LINE) {
                let outlet = Heard { up_to: part.iter().map(|_| AtomicU32::new(0)).collect(), ..Heard::default() };
                let id = ConnectionId(u64::MAX / 2 + lines.len() as u64);
                let shard = gate.directory().shards()[shard].clone();
                lines.push(Line { id, shard, chargers: part.to_vec(), outlet: Arc::new(outlet) });
            }
        }
        Ok(Inside { lines, clock, sequence: 0 })
    }

    /// Opens all sessions, and waits until they charge.
    pub fn open(&self, gate: &Gate, patience: Duration) -> Result<(), InsideError> {
        let cards = Arc::new(Approving::default());
        let actor = gate.admit(ProcessorId::new("inside-cards")?, cards.clone(), Approving::capabilities());
        // Said once: a gate is opened once.
        let _ = cards.actor.set(actor);
        for line in &self.lines {
            deliver(&line.shard, Attach { connection: line.id, outlet: line.outlet.clone() });
            line.outlet.free.store(true, Ordering::Release);
            line.turn(|number, charger| {
                FromCharger::Hello(ChargerHello {
                    charger: charger.clone(),
                    connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: power() }],
                    firmware: Box::from("1.0"),
                    clock: self.clock.now().wall,
                    sessions: Vec::new(),
                })
                .pipe(number)
            });
            let at = self.clock.now().wall;
            line.turn(|number, _| {
                FromCharger::Start(StartSession {
                    session: SessionKey(1),
                    connector: ConnectorId(1),
                    credential: Credential { kind: CredentialKind::CardToken, token: Box::from(*b"tok_inside") },
                    at,
                    register: Energy::ZERO,
                })
                .pipe(number)
            });
        }
        let (deadline, wanted) = (Instant::now() + patience, self.sessions());
        loop {
            let sum = |count: fn(&Heard) -> &AtomicU32| -> u32 {
                self.lines.iter().map(|line| count(&line.outlet).load(Ordering::Relaxed)).sum()
            };
            let (accepted, refused) = (sum(|heard| &heard.accepted), sum(|heard| &heard.refused));
            if accepted == wanted {
                return Ok(());
            }
            if refused > 0 || Instant::now() >= deadline {
                return Err(InsideError::NotAdmitted { accepted, refused, wanted });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the next reading of every session, line by line; `before` is asked before each line, and may take its time.
    pub fn round(&mut self, mut before: impl FnMut(&Inside)) {
        self.sequence += 1;
        let (sequence, register) = (self.sequence, i64::from(self.sequence) * STEP_WH);
        for line in &self.lines {
            before(self);
            let at = self.clock.now().wall;
            let register = Energy::from_watt_hours(register).unwrap_or(Energy::ZERO);
            let reading = MeterReading { sequence, at, register, power: None, current: None };
            line.turn(|number, _| FromCharger::Reading { session: SessionKey(1), reading }.pipe(number));
        }
    }

    /// Sessions, all of which charge.
    pub fn sessions(&self) -> u32 {
        self.lines.iter().map(|line| u32::try_from(line.chargers.len()).unwrap_or(u32::MAX)).sum()
    }

    /// Lines over which they speak.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Readings that were acknowledged, by now.
    pub fn durable(&self) -> u64 {
        self.lines.iter().map(|line| line.outlet.durable.load(Ordering::Relaxed)).sum()
    }
}

impl Line {
    /// Waits until the last turn was taken, and sends the next one: a message of each charger.
    fn turn(&self, message: impl Fn(usize, &ChargerId) -> Received<FromCharger>) {
        while !self.outlet.free.swap(false, Ordering::Acquire) {
            std::thread::sleep(PAUSE);
        }
        let messages: Vec<_> =
            self.chargers.iter().enumerate().map(|(number, charger)| message(number, charger)).collect();
        deliver(&self.shard, Turn { connection: self.id, arrived: Instant::now(), messages: messages.into_iter() });
    }
}

/// A message on the channel of the charger with this number.
trait Piped {
    fn pipe(self, number: usize) -> Received<FromCharger>;
}

impl Piped for FromCharger {
    fn pipe(self, number: usize) -> Received<FromCharger> {
        Received { channel: Channel(u32::try_from(number).unwrap_or(u32::MAX)), message: self }
    }
}

impl ChargerOutlet for Heard {
    fn send(&self, channel: Channel, message: &ToCharger) {
        match message {
            ToCharger::MeterAck(MeterAck { up_to, .. }) => {
                let Some(before) = self.up_to.get(channel.0 as usize) else { return };
                let before = before.swap(*up_to, Ordering::Relaxed);
                self.durable.fetch_add(u64::from(up_to.saturating_sub(before)), Ordering::Relaxed);
            }
            ToCharger::StartAccepted { .. } => drop(self.accepted.fetch_add(1, Ordering::Relaxed)),
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

/// A processor that approves everything at once.
#[derive(Default)]
struct Approving {
    actor: OnceLock<Addr<ProcessorActor>>,
    callbacks: AtomicU64,
}

impl Approving {
    fn capabilities() -> Capabilities {
        use OperationKind::{Authorize, Capture, Decrement, Increment, Inquire, Refund, Void};
        Capabilities {
            kinds: vec![Authorize, Increment, Decrement, Capture, Void, Refund, Inquire],
            credentials: vec![CredentialKind::CardToken],
            currencies: vec![Currency::EUR],
            idempotent_replay: TimeSpan::from_secs(86_400),
            replay_after_error_safe: true,
            request_life_max: TimeSpan::from_secs(20),
            inquiry_authoritative_after: Some(TimeSpan::from_secs(30)),
            increments_max: 10,
            overcapture_percent: 0,
            partial_approval: true,
            multiple_captures: false,
            hold_validity: TimeSpan::from_secs(7 * 86_400),
            inflight_max: 16_384,
        }
    }
}

impl ProcessorOutlet for Approving {
    fn send(&self, message: &ToProcessor) -> bool {
        let (ToProcessor::Operation(operation), Some(actor)) = (message, self.actor.get()) else { return true };
        let amount = match &operation.request {
            Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => {
                *amount
            }
            Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => *new_total,
            Request::Void { .. } | Request::Inquire { .. } => Amount::zero(Currency::EUR),
        };
        let number = self.callbacks.fetch_add(1, Ordering::Relaxed);
        let processor_ref = ProcessorRef(format!("auth-{number}").into());
        let answer = Answer {
            callback: CallbackId(u128::from(number) + 1),
            operation: operation.id,
            hold: operation.hold,
            outcome: Outcome::Approved { amount, processor_ref, expires_at: None },
        };
        let callbacks = vec![Callback::Answer(answer)];
        actor.try_send(Callbacks { connection: ConnectionId(u64::MAX), callbacks }).is_ok()
    }

    fn resume(&self) {}
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

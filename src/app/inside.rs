//! Load from inside the process: chargers without connections, whose turns go straight to their shards.
//!
//! Each charger has one session, paid from a prepaid account on the same shard. A *line* stands for the connection of a
//! site controller: it sends its next turn when the last one was taken, as a connection does.

use super::Gate;
use crate::account;
use crate::actors::ConnectionId;
use crate::actors::output::OrderReply;
use crate::actors::shard::{Input, Shard};
use crate::actors::shard_actor::ShardActor;
use crate::actors::turn::{Attach, ChargerOutlet, Turn};
use crate::payment::{Credential, CredentialKind};
use crate::units::{
    AccountId, Amount, ChargerId, Clock, ConnectorId, Currency, Energy, IdError, MeterReading, PartitionId, Power,
    SessionId, SessionKey,
};
use crate::wire::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, MeterAck, Received, StartSession, ToCharger,
};
use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Chargers that speak over one line.
const CHARGERS_PER_LINE: usize = 512;
/// Sessions that one account pays.
const SESSIONS_PER_ACCOUNT: usize = 256;
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
    chargers: Vec<(ChargerId, AccountId)>,
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
        let mut accounts = 0..;
        for (shard, chargers) in of_shard.into_iter().enumerate() {
            // An account on the same shard: what a session asks it crosses no thread.
            let mut account = || loop {
                let id = AccountId::new(&format!("fleet-{}", accounts.next().unwrap_or(0_u32)))?;
                let partition = PartitionId::of(id.as_str(), house.partitions);
                if usize::from(Shard::of(partition, house.shards)) == shard {
                    return Ok::<_, IdError>(id);
                }
            };
            for part in chargers.chunks(CHARGERS_PER_LINE) {
                let mut chargers = Vec::with_capacity(part.len());
                for few in part.chunks(SESSIONS_PER_ACCOUNT) {
                    let account = account()?;
                    chargers.extend(few.iter().map(|charger| (charger.clone(), account.clone())));
                }
                let outlet = Heard { up_to: part.iter().map(|_| AtomicU32::new(0)).collect(), ..Heard::default() };
                let id = ConnectionId(u64::MAX / 2 + lines.len() as u64);
                let shard = gate.directory().shards()[shard].clone();
                lines.push(Line { id, shard, chargers, outlet: Arc::new(outlet) });
            }
        }
        Ok(Inside { lines, clock, sequence: 0 })
    }

    /// Opens all sessions, and waits until they charge.
    pub fn open(&self, gate: &Gate, patience: Duration) -> Result<(), InsideError> {
        for line in &self.lines {
            self.fill_accounts(gate, line);
            deliver(&line.shard, Attach { connection: line.id, outlet: line.outlet.clone() });
            line.outlet.free.store(true, Ordering::Release);
            line.turn(|number, (charger, _)| {
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
            line.turn(|number, (_, account)| {
                FromCharger::Start(StartSession {
                    session: SessionKey(1),
                    connector: ConnectorId(1),
                    credential: Credential {
                        kind: CredentialKind::EvAccount,
                        token: account.as_str().as_bytes().into(),
                    },
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

    fn fill_accounts(&self, gate: &Gate, line: &Line) {
        let mut accounts: Vec<&AccountId> = line.chargers.iter().map(|(_, account)| account).collect();
        accounts.dedup();
        let partitions = gate.directory().house().partitions;
        for account in accounts {
            let order = SessionId::new(self.clock.now().wall, PartitionId::of(account.as_str(), partitions), 1);
            let commands = [
                account::Command::Open {
                    op: order.operation(1),
                    account: account.clone(),
                    currency: Currency::EUR,
                    credit_limit: Amount::zero(Currency::EUR),
                },
                account::Command::TopUp {
                    op: order.operation(2),
                    amount: Amount::new(10_000_000, Currency::EUR),
                    source: account::TopUpSource::Bank,
                },
            ];
            for command in commands {
                let mut input = Input::Order(account.clone(), Box::new(command), OrderReply(Box::new(|_| {})));
                while let Err(back) = gate.directory().post(input) {
                    input = back;
                    std::thread::sleep(PAUSE);
                }
            }
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
    fn turn(&self, message: impl Fn(usize, &(ChargerId, AccountId)) -> Received<FromCharger>) {
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

//! A simulated charger: drivers arrive, request a session, charge and leave; readings are kept until they are
//! acknowledged.
//!
//! It has no clock and no socket. The caller passes the time ([`Charger::advance`]) and the gate's messages
//! ([`Charger::on_message`]), and sends the charger's ([`Charger::take_messages`]). The wall clock is the charger's, and may run
//! fast; the monotonic one is the machine's.
//!
//! ```text
//!  free ── driver comes ──▶ asked ── StartAccepted ──▶ open ── vehicle leaves, limit, StopNow ──▶ stopped
//!   ▲                         │                                                                      │
//!   └──── StartRejected ──────┘      connector free again;  session kept until its stop is durable   │
//!                                    and its receipt is here                     ◀───────────────────┘
//! ```
//!
//! Acknowledgements are kept, and a gate that reconnects with less is counted: a counter above zero means that
//! acknowledged data was lost.

mod remembered;
mod session;

pub use remembered::has_sessions;

use super::driver::{Scenario, Visit, Visitors};
use super::recording::RecordedSession;
use crate::message::{
    ChargerHello, ChargerHelloAck, Code, ConnectorInfo, FromCharger, Limit, SessionMark, Standing, StartSession,
    StopReason, ToCharger,
};
use crate::units::rng::Rng;
use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Energy, Mono, Now, Power, SessionId, SessionKey, TimeSpan, Timestamp,
};
use serde::Serialize;
use session::{Phase, Session};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a charger is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub id: ChargerId,
    /// The most power of each of its connectors, the first being connector 1.
    pub connectors: Vec<Power>,
    /// Time between two readings of a session, by the charger's clock.
    pub interval: TimeSpan,
    /// The drivers that come.
    pub visitors: Visitors,
    /// Repeats its drivers.
    pub seed: u64,
    /// Most unacknowledged readings that are kept per session; while there are as many, none is taken.
    pub kept_max: usize,
}

/// What happened at a charger, as counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Drivers that presented a credential.
    pub visits: u64,
    /// Starts that the gate accepted.
    pub accepted: u64,
    /// Starts that it refused, by code.
    pub refused: BTreeMap<u16, u64>,
    /// Readings taken (a stop is one).
    pub readings: u64,
    /// Readings acknowledged.
    pub readings_acked: u64,
    /// Sessions that were stopped by order of the gate.
    pub stopped_by_gate: u64,
    /// Sessions that ended at their limit.
    pub stopped_by_limit: u64,
    /// Readings or stops that the gate refused, by code.
    pub rejected: BTreeMap<u16, u64>,
    /// Receipts received.
    pub receipts: u64,
    /// Receipts that came again.
    pub receipts_again: u64,
    /// Readings that had been acknowledged and that the gate did not have any more after a reconnect.
    pub readings_lost: u64,
    /// Accepted sessions that the gate lost, as seen after a reconnect.
    pub sessions_lost: u64,
    /// Sessions that the gate forgot before their receipt had come.
    pub receipts_missed: u64,
    /// Sessions whose end the gate acknowledged, at chargers whose protocol has no receipts.
    pub ended: u64,
    /// Energy of the sessions that are over, or were forgotten, in microwatt hours.
    #[serde(skip)]
    pub delivered_uwh: i64,
}

impl Tally {
    /// Adds another charger's counts.
    pub fn add(&mut self, other: &Tally) {
        self.visits += other.visits;
        self.accepted += other.accepted;
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
        self.readings += other.readings;
        self.readings_acked += other.readings_acked;
        self.stopped_by_gate += other.stopped_by_gate;
        self.stopped_by_limit += other.stopped_by_limit;
        for (code, count) in &other.rejected {
            *self.rejected.entry(*code).or_default() += count;
        }
        self.receipts += other.receipts;
        self.receipts_again += other.receipts_again;
        self.readings_lost += other.readings_lost;
        self.sessions_lost += other.sessions_lost;
        self.receipts_missed += other.receipts_missed;
        self.ended += other.ended;
        self.delivered_uwh = self.delivered_uwh.saturating_add(other.delivered_uwh);
    }
}

impl Tally {
    fn deliver(&mut self, session: &Session) {
        self.delivered_uwh = self.delivered_uwh.saturating_add(session.energy().microwatt_hours());
    }
}

/// What a connector is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupied {
    /// The next car can come.
    Free,
    /// A car is there, and no energy flows.
    Plugged,
    /// Energy flows.
    Charging,
}

/// A session with its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The charger's number for it.
    pub key: SessionKey,
    /// The gate's id for it.
    pub id: Option<SessionId>,
    /// Energy delivered, by the charger's meter.
    pub energy: Energy,
    /// Readings taken, all of them acknowledged (the receipt could not be there otherwise).
    pub readings: u32,
    /// Why it stopped; `None` when the gate closed it without a stop.
    pub reason: Option<StopReason>,
    /// What was paid.
    pub total: Amount,
    /// The exact cost.
    pub cost: Cost,
    /// The receipt's number.
    pub receipt: Box<str>,
    /// The recording that it replayed.
    pub recording: Option<Arc<RecordedSession>>,
}

/// How long an unanswered start waits before it is repeated on the same connection.
const START_REPEATED_AFTER: TimeSpan = TimeSpan::from_secs(15);
/// Keys of sessions with receipts that are kept, to recognise repeated receipts.
const KEYS_REMEMBERED: usize = 64;

/// A simulated charger.
#[derive(Clone, Debug)]
pub struct Charger {
    settings: Settings,
    rng: Rng,
    connectors: Vec<Connector>,
    sessions: BTreeMap<SessionKey, Session>,
    recent: VecDeque<SessionKey>,
    finished: Vec<Finished>,
    tally: Tally,
    /// Most unacknowledged readings of a session that the gate allows in flight; `None` before its `Hello`.
    window: Option<usize>,
    next_key: u64,
    /// No new drivers come.
    closing: bool,
}

#[derive(Clone, Debug)]
struct Connector {
    id: ConnectorId,
    power_max: Power,
    /// The meter's lifetime register.
    register: Energy,
    state: ConnectorState,
    /// Recorded sessions that are still to come.
    recorded: VecDeque<Arc<RecordedSession>>,
}

#[derive(Clone, Debug)]
enum ConnectorState {
    /// No drivers any more.
    Idle,
    /// Until this driver comes.
    Free { visit: Visit, from: Timestamp },
    /// By the session with this key.
    Taken(SessionKey),
}

impl Charger {
    /// A charger that was switched on at `now`. Its session keys start at the time in microseconds, so that they grow
    /// from one run of the simulation to the next.
    pub fn new(settings: Settings, now: Timestamp) -> Charger {
        let name = settings
            .id
            .as_str()
            .bytes()
            .fold(0_u128, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u128::from(byte));
        let mut rng = Rng::of(settings.seed, name);
        let connectors = settings
            .connectors
            .iter()
            .zip(1..)
            .map(|(power_max, id)| {
                let id = ConnectorId(id);
                let register = Energy::from_microwatt_hours(rng.between(0, 90_000_000_000_000));
                let recorded = match &settings.visitors {
                    Visitors::Random(_) => VecDeque::new(),
                    Visitors::Recorded { sessions, .. } => {
                        sessions.iter().filter(|session| session.connector == id).cloned().collect()
                    }
                };
                let mut connector =
                    Connector { id, power_max: *power_max, register, state: ConnectorState::Idle, recorded };
                connector.await_next(&settings.visitors, &mut rng, now);
                connector
            })
            .collect();
        Charger {
            rng,
            connectors,
            sessions: BTreeMap::new(),
            recent: VecDeque::new(),
            finished: Vec::new(),
            tally: Tally::default(),
            window: None,
            next_key: now.unix_ms().unsigned_abs().saturating_mul(1_000),
            closing: false,
            settings,
        }
    }

    /// Its name.
    pub fn id(&self) -> &ChargerId {
        &self.settings.id
    }

    /// The most power of its connectors.
    pub fn power_max(&self) -> Power {
        self.connectors.iter().map(|connector| connector.power_max).max().unwrap_or_default()
    }

    /// What repeats its drivers.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// What happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Recorded sessions that are still to come.
    pub fn sessions_to_come(&self) -> usize {
        let waiting = |connector: &Connector| usize::from(matches!(connector.state, ConnectorState::Free { .. }));
        let recorded = matches!(self.settings.visitors, Visitors::Recorded { .. });
        self.connectors.iter().filter(|_| recorded).map(|one| one.recorded.len() + waiting(one)).sum()
    }

    /// Sessions without a receipt.
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Readings that the gate has not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.sessions.values().map(|session| u64::from(session.taken - session.acked.min(session.taken))).sum()
    }

    /// The sessions that got their receipts since the last call.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Admits no new drivers, and ends the running sessions.
    pub fn close(&mut self, now: Now) {
        self.closing = true;
        for session in self.sessions.values_mut() {
            let before = session.taken;
            session.stop(now.wall, StopReason::Local);
            self.tally.readings += u64::from(session.taken - before);
        }
        self.free_connectors(now.wall);
    }

    /// The first message on a new connection. Everything unacknowledged will be sent again.
    pub fn hello(&mut self, now: Now) -> ChargerHello {
        self.window = None;
        for session in self.sessions.values_mut() {
            session.start_sent = None;
            session.rewind(0);
        }
        ChargerHello {
            numbering: Default::default(),
            charger: self.settings.id.clone(),
            connectors: self
                .connectors
                .iter()
                .map(|connector| ConnectorInfo { id: connector.id, power_max: connector.power_max })
                .collect(),
            firmware: concat!("wattstile-sim/", env!("CARGO_PKG_VERSION")).into(),
            clock: now.wall,
            sessions: self
                .sessions
                .values()
                .map(|session| SessionMark { session: session.key, last_sequence: session.taken })
                .collect(),
        }
    }

    /// Resets or replaces the charger: it has no sessions, and its connectors are free. Its session keys continue to
    /// grow, like those of a clock.
    pub fn forget_everything(&mut self, now: Now, other_meter: bool) {
        for session in std::mem::take(&mut self.sessions).into_values() {
            self.tally.deliver(&session);
        }
        self.recent.clear();
        self.window = None;
        for connector in &mut self.connectors {
            if other_meter {
                connector.register = Energy::from_microwatt_hours(self.rng.between(0, 90_000_000_000_000));
            }
            if matches!(connector.state, ConnectorState::Taken(_)) {
                connector.await_next(&self.settings.visitors, &mut self.rng, now.wall);
            }
        }
    }

    /// The connection has ended.
    pub fn disconnected(&mut self) {
        self.window = None;
    }

    /// Lets time pass up to now: drivers come, readings are taken, vehicles leave.
    pub fn advance(&mut self, now: Now) {
        for session in self.sessions.values_mut() {
            self.tally.readings += u64::from(session.meter(now.wall, self.settings.interval, self.settings.kept_max));
        }
        self.free_connectors(now.wall);
        for connector in &mut self.connectors {
            if let ConnectorState::Free { visit, from } = &connector.state
                && *from <= now.wall
                && !self.closing
            {
                self.next_key += 1;
                let key = SessionKey(self.next_key);
                // The driver came at `from`, but a charger that was switched off then only notices now.
                let session = Session::new(key, connector.id, visit, now.wall, connector.register);
                self.sessions.insert(key, session);
                connector.state = ConnectorState::Taken(key);
                self.tally.visits += 1;
            }
        }
    }

    /// When [`Charger::advance`] has something to do next, by the charger's clock.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let readings = self.sessions.values().filter_map(|session| session.due(self.settings.kept_max));
        let visits = self.connectors.iter().filter_map(|connector| match &connector.state {
            ConnectorState::Free { from, .. } if !self.closing => Some(*from),
            ConnectorState::Idle | ConnectorState::Free { .. } | ConnectorState::Taken(_) => None,
        });
        readings.chain(visits).min()
    }

    /// Processes a message of the gate.
    pub fn on_message(&mut self, message: ToCharger, now: Now) {
        match message {
            ToCharger::HelloAck(ack) => self.resume(&ack),
            ToCharger::StartAccepted { session: key, id, limit, price_text: _ } => {
                self.admit(key, limit, now);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.id = Some(id);
                }
            }
            ToCharger::StartRejected { session: key, code, text: _ } => {
                if self.sessions.get(&key).is_some_and(|session| session.phase == Phase::Asked) {
                    *self.tally.refused.entry(code.number()).or_default() += 1;
                    self.forget(key, now.wall);
                }
            }
            ToCharger::MeterAck(ack) => {
                if let Some(session) = self.sessions.get_mut(&ack.session) {
                    let before = session.acked;
                    session.acknowledge(ack.up_to);
                    session.cost = ack.cost.or(session.cost);
                    self.tally.readings_acked += u64::from(session.acked - before);
                }
            }
            ToCharger::LimitChanged { session: key, limit } => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.limit = limit;
                }
            }
            ToCharger::StopNow { session: key, reason: _, text: _ } => {
                if let Some(session) = self.sessions.get_mut(&key)
                    && session.phase == Phase::Open
                {
                    session.stop(now.wall, StopReason::Remote);
                    self.tally.readings += 1;
                    self.tally.stopped_by_gate += 1;
                    self.free_connectors(now.wall);
                }
            }
            ToCharger::SessionRejected { session: key, code, expected, text: _ } => {
                *self.tally.rejected.entry(code.number()).or_default() += 1;
                self.rejected(key, code, expected, now.wall);
            }
            ToCharger::Receipt(receipt) => {
                if self.recent.contains(&receipt.session) {
                    self.tally.receipts_again += 1;
                }
                let Some(session) = self.forget(receipt.session, now.wall) else { return };
                self.tally.receipts += 1;
                self.tally.readings_acked += u64::from(session.taken - session.acked.min(session.taken));
                self.finished.push(Finished {
                    key: session.key,
                    id: session.id,
                    energy: session.energy(),
                    readings: session.taken,
                    reason: match session.phase {
                        Phase::Stopped(reason) => Some(reason),
                        Phase::Asked | Phase::Open => None,
                    },
                    total: receipt.total,
                    cost: receipt.cost,
                    receipt: receipt.receipt,
                    recording: session.recording().cloned(),
                });
            }
            ToCharger::GoAway(_) => self.window = None,
            ToCharger::HeartbeatAck { server_time: _ } | ToCharger::Answer(_) | ToCharger::Order { .. } => {}
        }
    }

    /// The connection is up, and its protocol does not tell how far the gate is: everything that is not acknowledged is sent
    /// again, at most so many readings of a session at a time.
    pub fn ready(&mut self, window: usize) {
        self.window = Some(window);
        for session in self.sessions.values_mut() {
            session.recalled = false;
        }
    }

    /// Energy of a session flows, up to this limit.
    pub fn admit(&mut self, key: SessionKey, limit: Limit, now: Now) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.limit = limit;
        if session.phase == Phase::Asked {
            self.tally.accepted += 1;
            session.open(now.wall, self.settings.interval);
        }
    }

    /// Sessions whose start is not answered.
    pub fn asked(&self) -> impl Iterator<Item = StartSession> + '_ {
        self.sessions.values().filter(|session| session.phase == Phase::Asked).map(Session::begin)
    }

    /// The start of a session, as long as the session is kept.
    pub fn start_of(&self, key: SessionKey) -> Option<StartSession> {
        self.sessions.get(&key).map(Session::begin)
    }

    /// What its connectors are doing now.
    pub fn connectors(&self) -> impl Iterator<Item = (ConnectorId, Occupied)> + '_ {
        let stopped = |id| self.sessions.values().any(|session| session.connector == id && session.is_stopped());
        self.connectors.iter().map(move |connector| {
            let occupied = match connector.state {
                ConnectorState::Taken(key) => match self.sessions.get(&key).map(|session| session.phase) {
                    Some(Phase::Open) => Occupied::Charging,
                    Some(Phase::Asked | Phase::Stopped(_)) | None => Occupied::Plugged,
                },
                // Its stop is still to be reported.
                ConnectorState::Idle | ConnectorState::Free { .. } if stopped(connector.id) => Occupied::Plugged,
                ConnectorState::Idle | ConnectorState::Free { .. } => Occupied::Free,
            };
            (connector.id, occupied)
        })
    }

    /// The gate acknowledged the end of a session, in a protocol without receipts: it is dropped.
    pub fn ended(&mut self, key: SessionKey, now: Now) {
        if let Some(session) = self.forget(key, now.wall) {
            self.tally.ended += 1;
            self.tally.readings_acked += u64::from(session.taken - session.acked.min(session.taken));
        }
    }

    /// Returns the next messages, at most `most`, as far as the gate's window allows.
    pub fn take_messages(&mut self, now: Mono, most: usize, out: &mut Vec<FromCharger>) {
        let Some(window) = self.window else { return };
        let full = out.len() + most;
        // A connector's next start waits for the stop before it, or the gate would find it occupied.
        let mut busy = BTreeSet::new();
        for session in self.sessions.values_mut() {
            if out.len() >= full {
                return;
            }
            match session.phase {
                Phase::Asked => {
                    let again = session.start_sent.is_none_or(|sent| now.since(sent) >= START_REPEATED_AFTER);
                    if again && !busy.contains(&session.connector) {
                        session.start_sent = Some(now);
                        out.push(session.start());
                    }
                }
                Phase::Open | Phase::Stopped(_) => {
                    while out.len() < full
                        && let Some(message) = session.next(window)
                    {
                        out.push(message);
                    }
                    if !session.is_said() {
                        busy.insert(session.connector);
                    }
                }
            }
        }
    }

    /// After a reconnect: what the gate has, and what it should have.
    fn resume(&mut self, ack: &ChargerHelloAck) {
        self.window = Some(usize::try_from(ack.terms.window).unwrap_or(usize::MAX));
        let mut gone = Vec::new();
        for position in &ack.sessions {
            let Some(session) = self.sessions.get_mut(&position.session) else { continue };
            let recalled = std::mem::take(&mut session.recalled);
            match position.standing {
                Standing::Open { durable } | Standing::Over { durable } => {
                    // For a session that is over, the gate reports where it ended; later corrections are beyond that.
                    if matches!(position.standing, Standing::Open { .. }) {
                        self.tally.readings_lost += u64::from(session.acked.saturating_sub(durable));
                    }
                    if recalled {
                        // After a loss of power its stored state may be older than its messages.
                        session.taken = session.taken.max(durable);
                    }
                    let before = session.acked;
                    session.acknowledge(durable);
                    session.rewind(durable);
                    session.over |= matches!(position.standing, Standing::Over { .. });
                    // What an earlier process had sent counts there.
                    if !recalled {
                        self.tally.readings_acked += u64::from(session.acked - before);
                    }
                }
                // A start that was never accepted is repeated; a session whose stop is durable needs only its
                // receipt, and a gate that dropped it has sent one.
                Standing::Unknown if session.phase == Phase::Asked => {}
                Standing::Unknown => {
                    if session.stop_is_durable() || session.over {
                        self.tally.receipts_missed += 1
                    } else {
                        self.tally.sessions_lost += 1;
                        self.tally.readings_lost += u64::from(session.acked);
                    }
                    gone.push(session.key);
                }
            }
        }
        for key in gone {
            if let Some(session) = self.sessions.remove(&key) {
                self.tally.deliver(&session);
            }
            self.free_connectors(ack.server_time);
        }
    }

    fn rejected(&mut self, key: SessionKey, code: Code, expected: Option<u32>, now: Timestamp) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        match (code, expected) {
            // The gate waits for an earlier reading than the one it got, and it is still here.
            (Code::SequenceGap, Some(expected)) if expected > session.acked => session.rewind(expected - 1),
            (Code::SequenceGap, Some(expected)) => {
                self.tally.readings_lost += u64::from(session.acked + 1 - expected);
                self.forget(key, now);
            }
            // The start is not decided yet, or the gate closed the session: its answer follows.
            (Code::SessionNotStarted, _) => {}
            (Code::SessionOver, _) => session.over = true,
            // Recorded as a suspect: the next one continues after it.
            (
                Code::RegisterFalls | Code::RegisterJumps | Code::TimeBackwards | Code::TimeImplausible,
                Some(expected),
            ) => {
                let before = session.acked;
                session.acknowledge(expected.saturating_sub(1));
                self.tally.readings_acked += u64::from(session.acked - before);
            }
            _ => {
                self.forget(key, now);
            }
        }
    }

    /// Drops a session; its connector is free.
    fn forget(&mut self, key: SessionKey, now: Timestamp) -> Option<Session> {
        let session = self.sessions.remove(&key)?;
        self.tally.deliver(&session);
        if self.recent.len() == KEYS_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(key);
        self.free_connector(session.connector, key, session.register, now);
        Some(session)
    }

    /// Frees the connectors whose sessions have stopped or were dropped.
    fn free_connectors(&mut self, now: Timestamp) {
        let mut free = Vec::new();
        for connector in &self.connectors {
            if let ConnectorState::Taken(key) = connector.state {
                match self.sessions.get(&key) {
                    Some(session) => {
                        if let Phase::Stopped(reason) = session.phase {
                            self.tally.stopped_by_limit += u64::from(reason == StopReason::LimitReached);
                            free.push((connector.id, key, session.register));
                        }
                    }
                    None => free.push((connector.id, key, connector.register)),
                }
            }
        }
        for (connector, key, register) in free {
            self.free_connector(connector, key, register, now);
        }
    }

    fn free_connector(&mut self, id: ConnectorId, key: SessionKey, register: Energy, now: Timestamp) {
        let Some(connector) = self.connectors.iter_mut().find(|connector| connector.id == id) else { return };
        if matches!(connector.state, ConnectorState::Taken(taken) if taken == key) {
            connector.register = register;
            connector.await_next(&self.settings.visitors, &mut self.rng, now);
        }
    }
}

impl Connector {
    /// The connector is free: selects its next driver.
    fn await_next(&mut self, visitors: &Visitors, rng: &mut Rng, now: Timestamp) {
        let visit = match visitors {
            Visitors::Random(habits) => Some(habits.visit(self.power_max, rng)),
            Visitors::Recorded { credential, .. } => self.recorded.pop_front().map(|session| Visit {
                comes_after: TimeSpan::ZERO,
                credential: credential.clone(),
                scenario: Scenario::Recorded(session),
            }),
        };
        self.state = match visit {
            Some(visit) => ConnectorState::Free { from: now.saturating_add(visit.comes_after), visit },
            None => ConnectorState::Idle,
        };
    }
}

#[cfg(test)]
mod tests;

//! One session at a simulated charger: its meter, and the readings that the gate has not acknowledged yet.

use crate::message::{FromCharger, Limit, StartSession, StopReason};
use crate::payment::Credential;
use crate::sim::driver::{Scenario, Visit};
use crate::sim::recording::RecordedSession;
use crate::units::{ConnectorId, Cost, Energy, MeterReading, Mono, SessionId, SessionKey, TimeSpan, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;

/// Where a session stands at its charger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The start was sent, or will be when the link is up. No energy flows.
    Asked,
    /// Energy may flow.
    Open,
    /// The last reading was taken; the receipt is awaited.
    Stopped(StopReason),
}

/// A session from the credential to the receipt.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub key: SessionKey,
    pub connector: ConnectorId,
    pub phase: Phase,
    /// The gate's id for it.
    pub id: Option<SessionId>,
    /// Sequence of the last reading taken.
    pub taken: u32,
    /// The last reading that the gate acknowledged as durable.
    pub acked: u32,
    /// When the start was sent on this connection.
    pub start_sent: Option<Mono>,
    pub register: Energy,
    pub register_start: Energy,
    pub limit: Limit,
    pub cost: Option<Cost>,
    /// The gate reported that it is over, whatever is sent after that.
    pub over: bool,
    pub(super) credential: Credential,
    pub(super) started: Timestamp,
    pub(super) flows_since: Timestamp,
    pub(super) scenario: Scenario,
    /// Readings of a recording that were not taken yet.
    pub(super) recorded: std::vec::IntoIter<MeterReading>,
    /// Readings behind `acked`, in order; the last one is the stop when the session is stopped.
    pub(super) unacked: VecDeque<MeterReading>,
    /// How many of `unacked` were sent on this connection.
    pub(super) sent: usize,
    pub(super) next_reading: Timestamp,
    /// When the last reading was taken, or energy began to flow: up to here the vehicle has what it shows.
    pub(super) last_at: Timestamp,
    /// It was begun by an earlier process, and the gate has not reported its position yet.
    pub(super) recalled: bool,
}

impl Session {
    pub fn new(key: SessionKey, connector: ConnectorId, visit: &Visit, at: Timestamp, register: Energy) -> Session {
        let at = match &visit.scenario {
            Scenario::Vehicle { .. } => at,
            Scenario::Recorded(recorded) => recorded.start,
        };
        Session {
            key,
            connector,
            phase: Phase::Asked,
            id: None,
            taken: 0,
            acked: 0,
            start_sent: None,
            register,
            register_start: register,
            limit: Limit::default(),
            cost: None,
            over: false,
            credential: visit.credential.clone(),
            started: at,
            flows_since: at,
            scenario: visit.scenario.clone(),
            recorded: Vec::new().into_iter(),
            unacked: VecDeque::new(),
            sent: 0,
            next_reading: at,
            last_at: at,
            recalled: false,
        }
    }

    pub fn start(&self) -> FromCharger {
        FromCharger::Start(self.begin())
    }

    /// The message that starts it.
    pub fn begin(&self) -> StartSession {
        StartSession {
            session: self.key,
            connector: self.connector,
            credential: self.credential.clone(),
            at: self.started,
            register: self.register_start,
        }
    }

    /// Whether its last reading was taken.
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped(_))
    }

    /// Energy flows from now on.
    pub fn open(&mut self, now: Timestamp, interval: TimeSpan) {
        self.phase = Phase::Open;
        (self.flows_since, self.last_at) = (now, now);
        self.next_reading = now.saturating_add(interval);
        if let Scenario::Recorded(recorded) = &self.scenario {
            self.recorded = recorded.readings(self.register_start, interval).collect::<Vec<_>>().into_iter();
        }
    }

    /// The recording that it replays, if any.
    pub fn recording(&self) -> Option<&Arc<RecordedSession>> {
        match &self.scenario {
            Scenario::Vehicle { .. } => None,
            Scenario::Recorded(recorded) => Some(recorded),
        }
    }

    /// When the next reading is due; `None` when none will be taken, or there is no room for it.
    pub fn due(&self, kept_max: usize) -> Option<Timestamp> {
        match (self.phase, &self.scenario) {
            (Phase::Asked | Phase::Stopped(_), _) => None,
            (Phase::Open, Scenario::Vehicle { .. }) => Some(self.next_reading.min(self.ends_at())),
            // A recording goes as fast as the gate listens.
            (Phase::Open, Scenario::Recorded(_)) => (self.unacked.len() < kept_max).then_some(self.started),
        }
    }

    /// When the vehicle leaves.
    fn leaves_at(&self) -> Timestamp {
        match &self.scenario {
            Scenario::Vehicle { curve, idles } => {
                self.flows_since.saturating_add(curve.duration()).saturating_add(*idles)
            }
            Scenario::Recorded(recorded) => recorded.end,
        }
    }

    /// When the vehicle leaves, or the time limit is reached.
    fn ends_at(&self) -> Timestamp {
        match self.limit.time {
            Some(time) => self.leaves_at().min(self.started.saturating_add(time)),
            None => self.leaves_at(),
        }
    }

    /// Takes every reading that is due. With `kept_max` readings unacknowledged no further one is taken until the
    /// end: the register is a total, so a later reading covers a skipped one.
    pub fn meter(&mut self, now: Timestamp, interval: TimeSpan, kept_max: usize) -> u32 {
        let before = self.taken;
        if self.recording().is_some() {
            while self.phase == Phase::Open && self.unacked.len() < kept_max {
                self.take_recorded(StopReason::EvDisconnected);
            }
            return self.taken - before;
        }
        while let Some(at) = self.due(kept_max)
            && at <= now
        {
            if self.over_limit(at) {
                self.stop(at, StopReason::LimitReached);
            } else if at >= self.ends_at() {
                self.stop(
                    at,
                    if at < self.leaves_at() { StopReason::LimitReached } else { StopReason::EvDisconnected },
                );
            } else {
                if self.unacked.len() < kept_max {
                    self.take(at);
                }
                self.next_reading = at.saturating_add(interval);
            }
        }
        self.taken - before
    }

    fn over_limit(&self, at: Timestamp) -> bool {
        let energy = self.limit.energy.is_some_and(|limit| self.delivered(at) >= limit);
        let cost = match (self.limit.cost, self.cost) {
            (Some(limit), Some(cost)) => {
                limit.to_cost().compare(cost).is_ok_and(|ordering| ordering != std::cmp::Ordering::Greater)
            }
            _ => false,
        };
        energy || cost
    }

    /// Ends the energy with a last reading.
    pub fn stop(&mut self, at: Timestamp, reason: StopReason) {
        if self.phase == Phase::Open {
            match &self.scenario {
                Scenario::Vehicle { .. } => self.take(at),
                Scenario::Recorded(_) => self.take_recorded(reason),
            }
            self.phase = Phase::Stopped(reason);
        }
    }

    /// Takes the next reading of the recording; the last one is the stop.
    fn take_recorded(&mut self, reason: StopReason) {
        if let Some(reading) = self.recorded.next() {
            self.taken = reading.sequence;
            self.register = reading.register;
            self.unacked.push_back(reading);
        }
        if self.recorded.len() == 0 {
            self.phase = Phase::Stopped(reason);
        }
    }

    fn delivered(&self, at: Timestamp) -> Energy {
        let delivered = match &self.scenario {
            Scenario::Vehicle { curve, .. } => curve.delivered(at.since(self.flows_since)),
            Scenario::Recorded(recorded) => recorded.delivered_after(at.since(recorded.start)),
        };
        match self.limit.energy {
            Some(limit) => delivered.min(limit),
            None => delivered,
        }
    }

    fn take(&mut self, at: Timestamp) {
        self.taken += 1;
        // A lower limit that comes late does not turn the meter back.
        let register = self.register_start.checked_add(self.delivered(at)).unwrap_or(self.register);
        self.register = self.register.max(register);
        self.last_at = at;
        let power = match &self.scenario {
            Scenario::Vehicle { curve, .. } => Some(curve.power(at.since(self.flows_since))),
            Scenario::Recorded(_) => None,
        };
        let reading = MeterReading { sequence: self.taken, at, register: self.register, power, current: None };
        self.unacked.push_back(reading);
    }

    /// Everything up to `up_to` is durable.
    pub fn acknowledge(&mut self, up_to: u32) {
        while self.unacked.front().is_some_and(|reading| reading.sequence <= up_to) {
            self.unacked.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        self.acked = self.acked.max(up_to.min(self.taken));
    }

    /// Sends again behind this sequence: after a reconnect, or when the gate missed something.
    pub fn rewind(&mut self, behind: u32) {
        self.sent = self.unacked.iter().take_while(|reading| reading.sequence <= behind).count();
    }

    /// Whether everything that was taken so far was sent on this connection.
    pub fn is_said(&self) -> bool {
        self.sent == self.unacked.len() && self.phase != Phase::Open
    }

    /// Whether there is nothing left that the gate has to acknowledge.
    pub fn stop_is_durable(&self) -> bool {
        matches!(self.phase, Phase::Stopped(_)) && self.unacked.is_empty()
    }

    pub fn energy(&self) -> Energy {
        self.register.checked_sub(self.register_start).unwrap_or(Energy::ZERO)
    }

    /// The next message that the window has room for.
    pub fn next(&mut self, window: usize) -> Option<FromCharger> {
        if self.sent >= window {
            return None;
        }
        let reading = *self.unacked.get(self.sent)?;
        self.sent += 1;
        let session = self.key;
        match self.phase {
            Phase::Stopped(reason) if reading.sequence == self.taken => {
                Some(FromCharger::Stop { session, last: reading, reason })
            }
            Phase::Asked | Phase::Open | Phase::Stopped(_) => Some(FromCharger::Reading { session, reading }),
        }
    }
}

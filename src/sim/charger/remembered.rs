//! Stored state of a charger, from which a new process continues its sessions.
//!
//! While the process does not run no energy flows: a vehicle continues from the last reading, without the energy of
//! the time since then.

use super::session::{Phase, Session};
use super::{Charger, Connector, ConnectorState};
use crate::message::{Limit, StopReason};
use crate::payment::Credential;
use crate::sim::driver::{Curve, Scenario};
use crate::units::{Amount, ConnectorId, Cost, Energy, MeterReading, SessionId, SessionKey, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of the text.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    version: u32,
    next_key: u64,
    registers: Vec<(ConnectorId, Energy)>,
    sessions: Vec<RememberedSession>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RememberedSession {
    key: SessionKey,
    connector: ConnectorId,
    phase: RememberedPhase,
    id: Option<SessionId>,
    taken: u32,
    acked: u32,
    register: Energy,
    register_start: Energy,
    limit: (Option<Amount>, Option<Energy>, Option<TimeSpan>),
    cost: Option<Cost>,
    over: bool,
    credential: Credential,
    started: Timestamp,
    flows_since: Timestamp,
    curve: Curve,
    idles: TimeSpan,
    last_at: Timestamp,
    unacked: Vec<MeterReading>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum RememberedPhase {
    Asked,
    Open,
    /// With the number of the reason.
    Stopped(i32),
}

/// Whether a memory has a session in it. One that cannot be read has none.
pub fn has_sessions(memory: &[u8]) -> bool {
    serde_json::from_slice::<Remembered>(memory).is_ok_and(|known| !known.sessions.is_empty())
}

impl Charger {
    /// The state to store. Sessions of a recording are not in it: they are replayed from their file.
    pub fn memory(&self) -> Vec<u8> {
        let remembered = Remembered {
            version: VERSION,
            next_key: self.next_key,
            registers: self.connectors.iter().map(|connector| (connector.id, connector.register)).collect(),
            sessions: self.sessions.values().filter_map(Session::remembered).collect(),
        };
        serde_json::to_vec(&remembered).expect("plain values always have a text")
    }

    /// Takes up what it wrote down, at `now`.
    ///
    /// # Errors
    /// The fault in the text; the charger is as it was.
    pub fn remember(&mut self, memory: &[u8], now: Timestamp) -> Result<(), String> {
        let known: Remembered = serde_json::from_slice(memory).map_err(|error| error.to_string())?;
        if known.version != VERSION {
            return Err(format!("version {}, this program reads {VERSION}", known.version));
        }
        self.next_key = self.next_key.max(known.next_key);
        for (id, register) in known.registers {
            if let Some(connector) = self.connector_mut(id) {
                connector.register = register;
            }
        }
        for session in known.sessions {
            let session = Session::from_memory(session, now, self.settings.interval)?;
            if !matches!(session.phase, Phase::Stopped(_))
                && let Some(connector) = self.connector_mut(session.connector)
            {
                connector.state = ConnectorState::Taken(session.key);
                connector.register = session.register;
            }
            self.sessions.insert(session.key, session);
        }
        Ok(())
    }

    fn connector_mut(&mut self, id: ConnectorId) -> Option<&mut Connector> {
        self.connectors.iter_mut().find(|connector| connector.id == id)
    }
}

impl Session {
    fn remembered(&self) -> Option<RememberedSession> {
        let Scenario::Vehicle { curve, idles } = &self.scenario else { return None };
        Some(RememberedSession {
            key: self.key,
            connector: self.connector,
            phase: match self.phase {
                Phase::Asked => RememberedPhase::Asked,
                Phase::Open => RememberedPhase::Open,
                Phase::Stopped(reason) => RememberedPhase::Stopped(reason.number()),
            },
            id: self.id,
            taken: self.taken,
            acked: self.acked,
            register: self.register,
            register_start: self.register_start,
            limit: (self.limit.cost, self.limit.energy, self.limit.time),
            cost: self.cost,
            over: self.over,
            credential: self.credential.clone(),
            started: self.started,
            flows_since: self.flows_since,
            curve: *curve,
            idles: *idles,
            last_at: self.last_at,
            unacked: self.unacked.iter().copied().collect(),
        })
    }

    fn from_memory(known: RememberedSession, now: Timestamp, interval: TimeSpan) -> Result<Session, String> {
        let phase = match known.phase {
            RememberedPhase::Asked => Phase::Asked,
            RememberedPhase::Open => Phase::Open,
            RememberedPhase::Stopped(number) => {
                Phase::Stopped(StopReason::from_number(number).ok_or_else(|| format!("no reason {number}"))?)
            }
        };
        let (cost, energy, time) = known.limit;
        let off = TimeSpan::from_ms(now.since(known.last_at).ms().max(0));
        Ok(Session {
            key: known.key,
            connector: known.connector,
            phase,
            id: known.id,
            taken: known.taken,
            acked: known.acked,
            start_sent: None,
            register: known.register,
            register_start: known.register_start,
            limit: Limit { cost, energy, time },
            cost: known.cost,
            over: known.over,
            credential: known.credential,
            started: known.started,
            flows_since: known.flows_since.saturating_add(off),
            scenario: Scenario::Vehicle { curve: known.curve, idles: known.idles },
            recorded: Vec::new().into_iter(),
            unacked: known.unacked.into(),
            sent: 0,
            next_reading: now.saturating_add(interval),
            last_at: now,
            recalled: true,
        })
    }
}

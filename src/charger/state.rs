//! State of a charger.

use super::Description;
use super::numbered::Numbered;
use crate::limits::{KEYS_REMEMBERED, KEYS_REMEMBERED_MAX, REFUSAL_PAUSE, REFUSALS_BEFORE_PAUSE};
use crate::stored::stored;
use crate::units::{ChargerId, Common, ConnectorId, Power, SessionId, SessionKey, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A charger: its connectors, its open sessions, and enough of its past to recognise repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charger {
    /// Its id, from its certificate.
    pub id: ChargerId,
    /// The charger's description, shared with others of its model.
    pub described: Common<Description>,
    /// Sessions in which energy may still flow, at most one per connector.
    pub open: SmallVec<[OpenSession; 1]>,
    /// Sessions that are over; kept apart because readings do not need them.
    pub(super) past: Option<Box<Past>>,
    /// Where the gate numbers its sessions, how it recognises them.
    #[serde(skip)]
    pub(super) numbered: Option<Box<Numbered>>,
    /// Whether it counts as connected: it is, or was until a moment ago.
    #[serde(skip)]
    pub is_online: bool,
}

stored!(struct Charger { 0: id, 1: described, 2: open, 3: past, 4: numbered or None, 5: is_online or false });

/// Past sessions of a charger, kept to recognise repeated starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    /// The last of them, oldest first: [`KEYS_REMEMBERED`], or up to [`KEYS_REMEMBERED_MAX`] while the money of so
    /// many is in progress.
    pub(super) sessions: Vec<PastSession>,
    /// The greatest key that was dropped.
    pub(super) forgotten: Option<SessionKey>,
    /// Refused credentials since the last accepted one.
    pub(super) refusals: u16,
    /// When the last credential was refused.
    pub(super) refused_at: Timestamp,
}

stored!(struct Past { 0: sessions, 1: forgotten, 2: refusals, 3: refused_at });

/// A connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connector {
    /// Its number.
    pub id: ConnectorId,
    /// The most power that it can give.
    pub power_max: Power,
}

stored!(struct Connector { 0: id, 1: power_max });

/// A session in which energy may flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The charger's number for it.
    pub key: SessionKey,
    /// The gate's id for it.
    pub session: SessionId,
    /// Where.
    pub connector: ConnectorId,
    /// In which cell it is hosted.
    #[serde(skip)]
    pub cell: CellNumber,
}

stored!(struct OpenSession { 0: key, 1: session, 2: connector } without cell);

/// The number of a cell in this process, once it is known: it is neither stored nor compared.
#[derive(Clone, Copy, Debug)]
pub struct CellNumber(u32);

/// A session that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSession {
    /// The charger's number for it.
    pub key: SessionKey,
    /// The gate's id for it.
    pub session: SessionId,
    /// Sequence of its last reading.
    pub sequence: u32,
    /// Whether it ended because the credential was refused.
    pub refused: bool,
    /// Whether its money has ended too.
    pub closed: bool,
}

stored!(struct PastSession { 0: key, 1: session, 2: sequence, 3: refused, 4: closed });

impl Charger {
    /// A charger without facts.
    pub fn new(id: ChargerId) -> Charger {
        Charger {
            id,
            described: Common::default(),
            open: SmallVec::new(),
            past: None,
            numbered: None,
            is_online: false,
        }
    }

    /// The open session with this key.
    pub fn open_session(&self, key: SessionKey) -> Option<&OpenSession> {
        self.open.iter().find(|session| session.key == key)
    }

    /// The past session with this key, if it is still kept.
    pub fn past_session(&self, key: SessionKey) -> Option<&PastSession> {
        self.past.as_ref()?.sessions.iter().find(|session| session.key == key)
    }

    /// Sets the cell that hosts an open session.
    pub fn set_cell(&mut self, key: SessionKey, cell: u32) {
        if let Some(open) = self.open.iter_mut().find(|session| session.key == key) {
            open.cell = CellNumber(cell);
        }
    }

    /// Whether a key is not newer than all dropped keys.
    pub fn is_stale(&self, key: SessionKey) -> bool {
        self.past.as_ref().and_then(|past| past.forgotten).is_some_and(|forgotten| key <= forgotten)
    }

    /// Time until this charger may present another credential.
    pub(super) fn pause_left(&self, now: Timestamp) -> Option<TimeSpan> {
        let past = self.past.as_ref().filter(|past| past.refusals >= REFUSALS_BEFORE_PAUSE)?;
        // No longer than the pause itself, even if the clock was set back since.
        let left = REFUSAL_PAUSE.ms().saturating_sub(now.since(past.refused_at).ms());
        let left = TimeSpan::from_ms(left).min(REFUSAL_PAUSE);
        (left > TimeSpan::ZERO).then_some(left)
    }
}

impl Past {
    /// Drops the oldest past session whose money has ended, to bound their number.
    pub(super) fn forget_one(&mut self) {
        if self.sessions.len() < KEYS_REMEMBERED {
            return;
        }
        let settled = self.sessions.iter().position(|past| past.closed || past.refused);
        let oldest = (self.sessions.len() >= KEYS_REMEMBERED_MAX).then_some(0);
        if let Some(index) = settled.or(oldest) {
            let gone = self.sessions.remove(index).key;
            self.forgotten = self.forgotten.max(Some(gone));
        }
    }
}

impl CellNumber {
    /// The number.
    pub fn get(self) -> Option<u32> {
        (self.0 != u32::MAX).then_some(self.0)
    }
}

impl Default for CellNumber {
    fn default() -> CellNumber {
        CellNumber(u32::MAX)
    }
}

impl PartialEq for CellNumber {
    fn eq(&self, _: &CellNumber) -> bool {
        true
    }
}

impl Eq for CellNumber {}

//! What is known of a charger.

use crate::limits::{KEYS_REMEMBERED, KEYS_REMEMBERED_MAX, REFUSAL_PAUSE, REFUSALS_BEFORE_PAUSE};
use crate::units::{ChargerId, ConnectorId, Power, SessionId, SessionKey, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A charger: its connectors, its open sessions, and enough of its past to recognise repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charger {
    /// Its id, from its certificate.
    pub id: ChargerId,
    /// Its connectors.
    pub connectors: SmallVec<[Connector; 1]>,
    /// Firmware, as it said.
    pub firmware: Box<str>,
    /// Sessions in which energy may still flow, at most one per connector.
    pub open: SmallVec<[OpenSession; 1]>,
    /// The last sessions that are over, oldest first: [`KEYS_REMEMBERED`], or up to [`KEYS_REMEMBERED_MAX`] while the
    /// money of so many is under way.
    pub(super) past: Vec<PastSession>,
    /// The greatest key that was forgotten.
    pub(super) forgotten: Option<SessionKey>,
    /// Refused credentials since the last accepted one.
    pub(super) refusals: u16,
    /// When the last credential was refused.
    pub(super) refused_at: Timestamp,
}

/// A connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    /// Its number.
    pub id: ConnectorId,
    /// The most power that it can give.
    pub power_max: Power,
}

/// A session in which energy may flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The charger's number for it.
    pub key: SessionKey,
    /// The gate's id for it.
    pub session: SessionId,
    /// Where.
    pub connector: ConnectorId,
}

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

impl Charger {
    /// A charger of which nothing is known but its id.
    pub fn new(id: ChargerId) -> Charger {
        Charger {
            id,
            connectors: SmallVec::new(),
            firmware: Box::default(),
            open: SmallVec::new(),
            past: Vec::new(),
            forgotten: None,
            refusals: 0,
            refused_at: Timestamp::default(),
        }
    }

    /// The open session with this key.
    pub fn open_session(&self, key: SessionKey) -> Option<&OpenSession> {
        self.open.iter().find(|session| session.key == key)
    }

    /// The remembered past session with this key.
    pub fn past_session(&self, key: SessionKey) -> Option<&PastSession> {
        self.past.iter().find(|session| session.key == key)
    }

    /// Whether a key is not newer than all that were forgotten.
    pub(super) fn is_stale(&self, key: SessionKey) -> bool {
        self.forgotten.is_some_and(|forgotten| key <= forgotten)
    }

    /// Makes room for one more past session: the oldest goes whose money has ended, however few there are.
    pub(super) fn forget_one(&mut self) {
        if self.past.len() < KEYS_REMEMBERED {
            return;
        }
        let settled = self.past.iter().position(|past| past.closed || past.refused);
        let oldest = (self.past.len() >= KEYS_REMEMBERED_MAX).then_some(0);
        if let Some(index) = settled.or(oldest) {
            let gone = self.past.remove(index).key;
            self.forgotten = self.forgotten.max(Some(gone));
        }
    }

    /// How long this charger must wait before another credential is looked at.
    pub(super) fn pause_left(&self, now: Timestamp) -> Option<TimeSpan> {
        if self.refusals < REFUSALS_BEFORE_PAUSE {
            return None;
        }
        // No longer than the pause itself, even if the clock was set back since.
        let left = REFUSAL_PAUSE.ms().saturating_sub(now.since(self.refused_at).ms());
        let left = TimeSpan::from_ms(left).min(REFUSAL_PAUSE);
        (left > TimeSpan::ZERO).then_some(left)
    }
}

//! The charger's machine: its connectors, which of its sessions are open, and what is a repetition.
//!
//! A charger's own facts are few (what it says of itself). Which connector is occupied is not a fact of its own but a
//! projection of its sessions' events, rebuilt from them on replay: one fact, one stream.
//!
//! ```text
//!            Describe                  Start (new key, free connector)
//!   known ─────────────▶ known   free ────────────────────────────────▶ occupied by a session
//!                                 ▲                                        │ SessionEnded
//!                                 └────────────────────────────────────────┘
//! ```
//!
//! A session key is the charger's own number for a session. A key that is open, or among the last
//! [`KEYS_REMEMBERED`](crate::limits::KEYS_REMEMBERED), is recognised as a repetition; a key that is not above all those
//! that were forgotten is refused as stale, so an old start that comes late can never open a second session. A session
//! whose money is under way is not forgotten for newer ones: its charger may still come for the receipt.

// What peers say reaches this room: every sum and product is checked or saturates.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod apply;
mod decide;
mod state;

pub use apply::apply;
pub use decide::{decide, route};
pub use state::{CellNumber, Charger, Connector, OpenSession, PastSession};

use crate::machine;
use crate::units::{ConnectorId, Power, SessionId, SessionKey, Timestamp, few};
use serde::{Deserialize, Serialize};

/// What a charger (or one of its sessions) tells its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The charger said hello and described itself.
    Describe(Description),
    /// A driver presented a credential at a connector.
    Start {
        /// The charger's number for the session.
        key: SessionKey,
        /// Where.
        connector: ConnectorId,
        /// The gate's id for the session, should one be opened.
        proposed: SessionId,
    },
}

/// What a charger says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Description {
    /// Its connectors, each at most once.
    pub connectors: Vec<Connector>,
    /// Firmware version, as text of at most 64 bytes.
    pub firmware: Box<str>,
}

few!(Description);

/// Facts of a charger. `Described` is journaled; the others are derived from the events of its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It described itself, for the first time or differently from before.
    Described(Description),
    /// One of its sessions opened.
    SessionOpened {
        /// The charger's number for it.
        key: SessionKey,
        /// The gate's id for it.
        session: SessionId,
        /// Where.
        connector: ConnectorId,
    },
    /// No more energy will flow in this session.
    SessionEnded {
        /// The charger's number for it.
        key: SessionKey,
        /// When the gate knew.
        at: Timestamp,
        /// Sequence of the last reading that was recorded.
        sequence: u32,
        /// Whether the credential was refused, which counts against the charger for a while.
        refused: bool,
    },
    /// The money of one of its sessions has ended too: its receipt is final.
    SessionClosed {
        /// The charger's number for it.
        key: SessionKey,
    },
}

/// What is to be done. These stay inside the partition and need no gate, except for the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a session with the proposed id.
    OpenSession {
        /// The most power that the connector can give; bounds what a reading may claim.
        power_max: Power,
    },
    /// The start is a repetition: let the session answer again.
    RepeatStart(SessionId),
    /// The start repeats one whose session is over: say so again.
    RepeatEnd(PastSession),
    /// Refuse the start.
    Refuse(Rejection),
}

/// Why a charger's message is refused. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The connector was not in the charger's description.
    #[error("the charger has no connector {0}")]
    UnknownConnector(ConnectorId),
    /// The key is open on another connector.
    #[error("session key {0} is in use on connector {1}")]
    KeyOnOtherConnector(SessionKey, ConnectorId),
    /// The key is older than every key that is remembered.
    #[error("session key {0} is older than the keys that are remembered; keys must grow")]
    StaleKey(SessionKey),
    /// The connector has another open session.
    #[error("connector {0} is occupied by the session with key {1}")]
    ConnectorOccupied(ConnectorId, SessionKey),
    /// Too many refused credentials in a short time.
    #[error("too many refused credentials; wait {0} s")]
    TooManyRefusals(u32),
    /// The key names no open session of this charger.
    #[error("no open session with key {0}")]
    UnknownSession(SessionKey),
    /// The key names a session of this charger that is over.
    #[error("the session with key {0} is over")]
    SessionOver(SessionKey),
}

/// What a charger's machine decides.
pub type Decision = machine::Decision<Event, Effect>;

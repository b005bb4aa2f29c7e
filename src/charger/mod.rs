//! The charger's machine: its connectors, its open sessions, and recognition of repeated starts.
//!
//! A charger has few facts of its own (its description). Which connector is occupied is not a fact of its own but a
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
//! [`KEYS_REMEMBERED`](crate::limits::KEYS_REMEMBERED), is recognised as a repetition; a key that is not above all
//! dropped keys is refused as stale, so an old start that arrives late never opens a second session. A session whose
//! money is in progress is not dropped for newer ones: its charger may still fetch the receipt.

// Values from peers reach this module: every sum and product is checked or saturates.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod apply;
mod decide;
mod numbered;
mod state;

pub use apply::apply;
pub use decide::{decide, route};
pub use numbered::{Apart, Begun, Mark, Recognised, recognise};
pub use state::{CellNumber, Charger, Connector, OpenSession, PastSession};

use crate::machine;
use crate::stored::stored;
use crate::units::{ConnectorId, Power, SessionId, SessionKey, Timestamp, few};
use serde::{Deserialize, Serialize};

/// A command to a charger's machine, from the charger or one of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The charger connected and described itself.
    Describe(Description),
    /// An operator registers the public key of its meter in DER, or takes it back.
    RegisterMeterKey(Option<Box<[u8]>>),
    /// A driver presented a credential at a connector.
    Start {
        /// The charger's number for the session.
        key: SessionKey,
        /// Where.
        connector: ConnectorId,
        /// The gate's id for the session, should one be opened.
        proposed: SessionId,
        /// The gate has just made the key: it cannot be old.
        is_made_here: bool,
    },
    /// A connection spoke for it.
    Connected,
    /// It has been without a connection for as long as that may last.
    Absent,
    /// It reported the state of a connector.
    Report {
        /// Which.
        connector: ConnectorId,
        /// Whether it has a fault.
        is_faulted: bool,
    },
}

/// A charger's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Description {
    /// Its connectors, each at most once.
    pub connectors: Vec<Connector>,
    /// Firmware version, as text of at most 64 bytes.
    pub firmware: Box<str>,
}

stored!(struct Description { 0: connectors, 1: firmware });

few!(Description);

/// Facts of a charger. Those about its sessions are derived from the events of the sessions, but for `StartRefused`; the others
/// are journaled.
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
        /// How its beginning is recognised, where the gate has numbered it.
        #[serde(skip)]
        mark: Option<Mark>,
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
        /// Whether later messages of the charger correct the end.
        #[serde(skip)]
        estimated: bool,
        /// What was reported of it is decided on apart from any start.
        #[serde(skip)]
        apart: Option<Apart>,
    },
    /// The money of one of its sessions has ended too: its receipt is final.
    SessionClosed {
        /// The charger's number for it.
        key: SessionKey,
    },
    /// A beginning that the gate has numbered is refused. Journaled where it opened no session: its number is used up.
    StartRefused {
        /// The number.
        key: SessionKey,
        /// How it is recognised.
        mark: Mark,
        /// The number of the code.
        code: u16,
    },
    /// A session of it that had ended on an estimate goes on.
    SessionContinued {
        /// The charger's number for it.
        key: SessionKey,
        /// The gate's id for it.
        session: SessionId,
        /// Where.
        connector: ConnectorId,
    },
    /// An operator registered the public key of its meter, as a SubjectPublicKeyInfo in DER. Journaled.
    MeterKeyRegistered {
        /// The key; none: it has none any more.
        der: Option<Box<[u8]>>,
    },
    /// It is connected, and was not before.
    WentOnline {
        /// When.
        at: Timestamp,
    },
    /// It is not connected any more, and did not come back in time.
    WentOffline {
        /// When its time was over.
        at: Timestamp,
    },
    /// A connector has a fault.
    Faulted {
        /// Which.
        connector: ConnectorId,
        /// When the gate knew.
        at: Timestamp,
    },
    /// A connector has its fault no longer.
    Recovered {
        /// Which.
        connector: ConnectorId,
        /// When the gate knew.
        at: Timestamp,
    },
}

stored!(enum Event {
    0: Described(description),
    1: SessionOpened { 0: key, 1: session, 2: connector, 3: mark or None },
    2: SessionEnded { 0: key, 1: at, 2: sequence, 3: refused, 4: estimated or false, 5: apart or None },
    3: SessionClosed { 0: key },
    4: StartRefused { 0: key, 1: mark, 2: code },
    5: SessionContinued { 0: key, 1: session, 2: connector },
    6: MeterKeyRegistered { 0: der },
    7: WentOnline { 0: at },
    8: WentOffline { 0: at },
    9: Faulted { 0: connector, 1: at },
    10: Recovered { 0: connector, 1: at },
});

/// An action of the partition. It stays inside the partition and needs no durable position, except for the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a session with the proposed id.
    OpenSession {
        /// The most power that the connector can give; bounds what a reading may claim.
        power_max: Power,
    },
    /// The start is a repetition: let the session answer again.
    RepeatStart(SessionId),
    /// The start repeats one whose session is over: its end is reported again.
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
    /// The key is older than every key that is kept.
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

/// A decision of a charger's machine.
pub type Decision = machine::Decision<Event, Effect>;

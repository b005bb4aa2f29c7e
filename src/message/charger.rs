//! Messages between a charger and the gate, in the types of the domain.
//!
//! All values are checked by the link: ids are ids, registers are not negative, tokens are no card numbers. Whether a
//! reading is plausible in its session is decided by the session.

use super::{Answer, ChargerOrder, Code, OrderNumber, Unnumbered, numbered::numbered};
use crate::limits;
use crate::payment::Credential;
use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Energy, MeterReading, Power, Protocol, SessionId, SessionKey, TimeSpan,
    Timestamp,
};

/// A message from a charger. (The link answers heartbeats itself and does not pass them on.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromCharger {
    /// First on a channel, and again after every reconnect. Answered by [`ToCharger::HelloAck`].
    Hello(ChargerHello),
    /// A driver presented a credential. Answered by [`ToCharger::StartAccepted`] or [`ToCharger::StartRejected`] when
    /// that is durable.
    Start(StartSession),
    /// One reading of a session. A frame carries many; they arrive one by one, in the frame's order.
    Reading {
        /// The charger's number for the session.
        session: SessionKey,
        /// The reading.
        reading: MeterReading,
    },
    /// The session is over at the charger. Acknowledged by a [`ToCharger::MeterAck`] that covers `last`'s sequence.
    Stop {
        /// The charger's number for the session.
        session: SessionKey,
        /// The last reading; its sequence continues that of the others.
        last: MeterReading,
        /// Why it stopped.
        reason: StopReason,
    },
    /// Something changed at a connector.
    Status(ConnectorStatus),
    /// A message of a charger whose sessions the gate numbers.
    Unnumbered(Box<Unnumbered>),
}

/// A message to a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToCharger {
    /// Answers Hello.
    HelloAck(ChargerHelloAck),
    /// Energy may flow, up to the limit.
    StartAccepted {
        /// The charger's number for the session.
        session: SessionKey,
        /// The gate's id for it.
        id: SessionId,
        /// When the charger stops without an order.
        limit: Limit,
        /// For its display.
        price_text: Box<str>,
    },
    /// No energy.
    StartRejected {
        /// The charger's number for the session.
        session: SessionKey,
        /// Why (300s).
        code: Code,
        /// For a person.
        text: Box<str>,
    },
    /// Everything up to this sequence is durable.
    MeterAck(MeterAck),
    /// The new limit (the whole new limit, never a difference).
    LimitChanged {
        /// The charger's number for the session.
        session: SessionKey,
        /// The new limit.
        limit: Limit,
    },
    /// Stop the energy and confirm it with a stop.
    StopNow {
        /// The charger's number for the session.
        session: SessionKey,
        /// The reason.
        reason: StopOrder,
        /// For a person.
        text: Box<str>,
    },
    /// A reading or a stop was refused. Codes 405 to 408: it was recorded all the same; other codes: it was not.
    SessionRejected {
        /// The charger's number for the session.
        session: SessionKey,
        /// Why (400s).
        code: Code,
        /// The sequence that the gate waits for, where the session is open.
        expected: Option<u32>,
        /// For a person.
        text: Box<str>,
    },
    /// The session is paid for; the charger may delete it.
    Receipt(ReceiptNotice),
    /// The gate ends the connection (or, on a site's channel from 1, that channel).
    GoAway(GoAway),
    /// Answers a heartbeat. Sent by the link itself.
    HeartbeatAck {
        /// The gate's wall clock.
        server_time: Timestamp,
    },
    /// Answers a charger whose sessions the gate numbers.
    Answer(Answer),
    /// An operator's order. Answered by [`Unnumbered::Ordered`]. The native protocol has no such orders.
    Order {
        /// Where the outcome goes.
        number: OrderNumber,
        /// The order.
        order: Box<ChargerOrder>,
    },
}

/// A charger introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargerHello {
    /// The charger; the link has compared it with the certificate.
    pub charger: ChargerId,
    /// Which side numbers its sessions. Where the gate does, the hello names neither connectors nor sessions.
    pub numbering: Numbering,
    /// Its connectors, each at most once.
    pub connectors: Vec<ConnectorInfo>,
    /// Firmware version, at most [`limits::MESSAGE_NAME_MAX`] bytes.
    pub firmware: Box<str>,
    /// Its clock.
    pub clock: Timestamp,
    /// Sessions for which it has no receipt yet.
    pub sessions: Vec<SessionMark>,
}

/// The side that numbers the sessions of a charger, and their readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// The charger, as in the native protocol.
    #[default]
    Charger,
    /// The gate, where the charger speaks this.
    Gate(Protocol),
}

/// A connector, as its charger describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// Counted from 1.
    pub id: ConnectorId,
    /// The most power that it can give.
    pub power_max: Power,
}

/// The charger's position in one of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMark {
    /// The charger's number for the session.
    pub session: SessionKey,
    /// Sequence of the last reading that it took; 0: none.
    pub last_sequence: u32,
}

/// The gate's answer to a charger's Hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargerHelloAck {
    /// Intervals for this connection; the link measures missing messages by them.
    pub terms: Terms,
    /// The gate's wall clock.
    pub server_time: Timestamp,
    /// One for each session that the Hello named, in its order.
    pub sessions: Vec<SessionPosition>,
}

/// Intervals that the gate requires of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Most messages (readings of a session, callbacks of a processor) that may be unacknowledged.
    pub window: u32,
    /// Longest interval between two messages of the peer.
    pub heartbeat: TimeSpan,
    /// Longest frame, counted in bytes after the length field.
    pub frame_max: u32,
}

impl Terms {
    /// For a charger's connection.
    pub const CHARGER: Terms =
        Terms { window: limits::CHARGER_WINDOW, heartbeat: limits::HEARTBEAT, frame_max: limits::FRAME_MAX };
    /// For a processor's connection.
    pub const PROCESSOR: Terms =
        Terms { window: limits::PROCESSOR_WINDOW, heartbeat: limits::HEARTBEAT, frame_max: limits::FRAME_MAX };
}

/// The gate's position in one of a charger's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPosition {
    /// The charger's number for the session.
    pub session: SessionKey,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a session stands at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The gate has no such session: the charger repeats its start, or deletes it.
    Unknown,
    /// Readings are awaited, behind the one with this sequence (0: none is durable yet).
    Open {
        /// Sequence of the last durable reading.
        durable: u32,
    },
    /// Its stop is durable; only the receipt is awaited.
    Over {
        /// Sequence of the last durable reading.
        durable: u32,
    },
}

/// A driver presented a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartSession {
    /// The charger's own number for the session: unique on that charger for ever, and growing.
    pub session: SessionKey,
    /// Where.
    pub connector: ConnectorId,
    /// The credential that was presented; never a text that looks like a card number.
    pub credential: Credential,
    /// When, by the charger's clock.
    pub at: Timestamp,
    /// The meter's lifetime register at that moment.
    pub register: Energy,
}

/// A reading is durable, and what the session costs so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterAck {
    /// The charger's number for the session.
    pub session: SessionKey,
    /// Everything up to this sequence is durable.
    pub up_to: u32,
    /// Running cost, where it is known; on the wire to 10⁻⁹ of the major unit (half to even), for display.
    pub cost: Option<Cost>,
}

/// When a charger stops without an order; absent fields do not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// The running cost that must not be exceeded.
    pub cost: Option<Amount>,
    /// Energy since the start.
    pub energy: Option<Energy>,
    /// Time since the start.
    pub time: Option<TimeSpan>,
}

/// The session is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptNotice {
    /// The charger's number for the session.
    pub session: SessionKey,
    /// The amount paid.
    pub total: Amount,
    /// The exact cost before the one rounding (on the wire with at most twelve decimals).
    pub cost: Cost,
    /// The receipt's number.
    pub receipt: Box<str>,
    /// Where it can be fetched; may be empty.
    pub url: Box<str>,
}

/// One side ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// The reason.
    pub code: Code,
    /// For a person.
    pub text: Box<str>,
    /// Pause before dialling again.
    pub reconnect_after: TimeSpan,
}

/// A change at a connector. For operators; money does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// Where.
    pub connector: ConnectorId,
    /// Its present state.
    pub state: ConnectorState,
    /// Since when, by the charger's clock.
    pub at: Timestamp,
    /// Text from the charger, at most [`limits::MESSAGE_TEXT_MAX`] bytes.
    pub text: Box<str>,
}

numbered! {
    /// Reason of a stop at the charger. The numbers are on the wire and are never reused.
    StopReason {
        /// The driver ended it at the charger.
        Local = 1,
        /// The vehicle was unplugged.
        EvDisconnected = 2,
        /// As ordered by [`ToCharger::StopNow`].
        Remote = 3,
        /// The limit was reached.
        LimitReached = 4,
        /// The emergency stop was pressed.
        EmergencyStop = 5,
        /// The charger lost its power.
        PowerLoss = 6,
        /// The charger restarted.
        Reboot = 7,
        /// Something is broken.
        Fault = 8,
        /// None of these.
        Other = 9,
    }
}

numbered! {
    /// Reason of the gate's order to stop. The numbers are on the wire and are never reused.
    StopOrder {
        /// The authorized funds are used up.
        MoneyExhausted = 1,
        /// The hold lapsed or was taken back.
        AuthorizationLost = 2,
        /// The operator ordered it.
        Operator = 3,
        /// The driver ordered it, away from the charger.
        Driver = 4,
        /// The meter's readings cannot be right.
        MeterImplausible = 5,
    }
}

numbered! {
    /// State of a connector. The numbers are on the wire and are never reused.
    ConnectorState {
        /// Free.
        Available = 1,
        /// A vehicle is plugged in.
        Occupied = 2,
        /// Energy flows.
        Charging = 3,
        /// The vehicle takes no energy.
        SuspendedEv = 4,
        /// The charger gives no energy.
        SuspendedCharger = 5,
        /// Taken out of service.
        Unavailable = 6,
        /// Broken.
        Faulted = 7,
    }
}

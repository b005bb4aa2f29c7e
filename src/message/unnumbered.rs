//! Messages of a charger whose protocol numbers neither its sessions nor its readings, as OCPP: the gate numbers both.
//!
//! What such a charger repeats it repeats with new message ids, and often with new times. So a beginning is recognised by its
//! content, and a reading by its session, time and register ([`crate::charger`], [`crate::session`]).

use super::{Code, ConnectorStatus, OrderNumber, OrderOutcome, StopReason};
use crate::billing::meter_signature::SignedValue;
use crate::payment::Credential;
use crate::units::{Amount, ConnectorId, Energy, MeterReading, Power, Protocol, SessionKey, Timestamp};

/// A link's number for a call of its charger, by which it recognises the answer. Unique on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A message of a charger whose sessions the gate numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unnumbered {
    /// A credential was presented, and no session has begun yet. Answered by [`Answer::Authorized`] or [`Answer::Funds`].
    Authorize {
        /// The call.
        ticket: Ticket,
        /// What was presented.
        credential: Credential,
    },
    /// A session begins, or its beginning is repeated. Answered by [`Answer::Begun`], and by
    /// [`ToCharger::StartAccepted`](super::ToCharger::StartAccepted) or
    /// [`ToCharger::StartRejected`](super::ToCharger::StartRejected) when that is decided.
    Begin(Box<Begin>),
    /// Something changed at a connector, which may be new: these protocols do not describe the connectors of a charger.
    Status {
        /// The change.
        status: ConnectorStatus,
        /// The most power that the connector can give.
        power_max: Power,
    },
    /// The register of a session at one moment. The sequence of the reading is [`MeterReading::UNNUMBERED`], or
    /// [`MeterReading::UNTIMED`]: the gate gives it one.
    Sample {
        /// The session.
        session: SessionName,
        /// The reading.
        reading: MeterReading,
    },
    /// The session is over at the charger.
    End {
        /// The session.
        session: SessionName,
        /// The last reading, without a number as in [`Unnumbered::Sample`]; none: the last one that came stands.
        last: Option<MeterReading>,
        /// Why it ended.
        reason: StopReason,
        /// What was presented to end it.
        credential: Option<Credential>,
    },
    /// The charger has started: what it had open is over, or goes on.
    Restarted,
    /// What an event says of itself, apart from readings.
    Event {
        /// The session.
        session: SessionName,
        /// The charger's number for the event: they are counted, but for chargers that do not.
        sequence: Option<u32>,
        /// The charger was offline when it happened.
        is_offline: bool,
    },
    /// The charger goes on with a session that it had to leave.
    Resumed {
        /// The session.
        session: SessionName,
    },
    /// A value that the meter has signed at the beginning or the end of a session.
    Signed {
        /// The session.
        session: SessionName,
        /// The value.
        value: Box<SignedValue>,
    },
    /// Answered by [`Answer::Passed`] when everything that came before it is durable.
    Fence {
        /// The call.
        ticket: Ticket,
        /// The session whose cost is asked for.
        session: Option<SessionName>,
    },
    /// What becomes of an order.
    Ordered {
        /// Where it goes.
        number: OrderNumber,
        /// What becomes of it.
        outcome: OrderOutcome,
    },
}

/// A session begins at a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The call.
    pub ticket: Ticket,
    /// The charger's own name for the session, where it has one. Some chargers use a name again.
    pub name: Option<Box<str>>,
    /// The time of the beginning as the charger wrote it: a repetition mostly has the same.
    pub stated: Box<str>,
    /// Whether it is certainly a beginning, and not a later event of a session that may have begun.
    pub is_first: bool,
    /// What the charger speaks.
    pub protocol: Protocol,
    /// Where.
    pub connector: ConnectorId,
    /// The most power that the connector can give.
    pub power_max: Power,
    /// What was presented; none: nothing that can be a credential.
    pub credential: Option<Credential>,
    /// When, by the charger's clock as far as it can be right.
    pub at: Timestamp,
    /// The meter's register at that moment; none: the first reading is the first register.
    pub register: Option<Energy>,
}

/// How a message names its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionName {
    /// By the number that the gate gave it, and by the connector that the charger names. A number that can be none of the gate's, or that is not
    /// known, names the open session of that connector; without one, the charger's only open session.
    Number(SessionKey, Option<ConnectorId>),
    /// By the charger's own name.
    Text(Box<str>),
    /// By the connector: the open session there.
    Connector(ConnectorId),
}

/// The gate's answer to a charger whose sessions it numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whether the credential would be taken now; nothing is held for it.
    Authorized {
        /// The call.
        ticket: Ticket,
        /// Why it would not be taken.
        refused: Option<Code>,
    },
    /// The beginning is durable under this number, new or repeated. Whether energy may flow is decided later.
    Begun {
        /// The call.
        ticket: Ticket,
        /// The gate's number for the session; one that was refused has a number, too.
        session: SessionKey,
        /// It is no repetition.
        is_new: bool,
        /// The credential is linked to an account: [`Answer::Funds`] comes, too.
        funds_follow: bool,
    },
    /// What the account of a credential has, for an authorization or a beginning.
    Funds {
        /// The call.
        ticket: Ticket,
        /// What it has.
        funds: Funds,
    },
    /// Everything that came before the fence is durable.
    Passed {
        /// The call.
        ticket: Ticket,
        /// What the session costs, where it is known and was admitted.
        bill: Option<Bill>,
    },
    /// After a hello: this session is open, and the charger calls it that.
    Open {
        /// The gate's number for the session.
        session: SessionKey,
        /// The charger's own name for it.
        name: Option<Box<str>>,
    },
}

/// What an account has for a credential that is linked to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funds {
    /// What can be reserved; none: the account is not open.
    pub available: Option<Amount>,
    /// Why nothing can be reserved.
    pub refused: Option<Code>,
    /// The name under which its credentials belong together, where there are several.
    pub group: Option<Box<str>>,
}

/// What a session costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The gate's number for the session.
    pub session: SessionKey,
    /// The cost so far, rounded as the receipt will be, taxes included.
    pub cost: Amount,
    /// The session has ended, and this is what the driver pays.
    pub is_final: bool,
}

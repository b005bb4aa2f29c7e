//! What a charger calls, the same for all versions.

use super::json::Object;
use super::time::{self, Stated};
use super::{meter, meter::Sampled};
use crate::billing::meter_signature::SignedValue;
use crate::limits::CONNECTORS_PER_CHARGER;
use crate::message::{Code, ConnectorState, Funds, SessionName, StopReason, Triggered};
use crate::payment::{Credential, CredentialKind};
use crate::units::{Amount, ConnectorId, Energy, MeterReading, Timestamp};
use rust_decimal::Decimal;
use serde_json::{Number, Value};
use std::borrow::Cow;

/// A call of a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It has started, and wants to be let in.
    Boot {
        /// Firmware version.
        firmware: Box<str>,
        /// Whether it only repeats it, on the gate's order.
        is_triggered: bool,
    },
    /// It wants to know the time.
    Heartbeat,
    /// A connector changed its state; connector 0 is the charger itself.
    Status {
        /// Which connector.
        connector: Option<ConnectorId>,
        /// Its state, where it is one of the protocol's.
        state: Option<ConnectorState>,
        /// Since when.
        at: Timestamp,
    },
    /// A driver presented a credential.
    Authorize {
        /// What was presented.
        credential: Option<Credential>,
    },
    /// A session begins (1.6).
    Start(Box<Start>),
    /// Readings (1.6; in 2.x they name no session).
    Readings {
        /// Of which session; none: of no session.
        session: Option<SessionName>,
        /// The readings, in the order in which they came.
        readings: Vec<MeterReading>,
        /// What the meter signed.
        signed: Vec<SignedValue>,
    },
    /// A session is over (1.6).
    Stop {
        /// Which one.
        session: SessionName,
        /// The last readings.
        readings: Vec<MeterReading>,
        /// What the meter signed.
        signed: Vec<SignedValue>,
        /// Why it ended.
        reason: StopReason,
        /// A credential was presented for it.
        has_token: bool,
        /// What it was, where it can be read.
        credential: Option<Credential>,
    },
    /// Something about a transaction (2.x).
    Event(Box<Event>),
    /// An answer of these members is enough.
    Noted(Noted),
    /// A call that is not served here, or none of the protocol.
    Refused {
        /// Whether the protocol has it.
        is_known: bool,
    },
}

/// Answers that depend on nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// No members.
    Empty,
    /// The message of a vendor is not known.
    UnknownVendor,
    /// The status `Rejected`.
    Rejected,
    /// The status `Accepted`.
    Accepted,
}

/// What is decided about a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenAnswer {
    /// Why it is refused.
    pub refused: Option<Code>,
    /// The name under which it belongs together with others.
    pub group: Option<Box<str>>,
    /// It pays from an account: what it has is known here alone, so nothing of it is to be remembered.
    pub is_prepaid: bool,
    /// The most that its session may cost.
    pub limit: Option<Amount>,
}

impl TokenAnswer {
    /// Of a credential that is refused for this reason, if for any.
    pub fn new(refused: Option<Code>) -> TokenAnswer {
        TokenAnswer { refused, ..TokenAnswer::default() }
    }

    /// With what is known of its account.
    pub fn with(refused: Option<Code>, funds: &Funds) -> TokenAnswer {
        TokenAnswer { refused, group: funds.group.clone(), is_prepaid: true, limit: None }
    }
}

/// The beginning of a 1.6 transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub connector: ConnectorId,
    pub credential: Option<Credential>,
    pub at: Stated,
    pub register: Option<Energy>,
}

/// A TransactionEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub kind: EventKind,
    pub at: Stated,
    /// The charger's name for the transaction.
    pub name: Box<str>,
    pub connector: Option<ConnectorId>,
    /// Whether a token was in the event, readable or not.
    pub has_token: bool,
    pub credential: Option<Credential>,
    pub is_charging: bool,
    /// The number of the gate's order that began it.
    pub remote: Option<i64>,
    /// The register at the beginning, where a value is marked as that.
    pub begin: Option<Energy>,
    pub readings: Vec<MeterReading>,
    /// What the meter signed.
    pub signed: Vec<SignedValue>,
    /// The charger's number for the event.
    pub sequence: Option<u32>,
    pub is_offline: bool,
    /// The cost at which the charger stops by itself, in major units.
    pub cost_limit: Option<Decimal>,
    /// Whether its transaction goes on after a loss of power.
    pub resumes: bool,
    pub reason: StopReason,
}

/// Kind of a TransactionEvent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Started,
    Updated,
    Ended,
}

/// A credential of a kind, if the token can be one.
pub(super) fn credential(kind: CredentialKind, token: Option<Cow<'_, str>>) -> Option<Credential> {
    let token = token.filter(|token| !token.is_empty() && token.len() <= Credential::MAX_TOKEN)?;
    Some(Credential { kind, token: token.as_bytes().into() })
}

/// An amount in major units, as a number with the currency's decimals.
pub(super) fn major(amount: Amount) -> Value {
    // A decimal is always a number of JSON.
    amount.major().to_string().parse::<Number>().map_or(Value::Null, Value::Number)
}

/// The name by which a charger is asked for a message, in all versions.
pub(super) const fn triggered_name(message: Triggered) -> &'static str {
    match message {
        Triggered::Boot => "BootNotification",
        Triggered::Heartbeat => "Heartbeat",
        Triggered::MeterValues => "MeterValues",
        Triggered::Status => "StatusNotification",
    }
}

/// A connector counted from 1; 0 and what no charger has are none.
pub(super) fn connector(number: Option<i64>) -> Option<ConnectorId> {
    let number = number.and_then(|number| u16::try_from(number).ok())?;
    (1..=CONNECTORS_PER_CHARGER).contains(&usize::from(number)).then_some(ConnectorId(number))
}

/// The register at the time that the charger states.
pub(super) fn reading(stated: &Stated, register: Energy) -> MeterReading {
    let sequence = if stated.corrected { MeterReading::UNTIMED } else { MeterReading::UNNUMBERED };
    MeterReading { sequence, at: stated.at, register, power: None, current: None }
}

/// The readings of a list of meter values, and the register that is marked as the beginning.
pub(super) fn readings<'a>(
    values: impl Iterator<Item = Object<'a>>,
    now: Timestamp,
) -> (Option<Energy>, Vec<MeterReading>) {
    let (mut first, mut readings) = (None, Vec::new());
    for value in values {
        let stated = time::read(value.text("timestamp"), now);
        let Sampled { begin, register, power } = meter::read(value.list("sampledValue"));
        first = first.or(begin);
        if let Some(register) = register {
            readings.push(MeterReading { power, ..reading(&stated, register) });
        }
    }
    (first, readings)
}

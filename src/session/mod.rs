//! The charging session's machine: one driver, one connector, from the presented credential to the receipt.
//!
//! ```text
//!             Begin            hold approved            Stop / limit reached / silence        hold settled
//!  (Opened) ────────▶ Authorizing ─────────▶ Charging ───────────────────────▶ Settling ───────────▶ Closed
//!                          │ declined, unknown, none reachable                 ▲
//!                          └─────────────────────────────────────────────────────┘  (payable 0)
//! ```
//!
//! * **Authorizing**: funds are requested; no energy flows.
//! * **Charging**: the charger has the order to start, with a limit. Each reading is priced when it comes, and the
//!   session requests more funds, or stops the energy, before the cost can exceed the authorized amount.
//! * **Settling**: the last register is known, the cost is rounded once, and the hold is captured or released.
//! * **Closed**: every hold has ended; the receipt is final. Later corrections are new facts (refunds).
//!
//! The money side is the [`payment`] machine inside the session: its events travel inside the session's, so the
//! session's stream is the only authority on both.

// Values from peers reach this module: every sum and product is checked or saturates.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod amounts;
mod apply;
mod decide;
mod funds;
mod meter;
mod metered;
mod money;
mod plausible;
mod quarantine;
mod resume;
mod state;
mod unnumbered;

pub use amounts::{Found, Stated};
pub use apply::apply;
pub use decide::decide;
pub use funds::first_hold;
pub use meter::{Doubt, Meter, SequenceOrder, Verdict};
pub use metered::Metered;
pub use plausible::start as check_start;
pub use quarantine::{Adopted, Cause, NotReviewed, Order, Quarantine, Review, Ruled, Ruling};
pub use state::{Ended, FLAGS, Session, Stage};

use crate::billing::meter_signature::Judged;
use crate::machine;
use crate::payment;
use crate::payment::routing::NoRoute;
use crate::stored::stored;
use crate::tariff::{Slices, Tariff};
use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Currency, Energy, MeterReading, Now, Power, ProcessorId, Protocol, SessionId,
    SessionKey, TariffHash, TimeSpan, Timestamp,
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A command to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// First command of a new session: request funds.
    Authorize {
        /// What the driver presented.
        credential: payment::Credential,
        /// The processor to use, and its capabilities.
        route: Route,
    },
    /// The charger repeats its start: answer it again.
    RepeatStart,
    /// The driver presented another credential while the session goes on: more funds, from there.
    PresentAnotherCredential {
        /// What the driver presented.
        credential: payment::Credential,
        /// The processor to use, and its capabilities.
        route: Route,
    },
    /// The charger connected and named its sessions, and this one is not among them: it was replaced, or lost its memory.
    Omitted,
    /// The charger restarted, or its connector is free: its stop is still to come, or was lost.
    Left,
    /// Its charger is there, and reports that a car is at the connector.
    Occupied,
    /// The stop did not come.
    Abandoned,
    /// The charger goes on with a session that it had to leave.
    Resumed,
    /// Something is to be noted of the session.
    Note(Note),
    /// A value that the meter signed came, and was verified.
    Signed(Box<Judged>),
    /// The charger's link is up again: it may have missed the last limit, or the order to stop.
    Reconnected,
    /// A meter reading.
    Reading(MeterReading),
    /// The charger ended the session.
    Stop(Stop),
    /// A reading of a charger that does not number its readings; its sequence does not count.
    Sample(MeterReading),
    /// The end of a session of such a charger.
    End {
        /// The last reading; none: the last one that came stands.
        last: Option<MeterReading>,
        /// Why it ended.
        reason: StopReason,
    },
    /// Something about the session's money. In a box: readings are many, and as large as the largest command.
    Payment(Box<payment::Command>),
    /// A deadline of the session or its money has passed.
    Wake {
        /// Whether the charger has sent nothing for too long.
        silent: bool,
        /// Time without a good reading, when the funds are to be checked.
        quiet: Option<TimeSpan>,
    },
    /// Of a session whose charger does not number its readings: what is reported of it is kept, and costs nothing by itself.
    Quarantine(Cause),
    /// Of a session that is kept for review: what was presented to end it, in its printable form.
    Present(Box<str>),
    /// It is decided what becomes of what is kept of the session. Ignored where [`Session::review`] refuses it.
    Rule(Order),
    /// Ends the session without the charger.
    StopBy(StopReason),
    /// The process began anew, and the session was rebuilt from its facts.
    Resume,
}

/// The processor that is to hold a session's funds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which one.
    pub processor: ProcessorId,
    /// Its capabilities.
    pub capabilities: payment::HoldCapabilities,
    /// The processor cannot be reached: energy is given up to the floor limit, and funds are requested when it is
    /// connected again.
    pub stand_in: bool,
}

/// Finds the processor for a hold. Its result is recorded with the hold, so a replay does not call it.
pub trait Router {
    /// Returns the processor for a request of this amount; none of `except`, which had the request already. The token
    /// may be sealed by now, so the credential's presentation is a separate argument.
    ///
    /// # Errors
    /// The reason why no processor can be used.
    fn route(
        &self,
        charger: &ChargerId,
        presented: (&payment::Credential, &str),
        amount: Amount,
        except: &[ProcessorId],
    ) -> Result<Route, NoRoute>;
}

/// The fact that a session exists, with everything that is fixed for its whole life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The gate's id.
    pub id: SessionId,
    /// The charger.
    pub charger: ChargerId,
    /// The connector.
    pub connector: ConnectorId,
    /// The charger's number for it.
    pub key: SessionKey,
    /// When it began, by the charger's clock.
    pub at: Timestamp,
    /// When the gate received the start.
    pub received_at: Timestamp,
    /// The register at the start.
    pub register: Energy,
    /// The most power that the connector can give.
    pub power_max: Power,
    /// The tariff's version, pinned for the whole session.
    pub tariff: TariffHash,
    /// The time zone of the charger, as an IANA name.
    pub zone: Box<str>,
    /// Printable form of the credential, never the credential.
    pub fingerprint: Box<str>,
    /// Where the gate numbers the session: how it began.
    #[serde(skip)]
    pub origin: Option<Box<Origin>>,
}

stored!(struct Opening {
    0: id, 1: charger, 2: connector, 3: key, 4: at, 5: received_at, 6: register, 7: power_max, 8: tariff, 9: zone,
    10: fingerprint, 11: origin or None,
});

/// How a session began whose protocol has no numbers for sessions and readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What the charger speaks.
    pub protocol: Protocol,
    /// The charger's own name for the session, where its protocol has one.
    pub name: Option<Box<str>>,
    /// How the beginning is recognised: digests with and without its time.
    pub mark: (u64, u64),
    /// The beginning named no register: that of the first reading is the first register.
    pub lacks_register: bool,
    /// What was reported of it before its start came.
    pub adopted: Option<Adopted>,
    /// Registers, from and to, of reports that came before its start and that no start adopts any more: they are decided on
    /// apart, and no energy between them is that of this session.
    #[serde(skip)]
    pub apart: Vec<(Energy, Energy)>,
}

stored!(struct Origin { 0: protocol, 1: name, 2: mark, 3: lacks_register, 4: adopted or None, 5: apart or Vec::new() });

/// The charger's final message on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The register at the end, as a reading with the next sequence number.
    pub last: MeterReading,
    /// Why it ended.
    pub reason: StopReason,
}

/// Reason of a session's end. The numbers are in the journal and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum StopReason {
    /// The driver, at the charger.
    Local = 1,
    /// The car was unplugged.
    Unplugged = 2,
    /// The gate had ordered it.
    Ordered = 3,
    /// The charger reached the limit it was given.
    LimitReached = 4,
    /// The emergency stop was pressed.
    EmergencyStop = 5,
    /// The charger lost its power.
    PowerLoss = 6,
    /// The charger restarted.
    Reboot = 7,
    /// Something is broken.
    Fault = 8,
    /// The charger gave no reason that is known.
    Other = 9,
    /// The authorized funds are used up.
    FundsExhausted = 20,
    /// The authorization lapsed or was taken back.
    AuthorizationLost = 21,
    /// An operator ended it.
    Operator = 22,
    /// The driver ended it, away from the charger.
    Driver = 23,
    /// The charger sent nothing for too long; ended on the last known total.
    Silence = 24,
    /// The credential was refused.
    Declined = 30,
    /// Less was approved than a session needs.
    TooLittle = 31,
    /// No decision on the credential came in time.
    NoDecision = 32,
    /// No processor could be reached.
    NoProcessor = 33,
    /// The funds are in another currency than the tariff.
    OtherCurrency = 34,
    /// The charger connected and no longer knew the session: it was replaced or reset; ended on the last known total.
    Omitted = 25,
    /// The account or card has not enough money.
    NoFunds = 35,
    /// No account and no processor takes the credential.
    NotAccepted = 36,
    /// The card has expired.
    Expired = 37,
    /// The charger restarted, or its connector is free, and no stop came; ended on the last known total.
    Unreported = 38,
    /// The account pays for another session, and may pay for one at a time.
    Concurrent = 39,
}

stored!(enum StopReason {
    1: Local,
    2: Unplugged,
    3: Ordered,
    4: LimitReached,
    5: EmergencyStop,
    6: PowerLoss,
    7: Reboot,
    8: Fault,
    9: Other,
    20: FundsExhausted,
    21: AuthorizationLost,
    22: Operator,
    23: Driver,
    24: Silence,
    30: Declined,
    31: TooLittle,
    32: NoDecision,
    33: NoProcessor,
    34: OtherCurrency,
    25: Omitted,
    35: NoFunds,
    36: NotAccepted,
    37: Expired,
    38: Unreported,
    39: Concurrent,
});

impl StopReason {
    /// Whether the end is an estimate, made without the charger's stop: later messages of the charger correct it.
    pub const fn is_estimate(self) -> bool {
        matches!(self, StopReason::Silence | StopReason::Omitted | StopReason::Unreported)
    }
}

/// Facts of a session. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The session exists.
    Opened(Box<Opening>),
    /// A good reading, and what it adds to the price.
    Metered(Metered),
    /// The register jumped between the last good reading and the next `Metered`.
    RegisterJumped(Energy),
    /// A suspect reading: recorded, not billed.
    Suspected {
        /// The reading.
        reading: Box<MeterReading>,
        /// The reason.
        doubt: Doubt,
    },
    /// The charger may give energy for at most this cost.
    Admitted {
        /// The limit.
        limit: Amount,
        /// When.
        at: Timestamp,
    },
    /// The charger was ordered to stop.
    StopAsked {
        /// The reason.
        reason: StopReason,
        /// When.
        at: Timestamp,
    },
    /// No more energy will be billed.
    Ended(Box<Ended>),
    /// Something about the money.
    Payment(Box<payment::Event>),
    /// Every hold has ended.
    Closed {
        /// When that was known.
        at: Timestamp,
    },
    /// The session was archived and restored: a processor had a further event for it. The state as it was archived.
    Restored(Box<Session>),
    /// A charger that had sent nothing for long reported more after the session was ended on its last known total:
    /// the corrected result.
    Corrected(Box<Ended>),
    /// The session ends, and with it is decided what the time was in which its register stood still up to the last reading.
    Decided(Slices),
    /// Energy may flow that no one has agreed to pay for: what is reported from here on is kept, and costs nothing by itself.
    Quarantined {
        /// Why.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// It is decided what becomes of the energy that is kept.
    Ruled(Ruled),
    /// What was presented for a session that had begun without: its printable form.
    Presented(Box<str>),
    /// A session that had ended on an estimate goes on, up to this cost.
    Continued {
        /// The limit.
        limit: Amount,
        /// When.
        at: Timestamp,
    },
    /// Something is to be known of the session.
    Noted(Note),
    /// The meter signed a value of the session.
    Signed(Box<Judged>),
}

/// What is to be known of a session. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Note {
    /// Reports of the charger are missing.
    Gap,
    /// Reports of it came later, from a charger that was offline.
    Offline,
}

stored!(enum Note { 0: Gap, 1: Offline });

stored!(enum Event {
    0: Opened(opening),
    1: Metered(metered),
    2: RegisterJumped(energy),
    3: Suspected { 0: reading, 1: doubt },
    4: Admitted { 0: limit, 1: at },
    5: StopAsked { 0: reason, 1: at },
    6: Ended(ended),
    7: Payment(event),
    8: Closed { 0: at },
    9: Restored(session),
    10: Corrected(ended),
    11: Decided(slices),
    12: Quarantined { 0: cause, 1: at },
    13: Ruled(ruled),
    14: Presented(fingerprint),
    15: Continued { 0: limit, 1: at },
    16: Noted(note),
    17: Signed(judged),
});

/// An action that becomes due once the session's facts are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Acknowledge the readings up to `up_to` to the charger, with the session's cost so far.
    MeterAck {
        /// The last recorded sequence number.
        up_to: u32,
        /// The running cost, VAT included.
        running: Cost,
    },
    /// Report to the charger that a reading was refused (or is a suspect).
    MeterRejected(Rejection),
    /// Let the charger start.
    StartAccepted {
        /// The most it may cost.
        limit: Amount,
    },
    /// Report to the charger that there will be no energy.
    StartRejected(StopReason),
    /// Send the charger its new limit.
    LimitChanged(Amount),
    /// Order the charger to stop.
    StopNow(StopReason),
    /// Send the charger the result of the session.
    Receipt {
        /// The amount that the driver pays.
        payable: Amount,
        /// The exact cost before the one rounding.
        cost: Cost,
    },
    /// Something about the money: an operation to send, a callback to acknowledge, an alarm.
    Payment(Box<payment::Effect>),
    /// Put the closed session away.
    Archive,
}

/// Why a reading or stop is refused. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The session has not been admitted: energy must not flow yet.
    #[error("the session has not been admitted")]
    NotAdmitted,
    /// Readings before this one are missing.
    #[error("readings are missing: {expected} is expected next")]
    Gap {
        /// The sequence number that is expected next.
        expected: u32,
    },
    /// The session is over and this reading was not part of it.
    #[error("the session is over")]
    Over,
    /// The reading was recorded as a suspect, and is not billed.
    #[error("reading {sequence} is not believed: {doubt}")]
    NotBelieved {
        /// The reading.
        sequence: u32,
        /// The reason.
        doubt: Doubt,
    },
}

impl Rejection {
    /// The expected sequence number, for refusals that carry one.
    pub const fn expected(&self) -> Option<u32> {
        match self {
            Rejection::Gap { expected } => Some(*expected),
            Rejection::NotBelieved { sequence, .. } => Some(sequence.saturating_add(1)),
            Rejection::NotAdmitted | Rejection::Over => None,
        }
    }
}

/// Settings for time and money in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How far a charger's clock may be ahead of the gate's; `None`: clocks are not compared.
    pub clock_ahead_max: Option<TimeSpan>,
    /// How old a reading may be when it arrives; `None`: any age.
    pub backlog_max: Option<TimeSpan>,
    /// Time without messages after which a session with readings is ended on its last known total.
    pub silence: TimeSpan,
    /// How long the rest of a hold is kept after such an end, where its processor can take money from it again: readings
    /// that come late are paid from it.
    pub late_readings: TimeSpan,
    /// Time without messages after which an admitted session without readings is ended.
    pub no_start: TimeSpan,
    /// Shortest time that a charger gets to reconnect after a start of the gate, however long it had sent nothing
    /// before.
    pub reconnect: TimeSpan,
    /// The longest time between a reading that is still covered and the end of energy, should the next one not be.
    /// Two thirds of it are for the next reading to come (a charger that sends none for longer is stopped when its
    /// funds might run out), a third for the order to stop to take effect. The cost of this time at the connector's
    /// full power is always held in reserve.
    pub stop_latency: TimeSpan,
    /// The currency of all amounts here; [`Policy::of_tariff`] has those of other currencies.
    pub currency: Currency,
    /// Amounts that are stated for other currencies.
    pub stated: Vec<Stated>,
    /// Policies of other currencies that were found before.
    pub found: Found,
    /// Funds requested when the tariff names no preauthorization amount, in minor units.
    pub first_hold_minor: i64,
    /// How long an increment is to last, at the rate at which the session costs money.
    pub increment_horizon: TimeSpan,
    /// How long before a hold lapses the energy is stopped, so that the amount owed can be taken in time.
    pub closing: TimeSpan,
    /// Whether energy is given up to the floor limit when no processor can be reached.
    pub stand_in: bool,
    /// Most that is at stake in all stand-ins together, in minor units.
    pub stand_in_exposure_minor: i64,
    /// Whether an account pays for one session at a time.
    pub one_session: bool,
    /// Whether energy that was given after a refused start is billed when its session ends, to the account of its credential.
    pub bills_refused: bool,
    /// Whether a hold is lowered when the car takes far less than it did.
    pub release_early: bool,
    /// Timers of the money.
    pub payment: payment::Policy,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            clock_ahead_max: Some(TimeSpan::from_secs(60)),
            backlog_max: Some(TimeSpan::from_secs(7 * 86_400)),
            silence: TimeSpan::from_secs(15 * 60),
            late_readings: TimeSpan::from_secs(3_600),
            no_start: TimeSpan::from_secs(120),
            reconnect: TimeSpan::from_secs(5 * 60),
            stop_latency: TimeSpan::from_secs(90),
            currency: Currency::EUR,
            stated: vec![Stated::built_in()],
            found: Found::default(),
            first_hold_minor: 4_500,
            increment_horizon: TimeSpan::from_secs(30 * 60),
            closing: TimeSpan::from_secs(3_600),
            stand_in: false,
            stand_in_exposure_minor: 100_000,
            one_session: false,
            bills_refused: false,
            release_early: true,
            payment: payment::Policy::default(),
        }
    }
}

/// Everything outside the state that a decision may read.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The clocks.
    pub now: Now,
    /// The session's tariff (of the hash in its opening).
    pub tariff: &'a Tariff,
    /// The charger's time zone.
    pub zone: &'a TimeZone,
    /// The operator's policy.
    pub policy: &'a Policy,
    /// Selects the processor for funds.
    pub router: &'a dyn Router,
}

/// A decision of a session's machine.
pub type Decision = machine::Decision<Event, Effect>;

//! Habits of chargers in the field that no standard allows and every gate meets, each on or off.

use crate::units::rng::Rng;

/// How a simulated OCPP charger deviates from its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// What is new when an unanswered call is repeated.
    pub repeats: Repeats,
    /// Names of transactions and ids of calls begin again after a reset (2.x: `tx-1`).
    pub names_come_back: bool,
    /// Numbers of the events of a transaction (2.x).
    pub numbers: Numbers,
    /// Calls that are sent without waiting for the answers before them.
    pub pipelined: usize,
    /// How energy is written.
    pub energy: EnergyStyle,
    /// How times are written.
    pub clock: ClockStyle,
    /// Readings are sent before the first BootNotification.
    pub boots_late: bool,
    /// The token is in an Authorize only, and in no event (2.x).
    pub hides_token: bool,
    /// What becomes of calls of the gate that the charger does not know.
    pub unknown: Unknown,
    /// The register at the beginning of a session.
    pub begin: Begin,
    /// Sessions begin while there is no connection, and are reported later.
    pub starts_offline: bool,
    /// Readings that share a call.
    pub readings_per_call: usize,
}

/// What is new when a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing.
    SameId,
    /// Its id.
    NewId,
    /// Its id, and the time of a start.
    NewTime,
}

/// Numbers of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// From 0.
    Right,
    /// Always 0.
    Zero,
    /// From 1.
    FromOne,
}

/// How energy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergyStyle {
    /// Watt hours, with measurand and unit.
    Wh,
    /// Watt hours, without measurand and unit, which are defaults.
    Bare,
    /// Kilowatt hours.
    Kwh,
    /// Watt hours and kilowatt hours in turn.
    Mixed,
    /// With multipliers (2.x): thousands and thousandths of watt hours in turn.
    Multiplied,
}

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStyle {
    /// RFC 3339.
    Right,
    /// Without an offset.
    NoZone,
    /// With nine decimals.
    Nanoseconds,
    /// The clock starts in 1970 when the charger is switched on, and is set by the first answer to a BootNotification.
    UnsetUntilBoot,
    /// The clock starts in 1970, and is never set.
    Unset,
}

/// What becomes of a call that the charger does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is accepted and has no effect.
    Accepted,
    /// It is refused by an error.
    Refused,
    /// It is not answered.
    Unanswered,
}

/// The register at the beginning of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// As it is.
    Right,
    /// 0, and the readings are the odometer's.
    Zero,
    /// Left out (2.x).
    Missing,
}

impl Manners {
    /// As the protocols want it.
    pub const GOOD: Manners = Manners {
        repeats: Repeats::SameId,
        names_come_back: false,
        numbers: Numbers::Right,
        pipelined: 1,
        energy: EnergyStyle::Wh,
        clock: ClockStyle::Right,
        boots_late: false,
        hides_token: false,
        unknown: Unknown::Refused,
        begin: Begin::Right,
        starts_offline: false,
        readings_per_call: 1,
    };

    /// Each habit at random, most of them good.
    pub fn random(rng: &mut Rng) -> Manners {
        let mut one_in = |times: u64| rng.below(times) == 0;
        let (names_come_back, boots_late, hides_token) = (one_in(3), one_in(4), one_in(4));
        let (starts_offline, pipelined) = (one_in(2), if one_in(3) { 3 } else { 1 });
        let readings_per_call = if one_in(3) { 8 } else { 1 };
        Manners {
            repeats: [Repeats::SameId, Repeats::NewId, Repeats::NewTime][rng.index(3)],
            names_come_back,
            numbers: [Numbers::Right, Numbers::Zero, Numbers::FromOne][rng.index(3)],
            pipelined,
            energy: [EnergyStyle::Wh, EnergyStyle::Bare, EnergyStyle::Kwh, EnergyStyle::Mixed, EnergyStyle::Multiplied]
                [rng.index(5)],
            clock: [
                ClockStyle::Right,
                ClockStyle::Right,
                ClockStyle::NoZone,
                ClockStyle::Nanoseconds,
                ClockStyle::UnsetUntilBoot,
                ClockStyle::Unset,
            ][rng.index(6)],
            boots_late,
            hides_token,
            unknown: [Unknown::Accepted, Unknown::Refused, Unknown::Unanswered][rng.index(3)],
            begin: [Begin::Right, Begin::Right, Begin::Zero, Begin::Missing][rng.index(4)],
            starts_offline,
            readings_per_call,
        }
    }
}

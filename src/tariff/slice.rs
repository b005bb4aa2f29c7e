//! What a reading adds to a session's price, cut where prices change.

#[cfg(doc)]
use super::Tariff;
use super::select::{NONE, Phase};
use crate::stored::stored;
use crate::units::{Energy, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A stretch of a session in which no price changes. Journaled with the reading that completed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Its beginning; the end of the slice before.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Energy that flowed in it.
    pub energy: Energy,
    /// Index in [`Tariff::components`] of what prices the energy; [`Slice::NO_COMPONENT`] when nothing does.
    pub energy_component: u16,
    /// Index of what prices the time.
    pub time_component: u16,
    /// Index of the flat fee that fell due at its beginning.
    pub flat_component: u16,
    /// The kind of its time.
    pub phase: Phase,
    /// Why it is not part of the slice before.
    pub reason: Reason,
}

stored!(struct Slice {
    0: from, 1: to, 2: energy, 3: energy_component, 4: time_component, 5: flat_component, 6: phase, 7: reason,
});

impl Slice {
    /// In place of an index: nothing is charged.
    pub const NO_COMPONENT: u16 = NONE;

    /// Its length.
    pub const fn span(&self) -> TimeSpan {
        self.to.since(self.from)
    }
}

/// What a reading adds: one slice mostly, more where prices change on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slices(pub SmallVec<[Slice; 1]>);

stored!(struct Slices(value));

impl Slices {
    /// The same once more, copied as they lie: a clone would go through them one by one.
    #[inline]
    pub fn copied(&self) -> Slices {
        Slices(SmallVec::from_slice(&self.0))
    }
}

/// Why a slice begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Reason {
    /// The session, or the reservation, begins.
    Start = 0,
    /// A further reading; no price changed.
    Reading = 1,
    /// Energy flows again.
    ChargingResumed = 2,
    /// Energy stopped flowing.
    ChargingStopped = 3,
    /// A time of day was reached.
    TimeOfDay = 4,
    /// A day began.
    Day = 5,
    /// The session has lasted so long.
    Duration = 6,
    /// So much energy was taken.
    Energy = 7,
    /// Power or current rose or fell past a threshold.
    Power = 8,
    /// The clocks were changed.
    ClockChange = 9,
    /// A charging period of a CDR begins.
    Period = 10,
    /// Several stretches at the price of one component, summed up: the session had more than its trail holds.
    Summed = 11,
}

stored!(enum Reason {
    0: Start,
    1: Reading,
    2: ChargingResumed,
    3: ChargingStopped,
    4: TimeOfDay,
    5: Day,
    6: Duration,
    7: Energy,
    8: Power,
    9: ClockChange,
    10: Period,
    11: Summed,
});

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Reason; 12] = [
        Reason::Start,
        Reason::Reading,
        Reason::ChargingResumed,
        Reason::ChargingStopped,
        Reason::TimeOfDay,
        Reason::Day,
        Reason::Duration,
        Reason::Energy,
        Reason::Power,
        Reason::ClockChange,
        Reason::Period,
        Reason::Summed,
    ];

    /// The name in segments and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Start => "start",
            Reason::Reading => "reading",
            Reason::ChargingResumed => "charging_resumed",
            Reason::ChargingStopped => "charging_stopped",
            Reason::TimeOfDay => "time_of_day",
            Reason::Day => "day",
            Reason::Duration => "duration",
            Reason::Energy => "energy",
            Reason::Power => "power",
            Reason::ClockChange => "clock_change",
            Reason::Period => "charging_period",
            Reason::Summed => "summed",
        }
    }
}

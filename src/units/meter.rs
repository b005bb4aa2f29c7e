//! One reading of a charger's meter, as every room from the wire to the tariff sees it.

use super::{Current, Energy, Power, Timestamp};
use crate::stored::stored;
use serde::{Deserialize, Serialize};

/// What a charger's meter showed at one instant of one session.
///
/// ```
/// use wattstile::units::{Energy, MeterReading, Power, Timestamp};
///
/// let register = Energy::from_watt_hours(7_250).ok_or("too much energy")?;
/// let at = Timestamp::parse_rfc3339("2026-03-29T01:30:00+01:00")?;
/// let reading = MeterReading { sequence: 1, at, register, power: Power::from_watts(11_000), current: None };
/// assert_eq!(reading.register.kwh().normalize().to_string(), "7.25");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterReading {
    /// Position in the session: the first reading after the start is 1, and no number is skipped.
    pub sequence: u32,
    /// When the charger took it, by the charger's clock.
    pub at: Timestamp,
    /// The lifetime register of imported energy.
    pub register: Energy,
    /// Momentary power, where the charger measures it.
    pub power: Option<Power>,
    /// Momentary current per phase, where the charger measures it.
    pub current: Option<Current>,
}

impl MeterReading {
    /// Sequence of a reading that its charger does not number, and whose time is the charger's.
    pub const UNNUMBERED: u32 = 0;

    /// Sequence of a reading that its charger does not number, and whose time is that of its arrival: the charger's clock is not
    /// set, so a repetition looks later than what it repeats.
    pub const UNTIMED: u32 = u32::MAX;
}

stored!(struct MeterReading { 0: sequence, 1: at, 2: register, 3: power, 4: current });

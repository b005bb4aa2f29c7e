//! One reading of a charger's meter, as every room from the wire to the tariff sees it.

use super::{Current, Energy, Power, Timestamp};
use crate::stored::stored;
use serde::{Deserialize, Serialize};

/// What a charger's meter showed at one instant of one session.
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

stored!(struct MeterReading { 0: sequence, 1: at, 2: register, 3: power, 4: current });

//! Protocols that chargers speak.

use crate::stored::stored;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A protocol that a charger speaks. The numbers are in the journal and are never reused.
///
/// ```
/// use wattstile::units::Protocol;
///
/// assert_eq!(Protocol::default(), Protocol::Native);
/// assert_eq!(Protocol::Ocpp201.to_string(), "ocpp2.0.1");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Ours.
    #[default]
    Native,
    /// OCPP 1.6J.
    Ocpp16,
    /// OCPP 2.0.1.
    Ocpp201,
    /// OCPP 2.1.
    Ocpp21,
}

stored!(enum Protocol { 0: Native, 1: Ocpp16, 2: Ocpp201, 3: Ocpp21 });

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Native => "native",
            Protocol::Ocpp16 => "ocpp1.6",
            Protocol::Ocpp201 => "ocpp2.0.1",
            Protocol::Ocpp21 => "ocpp2.1",
        })
    }
}

//! A good reading with what it adds to the price: the fact of which there are more than of all others together.

use crate::stored::stored;
use crate::tariff::Slices;
use crate::units::MeterReading;
use serde::{Deserialize, Serialize};

/// A good reading, and what it adds to the price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// The reading.
    pub reading: MeterReading,
    /// What accrues, priced when it was decided: a replay never prices again.
    pub slices: Slices,
}

stored!(struct Metered { 0: reading, 1: slices });

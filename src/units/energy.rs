//! Energy, power and current as whole numbers, fine enough that no meter's resolution is lost.

use crate::stored::stored;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Microwatt hours in a watt hour.
const MICRO_PER_WH: i64 = 1_000_000;

/// An amount of energy, or the value of a meter's lifetime register, in microwatt hours (10⁻⁹ kWh).
///
/// The range is ±9.2 TWh. Registers are lifetime counters: only a difference of two registers is ever billed.
///
/// ```
/// use wattstile::units::Energy;
///
/// let (first, last) = (Energy::from_watt_hours(7_000).unwrap(), Energy::from_kwh("7.25".parse()?).unwrap());
/// assert_eq!(last.checked_sub(first).map(Energy::whole_watt_hours), Some(250));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Energy(i64);

stored!(struct Energy(value));

impl Energy {
    /// No energy.
    pub const ZERO: Energy = Energy(0);

    /// From microwatt hours.
    pub const fn from_microwatt_hours(uwh: i64) -> Energy {
        Energy(uwh)
    }

    /// From milliwatt hours; `None` when it does not fit.
    pub const fn from_milliwatt_hours(mwh: i64) -> Option<Energy> {
        match mwh.checked_mul(1_000) {
            Some(uwh) => Some(Energy(uwh)),
            None => None,
        }
    }

    /// From watt hours; `None` when it does not fit.
    pub const fn from_watt_hours(wh: i64) -> Option<Energy> {
        match wh.checked_mul(MICRO_PER_WH) {
            Some(uwh) => Some(Energy(uwh)),
            None => None,
        }
    }

    /// From kilowatt hours with at most nine decimals; `None` when it is finer than that or does not fit.
    pub fn from_kwh(kwh: Decimal) -> Option<Energy> {
        exact_scaled(kwh, 1_000_000_000).map(Energy)
    }

    /// In microwatt hours.
    pub const fn microwatt_hours(self) -> i64 {
        self.0
    }

    /// In whole watt hours, rounded towards zero.
    pub const fn whole_watt_hours(self) -> i64 {
        self.0 / MICRO_PER_WH
    }

    /// In kilowatt hours, exact.
    pub fn kwh(self) -> Decimal {
        Decimal::new(self.0, 9).normalize()
    }

    /// Sum, or `None` on overflow.
    pub const fn checked_add(self, other: Energy) -> Option<Energy> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Energy(sum)),
            None => None,
        }
    }

    /// Difference, or `None` on overflow.
    pub const fn checked_sub(self, other: Energy) -> Option<Energy> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Energy(difference)),
            None => None,
        }
    }
}

impl fmt::Display for Energy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kWh", self.kwh())
    }
}

/// Power in milliwatts.
///
/// ```
/// use wattstile::units::Power;
///
/// assert_eq!(Power::from_kw("22".parse()?), Power::from_watts(22_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Power(i64);

stored!(struct Power(value));

impl Power {
    /// From milliwatts.
    pub const fn from_milliwatts(mw: i64) -> Power {
        Power(mw)
    }

    /// From watts; `None` when it does not fit.
    pub const fn from_watts(w: i64) -> Option<Power> {
        match w.checked_mul(1_000) {
            Some(mw) => Some(Power(mw)),
            None => None,
        }
    }

    /// From kilowatts with at most six decimals; `None` when it is finer than that or does not fit.
    pub fn from_kw(kw: Decimal) -> Option<Power> {
        exact_scaled(kw, 1_000_000).map(Power)
    }

    /// In milliwatts.
    pub const fn milliwatts(self) -> i64 {
        self.0
    }

    /// In kilowatts, exact.
    pub fn kw(self) -> Decimal {
        Decimal::new(self.0, 6).normalize()
    }
}

/// Current in milliamperes.
///
/// ```
/// use wattstile::units::Current;
///
/// let current = Current::from_amperes("15.8".parse()?).ok_or("finer than a milliampere")?;
/// assert_eq!(current.amperes().to_string(), "15.8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Current(i64);

stored!(struct Current(value));

impl Current {
    /// From milliamperes.
    pub const fn from_milliamperes(ma: i64) -> Current {
        Current(ma)
    }

    /// From amperes with at most three decimals; `None` when it is finer than that or does not fit.
    pub fn from_amperes(a: Decimal) -> Option<Current> {
        exact_scaled(a, 1_000).map(Current)
    }

    /// In milliamperes.
    pub const fn milliamperes(self) -> i64 {
        self.0
    }

    /// In amperes, exact.
    pub fn amperes(self) -> Decimal {
        Decimal::new(self.0, 3).normalize()
    }
}

/// `product / divisor`, towards zero. A product of two figures of a meter nearly always fits 64 bits, in which it is divided in
/// a fraction of the time.
#[inline]
pub fn quotient(product: i128, divisor: i64) -> i128 {
    match i64::try_from(product) {
        Ok(product) => i128::from(product / divisor),
        Err(_) => product / i128::from(divisor),
    }
}

/// `value × scale` when that is a whole number that fits.
fn exact_scaled(value: Decimal, scale: i64) -> Option<i64> {
    let scaled = value.checked_mul(Decimal::from(scale))?.normalize();
    if scaled.scale() != 0 {
        return None;
    }
    i64::try_from(scaled.mantissa()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilowatt_hours_are_exact_both_ways() {
        let energy = Energy::from_kwh("18.402000001".parse().unwrap()).unwrap();
        assert_eq!(energy.microwatt_hours(), 18_402_000_001);
        assert_eq!(energy.kwh().to_string(), "18.402000001");
        assert_eq!(Energy::from_watt_hours(1_500).unwrap().to_string(), "1.5 kWh");
    }

    #[test]
    fn what_is_finer_than_the_unit_or_too_large_is_refused() {
        assert_eq!(Energy::from_kwh("0.0000000001".parse().unwrap()), None);
        assert_eq!(Energy::from_kwh("9300000000".parse().unwrap()), None);
        assert_eq!(Energy::from_watt_hours(i64::MAX), None);
    }
}

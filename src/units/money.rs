//! Money in two types that never mix: [`Cost`], exact and unrounded, and [`Amount`], payable.
//!
//! A cost accrues; an amount is authorized, captured, refunded. [`Cost::round`] is the only conversion from one to
//! the other; a session calls it once. All arithmetic is checked; there is no float anywhere.

use super::currencies::{CURRENCIES, EXPONENTS, ROWS};
use crate::stored::{Stored, StoredError, stored};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Parts of a currency's major unit in which a [`Cost`] is counted: 9·10²⁴.
///
/// The factor makes every product exact that a tariff can form: energy in 10⁻⁹ kWh or time in 1/3,600,000 h, times a
/// price with at most nine decimals, times a VAT percentage with at most four. What remains is ±1.8·10¹³ major units.
const PARTS_PER_MAJOR: i128 = 9_000_000_000_000_000_000_000_000;

/// A currency by its ISO 4217 numeric code.
///
/// ```
/// use wattstile::units::Currency;
///
/// let yen: Currency = "JPY".parse()?;
/// assert_eq!((yen.code(), yen.numeric(), yen.exponent()), ("JPY", 392, 0));
/// assert!("EURO".parse::<Currency>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

/// Why a computation with money was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit. Never clamped, never wrapped.
    #[error("the sum of money does not fit")]
    Overflow,
    /// Two currencies in one computation.
    #[error("currencies do not mix: {left} and {right}")]
    CurrencyMismatch {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// A currency code that is not in the table.
    #[error("unknown currency `{0}`")]
    UnknownCurrency(String),
    /// More decimals than can be kept exactly.
    #[error("`{0}` has more decimals than are kept")]
    TooFine(String),
}

impl Currency {
    /// The euro, the currency of development and examples.
    pub const EUR: Currency = Currency(978);

    /// From the ISO 4217 numeric code.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`].
    pub fn from_numeric(code: u16) -> Result<Currency, MoneyError> {
        match ROWS.get(usize::from(code)) {
            Some(row) if *row != 0 => Ok(Currency(code)),
            _ => Err(MoneyError::UnknownCurrency(code.to_string())),
        }
    }

    /// The ISO 4217 numeric code.
    pub const fn numeric(self) -> u16 {
        self.0
    }

    /// The ISO 4217 alphabetic code.
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// Decimals of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    #[inline]
    pub fn exponent(self) -> u8 {
        EXPONENTS[usize::from(self.0)]
    }

    /// Parts of a [`Cost`] in one minor unit.
    #[inline]
    fn parts_per_minor(self) -> i128 {
        // Most currencies need no power and no division.
        match self.exponent() {
            2 => PARTS_PER_MAJOR / 100,
            exponent => PARTS_PER_MAJOR / 10_i128.pow(u32::from(exponent)),
        }
    }

    fn row(self) -> &'static (&'static str, u16, u8) {
        // A currency is made only from rows of the table, where each numeric code has its row counted from 1.
        &CURRENCIES[usize::from(ROWS[usize::from(self.0)]) - 1]
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Currency, MoneyError> {
        match CURRENCIES.iter().find(|(alphabetic, _, _)| alphabetic.eq_ignore_ascii_case(code)) {
            Some((_, numeric, _)) => Ok(Currency(*numeric)),
            None => Err(MoneyError::UnknownCurrency(code.to_owned())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Text in self-describing formats (`"EUR"`), the numeric code in compact ones.
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.code())
        } else {
            serializer.serialize_u16(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
        if deserializer.is_human_readable() {
            std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse()
        } else {
            Currency::from_numeric(u16::deserialize(deserializer)?)
        }
        .map_err(serde::de::Error::custom)
    }
}

/// By its numeric code.
impl Stored for Currency {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<Currency, StoredError> {
        Currency::from_numeric(u16::load(from)?).map_err(StoredError::invalid)
    }
}

#[cfg(test)]
impl crate::stored::Example for Currency {
    fn make(_: usize, _: &mut usize) -> Currency {
        Currency::EUR
    }
}

/// A payable amount: a whole number of minor units (cents) of one currency.
///
/// ```
/// use wattstile::units::{Amount, Currency, MoneyError};
///
/// let hold = Amount::from_major("45.00".parse()?, Currency::EUR)?;
/// assert_eq!((hold.minor, hold.to_string().as_str()), (4_500, "EUR 45.00"));
/// assert!(matches!(hold.checked_add(Amount::new(1, "USD".parse()?)), Err(MoneyError::CurrencyMismatch { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Amount {
    /// Minor units; negative only in credit notes and balances.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

stored!(value struct Amount { 0: minor, 1: currency });

impl Amount {
    /// An amount of minor units.
    pub const fn new(minor: i64, currency: Currency) -> Amount {
        Amount { minor, currency }
    }

    /// Zero, in a currency.
    pub const fn zero(currency: Currency) -> Amount {
        Amount { minor: 0, currency }
    }

    /// From major units (`45.00`), exact; finer than the minor unit is an error.
    ///
    /// # Errors
    /// [`MoneyError::TooFine`] for more decimals than the currency has; [`MoneyError::Overflow`].
    pub fn from_major(major: Decimal, currency: Currency) -> Result<Amount, MoneyError> {
        let scaled = Decimal::from(10_u64.pow(u32::from(currency.exponent())))
            .checked_mul(major)
            .ok_or(MoneyError::Overflow)?
            .normalize();
        if scaled.scale() != 0 {
            return Err(MoneyError::TooFine(major.to_string()));
        }
        let minor = i64::try_from(scaled.mantissa()).map_err(|_| MoneyError::Overflow)?;
        Ok(Amount { minor, currency })
    }

    /// In major units.
    pub fn major(self) -> Decimal {
        Decimal::new(self.minor, u32::from(self.currency.exponent()))
    }

    /// Sum.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Amount) -> Result<Amount, MoneyError> {
        same_currency(self.currency, other.currency)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Amount { minor, currency: self.currency })
    }

    /// Difference.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Amount) -> Result<Amount, MoneyError> {
        same_currency(self.currency, other.currency)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Amount { minor, currency: self.currency })
    }

    /// The same amount as an exact cost.
    #[inline]
    pub fn to_cost(self) -> Cost {
        let per_minor = self.currency.parts_per_minor();
        // i64::MAX × 9·10²⁴ (JPY) is 8.3·10⁴³: larger than i128. Amounts beyond the range of Cost are held at its end,
        // where any comparison with a real cost still comes out right.
        Cost { parts: i128::from(self.minor).saturating_mul(per_minor), currency: self.currency }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.currency, self.major()))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Rule by which a cost is rounded to an amount; part of a tariff, stored with the session.
///
/// ```
/// use wattstile::units::{Cost, Currency, Rounding};
///
/// let cost = Cost::from_major("1.125".parse()?, Currency::EUR)?;
/// let rounded = |rule| cost.round(rule).map(|amount| amount.minor);
/// assert_eq!([Rounding::HalfEven, Rounding::HalfUp, Rounding::Down].map(rounded), [Ok(112), Ok(113), Ok(112)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// To the nearest minor unit, a half to the even neighbour.
    #[default]
    HalfEven,
    /// To the nearest minor unit, a half away from zero.
    HalfUp,
    /// Towards zero.
    Down,
}

/// An exact cost: an integer count of 1/(9·10²⁴) of the major unit.
///
/// Never sent to a processor; [`Cost::round`] is the one bridge to an [`Amount`].
///
/// ```
/// use wattstile::units::{Cost, Currency, Rounding};
///
/// let third = Cost::from_major("0.3333333333".parse()?, Currency::EUR)?;
/// let sum = third.checked_add(third)?.checked_add(third)?;
/// assert_eq!(sum.round(Rounding::HalfEven)?.minor, 100, "rounded once, at the end");
/// assert_eq!(sum.ceiling()?.minor, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cost {
    parts: i128,
    currency: Currency,
}

stored!(value struct Cost { 0: parts, 1: currency });

impl Cost {
    /// Parts of the major unit: see [`Cost::from_parts`].
    pub const PARTS_PER_MAJOR: i128 = PARTS_PER_MAJOR;

    /// Zero, in a currency.
    pub const fn zero(currency: Currency) -> Cost {
        Cost { parts: 0, currency }
    }

    /// From a count of 1/[`Cost::PARTS_PER_MAJOR`] of the major unit.
    pub const fn from_parts(parts: i128, currency: Currency) -> Cost {
        Cost { parts, currency }
    }

    /// From major units with at most 24 decimals.
    ///
    /// # Errors
    /// [`MoneyError::TooFine`] for more than 24 decimals; [`MoneyError::Overflow`].
    pub fn from_major(major: Decimal, currency: Currency) -> Result<Cost, MoneyError> {
        let major = major.normalize();
        let scale = 10_i128.checked_pow(major.scale()).ok_or(MoneyError::Overflow)?;
        if PARTS_PER_MAJOR % scale != 0 {
            return Err(MoneyError::TooFine(major.to_string()));
        }
        let parts = major.mantissa().checked_mul(PARTS_PER_MAJOR / scale).ok_or(MoneyError::Overflow)?;
        Ok(Cost { parts, currency })
    }

    /// The count of 1/[`Cost::PARTS_PER_MAJOR`] of the major unit.
    pub const fn parts(self) -> i128 {
        self.parts
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// In major units for display and documents: exact where it has at most twelve decimals, else rounded half-even to
    /// twelve. Trailing zeros are cut.
    pub fn major(self) -> Decimal {
        let twelfth = PARTS_PER_MAJOR / 1_000_000_000_000;
        let scaled = divide_half_even(self.parts, twelfth);
        match Decimal::try_from_i128_with_scale(scaled, 12) {
            Ok(major) => major.normalize(),
            // ±1.8·10¹³ major units with 12 decimals are 26 digits: always within Decimal's 28.
            Err(_) => unreachable!("a cost has at most 26 digits at twelve decimals"),
        }
    }

    /// Sum.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    #[inline]
    pub fn checked_add(self, other: Cost) -> Result<Cost, MoneyError> {
        same_currency(self.currency, other.currency)?;
        let parts = self.parts.checked_add(other.parts).ok_or(MoneyError::Overflow)?;
        Ok(Cost { parts, currency: self.currency })
    }

    /// Difference.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Cost) -> Result<Cost, MoneyError> {
        same_currency(self.currency, other.currency)?;
        let parts = self.parts.checked_sub(other.parts).ok_or(MoneyError::Overflow)?;
        Ok(Cost { parts, currency: self.currency })
    }

    /// The payable amount: **the one rounding**, done once for a session's total.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond ±9.2·10¹⁸ minor units.
    pub fn round(self, rule: Rounding) -> Result<Amount, MoneyError> {
        let per_minor = self.currency.parts_per_minor();
        let minor = match rule {
            Rounding::HalfEven => divide_half_even(self.parts, per_minor),
            Rounding::HalfUp => {
                let quotient = self.parts / per_minor;
                let remainder = (self.parts % per_minor).abs();
                if remainder >= per_minor - remainder { quotient + self.parts.signum() } else { quotient }
            }
            Rounding::Down => self.parts / per_minor,
        };
        let minor = i64::try_from(minor).map_err(|_| MoneyError::Overflow)?;
        Ok(Amount { minor, currency: self.currency })
    }

    /// The smallest amount that covers this cost: for limits and holds, never for the captured amount.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond ±9.2·10¹⁸ minor units.
    pub fn ceiling(self) -> Result<Amount, MoneyError> {
        let per_minor = self.currency.parts_per_minor();
        let quotient = self.parts.div_euclid(per_minor);
        // The remainder is less than the divisor, so it is zero exactly when this product equals the whole, wrapped
        // or not.
        let minor = if quotient.wrapping_mul(per_minor) == self.parts { quotient } else { quotient + 1 };
        let minor = i64::try_from(minor).map_err(|_| MoneyError::Overflow)?;
        Ok(Amount { minor, currency: self.currency })
    }

    /// Compares two costs of one currency.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`].
    #[inline]
    pub fn compare(self, other: Cost) -> Result<std::cmp::Ordering, MoneyError> {
        same_currency(self.currency, other.currency)?;
        Ok(self.parts.cmp(&other.parts))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.currency, self.major()))
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[inline]
fn same_currency(left: Currency, right: Currency) -> Result<(), MoneyError> {
    if left == right { Ok(()) } else { Err(MoneyError::CurrencyMismatch { left, right }) }
}

/// Quotient to the nearest whole number, a half to the even neighbour. `divisor` is positive.
fn divide_half_even(value: i128, divisor: i128) -> i128 {
    let quotient = value.div_euclid(divisor);
    let remainder = value.rem_euclid(divisor);
    match remainder.cmp(&(divisor - remainder)) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eur(text: &str) -> Cost {
        Cost::from_major(text.parse().unwrap(), Currency::EUR).unwrap()
    }

    #[test]
    fn one_rounding_by_each_rule() {
        let cases = [
            ("1.58354", 158, 158, 158),
            ("0.125", 12, 13, 12),
            ("0.135", 14, 14, 13),
            ("-0.125", -12, -13, -12),
            ("9.6048", 960, 960, 960),
        ];
        for (cost, half_even, half_up, down) in cases {
            assert_eq!(eur(cost).round(Rounding::HalfEven).unwrap().minor, half_even, "{cost}");
            assert_eq!(eur(cost).round(Rounding::HalfUp).unwrap().minor, half_up, "{cost}");
            assert_eq!(eur(cost).round(Rounding::Down).unwrap().minor, down, "{cost}");
        }
        assert_eq!(eur("0.0000001").ceiling().unwrap().minor, 1);
        assert_eq!(
            ["-1.23", "-1.231", "0", "1.23"].map(|cost| eur(cost).ceiling().unwrap().minor),
            [-123, -123, 0, 123]
        );
        assert_eq!(Cost::from_parts(i128::MIN, Currency::EUR).ceiling().unwrap().minor, -1_890_457_594_005_213);
    }

    #[test]
    fn minor_units_follow_the_currency() {
        let yen: Currency = "JPY".parse().unwrap();
        let dinar: Currency = "kwd".parse().unwrap();
        let cost = |currency| Cost::from_major("1.2345".parse().unwrap(), currency).unwrap();
        assert_eq!(cost(yen).round(Rounding::HalfEven).unwrap().to_string(), "JPY 1");
        assert_eq!(cost(dinar).round(Rounding::HalfEven).unwrap().to_string(), "KWD 1.234");
        assert!("XYZ".parse::<Currency>().is_err());
        for (code, numeric, exponent) in CURRENCIES {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.numeric(), currency.exponent()), (*numeric, *exponent), "{code}");
        }
    }

    #[test]
    fn currencies_never_mix() {
        let usd = Amount::new(1, "USD".parse().unwrap());
        assert!(matches!(Amount::new(1, Currency::EUR).checked_add(usd), Err(MoneyError::CurrencyMismatch { .. })));
    }

    /// rust_decimal up to 1.42.0 computed 68056473378.09… here.
    #[test]
    fn decimal_subtraction_at_the_borrow_boundary_is_right() {
        let left: Decimal = "34028236693".parse().unwrap();
        let right: Decimal = "7.0000000000000000000000000000".parse().unwrap();
        assert_eq!((left - right).normalize().to_string(), "34028236686");
    }

    proptest! {
        #[test]
        fn a_rounded_cost_is_within_half_a_cent(parts in -1_000_000_000_000_000_000_000_000_000_000_i128..1_000_000_000_000_000_000_000_000_000_000_i128) {
            let cost = Cost::from_parts(parts, Currency::EUR);
            let back = cost.round(Rounding::HalfEven).unwrap().to_cost();
            let distance = (back.parts() - parts).abs();
            prop_assert!(distance * 2 <= PARTS_PER_MAJOR / 100);
        }

        #[test]
        fn sums_that_do_not_fit_are_errors(minor in i64::MAX - 10..=i64::MAX) {
            let amount = Amount::new(minor, Currency::EUR);
            prop_assert!(amount.checked_add(Amount::new(11, Currency::EUR)).is_err());
        }
    }
}

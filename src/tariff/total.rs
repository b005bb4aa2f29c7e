//! Computes the cost of a session from its volumes. Prices are computed only here.
//!
//! The running cost, the limit, the capture, the CDR and the receipt all come from [`Rating::total`].

use super::model::{Component, Dimension, Tariff, TaxIncluded};
use super::rating::{Rating, RatingError, Reported, reported};
use super::select::NONE;
use crate::units::{Amount, Cost, Currency, Energy, MoneyError, Rounding, TimeSpan};
use ethnum::U256;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Parts of a [`Cost`] in µWh × 10⁻⁹ of the major unit per kWh × 10⁻⁶ (the fraction of VAT).
const ENERGY_PARTS: i128 = 9;
/// Parts of a [`Cost`] in ms × 10⁻⁹ of the major unit per hour × 10⁻⁶.
const TIME_PARTS: i128 = 2_500;
/// Parts of a [`Cost`] in 10⁻⁹ of the major unit × 10⁻⁶.
const FLAT_PARTS: i128 = 9_000_000_000;
/// One, in the fraction of VAT.
const ONE: i128 = 1_000_000;

/// A cost before and after tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Before tax.
    pub excl_vat: Cost,
    /// After tax.
    pub incl_vat: Cost,
}

/// Which limit decided a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clamp {
    /// None.
    #[default]
    None,
    /// The tariff's `min_price`.
    Min,
    /// The tariff's `max_price`.
    Max,
    /// The sum is below zero: nothing is due, and nothing is paid out.
    Zero,
}

/// The cost of a session, with its lines. A line is `None` when no component of its kind was ever active.
///
/// ```
/// use jiff::tz::TimeZone;
/// use wattstile::tariff::{RecordedSession, Tariff};
/// use wattstile::units::{Amount, Currency, Energy, TimeSpan, Timestamp};
///
/// const DAY: &str = r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#;
/// let tariff = Tariff::parse(DAY)?.tariff;
/// let start = Timestamp::parse_rfc3339("2026-03-29T01:30:00Z")?;
/// let (end, energy) = (start.saturating_add(TimeSpan::from_secs(1_800)), Energy::from_watt_hours(10_001));
/// let session = RecordedSession::of_total(start, end, energy.ok_or("too much energy")?, TimeSpan::ZERO);
/// let total = session.ok_or("impossible times")?.price(&tariff, &TimeZone::UTC)?.rating.total(&tariff)?;
/// assert_eq!(total.incl_vat.to_string(), "EUR 3.630363", "a cost is exact");
/// assert_eq!(total.payable()?, Amount::new(363, Currency::EUR), "and is rounded once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Before tax, within the tariff's price limits.
    pub excl_vat: Cost,
    /// After tax, within the tariff's price limits.
    pub incl_vat: Cost,
    /// Flat fees.
    pub fixed: Option<Price>,
    /// Energy.
    pub energy: Option<Price>,
    /// Time in which energy flowed.
    pub time: Option<Price>,
    /// Time in which none flowed.
    pub parking: Option<Price>,
    /// Reservations.
    pub reservation: Option<Price>,
    /// The limit that decided, if one did.
    pub clamp: Clamp,
    /// Rounding rule of the payable amount.
    pub rounding: Rounding,
}

/// The billed volume and price of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Billed {
    pub(super) component: u16,
    /// µWh or ms that flowed or passed; 1 for a fee.
    pub(super) consumed: i64,
    /// The same after `step_size`.
    pub(super) billed: i64,
    pub(super) price: Parts,
}

/// A price in parts of a [`Cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) excl: i128,
    pub(super) incl: i128,
}

/// Tax at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VatLine {
    /// The rate in 10⁻⁴ percent; `None` where the tariff states none.
    pub rate: Option<u32>,
    /// The taxed amount at that rate, before the tariff's price limits.
    pub excl_vat: Cost,
    /// The same with tax.
    pub incl_vat: Cost,
}

impl Total {
    /// The amount to pay: the total after tax, rounded once by the tariff's rule.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn payable(&self) -> Result<Amount, MoneyError> {
        self.incl_vat.round(self.rounding)
    }

    /// The currency.
    pub fn currency(&self) -> Currency {
        self.incl_vat.currency()
    }
}

impl Rating {
    /// The cost if the session ends now, with step sizes, price limits and VAT. Its time depends on the number of
    /// components in use, whatever the session's length, and allocates nothing for an ordinary tariff.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or a total beyond all figures.
    pub fn total(&self, tariff: &Tariff) -> Result<Total, RatingError> {
        let mut lines: [Option<Parts>; 5] = [None; 5];
        let mut sum = Parts::default();
        self.each_billed(tariff, |billed| {
            let line = &mut lines[reported(tariff, billed.component) as usize];
            *line = Some(line.unwrap_or_default().plus(billed.price)?);
            sum = sum.plus(billed.price)?;
            Ok(())
        })?;
        let currency = tariff.currency;
        let (limited, clamp) = limited(tariff, sum)?;
        let line = |kind: Reported| lines[kind as usize].map(|parts| parts.price(currency));
        Ok(Total {
            excl_vat: Cost::from_parts(limited.excl, currency),
            incl_vat: Cost::from_parts(limited.incl, currency),
            fixed: line(Reported::Fixed),
            energy: line(Reported::Energy),
            time: line(Reported::Time),
            parking: line(Reported::Parking),
            reservation: line(Reported::Reservation),
            clamp,
            rounding: tariff.rounding,
        })
    }

    /// The total after tax alone, which every reading of a running session needs.
    ///
    /// # Errors
    /// Those of [`Rating::total`].
    pub fn running(&self, tariff: &Tariff) -> Result<Cost, RatingError> {
        let mut sum = Parts::default();
        self.each_billed(tariff, |billed| {
            sum = sum.plus(billed.price)?;
            Ok(())
        })?;
        let (limited, _) = limited(tariff, sum)?;
        Ok(Cost::from_parts(limited.incl, tariff.currency))
    }

    /// Tax per rate, in ascending order of rates; the sums are those of the total before its price limits.
    ///
    /// # Errors
    /// Those of [`Rating::total`].
    pub fn vat_lines(&self, tariff: &Tariff) -> Result<SmallVec<[VatLine; 4]>, RatingError> {
        let mut lines: SmallVec<[VatLine; 4]> = SmallVec::new();
        self.each_billed(tariff, |billed| {
            let rate = tariff.components[usize::from(billed.component)].vat;
            let price = billed.price.price(tariff.currency);
            let place = lines.partition_point(|line| line.rate < rate);
            match lines.get_mut(place) {
                Some(line) if line.rate == rate => {
                    line.excl_vat = line.excl_vat.checked_add(price.excl_vat)?;
                    line.incl_vat = line.incl_vat.checked_add(price.incl_vat)?;
                }
                _ => lines.insert(place, VatLine { rate, excl_vat: price.excl_vat, incl_vat: price.incl_vat }),
            }
            Ok(())
        })?;
        Ok(lines)
    }

    /// Energy and time that are billed beyond what was consumed, because of `step_size`.
    ///
    /// # Errors
    /// Those of [`Rating::total`].
    pub fn rounded_up(&self, tariff: &Tariff) -> Result<(Energy, TimeSpan), RatingError> {
        let (mut energy, mut time) = (0_i64, 0_i64);
        self.each_billed(tariff, |billed| {
            let extra = billed.billed.checked_sub(billed.consumed).ok_or(RatingError::Range)?;
            match tariff.components[usize::from(billed.component)].dimension {
                Dimension::Energy => energy = energy.checked_add(extra).ok_or(RatingError::Range)?,
                Dimension::Time | Dimension::ParkingTime => time = time.checked_add(extra).ok_or(RatingError::Range)?,
                Dimension::Flat => {}
            }
            Ok(())
        })?;
        Ok((Energy::from_microwatt_hours(energy), TimeSpan::from_ms(time)))
    }

    /// Iterates over all billed positions: fees, then components in the order of the tariff.
    pub(super) fn each_billed(
        &self,
        tariff: &Tariff,
        mut each: impl FnMut(Billed) -> Result<(), RatingError>,
    ) -> Result<(), RatingError> {
        self.guard(tariff)?;
        for component in [self.flat, self.reservation_flat] {
            if component != NONE {
                let price = parts_of(tariff, &tariff.components[usize::from(component)], 1)?;
                each(Billed { component, consumed: 1, billed: 1, price })?;
            }
        }
        // Energy, time, parking and reservations are rounded up once per session each, with the block size of the
        // component that was used last; charging time only when no parking time is billed (OCPI 2.3.0, mod_cdrs,
        // step_size: "only taken into account for the total parking duration").
        let last_time = if self.last_parking == NONE { self.last_time } else { NONE };
        let mut steps: [(u16, i64); 4] =
            [(self.last_energy, 0), (last_time, 0), (self.last_parking, 0), (self.last_reserved, 0)];
        for volume in &self.volumes {
            if let Some(group) = group(tariff, volume.component) {
                steps[group].1 = steps[group].1.checked_add(volume.amount).ok_or(RatingError::Range)?;
            }
        }
        for (last, sum) in &mut steps {
            *sum = if *last == NONE { 0 } else { round_up(*sum, tariff.components[usize::from(*last)].step)? };
        }
        for volume in &self.volumes {
            let extra = steps.iter().find(|(last, _)| *last == volume.component).map_or(0, |(_, extra)| *extra);
            let billed = volume.amount.checked_add(extra).ok_or(RatingError::Range)?;
            let price = parts_of(tariff, &tariff.components[usize::from(volume.component)], billed)?;
            each(Billed { component: volume.component, consumed: volume.amount, billed, price })?;
        }
        Ok(())
    }
}

/// Which volumes are rounded up together.
fn group(tariff: &Tariff, component: u16) -> Option<usize> {
    match reported(tariff, component) {
        Reported::Energy => Some(0),
        Reported::Time => Some(1),
        Reported::Parking => Some(2),
        Reported::Reservation => Some(3),
        Reported::Fixed => None,
    }
}

/// The difference to the next multiple of a block.
fn round_up(sum: i64, step: i64) -> Result<i64, RatingError> {
    if step <= 1 || sum <= 0 {
        return Ok(0);
    }
    let over = sum.checked_rem(step).unwrap_or(0);
    let extra = if over == 0 { 0 } else { step.saturating_sub(over) };
    sum.checked_add(extra).map(|_| extra).ok_or(RatingError::Range)
}

/// The price of so much at one component's price.
pub(super) fn parts_of(tariff: &Tariff, component: &Component, amount: i64) -> Result<Parts, MoneyError> {
    let unit = match component.dimension {
        Dimension::Energy => ENERGY_PARTS,
        Dimension::Time | Dimension::ParkingTime => TIME_PARTS,
        Dimension::Flat => FLAT_PARTS,
    };
    // Two factors of 64 bits always fit; the unit and the tax are checked.
    let stated = i128::from(amount).saturating_mul(i128::from(component.price_nano));
    let plain = stated.checked_mul(unit.saturating_mul(ONE)).ok_or(MoneyError::Overflow)?;
    let vat = i128::from(component.vat.unwrap_or(0));
    let with_vat = ONE.saturating_add(vat);
    match tariff.tax {
        TaxIncluded::No if vat > 0 => {
            let incl = stated.checked_mul(unit.saturating_mul(with_vat)).ok_or(MoneyError::Overflow)?;
            Ok(Parts { excl: plain, incl })
        }
        TaxIncluded::Yes if vat > 0 => {
            // The only quotient: what is before tax is known to half a part.
            let excl = proportion(plain, ONE, with_vat).ok_or(MoneyError::Overflow)?;
            Ok(Parts { excl, incl: plain })
        }
        TaxIncluded::No | TaxIncluded::Yes | TaxIncluded::NotApplicable => Ok(Parts { excl: plain, incl: plain }),
    }
}

/// `value × numerator / denominator` to the nearest whole, a half to even; the fraction is at most one.
fn proportion(value: i128, numerator: i128, denominator: i128) -> Option<i128> {
    let whole = value.div_euclid(denominator).checked_mul(numerator)?;
    let rest = value.rem_euclid(denominator).checked_mul(numerator)?;
    let (quotient, remainder) = (rest.div_euclid(denominator), rest.rem_euclid(denominator));
    let nearest = match remainder.checked_mul(2)?.cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient.checked_add(1)?,
        std::cmp::Ordering::Equal => quotient.checked_add((whole ^ quotient) & 1)?,
    };
    whole.checked_add(nearest)
}

/// The sum within the tariff's limits, and never below zero: what a tariff with negative prices comes to below that is
/// not paid out. A hold from which nothing was taken has no way back to the driver.
#[inline]
fn limited(tariff: &Tariff, sum: Parts) -> Result<(Parts, Clamp), MoneyError> {
    Ok(match within_limits(tariff, sum)? {
        (parts, _) if parts.incl < 0 || (parts.incl == 0 && parts.excl < 0) => (Parts::default(), Clamp::Zero),
        found => found,
    })
}

/// The sum within the tariff's limits. The limits before and after tax hold independently of each other (OCPI 2.3.0,
/// mod_tariffs, `min_price` and `max_price`); where only one is written, the other side keeps its proportion.
#[inline]
fn within_limits(tariff: &Tariff, sum: Parts) -> Result<(Parts, Clamp), MoneyError> {
    let mut result = (sum, Clamp::None);
    if tariff.max_price.is_none() && tariff.min_price.is_none() {
        return Ok(result);
    }
    for (limit, clamp) in [(tariff.max_price, Clamp::Max), (tariff.min_price, Clamp::Min)] {
        let parts = result.0;
        let beyond = |value: i128, limit: Option<Cost>| match clamp {
            Clamp::Max => limit.is_some_and(|limit| value > limit.parts()),
            Clamp::Min => limit.is_some_and(|limit| value < limit.parts()),
            Clamp::None | Clamp::Zero => false,
        };
        let held = |value: i128, limit: Option<Cost>| match limit {
            Some(limit) if beyond(value, Some(limit)) => limit.parts(),
            _ => value,
        };
        if !beyond(parts.excl, limit.excl_vat) && !beyond(parts.incl, limit.incl_vat) {
            continue;
        }
        let (mut excl, mut incl) = (held(parts.excl, limit.excl_vat), held(parts.incl, limit.incl_vat));
        let tax = parts.incl.checked_sub(parts.excl).ok_or(MoneyError::Overflow)?.max(0);
        if limit.incl_vat.is_none() {
            incl = excl.checked_add(share(excl, tax, parts.excl)).ok_or(MoneyError::Overflow)?;
        } else if limit.excl_vat.is_none() {
            excl = incl.checked_sub(share(incl, tax, parts.incl)).ok_or(MoneyError::Overflow)?;
        }
        result = (Parts { excl, incl }, clamp);
    }
    Ok(result)
}

/// `value × part / whole`, rounded down, for a part of the whole; nothing where there is no whole.
fn share(value: i128, part: i128, whole: i128) -> i128 {
    if value <= 0 || part <= 0 || part > whole {
        return 0;
    }
    // The product of two figures of up to 127 bits needs twice as many; the quotient is at most the value.
    let [value, part, whole] = [value, part, whole].map(|figure| U256::from(figure.cast_unsigned()));
    let quotient = value.checked_mul(part).and_then(|product| product.checked_div(whole));
    quotient.and_then(|quotient| i128::try_from(quotient).ok()).unwrap_or(i128::MAX)
}

impl Parts {
    #[inline]
    pub(super) fn plus(self, other: Parts) -> Result<Parts, MoneyError> {
        let sum = |left: i128, right: i128| left.checked_add(right).ok_or(MoneyError::Overflow);
        Ok(Parts { excl: sum(self.excl, other.excl)?, incl: sum(self.incl, other.incl)? })
    }

    pub(super) fn price(self, currency: Currency) -> Price {
        Price { excl_vat: Cost::from_parts(self.excl, currency), incl_vat: Cost::from_parts(self.incl, currency) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_right_up_to_the_largest_costs() {
        assert_eq!(share(10, 2, 5), 4);
        assert_eq!(share(7, 1, 2), 3);
        assert_eq!(share(i128::MAX, i128::MAX, i128::MAX), i128::MAX);
        assert_eq!(share(i128::MAX, i128::MAX / 2, i128::MAX), i128::MAX / 2);
        assert_eq!(share(1, i128::MAX - 1, i128::MAX), 0);
    }

    /// After a public report: 2,466 of a small currency per kWh under a limit with one side, at the end of the register.
    #[test]
    fn a_limit_with_one_side_holds_at_the_largest_volumes() {
        let text = |limit: &str| {
            format!(
                r#"{{"id": "T", "currency": "IDR", "max_price": {{{limit}}}, "elements": [
                {{"price_components": [{{"type": "ENERGY", "price": 2466, "vat": 11, "step_size": 1}}]}}]}}"#
            )
        };
        for limit in ["\"before_taxes\": 100", "\"after_taxes\": 111", "\"excl_vat\": 18000000000000"] {
            let tariff = Tariff::parse(&text(limit)).unwrap().tariff;
            let mut rating =
                Rating::open(&tariff, &jiff::tz::TimeZone::UTC, crate::units::Timestamp::default(), Energy::ZERO)
                    .unwrap();
            for uwh in [i64::MAX, i64::MAX / 2, 6_900_000_000_000_000_000, 1] {
                rating.volumes.clear();
                rating.add(0, uwh);
                let _ = rating.total(&tariff);
            }
        }
    }

    proptest! {
        #[test]
        fn a_share_lies_between_its_neighbours(value in 0..i128::MAX, part in 0..i128::MAX, whole in 1..i128::MAX) {
            let (part, whole) = (part.min(whole), part.max(whole));
            let found = share(value, part, whole);
            prop_assert!((0..=value).contains(&found));
            let small = share(value >> 65, part >> 65, (whole >> 65).max(1));
            let exact = (value >> 65) * ((part >> 65).min((whole >> 65).max(1))) / (whole >> 65).max(1);
            prop_assert_eq!(small, exact);
        }
    }
}

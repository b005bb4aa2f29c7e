//! Upper bounds of the cost that a session can add before its next check: the amount that a hold must cover in
//! advance.

use super::model::{Dimension, MS_PER_DAY, MS_PER_MINUTE, Restrictions, Tariff};
use super::rating::{Rating, RatingError};
use super::select::{Local, NONE, civil_holds};
use super::total::parts_of;
use crate::units::{Cost, MoneyError, Power, TimeSpan, Timestamp, quotient};
use jiff::tz::TimeZone;
use std::sync::OnceLock;

/// The possible course of a session within the span.
struct Window {
    from_elapsed: i64,
    to_elapsed: i64,
    from_energy: i64,
    to_energy: i64,
    from_local: Local,
    /// Local time at the end, on the clock of the beginning; a clock change inside makes the window unsure.
    to_local: Local,
    clock_changes: bool,
}

/// Whether an element's restrictions hold at no, some or every moment of a window.
#[derive(PartialEq)]
enum Reach {
    Never,
    Perhaps,
    Always,
}

/// The dearest prices of a tariff, whatever the hour and the course of a session: after tax, for one unit and for one
/// block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dearest {
    energy: (i128, i128),
    time: (i128, i128),
    parking: (i128, i128),
    flat: i128,
    minimum: i128,
}

impl Dearest {
    /// Of this tariff; `None` when its prices are beyond all figures.
    pub(super) fn of(tariff: &Tariff) -> Option<Dearest> {
        let mut dearest = Dearest { minimum: tax_on_minimum(tariff), ..Dearest::default() };
        for component in &tariff.components {
            let one = parts_of(tariff, component, 1).ok()?.incl.max(0);
            let block = parts_of(tariff, component, component.step).ok()?.incl.max(0);
            let slot = match component.dimension {
                Dimension::Energy => &mut dearest.energy,
                Dimension::Time => &mut dearest.time,
                Dimension::ParkingTime => &mut dearest.parking,
                Dimension::Flat => {
                    dearest.flat = dearest.flat.max(one);
                    continue;
                }
            };
            *slot = (slot.0.max(one), slot.1.max(block));
        }
        Some(dearest)
    }
}

/// Bounds that were computed before, with their arguments: all readings of a session have the same, and sessions of a
/// tariff differ in little but the power of their connectors.
#[derive(Debug, Default)]
pub(super) struct Ahead([OnceLock<(Power, TimeSpan, Option<Cost>)>; 4]);

impl Clone for Ahead {
    /// Computed again on demand.
    fn clone(&self) -> Ahead {
        Ahead::default()
    }
}

impl Tariff {
    /// Upper bound of the cost that any session of this tariff can add within `span`, at `power_max` or less: never
    /// less than [`Rating::cost_ahead_at_most`] of one, and computed without any local time.
    pub fn cost_ahead_of_any(&self, power_max: Power, span: TimeSpan) -> Option<Cost> {
        for place in &self.ahead.0 {
            let (power, time, cost) = place.get_or_init(|| (power_max, span, self.most_ahead(power_max, span)));
            if (*power, *time) == (power_max, span) {
                return *cost;
            }
        }
        self.most_ahead(power_max, span)
    }

    fn most_ahead(&self, power_max: Power, span: TimeSpan) -> Option<Cost> {
        let Dearest { energy, time, parking, flat, minimum } = self.dearest?;
        let span_ms = span.ms().max(0);
        let most_energy = i128::from(most_energy(power_max, span_ms)?);
        let span_ms = i128::from(span_ms);
        let spent = energy.0.checked_mul(most_energy)?;
        let timed = time.0.max(parking.0).checked_mul(span_ms)?;
        let blocks = energy.1.checked_add(time.1.max(parking.1))?;
        let sum = spent.checked_add(timed)?.checked_add(blocks)?.checked_add(flat)?.checked_add(minimum)?;
        Some(Cost::from_parts(sum, self.currency()))
    }
}

/// A minimum that is written before tax only is taxed like the session; its tax can still rise to the highest rate.
fn tax_on_minimum(tariff: &Tariff) -> i128 {
    let limit = tariff.min_price;
    let (Some(minimum), None) = (limit.excl_vat, limit.incl_vat) else { return 0 };
    let highest = tariff.components.iter().filter_map(|component| component.vat).max().unwrap_or(0);
    (minimum.parts().max(0) / 1_000_000).saturating_add(1).saturating_mul(i128::from(highest))
}

/// The time ahead of a reading that a bound is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAhead {
    /// The most power that flows.
    pub power_max: Power,
    /// When the last reading was taken.
    pub read_at: Timestamp,
    /// How long after it.
    pub span: TimeSpan,
}

impl Rating {
    /// An upper bound of how much the total after tax can grow within `span` from the last point on, when no more than
    /// `power_max` flows. Sound for every course of the meter: price changes in the window, fees that may fall due and
    /// block sizes are all counted at their dearest.
    ///
    /// # Errors
    /// [`RatingError::WrongTariff`]; [`RatingError::Range`] or [`RatingError::Money`] for a bound beyond all figures.
    pub fn cost_ahead_at_most(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        power_max: Power,
        span: TimeSpan,
    ) -> Result<Cost, RatingError> {
        self.cost_ahead_of_reading(tariff, zone, TimeAhead { power_max, read_at: self.at, span })
    }

    /// The same from the last reading on: time before it that is still undecided is counted with it. The register did not move in that time, so that no energy can come from it.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or a bound beyond all figures.
    pub fn cost_ahead_of_reading(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        TimeAhead { power_max, read_at, span }: TimeAhead,
    ) -> Result<Cost, RatingError> {
        self.guard(tariff)?;
        let most_energy = most_energy(power_max, span.ms().max(0)).ok_or(RatingError::Range)?;
        let span_ms = span.ms().max(0).saturating_add(self.undecided(read_at).ms());
        let window = self.window(tariff, zone, span_ms, most_energy)?;
        let mut bound = Bound { rating: self, tariff, window, most_energy, span_ms };
        let energy = bound.dearest(Dimension::Energy)?;
        // An interval is either charging or parking, so the dearer of the two covers both; each can round up.
        let time = bound.dearest(Dimension::Time)?;
        let parking = bound.dearest(Dimension::ParkingTime)?;
        let fee = if self.flat == NONE { bound.dearest(Dimension::Flat)?.0 } else { 0 };
        let minimum = tax_on_minimum(tariff);
        let sum = [minimum, energy.0, energy.1, time.0.max(parking.0), time.1.max(parking.1), fee]
            .into_iter()
            .try_fold(0_i128, i128::checked_add)
            .ok_or(RatingError::Money(MoneyError::Overflow))?;
        debug_assert!(
            tariff.most_ahead(power_max, TimeSpan::from_ms(span_ms)).is_none_or(|most| sum <= most.parts()),
            "a bound of all"
        );
        Ok(Cost::from_parts(sum, tariff.currency()))
    }

    fn window(&self, tariff: &Tariff, zone: &TimeZone, span: i64, energy: i64) -> Result<Window, RatingError> {
        let end = self.at.saturating_add(TimeSpan::from_ms(span));
        let (from_local, to_local) = if tariff.cuts.civil() {
            (Local::at(zone, self.at), Local::at(zone, end))
        } else {
            (Local::default(), Local::default())
        };
        let from_elapsed = self.at.since(self.start).ms();
        let from_energy = self.energy().ok_or(RatingError::Range)?.microwatt_hours();
        Ok(Window {
            from_elapsed,
            to_elapsed: from_elapsed.saturating_add(span),
            from_energy,
            to_energy: from_energy.saturating_add(energy),
            from_local,
            to_local,
            clock_changes: from_local.offset_ms != to_local.offset_ms,
        })
    }
}

struct Bound<'a> {
    rating: &'a Rating,
    tariff: &'a Tariff,
    window: Window,
    most_energy: i64,
    span_ms: i64,
}

impl Bound<'_> {
    /// What the dearest component that can become active costs for the whole span, and for one block more.
    fn dearest(&mut self, dimension: Dimension) -> Result<(i128, i128), RatingError> {
        let amount = match dimension {
            Dimension::Energy => self.most_energy,
            Dimension::Time | Dimension::ParkingTime => self.span_ms,
            Dimension::Flat => 1,
        };
        let mut dearest = (0, 0);
        for element in &self.tariff.elements {
            if element.restrictions.reservation.is_some() {
                continue;
            }
            let reach = self.window.reach(&element.restrictions);
            if reach == Reach::Never {
                continue;
            }
            let mut found = false;
            for index in element.components.clone() {
                let component = &self.tariff.components[usize::from(index)];
                if component.dimension == dimension && !found {
                    found = true;
                    let whole = parts_of(self.tariff, component, amount)?.incl.max(0);
                    let block = parts_of(self.tariff, component, component.step)?.incl.max(0);
                    dearest = (dearest.0.max(whole), dearest.1.max(block));
                }
            }
            if found && reach == Reach::Always {
                break;
            }
        }
        // The component that was used last keeps rounding, also where it can no longer become active.
        let last = match dimension {
            Dimension::Energy => self.rating.last_energy,
            Dimension::Time => self.rating.last_time,
            Dimension::ParkingTime => self.rating.last_parking,
            Dimension::Flat => NONE,
        };
        if last != NONE {
            let component = &self.tariff.components[usize::from(last)];
            dearest.1 = dearest.1.max(parts_of(self.tariff, component, component.step)?.incl.max(0));
        }
        Ok(dearest)
    }
}

impl Window {
    fn reach(&self, restrictions: &Restrictions) -> Reach {
        let mut reach = Reach::Always;
        for part in [
            range(self.from_elapsed, self.to_elapsed, restrictions.min_duration, restrictions.max_duration),
            range(self.from_energy, self.to_energy, restrictions.min_energy, restrictions.max_energy),
            if restrictions.flow() { Reach::Perhaps } else { Reach::Always },
            self.civil(restrictions),
        ] {
            match part {
                Reach::Never => return Reach::Never,
                Reach::Perhaps => reach = Reach::Perhaps,
                Reach::Always => {}
            }
        }
        reach
    }

    /// Certain only where the window stays between two changes of the clock-dependent restrictions.
    fn civil(&self, restrictions: &Restrictions) -> Reach {
        if !restrictions.civil() {
            return Reach::Always;
        }
        let days = self.to_local.day.saturating_sub(self.from_local.day);
        if self.clock_changes || days > 1 {
            return Reach::Perhaps;
        }
        let end = self.to_local.ms.saturating_add(days.saturating_mul(MS_PER_DAY));
        let minutes = [restrictions.start_minute, restrictions.end_minute].into_iter().flatten();
        let mut cuts = minutes.map(|minute| i64::from(minute).saturating_mul(MS_PER_MINUTE)).chain([0, MS_PER_DAY]);
        let changes = cuts.any(|cut| {
            [cut, cut.saturating_add(MS_PER_DAY)].iter().any(|cut| *cut > self.from_local.ms && *cut <= end)
        });
        match (changes, civil_holds(restrictions, self.from_local)) {
            (true, _) => Reach::Perhaps,
            (false, true) => Reach::Always,
            (false, false) => Reach::Never,
        }
    }
}

fn range(from: i64, to: i64, min: Option<i64>, max: Option<i64>) -> Reach {
    let (min, max) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
    if to < min || from >= max || min >= max {
        Reach::Never
    } else if from >= min && to < max {
        Reach::Always
    } else {
        Reach::Perhaps
    }
}

/// µWh that flow at a power within a time, rounded up.
fn most_energy(power: Power, ms: i64) -> Option<i64> {
    let product = i128::from(power.milliwatts().max(0)).saturating_mul(i128::from(ms));
    i64::try_from(quotient(product.saturating_add(3_599), 3_600)).ok()
}

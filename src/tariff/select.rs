//! Selects the components that are active at a moment, and the next moment at which that can change.
//!
//! The first element whose restrictions all hold and that has a component for a dimension prices that dimension (OCPI
//! 2.3.0, mod_tariffs, Tariff object). Local time is computed by the zone from instants, so the repeated hour of an
//! autumn night is never ambiguous: the clock change itself is one of the moments at which prices may change.

use super::model::{Dimension, MS_PER_DAY, MS_PER_MINUTE, Reservation, Restrictions, Tariff};
use crate::stored::stored;
use crate::units::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// What the time of a slice is: it decides which dimension prices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Phase {
    /// Energy flows: `TIME`.
    Charging = 0,
    /// Connected, and no energy flows: `PARKING_TIME`.
    Parked = 1,
    /// Reserved, and the driver came: elements with `RESERVATION`.
    Reserved = 2,
    /// Reserved without a session: `RESERVATION_EXPIRES` first, `RESERVATION` for dimensions that those leave open.
    Expired = 3,
}

stored!(enum Phase { 0: Charging, 1: Parked, 2: Reserved, 3: Expired });

impl Phase {
    /// Whether it is before (or instead of) a session.
    pub const fn is_reservation(self) -> bool {
        matches!(self, Phase::Reserved | Phase::Expired)
    }
}

/// No component.
pub(super) const NONE: u16 = u16::MAX;

/// The components that price one moment, as indexes, [`NONE`] where nothing is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) energy: u16,
    pub(super) time: u16,
    pub(super) flat: u16,
}

/// Lowest and highest of a flow inside an interval, where known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
}

impl Flow {
    pub(super) fn exactly(value: Option<i64>) -> Flow {
        Flow { low: value, high: value }
    }
}

/// All quantities that restrictions depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) phase: Phase,
    /// Local time; only computed when the tariff depends on it.
    pub(super) local: Local,
    /// Since the start of the session, or of the reservation while reserved.
    pub(super) elapsed_ms: i64,
    /// Since the start of the session, in µWh.
    pub(super) energy: i64,
    /// In mW.
    pub(super) power: Flow,
    /// In mA, summed over the phases.
    pub(super) current: Flow,
}

/// A reading of the local clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Local {
    /// Days since 1970-01-01.
    pub(super) day: i64,
    /// Milliseconds since midnight on the clock.
    pub(super) ms: i64,
    /// What the clock is ahead of UTC, in ms.
    pub(super) offset_ms: i64,
}

impl Local {
    pub(super) fn at(zone: &TimeZone, at: Timestamp) -> Local {
        let offset_ms = offset_ms(zone, at);
        let local = at.unix_ms().saturating_add(offset_ms);
        Local { day: local.div_euclid(MS_PER_DAY), ms: local.rem_euclid(MS_PER_DAY), offset_ms }
    }

    /// Monday is 0. 1970-01-01 was a Thursday.
    fn weekday(self) -> i64 {
        (self.day + 3).rem_euclid(7)
    }
}

fn offset_ms(zone: &TimeZone, at: Timestamp) -> i64 {
    // Outside the calendar's range there is no local time; UTC is as good as any.
    match jiff::Timestamp::from_millisecond(at.unix_ms()) {
        Ok(instant) => i64::from(zone.to_offset(instant).seconds()) * 1_000,
        Err(_) => 0,
    }
}

/// The active component of each dimension.
pub(super) fn active(tariff: &Tariff, conditions: &Conditions) -> Active {
    let mut active = Active { energy: NONE, time: NONE, flat: NONE };
    match conditions.phase {
        Phase::Charging | Phase::Parked => fill(tariff, conditions, None, &mut active),
        Phase::Reserved => fill(tariff, conditions, Some(Reservation::Reserved), &mut active),
        Phase::Expired => {
            fill(tariff, conditions, Some(Reservation::Expires), &mut active);
            fill(tariff, conditions, Some(Reservation::Reserved), &mut active);
        }
    }
    active
}

fn fill(tariff: &Tariff, conditions: &Conditions, reservation: Option<Reservation>, active: &mut Active) {
    let time_dimension = if conditions.phase == Phase::Parked { Dimension::ParkingTime } else { Dimension::Time };
    for element in &tariff.elements {
        if element.restrictions.reservation != reservation || !holds(&element.restrictions, conditions) {
            continue;
        }
        for index in element.components.clone() {
            let dimension = tariff.components[usize::from(index)].dimension;
            let slot = match dimension {
                Dimension::Energy if reservation.is_none() => &mut active.energy,
                Dimension::Flat => &mut active.flat,
                _ if dimension == time_dimension => &mut active.time,
                Dimension::Energy | Dimension::Time | Dimension::ParkingTime => continue,
            };
            if *slot == NONE {
                *slot = index;
            }
        }
        if active.energy != NONE && active.time != NONE && active.flat != NONE {
            return;
        }
    }
}

/// Whether an element applies at a moment; reservations and sessions are distinct.
pub(super) fn holds_at(restrictions: &Restrictions, conditions: &Conditions) -> bool {
    let reservation = match conditions.phase {
        Phase::Charging | Phase::Parked => restrictions.reservation.is_none(),
        Phase::Reserved => restrictions.reservation == Some(Reservation::Reserved),
        Phase::Expired => restrictions.reservation.is_some(),
    };
    reservation && holds(restrictions, conditions)
}

/// Whether every restriction holds at a moment. The lower bound is inclusive, the upper one exclusive.
fn holds(restrictions: &Restrictions, conditions: &Conditions) -> bool {
    let within = |value: i64, min: Option<i64>, max: Option<i64>| {
        min.is_none_or(|min| value >= min) && max.is_none_or(|max| value < max)
    };
    within(conditions.elapsed_ms, restrictions.min_duration, restrictions.max_duration)
        && within(conditions.energy, restrictions.min_energy, restrictions.max_energy)
        && (!restrictions.civil() || civil_holds(restrictions, conditions.local))
        && (!restrictions.flow()
            || flow_holds(conditions.power, restrictions.min_power, restrictions.max_power)
                && flow_holds(conditions.current, restrictions.min_current, restrictions.max_current))
}

/// A quantity without a measurement excludes nothing: a charger that reports no current must not make a tariff free.
fn flow_holds(flow: Flow, min: Option<i64>, max: Option<i64>) -> bool {
    let low = flow.low.or(flow.high);
    let high = flow.high.or(flow.low);
    let at_least = |min: i64| low.is_none_or(|low| low >= min);
    let below = |max: i64| high.is_none_or(|high| high < max);
    min.is_none_or(at_least) && max.is_none_or(below)
}

pub(super) fn civil_holds(restrictions: &Restrictions, local: Local) -> bool {
    let ms_of = |minute: u16| i64::from(minute) * MS_PER_MINUTE;
    let in_day = match (restrictions.start_minute, restrictions.end_minute) {
        (None, None) => true,
        (Some(start), None) => local.ms >= ms_of(start),
        (None, Some(end)) => local.ms < ms_of(end),
        // Equal ends are a whole day: a window that never opens would not be written.
        (Some(start), Some(end)) if start < end => local.ms >= ms_of(start) && local.ms < ms_of(end),
        (Some(start), Some(end)) => local.ms >= ms_of(start) || local.ms < ms_of(end),
    };
    in_day
        && restrictions.start_day.is_none_or(|day| local.day >= i64::from(day))
        && restrictions.end_day.is_none_or(|day| local.day < i64::from(day))
        && (restrictions.weekdays == 0 || restrictions.weekdays & (1 << local.weekday()) != 0)
}

/// The next instant after `at`, but before `until`, at which the local clock can change a price; else `until`.
pub(super) fn next_civil_cut(
    tariff: &Tariff,
    zone: &TimeZone,
    at: Timestamp,
    local: Local,
    until: Timestamp,
) -> Timestamp {
    if !tariff.cuts.civil() {
        return until;
    }
    let days = &tariff.cuts.day_ms;
    let next_on_clock = match days.iter().find(|cut| **cut > local.ms) {
        Some(cut) => *cut,
        None => days[0] + MS_PER_DAY,
    };
    let next = Timestamp::from_unix_ms(at.unix_ms().saturating_add(next_on_clock - local.ms)).min(until);
    if offset_ms(zone, next) == local.offset_ms {
        return next;
    }
    // The zone changes its offset in between: stop there and use the new local time.
    let change = jiff::Timestamp::from_millisecond(at.unix_ms())
        .ok()
        .and_then(|instant| zone.following(instant).next())
        .map(|transition| Timestamp::from_unix_ms(transition.timestamp().as_millisecond()));
    match change {
        Some(change) if change > at && change < next => change,
        _ => next,
    }
}

/// The smallest cut above `value`.
pub(super) fn next_cut(cuts: &[i64], value: i64) -> Option<i64> {
    cuts.get(cuts.partition_point(|cut| *cut <= value)).copied()
}

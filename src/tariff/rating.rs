//! The running price of one session: what accrues per meter reading, kept as volumes per price component.
//!
//! Volumes are whole numbers (µWh and ms), so they add up exactly however a session is cut into readings; prices are
//! multiplied in only when a total is computed ([`Rating::total`]). An interval between two readings is split at
//! every moment at which a price can change, at constant power; the register at such a moment is rounded down to the
//! µWh, and the moment at which a threshold of energy is reached is the first millisecond at which it is.

use super::model::{Dimension, Tariff};
use super::runs::ReservedTime;
use super::select::{self, Active, Conditions, Flow, Local, NONE, Phase};
use super::slice::{Reason, Slice, Slices};
use super::still::Pace;
use crate::limits::SLICES_PER_READING_MAX;
use crate::stored::stored;
use crate::units::{Energy, MeterReading, MoneyError, Power, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Everything needed to price a session that is in progress; a value of about 150 bytes, without the tariff.
///
/// It is made by [`Rating::open`], changed by [`Rating::apply`] only, and can be stored as it is.
///
/// ```
/// use jiff::tz::TimeZone;
/// use wattstile::tariff::{Rating, Tariff};
/// use wattstile::units::{Energy, MeterReading, TimeSpan, Timestamp};
///
/// let tariff = Tariff::parse(r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#)?
/// .tariff;
/// let (start, zero) = (Timestamp::from_unix_ms(1_796_000_000_000), Energy::from_watt_hours(0).unwrap());
/// let mut rating = Rating::open(&tariff, &TimeZone::UTC, start, zero)?;
/// let at = start.saturating_add(TimeSpan::from_secs(3_600));
/// let register = Energy::from_watt_hours(10_000).unwrap();
/// let slices = rating.price_last(&tariff, &TimeZone::UTC, &MeterReading { sequence: 1, at, register, power: None, current: None })?;
/// rating.apply(&slices);
/// assert_eq!(rating.total(&tariff)?.payable()?.to_string(), "EUR 3.63", "10 kWh at 0.30 and 21 % of tax");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    pub(super) tariff: u32,
    pub(super) phase: Phase,
    /// How long the register may stand still while energy flows.
    pub(super) pace: Pace,
    pub(super) start: Timestamp,
    /// Up to when it is priced. Time after it, up to the last reading, is undecided.
    pub(super) at: Timestamp,
    pub(super) first_register: Energy,
    pub(super) register: Energy,
    pub(super) charging: TimeSpan,
    pub(super) parked: TimeSpan,
    pub(super) reserved: TimeSpan,
    /// Active in the latest slice.
    pub(super) now: Components,
    pub(super) last_energy: u16,
    pub(super) last_time: u16,
    pub(super) last_parking: u16,
    pub(super) last_reserved: u16,
    pub(super) flat: u16,
    pub(super) reservation_flat: u16,
    pub(super) volumes: SmallVec<[Volume; 3]>,
}

stored!(struct Rating {
    0: tariff, 1: phase, 2: pace, 3: start, 4: at, 5: first_register, 6: register, 7: charging, 8: parked,
    9: reserved, 10: now, 11: last_energy, 12: last_time, 13: last_parking, 14: last_reserved, 15: flat,
    16: reservation_flat, 17: volumes,
});

/// Components that were active together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Components {
    pub(super) energy: u16,
    pub(super) time: u16,
}

stored!(value struct Components { 0: energy, 1: time });

/// What was consumed at the price of one component, in µWh or ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) component: u16,
    pub(super) amount: i64,
}

stored!(value struct Volume { 0: component, 1: amount });

/// Reason why a reading has no price. The reading is at fault unless noted otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// It is older than the one before.
    #[error("the reading of {at} is older than the one before ({last})")]
    TimeWentBack {
        /// When it was taken.
        at: Timestamp,
        /// When the one before was taken.
        last: Timestamp,
    },
    /// The register is lower than before.
    #[error("the register fell from {last} to {register}")]
    RegisterFell {
        /// The register.
        register: Energy,
        /// The register before.
        last: Energy,
    },
    /// The interval would have to be cut into more pieces than are tried.
    #[error("prices can change more than {SLICES_PER_READING_MAX} times between two readings")]
    TooManySlices,
    /// The session was opened with another tariff (the caller's fault).
    #[error("the session was opened with another tariff")]
    WrongTariff,
    /// Instants or energies out of range.
    #[error("an instant or an energy is out of range")]
    Range,
    /// The total does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Rating {
    /// Reads every part, to prefetch it; the value does not matter.
    #[inline]
    pub fn prefetch(&self) -> u64 {
        let volumes = self.volumes.first().zip(self.volumes.last());
        let volumes = volumes.map_or(0, |(first, last)| first.amount ^ last.amount);
        (self.start.unix_ms() ^ self.at.unix_ms() ^ self.register.microwatt_hours() ^ volumes).cast_unsigned()
    }

    /// A session that begins. The flat fee that applies at the start is due at once, unless it depends on power or
    /// current: then the first reading decides.
    ///
    /// # Errors
    /// [`RatingError`]; none for a tariff and an instant within their ranges.
    pub fn open(
        tariff: &Tariff,
        zone: &TimeZone,
        start: Timestamp,
        first_register: Energy,
    ) -> Result<Rating, RatingError> {
        let mut rating = Rating {
            tariff: tariff.fingerprint(),
            phase: Phase::Parked,
            pace: Pace::new(),
            start,
            at: start,
            first_register,
            register: first_register,
            charging: TimeSpan::ZERO,
            parked: TimeSpan::ZERO,
            reserved: TimeSpan::ZERO,
            now: Components { energy: NONE, time: NONE },
            last_energy: NONE,
            last_time: NONE,
            last_parking: NONE,
            last_reserved: NONE,
            flat: NONE,
            reservation_flat: NONE,
            volumes: SmallVec::new(),
        };
        if !tariff.cuts.flow {
            let conditions = Conditions {
                phase: Phase::Parked,
                local: rating.local(tariff, zone, start),
                elapsed_ms: 0,
                energy: 0,
                power: Flow::default(),
                current: Flow::default(),
            };
            rating.flat = select::active(tariff, &conditions).flat;
        }
        Ok(rating)
    }

    /// Cost of the reserved time before the session.
    ///
    /// To be applied like the slices of a reading; the session's own start stays what it is.
    ///
    /// # Errors
    /// [`RatingError::WrongTariff`]; [`RatingError::TimeWentBack`] when it ends before it begins;
    /// [`RatingError::TooManySlices`].
    pub fn reserve(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        ReservedTime { from, to, expired }: ReservedTime,
    ) -> Result<Slices, RatingError> {
        self.guard(tariff)?;
        if to < from {
            return Err(RatingError::TimeWentBack { at: to, last: from });
        }
        let phase = if expired { Phase::Expired } else { Phase::Reserved };
        let interval = Interval {
            from,
            to,
            energy: 0,
            base_energy: 0,
            origin: from,
            phase,
            power: Flow::default(),
            current: Flow::default(),
        };
        self.cut(tariff, zone, &interval)
    }

    /// The slices that accrue between the last point and this reading. Pure: nothing changes until it is applied.
    ///
    /// Energy flows when the register moved, or when it did not but the charger measures power: then the time is
    /// `TIME`, else `PARKING_TIME`. Where no power is reported and energy flowed before, a register that stands still
    /// for no longer than its resolution explains leaves the time undecided: no slice, and the next reading counts
    /// from the same point. Power inside the interval follows from the registers, energy over time; the measured one
    /// counts only where the register is too coarse to move.
    ///
    /// # Errors
    /// [`RatingError`]: the reading does not follow, or is beyond all figures.
    pub fn price(&self, tariff: &Tariff, zone: &TimeZone, to: &MeterReading) -> Result<Slices, RatingError> {
        self.price_reading(tariff, zone, to, false)
    }

    /// The same for the last reading of a session: nothing stays undecided. Energy is taken to have flowed until the end.
    ///
    /// # Errors
    /// Those of [`Rating::price`].
    pub fn price_last(&self, tariff: &Tariff, zone: &TimeZone, to: &MeterReading) -> Result<Slices, RatingError> {
        self.price_reading(tariff, zone, to, true)
    }

    /// Decides what is undecided up to `end`, at which the session ends without a further reading.
    ///
    /// # Errors
    /// Those of [`Rating::price`].
    pub fn price_rest(&self, tariff: &Tariff, zone: &TimeZone, end: Timestamp) -> Result<Slices, RatingError> {
        let rest = MeterReading { sequence: 0, at: end, register: self.register, power: None, current: None };
        self.price_reading(tariff, zone, &rest, true)
    }

    fn price_reading(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        to: &MeterReading,
        last: bool,
    ) -> Result<Slices, RatingError> {
        self.guard(tariff)?;
        if to.at < self.at {
            return Err(RatingError::TimeWentBack { at: to.at, last: self.at });
        }
        if to.register < self.register {
            return Err(RatingError::RegisterFell { register: to.register, last: self.register });
        }
        let energy = to.register.checked_sub(self.register).ok_or(RatingError::Range)?.microwatt_hours();
        if energy == 0 && to.at == self.at {
            return Ok(Slices::default());
        }
        let base_energy = self.energy().ok_or(RatingError::Range)?.microwatt_hours();
        base_energy.checked_add(energy).ok_or(RatingError::Range)?;
        let measured = to.power.map(Power::milliwatts);
        let known = energy > 0 || measured.is_some();
        let undecided = !known && self.phase == Phase::Charging && to.at.since(self.at) <= self.pace.still();
        if undecided && !last {
            return Ok(Slices::default());
        }
        let flows = energy > 0 || undecided || measured.is_some_and(|power| power > 0);
        let (power, current) = if tariff.cuts.flow {
            let power = average_power(energy, to.at.since(self.at).ms()).or(measured).or((!flows).then_some(0));
            let current = to.current.map(|current| current.milliamperes()).or((!flows).then_some(0));
            (Flow::exactly(power), Flow::exactly(current))
        } else {
            (Flow::default(), Flow::default())
        };
        let interval = Interval {
            from: self.at,
            to: to.at,
            energy,
            base_energy,
            origin: self.start,
            phase: if flows { Phase::Charging } else { Phase::Parked },
            power,
            current,
        };
        self.cut(tariff, zone, &interval)
    }

    /// The rating after adding these slices.
    pub fn with(&self, slices: &Slices) -> Rating {
        // Copied as they lie: a clone would go through them one by one, with every reading.
        let mut after = Rating { volumes: SmallVec::from_slice(&self.volumes), ..*self };
        after.apply(slices);
        after
    }

    /// Adds the slices of a reading. Cannot fail and needs no tariff, so replaying a journal never prices again.
    pub fn apply(&mut self, slices: &Slices) {
        if let [first, .., last] | [first @ last] = slices.0.as_slice() {
            let risen = |sum: i64, slice: &Slice| sum.saturating_add(slice.energy.microwatt_hours());
            let risen = slices.0.iter().fold(0, risen);
            if risen > 0 {
                self.pace.observe(risen, last.to.since(first.from).ms(), self.phase == Phase::Charging);
            }
        }
        for slice in &slices.0 {
            self.apply_slice(slice);
        }
    }

    /// Adds one slice.
    pub fn apply_slice(&mut self, slice: &Slice) {
        let span = slice.span();
        let sum = |total: TimeSpan| TimeSpan::from_ms(total.ms().saturating_add(span.ms()));
        // A component is in use when something was consumed at its price: an instant without length, or time in which
        // the register did not move, must not decide whose `step_size` counts.
        if slice.energy_component != NONE && slice.energy != Energy::ZERO {
            self.add(slice.energy_component, slice.energy.microwatt_hours());
            self.last_energy = slice.energy_component;
        }
        let timed = slice.time_component != NONE && span > TimeSpan::ZERO;
        if timed {
            self.add(slice.time_component, span.ms());
        }
        let flat = if slice.phase.is_reservation() { &mut self.reservation_flat } else { &mut self.flat };
        if *flat == NONE {
            *flat = slice.flat_component;
        }
        let last = match slice.phase {
            Phase::Charging => {
                self.charging = sum(self.charging);
                &mut self.last_time
            }
            Phase::Parked => {
                self.parked = sum(self.parked);
                &mut self.last_parking
            }
            Phase::Reserved | Phase::Expired => {
                self.reserved = sum(self.reserved);
                &mut self.last_reserved
            }
        };
        if timed {
            *last = slice.time_component;
        }
        if slice.phase.is_reservation() {
            return;
        }
        self.phase = slice.phase;
        self.now = Components { energy: slice.energy_component, time: slice.time_component };
        self.at = slice.to;
        // Slices are made from a register that fits; only a forged journal could overflow, and it must not wrap.
        self.register = self.register.checked_add(slice.energy).unwrap_or(self.register);
    }

    /// Only a reservation expired: there was no session whose start could cost a fee.
    pub(super) fn forget_fee(&mut self) {
        self.flat = NONE;
    }

    /// When the session began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Up to when it is priced.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The register up to which it is priced.
    pub fn register(&self) -> Energy {
        self.register
    }

    /// Time up to the last reading, taken at `read_at`, of which is not known yet whether energy flowed in it.
    pub fn undecided(&self, read_at: Timestamp) -> TimeSpan {
        read_at.since(self.at).max(TimeSpan::ZERO)
    }

    /// Energy since the start; `None` on overflow, which `price` never lets happen.
    pub fn energy(&self) -> Option<Energy> {
        self.register.checked_sub(self.first_register)
    }

    /// Time in which energy flowed.
    pub fn charging_time(&self) -> TimeSpan {
        self.charging
    }

    /// Time in which none flowed.
    pub fn parking_time(&self) -> TimeSpan {
        self.parked
    }

    /// Time for which the place was reserved before.
    pub fn reserved_time(&self) -> TimeSpan {
        self.reserved
    }

    /// Whether energy flowed in the latest slice.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether any price applied so far.
    pub fn any_price(&self) -> bool {
        !self.volumes.is_empty() || self.flat != NONE || self.reservation_flat != NONE
    }

    pub(super) fn guard(&self, tariff: &Tariff) -> Result<(), RatingError> {
        if self.tariff == tariff.fingerprint() { Ok(()) } else { Err(RatingError::WrongTariff) }
    }

    pub(super) fn add(&mut self, component: u16, amount: i64) {
        let place = self.volumes.iter().position(|volume| volume.component >= component);
        match place {
            Some(place) if self.volumes[place].component == component => {
                let volume = &mut self.volumes[place].amount;
                *volume = volume.saturating_add(amount);
            }
            Some(place) => self.volumes.insert(place, Volume { component, amount }),
            None => self.volumes.push(Volume { component, amount }),
        }
    }

    fn local(&self, tariff: &Tariff, zone: &TimeZone, at: Timestamp) -> Local {
        if tariff.cuts.civil() { Local::at(zone, at) } else { Local::default() }
    }

    /// Cuts an interval at every possible change of price.
    fn cut(&self, tariff: &Tariff, zone: &TimeZone, interval: &Interval) -> Result<Slices, RatingError> {
        let mut slices: SmallVec<[Slice; 1]> = SmallVec::new();
        let reservation = interval.phase.is_reservation();
        let charged_flat = if reservation { self.reservation_flat } else { self.flat };
        let mut flat_due = charged_flat == NONE;
        let mut before = (self.now, self.phase);
        let (mut at, mut energy) = (interval.from, 0_i64);
        let mut first = reservation || (self.at == self.start && self.energy() == Some(Energy::ZERO));
        // Steps are counted, not slices: changes that leave the price as it is take time, too.
        for _ in 0..SLICES_PER_READING_MAX {
            let local = self.local(tariff, zone, at);
            let conditions = Conditions {
                phase: interval.phase,
                local,
                elapsed_ms: at.since(interval.origin).ms(),
                energy: interval.base_energy.saturating_add(energy),
                power: interval.power,
                current: interval.current,
            };
            let active = select::active(tariff, &conditions);
            let Point { at: end, energy: end_energy } = if tariff.cuts.is_never() {
                Point { at: interval.to, energy: interval.energy }
            } else {
                interval.next_change(tariff, zone, &conditions, Point { at, energy })
            };
            let flat = if flat_due { active.flat } else { NONE };
            if end > at || end_energy > energy || flat != NONE {
                flat_due &= flat == NONE;
                let moved = end_energy - energy;
                let now = priced(&active, interval.phase);
                let reason = match first {
                    true => Reason::Start,
                    false if (now, interval.phase) == before => Reason::Reading,
                    false => reason(tariff, &conditions, before.1),
                };
                first = false;
                let slice = Slice {
                    from: at,
                    to: end,
                    energy: Energy::from_microwatt_hours(moved),
                    energy_component: now.energy,
                    time_component: now.time,
                    flat_component: flat,
                    phase: interval.phase,
                    reason,
                };
                push(&mut slices, slice)?;
                before = (now, interval.phase);
            }
            if end == interval.to && end_energy == interval.energy {
                return Ok(Slices(slices));
            }
            (at, energy) = (end, end_energy);
        }
        Err(RatingError::TooManySlices)
    }
}

/// The interval between two points of a session.
struct Interval {
    from: Timestamp,
    to: Timestamp,
    /// µWh that flowed in it.
    energy: i64,
    /// µWh that flowed before it.
    base_energy: i64,
    /// From where durations count.
    origin: Timestamp,
    phase: Phase,
    power: Flow,
    current: Flow,
}

/// A point of an interval.
#[derive(Clone, Copy)]
struct Point {
    at: Timestamp,
    /// µWh that flowed in the interval up to it.
    energy: i64,
}

impl Interval {
    /// The next point at which a price can change, or the end.
    fn next_change(
        &self,
        tariff: &Tariff,
        zone: &TimeZone,
        conditions: &Conditions,
        Point { at, energy }: Point,
    ) -> Point {
        let cuts = &tariff.cuts;
        let mut end = select::next_civil_cut(tariff, zone, at, conditions.local, self.to);
        if let Some(duration) = select::next_cut(&cuts.duration_ms, conditions.elapsed_ms) {
            end = end.min(self.origin.saturating_add(TimeSpan::from_ms(duration)));
        }
        if self.energy > energy
            && let Some(threshold) = select::next_cut(&cuts.energy, conditions.energy)
        {
            let wanted = threshold - self.base_energy;
            if wanted <= self.energy {
                let reached = self.time_of(wanted).max(at);
                if reached <= end {
                    return Point { at: reached, energy: wanted };
                }
            }
        }
        Point { at: end, energy: self.energy_at(end).max(energy) }
    }

    /// Energy since the beginning at a point of time, at constant power, rounded down to the µWh.
    fn energy_at(&self, at: Timestamp) -> i64 {
        if at >= self.to {
            return self.energy;
        }
        let (part, whole) = (at.since(self.from).ms(), self.to.since(self.from).ms());
        let energy = i128::from(self.energy) * i128::from(part) / i128::from(whole.max(1));
        i64::try_from(energy).unwrap_or(self.energy)
    }

    /// The first millisecond at which so much energy has flowed.
    fn time_of(&self, energy: i64) -> Timestamp {
        let whole = self.to.since(self.from).ms();
        let (product, total) = (i128::from(energy) * i128::from(whole), i128::from(self.energy.max(1)));
        let part = (product + total - 1) / total;
        self.from.saturating_add(TimeSpan::from_ms(i64::try_from(part).unwrap_or(whole)))
    }
}

/// Adds a slice, or makes the last one longer when nothing changed.
fn push(slices: &mut SmallVec<[Slice; 1]>, slice: Slice) -> Result<(), RatingError> {
    if let Some(last) = slices.last_mut()
        && slice.flat_component == NONE
        && (last.energy_component, last.time_component) == (slice.energy_component, slice.time_component)
    {
        last.to = slice.to;
        last.energy = last.energy.checked_add(slice.energy).ok_or(RatingError::Range)?;
        return Ok(());
    }
    slices.push(slice);
    Ok(())
}

/// While no energy flows, none is priced.
fn priced(active: &Active, phase: Phase) -> Components {
    let energy = if phase == Phase::Charging { active.energy } else { NONE };
    Components { energy, time: active.time }
}

/// Mean power in mW: µWh/ms is 3.6 kW, rounded down.
pub(super) fn average_power(energy: i64, ms: i64) -> Option<i64> {
    if energy <= 0 || ms <= 0 {
        return None;
    }
    i64::try_from(i128::from(energy) * 3_600 / i128::from(ms)).ok()
}

/// The cause of a change of price at this moment.
fn reason(tariff: &Tariff, conditions: &Conditions, before: Phase) -> Reason {
    let cuts = &tariff.cuts;
    if conditions.phase != before && !conditions.phase.is_reservation() {
        return if conditions.phase == Phase::Charging { Reason::ChargingResumed } else { Reason::ChargingStopped };
    }
    if cuts.duration_ms.binary_search(&conditions.elapsed_ms).is_ok() {
        return Reason::Duration;
    }
    if cuts.energy.binary_search(&conditions.energy).is_ok() {
        return Reason::Energy;
    }
    if cuts.civil() && cuts.day_ms.binary_search(&conditions.local.ms).is_ok() {
        return if conditions.local.ms == 0 { Reason::Day } else { Reason::TimeOfDay };
    }
    if cuts.flow { Reason::Power } else { Reason::ClockChange }
}

/// The dimension under which a component's cost is reported.
pub(super) fn reported(tariff: &Tariff, component: u16) -> Reported {
    let component = &tariff.components[usize::from(component)];
    let element = &tariff.elements[usize::from(component.element)];
    match component.dimension {
        _ if element.restrictions.reservation.is_some() => Reported::Reservation,
        Dimension::Flat => Reported::Fixed,
        Dimension::Energy => Reported::Energy,
        Dimension::Time => Reported::Time,
        Dimension::ParkingTime => Reported::Parking,
    }
}

/// The lines of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    Fixed = 0,
    Energy = 1,
    Time = 2,
    Parking = 3,
    Reservation = 4,
}

#[cfg(test)]
mod tests;

//! Simulated drivers: their charger, credential, energy and power.

use super::recording::RecordedSession;
use crate::payment::{Credential, CredentialKind};
use crate::units::rng::Rng;
use crate::units::{Energy, Power, TimeSpan};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a vehicle takes energy, in closed form: the meter can be read at any time, in any steps, with the same result.
///
/// A tapering vehicle takes its full power for the first 80 % of its energy and then ever less, linearly, down to a
/// fifth of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Curve {
    power_mw: i64,
    energy_uwh: i64,
    /// How long at full power.
    flat_ms: i64,
    /// How long with falling power, 0 when it does not taper.
    taper_ms: i64,
}

impl Curve {
    /// Takes `energy` at constant `power`. A power below one watt counts as one watt.
    pub fn constant(power: Power, energy: Energy) -> Curve {
        let (power_mw, energy_uwh) = Curve::sane(power, energy);
        Curve { power_mw, energy_uwh, flat_ms: time_ms(energy_uwh, power_mw), taper_ms: 0 }
    }

    /// Takes `energy` at `power` and tapers towards the end.
    pub fn tapering(power: Power, energy: Energy) -> Curve {
        let (power_mw, energy_uwh) = Curve::sane(power, energy);
        let flat_ms = time_ms(energy_uwh / 5 * 4, power_mw);
        let rest = energy_uwh - energy_uwh_of(power_mw, flat_ms).min(energy_uwh);
        // On average three fifths of the power: from all of it down to one fifth.
        let taper_ms = time_ms(rest, power_mw * 3 / 5);
        Curve { power_mw, energy_uwh, flat_ms, taper_ms }
    }

    fn sane(power: Power, energy: Energy) -> (i64, i64) {
        (power.milliwatts().max(1_000), energy.microwatt_hours().max(0))
    }

    /// Energy taken after this time.
    pub fn delivered(&self, elapsed: TimeSpan) -> Energy {
        let elapsed = elapsed.ms().max(0);
        if elapsed >= self.duration().ms() {
            return Energy::from_microwatt_hours(self.energy_uwh);
        }
        let flat = energy_uwh_of(self.power_mw, elapsed.min(self.flat_ms));
        let falling = i128::from((elapsed - self.flat_ms).max(0));
        let taper = i128::from(self.taper_ms.max(1));
        // ∫ P·(1 − 4/5·t/T) dt = P·t − P·2/5·t²/T, in mW·ms; a microwatt hour is 3,600 of them.
        let milliwatt_ms = i128::from(self.power_mw) * (falling - 2 * falling * falling / (5 * taper));
        let total = i128::from(flat) + milliwatt_ms / 3_600;
        let total = i64::try_from(total).unwrap_or(i64::MAX).min(self.energy_uwh);
        Energy::from_microwatt_hours(total)
    }

    /// Power at this time.
    pub fn power(&self, elapsed: TimeSpan) -> Power {
        let elapsed = elapsed.ms().max(0);
        if elapsed >= self.duration().ms() {
            return Power::default();
        }
        let falling = i128::from((elapsed - self.flat_ms).max(0));
        let less = i128::from(self.power_mw) * 4 * falling / (5 * i128::from(self.taper_ms.max(1)));
        Power::from_milliwatts(self.power_mw - i64::try_from(less).unwrap_or(0))
    }

    /// How long until the vehicle has its energy.
    pub fn duration(&self) -> TimeSpan {
        TimeSpan::from_ms(self.flat_ms.saturating_add(self.taper_ms))
    }
}

/// Milliseconds for this energy at this power, rounded up.
fn time_ms(energy_uwh: i64, power_mw: i64) -> i64 {
    let time = (i128::from(energy_uwh) * 3_600 + i128::from(power_mw) - 1) / i128::from(power_mw.max(1));
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn energy_uwh_of(power_mw: i64, ms: i64) -> i64 {
    i64::try_from(i128::from(power_mw) * i128::from(ms) / 3_600).unwrap_or(i64::MAX)
}

/// One visit of a driver to a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// How long the connector is free before the driver comes.
    pub comes_after: TimeSpan,
    /// What is presented.
    pub credential: Credential,
    /// What the meter will show.
    pub scenario: Scenario,
}

/// Where a session's readings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A vehicle that charges while time passes.
    Vehicle {
        /// How it charges.
        curve: Curve,
        /// How long it stays plugged in after it has its energy.
        idles: TimeSpan,
    },
    /// A recorded session, replayed as fast as the gate acknowledges, with the times of the recording.
    Recorded(Arc<RecordedSession>),
}

/// Source of drivers for a charger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visitors {
    /// Drivers of these habits, without end.
    Random(Habits),
    /// The drivers of these sessions, in this order on each connector, and then none.
    Recorded {
        /// The sessions.
        sessions: Vec<Arc<RecordedSession>>,
        /// What all of them present.
        credential: Credential,
    },
}

/// What a fleet's drivers are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Most time between two visits to a connector.
    pub pause_max: TimeSpan,
    /// Least and most energy of a visit.
    pub energy: (Energy, Energy),
    /// Most time that a vehicle stays after it has its energy.
    pub idle_max: TimeSpan,
    /// How many different cards there are.
    pub cards: u32,
    /// Tokens of RFID cards that belong to accounts.
    pub rfid: Vec<Box<[u8]>>,
    /// How many visits in ten thousand present one of `rfid` instead of a card.
    pub rfid_per_ten_thousand: u16,
    /// Magic tokens of the simulated processor that are presented now and then.
    pub magic: Vec<Box<[u8]>>,
    /// How many visits in ten thousand present one of `magic`.
    pub magic_per_ten_thousand: u16,
    /// How many visits in ten thousand are starts that fail: the vehicle takes nothing.
    pub fails_per_ten_thousand: u16,
}

impl Default for Habits {
    /// Visits of 3 to 40 kWh, up to half an hour apart, up to twenty minutes of idling, ten thousand cards.
    fn default() -> Habits {
        Habits {
            pause_max: TimeSpan::from_secs(1_800),
            energy: (Energy::from_microwatt_hours(3_000_000_000), Energy::from_microwatt_hours(40_000_000_000)),
            idle_max: TimeSpan::from_secs(1_200),
            cards: 10_000,
            rfid: Vec::new(),
            rfid_per_ten_thousand: 0,
            magic: Vec::new(),
            magic_per_ten_thousand: 0,
            fails_per_ten_thousand: 0,
        }
    }
}

impl Habits {
    /// Rolls the next visit to a connector of this power.
    pub fn visit(&self, power_max: Power, rng: &mut Rng) -> Visit {
        let credential = self.credential(rng);
        let energy = rng.between(self.energy.0.microwatt_hours(), self.energy.1.microwatt_hours());
        let fails = self.fails_per_ten_thousand > 0 && rng.chance(self.fails_per_ten_thousand);
        let energy = if fails { Energy::ZERO } else { Energy::from_microwatt_hours(energy) };
        // Vehicles take between half and all of what the connector can give.
        let most = power_max.milliwatts();
        let power = Power::from_milliwatts(rng.between(most / 2, most));
        let curve = if rng.chance(6_000) { Curve::tapering(power, energy) } else { Curve::constant(power, energy) };
        let idles = TimeSpan::from_ms(rng.between(0, self.idle_max.ms()));
        let comes_after = TimeSpan::from_ms(rng.between(0, self.pause_max.ms()));
        Visit { comes_after, credential, scenario: Scenario::Vehicle { curve, idles } }
    }

    fn credential(&self, rng: &mut Rng) -> Credential {
        if rng.chance(self.magic_per_ten_thousand)
            && let Some(token) = pick(&self.magic, rng)
        {
            return Credential { kind: CredentialKind::CardToken, token: token.clone() };
        }
        if rng.chance(self.rfid_per_ten_thousand)
            && let Some(token) = pick(&self.rfid, rng)
        {
            return Credential { kind: CredentialKind::Rfid, token: token.clone() };
        }
        let card = rng.below(u64::from(self.cards.max(1)));
        let token = format!("card-{card:06}").into_bytes().into();
        Credential { kind: CredentialKind::CardToken, token }
    }
}

fn pick<'a, T>(from: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    let place = rng.below(u64::try_from(from.len()).unwrap_or(0));
    from.get(usize::try_from(place).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KW: i64 = 1_000_000;
    const KWH: i64 = 1_000_000_000;

    #[test]
    fn constant_power_gives_an_hour_its_kilowatt_hours() {
        let curve = Curve::constant(Power::from_milliwatts(11 * KW), Energy::from_microwatt_hours(22 * KWH));
        assert_eq!(curve.duration(), TimeSpan::from_secs(7_200));
        assert_eq!(curve.delivered(TimeSpan::from_secs(3_600)).microwatt_hours(), 11 * KWH);
        assert_eq!(curve.power(TimeSpan::from_secs(3_600)).milliwatts(), 11 * KW);
        assert_eq!(curve.power(TimeSpan::from_secs(7_200)).milliwatts(), 0);
    }

    #[test]
    fn a_taper_falls_to_a_fifth() {
        let curve = Curve::tapering(Power::from_milliwatts(50 * KW), Energy::from_microwatt_hours(50 * KWH));
        // 40 kWh at 50 kW are 48 min, 10 kWh at 30 kW on average are 20 min.
        assert_eq!(curve.duration(), TimeSpan::from_secs(68 * 60));
        assert_eq!(curve.delivered(TimeSpan::from_secs(48 * 60)).microwatt_hours(), 40 * KWH);
        assert_eq!(curve.power(TimeSpan::from_secs(58 * 60)).milliwatts(), 30 * KW);
        assert_eq!(curve.delivered(TimeSpan::from_secs(68 * 60)).microwatt_hours(), 50 * KWH);
    }

    #[test]
    fn visits_repeat_with_their_seed() {
        let habits = Habits { rfid: vec![(*b"A1").into()], rfid_per_ten_thousand: 5_000, ..Habits::default() };
        let visits = |seed| -> Vec<Visit> {
            let mut rng = crate::units::rng::Rng::new(seed);
            (0..20).map(|_| habits.visit(Power::from_milliwatts(22 * KW), &mut rng)).collect()
        };
        assert_eq!(visits(3), visits(3));
        assert_ne!(visits(3), visits(4));
        assert!(visits(3).iter().any(|visit| visit.credential.kind == CredentialKind::Rfid));
        assert!(visits(3).iter().any(|visit| visit.credential.kind == CredentialKind::CardToken));
    }

    proptest! {
        /// A meter never runs backwards, never faster than its power, and ends on its total.
        #[test]
        fn meters_are_plausible(
            power_mw in 1_000_i64..400 * KW,
            energy_uwh in 0_i64..200 * KWH,
            taper in any::<bool>(),
            step_ms in 1_000_i64..600_000,
        ) {
            let (power, energy) = (Power::from_milliwatts(power_mw), Energy::from_microwatt_hours(energy_uwh));
            let curve = if taper { Curve::tapering(power, energy) } else { Curve::constant(power, energy) };
            let mut last = Energy::ZERO;
            for step in 0..50 {
                let now = curve.delivered(TimeSpan::from_ms(step * step_ms));
                prop_assert!(now >= last);
                let most = i128::from(power_mw) * i128::from(step_ms) / 3_600 + 2;
                prop_assert!(i128::from(now.microwatt_hours() - last.microwatt_hours()) <= most + i128::from(power_mw) / 3_600);
                last = now;
            }
            prop_assert_eq!(curve.delivered(curve.duration()), energy);
        }
    }
}

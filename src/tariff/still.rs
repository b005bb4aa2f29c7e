//! Longest time without movement of a register while energy flows.
//!
//! A meter of whole watt hours shows a steady charge as steps. Between two steps its register shows nothing, so time
//! in which it stands still is *undecided* until it rises (then energy flowed), the charger reports a power (then
//! that counts), or it has stood still for longer than two steps take (then energy stopped flowing at the last step).
//! The manual's page on [pricing](crate::manual::pricing) has the rule with its reasons.

use crate::limits::{STILL_MAX, STILL_MIN};
use crate::stored::stored;
use crate::units::TimeSpan;
use serde::{Deserialize, Serialize};

/// The coarsest resolution of a meter that is reckoned with: 10⁸ µWh (100 Wh).
const COARSEST: u8 = 8;

/// The least power at which IEC 61851 lets a car charge, 6 A at 230 V, in mW: assumed while no power is known.
const LEAST_POWER_MW: i64 = 1_380_000;

/// Steps that may be missing before energy is taken to have stopped: a step falls between two readings.
const STEPS: i64 = 2;

/// The unit in which the allowed time is kept.
const UNIT_MS: i64 = 2_000;

const _: () = assert!(STILL_MAX.ms() / UNIT_MS <= u8::MAX as i64);

/// Resolution and pace of a meter, estimated from the steps of its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The resolution is 10 to this power, in µWh: the coarsest that all rises are multiples of.
    resolution: u8,
    /// Longest time without movement of the register, in [`UNIT_MS`]: two bytes in all, as every live session has
    /// them.
    still: u8,
}

stored!(value struct Pace { 0: resolution, 1: still });

impl Pace {
    /// Of a meter that has not moved yet.
    pub(super) fn new() -> Pace {
        Pace { resolution: COARSEST, still: allowed(step_at_least_power(COARSEST)) }
    }

    /// How long the register may stand still while energy flows.
    pub(super) fn still(self) -> TimeSpan {
        TimeSpan::from_ms(i64::from(self.still) * UNIT_MS)
    }

    /// Takes in that the register rose by `energy` (µWh) within `ms`. `flowed`: energy flowed when that time began, so that it
    /// began at a step; else up to one step of the rise may be older.
    #[inline]
    pub(super) fn observe(&mut self, energy: i64, ms: i64, flowed: bool) {
        while self.resolution > 0 && energy % power_of_ten(self.resolution) != 0 {
            self.resolution -= 1;
        }
        if ms <= 0 {
            return;
        }
        let step = power_of_ten(self.resolution);
        let known = if flowed { energy } else { energy.saturating_sub(step) };
        let least = STILL_MIN.ms();
        // Nearly always: a step takes so little time that no quotient is needed.
        if known > 0 && step.saturating_mul(STEPS).saturating_mul(ms) <= known.saturating_mul(least) {
            self.still = allowed(0);
            return;
        }
        let step_ms = match known {
            1.. => i64::try_from(i128::from(step) * i128::from(ms) / i128::from(known)).unwrap_or(i64::MAX),
            _ => step_at_least_power(self.resolution),
        };
        self.still = allowed(step_ms);
    }
}

const fn power_of_ten(exponent: u8) -> i64 {
    10_i64.pow(exponent as u32)
}

/// How long one step takes at the least power, in ms.
const fn step_at_least_power(resolution: u8) -> i64 {
    power_of_ten(resolution) * 3_600 / LEAST_POWER_MW
}

/// What so long a step allows, within the bounds.
fn allowed(step_ms: i64) -> u8 {
    let still = step_ms.saturating_mul(STEPS).clamp(STILL_MIN.ms(), STILL_MAX.ms());
    u8::try_from(still / UNIT_MS).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WH: i64 = 1_000_000;

    fn still(rises: &[(i64, i64, bool)]) -> i64 {
        let mut pace = Pace::new();
        for (energy, ms, flowed) in rises {
            pace.observe(*energy, *ms, *flowed);
        }
        pace.still().whole_secs()
    }

    #[test]
    fn a_fine_meter_may_stand_still_for_the_least_time() {
        assert_eq!(still(&[(183_333_333, 30_000, false)]), STILL_MIN.whole_secs());
        assert_eq!(still(&[(WH, 1_000, false), (WH, 3_000, true)]), STILL_MIN.whole_secs(), "1.2 kW in steps of 1 Wh");
    }

    #[test]
    fn a_coarse_meter_may_stand_still_for_two_steps_at_the_last_power() {
        assert_eq!(still(&[(200 * WH, 66_000, true)]), 66, "11 kW in steps of 100 Wh: 33 s each");
        assert_eq!(still(&[(100 * WH, 260_000, true)]), STILL_MAX.whole_secs(), "1.38 kW");
        assert_eq!(still(&[(WH, 1_000, false), (WH, 60_000, true)]), 120, "60 W in steps of 1 Wh");
    }

    #[test]
    fn one_step_after_a_pause_tells_no_power() {
        assert_eq!(still(&[(100 * WH, 10_000, false)]), STILL_MAX.whole_secs());
        assert_eq!(still(&[(1_100 * WH, 330_000, false)]), 66, "ten further steps of 100 Wh do");
    }

    #[test]
    fn no_rise_breaks_it() {
        for energy in [1, WH, i64::MAX] {
            for ms in [i64::MIN, 0, 1, i64::MAX] {
                for flowed in [true, false] {
                    let still = still(&[(energy, ms, flowed), (energy, ms, flowed)]);
                    assert!((STILL_MIN.whole_secs()..=STILL_MAX.whole_secs()).contains(&still));
                }
            }
        }
    }
}

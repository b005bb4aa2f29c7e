//! Checks of a reading: sequence, time, plausibility, and registers that jump.
//!
//! A register is a lifetime counter. Only differences are billed, each bounded by what the connector can give in the
//! time that passed. A reading that does not fit is kept as a *suspect*: recorded, acknowledged, not billed. The next
//! reading decides: if it fits the last good reading, the suspect was a glitch; if it fits the suspect, the register
//! really jumped (a reset, a replaced meter), and counting continues from there. Energy across a jump is never
//! billed.

use crate::stored::stored;
use crate::units::{Energy, MeterReading, Power, TimeSpan, Timestamp, quotient};
use serde::{Deserialize, Serialize};

/// The meter of one session, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Register at the start.
    pub first: Energy,
    /// Sequence number of the last reading that was recorded, suspects included.
    pub sequence: u32,
    /// When the last good reading was taken.
    pub at: Timestamp,
    /// Register of the last good reading.
    pub register: Energy,
    /// Energy of register jumps: `register − first − jumped` is the energy of the session.
    pub jumped: Energy,
    /// The last reading, if it is a suspect.
    pub suspect: Option<Box<MeterReading>>,
    /// Number of suspects.
    pub suspects: u16,
}

stored!(struct Meter { 0: first, 1: sequence, 2: at, 3: register, 4: jumped, 5: suspect, 6: suspects });

/// Position of a reading in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceOrder {
    /// The expected one.
    Next,
    /// It was recorded before.
    Repeated,
    /// One or more before it are missing.
    Gap,
}

/// Result of the checks of a reading that is next in sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues the last good reading.
    Good,
    /// It continues the suspect before it: the register jumped by this much.
    Jumped(Energy),
    /// It continues neither.
    Suspect(Doubt),
}

/// Reason why a reading is a suspect. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Doubt {
    /// The register is lower than before.
    #[error("the register fell")]
    RegisterFell,
    /// The register rose by more than the connector can give in that time.
    #[error("the register rose by more than the connector can give")]
    TooMuchEnergy,
    /// The reading was taken before the one before it.
    #[error("the time went back")]
    TimeWentBack,
    /// The reading was taken in the future, or too long ago.
    #[error("the time is too far from the gate's clock")]
    ClockOff,
    /// The energy or its price is beyond what can be computed.
    #[error("the reading cannot be priced")]
    Unpriceable,
}

stored!(enum Doubt { 0: RegisterFell, 1: TooMuchEnergy, 2: TimeWentBack, 3: ClockOff, 4: Unpriceable });

/// Slack over the connector's nominal power, in thousandths: meters and nominal powers are not exact.
const POWER_SLACK_PERMILLE: i128 = 100;

/// Energy that is always plausible, whatever the time: the resolution of coarse meters (100 Wh).
const ENERGY_SLACK_UWH: i128 = 100_000_000;

impl Meter {
    /// A meter at its first register.
    pub fn new(at: Timestamp, register: Energy) -> Meter {
        Meter { first: register, sequence: 0, at, register, jumped: Energy::ZERO, suspect: None, suspects: 0 }
    }

    /// Energy of the session so far.
    pub fn energy(&self) -> Energy {
        self.counted(self.register).unwrap_or(Energy::ZERO)
    }

    /// The energy of the session when the register stands at `register`; `None` when it does not fit.
    #[inline]
    pub fn counted(&self, register: Energy) -> Option<Energy> {
        self.counted_after(None, register)
    }

    /// The same when the register jumps before.
    pub fn counted_after(&self, jump: Option<Energy>, register: Energy) -> Option<Energy> {
        register.checked_sub(self.first)?.checked_sub(self.jumped_by(jump.unwrap_or(Energy::ZERO)))
    }

    /// Whether suspects may hide unbilled energy: at least half of the readings, or the last one.
    pub fn is_doubtful(&self) -> bool {
        self.suspect.is_some() || (self.suspects > 0 && u32::from(self.suspects).saturating_mul(2) >= self.sequence)
    }

    /// Difference of the register of the last reading, a suspect, above the billed one.
    pub fn unbilled(&self) -> Option<Energy> {
        let risen = self.suspect.as_ref()?.register.checked_sub(self.register)?;
        (risen > Energy::ZERO).then_some(risen)
    }

    /// Where a sequence number stands.
    #[inline]
    pub fn place(&self, sequence: u32) -> SequenceOrder {
        match sequence.checked_sub(self.sequence) {
            None | Some(0) => SequenceOrder::Repeated,
            Some(1) => SequenceOrder::Next,
            Some(_) => SequenceOrder::Gap,
        }
    }

    /// Judges a reading that is next in sequence.
    #[inline]
    pub fn judge(&self, reading: &MeterReading, power_max: Power) -> Verdict {
        match fits(self.at, self.register, reading, power_max) {
            Ok(()) => Verdict::Good,
            Err(doubt) => match &self.suspect {
                Some(suspect) if fits(suspect.at, suspect.register, reading, power_max).is_ok() => {
                    match suspect.register.checked_sub(self.register) {
                        Some(jump) => Verdict::Jumped(jump),
                        None => Verdict::Suspect(Doubt::Unpriceable),
                    }
                }
                _ => Verdict::Suspect(doubt),
            },
        }
    }

    /// Records a reading that was judged good (or jumped).
    #[inline]
    pub fn record(&mut self, reading: &MeterReading) {
        self.sequence = reading.sequence;
        self.at = reading.at;
        self.register = reading.register;
        self.suspect = None;
    }

    /// Moves the base of counting over a jump.
    pub fn jump(&mut self, jump: Energy) {
        self.jumped = self.jumped_by(jump);
    }

    fn jumped_by(&self, jump: Energy) -> Energy {
        self.jumped.checked_add(jump).unwrap_or(self.jumped)
    }

    /// Records a suspect reading.
    pub fn doubt(&mut self, reading: &MeterReading) {
        self.sequence = reading.sequence;
        self.suspect = Some(Box::new(*reading));
        self.suspects = self.suspects.saturating_add(1);
    }
}

/// Whether a reading can follow an earlier one at a connector with this power.
fn fits(at: Timestamp, register: Energy, next: &MeterReading, power_max: Power) -> Result<(), Doubt> {
    let span = next.at.since(at);
    if span < TimeSpan::ZERO {
        return Err(Doubt::TimeWentBack);
    }
    let risen = i128::from(next.register.microwatt_hours()).saturating_sub(i128::from(register.microwatt_hours()));
    if risen < 0 {
        return Err(Doubt::RegisterFell);
    }
    // mW × ms = 10⁻⁶ Ws; one microwatt hour is 3.6·10⁻³ Ws, so mW·ms / 3600 is in microwatt hours.
    let nominal = quotient(i128::from(power_max.milliwatts()).saturating_mul(i128::from(span.ms())), 3_600);
    let slack = quotient(nominal.saturating_mul(POWER_SLACK_PERMILLE), 1_000);
    if risen > nominal.saturating_add(slack).saturating_add(ENERGY_SLACK_UWH) {
        return Err(Doubt::TooMuchEnergy);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(sequence: u32, minute: i64, wh: i64) -> MeterReading {
        MeterReading {
            sequence,
            at: Timestamp::from_unix_ms(minute * 60_000),
            register: Energy::from_watt_hours(wh).unwrap(),
            power: None,
            current: None,
        }
    }

    fn meter() -> Meter {
        Meter::new(Timestamp::from_unix_ms(0), Energy::from_watt_hours(909_000).unwrap())
    }

    const AC22: Power = Power::from_milliwatts(22_000_000);

    #[test]
    fn a_rise_within_the_connectors_power_is_good() {
        assert_eq!(meter().judge(&reading(1, 60, 931_000), AC22), Verdict::Good);
        assert_eq!(meter().judge(&reading(1, 60, 935_000), AC22), Verdict::Suspect(Doubt::TooMuchEnergy));
        assert_eq!(meter().judge(&reading(1, 60, 908_999), AC22), Verdict::Suspect(Doubt::RegisterFell));
        assert_eq!(meter().judge(&reading(1, -1, 909_000), AC22), Verdict::Suspect(Doubt::TimeWentBack));
    }

    #[test]
    fn a_glitch_is_forgotten_when_the_next_reading_fits_again() {
        let mut meter = meter();
        meter.doubt(&reading(1, 1, 0));
        assert_eq!(meter.judge(&reading(2, 2, 909_700), AC22), Verdict::Good);
        meter.record(&reading(2, 2, 909_700));
        assert_eq!(meter.energy(), Energy::from_watt_hours(700).unwrap());
    }

    #[test]
    fn after_a_reset_counting_goes_on_from_the_new_register() {
        let mut meter = meter();
        meter.record(&reading(1, 1, 909_300));
        meter.doubt(&reading(2, 2, 0));
        let verdict = meter.judge(&reading(3, 3, 350), AC22);
        let Verdict::Jumped(jump) = verdict else { panic!("{verdict:?}") };
        meter.jump(jump);
        meter.record(&reading(3, 3, 350));
        assert_eq!(meter.energy(), Energy::from_watt_hours(650).unwrap(), "300 before the reset, 350 after it");
    }

    #[test]
    fn a_session_whose_readings_were_not_believed_is_doubtful() {
        let mut meter = meter();
        assert!(!meter.is_doubtful());
        meter.record(&reading(1, 1, 909_100));
        assert!(!meter.is_doubtful());
        meter.doubt(&reading(2, 2, 911_000));
        assert!(meter.is_doubtful(), "the last register is not billed");
        assert_eq!(meter.unbilled(), Some(Energy::from_watt_hours(1_900).unwrap()));
        for sequence in 3..=4 {
            meter.record(&reading(sequence, 3, 909_200));
        }
        assert!(!meter.is_doubtful(), "one glitch of four, and the register is known again");
        assert_eq!(meter.unbilled(), None);
        meter.doubt(&reading(5, 5, 0));
        assert_eq!(meter.unbilled(), None, "a register that fell shows nothing above");
        meter.record(&reading(6, 6, 909_300));
        meter.suspects = 3;
        assert!(meter.is_doubtful(), "half of them");
    }

    #[test]
    fn the_sequence_tells_repetition_from_gap() {
        let mut meter = meter();
        meter.record(&reading(1, 1, 909_100));
        assert_eq!(meter.place(1), SequenceOrder::Repeated);
        assert_eq!(meter.place(2), SequenceOrder::Next);
        assert_eq!(meter.place(4), SequenceOrder::Gap);
    }
}

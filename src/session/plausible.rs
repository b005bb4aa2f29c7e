//! Bounds on every time and register that a charger states, checked before anything else.

use super::{Doubt, Policy};
use crate::limits::{READ_FROM, READ_UNTIL, REGISTER_MAX, START_AGE_MAX};
use crate::units::{Energy, MeterReading, TimeSpan, Timestamp};

/// Checks a reading without regard to those before it.
#[inline]
pub(super) fn reading(reading: &MeterReading, now: Timestamp, policy: &Policy) -> Result<(), Doubt> {
    figures(reading.at, reading.register)?;
    near(reading.at, now, policy.clock_ahead_max, policy.backlog_max)
}

/// Checks the time and the register of a start. Where no energy flows before its answer, it is much younger than the
/// oldest reading that may come; time that a charger claims before that would be billed. A charger that starts while it is
/// offline, and reports it later (`may_be_late`), may have started as long ago as a reading may have been taken.
///
/// # Errors
/// The value that is outside its bounds.
pub fn start(at: Timestamp, register: Energy, now: Timestamp, policy: &Policy, may_be_late: bool) -> Result<(), Doubt> {
    figures(at, register)?;
    let behind = policy.backlog_max.map(|max| if may_be_late { max } else { max.min(START_AGE_MAX) });
    near(at, now, policy.clock_ahead_max, behind)
}

fn figures(at: Timestamp, register: Energy) -> Result<(), Doubt> {
    if !(READ_FROM..READ_UNTIL).contains(&at.unix_ms()) {
        return Err(Doubt::ClockOff);
    }
    match register.microwatt_hours() {
        register if register > REGISTER_MAX => Err(Doubt::TooMuchEnergy),
        register if register < -REGISTER_MAX => Err(Doubt::RegisterFell),
        _ => Ok(()),
    }
}

fn near(at: Timestamp, now: Timestamp, ahead: Option<TimeSpan>, behind: Option<TimeSpan>) -> Result<(), Doubt> {
    let too_far = ahead.is_some_and(|max| at.since(now) > max) || behind.is_some_and(|max| now.since(at) > max);
    if too_far { Err(Doubt::ClockOff) } else { Ok(()) }
}

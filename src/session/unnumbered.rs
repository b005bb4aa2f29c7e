//! Places of readings that their charger does not number: by time and register.
//!
//! A register is a total, so a reading that is older than the last good one and not above it adds nothing: it is a repetition,
//! or came too late, and changes nothing. So does a lower one whose time is that of its arrival, because the
//! charger's clock is not set. Every other one is next. A time that lies before the last good reading while the
//! register has risen is a clock that was set back: the reading counts from when it came.

use super::{Session, Verdict};
use crate::units::{Energy, MeterReading, Timestamp};

/// The reading as the next one; `None` when it changes nothing.
pub(super) fn next(session: &Session, reading: &MeterReading, now: Timestamp) -> Option<MeterReading> {
    let meter = &session.meter;
    let same = |at: Timestamp, register| reading.at == at && reading.register == register;
    let repeats = meter.suspect.as_ref().is_some_and(|suspect| same(suspect.at, suspect.register))
        || (same(meter.at, meter.register) && !lacks_register(session))
        || (reading.at < meter.at && reading.register <= meter.register && !lacks_register(session));
    // A lower register is a repetition where the time says nothing.
    let is_untimed = reading.sequence == MeterReading::UNTIMED;
    if repeats || (is_untimed && reading.register < meter.register && !lacks_register(session)) {
        return None;
    }
    let at = if reading.at < meter.at { now.max(meter.at) } else { reading.at };
    Some(MeterReading { sequence: meter.sequence.saturating_add(1), at, ..*reading })
}

/// The last reading of the session: one that changes nothing, or none, is the last good one again.
pub(super) fn last(session: &Session, last: Option<MeterReading>, now: Timestamp) -> MeterReading {
    let meter = &session.meter;
    let again =
        MeterReading { sequence: meter.sequence, at: meter.at, register: meter.register, power: None, current: None };
    last.and_then(|last| next(session, &last, now)).unwrap_or(again)
}

/// The verdict on the first reading of a session whose beginning named no register: energy counts from it.
#[inline]
pub(super) fn base(session: &Session, reading: &MeterReading) -> Option<Verdict> {
    if session.meter.sequence > 0 || !lacks_register(session) {
        return None;
    }
    reading.register.checked_sub(session.meter.register).map(Verdict::Jumped)
}

/// How much of the energy between two registers is decided on apart from this session.
#[inline]
pub(super) fn apart(session: &Session, from: Energy, to: Energy) -> Energy {
    let Some(origin) = session.origin.as_ref().filter(|origin| !origin.apart.is_empty()) else { return Energy::ZERO };
    let mut from = from;
    let mut apart = Energy::ZERO;
    for (first, last) in &origin.apart {
        let overlap = to.min(*last).checked_sub(from.max(*first)).filter(|overlap| *overlap > Energy::ZERO);
        let Some(overlap) = overlap else { continue };
        apart = apart.checked_add(overlap).unwrap_or(apart);
        // They are in order: what two of them share counts once.
        from = to.min(*last);
    }
    apart
}

fn lacks_register(session: &Session) -> bool {
    session.meter.sequence == 0 && session.origin.as_ref().is_some_and(|origin| origin.lacks_register)
}

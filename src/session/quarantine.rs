//! Energy that no one has agreed to pay for, and readings that are not believed: kept, and billed by an operator's order only.
//!
//! A session is *unpaid* when its start was refused and its charger gave energy all the same, or when its start never came. It
//! has a meter and no money: its readings are checked like all others and are facts, but nothing is priced, held or owed.
//!
//! ```text
//!   (Opened) ──Quarantine──▶ Charging, limit 0 ──End / next start / silence──▶ Closed, payable 0 ──release──▶ Closed, payable
//! ```

use super::decide::judge;
use super::{Command, Context, Decision, Effect, Ended, Event, Metered, Session, Stage, StopReason, unnumbered};
use crate::stored::stored;
use crate::tariff::Slices;
use crate::units::{Amount, Cost, Energy, MeterReading, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is kept of a session for review, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Why.
    pub cause: Cause,
    /// What was decided on it; nothing yet.
    pub ruled: Option<Ruled>,
}

stored!(struct Quarantine { 0: cause, 1: ruled });

/// Why energy is kept for review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The start was refused, for this reason.
    Refused(StopReason),
    /// The charger named no session that is known.
    Orphan,
    /// Readings of a session that is paid for were not believed.
    Doubted,
}

stored!(enum Cause { 0: Refused(reason), 1: Orphan, 2: Doubted });

/// A decision on energy that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruled {
    /// The decision.
    pub ruling: Ruling,
    /// When.
    pub at: Timestamp,
}

stored!(struct Ruled { 0: ruling, 1: at });

/// What becomes of energy that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ruling {
    /// So much of it is billed.
    Released(Energy),
    /// It is never billed.
    Dropped,
    /// It is that of this session, whose start came late.
    Adopted(SessionId),
}

stored!(enum Ruling { 0: Released(energy), 1: Dropped, 2: Adopted(session) });

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ruling::Released(energy) => write!(f, "released {} kWh", energy.kwh().normalize()),
            Ruling::Dropped => f.write_str("dropped"),
            Ruling::Adopted(session) => write!(f, "part of {session}"),
        }
    }
}

impl Quarantine {
    pub(super) const DOUBTED: Quarantine = Quarantine { cause: Cause::Doubted, ruled: None };
}

impl Cause {
    /// The reason for which the start was refused.
    pub const fn refused(self) -> Option<StopReason> {
        match self {
            Cause::Refused(reason) => Some(reason),
            Cause::Orphan | Cause::Doubted => None,
        }
    }

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Refused(_) => "energy flowed although the start was refused",
            Cause::Orphan => "the charger named no session that is known",
            Cause::Doubted => "readings were not believed",
        }
    }
}

impl Session {
    /// What is kept of it for review. Readings that were not believed are counted by its meter until it is decided on them.
    pub fn quarantine(&self) -> Option<Quarantine> {
        let marked = self.outcome.as_ref().and_then(|outcome| outcome.quarantine);
        marked.or_else(|| (self.meter.suspects > 0).then_some(Quarantine::DOUBTED))
    }

    /// Whether what it gives is not paid for.
    pub fn is_unpaid(&self) -> bool {
        let marked = self.outcome.as_ref().and_then(|outcome| outcome.quarantine);
        marked.is_some_and(|Quarantine { cause, ruled }| match cause {
            Cause::Refused(_) | Cause::Orphan => !matches!(ruled, Some(Ruled { ruling: Ruling::Released(_), .. })),
            Cause::Doubted => false,
        })
    }

    /// The energy that is kept, where it is not decided on yet: all of an unpaid session, and otherwise what the last reading
    /// shows above what is billed. `None`: nothing was reported that is kept.
    pub fn kept_energy(&self) -> Option<Energy> {
        let Quarantine { cause, ruled } = self.quarantine()?;
        let above = self.meter.unbilled().unwrap_or(Energy::ZERO);
        let kept = match cause {
            Cause::Refused(_) | Cause::Orphan => self.meter.energy().checked_add(above).unwrap_or(above),
            Cause::Doubted => above,
        };
        let reported = kept > Energy::ZERO || self.meter.suspects > 0 || cause == Cause::Orphan;
        (ruled.is_none() && reported).then_some(kept)
    }
}

/// The start is refused, or never came: the charger may report energy all the same.
pub(super) fn begin(session: &Session, cause: Cause, ctx: &Context<'_>) -> Decision {
    match session.stage {
        Stage::Authorizing => Decision::event(Event::Quarantined { cause, at: ctx.now.wall }),
        Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// A start that is repeated is refused again. Nothing else has to be repeated.
pub(super) fn repeat(session: &Session, command: &Command) -> Decision {
    match (command, refused(session)) {
        (Command::RepeatStart, Some(reason)) => Decision::reply(Effect::StartRejected(reason)),
        _ => Decision::nothing(),
    }
}

/// A reading: kept. The charger of a start that was refused is ordered to stop.
pub(super) fn sample(session: &Session, reading: &MeterReading, ctx: &Context<'_>) -> Decision {
    let Some(reading) = unnumbered::next(session, reading, ctx.now.wall) else { return Decision::nothing() };
    let kept = keep(session, &reading, ctx);
    match &session.stage {
        Stage::Authorizing => Decision::nothing(),
        Stage::Charging { .. } => match refused(session) {
            Some(reason) => kept.and_effect(Effect::StopNow(reason)),
            None => kept,
        },
        Stage::Settling(ended) | Stage::Closed(ended) => late(session, kept, ended, ended.reason),
    }
}

/// The charger's end.
pub(super) fn end(session: &Session, last: Option<MeterReading>, reason: StopReason, ctx: &Context<'_>) -> Decision {
    let last = last.and_then(|last| unnumbered::next(session, &last, ctx.now.wall));
    let kept = last.map_or_else(Decision::nothing, |last| keep(session, &last, ctx));
    let reason = refused(session).unwrap_or(reason);
    match &session.stage {
        Stage::Authorizing => Decision::nothing(),
        Stage::Charging { .. } => close(session, kept, reason, ctx),
        Stage::Settling(ended) | Stage::Closed(ended) => late(session, kept, ended, reason),
    }
}

/// No end will come.
pub(super) fn give_up(session: &Session, reason: StopReason, ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Charging { .. } => close(session, Decision::nothing(), reason, ctx),
        Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

fn refused(session: &Session) -> Option<StopReason> {
    session.quarantine().and_then(|quarantine| quarantine.cause.refused())
}

/// Records a reading without a price.
fn keep(session: &Session, reading: &MeterReading, ctx: &Context<'_>) -> Decision {
    let metered = Event::Metered(Metered { reading: *reading, slices: Slices::default() });
    match judge(session, reading, ctx) {
        Ok(None) => Decision::event(metered),
        Ok(Some(jump)) => Decision::event(Event::RegisterJumped(jump)).and_event(metered),
        Err(doubt) => Decision::event(Event::Suspected { reading: Box::new(*reading), doubt }),
    }
}

/// When the last good reading was taken, after these facts.
fn read_at(session: &Session, kept: &Decision) -> Timestamp {
    let last = kept.events.iter().find_map(|event| match event {
        Event::Metered(metered) => Some(metered.reading.at),
        _ => None,
    });
    last.unwrap_or(session.meter.at)
}

/// The session is over, and costs nothing.
fn close(session: &Session, kept: Decision, reason: StopReason, ctx: &Context<'_>) -> Decision {
    let cost = Cost::zero(ctx.tariff.currency());
    let ended = Ended {
        reason,
        at: read_at(session, &kept),
        known_at: ctx.now.wall,
        cost,
        payable: Amount::zero(cost.currency()),
        admitted: false,
    };
    let ends = kept.and_event(Event::Ended(Box::new(ended)));
    // A hold that was too small may still be on its way back.
    if session.payment.is_settled() {
        ends.and_event(Event::Closed { at: ctx.now.wall }).and_effect(Effect::Archive)
    } else {
        ends
    }
}

/// What is reported after an end that the charger had not reported is kept, too.
fn late(session: &Session, kept: Decision, ended: &Ended, reason: StopReason) -> Decision {
    let is_decided = session.quarantine().is_some_and(|quarantine| quarantine.ruled.is_some());
    if !ended.reason.is_estimate() || is_decided || (kept.events.is_empty() && reason == ended.reason) {
        return Decision::nothing();
    }
    let after = Ended { reason, at: read_at(session, &kept), ..*ended };
    let corrected = kept.and_event(Event::Corrected(Box::new(after)));
    match session.stage {
        Stage::Closed(_) => corrected.and_effect(Effect::Archive),
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) => corrected,
    }
}

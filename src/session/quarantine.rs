//! Energy that no one has agreed to pay for, and readings that are not believed: kept, and billed by an operator's order only.
//!
//! A session is *unpaid* when its start was refused and its charger gave energy all the same, or when its start never came. It
//! has a meter and no money: its readings are checked like all others and are facts, but nothing is priced, held or owed.
//!
//! ```text
//!   (Opened) ──Quarantine──▶ Charging, limit 0 ──End / next start / silence──▶ Closed, payable 0 ──release──▶ Closed, payable
//! ```

use super::decide::{Final, judge};
use super::{
    Command, Context, Decision, Effect, Ended, Event, Metered, Route, Session, Stage, StopReason, money, unnumbered,
};
use crate::limits::REGISTER_MAX;
use crate::payment::{Credential, Hold};
use crate::stored::stored;
use crate::tariff::{Slices, Tariff};
use crate::units::{Amount, Cost, Energy, MeterReading, ProcessorId, SessionId, Timestamp};
use jiff::tz::TimeZone;
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

/// What was reported of a session before its start came: the first reading and the last one, and why it ended, if it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The session that was opened for it.
    pub from: SessionId,
    /// When the first reading was taken.
    pub first_at: Timestamp,
    /// The register then.
    pub first: Energy,
    /// When the last good reading was taken.
    pub last_at: Timestamp,
    /// The register then.
    pub last: Energy,
    /// Why the charger ended it.
    pub ended: Option<StopReason>,
}

stored!(struct Adopted { 0: from, 1: first_at, 2: first, 3: last_at, 4: last, 5: ended });

impl Adopted {
    /// Its readings, in their order.
    pub fn readings(&self) -> impl Iterator<Item = MeterReading> {
        let both = [(self.first_at, self.first), (self.last_at, self.last)];
        both.into_iter().map(|(at, register)| MeterReading { sequence: 0, at, register, power: None, current: None })
    }
}

/// An order on energy that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is billed.
    Release {
        /// So much of it; none: all of it.
        energy: Option<Energy>,
        /// Where the money of a session without any is requested, with a credential for it.
        by: Option<(Credential, Route)>,
    },
    /// It is never billed.
    Drop,
    /// It is that of this session.
    Adopt(SessionId),
}

/// What an order on energy that is kept comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// It was decided so before.
    Done(Ruled),
    /// It would be dropped, or be that of another session.
    Unbilled,
    /// It would be billed.
    Billed {
        /// The energy.
        energy: Energy,
        /// What the session would cost in all, exactly.
        cost: Cost,
        /// The same, rounded.
        payable: Amount,
    },
}

/// Why an order on energy that is kept is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReviewed {
    /// Everything that was reported of the session is billed.
    #[error("nothing of the session is kept for review")]
    NothingKept,
    /// It was decided otherwise.
    #[error("it was decided on it at {at}: {ruling}", at = .0.at, ruling = .0.ruling)]
    Ruled(Ruled),
    /// More may be reported.
    #[error("the session still goes on: it is decided on when it has ended")]
    GoesOn,
    /// No energy that could be billed is known.
    #[error("the readings that were not believed show no energy: name how much is to be billed (--kwh)")]
    NoEnergy,
    /// More than what is kept.
    #[error("{asked} kWh are more than what is kept for review: {kept} kWh", asked = .asked.kwh().normalize(), kept = .kept.kwh().normalize())]
    TooMuch {
        /// The energy of the order.
        asked: Energy,
        /// The energy that is kept.
        kept: Energy,
    },
    /// The energy or its price is beyond what can be computed.
    #[error("that much energy cannot be priced")]
    Unpriceable,
}

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
    /// How the credential of a session is shown that has none which can be read.
    pub const NO_CREDENTIAL: &str = "none";

    /// Why its energy cannot be billed to the credential that was presented, where no account is linked to that.
    pub fn no_payer(&self) -> String {
        format!("no account pays for {}: name one (--account), or link it", self.fingerprint)
    }

    /// Where the money of the session was requested last: a processor, or an account.
    pub fn paid_by(&self) -> Option<&ProcessorId> {
        self.payment.holds().last().map(Hold::processor)
    }

    /// Whether it was opened for a report that named no session.
    pub fn is_orphan(&self) -> bool {
        self.quarantine().is_some_and(|kept| kept.cause == Cause::Orphan)
    }

    /// Its registers, from and to, where no start named it and none has adopted it.
    pub fn apart(&self) -> Option<(Energy, Energy)> {
        let ruled = self.quarantine().filter(|kept| kept.cause == Cause::Orphan)?.ruled;
        let is_adopted = matches!(ruled, Some(Ruled { ruling: Ruling::Adopted(_), .. }));
        (!is_adopted).then_some((self.meter.first, self.meter.register))
    }

    /// Whether it was opened for a report that named no session, and the end of that was reported.
    pub fn is_ended_orphan(&self) -> bool {
        self.is_orphan() && matches!(self.stage, Stage::Charging { stop_asked: Some(_), .. })
    }

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

/// Energy that is billed after all, priced as the last reading of its session.
struct Released {
    energy: Energy,
    reading: MeterReading,
    slices: Slices,
    cost: Cost,
    payable: Amount,
}

impl Session {
    /// Whether it was unpaid, and is billed after all.
    pub(super) fn is_billed_after_all(&self) -> bool {
        let quarantine = self.quarantine();
        quarantine.is_some_and(|Quarantine { cause, ruled }| {
            cause != Cause::Doubted && matches!(ruled, Some(Ruled { ruling: Ruling::Released(_), .. }))
        })
    }

    /// What an order on the energy that is kept would come to.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn review(&self, order: &Order, tariff: &Tariff, zone: &TimeZone) -> Result<Review, NotReviewed> {
        let ruled = self.quarantine().and_then(|quarantine| quarantine.ruled);
        if let Some(ruled) = ruled {
            let same = match (order, ruled.ruling) {
                (Order::Release { energy, .. }, Ruling::Released(billed)) => {
                    energy.is_none_or(|energy| energy == billed)
                }
                (Order::Drop, Ruling::Dropped) => true,
                (Order::Adopt(session), Ruling::Adopted(other)) => *session == other,
                _ => false,
            };
            return if same { Ok(Review::Done(ruled)) } else { Err(NotReviewed::Ruled(ruled)) };
        }
        if self.kept_energy().is_none() {
            return Err(NotReviewed::NothingKept);
        }
        if self.ended().is_none() {
            return Err(NotReviewed::GoesOn);
        }
        match order {
            Order::Release { energy, .. } => {
                let Released { energy, cost, payable, .. } = self.released(*energy, tariff, zone)?;
                Ok(Review::Billed { energy, cost, payable })
            }
            Order::Drop | Order::Adopt(_) => Ok(Review::Unbilled),
        }
    }

    fn released(&self, energy: Option<Energy>, tariff: &Tariff, zone: &TimeZone) -> Result<Released, NotReviewed> {
        let kept = self.kept_energy().ok_or(NotReviewed::NothingKept)?;
        let asked = energy.unwrap_or(kept);
        if asked <= Energy::ZERO {
            return Err(NotReviewed::NoEnergy);
        }
        // Where no energy is known an operator names it.
        if kept > Energy::ZERO && asked > kept {
            return Err(NotReviewed::TooMuch { asked, kept });
        }
        let energy = asked;
        let meter = &self.meter;
        let billed = if self.is_unpaid() { Energy::ZERO } else { meter.energy() };
        let at = meter.suspect.as_ref().map_or(meter.at, |suspect| suspect.at.max(meter.at));
        let counted = billed.checked_add(energy).filter(|all| all.microwatt_hours() <= REGISTER_MAX);
        let register = counted.and_then(|all| meter.first.checked_add(meter.jumped)?.checked_add(all));
        let (Some(counted), Some(register)) = (counted, register) else { return Err(NotReviewed::Unpriceable) };
        let sequence = meter.sequence.saturating_add(1);
        let reading = MeterReading { sequence, at, register, power: None, current: None };
        let priced = self.rating.price_last(tariff, zone, &MeterReading { register: counted, ..reading });
        let slices = priced.map_err(|_| NotReviewed::Unpriceable)?;
        let cost = self.rating.with(&slices).running(tariff).map_err(|_| NotReviewed::Unpriceable)?;
        let payable = cost.round(tariff.rounding()).map_err(|_| NotReviewed::Unpriceable)?;
        Ok(Released { energy, reading, slices, cost, payable })
    }
}

/// Decides on what is kept. What is billed is a correction of the session's end, as a reading that came late is.
pub(super) fn rule(session: &Session, order: Order, ctx: &Context<'_>) -> Decision {
    let ruled = |ruling| Event::Ruled(Ruled { ruling, at: ctx.now.wall });
    let (Ok(review), Some(before)) = (session.review(&order, ctx.tariff, ctx.zone), session.ended()) else {
        return Decision::nothing();
    };
    let archived = |decision: Decision| match session.stage {
        Stage::Closed(_) => decision.and_effect(Effect::Archive),
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) => decision,
    };
    match (review, order) {
        (Review::Done(_), _) => Decision::nothing(),
        (_, Order::Drop) => archived(Decision::event(ruled(Ruling::Dropped))),
        (_, Order::Adopt(other)) => archived(Decision::event(ruled(Ruling::Adopted(other)))),
        (_, Order::Release { energy, by }) => {
            let Ok(released) = session.released(energy, ctx.tariff, ctx.zone) else { return Decision::nothing() };
            let Released { energy, reading, slices, cost, .. } = released;
            let facts =
                Decision::event(Event::Metered(Metered { reading, slices })).and_event(ruled(Ruling::Released(energy)));
            let ended = Final { facts, reason: before.reason, at: reading.at, cost, admitted: true };
            match by {
                Some(by) if session.is_unpaid() => {
                    let fact = ended.ended(ctx);
                    money::bill(session, (ended.facts, fact), by, ctx)
                }
                None if session.is_unpaid() => Decision::nothing(),
                Some(_) | None => money::correct(session, ended, true, ctx),
            }
        }
    }
}

/// The start is refused, or never came: the charger may report energy all the same.
pub(super) fn begin(session: &Session, cause: Cause, ctx: &Context<'_>) -> Decision {
    match session.stage {
        Stage::Authorizing => Decision::event(Event::Quarantined { cause, at: ctx.now.wall }),
        Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// What was presented for a session that had begun without.
pub(super) fn present(session: &Session, fingerprint: Box<str>) -> Decision {
    let lacks = session.quarantine().is_some_and(|kept| kept.cause == Cause::Orphan && kept.ruled.is_none());
    if lacks && session.fingerprint == *Session::NO_CREDENTIAL {
        Decision::event(Event::Presented(fingerprint))
    } else {
        Decision::nothing()
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
        // A start that comes late may still adopt it.
        Stage::Charging { stop_asked, .. } if refused(session).is_none() => match stop_asked {
            None => kept.and_event(Event::StopAsked { reason, at: ctx.now.wall }),
            Some(_) => kept,
        },
        Stage::Charging { .. } => close(session, kept, reason, ctx),
        Stage::Settling(ended) | Stage::Closed(ended) => late(session, kept, ended, reason),
    }
}

/// No end will come.
pub(super) fn give_up(session: &Session, reason: StopReason, ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Charging { stop_asked, .. } => {
            let reason = stop_asked.filter(|_| refused(session).is_none()).unwrap_or(reason);
            close(session, Decision::nothing(), reason, ctx)
        }
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

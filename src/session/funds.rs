//! Keeps the cost below the authorized amount: the reserve, requests for more funds, and the stop of the energy.
//!
//! ```text
//!   0 ─────────── K ───────┬──────── 3 reserves ────────┬──────────────── A
//!            running cost  │ reserve                    │
//!                          │                            └ nearer than this: an increment is requested
//!                          └ nearer than this: the energy is stopped
//! ```
//!
//! The *reserve* is what the session can cost at most within [`Policy::stop_latency`](super::Policy) at the connector's full
//! power, by the dearest price that may come to apply. It is compared at every good reading, and by the clock when none
//! comes. So, for any course of the meter within the connector's power, when the charger stops in time: `K ≤ A`.
//!
//! Increments are sized by the rate at which the session costs money, and become larger the more of them there were,
//! so that the few that a processor allows last for a long session. After a refused one, half as much is requested,
//! once, after a pause; then the session ends with the funds it has.

use super::decide::{Priced, running_cost};
use super::{Context, Decision, Effect, Event, Policy, Session, Stage, StopReason, money};
use crate::limits::STILL_MAX;
use crate::payment::{self, OperationKind, Payment};
use crate::tariff::{Rating, Tariff, TimeAhead};
use crate::units::{Amount, Cost, Energy, MeterReading, MoneyError, Power, TimeSpan, Timestamp};
use std::cmp::Ordering;

/// Reserves ahead at which more is requested: there is still time for an answer.
const RESERVES_TO_ASK: i128 = 3;

/// Reserves that an increment brings at least.
const RESERVES_TO_GET: i128 = 6;

/// Reserves that a lowered hold keeps at least.
const RESERVES_TO_KEEP: i128 = 12;

/// An early release of less than so many least partial approvals is not worth an operation: 10 EUR.
const RELEASE_LEAST_PARTS: i64 = 5;

/// A session younger than this has not shown yet what its car takes.
const RELEASE_AFTER: TimeSpan = TimeSpan::from_secs(600);

/// What a session may cost: what can be spent, with what was taken when it had ended on an estimate and went on.
#[inline]
pub(super) fn granted(payment: &Payment) -> Amount {
    let spendable = payment.spendable();
    if payment.owed().minor == 0 {
        return spendable;
    }
    let taken = payment.captured().minor.saturating_add(payment.capturing().minor);
    Amount::new(spendable.minor.saturating_add(taken), spendable.currency)
}

/// Amount to request at the start: the tariff's own, or the policy's; never more than may be reserved at all.
pub fn first_hold(tariff: &Tariff, policy: &Policy) -> Amount {
    let currency = tariff.currency();
    debug_assert_eq!(currency, policy.currency, "amounts of another currency");
    let wanted = tariff.preauthorize_amount().unwrap_or(Amount::new(policy.first_hold_minor, currency));
    Amount::new(wanted.minor.min(policy.payment.total_max_minor), currency)
}

/// How fast the cost may grow, and for how long, until an order to stop has taken effect.
struct Pace {
    power: Power,
    latency: TimeSpan,
}

/// The pace of a session. Some protocols tell neither the power of a connector nor when readings come: then it is that of the
/// readings, with a quarter to spare, for the time of two of them.
fn pace(session: &Session, priced: Option<&Priced>, ctx: &Context<'_>) -> Pace {
    let (power, latency) = (session.power_max, ctx.policy.stop_latency);
    if session.origin.is_none() {
        return Pace { power, latency };
    }
    let meter = &session.meter;
    let last = priced.and_then(|Priced { reading, .. }| {
        let risen = reading.register.checked_sub(meter.register)?;
        let over = reading.at.since(meter.at);
        (over > TimeSpan::ZERO).then_some((risen, over))
    });
    let whole = average_power(meter.energy(), meter.at.since(session.opened_at));
    let seen = last.map_or(0, |(risen, over)| average_power(risen, over)).max(whole);
    let seen = seen.saturating_add(seen / 4).clamp(0, power.milliwatts().max(0));
    let two = |(_, over): (Energy, TimeSpan)| TimeSpan::from_ms(over.ms().saturating_mul(2)).min(latency);
    Pace { power: Power::from_milliwatts(seen), latency: last.map_or(latency, two) }
}

/// In milliwatts; 0 where there was no time.
fn average_power(energy: Energy, over: TimeSpan) -> i64 {
    // µWh × 3600 / ms are mW.
    let power = i128::from(energy.microwatt_hours()).saturating_mul(3_600).checked_div(i128::from(over.ms()));
    power.map_or(0, |power| i64::try_from(power).unwrap_or(i64::MAX))
}

/// How far the funds suffice.
enum Reach {
    /// Sufficient.
    Far,
    /// It is time to request more.
    Short(Cost),
    /// The energy has to stop, for this reason.
    Out(StopReason),
}

/// After a good reading: requests more in time, stops the energy where there is no more, and releases early what a
/// car at low power will not need.
pub(super) fn keep_covered(session: &Session, priced: &Priced, ctx: &Context<'_>, decision: &mut Decision) {
    let decided = match reach(session, Some(priced), priced.running, TimeSpan::ZERO, ctx) {
        Reach::Far => lower(session, priced, ctx),
        Reach::Short(reserve) => {
            let burn = Burn::last(session, priced, ctx);
            ask(session, &session.payment, Outlook { running: priced.running, burn, reserve }, ctx)
        }
        Reach::Out(reason) => {
            *decision = stop(reason, std::mem::take(decision), ctx);
            return;
        }
    };
    if let Some(decided) = decided {
        *decision = money::react(session, decided, ctx, std::mem::take(decision));
    }
}

/// When no good reading has come for a while: the same, with what may have been used meanwhile.
pub(super) fn watch(session: &Session, quiet: TimeSpan, ctx: &Context<'_>) -> Decision {
    let running = running_cost(session, ctx);
    match reach(session, None, running, quiet, ctx) {
        Reach::Far => Decision::nothing(),
        Reach::Short(reserve) => {
            match ask(session, &session.payment, Outlook::average(session, running, reserve), ctx) {
                Some(decided) => money::react(session, decided, ctx, Decision::nothing()),
                None => Decision::nothing(),
            }
        }
        Reach::Out(reason) => stop(reason, Decision::nothing(), ctx),
    }
}

/// Whether `spendable` covers what the session has cost, what it may have cost since its last reading, and what it may cost
/// until it is stopped.
pub(super) fn is_covered(session: &Session, spendable: Amount, ctx: &Context<'_>) -> bool {
    let quiet = match session.stage {
        Stage::Charging { .. } => ctx.now.wall.since(session.meter.at).max(TimeSpan::ZERO),
        Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => TimeSpan::ZERO,
    };
    let span = TimeSpan::from_ms(quiet.ms().saturating_add(ctx.policy.stop_latency.ms()));
    let reserve = ahead(session, None, span, ctx);
    reserve.is_some_and(|reserve| covers(spendable.to_cost(), running_cost(session, ctx), reserve, 1))
}

/// Whether more funds would be welcome.
pub(super) fn is_short(session: &Session, ctx: &Context<'_>) -> bool {
    let reserve = ahead(session, None, ctx.policy.stop_latency, ctx);
    let (spendable, running) = (granted(&session.payment).to_cost(), running_cost(session, ctx));
    reserve.is_none_or(|reserve| !covers(spendable, running, reserve, RESERVES_TO_GET))
}

/// A hold lapses soon: more is requested, because an increment renews some holds. `payment` is the machine after the
/// pending events.
pub(super) fn renew(session: &Session, payment: &Payment, ctx: &Context<'_>) -> Option<payment::Decision> {
    let reserve = ahead(session, None, ctx.policy.stop_latency, ctx)?;
    let running = running_cost(session, ctx);
    ask(session, payment, Outlook::average(session, running, reserve), ctx).map(|decided| decided.decision)
}

pub(super) fn stop(reason: StopReason, decision: Decision, ctx: &Context<'_>) -> Decision {
    decision.and_event(Event::StopAsked { reason, at: ctx.now.wall }).and_effect(Effect::StopNow(reason))
}

/// `priced` is the reading that was just priced, if one caused this check.
fn reach(session: &Session, priced: Option<&Priced>, running: Cost, quiet: TimeSpan, ctx: &Context<'_>) -> Reach {
    let policy = ctx.policy;
    if session.payment.closing_at(policy.closing).is_some_and(|at| at <= ctx.now.wall) {
        return Reach::Out(StopReason::AuthorizationLost);
    }
    let spendable = granted(&session.payment).to_cost();
    let Pace { power, latency } = pace(session, priced, ctx);
    // Most readings end here: below the most that any session of this tariff can cost, no time has to be computed.
    if quiet == TimeSpan::ZERO {
        let ahead = if priced.is_some_and(|priced| priced.leaves_undecided()) {
            TimeSpan::from_ms(latency.ms().saturating_add(STILL_MAX.ms()))
        } else {
            latency
        };
        let most = ctx.tariff.cost_ahead_of_any(power, ahead);
        if most.is_some_and(|most| covers(spendable, running, most, RESERVES_TO_ASK)) {
            return Reach::Far;
        }
    }
    let span = |stops: i64| TimeSpan::from_ms(quiet.ms().saturating_add(latency.ms().saturating_mul(stops)));
    let Some(reserve) = ahead(session, priced, span(1), ctx) else {
        return Reach::Out(StopReason::FundsExhausted);
    };
    if !covers(spendable, running, reserve, 1) {
        return Reach::Out(StopReason::FundsExhausted);
    }
    let far = if quiet > TimeSpan::ZERO {
        ahead(session, priced, span(3), ctx).is_some_and(|more| covers(spendable, running, more, 1))
    } else {
        covers(spendable, running, reserve, RESERVES_TO_ASK)
    };
    if far { Reach::Far } else { Reach::Short(reserve) }
}

/// What the session can cost at most within `span` after its last reading, or after the one that was just priced, with the
/// time before it that is not priced yet; `None` when that is beyond all figures.
fn ahead(session: &Session, priced: Option<&Priced>, span: TimeSpan, ctx: &Context<'_>) -> Option<Cost> {
    let power = pace(session, priced, ctx).power;
    let bound = |rating: &Rating, read_at: Timestamp| {
        rating.cost_ahead_of_reading(ctx.tariff, ctx.zone, TimeAhead { power_max: power, read_at, span }).ok()
    };
    match priced {
        Some(priced) => bound(&priced.rating(session), priced.reading.at),
        None => bound(&session.rating, session.meter.at),
    }
}

/// Whether `spendable` covers the running cost and this number of reserves on top.
fn covers(spendable: Cost, running: Cost, reserve: Cost, reserves: i128) -> bool {
    let needed = times(reserve, reserves).and_then(|ahead| running.checked_add(ahead).ok());
    needed.and_then(|needed| spendable.compare(needed).ok()).is_some_and(|order| order != Ordering::Less)
}

fn times(cost: Cost, factor: i128) -> Option<Cost> {
    cost.parts().checked_mul(factor).map(|parts| Cost::from_parts(parts, cost.currency()))
}

/// Cost of a session over some time.
#[derive(Clone, Copy)]
struct Burn {
    cost: Cost,
    over: TimeSpan,
}

impl Burn {
    /// Over the whole session, up to its last good reading.
    fn average(session: &Session, running: Cost) -> Burn {
        Burn { cost: running, over: session.meter.at.since(session.opened_at) }
    }

    /// The faster of the whole session and its last interval.
    fn last(session: &Session, priced: &Priced, ctx: &Context<'_>) -> Burn {
        let whole = Burn { cost: priced.running, over: priced.reading.at.since(session.opened_at) };
        let Ok(grown) = priced.running.checked_sub(running_cost(session, ctx)) else { return whole };
        let last = Burn { cost: grown, over: priced.reading.at.since(session.meter.at) };
        let an_hour = TimeSpan::from_secs(3_600);
        if last.within(an_hour).map(Cost::parts) > whole.within(an_hour).map(Cost::parts) { last } else { whole }
    }

    /// Cost within `span` at the same rate.
    fn within(self, span: TimeSpan) -> Option<Cost> {
        let parts = self.cost.parts().checked_mul(i128::from(span.ms()))?.checked_div(i128::from(self.over.ms()))?;
        (parts >= 0).then(|| Cost::from_parts(parts, self.cost.currency()))
    }
}

/// What a session has cost, and what it is going to cost.
#[derive(Clone, Copy)]
struct Outlook {
    running: Cost,
    burn: Burn,
    /// The most that it can cost until it is stopped.
    reserve: Cost,
}

impl Outlook {
    /// At the rate of the whole session.
    fn average(session: &Session, running: Cost, reserve: Cost) -> Outlook {
        Outlook { running, burn: Burn::average(session, running), reserve }
    }
}

/// Requests a higher total, as the payment machine decides it. Its refusal means that no more can be requested: the
/// energy is stopped when the funds run out.
fn ask<'a>(
    session: &Session,
    payment: &'a Payment,
    outlook: Outlook,
    ctx: &'a Context<'_>,
) -> Option<payment::Decided<'a>> {
    let total = total_to_ask(session, payment, outlook, ctx).ok()?;
    if total <= payment.authorized().minor {
        return None;
    }
    let command = payment::Command::IncreaseTo(Amount::new(total, payment.currency()));
    let decided = payment::decide_ahead(payment, command, ctx.now, &ctx.policy.payment);
    (!decided.decision.events.is_empty()).then_some(decided)
}

/// The total that lasts for the horizon: by the rate of the session, at most at full power, and at least a quarter more
/// than now. In minor units.
fn total_to_ask(
    session: &Session,
    payment: &Payment,
    Outlook { running, burn, reserve }: Outlook,
    ctx: &Context<'_>,
) -> Result<i64, MoneyError> {
    let horizon = ctx.policy.increment_horizon;
    let least = times(reserve, RESERVES_TO_GET).ok_or(MoneyError::Overflow)?;
    let most = ahead(session, None, horizon, ctx);
    let predicted = match (burn.within(horizon), most) {
        (Some(burnt), Some(most)) if burnt.parts() < most.parts() => burnt,
        (Some(_), Some(most)) => most,
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => least,
    };
    let more = if predicted.parts() > least.parts() { predicted } else { least };
    let needed = running.checked_add(more)?.ceiling()?.minor;
    let authorized = payment.authorized().minor;
    let grown = authorized.saturating_add(authorized / 4);
    let total = needed.max(grown).min(ctx.policy.payment.total_max_minor);
    Ok(match payment.refused_total() {
        Some(refused) => total.min(authorized.saturating_add(refused.minor.saturating_sub(authorized) / 2)),
        None => total,
    })
}

/// Lowers the hold of a car that takes far less than it did: the driver has the money back before the session ends.
fn lower<'a>(session: &'a Session, priced: &Priced, ctx: &'a Context<'_>) -> Option<payment::Decided<'a>> {
    let payment = &session.payment;
    // The cheap check comes first: cars that reduce their power are few.
    if !ctx.policy.release_early || !tapers(session, &priced.reading) {
        return None;
    }
    let release_least = ctx.policy.payment.partial_min_minor.saturating_mul(RELEASE_LEAST_PARTS);
    let left = payment.spendable().minor.checked_sub(priced.running.ceiling().ok()?.minor)?;
    if left < release_least {
        return None;
    }
    let busy = [OperationKind::Authorize, OperationKind::Increment, OperationKind::Decrement];
    if payment.decrements() > 0 || busy.into_iter().any(|kind| payment.is_under_way(kind)) {
        return None;
    }
    let horizon = TimeSpan::from_ms(ctx.policy.increment_horizon.ms().saturating_mul(2));
    let reserve = ahead(session, Some(priced), ctx.policy.stop_latency, ctx)?;
    let kept = times(reserve, RESERVES_TO_KEEP)?;
    let burnt = Burn::average(session, running_cost(session, ctx)).within(horizon);
    let kept = burnt.filter(|burnt| burnt.parts() > kept.parts()).unwrap_or(kept);
    let total = priced.running.checked_add(kept).and_then(Cost::ceiling).ok()?;
    if payment.spendable().minor.saturating_sub(total.minor) < release_least {
        return None;
    }
    let decided = payment::decide_ahead(payment, payment::Command::DecreaseTo(total), ctx.now, &ctx.policy.payment);
    (!decided.decision.events.is_empty()).then_some(decided)
}

/// Whether the car takes less than a quarter of what it took on average.
fn tapers(session: &Session, reading: &MeterReading) -> bool {
    let whole = session.meter.at.since(session.opened_at);
    let last = reading.at.since(session.meter.at);
    if whole < RELEASE_AFTER || last <= TimeSpan::ZERO {
        return false;
    }
    let (energy, whole, last) =
        (i128::from(session.meter.energy().microwatt_hours()), i128::from(whole.ms()), i128::from(last.ms()));
    let before = i128::from(session.meter.register.microwatt_hours());
    let risen = i128::from(reading.register.microwatt_hours()).saturating_sub(before);
    // Out of range: the car's power is unknown.
    let taken = energy.checked_mul(last);
    let compared = risen.checked_mul(whole).and_then(|risen| risen.checked_mul(4));
    risen >= 0 && taken.zip(compared).is_some_and(|(taken, compared)| compared <= taken)
}

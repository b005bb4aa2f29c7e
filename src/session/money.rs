//! What the session and its payment machine have to say to each other.
//!
//! Down: ask for funds, ask for more, take what is owed, release. Up: the events of the payment machine, to which the
//! session reacts in the same decision, so that both are journaled together or not at all.

use super::decide::{Final, Priced};
use super::{Decision, Effect, Event, Route, Session, Stage, StopReason, Surroundings};
use crate::payment::{self, Credential, Extent, Payment, VoidReason};
use crate::units::{Amount, Cost, MoneyError};
use rust_decimal::Decimal;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// Asks for the first hold.
pub(super) fn authorize(
    session: &Session,
    credential: Credential,
    route: Route,
    around: &Surroundings<'_>,
) -> Decision {
    let command = payment::Command::Authorize {
        processor: route.processor,
        capabilities: route.capabilities,
        credential,
        amount: first_hold(around),
        partial_ok: true,
    };
    step(session, command, around)
}

/// Lets the payment machine decide, and reacts to what it decided.
pub(super) fn step(session: &Session, command: payment::Command, around: &Surroundings<'_>) -> Decision {
    let decided = payment::decide(&session.payment, command, around.now, &around.policy.payment);
    react(session, decided, around, Decision::nothing())
}

/// After a replay: the payment machine asks again what was under way.
pub(super) fn resume(session: &Session, around: &Surroundings<'_>) -> Decision {
    let decided = payment::resume(&session.payment, around.now, &around.policy.payment);
    react(session, decided, around, Decision::nothing())
}

/// Ends the session: the cost is final and rounded once, and the hold is captured or released.
pub(super) fn end(session: &Session, ended: Final, around: &Surroundings<'_>) -> Decision {
    let fact = ended.ended(around);
    let command = match fact.payable.minor {
        ..=0 => payment::Command::Release(VoidReason::NoStart),
        1.. => payment::Command::Capture { owed: fact.payable, extent: Extent::Final },
    };
    let decided = payment::decide(&session.payment, command, around.now, &around.policy.payment);
    let mut after = session.clone();
    after.stage = Stage::Settling(Box::new(fact));
    react(&after, decided, around, ended.facts.and_event(Event::Ended(Box::new(fact))))
}

/// Keeps the cost below what is authorized: asks for more in time, and stops the energy where there is no more.
pub(super) fn keep_covered(
    session: &Session,
    priced: &Priced,
    stop_asked: Option<StopReason>,
    around: &Surroundings<'_>,
    decision: Decision,
) -> Decision {
    if stop_asked.is_some() {
        return decision;
    }
    let reserve =
        priced.rating.cost_ahead_at_most(around.tariff, around.zone, session.power_max, around.policy.stop_latency);
    let Ok(reserve) = reserve else { return stop(StopReason::FundsExhausted, decision) };
    let spendable = session.payment.spendable().to_cost();
    // Three reserves ahead there is still time for an answer; one reserve ahead there is none.
    let covers = |reserves: i128| covers(spendable, priced.running, reserve, reserves);
    if covers(3) {
        return decision;
    }
    if !covers(1) {
        return stop(StopReason::FundsExhausted, decision);
    }
    match raise(session, priced, around) {
        Some(decided) => react(session, decided, around, decision),
        None => decision,
    }
}

/// Whether `spendable` covers the running cost and so many reserves on top.
fn covers(spendable: Cost, running: Cost, reserve: Cost, reserves: i128) -> bool {
    let ahead = reserve.parts().checked_mul(reserves).map(|parts| Cost::from_parts(parts, reserve.currency()));
    let needed = ahead.ok_or(MoneyError::Overflow).and_then(|ahead| running.checked_add(ahead));
    needed.and_then(|needed| spendable.compare(needed)).is_ok_and(|order| order != Ordering::Less)
}

/// Asks for a higher total, if the payment machine sees a way.
fn raise(session: &Session, priced: &Priced, around: &Surroundings<'_>) -> Option<payment::Decision> {
    let horizon = around.policy.increment_horizon;
    let ahead = priced.rating.cost_ahead_at_most(around.tariff, around.zone, session.power_max, horizon).ok()?;
    let new_total = priced.running.checked_add(ahead).and_then(Cost::ceiling).ok()?;
    let command = payment::Command::IncreaseTo(new_total);
    let decided = payment::decide(&session.payment, command, around.now, &around.policy.payment);
    // A refusal is its way of saying that there is nothing more to get: the energy is stopped when the time has come.
    (!decided.events.is_empty()).then_some(decided)
}

fn stop(reason: StopReason, decision: Decision) -> Decision {
    decision.and_event(Event::StopAsked(reason)).and_effect(Effect::StopNow(reason))
}

/// Takes over what the payment machine decided, and draws the session's conclusions.
fn react(session: &Session, decided: payment::Decision, around: &Surroundings<'_>, mut decision: Decision) -> Decision {
    if decided.events.is_empty() {
        decision.effects.extend(effects_of(decided.effects));
        return decision;
    }
    let mut payment = session.payment.clone();
    for event in &decided.events {
        payment::apply(&mut payment, event);
    }
    let conclusion = conclude(session, &payment, &decided.events, around);
    decision.events.extend(decided.events.into_iter().map(Event::Payment));
    decision.effects.extend(effects_of(decided.effects));
    decision.events.extend(conclusion.events);
    decision.effects.extend(conclusion.effects);
    decision
}

/// A refusal of our own command is no news to anybody outside.
fn effects_of(effects: SmallVec<[payment::Effect; 1]>) -> impl Iterator<Item = Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, payment::Effect::Refuse(_))).map(Effect::Payment)
}

/// What the money's new facts mean for the session. `payment` is the machine as it will be.
fn conclude(session: &Session, payment: &Payment, events: &[payment::Event], around: &Surroundings<'_>) -> Decision {
    match &session.stage {
        Stage::Authorizing => conclude_authorization(session, payment, events, around),
        Stage::Charging { limit, stop_asked } => conclude_change(payment, *limit, *stop_asked),
        Stage::Settling(ended) if payment.is_settled() => {
            let closed = Decision::event(Event::Closed);
            let closed = match ended.admitted {
                true => closed.and_effect(Effect::Receipt { payable: ended.payable, cost: ended.cost }),
                false => closed,
            };
            closed.and_effect(Effect::Archive)
        }
        Stage::Settling(_) => Decision::nothing(),
        // Something happened to the money of a closed session (a refund, a dispute): the archive is brought up to date.
        Stage::Closed(_) => Decision::reply(Effect::Archive),
    }
}

/// The credential was accepted, refused, or nobody decided in time.
fn conclude_authorization(
    session: &Session,
    payment: &Payment,
    events: &[payment::Event],
    around: &Surroundings<'_>,
) -> Decision {
    let refused = |reason| {
        let fact = Final::without_energy(session, reason, around).ended(around);
        let decision = Decision::event(Event::Ended(Box::new(fact))).and_effect(Effect::StartRejected(reason));
        match payment.is_settled() {
            true => decision.and_event(Event::Closed).and_effect(Effect::Archive),
            false => decision,
        }
    };
    for event in events {
        match event {
            payment::Event::Approved { .. } | payment::Event::PartiallyApproved { .. } => {
                let limit = payment.spendable();
                return match limit.minor {
                    1.. => Decision::event(Event::Admitted { limit }).and_effect(Effect::StartAccepted { limit }),
                    ..=0 => refused(StopReason::TooLittle),
                };
            }
            payment::Event::Declined { .. } => return refused(StopReason::Declined),
            payment::Event::NotExecuted { .. } => return refused(StopReason::NoProcessor),
            payment::Event::GivenUp { .. } => return refused(StopReason::NoDecision),
            _ => {}
        }
    }
    Decision::nothing()
}

/// The funds changed while energy flows: the charger learns its new limit, or has to stop.
fn conclude_change(payment: &Payment, limit: Amount, stop_asked: Option<StopReason>) -> Decision {
    let spendable = payment.spendable();
    if spendable.minor > limit.minor {
        return Decision::event(Event::Admitted { limit: spendable }).and_effect(Effect::LimitChanged(spendable));
    }
    match spendable.minor < limit.minor && stop_asked.is_none() {
        true => stop(StopReason::AuthorizationLost, Decision::nothing()),
        false => Decision::nothing(),
    }
}

/// What to ask for at the start: the tariff's own amount, or the house's.
fn first_hold(around: &Surroundings<'_>) -> Amount {
    let currency = around.tariff.currency();
    let house = || Amount::from_major(Decimal::from(around.policy.first_hold_major), currency);
    around.tariff.preauthorize_amount().map_or_else(house, Ok).expect("a u32 of major units fits")
}

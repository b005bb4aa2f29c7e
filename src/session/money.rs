//! The interface between a session and its payment machine.
//!
//! Down: request funds, request more, capture the amount owed, release. Up: the events of the payment machine, to which
//! the session reacts in the same decision, so that both are journaled together or not at all.

use super::decide::{Final, repeat_start};
use super::{Cause, Context, Decision, Effect, Ended, Event, Route, Session, Stage, StopReason, first_hold, funds};
use crate::payment::{self, Credential, DeclineClass, Extent, Ordinal, Payment, VoidReason};
use crate::units::Amount;
use smallvec::SmallVec;

/// The code of a decline by an account in another currency.
const OTHER_CURRENCY: &str = "currency_differs";

/// The code with which an account refuses what it has no money for.
const NO_FUNDS: &str = "no_funds";

/// The code with which an account refuses to pay for two sessions at once.
const SESSION_OPEN: &str = "session_open";

/// The code of a decline of a card that has expired.
const EXPIRED: &str = "expired_card";

/// The same as a response code of ISO 8583.
const EXPIRED_ISO_8583: &str = "54";

/// Requests the first hold. A stand-in whose floor would not even pay for stopping again is not begun.
pub(super) fn authorize(session: &Session, credential: Credential, route: Route, ctx: &Context<'_>) -> Decision {
    let floor = floor(ctx);
    if route.stand_in && !funds::is_covered(session, floor, ctx) {
        return give_up(session, &session.payment, StopReason::NoProcessor, ctx);
    }
    let command = ask(credential, route, ctx);
    let decided = payment::decide_ahead(&session.payment, command, ctx.now, &ctx.policy.payment);
    if decided.decision.events.is_empty() {
        // The payment machine refuses (an invalid token, an amount beyond all bounds): no request was made and none
        // will be.
        give_up(session, &session.payment, StopReason::Declined, ctx)
    } else {
        react(session, decided, ctx, Decision::nothing())
    }
}

/// Another credential while the session goes on: a further hold of the same group. It is answered like a repeated start;
/// the limit is raised when the funds are there.
pub(super) fn tap(session: &Session, credential: Credential, route: Route, ctx: &Context<'_>) -> Decision {
    let answer = repeat_start(session);
    match &session.stage {
        // Repeating it opens a second hold: with the first one, the funds are not short any longer.
        Stage::Charging { stop_asked: None, .. } if !route.stand_in && funds::is_short(session, ctx) => {
            let decided =
                payment::decide_ahead(&session.payment, ask(credential, route, ctx), ctx.now, &ctx.policy.payment);
            react(session, decided, ctx, answer)
        }
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => answer,
    }
}

fn ask(credential: Credential, route: Route, ctx: &Context<'_>) -> payment::Command {
    let Route { processor, capabilities, stand_in } = route;
    let amount = first_hold(ctx.tariff, ctx.policy);
    if stand_in {
        payment::Command::StandIn { processor, capabilities, credential, amount, floor: floor(ctx) }
    } else {
        payment::Command::Authorize { processor, capabilities, credential, amount, partial_ok: true }
    }
}

/// Amount that may be spent before an answer.
fn floor(ctx: &Context<'_>) -> Amount {
    let limit = ctx.policy.payment.floor_limit_minor;
    Amount::new(first_hold(ctx.tariff, ctx.policy).minor.min(limit), ctx.tariff.currency())
}

/// Lets the payment machine decide, and reacts to what it decided.
pub(super) fn step(session: &Session, command: payment::Command, ctx: &Context<'_>) -> Decision {
    let decided = payment::decide_ahead(&session.payment, command, ctx.now, &ctx.policy.payment);
    react(session, decided, ctx, Decision::nothing())
}

/// After a replay: the payment machine repeats its requests in progress.
pub(super) fn resume(session: &Session, ctx: &Context<'_>) -> Decision {
    let decided = payment::resume(&session.payment, ctx.now, &ctx.policy.payment);
    react(session, decided, ctx, Decision::nothing())
}

/// Ends the session: the cost is final and rounded once, and the hold is captured or released.
pub(super) fn end(session: &Session, ended: Final, ctx: &Context<'_>) -> Decision {
    let fact = ended.ended(ctx);
    // A charger without a link may have more readings: the rest of a hold is kept for them, for a while.
    let is_awaited = matches!(fact.reason, StopReason::Silence | StopReason::Unreported);
    let more = is_awaited && session.payment.takes_several_captures();
    let extent = if more { Extent::Interim } else { Extent::Final };
    let command = match fact.payable.minor {
        ..=0 => payment::Command::Release(VoidReason::NoStart),
        1.. => payment::Command::Capture { owed: fact.payable, extent },
    };
    let decided = payment::decide_ahead(&session.payment, command, ctx.now, &ctx.policy.payment);
    let mut after = session.clone();
    after.stage = Stage::Settling(Box::new(fact));
    react(&after, decided, ctx, ended.facts.and_event(Event::Ended(Box::new(fact))))
}

/// Corrects the result of a session. More is captured, or owed; less is refunded. While a hold is kept for later
/// readings, its money waits for the final result (`last`), so that not every late reading is a capture.
pub(super) fn correct(session: &Session, ended: Final, last: bool, ctx: &Context<'_>) -> Decision {
    let fact = ended.ended(ctx);
    let waits = !session.payment.is_ending() && !last;
    let mut after = session.clone();
    let closed = matches!(session.stage, Stage::Closed(_));
    after.stage = if closed { Stage::Closed(Box::new(fact)) } else { Stage::Settling(Box::new(fact)) };
    let decision = ended.facts.and_event(Event::Corrected(Box::new(fact)));
    let decision = if closed {
        // The archived record is outdated: the session is archived again, otherwise it would stay in its cell.
        decision.and_effect(Effect::Receipt { payable: fact.payable, cost: fact.cost }).and_effect(Effect::Archive)
    } else {
        decision
    };
    let given_back = session.payment.refunded().minor.saturating_add(session.payment.refunding().minor);
    let taken = session.payment.captured().minor.saturating_sub(given_back);
    let command = match fact.payable.minor {
        owed if owed > session.payment.owed().minor || (last && !session.payment.is_ending()) => {
            payment::Command::Capture { owed: fact.payable, extent: Extent::Final }
        }
        owed if owed < taken => {
            payment::Command::Refund(Amount::new(taken.saturating_sub(owed), fact.payable.currency))
        }
        _ => return decision,
    };
    if waits {
        decision
    } else {
        let decided = payment::decide_ahead(&session.payment, command, ctx.now, &ctx.policy.payment);
        react(&after, decided, ctx, decision)
    }
}

/// Energy that no one had agreed to pay for is billed after all: a hold is requested for what it costs, and captured when it is
/// there; what is not, is owed.
pub(super) fn bill(
    session: &Session,
    (facts, fact): (Decision, Ended),
    (credential, route): (Credential, Route),
    ctx: &Context<'_>,
) -> Decision {
    let mut after = session.clone();
    let closed = matches!(session.stage, Stage::Closed(_));
    after.stage = if closed { Stage::Closed(Box::new(fact)) } else { Stage::Settling(Box::new(fact)) };
    let decision = facts.and_event(Event::Corrected(Box::new(fact)));
    if fact.payable.minor <= 0 {
        return decision.and_effect(Effect::Archive);
    }
    let Route { processor, capabilities, stand_in: _ } = route;
    let (amount, partial_ok) = (fact.payable, true);
    let command = payment::Command::Authorize { processor, capabilities, credential, amount, partial_ok };
    let decided = payment::decide_ahead(&session.payment, command, ctx.now, &ctx.policy.payment);
    react(&after, decided, ctx, decision)
}

/// What is billed of an unpaid session is captured, as far as a hold was granted; once.
fn conclude_bill(session: &Session, payment: &Payment, ended: &Ended, ctx: &Context<'_>) -> Decision {
    if !session.is_billed_after_all() || payment.is_ending() || payment.is_authorizing() || ended.payable.minor <= 0 {
        return Decision::nothing();
    }
    let command = payment::Command::Capture { owed: ended.payable, extent: Extent::Final };
    plain(payment::decide(payment, command, ctx.now, &ctx.policy.payment))
}

/// Nothing more has come: the amount owed is taken, and the rest of the hold released.
pub(super) fn settle(session: &Session, ctx: &Context<'_>) -> Decision {
    let Some(ended) = session.ended() else { return Decision::nothing() };
    step(session, payment::Command::Capture { owed: ended.payable, extent: Extent::Final }, ctx)
}

/// Adopts a decision of the payment machine, and draws the session's conclusions.
pub(super) fn react(
    session: &Session,
    payment::Decided { decision: decided, after }: payment::Decided<'_>,
    ctx: &Context<'_>,
    mut decision: Decision,
) -> Decision {
    if decided.events.is_empty() {
        decision.effects.extend(effects_of(decided.effects));
        return decision;
    }
    let conclusion = conclude(session, &after, &decided.events, ctx);
    decision.events.extend(decided.events.into_iter().map(Box::new).map(Event::Payment));
    decision.effects.extend(effects_of(decided.effects));
    decision.events.extend(conclusion.events);
    decision.effects.extend(conclusion.effects);
    decision
}

/// A refusal of the session's own command is not reported outside.
fn effects_of(effects: SmallVec<[payment::Effect; 1]>) -> impl Iterator<Item = Effect> {
    effects
        .into_iter()
        .filter(|effect| !matches!(effect, payment::Effect::Refuse(_)))
        .map(Box::new)
        .map(Effect::Payment)
}

/// What the money's new facts mean for the session. `payment` is the machine as it will be.
fn conclude(session: &Session, payment: &Payment, events: &[payment::Event], ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Authorizing => conclude_authorization(session, payment, events, ctx),
        Stage::Charging { limit, stop_asked } => {
            let changed = conclude_change(session, payment, *limit, *stop_asked, ctx);
            let expiring = events.iter().any(|event| matches!(event, payment::Event::HoldExpiring { .. }));
            if expiring && stop_asked.is_none() && changed.events.is_empty() {
                funds::renew(session, payment, ctx).map_or(changed, plain)
            } else {
                changed
            }
        }
        Stage::Settling(ended) if payment.is_settled() => {
            let closed = Decision::event(Event::Closed { at: ctx.now.wall });
            let closed = if ended.admitted {
                closed.and_effect(Effect::Receipt { payable: ended.payable, cost: ended.cost })
            } else {
                closed
            };
            closed.and_effect(Effect::Archive)
        }
        Stage::Settling(ended) => conclude_bill(session, payment, ended, ctx),
        // Something happened to the money of a closed session (a refund, a dispute): the archive is brought up to date.
        Stage::Closed(ended) => conclude_bill(session, payment, ended, ctx).and_effect(Effect::Archive),
    }
}

/// The credential was accepted, refused, or not decided in time.
fn conclude_authorization(
    session: &Session,
    payment: &Payment,
    events: &[payment::Event],
    ctx: &Context<'_>,
) -> Decision {
    for event in events {
        let (reason, again) = match event {
            payment::Event::Approved { .. }
            | payment::Event::PartiallyApproved { .. }
            | payment::Event::HoldRequested { floor: Some(_), .. } => {
                let limit = payment.spendable();
                return if limit.minor > 0 && funds::is_covered(session, limit, ctx) {
                    Decision::event(Event::Admitted { limit, at: ctx.now.wall })
                        .and_effect(Effect::StartAccepted { limit })
                } else {
                    give_up(session, payment, StopReason::TooLittle, ctx)
                };
            }
            payment::Event::Declined { operation, decline, .. } => {
                let soft = matches!(decline.class, DeclineClass::Soft | DeclineClass::Technical);
                // The credential is good: only the money is another, or there is too little of it.
                let reason = match &*decline.code {
                    OTHER_CURRENCY => StopReason::OtherCurrency,
                    NO_FUNDS => StopReason::NoFunds,
                    SESSION_OPEN => StopReason::Concurrent,
                    EXPIRED | EXPIRED_ISO_8583 => StopReason::Expired,
                    _ => StopReason::Declined,
                };
                (reason, soft.then_some(*operation))
            }
            payment::Event::NotExecuted { operation, .. } => (StopReason::NoProcessor, Some(*operation)),
            // Only by policy may a second hold be requested beside one that is being reversed.
            payment::Event::GivenUp { operation, .. } => {
                (StopReason::NoDecision, ctx.policy.payment.double_hold.then_some(*operation))
            }
            _ => continue,
        };
        let elsewhere = again.and_then(|operation| fail_over(session, payment, operation, ctx));
        return elsewhere.unwrap_or_else(|| give_up(session, payment, reason, ctx));
    }
    Decision::nothing()
}

/// Sends the request to another processor, once, under a new id: only after the first one certainly holds nothing. If
/// none can be reached, not even the first one, energy may be given on our own risk.
fn fail_over(session: &Session, payment: &Payment, asked: Ordinal, ctx: &Context<'_>) -> Option<Decision> {
    if payment.holds().len() != 1 {
        return None;
    }
    let credential = session.payment.credential(asked)?;
    let amount = first_hold(ctx.tariff, ctx.policy);
    let shown = session.fingerprint.to_string();
    let shown = (credential, &*shown);
    let route = |except: &[_]| ctx.router.route(&session.charger, shown, amount, except);
    let first = payment.holds().first()?.processor();
    let route = match route(std::slice::from_ref(first)) {
        Ok(route) => route,
        Err(_) => route(&[]).ok().filter(|route| route.stand_in)?,
    };
    if route.stand_in && !funds::is_covered(session, floor(ctx), ctx) {
        return None;
    }
    let command = ask(credential.clone(), route, ctx);
    let decided = payment::decide(payment, command, ctx.now, &ctx.policy.payment);
    let floor = decided.events.iter().find_map(|event| match event {
        payment::Event::HoldRequested { floor, .. } => Some(*floor),
        _ => None,
    })?;
    let decision = plain(decided);
    Some(match floor {
        None => decision,
        Some(limit) => {
            decision.and_event(Event::Admitted { limit, at: ctx.now.wall }).and_effect(Effect::StartAccepted { limit })
        }
    })
}

/// There will be no energy that is paid for: the session ends before it began, and the reserved amount is released. A charger
/// whose sessions the gate numbers reports the end of a refused one, and maybe energy: such a session goes on without money.
fn give_up(session: &Session, payment: &Payment, reason: StopReason, ctx: &Context<'_>) -> Decision {
    let goes_on = session.origin.is_some();
    let mut decision = if goes_on {
        Decision::event(Event::Quarantined { cause: Cause::Refused(reason), at: ctx.now.wall })
    } else {
        Decision::event(Event::Ended(Box::new(Final::without_energy(session, reason, ctx).ended(ctx))))
    };
    let mut settled = payment.is_settled();
    if payment.authorized().minor > 0 && !payment.is_ending() {
        let command = payment::Command::Release(VoidReason::PartialTooSmall);
        let released = payment::decide(payment, command, ctx.now, &ctx.policy.payment);
        settled &= released.events.is_empty();
        let released = plain(released);
        decision.events.extend(released.events);
        decision.effects.extend(released.effects);
    }
    let decision = decision.and_effect(Effect::StartRejected(reason));
    if settled && !goes_on {
        decision.and_event(Event::Closed { at: ctx.now.wall }).and_effect(Effect::Archive)
    } else {
        decision
    }
}

/// The funds changed while energy flows: sends the charger its new limit, or stops it.
fn conclude_change(
    session: &Session,
    payment: &Payment,
    limit: Amount,
    stop_asked: Option<StopReason>,
    ctx: &Context<'_>,
) -> Decision {
    let spendable = funds::granted(payment);
    if spendable.minor == limit.minor {
        return Decision::nothing();
    }
    // After the stop order a higher limit would contradict it, and a lower one adds nothing.
    match (stop_asked, spendable.minor > limit.minor || funds::is_covered(session, spendable, ctx)) {
        (None, true) => Decision::event(Event::Admitted { limit: spendable, at: ctx.now.wall })
            .and_effect(Effect::LimitChanged(spendable)),
        (None, false) => funds::stop(StopReason::AuthorizationLost, Decision::nothing(), ctx),
        (Some(_), _) => Decision::nothing(),
    }
}

/// A decision of the payment machine without consequences for the session.
fn plain(decided: payment::Decision) -> Decision {
    Decision {
        events: decided.events.into_iter().map(Box::new).map(Event::Payment).collect(),
        effects: effects_of(decided.effects).collect(),
    }
}

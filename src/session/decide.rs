//! Decisions of a session's machine. Pure: reads the state and changes nothing.

use super::{
    Command, Context, Decision, Doubt, Effect, Ended, Event, Metered, Note, Rejection, SequenceOrder, Session, Stage,
    Stop, StopReason, Verdict, funds, money, plausible, quarantine, resume, unnumbered,
};
use crate::billing::meter_signature::Judged;
use crate::limits::SIGNED_VALUES_MAX;
use crate::payment;
use crate::tariff::{Rating, Slices};
use crate::units::{Cost, Energy, MeterReading, TimeSpan, Timestamp};

/// Decides one command.
pub fn decide(session: &Session, command: Command, ctx: &Context<'_>) -> Decision {
    match command {
        Command::Sample(reading) if session.is_unpaid() => quarantine::sample(session, &reading, ctx),
        Command::End { last, reason } if session.is_unpaid() => quarantine::end(session, last, reason, ctx),
        Command::RepeatStart | Command::Reconnected if session.is_unpaid() => quarantine::repeat(session, &command),
        // No stop is ordered again: the charger may have reported its end. A hold may still be on its way back.
        Command::Resume if session.is_unpaid() && matches!(session.stage, Stage::Charging { .. }) => {
            money::resume(session, ctx)
        }
        Command::Omitted if session.is_unpaid() => quarantine::give_up(session, StopReason::Omitted, ctx),
        Command::Wake { silent: true, .. } if session.is_unpaid() => {
            quarantine::give_up(session, StopReason::Silence, ctx)
        }
        Command::Abandoned if session.is_unpaid() => quarantine::give_up(session, StopReason::Unreported, ctx),
        Command::Abandoned => abandoned(session, ctx),
        Command::Left | Command::Occupied => Decision::nothing(),
        Command::Resumed => resumed(session, ctx),
        Command::Note(note) => noted(session, note),
        Command::Signed(judged) => signed(session, judged),
        Command::Authorize { credential, route } => money::authorize(session, credential, route, ctx),
        Command::RepeatStart => repeat_start(session),
        Command::PresentAnotherCredential { credential, route } => money::tap(session, credential, route, ctx),
        Command::Reconnected => back(session),
        Command::Omitted => omitted(session, ctx),
        Command::Reading(reading) => reading_came(session, &reading, ctx),
        Command::Stop(stop) => stop_came(session, &stop, ctx),
        Command::Sample(reading) => match unnumbered::next(session, &reading, ctx.now.wall) {
            Some(reading) => reading_came(session, &reading, ctx),
            None => Decision::reply(acknowledge(session, ctx)),
        },
        Command::End { last, reason } => {
            let last = unnumbered::last(session, last, ctx.now.wall);
            stop_came(session, &Stop { last, reason }, ctx)
        }
        Command::Payment(command) => money::step(session, *command, ctx),
        Command::Quarantine(cause) => quarantine::begin(session, cause, ctx),
        Command::Present(fingerprint) => quarantine::present(session, fingerprint),
        Command::Rule(order) => quarantine::rule(session, order, ctx),
        Command::Wake { silent, quiet } => wake(session, silent, quiet, ctx),
        Command::StopBy(reason) => stop_by(session, reason, ctx),
        Command::Resume => resume::resume(session, ctx),
    }
}

/// Repeats the messages that a charger may have missed while its link was down.
fn back(session: &Session) -> Decision {
    match &session.stage {
        Stage::Charging { stop_asked: Some(reason), .. } => Decision::reply(Effect::StopNow(*reason)),
        Stage::Charging { limit, stop_asked: None } if session.payment.past_operations().len() > 1 => {
            Decision::reply(Effect::LimitChanged(*limit))
        }
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// The charger no longer lists the session, so no stop will come: it ends on its last known total, and the connector
/// is free. The stop order is for a charger that continues all the same.
fn omitted(session: &Session, ctx: &Context<'_>) -> Decision {
    let ended = match (&session.stage, session.meter.sequence) {
        (Stage::Settling(_) | Stage::Closed(_), _) => return Decision::nothing(),
        (Stage::Authorizing, _) | (Stage::Charging { .. }, 0) => {
            Final::without_energy(session, StopReason::Omitted, ctx)
        }
        (Stage::Charging { .. }, _) => Final::on_last_total(session, StopReason::Omitted, ctx),
    };
    money::end(session, ended, ctx)
}

/// The stop of a session did not come, although its charger is there: it ends on its last known total.
fn abandoned(session: &Session, ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Charging { .. } => money::end(session, Final::on_last_total(session, StopReason::Unreported, ctx), ctx),
        Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// The charger goes on with a session that had ended on an estimate: with the hold that is still there. Without one, what it
/// reports corrects the end, as any late reading.
fn resumed(session: &Session, ctx: &Context<'_>) -> Decision {
    let limit = funds::granted(&session.payment);
    match &session.stage {
        Stage::Settling(ended)
            if ended.admitted && ended.reason.is_estimate() && !session.payment.is_ending() && limit.minor > 0 =>
        {
            Decision::event(Event::Continued { limit, at: ctx.now.wall })
        }
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// Something is known of the session, once.
fn noted(session: &Session, note: Note) -> Decision {
    if session.has_note(note) {
        return Decision::nothing();
    }
    let noted = Decision::event(Event::Noted(note));
    match &session.stage {
        Stage::Closed(_) => noted.and_effect(Effect::Archive),
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) => noted,
    }
}

/// The meter signed a value: it is kept once, and not more of them than a session has use for.
fn signed(session: &Session, judged: Box<Judged>) -> Decision {
    let kept = session.signed();
    if kept.len() >= SIGNED_VALUES_MAX || kept.iter().any(|kept| kept.value == judged.value) {
        return Decision::nothing();
    }
    let signed = Decision::event(Event::Signed(judged));
    match &session.stage {
        Stage::Closed(_) => signed.and_effect(Effect::Archive),
        Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) => signed,
    }
}

/// Repeats the answer to a start; before the decision there is none.
pub(super) fn repeat_start(session: &Session) -> Decision {
    match &session.stage {
        Stage::Authorizing => Decision::nothing(),
        Stage::Charging { limit, .. } => Decision::reply(Effect::StartAccepted { limit: *limit }),
        Stage::Settling(ended) | Stage::Closed(ended) if ended.admitted => {
            Decision::reply(Effect::StartAccepted { limit: ended.payable })
        }
        Stage::Settling(ended) | Stage::Closed(ended) => Decision::reply(Effect::StartRejected(ended.reason)),
    }
}

/// A meter reading: placed in the sequence, checked for plausibility, priced, and compared with the authorized amount.
fn reading_came(session: &Session, reading: &MeterReading, ctx: &Context<'_>) -> Decision {
    let stop_asked = match &session.stage {
        Stage::Authorizing => return Decision::reply(Effect::MeterRejected(Rejection::NotAdmitted)),
        Stage::Charging { stop_asked, .. } => *stop_asked,
        Stage::Settling(_) | Stage::Closed(_) => return late(session, reading, None, ctx),
    };
    match session.meter.place(reading.sequence) {
        SequenceOrder::Repeated => return Decision::reply(acknowledge(session, ctx)),
        SequenceOrder::Gap => return Decision::reply(Effect::MeterRejected(gap(session))),
        SequenceOrder::Next => {}
    }
    match &price(session, reading, Last::No, ctx) {
        Ok(priced) => meter(session, reading, priced, stop_asked, ctx),
        Err(doubt) => {
            let refused = Rejection::NotBelieved { sequence: reading.sequence, doubt: *doubt };
            Decision::event(Event::Suspected { reading: Box::new(*reading), doubt: *doubt })
                .and_effect(Effect::MeterRejected(refused))
        }
    }
}

/// A good reading: recorded, acknowledged with the cost so far, and compared with the funds.
fn meter(
    session: &Session,
    reading: &MeterReading,
    priced: &Priced,
    stop_asked: Option<StopReason>,
    ctx: &Context<'_>,
) -> Decision {
    let mut decision = priced.record(reading);
    decision.effects.push(Effect::MeterAck { up_to: reading.sequence, running: priced.running });
    match stop_asked {
        // The charger continues after the stop order: the order may have been lost.
        Some(reason) => decision.effects.push(Effect::StopNow(reason)),
        None => funds::keep_covered(session, priced, ctx, &mut decision),
    }
    decision
}

/// A reading, or a stop, after the end. One that was part of the session is acknowledged again. A session that ended
/// by an estimate continues with the charger's later readings: they are priced like those before, and the difference
/// is corrected. Any other is refused, and so is one of a session that ended before it began.
fn late(session: &Session, reading: &MeterReading, stop: Option<StopReason>, ctx: &Context<'_>) -> Decision {
    let began = session.meter.sequence > 0 || session.origin.is_some();
    let estimate = session.ended().filter(|ended| ended.admitted && ended.reason.is_estimate());
    let (silent, estimate) = (began && estimate.is_some(), estimate.map_or(StopReason::Silence, |ended| ended.reason));
    match (session.meter.place(reading.sequence), stop) {
        (SequenceOrder::Repeated, Some(reason)) if silent => {
            let mut ended = Final::on_last_total(session, reason, ctx);
            ended.at = session.meter.at;
            money::correct(session, ended, true, ctx).and_effect(acknowledge(session, ctx))
        }
        (SequenceOrder::Repeated, _) => Decision::reply(acknowledge(session, ctx)),
        (SequenceOrder::Gap, _) if silent => Decision::reply(Effect::MeterRejected(gap(session))),
        (SequenceOrder::Next, stop) if silent => match price(session, reading, Last::Yes, ctx) {
            Ok(priced) => {
                let mut ended = Final::on_last_total(session, stop.unwrap_or(estimate), ctx);
                ended.facts = priced.record(reading);
                ended.cost = priced.running;
                ended.at = reading.at;
                let ack = Effect::MeterAck { up_to: reading.sequence, running: priced.running };
                let decision = money::correct(session, ended, stop.is_some(), ctx).and_effect(ack);
                match stop {
                    Some(_) => decision,
                    // The charger still gives energy although its session is over.
                    None => decision.and_effect(Effect::StopNow(estimate)),
                }
            }
            Err(doubt) => {
                let refused = Rejection::NotBelieved { sequence: reading.sequence, doubt };
                let suspected = Decision::event(Event::Suspected { reading: Box::new(*reading), doubt });
                let unchanged = session.ended().map(|ended| Event::Corrected(Box::new(*ended)));
                let suspected = unchanged.into_iter().fold(suspected, Decision::and_event);
                suspected.and_effect(Effect::MeterRejected(refused))
            }
        },
        (SequenceOrder::Next | SequenceOrder::Gap, _) => Decision::reply(Effect::MeterRejected(Rejection::Over)),
    }
}

/// The charger ended the session: its last reading counts like any other, and the cost is final.
fn stop_came(session: &Session, stop: &Stop, ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Authorizing => return money::end(session, Final::without_energy(session, stop.reason, ctx), ctx),
        Stage::Charging { .. } => {}
        Stage::Settling(_) | Stage::Closed(_) => return late(session, &stop.last, Some(stop.reason), ctx),
    }
    match session.meter.place(stop.last.sequence) {
        // The last reading was already sent as an ordinary one: its register stands.
        SequenceOrder::Repeated => {
            let ended = Final::on_last_total(session, stop.reason, ctx);
            money::end(session, ended, ctx).and_effect(acknowledge(session, ctx))
        }
        SequenceOrder::Gap => Decision::reply(Effect::MeterRejected(gap(session))),
        SequenceOrder::Next => match price(session, &stop.last, Last::Yes, ctx) {
            Ok(priced) => {
                let mut ended = Final::on_last_total(session, stop.reason, ctx);
                // Its last reading decides what was undecided.
                ended.facts = priced.record(&stop.last);
                ended.cost = priced.running;
                ended.at = stop.last.at;
                let ack = Effect::MeterAck { up_to: stop.last.sequence, running: priced.running };
                money::end(session, ended, ctx).and_effect(ack)
            }
            Err(doubt) => {
                let mut ended = Final::on_last_total(session, stop.reason, ctx);
                let ack = Effect::MeterAck { up_to: stop.last.sequence, running: ended.cost };
                ended.facts = ended.facts.and_event(Event::Suspected { reading: Box::new(stop.last), doubt });
                money::end(session, ended, ctx).and_effect(ack)
            }
        },
    }
}

/// Handles timers: checks the funds, and ends a session whose charger has sent nothing for too long.
fn wake(session: &Session, silent: bool, quiet: Option<TimeSpan>, ctx: &Context<'_>) -> Decision {
    match (&session.stage, quiet) {
        (Stage::Charging { .. }, _) if silent => {
            let ended = match session.meter.sequence {
                0 => Final::without_energy(session, StopReason::Silence, ctx),
                _ => Final::on_last_total(session, StopReason::Silence, ctx),
            };
            money::end(session, ended, ctx).and_effect(Effect::StopNow(StopReason::Silence))
        }
        (Stage::Settling(_), _) if silent => money::settle(session, ctx),
        (Stage::Charging { stop_asked: None, .. }, Some(quiet)) => funds::watch(session, quiet, ctx),
        (Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) | Stage::Closed(_), _) => {
            money::step(session, payment::Command::Tick, ctx)
        }
    }
}

/// Ends the session without the charger: stops the energy and awaits the charger's last reading.
fn stop_by(session: &Session, reason: StopReason, ctx: &Context<'_>) -> Decision {
    match &session.stage {
        Stage::Authorizing => money::end(session, Final::without_energy(session, reason, ctx), ctx)
            .and_effect(Effect::StartRejected(reason)),
        Stage::Charging { stop_asked: Some(asked), .. } => Decision::reply(Effect::StopNow(*asked)),
        Stage::Charging { stop_asked: None, .. } => {
            Decision::event(Event::StopAsked { reason, at: ctx.now.wall }).and_effect(Effect::StopNow(reason))
        }
        Stage::Settling(_) | Stage::Closed(_) => Decision::nothing(),
    }
}

/// A reading with its price: the facts that it makes, and what the session costs with it.
pub(super) struct Priced {
    /// The reading.
    pub reading: MeterReading,
    jumped: Option<Energy>,
    slices: Slices,
    /// The running cost, VAT included.
    pub running: Cost,
}

impl Priced {
    /// The session's accumulator as it will be. Few readings need it.
    pub fn rating(&self, session: &Session) -> Rating {
        session.rating.with(&self.slices)
    }

    /// Whether the register stood still, and it is not decided yet what the time was.
    pub fn leaves_undecided(&self) -> bool {
        self.slices.0.is_empty()
    }

    fn record(&self, reading: &MeterReading) -> Decision {
        let metered = Event::Metered(Metered { reading: *reading, slices: self.slices.copied() });
        match self.jumped {
            None => Decision::event(metered),
            Some(jump) => Decision::event(Event::RegisterJumped(jump)).and_event(metered),
        }
    }
}

/// Whether a reading ends its session, so that no time stays undecided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    Yes,
}

/// Checks a reading that is next in sequence: by how much the register jumped before it, if it did.
pub(super) fn judge(session: &Session, reading: &MeterReading, ctx: &Context<'_>) -> Result<Option<Energy>, Doubt> {
    plausible::reading(reading, ctx.now.wall, ctx.policy)?;
    let jump =
        match unnumbered::base(session, reading).unwrap_or_else(|| session.meter.judge(reading, session.power_max)) {
            Verdict::Good => None,
            Verdict::Jumped(jump) => Some(jump),
            Verdict::Suspect(doubt) => return Err(doubt),
        };
    let from = session.meter.register.checked_add(jump.unwrap_or(Energy::ZERO)).ok_or(Doubt::Unpriceable)?;
    let apart = unnumbered::apart(session, from, reading.register);
    if apart == Energy::ZERO {
        return Ok(jump);
    }
    jump.unwrap_or(Energy::ZERO).checked_add(apart).map(Some).ok_or(Doubt::Unpriceable)
}

/// Checks and prices a reading that is next in sequence.
fn price(session: &Session, reading: &MeterReading, last: Last, ctx: &Context<'_>) -> Result<Priced, Doubt> {
    let jumped = judge(session, reading, ctx)?;
    let energy = session.meter.counted_after(jumped, reading.register).ok_or(Doubt::Unpriceable)?;
    let counted = MeterReading { register: energy, ..*reading };
    let slices = match last {
        Last::No => session.rating.price(ctx.tariff, ctx.zone, &counted),
        Last::Yes => session.rating.price_last(ctx.tariff, ctx.zone, &counted),
    };
    let slices = slices.map_err(|_| Doubt::Unpriceable)?;
    let running = session.rating.with(&slices).running(ctx.tariff).map_err(|_| Doubt::Unpriceable)?;
    Ok(Priced { reading: *reading, jumped, slices, running })
}

fn gap(session: &Session) -> Rejection {
    Rejection::Gap { expected: session.meter.sequence.saturating_add(1) }
}

fn acknowledge(session: &Session, ctx: &Context<'_>) -> Effect {
    Effect::MeterAck { up_to: session.meter.sequence, running: running_cost(session, ctx) }
}

/// The running cost as it stands. Every recorded slice was totalled when it was decided, so this cannot fail.
pub(super) fn running_cost(session: &Session, ctx: &Context<'_>) -> Cost {
    match &session.stage {
        Stage::Settling(ended) | Stage::Closed(ended) => ended.cost,
        Stage::Authorizing | Stage::Charging { .. } => {
            session.rating.running(ctx.tariff).unwrap_or(Cost::zero(ctx.tariff.currency()))
        }
    }
}

/// The undecided time of a session that ends without a further reading, with the cost that results. Time beyond all
/// figures stays out.
fn rest(session: &Session, ctx: &Context<'_>) -> Option<(Slices, Cost)> {
    let open = matches!(session.stage, Stage::Charging { .. });
    if !open || session.rating.undecided(session.meter.at) == TimeSpan::ZERO {
        return None;
    }
    let slices = session.rating.price_rest(ctx.tariff, ctx.zone, session.meter.at).ok()?;
    let cost = session.rating.with(&slices).running(ctx.tariff).ok()?;
    Some((slices, cost))
}

/// The end of a session, before it is a fact.
pub(super) struct Final {
    /// Facts of the last reading.
    pub facts: Decision,
    /// The reason.
    pub reason: StopReason,
    /// When energy was last known, by the charger's clock.
    pub at: Timestamp,
    /// The cost.
    pub cost: Cost,
    /// Whether energy was given.
    pub admitted: bool,
}

impl Final {
    /// Ends on the known state: time in which the register stood still, and which is undecided, is decided now.
    fn on_last_total(session: &Session, reason: StopReason, ctx: &Context<'_>) -> Final {
        let (facts, cost) = match rest(session, ctx) {
            Some((slices, cost)) => (Decision::event(Event::Decided(slices)), cost),
            None => (Decision::nothing(), running_cost(session, ctx)),
        };
        Final { facts, reason, at: session.meter.at, cost, admitted: true }
    }

    /// Ends without energy and without cost.
    pub(super) fn without_energy(session: &Session, reason: StopReason, ctx: &Context<'_>) -> Final {
        let admitted = !matches!(session.stage, Stage::Authorizing);
        let cost = Cost::zero(ctx.tariff.currency());
        Final { facts: Decision::nothing(), reason, at: session.meter.at, cost, admitted }
    }

    /// The fact of the end, with the one rounding of the session's money.
    pub(super) fn ended(&self, ctx: &Context<'_>) -> Ended {
        let payable = self.cost.round(ctx.tariff.rounding()).expect("the range of a cost fits minor units");
        Ended {
            reason: self.reason,
            at: self.at,
            known_at: ctx.now.wall,
            cost: self.cost,
            payable,
            admitted: self.admitted,
        }
    }
}

//! Decisions of a payment. Pure: reads the state and changes nothing. All guards on money are here and use reserved
//! amounts, so two commands that are possible only one at a time are never both accepted.

use super::draft::{Decided, Draft};
use super::{
    Ask, Command, Credential, Decision, Effect, Ending, Event, Extent, Hold, HoldCapabilities, OperationKind, Ordinal,
    Payment, Policy, Rejection, Stage, VoidReason,
};
use crate::limits::HOLDS_PER_PAYMENT;
use crate::units::{Amount, Now, ProcessorId};
use std::borrow::Cow;

/// Decides one command. A refused command has no events and one [`Effect::Refuse`].
pub fn decide(payment: &Payment, command: Command, now: Now, policy: &Policy) -> Decision {
    decide_ahead(payment, command, now, policy).decision
}

/// The same, with the payment as it will be.
pub fn decide_ahead<'a>(payment: &'a Payment, command: Command, now: Now, policy: &'a Policy) -> Decided<'a> {
    let mut draft = Draft::new(payment, now, policy);
    match run(&mut draft, command) {
        Ok(()) => draft.decided(),
        Err(rejection) => {
            Decided { decision: Decision::reply(Effect::Refuse(rejection)), after: Cow::Borrowed(payment) }
        }
    }
}

fn run(draft: &mut Draft<'_>, command: Command) -> Result<(), Rejection> {
    match command {
        Command::Authorize { processor, capabilities, credential, amount, partial_ok } => {
            let floor = None;
            authorize(draft, Wanted { processor, capabilities, credential, amount, partial_ok, floor })
        }
        Command::StandIn { processor, capabilities, credential, amount, floor } => {
            let (partial_ok, floor) = (true, Some(floor));
            authorize(draft, Wanted { processor, capabilities, credential, amount, partial_ok, floor })
        }
        Command::IncreaseTo(total) => adjust(draft, total, Ask::Increment),
        Command::DecreaseTo(total) => adjust(draft, total, Ask::Decrement),
        Command::Capture { owed, extent } => capture(draft, owed, extent),
        Command::Release(reason) => release(draft, reason),
        Command::ReleaseByOperator { hold } => release_one(draft, hold),
        Command::Refund(amount) => refund(draft, amount),
        Command::Answer { from, answer } => {
            draft.answer(from, answer);
            Ok(())
        }
        Command::Notification { from, notification } => {
            draft.notification(from, notification);
            Ok(())
        }
        Command::NotSent { operation, attempt } => {
            draft.not_sent(operation, attempt);
            Ok(())
        }
        Command::ConnectionLost { operation, attempt } => {
            draft.connection_lost(operation, attempt);
            Ok(())
        }
        Command::Tick => {
            draft.tick();
            Ok(())
        }
    }
}

/// A hold that is wanted.
struct Wanted {
    processor: ProcessorId,
    capabilities: HoldCapabilities,
    credential: Credential,
    amount: Amount,
    partial_ok: bool,
    /// For a stand-in: how much may be spent before the answer.
    floor: Option<Amount>,
}

fn authorize(draft: &mut Draft<'_>, wanted: Wanted) -> Result<(), Rejection> {
    let Wanted { processor, capabilities, credential, amount, partial_ok, floor } = wanted;
    let minor = draft.positive(amount)?;
    let floor_minor = floor.map(|floor| draft.positive(floor)).transpose()?;
    let max_minor = draft.policy.total_max_minor;
    if minor > max_minor.saturating_sub(draft.state().authorized().minor) {
        return Err(Rejection::AmountTooLarge { max: draft.state().amount(max_minor) });
    }
    check_token(&credential)?;
    if draft.is_ending() {
        return Err(Rejection::Ending);
    }
    if draft.state().holds().len() >= HOLDS_PER_PAYMENT {
        return Err(Rejection::TooManyHolds);
    }
    let operation = draft.next_number()?;
    let undecided = |hold: &Hold| matches!(hold.stage, Stage::Authorizing | Stage::StandIn { .. });
    if draft.state().holds().iter().any(undecided) {
        return Err(Rejection::AuthorizationPending);
    }
    if !draft.policy.double_hold && draft.state().holds().iter().any(|hold| hold.stage == Stage::Reversing) {
        return Err(Rejection::ReversalPending);
    }
    if !capabilities.takes(OperationKind::Authorize) {
        return Err(Rejection::NotSupported(OperationKind::Authorize));
    }
    let limit_minor = draft.policy.floor_limit_minor;
    if floor_minor.is_some_and(|floor| floor > limit_minor) {
        return Err(Rejection::FloorAboveLimit { limit: draft.state().amount(limit_minor) });
    }
    draft.fact(Event::HoldRequested {
        operation,
        processor,
        capabilities,
        credential: Box::new(credential),
        amount,
        partial_ok,
        floor,
        at: draft.now.wall,
    });
    draft.send(operation);
    Ok(())
}

fn check_token(credential: &Credential) -> Result<(), Rejection> {
    let longest = match super::vault::is_sealed(&credential.token) {
        // The token was screened before it was sealed; its digits cannot be read now.
        true => Credential::MAX_TOKEN + super::vault::SEAL_BYTES,
        false if super::credential::looks_like_card_number(&credential.token) => return Err(Rejection::CardNumber),
        false => Credential::MAX_TOKEN,
    };
    match credential.token.len() {
        1.. if credential.token.len() <= longest => Ok(()),
        _ => Err(Rejection::TokenLength),
    }
}

/// Raises or lowers the total of the group by changing its youngest open hold.
fn adjust(draft: &mut Draft<'_>, total: Amount, ask: Ask) -> Result<(), Rejection> {
    let total = draft.positive(total)?;
    let max_minor = draft.policy.total_max_minor;
    if total > max_minor {
        return Err(Rejection::AmountTooLarge { max: draft.state().amount(max_minor) });
    }
    if draft.is_ending() {
        return Err(Rejection::Ending);
    }
    draft.next_number()?;
    let payment = draft.state();
    let kind = ask.kind();
    let Some(hold) = payment.holds().iter().rev().find(|hold| hold.stage == Stage::Open) else {
        return Err(Rejection::NoOpenHold);
    };
    if !hold.capabilities().takes(kind) {
        return Err(Rejection::NotSupported(kind));
    }
    if hold.release.is_some() || payment.live_on(hold, OperationKind::Void).is_some() {
        return Err(Rejection::ReleaseUnderWay);
    }
    if hold.captured_minor > 0 || payment.live_on(hold, OperationKind::Capture).is_some() {
        return Err(Rejection::CaptureUnderWay);
    }
    let adjusting = [OperationKind::Increment, OperationKind::Decrement];
    if adjusting.into_iter().any(|kind| payment.live_on(hold, kind).is_some()) {
        return Err(Rejection::AdjustmentUnderWay);
    }
    let others = payment.authorized().minor.saturating_sub(hold.authorized_minor);
    let new_total = total.saturating_sub(others);
    if new_total == hold.authorized_minor {
        return Err(Rejection::TotalUnchanged);
    }
    if (kind == OperationKind::Increment) != (new_total > hold.authorized_minor) || new_total <= 0 {
        return Err(Rejection::WrongDirection);
    }
    let increments_max = hold.capabilities().increments_max.min(draft.policy.increments_max);
    if kind == OperationKind::Increment && hold.increments >= increments_max {
        return Err(Rejection::IncrementsExhausted);
    }
    if kind == OperationKind::Increment {
        hold.may_be_raised(draft.now)?;
    }
    let number = hold.number;
    draft.request(number, ask, new_total)
}

fn capture(draft: &mut Draft<'_>, owed: Amount, extent: Extent) -> Result<(), Rejection> {
    let minor = draft.positive(owed)?;
    let payment = draft.state();
    let taken = payment.captured().minor.saturating_add(payment.capturing().minor);
    if minor < taken.max(payment.owed) {
        return Err(Rejection::OwedFalls);
    }
    let last = extent == Extent::Final;
    if minor == payment.owed && (!last || draft.is_ending()) {
        return Ok(());
    }
    let shortfall = payment.uncovered(minor);
    let shortfall = payment.amount(shortfall);
    draft.fact(Event::CaptureOrdered { owed, last, shortfall, at: draft.now.wall });
    match extent {
        Extent::Interim => draft.capture_interim(),
        Extent::Final => {
            draft.advance();
            Ok(())
        }
    }
}

fn release(draft: &mut Draft<'_>, reason: VoidReason) -> Result<(), Rejection> {
    if draft.is_ending() {
        return Ok(());
    }
    let payment = draft.state();
    if payment.owed > 0 || payment.holds().iter().any(|hold| hold.captured_minor > 0) {
        return Err(Rejection::CaptureUnderWay);
    }
    draft.fact(Event::ReleaseOrdered { reason, at: draft.now.wall });
    draft.advance();
    Ok(())
}

fn release_one(draft: &mut Draft<'_>, number: Ordinal) -> Result<(), Rejection> {
    draft.next_number()?;
    let Some(hold) = draft.state().hold(number) else { return Err(Rejection::UnknownHold) };
    if !hold.capabilities().takes(OperationKind::Void) {
        return Err(Rejection::NotSupported(OperationKind::Void));
    }
    if draft.state().live_on(hold, OperationKind::Void).is_some() {
        return Err(Rejection::ReleaseUnderWay);
    }
    let capturing = draft.state().live_on(hold, OperationKind::Capture).is_some();
    match hold.stage {
        Stage::Open if hold.captured_minor > 0 || capturing => Err(Rejection::CaptureUnderWay),
        Stage::Open => draft.void(number, VoidReason::DriverCancelled),
        // The next void waits until the authorization cannot arrive any more, and then goes out by itself.
        Stage::Reversing => Err(Rejection::ReleaseUnderWay),
        Stage::Authorizing | Stage::StandIn { .. } => draft.give_up(number, VoidReason::DriverCancelled),
        Stage::Closed(Ending::Expired | Ending::CaptureFailed) => draft.void(number, VoidReason::Remainder),
        Stage::Closed(_) => Err(Rejection::NoOpenHold),
    }
}

/// Refunds the youngest captures first, one refund for each capture that is needed.
fn refund(draft: &mut Draft<'_>, amount: Amount) -> Result<(), Rejection> {
    let minor = draft.positive(amount)?;
    let refundable = draft.state().refundable();
    let parts = draft.state().refund_parts(minor).ok_or(Rejection::RefundTooLarge { refundable })?;
    for (hold, capture, part) in &parts {
        let Some(of) = draft.state().hold(*hold) else { return Err(Rejection::UnknownHold) };
        if !of.capabilities().takes(OperationKind::Refund) {
            return Err(Rejection::NotSupported(OperationKind::Refund));
        }
        draft.request(*hold, Ask::Refund { capture: *capture }, *part)?;
    }
    Ok(())
}

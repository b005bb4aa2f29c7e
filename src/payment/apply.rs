//! Applies a fact to a payment. Never fails; asserts its assumptions.

use super::state::{Again, Dispute, DisputeState, Finish, INQUIRY_IDS, Party, Raise, Rare, Seen, Timer};
use super::{
    Ask, DeclineClass, Ending, Event, Final, Hold, LiveOperation, OperationKind, Ordinal, PastOperation, Payment,
    Phase, Source, Stage, UnknownCause, VoidReason,
};
use crate::limits::NOTIFICATIONS_REMEMBERED;
use crate::units::{Common, Timestamp};

/// Folds one fact into the payment.
pub fn apply(payment: &mut Payment, event: &Event) {
    fold(payment, event);
    let attempts = event.operation().and_then(|number| payment.live(number)).map_or(1, |live| live.attempts);
    payment.history.note(event, attempts);
}

fn fold(payment: &mut Payment, event: &Event) {
    match event {
        Event::HoldRequested { .. } => hold_requested(payment, event),
        Event::OperationRequested { operation, hold, ask, amount, at } => {
            debug_assert_eq!(amount.currency, payment.currency);
            if let Some(hold) = hold_mut(payment, *hold) {
                match ask {
                    Ask::Capture { .. } => {
                        hold.again = Again::No;
                        hold.release = None;
                    }
                    Ask::Void { reason } => {
                        hold.again = Again::No;
                        hold.release = hold.release.or(Some(*reason));
                    }
                    Ask::Increment => hold.increments = hold.increments.saturating_add(1),
                    Ask::Authorize { .. } | Ask::Decrement | Ask::Refund { .. } => {}
                }
            }
            let mut live = LiveOperation::new(*operation, *hold, *ask, amount.minor, *at);
            live.referenced = hold_mut(payment, *hold).is_some_and(|hold| hold.processor_ref.is_some());
            payment.begin(live);
        }
        Event::OperationRepeated { operation, at } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.attempts = live.attempts.saturating_add(1);
            live.sent_at = *at;
            live.sent = Timer::OFF;
            live.binding = 0;
            live.phase = Phase::Asked;
            live.timer = Timer::OFF;
            let (hold, authorize) = (live.hold, live.ask.kind() == OperationKind::Authorize);
            if let Some(hold) = hold_mut(payment, hold).filter(|_| authorize) {
                hold.expires_at = at.saturating_add(hold.capabilities().validity());
            }
        }
        Event::Inquired { operation, binding, at: _ } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.inquiries = live.inquiries.wrapping_add(1);
            if *binding {
                live.binding = live.binding.saturating_add(1).min(INQUIRY_IDS);
            }
            live.timer = Timer::OFF;
        }
        Event::OutcomeUnknown { operation, cause, at: _ } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.phase = Phase::Unknown { cause: *cause };
            live.failed |= *cause == UnknownCause::Error;
            live.possibly_sent = true;
            live.timer = Timer::OFF;
        }
        Event::Queued { operation, at: _ } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.phase = Phase::Queued;
            live.timer = Timer::OFF;
        }
        Event::Accepted { operation, decide_by, source } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.phase = Phase::Accepted { decide_by: *decide_by };
            live.possibly_sent = true;
            live.seen = Some(Seen::from(*source));
            live.timer = Timer::OFF;
        }
        Event::Approved { operation, total, processor_ref, expires_at, source }
        | Event::PartiallyApproved { operation, total, processor_ref, expires_at, source } => {
            let Some(hold) = payment.end(*operation, Final::Approved, Some(total.minor), Some(*source)) else { return };
            let Some(hold) = hold_mut(payment, hold) else { return };
            debug_assert!(matches!(hold.stage, Stage::Authorizing | Stage::StandIn { .. }));
            hold.stage = Stage::Open;
            hold.authorized_minor = total.minor;
            hold.processor_ref = Some(processor_ref.clone());
            hold.expires_at = *expires_at;
        }
        Event::Declined { operation, decline: _, source } => {
            let Some(hold) = payment.end(*operation, Final::Declined, None, Some(*source)) else { return };
            let ending = match payment.hold(hold).map(|hold| hold.stage) {
                Some(Stage::StandIn { .. }) => Ending::StandInLost,
                _ => Ending::Declined,
            };
            payment.close(hold, ending);
        }
        Event::NotExecuted { operation, .. } => {
            let Some(kind) = live_mut(payment, *operation).map(|live| live.ask.kind()) else { return };
            let Some(hold) = payment.end(*operation, Final::NotExecuted, None, None) else { return };
            match kind {
                OperationKind::Authorize => payment.close(hold, Ending::NotExecuted),
                OperationKind::Capture => payment.try_again(hold, Again::Capture),
                OperationKind::Void => payment.try_again(hold, Again::Void),
                // It was never sent, so it does not count; but an unreachable processor is not tried again at once.
                OperationKind::Increment => {
                    let Some(hold) = hold_mut(payment, hold) else { return };
                    hold.increments = hold.increments.saturating_sub(1);
                    if hold.raise == Raise::Free {
                        hold.raise = Raise::Paused;
                    }
                    hold.timer = Timer::OFF;
                }
                OperationKind::Decrement | OperationKind::Refund | OperationKind::Inquire => {}
            }
        }
        Event::GivenUp { operation, reason, at: _ } => {
            let Some(hold) = payment.end(*operation, Final::GivenUp, None, None) else { return };
            let Some(hold) = hold_mut(payment, hold) else { return };
            hold.stage = Stage::Reversing;
            hold.release = Some(*reason);
        }
        Event::IncrementApproved { operation, total, expires_at, source } => {
            let Some(hold) = payment.end(*operation, Final::Approved, Some(total.minor), Some(*source)) else { return };
            let Some(hold) = hold_mut(payment, hold) else { return };
            hold.authorized_minor = total.minor;
            hold.raise = Raise::Free;
            if let Some(expires_at) = expires_at {
                hold.expires_at = *expires_at;
                hold.expiry_announced = false;
            }
        }
        Event::DecrementApproved { operation, total, source } => {
            let Some(hold) = payment.end(*operation, Final::Approved, Some(total.minor), Some(*source)) else { return };
            let Some(hold) = hold_mut(payment, hold) else { return };
            hold.authorized_minor = total.minor;
        }
        Event::IncrementDeclined { operation, decline, source } => {
            let Some(hold) = payment.end(*operation, Final::Declined, None, Some(*source)) else { return };
            let Some(hold) = hold_mut(payment, hold) else { return };
            hold.raise = match decline.class {
                DeclineClass::Soft | DeclineClass::Technical if matches!(hold.raise, Raise::Free | Raise::Paused) => {
                    Raise::Later
                }
                DeclineClass::Soft
                | DeclineClass::Technical
                | DeclineClass::Hard
                | DeclineClass::Fraud
                | DeclineClass::State => Raise::Never,
            };
            hold.timer = Timer::OFF;
        }
        Event::DecrementDeclined { operation, decline: _, source }
        | Event::RefundDeclined { operation, decline: _, source } => {
            payment.end(*operation, Final::Declined, None, Some(*source));
        }
        Event::CaptureOrdered { owed, last, shortfall: _, at: _ } => {
            payment.owed = owed.minor;
            if *last {
                payment.finish = Finish::Capture;
            }
        }
        Event::ReleaseOrdered { reason, at: _ } => payment.finish = Finish::Release(*reason),
        Event::Captured { operation, amount, shortfall: _, source } => {
            let last = live_mut(payment, *operation).is_some_and(|op| op.ask == Ask::Capture { last: true });
            let Some(number) = payment.end(*operation, Final::Approved, Some(amount.minor), Some(*source)) else {
                return;
            };
            let Some(hold) = hold_mut(payment, number) else { return };
            hold.captured_minor = hold.captured_minor.saturating_add(amount.minor);
            hold.refusals = 0;
            if last {
                payment.close(number, Ending::Captured);
            }
        }
        Event::CaptureDeclined { operation, decline: _, source } => {
            let Some(hold) = payment.end(*operation, Final::Declined, None, Some(*source)) else { return };
            payment.try_again(hold, Again::Capture);
        }
        Event::CaptureFailed { operation, amount: _, decline: _, source } => {
            let Some(number) = payment.end(*operation, Final::Declined, None, Some(*source)) else { return };
            payment.close(number, Ending::CaptureFailed);
            if let Some(hold) = hold_mut(payment, number) {
                hold.release = Some(VoidReason::Remainder);
            }
        }
        Event::Voided { operation, source, at: _ } => voided(payment, *operation, Final::Approved, *source),
        Event::NothingToVoid { operation, source, at: _ } => voided(payment, *operation, Final::Declined, *source),
        Event::VoidRefused { operation, decline: _, source } => {
            let Some(hold) = payment.end(*operation, Final::Declined, None, Some(*source)) else { return };
            payment.try_again(hold, Again::Void);
        }
        Event::Refunded { operation, amount, source } => {
            let Some(hold) = payment.end(*operation, Final::Approved, Some(amount.minor), Some(*source)) else {
                return;
            };
            let Some(hold) = hold_mut(payment, hold) else { return };
            hold.refunded_minor = hold.refunded_minor.saturating_add(amount.minor);
        }
        Event::LateApproval { .. } => late_approval(payment, event),
        Event::AnswerQuarantined { operation, discrepancy: _, source: _, at: _ } => {
            if let Some(live) = payment.live.iter_mut().find(|live| live.number == *operation) {
                live.phase = Phase::Unknown { cause: UnknownCause::Mismatch };
                live.possibly_sent = true;
                live.disputed = true;
                live.timer = Timer::OFF;
            } else if let Some(past) = payment.past.iter_mut().find(|past| past.number == *operation) {
                past.disputed = true;
            }
        }
        Event::Escalated { operation, at: _ } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.escalated = true;
            live.timer = Timer::OFF;
        }
        Event::HoldExpiring { hold, expires_at: _, at: _ } => {
            let Some(hold) = hold_mut(payment, *hold) else { return };
            hold.expiry_announced = true;
        }
        Event::HoldExpired { hold, source, at: _ } => {
            payment.remember(*source);
            payment.supersede(*hold, |_| true);
            let captured = payment.hold(*hold).is_some_and(|hold| hold.captured_minor > 0);
            payment.close(*hold, if captured { Ending::Captured } else { Ending::Expired });
            let Some(hold) = hold_mut(payment, *hold) else { return };
            hold.release = None;
            hold.again = Again::No;
            hold.approved_late = false;
        }
        Event::CaptureReversed { hold: number, amount, source } => {
            payment.remember(Some(*source));
            payment.undo(*number, OperationKind::Capture, amount.minor);
            let Some(hold) = hold_mut(payment, *number) else { return };
            hold.captured_minor = hold.captured_minor.saturating_sub(amount.minor);
        }
        Event::RefundReversed { hold: number, amount, source } => {
            payment.remember(Some(*source));
            payment.undo(*number, OperationKind::Refund, amount.minor);
            let Some(hold) = hold_mut(payment, *number) else { return };
            hold.refunded_minor = hold.refunded_minor.saturating_sub(amount.minor);
        }
        Event::DisputeOpened { hold, amount, source } => {
            payment.remember(Some(*source));
            let dispute = Dispute { hold: *hold, amount_minor: amount.minor, state: DisputeState::Open };
            payment.rare_mut().disputes.push(dispute);
        }
        Event::DisputeClosed { hold, amount, won, source } => {
            payment.remember(Some(*source));
            let disputes = &mut payment.rare_mut().disputes;
            let open = Dispute { hold: *hold, amount_minor: amount.minor, state: DisputeState::Open };
            if let Some(found) = disputes.iter_mut().find(|dispute| **dispute == open) {
                found.state = if *won { DisputeState::Won } else { DisputeState::Lost };
            }
        }
        Event::CaptureWindowPassed { operation, percent, at: _ } => {
            let Some(live) = live_mut(payment, *operation) else { return };
            live.window_percent = *percent;
        }
        Event::VoidAbandoned { operation, at: _ } => {
            let Some(hold) = payment.end(*operation, Final::Superseded, None, None) else { return };
            payment.try_again(hold, Again::Void);
        }
        Event::AnswerRepeated { operation, source: _ } => {
            if let Some(past) = payment.past.iter_mut().find(|past| past.number == *operation) {
                past.repeated = true;
            }
        }
        Event::Settled { .. } => payment.finish = Finish::Settled,
    }
}

fn hold_requested(payment: &mut Payment, event: &Event) {
    let Event::HoldRequested { operation, processor, capabilities, credential, amount, partial_ok, floor, at } = event
    else {
        return;
    };
    debug_assert_eq!(amount.currency, payment.currency);
    let validity = capabilities.validity();
    payment.holds.push(Hold {
        party: Common::new(Party { processor: processor.clone(), capabilities: *capabilities }),
        processor_ref: None,
        authorized_minor: 0,
        captured_minor: 0,
        refunded_minor: 0,
        expires_at: at.saturating_add(validity),
        stage: match floor {
            Some(floor) => Stage::StandIn { floor_minor: floor.minor },
            None => Stage::Authorizing,
        },
        timer: Timer::OFF,
        number: *operation,
        increments: 0,
        refusals: 0,
        release: None,
        again: Again::No,
        raise: Raise::Free,
        expiry_announced: false,
        approved_late: false,
    });
    let ask = Ask::Authorize { partial_ok: *partial_ok, stand_in: floor.is_some() };
    let mut live = LiveOperation::new(*operation, *operation, ask, amount.minor, *at);
    live.credential = Some(credential.clone());
    payment.begin(live);
}

fn voided(payment: &mut Payment, operation: Ordinal, result: Final, source: Source) {
    let Some(number) = payment.end(operation, result, None, Some(source)) else { return };
    let Some(hold) = hold_mut(payment, number) else { return };
    hold.again = Again::No;
    hold.refusals = 0;
    if hold.approved_late {
        // The approval may have overtaken the void: only a void requested after it is proof.
        hold.approved_late = false;
        hold.release = Some(VoidReason::LateApproval);
        return;
    }
    hold.release = None;
    let ending = match hold.stage {
        Stage::Reversing => Ending::Reversed,
        _ if hold.captured_minor > 0 => Ending::Captured,
        _ => Ending::Voided,
    };
    payment.close(number, ending);
}

/// An operation that had ended without effect took effect: money that moved is booked, funds are released.
fn late_approval(payment: &mut Payment, event: &Event) {
    let Event::LateApproval { operation, amount, processor_ref, source, at } = event else { return };
    let Some(past) = payment.past.iter_mut().find(|past| past.number == *operation) else { return };
    past.result = Final::Approved;
    past.amount_minor = amount.minor;
    past.seen = Some(Seen::from(*source));
    let (kind, number) = (past.kind, past.hold);
    let voiding = payment.live.iter().any(|op| op.hold == number && op.ask.kind() == OperationKind::Void);
    let Some(hold) = hold_mut(payment, number) else { return };
    let open = hold.stage == Stage::Open;
    match kind {
        OperationKind::Authorize => {
            hold.processor_ref = Some(processor_ref.clone());
            hold.approved_late = voiding;
            hold.release = hold.release.or(Some(VoidReason::LateApproval));
            hold.again = Again::No;
            hold.outlive(*at);
        }
        OperationKind::Increment if open => hold.authorized_minor = hold.authorized_minor.max(amount.minor),
        OperationKind::Decrement if open => hold.authorized_minor = hold.authorized_minor.min(amount.minor),
        OperationKind::Increment => {
            hold.approved_late = voiding;
            hold.release = hold.release.or(Some(VoidReason::Remainder));
            hold.outlive(*at);
        }
        OperationKind::Capture => hold.captured_minor = hold.captured_minor.saturating_add(amount.minor),
        OperationKind::Refund => hold.refunded_minor = hold.refunded_minor.saturating_add(amount.minor),
        OperationKind::Void if open => {
            let ending = if hold.captured_minor > 0 { Ending::Captured } else { Ending::Voided };
            hold.release = None;
            hold.again = Again::No;
            payment.close(number, ending);
        }
        OperationKind::Void | OperationKind::Decrement | OperationKind::Inquire => {}
    }
}

/// One more, in memory for exactly as many: there are few of them, in millions of payments.
fn grow<T>(items: &mut Box<[T]>, item: T) {
    let mut grown = std::mem::take(items).into_vec();
    grown.reserve_exact(1);
    grown.push(item);
    *items = grown.into_boxed_slice();
}

fn hold_mut(payment: &mut Payment, number: Ordinal) -> Option<&mut Hold> {
    payment.holds.iter_mut().find(|hold| hold.number == number)
}

fn live_mut(payment: &mut Payment, number: Ordinal) -> Option<&mut LiveOperation> {
    let found = payment.live.iter_mut().find(|operation| operation.number == number);
    debug_assert!(found.is_some(), "operation {number} is under way");
    found
}

impl Hold {
    /// A hold that turned out to exist after it had been given up is pursued for a whole validity from now.
    fn outlive(&mut self, at: Timestamp) {
        self.expires_at = self.expires_at.max(at.saturating_add(self.capabilities().validity()));
    }
}

impl LiveOperation {
    fn new(number: Ordinal, hold: Ordinal, ask: Ask, amount_minor: i64, at: Timestamp) -> LiveOperation {
        LiveOperation {
            amount_minor,
            requested_at: at,
            sent_at: at,
            credential: None,
            seen: None,
            timer: Timer::OFF,
            clocked: Timer::OFF,
            sent: Timer::OFF,
            phase: Phase::Asked,
            ask,
            number,
            hold,
            attempts: 1,
            inquiries: 0,
            binding: 0,
            possibly_sent: false,
            failed: false,
            referenced: false,
            escalated: false,
            disputed: false,
            window_percent: 0,
        }
    }
}

impl Payment {
    fn begin(&mut self, operation: LiveOperation) {
        debug_assert!(operation.number.0 > self.last, "operation numbers grow");
        self.last = operation.number.0;
        grow(&mut self.live, operation);
    }

    /// Moves an operation to the past and gives back its hold's number.
    fn end(&mut self, number: Ordinal, result: Final, amount: Option<i64>, source: Option<Source>) -> Option<Ordinal> {
        let index = self.live.iter().position(|operation| operation.number == number);
        debug_assert!(index.is_some(), "operation {number} is under way");
        let index = index?;
        let mut live = std::mem::take(&mut self.live).into_vec();
        let ended = live.remove(index);
        self.live = live.into_boxed_slice();
        let past = PastOperation {
            amount_minor: amount.unwrap_or(ended.amount_minor),
            seen: source.map(Seen::from).or(ended.seen),
            number,
            hold: ended.hold,
            refers: match ended.ask {
                Ask::Refund { capture } => capture,
                Ask::Authorize { .. } | Ask::Increment | Ask::Decrement | Ask::Capture { .. } | Ask::Void { .. } => {
                    ended.hold
                }
            },
            kind: ended.ask.kind(),
            result,
            disputed: ended.disputed,
            repeated: false,
        };
        // In memory for exactly as many, as `grow` does it; the first one is in place.
        self.past.reserve_exact(1);
        self.past.push(past);
        Some(ended.hold)
    }

    /// Ends a hold, once. Changes of its total that are still in progress lose their meaning with it.
    fn close(&mut self, number: Ordinal, ending: Ending) {
        self.supersede(number, |kind| matches!(kind, OperationKind::Increment | OperationKind::Decrement));
        let Some(hold) = hold_mut(self, number) else { return };
        if !matches!(hold.stage, Stage::Closed(_)) {
            hold.stage = Stage::Closed(ending);
        }
    }

    fn supersede(&mut self, hold: Ordinal, which: impl Fn(OperationKind) -> bool) {
        let doomed =
            |op: &&LiveOperation| op.hold == hold && which(op.ask.kind()) && op.ask.kind() != OperationKind::Refund;
        while let Some(number) = self.live.iter().find(doomed).map(|op| op.number) {
            self.end(number, Final::Superseded, None, None);
        }
    }

    fn try_again(&mut self, hold: Ordinal, again: Again) {
        let Some(hold) = hold_mut(self, hold) else { return };
        hold.again = again;
        hold.refusals = hold.refusals.saturating_add(1);
        hold.timer = Timer::OFF;
    }

    /// Marks an approved operation of this amount as undone.
    fn undo(&mut self, hold: Ordinal, kind: OperationKind, amount: i64) {
        let matches = |past: &&mut PastOperation| {
            past.hold == hold && past.kind == kind && past.result == Final::Approved && past.amount_minor == amount
        };
        if let Some(past) = self.past.iter_mut().find(matches) {
            past.result = Final::Undone;
        }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn remember(&mut self, source: Option<Source>) {
        let Some(source) = source else { return };
        let reports = &mut self.rare_mut().reports;
        if reports.len() >= NOTIFICATIONS_REMEMBERED {
            reports.remove(0);
        }
        reports.push(source);
    }
}

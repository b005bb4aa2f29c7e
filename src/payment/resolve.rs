//! Timers, lost connections and restarts: resolves operations with an unknown outcome.

use super::draft::Draft;
use super::state::{Again, target_of};
use super::{Alarm, Ask, Event, NotExecutedCause, OperationKind, Ordinal, Phase, Stage, UnknownCause, VoidReason};
use crate::units::OpId;

impl Draft<'_> {
    /// Does everything that is due.
    pub(super) fn tick(&mut self) {
        let due = |timer: Option<crate::units::Mono>| timer.is_some_and(|timer| timer <= self.now.mono);
        let operations: Vec<Ordinal> =
            self.state().live_operations().iter().filter(|op| due(op.timer.due())).map(|op| op.number).collect();
        let again: Vec<Ordinal> = self
            .state()
            .holds()
            .iter()
            .filter(|hold| hold.again != Again::No && due(hold.timer.due()))
            .map(|hold| hold.number)
            .collect();
        let dated = self.state().hold_numbers();
        // Dates first: nothing is sent for a hold that has lapsed.
        for hold in dated {
            self.date_due(hold);
        }
        for operation in operations {
            self.operation_due(operation);
        }
        for hold in again {
            self.again_due(hold);
        }
        self.advance();
    }

    fn operation_due(&mut self, operation: Ordinal) {
        let Some(live) = self.state().live(operation) else { return };
        match live.phase {
            Phase::Asked | Phase::Accepted { .. } => {
                self.fact(Event::OutcomeUnknown { operation, cause: UnknownCause::Silence, at: self.now.wall });
                self.resolve(operation);
            }
            Phase::Queued => self.repeat(operation),
            Phase::Unknown { .. } => self.resolve(operation),
        }
    }

    /// The next step for an operation whose outcome is unknown.
    pub(super) fn resolve(&mut self, operation: Ordinal) {
        let Some(live) = self.state().live(operation) else { return };
        let hold = self.hold_of(live);
        let (number, steps) = (hold.number, live.attempts.saturating_add(u16::from(live.inquiries)));
        let repeat = live.may_repeat(hold, self.now);
        let inquire = hold.capabilities().takes(OperationKind::Inquire);
        let escalated = live.escalated;
        let escalate = !escalated && steps >= self.policy.escalate_after;
        let stuck = !live.has_next_step(hold, self.now);
        match live.ask {
            Ask::Authorize { stand_in: false, .. } if steps >= self.policy.authorize_attempts => {
                return self.abandon(number);
            }
            Ask::Authorize { stand_in: false, .. } if !repeat && !inquire => return self.abandon(number),
            // A new total is inquired about rather than sent again: it may have been approved visibly to the driver.
            Ask::Increment | Ask::Decrement if inquire => self.inquire(operation),
            Ask::Authorize { .. } | Ask::Capture { .. } | Ask::Void { .. } | Ask::Refund { .. } if repeat => {
                self.repeat(operation);
            }
            Ask::Increment | Ask::Decrement if repeat => self.repeat(operation),
            Ask::Authorize { .. } | Ask::Capture { .. } | Ask::Void { .. } | Ask::Refund { .. } if inquire => {
                self.inquire(operation);
            }
            Ask::Void { .. } => {
                self.fact(Event::VoidAbandoned { operation, at: self.now.wall });
                return;
            }
            Ask::Authorize { .. } | Ask::Increment | Ask::Decrement | Ask::Capture { .. } | Ask::Refund { .. } => {}
        }
        // Without a next step this fact stops the timer: only a message of the processor, or its settlement, resolves
        // it.
        if escalate || stuck {
            self.fact(Event::Escalated { operation, at: self.now.wall });
            if !escalated {
                self.alarm(operation, Alarm::Unresolved);
            }
        }
    }

    /// Reverses an authorization that is not needed any longer, whatever its outcome.
    fn abandon(&mut self, number: Ordinal) {
        if self.give_up(number, VoidReason::OutcomeUnknown).is_err() {
            self.alarm(number, Alarm::Unresolved);
        }
    }

    fn again_due(&mut self, number: Ordinal) {
        let Some(hold) = self.state().hold(number) else { return };
        let (stage, again, release) = (hold.stage, hold.again, hold.release);
        let busy = [OperationKind::Capture, OperationKind::Void];
        if busy.into_iter().any(|kind| self.state().live_on(hold, kind).is_some()) {
            return;
        }
        let take = self.state().takeable_minor(hold);
        let last = self.is_ending() || !hold.capabilities().multiple_captures();
        let done = match (stage, again) {
            (Stage::Open, Again::Capture) if take > 0 => self.request(number, Ask::Capture { last }, take),
            (_, Again::Capture | Again::Void) => self.void(number, release.unwrap_or(VoidReason::Remainder)),
            (_, Again::No) => return,
        };
        // No number is left for another attempt: the hold is left to lapse, and an alarm is raised.
        if done.is_err() {
            self.alarm(number, Alarm::Unresolved);
            self.fact(Event::HoldExpired { hold: number, source: None, at: self.now.wall });
        }
    }

    fn date_due(&mut self, number: Ordinal) {
        let Some(hold) = self.state().hold(number) else { return };
        let Some(date) = self.state().next_date(hold, self.policy) else { return };
        if date > self.now.wall {
            return;
        }
        if let Some(capture) = self.state().live_on(hold, OperationKind::Capture) {
            let (operation, percent) = (capture.number, if capture.window_percent == 0 { 50 } else { 90 });
            self.fact(Event::CaptureWindowPassed { operation, percent, at: self.now.wall });
            let alarm = if percent == 50 { Alarm::CaptureWindowHalf } else { Alarm::CaptureWindowClosing };
            self.alarm(operation, alarm);
        } else if hold.stage == Stage::Open && !hold.expiry_announced {
            let expires_at = hold.expires_at;
            self.fact(Event::HoldExpiring { hold: number, expires_at, at: self.now.wall });
            self.date_due(number);
        } else {
            self.fact(Event::HoldExpired { hold: number, source: None, at: self.now.wall });
        }
    }

    pub(super) fn not_sent(&mut self, id: OpId, attempt: u16) {
        let Some(operation) = self.asked(id, attempt) else { return };
        let Some(live) = self.state().live(operation) else { return };
        let at = self.now.wall;
        match live.ask {
            // An earlier attempt may have arrived: the result of this one proves nothing about the operation.
            _ if live.possibly_sent => {
                self.fact(Event::OutcomeUnknown { operation, cause: UnknownCause::ConnectionLost, at });
            }
            Ask::Authorize { stand_in: false, .. } | Ask::Increment | Ask::Decrement => {
                self.fact(Event::NotExecuted { operation, cause: NotExecutedCause::NotSent, at });
                self.advance();
            }
            Ask::Authorize { stand_in: true, .. } | Ask::Capture { .. } | Ask::Void { .. } | Ask::Refund { .. } => {
                self.fact(Event::Queued { operation, at });
            }
        }
    }

    pub(super) fn connection_lost(&mut self, id: OpId, attempt: u16) {
        let Some(operation) = self.asked(id, attempt) else { return };
        self.fact(Event::OutcomeUnknown { operation, cause: UnknownCause::ConnectionLost, at: self.now.wall });
    }

    /// The operation with this id, if this attempt is its last one and still unanswered.
    fn asked(&self, id: OpId, attempt: u16) -> Option<Ordinal> {
        if id.payment() != self.state().id() {
            return None;
        }
        let (number, inquiry) = target_of(Ordinal(id.ordinal()));
        let live = self.state().live(number)?;
        (inquiry.is_none() && live.attempts == attempt && live.phase == Phase::Asked).then_some(number)
    }
}

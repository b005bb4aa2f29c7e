//! Towards the end: which hold is captured for how much, which is released, and when the payment is settled.

use super::draft::Draft;
use super::state::{Again, Finish};
use super::{Alarm, Ask, Event, Final, Hold, OperationKind, Ordinal, Payment, Rejection, Stage, VoidReason};

/// The next step for a hold.
enum Step {
    Nothing,
    Capture(i64),
    Void(VoidReason),
    GiveUp(VoidReason),
}

impl Draft<'_> {
    /// Requests the steps that the orders so far require for every hold, oldest first, and records when all are done.
    pub(super) fn advance(&mut self) {
        let numbers = self.state().hold_numbers();
        for number in numbers {
            self.advance_hold(number);
        }
        self.settle();
    }

    fn advance_hold(&mut self, number: Ordinal) {
        let Some(hold) = self.state().hold(number) else { return };
        let done = match self.step(hold) {
            Step::Nothing => Ok(()),
            Step::Capture(minor) => self.request(number, Ask::Capture { last: true }, minor),
            Step::Void(reason) => self.void(number, reason),
            Step::GiveUp(reason) => self.give_up(number, reason),
        };
        // No number is left for another operation: the hold ends by its age, and an alarm is raised.
        if done.is_err() {
            self.alarm(number, Alarm::Unresolved);
        }
    }

    fn step(&self, hold: &Hold) -> Step {
        let payment = self.state();
        let busy = [OperationKind::Capture, OperationKind::Void];
        if busy.into_iter().any(|kind| payment.live_on(hold, kind).is_some()) {
            return Step::Nothing;
        }
        let voidable = hold.capabilities().takes(OperationKind::Void);
        match hold.stage {
            Stage::Open => match self.step_open(hold) {
                Step::Void(_) if !voidable => Step::Nothing,
                step => step,
            },
            // Waiting for the answer is worth it only as long as nothing else covers the amount owed.
            Stage::Authorizing | Stage::StandIn { .. } => match (hold.release, payment.finish) {
                (Some(reason), _) => Step::GiveUp(reason),
                (None, Finish::Release(reason)) => Step::GiveUp(reason),
                (None, Finish::Capture) if payment.uncovered(payment.owed) == 0 => Step::GiveUp(VoidReason::Remainder),
                (None, Finish::Capture | Finish::No | Finish::Settled) => Step::Nothing,
            },
            Stage::Reversing | Stage::Closed(_) => match (hold.release, hold.again) {
                (Some(reason), Again::No | Again::Capture) if voidable => Step::Void(reason),
                (Some(_), _) | (None, _) => Step::Nothing,
            },
        }
    }

    fn step_open(&self, hold: &Hold) -> Step {
        let payment = self.state();
        let take = payment.takeable_minor(hold);
        match (payment.finish, hold.again) {
            (_, Again::Capture) => Step::Nothing,
            // A void that was refused leaves a hold that can be captured, if something is owed by now.
            (Finish::Capture, Again::No | Again::Void) if take > 0 => Step::Capture(take),
            (_, Again::Void) => Step::Nothing,
            (Finish::No, Again::No) => match hold.release {
                Some(reason) => Step::Void(reason),
                None => Step::Nothing,
            },
            (Finish::Release(reason), Again::No) => Step::Void(hold.release.unwrap_or(reason)),
            (Finish::Capture | Finish::Settled, Again::No) => Step::Void(hold.release.unwrap_or(VoidReason::Remainder)),
        }
    }

    /// Requests the release of a hold.
    pub(super) fn void(&mut self, number: Ordinal, reason: VoidReason) -> Result<(), Rejection> {
        let Some(hold) = self.state().hold(number) else { return Err(Rejection::UnknownHold) };
        let held = hold.authorized_minor.saturating_sub(hold.captured_minor).max(0);
        self.request(number, Ask::Void { reason }, held)
    }

    /// Stops waiting for an authorization and requests its reversal.
    pub(super) fn give_up(&mut self, number: Ordinal, reason: VoidReason) -> Result<(), Rejection> {
        if self.state().live(number).is_none() {
            return Ok(());
        }
        self.fact(Event::GivenUp { operation: number, reason, at: self.now.wall });
        match self.state().hold(number) {
            Some(hold) if hold.capabilities().takes(OperationKind::Void) => self.void(number, reason),
            Some(_) | None => Ok(()),
        }
    }

    /// Captures the amount owed so far while the payment continues.
    pub(super) fn capture_interim(&mut self) -> Result<(), Rejection> {
        let numbers = self.state().hold_numbers();
        for number in numbers {
            let Some(hold) = self.state().hold(number) else { continue };
            let busy = [OperationKind::Capture, OperationKind::Void];
            let busy = busy.into_iter().any(|kind| self.state().live_on(hold, kind).is_some());
            let minor = self.state().takeable_minor(hold);
            if minor > 0 && !busy && hold.stage == Stage::Open && hold.release.is_none() {
                let last = !hold.capabilities().multiple_captures();
                self.request(number, Ask::Capture { last }, minor)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) {
        let payment = self.state();
        let ending = matches!(payment.finish, Finish::Capture | Finish::Release(_));
        // A hold can end while it is being captured (it lapses, or a void takes effect late): what came of the capture is
        // known when it is answered.
        if ending && payment.capturing().minor == 0 && payment.holds().iter().all(|hold| hold.is_over()) {
            let (captured, shortfall) = (payment.captured(), payment.shortfall());
            self.fact(Event::Settled { captured, shortfall, at: self.now.wall });
        }
    }
}

impl Payment {
    /// Amount that a capture of this hold would have: the part of the debt that is not being captured elsewhere, as
    /// far as the hold covers it.
    pub(super) fn takeable_minor(&self, hold: &Hold) -> i64 {
        let room = self.capturable_minor(hold).saturating_sub(hold.captured_minor);
        self.shortfall().minor.min(room)
    }

    /// Part of a debt that no open hold can cover, as far as is known.
    pub(super) fn uncovered(&self, owed_minor: i64) -> i64 {
        let room = self.holds().iter().filter(|hold| hold.stage == Stage::Open);
        let room = room.map(|hold| self.capturable_minor(hold).saturating_sub(hold.captured_minor));
        let closed = self.holds().iter().filter(|hold| hold.stage != Stage::Open);
        let taken = closed.map(|hold| hold.captured_minor).fold(0, i64::saturating_add);
        let taken_open = self.holds().iter().filter(|hold| hold.stage == Stage::Open).map(|hold| hold.captured_minor);
        owed_minor
            .saturating_sub(taken)
            .saturating_sub(taken_open.fold(0, i64::saturating_add))
            .saturating_sub(room.fold(0, i64::saturating_add))
            .max(0)
    }

    /// Splits a refund over captures, youngest first: hold, capture, minor units. `None` when it is too large.
    pub(super) fn refund_parts(&self, minor: i64) -> Option<Vec<(Ordinal, Ordinal, i64)>> {
        let mut left = minor;
        let mut parts = Vec::new();
        for capture in self.past.iter().rev() {
            if capture.kind != OperationKind::Capture || capture.result != Final::Approved || left == 0 {
                continue;
            }
            let Some(hold) = self.hold(capture.hold) else { continue };
            let taken: i64 = parts.iter().filter(|(of, _, _)| *of == hold.number).map(|(_, _, part)| *part).sum();
            let refundable = self.refundable_minor(hold).saturating_sub(taken);
            let part = left.min(refundable).min(capture.amount_minor.saturating_sub(self.refunded_of(capture.number)));
            if part > 0 {
                parts.push((hold.number, capture.number, part));
                left -= part;
            }
        }
        (left == 0).then_some(parts)
    }

    /// Amount of one capture that was or is being refunded.
    fn refunded_of(&self, capture: Ordinal) -> i64 {
        let past = self.past.iter().filter(|past| {
            past.kind == OperationKind::Refund && past.refers == capture && past.result == Final::Approved
        });
        let live = self.live.iter().filter(|live| live.ask == Ask::Refund { capture });
        let live = live.map(|refund| refund.amount_minor).fold(0, i64::saturating_add);
        past.map(|refund| refund.amount_minor).fold(live, i64::saturating_add)
    }
}

//! A decision under construction: every fact is applied to a scratch copy at once, so that the next step reads it.
//!
//! The live payment is not touched; it becomes equal to the scratch copy when its owner applies the same events.

use super::state::{Finish, inquiry_number};
use super::{
    Alarm, Ask, Decision, Effect, Event, Hold, HoldCapabilities, LiveOperation, Operation, Ordinal, Payment, Policy,
    Rejection, Request, apply,
};
use crate::limits::OPERATIONS_PER_PAYMENT;
use crate::units::{Amount, Now, TimeSpan};
use std::borrow::Cow;

/// A decision, and the payment as its events make it: who reacts to both need not apply the events again.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The decision.
    pub decision: Decision,
    /// The payment after its events; the payment itself when there are none.
    pub after: Cow<'a, Payment>,
}

pub(super) struct Draft<'a> {
    state: Cow<'a, Payment>,
    decision: Decision,
    pub(super) now: Now,
    pub(super) policy: &'a Policy,
}

impl<'a> Draft<'a> {
    pub(super) fn new(payment: &'a Payment, now: Now, policy: &'a Policy) -> Draft<'a> {
        Draft { state: Cow::Borrowed(payment), decision: Decision::nothing(), now, policy }
    }

    /// The payment as it will be.
    pub(super) fn state(&self) -> &Payment {
        &self.state
    }

    pub(super) fn decided(self) -> Decided<'a> {
        Decided { decision: self.decision, after: self.state }
    }

    /// Records a fact.
    pub(super) fn fact(&mut self, event: Event) {
        apply(self.state.to_mut(), &event);
        self.decision.events.push(event);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }

    pub(super) fn alarm(&mut self, operation: Ordinal, alarm: Alarm) {
        let operation = self.state.operation_id(operation);
        self.effect(Effect::Alarm { operation, alarm });
    }

    /// The number of the next operation.
    pub(super) fn next_number(&self) -> Result<Ordinal, Rejection> {
        if self.state.last < OPERATIONS_PER_PAYMENT {
            Ok(Ordinal(self.state.last + 1))
        } else {
            Err(Rejection::TooManyOperations)
        }
    }

    /// Journals another operation on a hold and sends it.
    pub(super) fn request(&mut self, hold: Ordinal, ask: Ask, minor: i64) -> Result<(), Rejection> {
        let operation = self.next_number()?;
        let amount = self.state.amount(minor);
        self.fact(Event::OperationRequested { operation, hold, ask, amount, at: self.now.wall });
        self.send(operation);
        Ok(())
    }

    /// Sends an operation as it now stands.
    pub(super) fn send(&mut self, operation: Ordinal) {
        let Some(live) = self.state.live(operation) else { return };
        let message = self.state.message(live, self.now, self.policy);
        self.effect(Effect::Send(message));
    }

    /// Sends an operation once more, under the same id.
    pub(super) fn repeat(&mut self, operation: Ordinal) {
        self.fact(Event::OperationRepeated { operation, at: self.now.wall });
        self.send(operation);
    }

    /// Sends the processor an inquiry about an operation.
    pub(super) fn inquire(&mut self, operation: Ordinal) {
        let Some(live) = self.state.live(operation) else { return };
        let (index, hold) = (live.inquiries, live.hold);
        let id = self.state.operation_id(inquiry_number(operation, index));
        let wait = self.policy.answer_within(super::OperationKind::Inquire, 1);
        let Some(hold) = self.state.hold(hold) else { return };
        let binding = match hold.capabilities().inquiry_authoritative_ms {
            HoldCapabilities::NEVER => false,
            after => live.least_age(self.now) > TimeSpan::from_ms(i64::from(after)),
        };
        let message = Operation {
            id,
            hold: self.state.hold_id(hold.number),
            processor: hold.processor().clone(),
            attempt: 1,
            possible_duplicate: false,
            decide_by: self.now.wall.saturating_add(wait),
            request: Request::Inquire { target: self.state.operation_id(operation) },
        };
        self.fact(Event::Inquired { operation, binding, at: self.now.wall });
        self.effect(Effect::Send(message));
    }

    pub(super) fn hold_of(&self, operation: &LiveOperation) -> &Hold {
        self.state.hold(operation.hold).expect("operations have a hold")
    }

    /// The same amount of money, if it is in the payment's currency and more than nothing.
    pub(super) fn positive(&self, amount: Amount) -> Result<i64, Rejection> {
        if amount.minor <= 0 {
            return Err(Rejection::AmountNotPositive);
        }
        if amount.currency == self.state.currency {
            Ok(amount.minor)
        } else {
            Err(Rejection::CurrencyDiffers { expected: self.state.currency, found: amount.currency })
        }
    }

    /// Whether the payment was ordered to end.
    pub(super) fn is_ending(&self) -> bool {
        self.state.finish != Finish::No
    }
}

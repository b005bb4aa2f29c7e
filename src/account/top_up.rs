//! A top-up: money that a card pays onto an account.
//!
//! ```text
//!   Opened ──Authorize──▶ approved ──Capture──▶ captured ──▶ Credited
//!               └─ declined, not executed, given up ─▶ (nothing)      (captured late: credited then)
//! ```
//!
//! It is a payment of its own, with the same machine as that of a charging session: whatever the processor and the
//! network do, the hold ends once, and the account is credited with the captured amount, after the capture is a fact.

use crate::payment::{self, Credential, Extent, HoldCapabilities, Payment, Policy};
use crate::stored::stored;
use crate::units::{AccountId, Amount, Now, OpId, ProcessorId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Facts of a top-up. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was ordered.
    Opened {
        /// The account.
        account: AccountId,
        /// The amount.
        amount: Amount,
        /// Printable form of the credential.
        fingerprint: Box<str>,
        /// When.
        at: Timestamp,
    },
    /// Something about the payment.
    Payment(payment::Event),
    /// The account has the money.
    Credited {
        /// The account's operation.
        op: OpId,
        /// The amount.
        amount: Amount,
    },
}

stored!(enum Event {
    0: Opened { 0: account, 1: amount, 2: fingerprint, 3: at },
    1: Payment(event),
    2: Credited { 0: op, 1: amount },
});

/// A top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Its id: that of its operations.
    pub id: SessionId,
    /// The account.
    pub account: AccountId,
    /// The ordered amount.
    pub amount: Amount,
    /// Printable form of the credential.
    pub fingerprint: Box<str>,
    /// When it was ordered.
    pub opened_at: Timestamp,
    /// The payment.
    pub payment: Payment,
    /// The credited amount, in minor units.
    pub credited_minor: i64,
    /// Number of credits.
    pub credits: u16,
}

stored!(struct TopUp {
    0: id, 1: account, 2: amount, 3: fingerprint, 4: opened_at, 5: payment, 6: credited_minor, 7: credits,
});

/// Result of a step.
#[derive(Debug, Default)]
pub struct Step {
    /// Facts of the payment.
    pub events: SmallVec<[payment::Event; 1]>,
    /// Outputs, released when they are durable.
    pub effects: SmallVec<[payment::Effect; 1]>,
}

/// The operation numbers with which accounts are credited: above those of the payment, below those of inquiries.
const FIRST_CREDIT: u16 = 0x4000;

impl TopUp {
    /// The top-up of an opening fact; `None` for other facts.
    pub fn opened(id: SessionId, event: &Event) -> Option<TopUp> {
        let Event::Opened { account, amount, fingerprint, at } = event else { return None };
        Some(TopUp {
            id,
            account: account.clone(),
            amount: *amount,
            fingerprint: fingerprint.clone(),
            opened_at: *at,
            payment: Payment::new(id, amount.currency),
            credited_minor: 0,
            credits: 0,
        })
    }

    /// The first step: requests the whole amount from the processor.
    pub fn begin(
        &self,
        processor: ProcessorId,
        capabilities: HoldCapabilities,
        credential: Credential,
        now: Now,
        policy: &Policy,
    ) -> Step {
        let amount = self.amount;
        let command = payment::Command::Authorize { processor, capabilities, credential, amount, partial_ok: false };
        self.step(command, now, policy)
    }

    /// One step of the payment; what is approved is captured at once.
    pub fn step(&self, command: payment::Command, now: Now, policy: &Policy) -> Step {
        self.follow_up(payment::decide_ahead(&self.payment, command, now, policy), now, policy)
    }

    /// After a replay: repeats the request in progress.
    pub fn resume(&self, now: Now, policy: &Policy) -> Step {
        self.follow_up(payment::resume(&self.payment, now, policy), now, policy)
    }

    fn follow_up(&self, decided: payment::Decided<'_>, now: Now, policy: &Policy) -> Step {
        let payment::Decided { decision, after } = decided;
        let mut step = Step { events: decision.events, effects: decision.effects };
        let approved = step.events.iter().any(|event| matches!(event, payment::Event::Approved { .. }));
        if approved {
            let capture = payment::Command::Capture { owed: self.amount, extent: Extent::Final };
            let decided = payment::decide(&after, capture, now, policy);
            step.events.extend(decided.events);
            step.effects.extend(decided.effects);
        }
        step
    }

    /// Applies a fact. Cannot fail.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Opened { .. } => {}
            Event::Payment(event) => payment::apply(&mut self.payment, event),
            Event::Credited { op: _, amount } => {
                self.credited_minor = self.credited_minor.saturating_add(amount.minor);
                self.credits = self.credits.saturating_add(1);
            }
        }
    }

    /// The amount that is captured, neither refunded nor credited yet; with the operation of its credit.
    pub fn due(&self) -> Option<(OpId, Amount)> {
        let kept = self.payment.captured().minor.saturating_sub(self.payment.refunded().minor);
        let due = kept.saturating_sub(self.credited_minor);
        let op = self.id.operation(FIRST_CREDIT.saturating_add(self.credits));
        (due > 0).then(|| (op, Amount::new(due, self.amount.currency)))
    }

    /// The processor of the request in progress.
    pub fn processor(&self) -> Option<&ProcessorId> {
        self.payment.holds().first().map(|hold| hold.processor())
    }

    /// Whether no operation is in progress.
    pub fn is_over(&self) -> bool {
        !self.payment.holds().is_empty() && self.payment.is_settled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Answer, CallbackId, CredentialKind, Decline, DeclineClass, Effect, Outcome, ProcessorRef, Request,
    };
    use crate::units::{Currency, Mono, PartitionId};

    const NOW: Now = Now { wall: Timestamp::from_unix_ms(1_763_800_000_000), mono: Mono(1_000) };

    fn acme() -> ProcessorId {
        ProcessorId::new("acme-cards").unwrap()
    }

    fn euro(minor: i64) -> Amount {
        Amount::new(minor, Currency::EUR)
    }

    fn fresh() -> TopUp {
        let account = AccountId::new("driver-1").unwrap();
        let opened = Event::Opened { account, amount: euro(2_500), fingerprint: "card:00".into(), at: NOW.wall };
        TopUp::opened(SessionId::new(NOW.wall, PartitionId(1), 7), &opened).unwrap()
    }

    fn take(top_up: &mut TopUp, step: Step) -> Vec<payment::Operation> {
        step.events.into_iter().for_each(|event| top_up.apply(&Event::Payment(event)));
        let sent = step.effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(operation) => Some(operation),
            _ => None,
        });
        sent.collect()
    }

    fn answered(top_up: &mut TopUp, operation: &payment::Operation, outcome: Outcome) -> Vec<payment::Operation> {
        let callback = CallbackId(u128::from(operation.id.ordinal()));
        let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
        let step = top_up.step(payment::Command::Answer { from: acme(), answer }, NOW, &Policy::default());
        take(top_up, step)
    }

    fn begun() -> (TopUp, payment::Operation) {
        let mut top_up = fresh();
        let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() };
        let capabilities = HoldCapabilities::of(&crate::account::capabilities(vec![Currency::EUR]));
        let step = top_up.begin(acme(), capabilities, credential, NOW, &Policy::default());
        let sent = take(&mut top_up, step);
        let [authorize] = sent.as_slice() else { panic!("{sent:?}") };
        (top_up, authorize.clone())
    }

    fn approved(minor: i64) -> Outcome {
        Outcome::Approved { amount: euro(minor), processor_ref: ProcessorRef("a".into()), expires_at: None }
    }

    #[test]
    fn what_is_approved_is_captured_and_credited_once() {
        let (mut top_up, authorize) = begun();
        assert_eq!(top_up.due(), None);
        let sent = answered(&mut top_up, &authorize, approved(2_500));
        let [capture] = sent.as_slice() else { panic!("{sent:?}") };
        assert!(matches!(capture.request, Request::Capture { amount, last: true, .. } if amount == euro(2_500)));
        assert_eq!(top_up.due(), None, "approved is not captured");
        answered(&mut top_up, capture, approved(2_500));
        let (op, amount) = top_up.due().unwrap();
        assert_eq!((amount, op.session()), (euro(2_500), top_up.id));
        top_up.apply(&Event::Credited { op, amount });
        assert_eq!(top_up.due(), None);
        answered(&mut top_up, capture, approved(2_500));
        assert_eq!(top_up.due(), None, "the same answer again");
        assert!(top_up.is_over());
    }

    #[test]
    fn what_is_refused_is_never_credited() {
        let (mut top_up, authorize) = begun();
        let decline = Decline { class: DeclineClass::Hard, code: "05".into(), retry_after: None };
        assert!(answered(&mut top_up, &authorize, Outcome::Declined(decline)).is_empty());
        assert!(top_up.is_over() && top_up.due().is_none());
    }
}

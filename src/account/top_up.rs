//! A top-up: money that a card pays onto an account.
//!
//! ```text
//!   Opened ──Authorize──▶ approved ──Capture──▶ captured ──▶ Credited
//!               └─ declined, not executed, given up ─▶ (nothing)      (captured late: credited then)
//! ```
//!
//! It is a payment of its own, with the same machine as that of a charging session: whatever the processor and the
//! network do, the hold ends once, and the account is credited with the captured amount, after the capture is a fact.
//!
//! What happens to the payment later reaches the account, too: a capture that failed after all, a lost dispute and a
//! refund debit it, a refund that failed credits it again. [`TopUp::due`] compares what the account got with what the
//! payment says, so that every difference is made up once, also after a crash.

use super::{DebitCause, TopUpSource};
use crate::payment::{self, Credential, DisputeState, Extent, HoldCapabilities, OperationKind, Payment, Policy};
use crate::stored::stored;
use crate::units::{AccountId, Amount, Now, OpId, PaymentId, ProcessorId, Timestamp};
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
    /// The account was debited.
    Debited {
        /// The account's operation.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Why.
        cause: DebitCause,
    },
    /// The account does not take what was captured; it is refunded to the card.
    NotTaken {
        /// The number of the refused credit.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// When.
        at: Timestamp,
    },
    /// The account has the money of a refund that failed.
    Returned {
        /// The account's operation.
        op: OpId,
        /// The amount.
        amount: Amount,
    },
}

/// What became of a top-up's money after its capture, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Captured, not taken by the account, and therefore to be refunded.
    pub not_taken_minor: i64,
    /// Debited for lost disputes.
    pub lost_minor: i64,
    /// Debited for refunds.
    pub refunded_minor: i64,
}

/// A change that the account has to make. Its operation is the same until the change is a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Put money on the account.
    Credit {
        /// The account's operation.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// The source of the money.
        source: TopUpSource,
    },
    /// Take money back.
    Debit {
        /// The account's operation.
        op: OpId,
        /// The amount.
        amount: Amount,
        /// Why.
        cause: DebitCause,
    },
}

stored!(enum Event {
    0: Opened { 0: account, 1: amount, 2: fingerprint, 3: at },
    1: Payment(event),
    2: Credited { 0: op, 1: amount },
    3: Debited { 0: op, 1: amount, 2: cause },
    4: NotTaken { 0: op, 1: amount, 2: at },
    5: Returned { 0: op, 1: amount },
});

stored!(struct Undone { 0: not_taken_minor, 1: lost_minor, 2: refunded_minor });

/// A top-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Its id: that of its payment.
    pub id: PaymentId,
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
    /// The credited amount without what was debited because its capture failed, in minor units.
    pub credited_minor: i64,
    /// Number of the account's operations so far.
    pub credits: u16,
    /// What became of the money later.
    #[serde(skip)]
    pub undone: Undone,
}

stored!(struct TopUp {
    0: id, 1: account, 2: amount, 3: fingerprint, 4: opened_at, 5: payment, 6: credited_minor, 7: credits, 8: undone,
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
    pub fn opened(id: PaymentId, event: &Event) -> Option<TopUp> {
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
            undone: Undone::default(),
        })
    }

    /// The first command to its payment: requests the whole amount from the processor.
    pub fn authorize(
        &self,
        processor: ProcessorId,
        capabilities: HoldCapabilities,
        credential: Credential,
    ) -> payment::Command {
        payment::Command::Authorize { processor, capabilities, credential, amount: self.amount, partial_ok: false }
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
            Event::Debited { op: _, amount, cause } => {
                let undone = &mut self.undone;
                match cause {
                    DebitCause::CaptureFailed => {
                        self.credited_minor = self.credited_minor.saturating_sub(amount.minor);
                    }
                    DebitCause::DisputeLost => undone.lost_minor = undone.lost_minor.saturating_add(amount.minor),
                    DebitCause::Refunded => undone.refunded_minor = undone.refunded_minor.saturating_add(amount.minor),
                }
                self.credits = self.credits.saturating_add(1);
            }
            Event::NotTaken { op: _, amount, at: _ } => {
                self.undone.not_taken_minor = self.undone.not_taken_minor.saturating_add(amount.minor);
                self.credits = self.credits.saturating_add(1);
            }
            Event::Returned { op: _, amount } => {
                self.undone.refunded_minor = self.undone.refunded_minor.saturating_sub(amount.minor);
                self.credits = self.credits.saturating_add(1);
            }
        }
    }

    /// The next change that the account has to make, until it has what the payment says.
    pub fn due(&self) -> Option<Due> {
        let op = self.id.operation(FIRST_CREDIT.saturating_add(self.credits));
        let amount = |minor| Amount::new(minor, self.amount.currency);
        let debit = |minor: i64, cause| (minor > 0).then(|| Due::Debit { op, amount: amount(minor), cause });
        let (captured, refunded) = (self.payment.captured().minor, self.payment.refunded().minor);
        let (credited, Undone { lost_minor, refunded_minor, .. }) = (self.credited_minor, self.undone);
        let given_back = self.given_back_minor();
        let failed = credited.saturating_add(given_back).saturating_sub(captured).min(credited);
        let left = credited.saturating_sub(lost_minor).saturating_sub(refunded_minor).max(0);
        let lost = self.lost_minor().saturating_sub(lost_minor).min(left);
        let more_refunded = refunded.saturating_sub(given_back).saturating_sub(refunded_minor);
        debit(failed, DebitCause::CaptureFailed)
            .or_else(|| debit(lost, DebitCause::DisputeLost))
            .or_else(|| debit(more_refunded.min(left), DebitCause::Refunded))
            .or_else(|| {
                let processor = self.processor()?.clone();
                let returned = more_refunded.saturating_neg().min(refunded_minor);
                if returned > 0 {
                    let source = TopUpSource::RefundFailed(processor);
                    return Some(Due::Credit { op, amount: amount(returned), source });
                }
                let due = captured.saturating_sub(credited).saturating_sub(given_back);
                let source = TopUpSource::Processor(processor);
                // While a refund is under way the money is either on the account already or not meant for it.
                let refunding = self.payment.is_under_way(OperationKind::Refund);
                (due > 0 && !refunding).then(|| Due::Credit { op, amount: amount(due), source })
            })
    }

    /// What was captured and was or will be refunded without having been on the account.
    fn given_back_minor(&self) -> i64 {
        let uncredited = self.payment.captured().minor.saturating_sub(self.credited_minor).max(0);
        // Logs of older versions have refunds without the fact that the account did not take the money.
        self.undone.not_taken_minor.max(self.payment.refunded().minor.min(uncredited))
    }

    fn lost_minor(&self) -> i64 {
        let lost = self.payment.disputes().filter(|dispute| dispute.state == DisputeState::Lost);
        lost.map(|dispute| dispute.amount_minor).fold(0, i64::saturating_add)
    }

    /// What the account got and was not refunded, in minor units.
    pub fn payable_minor(&self) -> i64 {
        self.credited_minor.saturating_sub(self.undone.refunded_minor)
    }

    /// Whether the account may still lose money by it soon: it is under way, or disputed.
    pub fn is_contested(&self) -> bool {
        !self.is_over() || self.payment.disputes().any(|dispute| dispute.state == DisputeState::Open)
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
        TopUp::opened(PaymentId::new(NOW.wall, PartitionId(1), 7), &opened).unwrap()
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
        let authorize = top_up.authorize(acme(), capabilities, credential);
        let step = top_up.step(authorize, NOW, &Policy::default());
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
        let Some(Due::Credit { op, amount, source: TopUpSource::Processor(_) }) = top_up.due() else { panic!() };
        assert_eq!((amount, op.payment()), (euro(2_500), top_up.id));
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

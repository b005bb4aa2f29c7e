//! A test bench for a payment: commands go in, events are applied and effects kept, time passes on request.

use std::collections::VecDeque;
use wattstile::payment::{
    AcknowledgeCode, Alarm, Answer, CallbackId, Capabilities, Command, Credential, CredentialKind, Decline,
    DeclineClass, Effect, Event, Extent, HoldCapabilities, Notification, NotificationKind, Operation, OperationKind,
    Outcome, Payment, Policy, ProcessorRef, Rejection, Request, VoidReason, apply, decide, resume,
};
use wattstile::stored::{from_bytes, to_bytes};
use wattstile::units::{
    Amount, Currency, HoldId, Mono, Now, OpId, PartitionId, PaymentId, ProcessorId, TimeSpan, Timestamp,
};

pub const START: Timestamp = Timestamp::from_unix_ms(1_763_833_500_000);

pub fn eur(minor: i64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

pub fn processor(name: &str) -> ProcessorId {
    ProcessorId::new(name).expect("a processor id")
}

/// Everything a processor can offer.
pub fn everything() -> Capabilities {
    let request_life_max = TimeSpan::from_secs(30);
    Capabilities { request_life_max, inflight_max: 1_000, ..Capabilities::everything(Currency::EUR) }
}

pub fn token() -> Credential {
    Credential { kind: CredentialKind::CardToken, token: b"tok_1NirD82eZvKYlo2C".as_slice().into() }
}

/// A payment, its clock, and everything that left it.
pub struct Harness {
    pub payment: Payment,
    pub policy: Policy,
    pub capabilities: Capabilities,
    pub now: Now,
    pub log: Vec<Event>,
    pub sent: VecDeque<Operation>,
    pub acknowledged: Vec<AcknowledgeCode>,
    pub refused: Vec<Rejection>,
    pub alarms: Vec<Alarm>,
    callbacks: u128,
}

impl Harness {
    pub fn new() -> Harness {
        Harness {
            payment: Payment::new(PaymentId::new(START, PartitionId(3), 77), Currency::EUR),
            policy: Policy::default(),
            capabilities: everything(),
            now: Now { wall: START, mono: Mono(1_000) },
            log: Vec::new(),
            sent: VecDeque::new(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            alarms: Vec::new(),
            callbacks: 0,
        }
    }

    pub fn with(change: impl FnOnce(&mut Capabilities)) -> Harness {
        let mut harness = Harness::new();
        change(&mut harness.capabilities);
        harness
    }

    /// A bench with an open hold.
    pub fn open(minor: i64) -> Harness {
        Harness::new().opened(minor)
    }

    pub fn opened(mut self, minor: i64) -> Harness {
        self.authorize(minor);
        let authorize = self.next();
        self.approve(&authorize, minor);
        self.log.clear();
        self.acknowledged.clear();
        self
    }

    /// Applies a command and returns the events that follow.
    pub fn order(&mut self, command: Command) -> Vec<Event> {
        let before = self.payment.clone();
        let decision = decide(&self.payment, command, self.now, &self.policy);
        assert_eq!(self.payment, before, "deciding changes nothing");
        self.take(decision)
    }

    fn take(&mut self, decision: wattstile::payment::Decision) -> Vec<Event> {
        let stored = to_bytes(&self.payment);
        let mut replayed: Payment = from_bytes(&stored).expect("a payment decodes");
        for event in &decision.events {
            apply(&mut self.payment, event);
            let stored = to_bytes(event);
            apply(&mut replayed, &from_bytes(&stored).expect("an event decodes"));
        }
        assert_eq!(replayed, self.payment, "stored and replayed, it is the same");
        for effect in decision.effects {
            match effect {
                Effect::Send(operation) => self.sent.push_back(operation),
                Effect::Acknowledge { code, .. } => self.acknowledged.push(code),
                Effect::Refuse(rejection) => {
                    assert!(decision.events.is_empty(), "a refusal has no events");
                    self.refused.push(rejection);
                }
                Effect::Alarm { alarm, .. } => self.alarms.push(alarm),
            }
        }
        self.payment.arm(self.now, &self.policy);
        self.log.extend(decision.events.iter().cloned());
        decision.events.into_vec()
    }

    pub fn authorize(&mut self, minor: i64) -> Vec<Event> {
        self.authorize_at("acme", minor)
    }

    pub fn authorize_at(&mut self, name: &str, minor: i64) -> Vec<Event> {
        self.order(Command::Authorize {
            processor: processor(name),
            capabilities: HoldCapabilities::of(&self.capabilities),
            credential: token(),
            amount: eur(minor),
            partial_ok: true,
        })
    }

    pub fn capture(&mut self, minor: i64) -> Vec<Event> {
        self.order(Command::Capture { owed: eur(minor), extent: Extent::Final })
    }

    pub fn release(&mut self) -> Vec<Event> {
        self.order(Command::Release(VoidReason::NoStart))
    }

    pub fn refund(&mut self, minor: i64) -> Vec<Event> {
        self.order(Command::Refund(eur(minor)))
    }

    /// The next operation that was sent.
    pub fn next(&mut self) -> Operation {
        self.sent.pop_front().expect("an operation was sent")
    }

    /// The next operation that was sent, which is of this kind.
    pub fn next_is(&mut self, kind: OperationKind) -> Operation {
        let operation = self.next();
        assert_eq!(operation.request.kind(), kind);
        operation
    }

    pub fn silent(&self) {
        assert!(self.sent.is_empty(), "nothing was sent, but {:?}", self.sent);
    }

    pub fn reply(&mut self, operation: &Operation, outcome: Outcome) -> Vec<Event> {
        self.callbacks += 1;
        let answer =
            Answer { callback: CallbackId(self.callbacks), operation: operation.id, hold: operation.hold, outcome };
        self.answer(&operation.processor.clone(), answer)
    }

    pub fn answer(&mut self, from: &ProcessorId, answer: Answer) -> Vec<Event> {
        self.order(Command::Answer { from: from.clone(), answer })
    }

    pub fn approve(&mut self, operation: &Operation, minor: i64) -> Vec<Event> {
        self.reply(operation, approved(minor))
    }

    pub fn decline(&mut self, operation: &Operation, class: DeclineClass, code: &str) -> Vec<Event> {
        self.reply(operation, declined(class, code))
    }

    pub fn report(&mut self, hold: HoldId, kind: NotificationKind, minor: i64) -> Vec<Event> {
        self.callbacks += 1;
        let callback = CallbackId(self.callbacks);
        let notification = Notification { callback, hold, kind, amount: eur(minor), occurred_at: self.now.wall };
        self.order(Command::Notification { from: processor("acme"), notification })
    }

    pub fn not_sent(&mut self, operation: &Operation) -> Vec<Event> {
        self.order(Command::NotSent { operation: operation.id, attempt: operation.attempt })
    }

    pub fn connection_lost(&mut self, operation: &Operation) -> Vec<Event> {
        self.order(Command::ConnectionLost { operation: operation.id, attempt: operation.attempt })
    }

    /// Lets time pass on both clocks, ticking at every deadline on the way.
    pub fn wait(&mut self, span: TimeSpan) -> Vec<Event> {
        let end = Now { wall: self.now.wall.saturating_add(span), mono: self.now.mono.after(span) };
        let mut events = Vec::new();
        for _ in 0..10_000 {
            match self.payment.next_deadline(self.now, &self.policy) {
                Some(due) if due <= end.mono => {
                    let step = due.since(self.now.mono);
                    self.now = Now { wall: self.now.wall.saturating_add(step), mono: self.now.mono.after(step) };
                    events.extend(self.order(Command::Tick));
                }
                Some(_) | None => {
                    self.now = end;
                    return events;
                }
            }
        }
        panic!("deadlines do not come to rest: {:?}", self.payment);
    }

    pub fn wait_s(&mut self, seconds: i64) -> Vec<Event> {
        self.wait(TimeSpan::from_secs(seconds))
    }

    /// The process crashes and restarts: messages may be lost, timers are gone, the state is what was stored.
    pub fn restart(&mut self) -> Vec<Event> {
        let stored = to_bytes(&self.payment);
        self.payment = from_bytes(&stored).expect("a payment decodes");
        self.now.mono = Mono(5);
        let decision = resume(&self.payment, self.now, &self.policy).decision;
        self.take(decision)
    }

    pub fn last_acknowledged(&self) -> AcknowledgeCode {
        *self.acknowledged.last().expect("a message was acknowledged")
    }

    pub fn last_refused(&self) -> Rejection {
        *self.refused.last().expect("a command was refused")
    }
}

/// A bench whose session ended with this capture.
pub fn captured(minor: i64) -> Harness {
    let mut harness = Harness::open(10_000);
    harness.capture(minor);
    let capture = harness.next();
    harness.approve(&capture, minor);
    harness.log.clear();
    harness
}

pub fn approved(minor: i64) -> Outcome {
    Outcome::Approved { amount: eur(minor), processor_ref: ProcessorRef("ref-1".into()), expires_at: None }
}

pub fn declined(class: DeclineClass, code: &str) -> Outcome {
    Outcome::Declined(Decline { class, code: code.into(), retry_after: None })
}

/// The amount that an operation is about.
pub fn asked(operation: &Operation) -> i64 {
    match &operation.request {
        Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => {
            amount.minor
        }
        Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => new_total.minor,
        Request::Void { .. } | Request::Inquire { .. } => 0,
    }
}

/// The operation that an inquiry is about.
pub fn target(operation: &Operation) -> OpId {
    match operation.request {
        Request::Inquire { target } => target,
        _ => panic!("{operation:?} is no inquiry"),
    }
}

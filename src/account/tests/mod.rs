//! Tests of the account's machine: scenarios, tables, and a comparison with a naive model.

mod model;
mod scenarios;
mod table;

use super::{Account, Command, Effect, Event, apply, decide};
use crate::payment::{Answer, Outcome};
use crate::units::{
    AccountId, Amount, Currency, Fingerprint, HoldId, Mono, Now, OpId, PartitionId, PaymentId, Timestamp,
};

/// An account with its log and its books, driven by hand.
pub(super) struct Bench {
    pub account: Account,
    pub log: Vec<Event>,
    pub books: crate::ledger::Books,
    pub now_ms: i64,
}

impl Bench {
    /// An open account with so much paid money, in cents.
    pub fn with(cents: i64) -> Bench {
        let mut bench = Bench { account: Account::default(), log: Vec::new(), books: Default::default(), now_ms: NOON };
        let opened = bench.order(Command::Open {
            op: order_op(0),
            account: AccountId::new("fleet-north").unwrap(),
            currency: Currency::EUR,
            credit_limit: eur(0),
        });
        assert_eq!(opened, Ok(0));
        if cents > 0 {
            let top_up = Command::TopUp { op: order_op(1), amount: eur(cents), source: super::TopUpSource::Bank };
            assert_eq!(bench.order(top_up), Ok(cents));
        }
        bench
    }

    /// Decides, applies, posts; gives the one effect.
    pub fn order_once(&mut self, command: Command) -> Option<Effect> {
        let wall = Timestamp::from_unix_ms(self.now_ms);
        let decision = decide(&self.account, command, Now { wall, mono: Mono(0) });
        for event in &decision.events {
            let before = self.account.clone();
            apply(&mut self.account, event);
            let known = self.account.opened().or(before.opened()).expect("events open an account or belong to one");
            if let Some(entry) = super::entries(known, event).expect("events make balanced entries") {
                self.books.post(&entry);
            }
        }
        self.log.extend(decision.events);
        assert!(decision.effects.len() <= 1);
        decision.effects.into_iter().next()
    }

    /// A payment operation: the minor units that were approved, or the code of the refusal.
    pub fn ask(&mut self, command: Command) -> Result<i64, String> {
        match self.order_once(command) {
            Some(Effect::Answer(Answer { outcome: Outcome::Approved { amount, .. }, .. })) => Ok(amount.minor),
            Some(Effect::Answer(Answer { outcome: Outcome::Declined(decline), .. })) => Err(decline.code.into()),
            Some(Effect::Answer(Answer { outcome: Outcome::NotFound, .. })) => Err("not found".into()),
            Some(Effect::Answer(Answer { outcome: Outcome::Error, .. })) => Err("open".into()),
            other => panic!("an operation is answered: {other:?}"),
        }
    }

    /// An order: the available minor units afterwards, or the code of the refusal.
    pub fn order(&mut self, command: Command) -> Result<i64, &'static str> {
        match self.order_once(command) {
            Some(Effect::Done { balance, .. }) => Ok(balance.available()),
            Some(Effect::Refused { rejection, .. }) => Err(rejection.code()),
            other => panic!("an order is answered: {other:?}"),
        }
    }

    pub fn available(&self) -> i64 {
        self.account.opened().map_or(0, |account| account.balance().available())
    }
}

pub(super) const NOON: i64 = 1_763_812_800_000;

pub(super) fn eur(cents: i64) -> Amount {
    Amount::new(cents, Currency::EUR)
}

pub(super) fn payment(number: u64) -> PaymentId {
    PaymentId::new(Timestamp::from_unix_ms(NOON), PartitionId(3), number)
}

/// The operation of an order that has no session.
pub(super) fn order_op(number: u64) -> OpId {
    PaymentId::new(Timestamp::from_unix_ms(NOON), PartitionId(9), number).operation(1)
}

/// The first hold of a payment.
pub(super) fn hold_of(number: u64) -> HoldId {
    HoldId(payment(number).operation(1))
}

pub(super) fn hold(number: u64, cents: i64) -> Command {
    Command::Hold {
        op: hold_of(number).0,
        amount: eur(cents),
        partial_ok: false,
        credential: None,
        decide_by: Timestamp::from_unix_ms(NOON + 60_000),
        is_alone: false,
    }
}

pub(super) fn raise(number: u64, ordinal: u16, cents: i64) -> Command {
    let op = payment(number).operation(ordinal);
    Command::Adjust { op, hold: hold_of(number), direction: super::Direction::Up, new_total: eur(cents) }
}

pub(super) fn lower(number: u64, ordinal: u16, cents: i64) -> Command {
    let op = payment(number).operation(ordinal);
    Command::Adjust { op, hold: hold_of(number), direction: super::Direction::Down, new_total: eur(cents) }
}

pub(super) fn capture(number: u64, ordinal: u16, cents: i64) -> Command {
    let op = payment(number).operation(ordinal);
    Command::Capture { op, hold: hold_of(number), amount: eur(cents), last: true }
}

pub(super) fn release(number: u64, ordinal: u16) -> Command {
    Command::Release { op: payment(number).operation(ordinal), hold: hold_of(number) }
}

pub(super) fn refund(number: u64, ordinal: u16, captured_by: u16, cents: i64) -> Command {
    let (op, capture) = (payment(number).operation(ordinal), payment(number).operation(captured_by));
    Command::Refund { op, hold: hold_of(number), capture, amount: eur(cents) }
}

pub(super) fn inquire(number: u64, target: u16) -> Command {
    let target = payment(number).operation(target);
    Command::Inquire { op: payment(number).operation(9_999), attempt: 1, hold: hold_of(number), target }
}

pub(super) fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint([number; 8])
}

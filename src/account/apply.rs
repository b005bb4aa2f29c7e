//! Applies an event to an account. Cannot fail; asserts the assumptions of the decision.

use super::state::{Answered, Grant, Hold, Order, Remembered, Taken, session_time_ms};
use super::{Account, Asked, Event, HoldState, Movement, MovementKind, OpenAccount, Parts, Rejection, TopUpSource};
use crate::limits;
use crate::units::{Amount, HoldId, OpId, Timestamp};

/// Applies an event.
///
/// # Panics
/// When the event does not fit the state: then the decision or the log is wrong, and all later states would be, too.
pub fn apply(account: &mut Account, event: &Event) {
    let open = match (&mut *account, event) {
        (Account::Unopened, Event::Opened { op, account: id, currency, credit_limit, .. }) => {
            *account = Account::Open(Box::new(OpenAccount {
                id: id.clone(),
                opened_by: *op,
                currency: *currency,
                first_credit_limit: credit_limit.minor,
                credit_limit: credit_limit.minor,
                paid: 0,
                grants: Vec::new(),
                held: Parts::default(),
                open_holds: 0,
                holds: Default::default(),
                closed: Default::default(),
                forgotten_until: None,
                declined: Default::default(),
                credentials: Default::default(),
                orders: Default::default(),
                orders_forgotten_until_ms: None,
                movements: Default::default(),
            }));
            return;
        }
        (Account::Open(open), Event::Closed { at, op, paid_out, forfeited }) => {
            open.close(*at, *op, *paid_out, *forfeited);
            let closed = std::mem::take(account);
            if let Account::Open(open) = closed {
                *account = Account::Closed(open);
            }
            return;
        }
        (Account::Open(open), _) => open,
        // A closed account still owes what a top-up's payment has lost, until that is paid.
        (Account::Closed(open), Event::Debited { .. } | Event::ToppedUp { .. }) => open,
        (Account::Unopened | Account::Closed(_), _) => {
            panic!("an account that is not open has no such event: {event:?}")
        }
    };
    let before = open.paid - open.held.paid;
    match event {
        Event::HoldPlaced { op, asked, reserved, .. } => {
            let state = HoldState::Open { reserved: *reserved, taken: Taken::default() };
            let placed = Hold { state, operations: Vec::with_capacity(2), forgotten_up_to: 0 };
            let before = open.holds.insert(HoldId(*op), placed);
            assert!(before.is_none(), "a hold is placed once");
            open.held = open.held.plus(*reserved);
            open.open_holds += 1;
            open.remember(HoldId(*op), *op, *asked, Answered::Done(reserved.total()));
        }
        Event::Refused { op, hold, asked, rejection, .. } => open.refused(*op, *hold, *asked, *rejection),
        Event::HoldAdjusted { op, hold, asked, reserved, .. } => {
            let (before, taken) = open.open_hold(*hold);
            open.held = open.held.minus(before).plus(*reserved);
            open.set(*hold, HoldState::Open { reserved: *reserved, taken });
            let total = reserved.total() + taken.captured.total();
            open.remember(*hold, *op, *asked, Answered::Done(total));
        }
        Event::Captured { at, op, hold, taken: captured, last, promotion_expires_at } => {
            let (reserved, mut taken) = open.open_hold(*hold);
            let rest = reserved.minus(*captured);
            assert!(rest.paid >= 0 && rest.promotional >= 0, "a capture is within its hold");
            taken.captured = taken.captured.plus(*captured);
            taken.promotion_expires_at = taken.promotion_expires_at.max(*promotion_expires_at);
            open.spend(*captured);
            open.held = open.held.minus(*captured);
            let asked = Asked::Capture { amount: captured.total(), last: *last };
            open.remember(*hold, *op, asked, Answered::Done(captured.total()));
            open.moved(*at, *op, MovementKind::Capture, Parts::default().minus(*captured));
            if *last {
                open.end(*at, *hold, rest, HoldState::Captured(taken))
            } else {
                open.set(*hold, HoldState::Open { reserved: rest, taken })
            }
        }
        Event::Released { at, op, hold, released } => {
            let (reserved, taken) = open.open_hold(*hold);
            assert_eq!(reserved, *released, "a release releases what is reserved");
            open.remember(*hold, *op, Asked::Release, Answered::Done(released.total()));
            let state = match taken.captured.total() {
                0 => HoldState::Released,
                _ => HoldState::Captured(taken),
            };
            open.end(*at, *hold, reserved, state);
        }
        Event::Reversed { at, op, hold } => {
            let reversed = Hold { state: HoldState::Reversed, operations: Vec::with_capacity(1), forgotten_up_to: 0 };
            let before = open.holds.insert(*hold, reversed);
            assert!(before.is_none(), "only a hold that was never seen is reversed");
            open.remember(*hold, *op, Asked::Release, Answered::NothingToRelease);
            open.closed.push_back((*at, *hold));
            open.forget(*at);
        }
        Event::Refunded { at, op, hold, asked, returned, promotion_expires_at } => {
            let known = open.holds.get_mut(hold).expect("a refund is of a known hold");
            match &mut known.state {
                HoldState::Open { taken, .. } | HoldState::Captured(taken) => {
                    taken.refunded = taken.refunded.plus(*returned);
                    assert!(taken.refunded.total() <= taken.captured.total(), "a refund is within its capture");
                }
                HoldState::Released | HoldState::Declined | HoldState::Reversed => panic!("nothing was captured"),
            }
            open.paid += returned.paid;
            if returned.promotional > 0 {
                let (remaining, expires_at) = (returned.promotional, *promotion_expires_at);
                open.grant(Grant { op: *op, remaining, lapsed_parts: 0, expires_at });
            }
            open.remember(*hold, *op, *asked, Answered::Done(returned.total()));
            open.moved(*at, *op, MovementKind::Refund, *returned);
        }
        Event::ToppedUp { at, op, amount, source } => {
            open.paid += amount.minor;
            open.ordered(*op, Order::TopUp(*amount, source.clone()));
            let kind = match source {
                TopUpSource::Processor(_) | TopUpSource::Bank => MovementKind::TopUp,
                TopUpSource::RefundFailed(_) => MovementKind::RefundFailed,
            };
            open.moved(*at, *op, kind, Parts { paid: amount.minor, promotional: 0 });
        }
        Event::Debited { at, op, amount, cause } => {
            open.paid -= amount.minor;
            open.ordered(*op, Order::Debit(*amount, *cause));
            open.moved(*at, *op, MovementKind::Debit(*cause), Parts { paid: -amount.minor, promotional: 0 });
        }
        Event::PromotionGranted { at, op, amount, expires_at } => {
            open.grant(Grant { op: *op, remaining: amount.minor, lapsed_parts: 0, expires_at: *expires_at });
            open.ordered(*op, Order::Grant(*amount, *expires_at));
            open.moved(*at, *op, MovementKind::Promotion, Parts { paid: 0, promotional: amount.minor });
        }
        Event::PromotionExpired { at, grant, part, amount } => {
            let lapsing = open.grants.iter_mut().find(|known| known.op == *grant).expect("a known grant lapses");
            lapsing.remaining -= amount.minor;
            assert_eq!(lapsing.lapsed_parts, *part, "the parts of a grant lapse in order");
            lapsing.lapsed_parts += 1;
            assert!(lapsing.remaining >= 0, "a grant lapses once");
            open.grants.retain(|grant| grant.remaining > 0);
            open.moved(*at, *grant, MovementKind::Expiry, Parts { paid: 0, promotional: -amount.minor });
        }
        Event::CreditLimitSet { op, limit, .. } => {
            open.credit_limit = limit.minor;
            open.ordered(*op, Order::Limit(*limit));
        }
        Event::CredentialLinked { op, credential, .. } => {
            open.credentials.insert(*credential);
            open.ordered(*op, Order::Link(*credential));
        }
        Event::CredentialUnlinked { op, credential, .. } => {
            open.credentials.remove(credential);
            open.ordered(*op, Order::Unlink(*credential));
        }
        Event::Opened { .. } | Event::Closed { .. } => panic!("an account is opened once and closed once: {event:?}"),
    }
    open.check(if let Event::Debited { .. } = event { i64::MIN } else { before });
}

impl OpenAccount {
    fn open_hold(&self, hold: HoldId) -> (Parts, Taken) {
        match self.holds.get(&hold).map(|hold| &hold.state) {
            Some(HoldState::Open { reserved, taken }) => (*reserved, *taken),
            state => panic!("{hold} is not open: {state:?}"),
        }
    }

    fn set(&mut self, hold: HoldId, state: HoldState) {
        self.holds.get_mut(&hold).expect("a known hold changes").state = state;
    }

    /// Ends a hold: the amount still reserved is free again.
    fn end(&mut self, at: Timestamp, hold: HoldId, rest: Parts, state: HoldState) {
        self.held = self.held.minus(rest);
        self.open_holds -= 1;
        self.set(hold, state);
        self.closed.push_back((at, hold));
        self.forget(at);
    }

    /// Spends money that a hold reserved.
    fn spend(&mut self, parts: Parts) {
        self.paid -= parts.paid;
        let mut left = parts.promotional;
        for grant in &mut self.grants {
            let used = left.min(grant.remaining);
            grant.remaining -= used;
            left -= used;
        }
        assert_eq!(left, 0, "a hold reserves promotional money that is there");
        self.grants.retain(|grant| grant.remaining > 0);
    }

    fn grant(&mut self, grant: Grant) {
        let place = self.grants.partition_point(|known| known.rank() <= grant.rank());
        self.grants.insert(place, grant);
    }

    fn refused(&mut self, op: OpId, hold: HoldId, asked: Asked, rejection: Rejection) {
        if let Asked::Hold { .. } = asked {
            let declined = Hold { state: HoldState::Declined, operations: Vec::with_capacity(1), forgotten_up_to: 0 };
            let before = self.holds.insert(hold, declined);
            assert!(before.is_none(), "a hold is refused once");
            self.declined.push_back(hold);
            if self.declined.len() > limits::ACCOUNT_DECLINED_HOLDS {
                let oldest = self.declined.pop_front().expect("it is not empty");
                self.holds.remove(&oldest);
            }
        }
        if self.holds.contains_key(&hold) {
            self.remember(hold, op, asked, Answered::Refused(rejection));
        }
    }

    /// Keeps an operation's answer with its hold, and drops the oldest that is not needed any more.
    fn remember(&mut self, hold: HoldId, op: OpId, asked: Asked, answered: Answered) {
        let hold = self.holds.get_mut(&hold).expect("operations of known holds are remembered");
        hold.operations.push(Remembered { ordinal: op.ordinal(), asked, answered });
        if hold.operations.len() <= limits::ACCOUNT_OPERATIONS_PER_HOLD {
            return;
        }
        let forgettable = |operation: &Remembered| match operation.asked {
            Asked::Hold { .. } | Asked::Capture { .. } => matches!(operation.answered, Answered::Refused(_)),
            Asked::Adjust { .. } | Asked::Release | Asked::Refund { .. } => true,
        };
        if let Some(oldest) = hold.operations.iter().position(forgettable) {
            let forgotten = hold.operations.remove(oldest);
            hold.forgotten_up_to = hold.forgotten_up_to.max(forgotten.ordinal);
        }
    }

    /// Drops the closed holds that exceed the bound.
    fn forget(&mut self, now: Timestamp) {
        for _ in 0..self.forgettable(now) {
            let (closed_at, hold) = self.closed.pop_front().expect("it was counted");
            self.holds.remove(&hold);
            self.forgotten_until = self.forgotten_until.max(Some(closed_at));
        }
    }

    fn ordered(&mut self, op: OpId, order: Order) {
        self.orders.push_back((op, order));
        if self.orders.len() > limits::ACCOUNT_ORDERS {
            let (forgotten, _) = self.orders.pop_front().expect("it is not empty");
            self.orders_forgotten_until_ms = self.orders_forgotten_until_ms.max(Some(session_time_ms(forgotten)));
        }
    }

    fn moved(&mut self, at: Timestamp, op: OpId, kind: MovementKind, change: Parts) {
        let balance = self.posted();
        self.movements.push_back(Movement { at, op, kind, change, balance });
        if self.movements.len() > limits::ACCOUNT_MOVEMENTS {
            self.movements.pop_front();
        }
    }

    fn close(&mut self, at: Timestamp, op: OpId, paid_out: Amount, forfeited: Amount) {
        assert_eq!(self.open_holds, 0, "an account with open holds is not closed");
        let rest = self.posted();
        assert_eq!((rest.paid, rest.promotional), (paid_out.minor, forfeited.minor), "all of it goes");
        self.paid = 0;
        self.grants.clear();
        self.ordered(op, Order::Close);
        self.moved(at, op, MovementKind::PayOut, Parts::default().minus(rest));
    }

    /// Checks the invariants; `before` is the paid money that no hold reserved. Only a debit goes below the limit.
    fn check(&self, before: i64) {
        let promotional: i64 = self.grants.iter().map(|grant| grant.remaining).sum();
        assert!(self.held.paid >= 0 && self.held.promotional >= 0, "holds are not negative: {:?}", self.held);
        let free = self.paid - self.held.paid;
        assert!(free >= (-self.credit_limit).min(before), "paid money stays within its limit");
        assert!(promotional >= self.held.promotional, "promotional money is not reserved twice");
    }
}

//! Decisions of an account. Never changes the state.

use super::state::{Answered, Order, Remembered, Taken, session_time_ms};
use super::{
    Account, Asked, Balance, Command, DebitCause, Direction, Effect, Event, HoldState, OpenAccount, Parts, Rejection,
    TopUpSource,
};
use crate::limits;
use crate::machine;
use crate::payment::{Answer, CallbackId, Outcome, ProcessorRef};
use crate::units::{Amount, Fingerprint, HoldId, Now, OpId, TimeSpan, Timestamp};

type Decision = machine::Decision<Event, Effect>;

/// Promotional money that returns by a refund is valid for at least this long.
const RETURNED_PROMOTION_LIFE: TimeSpan = TimeSpan::from_secs(30 * 24 * 3_600);

/// Decides a command. The events are to be applied in order; the effects wait until they are durable.
pub fn decide(account: &Account, command: Command, now: Now) -> Decision {
    let at = now.wall;
    match command {
        Command::Open { op, account: id, currency, credit_limit } => {
            let opened = Event::Opened { at, op, account: id, currency, credit_limit };
            open(account, op, opened)
        }
        Command::Hold { op, amount, partial_ok, credential, decide_by, is_alone } => {
            let asked = Asked::Hold { amount: amount.minor, partial_ok, credential };
            let request = Request { op, hold: HoldId(op), asked, amount: Some(amount), at };
            on_hold(account, request, |account| {
                if is_alone && account.pays_for_another(Some(op.payment())) {
                    Verdict::NotNow(Rejection::SessionOpen)
                } else {
                    place(account, request, decide_by)
                }
            })
        }
        Command::Adjust { op, hold, direction, new_total } => {
            let asked = Asked::Adjust { direction, new_total: new_total.minor };
            let request = Request { op, hold, asked, amount: Some(new_total), at };
            on_hold(account, request, |account| adjust(account, request, direction, new_total.minor))
        }
        Command::Capture { op, hold, amount, last } => {
            let asked = Asked::Capture { amount: amount.minor, last };
            let request = Request { op, hold, asked, amount: Some(amount), at };
            on_hold(account, request, |account| capture(account, request, amount.minor, last))
        }
        Command::Release { op, hold } => {
            let request = Request { op, hold, asked: Asked::Release, amount: None, at };
            on_hold(account, request, |account| release(account, request))
        }
        Command::Refund { op, hold, capture, amount } => {
            let asked = Asked::Refund { capture: capture.ordinal(), amount: amount.minor };
            let request = Request { op, hold, asked, amount: Some(amount), at };
            on_hold(account, request, |account| refund(account, request, capture, amount.minor))
        }
        Command::Inquire { op, attempt, hold, target } => inquire(account, op, attempt, hold, target),
        Command::ExpirePromotions => match account {
            Account::Open(account) => expiries(account, at),
            Account::Unopened | Account::Closed(_) => Decision::nothing(),
        },
        Command::TopUp { op, amount, source } => top_up(account, op, amount, source, at),
        Command::Credit { op, amount, source } => credit(account, op, amount, source, at),
        Command::Debit { op, amount, cause } => debit(account, op, amount, cause, at),
        Command::GrantPromotion { op, amount, expires_at } => {
            order(account, op, Order::Grant(amount, expires_at), Some(amount), |account| {
                check_balance(account, amount)?;
                refuse_if(account.grants.len() >= limits::ACCOUNT_GRANTS, Rejection::TooMany)?;
                refuse_if(expires_at.is_some_and(|until| until <= at), Rejection::TooLate)?;
                Ok(Event::PromotionGranted { at, op, amount, expires_at })
            })
        }
        Command::SetCreditLimit { op, limit } => order(account, op, Order::Limit(limit), None, |account| {
            check_limit(limit)?;
            refuse_if(limit.currency != account.currency, Rejection::CurrencyDiffers)?;
            refuse_if(account.paid + limit.minor < account.held.paid, Rejection::LimitInUse)?;
            Ok(Event::CreditLimitSet { at, op, limit })
        }),
        Command::LinkCredential { op, credential } => order(account, op, Order::Link(credential), None, |account| {
            let known = account.credentials.contains(&credential);
            refuse_if(!known && account.credentials.len() >= limits::ACCOUNT_CREDENTIALS, Rejection::TooMany)?;
            Ok(Event::CredentialLinked { at, op, credential })
        }),
        Command::UnlinkCredential { op, credential } => {
            order(account, op, Order::Unlink(credential), None, |account| {
                refuse_if(!account.credentials.contains(&credential), Rejection::CredentialNotLinked)?;
                Ok(Event::CredentialUnlinked { at, op, credential })
            })
        }
        Command::Close { op } => order(account, op, Order::Close, None, |account| {
            refuse_if(account.open_holds > 0, Rejection::HoldsOpen)?;
            refuse_if(account.paid < 0, Rejection::OwesMoney)?;
            let posted = account.posted();
            let (paid_out, forfeited) = (account.amount(posted.paid), account.amount(posted.promotional));
            Ok(Event::Closed { at, op, paid_out, forfeited })
        }),
    }
}

/// A payment operation on a hold, as all of them are checked.
#[derive(Clone, Copy)]
struct Request {
    op: OpId,
    hold: HoldId,
    asked: Asked,
    amount: Option<Amount>,
    at: Timestamp,
}

/// Result of an operation on a hold.
enum Verdict {
    /// Done: the facts, and the minor units to answer with.
    Done(Decision, i64),
    /// The hold does not exist and is now reversed.
    NothingToRelease(Event),
    /// Refused for a permanent reason: nothing to record.
    Never(Rejection),
    /// Refused for a reason that may pass: recorded, so that the id stays refused.
    NotNow(Rejection),
}

/// Runs an operation on a hold: the checks that all share, the repeated operation, then `decide_new`.
fn on_hold(account: &Account, request: Request, decide_new: impl FnOnce(&OpenAccount) -> Verdict) -> Decision {
    let Some(open) = account.opened() else {
        return refuse(&request, Rejection::NoSuchAccount);
    };
    if let Some(Err(rejection)) = request.amount.map(|amount| check_amount(open, amount)) {
        return refuse(&request, rejection);
    }
    match lookup(open, &request) {
        Lookup::Same(answered) => return Decision::reply(answer(&request, open, answered)),
        Lookup::Different(rejection) => return refuse(&request, rejection),
        Lookup::New => {}
    }
    if let Account::Closed(_) = account {
        return refuse(&request, Rejection::AccountClosed);
    }
    match decide_new(open) {
        Verdict::Done(decision, minor) => decision.and_effect(answer(&request, open, Answered::Done(minor))),
        Verdict::NothingToRelease(event) => {
            Decision::event(event).and_effect(answer(&request, open, Answered::NothingToRelease))
        }
        Verdict::Never(rejection) => refuse(&request, rejection),
        Verdict::NotNow(rejection) => {
            let Request { op, hold, asked, at, .. } = request;
            Decision::event(Event::Refused { at, op, hold, asked, rejection }).and_effect(answer(
                &request,
                open,
                Answered::Refused(rejection),
            ))
        }
    }
}

enum Lookup {
    New,
    Same(Answered),
    Different(Rejection),
}

/// Whether the operation's id is known, and with which body.
fn lookup(account: &OpenAccount, request: &Request) -> Lookup {
    let Request { op, hold, asked, .. } = request;
    if op.payment() != hold.payment() {
        return Lookup::Different(Rejection::OperationOfAnotherSession);
    }
    if let Some(known) = account.holds.get(hold) {
        if let Some(Remembered { asked: before, answered, .. }) = known.remembered(op.ordinal()) {
            return match asked.difference(before) {
                None => Lookup::Same(*answered),
                Some(rejection) => Lookup::Different(rejection),
            };
        }
        if op.ordinal() <= known.forgotten_up_to {
            return Lookup::Different(Rejection::OperationForgotten);
        }
    }
    let payment = op.payment();
    let of_payment = HoldId(payment.operation(0))..=HoldId(payment.operation(u16::MAX));
    let elsewhere = account.holds.range(of_payment).filter(|(other, _)| *other != hold);
    if elsewhere.into_iter().any(|(_, other)| other.remembered(op.ordinal()).is_some()) {
        Lookup::Different(Rejection::ExistsWithDifferentHold)
    } else {
        Lookup::New
    }
}

fn place(account: &OpenAccount, request: Request, decide_by: Timestamp) -> Verdict {
    let Request { op, hold, asked, at, .. } = request;
    let Asked::Hold { amount, partial_ok, credential } = asked else { unreachable!("a hold asks for a hold") };
    if account.holds.contains_key(&hold) {
        // The hold exists, though this operation is not kept with it: only a reversal arrived before.
        return Verdict::Never(Rejection::HoldEnded);
    }
    if at > decide_by {
        // A repetition may arrive in time (it has another deadline, or the clock was set back): the answer stays the
        // same.
        return Verdict::NotNow(Rejection::TooLate);
    }
    if !may_use(account, credential) {
        return Verdict::NotNow(Rejection::CredentialNotLinked);
    }
    if account.open_holds as usize >= limits::ACCOUNT_OPEN_HOLDS {
        return Verdict::NotNow(Rejection::TooManyHolds);
    }
    let available = account.available(at);
    let granted = if partial_ok { amount.min(available.total()) } else { amount };
    // An account that owes more than its limit pays that first, whatever promotional money it has.
    if available.paid < 0 || granted <= 0 || granted > available.total() {
        return Verdict::NotNow(Rejection::InsufficientFunds);
    }
    let reserved = promotional_first(granted, available);
    let placed = Event::HoldPlaced { at, op, asked, reserved };
    // Promotional money that is due lapses first: a hold must not reserve it.
    Verdict::Done(expiries(account, at).and_event(placed), granted)
}

fn adjust(account: &OpenAccount, request: Request, direction: Direction, new_total: i64) -> Verdict {
    let Request { op, hold, asked, at, .. } = request;
    let (reserved, taken) = match open_hold(account, hold) {
        Ok(open) => open,
        Err(rejection) => return Verdict::Never(rejection),
    };
    let captured = taken.captured.total();
    let old_total = reserved.total() + captured;
    if new_total == old_total {
        return Verdict::NotNow(Rejection::SameTotal);
    }
    if !direction.fits(old_total, new_total) || new_total < captured {
        return Verdict::NotNow(Rejection::WrongDirection);
    }
    let change = new_total - old_total;
    let reserved = if change > 0 {
        let available = account.available(at);
        if available.paid < 0 || change > available.total() {
            return Verdict::NotNow(Rejection::InsufficientFunds);
        }
        reserved.plus(promotional_first(change, available))
    } else {
        // Paid money is released first, so that promotional money is still used first.
        let paid = reserved.paid.min(-change);
        reserved.minus(Parts { paid, promotional: -change - paid })
    };
    let adjusted = Event::HoldAdjusted { at, op, hold, asked, reserved };
    Verdict::Done(expiries(account, at).and_event(adjusted), new_total)
}

fn capture(account: &OpenAccount, request: Request, amount: i64, last: bool) -> Verdict {
    let Request { op, hold, at, .. } = request;
    let (reserved, _) = match open_hold(account, hold) {
        Ok(open) => open,
        Err(rejection) => return Verdict::Never(rejection),
    };
    if amount > reserved.total() {
        return Verdict::NotNow(Rejection::ExceedsHold);
    }
    let captures = account.holds[&hold].operations.iter();
    let captures = captures.filter(|operation| matches!(operation.asked, Asked::Capture { .. })).count();
    if !last && captures + 1 >= limits::ACCOUNT_CAPTURES_PER_HOLD {
        return Verdict::NotNow(Rejection::TooMany);
    }
    let taken = promotional_first(amount, reserved);
    let promotion_expires_at = expiry_of_taken(account, taken.promotional);
    let captured = Event::Captured { at, op, hold, taken, last, promotion_expires_at };
    Verdict::Done(Decision::event(captured), amount)
}

fn release(account: &OpenAccount, request: Request) -> Verdict {
    let Request { op, hold, at, .. } = request;
    match account.holds.get(&hold).map(|hold| &hold.state) {
        Some(HoldState::Open { reserved, .. }) => {
            let released = Event::Released { at, op, hold, released: *reserved };
            Verdict::Done(Decision::event(released), reserved.total())
        }
        Some(HoldState::Captured(_) | HoldState::Released | HoldState::Declined | HoldState::Reversed) => {
            Verdict::Never(Rejection::HoldEnded)
        }
        None if account.may_have_forgotten(hold) => Verdict::Never(Rejection::OperationForgotten),
        None => Verdict::NothingToRelease(Event::Reversed { at, op, hold }),
    }
}

fn refund(account: &OpenAccount, request: Request, capture: OpId, amount: i64) -> Verdict {
    let Request { op, hold, asked, at, .. } = request;
    let Some(known) = account.holds.get(&hold) else {
        return Verdict::Never(unknown_hold(account, hold));
    };
    let captured = known.remembered(capture.ordinal()).is_some_and(|operation| {
        matches!((operation.asked, operation.answered), (Asked::Capture { .. }, Answered::Done(_)))
    });
    let Some(taken) = known.taken().filter(|_| captured && capture.payment() == hold.payment()) else {
        return Verdict::NotNow(Rejection::CaptureUnknown);
    };
    let refundable = taken.captured.minus(taken.refunded);
    if amount > refundable.total() {
        return Verdict::NotNow(Rejection::ExceedsCapture);
    }
    // The driver's own money is refunded first.
    let paid = refundable.paid.min(amount);
    let returned = Parts { paid, promotional: amount - paid };
    if account.posted().total() + amount > limits::ACCOUNT_AMOUNT_MAX {
        return Verdict::NotNow(Rejection::AmountTooLarge);
    }
    if returned.promotional > 0 && account.grants.len() >= limits::ACCOUNT_GRANTS {
        return Verdict::NotNow(Rejection::TooMany);
    }
    let at_least = at.saturating_add(RETURNED_PROMOTION_LIFE);
    let promotion_expires_at = taken.promotion_expires_at.map(|expires_at| expires_at.max(at_least));
    let refunded = Event::Refunded { at, op, hold, asked, returned, promotion_expires_at };
    Verdict::Done(Decision::event(refunded), amount)
}

fn inquire(account: &Account, op: OpId, attempt: u16, hold: HoldId, target: OpId) -> Decision {
    let outcome = match account.opened() {
        None => Outcome::NotFound,
        Some(open) => match open.holds.get(&hold) {
            Some(known) => match known.remembered(target.ordinal()).filter(|_| target.payment() == hold.payment()) {
                Some(operation) => outcome(open, operation.answered),
                None if target.ordinal() <= known.forgotten_up_to => Outcome::Error,
                None => Outcome::NotFound,
            },
            None if open.may_have_forgotten(hold) => Outcome::Error,
            None => Outcome::NotFound,
        },
    };
    // Inquiries may be repeated and answered differently, so that each sending has its own number.
    let callback = CallbackId(op.as_u128() ^ u128::from(attempt) << 112);
    Decision::reply(Effect::Answer(Answer { callback, operation: op, hold, outcome }))
}

/// Opens the account, once.
fn open(account: &Account, op: OpId, opened: Event) -> Decision {
    let Event::Opened { account: id, currency, credit_limit, .. } = &opened else {
        unreachable!("opening decides about opening");
    };
    if let Err(rejection) = check_limit(*credit_limit) {
        return Decision::reply(Effect::Refused { op, rejection });
    }
    if credit_limit.currency != *currency {
        return Decision::reply(Effect::Refused { op, rejection: Rejection::CurrencyDiffers });
    }
    match account {
        Account::Unopened => {
            let balance = Balance {
                currency: *currency,
                posted: Parts::default(),
                held: Parts::default(),
                credit_limit: credit_limit.minor,
            };
            Decision::event(opened).and_effect(Effect::Done { op, balance })
        }
        Account::Open(open) => {
            let same = open.id == *id && open.currency == *currency && open.first_credit_limit == credit_limit.minor;
            Decision::reply(if same {
                Effect::Done { op, balance: open.balance() }
            } else {
                Effect::Refused { op, rejection: Rejection::AccountExists }
            })
        }
        Account::Closed(_) => Decision::reply(Effect::Refused { op, rejection: Rejection::AccountClosed }),
    }
}

/// Puts paid money on the account. A closed one takes what it owes, and no more.
fn top_up(account: &Account, op: OpId, amount: Amount, source: TopUpSource, at: Timestamp) -> Decision {
    match account {
        Account::Closed(open) if open.paid < 0 && known_order(open, op).is_none() => {
            let room = open.paid.saturating_neg();
            let checked = check_amount(open, amount)
                .and_then(|()| refuse_if(amount.minor > room, Rejection::AccountClosed))
                .and_then(|()| refuse_if(is_forgotten(open, op), Rejection::OperationForgotten));
            match checked {
                Ok(()) => ordered(open, op, Event::ToppedUp { at, op, amount, source }),
                Err(rejection) => Decision::reply(Effect::Refused { op, rejection }),
            }
        }
        _ => order(account, op, Order::TopUp(amount, source.clone()), Some(amount), |account| {
            check_balance(account, amount)?;
            Ok(Event::ToppedUp { at, op, amount, source })
        }),
    }
}

/// Money of a top-up's payment. The top-up may be older than the orders that are kept here: it knows itself whether it
/// was credited.
fn credit(account: &Account, op: OpId, amount: Amount, source: TopUpSource, at: Timestamp) -> Decision {
    match account {
        Account::Open(open) if known_order(open, op).is_none() => {
            match check_amount(open, amount).and_then(|()| check_balance(open, amount)) {
                Ok(()) => ordered(open, op, Event::ToppedUp { at, op, amount, source }),
                Err(rejection) => Decision::reply(Effect::Refused { op, rejection }),
            }
        }
        _ => top_up(account, op, amount, source, at),
    }
}

/// Takes back what a top-up's payment has lost, whatever is on the account and whether or not it is open.
fn debit(account: &Account, op: OpId, amount: Amount, cause: DebitCause, at: Timestamp) -> Decision {
    let refused = |rejection| Decision::reply(Effect::Refused { op, rejection });
    let Some(open) = account.opened() else { return refused(Rejection::NoSuchAccount) };
    if let Err(rejection) = check_amount(open, amount) {
        return refused(rejection);
    }
    if let Some(before) = known_order(open, op) {
        return match Order::Debit(amount, cause).difference(before) {
            None => Decision::reply(Effect::Done { op, balance: open.balance() }),
            Some(rejection) => refused(rejection),
        };
    }
    // The amount owed has a bound, too; a payment's amounts are far below it.
    if open.paid < amount.minor - limits::ACCOUNT_AMOUNT_MAX {
        return refused(Rejection::AmountTooLarge);
    }
    ordered(open, op, Event::Debited { at, op, amount, cause })
}

fn known_order(account: &OpenAccount, op: OpId) -> Option<&Order> {
    account.orders.iter().find(|(known, _)| *known == op).map(|(_, order)| order)
}

fn is_forgotten(account: &OpenAccount, op: OpId) -> bool {
    account.orders_forgotten_until_ms.is_some_and(|until| session_time_ms(op) <= until)
}

/// An order's fact, and its answer with the balance that it leaves.
fn ordered(account: &OpenAccount, op: OpId, event: Event) -> Decision {
    let balance = balance_after(account, &event);
    Decision::event(event).and_effect(Effect::Done { op, balance })
}

/// Runs an order that is not a payment operation: known already, or `decide_new`.
fn order(
    account: &Account,
    op: OpId,
    wanted: Order,
    amount: Option<Amount>,
    decide_new: impl FnOnce(&OpenAccount) -> Result<Event, Rejection>,
) -> Decision {
    let refused = |rejection| Decision::reply(Effect::Refused { op, rejection });
    let Some(opened) = account.opened() else { return refused(Rejection::NoSuchAccount) };
    if let Some(Err(rejection)) = amount.map(|amount| check_amount(opened, amount)) {
        return refused(rejection);
    }
    if let Some(before) = known_order(opened, op) {
        return match wanted.difference(before) {
            None => Decision::reply(Effect::Done { op, balance: opened.balance() }),
            Some(rejection) => refused(rejection),
        };
    }
    if is_forgotten(opened, op) {
        return refused(Rejection::OperationForgotten);
    }
    if let Account::Closed(_) = account {
        return refused(Rejection::AccountClosed);
    }
    match decide_new(opened) {
        Err(rejection) => refused(rejection),
        Ok(event) => ordered(opened, op, event),
    }
}

/// Grants that lapse now: those that are due and that no hold reserves.
fn expiries(account: &OpenAccount, at: Timestamp) -> Decision {
    account.lapsing(at).fold(Decision::nothing(), |decision, (grant, minor)| {
        let amount = account.amount(minor);
        decision.and_event(Event::PromotionExpired { at, grant: grant.op, part: grant.lapsed_parts, amount })
    })
}

fn open_hold(account: &OpenAccount, hold: HoldId) -> Result<(Parts, Taken), Rejection> {
    match account.holds.get(&hold).map(|hold| &hold.state) {
        Some(HoldState::Open { reserved, taken }) => Ok((*reserved, *taken)),
        Some(HoldState::Captured(_) | HoldState::Released | HoldState::Declined | HoldState::Reversed) => {
            Err(Rejection::HoldEnded)
        }
        None => Err(unknown_hold(account, hold)),
    }
}

fn unknown_hold(account: &OpenAccount, hold: HoldId) -> Rejection {
    if account.may_have_forgotten(hold) { Rejection::OperationForgotten } else { Rejection::HoldUnknown }
}

/// Only linked credentials pay from an account: its name is none. Without one, the sender has checked that.
fn may_use(account: &OpenAccount, credential: Option<Fingerprint>) -> bool {
    credential.is_none_or(|credential| account.credentials.contains(&credential))
}

/// Splits an amount that `from` covers: promotional money is used first.
fn promotional_first(minor: i64, from: Parts) -> Parts {
    let promotional = minor.min(from.promotional).max(0);
    Parts { paid: minor - promotional, promotional }
}

/// Expiry of the promotional money that a capture takes: the latest of its grants.
fn expiry_of_taken(account: &OpenAccount, promotional: i64) -> Option<Timestamp> {
    let mut left = promotional;
    let mut latest = Timestamp::from_unix_ms(i64::MIN);
    for grant in &account.grants {
        if left <= 0 {
            break;
        }
        latest = latest.max(grant.expires_at?);
        left -= grant.remaining;
    }
    (promotional > 0).then_some(latest)
}

fn check_amount(account: &OpenAccount, amount: Amount) -> Result<(), Rejection> {
    refuse_if(amount.currency != account.currency, Rejection::CurrencyDiffers)?;
    refuse_if(amount.minor <= 0, Rejection::AmountNotPositive)?;
    refuse_if(amount.minor > limits::ACCOUNT_AMOUNT_MAX, Rejection::AmountTooLarge)
}

fn check_limit(limit: Amount) -> Result<(), Rejection> {
    refuse_if(limit.minor < 0, Rejection::AmountNotPositive)?;
    refuse_if(limit.minor > limits::ACCOUNT_AMOUNT_MAX, Rejection::AmountTooLarge)
}

/// Refuses money that would lift the balance above what an account can hold.
fn check_balance(account: &OpenAccount, coming: Amount) -> Result<(), Rejection> {
    let room = limits::ACCOUNT_AMOUNT_MAX - account.posted().total();
    refuse_if(coming.minor > room, Rejection::AmountTooLarge)
}

fn refuse_if(condition: bool, rejection: Rejection) -> Result<(), Rejection> {
    if condition { Err(rejection) } else { Ok(()) }
}

/// A refusal that leaves no record: the same operation may be answered otherwise later (the account is opened, the
/// clock is set back), and that answer must not look like a repetition of this one. So it has a number of its own.
fn refuse(request: &Request, rejection: Rejection) -> Decision {
    let callback = CallbackId(request.op.as_u128() ^ u128::from(u16::MAX) << 112);
    let outcome = Outcome::Declined(rejection.to_decline());
    Decision::reply(Effect::Answer(Answer { callback, operation: request.op, hold: request.hold, outcome }))
}

/// An operation has one recorded answer, so that the answer's number is the operation's.
fn answer(request: &Request, account: &OpenAccount, answered: Answered) -> Effect {
    let (callback, outcome) = (CallbackId(request.op.as_u128()), outcome(account, answered));
    Effect::Answer(Answer { callback, operation: request.op, hold: request.hold, outcome })
}

/// The answer in the form that all processors use. The account's name is its reference for a hold: operations that
/// carry it are routed to the account.
fn outcome(account: &OpenAccount, answered: Answered) -> Outcome {
    match answered {
        Answered::Done(minor) => Outcome::Approved {
            amount: account.amount(minor),
            processor_ref: ProcessorRef(account.id.as_str().into()),
            expires_at: None,
        },
        Answered::Refused(rejection) => Outcome::Declined(rejection.to_decline()),
        Answered::NothingToRelease => Outcome::NotFound,
    }
}

/// The balance that an order leaves.
fn balance_after(account: &OpenAccount, event: &Event) -> Balance {
    let mut balance = account.balance();
    match event {
        Event::ToppedUp { amount, .. } => balance.posted.paid += amount.minor,
        Event::Debited { amount, .. } => balance.posted.paid -= amount.minor,
        Event::PromotionGranted { amount, .. } => balance.posted.promotional += amount.minor,
        Event::CreditLimitSet { limit, .. } => balance.credit_limit = limit.minor,
        Event::Closed { .. } => balance.posted = Parts::default(),
        Event::CredentialLinked { .. }
        | Event::CredentialUnlinked { .. }
        | Event::PromotionExpired { .. }
        | Event::Opened { .. }
        | Event::HoldPlaced { .. }
        | Event::Refused { .. }
        | Event::HoldAdjusted { .. }
        | Event::Captured { .. }
        | Event::Released { .. }
        | Event::Reversed { .. }
        | Event::Refunded { .. } => {}
    }
    balance
}

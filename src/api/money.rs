//! Orders on the money of sessions and on processors: refund, release, drain, test.
//!
//! A dry run is the decision itself, made on a copy: it reports exactly the requests of a real run.

use super::answers::{MoneyOrdered, ORDER, ProcessorOrdered, ProcessorTested, RequestedRow};
use super::orders::{TIMEOUT, running};
use super::refused::Refused;
use super::resources::words;
use super::views::Views;
use crate::actors::directory::Directory;
use crate::host::wall_clock;
use crate::node::input::{Input, MoneyOrder};
use crate::node::processor::{Test, Tested};
use crate::node::reply::{MoneyStanding, Ordered};
use crate::payment::{self, Effect, Ordinal, Payment, Request};
use crate::units::shape::described;
use crate::units::{Amount, HoldId, Mono, Now, OpId, PaymentId, ProcessorId, SessionId, Typed};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

described! {
/// Money is given back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refunding {
    /// How much more, in major units.
    #[serde(default)]
    pub amount: Option<Typed>,
    /// The total to refund, earlier refunds included. The same total twice refunds once: this is how to repeat an
    /// order whose answer was lost.
    #[serde(default)]
    pub total: Option<Typed>,
    /// Everything that can be given back.
    #[serde(default)]
    pub all: bool,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

described! {
/// A hold is released.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releasing {
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

described! {
/// A processor gets no new holds, or gets them again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draining {
    /// Whether it is to get none.
    pub on: bool,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

/// Gives back money of a session that was captured.
///
/// # Errors
/// More than can be given back, a session that does not exist, a rule against it, or no answer in time.
pub fn refund(views: &Views, id: SessionId, wish: &Refunding) -> Result<MoneyOrdered, Refused> {
    let directory = running(views)?;
    let payment = &payment_of(views, id.payment())?;
    let total = total_of(payment, wish)?;
    if total.minor <= 0 {
        return Err(Refused::conflict("there is nothing that could be given back"));
    }
    let ordered = carry_out(directory, payment, MoneyOrder::RefundTo(total), wish.dry_run)?;
    Ok(MoneyOrdered { total: Some(total.major()), ..ordered })
}

/// The total to which an order would bring what is given back: in this form, the same order twice gives back once.
///
/// # Errors
/// As [`refund`].
pub fn refund_total(views: &Views, id: SessionId, wish: &Refunding) -> Result<Decimal, Refused> {
    total_of(&payment_of(views, id.payment())?, wish).map(Amount::major)
}

fn total_of(payment: &Payment, wish: &Refunding) -> Result<Amount, Refused> {
    let read = |typed: &Typed| typed.amount(payment.currency()).map_err(Refused::usage);
    let done = payment.refunded().minor.saturating_add(payment.refunding().minor);
    let more = |by: i64| Amount::new(done.saturating_add(by), payment.currency());
    let total = match (&wish.amount, &wish.total, wish.all) {
        (None, None, false) => {
            return Err(Refused::usage(
                "how much is to be given back is not stated: name `amount`, `total` or `all: true`",
            ));
        }
        (Some(amount), None, false) => match read(amount)?.minor {
            ..=0 => return Err(Refused::usage("the amount is not above zero")),
            minor => more(minor),
        },
        (None, Some(total), false) => read(total)?,
        (None, None, true) => more(payment.refundable().minor),
        _ => return Err(Refused::usage("name one of `amount`, `total` and `all`")),
    };
    Ok(total)
}

/// Releases what a hold has left.
///
/// # Errors
/// A hold that does not exist or is over, a rule against it, or no answer in time.
pub fn release(views: &Views, id: OpId, wish: &Releasing) -> Result<MoneyOrdered, Refused> {
    let directory = running(views)?;
    let payment = payment_of(views, id.payment())?;
    let order = MoneyOrder::Release(Ordinal(id.ordinal()));
    let ordered = carry_out(directory, &payment, order, wish.dry_run)?;
    Ok(MoneyOrdered { hold: Some(HoldId(id).to_string()), ..ordered })
}

/// A hold is named by its own id or by that of its authorization.
///
/// # Errors
/// Text that is neither.
pub fn hold_id(text: &str) -> Result<OpId, Refused> {
    text.parse::<HoldId>().map(|hold| hold.0).or_else(|_| text.parse::<OpId>()).map_err(Refused::usage)
}

/// Lets a processor get no new holds, or again.
///
/// # Errors
/// A processor that never connected, or no answer in time.
pub fn drain_processor(views: &Views, id: &ProcessorId, wish: &Draining) -> Result<ProcessorOrdered, Refused> {
    let directory = running(views)?;
    let row = views.processor(id)?.ok_or_else(|| Refused::not_found(format!("processor {id} has never connected")))?;
    if !wish.dry_run {
        let order = |reply| Input::DrainProcessor(id.clone(), wish.on, reply);
        match directory.order(TIMEOUT, order).map_err(|_| Refused::busy())?.wait() {
            Ok(Ordered::Noted) => {}
            Ok(Ordered::Declined(reason)) => return Err(Refused::not_found(reason)),
            Ok(_) => return Err(Refused::failed("a processor answered as if it were something else")),
            Err(_) => return Err(Refused::no_answer("no answer in time; look at the processor")),
        }
    }
    Ok(ProcessorOrdered {
        schema: ORDER.to_owned(),
        dry_run: wish.dry_run,
        processor: id.to_string(),
        draining: row.row.draining,
        draining_after: wish.on,
        in_flight: row.row.in_flight,
    })
}

/// Sends a processor an inquiry for an unknown operation, and measures how long its answer takes.
///
/// # Errors
/// A processor that never connected, or one whose mailbox is full.
pub fn test_processor(views: &Views, id: &ProcessorId) -> Result<ProcessorTested, Refused> {
    let directory = running(views)?;
    let actors = directory.processors();
    let actor = actors.get(id).ok_or_else(|| Refused::not_found(format!("processor {id} has never connected")))?;
    // A probe is waited for as long as the processor's actor waits for it, and a little longer.
    let asker = directory.replies().asker(TIMEOUT.saturating_mul(2)).map_err(|_| Refused::busy())?;
    actor.try_send(Test(asker.to())).map_err(|_| Refused::busy())?;
    let (outcome, ms) = match asker.wait() {
        Ok(Tested::Answered(took)) => ("answered", Some(took.ms())),
        Ok(Tested::Silent) | Err(_) => ("silent", None),
        Ok(Tested::NotSent) => ("not sent", None),
    };
    Ok(ProcessorTested {
        schema: "wattstile.processor-test/1".to_owned(),
        processor: id.to_string(),
        outcome: outcome.to_owned(),
        took_ms: ms,
    })
}

/// Decides on a copy; and if it is meant, hands the order to the payment's owner and waits until what follows from it is durable.
fn carry_out(
    directory: &Directory,
    payment: &Payment,
    order: MoneyOrder,
    dry_run: bool,
) -> Result<MoneyOrdered, Refused> {
    let policy = &directory.node_config().policy.payment;
    let effects = order.command(payment).map(|command| payment::decide(payment, command, now(), policy).effects);
    let mut asked = Vec::new();
    for effect in effects.into_iter().flatten() {
        match effect {
            Effect::Refuse(rejection) => {
                return Err(Refused::conflict(format!("{rejection} (refusal {})", rejection.number())));
            }
            Effect::Send(operation) => {
                let (kind, amount) = (operation.request.kind(), amount_of(&operation.request));
                asked.push(RequestedRow {
                    operation: operation.id.to_string(),
                    kind: words(kind),
                    processor: operation.processor.to_string(),
                    amount: amount.map(Amount::major),
                });
            }
            Effect::Acknowledge { .. } | Effect::Alarm { .. } => {}
        }
    }
    let standing = if dry_run { MoneyStanding::of(payment) } else { ordered(directory, payment.id(), order)? };
    Ok(MoneyOrdered {
        schema: ORDER.to_owned(),
        dry_run,
        session: payment.id().to_string(),
        currency: payment.currency().code().to_owned(),
        operations: asked,
        captured: standing.captured.major(),
        refunded: standing.refunded.major(),
        refunding: standing.refunding.major(),
        held: standing.held.major(),
        total: None,
        hold: None,
    })
}

fn ordered(directory: &Directory, payment: PaymentId, order: MoneyOrder) -> Result<MoneyStanding, Refused> {
    let asker = directory.order(TIMEOUT, |reply| Input::OrderMoney(payment, order, reply));
    match (asker.map_err(|_| Refused::busy())?.wait(), order) {
        (Ok(Ordered::Asked(standing)), _) => Ok(standing),
        (Ok(Ordered::MoneyRefused(rejection)), _) => {
            Err(Refused::conflict(format!("{rejection} (refusal {})", rejection.number())))
        }
        (Ok(Ordered::NoSession), _) => Err(Refused::not_found(format!("there is no session {payment}"))),
        (
            Ok(
                Ordered::Done(_)
                | Ordered::Refused(_)
                | Ordered::Ruled(_)
                | Ordered::Noted
                | Ordered::NoCharger
                | Ordered::Charger(_),
            ),
            _,
        ) => Err(Refused::failed("a session answered as if it were an account")),
        (Err(_), MoneyOrder::RefundTo(total)) => {
            let total = total.major();
            Err(Refused::no_answer(format!(
                "no answer in time; ask again for a total of {total}, which gives back once"
            )))
        }
        (Ok(Ordered::Declined(reason)), _) => Err(Refused::conflict(reason)),
        (Err(_), MoneyOrder::Release(_)) => Err(Refused::no_answer("no answer in time; look at the hold")),
    }
}

fn amount_of(request: &Request) -> Option<Amount> {
    match request {
        Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => {
            Some(*amount)
        }
        Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => Some(*new_total),
        Request::Void { .. } | Request::Inquire { .. } => None,
    }
}

/// The money of a session, live or archived, or of a top-up.
fn payment_of(views: &Views, id: PaymentId) -> Result<Payment, Refused> {
    let found = views.payment(id)?.map(|(payment, _)| payment);
    found.ok_or_else(|| Refused::not_found(format!("there is no session or top-up {id}")))
}

/// The wall clock; nothing that is ordered here depends on the other one.
fn now() -> Now {
    Now { wall: wall_clock(), mono: Mono(0) }
}

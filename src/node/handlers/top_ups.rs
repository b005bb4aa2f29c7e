//! Top-ups: what a card pays is credited to the account in the same batch of the log.

use super::{accounts, payments};
use crate::account::{self, Due, Step, TopUp, TopUpEvent, TopUpSource, account_of};
use crate::journal::RecordKind;
use crate::node::delivery::Delivery;
use crate::node::fact;
use crate::node::input::MoneyOrder;
use crate::node::log_lines;
use crate::node::partition::Partition;
use crate::node::reply::{MoneyStanding, Ordered, ReplyTo};
use crate::node::topping_up::TopUpOrder;
use crate::payment;
use crate::session::Router;
use crate::units::{AccountId, Amount, ChargerId, OpId, PaymentId};

/// Most changes that an account makes up in one step: one, but for the first step after a log of an older version.
const CHANGES_PER_STEP: usize = 8;

/// Handles an order of a top-up.
pub(super) fn order(delivery: &mut Delivery<'_>, partition: &mut Partition, order: TopUpOrder, reply: ReplyTo) {
    let TopUpOrder { id, account, amount, credential } = order;
    let cell = partition.find_account(&account);
    let open = cell.and_then(|cell| partition.accounts.get(cell)).and_then(|hosted| hosted.state().opened());
    let refused = match open {
        None => Some(account::Rejection::NoSuchAccount),
        Some(open) if open.currency != amount.currency => Some(account::Rejection::CurrencyDiffers),
        Some(_) if amount.minor <= 0 => Some(account::Rejection::AmountNotPositive),
        Some(_) => None,
    };
    if let Some(rejection) = refused {
        return delivery.reply(Some(reply), Ordered::Refused(rejection));
    }
    if let Some(known) = partition.top_ups.known.get(&id) {
        let fingerprint = delivery.node_config.fingerprint(&credential);
        let differs = match (known.account == account, known.amount == amount, known.fingerprint == fingerprint) {
            (true, true, true) => None,
            (false, _, _) => Some(account::Rejection::ExistsWithDifferentTerms),
            (_, false, _) => Some(account::Rejection::ExistsWithDifferentAmount),
            (_, _, false) => Some(account::Rejection::ExistsWithDifferentCredential),
        };
        if let Some(rejection) = differs {
            return delivery.reply(Some(reply), Ordered::Refused(rejection));
        }
        // The same order again: it waits for the same end, or gets its result.
        let over = known.is_over();
        partition.top_ups.waiting.insert(id, reply);
        if over {
            report(delivery, partition, id);
        }
        return;
    }
    if partition.top_ups.is_full() {
        return delivery
            .reply(Some(reply), Ordered::Declined("too many top-ups are under way; try again later".into()));
    }
    if let Some(code) = delivery.node_config.refuses(&credential) {
        return delivery.reply(Some(reply), Ordered::Declined(code.meaning().into()));
    }
    let nowhere = ChargerId::new("top-up").expect("letters and a hyphen");
    let fingerprint = delivery.node_config.fingerprint(&credential);
    let route = match delivery.node_config.route(&nowhere, (&credential, &fingerprint), amount, &[]) {
        Ok(route) if !route.stand_in && account_of(&route.processor).is_none() => route,
        Ok(_) => return delivery.reply(Some(reply), Ordered::Declined("no processor takes this now".into())),
        Err(reason) => return delivery.reply(Some(reply), Ordered::Declined(reason.to_string().into())),
    };
    let opened = TopUpEvent::Opened { account, amount, fingerprint, at: delivery.now.wall };
    record(delivery, partition, id, &opened);
    partition.top_ups.waiting.insert(id, reply);
    let sealed = delivery.node_config.seal(id, credential);
    let Some(known) = partition.top_ups.known.get(&id) else { return };
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    let authorize = known.authorize(route.processor, route.capabilities, sealed);
    let step = known.step(authorize, delivery.now, &policy.payment);
    take_step(delivery, partition, id, step);
}

/// Something about the payment of a top-up; `false` when there is no such top-up.
pub(in crate::node) fn command(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: PaymentId,
    command: payment::Command,
) -> bool {
    let Some(known) = partition.top_ups.known.get(&id) else { return false };
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    let step = known.step(command, delivery.now, &policy.payment);
    take_step(delivery, partition, id, step);
    true
}

/// An operator's order about the money of a top-up. What is refunded leaves its account.
pub(super) fn order_money(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: PaymentId,
    order: MoneyOrder,
    reply: ReplyTo,
) {
    let Some(known) = partition.top_ups.known.get(&id) else { return };
    let cell = partition.find_account(&known.account);
    let open = cell.and_then(|cell| partition.accounts.get(cell)).and_then(|hosted| hosted.state().opened());
    let free = open.map_or(0, |open| open.paid.saturating_sub(open.held.paid));
    let command = order.command(&known.payment);
    if let Some(payment::Command::Refund(amount)) = &command
        && amount.minor > free
    {
        let text = format!("account {} has less than that; a refund takes it from there", known.account);
        return delivery.reply(Some(reply), Ordered::Declined(text.into()));
    }
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    let step = command.map(|command| known.step(command, delivery.now, &policy.payment)).unwrap_or_default();
    let refused = step.effects.iter().find_map(|effect| match effect {
        payment::Effect::Refuse(rejection) => Some(*rejection),
        _ => None,
    });
    if let Some(rejection) = refused {
        return delivery.reply(Some(reply), Ordered::MoneyRefused(rejection));
    }
    take_step(delivery, partition, id, step);
    let ordered = match partition.top_ups.known.get(&id) {
        Some(known) => Ordered::Asked(MoneyStanding::of(&known.payment)),
        None => Ordered::NoSession,
    };
    delivery.reply(Some(reply), ordered);
}

/// After a replay, repeats the requests of a top-up.
pub(in crate::node) fn resume(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId) {
    let Some(known) = partition.top_ups.known.get(&id) else { return };
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    let step = known.resume(delivery.now, &policy.payment);
    take_step(delivery, partition, id, step);
}

fn take_step(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId, step: Step) {
    carry_out(delivery, partition, id, step);
    make_up(delivery, partition, id);
    let now = delivery.now;
    let Some(known) = partition.top_ups.known.get_mut(&id) else { return };
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    match known.payment.arm(now, &policy.payment) {
        Some(at) => drop(partition.top_ups.due.insert(id, at)),
        None => drop(partition.top_ups.due.remove(&id)),
    }
    if partition.top_ups.known.get(&id).is_some_and(TopUp::is_over) {
        report(delivery, partition, id);
    }
}

/// Has the account make up what the payment says: it is credited with what was captured, and debited with what
/// failed or was lost later. What it does not take is refunded.
fn make_up(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId) {
    for _ in 0..CHANGES_PER_STEP {
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let (Some(due), account) = (known.due(), known.account.clone()) else { return };
        let before = posted(partition, &account);
        let command = match due.clone() {
            Due::Credit { op, amount, source } => account::Command::Credit { op, amount, source },
            Due::Debit { op, amount, cause } => account::Command::Debit { op, amount, cause },
        };
        accounts::deliver(delivery, partition, &account, command, None);
        let after = posted(partition, &account);
        let done = after != before;
        match due {
            Due::Credit { op, amount, source: TopUpSource::RefundFailed(_) } if done => {
                record(delivery, partition, id, &TopUpEvent::Returned { op, amount });
            }
            Due::Credit { op, amount, .. } if done => {
                record(delivery, partition, id, &TopUpEvent::Credited { op, amount });
            }
            Due::Debit { op, amount, cause } if done => {
                let paid = after.map_or(0, |parts| parts.paid);
                log_lines::debited(&account, (op, amount), cause, paid);
                record(delivery, partition, id, &TopUpEvent::Debited { op, amount, cause });
            }
            Due::Credit { op, amount, source: TopUpSource::Processor(_) | TopUpSource::Bank } => {
                return give_back(delivery, partition, id, op, amount);
            }
            Due::Credit { op, amount, source: TopUpSource::RefundFailed(_) } | Due::Debit { op, amount, .. } => {
                let (amount_minor, currency) = (amount.minor, amount.currency.code());
                tracing::error!(top_up = %id, %account, operation = %op, amount_minor, currency, "an account does not take a change of what was paid onto it: its balance is wrong by that");
                return;
            }
        }
    }
}

/// Refunds what the account does not take.
fn give_back(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId, op: OpId, amount: Amount) {
    let Some(known) = partition.top_ups.known.get(&id) else { return };
    let (account, amount_minor, currency) = (&known.account, amount.minor, amount.currency.code());
    tracing::error!(top_up = %id, %account, operation = %op, amount_minor, currency, "an account does not take what was paid for it; it is given back");
    record(delivery, partition, id, &TopUpEvent::NotTaken { op, amount, at: delivery.now.wall });
    let Some(known) = partition.top_ups.known.get(&id) else { return };
    let policy = delivery.node_config.policy.of_currency(known.payment.currency());
    let step = known.step(payment::Command::Refund(amount), delivery.now, &policy.payment);
    carry_out(delivery, partition, id, step);
}

/// Records the facts of a step and queues its effects.
fn carry_out(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId, step: Step) {
    for event in step.events {
        record(delivery, partition, id, &TopUpEvent::Payment(event));
    }
    for effect in step.effects {
        payments::carry_out(delivery, effect, partition.top_ups.known.get(&id).map(|known| (&known.payment, None)));
    }
}

fn posted(partition: &Partition, account: &AccountId) -> Option<account::Parts> {
    let hosted = partition.accounts.get(partition.find_account(account)?)?;
    Some(hosted.state().opened()?.balance().posted)
}

fn record(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId, event: &TopUpEvent) {
    delivery.permit.append(partition.id, RecordKind::TopUpEvent, |bytes| fact::write(&id, event, bytes));
    partition.topped_up(id, event);
    delivery.archive_pages(partition);
}

/// Reports the end of a top-up to its receiver.
fn report(delivery: &mut Delivery<'_>, partition: &mut Partition, id: PaymentId) {
    let (Some(known), Some(reply)) = (partition.top_ups.known.get(&id), partition.top_ups.waiting.remove(&id)) else {
        return;
    };
    let account = known.account.clone();
    let credited = known.credited_minor > 0;
    let cell = partition.find_account(&account);
    let open = cell.and_then(|cell| partition.accounts.get(cell)).and_then(|hosted| hosted.state().opened());
    let ordered = match (credited, open) {
        (true, Some(open)) => Ordered::Done(open.balance()),
        _ => Ordered::Declined("the card's processor did not pay; nothing was credited".into()),
    };
    delivery.reply(Some(reply), ordered);
}

//! The money of sessions in their partition: effects of their payments, messages of processors, orders of operators.

use super::{sessions, top_ups};
use crate::node::codes;
use crate::node::delivery::Delivery;
use crate::node::input::{Input, MoneyOrder};
use crate::node::log_lines;
use crate::node::node_config::NodeConfig;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reply::{MoneyStanding, Ordered, ReplyTo};
use crate::payment::{self, Answer, Notification, Payment};
use crate::session::Command;
use crate::units::{ChargerId, PaymentId, ProcessorId};

/// Queues an effect of the payment of a session, or of a top-up; the payment and the charger are for the log.
pub(super) fn carry_out(
    delivery: &mut Delivery<'_>,
    effect: payment::Effect,
    of: Option<(&Payment, Option<&ChargerId>)>,
) {
    match effect {
        payment::Effect::Send(operation) => {
            match (NodeConfig::account_of(&operation), delivery.node_config.unseal(operation)) {
                (Some(account), Some(operation)) => delivery.queue(Output::Account(Box::new((account, operation)))),
                (None, Some(operation)) => delivery.queue(Output::Operation(Box::new(operation))),
                // No answer: the session's time-out handles it.
                (_, None) => {}
            }
        }
        payment::Effect::Acknowledge { to, callback, code } => {
            delivery.queue(Output::Callback { processor: to, callback, refused: codes::of_callback(code) });
        }
        payment::Effect::Refuse(_) => {}
        payment::Effect::Alarm { operation, alarm } => {
            if let Some((payment, charger)) = of {
                log_lines::alarm(payment, charger, operation, alarm);
            }
        }
    }
}

/// Delivers a processor's answer to its payment.
pub(super) fn answer(delivery: &mut Delivery<'_>, partition: &mut Partition, from: ProcessorId, answer: Answer) {
    let payment = answer.operation.payment();
    if partition.top_ups.known.contains_key(&payment) {
        top_ups::command(delivery, partition, payment, payment::Command::Answer { from, answer });
        return;
    }
    match partition.find_session(payment.session()) {
        Some(cell) => {
            let command = payment::Command::Answer { from, answer };
            sessions::deliver(delivery, partition, cell, Command::Payment(Box::new(command)));
        }
        // It may be one that was archived: a processor repeats what it has no acknowledgement for.
        None => {
            delivery.queue(Output::LoadArchived(payment.session(), Box::new(Input::Answer(from, Box::new(answer)))))
        }
    }
}

/// Delivers a processor's notification to the payment of the hold.
pub(super) fn notification(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    from: ProcessorId,
    notification: Notification,
) {
    let payment = notification.hold.payment();
    if partition.top_ups.known.contains_key(&payment) {
        top_ups::command(delivery, partition, payment, payment::Command::Notification { from, notification });
        return;
    }
    match partition.find_session(payment.session()) {
        Some(cell) => {
            let command = payment::Command::Notification { from, notification };
            sessions::deliver(delivery, partition, cell, Command::Payment(Box::new(command)));
        }
        None => {
            delivery.queue(Output::LoadArchived(payment.session(), Box::new(Input::Notification(from, notification))))
        }
    }
}

/// Delivers a command to the payment of a session, or of a top-up.
pub(super) fn command(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    payment: PaymentId,
    command: payment::Command,
) {
    if partition.top_ups.known.contains_key(&payment) {
        top_ups::command(delivery, partition, payment, command);
        return;
    }
    sessions::deliver_by_id(delivery, partition, payment.session(), Command::Payment(Box::new(command)));
}

/// An operator's order about the money of a session, or of a top-up. A session that was archived is fetched for it.
pub(super) fn order(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: PaymentId,
    order: MoneyOrder,
    reply: ReplyTo,
) {
    if partition.top_ups.known.contains_key(&id) {
        return top_ups::order_money(delivery, partition, id, order, reply);
    }
    let cell = partition.find_session(id.session());
    let Some((cell, hosted)) = cell.and_then(|cell| Some((cell, partition.sessions.get(cell)?))) else {
        return delivery.queue(Output::LoadArchived(id.session(), Box::new(Input::OrderMoney(id, order, reply))));
    };
    let payment = &hosted.state().payment;
    let command = order.command(payment);
    let decided = command.clone().map(|command| {
        let policy = &hosted.policy().payment;
        payment::decide(payment, command, delivery.now, policy).effects
    });
    let refused = decided.into_iter().flatten().find_map(|effect| match effect {
        payment::Effect::Refuse(rejection) => Some(rejection),
        _ => None,
    });
    let ordered = match (refused, command) {
        (Some(rejection), _) => Ordered::MoneyRefused(rejection),
        (None, command) => {
            if let Some(command) = command {
                sessions::deliver(delivery, partition, cell, Command::Payment(Box::new(command)));
            }
            match partition.sessions.get(cell) {
                Some(hosted) => Ordered::Asked(MoneyStanding::of(&hosted.state().payment)),
                None => Ordered::NoSession,
            }
        }
    };
    delivery.reply(Some(reply), ordered);
}

//! Handlers of a shard's inputs: a file for each family, and here the way from an input to its handler.
//!
//! | file | inputs |
//! |---|---|
//! | `chargers` | messages of chargers: Hello, readings, stops, states of connectors |
//! | `charger_orders` | operators' orders to chargers: begin a session, send a message |
//! | `starts` | a charger's request to start a session |
//! | `unnumbered` | messages of chargers whose sessions the gate numbers |
//! | `sessions` | what else reaches a session: its timer, orders to stop, late readings |
//! | `payments` | answers and notifications of processors, lost connections, orders about money |
//! | `archive` | sessions and pages that went into the archive or came out of it |
//! | `accounts` | operations and orders for prepaid accounts |
//! | `top_ups` | orders and payments of top-ups |
//! | `documents` | invoices and credit notes, and their numbers |
//! | `settlements` | parts of settlement batches |
//! | `processors` | processors that connect, go, or are drained |

mod accounts;
mod archive;
mod charger_orders;
pub(super) mod chargers;
pub(super) mod documents;
mod late;
mod payments;
pub(super) mod processors;
pub(super) mod sessions;
pub(super) mod settlements;
mod starts;
pub(super) mod top_ups;
mod unnumbered;
mod unpaid;

use crate::account;
use crate::node::certificates;
use crate::node::delivery::Delivery;
use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reference::TimerTarget;
use crate::payment;
use crate::session::Command;

/// Delivers an input that is not a message of a charger.
pub(in crate::node) fn take(delivery: &mut Delivery<'_>, partition: &mut Partition, input: Input) {
    match input {
        Input::Answer(processor, answer) => payments::answer(delivery, partition, processor, *answer),
        Input::Notification(processor, notification) => {
            payments::notification(delivery, partition, processor, notification)
        }
        Input::NotSent(operation, attempt) => {
            let command = payment::Command::NotSent { operation, attempt };
            payments::command(delivery, partition, operation.payment(), command);
        }
        Input::ConnectionLost(operation, attempt) => {
            let command = payment::Command::ConnectionLost { operation, attempt };
            payments::command(delivery, partition, operation.payment(), command);
        }
        Input::AskAccount(account, operation) => accounts::ask(delivery, partition, &account, &operation),
        Input::AskFunds(query) => accounts::funds(delivery, partition, *query),
        Input::Order(account, command, reply) => accounts::order(delivery, partition, &account, *command, reply),
        Input::AskNumber(request) => documents::number(delivery, partition, *request),
        Input::Numbered(numbered) => {
            let (family, turn, issued) = *numbered;
            documents::numbered(delivery, partition, &family, turn, issued);
        }
        Input::StopSession(session, reason) => {
            sessions::deliver_by_id(delivery, partition, session, Command::StopBy(reason))
        }
        Input::Late(session, command) => sessions::deliver_by_id(delivery, partition, session, *command),
        Input::LateFence(session, fence) => late::take(delivery, partition, session, *fence),
        Input::Review(session, order, reply) => unpaid::order(delivery, partition, session, order, reply),
        Input::OrderMoney(payment, order, reply) => payments::order(delivery, partition, payment, order, reply),
        Input::ArchiveAgain(session) => archive::archive_if_closed(delivery, partition, session),
        Input::Archived(session) => archive::archived(partition, &session),
        Input::Restored(session, tariff, message) => {
            archive::restored(delivery, partition, *session, &tariff, *message)
        }
        Input::NotArchived(message) => archive::not_archived(delivery, *message),
        Input::TopUp(order, reply) => top_ups::order(delivery, partition, *order, reply),
        Input::PageArchived(_, number) => partition.books.pages.archived(number),
        Input::Declared(processor, can) => processors::declared(delivery, partition, &processor, &can),
        Input::Stands(processor, stands) => processors::stands(delivery, partition, &processor, stands),
        Input::DrainProcessor(processor, on, reply) => processors::drain(delivery, partition, &processor, on, reply),
        Input::CertificateEnds(soon) => certificates::seen(delivery, partition, &soon),
        Input::Settlement(part, reply) => settlements::receive(delivery, partition, *part, reply),
        Input::Booked(booking) => settlements::booked(delivery, partition, &booking),
        Input::RevertBatch(key, reason, reply) => settlements::revert(delivery, partition, &key, &reason, reply),
        Input::UnbookPart(key, part) => settlements::unbook(delivery, partition, &key, part),
        Input::MeterKey(charger, der, reply) => {
            charger_orders::register_meter_key(delivery, partition, &charger, der, reply);
        }
        Input::OrderCharger(order, reply) => charger_orders::order(delivery, partition, *order, reply),
        Input::Notify(_, charger, message) => delivery.queue(Output::Charger(charger, message)),
    }
}

/// Delivers a timer that is due to its session or account.
pub(in crate::node) fn wake(delivery: &mut Delivery<'_>, partition: &mut Partition, target: TimerTarget) {
    match target {
        TimerTarget::Session(_, cell) => {
            unnumbered::note_occupied(delivery, partition, cell);
            sessions::deliver(delivery, partition, cell, Command::Wake { silent: false, quiet: None })
        }
        TimerTarget::Account(_, cell) => {
            let id = partition.accounts.get(cell).and_then(|account| account.id().cloned());
            if let Some(id) = id {
                accounts::deliver(delivery, partition, &id, account::Command::ExpirePromotions, None);
            }
        }
    }
}

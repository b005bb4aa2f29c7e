//! Handlers of a shard's inputs: a file for each family, and here the way from an input to its handler.
//!
//! | file | inputs |
//! |---|---|
//! | `chargers` | messages of chargers: Hello, readings, stops, states of connectors |
//! | `starts` | a charger's request to start a session |
//! | `sessions` | what else reaches a session: its timer, orders to stop, late readings |
//! | `payments` | answers and notifications of processors, lost connections, orders about money |
//! | `archive` | sessions and pages that went into the archive or came out of it |
//! | `accounts` | operations and orders for prepaid accounts |
//! | `top_ups` | orders and payments of top-ups |
//! | `documents` | invoices and credit notes, and their numbers |
//! | `settlements` | parts of settlement batches |
//! | `processors` | processors that connect, or are drained |

mod accounts;
mod archive;
mod chargers;
mod documents;
mod payments;
mod processors;
mod sessions;
mod settlements;
mod starts;
mod top_ups;

use crate::account;
use crate::node::delivery::Delivery;
use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reference::TimerTarget;
use crate::payment;
use crate::session::Command;

impl Delivery<'_> {
    /// Anything that is not a charger's message.
    pub(in crate::node) fn take(&mut self, partition: &mut Partition, input: Input) {
        match input {
            Input::Answer(processor, answer) => self.answer(partition, processor, *answer),
            Input::Notification(processor, notification) => self.notification(partition, processor, notification),
            Input::NotSent(operation, attempt) => {
                self.payment(partition, operation.session(), payment::Command::NotSent { operation, attempt });
            }
            Input::ConnectionLost(operation, attempt) => {
                let command = payment::Command::ConnectionLost { operation, attempt };
                self.payment(partition, operation.session(), command);
            }
            Input::AskAccount(account, operation) => self.ask_account(partition, &account, &operation),
            Input::Order(account, command, reply) => self.order(partition, &account, *command, reply),
            Input::AskNumber(request) => self.number(partition, *request),
            Input::Numbered(numbered) => {
                let (family, turn, issued) = *numbered;
                self.numbered(partition, &family, turn, issued);
            }
            Input::StopSession(session, reason) => self.session_by_id(partition, session, Command::StopBy(reason)),
            Input::Late(session, command) => self.session_by_id(partition, session, *command),
            Input::OrderMoney(session, order, reply) => self.order_money(partition, session, order, reply),
            Input::Archived(session) => Delivery::archived(partition, &session),
            Input::Restored(session, tariff, said) => self.restored(partition, *session, &tariff, *said),
            Input::NotArchived(said) => self.unknown(*said),
            Input::TopUp(order, reply) => self.top_up(partition, *order, reply),
            Input::PageArchived(_, number) => partition.books.pages.archived(number),
            Input::Declared(processor, can) => self.declared(partition, &processor, &can),
            Input::DrainProcessor(processor, on, reply) => self.drain(partition, &processor, on, reply),
            Input::Settlement(part, reply) => self.settlement(partition, *part, reply),
            Input::Booked(booking) => self.booked(partition, &booking),
            Input::RevertBatch(key, reason, reply) => self.revert_batch(partition, &key, &reason, reply),
            Input::UnbookPart(key, part) => self.unbook_part(partition, &key, part),
            Input::Tell(_, charger, message) => self.queue(Output::Charger(charger, message)),
        }
    }

    /// A deadline has come.
    pub(in crate::node) fn wake(&mut self, partition: &mut Partition, whom: TimerTarget) {
        match whom {
            TimerTarget::Session(_, cell) => {
                self.session(partition, cell, Command::Wake { silent: false, quiet: None })
            }
            TimerTarget::Account(_, cell) => {
                let id = partition.accounts.get(cell).and_then(|account| account.id().cloned());
                if let Some(id) = id {
                    self.account(partition, &id, account::Command::ExpirePromotions, None);
                }
            }
        }
    }
}

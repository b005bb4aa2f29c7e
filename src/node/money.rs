//! The money of sessions in their partition: effects of their payments, messages of processors, orders of operators.
//! Archived sessions are restored for it.

use super::codes;
use super::delivery::Delivery;
use super::input::{Input, MoneyOrder};
use super::log_lines;
use super::node_config::NodeConfig;
use super::output::Output;
use super::partition::Partition;
use super::reply::{MoneyStanding, Ordered, ReplyTo};
use super::session::HostedSession;
use super::snapshot::insert_session;
use crate::account;
use crate::message::Code;
use crate::payment::{self, Answer, Notification, Operation, Payment, Request};
use crate::session::{self, Command, Session};
use crate::tariff::Tariff;
use crate::units::{AccountId, ChargerId, ProcessorId, SessionId};
use std::sync::Arc;

impl Delivery<'_> {
    /// Queues an effect of the payment of a session, or of a top-up; the payment and the charger are for the log.
    pub(super) fn payment_effect(&mut self, effect: payment::Effect, of: Option<(&Payment, Option<&ChargerId>)>) {
        match effect {
            payment::Effect::Send(operation) => {
                match (NodeConfig::account_of(&operation), self.node_config.unseal(operation)) {
                    (Some(account), Some(operation)) => self.queue(Output::Account(Box::new((account, operation)))),
                    (None, Some(operation)) => self.queue(Output::Operation(Box::new(operation))),
                    // No answer: the session's time-out handles it.
                    (_, None) => {}
                }
            }
            payment::Effect::Acknowledge { to, callback, code } => {
                self.queue(Output::Callback { processor: to, callback, refused: codes::of_callback(code) });
            }
            payment::Effect::Refuse(_) => {}
            payment::Effect::Alarm { operation, alarm } => {
                if let Some((payment, charger)) = of {
                    log_lines::alarm(payment, charger, operation, alarm);
                }
            }
        }
    }

    /// Delivers a processor's answer to its session.
    pub(super) fn answer(&mut self, partition: &mut Partition, from: ProcessorId, answer: Answer) {
        let session = answer.operation.session();
        if partition.top_ups.known.contains_key(&session) {
            self.top_up_payment(partition, session, payment::Command::Answer { from, answer });
            return;
        }
        match partition.find_session(session) {
            Some(cell) => {
                let command = payment::Command::Answer { from, answer };
                self.session(partition, cell, Command::Payment(Box::new(command)));
            }
            // It may be one that was archived: a processor repeats what it has no acknowledgement for.
            None => self.queue(Output::LoadArchived(session, Box::new(Input::Answer(from, Box::new(answer))))),
        }
    }

    /// Delivers a processor's notification to the session of the hold.
    pub(super) fn notification(&mut self, partition: &mut Partition, from: ProcessorId, notification: Notification) {
        let session = notification.hold.0.session();
        if partition.top_ups.known.contains_key(&session) {
            self.top_up_payment(partition, session, payment::Command::Notification { from, notification });
            return;
        }
        match partition.find_session(session) {
            Some(cell) => {
                let command = payment::Command::Notification { from, notification };
                self.session(partition, cell, Command::Payment(Box::new(command)));
            }
            None => self.queue(Output::LoadArchived(session, Box::new(Input::Notification(from, notification)))),
        }
    }

    /// Something about a session's money.
    pub(super) fn payment(&mut self, partition: &mut Partition, session: SessionId, command: payment::Command) {
        if partition.top_ups.known.contains_key(&session) {
            self.top_up_payment(partition, session, command);
            return;
        }
        self.session_by_id(partition, session, Command::Payment(Box::new(command)));
    }

    /// An operator's order about a session's money. One that was archived is fetched for it.
    pub(super) fn order_money(&mut self, partition: &mut Partition, id: SessionId, order: MoneyOrder, reply: ReplyTo) {
        if partition.top_ups.known.contains_key(&id) {
            return self.order_top_up_money(partition, id, order, reply);
        }
        let cell = partition.find_session(id);
        let Some((cell, hosted)) = cell.and_then(|cell| Some((cell, partition.sessions.get(cell)?))) else {
            return self.queue(Output::LoadArchived(id, Box::new(Input::OrderMoney(id, order, reply))));
        };
        let payment = &hosted.state().payment;
        let command = order.command(payment);
        let decided = command.clone().map(|command| {
            let policy = &hosted.policy().payment;
            payment::decide(payment, command, self.now, policy).effects
        });
        let refused = decided.into_iter().flatten().find_map(|effect| match effect {
            payment::Effect::Refuse(rejection) => Some(rejection),
            _ => None,
        });
        let ordered = match (refused, command) {
            (Some(rejection), _) => Ordered::MoneyRefused(rejection),
            (None, command) => {
                if let Some(command) = command {
                    self.session(partition, cell, Command::Payment(Box::new(command)));
                }
                match partition.sessions.get(cell) {
                    Some(hosted) => Ordered::Asked(MoneyStanding::of(&hosted.state().payment)),
                    None => Ordered::NoSession,
                }
            }
        };
        self.reply(Some(reply), ordered);
    }

    /// A session's operation, to the account that holds its funds.
    pub(super) fn ask_account(&mut self, partition: &mut Partition, id: &AccountId, operation: &Operation) {
        let credential = match &operation.request {
            Request::Authorize { credential, .. } => Some(self.node_config.mark(credential)),
            _ => None,
        };
        let command = account::Command::from_operation(operation, credential);
        self.account(partition, id, command, None);
    }

    /// A closed session is durable in the archive: its cell is vacated, unless it changed meanwhile, or its money is
    /// in progress again (a late approval that is being released, a refund): then its timers are still needed.
    pub(super) fn archived(partition: &mut Partition, archived: &Session) {
        let cell = partition.find_session(archived.id).and_then(|cell| partition.sessions.get(cell));
        let waits = partition.requests.waits(archived.id);
        if cell.is_some_and(|live| live.state() == archived && archived.payment.is_settled() && !waits) {
            partition.remove_session(archived.id);
        }
    }

    /// An archived session is live again, for a message that concerns it; it is archived again afterwards.
    pub(super) fn restored(&mut self, partition: &mut Partition, session: Session, tariff: &str, said: Input) {
        let id = session.id;
        if partition.find_session(id).is_none() {
            // Its tariff may have been dropped since.
            if partition.pinned(&session.tariff).is_none() {
                match Tariff::parse_pinned(tariff) {
                    Ok(tariff) => self.pin(partition, &Arc::new(tariff)),
                    Err(error) => tracing::error!(session = %id, %error, "an archived session's tariff cannot be read"),
                }
            }
            let fact = session::Event::Restored(Box::new(session.clone()));
            let (policy, now) = (self.node_config.policy.clone(), self.now);
            let restored = insert_session(partition, session, |session, charger, pricing| {
                HostedSession::new(session, charger, pricing, policy, now)
            });
            match restored {
                Ok(_) => self.append_session(id, &fact),
                Err(error) => {
                    tracing::error!(session = %id, %error, "an archived session cannot live again");
                    return self.unknown(said);
                }
            }
        }
        self.take(partition, said);
        self.archive_if_closed(partition, id);
    }

    /// Handles a processor's message about an unknown operation.
    pub(super) fn unknown(&mut self, said: Input) {
        let (processor, callback, code) = match said {
            Input::Answer(processor, answer) => (processor, answer.callback, Code::OperationUnknown),
            Input::Notification(processor, notification) => (processor, notification.callback, Code::HoldUnknown),
            Input::OrderMoney(_, _, reply) => return self.reply(Some(reply), Ordered::NoSession),
            _ => return,
        };
        self.queue(Output::Callback { processor, callback, refused: Some(code) });
    }
}

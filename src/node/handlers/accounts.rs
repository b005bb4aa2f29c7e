//! Accounts in their partition: operations of sessions, and orders of operators.

use crate::account::{self, Account, account_processor};
use crate::journal::RecordKind;
use crate::message::{Answer, Code, Funds, ToCharger};
use crate::node::account::HostedAccount;
use crate::node::credentials::Credentials;
use crate::node::delivery::Delivery;
use crate::node::fact;
use crate::node::input::FundsQuery;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reference::TimerTarget;
use crate::node::reply::{Ordered, ReplyTo};
use crate::payment::{Operation, Request};
use crate::units::{AccountId, SessionId};

/// An operator's order.
pub(super) fn order(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: &AccountId,
    command: account::Command,
    reply: ReplyTo,
) {
    let cell = partition.find_account(id).and_then(|cell| partition.accounts.get(cell));
    let open = cell.is_some_and(|hosted| matches!(hosted.state(), account::Account::Open(_)));
    // The amount paid out cannot be debited any more: first it is known whether the cards' money stays.
    if matches!(command, account::Command::Close { .. }) && open && partition.top_ups.contests(id) {
        return delivery.reply(Some(reply), Ordered::Refused(account::Rejection::TopUpOpen));
    }
    deliver(delivery, partition, id, command, Some(reply));
}

/// A session's operation, to the account that holds its funds.
pub(super) fn ask(delivery: &mut Delivery<'_>, partition: &mut Partition, id: &AccountId, operation: &Operation) {
    let credential = match &operation.request {
        // The operator's order named the account.
        Request::Authorize { credential, .. } if Credentials::is_by_order(credential) => None,
        Request::Authorize { credential, .. } => Some(delivery.node_config.mark(credential)),
        _ => None,
    };
    let is_alone = credential.is_some() && delivery.node_config.policy.one_session;
    let command = account::Command::from_operation(operation, credential, is_alone);
    deliver(delivery, partition, id, command, None);
}

/// Tells a charger what an account has; nothing is held for it.
pub(super) fn funds(delivery: &mut Delivery<'_>, partition: &Partition, query: FundsQuery) {
    let FundsQuery { account, home, charger, ticket, is_alone } = query;
    let hosted = partition.find_account(&account).and_then(|cell| partition.accounts.get(cell));
    let funds = match hosted.map(HostedAccount::state) {
        Some(Account::Open(open)) => {
            let available = open.amount(open.balance().available().max(0));
            let is_group = open.credentials.len() > 1;
            Funds {
                available: Some(available),
                refused: if is_alone && open.pays_for_another(None) {
                    Some(Code::ConcurrentSession)
                } else {
                    (available.minor == 0).then_some(Code::FundsInsufficient)
                },
                group: is_group.then(|| account.as_str().into()),
            }
        }
        Some(Account::Unopened | Account::Closed(_)) | None => {
            Funds { available: None, refused: Some(Code::CredentialDeclined), group: None }
        }
    };
    let home = SessionId::new(delivery.now.wall, home, 0);
    let answer = ToCharger::Answer(Answer::Funds { ticket, funds });
    delivery.queue(Output::Notify(Box::new((home, charger, answer))));
}

/// Delivers a command to an account, and carries out what it decided.
pub(super) fn deliver(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    id: &AccountId,
    command: account::Command,
    mut reply: Option<ReplyTo>,
) {
    let cell = partition.account(id);
    let Some(delivered) = partition.accounts.deliver(cell, command, delivery.now) else { return };
    let decided = partition.accounts.decided();
    for entry in &delivered.entries {
        partition.books.post(entry);
    }
    for event in &decided.events {
        delivery.node_config.credentials.links().fold(id, event);
        delivery.permit.append(partition.id, RecordKind::AccountEvent, |bytes| fact::write(id, event, bytes));
    }
    delivery.archive_pages(partition);
    for effect in decided.effects {
        match effect {
            account::Effect::Answer(answer) => match account_processor(id) {
                Some(processor) => delivery.queue(Output::AccountAnswer(Box::new((processor, answer)))),
                None => debug_assert!(false, "an account that was asked has a processor's name"),
            },
            account::Effect::Done { op: _, balance } => delivery.reply(reply.take(), Ordered::Done(balance)),
            account::Effect::Refused { op: _, rejection } => delivery.reply(reply.take(), Ordered::Refused(rejection)),
        }
    }
    if let Some(deadline) = delivered.deadline
        && partition.accounts.arm(cell, deadline)
    {
        delivery.timers.insert(TimerTarget::Account(delivery.local, cell), deadline);
    }
}

//! Top-ups: what a card pays is credited to the account in the same batch of the log.

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
use crate::units::{AccountId, Amount, ChargerId, OpId, SessionId};

/// Most changes that an account makes up in one step: one, but for the first step after a log of an older version.
const CHANGES_PER_STEP: usize = 8;

impl Delivery<'_> {
    /// Handles an order of a top-up.
    pub(in crate::node) fn top_up(&mut self, partition: &mut Partition, order: TopUpOrder, reply: ReplyTo) {
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
            return self.reply(Some(reply), Ordered::Refused(rejection));
        }
        if let Some(known) = partition.top_ups.known.get(&id) {
            let fingerprint = self.node_config.fingerprint(&credential);
            let differs = match (known.account == account, known.amount == amount, known.fingerprint == fingerprint) {
                (true, true, true) => None,
                (false, _, _) => Some(account::Rejection::ExistsWithDifferentTerms),
                (_, false, _) => Some(account::Rejection::ExistsWithDifferentAmount),
                (_, _, false) => Some(account::Rejection::ExistsWithDifferentCredential),
            };
            if let Some(rejection) = differs {
                return self.reply(Some(reply), Ordered::Refused(rejection));
            }
            // The same order again: it waits for the same end, or gets its result.
            let over = known.is_over();
            partition.top_ups.waiting.insert(id, reply);
            if over {
                self.tell_top_up(partition, id);
            }
            return;
        }
        if partition.top_ups.is_full() {
            return self
                .reply(Some(reply), Ordered::Declined("too many top-ups are under way; try again later".into()));
        }
        if let Some(code) = self.node_config.refuses(&credential) {
            return self.reply(Some(reply), Ordered::Declined(code.meaning().into()));
        }
        let nowhere = ChargerId::new("top-up").expect("letters and a hyphen");
        let fingerprint = self.node_config.fingerprint(&credential);
        let route = match self.node_config.route(&nowhere, (&credential, &fingerprint), amount, &[]) {
            Ok(route) if !route.stand_in && account_of(&route.processor).is_none() => route,
            Ok(_) => return self.reply(Some(reply), Ordered::Declined("no processor takes this now".into())),
            Err(reason) => return self.reply(Some(reply), Ordered::Declined(reason.to_string().into())),
        };
        let opened = TopUpEvent::Opened { account, amount, fingerprint, at: self.now.wall };
        self.top_up_fact(partition, id, &opened);
        partition.top_ups.waiting.insert(id, reply);
        let sealed = self.node_config.seal(id, credential);
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.begin(route.processor, route.capabilities, sealed, self.now, &policy.payment);
        self.top_up_step(partition, id, step);
    }

    /// Something about the payment of a top-up; `false` when there is no such top-up.
    pub(in crate::node) fn top_up_payment(
        &mut self,
        partition: &mut Partition,
        id: SessionId,
        command: payment::Command,
    ) -> bool {
        let Some(known) = partition.top_ups.known.get(&id) else { return false };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.step(command, self.now, &policy.payment);
        self.top_up_step(partition, id, step);
        true
    }

    /// An operator's order about the money of a top-up. What is refunded leaves its account.
    pub(in crate::node) fn order_top_up_money(
        &mut self,
        partition: &mut Partition,
        id: SessionId,
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
            return self.reply(Some(reply), Ordered::Declined(text.into()));
        }
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = command.map(|command| known.step(command, self.now, &policy.payment)).unwrap_or_default();
        let refused = step.effects.iter().find_map(|effect| match effect {
            payment::Effect::Refuse(rejection) => Some(*rejection),
            _ => None,
        });
        if let Some(rejection) = refused {
            return self.reply(Some(reply), Ordered::MoneyRefused(rejection));
        }
        self.top_up_step(partition, id, step);
        let ordered = match partition.top_ups.known.get(&id) {
            Some(known) => Ordered::Asked(MoneyStanding::of(&known.payment)),
            None => Ordered::NoSession,
        };
        self.reply(Some(reply), ordered);
    }

    /// After a replay, repeats the requests of a top-up.
    pub(in crate::node) fn resume_top_up(&mut self, partition: &mut Partition, id: SessionId) {
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.resume(self.now, &policy.payment);
        self.top_up_step(partition, id, step);
    }

    pub(in crate::node) fn top_up_step(&mut self, partition: &mut Partition, id: SessionId, step: Step) {
        self.top_up_facts(partition, id, step);
        self.make_up(partition, id);
        let now = self.now;
        let Some(known) = partition.top_ups.known.get_mut(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        match known.payment.arm(now, &policy.payment) {
            Some(at) => drop(partition.top_ups.due.insert(id, at)),
            None => drop(partition.top_ups.due.remove(&id)),
        }
        if partition.top_ups.known.get(&id).is_some_and(TopUp::is_over) {
            self.tell_top_up(partition, id);
        }
    }

    /// Has the account make up what the payment says: it is credited with what was captured, and debited with what
    /// failed or was lost later. What it does not take is refunded.
    pub(in crate::node) fn make_up(&mut self, partition: &mut Partition, id: SessionId) {
        for _ in 0..CHANGES_PER_STEP {
            let Some(known) = partition.top_ups.known.get(&id) else { return };
            let (Some(due), account) = (known.due(), known.account.clone()) else { return };
            let before = self.posted(partition, &account);
            let command = match due.clone() {
                Due::Credit { op, amount, source } => account::Command::Credit { op, amount, source },
                Due::Debit { op, amount, cause } => account::Command::Debit { op, amount, cause },
            };
            self.account(partition, &account, command, None);
            let after = self.posted(partition, &account);
            let done = after != before;
            match due {
                Due::Credit { op, amount, source: TopUpSource::RefundFailed(_) } if done => {
                    self.top_up_fact(partition, id, &TopUpEvent::Returned { op, amount });
                }
                Due::Credit { op, amount, .. } if done => {
                    self.top_up_fact(partition, id, &TopUpEvent::Credited { op, amount });
                }
                Due::Debit { op, amount, cause } if done => {
                    let paid = after.map_or(0, |parts| parts.paid);
                    log_lines::debited(&account, (op, amount), cause, paid);
                    self.top_up_fact(partition, id, &TopUpEvent::Debited { op, amount, cause });
                }
                Due::Credit { op, amount, source: TopUpSource::Processor(_) | TopUpSource::Bank } => {
                    return self.give_back(partition, id, op, amount);
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
    pub(in crate::node) fn give_back(&mut self, partition: &mut Partition, id: SessionId, op: OpId, amount: Amount) {
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let (account, amount_minor, currency) = (&known.account, amount.minor, amount.currency.code());
        tracing::error!(top_up = %id, %account, operation = %op, amount_minor, currency, "an account does not take what was paid for it; it is given back");
        self.top_up_fact(partition, id, &TopUpEvent::NotTaken { op, amount, at: self.now.wall });
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.step(payment::Command::Refund(amount), self.now, &policy.payment);
        self.top_up_facts(partition, id, step);
    }

    /// Records the facts of a step and queues its effects.
    pub(in crate::node) fn top_up_facts(&mut self, partition: &mut Partition, id: SessionId, step: Step) {
        for event in step.events {
            self.top_up_fact(partition, id, &TopUpEvent::Payment(event));
        }
        for effect in step.effects {
            self.payment_effect(effect, partition.top_ups.known.get(&id).map(|known| (&known.payment, None)));
        }
    }

    pub(in crate::node) fn posted(&self, partition: &Partition, account: &AccountId) -> Option<account::Parts> {
        let hosted = partition.accounts.get(partition.find_account(account)?)?;
        Some(hosted.state().opened()?.balance().posted)
    }

    pub(in crate::node) fn top_up_fact(&mut self, partition: &mut Partition, id: SessionId, event: &TopUpEvent) {
        self.permit.append(partition.id, RecordKind::TopUpEvent, |bytes| fact::write(&id, event, bytes));
        partition.topped_up(id, event);
        self.archive_pages(partition);
    }

    /// Reports the end of a top-up to its receiver.
    pub(in crate::node) fn tell_top_up(&mut self, partition: &mut Partition, id: SessionId) {
        let (Some(known), Some(reply)) = (partition.top_ups.known.get(&id), partition.top_ups.waiting.remove(&id))
        else {
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
        self.reply(Some(reply), ordered);
    }
}

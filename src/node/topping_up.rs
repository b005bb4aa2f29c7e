//! Top-ups in their partition, which is that of their account: a captured one is credited in the same batch of the log.

use super::delivery::Delivery;
use super::fact;
use super::partition::Partition;
use super::reply::{Ordered, ReplyTo};
use crate::account::account_of;
use crate::account::{self, Step, TopUp, TopUpSource};
use crate::accounting::posting;
use crate::journal::RecordKind;
use crate::limits;
use crate::payment::{self, Credential};
use crate::session::Router;
use crate::units::{AccountId, Amount, ChargerId, Mono, SessionId};
use std::collections::BTreeMap;

/// An order of a top-up.
#[derive(Debug)]
pub struct TopUpOrder {
    /// Its id, in the partition of the account.
    pub id: SessionId,
    /// The account.
    pub account: AccountId,
    /// The amount.
    pub amount: Amount,
    /// What pays.
    pub credential: Credential,
}

/// The top-ups of a partition: those in progress, and the last ones that are over.
#[derive(Debug, Default)]
pub struct TopUps {
    /// By id.
    pub known: BTreeMap<SessionId, TopUp>,
    /// When the timer of each is due.
    due: BTreeMap<SessionId, Mono>,
    /// Receivers of the results; lost with the process.
    waiting: BTreeMap<SessionId, ReplyTo>,
}

impl TopUps {
    /// Sets the timer of a top-up's payment.
    pub(super) fn wake_at(&mut self, id: SessionId, at: Mono) {
        self.due.insert(id, at);
    }

    /// Top-ups whose timers are due.
    pub fn due(&self, now: Mono) -> Vec<SessionId> {
        self.due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect()
    }

    /// Applies a fact, live and in replay.
    pub fn fold(&mut self, id: SessionId, event: &account::TopUpEvent) {
        match TopUp::opened(id, event) {
            Some(opened) => {
                self.known.insert(id, opened);
                self.forget();
            }
            None => {
                if let Some(known) = self.known.get_mut(&id) {
                    known.apply(event);
                }
            }
        }
    }

    /// Whether there is no room for one more, because too many are in progress.
    fn is_full(&self) -> bool {
        self.known.len() >= limits::TOP_UPS_KEPT && !self.known.values().any(TopUp::is_over)
    }

    /// The oldest that are over go when there are too many.
    fn forget(&mut self) {
        while self.known.len() > limits::TOP_UPS_KEPT {
            let Some(oldest) = self.known.iter().find(|(_, known)| known.is_over()).map(|(id, _)| *id) else { return };
            self.known.remove(&oldest);
            self.due.remove(&oldest);
        }
    }
}

impl Partition {
    /// Applies a fact of a top-up, live and in replay: its hold is posted in the books.
    pub(super) fn topped_up(&mut self, id: SessionId, event: &account::TopUpEvent) {
        if let (account::TopUpEvent::Payment(fact), Some(known)) = (event, self.top_ups.known.get(&id)) {
            let books = &mut self.books;
            posting::of_top_up(&known.payment, fact, &mut |entry| books.post(&entry));
        }
        self.top_ups.fold(id, event);
    }
}

impl Delivery<'_> {
    /// Handles an order of a top-up.
    pub(super) fn top_up(&mut self, partition: &mut Partition, order: TopUpOrder, reply: ReplyTo) {
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
        let opened = account::TopUpEvent::Opened { account, amount, fingerprint, at: self.now.wall };
        self.top_up_fact(partition, id, &opened);
        partition.top_ups.waiting.insert(id, reply);
        let sealed = self.node_config.seal(id, credential);
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.begin(route.processor, route.capabilities, sealed, self.now, &policy.payment);
        self.top_up_step(partition, id, step);
    }

    /// Something about the payment of a top-up; `false` when there is no such top-up.
    pub(super) fn top_up_payment(
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

    /// After a replay, repeats the requests of a top-up.
    pub fn resume_top_up(&mut self, partition: &mut Partition, id: SessionId) {
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let policy = self.node_config.policy.of_currency(known.payment.currency());
        let step = known.resume(self.now, &policy.payment);
        self.top_up_step(partition, id, step);
    }

    fn top_up_step(&mut self, partition: &mut Partition, id: SessionId, step: Step) {
        for event in step.events {
            self.top_up_fact(partition, id, &account::TopUpEvent::Payment(event));
        }
        for effect in step.effects {
            self.payment_effect(effect, partition.top_ups.known.get(&id).map(|known| (&known.payment, None)));
        }
        self.credit(partition, id);
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

    /// Credits what was captured; what the account does not take is given back.
    fn credit(&mut self, partition: &mut Partition, id: SessionId) {
        let Some(known) = partition.top_ups.known.get(&id) else { return };
        let (Some((op, amount)), Some(processor)) = (known.due(), known.processor().cloned()) else { return };
        let account = known.account.clone();
        let command = account::Command::TopUp { op, amount, source: TopUpSource::Processor(processor) };
        let before = self.posted(partition, &account);
        self.account(partition, &account, command, None);
        match self.posted(partition, &account) != before {
            true => self.top_up_fact(partition, id, &account::TopUpEvent::Credited { op, amount }),
            false => {
                let (amount_minor, currency) = (amount.minor, amount.currency.code());
                tracing::error!(top_up = %id, %account, amount_minor, currency, "an account does not take what was paid for it; it is given back");
                let Some(known) = partition.top_ups.known.get(&id) else { return };
                let policy = self.node_config.policy.of_currency(known.payment.currency());
                let step = known.step(payment::Command::Refund(amount), self.now, &policy.payment);
                for event in step.events {
                    self.top_up_fact(partition, id, &account::TopUpEvent::Payment(event));
                }
                for effect in step.effects {
                    let of = partition.top_ups.known.get(&id).map(|known| (&known.payment, None));
                    self.payment_effect(effect, of);
                }
            }
        }
    }

    fn posted(&self, partition: &Partition, account: &AccountId) -> Option<account::Parts> {
        let hosted = partition.accounts.get(partition.find_account(account)?)?;
        Some(hosted.state().opened()?.balance().posted)
    }

    fn top_up_fact(&mut self, partition: &mut Partition, id: SessionId, event: &account::TopUpEvent) {
        self.permit.append(partition.id, RecordKind::TopUpEvent, |bytes| fact::write(&id, event, bytes));
        partition.topped_up(id, event);
        self.archive_pages(partition);
    }

    /// Reports the end of a top-up to its receiver.
    fn tell_top_up(&mut self, partition: &mut Partition, id: SessionId) {
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

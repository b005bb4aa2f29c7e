//! The top-ups of a partition, which is that of their account.

use super::partition::Partition;
use super::reply::ReplyTo;
use crate::account::{TopUp, TopUpEvent};
use crate::accounting::posting;
use crate::ledger::Entry;
use crate::limits;
use crate::payment::Credential;
use crate::units::{AccountId, Amount, Mono, PaymentId};
use std::collections::BTreeMap;

/// An order of a top-up.
#[derive(Debug)]
pub struct TopUpOrder {
    /// Its id, in the partition of the account.
    pub id: PaymentId,
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
    pub known: BTreeMap<PaymentId, TopUp>,
    /// When the timer of each is due.
    pub(super) due: BTreeMap<PaymentId, Mono>,
    /// Receivers of the results; lost with the process.
    pub(super) waiting: BTreeMap<PaymentId, ReplyTo>,
}

impl TopUps {
    /// Sets the timer of a top-up's payment.
    pub(super) fn wake_at(&mut self, id: PaymentId, at: Mono) {
        self.due.insert(id, at);
    }

    /// Top-ups whose timers are due.
    pub fn due(&self, now: Mono) -> Vec<PaymentId> {
        self.due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect()
    }

    /// Applies a fact, live and in replay.
    pub fn fold(&mut self, id: PaymentId, event: &TopUpEvent) {
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
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= limits::TOP_UPS_KEPT && self.known.values().all(TopUp::is_contested)
    }

    /// Whether an account may still lose money by one of its top-ups.
    pub(super) fn contests(&self, account: &AccountId) -> bool {
        self.known.values().any(|known| known.account == *account && known.is_contested())
    }

    /// The oldest that are over go when there are too many; the ids that callers choose have no order in time.
    pub(super) fn forget(&mut self) {
        while self.known.len() > limits::TOP_UPS_KEPT {
            let over = self.known.iter().filter(|(_, known)| !known.is_contested());
            let Some(oldest) = over.min_by_key(|(id, known)| (known.opened_at, **id)).map(|(id, _)| *id) else {
                return;
            };
            self.known.remove(&oldest);
            self.due.remove(&oldest);
        }
    }
}

impl Partition {
    /// Applies a fact of a top-up, live and in replay, and posts it in the books.
    pub(super) fn topped_up(&mut self, id: PaymentId, event: &TopUpEvent) {
        if let Some(known) = self.top_ups.known.get(&id) {
            let books = &mut self.books;
            let post = &mut |entry: Entry| books.post(&entry);
            match event {
                TopUpEvent::Payment(fact) => posting::of_top_up(known, fact, post),
                TopUpEvent::NotTaken { op, amount, at } => posting::of_not_taken(known, *op, *amount, *at, post),
                TopUpEvent::Opened { .. }
                | TopUpEvent::Credited { .. }
                | TopUpEvent::Debited { .. }
                | TopUpEvent::Returned { .. } => {}
            }
        }
        self.top_ups.fold(id, event);
    }
}

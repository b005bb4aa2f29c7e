//! The actor of a prepaid account: the shell around [`crate::account`].

use super::hosted::{Hostable, Hosted};
use crate::account::{self, Account, Command, Effect, Event};
use crate::accounting::posting;
use crate::ledger::Entry;
use crate::stored::Stored;
use crate::units::{AccountId, Mono};

/// An account, hosted in its partition.
pub struct HostedAccount {
    state: Account,
    /// When promotional money lapses next.
    due: Option<Mono>,
}

impl HostedAccount {
    /// An account as it was archived, or one that is yet to be opened.
    pub fn from_state(state: Account) -> HostedAccount {
        HostedAccount { state, due: None }
    }

    /// Its known state.
    pub fn state(&self) -> &Account {
        &self.state
    }

    /// Its name, once it is opened.
    pub fn id(&self) -> Option<&AccountId> {
        match &self.state {
            Account::Unopened => None,
            Account::Open(open) | Account::Closed(open) => Some(&open.id),
        }
    }

    /// Applies a fact, live and in replay, and returns the entries that follow.
    pub fn fold(&mut self, event: &Event, post: &mut dyn FnMut(Entry)) {
        account::apply(&mut self.state, event);
        posting::of_account(&self.state, event, post);
    }
}

impl Hostable for HostedAccount {
    type Message<'a> = Command;
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, command: Command, context: &mut Hosted<HostedAccount>) {
        let now = context.now();
        let decision = account::decide(&self.state, command, now);
        for event in &decision.events {
            self.fold(event, &mut |entry| context.post(entry));
        }
        self.due = account::next_deadline(&self.state).map(|at| now.mono.after(at.since(now.wall)));
        context.commit(decision);
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.due
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.state.store(bytes);
    }
}

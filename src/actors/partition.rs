//! One partition: the cells of its chargers, sessions and accounts, and how they are found by id.

use super::account::HostedAccount;
use super::charger::HostedCharger;
use super::hosted::{Arena, Slot};
use super::posting::PartitionBooks;
use super::session::HostedSession;
use super::snapshot::Snapping;
use super::topping_up::TopUps;
use crate::account::Account;
use crate::billing::invoice::{Series, SeriesId};
use crate::billing::reconciliation::register::Register;
use crate::session::Event;
use crate::tariff::Tariff;
use crate::units::{AccountId, ChargerId, Energy, Now, PartitionId, SessionId, TariffHash};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that lives in one partition.
pub struct Partition {
    /// Which one.
    pub id: PartitionId,
    /// Charger actors.
    pub chargers: Arena<HostedCharger>,
    /// Session actors.
    pub sessions: Arena<HostedSession>,
    /// Account actors.
    pub accounts: Arena<HostedAccount>,
    charger_slots: HashMap<ChargerId, Slot>,
    session_slots: HashMap<SessionId, Slot>,
    account_slots: HashMap<AccountId, Slot>,
    tariffs: HashMap<TariffHash, Arc<Tariff>>,
    /// What has gone through this partition.
    pub tally: Tally,
    /// Its books.
    pub books: PartitionBooks,
    /// Its invoice series.
    pub series: BTreeMap<SeriesId, Series>,
    /// Top-ups of its accounts.
    pub top_ups: TopUps,
    /// What the processors that live in it have settled.
    pub settlements: Register,
    /// The snapshot that is being taken of it, if one is.
    pub(super) snapping: Option<Snapping>,
}

/// Counts of a partition since its first record: folded from its events, so a replay arrives at the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Sessions opened.
    pub opened: u64,
    /// Sessions whose credential was refused.
    pub refused: u64,
    /// Sessions whose every hold has ended after energy was given.
    pub settled: u64,
    /// Readings recorded, suspects included.
    pub readings: u64,
    /// Energy of good readings.
    pub energy: Energy,
}

impl Tally {
    /// Counts a session's fact.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Metered { slices, .. } => {
                self.readings += 1;
                for slice in &slices.0 {
                    self.energy = self.energy.checked_add(slice.energy).unwrap_or(self.energy);
                }
            }
            Event::Suspected { .. } => self.readings += 1,
            Event::Opened(_) => self.opened += 1,
            Event::Ended(ended) if !ended.admitted => self.refused += 1,
            Event::Closed => self.settled += 1,
            Event::Ended(_)
            | Event::RegisterJumped(_)
            | Event::Admitted { .. }
            | Event::StopAsked(_)
            | Event::Payment(_)
            | Event::Corrected(_)
            | Event::Revived(_) => {}
        }
    }
}

impl Partition {
    /// An empty partition.
    pub fn new(id: PartitionId, now: Now) -> Partition {
        Partition {
            id,
            chargers: Arena::new(now),
            sessions: Arena::new(now),
            accounts: Arena::new(now),
            charger_slots: HashMap::new(),
            session_slots: HashMap::new(),
            account_slots: HashMap::new(),
            tariffs: HashMap::new(),
            tally: Tally::default(),
            books: PartitionBooks::default(),
            series: BTreeMap::new(),
            top_ups: TopUps::default(),
            settlements: Register::default(),
            snapping: None,
        }
    }

    /// A tariff to which a session of this partition is pinned, and whose text is therefore in the journal.
    pub fn pinned(&self, hash: &TariffHash) -> Option<Arc<Tariff>> {
        self.tariffs.get(hash).cloned()
    }

    /// Every pinned tariff, in the order of their hashes.
    pub fn pinned_all(&self) -> impl Iterator<Item = &Tariff> {
        let mut pinned: Vec<&Tariff> = self.tariffs.values().map(Arc::as_ref).collect();
        pinned.sort_by_key(|tariff| tariff.hash());
        pinned.into_iter()
    }

    /// Keeps a pinned tariff.
    pub fn pin(&mut self, tariff: Arc<Tariff>) {
        self.tariffs.insert(tariff.hash(), tariff);
    }

    /// Makes room for so many more, no more than they take.
    pub(super) fn reserve(&mut self, chargers: usize, sessions: usize) {
        self.chargers.reserve(chargers);
        self.charger_slots.reserve(chargers);
        self.sessions.reserve(sessions);
        self.session_slots.reserve(sessions);
    }

    /// The cell of a charger, made when it is not known yet.
    pub fn charger(&mut self, id: &ChargerId) -> Slot {
        match self.charger_slots.get(id) {
            Some(slot) => *slot,
            None => self.insert_charger(HostedCharger::new(id.clone())),
        }
    }

    /// Gives a charger a cell.
    pub fn insert_charger(&mut self, charger: HostedCharger) -> Slot {
        let id = charger.state().id.clone();
        let slot = self.chargers.insert(charger);
        self.charger_slots.insert(id, slot);
        slot
    }

    /// The cell of a charger, if it is known.
    pub fn find_charger(&self, id: &ChargerId) -> Option<Slot> {
        self.charger_slots.get(id).copied()
    }

    /// The cell of a session, if it is live.
    pub fn find_session(&self, id: SessionId) -> Option<Slot> {
        self.session_slots.get(&id).copied()
    }

    /// The cell of an account, if there is one.
    pub fn find_account(&self, id: &AccountId) -> Option<Slot> {
        self.account_slots.get(id).copied()
    }

    /// Gives a session a cell.
    pub fn insert_session(&mut self, session: HostedSession) -> Slot {
        let id = session.state().id;
        let slot = self.sessions.insert(session);
        self.session_slots.insert(id, slot);
        slot
    }

    /// Vacates a session's cell.
    pub fn remove_session(&mut self, id: SessionId) -> Option<HostedSession> {
        let slot = self.session_slots.remove(&id)?;
        self.sessions.remove(slot)
    }

    /// The cell of an account, made unopened when there is none yet.
    pub fn account(&mut self, id: &AccountId) -> Slot {
        match self.account_slots.get(id) {
            Some(slot) => *slot,
            None => self.insert_account(id.clone(), HostedAccount::from_state(Account::Unopened)),
        }
    }

    /// Gives an account a cell.
    pub fn insert_account(&mut self, id: AccountId, account: HostedAccount) -> Slot {
        let slot = self.accounts.insert(account);
        self.account_slots.insert(id, slot);
        slot
    }
}

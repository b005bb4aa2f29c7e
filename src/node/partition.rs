//! One partition: the cells of its chargers, sessions and accounts, and how they are found by id.

use super::absences::Missing;
use super::account::HostedAccount;
use super::certificates::Expiring;
use super::charger::HostedCharger;
use super::hosted::{Arena, Slot};
use super::session::HostedSession;
use super::snapshot::Snapping;
use super::topping_up::TopUps;
use crate::account::Account;
use crate::accounting::posting::PartitionBooks;
use crate::billing::invoice::{Requests, Series, SeriesId};
use crate::billing::reconciliation::register::Register;
use crate::limits::LATE_REPORTS_MAX;
use crate::payment::known_processor::KnownProcessors;
use crate::session::{Command, Event, Metered};
use crate::stored::stored;
use crate::tariff::Tariff;
use crate::units::{AccountId, ChargerId, Energy, Now, PartitionId, SessionId, SessionKey, TariffHash};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

/// The state of one partition.
pub struct Partition {
    /// Which one.
    pub id: PartitionId,
    /// Charger actors.
    pub chargers: Arena<HostedCharger>,
    /// Session actors.
    pub sessions: Arena<HostedSession>,
    /// Account actors.
    pub accounts: Arena<HostedAccount>,
    /// Cells by the hash of the charger's id; the id itself is in the cell.
    charger_slots: HashTable<Slot>,
    /// The same of sessions.
    session_slots: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    account_slots: HashMap<AccountId, Slot>,
    tariffs: HashMap<TariffHash, Arc<Tariff>>,
    /// What has gone through this partition.
    pub tally: Tally,
    /// Its books.
    pub books: PartitionBooks,
    /// The invoice series that are kept here.
    pub series: BTreeMap<SeriesId, Series>,
    /// Documents of its sessions that wait for their numbers.
    pub requests: Requests,
    /// Top-ups of its accounts.
    pub top_ups: TopUps,
    /// Stored facts on its processors.
    pub processors: KnownProcessors,
    /// Settlement batches of its processors.
    pub settlements: Register,
    /// The number of the next event of live sessions whose chargers count them, as far as this process has seen any.
    next_events: HashMap<SessionId, u32>,
    /// Reports about archived sessions, by charger, until the calls are whole that they are parts of.
    late_reports: HashMap<Slot, (SessionId, VecDeque<Command>)>,
    /// The last number that it gave a session of a charger without numbers; 0: none.
    pub last_number: u64,
    /// Certificates that expire soon.
    pub expiring: Expiring,
    /// The snapshot that is being taken of it, if one is.
    pub(super) snapping: Option<Snapping>,
    /// Peers without a connection.
    pub(super) missing: Missing,
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

stored!(struct Tally { 0: opened, 1: refused, 2: settled, 3: readings, 4: energy });

impl Tally {
    /// Counts a session's fact.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Metered(Metered { slices, .. }) => {
                self.readings += 1;
                for slice in &slices.0 {
                    self.energy = self.energy.checked_add(slice.energy).unwrap_or(self.energy);
                }
            }
            Event::Suspected { .. } => self.readings += 1,
            Event::Opened(_) => self.opened += 1,
            Event::Ended(ended) if !ended.admitted => self.refused += 1,
            Event::Closed { .. } => self.settled += 1,
            Event::Ended(_)
            | Event::RegisterJumped(_)
            | Event::Admitted { .. }
            | Event::StopAsked { .. }
            | Event::Payment(_)
            | Event::Corrected(_)
            | Event::Presented(_)
            | Event::Continued { .. }
            | Event::Noted(_)
            | Event::Signed(_)
            | Event::Decided(_)
            | Event::Quarantined { .. }
            | Event::Ruled(_)
            | Event::Restored(_) => {}
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
            charger_slots: HashTable::new(),
            session_slots: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            account_slots: HashMap::new(),
            tariffs: HashMap::new(),
            tally: Tally::default(),
            books: PartitionBooks::default(),
            series: BTreeMap::new(),
            requests: Requests::default(),
            top_ups: TopUps::default(),
            processors: KnownProcessors::default(),
            settlements: Register::default(),
            next_events: HashMap::new(),
            late_reports: HashMap::new(),
            last_number: 0,
            expiring: Expiring::default(),
            snapping: None,
            missing: Missing::default(),
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

    /// Keeps a pinned tariff. The one that is there already stays, because sessions may have it.
    pub fn pin(&mut self, tariff: Arc<Tariff>) {
        self.tariffs.entry(tariff.hash()).or_insert(tariff);
    }

    /// Drops pinned tariffs that neither a session of this partition nor the current table uses.
    pub(super) fn unpin_unused(&mut self) {
        self.tariffs.retain(|_, tariff| Arc::strong_count(tariff) > 1);
    }

    /// Makes room for so many more, no more than they take.
    pub(super) fn reserve(&mut self, chargers: usize, sessions: usize) {
        let Partition { chargers: cells, sessions: session_cells, hasher, .. } = self;
        self.charger_slots.reserve(chargers, |slot| hash_of_charger(hasher, cells, *slot));
        self.session_slots.reserve(sessions, |slot| hash_of_session(hasher, session_cells, *slot));
    }

    /// Whether a charger exists, or may be added: `most` bounds the chargers that peers can create.
    pub fn has_room_for(&self, id: &ChargerId, most: usize) -> bool {
        self.chargers.len() < most || self.find_charger(id).is_some()
    }

    /// The next number for a session of a charger without numbers, among so many partitions: n × partitions + partition, from
    /// n = 1. `None`: all that fit a transaction id of OCPP 1.6 are used up.
    pub fn next_number(&self, partitions: u16, is_free: impl Fn(SessionKey) -> bool) -> Option<SessionKey> {
        let step = u64::from(partitions);
        let mut number = self.last_number;
        loop {
            number = (number / step).checked_add(1)?.checked_mul(step)?.checked_add(u64::from(self.id.0))?;
            if i32::try_from(number).is_err() {
                return None;
            }
            if is_free(SessionKey(number)) {
                return Some(SessionKey(number));
            }
        }
    }

    /// A fact has this number.
    pub fn used_number(&mut self, key: SessionKey) {
        self.last_number = self.last_number.max(key.0);
    }

    /// The cell of a charger, made when it is not known yet.
    pub fn charger(&mut self, id: &ChargerId) -> Slot {
        match self.find_charger(id) {
            Some(slot) => slot,
            None => self.insert_charger(HostedCharger::new(id.clone())),
        }
    }

    /// Gives a charger a cell.
    pub fn insert_charger(&mut self, charger: HostedCharger) -> Slot {
        let hash = self.hasher.hash_one(&charger.state().id);
        let slot = self.chargers.insert(charger);
        let Partition { chargers, hasher, .. } = self;
        self.charger_slots.insert_unique(hash, slot, |slot| hash_of_charger(hasher, chargers, *slot));
        slot
    }

    /// The cell of a charger, if it is known.
    pub fn find_charger(&self, id: &ChargerId) -> Option<Slot> {
        let is_it = |slot: &Slot| self.chargers.get(*slot).is_some_and(|charger| charger.state().id == *id);
        self.charger_slots.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// The cell of a session, if it is live.
    pub fn find_session(&self, id: SessionId) -> Option<Slot> {
        let is_it = |slot: &Slot| self.sessions.get(*slot).is_some_and(|session| session.state().id == id);
        self.session_slots.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Whether the charger of a session has skipped a number of its events before this one. Numbers before the process began are
    /// not known, and those of a charger that does not count are no gap.
    pub fn has_skipped(&mut self, session: SessionId, sequence: u32) -> bool {
        let next = self.next_events.entry(session).or_insert(sequence);
        let skipped = sequence > *next;
        *next = (*next).max(sequence.saturating_add(1));
        skipped
    }

    /// Keeps a charger's report about an archived session until the call is whole that it is a part of. Registers are totals, so
    /// of too many reports the oldest is dispensable.
    pub fn keep_late(&mut self, charger: Slot, session: SessionId, command: Command) {
        let (of, kept) = self.late_reports.entry(charger).or_insert((session, VecDeque::new()));
        if *of != session {
            (*of, *kept) = (session, VecDeque::new());
        }
        if kept.len() >= LATE_REPORTS_MAX {
            kept.pop_front();
        }
        kept.push_back(command);
    }

    /// The kept reports of a charger about an archived session.
    pub fn take_late(&mut self, charger: Slot) -> Option<(SessionId, VecDeque<Command>)> {
        self.late_reports.remove(&charger)
    }

    /// The cell of an account, if there is one.
    pub fn find_account(&self, id: &AccountId) -> Option<Slot> {
        self.account_slots.get(id).copied()
    }

    /// Gives a session a cell.
    pub fn insert_session(&mut self, session: HostedSession) -> Slot {
        let hash = self.hasher.hash_one(session.state().id);
        let slot = self.sessions.insert(session);
        let Partition { sessions, hasher, .. } = self;
        self.session_slots.insert_unique(hash, slot, |slot| hash_of_session(hasher, sessions, *slot));
        slot
    }

    /// Vacates a session's cell.
    pub fn remove_session(&mut self, id: SessionId) -> Option<HostedSession> {
        self.next_events.remove(&id);
        let is_it = |slot: &Slot| self.sessions.get(*slot).is_some_and(|session| session.state().id == id);
        let found = self.session_slots.find_entry(self.hasher.hash_one(id), is_it).ok()?;
        let (slot, _) = found.remove();
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

/// Vacated cells are in no table, so they have no hash.
fn hash_of_charger(hasher: &DefaultHashBuilder, cells: &Arena<HostedCharger>, slot: Slot) -> u64 {
    cells.get(slot).map_or(0, |charger| hasher.hash_one(&charger.state().id))
}

fn hash_of_session(hasher: &DefaultHashBuilder, cells: &Arena<HostedSession>, slot: Slot) -> u64 {
    cells.get(slot).map_or(0, |session| hasher.hash_one(session.state().id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Mono, Timestamp};

    #[test]
    fn numbers_are_unique_in_all_partitions_and_end_before_they_repeat() {
        let now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };
        let mut seen = std::collections::BTreeSet::new();
        for id in 0..3 {
            let mut partition = Partition::new(PartitionId(id), now);
            for _ in 0..100 {
                let number = partition.next_number(3, |key| !key.0.is_multiple_of(7)).unwrap();
                partition.used_number(number);
                assert!(number.0 > 0 && number.0 % 3 == u64::from(id) && !number.0.is_multiple_of(7));
                assert!(seen.insert(number));
            }
            partition.used_number(SessionKey(5));
            assert!(partition.next_number(3, |_| true).unwrap().0 > 300, "never back");
            partition.used_number(SessionKey(i32::MAX as u64 - 1));
            assert_eq!(partition.next_number(3, |_| true), None);
        }
    }

    #[test]
    fn nobody_can_introduce_chargers_without_end() {
        let now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };
        let mut partition = Partition::new(PartitionId(0), now);
        let [first, second, third] = ["A", "B", "C"].map(|id| ChargerId::new(id).unwrap());
        for id in [&first, &second] {
            assert!(partition.has_room_for(id, 2));
            partition.charger(id);
        }
        assert!(!partition.has_room_for(&third, 2));
        assert!(partition.has_room_for(&first, 2), "who is known comes in");
    }
}

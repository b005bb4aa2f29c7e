//! A partition as bytes, and back: what a snapshot holds.
//!
//! ```text
//!   tariffs | count, chargers | count, sessions | count, accounts | length | tally | books | invoice series |
//!   documents without a number | settlements | top-ups | processors | certificates that expire
//! ```
//!
//! States are written in their stored form; where cells were is not kept, because projections (which charger has which session)
//! are rebuilt from the states. A snapshot of a partition that is in use is taken a few cells at a time between inputs
//! ([`Shard::begin_snapshot`], [`Shard::sweep`]) and still holds the state at one moment: whatever is about to change is
//! written first. It may be kept when everything up to that moment is durable in the log.

use super::account::HostedAccount;
use super::certificates::Expiring;
use super::charger::HostedCharger;
use super::hosted::{Arena, Hostable, Slot, Written};
use super::node_config::NodeConfig;
use super::partition::{Partition, Tally};
use super::session::{HostedSession, Pricing};
use super::shard::Shard;
use crate::account::{Account, TopUp};
use crate::accounting::posting::PartitionBooks;
use crate::billing::invoice::{Requests, Series, SeriesId};
use crate::billing::reconciliation::register::Register;
use crate::charger::Charger;
use crate::journal::{Position, Sequence};
use crate::payment::known_processor::KnownProcessors;
use crate::session::Session;
use crate::stored::{self, Stored, StoredError, begin, end, load_count, load_text, store_count, store_text, stored};
use crate::tariff::Tariff;
use crate::units::{Now, PartitionId, PaymentId};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The snapshot of a partition that is being taken.
pub struct Snapping {
    /// The last record that it includes.
    sequence: Sequence,
    /// Where that stands among the records of the shard.
    position: Position,
    tariffs: Vec<u8>,
    rest: Vec<u8>,
}

/// A snapshot that may be kept.
#[derive(Debug)]
pub struct Taken {
    /// Of which partition.
    pub partition: PartitionId,
    /// The last record that it includes, which is durable.
    pub sequence: Sequence,
    /// The state, in pieces: the receiver joins them on its own thread.
    pub pieces: Vec<Vec<u8>>,
}

impl Taken {
    /// The state.
    pub fn state(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// How far a snapshot has come.
#[derive(Debug)]
pub enum Sweep {
    /// Cells remain.
    Going,
    /// Everything is written; some of its records are not durable yet.
    Waiting,
    /// It is complete and durable.
    Done(Taken),
}

/// Everything of a partition but its cells and tariffs.
pub(super) struct Rest {
    pub tally: Tally,
    pub books: PartitionBooks,
    pub series: BTreeMap<SeriesId, Series>,
    pub requests: Requests,
    pub settlements: Register,
    pub top_ups: BTreeMap<PaymentId, TopUp>,
    pub processors: KnownProcessors,
    pub last_number: u64,
    pub expiring: Expiring,
}

/// A partition that is being restored: first its tariffs, then the chargers, then the sessions.
pub(super) struct Restoring<'a> {
    partition: &'a mut Partition,
    node_config: Arc<NodeConfig>,
    now: Now,
}

impl Restoring<'_> {
    pub fn tariff(&mut self, text: &str) -> Result<(), String> {
        let tariff = Tariff::parse_pinned(text).map_err(|error| format!("a pinned tariff: {error}"))?;
        self.partition.pin(Arc::new(tariff));
        Ok(())
    }

    /// So many come.
    pub fn reserve(&mut self, chargers: usize, sessions: usize) {
        self.partition.reserve(chargers, sessions);
    }

    pub fn charger(&mut self, charger: Charger) {
        self.partition.insert_charger(HostedCharger::from_state(charger));
    }

    pub fn session(&mut self, session: Session) -> Result<(), String> {
        let (policy, now) = (self.node_config.policy.clone(), self.now);
        insert_session(self.partition, session, |session, charger, pricing| {
            HostedSession::new(session, charger, pricing, policy, now)
        })
        .map(drop)
    }

    pub fn account(&mut self, account: Account) {
        self.node_config.credentials.links().restore(&account);
        let hosted = HostedAccount::from_state(account);
        if let Some(id) = hosted.id().cloned() {
            self.partition.insert_account(id, hosted);
        }
    }

    pub fn rest(self, rest: Rest) {
        let Rest { tally, books, series, requests, settlements, top_ups, processors, last_number, expiring } = rest;
        let partition = self.partition;
        (partition.tally, partition.books, partition.series) = (tally, books, series);
        (partition.requests, partition.settlements, partition.top_ups.known) = (requests, settlements, top_ups);
        (partition.processors, partition.last_number, partition.expiring) = (processors, last_number, expiring);
        for (processor, known) in partition.processors.iter() {
            self.node_config.routing.remember(processor, known);
        }
    }
}

impl Shard {
    /// The state of a partition after its last record, all at once.
    pub fn snapshot(&self, partition: PartitionId) -> Vec<u8> {
        let Some(partition) = self.partitions().iter().find(|known| known.id == partition) else { return Vec::new() };
        fn all<A: Hostable>(arena: &Arena<A>) -> Written {
            let mut written = Written::default();
            arena.iter().for_each(|(_, actor)| written.write(actor));
            written
        }
        let cells = [all(&partition.chargers), all(&partition.sessions), all(&partition.accounts)];
        assemble(partition.pinned_text(), cells, partition.rest()).concat()
    }

    /// Begins a snapshot of a partition as it is now. One that had begun before is given up.
    pub fn begin_snapshot(&mut self, partition: PartitionId) {
        let (sequence, position) = self.place_of(partition);
        let partition = self.partition_mut(partition);
        // Tariffs that are not in the snapshot must not be missing in a later one: the next session that needs one
        // pins it again.
        partition.unpin_unused();
        let (tariffs, rest) = (partition.pinned_text(), partition.rest());
        partition.snapping = Some(Snapping { sequence, position, tariffs, rest });
        partition.chargers.begin_sweep();
        partition.sessions.begin_sweep();
        partition.accounts.begin_sweep();
    }

    /// Gives up a snapshot that has begun.
    pub(super) fn give_up_snapshot(&mut self, partition: PartitionId) {
        let partition = self.partition_mut(partition);
        partition.snapping = None;
        drop((partition.chargers.end_sweep(), partition.sessions.end_sweep(), partition.accounts.end_sweep()));
    }

    /// Writes up to `cells` more cells of a snapshot that has begun.
    pub fn sweep(&mut self, partition: PartitionId, cells: usize) -> Sweep {
        let durable = self.durable();
        let id = partition;
        let partition = self.partition_mut(partition);
        let left = partition.chargers.sweep(cells);
        let left = partition.sessions.sweep(left);
        if partition.accounts.sweep(left) == 0 {
            return Sweep::Going;
        }
        match partition.snapping.take_if(|snapping| snapping.position <= durable) {
            None => Sweep::Waiting,
            Some(Snapping { sequence, tariffs, rest, .. }) => {
                let cells =
                    [partition.chargers.end_sweep(), partition.sessions.end_sweep(), partition.accounts.end_sweep()];
                Sweep::Done(Taken { partition: id, sequence, pieces: assemble(tariffs, cells, rest) })
            }
        }
    }

    /// Takes a partition's state. Comes before any record of that partition.
    ///
    /// # Errors
    /// The part that cannot be decoded.
    pub fn restore(&mut self, partition: PartitionId, state: &[u8], now: Now) -> Result<(), String> {
        let unreadable = |error: StoredError| error.to_string();
        let mut rest = state;
        let from = &mut rest;
        let mut restoring = self.begin_restoring(partition, now);
        for _ in 0..load_count(from).map_err(unreadable)? {
            restoring.tariff(load_text(from).map_err(unreadable)?)?;
        }
        // Each takes a byte at least, so a damaged count makes no more room than there are bytes.
        let chargers = load_count(from).map_err(unreadable)?;
        restoring.reserve(chargers.min(from.len()), 0);
        for _ in 0..chargers {
            restoring.charger(Stored::load(from).map_err(unreadable)?);
        }
        let sessions = load_count(from).map_err(unreadable)?;
        restoring.reserve(0, sessions.min(from.len()));
        for _ in 0..sessions {
            restoring.session(Stored::load(from).map_err(unreadable)?)?;
        }
        for _ in 0..load_count(from).map_err(unreadable)? {
            restoring.account(Stored::load(from).map_err(unreadable)?);
        }
        restoring.rest(stored::from_bytes(from).map_err(unreadable)?);
        Ok(())
    }

    /// Begins to restore a partition. Comes before any record of that partition.
    pub(super) fn begin_restoring(&mut self, partition: PartitionId, now: Now) -> Restoring<'_> {
        let node_config = Arc::clone(self.node_config());
        Restoring { partition: self.partition_mut(partition), node_config, now }
    }
}

stored!(struct Rest {
    0: tally, 1: books, 2: series, 3: requests, 4: settlements, 5: top_ups, 6: processors, 7: last_number or 0,
    8: expiring or Expiring::default(),
});

impl Partition {
    fn pinned_text(&self) -> Vec<u8> {
        let texts: Vec<&str> = self.pinned_all().map(Tariff::source).collect();
        let mut bytes = Vec::new();
        store_count(texts.len(), &mut bytes);
        texts.iter().for_each(|text| store_text(text, &mut bytes));
        bytes
    }

    fn rest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let begun = begin(&mut bytes);
        self.tally.store(&mut bytes);
        self.books.store(&mut bytes);
        self.series.store(&mut bytes);
        self.requests.store(&mut bytes);
        self.settlements.store(&mut bytes);
        self.top_ups.known.store(&mut bytes);
        self.processors.store(&mut bytes);
        self.last_number.store(&mut bytes);
        self.expiring.store(&mut bytes);
        end(begun, &mut bytes);
        bytes
    }
}

/// The three kinds of cells stand behind their counts.
fn assemble(tariffs: Vec<u8>, cells: [Written; 3], rest: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pieces = vec![tariffs];
    for written in cells {
        let mut count = Vec::new();
        written.count.store(&mut count);
        pieces.push(count);
        pieces.extend(written.pieces);
    }
    pieces.push(rest);
    pieces
}

pub(super) fn insert_session(
    partition: &mut Partition,
    mut session: Session,
    host: impl FnOnce(Session, Slot, Pricing) -> HostedSession,
) -> Result<Slot, String> {
    let tariff = partition.pinned(&session.tariff).ok_or_else(|| format!("tariff {} is not pinned", session.tariff))?;
    let zone = TimeZone::get(&session.zone).map_err(|error| error.to_string())?;
    let (slot, key) = (partition.charger(&session.charger), session.key);
    if let Some(charger) = partition.chargers.get(slot) {
        // One name in memory for the two of them.
        session.charger = charger.state().id.clone();
    }
    let cell = partition.insert_session(host(session, slot, Pricing { tariff, zone }));
    if let Some(charger) = partition.chargers.get_mut(slot) {
        charger.attach(key, cell);
    }
    Ok(cell)
}

//! A partition as bytes, and back: what a snapshot holds.
//!
//! ```text
//!   tariffs | count, chargers | count, sessions | count, accounts | tally | books | invoice series | documents without a number | settlements | top-ups | processors
//! ```
//!
//! States are written as they are; where cells were is not kept, because projections (which charger has which session)
//! are rebuilt from the states. A snapshot of a partition that is in use is taken a few cells at a time between inputs
//! ([`Shard::begin_snapshot`], [`Shard::sweep`]) and still holds the state at one moment: whatever is about to change is
//! written first. It may be kept when everything up to that moment is durable in the log.

use super::account::HostedAccount;
use super::charger::HostedCharger;
use super::encoding::encode;
use super::hosted::{Arena, Hostable, Slot, Written};
use super::partition::Partition;
use super::session::{HostedSession, Pricing};
use super::shard::Shard;
use crate::account::Account;
use crate::journal::{Position, Sequence};
use crate::session::Session;
use crate::tariff::Tariff;
use crate::units::{Now, PartitionId};
use jiff::tz::TimeZone;
use serde::Deserialize;
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

/// A reader of the parts of a snapshot, in their order. Cells are read one at a time: a million sessions are not held
/// twice, and each is moved to its cell at once.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next<T: Deserialize<'a>>(&mut self) -> Result<T, String> {
        let (part, rest) = postcard::take_from_bytes(self.0).map_err(|error| error.to_string())?;
        self.0 = rest;
        Ok(part)
    }

    /// The number of the cells that follow; each takes at least one byte.
    fn count(&mut self) -> Result<usize, String> {
        let count: usize = self.next()?;
        match count <= self.0.len() {
            true => Ok(count),
            false => Err(format!("{count} cells in {} bytes", self.0.len())),
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
        let (node_config, policy) = (Arc::clone(self.node_config()), Arc::clone(&self.node_config().policy));
        let partition = self.partition_mut(partition);
        let mut parts = Parts(state);
        for source in parts.next::<Vec<&str>>()? {
            let tariff = Tariff::parse_pinned(source).map_err(|error| format!("a pinned tariff: {error}"))?;
            partition.pin(Arc::new(tariff));
        }
        let chargers = parts.count()?;
        partition.reserve(chargers, 0);
        for _ in 0..chargers {
            partition.insert_charger(HostedCharger::from_state(parts.next()?));
        }
        let sessions = parts.count()?;
        partition.reserve(0, sessions);
        for _ in 0..sessions {
            insert_session(partition, parts.next()?, |session, charger, pricing| {
                HostedSession::new(session, charger, pricing, policy.clone(), now)
            })?;
        }
        for _ in 0..parts.count()? {
            let account: Account = parts.next()?;
            node_config.credentials.links().restore(&account);
            let hosted = HostedAccount::from_state(account);
            if let Some(id) = hosted.id().cloned() {
                partition.insert_account(id, hosted);
            }
        }
        partition.tally = parts.next()?;
        partition.books = parts.next()?;
        partition.series = parts.next()?;
        partition.requests = parts.next()?;
        partition.settlements = parts.next()?;
        partition.top_ups.known = parts.next()?;
        partition.processors = parts.next()?;
        for (processor, known) in partition.processors.iter() {
            node_config.routing.remember(processor, known);
        }
        Ok(())
    }
}

impl Partition {
    fn pinned_text(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&self.pinned_all().map(Tariff::source).collect::<Vec<_>>(), &mut bytes);
        bytes
    }

    fn rest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&self.tally, &mut bytes);
        encode(&self.books, &mut bytes);
        encode(&self.series, &mut bytes);
        encode(&self.requests, &mut bytes);
        encode(&self.settlements, &mut bytes);
        encode(&self.top_ups.known, &mut bytes);
        encode(&self.processors, &mut bytes);
        bytes
    }
}

/// As a struct of sequences would be written: each behind its length.
fn assemble(tariffs: Vec<u8>, cells: [Written; 3], rest: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pieces = vec![tariffs];
    for written in cells {
        let mut count = Vec::new();
        encode(&written.count, &mut count);
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

//! Reads a data directory that no gate uses, checks everything in it, and shows the existing data.

use super::appender::Sequences;
use super::archive::Archive;
use super::block::Reader;
use super::directory::DataDir;
use super::failure::{Damage, Failure, Left, Lost};
use super::log::visit_blocks;
use super::record::{Assembly, Record, RecordKind};
use super::recovery::Replay;
use super::scan::{self, Torn};
use super::sled::SledStore;
use super::snapshot::{Snapshot, Snapshots};
use super::store::Store;
use crate::units::PartitionId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The result of checking a data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Whether everything is as it was written.
    pub whole: bool,
    /// Faults, one sentence each.
    pub damage: Vec<String>,
    /// Records that are known to be lost, by partition: no snapshot has them.
    pub lost: Vec<Lost>,
    /// Blocks of the log that cannot be read: the first and the last one of each stretch.
    pub holes: Vec<(u64, u64)>,
    /// When the log is damaged: how far each partition is whole.
    pub left: Vec<Left>,
    /// Blocks in the log.
    pub blocks: u64,
    /// Records in the log.
    pub records: u64,
    /// Bytes of those blocks.
    pub bytes: u64,
    /// How many times the log had been opened for writing.
    #[serde(rename = "epoch")]
    pub open_count: u32,
    /// The group at the end of the log that was in progress when the process ended. It is no damage: none of it was
    /// acknowledged.
    pub torn_tail: Option<String>,
    /// Sessions in the archive.
    pub archived_sessions: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Bytes of the snapshots.
    pub snapshot_bytes: u64,
    /// The partitions that have anything.
    pub partitions: Vec<PartitionTotals>,
}

/// Contents of the log for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionTotals {
    /// Its number.
    pub partition: u16,
    /// The last record that its snapshot covers.
    pub snapshot_at: Option<u64>,
    /// The first record in the log.
    pub first: Option<u64>,
    /// The last record.
    pub last: u64,
    /// Records in the log; one that is longer than a block counts once.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Records of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Checks a data directory: its format, every snapshot, every record of the log, every entry of the archive. Damage
/// is part of the result; an error means that the check was impossible.
///
/// # Errors
/// The directory cannot be read, is in use, or has another version.
pub fn verify(path: &Path) -> Result<Inspection, Failure> {
    let dir = DataDir::open_any(path)?;
    let mut found = Inspection::default();
    let mut totals: Vec<PartitionTotals> =
        (0..dir.partitions()).map(|partition| PartitionTotals { partition, ..PartitionTotals::default() }).collect();
    let (base, damaged) = verify_snapshots(&dir, &mut totals)?;
    found.damage.extend(damaged.iter().map(Damage::to_string));
    if let Some(end) = found.note(read_log(&dir, &base, &mut |record| count(&mut totals, record)))?.flatten() {
        found.take_end(end);
        for totals in &mut totals {
            totals.last = totals.last.max(base.last(PartitionId(totals.partition)).0);
        }
    }
    let archive = Archive::open(&dir).and_then(|archive| {
        archive.verify()?;
        Ok((archive.count(), archive.used_bytes()))
    });
    if let Some((sessions, bytes)) = found.note(archive)? {
        (found.archived_sessions, found.archive_bytes) = (sessions, bytes);
    }
    found.snapshot_bytes = Snapshots::open(&dir)?.used_bytes()?;
    found.partitions = totals.into_iter().filter(|totals| totals.records > 0 || totals.snapshot_at.is_some()).collect();
    found.whole = found.damage.is_empty();
    Ok(found)
}

/// Shows every record of the log, in the order of each partition, as far as the log is whole. `None` for a directory
/// with an unused log.
///
/// # Errors
/// The directory cannot be read or is in use, the log is damaged, or the visitor's own error.
pub fn dump(path: &Path, visit: &mut dyn FnMut(Record<'_>) -> Result<(), String>) -> Result<Option<Torn>, Failure> {
    let dir = DataDir::open_any(path)?;
    let (base, _) = verify_snapshots(&dir, &mut [])?;
    Ok(read_log(&dir, &base, visit)?.and_then(|end| end.torn))
}

/// What was read of a data directory.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The last record of each partition.
    pub sequences: Sequences,
    /// Records behind the snapshots.
    pub records: u64,
    /// Partitions with a snapshot.
    pub snapshots: u64,
}

/// Hands the newest snapshot of each partition over, and every record behind it. The log is only read: a torn end, which
/// nothing was acknowledged of, is left out.
///
/// # Errors
/// The directory cannot be read, is damaged, or the reader refuses a state or a record.
pub fn replay(dir: &DataDir, reader: &mut dyn Replay) -> Result<Contents, Failure> {
    let snapshots = Snapshots::open(dir)?;
    let mut found = 0;
    for partition in (0..dir.partitions()).map(PartitionId) {
        if let Some(Snapshot { sequence, state }) = snapshots.load(partition)?.newest {
            let taken = reader.snapshot(partition, sequence, &state);
            taken.map_err(|what| Failure::Unreadable { partition, sequence: sequence.0, what })?;
            found += 1;
        }
    }
    let (base, mut records) = (snapshots.verified(), 0);
    let end = read_log(dir, &base, &mut |record| {
        if record.sequence <= base.last(record.partition) {
            return Ok(());
        }
        records += 1;
        reader.record(record)
    })?;
    Ok(Contents { sequences: end.map_or(base.clone(), |end| end.sequences), records, snapshots: found })
}

impl Inspection {
    /// Records damage and returns `None`; any other failure is returned.
    fn note<T>(&mut self, looked_at: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match looked_at {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Damaged(damage)) => {
                self.damage.push(damage.to_string());
                self.lost.extend(damage.lost);
                self.holes.extend(damage.holes);
                self.left.extend(damage.left);
                Ok(None)
            }
            Err(unreadable @ Failure::Unreadable { .. }) => {
                self.damage.push(unreadable.to_string());
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn take_end(&mut self, end: scan::End) {
        (self.blocks, self.records, self.bytes, self.open_count) = (end.blocks, end.records, end.bytes, end.open_count);
        self.torn_tail = end.torn.map(|torn| format!("from block {}: {}", torn.from_block, torn.why));
    }
}

/// Reads every partition's newest whole snapshot; with `totals`, notes where it stands. Newer ones that are damaged are named.
fn verify_snapshots(dir: &DataDir, totals: &mut [PartitionTotals]) -> Result<(Sequences, Vec<Damage>), Failure> {
    let snapshots = Snapshots::open(dir)?;
    let mut damaged = Vec::new();
    for partition in 0..dir.partitions() {
        let found = snapshots.load(PartitionId(partition))?;
        if let (Some(newest), Some(totals)) = (found.newest, totals.get_mut(usize::from(partition))) {
            totals.snapshot_at = Some(newest.sequence.0);
        }
        damaged.extend(found.instead_of);
    }
    Ok((snapshots.verified(), damaged))
}

fn read_log(
    dir: &DataDir,
    base: &Sequences,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), String>,
) -> Result<Option<scan::End>, Failure> {
    if !super::files::exists(&dir.mark())? {
        return Ok(None);
    }
    let mut store = SledStore::open(dir)?;
    read_store(&mut store, base, visit).map(Some)
}

fn read_store(
    store: &mut dyn Store,
    base: &Sequences,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), String>,
) -> Result<scan::End, Failure> {
    let (mut assembly, mut reader) = (Assembly::default(), Reader::default());
    scan::scan(store, base, &mut |blocks| visit_blocks(blocks, &mut reader, &mut assembly, |_| true, visit))
}

fn count(totals: &mut [PartitionTotals], record: Record<'_>) -> Result<(), String> {
    let totals = totals.get_mut(usize::from(record.partition.0)).ok_or("there is no such partition")?;
    totals.first.get_or_insert(record.sequence.0);
    totals.last = record.sequence.0;
    totals.records += 1;
    totals.payload_bytes += record.payload.len() as u64;
    *totals.kinds.entry(RecordKind::name(record.kind)).or_default() += 1;
    Ok(())
}

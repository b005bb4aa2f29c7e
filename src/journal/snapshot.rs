//! Snapshots: the state of a partition after a given record, so that the log below it can go.
//!
//! ```text
//!   0       4     6           8               16              24      28
//!   +-------+-----+-----------+---------------+---------------+-------+---------
//!   | magic | ver | partition | sequence      | length        | CRC   | state
//!   +-------+-----+-----------+---------------+---------------+-------+---------
//! ```
//!
//! The CRC covers the header before it and the state. A snapshot is written under another name, synced, renamed, and read
//! back before it counts. The last two of each partition are kept, and the log is kept as far back as the older one
//! reaches ([`Snapshots::reach`]): it stands in for a newer one that is damaged. A partition in which nothing happened
//! since its last snapshot gets a second copy of it instead of a new one, so that it does not hold the log.
//!
//! A snapshot may only hold durable data in the log: the state after `sequence`, taken when that record is below
//! the watermark.

use super::appender::Sequences;
use super::directory::DataDir;
use super::failure::{Damage, DamageLocation, Failure};
use super::files;
use super::record::{Sequence, array};
use super::snapshots_in_memory::InMemory;
use crate::units::PartitionId;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// The version of snapshots in a data directory of this program's version.
pub const SNAPSHOT_VERSION: u16 = 2;

/// The version of snapshots in a data directory: the layout of the file is the same, the state in it is not.
const fn version_in(data_version: u32) -> u16 {
    if data_version < 5 { 1 } else { SNAPSHOT_VERSION }
}

const MAGIC: [u8; 4] = *b"wSNP";
const CRC_AT: usize = 24;
const HEADER: usize = 28;
/// Snapshots of a partition that are kept.
const KEPT: usize = 2;

/// Bytes that are read back at a time.
const READ_BACK: usize = 64 * 1024;

/// How a snapshot is written beside a log that has syncs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Synced after each MiB, so that the log's syncs never wait behind much of it.
    Gentle,
    /// Synced after every 8 MiB: in less time, because the log is as long as it may be.
    Fast,
}

impl Pace {
    /// Bytes that are written before they are synced.
    const fn piece(self) -> usize {
        match self {
            Pace::Gentle => 1024 * 1024,
            Pace::Fast => 8 * 1024 * 1024,
        }
    }
}

/// The snapshots of one node. Several threads may write at a time, each for partitions of its own.
#[derive(Debug)]
pub struct Snapshots {
    place: Where,
    version: u16,
    table: Mutex<Table>,
}

/// Table of the kept snapshots.
#[derive(Debug)]
struct Table {
    /// The last record that each partition's newest one covers.
    newest: Sequences,
    /// The same of the one before it.
    older: Sequences,
    /// Files that were found damaged.
    damaged: Vec<PathBuf>,
}

#[derive(Debug)]
enum Where {
    Directory { path: PathBuf, of: DataDir },
    Memory(Mutex<InMemory>),
}

/// A snapshot that was read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that the state includes.
    pub sequence: Sequence,
    /// The state, in the encoding of the caller.
    pub state: Vec<u8>,
}

/// Result of loading a partition's snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest one that is whole, if there is one.
    pub newest: Option<Snapshot>,
    /// One newer than that, which could not be used.
    pub instead_of: Option<Damage>,
}

impl Snapshots {
    /// The snapshots of a data directory.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(dir: &DataDir) -> Result<Snapshots, Failure> {
        Snapshots::open_at(dir.snapshots(), dir)
    }

    /// The snapshots of a data directory that are in this one.
    pub(super) fn open_at(path: PathBuf, of: &DataDir) -> Result<Snapshots, Failure> {
        for entry in fs::read_dir(&path).map_err(Failure::io("reading", &path))? {
            let file = entry.map_err(Failure::io("reading", &path))?.path();
            if file.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&file).map_err(Failure::io("removing", &file))?;
            }
        }
        let version = version_in(of.version());
        Ok(Snapshots { place: Where::Directory { path, of: of.clone() }, version, table: Table::new(of.partitions()) })
    }

    /// Snapshots in memory, for tests and simulation: written as a whole or not at all.
    pub fn in_memory(partitions: u16) -> Snapshots {
        Snapshots { place: Where::Memory(Mutex::default()), version: SNAPSHOT_VERSION, table: Table::new(partitions) }
    }

    /// Writes the state of a partition after `sequence`, which must be durable in the log, and verifies what was written.
    ///
    /// # Errors
    /// The file cannot be written, or reads back differently.
    pub fn write(&self, partition: PartitionId, sequence: Sequence, state: &[u8]) -> Result<(), Failure> {
        self.write_pieces(partition, sequence, &[state], Pace::Gentle)
    }

    /// The same of a state that is in pieces: put together they may be a hundred megabytes.
    ///
    /// # Errors
    /// The file cannot be written, or reads back differently.
    pub fn write_pieces(
        &self,
        partition: PartitionId,
        sequence: Sequence,
        state: &[impl AsRef<[u8]>],
        pace: Pace,
    ) -> Result<(), Failure> {
        if let Where::Directory { path: dir, of } = &self.place {
            of.check_held()?;
            let first = dir.join(file_name(partition, sequence, ""));
            let path = if self.verified().last(partition) == sequence && files::exists(&first)? {
                dir.join(file_name(partition, sequence, COPY))
            } else {
                first
            };
            let header = header(self.version, partition, sequence, state);
            let parts: Vec<&[u8]> = std::iter::once(&header[..]).chain(state.iter().map(AsRef::as_ref)).collect();
            files::write_in_pieces(&path, &parts, pace.piece())?;
            read_back(&path, &parts)?;
        }
        let mut table = self.table();
        let before = table.newest.last(partition);
        match &self.place {
            Where::Memory(memory) => {
                let mut memory = memory.lock().expect("no holder panics");
                if memory.is_full {
                    return Err(Failure::Full { path: "memory".into() });
                }
                let state: Vec<u8> = state.iter().flat_map(AsRef::as_ref).copied().collect();
                memory.write(partition, sequence, state);
                table.older.set_last(partition, before);
            }
            Where::Directory { path: dir, .. } => {
                table.set_damaged_aside(dir, partition)?;
                table.older.set_last(partition, before);
                for older in files_of(dir, partition)?.into_iter().rev().skip(KEPT) {
                    fs::remove_file(&older.path).map_err(Failure::io("removing", &older.path))?;
                }
            }
        }
        table.newest.set_last(partition, sequence);
        Ok(())
    }

    /// The newest snapshot of a partition that is whole, if there is one. It counts as verified.
    ///
    /// # Errors
    /// A file cannot be read. A damaged one is no failure: it is named in the result.
    pub fn load(&self, partition: PartitionId) -> Result<Found, Failure> {
        let dir = match &self.place {
            Where::Memory(memory) => {
                let (found, older) = memory.lock().expect("no holder panics").load(partition);
                let newest = found.newest.as_ref().map_or(Sequence(0), |newest| newest.sequence);
                self.table().count(partition, newest, older);
                return Ok(found);
            }
            Where::Directory { path: dir, .. } => dir,
        };
        let mut found = Found::default();
        let mut files = files_of(dir, partition)?;
        while let Some(file) = files.pop() {
            let damage = match read(&file.path, self.version, partition) {
                Ok((sequence, state)) if sequence == file.sequence => {
                    found.newest = Some(Snapshot { sequence, state });
                    let older = files.last().map_or(Sequence(0), |older| older.sequence);
                    self.table().count(partition, sequence, older);
                    break;
                }
                Ok((sequence, _)) => damage(&file.path, format!("it holds the state after record {sequence}")),
                Err(Failure::Damaged(damage)) => *damage,
                Err(other) => return Err(other),
            };
            self.table().damaged.push(file.path);
            found.instead_of.get_or_insert(damage);
        }
        Ok(found)
    }

    /// The last record that a verified snapshot covers, for each partition.
    pub fn verified(&self) -> Sequences {
        self.table().newest.clone()
    }

    /// How far back the log has to reach, for each partition: to its older snapshot, which stands in when the newer one is
    /// damaged. Below that the log can be trimmed.
    pub fn reach(&self) -> Sequences {
        self.table().older.clone()
    }

    /// Whether a partition has both its snapshots at this record: another one would be the same.
    pub fn is_settled(&self, partition: PartitionId, sequence: Sequence) -> bool {
        let table = self.table();
        table.newest.last(partition) == sequence && table.older.last(partition) == sequence
    }

    /// Lets writing fail for want of room, or not, for simulation: only in memory.
    pub fn set_full(&self, is_full: bool) {
        if let Where::Memory(memory) = &self.place {
            memory.lock().expect("no holder panics").is_full = is_full;
        }
    }

    /// Flips a bit of a partition's newest one, for simulation: only in memory, and only while all kept ones of the
    /// partition are whole. Returns whether it did.
    pub fn flip_bit(&self, partition: PartitionId, bit: u64) -> bool {
        match &self.place {
            Where::Memory(memory) => memory.lock().expect("no holder panics").flip_bit(partition, bit),
            Where::Directory { .. } => false,
        }
    }

    /// Bytes of all snapshots that are kept.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn used_bytes(&self) -> Result<u64, Failure> {
        match &self.place {
            Where::Memory(memory) => Ok(memory.lock().expect("no holder panics").used_bytes()),
            Where::Directory { path: dir, .. } => {
                let entries = fs::read_dir(dir).map_err(Failure::io("reading", dir))?;
                Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum())
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder panics")
    }
}

impl Table {
    fn new(partitions: u16) -> Mutex<Table> {
        let none = Sequences::new(partitions);
        Mutex::new(Table { newest: none.clone(), older: none, damaged: Vec::new() })
    }

    fn count(&mut self, partition: PartitionId, newest: Sequence, older: Sequence) {
        self.newest.set_last(partition, newest);
        self.older.set_last(partition, older);
    }

    /// Renames damaged files of a partition: they do not count as one of the two any more, and stay available for
    /// inspection.
    fn set_damaged_aside(&mut self, dir: &Path, partition: PartitionId) -> Result<(), Failure> {
        for file in files_of(dir, partition)? {
            if self.damaged.contains(&file.path) {
                let aside = file.path.with_extension("damaged");
                fs::rename(&file.path, &aside).map_err(Failure::io("renaming", &file.path))?;
            }
        }
        Ok(())
    }
}

/// A file that should be a snapshot. Their order is that of the records they cover.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    sequence: Sequence,
    path: PathBuf,
}

/// What a second copy of a snapshot has behind its sequence.
const COPY: &str = "-copy";

/// The snapshots of a partition, the oldest first.
fn files_of(dir: &Path, partition: PartitionId) -> Result<Vec<Kept>, Failure> {
    let prefix = format!("p{:05}-", partition.0);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Failure::io("reading", dir))? {
        let entry = entry.map_err(Failure::io("reading", dir))?;
        let name = entry.file_name();
        let sequence = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".snap"));
        let sequence = sequence.and_then(|name| name.strip_suffix(COPY).unwrap_or(name).parse().ok());
        if let Some(sequence) = sequence {
            found.push(Kept { sequence: Sequence(sequence), path: entry.path() });
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn file_name(partition: PartitionId, sequence: Sequence, copy: &str) -> String {
    format!("p{:05}-{:020}{copy}.snap", partition.0, sequence.0)
}

fn header(version: u16, partition: PartitionId, sequence: Sequence, state: &[impl AsRef<[u8]>]) -> [u8; HEADER] {
    let length: usize = state.iter().map(|piece| piece.as_ref().len()).sum();
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&version.to_le_bytes());
    header[6..8].copy_from_slice(&partition.0.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.0.to_le_bytes());
    header[16..24].copy_from_slice(&(length as u64).to_le_bytes());
    let crc = checksum(&header, state);
    header[CRC_AT..HEADER].copy_from_slice(&crc.to_le_bytes());
    header
}

fn checksum(header: &[u8], state: &[impl AsRef<[u8]>]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CRC_AT]);
    state.iter().for_each(|piece| hasher.update(piece.as_ref()));
    hasher.finalize()
}

/// Holds a file against what was written to it, a little at a time.
fn read_back(path: &Path, parts: &[&[u8]]) -> Result<(), Failure> {
    let mut file = File::open(path).map_err(Failure::io("opening", path))?;
    let mut found = vec![0; READ_BACK];
    for expected in parts.iter().flat_map(|part| part.chunks(READ_BACK)) {
        let found = &mut found[..expected.len()];
        file.read_exact(found).map_err(Failure::io("reading back", path))?;
        if found != expected {
            return Err(damaged(path, "what was read back is not what was written".to_owned()));
        }
    }
    Ok(())
}

fn read(path: &Path, expected: u16, partition: PartitionId) -> Result<(Sequence, Vec<u8>), Failure> {
    let mut bytes = fs::read(path).map_err(Failure::io("reading", path))?;
    if bytes.len() < HEADER || bytes[0..4] != MAGIC {
        return Err(damaged(path, "it does not begin like a snapshot".to_owned()));
    }
    let state = bytes.split_off(HEADER);
    let (found, computed) = (u32::from_le_bytes(array(&bytes, CRC_AT)), checksum(&bytes, &[&state]));
    if found != computed || u64::from_le_bytes(array(&bytes, 16)) != state.len() as u64 {
        return Err(damaged(path, format!("its checksum is {found:08x}, its bytes give {computed:08x}")));
    }
    let version = u16::from_le_bytes(array(&bytes, 4));
    if version != expected {
        let what = format!("a snapshot of version {version} in data that has snapshots of version {expected}");
        return Err(Failure::Format { path: path.to_owned(), what });
    }
    let of = u16::from_le_bytes(array(&bytes, 6));
    if of != partition.0 {
        return Err(damaged(path, format!("it is of partition {of}")));
    }
    Ok((Sequence(u64::from_le_bytes(array(&bytes, 8))), state))
}

fn damaged(path: &Path, fault: String) -> Failure {
    Box::new(damage(path, fault)).into()
}

fn damage(path: &Path, fault: String) -> Damage {
    Damage::at(DamageLocation::Snapshot { path: path.to_owned() }, fault)
}

#[cfg(test)]
mod tests {
    use super::super::directory::Layout;
    use super::*;

    fn place() -> (tempfile::TempDir, DataDir) {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), Layout::new(4)).unwrap();
        (place, dir)
    }

    const P: PartitionId = PartitionId(3);

    fn kept(dir: &DataDir) -> Vec<u64> {
        files_of(&dir.snapshots(), P).unwrap().into_iter().map(|kept| kept.sequence.0).collect()
    }

    fn newest(snapshots: &Snapshots) -> (Sequence, Vec<u8>) {
        let found = snapshots.load(P).unwrap();
        assert_eq!(found.instead_of, None);
        found.newest.map(|newest| (newest.sequence, newest.state)).unwrap()
    }

    #[test]
    fn the_newest_comes_back_and_two_are_kept() {
        let (_place, dir) = place();
        let snapshots = Snapshots::open(&dir).unwrap();
        assert_eq!(snapshots.load(P).unwrap(), Found::default());
        for (sequence, reach) in [(9, 0), (10, 9), (11, 10)] {
            snapshots.write(P, Sequence(sequence), format!("after {sequence}").as_bytes()).unwrap();
            assert_eq!(snapshots.verified().last(P), Sequence(sequence));
            assert_eq!(snapshots.reach().last(P), Sequence(reach), "the log reaches back to the older one");
        }
        snapshots.write(PartitionId(1), Sequence(2), b"").unwrap();
        assert_eq!(kept(&dir), [10, 11]);
        let again = Snapshots::open(&dir).unwrap();
        assert_eq!(again.verified().last(P), Sequence(0), "not looked at yet");
        assert_eq!(newest(&again), (Sequence(11), b"after 11".to_vec()));
        assert_eq!((again.verified().last(P), again.reach().last(P)), (Sequence(11), Sequence(10)));
        assert_eq!(again.load(PartitionId(1)).unwrap().newest.unwrap().state, b"");
        assert_eq!(again.reach().last(PartitionId(1)), Sequence(0), "there is no older one");
    }

    #[test]
    fn nothing_is_written_into_a_directory_that_took_the_place_of_the_held_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let dir = DataDir::create(&path, Layout::new(4)).unwrap();
        let snapshots = Snapshots::open(&dir).unwrap();
        snapshots.write(P, Sequence(5), b"five").unwrap();
        fs::rename(&path, place.path().join("aside")).unwrap();
        let other = DataDir::create(&path, Layout::new(4)).unwrap();
        assert!(matches!(snapshots.write(P, Sequence(6), b"six"), Err(Failure::Absent { .. })));
        assert_eq!(Snapshots::open(&other).unwrap().used_bytes().unwrap(), 0);
    }

    #[test]
    fn a_partition_in_which_nothing_happens_gets_a_copy_and_does_not_hold_the_log() {
        let (_place, dir) = place();
        let snapshots = Snapshots::open(&dir).unwrap();
        snapshots.write(P, Sequence(5), b"five").unwrap();
        assert!(!snapshots.is_settled(P, Sequence(5)));
        snapshots.write(P, Sequence(5), b"five").unwrap();
        assert!(snapshots.is_settled(P, Sequence(5)));
        assert_eq!((kept(&dir), snapshots.reach().last(P)), (vec![5, 5], Sequence(5)));
        for name in [file_name(P, Sequence(5), ""), file_name(P, Sequence(5), COPY)] {
            let path = dir.snapshots().join(name);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, "damaged").unwrap();
            let again = Snapshots::open(&dir).unwrap();
            assert_eq!(again.load(P).unwrap().newest.unwrap().state, b"five", "either stands in for the other");
            fs::write(&path, whole).unwrap();
        }
        snapshots.write(P, Sequence(6), b"six").unwrap();
        assert_eq!((kept(&dir), newest(&snapshots)), (vec![5, 6], (Sequence(6), b"six".to_vec())));
    }

    #[test]
    fn every_flipped_bit_is_seen_and_the_older_one_stands_in() {
        let (_place, dir) = place();
        let snapshots = Snapshots::open(&dir).unwrap();
        snapshots.write(P, Sequence(1), b"old").unwrap();
        snapshots.write(P, Sequence(2), b"new").unwrap();
        let newest = dir.snapshots().join(file_name(P, Sequence(2), ""));
        let whole = fs::read(&newest).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&newest, damaged).unwrap();
            let found = snapshots.load(P).unwrap();
            let older = found.newest.unwrap();
            assert_eq!((older.sequence, older.state.as_slice()), (Sequence(1), &b"old"[..]), "bit {bit}");
            assert_eq!(found.instead_of.unwrap().place, DamageLocation::Snapshot { path: newest.clone() });
            assert_eq!(snapshots.reach().last(P), Sequence(0), "behind that there is no other");
        }
        // The next one replaces the damaged one, which stays available for inspection.
        snapshots.write(P, Sequence(3), b"next").unwrap();
        assert_eq!((kept(&dir), snapshots.reach().last(P)), (vec![1, 3], Sequence(1)));
        assert!(newest.with_extension("damaged").exists());
        for name in [1, 3] {
            fs::write(dir.snapshots().join(file_name(P, Sequence(name), "")), &whole).unwrap();
        }
        let found = snapshots.load(P).unwrap();
        assert!(found.newest.is_none() && found.instead_of.is_some(), "neither is what its name says");
    }

    #[test]
    fn in_memory_two_are_kept_and_the_older_one_stands_in_too() {
        let snapshots = Snapshots::in_memory(4);
        assert!(!snapshots.flip_bit(P, 7), "there is none");
        for sequence in [1, 2, 3] {
            snapshots.write(P, Sequence(sequence), format!("after {sequence}").as_bytes()).unwrap();
            assert_eq!(snapshots.reach().last(P), Sequence(sequence - 1));
        }
        for bit in 0..8 * 7 + 32 {
            let snapshots = Snapshots::in_memory(4);
            snapshots.write(P, Sequence(1), b"after 1").unwrap();
            snapshots.write(P, Sequence(2), b"after 2").unwrap();
            assert!(snapshots.flip_bit(P, bit) && !snapshots.flip_bit(P, bit), "not both of them");
            let alone = Snapshots::in_memory(4);
            alone.write(P, Sequence(1), b"after 1").unwrap();
            assert!(alone.flip_bit(P, bit) && alone.load(P).unwrap().newest.is_none());
            assert_eq!(alone.verified().last(P), Sequence(0), "the log stands in from its beginning");
            let found = snapshots.load(P).unwrap();
            assert_eq!(found.newest.unwrap(), Snapshot { sequence: Sequence(1), state: b"after 1".to_vec() });
            assert!(matches!(found.instead_of.unwrap().place, DamageLocation::Snapshot { .. }));
            assert_eq!((snapshots.verified().last(P), snapshots.reach().last(P)), (Sequence(1), Sequence(0)));
            snapshots.write(P, Sequence(4), b"after 4").unwrap();
            assert_eq!((newest(&snapshots).0, snapshots.reach().last(P)), (Sequence(4), Sequence(1)));
        }
    }

    #[test]
    fn what_a_crash_left_half_written_is_cleared_away() {
        let (_place, dir) = place();
        let left = dir.snapshots().join("p00003-00000000000000000009.new");
        fs::write(&left, "half").unwrap();
        assert_eq!(Snapshots::open(&dir).unwrap().load(P).unwrap(), Found::default());
        assert!(!left.exists());
    }
}

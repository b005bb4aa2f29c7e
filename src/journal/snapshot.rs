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
//! back before it counts. The last two of each partition are kept: as long as the log reaches back to the older one, it
//! can stand in for a newer one that is damaged.
//!
//! A snapshot may only hold what is durable in the log: the state after `sequence`, taken when that record is below
//! the watermark.

use super::appender::Sequences;
use super::directory::DataDir;
use super::failure::{Damage, Failure, Place};
use super::files;
use super::record::{Sequence, array};
use crate::units::PartitionId;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// The version of the snapshot format that this program writes, and the only one that it reads.
pub const SNAPSHOT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"wSNP";
const CRC_AT: usize = 24;
const HEADER: usize = 28;
/// Snapshots of a partition that are kept.
const KEPT: usize = 2;

/// The snapshots of one node. Several threads may write at a time, each for partitions of its own.
#[derive(Debug)]
pub struct Snapshots {
    place: Where,
    verified: Mutex<Sequences>,
}

#[derive(Debug)]
enum Where {
    Directory(PathBuf),
    Memory(Mutex<Newest>),
}

/// The newest snapshot of each partition.
type Newest = BTreeMap<PartitionId, (Sequence, Vec<u8>)>;

/// A snapshot that was read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that the state includes.
    pub sequence: Sequence,
    /// The state, in the encoding of whoever took it.
    pub state: Vec<u8>,
    /// A newer one that could not be used.
    pub instead_of: Option<Damage>,
}

impl Snapshots {
    /// The snapshots of a data directory.
    pub fn open(dir: &DataDir) -> Result<Snapshots, Failure> {
        Snapshots::open_at(dir.snapshots(), dir.partitions())
    }

    /// The snapshots in a directory.
    pub(super) fn open_at(path: PathBuf, partitions: u16) -> Result<Snapshots, Failure> {
        for entry in fs::read_dir(&path).map_err(Failure::io("reading", &path))? {
            let file = entry.map_err(Failure::io("reading", &path))?.path();
            if file.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&file).map_err(Failure::io("removing", &file))?;
            }
        }
        let verified = Mutex::new(Sequences::new(partitions));
        Ok(Snapshots { place: Where::Directory(path), verified })
    }

    /// Snapshots in memory, for tests and simulation: written as a whole or not at all.
    pub fn in_memory(partitions: u16) -> Snapshots {
        let place = Where::Memory(Mutex::default());
        Snapshots { place, verified: Mutex::new(Sequences::new(partitions)) }
    }

    /// Writes the state of a partition after `sequence`, which must be durable in the log, and verifies what was written.
    pub fn write(&self, partition: PartitionId, sequence: Sequence, state: &[u8]) -> Result<(), Failure> {
        match &self.place {
            Where::Memory(newest) => {
                newest.lock().expect("no holder panics").insert(partition, (sequence, state.to_vec()));
            }
            Where::Directory(dir) => {
                let path = dir.join(file_name(partition, sequence));
                files::write_durably(&path, &[&header(partition, sequence, state), state])?;
                let written = read(&path, partition)?;
                if written.0 != sequence || written.1 != state {
                    return Err(damaged(&path, "what was read back is not what was written".to_owned()));
                }
                for (_, older) in files_of(dir, partition)?.into_iter().rev().skip(KEPT) {
                    fs::remove_file(&older).map_err(Failure::io("removing", &older))?;
                }
            }
        }
        self.table().set_last(partition, sequence);
        Ok(())
    }

    /// The newest snapshot of a partition that is whole, or nothing if there never was one. It counts as verified.
    pub fn load(&self, partition: PartitionId) -> Result<Option<Snapshot>, Failure> {
        let found = match &self.place {
            Where::Memory(newest) => {
                let newest = newest.lock().expect("no holder panics");
                newest.get(&partition).map(|(sequence, state)| Snapshot {
                    sequence: *sequence,
                    state: state.clone(),
                    instead_of: None,
                })
            }
            Where::Directory(dir) => newest_whole(dir, partition)?,
        };
        if let Some(found) = &found {
            self.table().set_last(partition, found.sequence);
        }
        Ok(found)
    }

    /// The last record that a verified snapshot covers, for each partition: below that the log can be trimmed.
    pub fn verified(&self) -> Sequences {
        self.table().clone()
    }

    /// Bytes of all snapshots that are kept.
    pub fn used_bytes(&self) -> Result<u64, Failure> {
        match &self.place {
            Where::Memory(newest) => {
                Ok(newest.lock().expect("no holder panics").values().map(|(_, state)| state.len() as u64).sum())
            }
            Where::Directory(dir) => {
                let entries = fs::read_dir(dir).map_err(Failure::io("reading", dir))?;
                Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum())
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Sequences> {
        self.verified.lock().expect("no holder panics")
    }
}

fn newest_whole(dir: &Path, partition: PartitionId) -> Result<Option<Snapshot>, Failure> {
    let mut instead_of = None;
    for (sequence, path) in files_of(dir, partition)?.into_iter().rev() {
        match read(&path, partition) {
            Ok((found, state)) if found == sequence => return Ok(Some(Snapshot { sequence, state, instead_of })),
            Ok((found, _)) => {
                let fault = format!("it holds the state after record {found}");
                instead_of.get_or_insert(damage(&path, fault));
            }
            Err(Failure::Damaged(damage)) => {
                instead_of.get_or_insert(*damage);
            }
            Err(other) => return Err(other),
        }
    }
    match instead_of {
        Some(damage) => Err(Box::new(damage).into()),
        None => Ok(None),
    }
}

/// The snapshots of a partition, the oldest first.
fn files_of(dir: &Path, partition: PartitionId) -> Result<Vec<(Sequence, PathBuf)>, Failure> {
    let prefix = format!("p{:05}-", partition.0);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Failure::io("reading", dir))? {
        let entry = entry.map_err(Failure::io("reading", dir))?;
        let name = entry.file_name();
        let sequence = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".snap")?.parse().ok());
        if let Some(sequence) = sequence {
            found.push((Sequence(sequence), entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn file_name(partition: PartitionId, sequence: Sequence) -> String {
    format!("p{:05}-{:020}.snap", partition.0, sequence.0)
}

fn header(partition: PartitionId, sequence: Sequence, state: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&partition.0.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.0.to_le_bytes());
    header[16..24].copy_from_slice(&(state.len() as u64).to_le_bytes());
    let crc = checksum(&header, state);
    header[CRC_AT..HEADER].copy_from_slice(&crc.to_le_bytes());
    header
}

fn checksum(header: &[u8], state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CRC_AT]);
    hasher.update(state);
    hasher.finalize()
}

fn read(path: &Path, partition: PartitionId) -> Result<(Sequence, Vec<u8>), Failure> {
    let mut bytes = fs::read(path).map_err(Failure::io("reading", path))?;
    if bytes.len() < HEADER || bytes[0..4] != MAGIC {
        return Err(damaged(path, "it does not begin like a snapshot".to_owned()));
    }
    let state = bytes.split_off(HEADER);
    let (found, computed) = (u32::from_le_bytes(array(&bytes, CRC_AT)), checksum(&bytes, &state));
    if found != computed || u64::from_le_bytes(array(&bytes, 16)) != state.len() as u64 {
        return Err(damaged(path, format!("its checksum is {found:08x}, its bytes give {computed:08x}")));
    }
    let version = u16::from_le_bytes(array(&bytes, 4));
    if version != SNAPSHOT_VERSION {
        let what = format!("snapshot format {version}, this program reads {SNAPSHOT_VERSION}");
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
    Damage { place: Place::Snapshot { path: path.to_owned() }, fault, lost: Vec::new() }
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

    #[test]
    fn the_newest_comes_back_and_two_are_kept() {
        let (_place, dir) = place();
        let snapshots = Snapshots::open(&dir).unwrap();
        assert_eq!(snapshots.load(P).unwrap(), None);
        for sequence in [9, 10, 11] {
            snapshots.write(P, Sequence(sequence), format!("after {sequence}").as_bytes()).unwrap();
        }
        snapshots.write(PartitionId(1), Sequence(2), b"").unwrap();
        let names: Vec<Sequence> = files_of(&dir.snapshots(), P).unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, [Sequence(10), Sequence(11)]);
        let again = Snapshots::open(&dir).unwrap();
        assert_eq!(again.verified().last(P), Sequence(0), "not looked at yet");
        let found = again.load(P).unwrap().unwrap();
        assert_eq!((found.sequence, found.state.as_slice(), found.instead_of), (Sequence(11), &b"after 11"[..], None));
        assert_eq!(again.verified().last(P), Sequence(11));
        assert_eq!(again.load(PartitionId(1)).unwrap().unwrap().state, b"");
    }

    #[test]
    fn every_flipped_bit_is_seen_and_the_older_one_stands_in() {
        let (_place, dir) = place();
        let snapshots = Snapshots::open(&dir).unwrap();
        snapshots.write(P, Sequence(1), b"old").unwrap();
        snapshots.write(P, Sequence(2), b"new").unwrap();
        let newest = dir.snapshots().join(file_name(P, Sequence(2)));
        let whole = fs::read(&newest).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&newest, damaged).unwrap();
            let found = snapshots.load(P).unwrap().unwrap();
            assert_eq!((found.sequence, found.state.as_slice()), (Sequence(1), &b"old"[..]), "bit {bit}");
            assert_eq!(found.instead_of.unwrap().place, Place::Snapshot { path: newest.clone() });
        }
        fs::write(dir.snapshots().join(file_name(P, Sequence(1))), &whole).unwrap();
        assert!(matches!(snapshots.load(P), Err(Failure::Damaged(_))), "neither is what its name says");
    }

    #[test]
    fn what_a_crash_left_half_written_is_cleared_away() {
        let (_place, dir) = place();
        let left = dir.snapshots().join("p00003-00000000000000000009.new");
        fs::write(&left, "half").unwrap();
        assert_eq!(Snapshots::open(&dir).unwrap().load(P).unwrap(), None);
        assert!(!left.exists());
    }
}

//! The way out of a damaged log: everything that is whole goes into a new data directory, and the loss is named.
//!
//! Of each partition the newest whole snapshot is taken and, behind it, every record up to the first one that is missing.
//! Records behind a loss are not taken: a fact without those before it would make another story. Partitions are
//! independent of each other, as they are on the way of a reading, so one may end later than another. Settled sessions
//! come over as they are. The damaged directory is only read.

use super::appender::{Appender, Batch, Sequences};
use super::block::{self, BLOCK_HEADER, BlockHeader, Reader};
use super::checkpoint;
use super::directory::DataDir;
use super::failure::{Failure, Lost};
use super::files;
use super::log::Log;
use super::record::{Assembly, Record, Sequence};
use super::sled::{SledStore, closed_segments};
use super::snapshot::Snapshots;
use super::store::{Checkpoint, Store};
use crate::units::PartitionId;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Result of a rescue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rescued {
    /// Records that were written behind the snapshots.
    pub records: u64,
    /// Files of the archive.
    pub archive_files: u64,
    /// Lost records, as far as later ones show them.
    pub lost: Vec<Lost>,
    /// Further faults, one sentence each.
    pub damage: Vec<String>,
    /// Every partition that has anything.
    pub partitions: Vec<RescuedPartition>,
}

/// Result for one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RescuedPartition {
    /// Its number.
    pub partition: u16,
    /// The last record that its snapshot covers; 0 without one.
    pub snapshot_at: u64,
    /// The last rescued record.
    pub good_to: u64,
    /// Whole records behind a loss, which did not.
    pub left_behind: u64,
}

/// Writes intact data in the data directory `from` into a new one.
///
/// # Errors
/// The old directory cannot be read or is in use, or the new one has data already or cannot be written.
pub fn rescue(from: &Path, to: &Path) -> Result<Rescued, Failure> {
    let dir = DataDir::open_any(from)?;
    let mut rescued = Rescued::default();
    // Without the mark blocks that were let go long ago may be found, too; the snapshots cover those.
    let (first_block, known_end) = match checkpoint::read(&dir.mark()) {
        Ok(mark) => mark.map_or((0, 0), |mark| (mark.first_block, mark.next_block)),
        Err(Failure::Damaged(damage)) => {
            rescued.damage.push(damage.to_string());
            (0, 0)
        }
        Err(other) => return Err(other),
    };
    let mut past = closed_segments::read_all(&dir, first_block)?;
    let mut new = DataDir::create_in(dir.version(), to, dir.layout())?;
    if let Some(owner) = dir.owner() {
        new.claim(owner)?;
    }
    let base = copy_snapshots(&dir, &new, &mut rescued)?;
    rescued.archive_files = copy_archive(&dir, &new)?;

    let mut log = begin_log(&new, &base)?;
    let mut pick = Pick::new(&base);
    let mut group = Group::default();
    closed_segments::replay(&mut past, &(first_block..u64::MAX), &mut |number, bytes| match block::parse(bytes) {
        Ok(header) if header.number == number => {
            if group.blocks.first().is_some_and(|(first, _)| first.group != header.group) {
                pick.take(&mut log, group.hand_over())?;
            }
            group.blocks.push((header, bytes[BLOCK_HEADER..].to_vec()));
            Ok(())
        }
        _ => Ok(()),
    })?;
    // A last group without an end was in progress and not acknowledged, unless the mark covers it.
    if group.blocks.last().is_some_and(|(last, _)| last.last || last.number < known_end) {
        pick.take(&mut log, group.hand_over())?;
    }
    pick.commit(&mut log)?;
    log.close()?;
    pick.report(&base, &mut rescued);
    Ok(rescued)
}

/// The blocks of the group commit that is being read.
#[derive(Default)]
struct Group {
    blocks: Vec<(BlockHeader, Vec<u8>)>,
}

impl Group {
    fn hand_over(&mut self) -> Vec<(BlockHeader, Vec<u8>)> {
        std::mem::take(&mut self.blocks)
    }
}

/// Takes the records that continue their partition.
struct Pick {
    appender: Appender,
    assembly: Assembly,
    /// Of each partition the last record that was read without a loss before it, the last that is written (those differ
    /// within a payload of several records), and where a later one was seen.
    read: Vec<u64>,
    seen: Vec<u64>,
    left_behind: Vec<u64>,
    lost: Vec<Lost>,
    records: u64,
}

impl Pick {
    fn new(base: &Sequences) -> Pick {
        let read: Vec<u64> = base.iter().map(|(_, last)| last.0).collect();
        Pick {
            appender: Appender::new(base.clone()),
            assembly: Assembly::default(),
            seen: read.clone(),
            left_behind: vec![0; read.len()],
            read,
            lost: Vec::new(),
            records: 0,
        }
    }

    fn take(&mut self, log: &mut Log, blocks: Vec<(BlockHeader, Vec<u8>)>) -> Result<(), Failure> {
        let mut reader = Reader::default();
        for (_, content) in &blocks {
            // A block whose checksum is right holds whole records.
            for record in reader.read(content).into_iter().flatten().flatten() {
                self.take_record(log, record)?;
            }
        }
        Ok(())
    }

    fn take_record(&mut self, log: &mut Log, record: Record<'_>) -> Result<(), Failure> {
        let (at, sequence, partition) = (usize::from(record.partition.0), record.sequence.0, record.partition);
        let Some(seen) = self.seen.get_mut(at).filter(|seen| sequence > **seen) else { return Ok(()) };
        if sequence > *seen + 1 {
            self.lost.push(Lost { partition, first: *seen + 1, last: sequence - 1 });
        }
        *seen = sequence;
        if sequence != self.read[at] + 1 {
            self.left_behind[at] += 1;
            return Ok(());
        }
        self.read[at] = sequence;
        if self.appender.reserve().is_err() {
            self.commit(log)?;
        }
        if let Some(whole) = self.assembly.take(record) {
            let mut permit = self.appender.reserve().expect("everything before is committed");
            permit.append(partition, whole.kind, |out| out.extend_from_slice(whole.payload));
            self.records += 1;
        }
        Ok(())
    }

    fn commit(&mut self, log: &mut Log) -> Result<(), Failure> {
        let Some(batch) = self.appender.take_batch() else { return Ok(()) };
        log.commit(std::slice::from_ref::<Batch>(&batch))?;
        self.appender.committed(batch);
        Ok(())
    }

    fn report(mut self, base: &Sequences, rescued: &mut Rescued) {
        self.lost.sort_by_key(|lost| (lost.partition, lost.first));
        (rescued.lost, rescued.records) = (self.lost, self.records);
        for (partition, snapshot) in base.iter() {
            let good_to = self.appender.sequence(partition).0;
            let left_behind = self.left_behind[usize::from(partition.0)];
            if good_to > 0 || left_behind > 0 {
                let (partition, snapshot_at) = (partition.0, snapshot.0);
                rescued.partitions.push(RescuedPartition { partition, snapshot_at, good_to, left_behind });
            }
        }
    }
}

/// The newest whole snapshot of each partition, and where it stands.
fn copy_snapshots(dir: &DataDir, new: &DataDir, rescued: &mut Rescued) -> Result<Sequences, Failure> {
    let (old, new) = (Snapshots::open(dir)?, Snapshots::open(new)?);
    let mut base = Sequences::new(dir.partitions());
    for partition in (0..dir.partitions()).map(PartitionId) {
        let found = old.load(partition)?;
        rescued.damage.extend(found.instead_of.map(|damage| damage.to_string()));
        if let Some(newest) = found.newest {
            // One stands in for the other.
            new.write(partition, newest.sequence, &newest.state)?;
            new.write(partition, newest.sequence, &newest.state)?;
            base.set_last(partition, newest.sequence);
        }
    }
    Ok(base)
}

/// Returns the number of files.
pub(super) fn copy_archive(dir: &DataDir, new: &DataDir) -> Result<u64, Failure> {
    let mut copied = 0;
    let archive = dir.archive();
    for entry in fs::read_dir(&archive).map_err(Failure::io("reading", &archive))? {
        let path = entry.map_err(Failure::io("reading", &archive))?.path();
        if let Some(name) = path.file_name() {
            let to = new.archive().join(name);
            fs::copy(&path, &to)
                .and_then(|_| fs::File::open(&to)?.sync_all())
                .map_err(Failure::io("copying to", &to))?;
            copied += 1;
        }
    }
    files::sync_dir(&new.archive())?;
    Ok(copied)
}

/// An empty log behind these snapshots. It begins with the second generation: with the first block each partition would
/// have to begin with its first record.
pub(super) fn begin_log(new: &DataDir, base: &Sequences) -> Result<Log, Failure> {
    let mut store = SledStore::open(new)?;
    let begins = store.generation_blocks();
    let floor = base.iter().map(|(_, Sequence(last))| last).collect();
    store.set_mark(Checkpoint { open_count: 0, first_block: begins, next_block: begins, last_crc: 0, floor })?;
    let (log, _) = Log::open(Box::new(store), base, &mut |_| Ok(()))?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::super::directory::Layout;
    use super::super::{Archive, RecordKind, recover, verify};
    use super::*;
    use crate::units::{SessionId, Timestamp};
    use std::path::PathBuf;

    const LAYOUT: Layout = Layout { partitions: 4, generation_blocks: 16 };

    fn commit(log: &mut Log, appender: &mut Appender, partitions: &[u16], text: &str) {
        for partition in partitions {
            let mut permit = appender.reserve().unwrap();
            permit.append(PartitionId(*partition), RecordKind::SessionEvent, |out| out.extend(text.bytes()));
        }
        let batch = appender.take_batch().unwrap();
        log.commit(std::slice::from_ref(&batch)).unwrap();
        appender.committed(batch);
    }

    /// Forty groups of a block each: partition 0 has a record in every one, partition 1 in the first ten, partition 2 in
    /// every second one; of partition 2 there is a snapshot. Two processes wrote them.
    fn filled(path: &Path) {
        let dir = DataDir::create(path, LAYOUT).unwrap();
        for half in 0..2 {
            let store = Box::new(SledStore::open(&dir).unwrap());
            let (mut log, _) = Log::open(store, &Sequences::new(4), &mut |_| Ok(())).unwrap();
            let mut appender = Appender::new(log.sequences().clone());
            for number in half * 20..half * 20 + 20 {
                let partitions: &[u16] = match (number < 10, number % 2 == 0) {
                    (true, true) => &[0, 1, 2],
                    (true, false) => &[0, 1],
                    (false, true) => &[0, 2],
                    (false, false) => &[0],
                };
                commit(&mut log, &mut appender, partitions, &format!("text {number}"));
            }
            log.close().unwrap();
        }
        Snapshots::open(&dir).unwrap().write(PartitionId(2), Sequence(15), b"state").unwrap();
        let archive = Archive::open(&dir).unwrap();
        archive.put(SessionId::from_u128(1 << 16), Timestamp::from_unix_ms(1), b"history").unwrap();
        archive.sync().unwrap();
    }

    fn files(log: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path().join("db")).collect();
        found.sort();
        found
    }

    /// Damages the block with this number.
    fn spoil(log: &Path, number: u64) {
        for file in files(log) {
            let mut bytes = fs::read(&file).unwrap();
            let mut at = 0;
            while let Some(next) = block::find(&bytes[at..]) {
                at += next;
                if block::parse_first(&bytes[at..]).is_ok_and(|(header, _)| header.number == number) {
                    bytes[at + BLOCK_HEADER + 3] ^= 1;
                }
                at += 1;
            }
            fs::write(&file, bytes).unwrap();
        }
    }

    #[derive(Default)]
    struct Replayed(Vec<(u16, u64, String)>);

    impl super::super::Replay for Replayed {
        fn snapshot(&mut self, partition: PartitionId, sequence: Sequence, state: &[u8]) -> Result<(), String> {
            self.0.push((partition.0, sequence.0, String::from_utf8_lossy(state).into_owned()));
            Ok(())
        }
        fn record(&mut self, record: Record<'_>) -> Result<(), String> {
            let text = String::from_utf8_lossy(record.payload).into_owned();
            self.0.push((record.partition.0, record.sequence.0, text));
            Ok(())
        }
    }

    #[test]
    fn a_hole_is_named_by_partition_and_everything_else_is_rescued() {
        let place = tempfile::tempdir().unwrap();
        let (data, new) = (place.path().join("data"), place.path().join("new"));
        filled(&data);
        spoil(&data.join("log"), 30);
        let found = verify(&data).unwrap();
        assert!(!found.whole);
        assert!(found.damage[0].starts_with("the log is damaged: block 30 has checksum "), "{:?}", found.damage);
        assert!(found.damage[0].contains("blocks 30 to 30 cannot be read"), "{:?}", found.damage);
        // Record 31 of partition 0 was in it. So was record 16 of partition 2, which no snapshot covers.
        let lost = [(0, 31), (2, 16)].map(|(p, n)| Lost { partition: PartitionId(p), first: n, last: n });
        assert_eq!(found.lost, lost);
        let left: Vec<(u16, u64, u64)> =
            found.left.iter().map(|left| (left.partition.0, left.good_to, left.after)).collect();
        assert_eq!(left, [(0, 30, 9), (1, 10, 0), (2, 15, 4)]);

        let rescued = rescue(&data, &new).unwrap();
        assert_eq!((rescued.lost.as_slice(), rescued.records, rescued.archive_files), (&lost[..], 40, 1));
        let good_to: Vec<(u16, u64)> = rescued.partitions.iter().map(|each| (each.partition, each.good_to)).collect();
        assert_eq!(good_to, [(0, 30), (1, 10), (2, 15)]);
        let found = verify(&new).unwrap();
        assert!(found.whole, "{:?}", found.damage);
        assert_eq!((found.records, found.archived_sessions), (40, 1));
        let dir = DataDir::open(&new).unwrap();
        let snapshots = Snapshots::open(&dir).unwrap();
        let store = Box::new(SledStore::open(&dir).unwrap());
        let (mut log, replayed, _) = recover(store, &snapshots, vec![Replayed::default()], &|_| ()).unwrap();
        assert_eq!(replayed[0].0.len(), 41);
        assert!(replayed[0].0.contains(&(2, 15, "state".to_owned())));
        // The log continues.
        let mut appender = Appender::new(log.sequences().clone());
        commit(&mut log, &mut appender, &[0, 1, 2, 3], "on it goes");
        log.close().unwrap();
        drop((dir, snapshots));
        assert!(verify(&new).unwrap().whole);
    }

    #[test]
    fn a_hole_that_a_snapshot_covers_loses_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (data, new) = (place.path().join("data"), place.path().join("new"));
        filled(&data);
        let dir = DataDir::open(&data).unwrap();
        Snapshots::open(&dir).unwrap().write(PartitionId(0), Sequence(35), b"state").unwrap();
        Snapshots::open(&dir).unwrap().write(PartitionId(2), Sequence(18), b"state").unwrap();
        drop(dir);
        spoil(&data.join("log"), 30);
        assert_eq!(verify(&data).unwrap().lost, []);
        let rescued = rescue(&data, &new).unwrap();
        assert_eq!(rescued.lost, []);
        let good_to: Vec<(u16, u64)> = rescued.partitions.iter().map(|each| (each.partition, each.good_to)).collect();
        assert_eq!(good_to, [(0, 40), (1, 10), (2, 20)]);
        assert!(verify(&new).unwrap().whole);
    }

    #[test]
    fn without_its_mark_a_log_is_rescued_as_far_as_it_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let (data, new) = (place.path().join("data"), place.path().join("new"));
        filled(&data);
        fs::write(data.join("mark"), "nonsense").unwrap();
        assert!(!verify(&data).unwrap().whole);
        let rescued = rescue(&data, &new).unwrap();
        assert_eq!((rescued.lost.len(), rescued.damage.len()), (0, 1));
        assert_eq!(rescued.partitions[0].good_to, 40);
        assert!(rescue(&data, &new).is_err(), "never over data that is there");
    }
}

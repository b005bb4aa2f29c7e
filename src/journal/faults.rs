//! A disk that does what disks do at their worst, from a seed: for tests and for the simulator.
//!
//! It keeps blocks twice: in the page cache, which a process sees, and on the platter, which a loss of power leaves.
//! Between two syncs a loss of power keeps any subset of the blocks, and any part of each. Faults can be planned for the
//! n-th operation, once or for good.

use super::failure::Failure;
use super::store::{BlockReader, BlockVisitor, Checkpoint, Store};
use crate::units::rng::Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// A simulated disk. A clone is another hand on the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    disk: Arc<Mutex<Disk>>,
}

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with an input/output error. A sync that fails has made nothing durable, and what it would
    /// have made durable is gone from the page cache's list of things to write.
    InputOutput,
    /// The operation fails because the disk is full.
    Full,
    /// A sync reports success and does nothing.
    Lie,
}

/// Counts of a disk's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Blocks appended.
    pub appends: u64,
    /// Syncs, the failed ones included.
    pub syncs: u64,
}

#[derive(Debug)]
struct Disk {
    generation_blocks: u64,
    rng: Rng,
    /// Blocks that survive.
    platter: Blocks,
    /// Blocks written since the last sync.
    cache: Blocks,
    /// Blocks dropped since the last sync, which may come back.
    dropped: Blocks,
    mark: Option<Checkpoint>,
    done: Operations,
    /// Counts starts of the process: a store of an earlier one does nothing any more.
    life: u64,
    planned: Option<Planned>,
}

/// Blocks by their numbers, with the sum of their lengths: a log asks for it at every record, and may be long.
#[derive(Clone, Debug, Default)]
struct Blocks {
    by_number: BTreeMap<u64, Vec<u8>>,
    bytes: u64,
}

impl Blocks {
    fn insert(&mut self, number: u64, block: Vec<u8>) {
        self.bytes += length(&block);
        if let Some(before) = self.by_number.insert(number, block) {
            self.bytes -= length(&before);
        }
    }

    fn insert_if_absent(&mut self, number: u64, block: Vec<u8>) {
        if !self.by_number.contains_key(&number) {
            self.insert(number, block);
        }
    }

    fn extend(&mut self, blocks: Blocks) {
        blocks.by_number.into_iter().for_each(|(number, block)| self.insert(number, block));
    }

    /// Keeps the blocks below `first` and returns the others.
    fn split_off(&mut self, first: u64) -> Blocks {
        let by_number = self.by_number.split_off(&first);
        let bytes = by_number.values().map(|block| length(block)).sum();
        self.bytes -= bytes;
        Blocks { by_number, bytes }
    }
}

fn length(block: &[u8]) -> u64 {
    block.len() as u64
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    /// At the operation with this number, appends and syncs counted together from 0.
    at: u64,
    fault: Fault,
    /// Whether it stays.
    for_good: bool,
}

impl SimulatedDisk {
    /// An empty disk whose faults are derived from the seed.
    pub fn new(seed: u64, generation_blocks: u64) -> SimulatedDisk {
        let disk = Disk {
            generation_blocks,
            rng: Rng::new(seed),
            platter: Blocks::default(),
            cache: Blocks::default(),
            dropped: Blocks::default(),
            mark: None,
            done: Operations::default(),
            life: 0,
            planned: None,
        };
        SimulatedDisk { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Opens the store on this disk, as a process does that starts. A store that was opened before is that of a process
    /// that has ended, and fails from now on.
    pub fn store(&self) -> Box<dyn Store> {
        let mut disk = self.lock();
        disk.life += 1;
        Box::new(SimulatedStore { life: disk.life, disk: self.clone() })
    }

    /// Ends the process; the system and its page cache go on.
    pub fn kill(&self) {
        self.lock().life += 1;
    }

    /// The power fails: of what was not synced any part survives.
    pub fn power_cut(&self) {
        let mut disk = self.lock();
        let disk = &mut *disk;
        disk.life += 1;
        for (number, block) in std::mem::take(&mut disk.cache).by_number {
            match disk.rng.below(4) {
                0 => disk.platter.insert(number, block),
                1 => disk.platter.insert(number, torn(&mut disk.rng, block)),
                // Overwritten in place or not written at all: what was there before stays, if anything was.
                _ => (),
            }
        }
        for (number, block) in std::mem::take(&mut disk.dropped).by_number {
            if disk.rng.below(2) == 0 {
                disk.platter.insert_if_absent(number, block);
            }
        }
    }

    /// Plans a fault for the operation with this number (appends and syncs counted together from the beginning of the
    /// disk, the first one is 0), for that one or for it and all that follow.
    pub fn plan(&self, at: u64, fault: Fault, for_good: bool) {
        self.lock().planned = Some(Planned { at, fault, for_good });
    }

    /// The disk is repaired: no fault is planned any more.
    pub fn repair(&self) {
        self.lock().planned = None;
    }

    /// Flips a bit of a block at rest, and returns whether there was such a bit.
    pub fn flip_bit(&self, number: u64, bit: usize) -> bool {
        match self.lock().platter.by_number.get_mut(&number).and_then(|block| block.get_mut(bit / 8)) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                true
            }
            None => false,
        }
    }

    /// Another disk with the same blocks at rest, and other faults.
    pub fn copy(&self) -> SimulatedDisk {
        let disk = self.lock();
        let copy = Disk {
            generation_blocks: disk.generation_blocks,
            rng: disk.rng.clone(),
            platter: disk.platter.clone(),
            cache: disk.cache.clone(),
            dropped: Blocks::default(),
            mark: disk.mark.clone(),
            done: disk.done,
            life: 0,
            planned: None,
        };
        SimulatedDisk { disk: Arc::new(Mutex::new(copy)) }
    }

    /// The blocks of the log at rest with their lengths in bytes; without those that were trimmed and came back.
    pub fn at_rest(&self) -> Vec<(u64, usize)> {
        let disk = self.lock();
        let first = disk.mark.as_ref().map_or(0, |mark| mark.first_block);
        disk.platter.by_number.range(first..).map(|(number, block)| (*number, block.len())).collect()
    }

    /// Counts of its operations.
    pub fn operations(&self) -> Operations {
        self.lock().done
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no holder panics")
    }
}

/// Some of a block: cut off, with zeros, or with garbage from some place on.
fn torn(rng: &mut Rng, mut block: Vec<u8>) -> Vec<u8> {
    let from = rng.index(block.len());
    match rng.below(3) {
        0 => block.truncate(from),
        1 => block[from..].fill(0),
        _ => block[from..].iter_mut().for_each(|byte| *byte = rng.bits().to_le_bytes()[0]),
    }
    block
}

impl Disk {
    /// Counts an operation and returns its fault.
    fn fault(&mut self) -> Option<Fault> {
        let now = self.done.appends + self.done.syncs;
        let planned = self.planned?;
        let due = planned.at == now || (planned.for_good && planned.at <= now);
        due.then_some(planned.fault)
    }
}

struct SimulatedStore {
    life: u64,
    disk: SimulatedDisk,
}

impl SimulatedStore {
    /// The disk, unless this store's process has ended.
    fn disk(&self) -> Result<MutexGuard<'_, Disk>, Failure> {
        let disk = self.disk.lock();
        if disk.life == self.life { Ok(disk) } else { Err(failure("using", io::ErrorKind::BrokenPipe)) }
    }
}

fn failure(doing: &'static str, kind: io::ErrorKind) -> Failure {
    Failure::io(doing, &PathBuf::from("the simulated disk"))(kind.into())
}

impl BlockReader for SimulatedStore {
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        let seen = {
            let disk = self.disk()?;
            let mut seen = disk.platter.clone();
            seen.extend(disk.cache.clone());
            seen.by_number
        };
        seen.iter().try_for_each(|(number, block)| visit(*number, block))
    }
}

impl Store for SimulatedStore {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        let mut disk = self.disk()?;
        let fault = disk.fault();
        disk.done.appends += 1;
        match fault {
            Some(Fault::InputOutput) => Err(failure("writing", io::ErrorKind::Other)),
            Some(Fault::Full) => Err(failure("writing", io::ErrorKind::StorageFull)),
            Some(Fault::Lie) | None => {
                disk.cache.insert(number, block.to_vec());
                Ok(())
            }
        }
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let mut disk = self.disk()?;
        let fault = disk.fault();
        disk.done.syncs += 1;
        match fault {
            Some(Fault::InputOutput) => {
                // As Linux does: the pages are marked clean, and a second sync would report success.
                disk.cache = Blocks::default();
                Err(failure("syncing", io::ErrorKind::Other))
            }
            Some(Fault::Full) => Err(failure("syncing", io::ErrorKind::StorageFull)),
            Some(Fault::Lie) => Ok(()),
            None => {
                let written = std::mem::take(&mut disk.cache);
                disk.platter.extend(written);
                disk.dropped = Blocks::default();
                Ok(())
            }
        }
    }

    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        BlockReader::replay(self, visit)
    }

    fn reader(&self) -> Box<dyn BlockReader> {
        Box::new(SimulatedStore { life: self.life, disk: self.disk.clone() })
    }

    fn cut(&mut self, from: u64) -> Result<(), Failure> {
        let mut disk = self.disk()?;
        disk.platter.split_off(from);
        disk.cache.split_off(from);
        Ok(())
    }

    fn drop_below(&mut self, number: u64) -> Result<(), Failure> {
        let mut disk = self.disk()?;
        let first = number / disk.generation_blocks * disk.generation_blocks;
        let kept = disk.platter.split_off(first);
        let dropped = std::mem::replace(&mut disk.platter, kept);
        disk.dropped.extend(dropped);
        disk.cache = disk.cache.split_off(first);
        Ok(())
    }

    fn generation_blocks(&self) -> u64 {
        self.disk.lock().generation_blocks
    }

    fn whole_blocks(&self) -> bool {
        false
    }

    fn mark(&self) -> Option<Checkpoint> {
        self.disk.lock().mark.clone()
    }

    fn set_mark(&mut self, mark: Checkpoint) -> Result<(), Failure> {
        self.disk()?.mark = Some(mark);
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        let disk = self.disk.lock();
        disk.platter.bytes + disk.cache.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Appender, Batch, Log, RecordKind, Sequences, conformance};
    use super::*;
    use crate::units::PartitionId;

    const PARTITIONS: u16 = 3;

    #[test]
    fn the_simulated_disk_keeps_the_contract_of_a_store() {
        let mut seed = 0;
        conformance::check(|| {
            seed += 1;
            let disk = SimulatedDisk::new(seed, u64::from(conformance::GENERATION_BLOCKS));
            move || disk.store()
        });
    }

    /// A process that records numbers and keeps those that were confirmed.
    struct Process {
        disk: SimulatedDisk,
        rng: Rng,
        /// Records confirmed, by partition.
        confirmed: [u64; PARTITIONS as usize],
        /// Records handed in, by partition.
        handed_in: [u64; PARTITIONS as usize],
    }

    impl Process {
        /// Runs until the disk fails or its time is up, then restarts: every confirmed number is there, none that was
        /// never recorded is there, and each partition is a run without holes.
        fn live(&mut self, commits: u64) -> Result<(), Failure> {
            let mut found = [0; PARTITIONS as usize];
            let (mut log, _) = Log::open(self.disk.store(), &Sequences::new(PARTITIONS), &mut |record| {
                let place = usize::from(record.partition.0);
                assert_eq!(record.payload[..8], record.sequence.0.to_le_bytes(), "a record is what was handed in");
                found[place] += 1;
                assert_eq!(found[place], record.sequence.0);
                Ok(())
            })?;
            for (place, found) in found.iter().enumerate() {
                let kept = self.confirmed[place]..=self.handed_in[place];
                assert!(kept.contains(found), "partition {place}: {found} is not in {kept:?}");
            }
            self.handed_in = found;
            let mut appender = Appender::new(log.sequences().clone());
            for _ in 0..commits {
                let batch = self.batch(&mut appender);
                log.commit(std::slice::from_ref(&batch))?;
                appender.committed(batch);
                self.confirmed = self.handed_in;
            }
            Ok(())
        }

        fn batch(&mut self, appender: &mut Appender) -> Batch {
            for _ in 0..=self.rng.below(40) {
                let place = self.rng.index(usize::from(PARTITIONS));
                let length = self.rng.index(6000);
                self.handed_in[place] += 1;
                let number = self.handed_in[place];
                let partition = PartitionId(u16::try_from(place).unwrap());
                appender.reserve().unwrap().append(partition, RecordKind::SessionEvent, |out| {
                    out.extend(number.to_le_bytes());
                    out.resize(out.len() + length, 0x77);
                });
            }
            appender.take_batch().unwrap()
        }
    }

    fn process(seed: u64) -> Process {
        Process {
            disk: SimulatedDisk::new(seed, 16),
            rng: Rng::new(!seed),
            confirmed: [0; PARTITIONS as usize],
            handed_in: [0; PARTITIONS as usize],
        }
    }

    #[test]
    fn nothing_confirmed_is_lost_whatever_fails_and_whenever_the_power_goes() {
        for seed in 0..150 {
            let mut process = process(seed);
            for _ in 0..8 {
                let commits = process.rng.below(12);
                let at = process.disk.operations().appends + process.disk.operations().syncs + process.rng.below(40);
                let fault = if process.rng.below(2) == 0 { Fault::InputOutput } else { Fault::Full };
                process.disk.plan(at, fault, process.rng.below(2) == 0);
                match process.live(commits) {
                    Ok(()) | Err(Failure::Io { .. } | Failure::Full { .. }) => {}
                    Err(other) => panic!("seed {seed}: {other}"),
                }
                process.disk.repair();
                match process.rng.below(3) {
                    0 => process.disk.kill(),
                    _ => process.disk.power_cut(),
                }
            }
            process.live(0).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        }
    }

    #[test]
    fn a_disk_that_lies_about_syncing_is_found_out_when_the_log_comes_up_short() {
        let mut found_out = 0;
        for seed in 0..50 {
            let mut process = process(seed);
            process.live(4).unwrap();
            let now = process.disk.operations();
            process.disk.plan(now.appends + now.syncs, Fault::Lie, true);
            process.live(4).unwrap();
            // An orderly end sets the mark, which names more than the platter has.
            Log::open(process.disk.store(), &Sequences::new(PARTITIONS), &mut |_| Ok(())).unwrap().0.close().unwrap();
            process.disk.repair();
            process.disk.power_cut();
            let opened = Log::open(process.disk.store(), &Sequences::new(PARTITIONS), &mut |_| Ok(()));
            found_out += u32::from(matches!(opened, Err(Failure::Damaged(_))));
        }
        assert_eq!(found_out, 50);
    }

    #[test]
    fn the_same_seed_is_the_same_misfortune() {
        let story = |seed| {
            let mut process = process(seed);
            process.live(9).unwrap();
            process.disk.power_cut();
            process.live(3).unwrap();
            (process.confirmed, process.disk.operations())
        };
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn a_process_that_has_ended_writes_no_more() {
        let disk = SimulatedDisk::new(1, 8);
        let mut former = disk.store();
        let mut present = disk.store();
        assert!(former.append(0, b"late").is_err());
        present.append(0, b"now").unwrap();
        disk.kill();
        assert!(present.sync().is_err());
    }
}

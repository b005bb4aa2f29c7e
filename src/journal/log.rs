//! The log: group commit over one store.
//!
//! One commit takes the batches of any number of shards, packs their records back to back into blocks, appends those
//! and syncs once. What it confirms is durable; what it does not confirm may be there after a restart or not, but
//! only as a whole. After any failure the log is unusable, and the process that owns it ends.

use super::appender::{Batch, Sequences};
use super::block::{self, BLOCK_MAX, BlockFault, BlockHeader, List, Reader};
use super::failure::{Damage, Failure};
use super::record::{self, Assembly, Record, RecordKind, Sequence};
use super::scan::{self, Blocks, End, Torn};
use super::store::{BlockReader, Checkpoint, Store};
use crate::limits;
use crate::units::PartitionId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Result of one commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// Records.
    pub records: u64,
    /// Blocks that hold them.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub bytes: u64,
}

/// Result of opening a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whole blocks in the log.
    pub blocks: u64,
    /// Records in them, those below the snapshots included.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The torn tail that was cut away, if there was one.
    pub torn: Option<Torn>,
    /// Snapshots that could not be used; older ones (and more of the log) were read instead.
    pub damaged: Vec<Damage>,
}

/// A place in the log: behind so many records of a block. It stays what it is over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The block.
    pub block: u64,
    /// Records of it, this one included.
    pub index: u16,
}

/// A durable record that is kept for observers. Its place is that of its last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its place in the log.
    pub at: LogPosition,
    /// The stream that it belongs to.
    pub partition: PartitionId,
    /// Its place there.
    pub sequence: Sequence,
    /// Kind of its payload.
    pub kind: RecordKind,
    /// The fact.
    pub payload: Box<[u8]>,
}

impl KeptRecord {
    fn of(record: &Record<'_>, at: LogPosition) -> KeptRecord {
        let Record { partition, sequence, kind, payload, goes_on: _ } = *record;
        KeptRecord { at, partition, sequence, kind, payload: payload.into() }
    }

    /// As the log has it.
    pub fn record(&self) -> Record<'_> {
        let KeptRecord { at: _, partition, sequence, kind, payload } = self;
        Record { partition: *partition, sequence: *sequence, kind: *kind, payload, goes_on: false }
    }
}

/// Whether a record is kept for observers.
pub type IsKept = fn(RecordKind, &[u8]) -> bool;

/// Records that are kept for observers, on their way to be durable.
struct Keeping {
    is_kept: IsKept,
    assembly: Assembly,
    records: Vec<KeptRecord>,
}

impl Keeping {
    #[inline]
    fn note(&mut self, record: Record<'_>, at: LogPosition) {
        let Keeping { is_kept, assembly, records } = self;
        if let Some(whole) = assembly.take(record)
            && is_kept(whole.kind, whole.payload)
        {
            records.push(KeptRecord::of(&whole, at));
        }
    }
}

/// The log as it is between two commits, for another thread to read while it goes on being written. Nothing may be trimmed
/// until it has been read.
pub struct LogView {
    pub(super) mark: Checkpoint,
    pub(super) generation_blocks: u64,
    pub(super) reader: Box<dyn BlockReader>,
}

/// The log of one node. One owner, no threads of its own beyond its store's.
pub struct Log {
    store: Box<dyn Store>,
    block: Vec<u8>,
    /// Which partitions the block has.
    list: List,
    open_count: u32,
    next_block: u64,
    last_crc: u32,
    /// The last record of each partition that was handed in.
    sequences: Sequences,
    /// The sequences at the end of each full generation that is kept.
    generations: VecDeque<(u64, Sequences)>,
    first_block: u64,
    floor: Vec<u64>,
    marked_block: u64,
    /// What is kept for observers.
    keeping: Option<Keeping>,
    /// Time that the last commit waited for the disk.
    synced: Duration,
    dead: bool,
}

impl LogView {
    /// The first block that was kept when the view was taken.
    pub fn first_block(&self) -> u64 {
        self.mark.first_block
    }

    /// Shows the kept records behind a position, up to where the log was when the view was taken, until the visitor returns
    /// false. Blocks may be trimmed meanwhile.
    ///
    /// # Errors
    /// A block cannot be read, or is not there any more.
    pub fn facts_behind(
        &mut self,
        after: LogPosition,
        is_kept: IsKept,
        visit: &mut dyn FnMut(KeptRecord) -> bool,
    ) -> Result<(), Failure> {
        let below = self.mark.next_block;
        let (mut reader, mut assembly) = (Reader::default(), Assembly::default());
        let (mut goes_on, mut expected) = (true, after.block);
        let replayed = self.reader.replay(&mut |number, bytes| {
            if number < after.block || number >= below {
                return Ok(());
            }
            let damaged = |fault: BlockFault| Failure::Damaged(Box::new(Damage::block(number, &fault)));
            if number != expected {
                return Err(damaged(BlockFault::Missing));
            }
            expected += 1;
            block::parse(bytes).map_err(damaged)?;
            for (index, record) in (1..).zip(reader.read(&bytes[block::BLOCK_HEADER..]).map_err(damaged)?) {
                let at = LogPosition { block: number, index };
                if let Some(whole) = assembly.take(record.map_err(damaged)?)
                    && at > after
                    && is_kept(whole.kind, whole.payload)
                    && !visit(KeptRecord::of(&whole, at))
                {
                    goes_on = false;
                    // The replay ends here; this is no failure.
                    return Err(Failure::Dead);
                }
            }
            Ok(())
        });
        if goes_on { replayed } else { Ok(()) }
    }
}

impl Log {
    /// Opens the log in `store`, verifies all of it, cuts a torn tail away, and shows each record above `base` (the
    /// sequences of the snapshots) to `visit`, in the order of its partition. A log that was never written is empty.
    ///
    /// # Errors
    /// [`Failure`]: the store fails, the log is damaged, or `visit` refuses a record.
    pub fn open(
        mut store: Box<dyn Store>,
        base: &Sequences,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), String>,
    ) -> Result<(Log, Recovered), Failure> {
        let (mut assembly, mut reader) = (Assembly::default(), Reader::default());
        let mut deliver = |blocks: &mut Blocks| {
            visit_blocks(
                blocks,
                &mut reader,
                &mut assembly,
                |record| record.sequence > base.last(record.partition),
                visit,
            )
        };
        let end = scan::scan(store.as_mut(), base, &mut deliver)?;
        Log::continue_at(store, end)
    }

    /// The log behind an end that was found, ready to be written: the torn tail is cut, the open count is ours.
    pub(super) fn continue_at(mut store: Box<dyn Store>, end: End) -> Result<(Log, Recovered), Failure> {
        if let Some(torn) = &end.torn {
            store.cut(torn.from_block)?;
        }
        // The last groups may be in the page cache only: a process that was killed before its sync leaves them there.
        // The mark and all replies may depend on them only after this sync.
        store.sync()?;
        let Checkpoint { first_block, floor, .. } = store.mark().unwrap_or_default();
        let damaged = Vec::new();
        let recovered =
            Recovered { blocks: end.blocks, records: end.records, bytes: end.bytes, torn: end.torn, damaged };
        let mut log = Log {
            store,
            block: Vec::with_capacity(BLOCK_MAX),
            list: List::new(end.sequences.partitions()),
            open_count: end.open_count + 1,
            next_block: end.next_block,
            last_crc: end.last_crc,
            sequences: end.sequences,
            generations: end.generations.into(),
            first_block,
            floor,
            marked_block: 0,
            keeping: None,
            synced: Duration::ZERO,
            dead: false,
        };
        log.set_mark()?;
        Ok((log, recovered))
    }

    /// Writes the records of these batches and makes them durable. They stand in the log in the order of the slice.
    ///
    /// Batches that are more than [`limits::GROUP_BYTES_MAX`] together take more than one sync. An error is final.
    ///
    /// # Errors
    /// The store fails; the log must not be used afterwards.
    pub fn commit(&mut self, batches: &[Batch]) -> Result<Durable, Failure> {
        self.synced = Duration::ZERO;
        self.while_alive(|log| {
            let mut durable = Durable::default();
            let mut rest = batches;
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |batch: &&Batch| {
                    bytes += batch.bytes();
                    bytes <= limits::GROUP_BYTES_MAX
                };
                let (group, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
                log.commit_group(group, &mut durable)?;
                rest = after;
            }
            Ok(durable)
        })
    }

    /// Drops generations that lie wholly below the snapshots: `verified` is the last record of each partition that a
    /// verified snapshot covers. Returns how many were dropped.
    ///
    /// # Errors
    /// The store fails; the log must not be used afterwards.
    pub fn trim(&mut self, verified: &Sequences) -> Result<usize, Failure> {
        self.while_alive(|log| {
            let covered = |ends: &Sequences| ends.iter().all(|(partition, last)| last <= verified.last(partition));
            let dropped = log.generations.iter().take_while(|(_, ends)| covered(ends)).count();
            let Some((generation, ends)) = log.generations.drain(..dropped).next_back() else { return Ok(0) };
            // The trim mark is made durable before the blocks are removed.
            log.floor = ends.iter().map(|(_, last)| last.0).collect();
            log.first_block = (generation + 1) * log.store.generation_blocks();
            log.set_mark()?;
            log.store.drop_below(log.first_block)?;
            Ok(dropped)
        })
    }

    /// Notes durably how far the log has come, so that the loss of its end would be seen. Worth doing after snapshots
    /// and at an orderly end; the log does it by itself at the end of each generation.
    ///
    /// # Errors
    /// The store fails; the log must not be used afterwards.
    pub fn set_mark(&mut self) -> Result<(), Failure> {
        let mark = self.mark();
        self.store.set_mark(mark)?;
        self.marked_block = self.next_block;
        Ok(())
    }

    fn mark(&self) -> Checkpoint {
        Checkpoint {
            open_count: self.open_count,
            first_block: self.first_block,
            next_block: self.next_block,
            last_crc: self.last_crc,
            floor: self.floor.clone(),
        }
    }

    /// Everything that is durable by now, to be read beside further commits.
    pub fn view(&self) -> LogView {
        let (mark, generation_blocks) = (self.mark(), self.store.generation_blocks());
        LogView { mark, generation_blocks, reader: self.store.reader() }
    }

    /// An orderly end: notes how far the log has come and lets go of the store.
    ///
    /// # Errors
    /// The store fails; what was committed stays durable.
    pub fn close(mut self) -> Result<(), Failure> {
        self.while_alive(Log::set_mark)
    }

    /// The last record of each partition.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// How many times the log has been opened for writing, this time included.
    pub fn open_count(&self) -> u32 {
        self.open_count
    }

    /// The block with which the log goes on.
    pub fn next_block(&self) -> u64 {
        self.next_block
    }

    /// Keeps records for observers from now on.
    pub fn keep(&mut self, is_kept: IsKept) {
        self.keeping = Some(Keeping { is_kept, assembly: Assembly::default(), records: Vec::new() });
    }

    /// The kept records of the last commit, which are durable.
    pub fn take_kept(&mut self) -> Vec<KeptRecord> {
        self.keeping.as_mut().map(|keeping| std::mem::take(&mut keeping.records)).unwrap_or_default()
    }

    /// How much of the last commit was waiting for the disk.
    pub fn synced(&self) -> Duration {
        self.synced
    }

    /// Bytes of the log in its store.
    pub fn used_bytes(&self) -> u64 {
        self.store.used_bytes()
    }

    /// Full generations that are kept, beside the one that is being written.
    pub fn full_generations(&self) -> usize {
        self.generations.len()
    }

    /// Runs `work` if nothing failed before; after a failure all further work is refused.
    fn while_alive<T>(&mut self, work: impl FnOnce(&mut Log) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.dead {
            return Err(Failure::Dead);
        }
        self.dead = true;
        let done = work(self)?;
        self.dead = false;
        Ok(done)
    }

    fn commit_group(&mut self, batches: &[Batch], durable: &mut Durable) -> Result<(), Failure> {
        let group = self.next_block;
        let mut packed = Packed { group, records: 0, durable };
        block::begin(&mut self.block);
        for batch in batches {
            self.pack(&batch.bytes, &mut packed)?;
        }
        if packed.records == 0 && self.next_block == group {
            return Ok(());
        }
        self.append(&mut packed, true)?;
        let begun = Instant::now();
        self.store.sync()?;
        self.synced += begun.elapsed();
        let generation_blocks = self.store.generation_blocks();
        if self.next_block / generation_blocks > self.marked_block / generation_blocks {
            self.set_mark()?;
        }
        Ok(())
    }

    /// Copies records behind those in the block, and appends the block each time it is full.
    fn pack(&mut self, records: &[u8], packed: &mut Packed<'_>) -> Result<(), Failure> {
        let (mut start, mut at) = (0, 0);
        while at < records.len() {
            let head = record::peek(&records[at..]).expect("batches are encoded by the appender");
            let next = self.sequences.last(head.partition).next();
            if head.low != next.low() {
                let (expected, found) = (next.0, next.0 & !0xff | u64::from(head.low));
                return Err(Failure::OutOfOrder { partition: head.partition, expected, found });
            }
            if self.block.len() + (at - start) + head.size + self.list.bytes_with(head.partition) > BLOCK_MAX {
                self.block.extend_from_slice(&records[start..at]);
                start = at;
                self.append(packed, false)?;
                block::begin(&mut self.block);
            }
            self.list.note(head.partition, next);
            self.sequences.set_last(head.partition, next);
            packed.records += 1;
            if let Some(keeping) = &mut self.keeping
                && let Ok(record) = head.record(&records[at..], next)
            {
                keeping.note(record, LogPosition { block: self.next_block, index: packed.records });
            }
            at += head.size;
        }
        self.block.extend_from_slice(&records[start..]);
        Ok(())
    }

    fn append(&mut self, packed: &mut Packed<'_>, last: bool) -> Result<(), Failure> {
        let header = BlockHeader {
            last,
            records: packed.records,
            open_count: self.open_count,
            number: self.next_block,
            group: packed.group,
            previous: self.last_crc,
            crc: 0,
        };
        self.list.finish(&mut self.block);
        self.last_crc = block::finish(&mut self.block, header).crc;
        self.store.append(self.next_block, &self.block)?;
        self.next_block += 1;
        packed.durable.records += u64::from(packed.records);
        packed.durable.blocks += 1;
        packed.durable.bytes += self.block.len() as u64;
        packed.records = 0;
        let generation_blocks = self.store.generation_blocks();
        if self.next_block.is_multiple_of(generation_blocks) {
            self.generations.push_back((self.next_block / generation_blocks - 1, self.sequences.clone()));
        }
        Ok(())
    }
}

/// The group commit that is being packed.
struct Packed<'a> {
    group: u64,
    /// Records in the block that is being filled.
    records: u16,
    durable: &'a mut Durable,
}

/// Visits the wanted records of these blocks; a record in several parts is joined.
pub(super) fn visit_blocks(
    blocks: &Blocks,
    reader: &mut Reader,
    assembly: &mut Assembly,
    wanted: impl Fn(&Record<'_>) -> bool,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), String>,
) -> Result<(), Failure> {
    for (header, content) in blocks.iter() {
        let damaged = |fault: BlockFault| Failure::Damaged(Box::new(Damage::block(header.number, &fault)));
        for record in reader.read(content).map_err(damaged)? {
            let record = record.map_err(damaged)?;
            let (partition, sequence) = (record.partition, record.sequence.0);
            if wanted(&record)
                && let Some(whole) = assembly.take(record)
            {
                visit(whole).map_err(|what| Failure::Unreadable { partition, sequence, what })?;
            }
        }
    }
    Ok(())
}

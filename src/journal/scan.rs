//! Reads a log from its first block to its end, verifies all of it, and reports its end or the loss.
//!
//! Replay, recovery and verification all use [`scan`]. It yields whole group commits only, each with every block
//! checked against its own checksum, the adjacent blocks and the sequences of the partitions.
//!
//! A block that is missing or bad is a **torn tail** if nothing after it had been written later: the process ended
//! before that group was durable, none of it was acknowledged, and it is cut off. If a later group follows, or the
//! mark or a snapshot shows that the log had been longer, or the store never tears blocks, it is **damage**: durable
//! records are missing, and the gate does not start.

use super::appender::Sequences;
use super::block::{self, BLOCK_HEADER, BlockFault, BlockHeader, Reader};
use super::failure::{Damage, DamageLocation, Failure, Left, Lost};
use super::log::LogView;
use super::record::Sequence;
use super::store::{Checkpoint, Store};
use crate::units::PartitionId;
use std::ops::Range;

/// The blocks of one or more whole group commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    blocks: Vec<(BlockHeader, Range<usize>)>,
}

impl Blocks {
    /// Each block's header and content.
    pub fn iter(&self) -> impl Iterator<Item = (&BlockHeader, &[u8])> {
        self.blocks.iter().map(|(header, range)| (header, &self.bytes[range.clone()]))
    }

    /// Bytes of all blocks but for their headers.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn first(&self) -> Option<&BlockHeader> {
        self.blocks.first().map(|(header, _)| header)
    }

    /// Takes the blocks of another one behind its own and leaves that one empty.
    pub fn take_from(&mut self, other: &mut Blocks) {
        let shift = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.blocks.extend(other.blocks.drain(..).map(|(header, at)| (header, at.start + shift..at.end + shift)));
    }

    fn push(&mut self, header: BlockHeader, content: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(content);
        self.blocks.push((header, start..self.bytes.len()));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.blocks.clear();
    }
}

/// The end of a log that was read to its end.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The mark as it was found.
    pub mark: Checkpoint,
    /// The number of the next block.
    pub next_block: u64,
    /// The checksum of the last block, zero if there is none.
    pub last_crc: u32,
    /// The highest open count seen in blocks or mark.
    pub open_count: u32,
    /// The last record of each partition.
    pub sequences: Sequences,
    /// For each full generation its number and the sequences at its end.
    pub generations: Vec<(u64, Sequences)>,
    /// The torn tail that is to be cut away, if there is one.
    pub torn: Option<Torn>,
    /// Whole blocks read.
    pub blocks: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// A group commit that was in progress when the process ended; none of it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first block of the group, from which everything is cut away.
    pub from_block: u64,
    /// Blocks of it that are there, whole or not.
    pub blocks: u64,
    /// The fault.
    pub why: String,
}

/// Reads the whole log. `base` are the sequences of the snapshots, from which the records must go on. `deliver` gets whole
/// groups in order and may take their blocks.
pub(super) fn scan(
    store: &mut dyn Store,
    base: &Sequences,
    deliver: &mut dyn FnMut(&mut Blocks) -> Result<(), Failure>,
) -> Result<End, Failure> {
    let mut scan = Scan::new(store.mark().unwrap_or_default(), store.generation_blocks(), base);
    store.replay(&mut |number, bytes| scan.block(number, bytes, deliver))?;
    scan.end(store.whole_blocks())
}

/// Reads a log that goes on being written, up to where it was when the view was taken.
pub(super) fn scan_view(
    view: &mut LogView,
    base: &Sequences,
    deliver: &mut dyn FnMut(&mut Blocks) -> Result<(), Failure>,
) -> Result<End, Failure> {
    let below = view.mark.next_block;
    let mut scan = Scan::new(view.mark.clone(), view.generation_blocks, base);
    view.reader
        .replay(&mut |number, bytes| if number < below { scan.block(number, bytes, deliver) } else { Ok(()) })?;
    scan.end(true)
}

struct Scan<'a> {
    base: &'a Sequences,
    mark: Checkpoint,
    first_block: u64,
    generation_blocks: u64,
    /// The next sequence of each partition; 0 as long as no record of it was seen.
    next: Vec<u64>,
    /// The same before the group that is being read, to go back to when it is torn.
    settled: Vec<u64>,
    /// The block and chain to go on with, within the group that is being read.
    next_block: u64,
    last_crc: Option<u32>,
    newest_open_count: u32,
    group: Blocks,
    reader: Reader,
    end: End,
    broken: Option<Broken>,
}

/// The first block that is not what it should be.
struct Broken {
    number: u64,
    fault: BlockFault,
    /// Blocks there at and after it.
    blocks: u64,
    /// Whether a later group proves that it had been durable.
    proven: bool,
    /// The block after the last whole one, and stretches before it that are not whole.
    next_block: u64,
    holes: Vec<(u64, u64)>,
    /// Missing records, as far as later records show them.
    lost: Vec<Lost>,
    /// Of each partition the next record that would not be missing, and how many there are behind the first bad block.
    next: Vec<u64>,
    after: Vec<u64>,
}

impl<'a> Scan<'a> {
    fn new(mark: Checkpoint, generation_blocks: u64, base: &'a Sequences) -> Scan<'a> {
        let first_block = mark.first_block;
        let last_crc = match first_block {
            0 => Some(0),
            _ if mark.next_block == first_block => Some(mark.last_crc),
            // The blocks before were trimmed; only the first one's own list is left.
            _ => None,
        };
        let end = End {
            mark: mark.clone(),
            next_block: first_block,
            last_crc: last_crc.unwrap_or(0),
            open_count: mark.open_count,
            sequences: base.clone(),
            generations: Vec::new(),
            torn: None,
            blocks: 0,
            records: 0,
            bytes: 0,
        };
        let next = vec![0; usize::from(base.partitions())];
        Scan {
            base,
            first_block,
            generation_blocks,
            settled: next.clone(),
            next,
            next_block: first_block,
            last_crc,
            newest_open_count: 0,
            group: Blocks::default(),
            reader: Reader::default(),
            end,
            broken: None,
            mark,
        }
    }

    fn block(
        &mut self,
        number: u64,
        bytes: &[u8],
        deliver: &mut dyn FnMut(&mut Blocks) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if number < self.first_block {
            return Ok(());
        }
        if self.broken.is_none() {
            match self.check(number, bytes) {
                Ok(header) => return self.accept(header, bytes, deliver),
                Err((number, fault)) => {
                    self.broken = Some(Broken {
                        number,
                        fault,
                        blocks: 0,
                        proven: false,
                        next_block: number,
                        holes: Vec::new(),
                        lost: Vec::new(),
                        next: self.good_to().into_iter().map(|good_to| good_to + 1).collect(),
                        after: vec![0; self.next.len()],
                    });
                }
            }
        }
        self.after_broken(number, bytes);
        Ok(())
    }

    /// Whether this is the block that belongs here; otherwise the number of the bad block, and the fault.
    fn check(&mut self, number: u64, bytes: &[u8]) -> Result<BlockHeader, (u64, BlockFault)> {
        let here = |fault| (number, fault);
        if number != self.next_block {
            return Err((self.next_block, BlockFault::Missing));
        }
        let header = block::parse(bytes).map_err(here)?;
        if header.number != number {
            return Err(here(BlockFault::Misplaced { found: header.number }));
        }
        if let Some(expected) = self.last_crc.filter(|expected| *expected != header.previous) {
            return Err(here(BlockFault::Chain { expected, found: header.previous }));
        }
        if header.open_count < self.newest_open_count {
            return Err(here(BlockFault::OpenCount { expected: self.newest_open_count, found: header.open_count }));
        }
        let group = match self.group.first() {
            Some(first) => first.group,
            // A group may have begun in a generation that is trimmed away.
            None if number == self.first_block => header.group.min(number),
            None => number,
        };
        if header.group != group {
            return Err(here(BlockFault::Group { expected: group, found: header.group }));
        }
        self.check_records(header, &bytes[BLOCK_HEADER..]).map_err(here)?;
        Ok(header)
    }

    /// The records of a block count on from its list, so that the list is what has to fit.
    fn check_records(&mut self, header: BlockHeader, content: &[u8]) -> Result<(), BlockFault> {
        let Scan { reader, next, base, first_block, .. } = self;
        let records = reader.read(content)?;
        for (partition, Sequence(found)) in records.listed() {
            let Some(next) = next.get_mut(usize::from(partition.0)) else {
                return Err(BlockFault::Record(format!("there is no partition {partition}")));
            };
            let after_base = base.last(partition).0 + 1;
            let (expected, good) = match *next {
                // The first one seen: the log may begin before the snapshot ends, but not after.
                0 if *first_block == 0 => (1, found == 1),
                0 => (after_base, found <= after_base && found > 0),
                next => (next, found == next),
            };
            if !good {
                return Err(BlockFault::Sequence { partition: partition.0, expected, found });
            }
        }
        let mut count = 0;
        for record in records {
            let record = record?;
            next[usize::from(record.partition.0)] = record.sequence.0 + 1;
            count += 1;
        }
        if count == u32::from(header.records) {
            Ok(())
        } else {
            Err(BlockFault::Record(format!("{count} records where the header says {}", header.records)))
        }
    }

    fn accept(
        &mut self,
        header: BlockHeader,
        bytes: &[u8],
        deliver: &mut dyn FnMut(&mut Blocks) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.group.push(header, &bytes[BLOCK_HEADER..]);
        self.next_block += 1;
        self.last_crc = Some(header.crc);
        self.newest_open_count = header.open_count;
        if self.next_block.is_multiple_of(self.generation_blocks) {
            let generation = header.number / self.generation_blocks;
            self.end.generations.push((generation, self.sequences_from(&self.next)));
        }
        if header.last {
            for (header, records) in self.group.iter() {
                self.end.open_count = self.end.open_count.max(header.open_count);
                self.end.blocks += 1;
                self.end.records += u64::from(header.records);
                self.end.bytes += (BLOCK_HEADER + records.len()) as u64;
            }
            (self.end.next_block, self.end.last_crc) = (self.next_block, header.crc);
            self.settled.clone_from(&self.next);
            deliver(&mut self.group)?;
            self.group.clear();
        }
        Ok(())
    }

    /// Reads a block after the first bad one for evidence on that one.
    fn after_broken(&mut self, number: u64, bytes: &[u8]) {
        let Some(broken) = &mut self.broken else { return };
        broken.blocks += 1;
        let Ok(header) = block::parse(bytes) else { return };
        let misses_records = matches!(broken.fault, BlockFault::Sequence { .. });
        if header.number != number || number < broken.number || (number == broken.number && !misses_records) {
            return;
        }
        broken.proven |= header.group > broken.number;
        if number > broken.next_block {
            broken.holes.push((broken.next_block, number - 1));
        }
        broken.next_block = number + 1;
        let Ok(records) = self.reader.read(&bytes[BLOCK_HEADER..]) else { return };
        for record in records.flatten() {
            let (partition, found) = (record.partition, record.sequence.0);
            let at = usize::from(partition.0);
            let Some(expected) = broken.next.get_mut(at).filter(|expected| **expected <= found) else { continue };
            if found > *expected {
                broken.lost.push(Lost { partition, first: *expected, last: found - 1 });
            }
            *expected = found + 1;
            broken.after[at] += 1;
        }
    }

    /// For each partition the record up to which nothing is missing so far, snapshot and log together.
    fn good_to(&self) -> Vec<u64> {
        let seen = self.next.iter().map(|next| next.saturating_sub(1));
        seen.zip(self.base.iter()).map(|(seen, (_, base))| seen.max(base.0)).collect()
    }

    /// The readable rest of each partition that has any.
    fn left(&self, after: &[u64]) -> Vec<Left> {
        let good_to = (0..).map(PartitionId).zip(self.good_to());
        let left = good_to.zip(after).map(|((partition, good_to), after)| Left { partition, good_to, after: *after });
        left.filter(|left| left.good_to > 0 || left.after > 0).collect()
    }

    fn end(mut self, whole_blocks: bool) -> Result<End, Failure> {
        if let Some(broken) = self.broken.take() {
            let torn = broken.fault.can_be_torn()
                && !broken.proven
                && (broken.fault == BlockFault::Missing || !whole_blocks)
                && self.mark.next_block <= broken.number;
            if !torn {
                let mut damage = Damage::block(broken.number, &broken.fault);
                damage.left = self.left(&broken.after);
                damage.holes = broken.holes;
                if self.mark.next_block > broken.next_block {
                    damage.holes.push((broken.next_block, self.mark.next_block - 1));
                } else if broken.next_block == broken.number {
                    damage.holes.push((broken.number, broken.number));
                }
                damage.lost = broken.lost;
                damage.lost.sort_by_key(|lost| (lost.partition, lost.first));
                return Err(Box::new(damage).into());
            }
            self.tear(broken.blocks, format!("block {} {}", broken.number, broken.fault));
        } else if !self.group.is_empty() {
            self.tear(0, "the last group commit does not end".to_owned());
        }
        self.end.sequences = self.sequences_from(&self.settled);
        self.check_end()?;
        Ok(self.end)
    }

    /// Discards the group that was being read.
    fn tear(&mut self, blocks: u64, why: String) {
        let blocks = blocks + self.group.iter().count() as u64;
        let from_block = self.end.next_block;
        self.end.torn = Some(Torn { from_block, blocks, why });
        let generation_blocks = self.generation_blocks;
        self.end.generations.retain(|(generation, _)| (generation + 1) * generation_blocks <= from_block);
    }

    /// Compares the end with the checkpoint and the snapshots.
    fn check_end(&self) -> Result<(), Failure> {
        let (expected, found) = (self.mark.next_block, self.end.next_block);
        if expected > found || (expected == found && self.mark.last_crc != self.end.last_crc) {
            let fault = "blocks that were durable are gone".to_owned();
            let mut damage = Damage::at(DamageLocation::End { expected, found }, fault);
            damage.holes.extend((expected > found).then(|| (found, expected - 1)));
            damage.left = self.left(&vec![0; self.next.len()]);
            return Err(Box::new(damage).into());
        }
        for (partition, base) in self.base.iter() {
            let floor = self.mark.floor.get(usize::from(partition.0)).copied().unwrap_or(0);
            if base.0 < floor {
                let lost = vec![Lost { partition, first: base.0 + 1, last: floor }];
                let fault = format!("has a snapshot at record {base}, but the log was trimmed up to record {floor}");
                return Err(Box::new(Damage { lost, ..Damage::at(DamageLocation::Start { partition }, fault) }).into());
            }
            let next = self.settled[usize::from(partition.0)];
            let seen = if next == 0 && self.first_block > 0 { base.0 } else { next.saturating_sub(1) };
            if seen < base.0 {
                let lost = vec![Lost { partition, first: seen + 1, last: base.0 }];
                let fault = format!("the log ends at record {seen} of partition {partition}, its snapshot at {base}");
                let left = self.left(&vec![0; self.next.len()]);
                return Err(Box::new(Damage {
                    lost,
                    left,
                    ..Damage::at(DamageLocation::End { expected, found }, fault)
                })
                .into());
            }
        }
        Ok(())
    }

    fn sequences_from(&self, next: &[u64]) -> Sequences {
        let mut sequences = self.base.clone();
        for (partition, next) in (0..).map(PartitionId).zip(next) {
            if *next > sequences.last(partition).0 {
                sequences.set_last(partition, Sequence(next - 1));
            }
        }
        sequences
    }
}

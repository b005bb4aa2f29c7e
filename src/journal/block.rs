//! The block: what a store keeps under one number, some records of a group commit packed back to back.
//!
//! ```text
//!   0       4   5   6       8       12      16              24              32      36      40
//!   +-------+---+---+-------+-------+-------+---------------+---------------+-------+-------+---------+------+-------+
//!   | magic |ver|flg|records| length| opens | number        | group         | prev  | CRC   | records | list | count |
//!   +-------+---+---+-------+-------+-------+---------------+---------------+-------+-------+---------+------+-------+
//!     4 B    1 B 1 B 2 B     4 B     4 B     8 B             8 B             4 B     4 B               10 B   2 B
//!                                                                                                      each
//! ```
//!
//! The list names each partition that has records in the block (2 B) and the sequence of the first of them (8 B); `count` is
//! how many it names. `length` counts everything. `group` is the number of the first block of the group commit, and bit 0 of the flags
//! marks its last one: a group is there as a whole or it is not there. Because one group is synced before the next one
//! begins, a block of a later group proves that every block before that group had been durable; that is how recovery
//! tells a torn tail from damage. `prev` is the CRC of the block before (zero for block 0), so that blocks form a
//! chain; `opens` (the open count) grows each time the log is opened for writing, so that a former owner's block cannot pass for ours.

use super::record::{self, Record, RecordFault, Sequence, array};
use crate::units::PartitionId;

/// Bytes before a block's records.
pub const BLOCK_HEADER: usize = 40;
/// The longest block. sled moves a page that outgrows a quarter of its segment into a file that is never synced; with
/// segments of 4 MiB and at most 26 values to a page this stays below with a margin.
pub const BLOCK_MAX: usize = 32 * 1024;
/// The version of the format of blocks, and of the records in them, that this program writes, and the only one that it reads.
pub const BLOCK_VERSION: u8 = 2;
/// Bytes of a block's list with one partition, and of each further one.
pub(super) const LIST_MIN: usize = LISTED + COUNT;
const LISTED: usize = 10;
const COUNT: usize = 2;

const MAGIC: [u8; 4] = *b"wBLK";
const FLAG_LAST: u8 = 1;
const CRC_AT: usize = 36;

/// The fields of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whether the group commit ends with this block.
    pub last: bool,
    /// Records in it.
    pub records: u16,
    /// How many times the log had been opened for writing when it was written.
    pub open_count: u32,
    /// Its place in the log, counted from 0.
    pub number: u64,
    /// The number of the first block of its group commit.
    pub group: u64,
    /// The checksum of the block before.
    pub previous: u32,
    /// Its own checksum.
    pub crc: u32,
}

/// Why bytes are not the block that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// No block is stored under the number.
    #[error("is missing")]
    Missing,
    /// Fewer or more bytes than the header states.
    #[error("has {have} bytes where {need} belong")]
    Length {
        /// Bytes that belong there.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// Does not begin with the magic bytes.
    #[error("does not begin like a block")]
    Magic,
    /// Written by another version of this program.
    #[error("has block format {0}, this program reads {BLOCK_VERSION}")]
    Version(u8),
    /// The checksum does not match.
    #[error("has checksum {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Stored.
        found: u32,
        /// Computed.
        computed: u32,
    },
    /// A whole block, but another one.
    #[error("holds block {found}")]
    Misplaced {
        /// The number it carries.
        found: u64,
    },
    /// Does not continue the block before it.
    #[error("continues a block with checksum {found:08x}, the one before has {expected:08x}")]
    Chain {
        /// Checksum of the block before.
        expected: u32,
        /// Stored in this one.
        found: u32,
    },
    /// Written by a former owner after a newer one had taken over.
    #[error("was written at open count {found}, after open count {expected}")]
    OpenCount {
        /// Open count of the block before.
        expected: u32,
        /// Stored in this one.
        found: u32,
    },
    /// Belongs to another group commit than its position requires.
    #[error("belongs to the group of block {found}, expected {expected}")]
    Group {
        /// The first block of the group at this place.
        expected: u64,
        /// Stored in this one.
        found: u64,
    },
    /// One of its records is not whole, or their number differs.
    #[error("has a bad record: {0}")]
    Record(String),
    /// A record is not the next one of its partition.
    #[error("has record {found} of partition {partition} where {expected} belongs")]
    Sequence {
        /// The partition.
        partition: u16,
        /// The next one.
        expected: u64,
        /// Found.
        found: u64,
    },
}

impl BlockFault {
    /// Whether a write that was cut off can leave this behind.
    pub(super) fn can_be_torn(&self) -> bool {
        match self {
            BlockFault::Missing | BlockFault::Length { .. } | BlockFault::Magic | BlockFault::Checksum { .. } => true,
            BlockFault::Version(_)
            | BlockFault::Misplaced { .. }
            | BlockFault::Chain { .. }
            | BlockFault::OpenCount { .. }
            | BlockFault::Group { .. }
            | BlockFault::Record(_)
            | BlockFault::Sequence { .. } => false,
        }
    }
}

/// Makes `block` an empty block: room for a header, no records.
pub(super) fn begin(block: &mut Vec<u8>) {
    block.clear();
    block.resize(BLOCK_HEADER, 0);
}

/// Writes the header of a block whose records are in place, and returns it with the checksum.
pub(super) fn finish(block: &mut [u8], mut header: BlockHeader) -> BlockHeader {
    let length = u32::try_from(block.len()).expect("a block is at most BLOCK_MAX");
    block[0..4].copy_from_slice(&MAGIC);
    block[4] = BLOCK_VERSION;
    block[5] = if header.last { FLAG_LAST } else { 0 };
    block[6..8].copy_from_slice(&header.records.to_le_bytes());
    block[8..12].copy_from_slice(&length.to_le_bytes());
    block[12..16].copy_from_slice(&header.open_count.to_le_bytes());
    block[16..24].copy_from_slice(&header.number.to_le_bytes());
    block[24..32].copy_from_slice(&header.group.to_le_bytes());
    block[32..36].copy_from_slice(&header.previous.to_le_bytes());
    header.crc = checksum(block);
    block[CRC_AT..BLOCK_HEADER].copy_from_slice(&header.crc.to_le_bytes());
    header
}

/// The header of a whole block, checked against its bytes (not against adjacent blocks).
///
/// # Errors
/// [`BlockFault`]: a wrong length, magic, version, number or checksum.
pub fn parse(block: &[u8]) -> Result<BlockHeader, BlockFault> {
    if block.len() < BLOCK_HEADER {
        return Err(BlockFault::Length { need: BLOCK_HEADER, have: block.len() });
    }
    if block[0..4] != MAGIC {
        return Err(BlockFault::Magic);
    }
    let length = u32::from_le_bytes(array(block, 8)) as usize;
    if length != block.len() {
        return Err(BlockFault::Length { need: length, have: block.len() });
    }
    let found = u32::from_le_bytes(array(block, CRC_AT));
    let computed = checksum(block);
    if found != computed {
        return Err(BlockFault::Checksum { found, computed });
    }
    if block[4] != BLOCK_VERSION || block[5] & !FLAG_LAST != 0 {
        return Err(BlockFault::Version(block[4]));
    }
    Ok(BlockHeader {
        last: block[5] & FLAG_LAST != 0,
        records: u16::from_le_bytes(array(block, 6)),
        open_count: u32::from_le_bytes(array(block, 12)),
        number: u64::from_le_bytes(array(block, 16)),
        group: u64::from_le_bytes(array(block, 24)),
        previous: u32::from_le_bytes(array(block, 32)),
        crc: found,
    })
}

/// The header of the whole block at the beginning of `bytes`, and the block's length.
pub(super) fn parse_first(bytes: &[u8]) -> Result<(BlockHeader, usize), BlockFault> {
    let have = bytes.len();
    let length = match bytes.get(8..12) {
        Some(length) => u32::from_le_bytes(array(length, 0)) as usize,
        None => return Err(BlockFault::Length { need: BLOCK_HEADER, have }),
    };
    match bytes.get(..length) {
        Some(block) => parse(block).map(|header| (header, length)),
        None => Err(BlockFault::Length { need: length, have }),
    }
}

/// Where bytes first begin like a block.
pub(super) fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|window| *window == MAGIC)
}

/// The number in a block's header, whether or not the block is whole.
pub(super) fn claimed_number(bytes: &[u8]) -> Option<u64> {
    bytes.get(..BLOCK_HEADER).map(|header| u64::from_le_bytes(array(header, 16)))
}

/// Number of these bytes that are a block's according to its header.
pub(super) fn claimed_length(bytes: &[u8]) -> usize {
    let length = bytes.get(8..12).map_or(0, |length| u32::from_le_bytes(array(length, 0)) as usize);
    length.clamp(BLOCK_HEADER, BLOCK_MAX).min(bytes.len())
}

/// Which partitions have records in the block that is being filled, and where they begin.
#[derive(Debug)]
pub(super) struct List {
    listed: Vec<(PartitionId, Sequence)>,
    /// By partition: the round in which it was listed last. A round is a block.
    rounds: Vec<u64>,
    round: u64,
}

impl List {
    /// An empty list for this number of partitions.
    pub fn new(partitions: u16) -> List {
        List { listed: Vec::new(), rounds: vec![0; usize::from(partitions)], round: 1 }
    }

    /// Bytes that it takes with this partition in it.
    #[inline]
    pub fn bytes_with(&self, partition: PartitionId) -> usize {
        let more = usize::from(!self.has(partition));
        (self.listed.len() + more) * LISTED + COUNT
    }

    /// Lists a partition, unless it is listed already; `first` is the sequence of its first record in the block.
    #[inline]
    pub fn note(&mut self, partition: PartitionId, first: Sequence) {
        if !self.has(partition) {
            self.rounds[usize::from(partition.0)] = self.round;
            self.listed.push((partition, first));
        }
    }

    /// Writes it behind the block's records, and is empty again.
    pub fn finish(&mut self, block: &mut Vec<u8>) {
        let count = u16::try_from(self.listed.len()).expect("a block has room for fewer");
        for (partition, first) in self.listed.drain(..) {
            block.extend_from_slice(&partition.0.to_le_bytes());
            block.extend_from_slice(&first.0.to_le_bytes());
        }
        block.extend_from_slice(&count.to_le_bytes());
        self.round += 1;
    }

    #[inline]
    fn has(&self, partition: PartitionId) -> bool {
        self.rounds[usize::from(partition.0)] == self.round
    }
}

/// Reads the records of blocks, one block after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// By partition: the next record of it in the block that is read, 0 if it is not listed.
    next: Vec<u64>,
}

/// The records of one block, in their order. Ends with the first that is none.
pub(super) struct Records<'a> {
    next: &'a mut Vec<u64>,
    list: &'a [u8],
    rest: &'a [u8],
}

impl Reader {
    /// The records in the content of a block, which follows its header.
    ///
    /// # Errors
    /// [`BlockFault`]: the list of partitions does not fit the block.
    pub fn read<'a>(&'a mut self, content: &'a [u8]) -> Result<Records<'a>, BlockFault> {
        let no_list = || BlockFault::Record("its list of partitions is not whole".to_owned());
        let (before, count) = content.split_last_chunk::<COUNT>().ok_or_else(no_list)?;
        let list = usize::from(u16::from_le_bytes(*count)) * LISTED;
        let (records, list) = before.split_at_checked(before.len().wrapping_sub(list)).ok_or_else(no_list)?;
        for (partition, first) in listed(list) {
            let at = usize::from(partition.0);
            if at >= self.next.len() {
                self.next.resize(at + 1, 0);
            }
            self.next[at] = first.0;
        }
        Ok(Records { next: &mut self.next, list, rest: records })
    }
}

impl<'a> Records<'a> {
    /// Each partition that is listed, and its first record.
    pub fn listed(&self) -> impl Iterator<Item = (PartitionId, Sequence)> + use<'a> {
        listed(self.list)
    }

    fn take(&mut self) -> Result<Record<'a>, RecordFault> {
        let bytes = self.rest;
        let head = record::peek(bytes)?;
        let next = self.next.get_mut(usize::from(head.partition.0)).filter(|next| **next != 0);
        let next = next.ok_or(RecordFault::Unlisted(head.partition.0))?;
        let record = head.record(bytes, Sequence(*next))?;
        *next = next.checked_add(1).ok_or(RecordFault::Header)?;
        self.rest = &bytes[head.size..];
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BlockFault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.rest = &[];
        }
        Some(taken.map_err(|fault| BlockFault::Record(fault.to_string())))
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        for (partition, _) in listed(self.list) {
            self.next[usize::from(partition.0)] = 0;
        }
    }
}

fn listed(list: &[u8]) -> impl Iterator<Item = (PartitionId, Sequence)> {
    list.chunks_exact(LISTED).map(|entry| {
        let (partition, first) = (u16::from_le_bytes(array(entry, 0)), u64::from_le_bytes(array(entry, 2)));
        (PartitionId(partition), Sequence(first))
    })
}

fn checksum(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC_AT]);
    hasher.update(&block[BLOCK_HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::record::RecordKind;
    use super::*;

    const GOLDEN: &str = concat!(
        "77424c4b02010300560000000300000001100000000000000010000000000000efbeaddea288cc52",
        "012c03036f6e65010781040374776f012d0305746872656503002c01000000000000010207000000000000000200"
    );

    const HEADER: BlockHeader =
        BlockHeader { last: true, records: 3, open_count: 3, number: 4097, group: 4096, previous: 0xdead_beef, crc: 0 };

    fn sample() -> (Vec<u8>, BlockHeader) {
        let mut block = Vec::new();
        begin(&mut block);
        let mut list = List::new(600);
        for (partition, sequence, payload) in [(3, 300, "one"), (513, 7, "two"), (3, 301, "three")] {
            let (partition, sequence) = (PartitionId(partition), Sequence(sequence));
            list.note(partition, sequence);
            record::encode(&mut block, partition, sequence, RecordKind::SessionEvent, |out| {
                out.extend(payload.bytes())
            });
        }
        let room = list.bytes_with(PartitionId(3));
        let records = block.len();
        list.finish(&mut block);
        assert_eq!(block.len() - records, room);
        let header = finish(&mut block, HEADER);
        (block, header)
    }

    #[test]
    fn golden_bytes() {
        let (block, header) = sample();
        assert_eq!(hex::encode(&block), GOLDEN);
        assert_eq!(parse(&block), Ok(header));
        let mut reader = Reader::default();
        let read: Vec<_> = reader.read(&block[BLOCK_HEADER..]).unwrap().map(Result::unwrap).collect();
        let read: Vec<_> = read.iter().map(|record| (record.partition.0, record.sequence.0, record.payload)).collect();
        assert_eq!(read, [(3, 300, &b"one"[..]), (513, 7, b"two"), (3, 301, b"three")]);
    }

    #[test]
    fn records_are_read_as_what_the_list_says_they_are() {
        let (block, _) = sample();
        let content = &block[BLOCK_HEADER..];
        let mut reader = Reader::default();
        assert_eq!(reader.read(content).unwrap().filter(Result::is_ok).count(), 3);
        assert_eq!(reader.read(content).unwrap().filter(Result::is_ok).count(), 3, "a reader forgets the block before");
        // A record that is missing shows itself in the one behind it, and a partition that is not listed at once.
        let first = record::peek(content).unwrap().size;
        let faults = |reader: &mut Reader, content: &[u8]| -> Vec<String> {
            reader.read(content).unwrap().filter_map(|record| Some(record.err()?.to_string())).collect()
        };
        assert_eq!(
            faults(&mut reader, &content[first..]),
            ["has a bad record: record 300 of partition 3 does not stand where it belongs"]
        );
        let unlisted = [&content[..content.len() - 2 * LISTED - COUNT], &[0, 0]].concat();
        assert_eq!(
            faults(&mut reader, &unlisted),
            ["has a bad record: a record of partition 3, which the block does not list"]
        );
        // No number follows the highest one.
        let mut last = content.to_vec();
        let at = last.len() - COUNT - 2 * LISTED + 2;
        last[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        last[1] = 0xff;
        assert_eq!(faults(&mut reader, &last), ["has a bad record: a record's header is none"]);
        for content in [&[][..], &[1], &[9, 0], &[0; 11][..]] {
            assert_eq!(reader.read(content).is_err(), content.len() != 11, "{content:?}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let (whole, _) = sample();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}

//! The block: what a store keeps under one number, some records of a group commit packed back to back.
//!
//! ```text
//!   0       4   5   6       8       12      16              24              32      36      40
//!   +-------+---+---+-------+-------+-------+---------------+---------------+-------+-------+---------
//!   | magic |ver|flg|records| length| epoch | number        | group         | prev  | CRC   | records
//!   +-------+---+---+-------+-------+-------+---------------+---------------+-------+-------+---------
//!     4 B    1 B 1 B 2 B     4 B     4 B     8 B             8 B             4 B     4 B     length - 40 B
//! ```
//!
//! `length` counts the header. `group` is the number of the first block of the group commit, and bit 0 of the flags
//! marks its last one: a group is there as a whole or it is not there. Because one group is synced before the next one
//! begins, a block of a later group proves that every block before that group had been durable; that is how recovery
//! tells a torn tail from damage. `prev` is the CRC of the block before (zero for block 0), so that blocks form a
//! chain; `epoch` grows each time the log is opened for writing, so that a former owner's block cannot pass for ours.

use super::record::array;

/// Bytes before a block's records.
pub const BLOCK_HEADER: usize = 40;
/// The longest block. sled moves a page that outgrows a quarter of its segment into a file which nobody syncs; with
/// segments of 4 MiB and at most 26 values to a page this stays below with a margin.
pub const BLOCK_MAX: usize = 32 * 1024;
/// The version of the block format that this program writes, and the highest that it reads.
pub const BLOCK_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"wBLK";
const FLAG_LAST: u8 = 1;
const CRC_AT: usize = 36;

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whether the group commit ends with this block.
    pub last: bool,
    /// Records in it.
    pub records: u16,
    /// How many times the log had been opened for writing when it was written.
    pub epoch: u32,
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
    /// Nothing is stored under the number.
    #[error("is missing")]
    Missing,
    /// Fewer or more bytes than the header says.
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
        /// Of the block before.
        expected: u32,
        /// Stored in this one.
        found: u32,
    },
    /// Written by a former owner after a newer one had taken over.
    #[error("was written in epoch {found}, after epoch {expected}")]
    Epoch {
        /// Of the block before.
        expected: u32,
        /// Stored in this one.
        found: u32,
    },
    /// Belongs to another group commit than its place says.
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
            | BlockFault::Epoch { .. }
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

/// Writes the header of a block whose records are in place; its checksum is in what comes back.
pub(super) fn finish(block: &mut [u8], mut header: BlockHeader) -> BlockHeader {
    let length = u32::try_from(block.len()).expect("a block is at most BLOCK_MAX");
    block[0..4].copy_from_slice(&MAGIC);
    block[4] = BLOCK_VERSION;
    block[5] = if header.last { FLAG_LAST } else { 0 };
    block[6..8].copy_from_slice(&header.records.to_le_bytes());
    block[8..12].copy_from_slice(&length.to_le_bytes());
    block[12..16].copy_from_slice(&header.epoch.to_le_bytes());
    block[16..24].copy_from_slice(&header.number.to_le_bytes());
    block[24..32].copy_from_slice(&header.group.to_le_bytes());
    block[32..36].copy_from_slice(&header.previous.to_le_bytes());
    header.crc = checksum(block);
    block[CRC_AT..BLOCK_HEADER].copy_from_slice(&header.crc.to_le_bytes());
    header
}

/// The header of a whole block, checked against its bytes (not against its neighbours).
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
        epoch: u32::from_le_bytes(array(block, 12)),
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

/// The number that a block says it has, whether or not it is whole.
pub(super) fn claimed_number(bytes: &[u8]) -> Option<u64> {
    bytes.get(..BLOCK_HEADER).map(|header| u64::from_le_bytes(array(header, 16)))
}

/// How many of these bytes are a block's according to its header.
pub(super) fn claimed_length(bytes: &[u8]) -> usize {
    let length = bytes.get(8..12).map_or(0, |length| u32::from_le_bytes(array(length, 0)) as usize);
    length.clamp(BLOCK_HEADER, BLOCK_MAX).min(bytes.len())
}

fn checksum(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC_AT]);
    hasher.update(&block[BLOCK_HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: BlockHeader =
        BlockHeader { last: true, records: 1, epoch: 3, number: 4097, group: 4096, previous: 0xdead_beef, crc: 0 };

    fn sample() -> (Vec<u8>, BlockHeader) {
        let mut block = Vec::new();
        begin(&mut block);
        block.extend_from_slice(b"one record");
        let header = finish(&mut block, HEADER);
        (block, header)
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let (block, header) = sample();
        assert_eq!(
            hex::encode(&block),
            "77424c4b01010100320000000300000001100000000000000010000000000000efbeaddee20945a46f6e65207265636f7264"
        );
        assert_eq!(parse(&block), Ok(header));
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

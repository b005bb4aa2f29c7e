//! The mark: the file with the last known extent of the log.
//!
//! ```text
//!   0       4       8               16              24      28      32
//!   +-------+-------+---------------+---------------+-------+-------+------------------+-------+
//!   | magic | opens | first block   | next block    | CRC of| count | floors, count of | CRC   |
//!   |       |       |               |               | last  |       | 8 B each         |       |
//!   +-------+-------+---------------+---------------+-------+-------+------------------+-------+
//! ```

use super::failure::{Damage, DamageLocation, Failure};
use super::files;
use super::record::array;
use super::store::Checkpoint;
use std::path::Path;

const MAGIC: [u8; 4] = *b"wMK1";
const HEADER: usize = 32;

/// The mark, if there ever was one.
pub(super) fn read(path: &Path) -> Result<Option<Checkpoint>, Failure> {
    let Some(bytes) = files::read_if_there(path)? else { return Ok(None) };
    match decode(&bytes) {
        Some(mark) => Ok(Some(mark)),
        None => {
            let fault = "the mark is not what was written".to_owned();
            Err(Box::new(Damage::at(DamageLocation::Store { path: path.to_owned() }, fault)).into())
        }
    }
}

/// Replaces the mark durably.
pub(super) fn write(path: &Path, mark: &Checkpoint) -> Result<(), Failure> {
    files::write_durably(path, &[&encode(mark)])
}

pub(super) fn encode(mark: &Checkpoint) -> Vec<u8> {
    let count = u32::try_from(mark.floor.len()).expect("one for each partition");
    let mut out = Vec::with_capacity(HEADER + mark.floor.len() * 8 + 4);
    out.extend(MAGIC);
    out.extend(mark.open_count.to_le_bytes());
    out.extend(mark.first_block.to_le_bytes());
    out.extend(mark.next_block.to_le_bytes());
    out.extend(mark.last_crc.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(mark.floor.iter().flat_map(|floor| floor.to_le_bytes()));
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (body, crc) = bytes.split_last_chunk()?;
    if body.len() < HEADER || body[0..4] != MAGIC || crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (floor, rest) = body[HEADER..].as_chunks();
    let count = u32::from_le_bytes(array(body, 28)) as usize;
    (rest.is_empty() && floor.len() == count).then(|| Checkpoint {
        open_count: u32::from_le_bytes(array(body, 4)),
        first_block: u64::from_le_bytes(array(body, 8)),
        next_block: u64::from_le_bytes(array(body, 16)),
        last_crc: u32::from_le_bytes(array(body, 24)),
        floor: floor.iter().copied().map(u64::from_le_bytes).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_every_flipped_bit_is_seen() {
        let mark =
            Checkpoint { open_count: 7, first_block: 4096, next_block: 5000, last_crc: 9, floor: vec![1, 2, u64::MAX] };
        let bytes = encode(&mark);
        assert_eq!(decode(&bytes), Some(mark));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_none()));
    }
}

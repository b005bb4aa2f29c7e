//! Snapshots in memory, for tests and simulation: the last two of each partition with their checksums, as a directory
//! has them, and what a directory does about one that is damaged.

use super::failure::{Damage, DamageLocation};
use super::record::Sequence;
use super::snapshot::{Found, Snapshot};
use crate::units::PartitionId;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Snapshots of a partition that are kept.
const KEPT: usize = 2;

/// The last snapshots of each partition, the oldest first.
#[derive(Debug, Default)]
pub(super) struct InMemory {
    kept: BTreeMap<PartitionId, Vec<Kept>>,
    /// Whether there is no room for another.
    pub is_full: bool,
}

#[derive(Debug)]
struct Kept {
    sequence: Sequence,
    state: Vec<u8>,
    crc: u32,
    /// Whether it was loaded and found damaged: it is not one of the two any more.
    is_damaged: bool,
}

impl Kept {
    fn fault(&self) -> Option<String> {
        let computed = checksum(self.sequence, &self.state);
        let differs = self.crc != computed;
        differs.then(|| format!("its checksum is {:08x}, its bytes give {computed:08x}", self.crc))
    }
}

impl InMemory {
    /// Keeps the state of a partition; the second last and what was found damaged go.
    pub fn write(&mut self, partition: PartitionId, sequence: Sequence, state: Vec<u8>) {
        let kept = self.kept.entry(partition).or_default();
        kept.retain(|kept| !kept.is_damaged);
        let crc = checksum(sequence, &state);
        kept.push(Kept { sequence, state, crc, is_damaged: false });
        kept.drain(..kept.len().saturating_sub(KEPT));
    }

    /// The newest one that is whole, and the sequence of the one before it.
    pub fn load(&mut self, partition: PartitionId) -> (Found, Sequence) {
        let (mut found, mut older) = (Found::default(), Sequence(0));
        for kept in self.kept.get_mut(&partition).into_iter().flatten().rev() {
            if found.newest.is_some() {
                older = kept.sequence;
                break;
            }
            match kept.fault() {
                None => found.newest = Some(Snapshot { sequence: kept.sequence, state: kept.state.clone() }),
                Some(fault) => {
                    kept.is_damaged = true;
                    let path = PathBuf::from(format!("memory/p{:05}-{:020}.snap", partition.0, kept.sequence.0));
                    found.instead_of.get_or_insert(Damage::at(DamageLocation::Snapshot { path }, fault));
                }
            }
        }
        (found, older)
    }

    /// Flips a bit of the newest one, if that and the one before are whole; returns whether it did.
    pub fn flip_bit(&mut self, partition: PartitionId, bit: u64) -> bool {
        let Some(kept) = self.kept.get_mut(&partition) else { return false };
        if kept.iter().any(|kept| kept.fault().is_some()) {
            return false;
        }
        let Some(newest) = kept.last_mut() else { return false };
        // The state's bits, and behind them those of the checksum.
        let bits = newest.state.len() as u64 * 8;
        match bit % (bits + 32) {
            bit if bit < bits => newest.state[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8),
            bit => newest.crc ^= 1 << (bit - bits),
        }
        true
    }

    /// Bytes of all states.
    pub fn used_bytes(&self) -> u64 {
        self.kept.values().flatten().map(|kept| kept.state.len() as u64).sum()
    }
}

fn checksum(sequence: Sequence, state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.0.to_le_bytes());
    hasher.update(state);
    hasher.finalize()
}

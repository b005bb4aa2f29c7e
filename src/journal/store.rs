//! The interface of a store for the log's blocks, and the store that keeps them in memory.
//!
//! # The contract of a store
//!
//! A store keeps numbered blocks. It does not interpret their records; it may use the header of each, which has its
//! number, length and checksum ([`super::block`]). One writer owns it.
//!
//! 1. **Order.** Blocks are appended with numbers that grow by one; the first one is 0. Replay yields the existing data
//!    in ascending order, each under the number with which it was appended.
//! 2. **Durability.** When `sync` has returned `Ok`, every block appended before survives a loss of power, whole. Before
//!    that any subset of the blocks since the last `sync` may be there afterwards, and (unless [`Store::whole_blocks`])
//!    any part of each.
//! 3. **Failure is final.** After any `Err` nothing may be assumed of the blocks since the last good `sync`, and the
//!    store is not used again; above all a failed `sync` is never repeated, because the system may already have
//!    thrown the pages away.
//! 4. **Cutting.** `cut(n)` removes every block from `n` on. It is durable when it returns.
//! 5. **Trimming.** Blocks are kept in generations of a fixed number of blocks. `drop_below(n)` removes generations all of
//!    whose blocks are below `n`, never a part of one. When it becomes durable is not promised, and it may go on in the
//!    background: dropped blocks may come back after a restart. The mark says where the log begins.
//! 6. **The mark.** A small value of its own beside the blocks, replaced as a whole and durable when `set_mark` returns.
//!
//! [`conformance`](super::conformance) tests a store against this.

use super::Failure;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Is shown a block: its number and its bytes.
pub type BlockVisitor<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Failure> + 'a;

/// Reads the blocks of a store that goes on being written: those that were there when the reader was made, and perhaps
/// later ones. Nothing may be dropped from the store while it reads.
pub trait BlockReader: Send {
    /// Shows every block from the mark's first one on, in ascending order, until the visitor fails.
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure>;
}

/// Keeps numbered blocks. The contract is in the documentation of the module.
pub trait Store: Send {
    /// Takes the next block.
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure>;

    /// Makes everything appended so far durable.
    fn sync(&mut self) -> Result<(), Failure>;

    /// Shows every block, in ascending order, until the visitor fails.
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure>;

    /// A reader for another thread.
    fn reader(&self) -> Box<dyn BlockReader>;

    /// Removes every block from this number on, durably.
    fn cut(&mut self, from: u64) -> Result<(), Failure>;

    /// Removes generations that lie wholly below this block.
    fn drop_below(&mut self, number: u64) -> Result<(), Failure>;

    /// Blocks in a generation.
    fn generation_blocks(&self) -> u64;

    /// Whether a block that comes back is the block that was appended or damaged at rest, never a part of it left by
    /// a loss of power.
    fn whole_blocks(&self) -> bool;

    /// The mark, if one was ever set.
    fn mark(&self) -> Option<Checkpoint>;

    /// Replaces the mark, durably.
    fn set_mark(&mut self, mark: Checkpoint) -> Result<(), Failure>;

    /// Bytes of the blocks that are kept, once they have been replayed.
    fn used_bytes(&self) -> u64;
}

/// How far the log is known to have reached, kept beside it, so that a log that lost its end is not taken for a
/// shorter one. It is set when the log is opened, when a generation is full, at snapshots and at an orderly end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// How often the log has been opened for writing.
    pub open_count: u32,
    /// Where the log begins: the first block of a generation. Blocks below it are trimmed away or about to be.
    pub first_block: u64,
    /// Blocks below this number were durable.
    pub next_block: u64,
    /// The checksum of the last of them.
    pub last_crc: u32,
    /// For each partition the record up to which the log may have been trimmed away: a snapshot that ends before it
    /// is too old to start from.
    pub floor: Vec<u64>,
}

/// Blocks in memory: for tests, benches and demonstrations. A clone is another handle to the same memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    generation_blocks: u64,
    shared: Arc<Mutex<Blocks>>,
}

#[derive(Debug, Default)]
struct Blocks {
    blocks: BTreeMap<u64, Vec<u8>>,
    mark: Option<Checkpoint>,
}

impl MemoryStore {
    /// An empty store with generations of this many blocks.
    pub fn new(generation_blocks: u64) -> MemoryStore {
        MemoryStore { generation_blocks, shared: Arc::default() }
    }

    /// A copy of its own, which does not follow this one.
    pub fn deep_clone(&self) -> MemoryStore {
        let blocks = self.blocks();
        let copy = Blocks { blocks: blocks.blocks.clone(), mark: blocks.mark.clone() };
        MemoryStore { generation_blocks: self.generation_blocks, shared: Arc::new(Mutex::new(copy)) }
    }

    /// Flips one bit of a block, for tests of damage. Does nothing when there is no such byte.
    pub fn flip_bit(&self, number: u64, bit: usize) {
        if let Some(byte) = self.blocks().blocks.get_mut(&number).and_then(|block| block.get_mut(bit / 8)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Removes a block, for tests of holes.
    pub fn lose(&self, number: u64) {
        self.blocks().blocks.remove(&number);
    }

    /// The length in bytes of a block, if it is there.
    pub fn block_len(&self, number: u64) -> Option<usize> {
        self.blocks().blocks.get(&number).map(Vec::len)
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.shared.lock().expect("no holder panics")
    }
}

impl BlockReader for MemoryStore {
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        let blocks = self.blocks().blocks.clone();
        blocks.iter().try_for_each(|(number, block)| visit(*number, block))
    }
}

impl Store for MemoryStore {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        self.blocks().blocks.insert(number, block.to_vec());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        self.blocks().blocks.iter().try_for_each(|(number, block)| visit(*number, block))
    }

    fn reader(&self) -> Box<dyn BlockReader> {
        Box::new(self.clone())
    }

    fn cut(&mut self, from: u64) -> Result<(), Failure> {
        self.blocks().blocks.split_off(&from);
        Ok(())
    }

    fn drop_below(&mut self, number: u64) -> Result<(), Failure> {
        let first = number / self.generation_blocks * self.generation_blocks;
        let mut inner = self.blocks();
        inner.blocks = inner.blocks.split_off(&first);
        Ok(())
    }

    fn generation_blocks(&self) -> u64 {
        self.generation_blocks
    }

    fn whole_blocks(&self) -> bool {
        true
    }

    fn mark(&self) -> Option<Checkpoint> {
        self.blocks().mark.clone()
    }

    fn set_mark(&mut self, mark: Checkpoint) -> Result<(), Failure> {
        self.blocks().mark = Some(mark);
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.blocks().blocks.values().map(|block| block.len() as u64).sum()
    }
}

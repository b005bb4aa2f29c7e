//! A sled database with the blocks of one generation, in the one configuration in which sled 0.34.7 survives a loss
//! of power.
//!
//! * **flush, then our own fdatasync.** sled's `flush` ends in `sync_file_range`, which leaves everything in the disk's
//!   cache. A commit is therefore inserts, `flush`, and `sync_data` on a descriptor of our own of sled's file.
//! * **Nothing beside that file.** sled puts a page that outgrows a quarter of its segment into a file of its own
//!   under `blobs/`, and never syncs it. Segments of 4 MiB and blocks of 32 KiB keep pages small, and `blobs/` is
//!   checked.
//! * **Split before it is used.** Its one tree holds blocks under their places in the generation as u32, big-endian. The
//!   places are made with empty values first, so that the tree's pages are split already and a block is written once, as a
//!   small addition to a page, instead of again and again with a growing page.
//!
//! The device then takes little more than the payload; a test holds that, because it leans on the internals of this
//! version, which `Cargo.toml` pins.

use super::closed_segments::{self, ClosedSegment, Content};
use super::raw::SEGMENT_BYTES;
use crate::journal::failure::{Damage, DamageLocation, Failure};
use crate::journal::files;
use crate::journal::store::BlockVisitor;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// A database that this process made and writes.
pub(super) struct Database {
    path: PathBuf,
    ordinal: u64,
    /// Its first block. The last one it may have is the last of that one's generation.
    begins: u64,
    generation_blocks: u64,
    db: sled::Db,
    tree: sled::Tree,
    /// Our own descriptor of sled's file, for the sync that sled does not do.
    file: File,
}

impl Database {
    /// Makes an empty one. The name of its directory is the caller's to sync.
    ///
    /// # Errors
    /// sled cannot make the database, or its file cannot be opened.
    pub fn make(path: PathBuf, ordinal: u64, begins: u64, generation_blocks: u64) -> Result<Database, Failure> {
        files::create_dir(&path).map_err(Failure::io("making", &path))?;
        let db = sled::Config::new()
            .path(&path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .use_compression(false)
            .open()
            .map_err(failure("opening", &path))?;
        let split = || {
            let tree = db.open_tree(name(begins / generation_blocks))?;
            for slot in begins % generation_blocks..generation_blocks {
                tree.insert(key(slot), &[])?;
            }
            Ok(tree)
        };
        let tree = split().map_err(failure("preparing", &path))?;
        let db_file = path.join("db");
        let file = File::open(&db_file).map_err(Failure::io("opening", &db_file))?;
        // sled syncs neither its configuration nor any name.
        db.flush().map_err(failure("flushing", &path))?;
        file.sync_all().map_err(Failure::io("syncing", &db_file))?;
        let conf = path.join("conf");
        File::open(&conf).and_then(|conf| conf.sync_all()).map_err(Failure::io("syncing", &conf))?;
        files::sync_dir(&path)?;
        Ok(Database { path, ordinal, begins, generation_blocks, db, tree, file })
    }

    /// Its directory.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a block belongs to its generation.
    pub fn has_place_for(&self, number: u64) -> bool {
        number / self.generation_blocks == self.begins / self.generation_blocks
    }

    /// Takes a block of its generation.
    ///
    /// # Errors
    /// sled cannot store the block.
    pub fn append(&self, number: u64, block: &[u8]) -> Result<(), Failure> {
        debug_assert!(self.has_place_for(number), "each generation has its own database");
        self.tree.insert(key(number % self.generation_blocks), block).map_err(failure("writing", &self.path))?;
        Ok(())
    }

    /// Makes what it took durable.
    ///
    /// # Errors
    /// sled or the disk fails, or those of [`Database::refuse_blobs`].
    pub fn sync(&self) -> Result<(), Failure> {
        self.db.flush().map_err(failure("flushing", &self.path))?;
        self.file.sync_data().map_err(Failure::io("syncing", &self.path.join("db")))
    }

    /// Returns it as a closed one, when it is written no longer and a later database has the blocks from this number
    /// on.
    pub fn as_stratum(&self, end: u64) -> ClosedSegment {
        let (ordinal, path) = (self.ordinal, self.path.clone());
        ClosedSegment { ordinal, path, blocks: self.begins..end, content: Content::Unread }
    }

    /// Fails if sled has put a page beside its file.
    ///
    /// # Errors
    /// There is a file that would not be synced.
    pub fn refuse_blobs(&self) -> Result<(), Failure> {
        closed_segments::refuse_blobs(&self.path)
    }

    /// Shows the blocks that are in it, also while others are added.
    pub fn reader(&self) -> Reader {
        let Database { path, begins, generation_blocks, db, tree, .. } = self;
        let first = begins / generation_blocks * generation_blocks;
        Reader { path: path.clone(), first, generation_blocks: *generation_blocks, tree: tree.clone(), _db: db.clone() }
    }
}

/// Reads a database while it is being written.
pub(super) struct Reader {
    path: PathBuf,
    /// The first block of its generation.
    first: u64,
    generation_blocks: u64,
    tree: sled::Tree,
    /// Keeps the database open while this reads.
    _db: sled::Db,
}

impl Reader {
    /// Shows every block, in ascending order.
    ///
    /// # Errors
    /// sled cannot read a block, or the visitor's own failure.
    pub fn replay(&self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        for entry in self.tree.iter() {
            let (key, block) = entry.map_err(failure("reading", &self.path))?;
            let Some(slot) = slot_of(&key).filter(|slot| *slot < self.generation_blocks) else {
                let fault = format!("it has a place {}", hex::encode(&key));
                return Err(Box::new(Damage::at(DamageLocation::Store { path: self.path.clone() }, fault)).into());
            };
            if !block.is_empty() {
                visit(self.first + slot, &block)?;
            }
        }
        Ok(())
    }
}

fn name(generation: u64) -> String {
    format!("g{generation}")
}

fn key(slot: u64) -> [u8; 4] {
    u32::try_from(slot).expect("a generation's size is a u32").to_be_bytes()
}

fn slot_of(key: &[u8]) -> Option<u64> {
    Some(u64::from(u32::from_be_bytes(key.try_into().ok()?)))
}

fn failure(doing: &'static str, path: &Path) -> impl FnOnce(sled::Error) -> Failure + use<> {
    let path: PathBuf = path.to_owned();
    move |error| match error {
        sled::Error::Io(error) => Failure::io(doing, &path)(error),
        sled::Error::Corruption { at, .. } => {
            let fault = match at {
                Some(at) => format!("sled found bad bytes at {at:?} while {doing} it"),
                None => format!("sled found bad bytes while {doing} it"),
            };
            Failure::Damaged(Box::new(Damage::at(DamageLocation::Store { path }, fault)))
        }
        other @ (sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_)) => {
            Failure::Store { doing, what: other.to_string() }
        }
    }
}

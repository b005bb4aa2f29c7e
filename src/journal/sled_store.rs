//! Blocks in sled 0.34.7, in the one shape in which it survives a loss of power.
//!
//! * **flush, then our own fdatasync.** sled's `flush` ends in `sync_file_range`, which leaves everything in the disk's
//!   cache. A commit is therefore inserts, `flush`, and `sync_data` on a descriptor of our own of sled's file.
//! * **Nothing beside that file.** sled puts a page that outgrows a quarter of its segment into a file of its own under
//!   `blobs/`, and syncs it never. Segments of 4 MiB and blocks of 32 KiB keep pages small, and `blobs/` is looked at.
//! * **Generations.** Tree `g<n>` holds the blocks of generation n, key = place in it as u32, big-endian. Its keys
//!   are inserted with empty values before it is used, so that the tree's pages are split already and a block is written
//!   once, as a small addition to a page, instead of again and again with a growing page. A helper thread does that
//!   while the generation before is half full, and drops whole generations when the log is trimmed.
//!
//! The device then takes little more than the payload; a test holds that, because it leans on the internals of this
//! version, which `Cargo.toml` pins.

use super::directory::DataDir;
use super::failure::{Damage, Failure, Place};
use super::files;
use super::mark;
use super::rebuild;
use super::store::{BlockReader, BlockVisitor, Mark, Store};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// sled's unit of allocation. A power of two, at most 16 MiB; fixed for a data directory.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// The log's blocks in sled. Made from a data directory, whose lock it shares.
pub struct SledStore {
    dir: DataDir,
    /// Where sled's files are.
    log: PathBuf,
    db: sled::Db,
    /// Our own descriptor of sled's file, for the sync that sled does not do.
    file: File,
    mark: Option<Mark>,
    generation_blocks: u64,
    /// The generation that is written, once there is one.
    current: Option<(u64, sled::Tree)>,
    /// The newest generation that the helper was asked for.
    asked: Option<u64>,
    /// Bytes of blocks in each generation.
    bytes: BTreeMap<u64, u64>,
    helper: Option<Helper>,
}

impl SledStore {
    /// Opens the log of a data directory, or makes it if the directory has never had one. A file that has grown far
    /// beyond what is in it is written anew first.
    pub fn open(dir: &DataDir) -> Result<SledStore, Failure> {
        rebuild::finish(dir)?;
        let log = dir.log();
        let db_file = log.join("db");
        if mark::read(&dir.mark())?.is_none() {
            // Not a word was ever promised here: what is left of a first start that was cut off goes.
            fs::remove_dir_all(&log).map_err(Failure::io("emptying", &log))?;
            fs::create_dir_all(&log).map_err(Failure::io("making", &log))?;
        } else if !files::exists(&db_file)? {
            let what = "the log is gone, and there was one".to_owned();
            return Err(Failure::Absent { path: db_file, what });
        }
        let store = SledStore::open_at(dir, log)?;
        rebuild::if_outgrown(store, rebuild::FILE_BYTES_MAX)
    }

    /// Opens or makes the database in this directory.
    pub(super) fn open_at(dir: &DataDir, log: PathBuf) -> Result<SledStore, Failure> {
        let db_file = log.join("db");
        remove_unfinished_snapshots(&log)?;
        let db = sled::Config::new()
            .path(&log)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .use_compression(false)
            .open()
            .map_err(failure("opening", &log))?;
        let file = File::open(&db_file).map_err(Failure::io("opening", &db_file))?;
        // sled syncs neither its configuration nor any name. What it repaired when it opened is synced as well.
        db.flush().map_err(failure("flushing", &log))?;
        file.sync_all().map_err(Failure::io("syncing", &db_file))?;
        let conf = log.join("conf");
        File::open(&conf).and_then(|conf| conf.sync_all()).map_err(Failure::io("syncing", &conf))?;
        files::sync_dir(&log)?;
        files::sync_dir(dir.path())?;
        let store = SledStore {
            generation_blocks: u64::from(dir.layout().generation_blocks),
            helper: Some(Helper::start(db.clone(), dir.layout().generation_blocks)),
            dir: dir.clone(),
            log,
            db,
            file,
            mark: mark::read(&dir.mark())?,
            current: None,
            asked: None,
            bytes: BTreeMap::new(),
        };
        store.refuse_blobs()?;
        let first = store.mark.as_ref().map_or(0, |mark| mark.first_block / store.generation_blocks);
        for generation in store.generations().filter(|generation| *generation < first) {
            store.ask(Job::Drop(generation))?;
        }
        Ok(store)
    }

    /// Bytes of sled's file, which never shrinks but is used again.
    pub fn file_bytes(&self) -> Result<u64, Failure> {
        let length = self.file.metadata().map_err(Failure::io("looking at", &self.log))?;
        Ok(length.len())
    }

    /// The data directory.
    pub(super) fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// Numbers of the generations that have a tree.
    fn generations(&self) -> impl Iterator<Item = u64> + use<> {
        generations(&self.db)
    }

    fn reading(&self) -> Reader {
        // What lies before the log's beginning may be on its way out: the helper may be dropping it at this moment.
        let first = self.mark.as_ref().map_or(0, |mark| mark.first_block / self.generation_blocks);
        let (log, db, generation_blocks) = (self.log.clone(), self.db.clone(), self.generation_blocks);
        Reader { _dir: self.dir.clone(), log, db, first, generation_blocks, bytes: BTreeMap::new() }
    }

    /// The tree of a generation, prepared. Asks for the next one when half of this one will have been written.
    fn tree(&mut self, generation: u64) -> Result<&sled::Tree, Failure> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != generation) {
            self.prepare(generation)?;
            let tree = loop {
                match self.wait()? {
                    Done::Prepared(ready, tree) if ready == generation => break tree,
                    Done::Prepared(..) | Done::Dropped => {}
                }
            };
            self.refuse_blobs()?;
            self.current = Some((generation, tree));
        }
        let (_, tree) = self.current.as_ref().expect("set just now");
        Ok(tree)
    }

    fn prepare(&mut self, generation: u64) -> Result<(), Failure> {
        if self.asked != Some(generation) {
            self.ask(Job::Prepare(generation))?;
            self.asked = Some(generation);
        }
        Ok(())
    }

    fn ask(&self, job: Job) -> Result<(), Failure> {
        let helper = self.helper.as_ref().expect("there until the store is dropped");
        helper.jobs.send(job).map_err(|_| helper_gone())
    }

    fn wait(&self) -> Result<Done, Failure> {
        let helper = self.helper.as_ref().expect("there until the store is dropped");
        helper.done.recv().map_err(|_| helper_gone())?
    }

    fn refuse_blobs(&self) -> Result<(), Failure> {
        let blobs = self.log.join("blobs");
        let mut entries = fs::read_dir(&blobs).map_err(Failure::io("reading", &blobs))?;
        match entries.next() {
            None => Ok(()),
            Some(_) => {
                let what =
                    format!("{} is not empty, and what is in it would not survive a loss of power", blobs.display());
                Err(Failure::Store { doing: "looking for pages outside its file", what })
            }
        }
    }

    fn sync_file(&self) -> Result<(), Failure> {
        self.db.flush().map_err(failure("flushing", &self.log))?;
        self.file.sync_data().map_err(Failure::io("syncing", &self.log.join("db")))
    }
}

impl Store for SledStore {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        let (generation, slot) = (number / self.generation_blocks, number % self.generation_blocks);
        self.tree(generation)?.insert(key(slot), block).map_err(failure_in("writing"))?;
        *self.bytes.entry(generation).or_default() += block.len() as u64;
        if slot >= self.generation_blocks / 2 && self.asked == Some(generation) {
            self.prepare(generation + 1)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.sync_file()
    }

    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        let mut reader = self.reading();
        BlockReader::replay(&mut reader, visit)?;
        self.bytes.extend(reader.bytes);
        Ok(())
    }

    fn reader(&self) -> Box<dyn BlockReader> {
        Box::new(self.reading())
    }

    fn cut(&mut self, from: u64) -> Result<(), Failure> {
        let log = self.log.clone();
        let first = from / self.generation_blocks;
        for generation in self.generations().filter(|generation| *generation >= first) {
            let tree = self.db.open_tree(name(generation)).map_err(failure("cutting", &log))?;
            let slot = if generation == first { from % self.generation_blocks } else { 0 };
            for entry in tree.range(key(slot)..) {
                let (key, block) = entry.map_err(failure("cutting", &log))?;
                if !block.is_empty() {
                    tree.insert(key, &[]).map_err(failure("cutting", &log))?;
                }
            }
        }
        self.sync_file()
    }

    fn drop_below(&mut self, number: u64) -> Result<(), Failure> {
        let kept = self.bytes.split_off(&(number / self.generation_blocks));
        for generation in std::mem::replace(&mut self.bytes, kept).into_keys() {
            self.ask(Job::Drop(generation))?;
        }
        Ok(())
    }

    fn generation_blocks(&self) -> u64 {
        self.generation_blocks
    }

    /// sled keeps a checksum of what it writes and shows a value as a whole or not at all.
    fn whole_blocks(&self) -> bool {
        true
    }

    fn mark(&self) -> Option<Mark> {
        self.mark.clone()
    }

    fn set_mark(&mut self, mark: Mark) -> Result<(), Failure> {
        mark::write(&self.dir.mark(), &mark)?;
        self.mark = Some(mark);
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.bytes.values().sum()
    }
}

/// Reads blocks beside whoever writes them.
struct Reader {
    /// The directory stays ours as long as its database is open.
    _dir: DataDir,
    log: PathBuf,
    db: sled::Db,
    /// The first generation that is read.
    first: u64,
    generation_blocks: u64,
    /// Bytes of blocks that were read, by generation.
    bytes: BTreeMap<u64, u64>,
}

impl BlockReader for Reader {
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        for generation in generations(&self.db).filter(|generation| *generation >= self.first) {
            let tree = self.db.open_tree(name(generation)).map_err(failure("reading", &self.log))?;
            for entry in tree.iter() {
                let (key, block) = entry.map_err(failure("reading", &self.log))?;
                let slot = slot_of(&key).filter(|slot| *slot < self.generation_blocks);
                let Some(slot) = slot else { return Err(foreign_key(&self.log, generation, &key)) };
                if !block.is_empty() {
                    *self.bytes.entry(generation).or_default() += block.len() as u64;
                    visit(generation * self.generation_blocks + slot, &block)?;
                }
            }
        }
        Ok(())
    }
}

fn generations(db: &sled::Db) -> impl Iterator<Item = u64> + use<> {
    let mut numbers: Vec<u64> = db.tree_names().iter().filter_map(|name| generation_of(name)).collect();
    numbers.sort_unstable();
    numbers.into_iter()
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // The helper ends when nobody can ask it any more; after that the database closes with the last handle.
        if let Some(Helper { jobs, done, thread }) = self.helper.take() {
            drop((jobs, done));
            // A helper that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// The thread that prepares and drops generations, neither of which a commit should wait for.
struct Helper {
    jobs: Sender<Job>,
    done: Receiver<Result<Done, Failure>>,
    thread: JoinHandle<()>,
}

enum Job {
    /// Make the tree of this generation with all its slots.
    Prepare(u64),
    /// Drop this generation.
    Drop(u64),
}

enum Done {
    Prepared(u64, sled::Tree),
    Dropped,
}

impl Helper {
    fn start(db: sled::Db, generation_blocks: u32) -> Helper {
        let (jobs, todo) = channel();
        let (tell, done) = channel();
        let thread = std::thread::Builder::new().name("journal-helper".to_owned()).spawn(move || {
            for job in todo {
                let result = match job {
                    Job::Prepare(generation) => prepare(&db, generation, generation_blocks),
                    Job::Drop(generation) => {
                        db.drop_tree(name(generation)).map(|_| Done::Dropped).map_err(failure_in("trimming"))
                    }
                };
                // Nobody listens any more when the store closes; what was asked for before is done all the same.
                let _ = tell.send(result);
            }
        });
        Helper { jobs, done, thread: thread.expect("a thread at the start of the process") }
    }
}

/// Makes every slot of a generation, in order, so that its pages are split before blocks come.
fn prepare(db: &sled::Db, generation: u64, blocks: u32) -> Result<Done, Failure> {
    let split = || {
        let tree = db.open_tree(name(generation))?;
        let slots = u64::from(blocks);
        // They are made in order, so the last one stands for all; one that is missing all the same is only slower.
        let missing = if tree.contains_key(key(slots - 1))? { 0..0 } else { 0..slots };
        for slot in missing {
            if !tree.contains_key(key(slot))? {
                tree.insert(key(slot), &[])?;
            }
        }
        Ok(tree)
    };
    split().map(|tree| Done::Prepared(generation, tree)).map_err(failure_in("preparing a generation"))
}

fn name(generation: u64) -> String {
    format!("g{generation}")
}

fn generation_of(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix('g')?.parse().ok()
}

fn key(slot: u64) -> [u8; 4] {
    u32::try_from(slot).expect("a generation's size is a u32").to_be_bytes()
}

fn slot_of(key: &[u8]) -> Option<u64> {
    Some(u64::from(u32::from_be_bytes(key.try_into().ok()?)))
}

fn foreign_key(log: &Path, generation: u64, key: &[u8]) -> Failure {
    let fault = format!("generation {generation} has a slot {}", hex::encode(key));
    Failure::Damaged(Box::new(Damage { place: Place::Store { path: log.to_owned() }, fault, lost: Vec::new() }))
}

fn helper_gone() -> Failure {
    Failure::Store { doing: "waiting for its helper thread", what: "the thread has ended".to_owned() }
}

fn failure_in(doing: &'static str) -> impl FnOnce(sled::Error) -> Failure {
    failure(doing, Path::new("log"))
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
            Failure::Damaged(Box::new(Damage { place: Place::Store { path }, fault, lost: Vec::new() }))
        }
        other @ (sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_)) => {
            Failure::Store { doing, what: other.to_string() }
        }
    }
}

/// A snapshot of sled's page table whose writing was cut off keeps sled from opening; it was never used.
fn remove_unfinished_snapshots(log: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(log).map_err(Failure::io("reading", log))? {
        let path = entry.map_err(Failure::io("reading", log))?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path).map_err(Failure::io("removing", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, GENERATION_BLOCKS};
    use super::super::directory::Layout;
    use super::*;

    const LAYOUT: Layout = Layout { partitions: 4, generation_blocks: GENERATION_BLOCKS };

    #[test]
    fn sled_keeps_the_contract_of_a_store() {
        conformance::check(|| {
            let place = tempfile::tempdir().unwrap();
            move || -> Box<dyn Store> {
                let dir = DataDir::open_or_create(place.path(), LAYOUT).unwrap();
                Box::new(SledStore::open(&dir).unwrap())
            }
        });
    }

    #[test]
    fn what_was_being_dropped_when_the_process_ended_is_not_in_the_way_of_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        let mut store = SledStore::open(&dir).unwrap();
        (0..400).for_each(|number| store.append(number, &[7; 9_000]).unwrap());
        store.sync().unwrap();
        // The mark is written, and nothing is dropped yet.
        store.set_mark(Mark { first_block: 384, next_block: 400, ..Mark::default() }).unwrap();
        drop(store);
        for _ in 0..3 {
            let mut store = SledStore::open(&dir).unwrap();
            let mut seen = Vec::new();
            let visit = &mut |number, _: &[u8]| {
                seen.push(number);
                Ok(())
            };
            store.replay(visit).unwrap();
            assert_eq!(seen, (384..400).collect::<Vec<_>>());
        }
        assert_eq!(SledStore::open(&dir).unwrap().generations().next(), Some(48), "what was dropped stays away");
    }

    #[test]
    fn a_log_that_is_gone_is_not_replaced_by_an_empty_one() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        SledStore::open(&dir).unwrap().set_mark(Mark { next_block: 1, ..Mark::default() }).unwrap();
        fs::remove_file(dir.log().join("db")).unwrap();
        assert!(matches!(SledStore::open(&dir), Err(Failure::Absent { .. })));
    }

    #[test]
    fn what_a_first_start_left_behind_is_cleared_away() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        fs::write(dir.log().join("conf"), "half a configu").unwrap();
        fs::write(dir.log().join("snap.00.generating"), "half a snapshot").unwrap();
        assert!(SledStore::open(&dir).is_ok());
    }

    #[test]
    fn an_unfinished_snapshot_of_sled_does_not_keep_it_from_opening() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        SledStore::open(&dir).unwrap().set_mark(Mark::default()).unwrap();
        let left = dir.log().join("snap.0000000000A00000.generating");
        fs::write(&left, "half a snapshot").unwrap();
        assert!(SledStore::open(&dir).is_ok());
        assert!(!left.exists());
    }

    #[test]
    fn pages_outside_the_file_are_refused_before_the_next_generation() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        let mut store = SledStore::open(&dir).unwrap();
        store.append(0, b"block").unwrap();
        fs::write(dir.log().join("blobs").join("4194304"), "a page").unwrap();
        let refused = store.append(u64::from(GENERATION_BLOCKS), b"block").unwrap_err().to_string();
        assert!(refused.contains("blobs is not empty"), "{refused}");
    }

    #[test]
    fn a_damaged_mark_is_damage() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        SledStore::open(&dir).unwrap().set_mark(Mark::default()).unwrap();
        fs::write(dir.mark(), "wMK1").unwrap();
        assert!(matches!(SledStore::open(&dir), Err(Failure::Damaged(_))));
    }
}

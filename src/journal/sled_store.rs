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
//! * **Each process its own database** ([`super::strata`]). Those of former ones are read without sled, which takes
//!   seconds for each GiB to open one, writes over an end that it does not understand, and panics over damage.
//!
//! The device then takes little more than the payload; a test holds that, because it leans on the internals of this
//! version, which `Cargo.toml` pins.

use super::directory::DataDir;
use super::failure::{Damage, Failure, Place};
use super::files;
use super::mark;
use super::raw::SEGMENT_BYTES;
use super::store::{BlockReader, BlockVisitor, Mark, Store};
use super::strata::{self, Stratum};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Bytes of pages that sled keeps in memory.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Former databases of which one is made when there are more: a process that ends again and again before its first
/// snapshots adds one each time.
const STRATA_MAX: usize = 12;

/// The log's blocks in sled. Made from a data directory, whose lock it shares.
pub struct SledStore {
    dir: DataDir,
    mark: Option<Mark>,
    generation_blocks: u64,
    /// What former processes left, the oldest first.
    past: Vec<Stratum>,
    /// Our own database, once something is written.
    current: Option<Database>,
    /// Bytes of blocks in each generation.
    bytes: BTreeMap<u64, u64>,
}

impl SledStore {
    /// Finds the log of a data directory, or makes it if the directory has never had one.
    pub fn open(dir: &DataDir) -> Result<SledStore, Failure> {
        let log = dir.log();
        let mark = mark::read(&dir.mark())?;
        if mark.is_none() {
            // Not a word was ever promised here: what is left of a first start that was cut off goes.
            fs::remove_dir_all(&log).map_err(Failure::io("emptying", &log))?;
            fs::create_dir_all(&log).map_err(Failure::io("making", &log))?;
        }
        let first_block = mark.as_ref().map_or(0, |mark| mark.first_block);
        let past = strata::read_all(dir, first_block)?;
        if mark.is_some() && past.iter().all(|stratum| stratum.raw.is_none()) {
            let what = "the log is gone, and there was one".to_owned();
            return Err(Failure::Absent { path: log, what });
        }
        let generation_blocks = u64::from(dir.layout().generation_blocks);
        let (dir, bytes) = (dir.clone(), BTreeMap::new());
        let mut store = SledStore { dir, mark, generation_blocks, past, current: None, bytes };
        if store.past.len() > STRATA_MAX {
            store.gather()?;
        }
        Ok(store)
    }

    /// Where the log begins.
    fn first_block(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.first_block)
    }

    /// Begins a database of our own with this block; whatever there is from that number on counts no more.
    fn begin(&mut self, from: u64) -> Result<&mut Database, Failure> {
        // Nobody writes to the one before any more; what is in it is read like the others.
        let ended = self.current.take().map(|database| (database.ordinal, database.path.clone(), database.begins));
        if let Some((ordinal, path, begins)) = ended {
            let raw = super::raw::RawFile::read(&path.join("db"), begins)?;
            self.past.push(Stratum { ordinal, path, blocks: begins..u64::MAX, raw });
        }
        let log = self.dir.log();
        let ordinal = self.past.iter().map(|stratum| stratum.ordinal + 1).max().unwrap_or(0);
        let path = Stratum::path_of(&log, ordinal, from);
        let database = Database::make(path, ordinal, from, self.dir.layout().generation_blocks)?;
        files::sync_dir(&log)?;
        files::sync_dir(self.dir.path())?;
        for stratum in &mut self.past {
            stratum.blocks.end = stratum.blocks.end.min(from);
        }
        self.current = Some(database);
        self.forget_below(self.first_block())?;
        Ok(self.current.as_mut().expect("set just now"))
    }

    /// Lets former databases go that have no block from this number on.
    fn forget_below(&mut self, number: u64) -> Result<(), Failure> {
        let is_over = |stratum: &mut Stratum| stratum.blocks.is_empty() || stratum.blocks.end <= number;
        let over: Vec<Stratum> = self.past.extract_if(.., is_over).collect();
        match &self.current {
            Some(database) => over.into_iter().try_for_each(|stratum| database.ask(Job::Remove(stratum))),
            None => over.into_iter().try_for_each(Stratum::remove),
        }
    }

    /// Makes one database of all that are there, unless something is missing in them: that is for others to judge.
    fn gather(&mut self) -> Result<(), Failure> {
        let first = self.first_block();
        let log = self.dir.log();
        let unnamed = log.join("gathering");
        if files::exists(&unnamed)? {
            fs::remove_dir_all(&unnamed).map_err(Failure::io("removing", &unnamed))?;
        }
        let mut gathered = Database::make(unnamed.clone(), 0, first, self.dir.layout().generation_blocks)?;
        let mut next = first;
        strata::replay(&self.past, first, &mut |number, block| {
            if number != next || super::block::parse(block).is_err() {
                next = u64::MAX;
                return Ok(());
            }
            next += 1;
            gathered.append(number, block)
        })?;
        gathered.sync()?;
        drop(gathered);
        if next == u64::MAX {
            return fs::remove_dir_all(&unnamed).map_err(Failure::io("removing", &unnamed));
        }
        let ordinal = self.past.iter().map(|stratum| stratum.ordinal + 1).max().unwrap_or(0);
        let path = Stratum::path_of(&log, ordinal, first);
        fs::rename(&unnamed, &path).map_err(Failure::io("renaming to", &path))?;
        files::sync_dir(&log)?;
        std::mem::take(&mut self.past).into_iter().try_for_each(Stratum::remove)?;
        self.past = strata::read_all(&self.dir, first)?;
        Ok(())
    }

    fn reading(&self) -> Reader {
        let current = self.current.as_ref().map(|database| (database.path.clone(), database.db.clone()));
        Reader {
            _dir: self.dir.clone(),
            past: self.past.clone(),
            current,
            first_block: self.first_block(),
            generation_blocks: self.generation_blocks,
            bytes: BTreeMap::new(),
        }
    }

    /// Databases that are there, our own included.
    #[cfg(test)]
    fn databases(&self) -> usize {
        self.past.len() + usize::from(self.current.is_some())
    }
}

impl Store for SledStore {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        let generation = number / self.generation_blocks;
        match &mut self.current {
            Some(database) => database,
            None => self.begin(number)?,
        }
        .append(number, block)?;
        *self.bytes.entry(generation).or_default() += block.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        if self.current.is_none() {
            self.past.iter().filter_map(|stratum| stratum.raw.as_ref()).try_for_each(|raw| raw.sync())?;
            self.begin(strata::end(&self.past).unwrap_or(0).max(self.first_block()))?;
        }
        self.current.as_ref().expect("begun just now").sync()
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
        self.begin(from)?;
        Ok(())
    }

    fn drop_below(&mut self, number: u64) -> Result<(), Failure> {
        let kept = self.bytes.split_off(&(number / self.generation_blocks));
        let dropped = std::mem::replace(&mut self.bytes, kept);
        if let Some(database) = &self.current {
            dropped.into_keys().try_for_each(|generation| database.ask(Job::Drop(generation)))?;
        }
        self.forget_below(number / self.generation_blocks * self.generation_blocks)
    }

    fn generation_blocks(&self) -> u64 {
        self.generation_blocks
    }

    /// What a former process left is read from its file as it is.
    fn whole_blocks(&self) -> bool {
        false
    }

    fn mark(&self) -> Option<Mark> {
        self.mark.clone()
    }

    fn set_mark(&mut self, mark: Mark) -> Result<(), Failure> {
        if self.past.is_empty() && self.current.is_none() {
            // With a mark there is a log: one that is not there any more must be missed.
            self.begin(mark.next_block)?;
        }
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
    past: Vec<Stratum>,
    current: Option<(PathBuf, sled::Db)>,
    /// What lies before it may be on its way out: the helper may be dropping it at this moment.
    first_block: u64,
    generation_blocks: u64,
    /// Bytes of blocks that were read, by generation.
    bytes: BTreeMap<u64, u64>,
}

impl BlockReader for Reader {
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        let Reader { past, current, first_block, generation_blocks, bytes, .. } = self;
        let mut show = |number: u64, block: &[u8]| {
            *bytes.entry(number / *generation_blocks).or_default() += block.len() as u64;
            visit(number, block)
        };
        strata::replay(past, *first_block, &mut show)?;
        let Some((path, db)) = current else { return Ok(()) };
        let first = *first_block / *generation_blocks;
        for generation in generations(db).filter(|generation| *generation >= first) {
            let tree = db.open_tree(name(generation)).map_err(failure("reading", path))?;
            for entry in tree.iter() {
                let (key, block) = entry.map_err(failure("reading", path))?;
                let slot = slot_of(&key).filter(|slot| *slot < *generation_blocks);
                let Some(slot) = slot else { return Err(foreign_key(path, generation, &key)) };
                if !block.is_empty() {
                    show(generation * *generation_blocks + slot, &block)?;
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

/// A database of sled's that this process made and writes.
struct Database {
    path: PathBuf,
    ordinal: u64,
    /// Its first block.
    begins: u64,
    db: sled::Db,
    /// Our own descriptor of sled's file, for the sync that sled does not do.
    file: File,
    generation_blocks: u64,
    /// The generation that is written, once there is one.
    current: Option<(u64, sled::Tree)>,
    /// The newest generation that the helper was asked for.
    asked: Option<u64>,
    helper: Option<Helper>,
}

impl Database {
    /// Makes an empty one. The name of its directory is the caller's to sync.
    fn make(path: PathBuf, ordinal: u64, begins: u64, generation_blocks: u32) -> Result<Database, Failure> {
        fs::create_dir(&path).map_err(Failure::io("making", &path))?;
        let db = sled::Config::new()
            .path(&path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .use_compression(false)
            .open()
            .map_err(failure("opening", &path))?;
        let db_file = path.join("db");
        let file = File::open(&db_file).map_err(Failure::io("opening", &db_file))?;
        // sled syncs neither its configuration nor any name.
        db.flush().map_err(failure("flushing", &path))?;
        file.sync_all().map_err(Failure::io("syncing", &db_file))?;
        let conf = path.join("conf");
        File::open(&conf).and_then(|conf| conf.sync_all()).map_err(Failure::io("syncing", &conf))?;
        files::sync_dir(&path)?;
        let helper = Some(Helper::start(db.clone(), generation_blocks));
        let generation_blocks = u64::from(generation_blocks);
        Ok(Database { path, ordinal, begins, db, file, generation_blocks, current: None, asked: None, helper })
    }

    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        let (generation, slot) = (number / self.generation_blocks, number % self.generation_blocks);
        self.tree(generation)?.insert(key(slot), block).map_err(failure_in("writing"))?;
        if slot >= self.generation_blocks / 2 && self.asked == Some(generation) {
            self.prepare(generation + 1)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        self.db.flush().map_err(failure("flushing", &self.path))?;
        self.file.sync_data().map_err(Failure::io("syncing", &self.path.join("db")))
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
            strata::refuse_blobs(&self.path)?;
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
        let helper = self.helper.as_ref().expect("there until the database is dropped");
        helper.jobs.send(job).map_err(|_| helper_gone())
    }

    fn wait(&self) -> Result<Done, Failure> {
        let helper = self.helper.as_ref().expect("there until the database is dropped");
        helper.done.recv().map_err(|_| helper_gone())?
    }
}

impl Drop for Database {
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
    /// Remove the files of a former process.
    Remove(Stratum),
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
                    Job::Remove(stratum) => stratum.remove().map(|()| Done::Dropped),
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
    Failure::Damaged(Box::new(Damage::at(Place::Store { path: log.to_owned() }, fault)))
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
            Failure::Damaged(Box::new(Damage::at(Place::Store { path }, fault)))
        }
        other @ (sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_)) => {
            Failure::Store { doing, what: other.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, GENERATION_BLOCKS, framed};
    use super::super::directory::Layout;
    use super::*;

    const LAYOUT: Layout = Layout { partitions: 4, generation_blocks: GENERATION_BLOCKS };

    fn place() -> (tempfile::TempDir, DataDir) {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        (place, dir)
    }

    fn block(number: u64) -> Vec<u8> {
        framed(number, [7; 9_000])
    }

    fn numbers(store: &mut SledStore) -> Vec<u64> {
        let mut seen = Vec::new();
        store
            .replay(&mut |number, found| {
                assert_eq!(found, block(number));
                seen.push(number);
                Ok(())
            })
            .unwrap();
        seen
    }

    /// Bytes of everything below the log's directory.
    fn log_bytes(dir: &DataDir) -> u64 {
        let databases = fs::read_dir(dir.log()).unwrap().map(|entry| entry.unwrap().path().join("db"));
        databases.filter_map(|db| fs::metadata(db).ok()).map(|found| found.len()).sum()
    }

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
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        (0..400).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        // The mark is written, and nothing is dropped yet.
        store.set_mark(Mark { first_block: 384, next_block: 400, ..Mark::default() }).unwrap();
        drop(store);
        for _ in 0..3 {
            let mut store = SledStore::open(&dir).unwrap();
            assert_eq!(numbers(&mut store), (384..400).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_files_of_former_processes_go_when_the_log_is_trimmed_beyond_them() {
        let (_place, dir) = place();
        for round in 0..4 {
            let mut store = SledStore::open(&dir).unwrap();
            (round * 100..round * 100 + 100).for_each(|number| store.append(number, &block(number)).unwrap());
            store.sync().unwrap();
            assert_eq!(numbers(&mut store).len() as u64, round * 100 + 100);
            store.set_mark(Mark { next_block: round * 100 + 100, ..Mark::default() }).unwrap();
            assert_eq!(store.databases() as u64, round + 1);
        }
        let before = log_bytes(&dir);
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store).len(), 400);
        store.sync().unwrap();
        store.set_mark(Mark { first_block: 304, next_block: 400, ..Mark::default() }).unwrap();
        store.drop_below(304).unwrap();
        drop(store);
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store), (304..400).collect::<Vec<_>>());
        assert!(log_bytes(&dir) < before / 2, "{} of {before} bytes are left", log_bytes(&dir));
    }

    #[test]
    fn databases_of_many_short_lives_are_made_one() {
        let (_place, dir) = place();
        for number in 0..40 {
            let mut store = SledStore::open(&dir).unwrap();
            assert_eq!(numbers(&mut store), (0..number).collect::<Vec<_>>());
            store.append(number, &block(number)).unwrap();
            store.sync().unwrap();
            store.set_mark(Mark { next_block: number + 1, ..Mark::default() }).unwrap();
            assert!(store.databases() <= STRATA_MAX + 1);
        }
    }

    #[test]
    fn a_log_that_sled_cannot_open_any_more_is_read_all_the_same() {
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        (0..40).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        store.set_mark(Mark { next_block: 40, ..Mark::default() }).unwrap();
        let path = store.current.as_ref().unwrap().path.clone();
        drop(store);
        // The header of its first segment, and its configuration.
        let mut bytes = fs::read(path.join("db")).unwrap();
        bytes[..24].fill(0xff);
        fs::write(path.join("db"), bytes).unwrap();
        fs::write(path.join("conf"), "nonsense").unwrap();
        assert_eq!(numbers(&mut SledStore::open(&dir).unwrap()), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn the_one_database_of_the_first_version_is_read_and_goes() {
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        (0..20).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        store.set_mark(Mark { next_block: 20, ..Mark::default() }).unwrap();
        let path = store.current.as_ref().unwrap().path.clone();
        drop(store);
        for name in ["db", "conf", "blobs"] {
            fs::rename(path.join(name), dir.log().join(name)).unwrap();
        }
        fs::write(dir.log().join("snap.00"), "pages").unwrap();
        fs::remove_dir_all(path).unwrap();
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store), (0..20).collect::<Vec<_>>());
        assert!(!dir.log().join("snap.00").exists());
        store.sync().unwrap();
        (20..30).for_each(|number| store.append(number, &block(number)).unwrap());
        store.set_mark(Mark { first_block: 24, next_block: 30, ..Mark::default() }).unwrap();
        store.drop_below(24).unwrap();
        drop(store);
        assert_eq!(SledStore::open(&dir).unwrap().databases(), 1);
    }

    #[test]
    fn a_log_that_is_gone_is_not_replaced_by_an_empty_one() {
        let (_place, dir) = place();
        SledStore::open(&dir).unwrap().set_mark(Mark { next_block: 1, ..Mark::default() }).unwrap();
        for entry in fs::read_dir(dir.log()).unwrap() {
            fs::remove_file(entry.unwrap().path().join("db")).unwrap();
        }
        assert!(matches!(SledStore::open(&dir), Err(Failure::Absent { .. })));
    }

    #[test]
    fn what_a_first_start_left_behind_is_cleared_away() {
        let (_place, dir) = place();
        fs::write(dir.log().join("conf"), "half a configu").unwrap();
        fs::write(dir.log().join("snap.00.generating"), "half a snapshot").unwrap();
        assert!(SledStore::open(&dir).is_ok());
    }

    #[test]
    fn pages_outside_the_file_are_refused_before_the_next_generation_and_at_the_next_start() {
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        store.append(0, &block(0)).unwrap();
        store.sync().unwrap();
        store.set_mark(Mark::default()).unwrap();
        fs::write(store.current.as_ref().unwrap().path.join("blobs").join("4194304"), "a page").unwrap();
        let refused = store.append(u64::from(GENERATION_BLOCKS), &block(8)).unwrap_err().to_string();
        assert!(refused.contains("blobs is not empty"), "{refused}");
        drop(store);
        assert!(SledStore::open(&dir).is_err());
    }

    #[test]
    fn a_damaged_mark_is_damage() {
        let (_place, dir) = place();
        SledStore::open(&dir).unwrap().set_mark(Mark::default()).unwrap();
        fs::write(dir.mark(), "wMK1").unwrap();
        assert!(matches!(SledStore::open(&dir), Err(Failure::Damaged(_))));
    }
}

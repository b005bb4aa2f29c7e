//! The log's blocks in sled: a database for each generation, one after the other.
//!
//! While a generation is half full a helper thread makes the database of the next one ([`super::helper`]); the full one is
//! made durable, closed, and from then on read without sled ([`super::closed_segments`]). Nothing is ever deleted inside of a
//! database, for which sled would read every page again: when the log is trimmed beyond one, its files go. What former
//! processes left is no different: sled takes seconds for each GiB to open a database, writes over an end that it does not
//! understand, and panics over damage.

use super::closed_segments::{self, ClosedSegment, Content};
use super::database::{self, Database};
use super::helper::{Helper, Job};
use crate::journal::checkpoint;
use crate::journal::directory::DataDir;
use crate::journal::failure::Failure;
use crate::journal::files;
use crate::journal::store::{BlockReader, BlockVisitor, Checkpoint, Store};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Databases beyond one for each generation, of which one for each generation is made when there are more: a process that
/// ends again and again before its first snapshots adds one each time.
const SHORT_LIVES_MAX: u64 = 12;

/// The log's blocks in sled. Made from a data directory, whose lock it shares.
pub struct SledStore {
    dir: DataDir,
    mark: Option<Checkpoint>,
    generation_blocks: u64,
    /// What is only read any more, the oldest first.
    past: Vec<ClosedSegment>,
    /// The newest file, once something is written.
    current: Option<Database>,
    /// The first block of the database that the helper is preparing, until that is the current one.
    asked: Option<u64>,
    /// There as soon as something is written.
    helper: Option<Helper>,
    next_ordinal: u64,
    /// Bytes of blocks in each generation.
    bytes: BTreeMap<u64, u64>,
}

impl SledStore {
    /// Finds the log of a data directory, or makes it if the directory has never had one.
    ///
    /// # Errors
    /// The directory cannot be read or written, or a database is damaged.
    pub fn open(dir: &DataDir) -> Result<SledStore, Failure> {
        let log = dir.log();
        let mark = checkpoint::read(&dir.mark())?;
        if mark.is_none() {
            // Nothing in this log was acknowledged: the remains of an interrupted first start are removed.
            fs::remove_dir_all(&log).map_err(Failure::io("emptying", &log))?;
            files::create_dir_all(&log).map_err(Failure::io("making", &log))?;
        }
        let mut store = SledStore {
            dir: dir.clone(),
            mark,
            generation_blocks: u64::from(dir.layout().generation_blocks),
            past: Vec::new(),
            current: None,
            asked: None,
            helper: None,
            next_ordinal: 0,
            bytes: BTreeMap::new(),
        };
        store.find()?;
        if store.mark.is_some() && store.past.iter().all(|segment| matches!(segment.content, Content::Absent)) {
            let what = "the log is gone, and there was one".to_owned();
            return Err(Failure::Absent { path: log, what });
        }
        let first = store.first_block() / store.generation_blocks;
        let generations =
            closed_segments::end(&store.past).map_or(0, |end| end.div_ceil(store.generation_blocks) - first);
        if store.past.len() as u64 > generations + SHORT_LIVES_MAX {
            store.gather()?;
        }
        Ok(store)
    }

    /// Finds the existing databases.
    fn find(&mut self) -> Result<(), Failure> {
        self.past = closed_segments::read_all(&self.dir, self.first_block())?;
        self.next_ordinal = self.past.iter().map(|segment| segment.ordinal + 1).max().unwrap_or(0);
        Ok(())
    }

    /// Where the log begins.
    fn first_block(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.first_block)
    }

    /// The directory of the next database, which begins with this block, and its ordinal.
    fn next_path(&mut self, begins: u64) -> (PathBuf, u64) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        (ClosedSegment::path_of(&self.dir.log(), ordinal, begins), ordinal)
    }

    /// Begins a database with this block; whatever there is from that number on counts no more.
    fn begin(&mut self, from: u64) -> Result<(), Failure> {
        let (unused, ended) = (self.prepared()?, self.current.take());
        for database in unused.into_iter().chain(ended) {
            database.sync()?;
            self.past.push(database.as_stratum(u64::MAX));
            self.helper().ask(Job::Close(database))?;
        }
        let (path, ordinal) = self.next_path(from);
        let database = Database::make(path, ordinal, from, self.generation_blocks)?;
        files::sync_dir(&self.dir.log())?;
        files::sync_dir(self.dir.path())?;
        for segment in &mut self.past {
            segment.blocks.end = segment.blocks.end.min(from);
        }
        self.current = Some(database);
        self.forget_below(self.first_block())
    }

    /// The database that the helper prepared, once it is made.
    fn prepared(&mut self) -> Result<Option<Database>, Failure> {
        self.asked.take().map(|_| self.helper().wait()).transpose()
    }

    /// Queues the preparation of the database that begins with this block.
    fn prepare(&mut self, begins: u64) -> Result<(), Failure> {
        let (path, ordinal) = self.next_path(begins);
        self.asked = Some(begins);
        let job = Job::Make(path, ordinal, begins, self.generation_blocks);
        self.helper().ask(job)
    }

    /// Goes on with the database of the next generation, which begins with this block. What is in the one before is made
    /// durable: later syncs are of the next one.
    fn turn_to(&mut self, begins: u64) -> Result<(), Failure> {
        match self.asked {
            Some(asked) if asked == begins => {}
            Some(_) => return self.begin(begins),
            None => self.prepare(begins)?,
        }
        let next = self.prepared()?;
        if let Some(full) = std::mem::replace(&mut self.current, next) {
            full.sync()?;
            full.refuse_blobs()?;
            self.past.push(full.as_stratum(begins));
            self.helper().ask(Job::Close(full))?;
        }
        Ok(())
    }

    fn helper(&mut self) -> &Helper {
        self.helper.get_or_insert_with(Helper::start)
    }

    /// Lets databases go that have no block from this number on.
    fn forget_below(&mut self, number: u64) -> Result<(), Failure> {
        let is_over = |segment: &mut ClosedSegment| segment.blocks.is_empty() || segment.blocks.end <= number;
        let over: Vec<ClosedSegment> = self.past.extract_if(.., is_over).collect();
        match &self.helper {
            Some(helper) => over.into_iter().try_for_each(|segment| helper.ask(Job::Remove(segment))),
            None => over.into_iter().try_for_each(ClosedSegment::remove),
        }
    }

    /// Makes one database for each generation of all that are there, from the last generation to the first, so that what was
    /// gathered counts as soon as it has its name. Stops where something is missing: that is for others to judge.
    fn gather(&mut self) -> Result<(), Failure> {
        let (first, end) = (self.first_block(), closed_segments::end(&self.past).unwrap_or(0));
        let log = self.dir.log();
        let unnamed = log.join("gathering");
        let clear = || {
            if files::exists(&unnamed)? {
                fs::remove_dir_all(&unnamed).map_err(Failure::io("removing", &unnamed))
            } else {
                Ok(())
            }
        };
        let generations = first / self.generation_blocks..end.div_ceil(self.generation_blocks);
        for generation in generations.rev() {
            clear()?;
            let begins = first.max(generation * self.generation_blocks);
            let blocks = begins..end.min((generation + 1) * self.generation_blocks);
            let gathered = Database::make(unnamed.clone(), 0, begins, self.generation_blocks)?;
            let mut next = Some(begins);
            closed_segments::replay(&mut self.past, &blocks, &mut |number, block| {
                next = next
                    .filter(|next| number == *next && crate::journal::block::parse(block).is_ok())
                    .map(|next| next + 1);
                next.map_or(Ok(()), |_| gathered.append(number, block))
            })?;
            gathered.sync()?;
            drop(gathered);
            if next != Some(blocks.end) {
                break;
            }
            // A later one counts from its first block on.
            let ordinal = self.next_ordinal + generation - first / self.generation_blocks;
            let path = ClosedSegment::path_of(&log, ordinal, begins);
            fs::rename(&unnamed, &path).map_err(Failure::io("renaming to", &path))?;
            files::sync_dir(&log)?;
        }
        clear()?;
        self.find()?;
        self.forget_below(first)
    }

    fn reading(&self) -> Reader {
        Reader {
            _dir: self.dir.clone(),
            past: self.past.clone(),
            current: self.current.as_ref().map(Database::reader),
            first_block: self.first_block(),
            generation_blocks: self.generation_blocks,
            bytes: BTreeMap::new(),
        }
    }

    /// Databases that are there, the one that is written included.
    #[cfg(test)]
    fn databases(&self) -> usize {
        self.past.len() + usize::from(self.current.is_some())
    }
}

impl Store for SledStore {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        match &self.current {
            None => self.begin(number)?,
            Some(current) if !current.has_place_for(number) => self.turn_to(number)?,
            Some(_) => {}
        }
        self.current.as_ref().expect("begun just now").append(number, block)?;
        let (generation, slot) = (number / self.generation_blocks, number % self.generation_blocks);
        *self.bytes.entry(generation).or_default() += block.len() as u64;
        if slot >= self.generation_blocks / 2 && self.asked.is_none() {
            self.prepare((generation + 1) * self.generation_blocks)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        if self.current.is_none() {
            self.past.iter().try_for_each(ClosedSegment::sync)?;
            self.begin(closed_segments::end(&self.past).unwrap_or(0).max(self.first_block()))?;
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
        self.begin(from)
    }

    fn drop_below(&mut self, number: u64) -> Result<(), Failure> {
        self.bytes = self.bytes.split_off(&(number / self.generation_blocks));
        self.forget_below(number / self.generation_blocks * self.generation_blocks)
    }

    fn generation_blocks(&self) -> u64 {
        self.generation_blocks
    }

    /// What is only read any more is read from its file as it is.
    fn whole_blocks(&self) -> bool {
        false
    }

    fn mark(&self) -> Option<Checkpoint> {
        self.mark.clone()
    }

    fn set_mark(&mut self, mark: Checkpoint) -> Result<(), Failure> {
        if self.past.is_empty() && self.current.is_none() {
            // With a mark there is a log: one that is not there any more must be missed.
            self.begin(mark.next_block)?;
        }
        self.dir.check_held()?;
        checkpoint::write(&self.dir.mark(), &mark)?;
        self.mark = Some(mark);
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.bytes.values().sum()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // What was made in advance holds nothing: if it stays, the next start takes it away.
        if let Ok(Some(unused)) = self.prepared() {
            let segment = unused.as_stratum(u64::MAX);
            drop(unused);
            let _ = segment.remove();
        }
        // The directory is let go of when nothing is done in it any more.
        (self.current, self.helper) = (None, None);
    }
}

/// Reads blocks while others are written.
struct Reader {
    /// The directory stays ours as long as its database is open.
    _dir: DataDir,
    past: Vec<ClosedSegment>,
    current: Option<database::Reader>,
    /// Blocks before it may be removed by the helper at this moment.
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
        closed_segments::replay(past, &(*first_block..u64::MAX), &mut show)?;
        current.as_ref().map_or(Ok(()), |current| current.replay(&mut show))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance::{self, GENERATION_BLOCKS, framed};
    use crate::journal::directory::Layout;

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
        store.set_mark(Checkpoint { first_block: 384, next_block: 400, ..Checkpoint::default() }).unwrap();
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
            store.set_mark(Checkpoint { next_block: round * 100 + 100, ..Checkpoint::default() }).unwrap();
            assert_eq!(store.databases() as u64, (round + 1) * 13, "a hundred blocks touch thirteen generations");
        }
        let before = log_bytes(&dir);
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store).len(), 400);
        store.sync().unwrap();
        store.set_mark(Checkpoint { first_block: 304, next_block: 400, ..Checkpoint::default() }).unwrap();
        store.drop_below(304).unwrap();
        drop(store);
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store), (304..400).collect::<Vec<_>>());
        assert!(log_bytes(&dir) < before / 2, "{} of {before} bytes are left", log_bytes(&dir));
    }

    #[test]
    fn each_generation_has_a_database_and_all_are_read_while_the_last_is_written() {
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        (0..20).for_each(|number| store.append(number, &block(number)).unwrap());
        assert_eq!(store.databases(), 3);
        let mut reader = store.reader();
        (20..28).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        let mut seen = Vec::new();
        let mut visit = |number, found: &[u8]| {
            assert_eq!(found, block(number));
            seen.push(number);
            Ok(())
        };
        reader.replay(&mut visit).unwrap();
        assert!(seen.starts_with(&(0..20).collect::<Vec<_>>()), "{seen:?}");
        drop(reader);
        store.set_mark(Checkpoint { first_block: 16, next_block: 28, ..Checkpoint::default() }).unwrap();
        store.drop_below(16).unwrap();
        assert_eq!((store.databases(), numbers(&mut store)), (2, (16..28).collect()));
        drop(store);
        assert_eq!(fs::read_dir(dir.log()).unwrap().count(), 2, "what was made in advance is taken away");
    }

    #[test]
    fn databases_of_many_short_lives_are_made_one_for_each_generation() {
        let (_place, dir) = place();
        for number in 0..40 {
            let mut store = SledStore::open(&dir).unwrap();
            assert_eq!(numbers(&mut store), (0..number).collect::<Vec<_>>());
            store.append(number, &block(number)).unwrap();
            store.sync().unwrap();
            store.set_mark(Checkpoint { next_block: number + 1, ..Checkpoint::default() }).unwrap();
            assert!(store.databases() as u64 <= number / u64::from(GENERATION_BLOCKS) + 2 + SHORT_LIVES_MAX);
        }
    }

    #[test]
    fn a_log_that_sled_cannot_open_any_more_is_read_all_the_same() {
        let (_place, dir) = place();
        let mut store = SledStore::open(&dir).unwrap();
        (0..40).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        store.set_mark(Checkpoint { next_block: 40, ..Checkpoint::default() }).unwrap();
        let path = store.current.as_ref().unwrap().path().to_owned();
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
        (0..6).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        store.set_mark(Checkpoint { next_block: 6, ..Checkpoint::default() }).unwrap();
        let path = store.current.as_ref().unwrap().path().to_owned();
        drop(store);
        for name in ["db", "conf", "blobs"] {
            fs::rename(path.join(name), dir.log().join(name)).unwrap();
        }
        fs::write(dir.log().join("snap.00"), "pages").unwrap();
        fs::remove_dir_all(path).unwrap();
        let mut store = SledStore::open(&dir).unwrap();
        assert_eq!(numbers(&mut store), (0..6).collect::<Vec<_>>());
        assert!(!dir.log().join("snap.00").exists());
        store.sync().unwrap();
        (6..16).for_each(|number| store.append(number, &block(number)).unwrap());
        store.set_mark(Checkpoint { first_block: 8, next_block: 16, ..Checkpoint::default() }).unwrap();
        store.drop_below(8).unwrap();
        drop(store);
        assert_eq!(SledStore::open(&dir).unwrap().databases(), 1);
    }

    #[test]
    fn a_log_that_is_gone_is_not_replaced_by_an_empty_one() {
        let (_place, dir) = place();
        SledStore::open(&dir).unwrap().set_mark(Checkpoint { next_block: 1, ..Checkpoint::default() }).unwrap();
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
        store.set_mark(Checkpoint::default()).unwrap();
        fs::write(store.current.as_ref().unwrap().path().join("blobs").join("4194304"), "a page").unwrap();
        let refused = store.append(u64::from(GENERATION_BLOCKS), &block(8)).unwrap_err().to_string();
        assert!(refused.contains("blobs is not empty"), "{refused}");
        drop(store);
        assert!(SledStore::open(&dir).is_err());
    }

    #[test]
    fn a_damaged_mark_is_damage() {
        let (_place, dir) = place();
        SledStore::open(&dir).unwrap().set_mark(Checkpoint::default()).unwrap();
        fs::write(dir.mark(), "wMK1").unwrap();
        assert!(matches!(SledStore::open(&dir), Err(Failure::Damaged(_))));
    }
}

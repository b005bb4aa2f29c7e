//! A log that has outgrown what is in it is written anew when it is opened.
//!
//! sled's file never shrinks. It is used again, but not all of it: a process that is killed while a generation is dropped
//! leaves pages behind that nothing refers to, and after a time without snapshots the file stays as large as the log was.
//! Opening takes time with the size of the file. So, before it is used, the blocks go into a new database, which takes
//! the place of the old one:
//!
//! ```text
//!   write log.rebuilt, sync it -> log becomes log.outgrown -> log.rebuilt becomes log -> sync the names -> remove log.outgrown
//! ```
//!
//! Wherever that is cut off, [`finish`] goes on from what is there.

use super::directory::DataDir;
use super::failure::Failure;
use super::files;
use super::sled_store::SledStore;
use super::store::Store;
use std::fs;
use std::path::Path;

/// A file below this size is never rebuilt: several times what the log takes between snapshots.
pub(super) const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Completes or forgets a rebuilding that was cut off.
pub(super) fn finish(dir: &DataDir) -> Result<(), Failure> {
    let (rebuilt, outgrown) = dir.rebuilt_log();
    if !files::exists(&dir.log())? && files::exists(&rebuilt)? {
        // The old one only left its place after the new one was whole and synced.
        fs::rename(&rebuilt, dir.log()).map_err(Failure::io("renaming", &rebuilt))?;
        files::sync_dir(dir.path())?;
    }
    remove_if_there(&rebuilt)?;
    remove_if_there(&outgrown)
}

/// The same store, or a new one with the same blocks if its file is larger than `file_bytes_max` and more than half empty.
pub(super) fn if_outgrown(mut store: SledStore, file_bytes_max: u64) -> Result<SledStore, Failure> {
    let file_bytes = store.file_bytes()?;
    if file_bytes <= file_bytes_max {
        return Ok(store);
    }
    let mut bytes = 0;
    store.replay(&mut |_, block| {
        bytes += block.len() as u64;
        Ok(())
    })?;
    if bytes >= file_bytes / 2 {
        return Ok(store);
    }
    let dir = store.dir().clone();
    let (rebuilt, outgrown) = dir.rebuilt_log();
    match copy(&mut store, &dir, &rebuilt) {
        Ok(()) => drop(store),
        Err(Failure::Full { .. }) => {
            // The log is usable as it is; there is no room to make it smaller.
            remove_if_there(&rebuilt)?;
            return Ok(store);
        }
        Err(other) => return Err(other),
    }
    fs::rename(dir.log(), &outgrown).map_err(Failure::io("renaming", &dir.log()))?;
    fs::rename(&rebuilt, dir.log()).map_err(Failure::io("renaming", &rebuilt))?;
    files::sync_dir(dir.path())?;
    remove_if_there(&outgrown)?;
    SledStore::open_at(&dir, dir.log())
}

fn copy(store: &mut SledStore, dir: &DataDir, rebuilt: &Path) -> Result<(), Failure> {
    fs::create_dir(rebuilt).map_err(Failure::io("making", rebuilt))?;
    let mut copy = SledStore::open_at(dir, rebuilt.to_owned())?;
    store.replay(&mut |number, block| copy.append(number, block))?;
    copy.sync()
}

fn remove_if_there(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("removing", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Layout;
    use super::super::store::Mark;
    use super::*;

    const LAYOUT: Layout = Layout { partitions: 4, generation_blocks: 8 };

    fn block(number: u64) -> Vec<u8> {
        vec![number.to_le_bytes()[0]; 20_000]
    }

    /// Two hundred generations, of which the last two are kept.
    fn grown() -> (tempfile::TempDir, DataDir, SledStore) {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), LAYOUT).unwrap();
        let mut store = SledStore::open(&dir).unwrap();
        (0..1600).for_each(|number| store.append(number, &block(number)).unwrap());
        store.sync().unwrap();
        store.set_mark(Mark { first_block: 1584, next_block: 1600, ..Mark::default() }).unwrap();
        store.drop_below(1584).unwrap();
        (place, dir, store)
    }

    fn assert_whole(store: &mut SledStore) {
        let mut seen = Vec::new();
        store
            .replay(&mut |number, found| {
                assert_eq!(found, block(number));
                seen.push(number);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, (1584..1600).collect::<Vec<_>>());
        store.append(1600, &block(1600)).unwrap();
        store.cut(1600).unwrap();
    }

    #[test]
    fn a_log_far_below_its_file_is_written_anew() {
        let (_place, dir, store) = grown();
        let before = store.file_bytes().unwrap();
        let mut after = if_outgrown(store, 1).unwrap();
        let bytes = after.file_bytes().unwrap();
        assert!(bytes < before / 2, "{before} bytes became {bytes}");
        assert_whole(&mut after);
        drop(after);
        assert_whole(&mut SledStore::open(&dir).unwrap());
        let (rebuilt, outgrown) = dir.rebuilt_log();
        assert!(!rebuilt.exists() && !outgrown.exists());
    }

    #[test]
    fn a_rebuilding_that_was_cut_off_is_completed_or_forgotten() {
        let (place, dir, store) = grown();
        drop(store);
        let (rebuilt, outgrown) = dir.rebuilt_log();
        // Before the names changed: what was half written goes.
        fs::create_dir(&rebuilt).unwrap();
        fs::write(rebuilt.join("db"), "half").unwrap();
        assert_whole(&mut SledStore::open(&dir).unwrap());
        assert!(!rebuilt.exists());
        // Between the two renames: the new one takes its place.
        fs::rename(dir.log(), &rebuilt).unwrap();
        fs::create_dir(&outgrown).unwrap();
        drop(dir);
        let dir = DataDir::open(place.path()).unwrap();
        assert_whole(&mut SledStore::open(&dir).unwrap());
        assert!(!outgrown.exists());
    }
}

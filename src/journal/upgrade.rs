//! From a data directory of an older version to one of this version, in a way that a loss of power cannot hurt.
//!
//! ```text
//!   DIR               the older data; it is only read
//!   DIR.version-5     made beside it: snapshots of every partition after its last record, an empty log behind them, the archive
//!                     read back and compared
//!   the two change names, in one step where the file system can do that
//!   DIR.version-4     the older data, untouched: the backup
//! ```
//!
//! Until the names change the older data is what counts, and the next run begins anew; from then on the new data counts, and
//! the next run gives the older data its name. The states are the caller's: this room does not know what is in them.

use super::directory::{DATA_VERSION, DataDir};
use super::failure::Failure;
use super::files;
use super::inspect::{Contents, replay};
use super::recovery::Replay;
use super::rescue::begin_log;
use super::snapshot::Snapshots;
use crate::units::PartitionId;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A step of an upgrade that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new directory is there, without data.
    Begun,
    /// Every snapshot is written and synced.
    Snapshots,
    /// The archive is copied and synced: the new directory is complete.
    Complete,
    /// The new directory has the name of the older one, and the other way round.
    Swapped,
    /// The older directory has the name of the backup.
    Done,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Step; 5] = [Step::Begun, Step::Snapshots, Step::Complete, Step::Swapped, Step::Done];

    /// The step in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Begun => "the new directory is made",
            Step::Snapshots => "the snapshots are written",
            Step::Complete => "the archive is copied",
            Step::Swapped => "the new data has the name of the old data",
            Step::Done => "the old data is kept as the backup",
        }
    }
}

/// Is given each step that is done. An error ends the upgrade there, as the end of the process would.
pub type OnStep<'a> = &'a mut dyn FnMut(Step) -> Result<(), Failure>;

/// The state of the directory.
#[derive(Debug)]
pub enum Found {
    /// Data of this version: nothing is to be done. With the backup of an upgrade that was interrupted just before its end.
    Current(Option<PathBuf>),
    /// Older data.
    Older(Upgrade),
}

/// Older data that is to be upgraded; it is held.
#[derive(Debug)]
pub struct Upgrade {
    old: DataDir,
}

/// Room that an upgrade takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Room {
    /// The older data, which stays as the backup.
    pub backup_bytes: u64,
    /// Needed beside it.
    pub needed_bytes: u64,
    /// Free on the disk.
    pub free_bytes: u64,
}

/// Finds the steps to do. Finishes nothing.
///
/// # Errors
/// There is no data, another process uses it, or it is too old or too new.
pub fn find(path: &Path) -> Result<Found, Failure> {
    let (made, interrupted) = (sibling(path, DATA_VERSION), DataDir::interrupted_upgrade(path));
    if let Some(version) = interrupted {
        // Only where the two cannot change names in one step: the older one has its new name already.
        let old = DataDir::open_any(&sibling(path, version))?;
        drop(old);
        return Ok(Found::Current(Some(made)));
    }
    let dir = DataDir::open_any(path)?;
    if dir.version() < DATA_VERSION {
        return Ok(Found::Older(Upgrade { old: dir }));
    }
    let left = DataDir::version_of(&made).filter(|version| *version < DATA_VERSION);
    Ok(Found::Current(left.map(|_| made)))
}

/// Ends an upgrade that was interrupted after the new data was complete, and returns the backup.
///
/// # Errors
/// A directory cannot be renamed.
pub fn finish(path: &Path) -> Result<Option<PathBuf>, Failure> {
    let made = sibling(path, DATA_VERSION);
    if let Some(version) = DataDir::interrupted_upgrade(path) {
        rename(&made, path)?;
        return Ok(Some(sibling(path, version)));
    }
    let Some(version) = DataDir::version_of(&made).filter(|version| *version < DATA_VERSION) else { return Ok(None) };
    let backup = sibling(path, version);
    rename(&made, &backup)?;
    Ok(Some(backup))
}

impl Upgrade {
    /// The older data.
    pub fn old(&self) -> &DataDir {
        &self.old
    }

    /// Where the older data will be.
    pub fn backup(&self) -> PathBuf {
        sibling(self.old.path(), self.old.version())
    }

    /// Hands the older data over.
    ///
    /// # Errors
    /// Those of [`replay`]; the place of the backup is taken.
    pub fn read(&self, reader: &mut dyn Replay) -> Result<Contents, Failure> {
        let backup = self.backup();
        if files::exists(&backup)? {
            let what =
                "the old data will be kept under this name, and something is there already; move it away".to_owned();
            return Err(Failure::Format { path: backup, what });
        }
        replay(&self.old, reader)
    }

    /// Room for states of so many bytes in all.
    ///
    /// # Errors
    /// The directories cannot be read.
    pub fn room(&self, state_bytes: u64) -> Result<Room, Failure> {
        /// Room for what the system keeps beside the files.
        const SPARE: u64 = 16 * 1024 * 1024;
        let archive: u64 =
            archive_files(&self.old)?.iter().filter(|(path, _)| !is_full(path)).map(|(_, bytes)| bytes).sum();
        let needed = state_bytes.saturating_mul(2).saturating_add(archive).saturating_add(SPARE);
        Ok(Room {
            backup_bytes: bytes_below(self.old.path())?,
            needed_bytes: needed,
            free_bytes: self.old.free_bytes()?,
        })
    }

    /// Makes the new directory beside the older one and returns it, complete and durable.
    ///
    /// # Errors
    /// It cannot be written, or the caller's error.
    pub fn write(
        &self,
        contents: &Contents,
        state: &mut dyn FnMut(PartitionId) -> Vec<u8>,
        on_step: OnStep<'_>,
    ) -> Result<DataDir, Failure> {
        let made = sibling(self.old.path(), DATA_VERSION);
        if files::exists(&made)? {
            // The remains of an upgrade that was interrupted: the older data is whole.
            fs::remove_dir_all(&made).map_err(Failure::io("removing", &made))?;
        }
        let mut new = DataDir::create(&made, self.old.layout())?;
        if let Some(owner) = self.old.owner() {
            new.claim(owner)?;
        }
        on_step(Step::Begun)?;
        let snapshots = Snapshots::open(&new)?;
        for (partition, last) in contents.sequences.iter().filter(|(_, last)| last.0 > 0) {
            let state = state(partition);
            // One stands in for the other.
            snapshots.write(partition, last, &state)?;
            snapshots.write(partition, last, &state)?;
        }
        begin_log(&new, &contents.sequences)?.close()?;
        on_step(Step::Snapshots)?;
        for (path, _) in archive_files(&self.old)? {
            take_over(&path, &new.archive())?;
        }
        files::sync_dir(&new.archive())?;
        files::sync_dir(new.path())?;
        on_step(Step::Complete)?;
        Ok(new)
    }

    /// Lets the new directory take the place of the older one, which is kept under the name that is returned.
    ///
    /// # Errors
    /// The directories cannot be renamed.
    pub fn swap(self, new: DataDir, on_step: OnStep<'_>) -> Result<PathBuf, Failure> {
        let (path, made, backup) = (self.old.path().to_owned(), new.path().to_owned(), self.backup());
        match renameat_with(CWD, &made, CWD, &path, RenameFlags::EXCHANGE) {
            Ok(()) => {
                sync_parent(&path)?;
                on_step(Step::Swapped)?;
                rename(&made, &backup)?;
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => swap_in_two(&path, &made, &backup, on_step)?,
            Err(other) => return Err(Failure::io("renaming", &made)(other.into())),
        }
        on_step(Step::Done)?;
        Ok(backup)
    }
}

/// The same where two names cannot be exchanged. In between nothing has the name of the data, and a start is refused.
fn swap_in_two(path: &Path, made: &Path, backup: &Path, on_step: OnStep<'_>) -> Result<(), Failure> {
    rename(path, backup)?;
    on_step(Step::Swapped)?;
    rename(made, path)
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(Failure::io("renaming", from))?;
    sync_parent(to)
}

fn sync_parent(path: &Path) -> Result<(), Failure> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => files::sync_dir(parent),
        None => files::sync_dir(Path::new(".")),
    }
}

/// The name of this data in another version, beside it.
fn sibling(path: &Path, version: u32) -> PathBuf {
    // `DIR/` and `DIR` are one directory.
    let mut name: OsString = path.components().as_path().as_os_str().to_owned();
    name.push(format!(".version-{version}"));
    PathBuf::from(name)
}

impl DataDir {
    /// The version of the older data, when an upgrade of this directory was interrupted while nothing had its name.
    pub(super) fn interrupted_upgrade(path: &Path) -> Option<u32> {
        if path.exists() || DataDir::version_of(&sibling(path, DATA_VERSION)) != Some(DATA_VERSION) {
            return None;
        }
        (super::directory::OLDEST_DATA_VERSION..DATA_VERSION)
            .find(|version| DataDir::version_of(&sibling(path, *version)) == Some(*version))
    }
}

fn archive_files(dir: &DataDir) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let archive = dir.archive();
    let mut files = Vec::new();
    for entry in fs::read_dir(&archive).map_err(Failure::io("reading", &archive))? {
        let entry = entry.map_err(Failure::io("reading", &archive))?;
        let bytes = entry.metadata().map_err(Failure::io("looking at", &archive))?.len();
        files.push((entry.path(), bytes));
    }
    Ok(files)
}

/// A full file of the archive never changes.
fn is_full(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "arc")
}

/// Full files get a second name, which takes no room; others are copied.
fn take_over(path: &Path, archive: &Path) -> Result<(), Failure> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let to = archive.join(name);
    if is_full(path) && fs::hard_link(path, &to).is_ok() {
        return Ok(());
    }
    let copied = fs::copy(path, &to).and_then(|_| File::open(&to)?.sync_all());
    copied.map_err(Failure::io("copying to", &to))
}

fn bytes_below(path: &Path) -> Result<u64, Failure> {
    let mut sum = 0;
    for entry in fs::read_dir(path).map_err(Failure::io("reading", path))? {
        let entry = entry.map_err(Failure::io("reading", path))?;
        let found = entry.metadata().map_err(Failure::io("looking at", path))?;
        sum += if found.is_dir() { bytes_below(&entry.path())? } else { found.len() };
    }
    Ok(sum)
}

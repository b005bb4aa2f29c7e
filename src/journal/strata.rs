//! What former processes left of the log: one database of sled's for each time that it was opened and written.
//!
//! ```text
//!   log/00000004-00000000000000081920/   the fourth one; its first block is 81,920
//!   log/00000005-00000000000000093127/   the fifth one: from 93,127 on only this one counts
//! ```
//!
//! A process never opens a database that another one wrote. It reads its blocks straight out of its file ([`super::raw`]),
//! and begins a database of its own where they end. So opening the log takes no longer than reading it, a restart
//! leaves no pages behind that nothing refers to, and what is damaged is found by us, block by block, and is not touched.
//! When the log is trimmed beyond a former database its files are removed.

use super::directory::DataDir;
use super::failure::Failure;
use super::files;
use super::raw::RawFile;
use super::store::BlockVisitor;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A database that is only read any more.
#[derive(Clone, Debug)]
pub(super) struct Stratum {
    /// Counted over all databases of a log.
    pub ordinal: u64,
    /// Its directory.
    pub path: PathBuf,
    /// The numbers of blocks that count in it: what a later one begins with, that one has.
    pub blocks: Range<u64>,
    /// Its file, unless that was never made.
    pub raw: Option<RawFile>,
}

impl Stratum {
    /// The directory of a database whose first block this is.
    pub fn path_of(log: &Path, ordinal: u64, begins: u64) -> PathBuf {
        log.join(format!("{ordinal:08}-{begins:020}"))
    }

    /// Takes its files away.
    pub fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path).map_err(Failure::io("removing", &self.path))
    }
}

/// Every database of a log, the oldest first, with the blocks from `from` on.
pub(super) fn read_all(dir: &DataDir, from: u64) -> Result<Vec<Stratum>, Failure> {
    let log = dir.log();
    move_into_its_own(&log)?;
    let mut named = Vec::new();
    for entry in fs::read_dir(&log).map_err(Failure::io("reading", &log))? {
        let path = entry.map_err(Failure::io("reading", &log))?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.split_once('-'));
        let parsed = name.and_then(|(ordinal, begins)| Some((ordinal.parse().ok()?, begins.parse().ok()?)));
        named.extend(parsed.map(|(ordinal, begins): (u64, u64)| (ordinal, begins, path)));
    }
    named.sort_unstable();
    let mut strata = Vec::with_capacity(named.len());
    let mut below = u64::MAX;
    for (ordinal, begins, path) in named.into_iter().rev() {
        refuse_blobs(&path)?;
        let blocks = begins..below;
        let raw = if blocks.is_empty() { None } else { RawFile::read(&path.join("db"), from.max(begins))? };
        strata.push(Stratum { ordinal, path, blocks, raw });
        below = below.min(begins);
    }
    strata.reverse();
    Ok(strata)
}

/// Shows the blocks of all of them from `from` on.
pub(super) fn replay(strata: &[Stratum], from: u64, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
    let mut in_order: Vec<&Stratum> = strata.iter().collect();
    in_order.sort_unstable_by_key(|stratum| stratum.blocks.start);
    for Stratum { blocks, raw, .. } in in_order {
        if let Some(raw) = raw {
            raw.replay(&(blocks.start.max(from)..blocks.end), visit)?;
        }
    }
    Ok(())
}

/// The number after the last whole block.
pub(super) fn end(strata: &[Stratum]) -> Option<u64> {
    strata.iter().filter_map(|stratum| stratum.raw.as_ref()?.end(&stratum.blocks)).max()
}

/// sled puts a page that outgrows a quarter of its segment into a file of its own, and syncs it never.
pub(super) fn refuse_blobs(database: &Path) -> Result<(), Failure> {
    let blobs = database.join("blobs");
    let mut entries = match fs::read_dir(&blobs) {
        Ok(entries) => entries,
        Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(Failure::io("reading", &blobs)(other)),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let what = format!("{} is not empty, and what is in it would not survive a loss of power", blobs.display());
            Err(Failure::Store { doing: "looking for pages outside its file", what })
        }
    }
}

/// The first version of the program had one database, in the log's own directory.
fn move_into_its_own(log: &Path) -> Result<(), Failure> {
    let first = Stratum::path_of(log, 0, 0);
    if !files::exists(&log.join("db"))? && !files::exists(&first)? {
        return Ok(());
    }
    for name in ["conf", "blobs", "db"] {
        let from = log.join(name);
        if files::exists(&from)? {
            fs::create_dir_all(&first).map_err(Failure::io("making", &first))?;
            fs::rename(&from, first.join(name)).map_err(Failure::io("renaming", &from))?;
            files::sync_dir(&first)?;
        }
    }
    for entry in fs::read_dir(log).map_err(Failure::io("reading", log))?.flatten() {
        // sled's own notes of where pages are: of no use to us.
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).map_err(Failure::io("removing", &entry.path()))?;
        }
    }
    files::sync_dir(log)
}

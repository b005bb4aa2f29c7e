//! Databases of the log that are only read any more: full generations, and what former processes left.
//!
//! ```text
//!   log/00000004-00000000000000081920/   the fourth one; its first block is 81,920
//!   log/00000005-00000000000000082944/   the fifth one: from 82,944 on only this one counts
//! ```
//!
//! A process never opens a database that another one wrote. It reads its blocks straight out of its file ([`super::raw`]),
//! and begins a database of its own where they end. So opening the log takes no longer than reading it, a restart
//! leaves no pages behind that nothing refers to, and what is damaged is found by us, block by block, and is not touched.
//! When the log is trimmed beyond a database its files are removed.

use super::raw::RawFile;
use crate::journal::directory::DataDir;
use crate::journal::failure::Failure;
use crate::journal::files;
use crate::journal::store::BlockVisitor;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A database that is only read any more.
#[derive(Clone, Debug)]
pub(in crate::journal) struct ClosedSegment {
    /// Counted over all databases of a log.
    pub ordinal: u64,
    /// Its directory.
    pub path: PathBuf,
    /// The numbers of blocks that count in it: what a later one begins with, that one has.
    pub blocks: Range<u64>,
    /// What is in its file.
    pub content: Content,
}

/// The known state of a database's file.
#[derive(Clone, Debug)]
pub(in crate::journal) enum Content {
    /// Not read yet.
    Unread,
    /// It was never made.
    Absent,
    /// These blocks.
    Found(RawFile),
}

impl Content {
    /// Searches a file for blocks from this number on.
    fn of(database: &Path, from: u64) -> Result<Content, Failure> {
        Ok(RawFile::read(&database.join("db"), from)?.map_or(Content::Absent, Content::Found))
    }
}

impl ClosedSegment {
    /// The directory of a database whose first block this is.
    pub fn path_of(log: &Path, ordinal: u64, begins: u64) -> PathBuf {
        log.join(format!("{ordinal:08}-{begins:020}"))
    }

    /// Makes durable what was found in it: a process that was killed may have left it in the system's memory only.
    ///
    /// # Errors
    /// Its file cannot be synced.
    pub fn sync(&self) -> Result<(), Failure> {
        match &self.content {
            Content::Found(raw) => raw.sync(),
            Content::Unread | Content::Absent => Ok(()),
        }
    }

    /// Takes its files away.
    ///
    /// # Errors
    /// Its files cannot be removed.
    pub fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.path).map_err(Failure::io("removing", &self.path))
    }
}

/// Every database of a log, the oldest first, with the blocks from `from` on.
pub(in crate::journal) fn read_all(dir: &DataDir, from: u64) -> Result<Vec<ClosedSegment>, Failure> {
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
    let mut segments = Vec::with_capacity(named.len());
    let mut below = u64::MAX;
    for (ordinal, begins, path) in named.into_iter().rev() {
        refuse_blobs(&path)?;
        let blocks = begins..below;
        let content = if blocks.is_empty() { Content::Absent } else { Content::of(&path, from.max(begins))? };
        segments.push(ClosedSegment { ordinal, path, blocks, content });
        below = below.min(begins);
    }
    segments.reverse();
    Ok(segments)
}

/// Shows the blocks of all of them with these numbers.
pub(in crate::journal) fn replay(
    segments: &mut [ClosedSegment],
    numbers: &Range<u64>,
    visit: &mut BlockVisitor<'_>,
) -> Result<(), Failure> {
    let mut in_order: Vec<&mut ClosedSegment> = segments.iter_mut().collect();
    in_order.sort_unstable_by_key(|segment| segment.blocks.start);
    for ClosedSegment { path, blocks, content, .. } in in_order {
        let wanted = blocks.start.max(numbers.start)..blocks.end.min(numbers.end);
        if wanted.is_empty() {
            continue;
        }
        if let Content::Unread = content {
            *content = Content::of(path, wanted.start)?;
        }
        if let Content::Found(raw) = content {
            raw.replay(&wanted, visit)?;
        }
    }
    Ok(())
}

/// The number after the last whole block of these.
pub(super) fn end(segments: &[ClosedSegment]) -> Option<u64> {
    let ends = segments.iter().filter_map(|segment| match &segment.content {
        Content::Found(raw) => raw.end(&segment.blocks),
        Content::Unread | Content::Absent => None,
    });
    ends.max()
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
    let first = ClosedSegment::path_of(log, 0, 0);
    if !files::exists(&log.join("db"))? && !files::exists(&first)? {
        return Ok(());
    }
    for name in ["conf", "blobs", "db"] {
        let from = log.join(name);
        if files::exists(&from)? {
            files::create_dir_all(&first).map_err(Failure::io("making", &first))?;
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

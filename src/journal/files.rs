//! Writing files so that a loss of power leaves the old one or the new one.

use super::failure::Failure;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Replaces a file as a whole: written under another name, synced, renamed, and its directory synced.
pub(super) fn write_durably(path: &Path, parts: &[&[u8]]) -> Result<(), Failure> {
    write_in_pieces(path, parts, usize::MAX)
}

/// The same, synced about each time that so many bytes have been written.
pub(super) fn write_in_pieces(path: &Path, parts: &[&[u8]], piece: usize) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    if let Err(failure) = write_new(&temporary, parts, piece) {
        // On a full disk what was written of it is in the way of everything else.
        let _ = fs::remove_file(&temporary);
        return Err(failure);
    }
    fs::rename(&temporary, path).map_err(Failure::io("renaming to", path))?;
    sync_dir(path.parent().expect("a file of ours stands in a directory"))
}

fn write_new(temporary: &Path, parts: &[&[u8]], piece: usize) -> Result<(), Failure> {
    let mut file = File::create(temporary).map_err(Failure::io("making", temporary))?;
    let mut unsynced = 0;
    for part in parts.iter().flat_map(|part| part.chunks(piece)) {
        if unsynced >= piece {
            file.sync_data().map_err(Failure::io("syncing", temporary))?;
            unsynced = 0;
        }
        file.write_all(part).map_err(Failure::io("writing", temporary))?;
        unsynced += part.len();
    }
    file.sync_all().map_err(Failure::io("syncing", temporary))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), Failure> {
    let dir = File::open(path).map_err(Failure::io("opening", path))?;
    dir.sync_all().map_err(Failure::io("syncing", path))
}

/// The bytes of a file, or nothing if there is no such file.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(Failure::io("reading", path)(other)),
    }
}

/// Whether there is something under this name.
pub(super) fn exists(path: &Path) -> Result<bool, Failure> {
    path.try_exists().map_err(Failure::io("looking for", path))
}

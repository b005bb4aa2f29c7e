//! Writing files so that a loss of power leaves the old one or the new one, and so that only their owner can read them.

use super::failure::Failure;
use crate::host::{Durability, replace_file};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Permission bits of every file: facts about drivers and their money are the owner's alone.
const FILE_MODE: u32 = 0o600;
/// Permission bits of every directory.
const DIR_MODE: u32 = 0o700;
/// Depth to which [`make_private`] descends into directories: the deepest of ours is four.
const DEPTH_MAX: usize = 16;

/// Options that make a file which only its owner can read.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Makes a file, or empties the one that is there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Makes one directory; it must not exist.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIR_MODE).create(path)
}

/// Makes a directory and its parents where they are missing.
pub(super) fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIR_MODE).recursive(true).create(path)
}

/// Takes the rights of others away from a directory of ours and from everything in it: earlier versions, other programs
/// and copies leave them. Symbolic links are not followed.
pub(super) fn make_private(path: &Path) -> Result<(), Failure> {
    tighten(path, DEPTH_MAX)
}

fn tighten(path: &Path, depth: usize) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // A segment or a temporary file that got another name meanwhile has its rights from the start.
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(Failure::io("looking at", path)(other)),
    };
    if found.is_symlink() {
        return Ok(());
    }
    let mode = found.permissions().mode() & 0o7777;
    // A directory with the sticky bit (such as /tmp) is shared on purpose.
    if mode & 0o077 != 0 && mode & 0o1000 == 0 {
        match fs::set_permissions(path, Permissions::from_mode(mode & !0o077)) {
            // Only its owner may: a volume that an orchestrator mounts can belong to another user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %path.display(), mode = format!("{mode:04o}"), "others keep rights on this: it belongs to another user");
            }
            other => other.map_err(Failure::io("taking the rights of others from", path))?,
        }
    }
    if found.is_dir() && depth > 0 {
        for entry in fs::read_dir(path).map_err(Failure::io("reading", path))? {
            tighten(&entry.map_err(Failure::io("reading", path))?.path(), depth - 1)?;
        }
    }
    Ok(())
}

/// Replaces a file as a whole: written under another name, synced, renamed, and its directory synced.
pub(super) fn write_durably(path: &Path, parts: &[&[u8]]) -> Result<(), Failure> {
    write_in_pieces(path, parts, usize::MAX)
}

/// The same, synced about each time that so many bytes have been written.
pub(super) fn write_in_pieces(path: &Path, parts: &[&[u8]], piece: usize) -> Result<(), Failure> {
    let write = |file: &mut File| {
        let mut unsynced = 0;
        for part in parts.iter().flat_map(|part| part.chunks(piece)) {
            if unsynced >= piece {
                file.sync_data()?;
                unsynced = 0;
            }
            file.write_all(part)?;
            unsynced += part.len();
        }
        Ok(())
    };
    replace_file(path, FILE_MODE, Durability::Power, write).map_err(Failure::io("replacing", path))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        create_dir_all(&dir).unwrap();
        let file = dir.join("file");
        write_durably(&file, &[b"x"]).unwrap();
        assert_eq!((mode(&dir), mode(&place.path().join("a")), mode(&file)), (0o700, 0o700, 0o600));
    }

    #[test]
    fn rights_of_others_are_taken_away_from_all_that_is_there() {
        let place = tempfile::tempdir().unwrap();
        let (dir, outside) = (place.path().join("data"), place.path().join("outside"));
        fs::create_dir_all(dir.join("log/db")).unwrap();
        let file = dir.join("log/db/conf");
        for path in [&file, &outside] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o664)).unwrap();
        }
        fs::set_permissions(dir.join("log"), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("link")).unwrap();
        make_private(&dir).unwrap();
        let modes = [&dir, &dir.join("log"), &dir.join("log/db"), &file, &outside].map(|path| mode(path));
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o600, 0o664]);
    }
}

//! Files that are replaced as a whole, and the room that files take.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a replaced file has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process: readers see the old content or the new.
    Process,
    /// A power cut as well: the content and its name are synced.
    Power,
}

/// Replaces a file as a whole or not at all: written under the name with `.new` behind it, then renamed. A file that could
/// not be finished is removed, so that on a full disk it is not in the way.
///
/// # Errors
/// Each names the step and the file. Up to the renaming, the file is as it was before.
pub fn replace_file(
    path: &Path,
    mode: u32,
    durability: Durability,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = unfinished(path);
    let made = make(&unfinished, mode, durability, write);
    if let Err(error) =
        made.and_then(|()| fs::rename(&unfinished, path).map_err(|error| at("renaming to", path, error)))
    {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => {
            sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
        }
    }
}

fn make(
    path: &Path,
    mode: u32,
    durability: Durability,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    let mut file = options.map_err(|error| at("making", path, error))?;
    // The mode above is for a new file only, and without what the umask takes.
    file.set_permissions(Permissions::from_mode(mode)).map_err(|error| at("setting the rights of", path, error))?;
    write(&mut file).map_err(|error| at("writing", path, error))?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => file.sync_all().map_err(|error| at("syncing", path, error)),
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn at(doing: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{doing} {}: {error}", path.display()))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at("syncing", folder, error))
}

/// Bytes that a file, or all files below a folder, occupy on disk. What goes away meanwhile counts nothing.
pub fn bytes_below(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| bytes_below(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_replaced_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old, and longer").unwrap();
        replace_file(&path, 0o640, Durability::Power, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let full = |file: &mut File| {
            file.write_all(b"half")?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
        };
        let error = replace_file(&path, 0o600, Durability::Process, full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("a.txt.new"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_room_of_a_folder_is_that_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/a"), [1; 10_000]).unwrap();
        assert!((10_000..40_000).contains(&bytes_below(folder.path())));
        assert_eq!(bytes_below(&folder.path().join("gone")), 0);
    }
}

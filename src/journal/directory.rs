//! The data directory: its owner and format, and the check that it is not an empty one in place of the expected one.
//!
//! ```text
//!   DIR/
//!     format.json   the version of all that is below, the number of partitions, and whose data it is; written last when
//!                   it is made
//!     lock          held by the one process that uses the directory
//!     mark          how far the log is known to have reached, where it begins
//!     ballast       room that can be given back when the disk is full, without which the log cannot even be opened
//!     log/          the log's own store
//!     snapshots/    the state of partitions
//!     archive/      settled sessions
//! ```

use super::failure::Failure;
use super::files;
use crate::limits;
use crate::units::shape::{Described, Shapes, described, one_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the data directory that this program makes, and the only one that it writes to.
pub const DATA_VERSION: u32 = 5;

/// The oldest version that can be checked, shown, copied and upgraded.
pub const OLDEST_DATA_VERSION: u32 = 4;

const FORMAT: &str = "format.json";
const LOCK: &str = "lock";
const BALLAST: &str = "ballast";
const MARK: &str = "mark";
const PARTS: [&str; 3] = ["log", "snapshots", "archive"];

/// A data directory that this process holds. A clone is the same hold; the lock ends with the last one.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    version: u32,
    layout: Layout,
    owner: Option<Owner>,
    lock: Arc<File>,
}

/// Whether the ballast is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballast {
    /// In place.
    InPlace,
    /// The disk has too little room left for it.
    NoRoom {
        /// Free bytes.
        free: u64,
    },
}

/// Parameters that are fixed when a data directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Partitions of the id space.
    pub partitions: u16,
    /// Blocks in a generation of the log.
    pub generation_blocks: u32,
}

impl Layout {
    /// This many partitions, and generations as they serve a node under load: 1,024 blocks, 32 MiB. Smaller ones
    /// can be let go sooner, and less of the log is kept only because it shares a generation with the needed data.
    pub const fn new(partitions: u16) -> Layout {
        Layout { partitions, generation_blocks: 1024 }
    }
}

described! {
/// The kind of gate that a data directory belongs to. Facts of one kind are never taken for those of another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// In which mode the gate runs.
    pub mode: OwnerMode,
    /// The trust domain of its peers.
    pub trust_domain: String,
}
}

/// In which mode a gate runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerMode {
    /// `wattstile demo`.
    Demo,
    /// `wattstile serve` with certificates of its own.
    Development,
    /// `wattstile serve` in production.
    Production,
}

impl Described for OwnerMode {
    fn shape(_: &mut Shapes) -> Value {
        one_of(&[OwnerMode::Demo, OwnerMode::Development, OwnerMode::Production])
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            OwnerMode::Demo => "demo",
            OwnerMode::Development => "development",
            OwnerMode::Production => "production",
        };
        write!(f, "a gate in {mode} mode with trust domain `{}`", self.trust_domain)
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Format {
    format: String,
    version: u32,
    partitions: u16,
    generation_blocks: u32,
    /// Not there until a gate of a known kind has used the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
}

impl Format {
    fn write(path: &Path, version: u32, layout: Layout, owner: Option<Owner>) -> Result<(), Failure> {
        let Layout { partitions, generation_blocks } = layout;
        let text = Format { format: "wattstile".to_owned(), version, partitions, generation_blocks, owner };
        let text = serde_json::to_vec_pretty(&text).expect("a format is plain fields");
        files::write_durably(&path.join(FORMAT), &[&text])
    }
}

impl DataDir {
    /// Makes a new data directory and holds it. Refuses when there is data already.
    ///
    /// # Errors
    /// There is data in the directory already, another process uses it, or it cannot be written.
    pub fn create(path: &Path, layout: Layout) -> Result<DataDir, Failure> {
        DataDir::create_in(DATA_VERSION, path, layout)
    }

    /// The same for the contents of a directory of this version, which are copied.
    pub(super) fn create_in(version: u32, path: &Path, layout: Layout) -> Result<DataDir, Failure> {
        assert!(layout.partitions > 0 && layout.generation_blocks > 0, "a layout of nothing");
        let format = path.join(FORMAT);
        files::create_dir_all(path).map_err(Failure::io("making", path))?;
        for precious in [format.as_path(), &path.join(MARK)] {
            if files::exists(precious)? {
                let what = "there is data here already, not making new data in its place".to_owned();
                return Err(Failure::Format { path: precious.to_owned(), what });
            }
        }
        let lock = lock(path)?;
        for part in PARTS {
            let part = path.join(part);
            files::create_dir_all(&part).map_err(Failure::io("making", &part))?;
        }
        Format::write(path, version, layout, None)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            files::sync_dir(parent)?;
        }
        Ok(DataDir { path: path.to_owned(), version, layout, owner: None, lock: Arc::new(lock) })
    }

    /// Opens a data directory that was made before and holds it. Refuses when another process holds it, when another
    /// version of this program made it, and when there is none.
    ///
    /// # Errors
    /// There is no data in the directory, it has another version or is damaged, another process uses it, or it cannot
    /// be read. [`Failure::Older`]: it has to be upgraded first.
    pub fn open(path: &Path) -> Result<DataDir, Failure> {
        DataDir::open_from(DATA_VERSION, path)
    }

    /// The same for what only reads it or copies it as it is, which may be of an older version.
    ///
    /// # Errors
    /// Those of [`DataDir::open`]; [`Failure::Older`] only for what is older than [`OLDEST_DATA_VERSION`].
    pub fn open_any(path: &Path) -> Result<DataDir, Failure> {
        DataDir::open_from(OLDEST_DATA_VERSION, path)
    }

    fn open_from(oldest: u32, path: &Path) -> Result<DataDir, Failure> {
        let file = path.join(FORMAT);
        let Some(text) = files::read_if_there(&file)? else {
            let what =
                "there is no wattstile data here, and what else is here is not taken for a new directory".to_owned();
            return Err(Failure::Absent { path: path.to_owned(), what });
        };
        let wrong = |what: String| Failure::Format { path: file.clone(), what };
        // The version first: the other fields of another version may be others.
        let found: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let version = found.get("version").and_then(serde_json::Value::as_u64).and_then(|found| found.try_into().ok());
        if found.get("format").and_then(serde_json::Value::as_str) != Some("wattstile") {
            return Err(wrong("this is not the format file of a wattstile data directory".to_owned()));
        }
        let version = match version {
            Some(version) if (oldest..=DATA_VERSION).contains(&version) => version,
            Some(version) if (OLDEST_DATA_VERSION..oldest).contains(&version) => {
                return Err(Failure::Older { path: path.to_owned(), version });
            }
            other => {
                let version = other.map_or_else(|| "unknown".to_owned(), |version: u32| version.to_string());
                return Err(wrong(format!("data of version {version}, this program uses version {DATA_VERSION}")));
            }
        };
        let format: Format = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let lock = lock(path)?;
        for part in PARTS {
            let part = path.join(part);
            if !files::exists(&part)? {
                let what = "this part of the data directory is gone".to_owned();
                return Err(Failure::Absent { path: part, what });
            }
        }
        let layout = Layout { partitions: format.partitions, generation_blocks: format.generation_blocks };
        if layout.partitions == 0 || layout.generation_blocks == 0 {
            return Err(wrong("a data directory without partitions or blocks".to_owned()));
        }
        files::make_private(path)?;
        Ok(DataDir { path: path.to_owned(), version, layout, owner: format.owner, lock: Arc::new(lock) })
    }

    /// Whether this is a data directory, whole or damaged: something that a gate keeps in one is there.
    pub fn is_one(path: &Path) -> bool {
        let has = |name: &str| path.join(name).exists();
        has(FORMAT) || has(MARK) || (has("log") && has("snapshots"))
    }

    /// Returns the version of the data in this directory, without locking it; `None` when it cannot be read.
    pub fn version_of(path: &Path) -> Option<u32> {
        let text = files::read_if_there(&path.join(FORMAT)).ok()??;
        serde_json::from_slice::<Format>(&text).ok().map(|format| format.version)
    }

    /// Returns the owner of the data in this directory, without locking it; `None` when no gate of a known kind has
    /// used it, or when it cannot be read: [`DataDir::open`] reports why.
    pub fn owner_of(path: &Path) -> Option<Owner> {
        let text = files::read_if_there(&path.join(FORMAT)).ok()??;
        serde_json::from_slice::<Format>(&text).ok()?.owner
    }

    /// Refuses a directory that belongs to another kind of gate than this.
    ///
    /// # Errors
    /// [`Failure::OtherOwner`] names both.
    pub fn check_owner(path: &Path, owner: &Owner) -> Result<(), Failure> {
        match DataDir::owner_of(path) {
            Some(found) if found != *owner => {
                Err(Failure::OtherOwner { path: path.to_owned(), found, wanted: owner.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a directory that another process holds. That process may end, or another begin, a moment later: what is to be
    /// kept needs [`DataDir::open`].
    ///
    /// # Errors
    /// [`Failure::InUse`] names the process.
    pub fn check_free(path: &Path) -> Result<(), Failure> {
        if path.join(LOCK).exists() { lock(path).map(drop) } else { Ok(()) }
    }

    /// Writes down that the directory belongs to this kind of gate. Refuses when it belongs to another.
    ///
    /// # Errors
    /// It belongs to another kind of gate, or cannot be written.
    pub fn claim(&mut self, owner: &Owner) -> Result<(), Failure> {
        match &self.owner {
            Some(found) if found == owner => Ok(()),
            Some(found) => {
                let (path, found) = (self.path.clone(), found.clone());
                Err(Failure::OtherOwner { path, found, wanted: owner.clone() })
            }
            None => {
                Format::write(&self.path, self.version, self.layout, Some(owner.clone()))?;
                self.owner = Some(owner.clone());
                Ok(())
            }
        }
    }

    /// The owner of the data, once a gate of a known kind has used it.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Opens the existing data, or makes it if the directory is not there or empty.
    ///
    /// # Errors
    /// Those of [`DataDir::open`] and [`DataDir::create`].
    pub fn open_or_create(path: &Path, layout: Layout) -> Result<DataDir, Failure> {
        if DataDir::is_fresh(path)? { DataDir::create(path, layout) } else { DataDir::open(path) }
    }

    /// Whether there is no data yet: no directory, an empty one, or one that was being made when the process ended.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_fresh(path: &Path) -> Result<bool, Failure> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {
                // New data in its place would hide it.
                return match DataDir::interrupted_upgrade(path) {
                    Some(version) => Err(Failure::Older { path: path.to_owned(), version }),
                    None => Ok(true),
                };
            }
            Err(other) => return Err(Failure::io("reading", path)(other)),
        };
        let half_made = Path::new(FORMAT).with_extension("new");
        for entry in entries {
            let entry = entry.map_err(Failure::io("reading", path))?;
            let name = entry.file_name();
            let is_part = PARTS.iter().any(|part| name == *part);
            let is_empty = || fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
            if !(name == LOCK || name == half_made || (is_part && is_empty())) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of everything in it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The number of partitions, fixed when the directory was made.
    pub fn partitions(&self) -> u16 {
        self.layout.partitions
    }

    /// Parameters that were fixed when the directory was made.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Puts the ballast in place if it is not there and the disk has [`limits::BALLAST_SPARE_BYTES`] left beside it: after
    /// an operator removed it on a full disk, the log needs that room, not a new ballast. Called once the log is open.
    ///
    /// # Errors
    /// A disk that fails otherwise than by being full.
    pub fn place_ballast(&self) -> Result<Ballast, Failure> {
        self.place_ballast_beside(limits::BALLAST_SPARE_BYTES)
    }

    fn place_ballast_beside(&self, spare: u64) -> Result<Ballast, Failure> {
        let path = self.path.join(BALLAST);
        let bytes = limits::BALLAST_BYTES;
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes as u64) {
            return Ok(Ballast::InPlace);
        }
        // The remains of an earlier one on a full disk take room as well.
        self.release_ballast()?;
        let free = self.free_bytes()?;
        if free < spare.saturating_add(bytes as u64) {
            return Ok(Ballast::NoRoom { free });
        }
        // Written, not merely declared: a hole takes no room that could be given back.
        let chunk = vec![0x5a; 1024 * 1024];
        let written = files::create(&path).and_then(|mut file| {
            (0..bytes / chunk.len()).try_for_each(|_| file.write_all(&chunk))?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(Ballast::InPlace),
            Err(full) if full.kind() == std::io::ErrorKind::StorageFull => {
                self.release_ballast()?;
                Ok(Ballast::NoRoom { free })
            }
            Err(other) => Err(Failure::io("writing", &path)(other)),
        }
    }

    /// Bytes that this process can still use on the disk of the directory.
    pub(super) fn free_bytes(&self) -> Result<u64, Failure> {
        let found = rustix::fs::statvfs(&self.path)
            .map_err(|error| Failure::io("asking for the room at", &self.path)(error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Whether the directory at its path is still the one that is held: an operator may have removed or replaced it. What is
    /// written by path would then go to another gate's data, and what was confirmed is gone at the next start.
    ///
    /// # Errors
    /// [`Failure::Absent`]: it is another one, or none.
    pub fn check_held(&self) -> Result<(), Failure> {
        let path = self.path.join(LOCK);
        let held = self.lock.metadata().map_err(Failure::io("reading", &path))?;
        match fs::metadata(&path) {
            Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("reading", &path)(error)),
            Ok(_) | Err(_) => {
                let what = "it, or the lock file in it, was removed or replaced while this process used it; what was \
                            written since is in the directory that was moved away, or lost with it"
                    .to_owned();
                Err(Failure::Absent { path: self.path.clone(), what })
            }
        }
    }

    /// Gives the room of the ballast back, so that a log on a full disk can be opened and running sessions can end.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn release_ballast(&self) -> Result<(), Failure> {
        let path = self.path.join(BALLAST);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("removing", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.path.join(MARK)
    }
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(LOCK);
    let mut file =
        files::options().create(true).truncate(false).write(true).open(&path).map_err(Failure::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message of a process that comes later: on a full disk it is missing, and nothing else is.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            Err(Failure::InUse { path: dir.to_owned(), pid })
        }
        Err(TryLockError::Error(error)) => Err(Failure::io("locking", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_keeps_its_partitions() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        assert!(matches!(DataDir::open(&path), Err(Failure::Absent { .. })));
        let held = DataDir::open_or_create(&path, Layout::new(64)).unwrap();
        assert!(matches!(DataDir::open(&path), Err(Failure::InUse { .. })));
        let clone = held.clone();
        drop(held);
        assert!(matches!(DataDir::open(&path), Err(Failure::InUse { .. })));
        drop(clone);
        assert_eq!(DataDir::open_or_create(&path, Layout::new(8)).unwrap().partitions(), 64);
        assert!(matches!(DataDir::create(&path, Layout::new(64)), Err(Failure::Format { .. })));
    }

    #[test]
    fn a_directory_that_is_moved_away_from_under_its_holder_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let (path, aside) = (place.path().join("data"), place.path().join("aside"));
        let held = DataDir::create(&path, Layout::new(4)).unwrap();
        held.check_held().unwrap();
        fs::rename(&path, &aside).unwrap();
        let missing = held.check_held().unwrap_err().to_string();
        assert!(missing.contains("removed or replaced"), "{missing}");
        let other = DataDir::create(&path, Layout::new(4)).unwrap();
        assert!(matches!(held.check_held(), Err(Failure::Absent { .. })), "it is another gate's");
        other.check_held().unwrap();
    }

    #[test]
    fn other_versions_and_strangers_are_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        let refusal = |text: &str| {
            fs::write(place.path().join(FORMAT), text).unwrap();
            DataDir::open(place.path()).unwrap_err().to_string()
        };
        let newer = refusal(r#"{"format":"wattstile","version":6,"shards":[1]}"#);
        assert!(newer.contains("data of version 6, this program uses version 5"), "{newer}");
        let oldest = refusal(r#"{"format":"wattstile","version":3}"#);
        assert!(oldest.contains("data of version 3, this program uses version 5"), "{oldest}");
        let older = refusal(r#"{"format":"wattstile","version":4,"partitions":4,"generation_blocks":8}"#);
        assert!(older.contains("wattstile data upgrade"), "{older}");
        assert!(refusal(r#"{"version":5}"#).contains("not the format file"));
        assert!(refusal("{").contains("EOF"));
        assert!(
            refusal(r#"{"format":"wattstile","version":5,"partitions":4,"generation_blocks":8,"x":1}"#)
                .contains("unknown field")
        );
        let no_log = refusal(r#"{"format":"wattstile","version":5,"partitions":4,"generation_blocks":8}"#);
        assert!(no_log.contains("log: this part of the data directory is gone"), "{no_log}");
    }

    #[test]
    fn data_of_another_kind_of_gate_is_refused_and_both_are_named() {
        let place = tempfile::tempdir().unwrap();
        let owner = |mode, domain: &str| Owner { mode, trust_domain: domain.to_owned() };
        let demo = owner(OwnerMode::Demo, "demo.wattstile");
        let mut held = DataDir::create(place.path(), Layout::new(4)).unwrap();
        assert_eq!(DataDir::owner_of(place.path()), None);
        held.claim(&demo).unwrap();
        held.claim(&demo).unwrap();
        assert_eq!(DataDir::owner_of(place.path()), Some(demo.clone()));
        drop(held);
        let mut again = DataDir::open(place.path()).unwrap();
        assert_eq!(again.owner(), Some(&demo));
        for other in [owner(OwnerMode::Development, "demo.wattstile"), owner(OwnerMode::Demo, "wattstile.local")] {
            assert!(matches!(again.claim(&other), Err(Failure::OtherOwner { .. })));
            let refused = DataDir::check_owner(place.path(), &other).unwrap_err();
            assert_eq!(refused.exit_code(), 78);
            let text = refused.to_string();
            assert!(text.contains("demo mode with trust domain `demo.wattstile`"), "{text}");
            assert!(text.contains(&other.to_string()) && text.contains("gate.data_dir"), "{text}");
        }
        assert_eq!(again.layout(), Layout::new(4));
    }

    #[test]
    fn something_else_in_the_directory_is_not_taken_for_ours() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(DataDir::open_or_create(place.path(), Layout::new(4)), Err(Failure::Absent { .. })));
    }

    #[test]
    fn a_directory_whose_making_was_cut_off_is_made_again_and_one_with_data_is_not() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in [LOCK, "format.new"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("log")).unwrap();
        assert!(DataDir::is_fresh(place.path()).unwrap());
        fs::write(at("log/db"), "facts").unwrap();
        assert!(!DataDir::is_fresh(place.path()).unwrap());
        assert!(matches!(DataDir::open_or_create(place.path(), Layout::new(4)), Err(Failure::Absent { .. })));
        fs::remove_file(at("log/db")).unwrap();
        assert_eq!(DataDir::open_or_create(place.path(), Layout::new(4)).unwrap().partitions(), 4);
    }

    #[test]
    fn the_ballast_is_there_until_it_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), Layout::new(4)).unwrap();
        assert_eq!(dir.place_ballast().unwrap(), Ballast::InPlace);
        let length = || fs::metadata(place.path().join(BALLAST)).map(|found| found.len()).unwrap_or(0);
        assert_eq!(length(), limits::BALLAST_BYTES as u64);
        dir.release_ballast().unwrap();
        dir.release_ballast().unwrap();
        assert_eq!(length(), 0);
        // A ballast that a full disk cut short is made anew.
        fs::write(place.path().join(BALLAST), "half").unwrap();
        assert_eq!(dir.place_ballast().unwrap(), Ballast::InPlace);
        assert_eq!(length(), limits::BALLAST_BYTES as u64);
    }

    #[test]
    fn the_ballast_is_not_placed_where_the_log_needs_the_room() {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), Layout::new(4)).unwrap();
        assert!(matches!(dir.place_ballast_beside(u64::MAX), Ok(Ballast::NoRoom { free: 1.. })));
        assert!(!place.path().join(BALLAST).exists());
    }

    #[test]
    fn others_lose_their_rights_when_the_directory_is_opened() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        drop(DataDir::create(&path, Layout::new(4)).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&path), mode(&path.join("log")), mode(&path.join(FORMAT))], [0o700, 0o700, 0o600]);
        fs::write(path.join("archive/old"), "a session").unwrap();
        for (path, mode) in [(path.clone(), 0o755), (path.join("archive"), 0o755), (path.join("archive/old"), 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        drop(DataDir::open(&path).unwrap());
        assert_eq!([mode(&path), mode(&path.join("archive")), mode(&path.join("archive/old"))], [0o700, 0o700, 0o600]);
    }
}

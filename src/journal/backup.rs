//! Backups: the contents of a data directory, in files that are read without a database.
//!
//! ```text
//!   TO/
//!     snapshots/    copied first
//!     log.blocks    then the log: its mark, and every block behind the last
//!     archive/      then the archive, which has every session that the snapshots no longer have
//!     manifest.json each file's length and CRC-32, and the layout; written last: without it there is no backup
//! ```
//!
//! While a gate runs, the log is read up to one commit and goes on being written behind it; no snapshot is taken and
//! nothing is trimmed meanwhile. So the log in a backup reaches at least as far as the snapshots in it. It is
//! restored into a new data directory only. Messages sent to a processor after the backup are not in it: after a
//! restore, inquiries about operations precede any decision.

use super::appender::Sequences;
use super::block::{self, BLOCK_HEADER, BLOCK_MAX};
use super::checkpoint;
use super::directory::{DATA_VERSION, DataDir, Layout, OLDEST_DATA_VERSION, Owner};
use super::failure::{Damage, DamageLocation, Failure};
use super::files;
use super::log::LogView;
use super::record::array;
use super::scan::{self, Blocks, End};
use super::segment::{self, Open, Sealed};
use super::sled::SledStore;
use super::snapshot::Snapshots;
use super::store::{Checkpoint, Store};
use crate::units::PartitionId;
use crate::units::shape::described;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

const MANIFEST: &str = "manifest.json";
const LOG: &str = "log.blocks";
const MAGIC: [u8; 8] = *b"wBACKUP1";

described! {
/// The contents of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the data directory it was taken from.
    pub version: u32,
    /// Partitions of the id space.
    pub partitions: u16,
    /// Blocks in a generation of the log.
    pub generation_blocks: u32,
    /// The owner of the data, if one is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Blocks of the log.
    pub blocks: u64,
    /// Records of the log.
    pub records: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Each file below the backup's directory with its length and checksum.
    pub files: BTreeMap<String, FileSum>,
    /// Damage in the archive that was copied: each file of it, and the fault there. The rest of the backup is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
}
}

described! {
/// A file's length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSum {
    /// Bytes.
    pub bytes: u64,
    /// CRC-32/ISO-HDLC.
    pub crc32: u32,
}
}

/// Backs a data directory up that no gate uses. Damage in the archive is named in the manifest, and copied as it is.
///
/// # Errors
/// The backup would lie in the directory, or the directory is in use or cannot be read, its log is damaged, or the backup cannot be written.
pub fn create(data: &Path, to: &Path) -> Result<Manifest, Failure> {
    let dir = DataDir::open_any(data)?;
    let mut store = SledStore::open(&dir)?;
    write(&dir, &mut |base, deliver| scan::scan(&mut store, base, deliver), to)
}

impl LogView {
    /// Backs the data directory of this log up while it is in use. Until it is done nothing is trimmed from the log, and no
    /// snapshot written.
    ///
    /// # Errors
    /// A file cannot be read or written, or the log is damaged.
    pub fn backup(&mut self, dir: &DataDir, to: &Path) -> Result<Manifest, Failure> {
        write(dir, &mut |base, deliver| scan::scan_view(self, base, deliver), to)
    }
}

/// Reads a log of which these are the snapshots.
type ReadLog<'a> =
    dyn FnMut(&Sequences, &mut dyn FnMut(&mut Blocks) -> Result<(), Failure>) -> Result<End, Failure> + 'a;

/// Holds every file of a backup against the manifest.
///
/// # Errors
/// There is no manifest, or a file is missing or differs from it; the failure names it.
pub fn check(from: &Path) -> Result<Manifest, Failure> {
    let path = from.join(MANIFEST);
    let Some(text) = files::read_if_there(&path)? else {
        return Err(Failure::Absent { path, what: "this is no complete backup".to_owned() });
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| Failure::Format { path: path.clone(), what: error.to_string() })?;
    if !(OLDEST_DATA_VERSION..=DATA_VERSION).contains(&manifest.version) {
        let what = format!("data of version {}, this program uses {DATA_VERSION}", manifest.version);
        return Err(Failure::Format { path, what });
    }
    for (name, expected) in &manifest.files {
        let path = from.join(name);
        if !files::exists(&path)? {
            return Err(damaged(&path, "it is missing".to_owned()));
        }
        let found = sum(&path)?;
        if found != *expected {
            let what = format!(
                "{} bytes with checksum {:08x} where the manifest says {} bytes with {:08x}",
                found.bytes, found.crc32, expected.bytes, expected.crc32
            );
            return Err(damaged(&path, what));
        }
    }
    Ok(manifest)
}

/// Makes a new data directory from a backup, which is checked first. Damage in the archive is named in the manifest that is
/// returned.
///
/// # Errors
/// Those of [`check`]; the directory would lie in the backup, there is data in the directory already, or it cannot be written.
pub fn restore(from: &Path, data: &Path) -> Result<Manifest, Failure> {
    let mut manifest = check(from)?;
    check_apart(data, from, "restored data")?;
    let layout = Layout { partitions: manifest.partitions, generation_blocks: manifest.generation_blocks };
    // A backup of older data becomes a directory of that version, which can be upgraded.
    let mut dir = DataDir::create_in(manifest.version, data, layout)?;
    if let Some(owner) = &manifest.owner {
        dir.claim(owner)?;
    }
    for name in manifest.files.keys().filter(|name| *name != LOG) {
        copy(&from.join(name), &dir.path().join(name))?;
    }
    files::sync_dir(&dir.snapshots())?;
    manifest.damage = damage_in(&dir.archive())?;
    files::sync_dir(&dir.archive())?;
    let mut store = SledStore::open(&dir)?;
    let mark = read_log(&from.join(LOG), &mut store)?;
    store.sync()?;
    // Last, because with it the directory counts.
    store.set_mark(mark)?;
    Ok(manifest)
}

/// Refuses a directory that lies in another one: of a backup in the data, the next backup would be a part, and the next
/// start would find files that are not its own.
fn check_apart(inner: &Path, outer: &Path, what: &str) -> Result<(), Failure> {
    let real = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        path.ancestors().find_map(|above| above.canonicalize().ok())
    };
    match (real(inner), outer.canonicalize()) {
        (Some(nearest), Ok(outer)) if nearest.starts_with(&outer) => {
            let what = format!("{what} cannot be kept in {}; name a directory outside of it", outer.display());
            Err(Failure::Format { path: inner.to_owned(), what })
        }
        _ => Ok(()),
    }
}

/// The fault in the files of a copied archive, each named once. What the end of the unfinished file has too much is
/// cut away, as at a start.
fn damage_in(archive: &Path) -> Result<Vec<String>, Failure> {
    let mut damage = Vec::new();
    for (number, path, is_sealed) in segment::files_of(archive)? {
        let checked = if is_sealed {
            Sealed::open(number, path).and_then(|sealed| sealed.verify().map(drop))
        } else {
            Open::recover(number, path)
                .and_then(|open| open.entries().iter().try_for_each(|entry| open.read(entry).map(drop)))
        };
        match checked {
            Ok(()) => {}
            Err(found @ (Failure::Damaged(_) | Failure::Unreadable { .. })) => damage.push(found.to_string()),
            Err(other) => return Err(other),
        }
    }
    Ok(damage)
}

fn write(dir: &DataDir, log: &mut ReadLog<'_>, to: &Path) -> Result<Manifest, Failure> {
    check_apart(to, dir.path(), "a backup")?;
    files::create_dir_all(to).map_err(Failure::io("making", to))?;
    if fs::read_dir(to).map_err(Failure::io("reading", to))?.next().is_some() {
        let what = "a backup goes into an empty directory".to_owned();
        return Err(Failure::Format { path: to.to_owned(), what });
    }
    let mut sums = BTreeMap::new();
    add_sums(&mut sums, to, copy_all(&dir.snapshots(), to, "snapshots")?)?;
    // The sequences of the snapshots that were copied, verified as they are read.
    let snapshots = Snapshots::open_at(to.join("snapshots"), dir)?;
    for partition in (0..dir.partitions()).map(PartitionId) {
        snapshots.load(partition)?;
    }
    let end = write_log(log, &snapshots, &to.join(LOG))?;
    sums.insert(LOG.to_owned(), sum(&to.join(LOG))?);
    let archived = copy_all(&dir.archive(), to, "archive")?;
    // The copies are read: the files of a gate that runs may get other names meanwhile.
    let [copy, source] = [&to.join("archive"), &dir.archive()].map(|folder| folder.display().to_string());
    let damage =
        damage_in(&to.join("archive"))?.iter().map(|damage_text| damage_text.replace(&copy, &source)).collect();
    add_sums(&mut sums, to, archived)?;
    files::sync_dir(to)?;
    let manifest = Manifest {
        version: dir.version(),
        partitions: dir.partitions(),
        generation_blocks: dir.layout().generation_blocks,
        owner: dir.owner().cloned(),
        blocks: end.blocks,
        records: end.records,
        bytes: sums.values().map(|sum| sum.bytes).sum(),
        files: sums,
        damage,
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain fields");
    files::write_durably(&to.join(MANIFEST), &[&text])?;
    Ok(manifest)
}

/// The mark's length, the mark, then each block behind its length.
fn write_log(log: &mut ReadLog<'_>, snapshots: &Snapshots, path: &Path) -> Result<End, Failure> {
    let blocks_path = path.with_extension("part");
    let file = files::create(&blocks_path).map_err(Failure::io("making", &blocks_path))?;
    let mut out = BufWriter::new(file);
    let mut bytes = Vec::with_capacity(BLOCK_MAX);
    let end = log(&snapshots.verified(), &mut |blocks| {
        for (header, records) in blocks.iter() {
            block::begin(&mut bytes);
            bytes.extend_from_slice(records);
            block::finish(&mut bytes, *header);
            let length = u32::try_from(bytes.len()).expect("a block is at most BLOCK_MAX").to_le_bytes();
            let written = out
                .write_all(&header.number.to_le_bytes())
                .and_then(|()| out.write_all(&length))
                .and_then(|()| out.write_all(&bytes));
            written.map_err(Failure::io("writing", &blocks_path))?;
        }
        Ok(())
    })?;
    let file = out.into_inner().map_err(|error| Failure::io("writing", &blocks_path)(error.into_error()))?;
    file.sync_all().map_err(Failure::io("syncing", &blocks_path))?;
    let Checkpoint { first_block, floor, .. } = end.mark.clone();
    let mark = Checkpoint {
        open_count: end.open_count,
        first_block,
        next_block: end.next_block,
        last_crc: end.last_crc,
        floor,
    };
    let mark = checkpoint::encode(&mark);
    let length = u32::try_from(mark.len()).expect("a mark is short").to_le_bytes();
    // The mark is known only now, but the reader needs it at the beginning.
    let mut whole = files::create(path).map_err(Failure::io("making", path))?;
    let mut blocks = File::open(&blocks_path).map_err(Failure::io("opening", &blocks_path))?;
    let written = whole
        .write_all(&MAGIC)
        .and_then(|()| whole.write_all(&length))
        .and_then(|()| whole.write_all(&mark))
        .and_then(|()| std::io::copy(&mut blocks, &mut whole))
        .and_then(|_| whole.sync_all());
    written.map_err(Failure::io("writing", path))?;
    fs::remove_file(&blocks_path).map_err(Failure::io("removing", &blocks_path))?;
    Ok(end)
}

fn read_log(path: &Path, store: &mut dyn Store) -> Result<Checkpoint, Failure> {
    let io = || Failure::io("reading", path);
    let mut file = BufReader::new(File::open(path).map_err(io())?);
    let mut head = [0; 12];
    file.read_exact(&mut head).map_err(io())?;
    let mut encoded = vec![0; u32::from_le_bytes(array(&head, 8)) as usize];
    file.read_exact(&mut encoded).map_err(io())?;
    let mark = checkpoint::decode(&encoded).filter(|_| head[..8] == MAGIC);
    let mark = mark.ok_or_else(|| damaged(path, "it does not begin like a log".to_owned()))?;
    let mut block = Vec::new();
    loop {
        let mut head = [0; 12];
        match file.read_exact(&mut head) {
            Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(mark),
            other => other.map_err(io())?,
        }
        let length = u32::from_le_bytes(array(&head, 8)) as usize;
        if !(BLOCK_HEADER..=BLOCK_MAX).contains(&length) {
            return Err(damaged(path, format!("a block of {length} bytes")));
        }
        block.resize(length, 0);
        file.read_exact(&mut block).map_err(io())?;
        store.append(u64::from_le_bytes(array(&head, 0)), &block)?;
    }
}

/// Copies the files of a directory. When one gets another name meanwhile (a file of the archive that is full), everything
/// that is there under a name that was not copied yet is copied, until nothing is left. Returns the names below `to`.
fn copy_all(from: &Path, to: &Path, name: &str) -> Result<Vec<String>, Failure> {
    let below = to.join(name);
    files::create_dir(&below).map_err(Failure::io("making", &below))?;
    let mut copied = BTreeSet::new();
    loop {
        let there = names(from)?;
        // A file that disappeared was renamed, and is copied as a whole under its new name.
        for file in copied.difference(&there).cloned().collect::<Vec<_>>() {
            let gone = below.join(&file);
            fs::remove_file(&gone).map_err(Failure::io("removing", &gone))?;
            copied.remove(&file);
        }
        let missing: Vec<&OsString> = there.difference(&copied).collect();
        if missing.is_empty() {
            break;
        }
        let mut fresh = Vec::new();
        for file in missing {
            match copy(&from.join(file), &below.join(file)) {
                Ok(()) => fresh.push(file.clone()),
                Err(Failure::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(other) => return Err(other),
            }
        }
        copied.extend(fresh);
    }
    files::sync_dir(&below)?;
    Ok(copied.iter().map(|file| format!("{name}/{}", file.to_string_lossy())).collect())
}

fn add_sums(sums: &mut BTreeMap<String, FileSum>, to: &Path, names: Vec<String>) -> Result<(), Failure> {
    for name in names {
        let found = sum(&to.join(&name))?;
        sums.insert(name, found);
    }
    Ok(())
}

/// The files of a directory that count.
fn names(dir: &Path) -> Result<BTreeSet<OsString>, Failure> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(Failure::io("reading", dir))? {
        let path = entry.map_err(Failure::io("reading", dir))?.path();
        let unfinished = path.extension().is_some_and(|extension| extension == "new" || extension == "damaged");
        names.extend(path.file_name().filter(|_| !unfinished).map(OsStr::to_owned));
    }
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let mut source = File::open(from).map_err(Failure::io("opening", from))?;
    let mut target = files::create(to).map_err(Failure::io("making", to))?;
    let copied = std::io::copy(&mut source, &mut target).and_then(|_| target.sync_all());
    copied.map_err(Failure::io("copying to", to))
}

fn sum(path: &Path) -> Result<FileSum, Failure> {
    let mut file = File::open(path).map_err(Failure::io("opening", path))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(Failure::io("reading", path))? {
            0 => return Ok(FileSum { bytes, crc32: hasher.finalize() }),
            length => {
                hasher.update(&buffer[..length]);
                bytes += length as u64;
            }
        }
    }
}

fn damaged(path: &Path, fault: String) -> Failure {
    Box::new(Damage::at(DamageLocation::Store { path: path.to_owned() }, fault)).into()
}

#[cfg(test)]
mod tests {
    use super::super::{Appender, Archive, Log, RecordKind, Sequence, Sequences, verify};
    use super::*;
    use crate::units::{SessionId, Timestamp};

    const LAYOUT: Layout = Layout { partitions: 3, generation_blocks: 4 };

    fn commit(log: &mut Log, appender: &mut Appender, text: &str) {
        for partition in (0..LAYOUT.partitions).map(PartitionId) {
            let mut permit = appender.reserve().unwrap();
            permit.append(partition, RecordKind::SessionEvent, |out| out.extend(text.bytes()));
        }
        let batch = appender.take_batch().unwrap();
        log.commit(std::slice::from_ref(&batch)).unwrap();
        appender.committed(batch);
    }

    #[test]
    fn a_backup_of_a_log_in_use_restores_to_what_it_was() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let dir = DataDir::create(&at("data"), LAYOUT).unwrap();
        let store = SledStore::open(&dir).unwrap();
        let (mut log, _) = Log::open(Box::new(store), &Sequences::new(3), &mut |_| Ok(())).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        (0..20).for_each(|_| commit(&mut log, &mut appender, "tick"));
        let snapshots = Snapshots::open(&dir).unwrap();
        for partition in (0..3).map(PartitionId) {
            // Twice: one is the other's copy, and the log need not reach back any further.
            snapshots.write(partition, Sequence(13), b"state").unwrap();
            snapshots.write(partition, Sequence(13), b"state").unwrap();
        }
        assert_eq!(log.trim(&snapshots.reach()).unwrap(), 3);
        let archive = Archive::open(&dir).unwrap();
        archive.put(SessionId::from_u128(1 << 20), Timestamp::from_unix_ms(5), b"history").unwrap();
        archive.sync().unwrap();
        let taken = log.view().backup(&dir, &at("backup")).unwrap();
        assert_eq!((taken.blocks, taken.records), (8, 24));
        // The log continues; the backup does not.
        commit(&mut log, &mut appender, "tock");
        assert_eq!(check(&at("backup")).unwrap(), taken);
        assert_eq!(restore(&at("backup"), &at("restored")).unwrap(), taken);
        let found = verify(&at("restored")).unwrap();
        assert!(found.whole, "{found:?}");
        assert_eq!((found.records, found.archived_sessions), (24, 1));
        assert!(found.partitions.iter().all(|totals| totals.last == 20 && totals.snapshot_at == Some(13)));
        let dir = DataDir::open(&at("restored")).unwrap();
        let store = SledStore::open(&dir).unwrap();
        let (mut log, _) = Log::open(Box::new(store), &snapshots.verified(), &mut |_| Ok(())).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        commit(&mut log, &mut appender, "on it goes");
    }

    /// A backup of a damaged archive ended with 0, and so did its restoration.
    #[test]
    fn damage_of_the_archive_is_named_when_it_is_copied() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let dir = DataDir::create(&at("data"), LAYOUT).unwrap();
        drop(Log::open(Box::new(SledStore::open(&dir).unwrap()), &Sequences::new(3), &mut |_| Ok(())).unwrap());
        let archive = Archive::open(&dir).unwrap();
        for number in 1..=2_u128 {
            archive.put(SessionId::from_u128(number << 20), Timestamp::from_unix_ms(5), &[b'h'; 500]).unwrap();
        }
        archive.sync().unwrap();
        drop(archive);
        let folder = dir.archive();
        drop(dir);
        let whole = create(&at("data"), &at("whole")).unwrap();
        assert_eq!(whole.damage, [] as [&str; 0]);
        let (_, file, _) = segment::files_of(&folder).unwrap().remove(0);
        let mut bytes = fs::read(&file).unwrap();
        // In one of the two entries, which a mark behind them proves to have been durable.
        bytes[60] ^= 4;
        fs::write(&file, bytes).unwrap();
        let taken = create(&at("data"), &at("backup")).unwrap();
        assert!(taken.damage.len() == 1 && taken.damage[0].contains(&*file.to_string_lossy()), "{:?}", taken.damage);
        assert_eq!(check(&at("backup")).unwrap(), taken, "and it is a backup of what there is");
        let restored = restore(&at("backup"), &at("restored")).unwrap();
        assert!(restored.damage.len() == 1 && restored.damage[0].contains("restored"), "{:?}", restored.damage);
        assert!(!verify(&at("restored")).unwrap().whole);
        assert_eq!(restore(&at("whole"), &at("again")).unwrap(), whole);
    }

    #[test]
    fn a_backup_does_not_lie_in_what_it_is_of() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let dir = DataDir::create(&at("data"), LAYOUT).unwrap();
        drop(Log::open(Box::new(SledStore::open(&dir).unwrap()), &Sequences::new(3), &mut |_| Ok(())).unwrap());
        drop(dir);
        for inner in ["data/inner", "data/archive/a/b", "data/./x", "data"] {
            let refused = create(&at("data"), &at(inner)).unwrap_err();
            assert!(refused.to_string().contains("name a directory outside"), "{inner}: {refused}");
            assert!(inner == "data" || !at(inner).exists(), "{inner} is not made");
        }
        create(&at("data"), &at("data/../beside")).unwrap();
        let refused = restore(&at("beside"), &at("beside/new")).unwrap_err();
        assert!(refused.to_string().contains("name a directory outside"), "{refused}");
    }

    #[test]
    fn a_backup_with_a_flipped_bit_or_a_missing_file_is_not_restored() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let dir = DataDir::create(&at("data"), LAYOUT).unwrap();
        let (mut log, _) =
            Log::open(Box::new(SledStore::open(&dir).unwrap()), &Sequences::new(3), &mut |_| Ok(())).unwrap();
        commit(&mut log, &mut Appender::new(Sequences::new(3)), "tick");
        log.close().unwrap();
        drop(dir);
        create(&at("data"), &at("backup")).unwrap();
        assert!(matches!(create(&at("data"), &at("backup")), Err(Failure::Format { .. })), "never over another one");
        let file = at("backup").join(LOG);
        let whole = fs::read(&file).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1;
            fs::write(&file, damaged).unwrap();
            assert!(matches!(restore(&at("backup"), &at("new")), Err(Failure::Damaged(_))), "byte {byte}");
        }
        fs::remove_file(&file).unwrap();
        assert!(matches!(check(&at("backup")), Err(Failure::Damaged(_))));
        fs::remove_file(at("backup").join(MANIFEST)).unwrap();
        assert!(matches!(check(&at("backup")), Err(Failure::Absent { .. })));
        assert!(!at("new").exists(), "nothing was made");
    }
}

//! One file of the archive.
//!
//! ```text
//!   entry    0       4   5   6       8               24              32      36      40      44      48
//!            +-------+---+---+-------+---------------+---------------+-------+-------+-------+-------+-------
//!            | magic |ver|flg| 0     | session       | settled at    | plain | packed| synced| CRC   | packed
//!            +-------+---+---+-------+---------------+---------------+-------+-------+-------+-------+-------
//!   index    session 16 B, settled at 8 B, offset 4 B, fresh 4 B: for each entry that counts, sorted by session
//!   footer   magic 4 B, version 4 B, entries 8 B, fresh 8 B, index at 8 B, first and last session 32 B,
//!            first and last settled at 16 B, CRC of the index 4 B, CRC of the footer 4 B
//! ```
//!
//! The name is `00000007.open` while the file is written and `00000007.arc` when it is full. Dossiers are packed with
//! LZ4 (flag bit 0) when that makes them smaller. `synced` is the offset below which the file was durable when the
//! entry was written: a bad entry below the `synced` of a later one is damage, any other is a torn end and cut away.
//! A sync is followed by an entry without a archive record (flag bit 1) as evidence, or else the last entries could not be
//! distinguished from a torn end.

use super::archive::Archived;
use super::failure::{Damage, DamageLocation, Failure};
use super::files;
use super::record::array;
use crate::limits::ARCHIVE_RECORD_MAX;
use crate::units::{SessionId, Timestamp};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"wARC";
const FOOTER_MAGIC: [u8; 4] = *b"wEND";
const VERSION: u8 = 1;
const FLAG_PACKED: u8 = 1;
const FLAG_SYNCED: u8 = 2;
const ENTRY_HEADER: usize = 48;
const CRC_AT: usize = 44;
const INDEX_ENTRY: usize = 32;
const FOOTER: usize = 88;

/// Position of a session in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub session: SessionId,
    pub settled_at: Timestamp,
    offset: u64,
    /// Whether no older file has the session.
    fresh: bool,
}

/// The files of an archive: number, path, and whether it is full.
pub(super) fn files_of(dir: &Path) -> Result<Vec<(u64, PathBuf, bool)>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Failure::io("reading", dir))? {
        let path = entry.map_err(Failure::io("reading", dir))?.path();
        let sealed = match path.extension().and_then(|extension| extension.to_str()) {
            Some("arc") => true,
            Some("open") => false,
            _ => continue,
        };
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        found.extend(number.map(|number| (number, path, sealed)));
    }
    found.sort_unstable();
    Ok(found)
}

fn name(dir: &Path, number: u64, extension: &str) -> PathBuf {
    dir.join(format!("{number:08}.{extension}"))
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Open {
    number: u64,
    path: PathBuf,
    file: File,
    length: u64,
    synced: u64,
    /// Whether something was written since the last sync.
    dirty: bool,
    entries: BTreeMap<SessionId, Entry>,
    buffer: Vec<u8>,
}

impl Open {
    pub fn create(dir: &Path, number: u64) -> Result<Open, Failure> {
        let path = name(dir, number, "open");
        let file = files::options().create(true).truncate(true).read(true).write(true).open(&path);
        let file = file.map_err(Failure::io("making", &path))?;
        files::sync_dir(dir)?;
        let (entries, buffer) = (BTreeMap::new(), Vec::new());
        Ok(Open { number, path, file, length: 0, synced: 0, dirty: false, entries, buffer })
    }

    /// Reads the whole file and cuts a torn end away.
    ///
    /// # Errors
    /// The file cannot be read or cut, or is damaged before its torn end.
    pub fn recover(number: u64, path: PathBuf) -> Result<Open, Failure> {
        let bytes = fs::read(&path).map_err(Failure::io("reading", &path))?;
        let mut entries = BTreeMap::new();
        let mut at = 0;
        let torn = loop {
            if at == bytes.len() {
                break None;
            }
            match parse(&bytes[at..]) {
                Ok(found) => {
                    if !found.is_marker {
                        let entry = found.entry(at as u64);
                        entries.insert(entry.session, entry);
                    }
                    at += found.size();
                }
                Err(fault) => break Some(fault),
            }
        };
        if let Some(fault) = torn
            && later_entry_proves(&bytes, at)
        {
            let place = DamageLocation::Archive { path, offset: at as u64 };
            return Err(Box::new(Damage::at(place, fault)).into());
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path).map_err(Failure::io("opening", &path))?;
        let length = at as u64;
        if at < bytes.len() {
            file.set_len(length).and_then(|()| file.sync_all()).map_err(Failure::io("cutting", &path))?;
        }
        // Data found here may only be in the system's memory: it counts as durable after the next sync.
        Ok(Open { number, path, file, length, synced: 0, dirty: true, entries, buffer: Vec::new() })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn bytes(&self) -> u64 {
        self.length
    }

    pub fn holds(&self, session: SessionId) -> bool {
        self.entries.contains_key(&session)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.values().copied().collect()
    }

    /// The sessions within these bounds, in the order of ids.
    pub fn ids(&self, within: (Bound<SessionId>, Bound<SessionId>)) -> Vec<SessionId> {
        self.entries.range(within).map(|(session, _)| *session).collect()
    }

    pub fn set_fresh(&mut self, session: SessionId, fresh: bool) {
        if let Some(entry) = self.entries.get_mut(&session) {
            entry.fresh = fresh;
        }
    }

    pub fn get(&self, session: SessionId) -> Result<Option<Archived>, Failure> {
        self.entries.get(&session).map(|entry| self.read(entry)).transpose()
    }

    pub fn read(&self, entry: &Entry) -> Result<Archived, Failure> {
        read_entry(&self.file, &self.path, entry)
    }

    pub fn append(
        &mut self,
        session: SessionId,
        settled_at: Timestamp,
        archive_record: &[u8],
        fresh: bool,
    ) -> Result<(), Failure> {
        if archive_record.len() > ARCHIVE_RECORD_MAX {
            let what = format!("session {session} has {} bytes, of at most {ARCHIVE_RECORD_MAX}", archive_record.len());
            return Err(Failure::Format { path: self.path.clone(), what });
        }
        let synced = self.synced;
        encode(&mut self.buffer, &Unpacked { session, settled_at, archive_record, synced, flags: 0 });
        let written = self.file.write_all_at(&self.buffer, self.length);
        written.map_err(Failure::io("writing", &self.path))?;
        let fresh = self.entries.get(&session).map_or(fresh, |known| known.fresh);
        self.entries.insert(session, Entry { session, settled_at, offset: self.length, fresh });
        self.length += self.buffer.len() as u64;
        self.dirty = true;
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), Failure> {
        if self.dirty {
            self.file.sync_data().map_err(Failure::io("syncing", &self.path))?;
            self.synced = self.length;
            let (no_session, never) = (SessionId::from_u128(0), Timestamp::from_unix_ms(0));
            let (session, settled_at, synced) = (no_session, never, self.synced);
            let marker = Unpacked { session, settled_at, archive_record: &[], synced, flags: FLAG_SYNCED };
            encode(&mut self.buffer, &marker);
            let written = self.file.write_all_at(&self.buffer, self.length);
            written.map_err(Failure::io("writing", &self.path))?;
            self.length += self.buffer.len() as u64;
            self.dirty = false;
        }
        Ok(())
    }

    /// Writes index and footer, and gives the file the name of a full one. The directory is the caller's to sync.
    ///
    /// # Errors
    /// The file cannot be written, synced or renamed.
    pub fn seal(&mut self, dir: &Path) -> Result<PathBuf, Failure> {
        let mut end = Vec::with_capacity(self.entries.len() * INDEX_ENTRY + FOOTER);
        for entry in self.entries.values() {
            end.extend(entry.session.as_u128().to_be_bytes());
            end.extend(entry.settled_at.unix_ms().to_le_bytes());
            end.extend(u32::try_from(entry.offset).expect("a file is far below 4 GiB").to_le_bytes());
            end.extend(u32::from(entry.fresh).to_le_bytes());
        }
        let times = || self.entries.values().map(|entry| entry.settled_at.unix_ms());
        let sessions = || self.entries.keys().map(|session| session.as_u128());
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend(FOOTER_MAGIC);
        footer.extend(u32::from(VERSION).to_le_bytes());
        footer.extend((self.entries.len() as u64).to_le_bytes());
        footer.extend((self.entries.values().filter(|entry| entry.fresh).count() as u64).to_le_bytes());
        footer.extend(self.length.to_le_bytes());
        footer.extend(sessions().min().unwrap_or(0).to_be_bytes());
        footer.extend(sessions().max().unwrap_or(0).to_be_bytes());
        footer.extend(times().min().unwrap_or(0).to_le_bytes());
        footer.extend(times().max().unwrap_or(0).to_le_bytes());
        footer.extend(crc32fast::hash(&end).to_le_bytes());
        footer.extend(crc32fast::hash(&footer).to_le_bytes());
        end.extend(footer);
        let written = self.file.write_all_at(&end, self.length).and_then(|()| self.file.sync_all());
        written.map_err(Failure::io("writing", &self.path))?;
        let path = name(dir, self.number, "arc");
        fs::rename(&self.path, &path).map_err(Failure::io("renaming to", &path))?;
        Ok(path)
    }
}

/// A full file. Only its footer is kept in memory.
#[derive(Debug)]
pub(super) struct Sealed {
    number: u64,
    path: PathBuf,
    file: File,
    entries: u64,
    fresh: u64,
    index_at: u64,
    sessions: (SessionId, SessionId),
    times: (Timestamp, Timestamp),
    index_crc: u32,
}

impl Sealed {
    pub fn open(number: u64, path: PathBuf) -> Result<Sealed, Failure> {
        let file = File::open(&path).map_err(Failure::io("opening", &path))?;
        let length = file.metadata().map_err(Failure::io("looking at", &path))?.len();
        let Some(footer_at) = length.checked_sub(FOOTER as u64) else {
            return Err(damaged(&path, 0, "it has no end".to_owned()));
        };
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, footer_at).map_err(Failure::io("reading", &path))?;
        let (body, crc) = footer.split_at(FOOTER - 4);
        if body[0..4] != FOOTER_MAGIC || crc32fast::hash(body) != u32::from_le_bytes(array(crc, 0)) {
            return Err(damaged(&path, footer_at, "its end is not what was written".to_owned()));
        }
        let version = u32::from_le_bytes(array(body, 4));
        if version != u32::from(VERSION) {
            let what = format!("archive format {version}, this program reads {VERSION}");
            return Err(Failure::Format { path, what });
        }
        let number_at = |at| u64::from_le_bytes(array(body, at));
        let session_at = |at| SessionId::from_u128(u128::from_be_bytes(array(body, at)));
        let time_at = |at| Timestamp::from_unix_ms(i64::from_le_bytes(array(body, at)));
        let sealed = Sealed {
            number,
            entries: number_at(8),
            fresh: number_at(16),
            index_at: number_at(24),
            sessions: (session_at(32), session_at(48)),
            times: (time_at(64), time_at(72)),
            index_crc: u32::from_le_bytes(array(body, 80)),
            path,
            file,
        };
        if sealed.entries.checked_mul(INDEX_ENTRY as u64).and_then(|index| index.checked_add(sealed.index_at))
            != Some(footer_at)
        {
            return Err(damaged(&sealed.path, footer_at, "its index has another length".to_owned()));
        }
        Ok(sealed)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn fresh(&self) -> u64 {
        self.fresh
    }

    pub fn file_bytes(&self) -> u64 {
        self.index_at + self.entries * INDEX_ENTRY as u64 + FOOTER as u64
    }

    pub fn may_hold(&self, session: SessionId) -> bool {
        self.sessions.0 <= session && session <= self.sessions.1
    }

    pub fn may_hold_time(&self, from: Timestamp, to: Timestamp) -> bool {
        self.times.0 < to && from <= self.times.1
    }

    pub fn get(&self, session: SessionId) -> Result<Option<Archived>, Failure> {
        self.find(session)?.map(|entry| self.read(&entry)).transpose()
    }

    /// Finds a session in the index on the disk.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find(&self, session: SessionId) -> Result<Option<Entry>, Failure> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; INDEX_ENTRY];
            let read = self.file.read_exact_at(&mut bytes, self.index_at + middle * INDEX_ENTRY as u64);
            read.map_err(Failure::io("reading", &self.path))?;
            let entry = index_entry(&bytes);
            match entry.session.cmp(&session) {
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The newest or the oldest session that it may hold.
    pub fn outermost(&self, newest: bool) -> SessionId {
        if newest { self.sessions.1 } else { self.sessions.0 }
    }

    /// How many of its entries come before a session, or are of it, in the order of ids.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged.
    pub fn count_until(&self, session: SessionId, included: bool) -> Result<u64, Failure> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.ids(middle, 1)?.first().copied();
            if found.is_some_and(|found| found < session || (included && found == session)) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok(low)
    }

    /// The sessions of so many entries of the index from a place on, in the order of ids.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged.
    pub fn ids(&self, at: u64, count: u64) -> Result<Vec<SessionId>, Failure> {
        let count = count.min(self.entries.saturating_sub(at));
        let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(INDEX_ENTRY);
        let mut index = vec![0; length];
        let read = self.file.read_exact_at(&mut index, self.index_at + at * INDEX_ENTRY as u64);
        read.map_err(Failure::io("reading", &self.path))?;
        let (entries, _) = index.as_chunks();
        Ok(entries.iter().map(|entry| index_entry(entry).session).collect())
    }

    /// How many sessions are in its index.
    pub fn count(&self) -> u64 {
        self.entries
    }

    /// The whole index, held against its checksum.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged.
    pub fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let length = usize::try_from(self.entries).unwrap_or(usize::MAX).saturating_mul(INDEX_ENTRY);
        let mut index = vec![0; length];
        self.file.read_exact_at(&mut index, self.index_at).map_err(Failure::io("reading", &self.path))?;
        if crc32fast::hash(&index) != self.index_crc {
            return Err(damaged(&self.path, self.index_at, "its index is not what was written".to_owned()));
        }
        let (entries, _) = index.as_chunks();
        Ok(entries.iter().map(index_entry).collect())
    }

    pub fn read(&self, entry: &Entry) -> Result<Archived, Failure> {
        read_entry(&self.file, &self.path, entry)
    }

    /// Reads everything: entries back to back up to the index, and compares them with the index.
    ///
    /// # Errors
    /// The file cannot be read, or an entry or the index is damaged.
    pub fn verify(&self) -> Result<u64, Failure> {
        let indexed = self.entries()?;
        let mut bytes = vec![0; usize::try_from(self.index_at).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0).map_err(Failure::io("reading", &self.path))?;
        let (mut at, mut newest) = (0, BTreeMap::new());
        while at < bytes.len() {
            let found = parse(&bytes[at..]).map_err(|fault| damaged(&self.path, at as u64, fault))?;
            if !found.is_marker {
                newest.insert(found.session, at as u64);
            }
            at += found.size();
        }
        let same = newest.into_iter().eq(indexed.iter().map(|entry| (entry.session, entry.offset)));
        if !same {
            return Err(damaged(&self.path, self.index_at, "its index is not that of its entries".to_owned()));
        }
        Ok(self.entries)
    }
}

fn index_entry(bytes: &[u8; INDEX_ENTRY]) -> Entry {
    Entry {
        session: SessionId::from_u128(u128::from_be_bytes(array(bytes, 0))),
        settled_at: Timestamp::from_unix_ms(i64::from_le_bytes(array(bytes, 16))),
        offset: u64::from(u32::from_le_bytes(array(bytes, 24))),
        fresh: array::<4>(bytes, 28) != [0; 4],
    }
}

/// An entry's header and its packed archive record, whose checksum was right.
struct Parsed<'a> {
    session: SessionId,
    settled_at: Timestamp,
    synced: u64,
    is_packed: bool,
    is_marker: bool,
    plain_len: usize,
    packed: &'a [u8],
}

impl Parsed<'_> {
    fn size(&self) -> usize {
        ENTRY_HEADER + self.packed.len()
    }

    fn entry(&self, offset: u64) -> Entry {
        Entry { session: self.session, settled_at: self.settled_at, offset, fresh: false }
    }
}

/// An entry before it is packed.
struct Unpacked<'a> {
    session: SessionId,
    settled_at: Timestamp,
    archive_record: &'a [u8],
    synced: u64,
    flags: u8,
}

fn encode(out: &mut Vec<u8>, entry: &Unpacked<'_>) {
    let Unpacked { session, settled_at, archive_record, synced, flags } = *entry;
    let packed = lz4_flex::block::compress(archive_record);
    let smaller = packed.len() < archive_record.len();
    let (flags, stored) = if smaller { (flags | FLAG_PACKED, &packed[..]) } else { (flags, archive_record) };
    let u32_of = |length: usize| u32::try_from(length).expect("a archive record is at most ARCHIVE_RECORD_MAX");
    out.clear();
    out.extend(MAGIC);
    out.extend([VERSION, flags, 0, 0]);
    out.extend(session.as_u128().to_be_bytes());
    out.extend(settled_at.unix_ms().to_le_bytes());
    out.extend(u32_of(archive_record.len()).to_le_bytes());
    out.extend(u32_of(stored.len()).to_le_bytes());
    out.extend(u32::try_from(synced).expect("a file is far below 4 GiB").to_le_bytes());
    let crc = checksum(out, stored);
    out.extend(crc.to_le_bytes());
    out.extend_from_slice(stored);
}

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, String> {
    let Some(header) = bytes.first_chunk::<ENTRY_HEADER>() else {
        return Err("an entry is cut short".to_owned());
    };
    if header[0..4] != MAGIC {
        return Err("no entry begins here".to_owned());
    }
    let plain_len = u32::from_le_bytes(array(header, 32)) as usize;
    let packed_len = u32::from_le_bytes(array(header, 36)) as usize;
    let Some(packed) = bytes.get(ENTRY_HEADER..ENTRY_HEADER + packed_len) else {
        return Err("an entry is cut short".to_owned());
    };
    let (found, computed) = (u32::from_le_bytes(array(header, CRC_AT)), checksum(header, packed));
    if found != computed {
        return Err(format!("an entry has checksum {found:08x}, its bytes give {computed:08x}"));
    }
    if header[4] != VERSION || plain_len > ARCHIVE_RECORD_MAX {
        return Err(format!("an entry of version {}, this program reads {VERSION}", header[4]));
    }
    Ok(Parsed {
        session: SessionId::from_u128(u128::from_be_bytes(array(header, 8))),
        settled_at: Timestamp::from_unix_ms(i64::from_le_bytes(array(header, 24))),
        synced: u64::from(u32::from_le_bytes(array(header, 40))),
        is_packed: header[5] & FLAG_PACKED != 0,
        is_marker: header[5] & FLAG_SYNCED != 0,
        plain_len,
        packed,
    })
}

fn checksum(header: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CRC_AT]);
    hasher.update(packed);
    hasher.finalize()
}

fn read_entry(file: &File, path: &Path, entry: &Entry) -> Result<Archived, Failure> {
    let io = || Failure::io("reading", path);
    let mut bytes = vec![0; ENTRY_HEADER];
    file.read_exact_at(&mut bytes, entry.offset).map_err(io())?;
    let packed_len = u32::from_le_bytes(array(&bytes, 36)) as usize;
    if bytes[0..4] != MAGIC || packed_len > ARCHIVE_RECORD_MAX * 2 {
        return Err(damaged(path, entry.offset, "no entry begins here".to_owned()));
    }
    bytes.resize(ENTRY_HEADER + packed_len, 0);
    let rest = file.read_exact_at(&mut bytes[ENTRY_HEADER..], entry.offset + ENTRY_HEADER as u64);
    rest.map_err(|_| damaged(path, entry.offset, "an entry is cut short".to_owned()))?;
    unpack(&bytes, path, entry.offset, entry.session)
}

/// What the bytes of an entry have of a session: it, or damage.
fn unpack(bytes: &[u8], path: &Path, offset: u64, session: SessionId) -> Result<Archived, Failure> {
    let found = parse(bytes).map_err(|fault| damaged(path, offset, fault))?;
    if found.session != session {
        return Err(damaged(path, offset, format!("the entry is of session {}", found.session)));
    }
    let archive_record = if found.is_packed {
        lz4_flex::block::decompress(found.packed, found.plain_len)
            .map_err(|error| damaged(path, offset, error.to_string()))?
    } else {
        found.packed.to_vec()
    };
    Ok(Archived { session: found.session, settled_at: found.settled_at, archive_record })
}

/// An entry as it would stand in a file, for an archive in memory.
pub(super) fn in_memory(session: SessionId, settled_at: Timestamp, archive_record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, &Unpacked { session, settled_at, archive_record, synced: 0, flags: 0 });
    bytes
}

/// What such an entry has of a session.
pub(super) fn from_memory(bytes: &[u8], session: SessionId) -> Result<Archived, Failure> {
    unpack(bytes, Path::new("memory"), 0, session)
}

/// Whether an entry after a bad one proves that the bad one had been durable.
fn later_entry_proves(bytes: &[u8], bad: usize) -> bool {
    let starts = bytes[bad + 1..].windows(MAGIC.len()).enumerate().filter(|(_, window)| **window == MAGIC);
    starts.filter_map(|(at, _)| parse(&bytes[bad + 1 + at..]).ok()).any(|later| later.synced > bad as u64)
}

fn damaged(path: &Path, offset: u64, fault: String) -> Failure {
    let place = DamageLocation::Archive { path: path.to_owned(), offset };
    Box::new(Damage::at(place, fault)).into()
}

//! The archive: records of settled sessions, outside memory and the log, readable for years.
//!
//! Files of some 64 MiB, written from front to back and never changed once they are full. A full one ends with an
//! index sorted by session, so that opening the archive reads a few bytes of each file and finding a session reads a
//! few more; only the file that is being written is read as a whole. Entries are synced before a session leaves
//! memory:
//!
//! ```text
//!   put -> sync -> (durable) -> the session leaves memory -> its partition's next snapshot is without it -> trim
//! ```
//!
//! Archiving the same session again is always allowed: the same archive record changes nothing, another one counts from then
//! on. The format stands in [`segment`](super::segment).

use super::archive_ids::{ArchiveIds, ById};
use super::directory::DataDir;
use super::failure::Failure;
use super::files;
use super::segment::{self, Entry, Open, Sealed};
use crate::units::{SessionId, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of entries after which a file is full.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The archive of one node. References may be used for reading while another thread writes.
#[derive(Debug)]
pub struct Archive {
    place: Where,
}

#[derive(Debug)]
enum Where {
    Directory(Mutex<Segments>),
    /// When each was settled, and its entry as it would stand in a file.
    Memory(Mutex<BTreeMap<SessionId, (Timestamp, Vec<u8>)>>),
}

#[derive(Debug)]
struct Segments {
    dir: PathBuf,
    segment_bytes: u64,
    /// The full files, the oldest first.
    sealed: Vec<Arc<Sealed>>,
    open: Open,
    /// Sessions in all files, each counted once.
    sessions: u64,
    dead: bool,
}

/// A settled session as it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Which session.
    pub session: SessionId,
    /// When it was settled.
    pub settled_at: Timestamp,
    /// Its history, in the encoding of the caller of [`Archive::put`].
    pub archive_record: Vec<u8>,
}

impl Archive {
    /// Opens the archive of a data directory, cutting away what was being written when the power failed.
    ///
    /// # Errors
    /// A file of the archive cannot be read or written, or is damaged before its torn end.
    pub fn open(dir: &DataDir) -> Result<Archive, Failure> {
        Archive::open_with(dir, SEGMENT_BYTES)
    }

    fn open_with(dir: &DataDir, segment_bytes: u64) -> Result<Archive, Failure> {
        let dir = dir.archive();
        let (mut sealed, mut open) = (Vec::new(), None);
        for (number, path, is_sealed) in segment::files_of(&dir)? {
            if is_sealed {
                sealed.push(Arc::new(Sealed::open(number, path)?))
            } else {
                open = Some(Open::recover(number, path)?)
            }
        }
        sealed.sort_unstable_by_key(|segment| segment.number());
        let next = sealed.last().map_or(0, |segment| segment.number() + 1);
        let open = match open {
            Some(open) => open,
            None => Open::create(&dir, next)?,
        };
        let sessions = sealed.iter().map(|segment| segment.fresh()).sum();
        let mut segments = Segments { dir, segment_bytes, sealed, open, sessions, dead: false };
        segments.count_open()?;
        Ok(Archive { place: Where::Directory(Mutex::new(segments)) })
    }

    /// An archive in memory, for tests and simulation.
    pub fn in_memory() -> Archive {
        Archive { place: Where::Memory(Mutex::default()) }
    }

    /// Puts a settled session away. It is durable after the next [`Archive::sync`]. Returns whether it is a change. A
    /// damaged entry of the session is replaced like one with another archive record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, session: SessionId, settled_at: Timestamp, archive_record: &[u8]) -> Result<bool, Failure> {
        match self.get(session) {
            Ok(Some(known)) if known.archive_record == archive_record && known.settled_at == settled_at => {
                return Ok(false);
            }
            Ok(_) | Err(Failure::Damaged(_)) => {}
            Err(failure) => return Err(failure),
        }
        match &self.place {
            Where::Memory(sessions) => {
                lock(sessions).insert(session, (settled_at, segment::in_memory(session, settled_at, archive_record)));
            }
            Where::Directory(segments) => lock(segments).put(session, settled_at, archive_record)?,
        }
        Ok(true)
    }

    /// Makes everything archived so far durable. An error is final.
    ///
    /// # Errors
    /// The file cannot be synced.
    pub fn sync(&self) -> Result<(), Failure> {
        match &self.place {
            Where::Memory(_) => Ok(()),
            Where::Directory(segments) => lock(segments).sync(),
        }
    }

    /// A session, if it was archived.
    ///
    /// # Errors
    /// The file cannot be read, or the entry of this session is damaged.
    pub fn get(&self, session: SessionId) -> Result<Option<Archived>, Failure> {
        let segments = match &self.place {
            Where::Memory(sessions) => {
                let sessions = lock(sessions);
                return sessions.get(&session).map(|(_, entry)| segment::from_memory(entry, session)).transpose();
            }
            Where::Directory(segments) => segments,
        };
        // Entries in progress are searched under the lock, full files without it: they never change.
        let sealed = {
            let segments = lock(segments);
            if let Some(found) = segments.open.get(session)? {
                return Ok(Some(found));
            }
            segments.sealed.clone()
        };
        for segment in sealed.iter().rev().filter(|segment| segment.may_hold(session)) {
            if let Some(found) = segment.get(session)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Shows the sessions that were settled from `from` (included) until `to` (not included), in the order of files,
    /// and in each by the time of settlement, until the visitor returns false. A session that was archived again is
    /// shown once, with its last record.
    ///
    /// # Errors
    /// A file cannot be read, an entry is damaged, or the visitor's own failure.
    pub fn range(
        &self,
        from: Timestamp,
        to: Timestamp,
        visit: &mut dyn FnMut(Archived) -> bool,
    ) -> Result<(), Failure> {
        let segments = match &self.place {
            Where::Memory(sessions) => {
                let sessions = lock(sessions).clone();
                let mut within: Vec<_> = sessions.iter().filter(|(_, (at, _))| from <= *at && *at < to).collect();
                within.sort_by_key(|(session, (at, _))| (*at, **session));
                for (session, (_, entry)) in within {
                    if !visit(segment::from_memory(entry, *session)?) {
                        break;
                    }
                }
                return Ok(());
            }
            Where::Directory(segments) => segments,
        };
        let (sealed, mut on_its_way) = {
            let segments = lock(segments);
            (segments.sealed.clone(), segments.open.entries())
        };
        let within = |entry: &Entry| from <= entry.settled_at && entry.settled_at < to;
        for segment in sealed.iter().filter(|segment| segment.may_hold_time(from, to)) {
            let mut entries = segment.entries()?;
            entries.sort_unstable_by_key(|entry| (entry.settled_at, entry.session));
            for entry in entries.iter().filter(|entry| within(entry)) {
                if !self.is_newest(segment.number(), entry)? {
                    continue;
                }
                if !visit(segment.read(entry)?) {
                    return Ok(());
                }
            }
        }
        on_its_way.sort_unstable_by_key(|entry| (entry.settled_at, entry.session));
        for entry in on_its_way.iter().filter(|entry| within(entry)) {
            let found = self.get(entry.session)?;
            if found.is_some_and(|archived| !visit(archived)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The ids of what was put away, behind one of them, in this order and each once. A few are read at a time from each file,
    /// so memory does not grow with the archive; the index of the file that is written is taken as it is now.
    pub fn ids(&self, behind: Option<SessionId>, order: ById) -> ArchiveIds {
        let within = order.bounds(behind);
        let (files, unfinished) = match &self.place {
            Where::Memory(sessions) => {
                (Vec::new(), lock(sessions).range(within).map(|(session, _)| *session).collect())
            }
            Where::Directory(segments) => {
                let segments = lock(segments);
                (segments.sealed.clone(), segments.open.ids(within))
            }
        };
        ArchiveIds::new(files, unfinished, behind, order)
    }

    /// How many sessions were put away.
    pub fn count(&self) -> u64 {
        match &self.place {
            Where::Memory(sessions) => lock(sessions).len() as u64,
            Where::Directory(segments) => lock(segments).sessions,
        }
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        match &self.place {
            Where::Memory(sessions) => lock(sessions).values().map(|(_, entry)| entry.len() as u64).sum(),
            Where::Directory(segments) => {
                let segments = lock(segments);
                segments.sealed.iter().map(|segment| segment.file_bytes()).sum::<u64>() + segments.open.bytes()
            }
        }
    }

    /// Reads every entry of every file and holds it against its checksum. Returns how many there are.
    ///
    /// # Errors
    /// A file cannot be read, or an entry is damaged; the failure names it.
    pub fn verify(&self) -> Result<u64, Failure> {
        match &self.place {
            Where::Memory(sessions) => {
                let sessions = lock(sessions);
                sessions.iter().try_for_each(|(id, (_, entry))| segment::from_memory(entry, *id).map(drop))?;
                Ok(sessions.len() as u64)
            }
            Where::Directory(segments) => {
                let (sealed, entries) = {
                    let segments = lock(segments);
                    let entries = segments.open.entries();
                    entries.iter().try_for_each(|entry| segments.open.read(entry).map(drop))?;
                    (segments.sealed.clone(), entries.len() as u64)
                };
                sealed.iter().try_fold(entries, |sum, segment| Ok(sum + segment.verify()?))
            }
        }
    }

    /// Flips a bit of a session's entry, for simulation: only in memory. Flipping it again restores it. Returns
    /// whether there is such a session.
    pub fn flip_bit(&self, session: SessionId, bit: u64) -> bool {
        let Where::Memory(sessions) = &self.place else { return false };
        let mut sessions = lock(sessions);
        let Some((_, entry)) = sessions.get_mut(&session) else { return false };
        let bit = bit % (entry.len() as u64 * 8).max(1);
        match entry.get_mut(usize::try_from(bit / 8).unwrap_or(usize::MAX)) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => return false,
        }
        true
    }

    /// Whether no later file has the session of this entry.
    fn is_newest(&self, number: u64, entry: &Entry) -> Result<bool, Failure> {
        let Where::Directory(segments) = &self.place else { return Ok(true) };
        let segments = lock(segments);
        if segments.open.holds(entry.session) {
            return Ok(false);
        }
        let later = segments.sealed.iter().rev().take_while(|segment| segment.number() > number);
        for segment in later.filter(|segment| segment.may_hold(entry.session)) {
            if segment.find(entry.session)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Segments {
    fn put(&mut self, session: SessionId, settled_at: Timestamp, archive_record: &[u8]) -> Result<(), Failure> {
        self.while_alive(|segments| {
            if segments.open.bytes() >= segments.segment_bytes {
                segments.seal()?;
            }
            let known = segments.open.holds(session);
            let fresh = !known && !segments.is_sealed(session)?;
            segments.sessions += u64::from(fresh);
            segments.open.append(session, settled_at, archive_record, fresh)
        })
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.while_alive(|segments| segments.open.sync())
    }

    /// Ends the file that is written and begins the next one.
    fn seal(&mut self) -> Result<(), Failure> {
        let number = self.open.number();
        let path = self.open.seal(&self.dir)?;
        files::sync_dir(&self.dir)?;
        self.sealed.push(Arc::new(Sealed::open(number, path)?));
        self.open = Open::create(&self.dir, number + 1)?;
        Ok(())
    }

    fn is_sealed(&self, session: SessionId) -> Result<bool, Failure> {
        for segment in self.sealed.iter().rev().filter(|segment| segment.may_hold(session)) {
            if segment.find(session)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts the sessions of the file that is written, after it was found again.
    fn count_open(&mut self) -> Result<(), Failure> {
        for entry in self.open.entries() {
            let fresh = !self.is_sealed(entry.session)?;
            self.open.set_fresh(entry.session, fresh);
            self.sessions += u64::from(fresh);
        }
        Ok(())
    }

    fn while_alive<T>(&mut self, work: impl FnOnce(&mut Segments) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.dead {
            return Err(Failure::Dead);
        }
        self.dead = true;
        let done = work(self)?;
        self.dead = false;
        Ok(done)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

#[cfg(test)]
mod tests {
    use super::super::directory::Layout;
    use super::super::failure::DamageLocation;
    use super::*;
    use crate::units::PartitionId;
    use std::fs;

    fn session(number: u64) -> SessionId {
        // Settled in another order than begun, as sessions are.
        SessionId::new(
            Timestamp::from_unix_ms(1_000 + i64::try_from(number * 7 % 101).unwrap()),
            PartitionId(3),
            number,
        )
    }

    fn at(number: u64) -> Timestamp {
        Timestamp::from_unix_ms(i64::try_from(number).unwrap() * 1000)
    }

    fn archive_record(number: u64) -> Vec<u8> {
        format!("{{\"session\":{number},\"segments\":[{}]}}", "0,".repeat(50)).into_bytes()
    }

    fn place() -> (tempfile::TempDir, DataDir) {
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::create(place.path(), Layout::new(4)).unwrap();
        (place, dir)
    }

    /// Small files, so that a few hundred sessions fill several.
    fn open(dir: &DataDir) -> Archive {
        Archive::open_with(dir, 4096).unwrap()
    }

    fn all(archive: &Archive) -> Vec<Archived> {
        let mut found = Vec::new();
        archive
            .range(Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX), &mut |archived| {
                found.push(archived);
                true
            })
            .unwrap();
        found
    }

    #[test]
    fn what_was_put_away_is_found_after_years_of_files() {
        let (_place, dir) = place();
        for round in 0..4 {
            let archive = open(&dir);
            assert_eq!(archive.count(), round * 100);
            for number in round * 100..round * 100 + 100 {
                assert!(archive.put(session(number), at(number), &archive_record(number)).unwrap());
            }
            archive.sync().unwrap();
        }
        let archive = open(&dir);
        assert!(segment::files_of(&dir.archive()).unwrap().len() > 5);
        assert_eq!((archive.count(), archive.verify().unwrap()), (400, 400));
        for number in 0..400 {
            let found = archive.get(session(number)).unwrap().unwrap();
            assert_eq!((found.settled_at, found.archive_record), (at(number), archive_record(number)));
        }
        assert_eq!(archive.get(session(4000)).unwrap(), None);
        let plain: u64 = (0..400).map(|number| archive_record(number).len() as u64 + 80).sum();
        assert!(archive.used_bytes() < plain, "archive records are packed");
        let mut seen = Vec::new();
        archive
            .range(at(90), at(310), &mut |archived| {
                seen.push(archived.settled_at);
                seen.len() < 200
            })
            .unwrap();
        assert_eq!(seen, (90..290).map(at).collect::<Vec<_>>());
        assert_eq!(all(&archive).len(), 400);
    }

    #[test]
    fn ids_come_in_order_from_any_place_on_each_once() {
        let (_place, dir) = place();
        let in_memory = Archive::in_memory();
        let on_disk = open(&dir);
        for archive in [&in_memory, &on_disk] {
            for number in 0..400 {
                archive.put(session(number), at(number), &archive_record(number)).unwrap();
            }
            // Put away again: it is in an old file and in the open one.
            archive.put(session(3), at(500), b"refunded").unwrap();
        }
        let files = segment::files_of(&dir.archive()).unwrap();
        assert!(files.len() > 5 && files.iter().any(|(_, _, sealed)| !sealed));
        let mut expected: Vec<SessionId> = (0..400).map(session).collect();
        expected.sort_unstable();
        for archive in [&in_memory, &on_disk] {
            let ids = |behind, order| archive.ids(behind, order).collect::<Result<Vec<_>, Failure>>().unwrap();
            assert_eq!(ids(None, ById::OldestFirst), expected);
            for place in [0, 1, 57, 200, 398, 399] {
                let behind = Some(expected[place]);
                assert_eq!(ids(behind, ById::OldestFirst), expected[place + 1..]);
                let newest: Vec<_> = expected[..place].iter().rev().copied().collect();
                assert_eq!(ids(behind, ById::NewestFirst), newest);
            }
            let between = SessionId::from_u128(expected[57].as_u128() + (1 << 16));
            assert_eq!(ids(Some(between), ById::NewestFirst).first(), Some(&expected[57]));
            assert_eq!(ids(Some(between), ById::OldestFirst), expected[58..]);
        }
        let mut reversed = expected.clone();
        reversed.reverse();
        assert!(on_disk.ids(None, ById::NewestFirst).map(Result::unwrap).eq(reversed));
        // What is put away meanwhile moves nothing.
        let mut ids = on_disk.ids(None, ById::NewestFirst);
        let first: Vec<_> = ids.by_ref().take(100).map(Result::unwrap).collect();
        for number in 400..600 {
            on_disk.put(session(number), at(number), &archive_record(number)).unwrap();
        }
        assert!(first.into_iter().chain(ids.map(Result::unwrap)).eq(expected.into_iter().rev()));
    }

    #[test]
    fn the_same_again_changes_nothing_and_another_dossier_counts_from_then_on() {
        for archive in [Archive::in_memory(), open(&place().1)] {
            for number in 0..60 {
                archive.put(session(number), at(number), &archive_record(number)).unwrap();
            }
            let bytes = archive.used_bytes();
            assert!(!archive.put(session(3), at(3), &archive_record(3)).unwrap());
            assert_eq!(archive.used_bytes(), bytes);
            assert!(archive.put(session(3), at(100), b"refunded").unwrap());
            assert_eq!(archive.get(session(3)).unwrap().unwrap().archive_record, b"refunded");
            assert_eq!(archive.count(), 60);
            let shown = all(&archive);
            assert_eq!(shown.len(), 60);
            assert_eq!(shown.last().unwrap().archive_record, b"refunded");
        }
    }

    #[test]
    fn a_torn_end_is_cut_and_written_anew() {
        let (_place, dir) = place();
        let archive = open(&dir);
        for number in 0..5 {
            archive.put(session(number), at(number), &archive_record(number)).unwrap();
        }
        archive.sync().unwrap();
        archive.put(session(5), at(5), &archive_record(5)).unwrap();
        drop(archive);
        let (_, path, _) = segment::files_of(&dir.archive()).unwrap().pop().unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 1..80 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let archive = open(&dir);
            assert_eq!(archive.count(), 5, "{cut} bytes are missing");
            assert!(archive.put(session(5), at(5), &archive_record(5)).unwrap());
            assert_eq!(archive.get(session(5)).unwrap().unwrap().archive_record, archive_record(5));
        }
        // Garbage of the size of a page in place of what was not synced.
        let mut garbage = whole.clone();
        let synced = whole.len() - 60;
        garbage[synced..].fill(0xa5);
        fs::write(&path, &garbage).unwrap();
        assert_eq!(open(&dir).count(), 5);
    }

    #[test]
    fn damage_below_what_was_synced_is_not_taken_for_a_torn_end() {
        let (_place, dir) = place();
        let archive = open(&dir);
        for number in 0..5 {
            archive.put(session(number), at(number), &archive_record(number)).unwrap();
            archive.sync().unwrap();
        }
        drop(archive);
        let (_, path, _) = segment::files_of(&dir.archive()).unwrap().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let refused = Archive::open(&dir).err().unwrap();
        let Failure::Damaged(damage) = refused else { panic!("{refused}") };
        assert!(matches!(damage.place, DamageLocation::Archive { offset, .. } if offset <= 100), "{damage}");
    }

    /// A damaged session is reported as damaged, not as missing; others are unaffected, and archiving it again
    /// replaces it.
    #[test]
    fn a_damaged_session_is_named_and_can_be_put_away_again() {
        let (_place, dir) = place();
        let in_memory = Archive::in_memory();
        for archive in [&in_memory, &open(&dir)] {
            for number in 0..3 {
                archive.put(session(number), at(number), &archive_record(number)).unwrap();
            }
            archive.sync().unwrap();
        }
        let on_disk = open(&dir);
        let (_, path, _) = segment::files_of(&dir.archive()).unwrap().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 4;
        fs::write(&path, &bytes).unwrap();
        assert!(in_memory.flip_bit(session(0), 60 * 8 + 2));
        for archive in [&in_memory, &on_disk] {
            let Err(Failure::Damaged(damage)) = archive.get(session(0)) else { panic!("the damage was not detected") };
            assert!(matches!(damage.place, DamageLocation::Archive { offset: 0, .. }), "{damage}");
            assert!(matches!(archive.verify(), Err(Failure::Damaged(_))));
            assert_eq!(archive.get(session(1)).unwrap().unwrap().archive_record, archive_record(1));
            assert_eq!(archive.get(session(7)).unwrap(), None);
            assert!(archive.put(session(0), at(0), &archive_record(0)).unwrap());
            assert_eq!(archive.get(session(0)).unwrap().unwrap().archive_record, archive_record(0));
            assert_eq!((archive.count(), all(archive).len()), (3, 3));
        }
    }

    #[test]
    fn every_flipped_bit_in_memory_is_seen_and_flipped_back() {
        let archive = Archive::in_memory();
        archive.put(session(1), at(1), &archive_record(1)).unwrap();
        let bits = archive.used_bytes() * 8;
        for bit in 0..bits {
            assert!(archive.flip_bit(session(1), bit));
            assert!(matches!(archive.get(session(1)), Err(Failure::Damaged(_))), "bit {bit}");
            assert!(archive.flip_bit(session(1), bit + bits));
            assert_eq!(archive.get(session(1)).unwrap().unwrap().archive_record, archive_record(1));
        }
        assert!(!archive.flip_bit(session(2), 0));
    }

    #[test]
    fn a_flipped_bit_in_any_byte_of_a_full_file_is_seen() {
        let (_place, dir) = place();
        let archive = Archive::open_with(&dir, 300).unwrap();
        for number in 0..8 {
            archive.put(session(number), at(number), &archive_record(number)).unwrap();
        }
        archive.sync().unwrap();
        drop(archive);
        let (_, path, sealed) = segment::files_of(&dir.archive()).unwrap().swap_remove(0);
        assert!(sealed);
        let whole = fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << (byte % 8);
            fs::write(&path, damaged).unwrap();
            let seen = Archive::open_with(&dir, 300).and_then(|archive| archive.verify());
            assert!(matches!(seen, Err(Failure::Damaged(_) | Failure::Format { .. })), "byte {byte}: {seen:?}");
        }
    }
}

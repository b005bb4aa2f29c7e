//! Reads blocks directly from sled's file, without sled.
//!
//! sled keeps a value as it was given, in one piece, in its file `db`, and a block's header has its number and
//! checksum. So every synced block is found by a search through the file: no index is used, nothing is written, and
//! damage to sled's own structures does no harm. This matters because sled fills an end of the file that it cannot
//! parse with zeros, and panics over other damage.
//!
//! A block may be found more than once (sled moves pages), and blocks are found that were dropped long ago: the
//! caller selects the numbers that count.

use crate::journal::block::{self, BlockHeader};
use crate::journal::failure::Failure;
use crate::journal::store::BlockVisitor;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// sled's unit of allocation: nothing that it writes crosses a multiple of it. A power of two, at most 16 MiB; fixed for a
/// file.
pub(super) const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Threads that search a file; the disk is not faster with more.
const THREADS_MAX: usize = 4;

/// A file of sled's, and what was found in it.
#[derive(Clone, Debug)]
pub(in crate::journal) struct RawFile {
    path: PathBuf,
    file: Arc<File>,
    /// By number; several when sled has moved them.
    found: Arc<BTreeMap<u64, Vec<Sighting>>>,
}

/// Bytes that begin like a block.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    at: u64,
    length: usize,
    /// The header of a whole block; `None` when the bytes do not match it.
    header: Option<BlockHeader>,
}

impl RawFile {
    /// Searches a whole file for blocks from this number on. A missing file has none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path, from: u64) -> Result<Option<RawFile>, Failure> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(other) => return Err(Failure::io("opening", path)(other)),
        };
        let length = file.metadata().map_err(Failure::io("looking at", path))?.len();
        let next = AtomicU64::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let scan_some = || {
            let mut segment = Vec::new();
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed) * SEGMENT_BYTES as u64;
                if at >= length {
                    return Ok(found);
                }
                segment.resize(usize::try_from(length - at).map_or(SEGMENT_BYTES, |left| left.min(SEGMENT_BYTES)), 0);
                file.read_exact_at(&mut segment, at).map_err(Failure::io("reading", path))?;
                find_blocks(&segment, at, from, &mut found);
            }
        };
        let parts: Vec<Result<Vec<(u64, Sighting)>, Failure>> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(scan_some)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).collect()
        });
        let mut found: BTreeMap<u64, Vec<Sighting>> = BTreeMap::new();
        for part in parts {
            part?.into_iter().for_each(|(number, sighting)| found.entry(number).or_default().push(sighting));
        }
        Ok(Some(RawFile { path: path.to_owned(), file: Arc::new(file), found: Arc::new(found) }))
    }

    /// Makes what was found durable: a process that was killed may have left it in the system's memory only.
    ///
    /// # Errors
    /// The file cannot be synced.
    pub fn sync(&self) -> Result<(), Failure> {
        self.file.sync_all().map_err(Failure::io("syncing", &self.path))
    }

    /// The number after the last whole block of this range.
    pub fn end(&self, range: &Range<u64>) -> Option<u64> {
        let is_whole = |sightings: &Vec<Sighting>| sightings.iter().any(|sighting| sighting.header.is_some());
        self.within(range).rev().find(|(_, sightings)| is_whole(sightings)).map(|(number, _)| *number + 1)
    }

    /// Shows the blocks of a range of numbers in ascending order: the whole one of each number, or else a damaged
    /// one, for callers that lack the number.
    ///
    /// # Errors
    /// The file cannot be read, or the visitor's own failure.
    pub fn replay(&self, range: &Range<u64>, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let mut before: Option<(u64, u32)> = None;
        let mut reach = range.start;
        let last_whole = self.end(range);
        for (number, sightings) in self.within(range) {
            let previous = before.filter(|(last, _)| last + 1 == *number).map(|(_, crc)| crc);
            let chosen = self.choose(*number, sightings, previous);
            // The number in a header that is not whole may be any: it counts between whole ones, or right after the last.
            if chosen.header.is_none() && last_whole.is_none_or(|end| *number >= end) && *number != reach {
                continue;
            }
            bytes.resize(chosen.length, 0);
            self.file.read_exact_at(&mut bytes, chosen.at).map_err(Failure::io("reading", &self.path))?;
            before = chosen.header.map(|header| (*number, header.crc));
            reach = number + 1;
            visit(*number, &bytes)?;
        }
        Ok(())
    }

    fn within(&self, range: &Range<u64>) -> impl DoubleEndedIterator<Item = (&u64, &Vec<Sighting>)> {
        let range = if range.start < range.end { range.clone() } else { 0..0 };
        self.found.range(range)
    }

    /// Of several the one that its successor continues, or else the one that continues its predecessor, or else the one
    /// written last. More than one that differ are there only when an end was cut away and written anew in the same file.
    fn choose(&self, number: u64, sightings: &[Sighting], previous: Option<u32>) -> Sighting {
        let successors = self.found.get(&(number + 1)).map_or(&[][..], Vec::as_slice);
        let rank = |sighting: &&Sighting| {
            sighting.header.map(|header| {
                let is_continued =
                    successors.iter().any(|next| next.header.is_some_and(|next| next.previous == header.crc));
                (is_continued, previous == Some(header.previous), header.open_count)
            })
        };
        *sightings.iter().max_by_key(rank).expect("a number is noted with its first sighting")
    }
}

/// Collects every block in a segment that starts at `base` in its file.
fn find_blocks(segment: &[u8], base: u64, from: u64, found: &mut Vec<(u64, Sighting)>) {
    let mut at = 0;
    while let Some(next) = block::find(&segment[at..]) {
        at += next;
        let rest = &segment[at..];
        let (length, header) = match block::parse_first(rest) {
            Ok((header, length)) => (length, Some(header)),
            Err(_) => (block::claimed_length(rest), None),
        };
        let number = header.map_or_else(|| block::claimed_number(rest), |header| Some(header.number));
        if let Some(number) = number.filter(|number| *number >= from) {
            found.push((number, Sighting { at: base + at as u64, length, header }));
        }
        at += if header.is_some() { length } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::block::BLOCK_HEADER;
    use std::fs;

    fn block(number: u64, open_count: u32, previous: u32, text: &str) -> (Vec<u8>, u32) {
        let mut block = Vec::new();
        block::begin(&mut block);
        block.extend(text.bytes());
        let header = BlockHeader { last: true, records: 1, open_count, number, group: number, previous, crc: 0 };
        let crc = block::finish(&mut block, header).crc;
        (block, crc)
    }

    fn shown(bytes: &[u8], range: Range<u64>) -> Vec<(u64, String)> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        fs::write(&path, bytes).unwrap();
        let mut shown = Vec::new();
        let raw = RawFile::read(&path, range.start).unwrap().unwrap();
        raw.replay(&range, &mut |number, block| {
            shown.push((number, String::from_utf8_lossy(&block[BLOCK_HEADER.min(block.len())..]).into_owned()));
            Ok(())
        })
        .unwrap();
        shown
    }

    #[test]
    fn blocks_are_found_wherever_they_lie_and_shown_in_order() {
        let mut file = b"wBLwBLK and other noise".to_vec();
        for number in [7, 3, 4, 6, 5, 4] {
            file.extend(block(number, 1, 0, &format!("text {number}")).0);
            file.extend(b"wBLK\x01\x01\0\0\xff\xff\xff\xff more noise");
        }
        // One of them beyond the first segment.
        file.resize(SEGMENT_BYTES + 100, 0);
        file.extend(block(8, 1, 0, "far").0);
        let texts: Vec<(u64, String)> = shown(&file, 4..100);
        assert_eq!(texts.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
        assert_eq!(texts[1].1, "text 5");
        assert!(shown(b"", 0..10).is_empty());
        assert!(RawFile::read(Path::new("/nowhere/db"), 0).unwrap().is_none());
    }

    #[test]
    fn of_two_blocks_with_one_number_the_chain_decides() {
        let (first, first_crc) = block(0, 1, 0, "first");
        let (cut_away, _) = block(1, 1, first_crc, "cut away");
        let (stays, stays_crc) = block(1, 2, first_crc, "stays");
        let (next, _) = block(2, 2, stays_crc, "next");
        let text = |file: &[&[u8]]| shown(&file.concat(), 0..10)[1].1.clone();
        assert_eq!(text(&[&first, &cut_away, &stays, &next]), "stays");
        assert_eq!(text(&[&next, &stays, &cut_away, &first]), "stays");
        assert_eq!(text(&[&first, &stays, &cut_away]), "stays", "the later open_count, as long as nothing follows");
    }

    #[test]
    fn what_is_left_of_a_block_is_shown_where_it_is_missing_and_never_far_beyond_the_end() {
        let (first, crc) = block(0, 1, 0, "first");
        let (mut second, crc) = block(1, 1, crc, "second");
        let (third, _) = block(2, 1, crc, "third");
        *second.last_mut().unwrap() ^= 1;
        let numbers =
            |file: &[&[u8]]| shown(&file.concat(), 0..u64::MAX).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(numbers(&[&first, &second, &third]), [0, 1, 2]);
        assert_eq!(numbers(&[&first, &second]), [0, 1], "a torn end is shown as such");
        // The number itself is damaged: that block has no known place.
        second[23] ^= 0x40;
        assert_eq!(numbers(&[&first, &second]), [0]);
        assert_eq!(numbers(&[&first, &second, &third]), [0, 2]);
    }
}

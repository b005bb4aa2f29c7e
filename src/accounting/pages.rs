//! The entries of the books: collected in pages, which are archived like closed sessions when they are full.
//!
//! Balances are a fold of all entries since the first day; the log with their facts is trimmed. Pages keep the
//! entries: the open one and those in transit are in the partition's state (and so in its snapshots), the full ones
//! in the archive. A replay writes the same entries on the same pages, so archiving one again changes nothing.

use crate::ledger::Entry;
use crate::stored::{self, Stored, stored};
use crate::units::{PartitionId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes after which a page is full: some hundreds of entries. Small in tests, so that pages fill in small worlds.
const PAGE_BYTES: usize = if cfg!(test) { 1024 } else { 64 * 1024 };

/// The pages of a partition that are not in the archive yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    open: Page,
    full: BTreeMap<u64, Page>,
    /// Full pages below this number were handed over since the process began.
    #[serde(skip)]
    handed_over: u64,
}

stored!(struct Pages { 0: open, 1: full } without handed_over);

/// Entries in the order in which they were posted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PageInVersion4")]
pub struct Page {
    /// Counted from 0 in its partition.
    pub number: u64,
    /// The latest date of an entry on it.
    pub last_at: Timestamp,
    /// How many entries are on it.
    pub entries: u64,
    /// Their stored forms, one after the other.
    bytes: Vec<u8>,
}

stored!(struct Page { 0: number, 1: last_at, 2: entries, 3: bytes });

/// A page in data of version 4: its entries are encoded by postcard.
#[derive(Deserialize)]
struct PageInVersion4 {
    number: u64,
    last_at: Timestamp,
    entries: u64,
    bytes: Vec<u8>,
}

impl From<PageInVersion4> for Page {
    fn from(PageInVersion4 { number, last_at, entries, bytes: old }: PageInVersion4) -> Page {
        let (mut rest, mut bytes) = (old.as_slice(), Vec::new());
        while let Ok((entry, left)) = postcard::take_from_bytes::<Entry>(rest) {
            entry.store(&mut bytes);
            rest = left;
        }
        Page { number, last_at, entries, bytes }
    }
}

/// Marks a page in the archive, in contrast to an archive record.
const PAGE_VERSION: u8 = 0x81;
/// The same of a page that was archived in data of version 4.
const PAGE_OF_VERSION_4: u8 = 0x80;

impl Pages {
    /// Writes an entry down.
    pub fn write(&mut self, entry: &Entry) {
        let page = &mut self.open;
        entry.store(&mut page.bytes);
        page.last_at = if page.entries == 0 { entry.at() } else { page.last_at.max(entry.at()) };
        page.entries += 1;
        if page.bytes.len() >= PAGE_BYTES {
            let next = Page { number: page.number + 1, ..Page::default() };
            let full = std::mem::replace(page, next);
            self.full.insert(full.number, full);
        }
    }

    /// The next full page that was not handed over since the process began.
    pub fn hand_over(&mut self) -> Option<u64> {
        let (number, _) = self.full.range(self.handed_over..).next()?;
        self.handed_over = *number + 1;
        Some(*number)
    }

    /// A full page is safe in the archive.
    pub fn archived(&mut self, number: u64) {
        self.full.remove(&number);
    }

    /// A full page.
    pub fn full(&self, number: u64) -> Option<&Page> {
        self.full.get(&number)
    }

    /// Every page that is not in the archive, in order; the last one is open.
    pub fn all(&self) -> impl Iterator<Item = &Page> {
        self.full.values().chain(std::iter::once(&self.open))
    }
}

impl Page {
    /// The id of a page in the archive: no session has that time.
    pub fn id(partition: PartitionId, number: u64) -> SessionId {
        SessionId::new(Timestamp::from_unix_ms(0), partition, number)
    }

    /// Whether something lies in the archive under the name of a page.
    pub fn is_id(id: SessionId) -> bool {
        id.begun().unix_ms() == 0
    }

    /// As bytes for the archive.
    pub fn to_bytes(&self, partition: PartitionId) -> Vec<u8> {
        let mut bytes = vec![PAGE_VERSION];
        partition.store(&mut bytes);
        self.store(&mut bytes);
        bytes
    }

    /// A page from the archive; nothing for what is no page.
    pub fn from_bytes(bytes: &[u8]) -> Option<(PartitionId, Page)> {
        let (first, rest) = bytes.split_first()?;
        match *first {
            PAGE_VERSION => stored::from_bytes(rest).ok(),
            PAGE_OF_VERSION_4 => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }

    /// The entries on it, in their order. What cannot be read ends them.
    pub fn entries(&self) -> Vec<Entry> {
        read_entries(&self.bytes).0
    }

    /// Bytes of its entries.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no entry on it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its entries behind so many bytes, as they are stored.
    pub fn behind(&self, bytes: u64) -> &[u8] {
        usize::try_from(bytes).ok().and_then(|bytes| self.bytes.get(bytes..)).unwrap_or_default()
    }
}

/// Reads stored entries that stand one behind the other, and what is left where one cannot be read.
pub fn read_entries(bytes: &[u8]) -> (Vec<Entry>, &[u8]) {
    let (mut rest, mut entries) = (bytes, Vec::new());
    while !rest.is_empty() {
        let mut next = rest;
        let Ok(entry) = Entry::load(&mut next) else { break };
        entries.push(entry);
        rest = next;
    }
    (entries, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::EntryId;
    use crate::units::{Amount, Currency, ProcessorId};

    fn entry(number: u64) -> Entry {
        let at = Timestamp::from_unix_ms(1_763_800_000_000 + i64::try_from(number).unwrap());
        let id = EntryId::of_session(SessionId::new(at, PartitionId(1), number), 0);
        let processor = ProcessorId::new("acme-cards").unwrap();
        Entry::hold_approved(id, at, &processor, Amount::new(4_500, Currency::EUR)).unwrap()
    }

    #[test]
    fn every_entry_is_on_one_page_whatever_was_put_away_meanwhile() {
        let mut pages = Pages::default();
        let mut archive = BTreeMap::new();
        for number in 0..5_000 {
            pages.write(&entry(number));
            while let Some(full) = pages.hand_over() {
                archive.insert(full, pages.full(full).unwrap().to_bytes(PartitionId(3)));
                if full % 2 == 0 {
                    pages.archived(full);
                }
            }
        }
        assert!(archive.len() > 2, "{} pages", archive.len());
        let mut found: BTreeMap<u64, Vec<Entry>> = archive
            .values()
            .map(|bytes| {
                let (partition, page) = Page::from_bytes(bytes).unwrap();
                assert_eq!(partition, PartitionId(3));
                (page.number, page.entries())
            })
            .collect();
        found.extend(pages.all().map(|page| (page.number, page.entries())));
        let found: Vec<Entry> = found.into_values().flatten().collect();
        assert_eq!(found, (0..5_000).map(entry).collect::<Vec<_>>());
        assert_eq!(Page::from_bytes(&[1, 2, 3]), None, "a archive record is no page");
    }
}

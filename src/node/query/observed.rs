//! Whole states and the newest entries of the books, for observers that keep a copy of them. Each question is bounded by what it
//! names, so that none walks all that is live.

use super::paging::{First, Part, Rows};
use super::resources::ChargerSummary;
use super::sessions::LiveSession;
use crate::account::TopUp;
use crate::node::session::HostedSession;
use crate::node::shard::Shard;
use crate::units::{ChargerId, PartitionId, PaymentId, SessionId};

/// These sessions, as far as they are live.
#[derive(Clone, Debug)]
pub struct SessionsNamed(pub Vec<SessionId>);

impl SessionsNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<LiveSession> {
        self.0.iter().filter_map(|id| shard.session(*id)).map(live).collect()
    }
}

/// The live sessions of a partition, from a cell on.
#[derive(Clone, Copy, Debug)]
pub struct SessionsFrom {
    /// The partition.
    pub partition: PartitionId,
    /// The cell.
    pub cell: u32,
    /// Cells that are looked at.
    pub cells: u32,
}

/// Some live sessions of a partition.
#[derive(Debug)]
pub struct LiveSessions {
    /// Each with its tariff.
    pub sessions: Vec<LiveSession>,
    /// Where the next ones begin; none: there are no more.
    pub next: Option<u32>,
}

impl SessionsFrom {
    pub(super) fn ask(&self, shard: &Shard) -> Option<LiveSessions> {
        let partition = shard.partitions().iter().find(|partition| partition.id == self.partition)?;
        let until = self.cell.saturating_add(self.cells);
        let sessions = partition.sessions.between(self.cell, until).map(live).collect();
        let next = (usize::try_from(until).unwrap_or(usize::MAX) < partition.sessions.end()).then_some(until);
        Some(LiveSessions { sessions, next })
    }
}

fn live(hosted: &HostedSession) -> LiveSession {
    LiveSession { session: hosted.state().clone(), tariff: hosted.tariff().clone() }
}

/// These top-ups, as far as they are kept.
#[derive(Clone, Debug)]
pub struct TopUpsNamed(pub Vec<PaymentId>);

impl TopUpsNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<TopUp> {
        let find = |id: &PaymentId| shard.partitions().iter().find_map(|partition| partition.top_ups.known.get(id));
        self.0.iter().filter_map(find).cloned().collect()
    }
}

/// A page of the top-ups, in the order of their ids.
#[derive(Clone, Debug)]
pub struct TopUps {
    /// The page.
    pub part: Part<PaymentId>,
}

impl TopUps {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<PaymentId, Box<TopUp>> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after, page.limit);
            for (id, top_up) in partitions.iter().flat_map(|partition| &partition.top_ups.known) {
                first.offer(*id, top_up);
            }
            first.rows(|id, top_up| (id, Box::new(top_up.clone())))
        })
    }
}

/// These chargers, as far as they are known.
#[derive(Clone, Debug)]
pub struct ChargersNamed(pub Vec<ChargerId>);

impl ChargersNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<(String, ChargerSummary)> {
        let find = |id: &ChargerId| {
            let mut partitions = shard.partitions().iter();
            partitions.find_map(|partition| partition.chargers.get(partition.find_charger(id)?))
        };
        let found = self.0.iter().filter_map(|id| Some((id.to_string(), ChargerSummary::of(find(id)?))));
        found.collect()
    }
}

/// A place in the entries of a partition's books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryPlace {
    /// The page.
    pub page: u64,
    /// Entries of it.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The entries of each partition behind a place, as far as they are in memory: at most so many bytes, or one page.
#[derive(Clone, Debug)]
pub struct EntriesBehind {
    /// Of each partition; of one that is not named, all.
    pub places: Vec<(PartitionId, EntryPlace)>,
    /// Bytes after which no further page is given.
    pub bytes: usize,
}

/// Entries of a partition.
#[derive(Debug)]
pub struct NewEntries {
    /// The partition.
    pub partition: PartitionId,
    /// The page that is being filled.
    pub open: u64,
    /// The first page that is in memory: earlier ones are in the archive.
    pub first: u64,
    /// Whether the place is behind the last entry: it is none of this partition.
    pub is_ahead: bool,
    /// Entries behind the place, on consecutive pages; none if earlier ones are in the archive.
    pub entries: Vec<EntriesOfPage>,
}

/// Entries of one page.
#[derive(Debug)]
pub struct EntriesOfPage {
    /// Behind them.
    pub end: EntryPlace,
    /// How many there are.
    pub count: u64,
    /// Whether no further one comes onto the page.
    pub is_full: bool,
    /// Their stored forms.
    pub bytes: Vec<u8>,
}

impl EntriesBehind {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<NewEntries> {
        let mut left = self.bytes;
        let mut found = Vec::new();
        for partition in shard.partitions() {
            let named = self.places.iter().find(|(id, _)| *id == partition.id);
            let mut place = named.map(|(_, place)| *place).unwrap_or_default();
            let mut pages = partition.books.pages.all().peekable();
            let first = pages.peek().map_or(0, |page| page.number);
            let (mut open, mut end, mut entries) = (first, EntryPlace::default(), Vec::new());
            for page in pages {
                open = page.number;
                end = EntryPlace { page: page.number, entries: page.entries, bytes: page.len() as u64 };
                if place.page != page.number || place.bytes >= end.bytes || left == 0 {
                    continue;
                }
                let bytes = page.behind(place.bytes).to_vec();
                left = left.saturating_sub(bytes.len());
                let count = page.entries.saturating_sub(place.entries);
                entries.push(EntriesOfPage { end, count, is_full: false, bytes });
                place = EntryPlace { page: page.number + 1, ..EntryPlace::default() };
            }
            entries.iter_mut().for_each(|entries| entries.is_full = entries.end.page < open);
            let named = named.map(|(_, place)| *place).unwrap_or_default();
            let is_ahead = named.page > open || (named.page == open && named.bytes > end.bytes);
            if is_ahead || named.page < open || !entries.is_empty() {
                found.push(NewEntries { partition: partition.id, open, first, is_ahead, entries });
            }
        }
        found
    }
}

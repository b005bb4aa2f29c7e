//! The ids in an archive, in their order, read a few at a time from the index of each file.

use super::failure::Failure;
use super::segment::Sealed;
use crate::units::SessionId;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Entries of an index that are read at once.
const READ_AT_ONCE: u64 = 128;

/// In which order ids are wanted. An id begins with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ById {
    /// The youngest session first.
    NewestFirst,
    /// The oldest session first.
    OldestFirst,
}

impl ById {
    /// What comes behind an id.
    pub(super) fn bounds(self, behind: Option<SessionId>) -> (Bound<SessionId>, Bound<SessionId>) {
        let behind = behind.map_or(Bound::Unbounded, Bound::Excluded);
        match self {
            ById::NewestFirst => (Bound::Unbounded, behind),
            ById::OldestFirst => (behind, Bound::Unbounded),
        }
    }

    /// Whether an id comes behind another one.
    fn is_behind(self, id: SessionId, behind: SessionId) -> bool {
        match self {
            ById::NewestFirst => id < behind,
            ById::OldestFirst => id > behind,
        }
    }

    /// What comes first has the highest rank.
    fn rank(self, id: SessionId) -> u128 {
        match self {
            ById::NewestFirst => id.as_u128(),
            ById::OldestFirst => !id.as_u128(),
        }
    }
}

/// The ids of what was put away, in their order, each once. A failure ends it.
#[derive(Debug)]
pub struct ArchiveIds {
    order: ById,
    behind: Option<SessionId>,
    lanes: Vec<Lane>,
    heads: BinaryHeap<Head>,
    last: Option<SessionId>,
}

/// What is not yet taken of one file.
#[derive(Debug)]
struct Lane {
    /// None for the file that is written, whose ids are all in `read`.
    file: Option<Arc<Sealed>>,
    /// ShardTable of the index that are to be read.
    places: std::ops::Range<u64>,
    read: VecDeque<SessionId>,
}

/// The next id of a lane; or, before the lane is opened, one that comes before all of its ids.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    rank: u128,
    lane: usize,
    id: SessionId,
    is_opened: bool,
}

impl ArchiveIds {
    /// `unfinished` is in the order of ids, and behind the place.
    pub(super) fn new(
        files: Vec<Arc<Sealed>>,
        unfinished: Vec<SessionId>,
        behind: Option<SessionId>,
        order: ById,
    ) -> ArchiveIds {
        let mut ids = ArchiveIds { order, behind, lanes: Vec::new(), heads: BinaryHeap::new(), last: None };
        for file in files.into_iter().filter(|file| file.count() > 0) {
            let newest = order == ById::NewestFirst;
            let (first, last) = (file.outermost(newest), file.outermost(!newest));
            if behind.is_none_or(|behind| order.is_behind(last, behind)) {
                // A file is opened when it is its turn: most of a long archive is not, for one page.
                ids.heads.push(Head { rank: order.rank(first), lane: ids.lanes.len(), id: first, is_opened: false });
                ids.lanes.push(Lane { file: Some(file), places: 0..0, read: VecDeque::new() });
            }
        }
        let mut read = VecDeque::from(unfinished);
        if order == ById::NewestFirst {
            read.make_contiguous().reverse();
        }
        if let Some(id) = read.pop_front() {
            ids.heads.push(Head { rank: order.rank(id), lane: ids.lanes.len(), id, is_opened: true });
            ids.lanes.push(Lane { file: None, places: 0..0, read });
        }
        ids
    }

    fn advance(&mut self) -> Result<Option<SessionId>, Failure> {
        while let Some(Head { lane, id, is_opened, .. }) = self.heads.pop() {
            let next = if is_opened {
                self.lanes[lane].next(self.order)?
            } else {
                self.lanes[lane].open(self.order, self.behind)?
            };
            if let Some(id) = next {
                self.heads.push(Head { rank: self.order.rank(id), lane, id, is_opened: true });
            }
            if is_opened && self.last != Some(id) {
                self.last = Some(id);
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Iterator for ArchiveIds {
    type Item = Result<SessionId, Failure>;

    fn next(&mut self) -> Option<Result<SessionId, Failure>> {
        let next = self.advance();
        if next.is_err() {
            self.heads.clear();
        }
        next.transpose()
    }
}

impl Lane {
    /// Finds where the ids behind the place begin.
    fn open(&mut self, order: ById, behind: Option<SessionId>) -> Result<Option<SessionId>, Failure> {
        let Some(file) = &self.file else { return Ok(None) };
        self.places = match (order, behind) {
            (_, None) => 0..file.count(),
            (ById::NewestFirst, Some(behind)) => 0..file.count_until(behind, false)?,
            (ById::OldestFirst, Some(behind)) => file.count_until(behind, true)?..file.count(),
        };
        self.next(order)
    }

    fn next(&mut self, order: ById) -> Result<Option<SessionId>, Failure> {
        if let Some(file) = self.file.as_ref().filter(|_| self.read.is_empty() && !self.places.is_empty()) {
            let count = (self.places.end - self.places.start).min(READ_AT_ONCE);
            match order {
                ById::OldestFirst => {
                    self.read.extend(file.ids(self.places.start, count)?);
                    self.places.start += count;
                }
                ById::NewestFirst => {
                    self.places.end -= count;
                    self.read.extend(file.ids(self.places.end, count)?.into_iter().rev());
                }
            }
        }
        Ok(self.read.pop_front())
    }
}

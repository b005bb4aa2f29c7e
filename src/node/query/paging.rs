//! The wanted part of a list, and the first matching items.
//!
//! A list is ordered by a key of its items that never changes, and a page begins behind a key, not behind a count: items that
//! come and go meanwhile move no other one out of its page or into a second one.

use crate::limits::LIST_PARTITIONS_AT_ONCE;
use crate::node::partition::Partition;
use crate::node::shard::Shard;
use std::collections::BTreeMap;

/// The part of a list that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// It begins behind this key; none: with the list.
    pub after: Option<K>,
    /// At most so many items.
    pub limit: usize,
}

impl<K> Page<K> {
    /// The beginning of a list.
    pub const fn first(limit: usize) -> Page<K> {
        Page { after: None, limit }
    }
}

/// The first offered items, by key and each key once: never more than a page and one.
#[derive(Debug)]
pub struct First<K, T> {
    after: Option<K>,
    room: usize,
    kept: BTreeMap<K, T>,
}

impl<K: Ord, T> First<K, T> {
    /// What comes behind a key, and one more than `limit` of it: whether the list goes on is then known.
    pub fn behind(after: Option<K>, limit: usize) -> First<K, T> {
        First { after, room: limit.saturating_add(1), kept: BTreeMap::new() }
    }

    /// Whether an item with this key would be kept.
    pub fn wants(&self, key: &K) -> bool {
        self.after.as_ref().is_none_or(|after| key > after)
            && (self.kept.len() < self.room || self.kept.last_key_value().is_some_and(|(last, _)| key < last))
    }

    /// Keeps an item, if it is one of the first by now. What comes again under the same key takes no second place.
    pub fn offer(&mut self, key: K, item: T) {
        if self.wants(&key) {
            self.kept.entry(key).or_insert(item);
            if self.kept.len() > self.room {
                self.kept.pop_last();
            }
        }
    }

    /// What was kept, in order.
    pub fn into_sorted(self) -> Vec<(K, T)> {
        self.kept.into_iter().collect()
    }

    /// What was kept, in order, each as a row with a key of its own.
    pub fn rows<L, R>(self, mut row: impl FnMut(K, T) -> (L, R)) -> Vec<(L, R)> {
        self.into_sorted().into_iter().map(|(key, item)| row(key, item)).collect()
    }
}

/// A page of a list, from [`LIST_PARTITIONS_AT_ONCE`] partitions of a shard: it does other work between two such parts.
#[derive(Clone, Debug)]
pub struct Part<K> {
    /// The page.
    pub page: Page<K>,
    /// Begins at this partition of the shard, counted from 0.
    pub from: usize,
}

/// The rows of a part: at most one more than the page has, in order.
#[derive(Debug)]
pub struct Rows<K, T> {
    /// How many partitions the shard has.
    pub partitions: usize,
    /// The rows.
    pub rows: Vec<(K, T)>,
}

impl<K> Part<K> {
    pub(super) fn of<T>(&self, shard: &Shard, rows: impl FnOnce(&[Partition], &Page<K>) -> Vec<(K, T)>) -> Rows<K, T> {
        let partitions = shard.partitions();
        let until = self.from.saturating_add(LIST_PARTITIONS_AT_ONCE).min(partitions.len());
        let some = partitions.get(self.from..until).unwrap_or_default();
        Rows { partitions: partitions.len(), rows: rows(some, &self.page) }
    }
}

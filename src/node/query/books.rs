//! The books of a shard.

use super::paging::Page;
use crate::accounting::pages;
use crate::ledger::{Balance, Books, BoundBroken, Ledger, Name};
use crate::limits::LIST_ITEMS_MAX;
use crate::node::shard::Shard;
use crate::units::{Currency, PartitionId};
use std::collections::{BTreeMap, BTreeSet};

/// An account of the books in one currency.
pub type BookKey = (Name, Currency);

/// How the books of a shard stand.
#[derive(Clone, Copy, Debug)]
pub struct BooksOf;

/// Sums over the books of a shard's partitions.
#[derive(Debug, Default)]
pub struct ShardBooks {
    /// Entries posted.
    pub entries: u64,
    /// The sums of all accounts.
    pub sums: BTreeMap<(Ledger, Currency), Balance>,
    /// Accounts that are below zero in one of the partitions and must not be; the first [`LIST_ITEMS_MAX`] of them.
    pub below: BTreeSet<BookKey>,
}

impl BooksOf {
    pub(super) fn ask(&self, shard: &Shard) -> ShardBooks {
        let mut all = ShardBooks::default();
        for partition in shard.partitions() {
            let books = &partition.books.books;
            all.entries += books.entries();
            books.sums().into_iter().for_each(|(key, sum)| all.sums.entry(key).or_default().add(sum));
            let room = LIST_ITEMS_MAX.saturating_sub(all.below.len());
            let found = books.balances_behind(None).filter(|(key, balance)| BoundBroken::of(key, *balance).is_some());
            all.below.extend(found.map(|(key, _)| key.clone()).take(room));
        }
        all
    }
}

/// What these accounts have in the partitions of a shard.
#[derive(Clone, Debug)]
pub struct BalancesOf(pub BTreeSet<BookKey>);

impl BalancesOf {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<(BookKey, Balance)> {
        let books = || shard.partitions().iter().map(|partition| &partition.books.books);
        let sum = |key: &BookKey| {
            let mut sum = Balance::default();
            books().for_each(|books| sum.add(books.balance(&key.0, key.1)));
            (key.clone(), sum)
        };
        self.0.iter().map(sum).collect()
    }
}

/// The first accounts of the books with their balances, in the order of the chart: at most one more than the page has.
#[derive(Clone, Debug)]
pub struct AccountsBehind(pub Page<BookKey>);

impl AccountsBehind {
    pub(super) fn ask(&self, shard: &Shard) -> BTreeMap<BookKey, Balance> {
        let (after, most) = (self.0.after.as_ref(), self.0.limit.saturating_add(1));
        let mut found: BTreeMap<BookKey, Balance> = BTreeMap::new();
        for partition in shard.partitions() {
            // The first accounts of all are among the first of each partition.
            let first = partition.books.books.balances_behind(after).take(most);
            first.for_each(|(key, balance)| found.entry(key.clone()).or_default().add(balance));
            while found.len() > most {
                found.pop_last();
            }
        }
        found
    }
}

/// The pages of a partition's books that are not in the archive yet, the one that is being filled last.
#[derive(Clone, Copy, Debug)]
pub struct PagesOf(pub PartitionId);

impl PagesOf {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<pages::Page> {
        let partition = shard.partitions().iter().find(|partition| partition.id == self.0);
        partition.map(|partition| partition.books.pages.all().cloned().collect()).unwrap_or_default()
    }
}

/// The books of each partition with the entries that are in memory.
#[derive(Clone, Copy, Debug)]
pub struct EveryBook;

/// The books of a partition.
#[derive(Debug)]
pub struct PartitionEntries {
    /// Which partition.
    pub partition: PartitionId,
    /// The balances.
    pub books: Books,
    /// The pages of entries that are not dropped yet, the one that is being filled last.
    pub pages: Vec<pages::Page>,
}

impl EveryBook {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<PartitionEntries> {
        let of = shard.partitions().iter().map(|partition| PartitionEntries {
            partition: partition.id,
            books: partition.books.books.clone(),
            pages: partition.books.pages.all().cloned().collect(),
        });
        of.collect()
    }
}

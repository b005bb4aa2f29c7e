//! The books: the trial balance, and balances for other programs.

use super::paging::{Page, Paged};
use super::refused::Refused;
use super::views::{Unanswered, Views};
use crate::accounting::pages;
use crate::ledger::{
    Balance, Books, BoundBroken, Entry, EntryId, EntryKind, Exporter, Format, Ledger, Leg, Side, imbalance,
};
use crate::limits::LIST_ITEMS_MAX;
pub use crate::node::query::BookKey;
use crate::node::query::{self, PartitionEntries};
use crate::units::shape::described;
use crate::units::{Amount, Currency, PartitionId, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Every account of the books with its balance: what `ledger trial-balance` gives as one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialView {
    /// `wattstile.trial-balance/1`
    pub schema: String,
    /// Entries posted.
    pub entries: u64,
    /// Difference of debits and credits, in minor units: not 0 is a defect.
    pub imbalance_minor: i64,
    /// Accounts that are below zero and must not be.
    pub broken: Vec<String>,
    /// The accounts in the order of the chart.
    pub rows: Vec<TrialRow>,
}

described! {
/// How the books stand, without their accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BooksSummary {
    /// Entries posted.
    pub entries: u64,
    /// How far the books are from balance, in minor units: 0, or a defect.
    pub imbalance_minor: i64,
    /// Accounts that are below zero and must not be; the first [`LIST_ITEMS_MAX`] of them.
    pub broken: Vec<String>,
}
}

described! {
/// One account. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRow {
    /// Its number in the chart.
    pub code: String,
    /// Its name.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// `main`, or `memorandum` for merely reserved amounts.
    pub ledger: String,
    /// Sum of the debits.
    pub debits: Decimal,
    /// Sum of the credits.
    pub credits: Decimal,
    /// In the direction in which the account grows.
    pub balance: Decimal,
}
}

/// In which form books leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A journal of hledger.
    #[default]
    Hledger,
    /// A ledger of beancount.
    Beancount,
    /// Comma-separated values.
    Csv,
}

impl Views {
    /// How the books of all partitions stand.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn books_summary(&self) -> Result<BooksSummary, Unanswered> {
        let (mut entries, mut sums, mut below) = (0, BTreeMap::new(), BTreeSet::new());
        for part in self.ask(query::BooksOf).whole()? {
            entries += part.entries;
            part.sums.into_iter().for_each(|(key, sum)| sums.entry(key).or_insert_with(Balance::default).add(sum));
            below.extend(part.below);
        }
        // What one partition posts may be covered by another.
        let broken = if below.is_empty() {
            Vec::new()
        } else {
            let balances = self.balances_of(below)?;
            let broken = balances.iter().filter_map(|(key, balance)| BoundBroken::of(key, *balance));
            broken.take(LIST_ITEMS_MAX).map(|broken| broken.to_string()).collect()
        };
        let imbalance_minor = i64::try_from(imbalance(&sums)).unwrap_or(i64::MAX);
        Ok(BooksSummary { entries, imbalance_minor, broken })
    }

    /// What these accounts have in all partitions together.
    fn balances_of(&self, keys: BTreeSet<BookKey>) -> Result<BTreeMap<BookKey, Balance>, Unanswered> {
        let parts = self.ask(query::BalancesOf(keys));
        let mut balances: BTreeMap<BookKey, Balance> = BTreeMap::new();
        parts.whole()?.into_iter().flatten().for_each(|(key, sum)| balances.entry(key).or_default().add(sum));
        Ok(balances)
    }

    /// The accounts of the books with their balances, in the order of the chart.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn ledger_accounts(&self, page: &Page<BookKey>) -> Result<Paged<BookKey, TrialRow>, Unanswered> {
        let parts = self.ask(query::AccountsBehind(page.clone()));
        let mut found: BTreeMap<BookKey, Balance> = BTreeMap::new();
        parts.whole()?.into_iter().flatten().for_each(|(key, part)| found.entry(key).or_default().add(part));
        let rows = found.into_iter().map(|(key, balance)| {
            let row = trial_row(&key, balance);
            (key, row)
        });
        Ok(Paged::cut(rows.collect(), page.limit, None))
    }

    /// The books for another program: every entry from `since` on, behind one that brings forward what came before, and
    /// the balances, which that program checks.
    ///
    /// # Errors
    /// The request is wrong, a shard did not answer in time, or the archive cannot be read.
    pub fn export(&self, format: ExportFormat, since: Option<Timestamp>) -> Result<String, Refused> {
        let format = match format {
            ExportFormat::Hledger => Format::Hledger,
            ExportFormat::Beancount => Format::Beancount,
            ExportFormat::Csv => Format::Csv,
        };
        let (books, mut entries) = self.entries()?;
        entries.retain(|entry| since.is_none_or(|since| entry.at() >= since));
        entries.sort_by_key(Entry::at);
        let mut listed = Books::default();
        entries.iter().for_each(|entry| listed.post(entry));
        let failed = |error: io::Error| Refused::failed(error);
        let mut exporter = Exporter::new(Vec::new(), format).map_err(failed)?;
        let first = since.or(entries.first().map(Entry::at)).unwrap_or_default();
        for entry in brought_forward(&books, &listed, first).iter().chain(&entries) {
            exporter.entry(entry).map_err(failed)?;
        }
        let text = exporter.finish(&books).map_err(failed)?;
        String::from_utf8(text).map_err(Refused::failed)
    }

    /// The balances, and every entry that makes them, as far as pages of them were kept.
    fn entries(&self) -> Result<(Books, Vec<Entry>), Unanswered> {
        let seen = self.ask(query::EveryBook);
        let (mut books, mut pages, mut open) = (Books::default(), BTreeMap::new(), BTreeMap::new());
        for part in seen.whole()?.into_iter().flatten() {
            let PartitionEntries { partition, books: theirs, pages: live } = part;
            books.merge(&theirs);
            open.insert(partition, live.last().map_or(0, |page| page.number));
            pages.extend(live.into_iter().map(|page| ((partition, page.number), page)));
        }
        self.each_page(&mut |partition, page| {
            // Pages that were filled after the balances were read are not in them.
            if open.get(&partition).is_some_and(|open| page.number < *open) {
                pages.entry((partition, page.number)).or_insert(page);
            }
        })?;
        Ok((books, pages.values().flat_map(pages::Page::entries).collect()))
    }
}

fn trial_row((name, currency): &BookKey, balance: Balance) -> TrialRow {
    let major = |minor: i128| Amount::new(i64::try_from(minor).unwrap_or(i64::MAX), *currency).major();
    TrialRow {
        code: name.code().to_owned(),
        account: name.to_string(),
        currency: currency.code().to_owned(),
        ledger: match name.ledger() {
            Ledger::Main => "main",
            Ledger::Memorandum => "memorandum",
        }
        .to_owned(),
        debits: major(balance.debits),
        credits: major(balance.credits),
        balance: major(balance.natural(name.kind())),
    }
}

/// Difference of the balances to these entries: one entry per currency and ledger.
fn brought_forward(books: &Books, listed: &Books, at: Timestamp) -> Vec<Entry> {
    let mut groups: Vec<((Ledger, Currency), Vec<Leg>)> = Vec::new();
    for (name, currency, balance) in books.balances() {
        let net = balance.net_debit() - listed.balance(name, currency).net_debit();
        let side = if net > 0 { Side::Debit } else { Side::Credit };
        let Ok(minor) = i64::try_from(net.abs()) else { continue };
        if minor == 0 {
            continue;
        }
        let leg = Leg { account: name.clone(), side, amount: Amount::new(minor, currency) };
        let key = (name.ledger(), currency);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, legs)) => legs.push(leg),
            None => groups.push((key, vec![leg])),
        }
    }
    let session = SessionId::new(at, PartitionId(0), 0);
    let entries = groups.into_iter().enumerate().filter_map(|(number, (_, legs))| {
        let id = EntryId::of_session(session, u32::try_from(number).unwrap_or(u32::MAX));
        Entry::new(id, at, EntryKind::BroughtForward, legs).ok()
    });
    entries.collect()
}

//! The books: the trial balance, and balances for other programs.

use super::api::Refused;
use super::views::{Unanswered, Views};
use crate::accounting::pages::Page;
use crate::ledger::{Books, Entry, EntryId, EntryKind, Exporter, Format, Ledger, Leg, Side};
use crate::units::{Amount, Currency, PartitionId, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Every account of the books with its balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialView {
    /// `wattstile.trial-balance/1`
    pub schema: String,
    /// Entries posted.
    pub entries: u64,
    /// How far the books are from balance, in minor units: 0, or a defect.
    pub imbalance_minor: i64,
    /// Accounts that are below zero and must not be.
    pub broken: Vec<String>,
    /// The accounts in the order of the chart.
    pub rows: Vec<TrialRow>,
}

/// One account. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRow {
    /// Its number in the chart.
    pub code: String,
    /// Its name.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// `main`, or `memorandum` for what is merely reserved.
    pub ledger: String,
    /// Sum of the debits.
    pub debits: Decimal,
    /// Sum of the credits.
    pub credits: Decimal,
    /// In the direction in which the account grows.
    pub balance: Decimal,
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
    /// The trial balance of all partitions.
    pub fn trial_balance(&self) -> Result<TrialView, Unanswered> {
        let books = self.books()?;
        let major = |minor: i128, currency: Currency| {
            let minor = i64::try_from(minor).unwrap_or(i64::MAX);
            Amount::new(minor, currency).major()
        };
        let rows = books.balances().map(|(name, currency, balance)| TrialRow {
            code: name.code().to_owned(),
            account: name.to_string(),
            currency: currency.code().to_owned(),
            ledger: match name.ledger() {
                Ledger::Main => "main",
                Ledger::Memorandum => "memorandum",
            }
            .to_owned(),
            debits: major(balance.debits, currency),
            credits: major(balance.credits, currency),
            balance: major(balance.natural(name.kind()), currency),
        });
        Ok(TrialView {
            schema: "wattstile.trial-balance/1".to_owned(),
            entries: books.entries(),
            imbalance_minor: i64::try_from(books.imbalance()).unwrap_or(i64::MAX),
            broken: books.broken_bounds().iter().map(ToString::to_string).collect(),
            rows: rows.collect(),
        })
    }

    /// The books for another program: every entry from `since` on, behind one that brings forward what came before, and
    /// the balances, which that program checks.
    pub fn export(&self, format: ExportFormat, since: Option<Timestamp>) -> Result<String, Refused> {
        let format = match format {
            ExportFormat::Hledger => Format::Hledger,
            ExportFormat::Beancount => Format::Beancount,
            ExportFormat::Csv => Format::Csv,
        };
        let (books, mut entries) = self.entries()?;
        entries.retain(|entry| since.is_none_or(|since| entry.at() >= since));
        entries.sort_by_key(Entry::at);
        let mut told = Books::default();
        entries.iter().for_each(|entry| told.post(entry));
        let failed = |error: io::Error| Refused::new(500, error);
        let mut exporter = Exporter::new(Vec::new(), format).map_err(failed)?;
        let first = since.or(entries.first().map(Entry::at)).unwrap_or_default();
        for entry in brought_forward(&books, &told, first).iter().chain(&entries) {
            exporter.entry(entry).map_err(failed)?;
        }
        let text = exporter.finish(&books).map_err(failed)?;
        String::from_utf8(text).map_err(|error| Refused::new(500, error))
    }

    /// The balances, and every entry that makes them, as far as pages of them were kept.
    fn entries(&self) -> Result<(Books, Vec<Entry>), Unanswered> {
        let seen = self.ask(|shard| {
            let partitions = shard.partitions().iter();
            partitions
                .map(|partition| {
                    let pages: Vec<Page> = partition.books.pages.all().cloned().collect();
                    (partition.id, partition.books.books.clone(), pages)
                })
                .collect::<Vec<_>>()
        });
        let (mut books, mut pages, mut open) = (Books::default(), BTreeMap::new(), BTreeMap::new());
        for (partition, theirs, live) in seen.whole()?.into_iter().flatten() {
            books.merge(&theirs);
            open.insert(partition, live.last().map_or(0, |page| page.number));
            pages.extend(live.into_iter().map(|page| ((partition, page.number), page)));
        }
        self.each_page(&mut |partition, page| {
            // What was filled after the balances were read is not in them.
            if open.get(&partition).is_some_and(|open| page.number < *open) {
                pages.entry((partition, page.number)).or_insert(page);
            }
        })?;
        Ok((books, pages.values().flat_map(Page::entries).collect()))
    }

    fn books(&self) -> Result<Books, Unanswered> {
        let mut books = Books::default();
        let parts = self.ask(|shard| {
            let mut books = Books::default();
            shard.partitions().iter().for_each(|partition| books.merge(&partition.books.books));
            books
        });
        for part in parts.whole()? {
            books.merge(&part);
        }
        Ok(books)
    }
}

/// What the balances have beyond these entries: one entry per currency and ledger.
fn brought_forward(books: &Books, told: &Books, at: Timestamp) -> Vec<Entry> {
    let mut groups: Vec<((Ledger, Currency), Vec<Leg>)> = Vec::new();
    for (name, currency, balance) in books.balances() {
        let net = balance.net_debit() - told.balance(name, currency).net_debit();
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

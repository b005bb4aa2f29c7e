//! Balances as a fold of entries.

use super::{Entry, Kind, Ledger, Name, Side};
use crate::stored::stored;
use crate::units::Currency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The balances of a partition, or of several.
///
/// ```
/// use wattstile::ledger::{Books, Entry, EntryId, Name};
/// use wattstile::units::{Amount, Currency, PartitionId, ProcessorId, SessionId, Timestamp};
///
/// let (at, acme) = (Timestamp::from_unix_ms(1_796_000_000_000), ProcessorId::new("acme")?);
/// let id = EntryId::of_session(SessionId::new(at, PartitionId(0), 7), 1);
/// let mut books = Books::default();
/// books.post(&Entry::hold_approved(id, at, &acme, Amount::new(4_500, Currency::EUR))?);
/// assert_eq!(books.natural(&Name::HeldContra(acme), Currency::EUR), 4_500);
/// assert_eq!((books.entries(), books.imbalance()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    balances: BTreeMap<(Name, Currency), Balance>,
    entries: u64,
}

stored!(struct Books { 0: balances, 1: entries });

/// Sums of debits and credits on one account in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Sum of the debits.
    pub debits: i128,
    /// Sum of the credits.
    pub credits: i128,
}

stored!(struct Balance { 0: debits, 1: credits });

impl Balance {
    /// Adds another one.
    pub const fn add(&mut self, other: Balance) {
        self.debits += other.debits;
        self.credits += other.credits;
    }

    /// Debits less credits.
    pub const fn net_debit(self) -> i128 {
        self.debits - self.credits
    }

    /// The balance in the direction in which an account of this kind grows.
    pub const fn natural(self, kind: Kind) -> i128 {
        if kind.grows_by_debit() { self.net_debit() } else { -self.net_debit() }
    }
}

/// An account that is below zero and must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{account} is at {balance} minor units of {currency}")]
pub struct BoundBroken {
    /// The account.
    pub account: Name,
    /// The currency.
    pub currency: Currency,
    /// Its balance in minor units, in the direction in which it grows.
    pub balance: i128,
}

impl BoundBroken {
    /// Whether an account may not have this balance.
    pub fn of((account, currency): &(Name, Currency), balance: Balance) -> Option<BoundBroken> {
        let balance = balance.natural(account.kind());
        let is_broken = account.never_negative() && balance < 0;
        is_broken.then(|| BoundBroken { account: account.clone(), currency: *currency, balance })
    }
}

/// Every account with its balance, and the sums.
///
/// ```
/// use wattstile::ledger::{Books, Entry, EntryId};
/// use wattstile::units::{Amount, Currency, PartitionId, ProcessorId, SessionId, Timestamp};
///
/// let (at, acme) = (Timestamp::from_unix_ms(1_796_000_000_000), ProcessorId::new("acme")?);
/// let id = EntryId::of_session(SessionId::new(at, PartitionId(0), 7), 1);
/// let mut books = Books::default();
/// books.post(&Entry::hold_approved(id, at, &acme, Amount::new(4_500, Currency::EUR))?);
/// let trial_balance = books.trial_balance();
/// assert_eq!((trial_balance.rows.len(), trial_balance.imbalance()), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBalance {
    /// The accounts in the order of the chart.
    pub rows: Vec<TrialBalanceRow>,
    /// Sums of debits and credits per ledger and currency, in minor units.
    pub sums: BTreeMap<(Ledger, Currency), Balance>,
}

/// One account of a trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBalanceRow {
    /// The account.
    pub account: Name,
    /// The currency.
    pub currency: Currency,
    /// Its balance.
    pub balance: Balance,
}

impl TrialBalance {
    /// Difference of debits and credits, in minor units, summed over ledgers and currencies. Not zero is a defect.
    pub fn imbalance(&self) -> i128 {
        imbalance(&self.sums)
    }
}

/// How far sums are from balance, in minor units, added up over ledgers and currencies.
pub fn imbalance(sums: &BTreeMap<(Ledger, Currency), Balance>) -> i128 {
    sums.values().map(|sum| sum.net_debit().abs()).sum()
}

impl Books {
    /// Posts an entry. An entry is balanced, so the books stay so.
    pub fn post(&mut self, entry: &Entry) {
        for leg in entry.legs() {
            let balance = self.balances.entry((leg.account.clone(), leg.amount.currency)).or_default();
            match leg.side {
                Side::Debit => balance.debits += i128::from(leg.amount.minor),
                Side::Credit => balance.credits += i128::from(leg.amount.minor),
            }
        }
        self.entries += 1;
    }

    /// Adds the books of another partition.
    pub fn merge(&mut self, other: &Books) {
        for (key, theirs) in &other.balances {
            self.balances.entry(key.clone()).or_default().add(*theirs);
        }
        self.entries += other.entries;
    }

    /// Number of posted entries.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The balance of one account in one currency.
    pub fn balance(&self, account: &Name, currency: Currency) -> Balance {
        self.balances.get(&(account.clone(), currency)).copied().unwrap_or_default()
    }

    /// The balance in the direction in which the account grows, in minor units.
    pub fn natural(&self, account: &Name, currency: Currency) -> i128 {
        self.balance(account, currency).natural(account.kind())
    }

    /// Every account with its balance, in the order of the chart.
    pub fn balances(&self) -> impl Iterator<Item = (&Name, Currency, Balance)> {
        self.balances.iter().map(|((name, currency), balance)| (name, *currency, *balance))
    }

    /// Every balance behind an account and currency, in the order of the chart.
    pub fn balances_behind(
        &self,
        after: Option<&(Name, Currency)>,
    ) -> impl Iterator<Item = (&(Name, Currency), Balance)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.balances.range::<(Name, Currency), _>((from, Bound::Unbounded)).map(|(key, balance)| (key, *balance))
    }

    /// Sums of debits and credits per ledger and currency, in minor units.
    pub fn sums(&self) -> BTreeMap<(Ledger, Currency), Balance> {
        let mut sums: BTreeMap<(Ledger, Currency), Balance> = BTreeMap::new();
        for (account, currency, balance) in self.balances() {
            sums.entry((account.ledger(), currency)).or_default().add(balance);
        }
        sums
    }

    /// Every account with its balance, and the sums.
    pub fn trial_balance(&self) -> TrialBalance {
        let rows = self.balances().map(|(account, currency, balance)| TrialBalanceRow {
            account: account.clone(),
            currency,
            balance,
        });
        TrialBalance { rows: rows.collect(), sums: self.sums() }
    }

    /// Difference of debits and credits, in minor units. Not zero is a defect.
    pub fn imbalance(&self) -> i128 {
        imbalance(&self.sums())
    }

    /// Returns the accounts that are below their bound. It is checked on the sum of all partitions: a negative
    /// balance in one may be covered by another.
    pub fn broken_bounds(&self) -> Vec<BoundBroken> {
        self.balances.iter().filter_map(|(key, balance)| BoundBroken::of(key, *balance)).collect()
    }
}

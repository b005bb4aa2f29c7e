//! Accounts: the list, and one with its statement.

use super::paging::{Page, Paged};
use super::views::{Unanswered, Views};
use crate::account::{MovementKind, Parts};
use crate::node::query::{self, AccountSummary};
use crate::units::shape::described;
use crate::units::{AccountId, Amount, PartitionId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

described! {
/// One account in a list. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Its name.
    pub id: String,
    /// `open` or `closed`.
    pub state: String,
    /// The currency.
    pub currency: String,
    /// Paid money, holds not deducted.
    pub paid: Decimal,
    /// Promotional money, holds not deducted.
    pub promotional: Decimal,
    /// Reserved by sessions.
    pub held: Decimal,
    /// How far paid money may go below zero.
    pub credit_limit: Decimal,
    /// What can still be reserved.
    pub available: Decimal,
    /// Holds that are open.
    pub open_holds: u32,
    /// Paid money that is missing: what a top-up has lost later, or what was used on credit.
    #[serde(default)]
    pub owes: Decimal,
}
}

described! {
/// One account in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSheet {
    /// `wattstile.account/1`
    pub schema: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: AccountRow,
    /// The last movements, oldest first.
    pub movements: Vec<MovementRow>,
    /// The fingerprints of the credentials that may use it; with none, no credential may.
    pub credentials: Vec<String>,
    /// The credit limit with which it was opened: opening it again with another one is refused.
    #[serde(default)]
    pub opened_with: Decimal,
}
}

described! {
/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementRow {
    /// When.
    pub at: String,
    /// What it was.
    pub kind: String,
    /// The operation that caused it.
    pub operation: String,
    /// What it did to the balance; negative when money left.
    pub change: Decimal,
    /// The balance afterwards.
    pub balance: Decimal,
}
}

impl Views {
    /// Every account, in the order of names.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn accounts(&self, page: &Page<String>) -> Result<Paged<String, AccountRow>, Unanswered> {
        self.page_of(page, |part| query::Accounts { part }, |account| row(&account))
    }

    /// One account.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn account(&self, id: &AccountId) -> Result<Option<AccountSheet>, Unanswered> {
        let partitions = self.directory().map_or(1, |directory| directory.node_config().partitions);
        let home = PartitionId::of(id.as_str(), partitions);
        let found = self.ask_home(home, query::AccountNamed(id.clone())).found()?;
        Ok(found.map(|found| AccountSheet {
            schema: "wattstile.account/1".to_owned(),
            row: row(&found.summary),
            movements: movements(&found),
            credentials: found.credentials.iter().map(ToString::to_string).collect(),
            opened_with: Amount::new(found.first_credit_limit_minor, found.summary.balance.currency).major(),
        }))
    }
}

fn row(account: &AccountSummary) -> AccountRow {
    let balance = &account.balance;
    let major = |minor: i64| Amount::new(minor, balance.currency).major();
    AccountRow {
        id: account.id.to_string(),
        state: if account.is_closed { "closed" } else { "open" }.to_owned(),
        currency: balance.currency.code().to_owned(),
        paid: major(balance.posted.paid),
        promotional: major(balance.posted.promotional),
        held: major(balance.held.total()),
        credit_limit: major(balance.credit_limit),
        available: major(balance.available()),
        open_holds: account.open_holds,
        owes: major(balance.owes()),
    }
}

fn movements(account: &query::AccountSheet) -> Vec<MovementRow> {
    let major = |parts: Parts| Amount::new(parts.total(), account.summary.balance.currency).major();
    let rows = account.movements.iter().map(|movement| MovementRow {
        at: movement.at.to_string(),
        kind: match movement.kind {
            MovementKind::TopUp => "top-up",
            MovementKind::Promotion => "promotion",
            MovementKind::Expiry => "promotion lapsed",
            MovementKind::Capture => "session",
            MovementKind::Refund => "refund",
            MovementKind::PayOut => "paid out",
            MovementKind::Debit(cause) => cause.as_str(),
            MovementKind::RefundFailed => "refund failed",
        }
        .to_owned(),
        operation: movement.op.to_string(),
        change: major(movement.change),
        balance: major(movement.balance),
    });
    rows.collect()
}

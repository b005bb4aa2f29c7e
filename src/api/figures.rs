//! The state of a gate in figures.

use super::views::{Unanswered, Views, ask_all};
use crate::accounting::posting::PartitionBooks;
use crate::actors::directory::Directory;
use crate::ledger::Name;
use crate::node::query::{self, ShardFigures};
use crate::units::Currency;
use crate::units::shape::{Described, Shapes, described};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

described! {
/// The state of a gate in figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// When, by the gate's clock.
    pub at: String,
    /// Sessions in which energy may flow.
    pub sessions_charging: u64,
    /// Sessions that wait for an authorization.
    pub sessions_authorizing: u64,
    /// Sessions whose hold is being captured or released.
    pub sessions_settling: u64,
    /// Sessions whose every hold has ended.
    pub sessions_settled: u64,
    /// Sessions whose credential was refused.
    pub sessions_refused: u64,
    /// Readings recorded.
    pub readings: u64,
    /// Energy delivered.
    pub energy_wh: i64,
    /// Chargers with a connection.
    pub chargers_online: u64,
    /// Operations with an unknown outcome.
    pub operations_in_doubt: u64,
    /// Difference of debits and credits, in minor units: not zero is a defect.
    pub books_imbalance_minor: i128,
    /// Money by currency, from the books.
    pub money: BTreeMap<&'static str, Money>,
    #[serde(skip)]
    books: PartitionBooks,
    /// Cost so far of sessions without an authorization.
    #[serde(skip)]
    unsecured: BTreeMap<Currency, i64>,
}
}

described! {
/// Money in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Money {
    /// Reserved and neither captured nor released.
    pub held_minor: i64,
    /// Captured.
    pub captured_minor: i64,
    /// Reserved once and given free.
    pub released_minor: i64,
    /// Owed and not captured.
    pub shortfall_minor: i64,
}
}

/// It is in no document.
impl Described for PartitionBooks {
    fn shape(_: &mut Shapes) -> Value {
        Value::Null
    }
}

impl Figures {
    /// Adds up all shards. Waits for them for a while; without the figures of one there are none of the gate.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn gather(directory: &Directory) -> Result<Figures, Unanswered> {
        ask_all(directory, &query::State).whole().map(Figures::sum)
    }

    /// Cost so far of sessions without a hold, in minor units.
    pub fn unsecured(&self) -> &BTreeMap<Currency, i64> {
        &self.unsecured
    }

    /// The books that the money is from.
    pub fn books(&self) -> &PartitionBooks {
        &self.books
    }

    /// Those of a gate with these books.
    #[cfg(test)]
    pub(crate) fn of_books(books: PartitionBooks) -> Figures {
        Figures { books, ..Figures::default() }
    }

    fn sum(parts: impl IntoIterator<Item = Box<ShardFigures>>) -> Figures {
        let mut figures = Figures::default();
        for part in parts {
            figures.add(&part);
        }
        figures.books_imbalance_minor = figures.books.books.imbalance();
        figures.money = money(&figures.books);
        figures
    }

    fn add(&mut self, other: &ShardFigures) {
        self.sessions_charging += other.sessions_charging;
        self.sessions_authorizing += other.sessions_authorizing;
        self.sessions_settling += other.sessions_settling;
        self.sessions_settled += other.sessions_settled;
        self.sessions_refused += other.sessions_refused;
        self.readings += other.readings;
        self.energy_wh += other.energy_wh;
        self.chargers_online += other.chargers_online;
        self.operations_in_doubt += other.operations_in_doubt;
        self.books.merge(&other.books);
        for (currency, minor) in &other.unsecured {
            let sum = self.unsecured.entry(*currency).or_default();
            *sum = sum.saturating_add(*minor);
        }
    }
}

fn money(books: &PartitionBooks) -> BTreeMap<&'static str, Money> {
    let minor = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let held = |currency: Currency| -> i128 {
        let held = books.books.balances().filter(|(name, of, _)| *of == currency && matches!(name, Name::Held(_)));
        held.map(|(name, _, balance)| balance.natural(name.kind())).sum()
    };
    let rows = books.turnover.iter().map(|(currency, turnover)| {
        let money = Money {
            held_minor: minor(held(*currency)),
            captured_minor: minor(turnover.captured),
            released_minor: minor(turnover.released),
            shortfall_minor: minor(turnover.shortfall),
        };
        (currency.code(), money)
    });
    rows.collect()
}

impl Views {
    /// The state of the gate in figures.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn figures(&self) -> Result<Figures, Unanswered> {
        let figures = self.ask(query::State).whole().map(Figures::sum)?;
        Ok(Figures { at: self.now().to_string(), ..figures })
    }
}

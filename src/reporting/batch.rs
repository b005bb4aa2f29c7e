//! Rows on their way to the database: those of one transaction, each key once.

use super::schema::{Kind, Table};
use crate::units::{Amount, Cost, Timestamp};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// None.
    Null,
    /// A whole number, or 0 and 1.
    Int(i64),
    /// Anything else, as text.
    Text(String),
}

type RowsByKey = BTreeMap<Vec<Value>, Vec<Value>>;

/// Rows of one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows that go first: of a table, those whose keys begin so.
    gone: BTreeMap<&'static str, (&'static Table, Vec<Vec<Value>>)>,
    /// Rows by their keys: of two with the same key the later one counts.
    rows: BTreeMap<&'static str, (&'static Table, RowsByKey)>,
    count: usize,
}

impl Batch {
    /// Adds a row: its values in the order of the table's columns, each with the column's name.
    pub fn put<const N: usize>(&mut self, table: &'static Table, values: [(&'static str, Value); N]) {
        debug_assert!(
            values.iter().map(|(name, _)| *name).eq(table.columns.iter().map(|column| column.name)),
            "the columns of {}",
            table.name
        );
        let row: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        let key = row.iter().take(table.key).cloned().collect();
        let (_, rows) = self.rows.entry(table.name).or_insert_with(|| (table, BTreeMap::new()));
        if rows.insert(key, row).is_none() {
            self.count += 1;
        }
    }

    /// Removes the rows of a table whose keys begin so, before others are put. Of one table all beginnings are as long.
    pub fn clear<const N: usize>(&mut self, table: &'static Table, key: [Value; N]) {
        self.gone.entry(table.name).or_insert_with(|| (table, Vec::new())).1.push(key.into());
    }

    /// The beginnings of the keys of the rows of each table that go first.
    pub fn gone(&self) -> impl Iterator<Item = (&'static Table, &[Vec<Value>])> {
        self.gone.values().map(|(table, keys)| (*table, keys.as_slice()))
    }

    /// The rows of each table.
    pub fn tables(&self) -> impl Iterator<Item = (&'static Table, impl Iterator<Item = &Vec<Value>> + Clone)> {
        self.rows.values().map(|(table, rows)| (*table, rows.values()))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.gone.is_empty()
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(i64::from(value))
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Value {
        Value::Int(i64::from(value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Int(i64::from(value))
    }
}

/// PostgreSQL takes no zero byte in a text.
impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(if value.contains('\0') { value.replace('\0', "\u{fffd}") } else { value.to_owned() })
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::from(value.as_str())
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Value {
        Value::Text(value.to_string())
    }
}

impl From<Cost> for Value {
    fn from(value: Cost) -> Value {
        Value::Text(value.major().normalize().to_string())
    }
}

/// In minor units.
impl From<Amount> for Value {
    fn from(value: Amount) -> Value {
        Value::Int(value.minor)
    }
}

/// Always with milliseconds, so that texts are in the order of the times; none for a time that no calendar has.
impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Value {
        let ms = value.unix_ms();
        if !YEARS_1_TO_9999.contains(&ms) {
            return Value::Null;
        }
        let second = Timestamp::from_unix_ms(ms - ms.rem_euclid(1_000)).to_rfc3339();
        Value::Text(format!("{}.{:03}Z", second.trim_end_matches('Z'), ms.rem_euclid(1_000)))
    }
}

const YEARS_1_TO_9999: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// The day of a time, in UTC.
pub fn day(at: Timestamp) -> Value {
    match Value::from(at) {
        Value::Text(text) => Value::Text(text.split('T').next().unwrap_or_default().to_owned()),
        other => other,
    }
}

/// A value as PostgreSQL reads it from text.
pub fn as_text(value: &Value, kind: Kind) -> Option<String> {
    match (value, kind) {
        (Value::Null, _) => None,
        (Value::Int(number), Kind::Bool) => Some(if *number == 0 { "false" } else { "true" }.to_owned()),
        (Value::Int(number), _) => Some(number.to_string()),
        (Value::Text(text), _) => Some(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::CURRENCIES;
    use super::*;

    #[test]
    fn of_two_rows_with_the_same_key_the_later_one_counts() {
        let mut batch = Batch::default();
        for exponent in [2_i64, 3] {
            batch.put(CURRENCIES, [("code", "EUR".into()), ("exponent", exponent.into())]);
        }
        assert_eq!(batch.len(), 1);
        let rows: Vec<Vec<Value>> = batch.tables().flat_map(|(_, rows)| rows.cloned().collect::<Vec<_>>()).collect();
        assert_eq!(rows, [vec![Value::Text("EUR".into()), Value::Int(3)]]);
    }

    #[test]
    fn texts_that_no_database_takes_are_replaced() {
        assert_eq!(Value::from("a\0b"), Value::Text("a\u{fffd}b".to_owned()));
        let at = |ms| Value::from(Timestamp::from_unix_ms(ms));
        assert_eq!(at(1_796_000_000_000), Value::Text("2026-11-30T00:53:20.000Z".to_owned()));
        assert_eq!(at(1_796_000_000_120), Value::Text("2026-11-30T00:53:20.120Z".to_owned()));
        assert_eq!((at(i64::MIN), at(i64::MAX)), (Value::Null, Value::Null));
        assert_eq!(day(Timestamp::from_unix_ms(1_796_000_000_000)), Value::Text("2026-11-30".to_owned()));
    }
}

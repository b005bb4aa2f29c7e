//! The layers of a configuration as one tree, every value with its origin.

use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a key or a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not set: the built-in value.
    Default,
    /// In the file, at these bytes.
    File(Range<usize>),
    /// In this environment variable.
    Environment(String),
    /// In this `--set` on the command line.
    Flag(String),
}

/// A value as it was found; what it means is decided by the setting that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `"…"`
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`
    Switch(bool),
    /// `[…]`
    List(Vec<Value>),
    /// From the environment or a flag: without quotes, to be read as the setting needs it.
    Raw(String),
    /// `[section]`
    Table(Table),
    /// `[[section]]`, each with its place.
    Tables(Vec<(Table, Origin)>),
    /// Something that no setting takes: a fraction, a date.
    Other(&'static str),
}

/// Keys and what stands under them.
pub type Table = BTreeMap<String, Entry>;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key stands.
    pub key: Origin,
    /// Where the value stands.
    pub place: Origin,
    /// The value.
    pub value: Value,
}

impl Value {
    /// Its kind, for a message.
    pub fn what(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Raw(_) => "a text",
            Value::Number(_) => "a number",
            Value::Switch(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) | Value::Tables(_) => "a section",
            Value::Other(what) => what,
        }
    }
}

/// The tree of a file.
pub fn of_file(table: &DeTable<'_>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let entry = Entry {
            key: Origin::File(key.span()),
            place: Origin::File(value.span()),
            value: of_value(value.get_ref()),
        };
        (name.to_string(), entry)
    };
    table.iter().map(entry).collect()
}

/// One value of a file.
pub fn of_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other("a number beyond 64 bits"),
        },
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(table) => Value::Table(of_file(table)),
        DeValue::Array(items) => {
            let tables = items.iter().filter_map(|item| match item.get_ref() {
                DeValue::Table(table) => Some((of_file(table), Origin::File(item.span()))),
                _ => None,
            });
            let tables: Vec<_> = tables.collect();
            if !items.is_empty() && tables.len() == items.len() {
                Value::Tables(tables)
            } else {
                Value::List(items.iter().map(|item| of_value(item.get_ref())).collect())
            }
        }
    }
}

/// Puts a value from the environment or a flag over whatever was there. `path` has at least one part.
pub fn set(table: &mut Table, path: &[&str], text: &str, origin: &Origin) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        let entry = Entry { key: origin.clone(), place: origin.clone(), value: Value::Raw(text.to_owned()) };
        table.insert((*first).to_owned(), entry);
        return;
    }
    let empty = || Entry { key: origin.clone(), place: origin.clone(), value: Value::Table(Table::new()) };
    let entry = table.entry((*first).to_owned()).or_insert_with(empty);
    if !matches!(entry.value, Value::Table(_)) {
        *entry = empty();
    }
    if let Value::Table(inner) = &mut entry.value {
        set(inner, rest, text, origin);
    }
}

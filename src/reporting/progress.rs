//! How far a reporting database has come: kept in the database, and changed with its rows in one transaction.

use super::batch::{Batch, Value};
use super::schema::{LEDGER_PLACES, PROGRESS, SCHEMA_VERSION};
use super::store::{Store, StoreError};
use crate::api::observed::EntryPlace;
use crate::journal::LogPosition;
use crate::units::PartitionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a database has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being taken in.
    pub stage: Stage,
    /// The block of the log up to which facts are taken in, or from which they are to be after the filling.
    pub block: u64,
    /// The record in it.
    pub index: u16,
    /// When this place was read, in milliseconds.
    pub at: i64,
    /// Filling after an absence: what is older than this is there already.
    pub since: Option<i64>,
}

/// What is being taken in. Sessions come first while they are live and then from the archive, so that none is missed that is
/// archived meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Live sessions, from a cell of a partition on.
    Live {
        /// The partition.
        partition: u16,
        /// The cell.
        cell: u32,
    },
    /// Archived sessions behind this one.
    Archived {
        /// As 32 hexadecimal digits.
        last: String,
    },
    /// Top-ups behind this one.
    TopUps {
        /// As 32 hexadecimal digits.
        after: Option<String>,
    },
    /// Accounts behind this one.
    Accounts {
        /// Its id.
        after: Option<String>,
    },
    /// Chargers behind this one.
    Chargers {
        /// Its id.
        after: Option<String>,
    },
    /// Processors, settlement batches and documents.
    Rest,
    /// The facts of the log.
    Following,
}

/// What a database says of itself.
pub enum Found {
    /// No tables of a gate, or none that are finished.
    Nothing,
    /// Tables of another version of the schema.
    OtherSchema(String),
    /// How far it has come.
    Progress(Progress, BTreeMap<PartitionId, EntryPlace>),
}

impl Progress {
    /// The beginning of a filling, after which the log is followed from this place.
    pub fn filling(from: LogPosition, at: i64, since: Option<i64>) -> Progress {
        Progress { stage: Stage::Live { partition: 0, cell: 0 }, block: from.block, index: from.index, at, since }
    }

    /// The place in the log.
    pub fn position(&self) -> LogPosition {
        LogPosition { block: self.block, index: self.index }
    }

    /// Writes it.
    pub fn put(&self, batch: &mut Batch) {
        let text = serde_json::to_string(self).expect("a plain value");
        batch.put(PROGRESS, [("name", "progress".into()), ("value", text.into())]);
        batch.put(PROGRESS, [("name", "schema".into()), ("value", SCHEMA_VERSION.into())]);
    }

    /// What a database says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn find(store: &mut dyn Store) -> Result<Found, StoreError> {
        if !store.has_table(PROGRESS.name)? {
            return Ok(Found::Nothing);
        }
        let rows = store.rows("SELECT name, value FROM reporting_progress")?;
        let value = |name: &str| {
            let mut pairs = rows.iter().filter_map(|row| Some((row.first()?.as_deref()?, row.get(1)?.as_deref()?)));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        };
        match value("schema") {
            None => return Ok(Found::Nothing),
            Some(version) if version != SCHEMA_VERSION => return Ok(Found::OtherSchema(version)),
            Some(_) => {}
        }
        let Some(progress) = value("progress").and_then(|text| serde_json::from_str(&text).ok()) else {
            return Ok(Found::OtherSchema("unknown".to_owned()));
        };
        let mut places = BTreeMap::new();
        for row in store.rows("SELECT partition_id, page, entries, bytes FROM reporting_ledger")? {
            let number = |place: usize| row.get(place)?.as_deref()?.parse::<u64>().ok();
            if let (Some(partition), Some(page), Some(entries), Some(bytes)) =
                (number(0), number(1), number(2), number(3))
                && let Ok(partition) = u16::try_from(partition)
            {
                places.insert(PartitionId(partition), EntryPlace { page, entries, bytes });
            }
        }
        Ok(Found::Progress(progress, places))
    }
}

/// Writes a partition's place among the entries of its books.
pub fn put_place(batch: &mut Batch, partition: PartitionId, place: EntryPlace) {
    batch.put(
        LEDGER_PLACES,
        [
            ("partition_id", Value::from(partition.0)),
            ("page", place.page.into()),
            ("entries", place.entries.into()),
            ("bytes", place.bytes.into()),
        ],
    );
}

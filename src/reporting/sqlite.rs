//! A reporting database in a file.

use super::batch::{Batch, Value};
use super::schema::{Dialect, Table, create, drop_all};
use super::store::{Store, StoreError, TextRows};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::path::Path;
use std::time::Duration;

/// How long another program may hold the file before a write is given up, and tried again later.
const BUSY: Duration = Duration::from_secs(5);

/// A file of SQLite.
pub struct SqliteStore {
    connection: Connection,
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl SqliteStore {
    /// Opens a file; it is made where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::with(Connection::open(path)?)
    }

    /// Opens a file that is there, for questions only.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open_for_reading(path: &Path) -> Result<SqliteStore, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        Ok(SqliteStore { connection })
    }

    fn with(connection: Connection) -> Result<SqliteStore, StoreError> {
        connection.busy_timeout(BUSY)?;
        // Others read while the gate writes. After a power cut the last transactions may be missing, each as a whole: they
        // are written again.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(SqliteStore { connection })
    }
}

impl Store for SqliteStore {
    fn reset(&mut self) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for statement in drop_all().iter().chain(&create(Dialect::Sqlite)) {
            transaction.execute_batch(statement)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for (table, keys) in batch.gone() {
            let of_key = table.columns.iter().take(keys.first().map_or(0, Vec::len));
            let wanted: Vec<String> =
                of_key.zip(1..).map(|(column, place)| format!("{} = ?{place}", column.name)).collect();
            let sql = format!("DELETE FROM {} WHERE {}", table.name, wanted.join(" AND "));
            let mut statement = transaction.prepare(&sql)?;
            for key in keys {
                statement.execute(params_from_iter(key))?;
            }
        }
        for (table, rows) in batch.tables() {
            let mut statement = transaction.prepare(&upsert(table))?;
            for row in rows {
                statement.execute(params_from_iter(row))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn rows(&mut self, sql: &str) -> Result<TextRows, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let value = |place| -> Result<Option<String>, StoreError> {
                Ok(match row.get_ref(place)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    ValueRef::Real(number) => Some(number.to_string()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                })
            };
            found.push((0..columns).map(value).collect::<Result<_, _>>()?);
        }
        Ok(found)
    }

    fn has_table(&mut self, name: &str) -> Result<bool, StoreError> {
        let found = self.connection.query_row(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1",
            [name],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found > 0)
    }
}

fn upsert(table: &Table) -> String {
    let places: Vec<String> = (1..=table.columns.len()).map(|place| format!("?{place}")).collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({}) {}",
        table.name,
        table.column_names(),
        places.join(", "),
        table.on_conflict()
    )
}

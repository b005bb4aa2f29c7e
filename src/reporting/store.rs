//! A reporting database behind one interface: SQLite and PostgreSQL pass the same suite.

use super::batch::Batch;
use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use crate::config::reporting_url::ReportingUrl;
use std::io;

/// Why a database does not do what it is to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL.
    #[error("{}", of_postgres(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("the database did not answer within {0} s")]
    Silent(u64),
    /// Anything of the system, or of TLS.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// The message of the server, where it is one: the library's own says only that there is one.
fn of_postgres(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return format!("{} ({})", server.message(), server.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The rows of an answer, as text.
pub type TextRows = Vec<Vec<Option<String>>>;

/// A reporting database.
///
/// * [`Store::write`] makes all of a batch visible, or nothing of it, also when the process or the database dies in between;
/// * writing the same batch again changes nothing;
/// * [`Store::reset`] leaves the empty tables of this version, whatever was there.
pub trait Store: Send {
    /// Makes the tables and views anew, without rows.
    ///
    /// # Errors
    /// [`StoreError`]; the tables may be as they were before, or not there.
    fn reset(&mut self) -> Result<(), StoreError>;

    /// Writes rows in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is written, or, where the answer was lost, everything.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// The answer to a question in SQL.
    ///
    /// # Errors
    /// [`StoreError`].
    fn rows(&mut self, sql: &str) -> Result<TextRows, StoreError>;

    /// Whether there is a table of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn has_table(&mut self, name: &str) -> Result<bool, StoreError>;
}

/// Opens the database that an address names for questions: nothing is made.
///
/// # Errors
/// It cannot be reached, or the file is not there.
pub fn open_for_reading(url: &ReportingUrl) -> Result<Box<dyn Store>, StoreError> {
    Ok(match url {
        ReportingUrl::Sqlite(path) => Box::new(SqliteStore::open_for_reading(path)?),
        ReportingUrl::Postgres(address) => Box::new(PostgresStore::connect(address)?),
    })
}

/// Opens the database that an address names.
///
/// # Errors
/// It cannot be reached, or the file cannot be opened.
pub fn open(url: &ReportingUrl) -> Result<Box<dyn Store>, StoreError> {
    Ok(match url {
        ReportingUrl::Sqlite(path) => Box::new(SqliteStore::open(path)?),
        ReportingUrl::Postgres(address) => Box::new(PostgresStore::connect(address)?),
    })
}

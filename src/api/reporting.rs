//! The reporting database as operators see it: how far it has come, and the order to make it anew.

use super::refused::Refused;
use super::views::Views;
use crate::units::shape::described;
use serde::{Deserialize, Serialize};

described! {
/// How far the reporting database has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportingStatus {
    /// `wattstile.reporting/1`
    pub schema: String,
    /// Its address, without a password; none: there is no reporting database.
    pub database: Option<String>,
    /// `off`, `connecting` (it cannot be reached), `filling` (it takes in what was before), `following`, or `stopped` (it cannot
    /// go on without an operator).
    pub state: String,
    /// Whether every fact that is durable is in it.
    pub is_current: bool,
    /// How long ago it had every fact, in milliseconds; none: it had not since the start of the gate, or since it was made anew.
    #[serde(default)]
    pub lag_ms: Option<u64>,
    /// The block of the log up to which facts are in it.
    #[serde(default)]
    pub block: Option<u64>,
    /// Transactions since the start of the gate.
    #[serde(default)]
    pub transactions: u64,
    /// Rows that were written since the start of the gate, repetitions included.
    #[serde(default)]
    pub rows: u64,
    /// Archived sessions that are damaged, and so not in it, as far as this process has met them.
    #[serde(default)]
    pub unreadable: u64,
    /// What is wrong.
    #[serde(default)]
    pub fault: Option<String>,
}
}

/// A reporting database beside a running gate.
pub trait ReportingDatabase: Send + Sync {
    /// How far it has come.
    fn status(&self) -> ReportingStatus;

    /// Has it made anew.
    fn rebuild(&self);
}

impl ReportingStatus {
    /// Where there is no reporting database.
    pub fn off() -> ReportingStatus {
        let (schema, state) = ("wattstile.reporting/1".to_owned(), "off".to_owned());
        ReportingStatus { schema, state, ..ReportingStatus::default() }
    }
}

impl Views {
    /// How far the reporting database has come.
    pub fn reporting_status(&self) -> ReportingStatus {
        self.reporting.as_ref().map_or_else(ReportingStatus::off, |reporting| reporting.status())
    }

    /// Has the reporting database made anew. It goes on being filled when this returns.
    ///
    /// # Errors
    /// There is none.
    pub fn rebuild_reporting(&self) -> Result<ReportingStatus, Refused> {
        let none = || Refused::conflict("there is no reporting database: set `reporting.url`");
        let reporting = self.reporting.as_ref().ok_or_else(none)?;
        reporting.rebuild();
        Ok(reporting.status())
    }
}

//! How documents are numbered.

use crate::billing::invoice::{SeriesFamily, SeriesKind};
use crate::units::{Currency, PartitionId, Timestamp};
use jiff::tz::TimeZone;

/// How documents are numbered: `R-2026-EUR-000001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesNames {
    /// What the names of series of invoices begin with; at most [`SeriesNames::MAX_LEN`] letters and digits.
    pub invoices: Box<str>,
    /// The same of credit notes; another than that of invoices.
    pub credit_notes: Box<str>,
    /// Whether each partition numbers its own documents (`R-2026-07-EUR`), instead of one series for all.
    pub per_partition: bool,
    /// Where the operator's calendar is: a document is of the year in which it is issued there.
    pub zone: TimeZone,
}

impl SeriesNames {
    /// The longest beginning, so that the whole name is no longer than a series' name may be.
    pub const MAX_LEN: usize = SeriesFamily::PREFIX_MAX_LEN;

    /// The family that numbers such documents of a partition.
    pub fn family(&self, kind: SeriesKind, currency: Currency, partition: PartitionId) -> SeriesFamily {
        let prefix = match kind {
            SeriesKind::Invoice => &self.invoices,
            SeriesKind::CreditNote => &self.credit_notes,
        };
        SeriesFamily::new(prefix, self.per_partition.then_some(partition), kind, currency)
    }

    /// The operator's year at this moment; that of 1970 for times that no calendar has.
    pub fn year(&self, at: Timestamp) -> i16 {
        at.in_zone(&self.zone).map_or(1970, |local| local.year())
    }
}

impl Default for SeriesNames {
    fn default() -> SeriesNames {
        SeriesNames { invoices: "R".into(), credit_notes: "C".into(), per_partition: false, zone: TimeZone::UTC }
    }
}

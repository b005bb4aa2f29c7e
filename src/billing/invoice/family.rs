//! Which series continue each other from year to year, and where they are kept.

use super::{InvoiceNumber, SeriesId, SeriesKind};
use crate::stored::stored;
use crate::units::{Currency, PartitionId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The series of all years for one kind of document and one currency: `R-YYYY-EUR`, or `R-YYYY-07-EUR` where each partition
/// numbers its own documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesFamily {
    prefix: Box<str>,
    /// The partition whose documents it numbers; `None`: all partitions.
    partition: Option<PartitionId>,
    kind: SeriesKind,
    currency: Currency,
}

stored!(struct SeriesFamily { 0: prefix, 1: partition, 2: kind, 3: currency });

impl SeriesFamily {
    /// The longest beginning of names, in characters, so that a whole name is no longer than a series' name may be.
    pub const PREFIX_MAX_LEN: usize = 8;

    /// The family whose names begin like this, for the documents of one partition or (`None`) of all.
    ///
    /// # Panics
    /// When the beginning is longer than [`SeriesFamily::PREFIX_MAX_LEN`], or has other characters than letters and
    /// digits: the configuration refuses both.
    pub fn new(prefix: &str, partition: Option<PartitionId>, kind: SeriesKind, currency: Currency) -> SeriesFamily {
        let fits = (1..=SeriesFamily::PREFIX_MAX_LEN).contains(&prefix.len());
        assert!(fits && prefix.chars().all(|c| c.is_ascii_alphanumeric()), "a checked beginning of a series' name");
        SeriesFamily { prefix: prefix.into(), partition, kind, currency }
    }

    /// What its series number.
    pub fn kind(&self) -> SeriesKind {
        self.kind
    }

    /// The currency of its documents.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The series of a year; years outside of 0 to 9999 count as the nearest of those.
    pub fn of_year(&self, year: i16) -> SeriesId {
        let name = self.named(&format!("{:04}", year.clamp(0, 9_999)));
        SeriesId::new(&name).expect("a checked beginning, digits and a code")
    }

    /// The year of one of its series; nothing for other series.
    pub fn year(&self, series: &SeriesId) -> Option<i16> {
        let rest = series.as_str().strip_prefix(&*self.prefix)?.strip_prefix('-')?;
        let year = rest.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        (self.named(year) == series.as_str()).then(|| year.parse().ok()).flatten()
    }

    /// Whether a number is of one of its series.
    pub fn has(&self, number: &InvoiceNumber) -> bool {
        self.year(&number.series).is_some()
    }

    /// The partition that keeps its series, among so many: never another one in the same data directory.
    pub fn home(&self, partitions: u16) -> PartitionId {
        match self.partition {
            Some(partition) => partition,
            None => PartitionId::of(&self.to_string(), partitions),
        }
    }

    fn named(&self, year: &str) -> String {
        let SeriesFamily { prefix, partition, currency, .. } = self;
        match partition {
            Some(PartitionId(partition)) => format!("{prefix}-{year}-{partition:02}-{currency}"),
            None => format!("{prefix}-{year}-{currency}"),
        }
    }
}

/// `R-YYYY-EUR`.
impl fmt::Display for SeriesFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.named("YYYY"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_knows_its_series_and_no_others() {
        let shared = SeriesFamily::new("R", None, SeriesKind::Invoice, Currency::EUR);
        let own = SeriesFamily::new("R", Some(PartitionId(7)), SeriesKind::Invoice, Currency::EUR);
        assert_eq!((shared.of_year(2026).as_str(), own.of_year(2026).as_str()), ("R-2026-EUR", "R-2026-07-EUR"));
        for (name, of_shared, of_own) in [
            ("R-2026-EUR", Some(2026), None),
            ("R-2026-07-EUR", None, Some(2026)),
            ("R-2026-08-EUR", None, None),
            ("R-2026-USD", None, None),
            ("R-26-EUR", None, None),
            ("RR-2026-EUR", None, None),
            ("C-2026-EUR", None, None),
        ] {
            let name = SeriesId::new(name).unwrap();
            assert_eq!((shared.year(&name), own.year(&name)), (of_shared, of_own), "{name}");
        }
        assert_eq!(own.home(64), PartitionId(7));
        assert!((1..=64).all(|partitions| shared.home(partitions).0 < partitions));
        let longest = SeriesFamily::new("ABCDEFGH", Some(PartitionId(u16::MAX)), SeriesKind::Invoice, Currency::EUR);
        assert_eq!(longest.of_year(i16::MAX).as_str(), "ABCDEFGH-9999-65535-EUR");
    }
}

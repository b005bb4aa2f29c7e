//! What a series knows of itself.

use super::{Digest, SeriesId, SeriesKind};
use crate::units::{Currency, OpId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A series in each of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Series {
    /// Not begun.
    #[default]
    Unopened,
    /// Numbers documents.
    Open(OpenSeries),
    /// Ended; still tells the numbers that it remembers.
    Closed(OpenSeries),
}

/// A series that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSeries {
    /// Its name.
    pub id: SeriesId,
    /// What documents it numbers.
    pub kind: SeriesKind,
    /// Its currency.
    pub currency: Currency,
    /// The last number that was given; 0 before the first.
    pub last: u64,
    /// The hash of the last document; of the series' name before the first.
    pub head: Digest,
    /// The documents that are remembered.
    pub known: BTreeMap<OpId, Known>,
    /// The same in the order of their numbers.
    pub order: VecDeque<OpId>,
    /// When the youngest of the forgotten documents became final.
    pub forgotten_until: Option<Timestamp>,
}

/// A document that has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its number.
    pub number: u64,
    /// When it became final.
    pub final_at: Timestamp,
    /// What it says.
    pub content: Digest,
    /// Its hash.
    pub hash: Digest,
}

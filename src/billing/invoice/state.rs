//! State of a series.

use super::{Digest, Document, InvoiceNumber, Issued, RequestNumbers, SeriesId, SeriesKind};
use crate::stored::stored;
use crate::units::{Currency, OpId, PartitionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A series in each of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Series {
    /// Not begun.
    #[default]
    Unopened,
    /// Numbers documents.
    Open(OpenSeries),
    /// Closed; still repeats the numbers that are not recorded everywhere.
    Closed(OpenSeries),
}

stored!(enum Series { 0: Unopened, 1: Open(open_series), 2: Closed(open_series) });

impl Series {
    /// The state of a series that was opened.
    pub fn opened(&self) -> Option<&OpenSeries> {
        match self {
            Series::Unopened => None,
            Series::Open(open) | Series::Closed(open) => Some(open),
        }
    }

    /// Whether it numbers documents.
    pub fn is_open(&self) -> bool {
        matches!(self, Series::Open(_))
    }
}

/// A series that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSeries {
    /// Its name.
    pub id: SeriesId,
    /// The kind of documents that it numbers.
    pub kind: SeriesKind,
    /// Its currency.
    pub currency: Currency,
    /// The last number that was given; 0 before the first.
    pub last: u64,
    /// The hash of the last document; of the series' name before the first.
    pub head: Digest,
    /// Numbered documents whose partitions may not have recorded the number: by partition and request.
    pub known: BTreeMap<(PartitionId, u64), Known>,
    /// The first request of each partition that it may repeat.
    pub oldest: BTreeMap<PartitionId, u64>,
}

stored!(struct OpenSeries { 0: id, 1: kind, 2: currency, 3: last, 4: head, 5: known, 6: oldest });

/// A document that has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The document.
    pub document: OpId,
    /// When it was numbered.
    pub at: Timestamp,
    /// Its number.
    pub number: u64,
    /// Hash of its content.
    pub content: Digest,
    /// The hash of the document before it.
    pub previous: Digest,
    /// Its hash.
    pub hash: Digest,
}

stored!(struct Known { 0: document, 1: at, 2: number, 3: content, 4: previous, 5: hash });

impl OpenSeries {
    /// The state of a request: the document that it was answered with, or that it needs no answer any more.
    pub fn answered(&self, numbers: RequestNumbers) -> Option<Answered<'_>> {
        match self.known.get(&(numbers.partition, numbers.request)) {
            Some(known) => Some(Answered::With(known)),
            None => {
                let oldest = self.oldest.get(&numbers.partition).copied().unwrap_or(0);
                (numbers.request < oldest).then_some(Answered::Recorded)
            }
        }
    }

    /// The number of a document, if the requesting partition may not have recorded it.
    pub fn unrecorded(&self, document: &Document) -> Option<Issued> {
        let known = self.known_of(document.id.payment().partition()).find(|known| known.document == document.id)?;
        Some(self.issued(known, document.clone()))
    }

    /// Documents of a partition whose numbers it may not have recorded.
    pub(super) fn known_of(&self, partition: PartitionId) -> impl Iterator<Item = &Known> {
        self.known.range((partition, 0)..=(partition, u64::MAX)).map(|(_, known)| known)
    }

    /// The document as it was numbered.
    pub(super) fn issued(&self, known: &Known, document: Document) -> Issued {
        let Known { at, number, previous, hash, .. } = *known;
        Issued { at, number: InvoiceNumber { series: self.id.clone(), number }, document, previous, hash }
    }
}

/// The result of looking up a request among earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// It was answered with this.
    With(&'a Known),
    /// Its partition has recorded the answer.
    Recorded,
}

//! Invoices and credit notes of a shard: those of its live sessions, and the series that are kept here.

use super::paging::{First, Part, Rows};
use crate::billing::invoice::{Document, InvoiceNumber, Issued, OpenSeries, SeriesFamily};
use crate::node::shard::Shard;
use crate::units::SessionId;
use std::cmp::Reverse;

/// By what a list of documents is ordered: those of the newest session first. Behind all of a session there is none.
pub type NewestDocument = Reverse<(SessionId, Option<InvoiceNumber>)>;

/// A page of the documents of live sessions, those of the newest first; of one series, or of all.
#[derive(Clone, Debug)]
pub struct Documents {
    /// The name of the series.
    pub series: Option<String>,
    /// The page.
    pub part: Part<NewestDocument>,
}

impl Documents {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<NewestDocument, Issued> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after.clone(), page.limit);
            let sessions = partitions.iter().flat_map(|partition| partition.sessions.iter());
            for issued in sessions.flat_map(|(_, hosted)| hosted.state().documents()) {
                if self.series.as_deref().is_none_or(|only| issued.number.series.as_str() == only) {
                    let session = issued.document.id.payment().session();
                    first.offer(Reverse((session, Some(issued.number.clone()))), issued);
                }
            }
            first.rows(|key, issued| (key, issued.clone()))
        })
    }
}

fn of_sessions(shard: &Shard) -> impl Iterator<Item = &Issued> {
    let sessions = shard.partitions().iter().flat_map(|partition| partition.sessions.iter());
    sessions.flat_map(|(_, hosted)| hosted.state().documents())
}

/// A document of a live session, by its number.
#[derive(Clone, Debug)]
pub struct DocumentNamed(pub String);

impl DocumentNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Option<Box<Issued>> {
        of_sessions(shard).find(|issued| issued.number.to_string() == self.0).cloned().map(Box::new)
    }
}

/// Every document of live sessions.
#[derive(Clone, Copy, Debug)]
pub struct EveryDocument;

impl EveryDocument {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<Issued> {
        of_sessions(shard).cloned().collect()
    }
}

/// Documents whose numbers are on their way to them: a bounded number of each partition.
#[derive(Clone, Copy, Debug)]
pub struct DocumentsWaiting;

impl DocumentsWaiting {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<(SeriesFamily, Document)> {
        let waiting = shard.partitions().iter().flat_map(|partition| partition.requests.documents());
        waiting.map(|(family, document)| (family.clone(), document.clone())).collect()
    }
}

/// The series that are kept here.
#[derive(Clone, Copy, Debug)]
pub struct OpenedSeries;

impl OpenedSeries {
    pub(super) fn ask(&self, shard: &Shard) -> Vec<OpenSeries> {
        let all = shard.partitions().iter().flat_map(|partition| partition.series.values());
        all.filter_map(|series| series.opened().cloned()).collect()
    }
}

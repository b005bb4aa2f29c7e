//! Invoices and credit notes: lists, single documents, and checks of whole series.

use super::paging::{First, Page, Paged};
use super::refused::Refused;
use super::views::{Unanswered, Views};
use crate::billing::invoice::{Digest, Issued, OpenSeries, SeriesId, verify_series};
use crate::journal::ById;
use crate::limits::LIST_SESSIONS_READ;
use crate::node::query;
pub use crate::node::query::NewestDocument;
use crate::units::shape::described;
use crate::units::{SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

described! {
/// One document in a list. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceRow {
    /// Its number.
    pub number: String,
    /// `invoice` or `credit note`.
    pub kind: String,
    /// When it was numbered.
    pub at: String,
    /// The session that it is about.
    pub session: String,
    /// The amount to pay; negative in a credit note.
    pub total: Decimal,
    /// The taxes in it, by country and rate.
    pub taxes: BTreeMap<String, Decimal>,
    /// The currency.
    pub currency: String,
    /// The number of what it corrects.
    pub corrects: Option<String>,
    /// SHA-256 of its content.
    pub content: String,
    /// Its link of the series' chain.
    pub hash: String,
}
}

described! {
/// One series, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesRow {
    /// Its name.
    pub series: String,
    /// Documents found.
    pub documents: u64,
    /// The last number that was given.
    pub last: u64,
    /// The hash of its last document.
    pub head: String,
    /// Sum of the totals; none: they were not read.
    pub total: Option<Decimal>,
    /// The currency.
    pub currency: String,
    /// The fault.
    pub fault: Option<String>,
    /// Whether the documents were read and checked.
    #[serde(default = "was_checked")]
    pub checked: bool,
}
}

/// A gate of an older version checks always.
const fn was_checked() -> bool {
    true
}

fn key(issued: &Issued) -> NewestDocument {
    Reverse((issued.document.id.payment().session(), Some(issued.number.clone())))
}

impl Views {
    /// The documents of a series (or of all), those of the newest sessions first. Of the archive a bounded number of sessions is
    /// read for a page.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn invoices(
        &self,
        series: Option<&str>,
        page: &Page<NewestDocument>,
    ) -> Result<Paged<NewestDocument, InvoiceRow>, Unanswered> {
        let mut first = First::behind(page.after.clone(), page.limit);
        let wanted = |issued: &Issued| series.is_none_or(|wanted| issued.number.series.as_str() == wanted);
        let mut offer = |issued: &Issued| {
            let key = key(issued);
            let is_on_page = wanted(issued) && first.wants(&key);
            if is_on_page {
                first.offer(key, row(issued));
            }
            is_on_page
        };
        // A document waits, is kept by its session and goes into the archive with it: looked for in this order it is found.
        let is_of_series = |id: &SeriesId| series.is_none_or(|wanted| id.as_str() == wanted);
        let waiting = self.waiting(&self.given(is_of_series)?)?;
        for issued in &waiting {
            offer(issued);
        }
        let only = series.map(str::to_owned);
        let live = self.first(page, |part| query::Documents { series: only.clone(), part })?;
        for (_, issued) in &live {
            offer(issued);
        }
        // What is older than a page of live documents is not on the page.
        let oldest = live.get(page.limit).map(|(Reverse((session, _)), _)| *session);
        // Of the session of the last document there may be more.
        let behind = page.after.as_ref().map(|Reverse((session, _))| session.as_u128().saturating_add(1));
        let (mut read, mut found, mut last, mut until) = (0, 0, None, None);
        for id in self.archived_ids(behind.map(SessionId::from_u128), ById::NewestFirst) {
            let id = id?;
            if found > page.limit || oldest.is_some_and(|oldest| id < oldest) {
                break;
            }
            if read == LIST_SESSIONS_READ {
                until = last.map(|last| Reverse((last, None)));
                break;
            }
            if let Some(archived) = self.archived(id)? {
                found += archived.session.documents().iter().filter(|issued| offer(issued)).count();
            }
            (read, last) = (read + 1, Some(id));
        }
        Ok(Paged::cut(first.into_sorted(), page.limit, until))
    }

    /// Every series (or one), in the order of names, without reading its documents.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn list_series(&self, only: Option<&str>, page: &Page<String>) -> Result<Paged<String, SeriesRow>, Unanswered> {
        let is_behind = |id: &SeriesId| page.after.as_deref().is_none_or(|after| id.as_str() > after);
        let given = self.given(|id| only.is_none_or(|only| id.as_str() == only) && is_behind(id))?;
        let rows = given.into_iter().map(|(id, open)| {
            let row = SeriesRow {
                series: id.to_string(),
                documents: open.last,
                last: open.last,
                head: open.head.to_string(),
                total: None,
                currency: open.currency.code().to_owned(),
                fault: None,
                checked: false,
            };
            (id.to_string(), row)
        });
        Ok(Paged::cut(rows.take(page.limit.saturating_add(1)).collect(), page.limit, None))
    }

    /// Whether there is such a series; else the names of the existing ones.
    pub(super) fn known_series(&self, name: &str) -> Result<Result<(), Vec<String>>, Unanswered> {
        let names: Vec<String> = self.given(|_| true)?.keys().map(ToString::to_string).collect();
        Ok(if names.iter().any(|known| known == name) { Ok(()) } else { Err(names) })
    }

    /// One document by its number.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn invoice(&self, number: &str) -> Result<Option<InvoiceRow>, Unanswered> {
        let is_it = |issued: &Issued| issued.number.to_string() == number;
        let waiting = self.waiting(&self.given(|id| number.starts_with(id.as_str()))?)?;
        if let Some(found) = waiting.iter().find(|issued| is_it(issued)) {
            return Ok(Some(row(found)));
        }
        if let Some(found) = self.ask(query::DocumentNamed(number.to_owned())).found()? {
            return Ok(Some(row(&found)));
        }
        let mut found = None;
        self.each_archived(Timestamp::from_unix_ms(i64::MIN), &mut |archive_record| {
            found = archive_record.session.documents().iter().find(|issued| is_it(issued)).map(row);
            found.is_none()
        })?;
        Ok(found)
    }

    /// The documents of one series in their order, as `wattstile invoice verify-series` reads them.
    ///
    /// # Errors
    /// The request is wrong, a shard did not answer in time, or the archive cannot be read.
    pub fn series_lines(&self, series: &str) -> Result<String, Refused> {
        let mut lines = String::new();
        for issued in self.documents(|id| id.as_str() == series)? {
            lines.push_str(&serde_json::to_string(&issued).map_err(Refused::failed)?);
            lines.push('\n');
        }
        if lines.is_empty() { Err(Refused::not_found(format!("there is no series `{series}`"))) } else { Ok(lines) }
    }

    /// Every series (or one), in the order of names: its documents, wherever they are by now, checked from the first to the
    /// last number given.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn check_series(
        &self,
        only: Option<&str>,
        page: &Page<String>,
    ) -> Result<Paged<String, SeriesRow>, Unanswered> {
        let is_behind = |id: &SeriesId| page.after.as_deref().is_none_or(|after| id.as_str() > after);
        let wanted = |id: &SeriesId| only.is_none_or(|only| id.as_str() == only) && is_behind(id);
        // First what was given: whatever has a number by then is found afterwards, where it waits or where it is kept.
        let mut given = self.given(wanted)?;
        // The documents of those only that are on the page, and of one more.
        let last = given.keys().nth(page.limit).cloned();
        given.retain(|id, _| last.as_ref().is_none_or(|last| id <= last));
        let found = self.found(&given, |id| wanted(id) && last.as_ref().is_none_or(|last| id < last))?;
        let mut by_series: BTreeMap<SeriesId, Vec<Issued>> = BTreeMap::new();
        for issued in found {
            by_series.entry(issued.number.series.clone()).or_default().push(issued);
        }
        let mut rows = Vec::new();
        for (id, open) in given {
            let mut documents = by_series.remove(&id).unwrap_or_default();
            // Numbered since.
            documents.retain(|issued| issued.number.number <= open.last);
            let sum: i128 = documents.iter().map(|issued| i128::from(issued.document.total.minor)).sum();
            rows.push(SeriesRow {
                series: id.to_string(),
                documents: u64::try_from(documents.len()).unwrap_or(u64::MAX),
                last: open.last,
                head: open.head.to_string(),
                total: Some(Decimal::from_i128_with_scale(sum, u32::from(open.currency.exponent()))),
                currency: open.currency.code().to_owned(),
                fault: fault(&documents, open.last, open.head),
                checked: true,
            });
        }
        // A document of a series that no partition keeps.
        for (id, documents) in by_series {
            let currency = documents[0].document.total.currency;
            let sum: i128 = documents.iter().map(|issued| i128::from(issued.document.total.minor)).sum();
            rows.push(SeriesRow {
                series: id.to_string(),
                documents: u64::try_from(documents.len()).unwrap_or(u64::MAX),
                last: 0,
                head: String::new(),
                total: Some(Decimal::from_i128_with_scale(sum, u32::from(currency.exponent()))),
                currency: currency.code().to_owned(),
                fault: Some("sessions have documents of this series, and no partition keeps it".to_owned()),
                checked: true,
            });
        }
        rows.sort_by(|a, b| a.series.cmp(&b.series));
        let rows = rows.into_iter().map(|row| (row.series.clone(), row)).collect();
        Ok(Paged::cut(rows, page.limit, None))
    }

    /// Every document that has a number, once, in the order of the numbers.
    fn documents(&self, wanted: impl Fn(&SeriesId) -> bool) -> Result<Vec<Issued>, Unanswered> {
        let given = self.given(&wanted)?;
        self.found(&given, wanted)
    }

    /// The series in the state of their home partitions.
    pub(super) fn given(
        &self,
        wanted: impl Fn(&SeriesId) -> bool,
    ) -> Result<BTreeMap<SeriesId, OpenSeries>, Unanswered> {
        let given = self.ask(query::OpenedSeries);
        let given = given.whole()?.into_iter().flatten();
        Ok(given.filter(|open| wanted(&open.id)).map(|open| (open.id.clone(), open)).collect())
    }

    /// Documents of live and archived sessions, and those whose numbers are not recorded there yet.
    fn found(
        &self,
        given: &BTreeMap<SeriesId, OpenSeries>,
        wanted: impl Fn(&SeriesId) -> bool,
    ) -> Result<Vec<Issued>, Unanswered> {
        let waiting = self.waiting(given)?;
        let live = self.ask(query::EveryDocument);
        let mut found: BTreeMap<(SeriesId, u64), Issued> = BTreeMap::new();
        let mut keep = |issued: Issued| {
            if wanted(&issued.number.series) {
                found.insert((issued.number.series.clone(), issued.number.number), issued);
            }
        };
        let live = live.whole()?;
        self.each_archived(Timestamp::from_unix_ms(i64::MIN), &mut |archive_record| {
            archive_record.session.documents().iter().cloned().for_each(&mut keep);
            true
        })?;
        live.into_iter().flatten().chain(waiting).for_each(&mut keep);
        Ok(found.into_values().collect())
    }

    /// Documents whose numbers are on their way to them: a bounded number of each partition.
    pub(super) fn waiting(&self, given: &BTreeMap<SeriesId, OpenSeries>) -> Result<Vec<Issued>, Unanswered> {
        let waiting = self.ask(query::DocumentsWaiting);
        let mut found = Vec::new();
        for (family, document) in waiting.whole()?.into_iter().flatten() {
            let series = given.values().filter(|open| family.year(&open.id).is_some());
            found.extend(series.filter_map(|open| open.unrecorded(&document)));
        }
        Ok(found)
    }
}

/// Finds a fault in the documents of a series with this last number and hash.
fn fault(documents: &[Issued], last: u64, head: Digest) -> Option<String> {
    match verify_series(documents) {
        Err(broken) => Some(broken.to_string()),
        Ok(summary) if summary.count != last => Some(format!("{last} numbers were given and {} found", summary.count)),
        Ok(summary) if summary.head.is_some_and(|found| found != head) => {
            Some("it does not end with the hash that the series has".to_owned())
        }
        Ok(_) => None,
    }
}

fn row(issued: &Issued) -> InvoiceRow {
    let document = &issued.document;
    let taxes = document.taxes.iter().map(|(tax, amount)| (format!("{} {}", tax.country(), tax.rate), amount.major()));
    InvoiceRow {
        number: issued.number.to_string(),
        kind: if document.total.minor < 0 { "credit note" } else { "invoice" }.to_owned(),
        at: issued.at.to_string(),
        session: document.id.payment().session().to_string(),
        total: document.total.major(),
        taxes: taxes.collect(),
        currency: document.total.currency.code().to_owned(),
        corrects: document.corrects.as_ref().map(ToString::to_string),
        content: document.content.to_string(),
        hash: issued.hash.to_string(),
    }
}

//! Verification that a series has no gap and no changed document.

use super::{Digest, Document, InvoiceNumber, Issued, SeriesId};
use crate::billing::ClosedSession;
use crate::units::{Amount, Currency, OpId, Timestamp};
use ring::digest::{Context, SHA256};
use std::collections::{BTreeMap, BTreeSet};

/// Result of verifying a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSummary {
    /// The series; `None` when it has no documents.
    pub series: Option<SeriesId>,
    /// How many documents it has: the last number.
    pub count: u64,
    /// The hash of the last document: to be compared with a copy from elsewhere, which also proves that none is missing
    /// at the end.
    pub head: Option<Digest>,
    /// Sums of the totals in minor units.
    pub totals: BTreeMap<Currency, i128>,
}

/// Where a series is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesBroken {
    /// A number is missing or stands twice.
    #[error("number {expected} was expected and {found} was found")]
    Number {
        /// The next number.
        expected: u64,
        /// The number found.
        found: InvoiceNumber,
    },
    /// A document of another series.
    #[error("{0} belongs to another series")]
    OtherSeries(InvoiceNumber),
    /// A document that hangs on another one than that before it.
    #[error("{0} does not follow on the document before it")]
    Chain(InvoiceNumber),
    /// A document that was changed after it was numbered.
    #[error("{0} was changed after it was numbered")]
    Changed(InvoiceNumber),
    /// A document that has two numbers.
    #[error("{document} has the number {number} and an earlier one")]
    Twice {
        /// The document.
        document: OpId,
        /// Its second number.
        number: InvoiceNumber,
    },
}

/// Checks a series from its first document on.
///
/// # Errors
/// [`SeriesBroken`] with the first document that does not follow.
pub fn verify_series<'a>(documents: impl IntoIterator<Item = &'a Issued>) -> Result<SeriesSummary, SeriesBroken> {
    let mut summary = SeriesSummary { series: None, count: 0, head: None, totals: BTreeMap::new() };
    let mut seen: BTreeSet<OpId> = BTreeSet::new();
    for issued in documents {
        let number = &issued.number;
        let series = summary.series.get_or_insert_with(|| number.series.clone());
        if *series != number.series {
            return Err(SeriesBroken::OtherSeries(number.clone()));
        }
        let expected = summary.count + 1;
        if number.number != expected {
            return Err(SeriesBroken::Number { expected, found: number.clone() });
        }
        if issued.previous != summary.head.unwrap_or_else(|| anchor(series)) {
            return Err(SeriesBroken::Chain(number.clone()));
        }
        if issued.hash != chain(number, issued.at, &issued.document, issued.previous) {
            return Err(SeriesBroken::Changed(number.clone()));
        }
        if !seen.insert(issued.document.id) {
            return Err(SeriesBroken::Twice { document: issued.document.id, number: number.clone() });
        }
        summary.count = expected;
        summary.head = Some(issued.hash);
        let total = issued.document.total;
        *summary.totals.entry(total.currency).or_default() += i128::from(total.minor);
    }
    Ok(summary)
}

/// The hash before the first document of a series.
pub(super) fn anchor(series: &SeriesId) -> Digest {
    let mut hash = Context::new(&SHA256);
    hash.update(b"wattstile series 1\n");
    hash.update(series.as_str().as_bytes());
    finish(hash)
}

/// The hash of a document: SHA-256 over `wattstile invoice 1\n` and then, big-endian and each text with its length in
/// front (4 bytes): series, number (8), time of numbering in ms (8), document id (16), final since in ms (8), currency (2),
/// total (8), number of taxes (4), of each tax country (2), rate (4), amount (8); content (32), the corrected number as
/// text or an empty one, previous hash (32).
pub fn chain(number: &InvoiceNumber, at: Timestamp, document: &Document, previous: Digest) -> Digest {
    let mut hash = Context::new(&SHA256);
    let Document { id, final_at, total, taxes, content, corrects } = document;
    hash.update(b"wattstile invoice 1\n");
    text(&mut hash, number.series.as_str());
    hash.update(&number.number.to_be_bytes());
    hash.update(&at.unix_ms().to_be_bytes());
    hash.update(&id.as_u128().to_be_bytes());
    hash.update(&final_at.unix_ms().to_be_bytes());
    hash.update(&total.currency.numeric().to_be_bytes());
    hash.update(&total.minor.to_be_bytes());
    length(&mut hash, taxes.len());
    for (tax, amount) in taxes {
        hash.update(&tax.country);
        hash.update(&tax.rate.0.to_be_bytes());
        hash.update(&amount.minor.to_be_bytes());
    }
    hash.update(&content.0);
    text(&mut hash, &corrects.as_ref().map(ToString::to_string).unwrap_or_default());
    hash.update(&previous.0);
    finish(hash)
}

/// The content hash of a document: SHA-256 over `wattstile content 1` and then, each on a line of its own and as the
/// session's receipt shows it, session, charger, connector, start, end (both in UTC), energy in kWh, SHA-256 of the
/// tariff, exact net cost, exact gross cost, the payable amount, the amount of this document. Every line ends with a
/// line feed.
pub fn content(session: &ClosedSession, over: Amount) -> Digest {
    let lines = [
        "wattstile content 1".to_owned(),
        session.id.to_string(),
        session.charger.to_string(),
        session.connector.to_string(),
        session.started_at.to_rfc3339(),
        session.ended_at.to_rfc3339(),
        session.energy.kwh().to_string(),
        session.tariff.hash.to_string(),
        session.net.major().to_string(),
        session.gross.major().to_string(),
        session.payable.major().to_string(),
        over.major().to_string(),
    ];
    let mut hash = Context::new(&SHA256);
    for line in lines {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    finish(hash)
}

fn text(hash: &mut Context, text: &str) {
    length(hash, text.len());
    hash.update(text.as_bytes());
}

fn length(hash: &mut Context, length: usize) {
    let length = u32::try_from(length).expect("texts and lists of a document are short");
    hash.update(&length.to_be_bytes());
}

fn finish(hash: Context) -> Digest {
    Digest(hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

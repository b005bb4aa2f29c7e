//! Invoice numbers: one series, one machine, no gaps.
//!
//! A series belongs to a kind of document, a currency and a year: `R-2026-EUR` ([`SeriesFamily`] determines which
//! years share a series, and which partition keeps it). A document has no number until it is final. Then the
//! partition of its session records it without one and sends a request to the series' home partition ([`Requests`]);
//! the home assigns the next number by one event that holds document and number, and the session's partition records
//! the answer. No document is withdrawn: a wrong one is followed by a credit note, a document of its own in a series
//! of its own, with a negative total, that names what it corrects.
//!
//! ```text
//!   Unopened ──Open──▶ Open ──Close──▶ Closed
//!                      │  ▲
//!                      └──┘ Finalize: number n, hash n = SHA-256(hash n−1, document n)
//! ```
//!
//! A repeated request for the same document gets the same number: a series keeps each document until the requesting
//! partition has recorded the number, which a later request confirms. Requests of a partition are numbered, and at
//! most [`limits::DOCUMENTS_ASKED`] of one family are in progress, which bounds the kept documents.

mod apply;
mod decide;
mod family;
mod requests;
mod state;
#[cfg(test)]
mod tests;
mod verify;

pub use apply::apply;
pub use decide::decide;
pub use family::SeriesFamily;
pub use requests::{Request, RequestEvent, Requests};
pub use state::{Known, OpenSeries, Series};
pub use verify::{SeriesBroken, SeriesSummary, chain, content, verify_series};

use crate::ledger::Tax;
#[cfg(doc)]
use crate::limits;
use crate::stored::{Stored, StoredError, load_text, store_text, stored};
use crate::units::{Amount, Currency, OpId, PartitionId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A command to a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin the series. Doing so again with the same terms is the same beginning.
    Open {
        /// Its name.
        series: SeriesId,
        /// The kind of documents that it numbers.
        kind: SeriesKind,
        /// The one currency of its documents.
        currency: Currency,
    },
    /// Number a document that is final.
    Finalize {
        /// The document.
        document: Box<Document>,
        /// Which request this is.
        numbers: RequestNumbers,
    },
    /// End the series: the fiscal year is over.
    Close,
}

/// Numbers of a partition's requests to a family: the present one, and the oldest that it may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestNumbers {
    /// The requesting partition: the session's.
    pub partition: PartitionId,
    /// The request, counted from 0.
    pub request: u64,
    /// The oldest request whose number that partition has not recorded; at most `request`.
    pub oldest: u64,
}

stored!(struct RequestNumbers { 0: partition, 1: request, 2: oldest });

/// A final document, as its series stores it. The same `id` is the same document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it is about: a session (its operation number 0), or the refund that a credit note belongs to.
    #[serde(with = "id_text")]
    pub id: OpId,
    /// When it became final, by the partition that made it; the same in every repetition.
    pub final_at: Timestamp,
    /// The amount to pay; negative in a credit note.
    pub total: Amount,
    /// The taxes in it, with the sign of the total.
    pub taxes: Vec<(Tax, Amount)>,
    /// SHA-256 of the document's text without its number.
    pub content: Digest,
    /// The number of the invoice that a credit note corrects.
    pub corrects: Option<InvoiceNumber>,
}

stored!(struct Document { 0: id, 1: final_at, 2: total, 3: taxes, 4: content, 5: corrects });

/// Facts of a series. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The series exists.
    Opened {
        /// When.
        at: Timestamp,
        /// Its name.
        series: SeriesId,
        /// The kind of documents that it numbers.
        kind: SeriesKind,
        /// Its currency.
        currency: Currency,
    },
    /// A document has its number.
    Finalized {
        /// The document with its number.
        issued: Box<Issued>,
        /// The request that it answers.
        numbers: RequestNumbers,
    },
    /// The series ended.
    Closed {
        /// When.
        at: Timestamp,
    },
}

stored!(enum Event {
    0: Opened { 0: at, 1: series, 2: kind, 3: currency },
    1: Finalized { 0: issued, 1: numbers },
    2: Closed { 0: at },
});

/// A numbered document: a link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// When it was numbered.
    pub at: Timestamp,
    /// Its number.
    pub number: InvoiceNumber,
    /// The document.
    pub document: Document,
    /// The hash of the document before it; of the first, that of the series' name.
    pub previous: Digest,
    /// Its own hash ([`chain`]).
    pub hash: Digest,
}

stored!(struct Issued { 0: at, 1: number, 2: document, 3: previous, 4: hash });

/// An output of a series, released when its events are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The series exists.
    Opened(SeriesId),
    /// The document has this number.
    Numbered {
        /// The document with its number.
        issued: Box<Issued>,
        /// The request that this answers.
        numbers: RequestNumbers,
    },
    /// No change was made.
    Refused {
        /// The document, where it was about one.
        document: Option<OpId>,
        /// The reason.
        rejection: Rejection,
    },
    /// The series ended.
    Closed,
}

/// Why a series refuses. The numbers are stable; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[repr(u8)]
pub enum Rejection {
    /// There is no such series.
    #[error("there is no such series")]
    NoSuchSeries = 1,
    /// The series exists on other terms.
    #[error("the series exists of another kind or currency")]
    SeriesExists = 2,
    /// The document was numbered before, with another content.
    #[error("the document was numbered with another content")]
    ExistsWithDifferentContent = 3,
    /// The requesting partition has confirmed the answer to this request.
    #[error("the answer to this request was recorded before")]
    Recorded = 4,
    /// The series has ended.
    #[error("the series has ended")]
    SeriesClosed = 5,
    /// The document is in another currency.
    #[error("the document is not in the series' currency")]
    CurrencyDiffers = 6,
    /// An invoice must not be negative, a credit note must be.
    #[error("an invoice is not negative, and a credit note is")]
    WrongSign = 7,
    /// A credit note names what it corrects, and nothing else does.
    #[error("a credit note names what it corrects, and an invoice does not")]
    WrongReference = 8,
    /// Taxes that are more than the total, or of the other sign.
    #[error("the taxes do not fit the total")]
    TaxesDoNotFit = 9,
    /// A request further ahead than a partition may be.
    #[error("too many requests of this partition are under way")]
    TooManyRequests = 10,
}

/// The name of a series: what stands before its numbers, such as `R-2026-EUR`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SeriesId(Box<str>);

/// Kinds of documents that a series numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SeriesKind {
    /// Invoices (and receipts, which are simplified invoices).
    Invoice,
    /// Credit notes.
    CreditNote,
}

stored!(enum SeriesKind { 0: Invoice, 1: CreditNote });

/// A document's number: the series, and 1, 2, 3, … in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvoiceNumber {
    /// The series.
    pub series: SeriesId,
    /// The number in it, counted from 1.
    pub number: u64,
}

stored!(struct InvoiceNumber { 0: series, 1: number });

/// A SHA-256 value; hexadecimal in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// An operation's id: text in documents, because most readers of JSON do not keep so large a number.
mod id_text {
    use super::OpId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(id: &OpId, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(id) } else { id.serialize(serializer) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OpId, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            OpId::deserialize(deserializer)
        }
    }
}

/// A text that cannot name a series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a series is named by 1 to {max} letters, digits, hyphens, dots and slashes; `{0}` is not", max = SeriesId::MAX_LEN)]
pub struct SeriesIdError(String);

impl SeriesId {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 24;

    /// Checks the text and makes the name.
    ///
    /// # Errors
    /// The name is empty, too long, or has other characters than letters, digits, hyphens, dots and slashes.
    pub fn new(text: &str) -> Result<SeriesId, SeriesIdError> {
        let allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/'));
        if allowed && (1..=SeriesId::MAX_LEN).contains(&text.len()) {
            Ok(SeriesId(text.into()))
        } else {
            Err(SeriesIdError(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SeriesId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SeriesId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        SeriesId::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Stored for SeriesId {
    fn store(&self, out: &mut Vec<u8>) {
        store_text(&self.0, out);
    }

    fn load(from: &mut &[u8]) -> Result<SeriesId, StoredError> {
        SeriesId::new(load_text(from)?).map_err(StoredError::invalid)
    }
}

#[cfg(test)]
impl crate::stored::Example for SeriesId {
    fn make(_: usize, _: &mut usize) -> SeriesId {
        SeriesId("R-2026".into())
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `R-2026-000001`: six digits, more where they are needed.
impl fmt::Display for InvoiceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{:06}", self.series, self.number))
    }
}

impl fmt::Debug for InvoiceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

stored!(struct Digest(bytes));

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Digest);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&*text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Digest(bytes))
    }
}

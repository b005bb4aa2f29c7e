//! OCPI tariffs: reading, checking, rating, explaining.
//!
//! A [`Tariff`] is an OCPI 2.2.1 or 2.3.0 Tariff object, read once and never changed. A [`Rating`] is the price of
//! one session that is in progress:
//!
//! ```text
//!   Rating::open ──> price(reading) ──> Slices ──> apply ──> total
//!                        pure         journaled   cannot     the one price: running cost, limit,
//!                                                  fail      capture, CDR, receipt
//! ```
//!
//! Volumes accumulate as whole numbers per price component and prices are multiplied in at the end, so a session priced
//! reading by reading costs what it costs priced all at once, to the last digit.
//!
//! Rules and their sources: the manual's page on [pricing](crate::manual::pricing).

mod book;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod bound;
mod cases;
mod cdr;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]
mod consistency;
mod explain;
mod fields;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]
mod file;
mod finding;
mod json;
mod lint;
mod model;
mod names;
mod rating;
mod read;
mod report;
mod runs;
mod segments;
mod select;
mod slice;
mod still;
#[cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
mod total;
mod zones;

pub use book::{Assignment, BookError, BookErrors, TariffBook, TariffRefusal};
pub use bound::TimeAhead;
pub use cases::{CaseOutcome, Mismatch, check_cdr, check_run};
pub use cdr::{Cdr, Period, PricedCdr};
pub use file::{TariffText, check, tariffs_in, text_of, unusable};
pub use finding::{Finding, Position, Severity};
pub use lint::{Profiles, lint};
pub use model::{
    AltText, Component, Dimension, Element, Parsed, PriceLimit, Reservation, Restrictions, Tariff, TariffError,
    TariffFault, TaxIncluded,
};
pub use rating::{Rating, RatingError};
pub use report::{PriceReport, PriceText, SegmentText, VatText, Warning};
pub use runs::{PricedSession, RecordedSession, ReservedTime};
pub use segments::{BilledSegment, Segment, Segments};
pub use select::Phase;
pub use slice::{Reason, Slice, Slices};
pub use total::{Clamp, Price, Total, VatLine};
pub use zones::zone_named;

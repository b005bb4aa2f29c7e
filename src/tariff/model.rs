//! A tariff as it is priced: elements, price components and restrictions as whole numbers, compiled once.
//!
//! Nothing in here changes after it was read. A session pins its tariff by [`Tariff::hash`], the SHA-256 of the text.

use super::bound::{Ahead, Dearest};
use super::finding::{Finding, Position};
use super::json::JsonError;
use super::{names, read};
use crate::limits::JSON_DEPTH_MAX;
use crate::units::{Amount, Cost, Currency, MoneyError, Rounding, TariffHash, TariffId, Timestamp};
use rust_decimal::Decimal;
use std::fmt;
use std::ops::Range;

/// A tariff that can be priced. Made by [`Tariff::parse`] only.
///
/// ```
/// use wattstile::tariff::Tariff;
///
/// let tariff = Tariff::parse(r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#)?
/// .tariff;
/// assert_eq!((tariff.id().as_str(), tariff.currency().code(), tariff.elements().len()), ("DAY", "EUR", 1));
/// assert!(Tariff::parse("{}").is_err(), "a tariff without prices is refused, never free");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tariff {
    pub(super) text: String,
    pub(super) hash: TariffHash,
    pub(super) id: TariffId,
    pub(super) country: [u8; 2],
    pub(super) party: Box<str>,
    pub(super) currency: Currency,
    pub(super) tax: TaxIncluded,
    pub(super) rounding: Rounding,
    pub(super) preauthorize_amount: Option<Amount>,
    pub(super) min_price: PriceLimit,
    pub(super) max_price: PriceLimit,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) valid_until: Option<Timestamp>,
    pub(super) alt_text: Vec<AltText>,
    pub(super) elements: Vec<Element>,
    pub(super) components: Vec<Component>,
    pub(super) cuts: Cuts,
    pub(super) dearest: Option<Dearest>,
    pub(super) ahead: Ahead,
}

/// A parsed tariff, with the findings in its text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tariff.
    pub tariff: Tariff,
    /// Warnings and notes, in the order of the text.
    pub warnings: Vec<Finding>,
}

/// Why a text cannot be used as a tariff, and where in the text the reason stands.
///
/// ```
/// use wattstile::tariff::Tariff;
///
/// let error = Tariff::parse("{\n  \"currncy\": \"EUR\" }").unwrap_err();
/// assert!(error.each().any(|fault| fault.position.line == 2), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TariffError {
    /// The field, as a path from the root `$`.
    pub path: String,
    /// Byte offsets in the text.
    pub span: Range<usize>,
    /// Line and column.
    pub position: Position,
    /// The fault.
    pub reason: TariffFault,
    /// Further faults of the text.
    pub others: Vec<TariffError>,
}

/// One line for each fault.
impl fmt::Display for TariffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.position, self.path, self.reason)?;
        self.others.iter().try_for_each(|other| write!(f, "\n{other}"))
    }
}

impl std::error::Error for TariffError {}

impl TariffError {
    /// This fault and the others of the text, each by itself.
    pub fn each(&self) -> impl Iterator<Item = &TariffError> {
        std::iter::once(self).chain(&self.others)
    }

    /// The lines of the message, each behind the name of the file.
    pub fn in_file(&self, file: &str) -> String {
        let lines: Vec<String> =
            self.each().map(|fault| format!("{file}: {}: {}: {}", fault.position, fault.path, fault.reason)).collect();
        lines.join("\n")
    }

    /// Several faults as one error; `None` when there are none.
    pub(super) fn of(faults: Vec<TariffError>) -> Option<TariffError> {
        let mut faults = faults.into_iter();
        let first = faults.next()?;
        Some(TariffError { others: faults.collect(), ..first })
    }
}

/// A fault of a tariff that makes it unusable for charging.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TariffFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// Larger than the process accepts.
    #[error("{what} is more than the {max} that are accepted")]
    TooLarge {
        /// The counted quantity.
        what: String,
        /// The bound.
        max: usize,
    },
    /// A field without which there is no price.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field of another JSON type than the specification requires.
    #[error("{expected} was expected, this is {found}")]
    Type {
        /// The expected value.
        expected: &'static str,
        /// The value found.
        found: &'static str,
    },
    /// A value outside what the specification allows.
    #[error("`{value}` is not {expected}")]
    Value {
        /// The value found.
        value: String,
        /// The expected value.
        expected: &'static str,
    },
    /// A field that is none of the specification's but stands where a field that decides the price is meant.
    #[error("`{name}` is no field of OCPI, and what it says would be lost: did you mean `{meant}`?")]
    Misspelled {
        /// The field as it is written.
        name: String,
        /// The field that is probably meant.
        meant: &'static str,
    },
    /// A field among the restrictions that is none.
    #[error("`{0}` is no restriction of OCPI, and what it restricts would be lost")]
    UnknownRestriction(String),
    /// A restriction outside of `restrictions`.
    #[error("`{0}` is a restriction, and has no effect outside of `restrictions`")]
    Misplaced(String),
    /// A field that is written twice in one object.
    #[error("`{name}` is written twice (first in line {first}): programs differ in which one they take")]
    Twice {
        /// The field.
        name: String,
        /// Line of the first one.
        first: u32,
    },
    /// Bytes that are not the text of any JSON document.
    #[error("{0}")]
    Encoding(String),
    /// Statements that cannot all be true.
    #[error("{0}")]
    Contradiction(String),
    /// More faults than are listed.
    #[error("{0} more errors are not listed")]
    More(usize),
    /// Only components of a kind that is not priced.
    #[error("no price component of a known type: nothing could be charged by this tariff")]
    NoPrice,
    /// An amount that cannot be kept.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl From<JsonError> for TariffFault {
    fn from(error: JsonError) -> TariffFault {
        if error.is_too_deep {
            TariffFault::TooLarge { what: "its nesting".to_owned(), max: JSON_DEPTH_MAX }
        } else {
            TariffFault::Json(error.what)
        }
    }
}

impl TariffFault {
    /// Whether versions before took the text with a warning.
    pub(super) fn was_taken(&self) -> bool {
        matches!(
            self,
            TariffFault::Misspelled { .. }
                | TariffFault::UnknownRestriction(_)
                | TariffFault::Misplaced(_)
                | TariffFault::Twice { .. }
        )
    }

    /// Advice.
    pub fn help(&self) -> Option<String> {
        match self {
            TariffFault::Misspelled { meant, .. } => Some(format!("write `{meant}`, or remove the field")),
            TariffFault::UnknownRestriction(_) => Some(format!(
                "OCPI has {}; a field of one's own begins with `x_`",
                names::RESTRICTION_FIELDS.join(", ")
            )),
            TariffFault::Misplaced(_) => Some("move it into the `restrictions` of the element".to_owned()),
            TariffFault::Twice { .. } => Some("remove the one that is not meant".to_owned()),
            TariffFault::Value { value, .. } if value.contains(',') => {
                Some("decimals are written with a point, without separators of thousands".to_owned())
            }
            _ => None,
        }
    }
}

/// Whether the prices contain tax (OCPI 2.3.0 `tax_included`; OCPI 2.2.1 tariffs never do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaxIncluded {
    /// Tax is added on top.
    #[default]
    No,
    /// Tax is contained.
    Yes,
    /// No tax applies.
    NotApplicable,
}

/// What a price component prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Energy, per kWh.
    Energy,
    /// A fee that is due once.
    Flat,
    /// Time in which no energy flows, per hour.
    ParkingTime,
    /// Time in which energy flows, or for which a place was reserved, per hour.
    Time,
}

impl Dimension {
    /// The name in OCPI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dimension::Energy => "ENERGY",
            Dimension::Flat => "FLAT",
            Dimension::ParkingTime => "PARKING_TIME",
            Dimension::Time => "TIME",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The reservation that an element prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reservation {
    /// `RESERVATION`: the time between reserving and starting.
    Reserved,
    /// `RESERVATION_EXPIRES`: a reservation that no session used.
    Expires,
}

/// One price: so much per unit of one dimension.
#[derive(Clone, Debug)]
pub struct Component {
    /// The element it stands in, counted from 0.
    pub element: u16,
    /// Its place among the element's components, counted from 0.
    pub ordinal: u16,
    /// The dimension that it prices.
    pub dimension: Dimension,
    /// Price in 10⁻⁹ of the major unit per kWh, per hour or once.
    pub price_nano: i64,
    /// VAT in 10⁻⁴ percent, where given.
    pub vat: Option<u32>,
    /// Block size in the unit of volumes: µWh for energy, ms for time; 0 when nothing is rounded.
    pub step: i64,
    /// `step_size` as written: Wh or seconds.
    pub step_size: u32,
    /// Byte offsets of the component in the tariff's text.
    pub span: Range<usize>,
}

impl Component {
    /// The price per kWh, per hour or once, in major units.
    pub fn price(&self) -> Decimal {
        Decimal::new(self.price_nano, 9).normalize()
    }

    /// VAT in percent, where given.
    pub fn vat_percent(&self) -> Option<Decimal> {
        self.vat.map(|vat| Decimal::new(i64::from(vat), 4).normalize())
    }
}

/// A group of components that apply under the same conditions.
#[derive(Clone, Debug)]
pub struct Element {
    /// The conditions.
    pub restrictions: Restrictions,
    /// Indexes of its components in [`Tariff::components`].
    pub components: Range<u16>,
    /// Byte offsets of the element in the tariff's text.
    pub span: Range<usize>,
}

/// When an element applies; every restriction that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// From this minute of the local day.
    pub start_minute: Option<u16>,
    /// Until this minute of the local day; 1,440 is its end. Before `start_minute` it wraps past midnight.
    pub end_minute: Option<u16>,
    /// From this local day on, in days since 1970-01-01.
    pub start_day: Option<i32>,
    /// Before this local day.
    pub end_day: Option<i32>,
    /// Days of the week, bit 0 is Monday; 0 when there is no such restriction.
    pub weekdays: u8,
    /// From this energy on, in µWh since the session's start.
    pub min_energy: Option<i64>,
    /// Below this energy.
    pub max_energy: Option<i64>,
    /// At this current or more, in mA.
    pub min_current: Option<i64>,
    /// Below this current.
    pub max_current: Option<i64>,
    /// At this power or more, in mW.
    pub min_power: Option<i64>,
    /// Below this power.
    pub max_power: Option<i64>,
    /// From this time since the session's start on, in ms.
    pub min_duration: Option<i64>,
    /// Before this time since the session's start.
    pub max_duration: Option<i64>,
    /// It prices reservations, not sessions.
    pub reservation: Option<Reservation>,
}

/// A bound of the total, before and after tax; either may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceLimit {
    /// Bound of the total before tax.
    pub excl_vat: Option<Cost>,
    /// Bound of the total after tax.
    pub incl_vat: Option<Cost>,
}

/// A text for people in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltText {
    /// Language code (ISO 639-1).
    pub language: String,
    /// The text.
    pub text: String,
}

/// Where prices can change, over all elements: sorted, without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Milliseconds of the local day.
    pub day_ms: Vec<i64>,
    /// Milliseconds since the session's start.
    pub duration_ms: Vec<i64>,
    /// µWh since the session's start.
    pub energy: Vec<i64>,
    /// An element depends on power or current.
    pub flow: bool,
}

impl Tariff {
    /// Reads the OCPI 2.2.1 or 2.3.0 Tariff object and compiles it.
    ///
    /// Unknown fields and vendor extensions give warnings. What could make a price wrong (a restriction that cannot
    /// be understood, a price that is missing, a field that is written twice) is an error with its line and column;
    /// all of them are reported at once.
    ///
    /// # Errors
    /// [`TariffError`] with all faults and their positions.
    pub fn parse(json: &str) -> Result<Parsed, TariffError> {
        let (tariff, warnings) = read::examine(json, false);
        Ok(Parsed { tariff: tariff?, warnings })
    }

    /// Reads the text that a session was begun with. A field that is refused today in a new tariff is passed over, as it was
    /// when the session began: its price does not change on the way.
    ///
    /// # Errors
    /// [`TariffError`]: the text is not the one that a session began with.
    pub fn parse_pinned(json: &str) -> Result<Tariff, TariffError> {
        read::examine(json, true).0
    }

    /// SHA-256 of the exact text.
    pub fn hash(&self) -> TariffHash {
        self.hash
    }

    /// The tariff's id.
    pub fn id(&self) -> &TariffId {
        &self.id
    }

    /// The country of the seller: ISO 3166-1 alpha-2, `XX` where the tariff has none.
    pub fn country(&self) -> [u8; 2] {
        self.country
    }

    /// The seller's party: three characters by ISO 15118, `???` where the tariff has none.
    pub fn party(&self) -> &str {
        &self.party
    }

    /// The currency of every price.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether prices contain tax.
    pub fn tax_included(&self) -> TaxIncluded {
        self.tax
    }

    /// Rule by which a total is rounded to an amount: the field `rounding` (`HALF_EVEN`, `HALF_UP`, `DOWN`), an
    /// extension of ours, as OCPI leaves the rule to law and contract. Half-even when it is not there.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// What a payment terminal should reserve (OCPI 2.3.0, payments).
    pub fn preauthorize_amount(&self) -> Option<Amount> {
        self.preauthorize_amount
    }

    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// Alternative texts, as they stand in the tariff.
    pub fn alt_texts(&self) -> &[AltText] {
        &self.alt_text
    }

    /// Whether a session that starts at this instant may use it (`start_date_time`, `end_date_time`).
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_until.is_none_or(|until| at < until)
    }

    /// The elements, in the order of the text.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// All components, in the order of the text. Indexes in slices and segments point here.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The least a session costs.
    pub fn min_price(&self) -> PriceLimit {
        self.min_price
    }

    /// The most a session costs.
    pub fn max_price(&self) -> PriceLimit {
        self.max_price
    }

    /// The first bytes of the hash: a cheap guard against pricing with another tariff than the one that was opened.
    pub(super) fn fingerprint(&self) -> u32 {
        u32::from_be_bytes([self.hash.0[0], self.hash.0[1], self.hash.0[2], self.hash.0[3]])
    }
}

impl PriceLimit {
    /// Whether no bound is set.
    #[inline]
    pub fn is_none(self) -> bool {
        self.excl_vat.is_none() && self.incl_vat.is_none()
    }
}

impl Restrictions {
    /// Whether no moment can meet it: a lower bound that is not below the upper one.
    pub(super) fn is_impossible(&self) -> bool {
        let empty = |min: Option<i64>, max: Option<i64>| max.is_some_and(|max| max <= min.unwrap_or(0));
        empty(self.min_energy, self.max_energy)
            || empty(self.min_duration, self.max_duration)
            || empty(self.min_power, self.max_power)
            || empty(self.min_current, self.max_current)
            || matches!((self.start_day, self.end_day), (Some(start), Some(end)) if end <= start)
    }

    /// Whether it holds at every moment at which the other one does. May return false where it does, never true where
    /// it does not.
    pub(super) fn covers(&self, other: &Restrictions) -> bool {
        fn within<T: PartialOrd>(own: (Option<T>, Option<T>), other: (Option<T>, Option<T>)) -> bool {
            let low = own.0.is_none_or(|own| other.0.is_some_and(|other| other >= own));
            let high = own.1.is_none_or(|own| other.1.is_some_and(|other| other <= own));
            low && high
        }
        let clock = match (self.start_minute, self.end_minute) {
            (None, None) => true,
            own if own == (other.start_minute, other.end_minute) => true,
            // A window over midnight is two stretches of a day; only whole ones are compared.
            (start, end) if start.unwrap_or(0) < end.unwrap_or(1_440) => {
                other.start_minute.unwrap_or(0) < other.end_minute.unwrap_or(1_440)
                    && within((start, end), (other.start_minute, other.end_minute))
            }
            _ => false,
        };
        clock
            && self.reservation == other.reservation
            && (self.weekdays == 0 || other.weekdays != 0 && other.weekdays & !self.weekdays == 0)
            && within((self.start_day, self.end_day), (other.start_day, other.end_day))
            && within((self.min_energy, self.max_energy), (other.min_energy, other.max_energy))
            && within((self.min_power, self.max_power), (other.min_power, other.max_power))
            && within((self.min_current, self.max_current), (other.min_current, other.max_current))
            && within((self.min_duration, self.max_duration), (other.min_duration, other.max_duration))
    }

    /// Whether it depends on the local calendar.
    pub(super) fn civil(&self) -> bool {
        self.start_minute.is_some() || self.end_minute.is_some() || self.by_day()
    }

    /// Whether it depends on the local date or day of the week.
    pub(super) fn by_day(&self) -> bool {
        self.start_day.is_some() || self.end_day.is_some() || self.weekdays != 0
    }

    /// Whether it depends on power or current.
    pub(super) fn flow(&self) -> bool {
        self.min_power.is_some() || self.max_power.is_some() || self.min_current.is_some() || self.max_current.is_some()
    }
}

impl Cuts {
    pub(super) fn of(elements: &[Element]) -> Cuts {
        let mut cuts = Cuts::default();
        for restrictions in elements.iter().map(|element| &element.restrictions) {
            for minute in [restrictions.start_minute, restrictions.end_minute].into_iter().flatten() {
                cuts.day_ms.push(i64::from(minute) % MINUTES_PER_DAY * MS_PER_MINUTE);
            }
            if restrictions.by_day() || restrictions.start_minute.is_some() || restrictions.end_minute.is_some() {
                // A day that has only a start (or wraps) also changes at midnight.
                cuts.day_ms.push(0);
            }
            cuts.duration_ms.extend(restrictions.min_duration.into_iter().chain(restrictions.max_duration));
            cuts.energy.extend(restrictions.min_energy.into_iter().chain(restrictions.max_energy));
            cuts.flow |= restrictions.flow();
        }
        for list in [&mut cuts.day_ms, &mut cuts.duration_ms, &mut cuts.energy] {
            list.sort_unstable();
            list.dedup();
        }
        cuts
    }

    pub(super) fn civil(&self) -> bool {
        !self.day_ms.is_empty()
    }

    /// Whether there are none: what a moment costs depends at most on what flows.
    #[inline]
    pub(super) fn is_never(&self) -> bool {
        self.day_ms.is_empty() && self.duration_ms.is_empty() && self.energy.is_empty()
    }
}

/// Minutes of a day on the clock; a day with a clock change has another number of real ones.
pub(super) const MINUTES_PER_DAY: i64 = 1_440;
/// Milliseconds of a minute.
pub(super) const MS_PER_MINUTE: i64 = 60_000;
/// Milliseconds of a day on the clock.
pub(super) const MS_PER_DAY: i64 = MINUTES_PER_DAY * MS_PER_MINUTE;

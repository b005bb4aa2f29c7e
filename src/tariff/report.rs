//! The price of a session as one document: what `wattstile tariff price --json` prints.

use super::cdr::{Cdr, PricedCdr};
use super::finding::{Finding, Severity};
use super::model::{Component, Dimension, Tariff, TaxIncluded};
use super::rating::{Rating, RatingError, Reported, reported};
use super::runs::PricedSession;
use super::segments::{BilledSegment, Segments};
use super::total::{Clamp, Price, Total};
use crate::units::{Cost, TimeSpan};
use rust_decimal::Decimal;
use serde::Serialize;

/// A priced session in decimals of major units, kWh and hours, all as strings.
///
/// ```
/// use jiff::tz::TimeZone;
/// use wattstile::tariff::{PriceReport, RecordedSession, Tariff};
/// use wattstile::units::{Energy, TimeSpan, Timestamp};
///
/// const DAY: &str = r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#;
/// let tariff = Tariff::parse(DAY)?.tariff;
/// let start = Timestamp::parse_rfc3339("2026-03-29T01:30:00Z")?;
/// let (end, energy) = (start.saturating_add(TimeSpan::from_secs(1_800)), Energy::from_watt_hours(10_000));
/// let session = RecordedSession::of_total(start, end, energy.ok_or("too much energy")?, TimeSpan::ZERO);
/// let priced = session.ok_or("impossible times")?.price(&tariff, &TimeZone::UTC)?;
/// let report = PriceReport::of_session(&priced, &tariff)?;
/// assert_eq!(report.payable.as_deref(), Some("3.63"), "10 kWh at 0.30 and 21 % VAT");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceReport {
    /// ISO 4217.
    pub currency: String,
    /// Whether prices and amounts of the lines contain tax.
    pub tax_included: bool,
    /// The tariff's id.
    pub tariff_id: String,
    /// SHA-256 of the tariff's text.
    pub tariff_hash: String,
    /// The total within the price limits; `None` when no price applied at any time.
    pub total_cost: Option<PriceText>,
    /// The total after tax, rounded by the tariff's rule: the amount to pay.
    pub payable: Option<String>,
    /// Fees.
    pub total_fixed_cost: Option<PriceText>,
    /// Energy.
    pub total_energy_cost: Option<PriceText>,
    /// Time in which energy flowed.
    pub total_time_cost: Option<PriceText>,
    /// Time in which none flowed.
    pub total_parking_cost: Option<PriceText>,
    /// Reservations.
    pub total_reservation_cost: Option<PriceText>,
    /// Energy that flowed.
    pub total_energy_kwh: String,
    /// The whole session, charging or not.
    pub total_time_h: String,
    /// Time in which energy flowed.
    pub total_charging_time_h: String,
    /// Time in which none flowed.
    pub total_parking_time_h: String,
    /// Line by line.
    pub segments: Vec<SegmentText>,
    /// Tax per rate, before the price limits.
    pub vat: Vec<VatText>,
    /// Warnings about the price.
    pub warnings: Vec<Warning>,
}

/// A cost before and after tax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceText {
    /// Before tax.
    pub excl_vat: String,
    /// After tax.
    pub incl_vat: String,
}

/// A line: one component, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentText {
    /// The tariff element, counted from 1 as on receipts.
    pub element: u16,
    /// `ENERGY`, `TIME`, `PARKING_TIME`, `FLAT`; a reservation's are the same with `RESERVATION_` in front.
    pub dimension: String,
    /// RFC 3339, UTC.
    pub from: String,
    /// RFC 3339, UTC.
    pub to: String,
    /// kWh, hours, or 1.
    pub volume: String,
    /// The same with what `step_size` adds.
    pub billed_volume: String,
    /// Per kWh, per hour or once, as the tariff states it.
    pub price: String,
    /// Billed volume times price, exactly: with tax where the prices contain it, else before tax.
    pub amount: String,
    /// The cost before tax.
    pub cost_excl_vat: String,
    /// The cost after tax.
    pub cost_incl_vat: String,
    /// Tax in percent, where the tariff states it.
    pub vat: Option<String>,
    /// Why it begins where it begins.
    pub reason: &'static str,
}

/// Tax at one rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VatText {
    /// Percent; `None` where the tariff states none.
    pub rate: Option<String>,
    /// The taxed amount.
    pub excl_vat: String,
    /// The same with tax.
    pub incl_vat: String,
}

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A stable name.
    pub code: String,
    /// The text of the warning.
    pub message: String,
    /// The field that it is about, as a path from the root of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Its column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Time of a session in the lines of the report.
struct Times {
    total: TimeSpan,
}

impl PriceReport {
    /// Of a session that was priced reading by reading.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or a total beyond all figures.
    pub fn of_session(session: &PricedSession, tariff: &Tariff) -> Result<PriceReport, RatingError> {
        let rating = &session.rating;
        let times = Times { total: rating.at.since(rating.start) };
        let mut report = report(rating, &session.segments, tariff, &times)?;
        if !tariff.valid_at(rating.start) {
            report.warn("tariff_not_valid", "the tariff is not valid at the session's start");
        }
        Ok(report)
    }

    /// Of a CDR. The total of a credit CDR is negated, its lines are those of the CDR that it takes back.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or a total beyond all figures.
    pub fn of_cdr(cdr: &Cdr, priced: &PricedCdr, tariff: &Tariff) -> Result<PriceReport, RatingError> {
        let mut report = report(&priced.rating, &priced.segments, tariff, &Times { total: priced.duration })?;
        if cdr.credit
            && let Some(total) = &mut report.total_cost
        {
            total.excl_vat = negated(&total.excl_vat);
            total.incl_vat = negated(&total.incl_vat);
            report.payable = report.payable.as_deref().map(negated);
        }
        report.found("CDR", &priced.remarks);
        Ok(report)
    }

    /// Adds a remark.
    pub fn warn(&mut self, code: &str, message: &str) {
        let (code, message) = (code.to_owned(), message.to_owned());
        self.warnings.push(Warning { code, message, path: None, line: None, column: None });
    }

    /// Adds what was found in a file and may bear on the price; notes on spelling are left to `lint`.
    pub fn found(&mut self, file: &str, findings: &[Finding]) {
        for finding in findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
            self.warnings.push(Warning {
                code: finding.code.to_owned(),
                message: format!("{file}: {}: {}: {}", finding.position, finding.path, finding.message),
                path: Some(finding.path.clone()),
                line: Some(finding.position.line),
                column: Some(finding.position.column),
            });
        }
    }
}

fn report(rating: &Rating, segments: &Segments, tariff: &Tariff, times: &Times) -> Result<PriceReport, RatingError> {
    let total: Total = rating.total(tariff)?;
    let priced = rating.any_price();
    let text = |price: Price| PriceText {
        excl_vat: price.excl_vat.major().to_string(),
        incl_vat: price.incl_vat.major().to_string(),
    };
    let lines = segments.billed(rating, tariff)?;
    let energy = rating.energy().ok_or(RatingError::Range)?;
    let mut report = PriceReport {
        currency: tariff.currency().to_string(),
        tax_included: tariff.tax_included() == TaxIncluded::Yes,
        tariff_id: tariff.id().to_string(),
        tariff_hash: tariff.hash().to_string(),
        total_cost: priced.then(|| text(Price { excl_vat: total.excl_vat, incl_vat: total.incl_vat })),
        payable: if priced { Some(total.payable()?.major().to_string()) } else { None },
        total_fixed_cost: total.fixed.map(text),
        total_energy_cost: total.energy.map(text),
        total_time_cost: total.time.map(text),
        total_parking_cost: total.parking.map(text),
        total_reservation_cost: total.reservation.map(text),
        total_energy_kwh: energy.kwh().to_string(),
        total_time_h: hours(times.total.ms()),
        total_charging_time_h: hours(rating.charging.ms()),
        total_parking_time_h: hours(rating.parked.ms()),
        segments: lines.iter().map(|line| segment(line, tariff)).collect(),
        vat: Vec::new(),
        warnings: Vec::new(),
    };
    for line in rating.vat_lines(tariff)? {
        report.vat.push(VatText {
            rate: line.rate.map(|rate| Decimal::new(i64::from(rate), 4).normalize().to_string()),
            excl_vat: line.excl_vat.major().to_string(),
            incl_vat: line.incl_vat.major().to_string(),
        });
    }
    match total.clamp {
        Clamp::None => {}
        Clamp::Min => report.warn("total_cost_clamped_to_min", "the tariff's minimum price was applied"),
        Clamp::Max => report.warn("total_cost_clamped_to_max", "the tariff's maximum price was applied"),
        Clamp::Zero => report.warn(
            "total_cost_below_zero",
            &format!(
                "the prices add up to less than zero: nothing is due, and {} is not paid out",
                below_zero(&lines)?
            ),
        ),
    }
    if !priced {
        report.warn("no_element_prices_session", "no element of the tariff applied at any time of the session");
    }
    Ok(report)
}

/// What the lines come to, without its sign and with tax.
fn below_zero(lines: &[BilledSegment]) -> Result<String, RatingError> {
    let mut sum: Option<Cost> = None;
    for line in lines {
        sum = Some(match sum {
            None => line.price.incl_vat,
            Some(sum) => sum.checked_add(line.price.incl_vat)?,
        });
    }
    Ok(sum.map(|sum| format!("{} {}", sum.currency().code(), negated(&sum.major().to_string()))).unwrap_or_default())
}

fn segment(line: &BilledSegment, tariff: &Tariff) -> SegmentText {
    let component = &tariff.components()[usize::from(line.segment.component)];
    let reservation = reported(tariff, line.segment.component) == Reported::Reservation;
    let prefix = if reservation { "RESERVATION_" } else { "" };
    SegmentText {
        element: component.element.saturating_add(1),
        dimension: format!("{prefix}{}", component.dimension),
        from: line.segment.from.to_string(),
        to: line.segment.to.to_string(),
        volume: volume(component, line.segment.volume),
        billed_volume: volume(component, line.billed_volume),
        price: component.price().to_string(),
        amount: line.as_priced(tariff).major().to_string(),
        cost_excl_vat: line.price.excl_vat.major().to_string(),
        cost_incl_vat: line.price.incl_vat.major().to_string(),
        vat: component.vat_percent().map(|vat| vat.to_string()),
        reason: line.segment.reason.as_str(),
    }
}

impl BilledSegment {
    /// What it costs as its price is stated, so that volume times price is this amount: with tax where the prices contain it,
    /// else before tax.
    pub fn as_priced(&self, tariff: &Tariff) -> Cost {
        match tariff.tax_included() {
            TaxIncluded::Yes => self.price.incl_vat,
            TaxIncluded::No | TaxIncluded::NotApplicable => self.price.excl_vat,
        }
    }
}

fn volume(component: &Component, amount: i64) -> String {
    match component.dimension {
        Dimension::Energy => Decimal::new(amount, 9).normalize().to_string(),
        Dimension::Time | Dimension::ParkingTime => hours(amount),
        Dimension::Flat => amount.to_string(),
    }
}

/// Hours to twelve decimals: a millisecond is no finite decimal of an hour.
fn hours(ms: i64) -> String {
    (Decimal::from(ms) / Decimal::from(3_600_000)).round_dp(12).normalize().to_string()
}

fn negated(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) => text.to_owned(),
        None => format!("-{text}"),
    }
}

//! The receipt: what a driver reads, complete in itself, the same in JSON, text and HTML.
//!
//! Money and quantities are decimal text, never JSON numbers, so that no reader on the way can change a digit. Exact
//! costs have up to twelve decimals; amounts have the decimals of their currency.

use super::invoice::Issued;
use super::{BillingError, Cdr, ClosedSession, Dimension, Line, OcpiVersion, Party, PayableSplit, Quantity};
use crate::limits;
use crate::units::shape::described;
use crate::units::{Amount, Rounding, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A receipt. Its JSON form is versioned by [`Receipt::SCHEMA`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Always [`Receipt::SCHEMA`].
    pub schema: String,
    /// The invoice's number, where one was assigned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub number: Option<String>,
    /// When the receipt was made; RFC 3339 with the charger's offset, like every time in it.
    pub issued_at: String,
    /// The seller.
    pub issuer: Issuer,
    /// The session's id.
    pub session: String,
    /// The charger.
    pub charger: String,
    /// The connector.
    pub connector: u16,
    /// The EVSE's id.
    pub evse_id: String,
    /// Where it stands, in one line.
    pub place: String,
    /// When the session began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: String,
    /// Duration, in seconds.
    pub duration_s: i64,
    /// Why it ended.
    pub end_reason: String,
    /// What is to be known of it: `estimated`, `offline`, `gap`, `quarantined`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<String>,
    /// Energy in kWh.
    pub energy_kwh: Decimal,
    /// The register at the start, in kWh.
    pub first_register_kwh: Decimal,
    /// The register at the end, in kWh.
    pub last_register_kwh: Decimal,
    /// Readings that were recorded.
    pub readings: u32,
    /// ISO 4217 code of all money.
    pub currency: String,
    /// The tariff's version.
    pub tariff: TariffRef,
    /// The priced positions.
    pub lines: Vec<ReceiptLine>,
    /// Sums per VAT rate.
    pub vat: Vec<ReceiptVat>,
    /// The exact cost without VAT.
    pub net: Decimal,
    /// The exact cost with VAT.
    pub gross: Decimal,
    /// The total without VAT, in the decimals of the currency. With the VAT amounts it is the total, but for the difference made by
    /// rounding each of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub net_amount: Option<Decimal>,
    /// The rule of the one rounding: `half_even`, `half_up` or `down`.
    pub rounding: String,
    /// What that rounding added to the exact cost.
    pub rounding_difference: Decimal,
    /// The amount that the driver pays.
    pub total: Decimal,
    /// The payment.
    pub payment: ReceiptPayment,
    /// The credential that was presented: its kind and its printable form.
    pub credential: ReceiptCredential,
    /// What was numbered after the invoice: credit notes, and invoices over what came later.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub documents: Vec<ReceiptDocument>,
    /// Where the receipt can be read again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub link: Option<String>,
    /// The same session for other systems: an OCPI 2.2.1 CDR.
    pub cdr: Cdr,
}

/// The issuer of receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Legal name.
    pub name: String,
    /// Postal address in one line.
    #[serde(default)]
    pub address: String,
    /// VAT identification number.
    #[serde(default)]
    pub vat_id: String,
}

/// The version of a tariff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TariffRef {
    /// Its id.
    pub id: String,
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
    /// Whether its prices contain VAT.
    pub prices_include_vat: bool,
}

described! {
/// One priced stretch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptLine {
    /// The tariff's element, counted from 1; 0 for a price limit.
    pub element: u16,
    /// `energy`, `flat`, `time`, `parking_time`, `reservation` or `price_limit`.
    pub dimension: String,
    /// Why this element applies.
    pub reason: String,
    /// From when.
    pub from: String,
    /// Until when.
    pub to: String,
    /// `kWh`, `s` or `once`.
    pub unit: String,
    /// The measured quantity.
    pub measured: Decimal,
    /// The billed quantity: rounded up by the tariff's step.
    pub billed: Decimal,
    /// Price per kWh, per hour or once, as the tariff states it: times `billed` it is `amount`.
    pub price: Decimal,
    /// Whether that price, and `amount`, contain VAT.
    #[serde(default)]
    pub price_includes_vat: bool,
    /// The same price with VAT: times `billed` it is `gross`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub price_incl_vat: Option<Decimal>,
    /// What `billed` comes to at `price`, exact: `gross` where the price contains VAT, else `net`.
    #[serde(default)]
    pub amount: Decimal,
    /// VAT in percent, where there is any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vat_percent: Option<Decimal>,
    /// Exact cost without VAT.
    pub net: Decimal,
    /// Exact cost with VAT.
    pub gross: Decimal,
}
}

/// The sums of one VAT rate: exact, and in payable amounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptVat {
    /// The rate in percent, where there is any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub percent: Option<Decimal>,
    /// Exact cost without VAT.
    pub net: Decimal,
    /// Exact VAT.
    pub vat: Decimal,
    /// VAT as it is declared, in the decimals of the currency.
    pub vat_amount: Decimal,
}

/// The payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPayment {
    /// The processor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub processor: Option<String>,
    /// The processor's references.
    pub references: Vec<String>,
    /// The most that was authorized.
    pub authorized: Decimal,
    /// The captured amount.
    pub captured: Decimal,
    /// The released amount.
    pub released: Decimal,
    /// The amount still owed.
    pub shortfall: Decimal,
    /// What was taken beyond the total and is to be given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub overpaid: Option<Decimal>,
    /// When the money was taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub captured_at: Option<String>,
}

/// A document that came after the invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptDocument {
    /// `credit_note` or `invoice`.
    pub kind: String,
    /// Its number.
    pub number: String,
    /// When it was issued.
    pub issued_at: String,
    /// What it comes to; below zero in a credit note.
    pub total: Decimal,
    /// The VAT in it, with the sign of the total.
    pub vat: Decimal,
    /// A credit note for other systems: the OCPI credit CDR. The first [`limits::CREDIT_RECORDS_MAX`] documents have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cdr: Option<Cdr>,
}

/// The driver's credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptCredential {
    /// Its kind.
    pub kind: String,
    /// Its printable form.
    pub fingerprint: String,
}

/// What is added to a session's figures to make a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The seller.
    pub issuer: Issuer,
    /// The sender in OCPI.
    pub party: Party,
    /// When the receipt is made.
    pub at: Timestamp,
    /// The invoice's number.
    pub number: Option<String>,
    /// Documents that were numbered after the invoice.
    pub later: Vec<Issued>,
    /// Where the receipt can be read again.
    pub link: Option<String>,
}

impl Receipt {
    /// The version of the JSON form.
    pub const SCHEMA: &'static str = "wattstile.receipt/1";

    /// Makes a session's receipt, after checking that its figures agree.
    ///
    /// # Errors
    /// Those of [`ClosedSession::check`]; [`BillingError::Time`] for an unknown zone; those of [`Cdr::new`].
    pub fn new(session: &ClosedSession, issue: &Issue) -> Result<Receipt, BillingError> {
        session.check()?;
        let zone = TimeZone::get(&session.zone).map_err(|error| BillingError::Time(error.to_string()))?;
        let time = |at: Timestamp| local(at, &zone);
        let split = PayableSplit::of(session)?;
        let lines = receipt_lines(session)?;
        let vat = session.vat.iter().zip(&split.taxes).map(|(rate, (_, tax))| ReceiptVat {
            percent: rate.percent.map(|percent| percent.normalize()),
            net: rate.net.major(),
            vat: rate.vat.major(),
            vat_amount: tax.major(),
        });
        let payment = &session.payment;
        let captured_at = payment.captured_at.map(time).transpose()?;
        let cdr = Cdr::new(session, issue, OcpiVersion::V2_2_1)?;
        // Each record holds the whole tariff: a receipt with a hundred refunds is not a hundred times as long.
        let later = issue.later.iter().enumerate().map(|(index, issued)| {
            later(issued, (index < limits::CREDIT_RECORDS_MAX).then_some(&cdr), time(issued.at)?)
        });
        Ok(Receipt {
            schema: Receipt::SCHEMA.to_owned(),
            number: issue.number.clone(),
            issued_at: time(issue.at)?,
            issuer: issue.issuer.clone(),
            session: session.id.to_string(),
            charger: session.charger.to_string(),
            connector: session.connector.0,
            evse_id: session.evse_id(),
            place: session.place.one_line(),
            started_at: time(session.started_at)?,
            ended_at: time(session.ended_at)?,
            duration_s: shown_seconds(session.started_at, session.ended_at),
            end_reason: session.end_reason.to_string(),
            flags: session.flags.iter().map(|flag| (*flag).to_owned()).collect(),
            energy_kwh: session.energy.kwh(),
            first_register_kwh: session.first_register.kwh(),
            last_register_kwh: session.last_register.kwh(),
            readings: session.readings,
            currency: session.currency().code().to_owned(),
            tariff: TariffRef {
                id: session.tariff.id.to_string(),
                sha256: session.tariff.hash.to_string(),
                prices_include_vat: session.tariff.prices_include_vat,
            },
            lines,
            vat: vat.collect(),
            net: session.net.major(),
            gross: session.gross.major(),
            net_amount: Some(split.net.major()),
            rounding: rule(session.rounding).to_owned(),
            rounding_difference: session.rounding_difference()?.major(),
            total: session.payable.major(),
            payment: ReceiptPayment {
                processor: payment.processor.as_ref().map(ToString::to_string),
                references: payment.references.iter().map(ToString::to_string).collect(),
                authorized: payment.authorized.major(),
                captured: payment.captured.major(),
                released: payment.released.major(),
                shortfall: payment.shortfall.major(),
                overpaid: session.overpaid()?.map(|amount| amount.major()),
                captured_at,
            },
            credential: ReceiptCredential {
                kind: session.presented.kind.as_str().to_owned(),
                fingerprint: session.presented.fingerprint.to_string(),
            },
            documents: later.collect::<Result<_, BillingError>>()?,
            link: issue.link.clone(),
            cdr,
        })
    }
}

/// The seconds between two times as a receipt shows them: each without its fraction.
fn shown_seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.unix_ms().div_euclid(1_000).saturating_sub(from.unix_ms().div_euclid(1_000))
}

/// A document that came after the invoice; a credit note with the record that takes its part of the session back.
fn later(issued: &Issued, cdr: Option<&Cdr>, issued_at: String) -> Result<ReceiptDocument, BillingError> {
    let (document, number) = (&issued.document, issued.number.to_string());
    let total = document.total;
    let zero = Amount::zero(total.currency);
    let vat = document.taxes.iter().try_fold(zero, |sum, (_, amount)| sum.checked_add(*amount))?;
    let credit = document.corrects.is_some();
    let cdr = match cdr.filter(|_| credit) {
        Some(cdr) => Some(cdr.credit(&number, issued.at, (total.checked_sub(vat)?, total), OcpiVersion::V2_2_1)?),
        None => None,
    };
    let kind = if credit { "credit_note" } else { "invoice" }.to_owned();
    Ok(ReceiptDocument { kind, number, issued_at, total: total.major(), vat: vat.major(), cdr })
}

/// The lines of a session's receipt; also of one that still goes on.
///
/// # Errors
/// [`BillingError::Time`] for an unknown zone.
pub fn receipt_lines(session: &ClosedSession) -> Result<Vec<ReceiptLine>, BillingError> {
    let zone = TimeZone::get(&session.zone).map_err(|error| BillingError::Time(error.to_string()))?;
    let includes_vat = session.tariff.prices_include_vat;
    let mut lines = Vec::with_capacity(session.lines.len());
    for line in &session.lines {
        let (unit, measured) = in_unit(line.measured);
        let (_, billed) = in_unit(line.billed);
        lines.push(ReceiptLine {
            element: line.element,
            dimension: word(line.dimension).to_owned(),
            reason: line.reason.to_string(),
            from: local(line.from, &zone)?,
            to: local(line.to, &zone)?,
            unit: unit.to_owned(),
            measured,
            billed,
            price: line.price.normalize(),
            price_includes_vat: includes_vat,
            price_incl_vat: Some(price_incl_vat(line, includes_vat).normalize()),
            amount: if includes_vat { line.gross.major() } else { line.net.major() },
            vat_percent: line.vat_percent.map(|percent| percent.normalize()),
            net: line.net.major(),
            gross: line.gross.major(),
        });
    }
    Ok(lines)
}

/// The price of a line with VAT, exact.
fn price_incl_vat(line: &Line, includes_vat: bool) -> Decimal {
    match (line.dimension, line.vat_percent) {
        (Dimension::PriceLimit, _) => line.gross.major(),
        (_, Some(percent)) if !includes_vat => {
            let factor = percent.checked_div(Decimal::ONE_HUNDRED).and_then(|part| part.checked_add(Decimal::ONE));
            factor.and_then(|factor| line.price.checked_mul(factor)).unwrap_or(line.price)
        }
        _ => line.price,
    }
}

/// An instant on the charger's clocks, with its offset.
fn local(at: Timestamp, zone: &TimeZone) -> Result<String, BillingError> {
    let zoned = at.in_zone(zone).map_err(|error| BillingError::Time(error.to_string()))?;
    Ok(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// A quantity in the unit in which a receipt shows it. Seconds have at most three decimals.
pub(super) fn in_unit(quantity: Quantity) -> (&'static str, Decimal) {
    match quantity {
        Quantity::Energy(energy) => ("kWh", energy.kwh()),
        Quantity::Time(span) => ("s", Decimal::new(span.ms(), 3).normalize()),
        Quantity::Once => ("once", Decimal::ONE),
    }
}

const fn word(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Energy => "energy",
        Dimension::Flat => "flat",
        Dimension::Time => "time",
        Dimension::ParkingTime => "parking_time",
        Dimension::Reservation => "reservation",
        Dimension::PriceLimit => "price_limit",
    }
}

const fn rule(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::HalfEven => "half_even",
        Rounding::HalfUp => "half_up",
        Rounding::Down => "down",
    }
}
